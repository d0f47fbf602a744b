use std::sync::Arc;

use super::{Element, Operation, Tensor, TensorType};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// A graph input.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name in the ONNX graph.
    pub name: String,
    /// Its type; where ONNX has a batch dimension, 1 stands.
    pub ty: TensorType,
}

impl Operation for Input {
    fn name(&self) -> &'static str {
        "input"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        super::expect_operands::<_, 0>(operands)?;
        self.ty.clone().bounded()
    }

    fn evaluate(&self, _operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        Err(TypeError::new(format!("no value was given for input \"{}\"", self.name)))
    }

    fn attributes(&self) -> Attributes {
        let ty = &self.ty;
        Attributes::new()
            .with_text("name", self.name.as_str())
            .with_text("element", ty.element.name())
            .with_sizes("shape", &ty.shape)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            let name = attributes.text("name")?;
            let element = Element::from_name(&attributes.text("element")?);
            let element = element.ok_or(AttributeError::Attribute("element"))?;
            Ok(Self { name, ty: TensorType { element, shape: attributes.sizes("shape")? } })
        };
        (name == "input").then(&mut read)
    }
}

/// A tensor known at compile time.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant(pub Arc<Tensor>);

impl Operation for Constant {
    fn name(&self) -> &'static str {
        "constant"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        super::expect_operands::<_, 0>(operands)?;
        self.0.ty().bounded()
    }

    fn evaluate(&self, _operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        Ok((*self.0).clone())
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_tensor("value", self.0.clone())
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "constant").then(|| attributes.tensor("value").map(Self))
    }
}

/// An ONNX operation that this version cannot compute, kept so that the model can be dumped and all such nodes be
/// reported together. The types of its result and of what follows are unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The operator's name with its domain: `Einsum`, `ai.onnx.ml.TreeEnsembleClassifier`.
    pub operator: String,
    /// Why: the operator itself, or the attribute that is out of scope.
    pub reason: String,
    /// Which of the node's results this is.
    pub result: usize,
}

impl Operation for Unsupported {
    fn name(&self) -> &'static str {
        "unsupported"
    }

    fn infer(&self, _operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        Err(TypeError::new(format!("operator {} is not supported: {}", self.operator, self.reason)))
    }

    fn evaluate(&self, _operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        Err(TypeError::new(format!("operator {} is not supported: {}", self.operator, self.reason)))
    }

    fn attributes(&self) -> Attributes {
        Attributes::new()
            .with_text("operator", self.operator.as_str())
            .with_text("reason", self.reason.as_str())
            .with_int("result", self.result as i64)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            Ok(Self {
                operator: attributes.text("operator")?,
                reason: attributes.text("reason")?,
                result: attributes.size("result")?,
            })
        };
        (name == "unsupported").then(&mut read)
    }
}
