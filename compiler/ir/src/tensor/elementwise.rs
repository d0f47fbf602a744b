use std::sync::Arc;

use ndarray::{ArrayD, IxDyn, Zip};

use super::{Effort, Element, Operation, Tensor, TensorType, broadcast_shape, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

macro_rules! functions {
    ($(#[$doc:meta])* $enum:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $enum {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $enum {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$variant),)*];

            pub(super) fn text(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub(super) fn from_text(name: &str) -> Option<Self> {
                Self::NAMES.iter().find(|(found, _)| *found == name).map(|(_, function)| *function)
            }
        }
    };
}

functions! {
    /// An elementwise function of two operands that broadcast.
    Binary {
        /// `a + b`.
        Add = "add",
        /// `a - b`.
        Sub = "sub",
        /// `a * b`.
        Mul = "mul",
        /// `a / b`; for integers, rounded towards zero.
        Div = "div",
        /// What is left of `a` after whole multiples of `b`, with the sign of `b`.
        Mod = "mod",
        /// The same, with the sign of `a`.
        Remainder = "remainder",
        /// `a ^ b`.
        Pow = "pow",
        /// The larger.
        Max = "max",
        /// The smaller.
        Min = "min",
        /// `a = b`, as 0 or 1.
        Equal = "equal",
        /// `a > b`, as 0 or 1.
        Greater = "greater",
        /// `a < b`, as 0 or 1.
        Less = "less",
    }
}

impl Binary {
    /// The function's value.
    pub fn apply(self, element: Element, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div if element == Element::I64 => (a / b).trunc(),
            Self::Div => a / b,
            // By 0, an integer leaves 0.
            Self::Mod | Self::Remainder if element == Element::I64 && b == 0.0 => 0.0,
            Self::Mod => a - (a / b).floor() * b,
            Self::Remainder => a % b,
            Self::Pow => a.powf(b),
            Self::Max => a.max(b),
            Self::Min => a.min(b),
            Self::Equal => f64::from(u8::from(a == b)),
            Self::Greater => f64::from(u8::from(a > b)),
            Self::Less => f64::from(u8::from(a < b)),
        }
    }

    fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::Greater | Self::Less)
    }

    /// Whether its value depends on which number is larger.
    pub fn compares(self) -> bool {
        self.is_comparison() || matches!(self, Self::Max | Self::Min)
    }
}

impl Operation for Binary {
    fn name(&self) -> &'static str {
        self.text()
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [a, b] = expect_operands(operands)?;
        let element = if self.is_comparison() { Element::Bool } else { a.element };
        TensorType::new(element, broadcast_shape(&a.shape, &b.shape)?).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [a, b] = expect_operands(operands)?;
        let ty = self.infer(&[&a.ty(), &b.ty()])?;
        let shape = IxDyn(&ty.shape);
        let (Some(left), Some(right)) = (a.array().broadcast(shape.clone()), b.array().broadcast(shape.clone())) else {
            return Err(TypeError::new("operands do not broadcast"));
        };
        let mut out = ArrayD::zeros(shape);
        let element = a.element();
        Zip::from(&mut out).and(&left).and(&right).for_each(|out, &a, &b| *out = self.apply(element, a, b));
        Ok(Tensor::new(ty.element, out))
    }

    fn effort(&self) -> Effort {
        Effort::Linear
    }

    fn attributes(&self) -> Attributes {
        Attributes::new()
    }

    fn rebuild(name: &str, _attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        Self::from_text(name).map(Ok)
    }
}

/// `sum_k coefficients[k] * x^k` of each element.
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    /// Coefficients, constant first; the last is not zero.
    pub coefficients: Arc<[f64]>,
}

impl Polynomial {
    /// `x^2`.
    pub fn square() -> Self {
        Self { coefficients: [0.0, 0.0, 1.0].into() }
    }

    /// The degree.
    pub fn degree(&self) -> usize {
        self.coefficients.len().saturating_sub(1)
    }

    /// The value at `x` (Horner).
    pub fn apply(&self, x: f64) -> f64 {
        self.coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
    }
}

impl Operation for Polynomial {
    fn name(&self) -> &'static str {
        "polynomial"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        if self.coefficients.last().is_none_or(|&last| last == 0.0) {
            return Err(TypeError::new("a polynomial needs a coefficient, and the last must not be 0"));
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
        (name == "polynomial").then(|| Ok(Self { coefficients: attributes.floats("coefficients")? }))
    }
}
