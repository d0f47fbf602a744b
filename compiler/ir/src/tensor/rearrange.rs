use ndarray::IxDyn;

use super::{Effort, Operation, Tensor, TensorType, broadcast_shape, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// The same elements in row-major order under another shape. ONNX's `Flatten`, `Squeeze` and `Unsqueeze` are this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The shape of the result.
    pub shape: Vec<usize>,
}

impl Operation for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = TensorType::new(x.element, self.shape.clone()).bounded()?;
        if x.elements() != ty.elements() {
            return Err(TypeError::new(format!(
                "{} elements of shape {:?} do not fill shape {:?}",
                x.elements(),
                x.shape,
                self.shape
            )));
        }
        Ok(ty)
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        Tensor::from_values(x.element(), &self.shape, x.values().to_vec())
    }

    fn effort(&self) -> Effort {
        Effort::Moves
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_sizes("shape", &self.shape)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "reshape").then(|| Ok(Self { shape: attributes.sizes("shape")? }))
    }
}

/// Axes in another order: axis `i` of the result is axis `permutation[i]` of the operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// Each axis of the operand once.
    pub permutation: Vec<usize>,
}

impl Operation for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        let mut sorted = self.permutation.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..x.shape.len()) {
            return Err(TypeError::new(format!(
                "{:?} is no permutation of the axes of shape {:?}",
                self.permutation, x.shape
            )));
        }
        Ok(TensorType::new(x.element, self.permutation.iter().map(|&axis| x.shape[axis]).collect::<Vec<_>>()))
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        self.infer(&[&x.ty()])?;
        Ok(Tensor::new(x.element(), x.array().clone().permuted_axes(IxDyn(&self.permutation))))
    }

    fn effort(&self) -> Effort {
        Effort::Moves
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_sizes("permutation", &self.permutation)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "transpose").then(|| Ok(Self { permutation: attributes.sizes("permutation")? }))
    }
}

/// Repeats axes of size 1 (and adds leading ones) up to a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expand {
    /// The shape of the result.
    pub shape: Vec<usize>,
}

impl Operation for Expand {
    fn name(&self) -> &'static str {
        "expand"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        if broadcast_shape(&x.shape, &self.shape).as_ref() != Ok(&self.shape) {
            return Err(TypeError::new(format!("shape {:?} does not expand to {:?}", x.shape, self.shape)));
        }
        TensorType::new(x.element, self.shape.clone()).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        self.infer(&[&x.ty()])?;
        let spread = x.array().broadcast(IxDyn(&self.shape)).map(|view| view.to_owned());
        let spread = spread.ok_or_else(|| TypeError::new("the operand does not expand"))?;
        Ok(Tensor::new(x.element(), spread))
    }

    fn effort(&self) -> Effort {
        Effort::Moves
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_sizes("shape", &self.shape)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "expand").then(|| Ok(Self { shape: attributes.sizes("shape")? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Element;

    fn count(shape: &[usize]) -> Tensor {
        let values = (0..shape.iter().product()).map(|i: usize| i as f64).collect();
        Tensor::from_values(Element::F32, shape, values).unwrap()
    }

    #[test]
    fn reshape_keeps_the_order() {
        let out = Reshape { shape: vec![3, 2] }.evaluate(&[&count(&[2, 3])]).unwrap();
        assert_eq!((out.shape(), out.values()), (&[3, 2][..], count(&[6]).values()));
        assert_eq!(Reshape { shape: vec![] }.evaluate(&[&count(&[1, 1])]).unwrap().shape(), []);
        let error = Reshape { shape: vec![4] }.infer(&[&count(&[2, 3]).ty()]).unwrap_err();
        assert_eq!(error.0, "6 elements of shape [2, 3] do not fill shape [4]");
    }

    #[test]
    fn transpose_names_the_source_of_each_axis() {
        let out = Transpose { permutation: vec![2, 0, 1] }.evaluate(&[&count(&[1, 2, 3])]).unwrap();
        assert_eq!((out.shape(), out.values()), (&[3, 1, 2][..], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..]));
        let wrong = |permutation: &[usize]| {
            Transpose { permutation: permutation.to_vec() }.infer(&[&count(&[1, 2]).ty()]).is_err()
        };
        assert!(wrong(&[0, 0]) && wrong(&[0]) && wrong(&[0, 2]));
    }

    #[test]
    fn expand_repeats() {
        let out = Expand { shape: vec![2, 3, 2] }.evaluate(&[&count(&[3, 1])]).unwrap();
        assert_eq!(out.values(), [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
        assert!(Expand { shape: vec![1, 3] }.infer(&[&count(&[2, 3]).ty()]).is_err());
        assert!(Expand { shape: vec![1 << 20, 1 << 20] }.infer(&[&count(&[1]).ty()]).is_err());
    }
}
