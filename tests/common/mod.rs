//! What several test programs and the examples need: where things are, ONNX models made in code, and repeatable randomness.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
    tensor_shape_proto, type_proto,
};

/// A path in the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The files with this extension in a folder of the repository, by name.
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

/// A file's name without folder and extension.
pub fn stem(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// xorshift64: the same numbers in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// What a packed program does, in a line.
pub fn packed_counts(program: &hec::Program) -> String {
    let circuit = program.circuit();
    let hec::ir::ckks::OpCounts { products, key_switches, rotations, plain_products, rescales, .. } =
        hec::ir::ckks::counts(circuit);
    let keys = hec::ir::ckks::key_needs(circuit).rotations.len();
    let (ring, levels) = (circuit.context().ring(), circuit.context().max_level());
    format!(
        "N = 2^{} {}, {levels} levels, {rotations} rotations with {keys} keys, {key_switches} key switches, {plain_products} products with diagonals, {products} products, {rescales} rescalings",
        ring.log_n, ring.ring_type
    )
}

/// An ONNX model, written from its inputs to its outputs.
#[derive(Default)]
pub struct Onnx(ModelProto);

/// A float tensor.
pub fn tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto { name: name.into(), data_type: 1, dims: dims.to_vec(), raw_data, ..TensorProto::new() }
}

impl Onnx {
    pub fn new() -> Self {
        let mut model = ModelProto { ir_version: 8, ..ModelProto::new() };
        model.opset_import.push(OperatorSetIdProto { version: 17, ..OperatorSetIdProto::new() });
        model.graph.mut_or_insert_default();
        Self(model)
    }

    /// A float input with an open batch dimension before `sample`.
    pub fn input(mut self, name: &str, sample: &[i64]) -> Self {
        let batch = Dimension {
            value: Some(dimension::Value::DimParam("batch".into())),
            ..tensor_shape_proto::Dimension::new()
        };
        let size = |&size| Dimension { value: Some(dimension::Value::DimValue(size)), ..Dimension::new() };
        let mut ty = type_proto::Tensor { elem_type: 1, ..type_proto::Tensor::new() };
        ty.shape.mut_or_insert_default().dim = std::iter::once(batch).chain(sample.iter().map(size)).collect();
        let mut info = ValueInfoProto { name: name.into(), ..ValueInfoProto::new() };
        info.type_.mut_or_insert_default().value = Some(type_proto::Value::TensorType(ty));
        self.0.graph.mut_or_insert_default().input.push(info);
        self
    }

    pub fn weights(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        self.0.graph.mut_or_insert_default().initializer.push(tensor(name, dims, values));
        self
    }

    /// A node called after its result.
    pub fn node(mut self, operator: &str, operands: &[&str], result: &str) -> Self {
        let mut node = NodeProto { op_type: operator.into(), name: format!("/{result}"), ..NodeProto::new() };
        node.input = operands.iter().map(|&name| name.into()).collect();
        node.output = vec![result.into()];
        self.0.graph.mut_or_insert_default().node.push(node);
        self
    }

    /// An attribute of the last node: one integer, or several.
    pub fn attribute(mut self, name: &str, values: &[i64]) -> Self {
        let mut attribute = AttributeProto { name: name.into(), ..AttributeProto::new() };
        match values {
            [value] => (attribute.i, attribute.type_) = (*value, AttributeType::INT.into()),
            _ => (attribute.ints, attribute.type_) = (values.to_vec(), AttributeType::INTS.into()),
        }
        let nodes = &mut self.0.graph.mut_or_insert_default().node;
        nodes.last_mut().expect("a node").attribute.push(attribute);
        self
    }

    pub fn output(mut self, name: &str) -> Self {
        let info = ValueInfoProto { name: name.into(), ..ValueInfoProto::new() };
        self.0.graph.mut_or_insert_default().output.push(info);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.write_to_bytes().unwrap()
    }
}

/// `x -> W2 (W1 x)^2`, from four numbers to two.
pub fn small() -> Onnx {
    let weights = |count: u16| (0..count).map(|i| f32::from(i % 5) * 0.25 - 0.5).collect::<Vec<_>>();
    Onnx::new()
        .input("x", &[4])
        .weights("w1", &[4, 3], &weights(12))
        .weights("w2", &[3, 2], &weights(6))
        .node("MatMul", &["x", "w1"], "hidden")
        .node("Mul", &["hidden", "hidden"], "squared")
        .node("MatMul", &["squared", "w2"], "y")
        .output("y")
}

/// `count` squarings one after the other.
pub fn squarings(count: usize) -> Onnx {
    let name = |i: usize| format!("square{i}");
    let square = |model: Onnx, i: usize| {
        let operand = if i == 1 { "x".to_owned() } else { name(i - 1) };
        model.node("Mul", &[&operand, &operand], &name(i))
    };
    (1..=count).fold(Onnx::new().input("x", &[4]), square).output(&name(count))
}
