use std::sync::Arc;

use super::{Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// `sum_k coefficients[k] * T_k(x)` of each element, with the Chebyshev polynomials of the first kind. Operands are meant to
/// lie in [-1, 1], where no `T_k` is larger than 1: high degrees stay well conditioned there, as powers of `x` do not.
#[derive(Clone, Debug, PartialEq)]
pub struct Chebyshev {
    /// Coefficients, that of `T_0` first; the last is not zero.
    pub coefficients: Arc<[f64]>,
}

impl Chebyshev {
    /// The degree.
    pub fn degree(&self) -> usize {
        self.coefficients.len().saturating_sub(1)
    }

    /// The value at `x` (Clenshaw's recurrence).
    pub fn apply(&self, x: f64) -> f64 {
        let Some((first, rest)) = self.coefficients.split_first() else { return 0.0 };
        let (b1, b2) = rest.iter().rev().fold((0.0, 0.0), |(b1, b2), c| (c + 2.0 * x * b1 - b2, b1));
        first + x * b1 - b2
    }
}

impl Operation for Chebyshev {
    fn name(&self) -> &'static str {
        "chebyshev"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        if self.coefficients.last().is_none_or(|&last| last == 0.0) || !self.coefficients.iter().all(|c| c.is_finite())
        {
            return Err(TypeError::new("a series needs finite coefficients, and the last must not be 0"));
        }
        Ok(x.clone())
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        Ok(Tensor::new(x.element(), x.array().mapv(|v| self.apply(v))))
    }

    fn attributes(&self) -> Attributes {
        Attributes::new().with_floats("coefficients", self.coefficients.clone())
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "chebyshev").then(|| Ok(Self { coefficients: attributes.floats("coefficients")? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_sum_of_cosines() {
        let series = Chebyshev { coefficients: [0.5, -1.0, 0.25, 2.0].into() };
        for x in [-1.0, -0.3, 0.0, 0.7, 1.0] {
            let t = |k: f64| (k * f64::acos(x)).cos();
            let expected = 0.5 - t(1.0) + 0.25 * t(2.0) + 2.0 * t(3.0);
            assert!((series.apply(x) - expected).abs() < 1e-14);
        }
    }
}
