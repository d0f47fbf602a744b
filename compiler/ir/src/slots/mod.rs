//! The slots dialect: *where* in the slots the elements of each tensor lie.
//!
//! A value is an array of slot vectors; nothing is said yet of levels, scales or keys.

mod layout;
mod linear_map;
mod packed;

pub use layout::{Layout, LayoutError};
pub use linear_map::{Diagonals, Fold, LinearMap, baby_and_giant_steps};
pub use packed::{Digit, MAX_PERIOD, Packed, Place};

use std::fmt;
use std::sync::Arc;

use crate::attribute::{AttributeError, Attributes};
use crate::graph::{Dialect, Graph, TypeError};
use crate::matrix::BlockMatrix;
use crate::tensor::expect_operands;

/// An operation on arrays of slot vectors.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A graph input, packed as its layout says.
    Input(Input),
    /// Weighted sums across the array: `y[r] = sum_c M[r, c] x[c] + b[r]`, in every slot alike.
    Combine(Combine),
    /// Elementwise product of two arrays.
    Multiply,
    /// Elementwise square.
    Square,
    /// Elementwise sum.
    Add,
    /// Elementwise difference.
    Subtract,
    /// Sums of the operands' elements, each operand with a weight of its own.
    WeightedSum(WeightedSum),
    /// The operands' arrays one after the other.
    Concat,
    /// `y[i] = x[indices[i]]`: costs nothing.
    Gather(Gather),
    /// A linear map over the slots, from one packed tensor to another.
    Transform(Arc<LinearMap>),
    /// What the client makes of the operands: decrypted, computed in the clear, and encrypted anew.
    Refresh(Refresh),
    /// The operand times factors that only the server knows, or over them.
    Blind(Blind),
}

/// A result of a round with the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Refresh {
    /// Which round, from 0.
    pub round: usize,
    /// Which output of the round's function.
    pub name: String,
    /// How the client packs it.
    pub layout: Layout,
}

/// Random positive factors, fresh for each sample and each group of elements that the client's function mixes: it cannot tell
/// how large values are, and the function commutes with them.
#[derive(Clone, Debug, PartialEq)]
pub struct Blind {
    /// The round that they are drawn for.
    pub round: usize,
    /// The input or output of the round's function whose elements are meant.
    pub port: String,
    /// How it lies.
    pub layout: Layout,
    /// Whether to divide: after the round.
    pub inverse: bool,
}

impl Blind {
    /// Factors lie between 1 and 2 to this power, evenly by their logarithm.
    pub const BITS: i32 = 6;

    /// The factor for a number that is drawn evenly from 0 to 1, or its reciprocal.
    pub fn factor(uniform: f64, inverse: bool) -> f64 {
        let factor = (uniform * f64::from(Self::BITS)).exp2();
        if inverse { factor.recip() } else { factor }
    }

    /// No factor is larger.
    pub fn largest_factor() -> f64 {
        f64::from(Self::BITS).exp2()
    }

    /// The root mean square of factors that are spread evenly by their logarithm: `sqrt((4^BITS - 1) / (2 ln 2^BITS))`.
    pub fn mean_factor() -> f64 {
        let largest = Self::largest_factor();
        ((largest * largest - 1.0) / (2.0 * largest.ln())).sqrt()
    }

    /// For the text form and the file.
    pub(crate) fn attributes(&self, to: Attributes) -> Attributes {
        let named = to.with_int("round", self.round as i64).with_text("port", self.port.as_str());
        self.layout.attributes(named).with_flag("inverse", self.inverse)
    }

    /// The inverse of [`Blind::attributes`].
    pub(crate) fn from_attributes(a: &mut Attributes) -> Result<Self, AttributeError> {
        let (round, port) = (a.size("round")?, a.text("port")?);
        Ok(Self { round, port, layout: Layout::from_attributes(a)?, inverse: a.flag("inverse")? })
    }

    /// That the operand is as long as the layout says.
    pub(crate) fn fits(&self, length: usize) -> Result<(), TypeError> {
        let expected = self.layout.array_length();
        if length != expected {
            return Err(TypeError::new(format!("factors for an array of {expected} do not fit one of {length}")));
        }
        Ok(())
    }
}

/// A graph input with its layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name in the model.
    pub name: String,
    /// How the sample lies in the slots.
    pub layout: Layout,
    /// Whether the server may see it: it is then not encrypted.
    pub public: bool,
}

/// A matrix across the array, and a bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Combine {
    /// Rows: length of the result. Columns: length of the operand.
    pub matrix: Arc<BlockMatrix<f64>>,
    /// One for each row.
    pub bias: Arc<[f64]>,
}

/// `y = sum_k weights[k] * x_k + bias` of arrays of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedSum {
    /// One for each operand.
    pub weights: Arc<[f64]>,
    /// Added to every element.
    pub bias: f64,
}

/// Re-indexing of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    /// For each element of the result, the element of the operand.
    pub indices: Arc<[u32]>,
}

/// An array of slot vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// Number of slot vectors.
    pub length: usize,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slots[{}]", self.length)
    }
}

/// The dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Slots;

/// A graph of operations on arrays of slot vectors.
pub type SlotGraph = Graph<Slots>;

impl Dialect for Slots {
    const NAME: &'static str = "slots";
    type Op = Op;
    type Type = Type;
    type Context = ();

    fn infer((): &(), op: &Op, operands: &[&Type]) -> Result<Type, TypeError> {
        let length = match op {
            Op::Input(input) => {
                expect_operands::<_, 0>(operands)?;
                input.layout.array_length()
            }
            Op::Combine(Combine { matrix, bias }) => {
                let [x] = expect_operands(operands)?;
                combined_length(x.length, matrix.rows(), matrix.cols(), bias.len())?
            }
            Op::Square => expect_operands::<_, 1>(operands)?[0].length,
            Op::Multiply | Op::Add | Op::Subtract => {
                let [a, b] = expect_operands(operands)?;
                if a != b {
                    return Err(TypeError::new(format!("arrays of {} and {} do not match", a.length, b.length)));
                }
                a.length
            }
            Op::WeightedSum(sum) => {
                let length = operands.first().map_or(0, |ty| ty.length);
                if operands.len() != sum.weights.len() || operands.is_empty() {
                    return Err(TypeError::new(format!(
                        "{} weights for {} operands",
                        sum.weights.len(),
                        operands.len()
                    )));
                }
                if let Some(other) = operands.iter().find(|ty| ty.length != length) {
                    return Err(TypeError::new(format!("arrays of {length} and {} do not match", other.length)));
                }
                if !sum.bias.is_finite() || !sum.weights.iter().all(|w| w.is_finite() && *w != 0.0) {
                    return Err(TypeError::new("weights and bias are finite, and no weight is 0"));
                }
                length
            }
            Op::Concat => operands.iter().map(|ty| ty.length).sum(),
            Op::Gather(gather) => gathered_length(expect_operands::<_, 1>(operands)?[0].length, &gather.indices)?,
            Op::Transform(map) => transformed_length(expect_operands::<_, 1>(operands)?[0].length, map)?,
            Op::Refresh(refresh) => {
                some_operands(operands.len())?;
                refresh.layout.array_length()
            }
            Op::Blind(blind) => {
                let [x] = expect_operands(operands)?;
                blind.fits(x.length)?;
                x.length
            }
        };
        Ok(Type { length })
    }

    fn describe(op: &Op) -> (&'static str, Attributes) {
        let none = Attributes::new();
        match op {
            Op::Input(input) => {
                let named = input.layout.attributes(none.with_text("name", input.name.as_str()));
                ("input", named.with_mark("public", input.public))
            }
            Op::Combine(Combine { matrix, bias }) => {
                ("combine", none.with_matrix("matrix", matrix.clone()).with_floats("bias", bias.clone()))
            }
            Op::Multiply => ("multiply", none),
            Op::Square => ("square", none),
            Op::Add => ("add", none),
            Op::Subtract => ("subtract", none),
            Op::WeightedSum(sum) => {
                ("weighted_sum", none.with_floats("weights", sum.weights.clone()).with_float("bias", sum.bias))
            }
            Op::Concat => ("concat", none),
            Op::Gather(gather) => ("gather", none.with_indices("indices", gather.indices.clone())),
            Op::Transform(map) => ("transform", map.attributes(none)),
            Op::Refresh(Refresh { round, name, layout }) => {
                ("refresh", layout.attributes(none.with_int("round", *round as i64).with_text("name", name.as_str())))
            }
            Op::Blind(blind) => ("blind", blind.attributes(none)),
        }
    }

    fn rebuild(name: &str, mut attributes: Attributes) -> Result<Op, AttributeError> {
        let a = &mut attributes;
        let op = match name {
            "input" => Op::Input(Input {
                name: a.text("name")?,
                layout: Layout::from_attributes(a)?,
                public: a.mark("public")?,
            }),
            "combine" => Op::Combine(Combine { matrix: a.matrix("matrix")?, bias: a.floats("bias")? }),
            "multiply" => Op::Multiply,
            "square" => Op::Square,
            "add" => Op::Add,
            "subtract" => Op::Subtract,
            "weighted_sum" => Op::WeightedSum(WeightedSum { weights: a.floats("weights")?, bias: a.float("bias")? }),
            "concat" => Op::Concat,
            "gather" => Op::Gather(Gather { indices: a.indices("indices")? }),
            "transform" => Op::Transform(Arc::new(LinearMap::from_attributes(a)?)),
            "refresh" => {
                let (round, name) = (a.size("round")?, a.text("name")?);
                Op::Refresh(Refresh { round, name, layout: Layout::from_attributes(a)? })
            }
            "blind" => Op::Blind(Blind::from_attributes(a)?),
            other => return Err(AttributeError::UnknownOperation(other.to_owned())),
        };
        attributes.finish()?;
        Ok(op)
    }

    fn input_name(op: &Op) -> Option<&str> {
        if let Op::Input(input) = op { Some(&input.name) } else { None }
    }
}

/// That a refresh depends on something.
pub(crate) fn some_operands(count: usize) -> Result<(), TypeError> {
    if count == 0 { Err(TypeError::new("a refresh of nothing")) } else { Ok(()) }
}

/// The length of a combined array.
pub(crate) fn combined_length(operand: usize, rows: usize, cols: usize, biases: usize) -> Result<usize, TypeError> {
    if operand != cols || biases != rows {
        return Err(TypeError::new(format!(
            "a {rows}x{cols} matrix with {biases} biases does not take an array of {operand}"
        )));
    }
    Ok(rows)
}

/// The length of a transformed array.
pub(crate) fn transformed_length(operand: usize, map: &LinearMap) -> Result<usize, TypeError> {
    let expected = map.from().vectors();
    if operand != expected {
        return Err(TypeError::new(format!("a map of {expected} vectors does not take an array of {operand}")));
    }
    Ok(map.to().vectors())
}

/// The length of a gathered array.
pub(crate) fn gathered_length(operand: usize, indices: &[u32]) -> Result<usize, TypeError> {
    match indices.iter().find(|&&i| i as usize >= operand) {
        Some(index) => Err(TypeError::new(format!("index {index} is outside an array of {operand}"))),
        None => Ok(indices.len()),
    }
}
