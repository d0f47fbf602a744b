//! Networks whose activations the client computes in the middle of the run: exact, in both layouts, encrypted.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};

use common::repository;
use hec::ir::ckks::{counts, multiplicative_depth};
use hec::ir::tensor::TensorGraph;
use hec::{
    Activations, Bound, ImportOptions, LayoutChoice, Options, Outcome, Port, Program, RoundDecision, SampleBatch,
    Silent,
};
use ndarray::ArrayD;
use ndarray_npy::NpzReader;

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
        bound: Bound::Any,
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

/// The committed network of 19 ReLU and 9 residual sums.
#[test]
fn a_deep_residual_network_runs_exactly_packed() {
    let bytes = fs::read(repository("models/resnet20-cifar10.onnx")).unwrap();
    let model = hec::import(&bytes, &ImportOptions::default()).unwrap();
    let mut npz =
        NpzReader::new(File::open(repository("tests/fixtures/onnxruntime/resnet20-cifar10.npz")).unwrap()).unwrap();
    let mut values = |name: &str| -> Vec<f64> {
        let array: ArrayD<f32> = npz.by_name(name).unwrap();
        array.into_iter().map(f64::from).collect()
    };
    let (images, expected) = (values("input"), values("output"));
    let name = Port::inputs_of(&model)[0].name.clone();
    let options = Options {
        calibration: BTreeMap::from([(name.clone(), images[..4 * 3 * 32 * 32].to_vec())]),
        activations: Activations::Client,
        layout: LayoutChoice::Packed,
        precision: 12.5,
        bound: Bound::Any,
        batch: Some(1),
        // Weights are encoded when they are used.
        memory: Some(1 << 30),
        ..Options::default()
    };
    let compiled = hec::compile(&model, &options).unwrap();
    let program = &compiled.program;
    let circuit = program.circuit();
    let found = counts(circuit);
    assert_eq!(program.rounds().len(), 19);
    assert_eq!(program.blinded_rounds().len(), 19);
    assert_eq!((found.products, found.rotations, found.key_switches), (0, 1142, 1142));
    assert_eq!(circuit.context().ring_degree(), 1 << 13);
    let image = SampleBatch { values: images[..3 * 32 * 32].to_vec(), samples: 1 };
    let outcome = hec::backend("he-ckks").unwrap().run(program, &BTreeMap::from([(name, image)]), &Silent).unwrap();
    let logits: Vec<f64> = outcome.outputs.values().flatten().copied().collect();
    let error = logits.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(error < 1e-2 && logits.len() == 10, "{error}");
    // What the compiler said is what was sent, but for headers.
    let total = |part: fn(&RoundDecision) -> u64| compiled.decisions.rounds.iter().map(part).sum::<u64>();
    for (said, sent) in
        [(total(|round| round.down), outcome.bytes.rounds_down), (total(|round| round.up), outcome.bytes.rounds_up)]
    {
        assert!(said <= sent && sent < said + said / 50, "{said} said, {sent} sent");
    }
}
