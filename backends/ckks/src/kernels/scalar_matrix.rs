//! Integer matrices times arrays of residue vectors.

use std::ops::Range;

use hec_ir::matrix::{Block, BlockMatrix};

use super::Simd;
#[cfg(target_arch = "x86_64")]
use super::avx2::{DigitMatrix, FloatMatrix};
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

/// A block matrix of integers, made ready for products with residue vectors. Independent of the modulus.
///
/// All kernels sum exactly and reduce late:
/// - Portable: 128-bit integers, one reduction a sum.
/// - AVX2, floats: a residue is split into an upper and a lower half of at most 25 bits (or left whole where
///   `q` times the weights is small enough), so that a product has at most 49 bits, and sums are reduced before they reach
///   `2^52`: after `2^52 / (2^25 max |w|)` terms, from 8 terms for weights of `2^24` to all of them for weights of 16 bits.
/// - AVX2, 16-bit integers, for weights below `2^15` in blocks of many rows: a residue is split into two to four signed digits
///   of `b` bits, at most 16; two products at a time go to 32-bit sums, which go to floats after `2^31 / (2^b max |w|)` pairs:
///   127 for residues of 50 bits and weights of 12, 7 for weights of 16.
///
/// Multiply-adds in a nanosecond of one core (Zen 3 at about 2.6 GHz, shared; 100 rows, 845 columns, N = 2^13), by bits of the prime and the
/// weights: 8 (50, 21), 13 (50, 12), 16 (40, 12), 20 (30, 12). A convolution of 5 channels of 5 x 5 weights to 13 x 13
/// positions: 3.6 (50, 12), of which half is the memory's time.
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
    #[cfg(target_arch = "x86_64")]
    Digits(Avx2, DigitMatrix),
}

impl Layout {
    fn new(matrix: &BlockMatrix<i32>, simd: Simd) -> Self {
        match simd {
            Simd::Portable => Self::Portable(matrix.blocks().to_vec()),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) if prefers_digits(matrix) => Self::Digits(token, DigitMatrix::new(matrix)),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => Self::Float(token, FloatMatrix::new(matrix)),
        }
    }
}

/// Whether the weights fit 16 bits, and every packed column is used often enough to pay for its digits.
#[cfg(target_arch = "x86_64")]
fn prefers_digits(matrix: &BlockMatrix<i32>) -> bool {
    const ROWS_PER_COLUMN: usize = 24;
    let columns: usize = matrix.blocks().iter().map(|block| block.cols.len()).sum();
    let mut weights = matrix.blocks().iter().flat_map(|block| &*block.weights);
    matrix.multiply_adds() >= ROWS_PER_COLUMN * columns && weights.all(|w| w.unsigned_abs() < 1 << 15)
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
        let layout = Layout::new(matrix, simd);
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
            #[cfg(target_arch = "x86_64")]
            Layout::Digits(token, matrix) => matrix.product_range(*token, q, inputs, range, out),
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
