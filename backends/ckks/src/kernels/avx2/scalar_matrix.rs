//! Integer matrices times residue vectors in floats; [`crate::kernels::PreparedMatrix`] documents the arithmetic.
//!
//! A tile of coefficients is packed once, for all columns: panels of 64 bytes a column, which hold four residues split in
//! halves or eight whole ones. A block then runs over the panels in segments of terms: the part of the panel stays in
//! the first cache while the groups of up to six rows stream by, each with twelve accumulators in registers.

use std::arch::x86_64::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hec_ir::matrix::{Block, BlockMatrix};

use crate::arithmetic::Modulus;
use crate::kernels::Avx2;
use crate::kernels::lanes::{Lanes, to_float};

/// Rows that one pass over a panel computes.
const GROUP: usize = 6;
/// Floats that a panel holds for each column: two vectors.
const PANEL: usize = 8;
/// Panels in a tile.
const PANELS: usize = 4;
/// Columns that are packed at a time: 256 KiB.
const PACKED: usize = 1024;
/// Terms summed in registers: with the group's weights, 28 KiB.
const SEGMENT: usize = 256;
/// Terms between reductions from which on it pays to leave residues whole.
const WORTHWHILE: usize = 64;
/// Bound on a sum of products.
const SUM_LIMIT: f64 = 4_503_599_627_370_496.0;

/// A matrix laid out for the kernel.
#[derive(Clone, Debug)]
pub(in crate::kernels) struct FloatMatrix {
    cols: usize,
    blocks: Vec<FloatBlock>,
    /// Rows without a block.
    empty: Vec<u32>,
}

#[derive(Clone, Debug)]
struct FloatBlock {
    rows: Arc<[u32]>,
    /// Whether an earlier block has written the row.
    again: Vec<bool>,
    cols: Arc<[u32]>,
    weights: Arc<[f64]>,
    largest: f64,
}

impl FloatMatrix {
    pub(in crate::kernels) fn new(matrix: &BlockMatrix<i32>) -> Self {
        let mut laid_out = BTreeMap::new();
        let mut written = vec![false; matrix.rows()];
        let blocks = matrix.blocks().iter().filter(|block| !block.rows.is_empty());
        let blocks = blocks.map(|block| {
            let shape = (block.weights.as_ptr(), block.rows.len(), block.cols.len());
            let weights = laid_out.entry(shape).or_insert_with(|| lay_out(block)).clone();
            let largest = weights.iter().fold(0.0, |largest: f64, w| largest.max(w.abs()));
            let again = block.rows.iter().map(|&row| std::mem::replace(&mut written[row as usize], true)).collect();
            FloatBlock { rows: block.rows.clone(), again, cols: block.cols.clone(), weights, largest }
        });
        let blocks = blocks.collect();
        let empty = (0..matrix.rows() as u32).filter(|&row| !written[row as usize]).collect();
        Self { cols: matrix.cols(), blocks, empty }
    }

    /// As [`crate::kernels::PreparedMatrix::product_range`], which checks the lengths.
    pub(in crate::kernels) fn product_range(
        &self,
        _: Avx2,
        q: Modulus,
        inputs: &[&[u64]],
        range: Range<usize>,
        out: &mut [&mut [u64]],
    ) {
        self.empty.iter().for_each(|&row| out[row as usize].fill(0));
        // SAFETY: the token proves AVX2 and FMA.
        unsafe { self.product_tiles(q, inputs, range, out) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn product_tiles(&self, q: Modulus, inputs: &[&[u64]], range: Range<usize>, out: &mut [&mut [u64]]) {
        let split = Split::new(q, self.blocks.iter().fold(0.0, |largest, block| block.largest.max(largest)));
        let rows = self.blocks.iter().map(|block| block.rows.len()).max().unwrap_or(0);
        let packed = self.cols.min(PACKED);
        let mut scratch = Scratch {
            panels: vec![0.0; packed * PANEL * PANELS],
            sums: vec![[_mm256_setzero_pd(); 2]; rows * PANELS],
            offsets: Vec::with_capacity(packed),
        };
        let tile = split.residues * PANELS;
        for start in range.clone().step_by(tile) {
            let coefficients = start..range.end.min(start + tile);
            let at = start - range.start;
            if self.cols <= PACKED {
                split.pack(inputs.iter().copied(), coefficients.clone(), &mut scratch.panels, packed);
            }
            for block in &self.blocks {
                self.sum_block(block, split, inputs, coefficients.clone(), &mut scratch);
                block.store(split, &scratch.sums, at..at + coefficients.len(), out);
            }
        }
    }

    /// The block's sums for one tile, into `scratch.sums`.
    #[target_feature(enable = "avx2,fma")]
    fn sum_block(
        &self,
        block: &FloatBlock,
        split: Split,
        inputs: &[&[u64]],
        coefficients: Range<usize>,
        scratch: &mut Scratch,
    ) {
        let Scratch { panels, sums, offsets } = scratch;
        let whole = self.cols <= PACKED;
        let stride = self.cols.min(PACKED) * PANEL;
        let rows = block.rows.len();
        let limit = split.terms(block.largest);
        sums[..rows * PANELS].fill([_mm256_setzero_pd(); 2]);
        for first in (0..block.cols.len()).step_by(PACKED) {
            let cols = &block.cols[first..block.cols.len().min(first + PACKED)];
            offsets.clear();
            if whole {
                offsets.extend(cols.iter().map(|&k| k as usize * PANEL));
            } else {
                split.pack(cols.iter().map(|&k| inputs[k as usize]), coefficients.clone(), panels, stride / PANEL);
                offsets.extend((0..cols.len()).map(|k| k * PANEL));
            }
            for panel in 0..coefficients.len().div_ceil(split.residues) {
                let x = &panels[panel * stride..][..stride];
                let sums = &mut sums[panel * rows..][..rows];
                let mut done = 0;
                for segment in offsets.chunks(SEGMENT.min(limit)) {
                    block.sum_segment(x, segment, first + done, sums);
                    done += segment.len();
                    if block.cols.len() > limit {
                        sums.iter_mut().for_each(|sum| *sum = sum.map(|s| split.lanes.reduce(s)));
                    }
                }
            }
        }
    }
}

struct Scratch {
    panels: Vec<f64>,
    sums: Vec<[__m256d; 2]>,
    offsets: Vec<usize>,
}

/// The weights of a group of rows lie together, term by term.
fn lay_out(block: &Block<i32>) -> Arc<[f64]> {
    let (rows, cols) = (block.rows.len(), block.cols.len());
    let weight = |row: usize, k: usize| f64::from(block.weights[row * cols + k]);
    let group = |rows: Range<usize>| (0..cols).flat_map(move |k| rows.clone().map(move |row| weight(row, k)));
    groups(rows).flat_map(group).collect()
}

/// The fewest groups, of sizes that differ by at most one.
fn groups(rows: usize) -> impl Iterator<Item = Range<usize>> {
    let count = rows.div_ceil(GROUP);
    (0..count).map(move |i| rows * i / count..rows * (i + 1) / count)
}

impl FloatBlock {
    /// Adds the terms from `first` on, whose columns lie at `offsets` in the panel, to the sums of all rows.
    #[target_feature(enable = "avx2,fma")]
    fn sum_segment(&self, panel: &[f64], offsets: &[usize], first: usize, sums: &mut [[__m256d; 2]]) {
        for rows in groups(self.rows.len()) {
            let size = rows.len();
            let weights = &self.weights[rows.start * self.cols.len()..][first * size..][..offsets.len() * size];
            let sums = &mut sums[rows];
            match size {
                6 => sum_group::<6>(panel, offsets, weights, sums),
                5 => sum_group::<5>(panel, offsets, weights, sums),
                4 => sum_group::<4>(panel, offsets, weights, sums),
                3 => sum_group::<3>(panel, offsets, weights, sums),
                2 => sum_group::<2>(panel, offsets, weights, sums),
                _ => sum_group::<1>(panel, offsets, weights, sums),
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn store(&self, split: Split, sums: &[[__m256d; 2]], at: Range<usize>, out: &mut [&mut [u64]]) {
        let rows = self.rows.len();
        for (i, (&row, &again)) in self.rows.iter().zip(&self.again).enumerate() {
            let row = &mut out[row as usize][at.clone()];
            for (panel, out) in row.chunks_mut(split.residues).enumerate() {
                split.store(sums[panel * rows + i], again, out);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn sum_group<const ROWS: usize>(panel: &[f64], offsets: &[usize], weights: &[f64], sums: &mut [[__m256d; 2]]) {
    let mut acc = [[_mm256_setzero_pd(); 2]; ROWS];
    acc.copy_from_slice(&sums[..ROWS]);
    for (&offset, weights) in offsets.iter().zip(weights.chunks_exact(ROWS)) {
        debug_assert!(offset + PANEL <= panel.len());
        // SAFETY: offsets are those of packed columns, `PANEL` floats each.
        let x = unsafe {
            let x = panel.as_ptr().add(offset);
            [_mm256_loadu_pd(x), _mm256_loadu_pd(x.add(4))]
        };
        for (acc, weight) in acc.iter_mut().zip(weights) {
            let weight = _mm256_broadcast_sd(weight);
            acc[0] = _mm256_fmadd_pd(weight, x[0], acc[0]);
            acc[1] = _mm256_fmadd_pd(weight, x[1], acc[1]);
        }
    }
    sums[..ROWS].copy_from_slice(&acc);
}

/// How residues become floats small enough to sum.
#[derive(Clone, Copy)]
struct Split {
    lanes: Lanes,
    q: f64,
    /// Bits of the lower half; 0: residues are whole.
    shift: u32,
    /// Residues in a panel.
    residues: usize,
}

impl Split {
    /// Residues are left whole if enough terms with weights up to `largest` then fit a sum, else halved.
    #[target_feature(enable = "avx2,fma")]
    fn new(q: Modulus, largest: f64) -> Self {
        let whole = Self { lanes: Lanes::new(q), q: q.as_f64(), shift: 0, residues: 8 };
        match whole.terms(largest) {
            WORTHWHILE.. => whole,
            _ => Self { shift: q.bits().div_ceil(2), residues: 4, ..whole },
        }
    }

    /// How many terms with weights up to `largest` can be added to a reduced sum.
    fn terms(self, largest: f64) -> usize {
        let part = if self.shift == 0 { self.q } else { f64::from(1 << self.shift) };
        ((SUM_LIMIT - self.q) / (part * largest.max(1.0))) as usize
    }

    /// Packs the coefficients of the columns, zeros after the last; panels are `stride` columns apart.
    #[target_feature(enable = "avx2,fma")]
    fn pack<'a>(
        self,
        columns: impl Iterator<Item = &'a [u64]>,
        coefficients: Range<usize>,
        panels: &mut [f64],
        stride: usize,
    ) {
        for (k, column) in columns.enumerate() {
            for (panel, x) in column[coefficients.clone()].chunks(self.residues).enumerate() {
                let packed = self.split(x);
                let at = &mut panels[(panel * stride + k) * PANEL..][..PANEL];
                // SAFETY: eight floats.
                unsafe {
                    _mm256_storeu_pd(at.as_mut_ptr(), packed[0]);
                    _mm256_storeu_pd(at.as_mut_ptr().add(4), packed[1]);
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn split(self, x: &[u64]) -> [__m256d; 2] {
        if self.shift == 0 {
            return [load_part(x), load_part(x.get(4..).unwrap_or(&[]))].map(|x| to_float(x));
        }
        let x = load_part(x);
        let mask = _mm256_set1_epi64x((1 << self.shift) - 1);
        let high = _mm256_srl_epi64(x, _mm_cvtsi32_si128(self.shift as i32));
        [high, _mm256_and_si256(x, mask)].map(|x| to_float(x))
    }

    /// Stores the residues of sums, or adds them to what is there.
    #[target_feature(enable = "avx2,fma")]
    fn store(self, sum: [__m256d; 2], again: bool, out: &mut [u64]) {
        if self.shift == 0 {
            let (low, high) = out.split_at_mut(out.len().min(4));
            self.store_residues(sum[0], again, low);
            self.store_residues(sum[1], again, high);
        } else {
            // |high| <= 2^52 times a power of two is a float, and its quotient by q is below 2^51.
            let high = _mm256_mul_pd(sum[0], _mm256_set1_pd((1u64 << self.shift) as f64));
            self.store_residues(_mm256_add_pd(self.lanes.reduce(high), sum[1]), again, out);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn store_residues(self, sum: __m256d, again: bool, out: &mut [u64]) {
        let mut residues = self.lanes.to_residue(self.lanes.reduce(sum));
        if again {
            residues = self.lanes.add_words(residues, load_part(out));
        }
        store_part(residues, out);
    }
}

/// Up to four words, zeros after the last.
#[target_feature(enable = "avx2,fma")]
fn load_part(x: &[u64]) -> __m256i {
    let mut padded = [0; 4];
    let whole = match x.first_chunk::<4>() {
        Some(x) => x,
        None => {
            padded[..x.len()].copy_from_slice(x);
            &padded
        }
    };
    // SAFETY: four words.
    unsafe { _mm256_loadu_si256(whole.as_ptr().cast()) }
}

/// To up to four words.
#[target_feature(enable = "avx2,fma")]
fn store_part(value: __m256i, out: &mut [u64]) {
    if let Some(out) = out.first_chunk_mut::<4>() {
        // SAFETY: four words.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), value) }
    } else {
        let mut words = [0u64; 4];
        // SAFETY: four words.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), value) }
        let len = out.len();
        out.copy_from_slice(&words[..len]);
    }
}
