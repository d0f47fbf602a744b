//! The packed layout: what the slots hold is what the tensors hold, whatever the layouts; and what circuits come to.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::Arc;

use common::{Model, distance, evaluate};
use hec_compiler::cost::CostModel;
use hec_compiler::{CompileError, LayoutChoice, Options, compile, packed, ranges};
use hec_ir::Value;
use hec_ir::ckks;
use hec_ir::slots::{self, Layout, Packed, SlotGraph};
use hec_ir::tensor::{
    Binary, Chebyshev, Concat, Conv, Expand, Pad, Pool, Reduce, Reduction, Slice, TensorGraph, Transpose, Unary, Window,
};

/// The layout of a value: that of the map or input that it comes from elementwise.
fn layout(graph: &SlotGraph, value: Value) -> Arc<Packed> {
    let op = graph.node(value).op();
    if let slots::Op::Transform(map) = op {
        map.to().clone()
    } else if let slots::Op::Input(slots::Input { layout: Layout::Packed(packed), .. }) = op {
        packed.clone()
    } else {
        layout(graph, graph.node(value).operands()[0])
    }
}

/// Packs, computes in slots and unpacks, in vectors of so many slots, and compares with the tensors' meaning. No slot of the result holds
/// anything but 0 or an element of it. Answers with the number of vectors of the largest value.
fn check(graph: &TensorGraph, period: usize) -> usize {
    let graph = hec_compiler::passes::run(graph).expect("passes");
    let lowered = packed::Plan::new(&graph).expect("packs").lower(period, &CostModel::default()).expect("fits");
    let mut random = Model::new();
    let size = graph.inputs().map(|(v, _)| graph.ty(v).known().expect("a type").elements()).sum();
    let input: Vec<f64> = (0..size).map(|_| random.random()).collect();
    let expected = evaluate(&graph, &input);
    let values = ranges::evaluate(&lowered, |_, _| input.clone());
    let output = lowered.outputs()[0].value;
    let (found, slots) = (&values[output.index()], layout(&lowered, output).slots_of_elements());
    let unpacked: Vec<f64> = slots.iter().map(|&slot| found[slot as usize]).collect();
    let distance = distance(&unpacked, &expected);
    assert!(distance < 1e-12, "off by {distance} in vectors of {period} slots\n{lowered}");
    for value in found {
        let known = *value == 0.0 || expected.iter().any(|e| (e - value).abs() < 1e-9);
        assert!(known, "a slot of the result holds {value}, which is no element of it\n{lowered}");
    }
    lowered.nodes().map(|(_, node)| node.ty().length).max().unwrap_or(0)
}

/// In vectors that hold everything several times, once, and only in parts.
fn check_all(graph: &TensorGraph) {
    let vectors: Vec<usize> = [16, 128, 4096].map(|period| check(graph, period)).to_vec();
    assert_eq!(vectors[2], 1, "nothing needs a second vector of 4096 slots");
}

fn window(strides: usize, dilations: usize, [begin, end]: [usize; 2]) -> Window {
    Window {
        strides: vec![strides; 2],
        pads_begin: vec![begin; 2],
        pads_end: vec![end; 2],
        dilations: vec![dilations; 2],
    }
}

#[test]
fn convolutions_of_any_window() {
    for (channels, out, kernel, stride, dilation, pads, groups) in [
        (1, 2, 3, 1, 1, [0, 0], 1),
        (2, 4, 3, 2, 1, [1, 1], 1),
        (3, 2, 2, 2, 1, [0, 0], 1),
        (1, 5, 3, 1, 2, [2, 2], 1),
        (4, 4, 3, 1, 1, [1, 1], 4),
        (4, 6, 3, 2, 1, [1, 0], 2),
        (2, 3, 1, 3, 1, [0, 0], 1),
    ] {
        let mut m = Model::new();
        let x = m.input("x", &[1, channels, 7, 7]);
        let w = m.weights(&[out, channels / groups, kernel, kernel], 0.5);
        let b = m.weights(&[out], 0.5);
        let conv = Conv { window: window(stride, dilation, pads), groups };
        let x = m.push("conv", conv.clone(), &[x, w, b]);
        let y = m.square("square", x);
        check_all(&m.finish(y));
    }
}

#[test]
fn convolutions_after_one_another() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 1, 12, 12]);
    let x = m.conv("conv1", x, [4, 1, 3, 3], 2, 1);
    let x = m.square("square1", x);
    let x = m.conv("conv2", x, [8, 4, 3, 3], 2, 1);
    let x = m.square("square2", x);
    let x = m.flatten("flatten", x, 72);
    let x = m.dense("dense1", x, 72, 10);
    let x = m.square("square3", x);
    let x = m.dense("dense2", x, 10, 3);
    check_all(&m.finish(x));
}

#[test]
fn signals_in_one_dimension() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 2, 20]);
    let w = m.weights(&[4, 2, 5], 0.5);
    let window = Window { strides: vec![2], pads_begin: vec![2], pads_end: vec![2], dilations: vec![1] };
    let x = m.push("conv", Conv { window, groups: 1 }, &[x, w]);
    let x = m.square("square", x);
    let x = m.push("pool", Pool::average(&[2], Window { strides: vec![2], ..Window::unit(1) }), &[x]);
    check_all(&m.finish(x));
}

#[test]
fn dense_layers() {
    for widths in [[784, 100, 10], [5, 17, 3], [64, 64, 64], [3, 100, 1]] {
        let mut m = Model::new();
        let [a, b, c] = widths;
        let x = m.input("x", &[1, a]);
        let x = m.dense("a", x, a, b);
        let x = m.square("square", x);
        let x = m.dense("b", x, b, c);
        check_all(&m.finish(x));
    }
}

#[test]
fn a_deep_chain_of_dense_layers_alternates_its_layouts() {
    let mut m = Model::new();
    let mut x = m.input("x", &[1, 30]);
    for i in 0..5 {
        x = m.dense(&format!("dense{i}"), x, 30, 30);
        x = m.square(&format!("square{i}"), x);
    }
    let y = m.dense("last", x, 30, 4);
    check_all(&m.finish(y));
}

#[test]
fn pooling_padding_and_means() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3, 8, 8]);
    let x = m.square("square1", x);
    let x = m.average_pool("pool", x, 3, 2, 1);
    let x = m.square("square2", x);
    let x = m.push("pad", Pad { begin: vec![0, 0, 1, 0], end: vec![0, 0, 0, 2], value: 0.5 }, &[x]);
    let x = m.square("square3", x);
    let x = m.push("mean", Reduce { reduction: Reduction::Mean, axes: vec![2, 3], keep: true }, &[x]);
    check_all(&m.finish(x));
}

#[test]
fn residual_blocks() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 2, 6, 6]);
    let x = m.conv("stem", x, [4, 2, 3, 3], 1, 1);
    let mut x = m.square("square0", x);
    for i in 1..3 {
        let y = m.conv(&format!("conv{i}a"), x, [4, 4, 3, 3], 1, 1);
        let y = m.square(&format!("square{i}"), y);
        let y = m.conv(&format!("conv{i}b"), y, [4, 4, 3, 3], 1, 1);
        x = m.push(&format!("add{i}"), Binary::Add, &[x, y]);
    }
    let a = m.conv("down", x, [8, 4, 3, 3], 2, 1);
    let b = m.conv("shortcut", x, [8, 4, 1, 1], 2, 0);
    let x = m.push("join", Binary::Sub, &[a, b]);
    let x = m.square("last", x);
    check_all(&m.finish(x));
}

#[test]
fn what_moves_elements() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 4, 6]);
    let a = m.square("a", x);
    let b = m.push("transpose", Transpose { permutation: vec![0, 2, 1] }, &[a]);
    let b = m.flatten("flat", b, 24);
    let c = m.push("slice", Slice { starts: vec![0, 20], steps: vec![1, -3], sizes: vec![1, 6] }, &[b]);
    let b = m.dense("dense", b, 24, 6);
    let d = m.push("concat", Concat { axis: 1 }, &[b, c]);
    let d = m.square("square", d);
    let e = m.push("expand", Expand { shape: vec![2, 12] }, &[d]);
    let f = m.flatten("flat2", e, 24);
    let g = m.dense("last", f, 24, 5);
    check_all(&m.finish(g));
}

#[test]
fn a_model_that_ends_without_a_map() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 9]);
    let x = m.dense("dense", x, 9, 12);
    let x = m.square("square", x);
    let y = m.push("slice", Slice { starts: vec![0, 2], steps: vec![1, 2], sizes: vec![1, 4] }, &[x]);
    check_all(&m.finish(y));
}

#[test]
fn polynomials_and_series() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 10]);
    let x = m.dense("dense1", x, 10, 6);
    let coefficients = [0.5, 0.3, -0.2, 0.1, 0.05, 0.02].into();
    let x = m.push("series", Chebyshev { coefficients }, &[x]);
    let two = m.constant(&[], vec![3.0]);
    let x = m.push("power", Binary::Pow, &[x, two]);
    let y = m.dense("dense2", x, 6, 3);
    let graph = m.finish(y);
    let lowered = packed::Plan::new(&hec_compiler::passes::run(&graph).unwrap()).unwrap();
    // Slots beside the elements hold the series of 0, so that only elements are compared.
    let lowered = lowered.lower(64, &CostModel::default()).unwrap();
    let input: Vec<f64> = (0..10).map(|i| f64::from(i) / 20.0).collect();
    let values = ranges::evaluate(&lowered, |_, _| input.clone());
    let output = lowered.outputs()[0].value;
    let slots = layout(&lowered, output).slots_of_elements();
    let found: Vec<f64> = slots.iter().map(|&slot| values[output.index()][slot as usize]).collect();
    assert!(distance(&found, &evaluate(&graph, &input)) < 1e-12);
}

#[test]
fn a_product_of_two_encrypted_matrices() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 3, 4]);
    let t = m.push("transpose", Transpose { permutation: vec![0, 2, 1] }, &[x]);
    let y = m.push("product", hec_ir::tensor::MatMul, &[x, t]);
    check_all(&m.finish(y));
}

fn packed_options() -> Options {
    Options { layout: LayoutChoice::Packed, precision: 13.0, ..Options::default() }
}

#[test]
fn what_cannot_be_packed_is_listed() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 4]);
    let x = m.push("first", Unary::Relu, &[x]);
    let x = m.dense("dense", x, 4, 4);
    let x = m.push("second", Unary::Sigmoid, &[x]);
    // A sigmoid at the end would be the client's.
    let x = m.dense("last", x, 4, 2);
    match compile(&m.finish(x), &packed_options()) {
        Err(CompileError::Unsupported { nodes }) => {
            assert_eq!(nodes.iter().map(|n| n.origin.as_str()).collect::<Vec<_>>(), ["first", "second"]);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chain_that_is_too_deep_is_refused_with_the_numbers() {
    let mut m = Model::new();
    let mut x = m.input("x", &[1, 2]);
    for i in 0..150 {
        x = m.square(&format!("square{i}"), x);
    }
    let error = compile(&m.finish(x), &packed_options()).expect_err("too deep").to_string();
    assert!(error.contains("too deep") && error.contains("multiplicative depth"), "{error}");
}

/// Dense 784-128-128-10 and the nets of `examples/latency.rs`, but for their weights.
fn nets() -> Vec<(&'static str, TensorGraph)> {
    let net = |convolutions: &[([usize; 3], usize)], dense: &[usize]| {
        let mut m = Model::new();
        let mut x = m.input("image", &[1, 1, 28, 28]);
        let (mut channels, mut side) = (1, 28);
        for (i, &([out, size, _], border)) in convolutions.iter().enumerate() {
            x = m.conv(&format!("conv{i}"), x, [out, channels, size, size], 2, border);
            x = m.square(&format!("activation{i}"), x);
            (channels, side) = (out, (side + 2 * border - size) / 2 + 1);
        }
        let mut width = channels * side * side;
        x = m.flatten("flatten", x, width);
        for (i, &next) in dense.iter().enumerate() {
            x = m.dense(&format!("dense{i}"), x, width, next);
            if i + 1 < dense.len() {
                x = m.square(&format!("square{i}"), x);
            }
            width = next;
        }
        m.finish(x)
    };
    vec![
        ("mlp", net(&[], &[128, 128, 10])),
        ("lola", net(&[([5, 2, 2], 0)], &[100, 10])),
        ("cryptonets", net(&[([5, 5, 2], 1)], &[100, 10])),
        ("lenet", net(&[([32, 5, 2], 2), ([64, 5, 2], 2)], &[512, 10])),
    ]
}

/// Rotations, key switches, products, levels and keys: a change of any is a line of the snapshot.
#[test]
fn counts_of_the_latency_nets() {
    let mut text = String::new();
    let committed = std::fs::read("../models/cryptonets-mnist.onnx").expect("is there");
    let committed = hec_onnx::import(&committed, &hec_onnx::ImportOptions::default()).expect("is a model");
    for (name, graph) in nets().into_iter().chain([("cryptonets-mnist.onnx", committed)]) {
        let compiled = compile(&graph, &packed_options()).expect("compiles");
        let circuit = compiled.program.circuit();
        let ckks::OpCounts { products, key_switches, rotations, plain_products, rescales, .. } = ckks::counts(circuit);
        let keys = ckks::key_needs(circuit).rotations.len();
        let (ring, levels) = (circuit.context().ring(), circuit.context().max_level());
        text += &format!(
            "{name}: N = 2^{} {}, {levels} levels, {rotations} rotations with {keys} keys, {key_switches} key switches, {plain_products} products with diagonals, {products} products, {rescales} rescalings\n",
            ring.log_n, ring.ring_type
        );
        let read = hec_ir::Program::from_bytes(&compiled.program.to_bytes()).expect("its own bytes");
        assert_eq!(read, compiled.program, "{name} is read back");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let (_, graph) = nets().remove(1);
    let bytes = || compile(&graph, &packed_options()).expect("compiles").program.to_bytes();
    assert_eq!(bytes(), bytes());
}

#[test]
fn several_samples_share_a_vector() {
    let (_, graph) = nets().remove(1);
    let options = Options { batch: Some(6), ..packed_options() };
    let compiled = compile(&graph, &options).expect("compiles");
    assert_eq!(compiled.program.capacity(), 8);
    assert_eq!(compiled.decisions.batch, 8);
}

#[test]
fn auto_takes_the_layout_that_answers_sooner() {
    let (_, graph) = nets().remove(1);
    let compiled = |batch| {
        let options = Options { layout: LayoutChoice::Auto, batch, ..packed_options() };
        compile(&graph, &options).expect("compiles")
    };
    let (one, thousands) = (compiled(None), compiled(Some(8192)));
    assert!(one.decisions.packed.is_some() && thousands.decisions.packed.is_none());
    let reason = thousands.decisions.layout_reason.expect("a reason");
    assert!(reason.starts_with("layout: batch; 8192 samples take about"), "{reason}");
}

#[test]
fn memory_that_is_too_little_is_refused_with_its_parts() {
    let (_, graph) = nets().remove(1);
    let with = |memory| compile(&graph, &Options { memory, ..packed_options() });
    let error = with(Some(1 << 20)).expect_err("too little");
    assert!(error.to_string().contains("of encoded weights"), "{error}");
    let bytes = |circuit: &ckks::Circuit| {
        ckks::peak_ciphertext_bytes(circuit) + ckks::evaluation_key_bytes(circuit) + ckks::encoded_weight_bytes(circuit)
    };
    let all = bytes(with(None).expect("compiles").program.circuit());
    let tight = with(Some(all - 1)).expect("takes fewer keys, or encodes weights just in time");
    assert!(bytes(tight.program.circuit()) < all);
}

#[test]
fn little_memory_takes_fewer_keys_and_says_what_that_costs() {
    let (_, graph) = nets().remove(2);
    let with = |memory| compile(&graph, &Options { memory, ..packed_options() });
    let (free, mut budget) = (with(None).expect("compiles"), u64::MAX);
    let keys =
        |compiled: &hec_compiler::Compilation| compiled.decisions.packed.clone().expect("is packed").rotation_keys;
    let bytes = |circuit: &ckks::Circuit| {
        ckks::peak_ciphertext_bytes(circuit) + ckks::evaluation_key_bytes(circuit) + ckks::encoded_weight_bytes(circuit)
    };
    // Smaller and smaller, each time what the last one took less an eighth.
    let mut tight = None;
    let mut took = bytes(free.program.circuit());
    while let Ok(compiled) = with(Some(took / 8 * 7)) {
        budget = took / 8 * 7;
        took = bytes(compiled.program.circuit());
        assert!(took <= budget, "{took} bytes of {budget}");
        tight = Some(compiled);
    }
    let tight = tight.expect("less than that is enough");
    assert!(keys(&tight) < keys(&free), "{} keys in {budget} bytes, {} without a budget", keys(&tight), keys(&free));
    let packed = tight.decisions.packed.clone().expect("is packed");
    let (waiting, all) = (packed.just_in_time.bytes, packed.just_in_time.bytes + packed.on_load.bytes);
    assert!(0 < packed.at_once_bytes && packed.at_once_bytes < waiting && packed.cached.bytes == all, "{packed:?}");
    let report = tight.decisions.to_string();
    assert!(report.contains("in a cache file (--weight-cache) take"), "{report}");
    assert!(report.contains("encoded just in time save") && report.contains("rotation keys"), "{report}");
}
