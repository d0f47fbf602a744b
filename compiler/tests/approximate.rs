//! Polynomials in place of activations and of maximum pooling.

mod common;

use std::collections::BTreeMap;

use hec_compiler::approximate::{self, Approximation, MaxPooling};
use hec_compiler::ranges::Samples;
use hec_compiler::{CompileError, Options, compile};
use hec_ir::tensor::{Binary, Pool, Pooling, TensorGraph, Unary, Window};

/// A dense layer, ReLU and a dense layer, on a sum of two inputs.
fn two_inputs() -> TensorGraph {
    let mut m = common::Model::new();
    let (a, b) = (m.input("a", &[1, 6]), m.input("b", &[1, 6]));
    let sum = m.push("sum", Binary::Add, &[a, b]);
    let hidden = m.dense("hidden", sum, 6, 8);
    let relu = m.push("act", Unary::Relu, &[hidden]);
    let out = m.dense("out", relu, 8, 3);
    m.finish(out)
}

fn samples(counts: [(&str, usize); 2]) -> Samples {
    let mut m = common::Model::new();
    let mut values = |count: usize| (0..6 * count).map(|_| m.random()).collect::<Vec<f64>>();
    counts.iter().map(|&(name, count)| (name.to_owned(), values(count))).collect()
}

#[test]
fn the_least_degree_within_the_budget_is_taken() {
    let model = two_inputs();
    // More samples of one input than of the other: those that both have count.
    let samples = samples([("a", 200), ("b", 300)]);
    let strict = Approximation { max_accuracy_drop: Some(0.02), ..Approximation::default() };
    let (graph, summary) =
        approximate::run(&model, None, &samples, (0.0, 1.0), &strict).expect("fits").expect("there is a ReLU");
    assert!(approximate::sites(&graph, MaxPooling::Auto).is_empty());
    assert!(summary.within_budget() && summary.held_back == 100 && !summary.labelled);
    let [replacement] = &summary.replacements[..] else { panic!("one ReLU: {summary}") };
    assert_eq!(replacement.origin, "act");
    assert!(replacement.error.0 < 0.15 * replacement.error.1, "{summary}");
    let again = approximate::run(&model, None, &samples, (0.0, 1.0), &strict).expect("fits").expect("there is a ReLU");
    assert!(again.0 == graph && again.1 == summary, "the search is not deterministic");
}

#[test]
fn a_budget_that_is_not_kept_is_refused_with_what_was_tried() {
    let samples = samples([("a", 400), ("b", 400)]);
    // Labels that the model never gives.
    let labels = Some(vec![7; 400]);
    let asked = Approximation { max_accuracy_drop: Some(0.0), labels: labels.clone(), ..Approximation::default() };
    let (_, summary) =
        approximate::run(&two_inputs(), None, &samples, (0.0, 1.0), &asked).expect("nothing is lost").expect("a ReLU");
    assert!(summary.labelled && summary.accuracy == (0.0, 0.0));

    let short = Approximation { labels: Some(vec![0; 399]), ..Approximation::default() };
    let error = approximate::run(&two_inputs(), None, &samples, (0.0, 1.0), &short).expect_err("a label is missing");
    assert!(error.to_string().contains("expected a label for each of 400 samples, found 399"), "{error}");
}

#[test]
fn few_samples_show_nothing() {
    let few = samples([("a", 15), ("b", 15)]);
    assert_eq!(approximate::run(&two_inputs(), None, &few, (0.0, 1.0), &Approximation::default()), Ok(None));
    let options = Options { calibration: few, ..Options::default() };
    let Err(CompileError::Unsupported { nodes }) = compile(&two_inputs(), &options) else { panic!("it has a ReLU") };
    assert!(nodes[0].reason.contains("--calibrate"), "{}", nodes[0].reason);
}

/// Maximum pooling of ReLU, and a dense layer.
fn pooled() -> TensorGraph {
    let mut m = common::Model::new();
    let x = m.input("x", &[1, 1, 8, 8]);
    let conv = m.conv("conv", x, [3, 1, 3, 3], 1, 1);
    let relu = m.push("act", Unary::Relu, &[conv]);
    let window = Window { strides: vec![2; 2], pads_begin: vec![1; 2], pads_end: vec![1; 2], dilations: vec![1; 2] };
    let pool = m.push("pool", Pool { pooling: Pooling::Max, kernel: vec![3; 2], window }, &[relu]);
    let flat = m.push("flat", hec_ir::tensor::Reshape { shape: vec![1, 48] }, &[pool]);
    let out = m.dense("out", flat, 48, 4);
    m.finish(out)
}

#[test]
fn every_way_to_pool_is_computable() {
    let mut m = common::Model::new();
    let samples = BTreeMap::from([("x".to_owned(), (0..64 * 64).map(|_| m.random()).collect::<Vec<f64>>())]);
    for (max_pooling, function, most) in [
        (MaxPooling::Auto, "max_pool of x relu", 0.25),
        (MaxPooling::Tournament, "max_pool", 0.25),
        (MaxPooling::Average, "max_pool", 1.0),
    ] {
        let asked = Approximation { max_pooling, ..Approximation::default() };
        let (graph, summary) =
            approximate::run(&pooled(), None, &samples, (0.0, 1.0), &asked).expect("fits").expect("a pool");
        assert!(approximate::sites(&graph, max_pooling).is_empty(), "{summary}");
        let pool = summary.replacements.iter().find(|r| r.origin == "pool").expect("the pool is replaced");
        assert_eq!(pool.function, function);
        assert!(pool.error.0 < most * pool.error.1, "{summary}");
        hec_compiler::lower(&graph).expect("arithmetic is left");
    }
}

#[test]
fn interval_bounds_hold_for_any_input_and_are_reached() {
    // One element of a dense layer with weights 1, -2, 3: between -2 and 4 for inputs between 0 and 1.
    let mut m = common::Model::new();
    let x = m.input("x", &[1, 3]);
    let weights = m.constant(&[3, 1], vec![1.0, -2.0, 3.0]);
    let hidden = m.push("hidden", hec_ir::tensor::MatMul, &[x, weights]);
    let silu = m.push("sigmoid", Unary::Sigmoid, &[hidden]);
    let out = m.dense("out", silu, 1, 2);
    let graph = m.finish(out);
    let mut random = common::Model::new();
    let values: Vec<f64> = (0..300).map(|_| random.random().abs().min(1.0)).collect();
    let samples = Samples::from([("x".to_owned(), values)]);
    let asked = Approximation::default();
    let (_, summary) = approximate::run(&graph, None, &samples, (0.0, 1.0), &asked).expect("fits").expect("a sigmoid");
    let [replacement] = &summary.replacements[..] else { panic!("one sigmoid: {summary}") };
    assert_eq!(replacement.bound, Some((-2.0, 4.0)));
    assert!(-2.0 <= replacement.seen.0 && replacement.seen.1 <= 4.0);
    assert_eq!(replacement.channels, [replacement.seen]);
    let (low, high) = replacement.quantiles;
    assert!(replacement.seen.0 <= low && low < high && high <= replacement.seen.1);
}

#[test]
fn if_nothing_is_good_enough_the_least_deep_of_the_best_is_shown() {
    let samples = samples([("a", 200), ("b", 200)]);
    let asked = Approximation { max_output_error: Some(1e-9), ..Approximation::default() };
    let refused = approximate::run(&two_inputs(), None, &samples, (0.0, 1.0), &asked);
    let Err(CompileError::Accuracy { summary }) = refused else { panic!("no polynomial is that close") };
    let most = summary.candidates.iter().map(|c| c.accuracy).fold(0.0, f64::max);
    let near = summary.candidates.iter().filter(|c| c.accuracy >= most - summary.allowed);
    assert_eq!(summary.candidates.last().map(|c| c.depth), near.map(|c| c.depth).min(), "{summary}");
    assert!(summary.candidates.len() > 3, "{summary}");
}
