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
            Simd::Avx2(token) if matrix.shape().prefers_digits() && matrix.is_narrow() => {
                Self::Digits(token, DigitMatrix::new(matrix))
            }
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => Self::Float(token, FloatMatrix::new(matrix)),
        }
    }
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
        self.run(q, range.len(), &mut Vectors::Apart { inputs, start: range.start, out });
    }

    /// Whether [`PreparedMatrix::product_in_place`] is possible: where all columns of a narrow range fit a cache, or there
    /// is a single block.
    pub fn works_in_place(&self) -> bool {
        match &self.layout {
            Layout::Portable(_) => true,
            #[cfg(target_arch = "x86_64")]
            Layout::Float(_, matrix) => matrix.works_in_place(),
            #[cfg(target_arch = "x86_64")]
            Layout::Digits(_, matrix) => matrix.works_in_place(),
        }
    }

    /// As [`PreparedMatrix::product`], with the inputs in the first of `vectors`, as many as there are columns, and the outputs
    /// then in the first of them, as many as there are rows. What is in the others is unspecified.
    ///
    /// # Panics
    /// If there are fewer vectors than rows or columns, their lengths differ, or [`PreparedMatrix::works_in_place`] is false.
    pub fn product_in_place(&self, q: Modulus, vectors: &mut [&mut [u64]]) {
        assert!(self.works_in_place(), "all columns are read before a row is written");
        assert!(vectors.len() >= self.rows.max(self.cols), "one vector for each row and for each column");
        let len = vectors.first().map_or(0, |x| x.len());
        assert!(vectors.iter().all(|x| x.len() == len), "all vectors are equally long");
        self.run(q, len, &mut Vectors::Shared(vectors));
    }

    fn run(&self, q: Modulus, len: usize, vectors: &mut Vectors<'_, '_>) {
        match &self.layout {
            Layout::Portable(blocks) => product_portable(blocks, q, (self.rows, self.cols), len, vectors),
            #[cfg(target_arch = "x86_64")]
            Layout::Float(token, matrix) => matrix.product(*token, q, len, vectors),
            #[cfg(target_arch = "x86_64")]
            Layout::Digits(token, matrix) => matrix.product(*token, q, len, vectors),
        }
    }
}

/// What a product reads and writes. Coefficients count from the start of the range.
pub(super) enum Vectors<'a, 'b> {
    /// The range of the inputs begins at `start`.
    Apart { inputs: &'a [&'a [u64]], start: usize, out: &'a mut [&'b mut [u64]] },
    /// Rows are written over columns.
    Shared(&'a mut [&'b mut [u64]]),
}

impl Vectors<'_, '_> {
    #[inline]
    pub(super) fn column(&self, k: u32, range: Range<usize>) -> &[u64] {
        match self {
            Self::Apart { inputs, start, .. } => &inputs[k as usize][start + range.start..start + range.end],
            Self::Shared(vectors) => &vectors[k as usize][range],
        }
    }

    #[inline]
    pub(super) fn row(&mut self, r: u32, range: Range<usize>) -> &mut [u64] {
        match self {
            Self::Apart { out, .. } => &mut out[r as usize][range],
            Self::Shared(vectors) => &mut vectors[r as usize][range],
        }
    }
}

/// Coefficients that the portable product copies at a time.
const PORTABLE_TILE: usize = 64;

/// Sums in 128-bit integers, which hold `2^52` terms.
fn product_portable(
    blocks: &[Block<i32>],
    q: Modulus,
    (rows, cols): (usize, usize),
    len: usize,
    vectors: &mut Vectors<'_, '_>,
) {
    let mut tile: Vec<u64> = Vec::with_capacity(cols * PORTABLE_TILE.min(len));
    for start in (0..len).step_by(PORTABLE_TILE) {
        let range = start..len.min(start + PORTABLE_TILE);
        tile.clear();
        (0..cols as u32).for_each(|k| tile.extend(vectors.column(k, range.clone())));
        (0..rows as u32).for_each(|r| vectors.row(r, range.clone()).fill(0));
        for block in blocks {
            for (&row, weights) in block.rows.iter().zip(block.weights.chunks(block.cols.len().max(1))) {
                for (c, y) in vectors.row(row, range.clone()).iter_mut().enumerate() {
                    let terms = block.cols.iter().zip(weights);
                    let x = |k: u32| i128::from(tile[k as usize * range.len() + c]);
                    let sum = terms.map(|(&k, &w)| i128::from(w) * x(k)).sum();
                    *y = q.add(*y, q.from_i128(sum));
                }
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
