//! Weights of combines: what quantising them costs in bits and in precision.

use std::sync::Arc;

use hec_ir::Scale;
use hec_ir::ckks::MAX_WEIGHT_BITS;
use hec_ir::matrix::{Block, BlockMatrix, BlockShape};
use hec_ir::slots::{Combine, Op, SlotGraph};

use crate::norms::RowNorms;
use crate::transformation::Transformation;

/// The weights of one combine.
#[derive(Clone, Debug)]
pub enum Weights {
    /// Multiplication by one, to change a scale.
    Identity,
    /// The same number for every element, and another added to every element.
    Uniform(Uniform),
    /// Those of a slot graph's combine.
    Matrix(Matrix),
    /// The diagonals of a slot graph's transform.
    Transformation(Transformation),
}

/// `weight * x + bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform {
    /// The weight.
    pub weight: f64,
    /// The bias.
    pub bias: f64,
}

/// A matrix with what is asked of it often.
#[derive(Clone, Debug)]
pub struct Matrix {
    matrix: Arc<BlockMatrix<f64>>,
    bias: Arc<[f64]>,
    shape: BlockShape,
    largest: f64,
    integral: bool,
    row_norms: RowNorms,
    row_sum: f64,
    row_weights: usize,
}

impl Weights {
    /// The weights of every combine and transform of `graph`, by node.
    pub fn of_graph(graph: &SlotGraph) -> Vec<Option<Self>> {
        let of = |combine: &Combine| {
            let (matrix, bias) = (combine.matrix.clone(), combine.bias.clone());
            let (mut largest, mut integral) = (0f64, true);
            let mut squares = vec![0.0; matrix.rows()];
            let mut sums = vec![0.0; matrix.rows()];
            let mut counts = vec![0usize; matrix.rows()];
            matrix.for_each(|row, _, &weight| {
                largest = largest.max(weight.abs());
                integral &= weight.fract() == 0.0;
                squares[row] += weight * weight;
                sums[row] += weight.abs();
                counts[row] += 1;
            });
            let shape = matrix.shape();
            Self::Matrix(Matrix {
                shape,
                largest,
                integral: integral && largest < 256.0,
                row_norms: RowNorms::of(&squares),
                row_sum: sums.into_iter().fold(0.0, f64::max),
                row_weights: counts.into_iter().max().unwrap_or(0),
                matrix,
                bias,
            })
        };
        let of_node = |op: &Op| match op {
            Op::Combine(combine) => Some(of(combine)),
            Op::Transform(map) => Some(Self::Transformation(Transformation::new(map))),
            Op::Input(_)
            | Op::Multiply
            | Op::Square
            | Op::Add
            | Op::Subtract
            | Op::WeightedSum(_)
            | Op::Concat
            | Op::Gather(_)
            | Op::Refresh(_)
            | Op::Blind(_) => None,
        };
        graph.nodes().map(|(_, node)| of_node(node.op())).collect()
    }

    /// log2 of the scale at which weights of `bits` bits are quantised. Weights that are small integers need none.
    pub fn scale_bits(&self, bits: i32) -> i32 {
        match self {
            Self::Matrix(m) if !m.integral && m.largest > 0.0 => {
                bits.min(MAX_WEIGHT_BITS as i32) - m.largest.log2().ceil() as i32
            }
            Self::Uniform(u) if !is_small_integer(u.weight) => {
                bits.min(MAX_WEIGHT_BITS as i32) - u.weight.abs().log2().ceil() as i32
            }
            Self::Transformation(t) => t.scale_bits(bits),
            Self::Identity | Self::Uniform(_) | Self::Matrix(_) => 0,
        }
    }

    /// log2 of the largest integer weight at a scale of `scale_bits`.
    pub fn integer_bits(&self, scale_bits: f64) -> i32 {
        let largest = match self {
            Self::Identity => 1.0,
            Self::Uniform(u) => u.weight.abs(),
            Self::Matrix(m) => m.largest,
            Self::Transformation(t) => t.largest,
        };
        (scale_bits + largest.max(f64::MIN_POSITIVE).log2()).ceil().max(0.0) as i32
    }

    /// Size, for an operand of `operands`.
    pub fn shape(&self, operands: usize) -> BlockShape {
        match self {
            Self::Identity | Self::Uniform(_) => BlockShape::diagonal(operands),
            Self::Matrix(m) => m.shape,
            Self::Transformation(_) => BlockShape::diagonal(operands),
        }
    }

    /// The 2-norms of rows: how much independent errors grow.
    pub fn row_norms(&self) -> RowNorms {
        match self {
            Self::Identity => RowNorms::uniform(1.0),
            Self::Uniform(u) => RowNorms::uniform(u.weight.abs()),
            Self::Matrix(m) => m.row_norms,
            Self::Transformation(t) => t.row_norms,
        }
    }

    /// The largest sum of a row's absolute values: how much errors can grow that are not independent.
    pub fn row_sum(&self) -> f64 {
        match self {
            Self::Identity => 1.0,
            Self::Uniform(u) => u.weight.abs(),
            Self::Matrix(m) => m.row_sum,
            Self::Transformation(t) => t.row_sum,
        }
    }

    /// The largest number of weights that are rounded in one row.
    pub fn rounded_weights(&self) -> usize {
        match self {
            Self::Identity => 1,
            Self::Uniform(u) => usize::from(!is_small_integer(u.weight)),
            Self::Matrix(m) if m.integral => 0,
            Self::Matrix(m) => m.row_weights,
            Self::Transformation(_) => 0,
        }
    }

    /// The matrix.
    pub(crate) fn exact(&self) -> Option<Arc<BlockMatrix<f64>>> {
        match self {
            Self::Identity | Self::Uniform(_) | Self::Transformation(_) => None,
            Self::Matrix(m) => Some(m.matrix.clone()),
        }
    }

    /// The matrix after rounding to `bits` bits.
    pub(crate) fn rounded(&self, bits: i32) -> Option<Arc<BlockMatrix<f64>>> {
        match (self, self.scale_bits(bits)) {
            (Self::Identity | Self::Uniform(_) | Self::Transformation(_), _) => None,
            (Self::Matrix(m), 0) => Some(m.matrix.clone()),
            (Self::Matrix(m), bits) => {
                let factor = f64::from(bits).exp2();
                Some(Arc::new(m.matrix.map(|w| (w * factor).round() / factor)))
            }
        }
    }

    /// The integer weights at `scale`, and the bias.
    pub fn quantise(&self, scale: &Scale, operands: usize) -> (BlockMatrix<i32>, Arc<[f64]>) {
        let factor = scale.to_f64();
        match self {
            Self::Matrix(m) => (m.matrix.map(|w| (w * factor).round() as i32), m.bias.clone()),
            Self::Identity | Self::Transformation(_) => uniform(factor, 0.0, operands),
            Self::Uniform(u) => uniform(u.weight * factor, u.bias, operands),
        }
    }
}

/// Whether a weight needs no scale.
fn is_small_integer(weight: f64) -> bool {
    weight.fract() == 0.0 && weight.abs() < 256.0
}

fn uniform(weight: f64, bias: f64, operands: usize) -> (BlockMatrix<i32>, Arc<[f64]>) {
    let weight: Arc<[i32]> = [weight.round() as i32].into();
    let block = |i: u32| Block { rows: [i].into(), cols: [i].into(), weights: weight.clone() };
    let blocks = (0..operands as u32).map(block).collect();
    #[expect(clippy::expect_used, reason = "a diagonal")]
    let matrix = BlockMatrix::new(operands, operands, blocks).expect("a diagonal is well formed");
    (matrix, vec![bias; operands].into())
}
