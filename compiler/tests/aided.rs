//! Functions that the client computes in the middle of the run.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;

use hec_compiler::approximate::Approximation;
use hec_compiler::{Activations, Bound, CompileError, LayoutChoice, Options, aided, compile};
use hec_ir::ckks::{self, Op};
use hec_ir::tensor::{Binary, Pool, Pooling, TensorGraph, Unary, Window};

/// A convolution, ReLU and maximum pooling; a residual block; a dense layer.
fn residual() -> TensorGraph {
    let mut m = common::Model::new();
    let x = m.input("x", &[1, 1, 8, 8]);
    let first = m.conv("first", x, [3, 1, 3, 3], 1, 1);
    let relu = m.push("act1", Unary::Relu, &[first]);
    let window = Window { strides: vec![2; 2], pads_begin: vec![0; 2], pads_end: vec![0; 2], dilations: vec![1; 2] };
    let pooled = m.push("pool", Pool { pooling: Pooling::Max, kernel: vec![2; 2], window }, &[relu]);
    let inner = m.conv("inner", pooled, [3, 3, 3, 3], 1, 1);
    let inner = m.push("act2", Unary::Relu, &[inner]);
    let inner = m.conv("back", inner, [3, 3, 3, 3], 1, 1);
    let sum = m.push("sum", Binary::Add, &[inner, pooled]);
    let out = m.push("act3", Unary::Sigmoid, &[sum]);
    let flat = m.flatten("flat", out, 48);
    let out = m.dense("out", flat, 48, 4);
    m.finish(out)
}

fn options(layout: LayoutChoice) -> Options {
    let mut m = common::Model::new();
    let calibration = BTreeMap::from([("x".to_owned(), (0..32 * 64).map(|_| m.random()).collect::<Vec<f64>>())]);
    let bound = Bound::Any;
    Options {
        calibration,
        input_range: (-1.0, 1.0),
        activations: Activations::Client,
        bound,
        layout,
        ..Options::default()
    }
}

#[test]
fn rounds_are_what_lies_between_layers() {
    let split = aided::split(&residual(), true).unwrap().unwrap();
    let text = |i: usize| split.rounds[i].function.to_string();
    assert_eq!(split.rounds.len(), 3);
    assert!(text(0).contains("relu") && text(0).contains("max_pool"), "{}", text(0));
    // What is only reshaped afterwards is the client's as well.
    assert!(text(2).contains("sigmoid") && text(2).contains("reshape"), "{}", text(2));
    assert!(split.rounds[0].groups().is_some() && split.rounds[2].groups().is_none());
    assert!(aided::split(&split.server, true).unwrap().is_none(), "nothing is left to cut");
}

#[test]
fn both_layouts_need_only_the_depth_between_rounds() {
    for layout in [LayoutChoice::Batch, LayoutChoice::Packed] {
        let compiled = compile(&residual(), &options(layout)).unwrap();
        let circuit = compiled.program.circuit();
        let depth = ckks::multiplicative_depth(circuit).into_iter().max();
        // A factor's reciprocal, a layer, and a factor.
        assert_eq!(depth, Some(3), "{}", compiled.decisions);
        let refreshes = circuit.nodes().filter(|(_, node)| matches!(node.op(), Op::Refresh(_))).count();
        assert_eq!((refreshes, compiled.program.rounds().len()), (3, 3));
        assert_eq!(compiled.program.blinded_rounds().len(), 2);
        assert!(compiled.decisions.calibrated, "{}", compiled.decisions);
        let bytes = compiled.program.to_bytes();
        assert!(hec_ir::Program::from_bytes(&bytes).unwrap() == compiled.program);
    }
}

#[test]
fn without_samples_nothing_is_known_of_what_comes_back() {
    let options = Options { calibration: BTreeMap::new(), ..options(LayoutChoice::Batch) };
    let Err(CompileError::Option { name: "activations", reason }) = compile(&residual(), &options) else {
        panic!("there are no samples")
    };
    assert!(reason.contains("--calibrate"), "{reason}");
}

#[test]
fn a_mixed_plan_asks_the_client_only_where_the_budget_calls_for_it() {
    let mut m = common::Model::new();
    let calibration = BTreeMap::from([("x".to_owned(), (0..256 * 64).map(|_| m.random()).collect::<Vec<f64>>())]);
    let rounds = |max_output_error: f64| {
        let approximation = Approximation { max_output_error: Some(max_output_error), ..Approximation::default() };
        let options = Options {
            calibration: calibration.clone(),
            activations: Activations::Mixed,
            approximation,
            precision: 6.0,
            ..options(LayoutChoice::Packed)
        };
        compile(&residual(), &options).unwrap().program.rounds().len()
    };
    assert_eq!([0.3, 0.05, 0.001].map(rounds), [0, 1, 2]);
}
