use ndarray::{ArrayD, Axis};

use super::{Effort, Element, Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// How elements are reduced to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// Their mean; for integers, rounded towards zero.
    Mean,
    /// Their product.
    Product,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

impl Reduction {
    const NAMES: [(&'static str, Self); 5] = [
        ("reduce_sum", Self::Sum),
        ("reduce_mean", Self::Mean),
        ("reduce_product", Self::Product),
        ("reduce_max", Self::Max),
        ("reduce_min", Self::Min),
    ];
}

/// Reduces whole axes to one element each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// How.
    pub reduction: Reduction,
    /// The axes, ascending.
    pub axes: Vec<usize>,
    /// Whether the axes stay, with size 1.
    pub keep: bool,
}

impl Operation for Reduce {
    fn name(&self) -> &'static str {
        Reduction::NAMES.iter().find(|(_, found)| *found == self.reduction).map_or("", |(name, _)| name)
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        let ascending = self.axes.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || self.axes.last().is_some_and(|&axis| axis >= x.shape.len()) {
            let (axes, rank) = (&self.axes, x.shape.len());
            return Err(TypeError::new(format!("axes {axes:?} are not ascending axes of a tensor with {rank}")));
        }
        let empty = self.axes.iter().any(|&axis| x.shape[axis] == 0);
        if empty && matches!(self.reduction, Reduction::Mean | Reduction::Max | Reduction::Min) {
            return Err(TypeError::new(format!("nothing to reduce in a tensor of shape {:?}", x.shape)));
        }
        let sizes = x.shape.iter().enumerate().filter_map(|(axis, &size)| match self.axes.contains(&axis) {
            false => Some(size),
            true => self.keep.then_some(1),
        });
        TensorType::new(x.element, sizes.collect::<Vec<_>>()).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = self.infer(&[&x.ty()])?;
        let mut array: ArrayD<f64> = x.array().clone();
        for &axis in self.axes.iter().rev() {
            array = match self.reduction {
                Reduction::Sum | Reduction::Mean => array.sum_axis(Axis(axis)),
                Reduction::Product => array.fold_axis(Axis(axis), 1.0, |&a, &b| a * b),
                Reduction::Min => array.fold_axis(Axis(axis), f64::INFINITY, |&a, &b| a.min(b)),
                Reduction::Max => array.fold_axis(Axis(axis), f64::NEG_INFINITY, |&a, &b| a.max(b)),
            };
        }
        if self.reduction == Reduction::Mean {
            let count: usize = self.axes.iter().map(|&axis| x.shape()[axis]).product();
            array.mapv_inplace(|sum| sum / count as f64);
            if x.element() == Element::I64 {
                array.mapv_inplace(f64::trunc);
            }
        }
        Tensor::from_values(ty.element, &ty.shape, array.iter().copied().collect())
    }

    fn effort(&self) -> Effort {
        Effort::Linear
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_sizes("axes", &self.axes).with_flag("keep", self.keep)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let (_, reduction) = *Reduction::NAMES.iter().find(|(found, _)| *found == name)?;
        let mut read = || Ok(Self { reduction, axes: attributes.sizes("axes")?, keep: attributes.flag("keep")? });
        Some(read())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x() -> Tensor {
        let values = (0..12).map(f64::from).collect();
        Tensor::from_values(Element::F32, &[2, 3, 2], values).unwrap()
    }

    #[test]
    fn reduces_the_axes_it_names() {
        let run = |reduction, axes: &[usize], keep| {
            Reduce { reduction, axes: axes.to_vec(), keep }.evaluate(&[&x()]).unwrap()
        };
        let sum = run(Reduction::Sum, &[0, 2], false);
        assert_eq!((sum.shape(), sum.values()), (&[3][..], &[14.0, 22.0, 30.0][..]));
        let mean = run(Reduction::Mean, &[1], true);
        assert_eq!((mean.shape(), mean.values()), (&[2, 1, 2][..], &[2.0, 3.0, 8.0, 9.0][..]));
        let max = run(Reduction::Max, &[0, 1, 2], false);
        assert_eq!((max.shape(), max.values()), (&[][..], &[11.0][..]));
        assert_eq!(run(Reduction::Min, &[2], false).values(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(run(Reduction::Product, &[0, 2], false).values(), [0.0, 2.0 * 3.0 * 8.0 * 9.0, 4.0 * 5.0 * 110.0]);
        assert_eq!(run(Reduction::Mean, &[], false), x());
    }

    #[test]
    fn edges() {
        let reduce = |reduction, axes: &[usize]| Reduce { reduction, axes: axes.to_vec(), keep: false };
        let empty = TensorType::new(Element::F32, [2, 0]);
        assert!(reduce(Reduction::Max, &[1]).infer(&[&empty]).is_err());
        assert_eq!(reduce(Reduction::Sum, &[1]).infer(&[&empty]).unwrap().shape, [2]);
        assert!(reduce(Reduction::Sum, &[2]).infer(&[&empty]).is_err());
        assert!(reduce(Reduction::Sum, &[1, 0]).infer(&[&empty]).is_err());
        let integers = Tensor::from_values(Element::I64, &[2], vec![-1.0, -4.0]).unwrap();
        assert_eq!(reduce(Reduction::Mean, &[0]).evaluate(&[&integers]).unwrap().values(), [-2.0]);
    }
}
