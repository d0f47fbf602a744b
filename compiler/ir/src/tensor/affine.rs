use std::sync::Arc;

use super::{Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;
use crate::matrix::BlockMatrix;

/// `y = M x + b` between flattened (row-major) tensors: what a run of linear operations is squashed into.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// `M`: as many columns as the operand has elements.
    pub matrix: Arc<BlockMatrix<f64>>,
    /// `b`, one for each row.
    pub bias: Arc<[f64]>,
    /// The shape of the result; its product is the number of rows.
    pub shape: Vec<usize>,
}

impl Operation for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = TensorType::new(x.element, self.shape.clone()).bounded()?;
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        if x.elements() != cols || ty.elements() != rows || self.bias.len() != rows {
            return Err(TypeError::new(format!(
                "a {rows}x{cols} map with {} biases does not take {x} to {ty}",
                self.bias.len()
            )));
        }
        Ok(ty)
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = self.infer(&[&x.ty()])?;
        let mut y = self.matrix.apply(x.values());
        y.iter_mut().zip(&*self.bias).for_each(|(y, b)| *y += b);
        Tensor::from_values(ty.element, &ty.shape, y)
    }

    fn attributes(&self) -> Attributes {
        Attributes::new()
            .with_matrix("matrix", self.matrix.clone())
            .with_floats("bias", self.bias.clone())
            .with_sizes("shape", &self.shape)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            Ok(Self {
                matrix: attributes.matrix("matrix")?,
                bias: attributes.floats("bias")?,
                shape: attributes.sizes("shape")?,
            })
        };
        (name == "affine").then(&mut read)
    }
}
