//! The reference: ONNX's meaning for any number of samples, constants computed once, errors that name the model's node.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::ckks::{self, Ckks};
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, RingType, Security};
use hec_ir::slots::Layout;
use hec_ir::tensor::{
    Binary, Constant, Element, Input, MatMul, Op, Polynomial, Tensor, TensorGraph, TensorType, Tensors, Unsupported,
};
use hec_ir::{Builder, Program, Scale, Value};
use hec_plain::{CIRCUIT, Reference, evaluate};
use hec_runtime::{Backend, Outcome, RunError, SampleBatch, Silent};

fn push(b: &mut Builder<Tensors>, name: &str, op: impl Into<Op>, operands: &[Value]) -> Value {
    b.set_origin(name);
    b.push(op.into(), operands).unwrap()
}

fn tensor(shape: &[usize], values: &[f64]) -> Tensor {
    Tensor::from_values(Element::F32, shape, values.to_vec()).unwrap()
}

fn constant(b: &mut Builder<Tensors>, name: &str, shape: &[usize], values: &[f64]) -> Value {
    push(b, name, Constant(Arc::new(tensor(shape, values))), &[])
}

fn input(b: &mut Builder<Tensors>, elements: usize) -> Value {
    let ty = TensorType::new(Element::F32, [1, elements]);
    push(b, "x", Input { name: "x".to_owned(), ty }, &[])
}

/// `y = (x W + b)^2` with `W = [[1, 2], [3, 4]]` and `b = [1/2 + 1/2, 0]`, and `x` itself as a second output.
fn model() -> TensorGraph {
    let mut b = Builder::new(());
    let x = input(&mut b, 2);
    let w = constant(&mut b, "w", &[2, 2], &[1., 2., 3., 4.]);
    let half = constant(&mut b, "half", &[2], &[0.5, 0.0]);
    let bias = push(&mut b, "bias", Binary::Add, &[half, half]);
    let y = push(&mut b, "dense", MatMul, &[x, w]);
    let y = push(&mut b, "dense_bias", Binary::Add, &[y, bias]);
    let y = push(&mut b, "act", Polynomial::square(), &[y]);
    b.output("y", y);
    b.output("echo", x);
    b.finish()
}

/// What a compiler makes of [`model`].
fn circuit() -> ckks::Circuit {
    let mut search = PrimeSearch::new(10);
    let moduli = [49, 40, 40].map(|bits| search.take(bits).unwrap()).to_vec();
    let literal = Literal {
        ring_type: RingType::Standard,
        log_n: 10,
        moduli,
        special_primes: vec![],
        security: Security::Bits128,
    };
    let mut b = Builder::<Ckks>::new(Parameters::insecure_for_tests(literal).unwrap());
    let (layout, level) = (Layout::Batch { shape: vec![1, 2] }, 2);
    let (name, scale) = ("x".to_owned(), Scale::power_of_two(40));
    let x = ckks::Op::Input(ckks::Input { name, layout, level, scale, public: false });
    let x = b.push(x, &[]).unwrap();
    let all: Arc<[u32]> = [0, 1].into();
    let block = Block { rows: all.clone(), cols: all, weights: [4, 12, 8, 16].into() };
    let matrix = Arc::new(BlockMatrix::new(2, 2, vec![block]).unwrap());
    let combine = ckks::Combine { matrix, weight_scale: Scale::power_of_two(2), bias: [1.0, 0.0].into() };
    let y = b.push(ckks::Op::Combine(combine), &[x]).unwrap();
    let y = b.push(ckks::Op::Square, &[y]).unwrap();
    b.output("y", y);
    b.output("echo", x);
    b.finish()
}

fn run(backend: &dyn Backend, values: &[f64], samples: usize) -> Result<Outcome, RunError> {
    let program = Program::new(model(), circuit()).unwrap();
    let inputs = BTreeMap::from([("x".to_owned(), SampleBatch { values: values.to_vec(), samples })]);
    backend.run(&program, &inputs, &Silent)
}

#[test]
fn one_sample() {
    let outputs = evaluate(&model(), &BTreeMap::from([("x".to_owned(), tensor(&[1, 2], &[1., -1.]))])).unwrap();
    let expected = [("y".to_owned(), tensor(&[1, 2], &[1., 4.])), ("echo".to_owned(), tensor(&[1, 2], &[1., -1.]))];
    assert_eq!(outputs, expected);
}

#[test]
fn both_backends_answer_the_same_for_every_number_of_samples() {
    let backends: [&dyn Backend; 2] = [&Reference, &CIRCUIT];
    assert_eq!(backends.map(Backend::name), ["plain", "plain-circuit"]);
    for samples in [0, 1, 2, 511, 512, 513, 1500] {
        let values: Vec<f64> = (0..2 * samples).map(|i| f64::from(i as u32 % 97) / 8.0 - 6.0).collect();
        let expected: Vec<f64> =
            values.chunks(2).flat_map(|x| [x[0] + 3.0 * x[1] + 1.0, 2.0 * x[0] + 4.0 * x[1]]).map(|y| y * y).collect();
        for backend in backends {
            let outcome = run(backend, &values, samples).unwrap();
            assert_eq!(outcome.outputs["y"], expected, "{} with {samples} samples", backend.name());
            assert_eq!(outcome.outputs["echo"], values);
        }
    }
    let outcome = run(&CIRCUIT, &[0.0; 1026], 513).unwrap();
    assert_eq!((outcome.batches, outcome.bytes.input, outcome.bytes.output), (2, 2 * 2 * 512 * 8, 2 * 4 * 512 * 8));
}

#[test]
fn inputs_that_do_not_match_are_named() {
    for backend in [&Reference as &dyn Backend, &CIRCUIT] {
        let error = run(backend, &[0.0; 5], 2).unwrap_err().to_string();
        assert_eq!(error, "input \"x\": expected 2 samples of 2 elements (shape [1, 2]), found 5 values");
        let program = Program::new(model(), circuit()).unwrap();
        let batch = SampleBatch { values: vec![0.0; 2], samples: 1 };
        let mut inputs = BTreeMap::from([("X".to_owned(), batch.clone())]);
        let text = |inputs: &BTreeMap<_, _>| backend.run(&program, inputs, &Silent).unwrap_err().to_string();
        assert_eq!(text(&inputs), "no value was given for input \"x\"");
        inputs.insert("x".to_owned(), batch);
        assert_eq!(text(&inputs), "the program has no input \"X\": its inputs are \"x\"");
    }
    let wrong = evaluate(&model(), &BTreeMap::from([("x".to_owned(), tensor(&[2], &[1., 2.]))]));
    let text = "node \"x\" (input): input \"x\": expected f32[1, 2], found f32[2]";
    assert_eq!(wrong.unwrap_err().to_string(), text);
}

#[test]
fn a_node_without_a_value_is_named() {
    let mut b = Builder::new(());
    let x = input(&mut b, 2);
    let unsupported = Unsupported { operator: "Einsum".to_owned(), reason: "no such thing".to_owned(), result: 0 };
    let y = push(&mut b, "sum_of_all", unsupported, &[x]);
    b.output("y", y);
    let error = evaluate(&b.finish(), &BTreeMap::from([("x".to_owned(), tensor(&[1, 2], &[1., 2.]))])).unwrap_err();
    assert_eq!(error.to_string(), "node \"sum_of_all\" (unsupported): operator Einsum is not supported: no such thing");
}
