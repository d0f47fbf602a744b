//! Linear maps across an array of slot vectors.

use std::sync::Arc;

/// A `rows x cols` matrix as a sum of small dense blocks, each on its own rows and columns.
///
/// A dense layer is one block. A convolution is one block for each output position: its rows are the output channels, its
/// columns the inputs under the kernel, and blocks at positions of the same kind share their weights. Anything that is not
/// in a block is zero; a row that lies in several blocks receives the sum.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockMatrix<T> {
    rows: usize,
    cols: usize,
    blocks: Vec<Block<T>>,
}

/// One dense block of a [`BlockMatrix`].
#[derive(Clone, Debug, PartialEq)]
pub struct Block<T> {
    /// Rows of the whole matrix that the block's rows add to; strictly ascending.
    pub rows: Arc<[u32]>,
    /// Columns of the whole matrix that the block's columns read; no column twice.
    pub cols: Arc<[u32]>,
    /// `rows.len() x cols.len()` weights, row-major. Equal blocks share them.
    pub weights: Arc<[T]>,
}

/// Why blocks do not form a matrix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// A row index is out of range or out of order.
    #[error("block {block}: rows must ascend and stay below {rows}")]
    Rows {
        /// Index of the block.
        block: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// A column index is out of range or occurs twice.
    #[error("block {block}: columns must differ and stay below {cols}")]
    Cols {
        /// Index of the block.
        block: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// The number of weights is not rows times columns.
    #[error("block {block}: expected {expected} weights, found {found}")]
    Weights {
        /// Index of the block.
        block: usize,
        /// Rows times columns of the block.
        expected: usize,
        /// Weights of the block.
        found: usize,
    },
}

impl<T> BlockMatrix<T> {
    /// Checks the blocks' indices and sizes.
    ///
    /// # Errors
    /// [`MatrixError`] naming the first bad block.
    pub fn new(rows: usize, cols: usize, blocks: Vec<Block<T>>) -> Result<Self, MatrixError> {
        let mut seen = vec![usize::MAX; cols];
        for (index, block) in blocks.iter().enumerate() {
            let ascending = block.rows.windows(2).all(|w| w[0] < w[1]);
            if !ascending || block.rows.last().is_some_and(|&r| r as usize >= rows) {
                return Err(MatrixError::Rows { block: index, rows });
            }
            for &col in &*block.cols {
                match seen.get_mut(col as usize) {
                    Some(last) if *last != index => *last = index,
                    _ => return Err(MatrixError::Cols { block: index, cols }),
                }
            }
            let expected = block.rows.len() * block.cols.len();
            if block.weights.len() != expected {
                return Err(MatrixError::Weights { block: index, expected, found: block.weights.len() });
            }
        }
        Ok(Self { rows, cols, blocks })
    }

    /// Number of rows: the length of the result.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the length of the operand.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Block<T>] {
        &self.blocks
    }

    /// Number of weights, which is the number of multiply-adds per slot.
    pub fn multiply_adds(&self) -> usize {
        self.blocks.iter().map(|block| block.weights.len()).sum()
    }

    /// Calls `visit(row, col, weight)` for every weight, block by block.
    pub fn for_each(&self, mut visit: impl FnMut(usize, usize, &T)) {
        for block in &self.blocks {
            for (i, &row) in block.rows.iter().enumerate() {
                let weights = &block.weights[i * block.cols.len()..][..block.cols.len()];
                for (&col, weight) in block.cols.iter().zip(weights) {
                    visit(row as usize, col as usize, weight);
                }
            }
        }
    }

    /// Applies `f` to every weight; weights shared by blocks stay shared.
    pub fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> BlockMatrix<U> {
        let mut done: Vec<(*const T, Arc<[U]>)> = Vec::new();
        let mut index = std::collections::BTreeMap::new();
        let blocks = self.blocks.iter().map(|block| {
            let key = block.weights.as_ptr();
            let at = *index.entry(key).or_insert_with(|| {
                done.push((key, block.weights.iter().map(&mut f).collect()));
                done.len() - 1
            });
            Block { rows: block.rows.clone(), cols: block.cols.clone(), weights: done[at].1.clone() }
        });
        BlockMatrix { rows: self.rows, cols: self.cols, blocks: blocks.collect() }
    }
}

/// What kernels for a [`BlockMatrix`] go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockShape {
    /// Number of weights.
    pub multiply_adds: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Columns of all blocks together.
    pub packed: usize,
    /// Rows of all blocks together.
    pub sums: usize,
    /// Length of the operand.
    pub operands: usize,
    /// Length of the result.
    pub results: usize,
}

/// Integer weights below this many bits fit a kernel of 16-bit integers.
pub const NARROW_BITS: u32 = 15;
/// Multiply-adds on each packed column from which on it pays to write it in digits.
const DIGITS_PAY: usize = 24;
/// Columns of which a narrow tile fits a cache, all at once.
const PACKED_WHOLE: usize = 4096;

impl BlockShape {
    /// Of a diagonal.
    pub fn diagonal(length: usize) -> Self {
        Self { multiply_adds: length, blocks: length, packed: length, sums: length, operands: length, results: length }
    }

    /// Whether a kernel of 16-bit integers is the better one, given that the weights are below [`NARROW_BITS`].
    pub fn prefers_digits(self) -> bool {
        self.multiply_adds >= DIGITS_PAY * self.packed
    }

    /// Whether all columns are read before a row is written, so that results take the operands' memory.
    pub fn works_in_place(self, narrow: bool) -> bool {
        self.blocks <= 1 || (self.operands <= PACKED_WHOLE && !(narrow && self.prefers_digits()))
    }
}

impl<T> BlockMatrix<T> {
    /// What kernels go by.
    pub fn shape(&self) -> BlockShape {
        let total = |part: fn(&Block<T>) -> usize| self.blocks.iter().map(part).sum();
        BlockShape {
            multiply_adds: self.multiply_adds(),
            blocks: self.blocks.iter().filter(|block| !block.rows.is_empty()).count(),
            packed: total(|block| block.cols.len()),
            sums: total(|block| block.rows.len()),
            operands: self.cols,
            results: self.rows,
        }
    }
}

impl BlockMatrix<i32> {
    /// Whether all weights are below [`NARROW_BITS`] bits.
    pub fn is_narrow(&self) -> bool {
        self.blocks.iter().flat_map(|block| &*block.weights).all(|w| w.unsigned_abs() < 1 << NARROW_BITS)
    }
}

impl BlockMatrix<f64> {
    /// One dense block of `rows x cols` weights, row-major.
    ///
    /// # Errors
    /// [`MatrixError::Weights`] if the number of weights is not `rows * cols`.
    pub fn dense(rows: usize, cols: usize, weights: Arc<[f64]>) -> Result<Self, MatrixError> {
        let all = |n: usize| (0..n as u32).collect();
        Self::new(rows, cols, vec![Block { rows: all(rows), cols: all(cols), weights }])
    }

    /// `self * x`.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.rows];
        self.for_each(|row, col, weight| y[row] += weight * x[col]);
        y
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(rows: &[u32], cols: &[u32], weights: &[f64]) -> Block<f64> {
        Block { rows: rows.into(), cols: cols.into(), weights: weights.into() }
    }

    #[test]
    fn overlapping_blocks_add() {
        let m =
            BlockMatrix::new(2, 3, vec![block(&[0, 1], &[2, 0], &[1., 2., 3., 4.]), block(&[1], &[1], &[5.])]).unwrap();
        assert_eq!(m.apply(&[1., 10., 100.]), vec![102., 354.]);
        assert_eq!(m.multiply_adds(), 5);
    }

    #[test]
    fn bad_blocks_are_refused() {
        let new = |b| BlockMatrix::new(2, 2, vec![b]).unwrap_err();
        assert_eq!(new(block(&[1, 0], &[0], &[1., 1.])), MatrixError::Rows { block: 0, rows: 2 });
        assert_eq!(new(block(&[2], &[0], &[1.])), MatrixError::Rows { block: 0, rows: 2 });
        assert_eq!(new(block(&[0], &[1, 1], &[1., 1.])), MatrixError::Cols { block: 0, cols: 2 });
        assert_eq!(new(block(&[0], &[7], &[1.])), MatrixError::Cols { block: 0, cols: 2 });
        assert_eq!(new(block(&[0], &[1], &[])), MatrixError::Weights { block: 0, expected: 1, found: 0 });
    }

    #[test]
    fn mapping_keeps_sharing() {
        let weights: Arc<[f64]> = [1.0, 2.0].into();
        let one = |col| Block { rows: [0u32].into(), cols: [col, col + 1].into(), weights: weights.clone() };
        let m = BlockMatrix::new(1, 4, vec![one(0), one(2)]).unwrap();
        let mut calls = 0;
        let doubled = m.map(|w| {
            calls += 1;
            w * 2.0
        });
        assert_eq!((calls, &*doubled.blocks()[1].weights), (2, &[2.0, 4.0][..]));
        assert!(Arc::ptr_eq(&doubled.blocks()[0].weights, &doubled.blocks()[1].weights));
    }
}
