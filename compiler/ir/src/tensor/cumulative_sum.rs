use ndarray::Axis;

use super::{Effort, Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// Running sums along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CumulativeSum {
    /// The axis.
    pub axis: usize,
    /// Whether an element's own value is left out of its sum.
    pub exclusive: bool,
    /// Whether sums begin at the end of the axis.
    pub reverse: bool,
}

impl Operation for CumulativeSum {
    fn name(&self) -> &'static str {
        "cumulative_sum"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        x.size(self.axis).map(|_| x.clone())
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        self.infer(&[&x.ty()])?;
        let mut array = x.array().clone();
        for mut lane in array.lanes_mut(Axis(self.axis)) {
            if self.reverse {
                lane.invert_axis(Axis(0));
            }
            let mut sum = 0.0;
            for value in lane {
                let before = sum;
                sum += *value;
                *value = if self.exclusive { before } else { sum };
            }
        }
        Ok(Tensor::new(x.element(), array))
    }

    fn effort(&self) -> Effort {
        Effort::Linear
    }

    fn attributes(&self) -> Attributes {
        let attributes = Attributes::new().with_int("axis", self.axis as i64);
        attributes.with_flag("exclusive", self.exclusive).with_flag("reverse", self.reverse)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            let (axis, exclusive) = (attributes.size("axis")?, attributes.flag("exclusive")?);
            Ok(Self { axis, exclusive, reverse: attributes.flag("reverse")? })
        };
        (name == "cumulative_sum").then(&mut read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Element;

    #[test]
    fn sums_from_either_end_with_or_without_the_element() {
        let x = Tensor::from_values(Element::F32, &[2, 3], vec![1.0, 2.0, 3.0, 10.0, 20.0, 30.0]).unwrap();
        let sum = |axis, exclusive, reverse| CumulativeSum { axis, exclusive, reverse };
        let run = |axis, exclusive, reverse| sum(axis, exclusive, reverse).evaluate(&[&x]).unwrap();
        assert_eq!(run(1, false, false).values(), [1.0, 3.0, 6.0, 10.0, 30.0, 60.0]);
        assert_eq!(run(1, true, false).values(), [0.0, 1.0, 3.0, 0.0, 10.0, 30.0]);
        assert_eq!(run(1, false, true).values(), [6.0, 5.0, 3.0, 60.0, 50.0, 30.0]);
        assert_eq!(run(1, true, true).values(), [5.0, 3.0, 0.0, 50.0, 30.0, 0.0]);
        assert_eq!(run(0, false, false).values(), [1.0, 2.0, 3.0, 11.0, 22.0, 33.0]);
        assert!(sum(2, false, false).infer(&[&x.ty()]).is_err());
    }
}
