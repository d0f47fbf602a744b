//! Matrices of small integers times residue vectors in 16-bit integers; [`crate::kernels::PreparedMatrix`] documents them.
//!
//! A residue is written in two to four signed digits, and one instruction multiplies the digits of a pair of columns with
//! the pair's weights and adds the two: sixteen products into eight 32-bit sums. Before those overflow they are added to
//! floats, two digits at a time, so that sums end as the halves of [`Sums`].
//!
//! A tile of coefficients of a block's columns is packed in panels of eight coefficients; see the float kernel for the caches.

use std::arch::x86_64::*;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hec_ir::matrix::{Block, BlockMatrix};

use super::sums::{Sums, load_part, prefetch};
use crate::arithmetic::Modulus;
use crate::kernels::Avx2;
use crate::kernels::scalar_matrix::Vectors;

/// Coefficients in a panel.
const PANEL: usize = 8;
/// Digits of a pair of columns in a panel: one vector.
const VECTOR: usize = 16;
/// Pairs of columns that are packed at a time.
const PACKED: usize = 512;
/// Bytes that the panels of a tile may have.
const TILE: usize = 1 << 20;
/// The fewest and the most panels in a tile.
const PANELS: [usize; 2] = [4, 16];
/// Pairs of columns that are asked for ahead of the one that is packed.
const AHEAD: usize = 8;
/// The most pairs between additions to the floats: the panel's part stays in the first cache.
const SEGMENT: usize = 128;
/// The fewest, for the number of digits to be worth while.
const WORTHWHILE: u32 = 12;

/// A matrix laid out for the kernel.
#[derive(Clone, Debug)]
pub(in crate::kernels) struct DigitMatrix {
    blocks: Vec<DigitBlock>,
    largest: u32,
    /// Rows without a block.
    empty: Vec<u32>,
}

#[derive(Clone, Debug)]
struct DigitBlock {
    rows: Arc<[u32]>,
    /// Whether an earlier block has written the row.
    again: Vec<bool>,
    cols: Arc<[u32]>,
    /// Row by row, two weights in each word; an odd last one with a zero.
    weights: Arc<[i32]>,
}

impl DigitBlock {
    fn pairs(&self) -> usize {
        self.cols.len().div_ceil(2)
    }
}

impl DigitMatrix {
    /// The layout of a matrix whose weights are all below `2^15` in magnitude.
    pub(in crate::kernels) fn new(matrix: &BlockMatrix<i32>) -> Self {
        let mut laid_out = BTreeMap::new();
        let mut written = vec![false; matrix.rows()];
        let blocks = matrix.blocks().iter().filter(|block| !block.rows.is_empty());
        let blocks = blocks.map(|block| {
            let shape = (block.weights.as_ptr(), block.rows.len(), block.cols.len());
            let weights = laid_out.entry(shape).or_insert_with(|| lay_out(block)).clone();
            let again = block.rows.iter().map(|&row| std::mem::replace(&mut written[row as usize], true)).collect();
            DigitBlock { rows: block.rows.clone(), again, cols: block.cols.clone(), weights }
        });
        let blocks = blocks.collect();
        let all = matrix.blocks().iter().flat_map(|block| &*block.weights);
        let largest = all.fold(1, |largest, w| largest.max(w.unsigned_abs()));
        let empty = (0..matrix.rows() as u32).filter(|&row| !written[row as usize]).collect();
        Self { blocks, largest, empty }
    }

    /// As [`crate::kernels::PreparedMatrix`] has it, which checks the lengths.
    pub(in crate::kernels) fn product(&self, _: Avx2, q: Modulus, len: usize, vectors: &mut Vectors<'_, '_>) {
        let digits = Digits::new(q, self.largest);
        // SAFETY: the token proves AVX2 and FMA.
        unsafe {
            match digits.count {
                2 => self.product_tiles::<6, 2>(digits, q, len, vectors),
                3 => self.product_tiles::<3, 3>(digits, q, len, vectors),
                _ => self.product_tiles::<2, 4>(digits, q, len, vectors),
            }
        }
        self.empty.iter().for_each(|&row| vectors.row(row, 0..len).fill(0));
    }

    pub(in crate::kernels) fn works_in_place(&self) -> bool {
        self.blocks.len() <= 1
    }

    /// With groups of `ROWS` rows and `COUNT` digits.
    #[target_feature(enable = "avx2,fma")]
    fn product_tiles<const ROWS: usize, const COUNT: usize>(
        &self,
        digits: Digits,
        q: Modulus,
        len: usize,
        vectors: &mut Vectors<'_, '_>,
    ) {
        let sums = Sums::new(q, digits.bits * digits.in_lower_half());
        let pairs = self.blocks.iter().map(DigitBlock::pairs).max().unwrap_or(0).clamp(1, PACKED);
        let panels = (TILE / (pairs * COUNT * 2 * VECTOR)).clamp(PANELS[0], PANELS[1]);
        let rows = self.blocks.iter().map(|block| block.rows.len()).max().unwrap_or(0);
        let mut tile = Tile { digits, panels: vec![0; panels * pairs * COUNT * VECTOR], pairs };
        let mut halves = vec![[_mm256_setzero_pd(); 4]; panels * rows];
        for start in (0..len).step_by(PANEL * panels) {
            let at = start..len.min(start + PANEL * panels);
            for block in &self.blocks {
                block.rows.iter().for_each(|&row| prefetch(vectors.row(row, at.clone())));
                halves.fill([_mm256_setzero_pd(); 4]);
                for (i, cols) in block.cols.chunks(2 * PACKED).enumerate() {
                    tile.pack::<COUNT>(cols, vectors, at.clone());
                    for panel in 0..at.len().div_ceil(PANEL) {
                        let halves = &mut halves[panel * block.rows.len()..][..block.rows.len()];
                        let pairs = i * PACKED..i * PACKED + cols.len().div_ceil(2);
                        block.sum::<ROWS, COUNT>(&tile, panel, pairs, sums, halves);
                    }
                }
                block.store(sums, &halves, at.clone(), vectors);
            }
        }
    }
}

/// Pairs the weights of each row.
fn lay_out(block: &Block<i32>) -> Arc<[i32]> {
    let pair = |w: &[i32]| w[0] & 0xffff | w.get(1).unwrap_or(&0) << 16;
    block.weights.chunks(block.cols.len().max(1)).flat_map(|row| row.chunks(2).map(pair)).collect()
}

impl DigitBlock {
    /// Adds the terms of the pairs, which are packed from the tile's start, to the halves of all rows in one panel.
    #[target_feature(enable = "avx2,fma")]
    fn sum<const ROWS: usize, const COUNT: usize>(
        &self,
        tile: &Tile,
        panel: usize,
        pairs: Range<usize>,
        sums: Sums,
        halves: &mut [[__m256d; 4]],
    ) {
        let digits = tile.digits;
        let panel = &tile.panels[panel * tile.pairs * COUNT * VECTOR..][..pairs.len() * COUNT * VECTOR];
        let scale = _mm256_set1_pd(f64::from(1 << digits.bits));
        let segment = SEGMENT.min(digits.pairs as usize);
        for (i, part) in panel.chunks(segment * COUNT * VECTOR).enumerate() {
            let first = pairs.start + i * segment;
            let mut row = 0;
            while row < halves.len() {
                let left = halves.len() - row;
                let at = &self.weights[row * self.pairs() + first..];
                let halves = &mut halves[row..];
                row += match left {
                    left if left >= ROWS => sum_rows::<ROWS, COUNT>(part, at, self.pairs(), scale, halves),
                    2.. => sum_rows::<2, COUNT>(part, at, self.pairs(), scale, halves),
                    _ => sum_rows::<1, COUNT>(part, at, self.pairs(), scale, halves),
                };
            }
            if self.cols.len() > digits.terms {
                halves.iter_mut().for_each(|halves| *halves = halves.map(|half| sums.lanes.reduce(half)));
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn store(&self, sums: Sums, halves: &[[__m256d; 4]], at: Range<usize>, vectors: &mut Vectors<'_, '_>) {
        let rows = self.rows.len();
        for (i, (&row, &again)) in self.rows.iter().zip(&self.again).enumerate() {
            for (panel, out) in vectors.row(row, at.clone()).chunks_mut(PANEL).enumerate() {
                // The lanes hold coefficients 0, 1, 4, 5 and 2, 3, 6, 7.
                let [high_a, low_a, high_b, low_b] = halves[panel * rows + i];
                let (a, b) = (sums.join([high_a, low_a]), sums.join([high_b, low_b]));
                let (first, second) = out.split_at_mut(out.len().min(4));
                sums.store(_mm256_permute2f128_pd::<0x20>(a, b), again, first);
                sums.store(_mm256_permute2f128_pd::<0x31>(a, b), again, second);
            }
        }
    }
}

/// Adds the products of a part of a panel with `ROWS` rows of weights, `stride` apart, to the rows' halves; returns `ROWS`.
#[target_feature(enable = "avx2,fma")]
fn sum_rows<const ROWS: usize, const COUNT: usize>(
    panel: &[i16],
    weights: &[i32],
    stride: usize,
    scale: __m256d,
    halves: &mut [[__m256d; 4]],
) -> usize {
    let pairs = panel.len() / (COUNT * VECTOR);
    assert!(weights.len() >= (ROWS - 1) * stride + pairs, "every row has a weight for every pair");
    let mut acc = [[_mm256_setzero_si256(); COUNT]; ROWS];
    for (pair, digits) in panel.chunks_exact(COUNT * VECTOR).enumerate() {
        let mut x = [_mm256_setzero_si256(); COUNT];
        for (i, x) in x.iter_mut().enumerate() {
            // SAFETY: there are `COUNT` vectors of digits.
            *x = unsafe { _mm256_loadu_si256(digits.as_ptr().add(i * VECTOR).cast()) };
        }
        for (row, acc) in acc.iter_mut().enumerate() {
            // SAFETY: by the assertion.
            let weight = _mm256_set1_epi32(unsafe { *weights.get_unchecked(row * stride + pair) });
            for (acc, x) in acc.iter_mut().zip(x) {
                *acc = _mm256_add_epi32(*acc, _mm256_madd_epi16(x, weight));
            }
        }
    }
    for (acc, halves) in acc.into_iter().zip(halves) {
        add_digits(acc, scale, halves);
    }
    ROWS
}

/// Adds sums of digits to `[high, low]` of the lower and of the upper four lanes.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_digits<const COUNT: usize>(acc: [__m256i; COUNT], scale: __m256d, halves: &mut [__m256d; 4]) {
    let lower = acc.map(|x| _mm256_cvtepi32_pd(_mm256_castsi256_si128(x)));
    let upper = acc.map(|x| _mm256_cvtepi32_pd(_mm256_extracti128_si256::<1>(x)));
    for (digits, halves) in [lower, upper].iter().zip(halves.chunks_exact_mut(2)) {
        let low_digits = if COUNT == 2 { 1 } else { 2 };
        let join = |digits: &[__m256d]| match digits {
            [one, two, ..] => _mm256_fmadd_pd(*two, scale, *one),
            [one] => *one,
            [] => _mm256_setzero_pd(),
        };
        halves[0] = _mm256_add_pd(halves[0], join(&digits[low_digits..]));
        halves[1] = _mm256_add_pd(halves[1], join(&digits[..low_digits]));
    }
}

/// How residues are written.
#[derive(Clone, Copy)]
struct Digits {
    count: usize,
    /// A digit is in `[-2^(bits - 1), 2^(bits - 1))`.
    bits: u32,
    /// Pairs whose products, with any weights of the matrix, fit a sum of 32 bits.
    pairs: u32,
    /// Terms whose products, two digits together, fit a float beside a reduced sum.
    terms: usize,
}

impl Digits {
    /// The fewest digits for which it pays.
    fn new(q: Modulus, largest: u32) -> Self {
        let with = |count: u32| {
            let bits = (q.bits() + 2).div_ceil(count);
            let pairs = (i32::MAX as u32).checked_div(largest << bits.min(16)).unwrap_or(0);
            let digits = Self { count: count as usize, bits, pairs, terms: 0 };
            let terms = (1u64 << 51) / (u64::from(largest) << (bits * digits.in_lower_half()));
            Self { terms: terms as usize, ..digits }
        };
        let short = [2, 3].into_iter().map(with).find(|digits| digits.bits <= 16 && digits.pairs >= WORTHWHILE);
        short.unwrap_or_else(|| with(4))
    }

    fn in_lower_half(self) -> u32 {
        if self.count == 2 { 1 } else { 2 }
    }
}

/// The packed coefficients of a block's columns.
struct Tile {
    digits: Digits,
    panels: Vec<i16>,
    /// Pairs from one panel to the next.
    pairs: usize,
}

impl Tile {
    /// Packs the coefficients of the columns from the tile's start on, zeros after the last.
    #[target_feature(enable = "avx2,fma")]
    fn pack<const COUNT: usize>(&mut self, cols: &[u32], vectors: &Vectors<'_, '_>, coefficients: Range<usize>) {
        let part = |col: u32| vectors.column(col, coefficients.clone());
        for (pair, two) in cols.chunks(2).enumerate() {
            let ahead = cols.iter().skip(2 * (pair + AHEAD)).take(2);
            ahead.for_each(|&col| prefetch(part(col)));
            let even = part(two[0]).chunks(PANEL);
            let mut odd = two.get(1).map_or(&[][..], |&col| part(col)).chunks(PANEL);
            for (panel, even) in even.enumerate() {
                let at = &mut self.panels[(panel * self.pairs + pair) * COUNT * VECTOR..][..COUNT * VECTOR];
                self.digits.write::<COUNT>(even, odd.next().unwrap_or(&[]), at);
            }
        }
    }
}

impl Digits {
    /// The digits of up to eight residues of each column of a pair.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn write<const COUNT: usize>(self, even: &[u64], odd: &[u64], out: &mut [i16]) {
        // Adding half of the base to every digit makes them all non-negative; it is taken off again at the end.
        let half = 1i64 << (self.bits - 1);
        let offset = (0..COUNT as u32).map(|i| half << (i * self.bits)).sum();
        let offset = _mm256_set1_epi64x(offset);
        let mask = _mm256_set1_epi64x(2 * half - 1);
        let second = |x: &[u64]| load_part(x.get(4..).unwrap_or(&[]));
        let mut words = [load_part(even), second(even), load_part(odd), second(odd)];
        words = words.map(|x| _mm256_add_epi64(x, offset));
        let bits = _mm_cvtsi32_si128(self.bits as i32);
        for out in out.chunks_exact_mut(VECTOR) {
            let [even_a, even_b, odd_a, odd_b] = words.map(|x| _mm256_and_si256(x, mask));
            let a = _mm256_or_si256(even_a, _mm256_slli_epi64::<16>(odd_a));
            let b = _mm256_or_si256(even_b, _mm256_slli_epi64::<16>(odd_b));
            let both = _mm256_shuffle_ps::<0x88>(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
            let digits = _mm256_sub_epi16(_mm256_castps_si256(both), _mm256_set1_epi16(half as i16));
            // SAFETY: sixteen digits.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), digits) };
            words = words.map(|x| _mm256_srl_epi64(x, bits));
        }
    }
}
