//! The tensor dialect: *what* is computed, with the meaning that ONNX gives it.
//!
//! A graph describes one sample: where an ONNX model has a batch dimension, it is 1 here. Shapes are known everywhere,
//! except after an [`Unsupported`] operation.
//!
//! Each operation is one type that implements [`Operation`]: its result type, its value (the reference semantics, in f64),
//! its text. To add one, write its file and add its line to the list below.

mod affine;
mod arg_max;
mod chebyshev;
mod composite;
mod consequence;
mod conv;
mod convert;
mod cumulative_sum;
mod elementwise;
mod erf;
mod join;
mod matmul;
mod pool;
mod rearrange;
mod reduce;
mod select;
mod source;
mod unary;
mod value;

#[cfg(test)]
mod tests;

pub use affine::Affine;
pub use arg_max::ArgMax;
pub use chebyshev::Chebyshev;
pub use composite::{Composite, MAX_STEPS, Step};
pub use conv::{Conv, Window, tap_list};
pub use convert::{Cast, Softmax};
pub use cumulative_sum::CumulativeSum;
pub use elementwise::{Binary, Polynomial};
pub use join::{Concat, Pad};
pub use matmul::MatMul;
pub use pool::{Pool, Pooling};
pub use rearrange::{Expand, Reshape, Transpose};
pub use reduce::{Reduce, Reduction};
pub use select::{Gather, Slice, Where};
pub use source::{Constant, Input, Unsupported};
pub use unary::Unary;
pub use value::{Element, MAX_ELEMENTS, Tensor, TensorType, broadcast_shape};

use std::fmt;

use crate::attribute::{AttributeError, Attributes};
use crate::graph::{Dialect, Graph, TypeError};

/// What every tensor operation answers.
pub trait Operation: Sized {
    /// Its name in the text form.
    fn name(&self) -> &'static str;

    /// The type of the result for operands of these types.
    ///
    /// # Errors
    /// What was expected and what was found.
    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError>;

    /// The value of the result: ONNX's meaning, computed in f64. Operand types were accepted by [`Operation::infer`].
    ///
    /// # Errors
    /// Where the value does not exist (an unsupported operation, a missing input).
    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError>;

    /// What the value takes.
    fn effort(&self) -> Effort {
        Effort::More
    }

    /// Everything but the name.
    fn attributes(&self) -> Attributes;

    /// The inverse of [`Operation::attributes`]; `None` if `name` is not an operation of this type.
    ///
    /// # Errors
    /// Inside: a missing or ill-typed attribute.
    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>>;
}

/// What computing a value takes. The importer and packing ask this, rather than name every operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// No arithmetic: elements of the operands, and constants, go to other places.
    Moves,
    /// Arithmetic that takes no longer than the operands and the result are long.
    Linear,
    /// More than that, or what cannot be said; the default.
    More,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// An operation of the tensor dialect.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $($(#[$doc])* $variant($variant),)*
        }

        $(impl From<$variant> for Op {
            fn from(operation: $variant) -> Self {
                Self::$variant(operation)
            }
        })*

        impl Op {
            #[cfg(test)]
            const KINDS: usize = [$(stringify!($variant)),*].len();

            /// See [`Operation::name`].
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(op) => op.name(),)* }
            }

            fn infer_known(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
                match self { $(Self::$variant(op) => op.infer(operands),)* }
            }

            /// See [`Operation::evaluate`].
            ///
            /// # Errors
            /// As there.
            pub fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
                match self { $(Self::$variant(op) => op.evaluate(operands),)* }
            }

            /// See [`Operation::effort`].
            pub fn effort(&self) -> Effort {
                match self { $(Self::$variant(op) => op.effort(),)* }
            }

            fn attributes(&self) -> Attributes {
                match self { $(Self::$variant(op) => op.attributes(),)* }
            }

            fn rebuild(name: &str, mut attributes: Attributes) -> Result<Self, AttributeError> {
                $(if let Some(op) = <$variant as Operation>::rebuild(name, &mut attributes) {
                    let op = op?;
                    attributes.finish()?;
                    return Ok(Self::$variant(op));
                })*
                Err(AttributeError::UnknownOperation(name.to_owned()))
            }
        }
    };
}

operations! {
    /// A graph input.
    Input,
    /// A tensor known at compile time.
    Constant,
    /// An ONNX operation that this version cannot compute.
    Unsupported,
    /// Convolution over any number of spatial axes.
    Conv,
    /// Matrix product.
    MatMul,
    /// A function of each element.
    Unary,
    /// A function of each element that is composed of others.
    Composite,
    /// An elementwise function of two operands, with broadcasting.
    Binary,
    /// A polynomial of each element.
    Polynomial,
    /// A polynomial of each element in the Chebyshev basis.
    Chebyshev,
    /// Average or maximum under a sliding kernel.
    Pool,
    /// Sum, mean, product, maximum or minimum over whole axes.
    Reduce,
    /// The position of the largest element along an axis.
    ArgMax,
    /// Running sums along an axis.
    CumulativeSum,
    /// `e^x / sum(e^x)` along an axis.
    Softmax,
    /// Another element type.
    Cast,
    /// A choice between two operands, element by element.
    Where,
    /// Another shape for the same elements.
    Reshape,
    /// Axes in another order.
    Transpose,
    /// Axes of size 1 repeated.
    Expand,
    /// A regular part.
    Slice,
    /// Elements of one axis by known indices.
    Gather,
    /// Tensors one after the other.
    Concat,
    /// A tensor surrounded by a constant.
    Pad,
    /// An affine map between flattened tensors: what linear runs are squashed into.
    Affine,
}

impl Op {
    /// The function that it applies to each element of its one operand, if it is one and not a polynomial: what has to be
    /// approximated by a polynomial to be computed on encrypted data.
    pub fn function(&self) -> Option<Composite> {
        if let Self::Composite(composite) = self {
            return Some(composite.clone());
        }
        let Self::Unary(unary) = self else { return None };
        (*unary != Unary::Neg).then(|| (*unary).into())
    }
}

/// The dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensors;

/// A graph of tensor operations.
pub type TensorGraph = Graph<Tensors>;

/// The type of a value: a tensor type, or unknown after an [`Unsupported`] operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Element type and shape.
    Tensor(TensorType),
    /// Nothing is known.
    Unknown,
}

impl Type {
    /// The tensor type, if known.
    pub fn known(&self) -> Option<&TensorType> {
        match self {
            Self::Tensor(ty) => Some(ty),
            Self::Unknown => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(ty) => ty.fmt(f),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

impl Dialect for Tensors {
    const NAME: &'static str = "tensor";
    type Op = Op;
    type Type = Type;
    type Context = ();

    fn infer((): &(), op: &Op, operands: &[&Type]) -> Result<Type, TypeError> {
        let known: Option<Vec<&TensorType>> = operands.iter().map(|ty| ty.known()).collect();
        match (op, known) {
            (Op::Unsupported(_), _) | (_, None) => Ok(Type::Unknown),
            (op, Some(known)) => Ok(Type::Tensor(op.infer_known(&known)?)),
        }
    }

    fn describe(op: &Op) -> (&'static str, Attributes) {
        (op.name(), op.attributes())
    }

    fn rebuild(name: &str, attributes: Attributes) -> Result<Op, AttributeError> {
        Op::rebuild(name, attributes)
    }

    fn input_name(op: &Op) -> Option<&str> {
        if let Op::Input(input) = op { Some(&input.name) } else { None }
    }
}

/// Exactly `N` operands.
pub(crate) fn expect_operands<'a, T, const N: usize>(operands: &[&'a T]) -> Result<[&'a T; N], TypeError> {
    operands.try_into().map_err(|_| TypeError::new(format!("expected {N} operands, found {}", operands.len())))
}
