//! Integer matrices times residue vectors in floats; [`crate::kernels::PreparedMatrix`] documents the arithmetic.
//!
//! A tile of coefficients is packed once, each column when the first block reads it: panels of 64 bytes a column, which hold
//! four residues split in halves or eight whole ones. A block runs over the panels in segments of terms: the part of the panel
//! stays in the first cache while the groups of up to six rows stream by, each with twelve accumulators in registers.
//! Columns and rows lie on pages of their own, often at distances that caches and their page tables map to the same sets,
//! so that small blocks, whose columns fit the second cache, take wider tiles.

use std::arch::x86_64::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hec_ir::matrix::{Block, BlockMatrix};

use super::sums::{Sums, load_part, prefetch};
use crate::arithmetic::Modulus;
use crate::kernels::Avx2;
use crate::kernels::lanes::to_float;
use crate::kernels::scalar_matrix::Vectors;

/// Rows that one pass over a panel computes.
const GROUP: usize = 6;
/// Floats that a panel holds for each column: two vectors.
const PANEL: usize = 8;
/// The fewest and the most panels in a tile.
const PANELS: [usize; 2] = [4, 16];
/// Panels times columns that a block may read in a tile for it to be widened: 256 KiB.
const BLOCK_LIMIT: usize = 4096;
/// Panels times columns packed for all blocks: 1 MiB. If there are more, each block packs its own.
const TILE_LIMIT: usize = 16384;
/// Columns of a block that are then packed at a time.
const PACKED: usize = 1024;
/// Columns that are asked for ahead of the one that is packed.
const AHEAD: usize = 16;
/// Terms summed in registers: with the group's weights, 28 KiB.
const SEGMENT: usize = 256;
/// Terms between reductions from which on it pays to leave residues whole.
const WORTHWHILE: usize = 64;

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
    /// Columns that no earlier block reads.
    fresh: Vec<u32>,
    weights: Arc<[f64]>,
    largest: f64,
}

impl FloatMatrix {
    pub(in crate::kernels) fn new(matrix: &BlockMatrix<i32>) -> Self {
        let mut laid_out = BTreeMap::new();
        let mut written = vec![false; matrix.rows()];
        let mut read = vec![false; matrix.cols()];
        let blocks = matrix.blocks().iter().filter(|block| !block.rows.is_empty());
        let blocks = blocks.map(|block| {
            let shape = (block.weights.as_ptr(), block.rows.len(), block.cols.len());
            let weights = laid_out.entry(shape).or_insert_with(|| lay_out(block)).clone();
            let largest = weights.iter().fold(0.0, |largest: f64, w| largest.max(w.abs()));
            let again = block.rows.iter().map(|&row| std::mem::replace(&mut written[row as usize], true)).collect();
            let fresh =
                block.cols.iter().copied().filter(|&col| !std::mem::replace(&mut read[col as usize], true)).collect();
            FloatBlock { rows: block.rows.clone(), again, cols: block.cols.clone(), fresh, weights, largest }
        });
        let blocks = blocks.collect();
        let empty = (0..matrix.rows() as u32).filter(|&row| !written[row as usize]).collect();
        Self { cols: matrix.cols(), blocks, empty }
    }

    /// As [`crate::kernels::PreparedMatrix`] has it, which checks the lengths.
    pub(in crate::kernels) fn product(&self, _: Avx2, q: Modulus, len: usize, vectors: &mut Vectors<'_, '_>) {
        // SAFETY: the token proves AVX2 and FMA.
        unsafe { self.product_tiles(q, len, vectors) }
        self.empty.iter().for_each(|&row| vectors.row(row, 0..len).fill(0));
    }

    pub(in crate::kernels) fn works_in_place(&self) -> bool {
        self.packs_whole() || self.blocks.len() <= 1
    }

    fn packs_whole(&self) -> bool {
        self.cols * self.panels() <= TILE_LIMIT
    }

    #[target_feature(enable = "avx2,fma")]
    fn product_tiles(&self, q: Modulus, len: usize, vectors: &mut Vectors<'_, '_>) {
        let split = Split::new(q, self.blocks.iter().fold(0.0, |largest, block| block.largest.max(largest)));
        let (panels, whole) = (self.panels(), self.packs_whole());
        let mut tile = Tile::new(split, panels, if whole { self.cols } else { PACKED });
        let rows = self.blocks.iter().map(|block| block.rows.len()).max().unwrap_or(0);
        let mut sums = vec![[_mm256_setzero_pd(); 2]; rows * panels];
        let width = split.residues * panels;
        for start in (0..len).step_by(width) {
            let at = start..len.min(start + width);
            if whole {
                self.blocks.iter().for_each(|block| tile.pack(&block.fresh, &block.fresh, vectors, at.clone()));
            }
            let next = at.end..len.min(at.end + width);
            for block in &self.blocks {
                if !whole {
                    block.sum_columns(&mut tile, vectors, at.clone(), &mut sums);
                    block.store(split, &sums, at.clone(), vectors);
                    continue;
                }
                block.fresh.iter().for_each(|&k| prefetch(vectors.column(k, next.clone())));
                block.rows.iter().for_each(|&row| prefetch(vectors.row(row, at.clone())));
                if block.cols.len() <= SEGMENT.min(split.terms(block.largest)) {
                    block.product(&tile, at.clone(), vectors);
                } else {
                    sums.fill([_mm256_setzero_pd(); 2]);
                    block.sum(&tile, &block.cols, 0, at.len(), &mut sums);
                    block.store(split, &sums, at.clone(), vectors);
                }
            }
        }
    }

    /// How many panels a tile has.
    fn panels(&self) -> usize {
        let cols = self.blocks.iter().map(|block| block.cols.len()).max().unwrap_or(0).max(1);
        let [fewest, most] = PANELS;
        let panels = (BLOCK_LIMIT / cols).clamp(fewest, most);
        match TILE_LIMIT / self.cols.max(1) {
            whole if whole >= fewest => panels.min(whole),
            _ => panels,
        }
    }
}

/// The packed coefficients of some columns.
struct Tile {
    split: Split,
    panels: Vec<f64>,
    /// Floats from one panel to the next.
    stride: usize,
}

impl Tile {
    fn new(split: Split, panels: usize, columns: usize) -> Self {
        let stride = columns * PANEL;
        Self { split, panels: vec![0.0; stride * panels], stride }
    }

    fn panel(&self, panel: usize) -> &[f64] {
        &self.panels[panel * self.stride..][..self.stride]
    }

    /// Packs the coefficients of the columns at the places that go with them, zeros after the last.
    #[target_feature(enable = "avx2,fma")]
    fn pack(&mut self, places: &[u32], columns: &[u32], vectors: &Vectors<'_, '_>, coefficients: Range<usize>) {
        for (i, (&place, &column)) in places.iter().zip(columns).enumerate() {
            if let Some(&ahead) = columns.get(i + AHEAD) {
                prefetch(vectors.column(ahead, coefficients.clone()));
            }
            for (panel, x) in vectors.column(column, coefficients.clone()).chunks(self.split.residues).enumerate() {
                let packed = self.split.split(x);
                let at = &mut self.panels[panel * self.stride + place as usize * PANEL..][..PANEL];
                // SAFETY: eight floats.
                unsafe {
                    _mm256_storeu_pd(at.as_mut_ptr(), packed[0]);
                    _mm256_storeu_pd(at.as_mut_ptr().add(4), packed[1]);
                }
            }
        }
    }
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
    /// The whole product, if its terms can be summed in registers.
    #[target_feature(enable = "avx2,fma")]
    fn product(&self, tile: &Tile, at: Range<usize>, vectors: &mut Vectors<'_, '_>) {
        for panel in 0..at.len().div_ceil(tile.split.residues) {
            let x = tile.panel(panel);
            let start = at.start + panel * tile.split.residues;
            let at = start..at.end.min(start + tile.split.residues);
            for rows in groups(self.rows.len()) {
                let mut sums = [[_mm256_setzero_pd(); 2]; GROUP];
                sum_group(rows.len(), x, &self.cols, &self.weights[rows.start * self.cols.len()..], &mut sums);
                for (i, sum) in rows.zip(sums) {
                    tile.split.store(sum, self.again[i], vectors.row(self.rows[i], at.clone()));
                }
            }
        }
    }

    /// The sums over columns too many to be packed all at once.
    #[target_feature(enable = "avx2,fma")]
    fn sum_columns(
        &self,
        tile: &mut Tile,
        vectors: &Vectors<'_, '_>,
        coefficients: Range<usize>,
        sums: &mut [[__m256d; 2]],
    ) {
        sums.fill([_mm256_setzero_pd(); 2]);
        let places: Vec<u32> = (0..PACKED.min(self.cols.len()) as u32).collect();
        for (i, cols) in self.cols.chunks(PACKED).enumerate() {
            tile.pack(&places, cols, vectors, coefficients.clone());
            self.sum(tile, &places[..cols.len()], i * PACKED, coefficients.len(), sums);
        }
    }

    /// Adds the terms from `first` on, whose columns were packed as `cols`, to the sums of all rows, panel by panel.
    #[target_feature(enable = "avx2,fma")]
    fn sum(&self, tile: &Tile, cols: &[u32], first: usize, coefficients: usize, sums: &mut [[__m256d; 2]]) {
        let limit = tile.split.terms(self.largest);
        let segment = SEGMENT.min(limit);
        for panel in 0..coefficients.div_ceil(tile.split.residues) {
            let sums = &mut sums[panel * self.rows.len()..][..self.rows.len()];
            for (i, cols) in cols.chunks(segment).enumerate() {
                self.sum_segment(tile.panel(panel), cols, first + i * segment, sums);
                if self.cols.len() > limit {
                    sums.iter_mut().for_each(|sum| *sum = sum.map(|s| tile.split.sums.lanes.reduce(s)));
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn sum_segment(&self, panel: &[f64], cols: &[u32], first: usize, sums: &mut [[__m256d; 2]]) {
        for rows in groups(self.rows.len()) {
            let size = rows.len();
            let weights = &self.weights[rows.start * self.cols.len() + first * size..];
            sum_group(size, panel, cols, weights, &mut sums[rows]);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn store(&self, split: Split, sums: &[[__m256d; 2]], at: Range<usize>, vectors: &mut Vectors<'_, '_>) {
        let rows = self.rows.len();
        for (i, (&row, &again)) in self.rows.iter().zip(&self.again).enumerate() {
            for (panel, out) in vectors.row(row, at.clone()).chunks_mut(split.residues).enumerate() {
                split.store(sums[panel * rows + i], again, out);
            }
        }
    }
}

/// Adds a term for every column to the sums of a group of `rows` rows.
#[target_feature(enable = "avx2,fma")]
fn sum_group(rows: usize, panel: &[f64], cols: &[u32], weights: &[f64], sums: &mut [[__m256d; 2]]) {
    match rows {
        6 => sum_rows::<6>(panel, cols, weights, sums),
        5 => sum_rows::<5>(panel, cols, weights, sums),
        4 => sum_rows::<4>(panel, cols, weights, sums),
        3 => sum_rows::<3>(panel, cols, weights, sums),
        2 => sum_rows::<2>(panel, cols, weights, sums),
        _ => sum_rows::<1>(panel, cols, weights, sums),
    }
}

#[target_feature(enable = "avx2,fma")]
fn sum_rows<const ROWS: usize>(panel: &[f64], cols: &[u32], weights: &[f64], sums: &mut [[__m256d; 2]]) {
    let mut acc = [[_mm256_setzero_pd(); 2]; ROWS];
    acc.copy_from_slice(&sums[..ROWS]);
    for (&col, weights) in cols.iter().zip(weights.chunks_exact(ROWS)) {
        let offset = col as usize * PANEL;
        debug_assert!(offset + PANEL <= panel.len());
        // SAFETY: a block's columns are below the matrix's, by the checks of `BlockMatrix::new`, and all were packed.
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
    sums: Sums,
    /// Bits of the lower half; 0: residues are whole.
    shift: u32,
    /// Residues in a panel.
    residues: usize,
}

impl Split {
    /// Residues are left whole if enough terms with weights up to `largest` then fit a sum, else halved.
    #[target_feature(enable = "avx2,fma")]
    fn new(q: Modulus, largest: f64) -> Self {
        let whole = Self { sums: Sums::new(q, 0), shift: 0, residues: 8 };
        let shift = q.bits().div_ceil(2);
        match whole.terms(largest) {
            WORTHWHILE.. => whole,
            _ => Self { sums: Sums::new(q, shift), shift, residues: 4 },
        }
    }

    /// How many terms with weights up to `largest` can be added to a reduced sum.
    fn terms(self, largest: f64) -> usize {
        let part = if self.shift == 0 { self.sums.q } else { f64::from(1 << self.shift) };
        self.sums.terms(part * largest)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn store(self, sum: [__m256d; 2], again: bool, out: &mut [u64]) {
        if self.shift == 0 {
            let (low, high) = out.split_at_mut(out.len().min(4));
            self.sums.store(sum[0], again, low);
            self.sums.store(sum[1], again, high);
        } else {
            self.sums.store(self.sums.join(sum), again, out);
        }
    }

    #[inline]
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
}
