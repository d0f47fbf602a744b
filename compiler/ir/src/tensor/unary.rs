use super::erf::erf;
use super::{Effort, Operation, Tensor, TensorType, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

macro_rules! functions {
    ($($(#[$doc:meta])* $variant:ident $({ $($(#[$field_doc:meta])* $field:ident,)+ })? = $name:literal,)*) => {
        /// A function of one number, elementwise. Some have parameters.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Unary {
            $($(#[$doc])* $variant $({ $($(#[$field_doc])* $field: f64,)+ })?,)*
        }

        impl Unary {
            /// Its name, without parameters.
            pub fn text(&self) -> &'static str {
                match self { $(Self::$variant $({ $($field: _,)+ })? => $name,)* }
            }

            /// Its parameters, in order.
            pub fn parameters(&self) -> Vec<(&'static str, f64)> {
                match *self { $(Self::$variant $({ $($field,)+ })? => vec![$($((stringify!($field), $field),)+)?],)* }
            }

            /// The function of this name, with the parameters that `parameter` gives; `None` if there is none.
            ///
            /// # Errors
            /// Inside: those of `parameter`.
            pub fn from_parts<E>(
                name: &str,
                mut parameter: impl FnMut(&'static str) -> Result<f64, E>,
            ) -> Option<Result<Self, E>> {
                // One without parameters does not ask for any.
                let mut ask = |name| parameter(name);
                match name {
                    $($name => Some(Self::read(&mut ask, |_ask| Ok(Self::$variant $({ $($field: _ask(stringify!($field))?,)+ })?))),)*
                    _other => None,
                }
            }

            fn read<A, E>(ask: &mut A, make: impl FnOnce(&mut A) -> Result<Self, E>) -> Result<Self, E> {
                make(ask)
            }
        }
    };
}

functions! {
    /// `-x`.
    Neg = "neg",
    /// `|x|`.
    Abs = "abs",
    /// -1, 0 or 1.
    Sign = "sign",
    /// The largest integer that is not larger.
    Floor = "floor",
    /// The smallest integer that is not smaller.
    Ceil = "ceil",
    /// The nearest integer, the even one of two.
    Round = "round",
    /// Square root.
    Sqrt = "sqrt",
    /// `1/x`.
    Reciprocal = "reciprocal",
    /// `e^x`.
    Exp = "exp",
    /// Natural logarithm.
    Log = "log",
    /// Sine.
    Sin = "sin",
    /// Cosine.
    Cos = "cos",
    /// `max(x, 0)`.
    Relu = "relu",
    /// `1/(1 + e^-x)`.
    Sigmoid = "sigmoid",
    /// Hyperbolic tangent.
    Tanh = "tanh",
    /// The error function.
    Erf = "erf",
    /// `log(1 + e^x)`.
    Softplus = "softplus",
    /// `x` where it is positive, `alpha * x` elsewhere.
    LeakyRelu {
        /// The slope for negative numbers.
        alpha,
    } = "leaky_relu",
    /// `x` where it is positive, `alpha * (e^x - 1)` elsewhere.
    Elu {
        /// What it tends to for negative numbers, negated.
        alpha,
    } = "elu",
    /// `gamma * x` where it is positive, `gamma * alpha * (e^x - 1)` elsewhere.
    Selu {
        /// As of `elu`.
        alpha,
        /// The factor of both parts.
        gamma,
    } = "selu",
    /// `x` where it is positive, `alpha * (e^(x / alpha) - 1)` elsewhere.
    Celu {
        /// What it tends to for negative numbers, negated.
        alpha,
    } = "celu",
    /// `x` where it is larger than `alpha`, 0 elsewhere.
    ThresholdedRelu {
        /// The threshold.
        alpha,
    } = "thresholded_relu",
    /// `alpha * x + beta`, between 0 and 1.
    HardSigmoid {
        /// The slope.
        alpha,
        /// The value at 0.
        beta,
    } = "hard_sigmoid",
    /// `min(max(x, least), most)`; either bound may be infinite.
    Clip {
        /// The lower bound.
        least,
        /// The upper bound, which wins.
        most,
    } = "clip",
}

impl Unary {
    /// The function's value at `x`.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sign if x == 0.0 => 0.0,
            Self::Sign => x.signum(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Round => x.round_ties_even(),
            Self::Sqrt => x.sqrt(),
            Self::Reciprocal => x.recip(),
            Self::Exp => x.exp(),
            Self::Log => x.ln(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Relu => x.max(0.0),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Erf => erf(x),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::LeakyRelu { alpha } if x < 0.0 => alpha * x,
            Self::Elu { alpha } if x < 0.0 => alpha * x.exp_m1(),
            Self::Selu { alpha, gamma } if x < 0.0 => gamma * alpha * x.exp_m1(),
            Self::Selu { alpha: _, gamma } => gamma * x,
            Self::Celu { alpha } if x < 0.0 => alpha * (x / alpha).exp_m1(),
            Self::ThresholdedRelu { alpha } if x <= alpha => 0.0,
            Self::LeakyRelu { .. } | Self::Elu { .. } | Self::Celu { .. } | Self::ThresholdedRelu { .. } => x,
            Self::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
            Self::Clip { least, most } => x.max(least).min(most),
        }
    }

    /// Whether its value depends on whether numbers are larger than others: it has a kink or a jump.
    pub fn compares(self) -> bool {
        match self {
            Self::Abs
            | Self::Sign
            | Self::Floor
            | Self::Ceil
            | Self::Round
            | Self::Relu
            | Self::LeakyRelu { .. }
            | Self::Elu { .. }
            | Self::Selu { .. }
            | Self::Celu { .. }
            | Self::ThresholdedRelu { .. }
            | Self::HardSigmoid { .. }
            | Self::Clip { .. } => true,
            Self::Neg
            | Self::Sqrt
            | Self::Reciprocal
            | Self::Exp
            | Self::Log
            | Self::Sin
            | Self::Cos
            | Self::Sigmoid
            | Self::Tanh
            | Self::Erf
            | Self::Softplus => false,
        }
    }

    /// Whether the parameters make sense.
    ///
    /// # Errors
    /// The one that does not.
    pub fn check(self) -> Result<(), TypeError> {
        let may_be_infinite = matches!(self, Self::Clip { .. });
        let wrong = |value: f64| if may_be_infinite { value.is_nan() } else { !value.is_finite() };
        if let Some((name, value)) = self.parameters().into_iter().find(|(_, value)| wrong(*value)) {
            return Err(TypeError::new(format!("expected a finite {name}, found {value}")));
        }
        if let Self::Celu { alpha: 0.0 } = self {
            return Err(TypeError::new("expected an alpha other than 0"));
        }
        Ok(())
    }
}

impl Operation for Unary {
    fn name(&self) -> &'static str {
        self.text()
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        self.check()?;
        Ok(x.clone())
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        Ok(Tensor::new(x.element(), x.array().mapv(|v| self.apply(v))))
    }

    fn effort(&self) -> Effort {
        Effort::Linear
    }

    fn attributes(&self) -> Attributes {
        self.parameters().into_iter().fold(Attributes::new(), |all, (name, value)| all.with_float(name, value))
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        Self::from_parts(name, |parameter| attributes.float(parameter))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Element;
    use super::*;

    #[test]
    fn values() {
        let at = |function: Unary, points: [f64; 3]| points.map(|x| (function.apply(x) * 1e3).round() / 1e3);
        assert_eq!(at(Unary::Sign, [-2.0, 0.0, 3.0]), [-1.0, 0.0, 1.0]);
        assert_eq!(at(Unary::Round, [0.5, 1.5, -2.5]), [0.0, 2.0, -2.0]);
        assert_eq!(at(Unary::Softplus, [-1000.0, 0.0, 1000.0]), [0.0, 0.693, 1000.0]);
        assert_eq!(at(Unary::LeakyRelu { alpha: 0.25 }, [-2.0, 0.0, 3.0]), [-0.5, 0.0, 3.0]);
        assert_eq!(at(Unary::Elu { alpha: 2.0 }, [-1.0, 0.0, 3.0]), [-1.264, 0.0, 3.0]);
        assert_eq!(at(Unary::Selu { alpha: 2.0, gamma: 3.0 }, [-1.0, 0.0, 1.0]), [-3.793, 0.0, 3.0]);
        assert_eq!(at(Unary::Celu { alpha: 2.0 }, [-2.0, 0.0, 1.0]), [-1.264, 0.0, 1.0]);
        assert_eq!(at(Unary::ThresholdedRelu { alpha: 1.0 }, [-2.0, 1.0, 1.5]), [0.0, 0.0, 1.5]);
        assert_eq!(at(Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, [-9.0, 1.0, 9.0]), [0.0, 0.75, 1.0]);
        assert_eq!(at(Unary::Clip { least: 0.0, most: 6.0 }, [-9.0, 1.0, 9.0]), [0.0, 1.0, 6.0]);
        // ONNX: the upper bound wins.
        assert_eq!(at(Unary::Clip { least: 2.0, most: 1.0 }, [-9.0, 1.5, 9.0]), [1.0; 3]);
    }

    #[test]
    fn parameters_are_finite() {
        let ty = TensorType::new(Element::F32, [4]);
        let refused = |function: Unary| function.infer(&[&ty]).unwrap_err().to_string();
        assert_eq!(refused(Unary::LeakyRelu { alpha: f64::NAN }), "expected a finite alpha, found NaN");
        assert_eq!(refused(Unary::Celu { alpha: 0.0 }), "expected an alpha other than 0");
        assert_eq!(refused(Unary::Clip { least: f64::NAN, most: 0.0 }), "expected a finite least, found NaN");
        assert_eq!(Unary::Clip { least: f64::NEG_INFINITY, most: 0.0 }.infer(&[&ty]), Ok(ty));
    }
}
