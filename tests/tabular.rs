//! The committed tabular models, encrypted: what scikit-learn answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};

use common::{packed_counts, repository};
use hec::{Approximation, ImportOptions, LayoutChoice, Options, Outcome, Program, SampleBatch, Silent};
use ndarray::{Array1, Array2, Ix1, Ix2};
use ndarray_npy::{NpzReader, ReadableElement};

struct Model {
    program: Program,
    inputs: BTreeMap<String, SampleBatch>,
    predicted: Vec<f64>,
}

fn column<T: ReadableElement + Into<f64> + Copy>(npz: &mut NpzReader<File>, name: &str) -> Vec<f64> {
    let array: Array1<T> = npz.by_name::<ndarray::OwnedRepr<T>, Ix1>(name).unwrap();
    array.iter().map(|&x| x.into()).collect()
}

fn open(name: &str, approximation: Approximation, labelled: bool) -> Model {
    let options = Options { approximation, batch: Some(256), ..Options::default() };
    open_with(name, options, labelled)
}

fn open_with(name: &str, options: Options, labelled: bool) -> Model {
    let npz = |part: &str| {
        let path = repository("models/data/tabular").join(format!("{name}.{part}.npz"));
        NpzReader::new(File::open(path).unwrap()).unwrap()
    };
    let features = |npz: &mut NpzReader<File>| -> Array2<f32> { npz.by_name::<_, Ix2>("input").unwrap() };
    let (mut train, mut test) = (npz("train"), npz("test"));
    let samples = features(&mut train).iter().copied().map(f64::from).collect();
    let labels = labelled.then(|| column::<u8>(&mut train, "labels").into_iter().map(|x| x as usize).collect());
    let bytes = fs::read(repository(&format!("models/{name}.onnx"))).unwrap();
    let model = hec::import(&bytes, &ImportOptions::default()).unwrap();
    let input = model.inputs().next().unwrap().1.to_owned();
    let options = Options {
        calibration: BTreeMap::from([(input.clone(), samples)]),
        approximation: Approximation { labels, ..options.approximation },
        ..options
    };
    let rows = features(&mut test);
    let batch = SampleBatch { samples: rows.nrows(), values: rows.iter().copied().map(f64::from).collect() };
    let predicted = if labelled { column::<u8>(&mut test, "predicted") } else { column::<f64>(&mut test, "predicted") };
    let program = hec::compile(&model, &options).unwrap().program;
    Model { program, inputs: BTreeMap::from([(input, batch)]), predicted }
}

fn run(model: &Model, backend: &str) -> Outcome {
    let read = Program::from_bytes(&model.program.to_bytes()).unwrap();
    hec::backend(backend).unwrap().run(&read, &model.inputs, &Silent).unwrap()
}

fn first_output(model: &Model, outcome: &mut Outcome) -> Vec<f64> {
    outcome.outputs.remove(&model.program.outputs()[0].name).unwrap()
}

#[track_caller]
fn answers_as_scikit_learn_does(name: &str, allowed: usize) {
    let model = open(name, Approximation { max_accuracy_drop: Some(0.005), ..Approximation::default() }, true);
    for backend in ["plain-circuit", "he-ckks"] {
        let labels = first_output(&model, &mut run(&model, backend));
        let different = labels.iter().zip(&model.predicted).filter(|(a, b)| a != b).count();
        assert!(labels.len() == model.predicted.len() && different <= allowed, "{name} on {backend}: {different}");
    }
}

/// Thirty measurements between 0.001 and 4254: each is brought to one size before it is encrypted.
#[test]
fn breast_cancer() {
    answers_as_scikit_learn_does("breast-cancer", 1);
}

#[test]
fn digits() {
    answers_as_scikit_learn_does("digits", 0);
}

#[test]
fn diabetes() {
    let asked =
        Approximation { max_output_error: Some(0.02), max_accuracy_drop: Some(0.05), ..Approximation::default() };
    let model = open("diabetes", asked, false);
    let found = first_output(&model, &mut run(&model, "he-ckks"));
    let count = found.len() as f64;
    let mean = model.predicted.iter().sum::<f64>() / count;
    let spread = model.predicted.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let error = found.iter().zip(&model.predicted).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / count;
    assert!((error / spread).sqrt() < 0.03, "{}", (error / spread).sqrt());
}

/// Packed, one sample at a time: some samples, encrypted, are answered as scikit-learn does. Gives the counts.
#[track_caller]
fn packed(name: &str, approximation: Approximation, labelled: bool) -> String {
    const SAMPLES: usize = 8;
    let options = Options { approximation, precision: 12.5, layout: LayoutChoice::Packed, ..Options::default() };
    let mut model = open_with(name, options, labelled);
    for batch in model.inputs.values_mut() {
        batch.values.truncate(batch.values.len() / batch.samples * SAMPLES);
        batch.samples = SAMPLES;
    }
    let found = first_output(&model, &mut run(&model, "he-ckks"));
    assert_eq!(found.len(), SAMPLES, "{name}");
    for (found, predicted) in found.iter().zip(&model.predicted) {
        // Numbers are off by what the polynomials are.
        let allowed = if labelled { 0.0 } else { 10.0 };
        assert!((found - predicted).abs() <= allowed, "{name}: {found}, not {predicted}");
    }
    packed_counts(&model.program)
}

#[test]
fn packed_one_sample_at_a_time() {
    let classes = || Approximation { max_accuracy_drop: Some(0.005), ..Approximation::default() };
    insta::assert_snapshot!(packed("breast-cancer", classes(), true), @"N = 2^13 conjugate-invariant, 3 levels, 22 rotations with 13 keys, 23 key switches, 2 products with diagonals, 1 products, 3 rescalings");
    insta::assert_snapshot!(packed("digits", classes(), true), @"N = 2^12 conjugate-invariant, 1 levels, 16 rotations with 16 keys, 16 key switches, 16 products with diagonals, 0 products, 0 rescalings");
    insta::assert_snapshot!(packed("diabetes", Approximation::default(), false), @"N = 2^13 standard, 5 levels, 28 rotations with 16 keys, 30 key switches, 17 products with diagonals, 2 products, 4 rescalings");
}

#[test]
fn features_of_unlike_sizes_are_normalised_by_the_client() {
    let model = open("breast-cancer", Approximation::default(), true);
    let normalisation = model.program.normalisation().values().next().unwrap();
    assert_eq!((normalisation.offset.len(), normalisation.divisor.len()), (30, 30));
    assert!(normalisation.divisor.iter().all(|&d| d > 0.0));
    let wide = normalisation.divisor.iter().fold(0.0, |a: f64, &b| a.max(b));
    assert!(wide / normalisation.divisor.iter().fold(f64::MAX, |a, &b| a.min(b)) > 1e4);

    let wrong = hec::ir::program::Normalisation { offset: vec![0.0; 30], divisor: vec![0.0; 30] };
    let named = BTreeMap::from([(model.program.inputs()[0].name.clone(), wrong)]);
    let error = model.program.clone().with_normalisation(named).unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
}
