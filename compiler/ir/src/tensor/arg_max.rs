use ndarray::Axis;

use super::{Effort, Element, Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// The position of the largest element along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgMax {
    /// The axis.
    pub axis: usize,
    /// Whether the axis stays, with size 1.
    pub keep: bool,
    /// Whether the last of several largest elements counts, rather than the first.
    pub last: bool,
}

impl Operation for ArgMax {
    fn name(&self) -> &'static str {
        "arg_max"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        if x.shape.get(self.axis).is_none_or(|&size| size == 0) {
            return Err(TypeError::new(format!(
                "shape {:?} has nothing to choose from on axis {}",
                x.shape, self.axis
            )));
        }
        let mut shape = x.shape.clone();
        if self.keep {
            shape[self.axis] = 1;
        } else {
            shape.remove(self.axis);
        }
        Ok(TensorType::new(Element::I64, shape))
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = self.infer(&[&x.ty()])?;
        let position = |lane: ndarray::ArrayView1<'_, f64>| {
            let better = |found: f64, best: f64| found > best || self.last && found == best;
            let fold = |best: (usize, f64), (at, &found): (usize, &f64)| {
                if better(found, best.1) { (at, found) } else { best }
            };
            lane.iter().enumerate().fold((0, f64::NEG_INFINITY), fold).0 as f64
        };
        let positions = x.array().map_axis(Axis(self.axis), position);
        Tensor::from_values(ty.element, &ty.shape, positions.iter().copied().collect())
    }

    fn effort(&self) -> Effort {
        Effort::Linear
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_int("axis", self.axis as i64).with_flag("keep", self.keep).with_flag("last", self.last)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            Ok(Self { axis: attributes.size("axis")?, keep: attributes.flag("keep")?, last: attributes.flag("last")? })
        };
        (name == "arg_max").then(&mut read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_or_the_last_of_the_largest() {
        let x = Tensor::from_values(Element::F32, &[2, 3], vec![1.0, 5.0, 5.0, -1.0, -3.0, -2.0]).unwrap();
        let run = |axis, keep, last| ArgMax { axis, keep, last }.evaluate(&[&x]).unwrap();
        assert_eq!(run(1, false, false), Tensor::from_values(Element::I64, &[2], vec![1.0, 0.0]).unwrap());
        assert_eq!(run(1, true, true), Tensor::from_values(Element::I64, &[2, 1], vec![2.0, 0.0]).unwrap());
        assert_eq!(run(0, false, false).values(), [0.0; 3]);
        assert!(ArgMax { axis: 2, keep: true, last: false }.infer(&[&x.ty()]).is_err());
        assert!(ArgMax { axis: 0, keep: true, last: false }.infer(&[&TensorType::new(Element::F32, [0])]).is_err());
    }
}
