use super::{Effort, Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// `x` where it is positive, `alpha * x` elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeakyRelu {
    /// The slope for negative numbers.
    pub alpha: f64,
}

impl Operation for LeakyRelu {
    fn name(&self) -> &'static str {
        "leaky_relu"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        if !self.alpha.is_finite() {
            return Err(TypeError::new(format!("expected a finite alpha, found {}", self.alpha)));
        }
        Ok(x.clone())
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        Ok(Tensor::new(x.element(), x.array().mapv(|v| if v < 0.0 { self.alpha * v } else { v })))
    }

    fn effort(&self) -> Effort {
        Effort::Linear
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_float("alpha", self.alpha)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "leaky_relu").then(|| Ok(Self { alpha: attributes.float("alpha")? }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Element;
    use super::*;

    #[test]
    fn only_negative_numbers_are_scaled() {
        let x = Tensor::from_values(Element::F32, &[4], vec![-2.0, -0.0, 0.5, 3.0]).unwrap();
        assert_eq!(LeakyRelu { alpha: 0.25 }.evaluate(&[&x]).unwrap().values(), [-0.5, 0.0, 0.5, 3.0]);
        assert_eq!(LeakyRelu { alpha: 0.25 }.infer(&[&x.ty()]), Ok(x.ty()));
        let error = LeakyRelu { alpha: f64::NAN }.infer(&[&x.ty()]).unwrap_err();
        assert_eq!(error.to_string(), "expected a finite alpha, found NaN");
    }
}
