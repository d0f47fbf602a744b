//! Networks of other shapes than those in `models/`: residual blocks, two inputs, two outputs, one dimension.
//!
//! Activations are replaced by polynomials fitted on calibration samples; `models/training/demos.py` made the models.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use common::{packed_counts, repository};
use hec::approximate::Rung;
use hec::ir::ckks::{counts, multiplicative_depth};
use hec::ir::tensor::TensorGraph;
use hec::{Approximation, ImportOptions, LayoutChoice, Options, Port, Program, SampleBatch, Silent};
use ndarray::{Array1, ArrayD, Axis};
use ndarray_npy::{NpzReader, read_npy};

/// Absolute, as ONNX Runtime computes in single precision.
const TOLERANCE: f64 = 1e-4;
/// What encryption may change, as a part of the largest output: ten bits are asked for, of the largest output there can be.
const ENCRYPTED_TOLERANCE: f64 = 1.0 / 64.0;
/// The share of held-back calibration samples whose class may change.
const BUDGET: f64 = 0.04;
/// What the parameters are chosen for.
const BATCH: usize = 2048;
/// Samples that are encrypted.
const ENCRYPTED: usize = 4;

/// One of the models, and what is beside it.
struct Demo {
    name: &'static str,
    model: TensorGraph,
}

type Inputs = BTreeMap<String, SampleBatch>;
type Outputs = BTreeMap<String, Vec<f64>>;

impl Demo {
    fn new(name: &'static str) -> Self {
        let bytes = fs::read(file(name, "onnx")).unwrap();
        Self { name, model: hec::import(&bytes, &ImportOptions::default()).unwrap() }
    }

    /// An array for each input: `calibration` or `test`.
    fn samples(&self, which: &str) -> Inputs {
        let mut npz = NpzReader::new(fs::File::open(file(self.name, &format!("{which}.npz"))).unwrap()).unwrap();
        let batch = |port: Port| {
            let array: ArrayD<f32> = npz.by_name(&port.name).unwrap();
            let samples = array.len_of(Axis(0));
            assert_eq!(port.ty.elements() * samples, array.len());
            (port.name, SampleBatch { values: array.iter().copied().map(f64::from).collect(), samples })
        };
        Port::inputs_of(&self.model).into_iter().map(batch).collect()
    }

    /// What ONNX Runtime answers to the test samples.
    fn answers(&self) -> Outputs {
        let read = |port: Port| {
            let array: ArrayD<f32> = read_npy(file(self.name, &format!("{}.npy", port.name))).unwrap();
            (port.name, array.into_iter().map(f64::from).collect())
        };
        Port::outputs_of(&self.model).into_iter().map(read).collect()
    }

    fn labels(&self) -> Vec<usize> {
        let labels: Array1<i64> = read_npy(file(self.name, "labels.npy")).unwrap();
        labels.into_iter().map(|label| usize::try_from(label).unwrap()).collect()
    }

    /// Compiles with the calibration samples, and says which rung each site got.
    fn compile(&self, layout: LayoutChoice) -> (Program, Vec<Rung>) {
        let calibration: BTreeMap<String, Vec<f64>> =
            self.samples("calibration").into_iter().map(|(name, batch)| (name, batch.values)).collect();
        let all = || calibration.values().flatten().copied();
        let input_range = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        let approximation = Approximation { max_accuracy_drop: Some(BUDGET), ..Approximation::default() };
        let batch = (layout == LayoutChoice::Batch).then_some(BATCH);
        let options = Options { calibration, input_range, approximation, batch, layout, ..Options::default() };
        let compiled = hec::compile(&self.model, &options).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        let summary = compiled.decisions.approximation.expect("something is replaced");
        assert!(summary.within_budget(), "{summary}");
        (compiled.program, summary.replacements.iter().map(|replacement| replacement.rung).collect())
    }
}

fn file(name: &str, rest: &str) -> PathBuf {
    repository("tests/fixtures/demos").join(format!("{name}.{rest}"))
}

fn run(program: &Program, backend: &str, inputs: &Inputs) -> Outputs {
    hec::backend(backend).unwrap().run(program, inputs, &Silent).unwrap().outputs
}

fn first(inputs: &Inputs, count: usize) -> Inputs {
    let cut = |batch: &SampleBatch| {
        let values = batch.values[..batch.values.len() / batch.samples * count].to_vec();
        SampleBatch { values, samples: count }
    };
    inputs.iter().map(|(name, batch)| (name.clone(), cut(batch))).collect()
}

fn difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn classes(logits: &[f64], samples: usize) -> Vec<usize> {
    let best = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    logits.chunks(logits.len() / samples).map(best).collect()
}

fn share(a: &[usize], b: &[usize]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

/// The model in the clear answers as ONNX Runtime does; the circuit as the model does, for nearly all samples; the encrypted
/// circuit as the circuit does. Gives what the circuit and ONNX Runtime answer.
fn check(name: &'static str, rungs: &[Rung], depth: usize, products: usize) -> (Outputs, Outputs) {
    let demo = Demo::new(name);
    let (inputs, answers, labels) = (demo.samples("test"), demo.answers(), demo.labels());
    let plain = hec::evaluate_samples(&demo.model, &inputs, &Silent).unwrap().outputs;
    assert!(plain.keys().eq(answers.keys()), "{name}: other outputs");
    for (output, answer) in &answers {
        assert_eq!(plain[output].len(), answer.len(), "{name}: {output}");
        assert!(difference(&plain[output], answer) < TOLERANCE, "{name}: {output}");
    }

    let (program, found) = demo.compile(LayoutChoice::Batch);
    let deepest = multiplicative_depth(program.circuit()).into_iter().max();
    assert_eq!(
        (&found[..], deepest, counts(program.circuit()).products),
        (rungs, Some(depth), products),
        "{name}: replacements, depth, products"
    );
    let circuit = run(&program, "plain-circuit", &inputs);
    let (approximated, original) =
        (classes(&circuit["logits"], labels.len()), classes(&answers["logits"], labels.len()));
    let agreement = share(&approximated, &original);
    assert!(agreement >= 0.95, "{name}: {agreement} of the classes are those of the original");
    let accuracy = share(&approximated, &labels);
    assert!(accuracy >= share(&original, &labels) - 0.03, "{name}: {accuracy} are right");

    let encrypted = run(&program, "he-ckks", &first(&inputs, ENCRYPTED));
    for (output, values) in &encrypted {
        let clear = &circuit[output][..values.len()];
        let largest = circuit[output].iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let error = difference(values, clear) / largest;
        assert!(error < ENCRYPTED_TOLERANCE, "{name}: {output} differs by {error} of the largest");
    }
    let same = classes(&encrypted["logits"], ENCRYPTED) == approximated[..ENCRYPTED];
    assert!(same, "{name}: the encrypted classes are others");
    (circuit, answers)
}

/// Packed and encrypted, the model answers some samples as its circuit in the batch layout would: nearly as in the clear. Gives its counts.
fn packed(name: &'static str) -> String {
    let demo = Demo::new(name);
    let (program, _) = demo.compile(LayoutChoice::Packed);
    let program = Program::from_bytes(&program.to_bytes()).unwrap();
    let (inputs, answers, labels) = (demo.samples("test"), demo.answers(), demo.labels());
    let circuit = run(&program, "plain-circuit", &inputs);
    let (found, original) = (classes(&circuit["logits"], labels.len()), classes(&answers["logits"], labels.len()));
    assert!(
        share(&found, &original) >= 0.95,
        "{name}: {} of the classes are those of the original",
        share(&found, &original)
    );
    let encrypted = run(&program, "he-ckks", &first(&inputs, ENCRYPTED));
    for (output, values) in &encrypted {
        let clear = &circuit[output][..values.len()];
        let largest = circuit[output].iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let error = difference(values, clear) / largest;
        assert!(error < ENCRYPTED_TOLERANCE, "{name}: {output} differs by {error} of the largest");
    }
    assert!(classes(&encrypted["logits"], ENCRYPTED) == found[..ENCRYPTED], "{name}: the encrypted classes are others");
    packed_counts(&program)
}

#[test]
fn residual_blocks_packed() {
    insta::assert_snapshot!(packed("residual"), @"N = 2^15 conjugate-invariant, 11 levels, 129 rotations with 46 keys, 133 key switches, 186 products with diagonals, 4 products, 11 rescalings");
}

#[test]
fn a_convolution_over_time_packed() {
    insta::assert_snapshot!(packed("waves"), @"N = 2^14 standard, 8 levels, 93 rotations with 21 keys, 97 key switches, 54 products with diagonals, 5 products, 17 rescalings");
}

#[test]
fn two_inputs_packed() {
    insta::assert_snapshot!(packed("two-inputs"), @"N = 2^14 conjugate-invariant, 5 levels, 76 rotations with 23 keys, 79 key switches, 19 products with diagonals, 3 products, 8 rescalings");
}

/// In its deep polynomials, sums have terms that stand equally high: which of them leads must not depend on how near primes are to
/// their planned sizes.
#[test]
fn two_outputs_packed() {
    insta::assert_snapshot!(packed("two-outputs"), @"N = 2^14 standard, 9 levels, 62 rotations with 18 keys, 67 key switches, 57 products with diagonals, 6 products, 10 rescalings");
}

#[test]
fn residual_blocks_with_batch_norm_and_silu() {
    check("residual", &[Rung::Degree(2); 4], 14, 384);
}

#[test]
fn two_inputs() {
    check("two-inputs", &[Rung::Degree(2); 3], 6, 128);
}

#[test]
fn two_outputs() {
    let (circuit, answers) = check("two-outputs", &[Rung::Degree(4), Rung::Degree(8)], 15, 96);
    let error = difference(&circuit["centre"], &answers["centre"]);
    assert!(error < 0.1, "the regression is off by {error}");
}

#[test]
fn a_convolution_over_time() {
    check("waves", &[Rung::Moments { order: 2, degree: 4 }, Rung::Degree(2)], 12, 608);
}
