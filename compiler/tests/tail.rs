//! Where a model is cut, and who computes what.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use common::Model;
use hec_compiler::tail::Split;
use hec_compiler::{Options, compile, split};
use hec_ir::graph::Value;
use hec_ir::tensor::{
    ArgMax, Binary, Cast, Concat, Element, Op, Pool, Reduce, Reduction, Softmax, TensorGraph, Unary, Window,
};

const ARG_MAX: ArgMax = ArgMax { axis: 1, keep: false, last: false };

fn finish(mut m: Model, outputs: &[(&str, Value)]) -> TensorGraph {
    outputs.iter().for_each(|(name, value)| m.builder.output(name, *value));
    m.builder.finish()
}

/// The names of the client's operations, the values that it gets, and its answers: those of the whole model.
#[track_caller]
fn cut(graph: &TensorGraph) -> Option<(String, String)> {
    let Split { server, client } = split(graph).unwrap()?;
    let (_, ty) = graph.inputs().next().map(|(value, _)| (value, graph.ty(value).known().unwrap().clone())).unwrap();
    let sample: Vec<f64> = (0..ty.elements()).map(|i| (i as f64 * 0.7).sin()).collect();
    let joined = Split::join(&server, &client).unwrap();
    assert_eq!(common::evaluate(&joined, &sample), common::evaluate(graph, &sample));
    let inner = |op: &Op| !matches!(op, Op::Input(_) | Op::Constant(_));
    let work = client.nodes().filter(|(_, node)| inner(node.op())).map(|(_, node)| node.op().name());
    let port = |(value, name): (Value, &str)| format!("{name} {}", client.ty(value));
    let ports = client.inputs().map(port).collect::<Vec<_>>().join(", ");
    let sent: Vec<&str> = server.outputs().iter().map(|o| o.name.as_str()).collect();
    assert_eq!(sent, client.inputs().map(|(_, name)| name).collect::<Vec<_>>());
    Some((work.collect::<Vec<_>>().join(", "), ports))
}

fn said(work: &str, ports: &str) -> Option<(String, String)> {
    Some((work.to_owned(), ports.to_owned()))
}

/// A model with a hidden layer, up to its scores.
fn scores(m: &mut Model, hidden: impl Into<Op>, classes: usize) -> Value {
    let x = m.input("x", &[1, 4]);
    let x = m.dense("hidden", x, 4, 6);
    let x = m.push("act", hidden, &[x]);
    m.dense("scores", x, 6, classes)
}

#[test]
fn a_softmax_at_the_end_is_the_clients() {
    let mut m = Model::new();
    let y = scores(&mut m, hec_ir::tensor::Polynomial::square(), 3);
    let y = m.push("prob", Softmax { axis: 1 }, &[y]);
    let graph = m.finish(y);
    assert_eq!(cut(&graph), said("softmax", "scores f32[1, 3]"));

    let compiled = compile(&graph, &Options::default()).unwrap();
    let report = compiled.decisions.to_string();
    assert!(report.contains("done by the client after decryption: softmax \"prob\""), "{report}");
    assert!(report.contains("so the client learns \"scores\" f32[1, 3]"), "{report}");
    let outputs = compiled.program.outputs();
    assert_eq!((outputs.len(), &*outputs[0].name), (1, "output"));
}

#[test]
fn outputs_share_a_cut_and_scores_may_be_outputs_too() {
    let mut m = Model::new();
    let y = scores(&mut m, Unary::Relu, 3);
    let p = m.push("prob", Softmax { axis: 1 }, &[y]);
    let label = m.push("label", ARG_MAX, &[p]);
    let outputs = [("label", label), ("prob", p)];
    let graph = finish(m, &outputs);
    assert_eq!(cut(&graph), said("softmax, arg_max", "scores f32[1, 3]"));

    let mut m = Model::new();
    let y = scores(&mut m, Unary::Relu, 3);
    let p = m.push("prob", Softmax { axis: 1 }, &[y]);
    let graph = finish(m, &[("logits", y), ("prob", p)]);
    assert_eq!(cut(&graph), said("softmax", "logits f32[1, 3]"));
}

#[test]
fn what_follows_goes_with_it_and_what_is_sent_is_little() {
    let mut m = Model::new();
    let z = scores(&mut m, Unary::Relu, 1);
    let negative = m.push("negative", Unary::Neg, &[z]);
    let both = m.push("both", Concat { axis: 1 }, &[negative, z]);
    let p = m.push("prob", Softmax { axis: 1 }, &[both]);
    let two = m.constant(&[], vec![2.0]);
    let p = m.push("scaled", Binary::Mul, &[p, two]);
    let single = m.push("single", Unary::Sigmoid, &[z]);
    let graph = finish(m, &[("p", p), ("single", single)]);
    assert_eq!(cut(&graph), said("neg, concat, softmax, mul, sigmoid", "scores f32[1, 1]"));
}

#[test]
fn only_the_last_function_is_the_clients() {
    let mut m = Model::new();
    let y = scores(&mut m, Unary::Sigmoid, 2);
    let y = m.push("prob", Unary::Sigmoid, &[y]);
    assert_eq!(cut(&m.finish(y)), said("sigmoid", "scores f32[1, 2]"));

    // A weighted sum of functions is a layer.
    let mut m = Model::new();
    let y = scores(&mut m, Unary::Sigmoid, 1);
    assert_eq!(cut(&m.finish(y)), None);
}

#[test]
fn pools_norms_and_casts_at_the_end() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 1, 6, 6]);
    let x = m.conv("conv", x, [2, 1, 3, 3], 1, 0);
    let x = m.push("relu", Unary::Relu, &[x]);
    let window = Window { strides: vec![2; 2], pads_begin: vec![0; 2], pads_end: vec![0; 2], dilations: vec![1; 2] };
    let x = m.push("pool", Pool { pooling: hec_ir::tensor::Pooling::Max, ..Pool::average(&[2; 2], window) }, &[x]);
    let x = m.flatten("flatten", x, 8);
    let squares = m.square("squares", x);
    let sum = m.push("sum", Reduce { reduction: Reduction::Sum, axes: vec![1], keep: true }, &[squares]);
    let norm = m.push("norm", Unary::Sqrt, &[sum]);
    let x = m.push("normed", Binary::Div, &[x, norm]);
    let x = m.push("whole", Cast { element: Element::I64 }, &[x]);
    let (work, ports) = cut(&m.finish(x)).unwrap();
    assert!(work.starts_with("relu, max_pool") && work.ends_with("div, cast"), "{work}");
    assert_eq!(ports, "conv f32[1, 2, 4, 4]");
}

#[test]
fn labels_are_looked_up_after_decryption() {
    let mut m = Model::new();
    let y = scores(&mut m, hec_ir::tensor::Polynomial::square(), 3);
    let label = m.push("position", ArgMax { axis: 1, keep: true, last: false }, &[y]);
    let label = m.push("float", Cast { element: Element::F32 }, &[label]);
    let numbers = m.constant(&[1, 3], vec![0.0, 1.0, 2.0]);
    let chosen = m.push("chosen", Binary::Equal, &[label, numbers]);
    let chosen = m.push("float", Cast { element: Element::F32 }, &[chosen]);
    let table = m.constant(&[3, 1], vec![-3.0, 2.0, 7.0]);
    let label = m.push("label", hec_ir::tensor::MatMul, &[chosen, table]);
    let (work, ports) = cut(&m.finish(label)).unwrap();
    assert!(work.starts_with("arg_max"), "{work}");
    assert_eq!(ports, "scores f32[1, 3]");
}

#[test]
fn in_the_middle_it_is_refused_with_the_ways_out() {
    let mut m = Model::new();
    let y = scores(&mut m, hec_ir::tensor::Polynomial::square(), 3);
    let at = m.push("position", ArgMax { axis: 1, keep: true, last: false }, &[y]);
    let at = m.push("float", Cast { element: Element::F32 }, &[at]);
    let y = m.push("shifted", Binary::Add, &[y, at]);
    let y = m.dense("last", y, 3, 4);
    let y = m.push("prob", Softmax { axis: 1 }, &[y]);
    let graph = m.finish(y);
    assert_eq!(cut(&graph), said("softmax", "last f32[1, 4]"));
    let error = compile(&graph, &Options::default()).unwrap_err().to_string();
    for part in ["1 of the model's nodes", "\"position\"", "arg_max", "behind the last layer", "--backend plain"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn a_model_without_work_for_the_server_is_not_split() {
    let mut m = Model::new();
    let x = m.input("x", &[1, 4]);
    let y = m.push("prob", Softmax { axis: 1 }, &[x]);
    assert_eq!(cut(&m.finish(y)), None);
    let mut m = Model::new();
    let y = scores(&mut m, Unary::Relu, 4);
    assert_eq!(cut(&m.finish(y)), None);
}

#[test]
fn an_output_that_is_constant_is_refused() {
    let mut m = Model::new();
    let y = scores(&mut m, hec_ir::tensor::Polynomial::square(), 3);
    let y = m.push("prob", Softmax { axis: 1 }, &[y]);
    let one = m.constant(&[1], vec![1.0]);
    let error = compile(&finish(m, &[("y", y), ("one", one)]), &Options::default()).unwrap_err().to_string();
    assert!(error.contains("output \"one\" does not depend on any input"), "{error}");
}
