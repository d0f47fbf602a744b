use ndarray::{ArrayD, Axis, IxDyn, Slice as Range};

use super::{Effort, Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// Tensors one after the other along an axis; their other axes agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Operation for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let Some((first, rest)) = operands.split_first() else {
            return Err(TypeError::new("expected at least one operand"));
        };
        first.size(self.axis)?;
        let mut ty = (*first).clone();
        for other in rest {
            let mut expected = ty.shape.clone();
            if let (Some(expected), Some(size)) = (expected.get_mut(self.axis), other.shape.get(self.axis)) {
                *expected = *size;
            }
            if other.shape != expected || other.element != ty.element {
                return Err(TypeError::new(format!("{first} and {other} do not join along axis {}", self.axis)));
            }
            ty.shape[self.axis] = ty.shape[self.axis].saturating_add(other.shape[self.axis]);
        }
        ty.bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let types: Vec<TensorType> = operands.iter().map(|t| t.ty()).collect();
        let ty = self.infer(&types.iter().collect::<Vec<_>>())?;
        let views: Vec<_> = operands.iter().map(|t| t.array().view()).collect();
        let array = ndarray::concatenate(Axis(self.axis), &views).map_err(|e| TypeError::new(e.to_string()))?;
        Ok(Tensor::new(ty.element, array))
    }

    fn effort(&self) -> Effort {
        Effort::Moves
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_int("axis", self.axis as i64)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "concat").then(|| Ok(Self { axis: attributes.size("axis")? }))
    }
}

/// A tensor surrounded by a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// How many elements are put before each axis.
    pub begin: Vec<usize>,
    /// How many are put after it.
    pub end: Vec<usize>,
    /// The constant.
    pub value: f64,
}

impl Operation for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        let rank = x.shape.len();
        if self.begin.len() != rank || self.end.len() != rank {
            return Err(TypeError::new(format!(
                "paddings {:?} and {:?} do not fit shape {:?}",
                self.begin, self.end, x.shape
            )));
        }
        let padded = |i: usize| x.shape[i].saturating_add(self.begin[i]).saturating_add(self.end[i]);
        TensorType::new(x.element, (0..rank).map(padded).collect::<Vec<_>>()).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = self.infer(&[&x.ty()])?;
        let mut out = ArrayD::from_elem(IxDyn(&ty.shape), self.value);
        let inside = |axis: usize| (self.begin[axis]..self.begin[axis] + x.shape()[axis]).into();
        let range = |axis: ndarray::AxisDescription| -> Range { inside(axis.axis.index()) };
        out.slice_each_axis_mut(range).assign(x.array());
        Ok(Tensor::new(ty.element, out))
    }

    fn effort(&self) -> Effort {
        Effort::Moves
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_sizes("begin", &self.begin).with_sizes("end", &self.end).with_float("value", self.value)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            Ok(Self {
                begin: attributes.sizes("begin")?,
                end: attributes.sizes("end")?,
                value: attributes.float("value")?,
            })
        };
        (name == "pad").then(&mut read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Element;

    fn tensor(shape: &[usize], values: &[f64]) -> Tensor {
        Tensor::from_values(Element::F32, shape, values.to_vec()).unwrap()
    }

    #[test]
    fn concat_joins_along_one_axis() {
        let (a, b) = (tensor(&[2, 1], &[1.0, 2.0]), tensor(&[2, 2], &[3.0, 4.0, 5.0, 6.0]));
        let out = Concat { axis: 1 }.evaluate(&[&a, &b, &a]).unwrap();
        assert_eq!(out.shape(), [2, 4]);
        assert_eq!(out.values(), [1.0, 3.0, 4.0, 1.0, 2.0, 5.0, 6.0, 2.0]);
        assert_eq!(Concat { axis: 1 }.evaluate(&[&a]).unwrap(), a);
        assert!(Concat { axis: 0 }.infer(&[&a.ty(), &b.ty()]).is_err());
        assert!(Concat { axis: 2 }.infer(&[&a.ty()]).is_err());
        assert!(Concat { axis: 0 }.infer(&[]).is_err());
        let integers = TensorType::new(Element::I64, [2, 1]);
        assert!(Concat { axis: 1 }.infer(&[&a.ty(), &integers]).is_err());
        assert!(Concat { axis: 1 }.infer(&[&a.ty(), &TensorType::new(Element::F32, [2])]).is_err());
    }

    #[test]
    fn pad_surrounds() {
        let pad = Pad { begin: vec![0, 1], end: vec![1, 0], value: 9.0 };
        let out = pad.evaluate(&[&tensor(&[1, 2], &[1.0, 2.0])]).unwrap();
        assert_eq!((out.shape(), out.values()), (&[2, 3][..], &[9.0, 1.0, 2.0, 9.0, 9.0, 9.0][..]));
        assert!(pad.infer(&[&TensorType::new(Element::F32, [1])]).is_err());
        let huge = Pad { begin: vec![usize::MAX], end: vec![usize::MAX], value: 0.0 };
        assert!(huge.infer(&[&TensorType::new(Element::F32, [1])]).is_err());
    }
}
