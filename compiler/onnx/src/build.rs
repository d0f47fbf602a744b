//! Small models for tests.

use std::collections::BTreeMap;

use hec_ir::tensor::{Op, Tensor, TensorGraph};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto, type_proto,
};

use crate::{ImportOptions, import};

/// A model, written from the inputs to the output. Attributes go to the last node. The output is `y`, unless others are named.
#[derive(Clone)]
pub(crate) struct Model(pub(crate) ModelProto);

/// A tensor with raw data.
pub(crate) fn tensor(name: &str, data_type: i32, dims: &[i64], raw: &[u8]) -> TensorProto {
    TensorProto { name: name.into(), data_type, dims: dims.to_vec(), raw_data: raw.to_vec(), ..TensorProto::new() }
}

impl Model {
    pub(crate) fn new(opset: i64) -> Self {
        let mut model = ModelProto::new();
        model.ir_version = 8;
        model.opset_import.push(OperatorSetIdProto { version: opset, ..OperatorSetIdProto::new() });
        model.graph.mut_or_insert_default();
        Self(model)
    }

    /// A float input; a dimension is a size, a name, or empty.
    pub(crate) fn input(self, name: &str, dims: &[&str]) -> Self {
        self.typed_input(name, 1, dims)
    }

    pub(crate) fn typed_input(mut self, name: &str, elem_type: i32, dims: &[&str]) -> Self {
        let mut tensor = type_proto::Tensor { elem_type, ..type_proto::Tensor::new() };
        let shape = tensor.shape.mut_or_insert_default();
        shape.dim.extend(dims.iter().map(|text| {
            let value = match text.parse() {
                Ok(size) => Some(dimension::Value::DimValue(size)),
                Err(_) if text.is_empty() => None,
                Err(_) => Some(dimension::Value::DimParam((*text).to_owned())),
            };
            Dimension { value, ..Dimension::new() }
        }));
        let mut info = ValueInfoProto { name: name.into(), ..ValueInfoProto::new() };
        info.type_.mut_or_insert_default().value = Some(type_proto::Value::TensorType(tensor));
        self.0.graph.mut_or_insert_default().input.push(info);
        self
    }

    pub(crate) fn initializer(mut self, tensor: TensorProto) -> Self {
        self.0.graph.mut_or_insert_default().initializer.push(tensor);
        self
    }

    pub(crate) fn floats(self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(tensor(name, 1, dims, &raw))
    }

    pub(crate) fn integers(self, name: &str, dims: &[usize], values: &[i64]) -> Self {
        let dims: Vec<i64> = dims.iter().map(|&size| size as i64).collect();
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.initializer(tensor(name, 7, &dims, &raw))
    }

    pub(crate) fn node(mut self, op: &str, operands: &[&str], results: &[&str]) -> Self {
        let mut node = NodeProto { op_type: op.into(), ..NodeProto::new() };
        node.input = operands.iter().map(|&name| name.into()).collect();
        node.output = results.iter().map(|&name| name.into()).collect();
        self.0.graph.mut_or_insert_default().node.push(node);
        self
    }

    /// Changes the last node.
    pub(crate) fn last(mut self, change: impl FnOnce(&mut NodeProto)) -> Self {
        change(self.0.graph.mut_or_insert_default().node.last_mut().unwrap());
        self
    }

    pub(crate) fn attribute(self, name: &str, kind: AttributeType, set: impl FnOnce(&mut AttributeProto)) -> Self {
        let mut attribute = AttributeProto { name: name.into(), type_: kind.into(), ..AttributeProto::new() };
        set(&mut attribute);
        self.last(|node| node.attribute.push(attribute))
    }

    pub(crate) fn int(self, name: &str, value: i64) -> Self {
        self.attribute(name, AttributeType::INT, |a| a.i = value)
    }

    pub(crate) fn ints(self, name: &str, values: &[i64]) -> Self {
        self.attribute(name, AttributeType::INTS, |a| a.ints = values.to_vec())
    }

    pub(crate) fn float(self, name: &str, value: f32) -> Self {
        self.attribute(name, AttributeType::FLOAT, |a| a.f = value)
    }

    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        self.attribute(name, AttributeType::STRING, |a| a.s = value.into())
    }

    pub(crate) fn tensor(self, name: &str, value: TensorProto) -> Self {
        self.attribute(name, AttributeType::TENSOR, |a| a.t = Some(value).into())
    }

    pub(crate) fn output(mut self, name: &str) -> Self {
        self.0.graph.mut_or_insert_default().output.push(ValueInfoProto { name: name.into(), ..ValueInfoProto::new() });
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let named = self.0.graph.output.is_empty();
        let model = if named { self.clone().output("y") } else { self.clone() };
        model.0.write_to_bytes().unwrap()
    }

    pub(crate) fn import(&self) -> TensorGraph {
        import(&self.bytes(), &ImportOptions::default()).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The error that the import answers.
    pub(crate) fn error(&self) -> String {
        match import(&self.bytes(), &ImportOptions::default()) {
            Ok(graph) => panic!("imported:\n{graph}"),
            Err(error) => error.to_string(),
        }
    }

    /// What the import could not spell, a line each.
    pub(crate) fn unsupported(&self) -> String {
        let graph = self.import();
        let lines = graph.nodes().filter_map(|(_, node)| {
            let Op::Unsupported(op) = node.op() else { return None };
            Some(format!("{} ({}, result {}): {}", node.origin(), op.operator, op.result, op.reason))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The shape of the first output.
    pub(crate) fn shape(&self) -> Vec<usize> {
        let graph = self.import();
        graph.ty(graph.outputs()[0].value).known().unwrap_or_else(|| panic!("{graph}")).shape.clone()
    }

    /// The first output for a value of the first input.
    pub(crate) fn run(&self, x: &[f64]) -> Vec<f64> {
        let graph = self.import();
        let mut values: BTreeMap<_, Tensor> = BTreeMap::new();
        for (value, node) in graph.nodes() {
            let operands: Vec<&Tensor> = node.operands().iter().map(|operand| &values[operand]).collect();
            let tensor = if let Op::Input(input) = node.op() {
                Tensor::from_values(input.ty.element, &input.ty.shape, x.to_vec()).unwrap()
            } else {
                node.op().evaluate(&operands).unwrap()
            };
            assert_eq!(Some(&tensor.ty()), node.ty().known());
            values.insert(value, tensor);
        }
        values[&graph.outputs()[0].value].values().to_vec()
    }
}
