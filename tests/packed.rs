//! The packed layout end to end: compiled, written, read, and run in the clear and under encryption.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;

use common::{Onnx, Random, packed_counts, repository};
use hec::ir::tensor::TensorGraph;
use hec::{Bound, ImportOptions, LayoutChoice, Options, Program, SampleBatch, Silent};
use ndarray::ArrayD;
use ndarray_npy::NpzReader;

/// A convolution that the client lays out, one after it, and dense layers.
fn network() -> TensorGraph {
    let mut random = Random(7);
    let mut weights = |count: usize| (0..count).map(|_| random.below(2001) as f32 / 4000.0 - 0.25).collect::<Vec<_>>();
    let (w1, b1, w2, w3, w4) = (weights(36), weights(4), weights(216), weights(54 * 12), weights(12 * 5));
    let model = Onnx::new()
        .input("x", &[1, 10, 10])
        .weights("w1", &[4, 1, 3, 3], &w1)
        .weights("b1", &[4], &b1)
        .weights("w2", &[6, 4, 3, 3], &w2)
        .weights("w3", &[54, 12], &w3)
        .weights("w4", &[12, 5], &w4)
        .node("Conv", &["x", "w1", "b1"], "a")
        .node("Mul", &["a", "a"], "b")
        .node("Conv", &["b", "w2"], "c")
        .attribute("strides", &[2, 2])
        .node("Mul", &["c", "c"], "d")
        .node("Flatten", &["d"], "e")
        .node("MatMul", &["e", "w3"], "f")
        .node("Mul", &["f", "f"], "g")
        .node("MatMul", &["g", "w4"], "y")
        .output("y");
    hec::import(&model.bytes(), &ImportOptions::default()).unwrap()
}

/// Without samples, precision is promised relative to bounds that the outputs do not come near.
fn options(batch: Option<usize>) -> Options {
    let mut random = Random(5);
    let values = (0..16 * 100).map(|_| random.below(1001) as f64 / 1000.0).collect();
    let calibration = BTreeMap::from([("x".to_owned(), values)]);
    Options {
        layout: LayoutChoice::Packed,
        precision: 13.0,
        bound: Bound::Any,
        batch,
        calibration,
        ..Options::default()
    }
}

/// Bits of precision of a program on some samples.
fn precision(program: &Program, backend: &str, samples: usize) -> f64 {
    let mut random = Random(3);
    let values = (0..samples * 100).map(|_| random.below(1001) as f64 / 1000.0).collect();
    let inputs = BTreeMap::from([("x".to_owned(), SampleBatch { values, samples })]);
    let found = hec::backend(backend).unwrap().run(program, &inputs, &Silent).unwrap();
    let plain = hec::evaluate_samples(program.source(), &inputs, &Silent).unwrap();
    let (found, plain) = (&found.outputs["y"], &plain.outputs["y"]);
    assert_eq!(found.len(), 5 * samples);
    let error = found.iter().zip(plain).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    (plain.iter().fold(0.0, |m: f64, v| m.max(v.abs())) / error).log2()
}

#[test]
fn samples_come_back_in_order_and_precise() {
    for batch in [None, Some(3)] {
        let program = hec::compile(&network(), &options(batch)).unwrap().program;
        assert_eq!(program.capacity(), batch.map_or(1, usize::next_power_of_two));
        let program = Program::from_bytes(&program.to_bytes()).unwrap();
        let clear = precision(&program, "plain-circuit", 6);
        assert!(clear > 24.0, "{clear} bits in the clear");
        let encrypted = precision(&program, "he-ckks", 6);
        assert!(encrypted >= 12.0, "{encrypted} bits under encryption");
    }
}

/// The predictions that the layout is chosen by: neither far too high nor too low.
#[test]
fn precision_is_predicted() {
    let compiled = hec::compile(&network(), &options(None)).unwrap();
    let (predicted, found) = (compiled.decisions.precision.1, precision(&compiled.program, "he-ckks", 8));
    assert!((predicted - 1.0..predicted + 8.0).contains(&found), "{predicted} bits predicted, {found} found");
}

/// A committed model with its first test images as samples for calibration: two of them encrypted. Gives its counts.
fn committed(name: &str) -> String {
    let bytes = std::fs::read(repository(&format!("models/{name}.onnx"))).unwrap();
    let model = hec::import(&bytes, &ImportOptions::default()).unwrap();
    let fixture = repository("tests/fixtures/onnxruntime").join(name).with_extension("npz");
    let images: ArrayD<f32> = NpzReader::new(std::fs::File::open(fixture).unwrap()).unwrap().by_name("input").unwrap();
    let values: Vec<f64> = images.into_iter().map(f64::from).collect();
    let input = model.inputs().next().unwrap().1.to_owned();
    let calibration = BTreeMap::from([(input.clone(), values.clone())]);
    let program = hec::compile(&model, &Options { calibration, ..options(None) }).unwrap().program;
    let inputs = BTreeMap::from([(input, SampleBatch { values: values[..2 * 784].to_vec(), samples: 2 })]);
    let found = hec::backend("he-ckks").unwrap().run(&program, &inputs, &Silent).unwrap();
    let plain = hec::evaluate_samples(program.source(), &inputs, &Silent).unwrap();
    let (found, plain) = (found.outputs.values().next().unwrap(), plain.outputs.values().next().unwrap());
    let error = found.iter().zip(plain).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let bits = (plain.iter().fold(0.0, |m: f64, v| m.max(v.abs())) / error).log2();
    assert!(bits >= 12.0, "{name}: {bits} bits");
    packed_counts(&program)
}

#[test]
fn fine_tuned_models() {
    insta::assert_snapshot!(committed("finetuned-mnist"), @"N = 2^14 conjugate-invariant, 5 levels, 247 rotations with 192 keys, 249 key switches, 1188 products with diagonals, 2 products, 5 rescalings");
    insta::assert_snapshot!(committed("finetuned-fashion-mnist"), @"N = 2^14 conjugate-invariant, 5 levels, 247 rotations with 192 keys, 249 key switches, 1188 products with diagonals, 2 products, 5 rescalings");
}
