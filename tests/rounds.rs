//! Networks whose activations the client computes in the middle of the run: exact, in both layouts, encrypted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::repository;
use hec::ir::ckks::{counts, multiplicative_depth};
use hec::ir::tensor::TensorGraph;
use hec::{Activations, ImportOptions, LayoutChoice, Options, Outcome, Port, Program, SampleBatch, Silent};

/// Numbers that look like pixels, the same in every run.
fn pixels(count: usize) -> Vec<f64> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    (0..count).map(|_| next()).collect()
}

fn mobilenet() -> TensorGraph {
    let bytes = fs::read(repository("models/mobilenet-fashion-mnist.onnx")).unwrap();
    hec::import(&bytes, &ImportOptions::default()).unwrap()
}

fn compiled(model: &TensorGraph, layout: LayoutChoice, blind: bool) -> Program {
    let name = Port::inputs_of(model)[0].name.clone();
    let calibration = BTreeMap::from([(name, pixels(32 * 784))]);
    let options = Options {
        calibration,
        activations: Activations::Client,
        blind,
        layout,
        batch: Some(if layout == LayoutChoice::Packed { 1 } else { 4096 }),
        precision: 10.0,
        ..Options::default()
    };
    hec::compile(model, &options).unwrap().program
}

fn run(program: &Program, backend: &str, samples: usize) -> Outcome {
    let name = program.inputs()[0].name.clone();
    let inputs = BTreeMap::from([(name, SampleBatch { values: pixels(samples * 784), samples })]);
    hec::backend(backend).unwrap().run(program, &inputs, &Silent).unwrap()
}

fn plain(model: &TensorGraph, samples: usize) -> Outcome {
    let name = Port::inputs_of(model)[0].name.clone();
    let inputs = BTreeMap::from([(name, SampleBatch { values: pixels(samples * 784), samples })]);
    hec::evaluate_samples(model, &inputs, &Silent).unwrap()
}

fn largest_difference(a: &Outcome, b: &Outcome) -> f64 {
    let values = |outcome: &Outcome| outcome.outputs.values().flatten().copied().collect::<Vec<f64>>();
    let (a, b) = (values(a), values(b));
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(0f64, |most, x| most.max(x.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / size
}

#[test]
fn a_network_with_depthwise_convolutions_runs_exactly_packed() {
    let model = mobilenet();
    let program = compiled(&model, LayoutChoice::Packed, true);
    assert_eq!(program.rounds().len(), 8);
    // ReLU6 does not commute with factors.
    assert!(program.blinded_rounds().is_empty());
    // Projection, shortcut and expansion lie between two activations.
    assert_eq!(multiplicative_depth(program.circuit()).into_iter().max(), Some(3));
    let found = run(&program, "he-ckks", 2);
    assert!(found.bytes.rounds_down > 0 && found.bytes.rounds_up > 0);
    let difference = largest_difference(&found, &plain(&model, 2));
    assert!(difference < 1.0 / 512.0, "{difference}");
}

#[test]
fn the_same_in_batches_on_the_plain_circuit() {
    let model = mobilenet();
    let program = compiled(&model, LayoutChoice::Batch, true);
    assert_eq!(counts(program.circuit()).key_switches, 0);
    let difference = largest_difference(&run(&program, "plain-circuit", 3), &plain(&model, 3));
    assert!(difference < 1.0 / 512.0, "{difference}");
}

#[test]
fn random_factors_come_out_again() {
    let bytes = fs::read(repository("models/classical-mnist.onnx")).unwrap();
    let model = hec::import(&bytes, &ImportOptions::default()).unwrap();
    for blind in [true, false] {
        let program = compiled(&model, LayoutChoice::Packed, blind);
        assert_eq!(program.rounds().len(), 2);
        assert_eq!(program.blinded_rounds().len(), if blind { 2 } else { 0 });
        let difference = largest_difference(&run(&program, "he-ckks", 2), &plain(&model, 2));
        assert!(difference < 1.0 / 512.0, "blind {blind}: {difference}");
    }
}
