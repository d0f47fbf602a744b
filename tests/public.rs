//! Inputs in the clear beside encrypted ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Onnx, Random};
use hec::ir::Scale;
use hec::ir::ckks::Circuit;
use hec::ir::graph::Builder;
use hec::ir::tensor::{Op, TensorGraph, Tensors, Unsupported};
use hec::{Approximation, Bound, ImportOptions, LayoutChoice, Options, Outcome, Program, SampleBatch, Silent};
use hec_plain::{ClearEngine, ClearEvaluator};
use hec_runtime::{Client, Engine, EngineError, run_batches};

fn weights(rows: i64, cols: i64, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..rows * cols).map(|_| random.below(2001) as f32 / 1000.0 - 1.0).collect()
}

/// `((x A) relu(p B) + sigmoid(p C)) D`, with `x` of 4 elements and `p` of 3.
fn network() -> TensorGraph {
    let model = Onnx::new()
        .input("x", &[4])
        .input("p", &[3])
        .weights("a", &[4, 5], &weights(4, 5, 1))
        .weights("b", &[3, 5], &weights(3, 5, 2))
        .weights("c", &[3, 5], &weights(3, 5, 3))
        .weights("d", &[5, 2], &weights(5, 2, 4))
        .node("MatMul", &["x", "a"], "hidden")
        .node("MatMul", &["p", "b"], "before")
        .node("Relu", &["before"], "factor")
        .node("MatMul", &["p", "c"], "other")
        .node("Sigmoid", &["other"], "term")
        .node("Mul", &["hidden", "factor"], "product")
        .node("Add", &["product", "term"], "sum")
        .node("MatMul", &["sum", "d"], "y")
        .output("y");
    hec::import(&model.bytes(), &ImportOptions::default()).unwrap()
}

/// `where(p > 0, x, -x) / exp(p)`, and what the client makes of that and `p`.
fn selection() -> TensorGraph {
    let model = Onnx::new()
        .input("x", &[3])
        .input("p", &[3])
        .weights("zero", &[], &[0.0])
        .node("Greater", &["p", "zero"], "positive")
        .node("Neg", &["x"], "negative")
        .node("Where", &["positive", "x", "negative"], "chosen")
        .node("Exp", &["p"], "divisor")
        .node("Div", &["chosen", "divisor"], "quotient")
        .node("Concat", &["quotient", "p"], "both")
        .attribute("axis", &[1])
        .node("Softmax", &["both"], "y")
        .output("y");
    hec::import(&model.bytes(), &ImportOptions::default()).unwrap()
}

fn options(graph: &TensorGraph, public: &[&str]) -> Options {
    let calibration = inputs(graph, 64, 7).into_iter().map(|(name, batch)| (name, batch.values)).collect();
    let public = public.iter().map(|&name| name.to_owned()).collect();
    Options { input_range: (-1.0, 1.0), precision: 12.0, bound: Bound::Any, calibration, public, ..Options::default() }
}

/// `x` in [-1, 1], `p` in [-3, 3].
fn inputs(graph: &TensorGraph, samples: usize, seed: u64) -> BTreeMap<String, SampleBatch> {
    let mut random = Random(seed);
    let mut batch = |port: hec::Port| {
        let size = if port.name == "p" { 3.0 } else { 1.0 };
        let values = (0..samples * port.ty.elements()).map(|_| size * (random.below(2001) as f64 / 1000.0 - 1.0));
        (port.name, SampleBatch { values: values.collect(), samples })
    };
    hec::Port::inputs_of(graph).into_iter().map(&mut batch).collect()
}

#[track_caller]
fn check(program: &Program, inputs: &BTreeMap<String, SampleBatch>, found: &Outcome, tolerance: f64) {
    let plain = hec::evaluate_samples(program.source(), inputs, &Silent).unwrap();
    assert_eq!(found.outputs["y"].len(), plain.outputs["y"].len());
    for (found, plain) in found.outputs["y"].iter().zip(&plain.outputs["y"]) {
        assert!((found - plain).abs() < tolerance, "{found} is not {plain}");
    }
}

#[test]
fn a_public_branch_is_multiplied_and_added() {
    for (graph, work) in [(network(), "matmul"), (selection(), "exp")] {
        let compiled = hec::compile(&graph, &options(&graph, &["p"])).unwrap();
        let report = compiled.decisions.to_string();
        assert!(report.contains("inputs in the clear: \"p\" f32[1, 3]"), "{report}");
        assert!(report.contains("from which the server computes"), "{report}");
        assert!(compiled.decisions.public_work.iter().any(|node| node.operations.contains(&work)), "{report}");
        let program = Program::from_bytes(&compiled.program.to_bytes()).unwrap();
        assert_eq!(program, compiled.program);
        let inputs = inputs(&graph, 20, 8);
        for backend in ["plain-circuit", "he-ckks"] {
            let outcome = hec::backend(backend).unwrap().run(&program, &inputs, &Silent).unwrap();
            check(&program, &inputs, &outcome, 0.02);
        }
    }
}

#[test]
fn a_public_branch_packed() {
    for graph in [network(), selection()] {
        let options = Options { layout: LayoutChoice::Packed, ..options(&graph, &["p"]) };
        let program = hec::compile(&graph, &options).unwrap().program;
        let program = Program::from_bytes(&program.to_bytes()).unwrap();
        assert_eq!(program.public_inputs().len(), 1);
        let inputs = inputs(&graph, 5, 8);
        for backend in ["plain-circuit", "he-ckks"] {
            let outcome = hec::backend(backend).unwrap().run(&program, &inputs, &Silent).unwrap();
            check(&program, &inputs, &outcome, 0.02);
        }
    }
}

/// `(sigmoid(x A) relu(p B)) D`: a function of private values beside one of public ones.
#[test]
fn a_public_branch_packed_with_a_guard() {
    let model = Onnx::new()
        .input("x", &[4])
        .input("p", &[3])
        .weights("a", &[4, 5], &weights(4, 5, 1))
        .weights("b", &[3, 5], &weights(3, 5, 2))
        .weights("d", &[5, 2], &weights(5, 2, 4))
        .node("MatMul", &["x", "a"], "hidden")
        .node("Sigmoid", &["hidden"], "gate")
        .node("MatMul", &["p", "b"], "before")
        .node("Relu", &["before"], "factor")
        .node("Mul", &["gate", "factor"], "product")
        .node("MatMul", &["product", "d"], "y")
        .output("y");
    let graph = hec::import(&model.bytes(), &ImportOptions::default()).unwrap();
    let approximation = Approximation { guard: true, max_output_error: Some(0.01), ..Approximation::default() };
    let options = Options { layout: LayoutChoice::Packed, approximation, ..options(&graph, &["p"]) };
    let program = hec::compile(&graph, &options).unwrap().program;
    let program = Program::from_bytes(&program.to_bytes()).unwrap();
    assert_eq!((program.public_inputs().len(), program.guards().len()), (1, 1));
    let inputs = inputs(&graph, 5, 8);
    for backend in ["plain-circuit", "he-ckks"] {
        let outcome = hec::backend(backend).unwrap().run(&program, &inputs, &Silent).unwrap();
        assert!(outcome.escapes.iter().all(|escapes| escapes.samples.is_empty()), "{backend}: {:?}", outcome.escapes);
        check(&program, &inputs, &outcome, 0.1);
    }
}

#[test]
fn what_is_public_needs_no_polynomials_and_fewer_bytes() {
    let graph = network();
    let options = Options { public: BTreeSet::new(), ..options(&graph, &[]) };
    let private = hec::compile(&graph, &options).unwrap();
    let public = hec::compile(&graph, &self::options(&graph, &["p"])).unwrap();
    assert!(private.decisions.approximation.is_some() && public.decisions.approximation.is_none());
    assert!(public.decisions.depth() < private.decisions.depth());
}

/// Counts encryptions.
#[derive(Default)]
struct Counting(Arc<AtomicUsize>);

struct CountingClient(<ClearEngine as Engine>::Client, Arc<AtomicUsize>);

impl Engine for Counting {
    type Ciphertext = <ClearEngine as Engine>::Ciphertext;
    type Client = CountingClient;
    type Evaluator = ClearEvaluator;

    fn generate(&self, circuit: &Circuit) -> Result<(CountingClient, ClearEvaluator), EngineError> {
        let (client, evaluator) = ClearEngine.generate(circuit)?;
        Ok((CountingClient(client, self.0.clone()), evaluator))
    }
}

impl Client for CountingClient {
    type Ciphertext = <ClearEngine as Engine>::Ciphertext;

    fn encrypt(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Self::Ciphertext, EngineError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        // A public element is larger than any private one.
        assert!(slots.iter().all(|slot| slot.abs() <= 1.0), "a public value is encrypted");
        self.0.encrypt(slots, level, scale)
    }

    fn decrypt(&self, ciphertext: &Self::Ciphertext) -> Result<Vec<f64>, EngineError> {
        self.0.decrypt(ciphertext)
    }

    fn ciphertext_bytes(&self, ciphertext: &Self::Ciphertext) -> u64 {
        self.0.ciphertext_bytes(ciphertext)
    }
}

#[test]
fn only_private_inputs_are_encrypted_and_counted() {
    let graph = network();
    let program = hec::compile(&graph, &options(&graph, &["p"])).unwrap().program;
    let names = |ports: Vec<hec::Port>| ports.into_iter().map(|port| port.name).collect::<Vec<_>>().join(" ");
    assert_eq!((names(program.public_inputs()), names(program.private_inputs())), ("p".to_owned(), "x".to_owned()));
    let mut inputs = inputs(&graph, program.parameters().slots() + 1, 9);
    inputs.get_mut("p").unwrap().values.iter_mut().for_each(|p| *p = p.signum() * (1.01 + p.abs() / 3.0));
    let engine = Counting::default();
    let outcome = run_batches(&engine, &program, &inputs, &Silent).unwrap();
    check(&program, &inputs, &outcome, 0.02);
    // Four elements in each of two batches.
    assert_eq!((outcome.batches, engine.0.load(Ordering::SeqCst)), (2, 8));
    assert_eq!(outcome.bytes.input, 8 * 8 * program.parameters().slots() as u64);
}

#[test]
fn without_calibration_a_public_input_can_only_be_used_as_it_is() {
    let graph = network();
    let bare = |graph: &TensorGraph| {
        hec::compile(graph, &Options { calibration: BTreeMap::new(), precision: 10.0, ..options(graph, &["p"]) })
    };
    let error = bare(&graph).unwrap_err().to_string();
    assert!(error.contains("calibration samples") && error.contains("/before"), "{error}");

    let model = Onnx::new().input("x", &[3]).input("p", &[3]).node("Mul", &["x", "p"], "y").output("y");
    let graph = hec::import(&model.bytes(), &ImportOptions::default()).unwrap();
    let program = bare(&graph).unwrap().program;
    let mut inputs = inputs(&graph, 5, 10);
    inputs.get_mut("p").unwrap().values.iter_mut().for_each(|p| *p /= 3.0);
    for backend in ["plain-circuit", "he-ckks"] {
        check(&program, &inputs, &hec::backend(backend).unwrap().run(&program, &inputs, &Silent).unwrap(), 1e-2);
    }
}

#[test]
fn what_cannot_be_public_is_named() {
    let graph = network();
    let refusal =
        |graph: &TensorGraph, public: &[&str]| hec::compile(graph, &options(graph, public)).unwrap_err().to_string();
    assert_eq!(refusal(&graph, &["q"]), "option public: the model has no input \"q\": its inputs are \"x\", \"p\"");
    assert!(refusal(&graph, &["x", "p"]).contains("all inputs are public"));
    let model = Onnx::new()
        .input("x", &[3])
        .input("p", &[3])
        .node("Mul", &["x", "p"], "y")
        .node("Relu", &["p"], "z")
        .output("y")
        .output("z");
    let graph = hec::import(&model.bytes(), &ImportOptions::default()).unwrap();
    let error = refusal(&graph, &["p"]);
    assert!(error.contains("output \"z\" depends on public inputs alone"), "{error}");
}

/// The graph with other names for its outputs, another operation in the place of some, and other inputs.
fn changed(graph: &TensorGraph, rename: impl Fn(&str) -> String, replace: impl Fn(&Op) -> Op) -> TensorGraph {
    let mut builder = Builder::<Tensors>::new(());
    let mut values = Vec::new();
    for (_, node) in graph.nodes() {
        let operands: Vec<_> = node.operands().iter().map(|operand| values[operand.index()]).collect();
        builder.set_origin(node.origin().clone());
        values.push(builder.push(replace(node.op()), &operands).unwrap());
    }
    graph.outputs().iter().for_each(|output| builder.output(&rename(&output.name), values[output.value.index()]));
    builder.finish()
}

#[test]
fn a_public_graph_that_does_not_belong_is_refused() {
    let graph = network();
    let program = hec::compile(&graph, &options(&graph, &["p"])).unwrap().program;
    let public = program.public().unwrap().clone();
    let assemble = |public: Option<TensorGraph>| {
        Program::with_public(graph.clone(), program.circuit().clone(), public, None, Vec::new())
    };
    let error = |public: Option<TensorGraph>| assemble(public).unwrap_err().to_string();
    assert!(assemble(Some(public.clone())).is_ok());
    let same = |op: &Op| op.clone();
    let keep = |name: &str| name.to_owned();
    let renamed = |to: &'static str| {
        move |op: &Op| {
            let Op::Input(input) = op else { return op.clone() };
            hec::ir::tensor::Input { name: to.to_owned(), ty: input.ty.clone() }.into()
        }
    };
    assert!(error(None).contains("inputs do not match"));
    assert!(error(Some(changed(&public, |name| format!("{name}?"), same))).contains("public inputs do not match"));
    assert!(error(Some(changed(&public, |_| "x".to_owned(), same))).contains("public inputs do not match"));
    assert!(error(Some(changed(&public, keep, renamed("x")))).contains("do not match"));
    assert!(error(Some(changed(&public, keep, renamed("z")))).contains("do not match"));
    let unknown = |op: &Op| {
        let unsupported = Unsupported { operator: "Relu".to_owned(), reason: "none".to_owned(), result: 0 };
        if matches!(op, Op::Unary(_)) { unsupported.into() } else { op.clone() }
    };
    assert!(error(Some(changed(&public, keep, unknown))).contains("do not match"));
    assert!(error(Some(Builder::new(()).finish())).contains("do not match"));

    // Damage below the checksum: any change of the content is an error or another valid program, and no panic.
    let bytes = program.to_bytes();
    let header = 12 + blake3::OUT_LEN;
    for at in (header..bytes.len()).step_by(7) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let digest = *blake3::hash(&bytes[header..]).as_bytes();
        bytes[12..header].copy_from_slice(&digest);
        drop(Program::from_bytes(&bytes));
    }
}
