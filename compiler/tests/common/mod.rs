//! Small models made in code.
#![allow(dead_code, clippy::expect_used, reason = "test support; each test file uses its own part")]

use std::sync::Arc;

use hec_ir::graph::{Builder, Value};
use hec_ir::tensor::{
    Binary, Constant, Conv, Element, Input, MatMul, Op, Pool, Reshape, Tensor, TensorGraph, TensorType, Tensors, Window,
};

/// A builder with the calls that models are written in.
pub struct Model {
    pub builder: Builder<Tensors>,
    seed: u64,
}

impl Model {
    pub fn new() -> Self {
        Self { builder: Builder::new(()), seed: 1 }
    }

    pub fn input(&mut self, name: &str, shape: &[usize]) -> Value {
        let ty = TensorType::new(Element::F32, shape);
        self.push(name, Input { name: name.to_owned(), ty }, &[])
    }

    pub fn push(&mut self, name: &str, op: impl Into<Op>, operands: &[Value]) -> Value {
        self.builder.set_origin(name);
        self.builder.push(op.into(), operands).expect("operands fit")
    }

    pub fn constant(&mut self, shape: &[usize], values: Vec<f64>) -> Value {
        let tensor = Tensor::from_values(Element::F32, shape, values).expect("shape fits");
        self.push("weights", Constant(Arc::new(tensor)), &[])
    }

    /// Reproducible numbers in `[-size, size]`.
    pub fn weights(&mut self, shape: &[usize], size: f64) -> Value {
        let count = shape.iter().product();
        let values = (0..count).map(|_| size * self.random()).collect();
        self.constant(shape, values)
    }

    pub fn random(&mut self) -> f64 {
        // Knuth's MMIX generator.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 40) as f64 / f64::from(1 << 23) - 1.0
    }

    pub fn conv(&mut self, name: &str, x: Value, kernel: [usize; 4], stride: usize, pad: usize) -> Value {
        let size = (3.0 / (kernel[1] * kernel[2] * kernel[3]) as f64).sqrt();
        let (w, b) = (self.weights(&kernel, size), self.weights(&[kernel[0]], 0.1));
        let pads = vec![pad; 2];
        let window =
            Window { strides: vec![stride; 2], pads_begin: pads.clone(), pads_end: pads, dilations: vec![1; 2] };
        self.push(name, Conv { window, groups: 1 }, &[x, w, b])
    }

    pub fn average_pool(&mut self, name: &str, x: Value, kernel: usize, stride: usize, pad: usize) -> Value {
        let pads = vec![pad; 2];
        let window =
            Window { strides: vec![stride; 2], pads_begin: pads.clone(), pads_end: pads, dilations: vec![1; 2] };
        self.push(name, Pool::average(&[kernel; 2], window), &[x])
    }

    pub fn dense(&mut self, name: &str, x: Value, inputs: usize, outputs: usize) -> Value {
        let size = (3.0 / inputs as f64).sqrt();
        let (w, b) = (self.weights(&[inputs, outputs], size), self.weights(&[outputs], 0.1));
        let y = self.push(name, MatMul, &[x, w]);
        self.push(name, Binary::Add, &[y, b])
    }

    pub fn square(&mut self, name: &str, x: Value) -> Value {
        self.push(name, Binary::Mul, &[x, x])
    }

    pub fn flatten(&mut self, name: &str, x: Value, size: usize) -> Value {
        self.push(name, Reshape { shape: vec![1, size] }, &[x])
    }

    pub fn finish(mut self, output: Value) -> TensorGraph {
        self.builder.output("output", output);
        self.builder.finish()
    }
}

/// The net of the CryptoNets paper, before squashing.
pub fn cryptonets() -> TensorGraph {
    let mut m = Model::new();
    let x = m.input("image", &[1, 1, 28, 28]);
    let x = m.conv("conv1", x, [5, 1, 5, 5], 2, 1);
    let x = m.square("square1", x);
    let x = m.average_pool("pool1", x, 3, 1, 1);
    let x = m.conv("conv2", x, [50, 5, 5, 5], 2, 0);
    let x = m.average_pool("pool2", x, 3, 1, 1);
    let x = m.flatten("flatten", x, 1250);
    let x = m.dense("dense1", x, 1250, 100);
    let x = m.square("square2", x);
    let x = m.dense("dense2", x, 100, 10);
    m.finish(x)
}

/// A reproducible image in `[0, 1]`.
pub fn image(model: &mut Model, size: usize) -> Vec<f64> {
    (0..size).map(|_| model.random().abs()).collect()
}

/// The value of `graph`'s first output for one sample, by the reference semantics.
pub fn evaluate(graph: &TensorGraph, input: &[f64]) -> Vec<f64> {
    let mut values: Vec<Tensor> = Vec::new();
    for (_, node) in graph.nodes() {
        let operands: Vec<&Tensor> = node.operands().iter().map(|v| &values[v.index()]).collect();
        values.push(if let Op::Input(i) = node.op() {
            Tensor::from_values(i.ty.element, &i.ty.shape, input.to_vec()).expect("a whole sample")
        } else {
            node.op().evaluate(&operands).expect("a value")
        });
    }
    values[graph.outputs()[0].value.index()].values().to_vec()
}

/// The largest difference, relative to the largest value.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(1e-300, |m: f64, v| m.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / size
}
