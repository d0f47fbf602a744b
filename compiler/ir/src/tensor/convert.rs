use ndarray::Axis;

use super::{Effort, Element, Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// Another element type: floats lose their fraction towards integers, and everything but 0 is true. Values are not
/// rounded to the precision of a narrower float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cast {
    /// The element type of the result.
    pub element: Element,
}

impl Operation for Cast {
    fn name(&self) -> &'static str {
        "cast"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        Ok(TensorType::new(self.element, x.shape.clone()))
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        Ok(Tensor::new(
            self.element,
            match self.element {
                Element::F32 | Element::F64 => x.array().clone(),
                Element::I64 => x.array().mapv(f64::trunc),
                Element::Bool => x.array().mapv(|v| f64::from(u8::from(v != 0.0))),
            },
        ))
    }

    fn effort(&self) -> Effort {
        match self.element {
            Element::F32 | Element::F64 => Effort::Moves,
            Element::I64 | Element::Bool => Effort::Linear,
        }
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_text("element", self.element.name())
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            let element = Element::from_name(&attributes.text("element")?);
            Ok(Self { element: element.ok_or(AttributeError::Attribute("element"))? })
        };
        (name == "cast").then(&mut read)
    }
}

/// `e^x / sum(e^x)` along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Softmax {
    /// The axis.
    pub axis: usize,
}

impl Operation for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
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
            let largest = lane.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            lane.mapv_inplace(|v| (v - largest).exp());
            let sum = lane.sum();
            lane.mapv_inplace(|v| v / sum);
        }
        Ok(Tensor::new(x.element(), array))
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_int("axis", self.axis as i64)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "softmax").then(|| Ok(Self { axis: attributes.size("axis")? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_towards_zero() {
        let x = Tensor::from_values(Element::F32, &[3], vec![-1.7, 0.0, 2.9]).unwrap();
        let cast = |element| Cast { element }.evaluate(&[&x]).unwrap();
        assert_eq!(cast(Element::I64).values(), [-1.0, 0.0, 2.0]);
        assert_eq!(cast(Element::Bool).values(), [1.0, 0.0, 1.0]);
        assert_eq!((cast(Element::F64).element(), cast(Element::F64).values()), (Element::F64, x.values()));
    }

    #[test]
    fn softmax_sums_to_one_without_overflow() {
        let x = Tensor::from_values(Element::F32, &[2, 2], vec![1000.0, 1000.0, 0.0, 3.0_f64.ln()]).unwrap();
        let out = Softmax { axis: 1 }.evaluate(&[&x]).unwrap();
        let expected = [0.5, 0.5, 0.25, 0.75];
        assert!(out.values().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{out:?}");
        assert!(Softmax { axis: 2 }.infer(&[&x.ty()]).is_err());
    }
}
