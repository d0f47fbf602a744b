//! Integer matrices times arrays of residue vectors.

use std::ops::Range;

use hec_ir::matrix::{Block, BlockMatrix};

use super::Simd;
#[cfg(target_arch = "x86_64")]
use super::avx2::FloatMatrix;
#[cfg(target_arch = "x86_64")]
use super::simd::Avx2;
use crate::arithmetic::Modulus;

/// The largest magnitude of a weight.
pub const MAX_WEIGHT: i32 = 1 << 24;

/// A weight beyond [`MAX_WEIGHT`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {block}: weight {weight} is beyond {MAX_WEIGHT} in magnitude")]
pub struct WeightError {
    /// Index of the block.
    pub block: usize,
    /// The weight.
    pub weight: i32,
}

/// A block matrix of integers, made ready for products with residue vectors. Independent of the modulus; cheap to share.
#[derive(Clone, Debug)]
pub struct PreparedMatrix {
    rows: usize,
    cols: usize,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    Portable(Vec<Block<i32>>),
    #[cfg(target_arch = "x86_64")]
    Float(Avx2, FloatMatrix),
}

impl PreparedMatrix {
    /// Lays the weights out for the kernels; blocks that share weights go on sharing them.
    ///
    /// # Errors
    /// [`WeightError`] naming the first weight beyond [`MAX_WEIGHT`].
    pub fn new(matrix: &BlockMatrix<i32>) -> Result<Self, WeightError> {
        Self::with_simd(matrix, Simd::detected())
    }

    pub(crate) fn with_simd(matrix: &BlockMatrix<i32>, simd: Simd) -> Result<Self, WeightError> {
        for (index, block) in matrix.blocks().iter().enumerate() {
            if let Some(&weight) = block.weights.iter().find(|w| w.unsigned_abs() > MAX_WEIGHT as u32) {
                return Err(WeightError { block: index, weight });
            }
        }
        let layout = match simd {
            Simd::Portable => Layout::Portable(matrix.blocks().to_vec()),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => Layout::Float(token, FloatMatrix::new(matrix)),
        };
        Ok(Self { rows: matrix.rows(), cols: matrix.cols(), layout })
    }

    /// Number of rows: how many vectors come out.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: how many vectors go in.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// `outputs[r][c] = sum over k of W[r, k] * inputs[k][c] mod q` for every coefficient `c`. Rows without any block give 0.
    ///
    /// # Panics
    /// As [`PreparedMatrix::product_range`].
    pub fn product(&self, q: Modulus, inputs: &[&[u64]], outputs: &mut [&mut [u64]]) {
        let len = outputs.first().map_or(0, |output| output.len());
        self.product_range(q, inputs, 0..len, outputs);
    }

    /// The product for the coefficients in `range` only; every slice of `out` is that part of its row, `range.len()` long.
    /// Ranges and moduli are independent of each other: the caller may run them in parallel. Ranges whose bounds are
    /// multiples of 16 waste nothing.
    ///
    /// # Panics
    /// If the numbers of inputs and outputs are not those of columns and rows, or a slice is too short.
    pub fn product_range(&self, q: Modulus, inputs: &[&[u64]], range: Range<usize>, out: &mut [&mut [u64]]) {
        assert_eq!((inputs.len(), out.len()), (self.cols, self.rows), "one input per column and one output per row");
        assert!(inputs.iter().all(|x| x.len() >= range.end), "every input covers the range");
        assert!(out.iter().all(|y| y.len() == range.len()), "every output is as long as the range");
        match &self.layout {
            Layout::Portable(blocks) => product_portable(blocks, q, inputs, range, out),
            #[cfg(target_arch = "x86_64")]
            Layout::Float(token, matrix) => matrix.product_range(*token, q, inputs, range, out),
        }
    }
}

/// Sums in 128-bit integers, which hold `2^52` terms.
fn product_portable(blocks: &[Block<i32>], q: Modulus, inputs: &[&[u64]], range: Range<usize>, out: &mut [&mut [u64]]) {
    out.iter_mut().for_each(|row| row.fill(0));
    for block in blocks {
        for (&row, weights) in block.rows.iter().zip(block.weights.chunks(block.cols.len().max(1))) {
            for (y, c) in out[row as usize].iter_mut().zip(range.clone()) {
                let terms = block.cols.iter().zip(weights);
                let sum = terms.map(|(&k, &w)| i128::from(w) * i128::from(inputs[k as usize][c])).sum();
                *y = q.add(*y, q.from_i128(sum));
            }
        }
    }
}

/// The product with a matrix that is used once; see [`PreparedMatrix::product`].
///
/// # Errors
/// [`WeightError`] naming the first weight beyond [`MAX_WEIGHT`].
pub fn scalar_matrix_product(
    q: Modulus,
    matrix: &BlockMatrix<i32>,
    inputs: &[&[u64]],
    outputs: &mut [&mut [u64]],
) -> Result<(), WeightError> {
    PreparedMatrix::new(matrix)?.product(q, inputs, outputs);
    Ok(())
}

#[cfg(test)]
mod tests;
