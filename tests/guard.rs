//! Values that leave the range on which a polynomial was fitted: the client sees it if the model was compiled with a guard.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;

use common::{Onnx, Random};
use hec::ir::tensor::TensorGraph;
use hec::{Approximation, Bound, ImportOptions, LayoutChoice, Options, Outcome, Program, SampleBatch, Silent};

const FEATURES: usize = 6;

/// Two dense layers with a SiLU each, and one more; a softmax for the client.
fn network() -> TensorGraph {
    let mut random = Random(11);
    let mut weights = |count: usize| (0..count).map(|_| random.below(2001) as f32 / 2000.0 - 0.5).collect::<Vec<_>>();
    let (w1, w2, w3) = (weights(48), weights(64), weights(24));
    let model = Onnx::new()
        .input("x", &[6])
        .weights("w1", &[6, 8], &w1)
        .weights("w2", &[8, 8], &w2)
        .weights("w3", &[8, 3], &w3)
        .node("MatMul", &["x", "w1"], "a")
        .node("Relu", &["a"], "b")
        .node("MatMul", &["b", "w2"], "c")
        .node("Sigmoid", &["c"], "d")
        .node("MatMul", &["d", "w3"], "e")
        .node("Softmax", &["e"], "y")
        .output("y");
    hec::import(&model.bytes(), &ImportOptions::default()).unwrap()
}

fn samples(count: usize, seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    (0..count * FEATURES).map(|_| random.below(2001) as f64 / 1000.0 - 1.0).collect()
}

fn compiled(guard: bool, layout: LayoutChoice) -> Program {
    let options = Options {
        input_range: (-1.0, 1.0),
        precision: 8.0,
        bound: Bound::Any,
        calibration: BTreeMap::from([("x".to_owned(), samples(256, 1))]),
        approximation: Approximation { guard, ..Approximation::default() },
        layout,
        ..Options::default()
    };
    hec::compile(&network(), &options).unwrap().program
}

fn run(program: &Program, backend: &str, values: &[f64]) -> Outcome {
    hec::backend(backend).unwrap().run(program, &batch(values), &Silent).unwrap()
}

fn batch(values: &[f64]) -> BTreeMap<String, SampleBatch> {
    let batch = SampleBatch { values: values.to_vec(), samples: values.len() / FEATURES };
    BTreeMap::from([("x".to_owned(), batch)])
}

#[test]
fn the_guard_names_the_samples_that_left_the_range() {
    names_what_left(LayoutChoice::Batch);
}

#[test]
fn the_guard_names_the_samples_that_left_the_range_packed() {
    names_what_left(LayoutChoice::Packed);
}

fn names_what_left(layout: LayoutChoice) {
    let program = compiled(true, layout);
    let program = Program::from_bytes(&program.to_bytes()).unwrap();
    let nodes: Vec<&str> = program.guards().iter().map(|guard| guard.origin.as_str()).collect();
    assert_eq!(nodes, ["/b", "/d"]);

    let inside = samples(40, 2);
    let mut outside = inside.clone();
    // What makes the first hidden element as large as inputs between -1.5 and 1.5 can.
    let mut random = Random(11);
    let first: Vec<f64> = (0..48).map(|_| random.below(2001) as f64 / 2000.0 - 0.5).step_by(8).collect();
    outside[7 * FEATURES..8 * FEATURES].iter_mut().zip(&first).for_each(|(x, w)| *x = 1.5 * w.signum());
    for backend in ["plain-circuit", "he-ckks"] {
        let found = run(&program, backend, &inside);
        assert!(found.escapes.iter().all(|escapes| escapes.samples.is_empty()), "{backend}: {:?}", found.escapes);
        let plain = hec::evaluate_samples(program.source(), &batch(&inside), &Silent).unwrap();
        let close = found.outputs["y"].iter().zip(&plain.outputs["y"]).all(|(a, b)| (a - b).abs() < 0.05);
        assert!(close && found.outputs["y"].len() == 120, "{backend}: {:?}", found.outputs);
    }
    // In the clear, the circuit is refused where the second witness outgrows the modulus; encrypted, that is as good as random.
    let found = run(&program, "he-ckks", &outside);
    assert_eq!(found.escapes[0].samples, [7]);
}

#[test]
fn a_guard_changes_no_answer_and_nothing_is_watched_without_one() {
    let (with, without) = (compiled(true, LayoutChoice::Batch), compiled(false, LayoutChoice::Batch));
    assert!(without.guards().is_empty());
    let values = samples(40, 3);
    let (a, b) = (run(&with, "plain-circuit", &values), run(&without, "plain-circuit", &values));
    assert!(b.escapes.is_empty());
    let close = a.outputs["y"].iter().zip(&b.outputs["y"]).all(|(a, b)| (a - b).abs() < 0.02);
    assert!(close, "{:?} and {:?}", a.outputs, b.outputs);
}
