//! Each pass as text before and after, and as numbers: the meaning stays.

#![allow(clippy::expect_used, reason = "tests")]

mod common;

use common::{Model, distance, evaluate};
use hec_compiler::{lower, passes, ranges};
use hec_ir::tensor::{
    Binary, Cast, Constant, CumulativeSum, Element, MatMul, Op, Reshape, Tensor, TensorGraph, Transpose, Unary, Where,
};

/// What `pass` makes of `graph`, after checking that a random sample gives the same result.
fn after(pass: &str, graph: &TensorGraph) -> String {
    let pass = passes::PASSES.iter().find(|p| p.name == pass).expect("a pass of this name");
    let result = pass.run(graph).expect("a well-typed graph");
    let (value, _) = graph.inputs().next().expect("an input");
    let elements = graph.ty(value).known().expect("a type").elements();
    let sample = common::image(&mut Model::new(), elements);
    let distance = distance(&evaluate(&result, &sample), &evaluate(graph, &sample));
    assert!(distance < 1e-9, "the pass changed the result by {distance}");
    result.to_string()
}

#[test]
fn constants_are_folded() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let variance = m.constant(&[3], vec![4.0, 9.0, 16.0]);
    let deviation = m.push("bn", Unary::Sqrt, &[variance]);
    let y = m.push("bn", Binary::Div, &[x, deviation]);
    insta::assert_snapshot!(after("fold-constants", &m.finish(y)));
}

#[test]
fn products_of_one_value_become_polynomials() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let half = m.constant(&[], vec![0.5]);
    let square = m.push("square", Binary::Mul, &[x, x]);
    let linear = m.push("linear", Binary::Mul, &[x, half]);
    let sum = m.push("sum", Binary::Add, &[square, linear]);
    let y = m.push("shift", Binary::Add, &[sum, half]);
    insta::assert_snapshot!(after("recognise-polynomials", &m.finish(y)));
}

/// What the passes that recognise make of a graph, a line for each node that is no constant.
fn recognised(m: Model, y: hec_ir::Value) -> String {
    let graph = m.finish(y);
    let passes = ["fold-constants", "recognise-polynomials", "recognise-functions"];
    let find = |name: &&str| passes::PASSES.iter().find(|pass| pass.name == *name).expect("a pass of this name");
    let result = passes.iter().map(find).try_fold(graph.clone(), |graph, pass| pass.run(&graph)).expect("well typed");
    for sample in [[-9.0, -1.5, -0.25], [0.0, 0.5, 3.5]] {
        let distance = distance(&evaluate(&result, &sample), &evaluate(&graph, &sample));
        assert!(distance < 1e-12, "the result changed by {distance}");
    }
    let lines = result.nodes().filter(|(_, node)| !matches!(node.op(), Op::Constant(_) | Op::Input(_)));
    let describe = |op: &Op| match op.function() {
        Some(function) => format!("function {function}"),
        None => op.name().to_owned(),
    };
    lines.map(|(_, node)| describe(node.op())).collect::<Vec<_>>().join(" | ")
}

#[test]
fn activations_written_as_subgraphs_become_one_function() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let gate = m.push("gate", Unary::Sigmoid, &[x]);
    let y = m.push("silu", Binary::Mul, &[x, gate]);
    insta::assert_snapshot!(recognised(m, y), @"function x x sigmoid mul");

    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let (root, one, half) =
        (m.constant(&[], vec![2.0_f64.sqrt()]), m.constant(&[], vec![1.0]), m.constant(&[1], vec![0.5]));
    let scaled = m.push("scaled", Binary::Div, &[x, root]);
    let erf = m.push("erf", Unary::Erf, &[scaled]);
    let shifted = m.push("shifted", Binary::Add, &[erf, one]);
    let product = m.push("product", Binary::Mul, &[x, shifted]);
    let y = m.push("gelu", Binary::Mul, &[product, half]);
    insta::assert_snapshot!(recognised(m, y), @"function x x 1.4142135623730951 div erf 1 add mul 0.5 mul");

    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let [three, small, scale, half, one] = [3.0, 0.044715, 0.7978845608, 0.5, 1.0].map(|v| m.constant(&[], vec![v]));
    let cube = m.push("cube", Binary::Pow, &[x, three]);
    let cube = m.push("small", Binary::Mul, &[cube, small]);
    let sum = m.push("sum", Binary::Add, &[x, cube]);
    let sum = m.push("scaled", Binary::Mul, &[sum, scale]);
    let tanh = m.push("tanh", Unary::Tanh, &[sum]);
    let tanh = m.push("shifted", Binary::Add, &[one, tanh]);
    let x_half = m.push("half", Binary::Mul, &[x, half]);
    let y = m.push("gelu", Binary::Mul, &[x_half, tanh]);
    insta::assert_snapshot!(recognised(m, y), @"function x 0.5 mul 1 0.035677408136172 x mul x mul 0.7978845608 add x mul tanh add mul");

    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let one = m.constant(&[1, 1], vec![1.0]);
    let power = m.push("exp", Unary::Exp, &[x]);
    let sum = m.push("sum", Binary::Add, &[power, one]);
    let softplus = m.push("softplus", Unary::Log, &[sum]);
    let tanh = m.push("tanh", Unary::Tanh, &[softplus]);
    let y = m.push("mish", Binary::Mul, &[x, tanh]);
    insta::assert_snapshot!(recognised(m, y), @"function x x exp 1 add log tanh mul");

    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let [three, six] = [3.0, 6.0].map(|v| m.constant(&[], vec![v]));
    let shifted = m.push("shifted", Binary::Add, &[x, three]);
    let clipped = m.push("relu6", Unary::Clip { least: 0.0, most: 6.0 }, &[shifted]);
    let product = m.push("product", Binary::Mul, &[x, clipped]);
    let y = m.push("hard_swish", Binary::Div, &[product, six]);
    insta::assert_snapshot!(recognised(m, y), @"function x x 3 add clip(0,6) mul 6 div");

    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let [zero, slope] = [0.0, 0.1].map(|v| m.constant(&[], vec![v]));
    let positive = m.push("positive", Binary::Greater, &[x, zero]);
    let small = m.push("small", Binary::Mul, &[x, slope]);
    let y = m.push("leaky", Where, &[positive, x, small]);
    insta::assert_snapshot!(recognised(m, y), @"function x 0 greater x x 0.1 mul select");
}

#[test]
fn a_mask_is_a_function_too() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let half = m.constant(&[], vec![0.5]);
    let above = m.push("above", Binary::Greater, &[x, half]);
    let mask = m.push("mask", Cast { element: Element::F32 }, &[above]);
    let y = m.push("masked", Binary::Mul, &[x, mask]);
    insta::assert_snapshot!(recognised(m, y), @"function x x 0.5 greater mul");

    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let half = m.constant(&[], vec![0.5]);
    let above = m.push("above", Binary::Greater, &[x, half]);
    let y = m.push("mask", Cast { element: Element::F32 }, &[above]);
    insta::assert_snapshot!(recognised(m, y), @"function x 0.5 greater");
}

#[test]
fn what_is_linear_or_polynomial_stays_beside_a_function() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let [two, one, zero] = [2.0, 1.0, 0.0].map(|v| m.constant(&[], vec![v]));
    let scaled = m.push("scaled", Binary::Mul, &[x, two]);
    let act = m.push("act", Binary::Max, &[scaled, zero]);
    let y = m.push("shifted", Binary::Add, &[act, one]);
    insta::assert_snapshot!(recognised(m, y), @"mul | function x relu | add");

    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let square = m.push("square", Binary::Mul, &[x, x]);
    let act = m.push("act", Unary::Sigmoid, &[square]);
    let y = m.push("squared", Binary::Mul, &[act, act]);
    insta::assert_snapshot!(recognised(m, y), @"polynomial | function x sigmoid | polynomial");

    // One number for each channel is not one function.
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let slopes = m.weights(&[3], 1.0);
    let scaled = m.push("scaled", Binary::Mul, &[x, slopes]);
    let gate = m.push("gate", Unary::Sigmoid, &[scaled]);
    let y = m.push("product", Binary::Mul, &[x, gate]);
    insta::assert_snapshot!(recognised(m, y), @"mul | function x sigmoid | mul");
}

#[test]
fn quadratics_become_one_squaring() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let coefficients = [0.25, 0.5, 0.125].into();
    let y = m.push("act", hec_ir::tensor::Polynomial { coefficients }, &[x]);
    insta::assert_snapshot!(after("complete-squares", &m.finish(y)));
}

#[test]
fn batch_norm_goes_into_the_convolution() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 1, 4, 4]);
    let y = m.conv("conv", x, [2, 1, 3, 3], 1, 1);
    let (scale, shift) = (m.weights(&[2, 1, 1], 2.0), m.weights(&[1, 2, 1, 1], 1.0));
    let y = m.push("bn", Binary::Mul, &[y, scale]);
    let y = m.push("bn", Binary::Add, &[y, shift]);
    insta::assert_snapshot!(after("fold-batch-norm", &m.finish(y)));
}

#[test]
fn a_value_that_is_used_twice_keeps_its_convolution() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 1, 4, 4]);
    let y = m.conv("conv", x, [2, 1, 3, 3], 1, 1);
    let scale = m.weights(&[2, 1, 1], 2.0);
    let scaled = m.push("scaled", Binary::Mul, &[y, scale]);
    let sum = m.push("sum", Binary::Add, &[y, scaled]);
    let graph = m.finish(sum);
    assert_eq!(after("fold-batch-norm", &graph), graph.to_string());
}

#[test]
fn runs_are_squashed_where_that_is_cheaper() {
    // Pool, wide convolution, pool, dense: 845 x 100 weights are fewer than those of the parts.
    insta::assert_snapshot!(after("squash-linear-runs", &common::cryptonets()));
}

#[test]
fn a_convolution_stays_one_where_squashing_is_dearer() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 1, 16, 16]);
    let y = m.conv("conv1", x, [1, 1, 5, 5], 1, 2);
    let y = m.conv("conv2", y, [4, 1, 5, 5], 1, 2);
    insta::assert_snapshot!(after("squash-linear-runs", &m.finish(y)));
}

#[test]
fn lowering_to_slots_keeps_the_meaning() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 2, 6, 6]);
    let y = m.conv("conv", x, [4, 2, 3, 3], 2, 1);
    let y = m.push("transpose", Transpose { permutation: vec![0, 2, 3, 1] }, &[y]);
    let w = m.weights(&[4, 3], 1.0);
    let y = m.push("matmul", MatMul, &[y, w]);
    let left = m.weights(&[2, 3], 1.0);
    let y = m.push("left", MatMul, &[left, y]);
    let y = m.push("cube", hec_ir::tensor::Polynomial { coefficients: [0.1, 0.0, -0.5, 0.25].into() }, &[y]);
    let z = m.push("gate", Binary::Mul, &[y, y]);
    let y = m.push("sum", Binary::Sub, &[z, y]);
    let graph = m.finish(y);
    let (_, slots) = lower(&graph).expect("packs");
    let sample = common::image(&mut Model::new(), 72);
    let packed = ranges::evaluate(&slots, |_, _| sample.clone());
    let found = &packed[slots.outputs()[0].value.index()];
    assert!(distance(found, &evaluate(&graph, &sample)) < 1e-9);
}

/// Lowers `graph` to slots, and checks that a random sample gives the same result there.
fn lowered(graph: &TensorGraph) -> hec_ir::slots::SlotGraph {
    let (_, slots) = lower(graph).expect("packs");
    let (input, _) = graph.inputs().next().expect("an input");
    let elements = graph.ty(input).known().expect("a type").elements();
    let sample = common::image(&mut Model::new(), elements);
    let packed = ranges::evaluate(&slots, |_, _| sample.clone());
    let found = &packed[slots.outputs()[0].value.index()];
    let distance = distance(found, &evaluate(graph, &sample));
    assert!(distance < 1e-9, "packing changed the result by {distance}");
    slots
}

#[test]
fn two_encrypted_matrices_are_multiplied() {
    for (left, right) in [(vec![2, 3], vec![3, 2]), (vec![1, 6], vec![2, 6, 1]), (vec![6], vec![6])] {
        let mut m = Model::new();
        let x = m.input("x", &[1, 6]);
        let shift = m.weights(&[right.iter().product()], 1.0);
        let a = m.push("a", Reshape { shape: left }, &[x]);
        let wide = m.push("wide", Reshape { shape: vec![6] }, &[x]);
        let repeated = m.push("repeated", hec_ir::tensor::Concat { axis: 0 }, &[wide, wide]);
        let count = right.iter().product();
        let b = m.push("part", hec_ir::tensor::Slice::contiguous(&[0], &[count]), &[repeated]);
        let b = m.push("shift", Binary::Add, &[b, shift]);
        let b = m.push("b", Reshape { shape: right }, &[b]);
        let y = m.push("matmul", MatMul, &[a, b]);
        lowered(&m.finish(y));
    }
    let mut m = Model::new();
    let x = m.input("x", &[6]);
    let y = m.push("norm", MatMul, &[x, x]);
    insta::assert_snapshot!(lowered(&m.finish(y)), @r#"
    slots
      %0 = input {name="x", layout="batch", shape=[6]} : slots[6]  // x
      %1 = square %0 : slots[6]  // norm
      %2 = combine %1 {matrix=<1x6, 6 weights 6e70d412>, bias=[0.0]} : slots[1]  // norm
      output output %2
    "#);
}

#[test]
fn running_sums_are_linear() {
    for (axis, exclusive, reverse) in [(0, false, false), (1, true, false), (2, false, true), (1, true, true)] {
        let mut m = Model::new();
        let x = m.input("x", &[2, 3, 4]);
        let y = m.push("sum", CumulativeSum { axis, exclusive, reverse }, &[x]);
        lowered(&m.finish(y));
    }
    let mut m = Model::new();
    let x = m.input("x", &[1 << 13]);
    let y = m.push("sum", CumulativeSum { axis: 0, exclusive: false, reverse: false }, &[x]);
    let refusal = lower(&m.finish(y)).expect_err("too many terms");
    insta::assert_snapshot!(refusal, @r#"
    1 of the model's nodes cannot be computed on encrypted data:
      node "sum": cumulative_sum has too many terms: take a shorter axis, or run the model with --backend plain
    "#);
}

#[test]
fn a_known_choice_only_moves_elements() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3]);
    let mask = Tensor::from_values(Element::Bool, &[3], vec![1.0, 0.0, 1.0]).expect("three");
    let mask = m.push("mask", Constant(mask.into()), &[]);
    let other = m.constant(&[3], vec![7.0, 8.0, 9.0]);
    let y = m.push("choice", Where, &[mask, x, other]);
    lowered(&m.finish(y));
    let mut m = Model::new();
    let x = m.input("x", &[1, 2, 2]);
    let mask = Tensor::from_values(Element::Bool, &[2], vec![0.0, 1.0]).expect("two");
    let mask = m.push("mask", Constant(mask.into()), &[]);
    let swapped = m.push("swapped", Transpose { permutation: vec![0, 2, 1] }, &[x]);
    let y = m.push("choice", Where, &[mask, x, swapped]);
    lowered(&m.finish(y));
}

#[test]
fn what_compares_or_rounds_is_refused_with_a_way_out() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 4]);
    let y = m.push("act", Unary::LeakyRelu { alpha: 0.1 }, &[x]);
    let y = m.push("narrow", Cast { element: Element::F32 }, &[y]);
    let y = m.push("round", Cast { element: Element::I64 }, &[y]);
    insta::assert_snapshot!(lower(&m.finish(y)).expect_err("it compares and rounds"), @r#"
    2 of the model's nodes cannot be computed on encrypted data:
      node "act": leaky_relu compares values, which encrypted arithmetic cannot: give calibration samples with --calibrate, and a polynomial takes its place; or train again with a polynomial activation (such as a square) or average pooling; or run the model with --backend plain
      node "round": cast rounds values or compares them with 0, which encrypted arithmetic cannot: move it behind the last layer, where the client computes it after decryption, or run the model with --backend plain
    "#);
}

#[test]
fn every_obstacle_is_reported_at_once() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 4]);
    let y = m.push("first", Unary::Relu, &[x]);
    let square = m.weights(&[4, 4], 1.0);
    let y = m.push("fine", MatMul, &[y, square]);
    let y = m.push("second", Unary::Sigmoid, &[y]);
    let w = m.weights(&[4, 2], 1.0);
    let y = m.push("fine", MatMul, &[y, w]);
    let z = m.push("third", Binary::Div, &[y, y]);
    let error = lower(&m.finish(z)).expect_err("nothing of this can be encrypted").to_string();
    let named: Vec<bool> = ["\"first\"", "\"second\"", "\"third\"", "\"fine\""].map(|n| error.contains(n)).to_vec();
    assert_eq!(named, [true, true, true, false], "{error}");
}
