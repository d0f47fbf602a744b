//! The transform in floats, four at a time.
//!
//! A product of a value `<= b` and a centred twiddle factor is `<= 1/2 + b/8` ([`Lanes::mul`]), where `<= b` bounds a magnitude
//! in multiples of `q`, here and below. Sums are left unreduced, up to 4.
//!
//! Passes are radix-4, depth first, so that a block stays in the cache that it fits in; the last four or five stages of a
//! block run in registers. Coefficients live as floats in the memory of the residues between the first and last pass.

mod fold;

use std::arch::x86_64::*;
use std::sync::Arc;

use super::Powers;
use crate::arithmetic::Modulus;
use crate::kernels::Avx2;
use crate::kernels::lanes::{Lanes, to_float};

pub(super) use fold::fold_pairs;

/// The smallest ring with a radix-4 pass and a last pass.
pub(super) const MIN_LOG_N: u32 = 6;

/// Blocks of this many coefficients are transformed breadth first: 16 KiB, half of a usual first cache.
const CACHED: usize = 2048;

#[derive(Clone, Debug)]
pub(super) struct Twiddles {
    token: Avx2,
    modulus: Modulus,
    /// Twiddle factors, centred; in the second half, every eight are stored even indices first.
    forward: Arc<[f64]>,
    inverse: Arc<[f64]>,
    /// What the inverse transform multiplies by, and that times the factor of its last stage; centred.
    scales: [f64; 2],
}

impl Twiddles {
    pub(super) fn new(token: Avx2, modulus: Modulus, powers: &Powers) -> Self {
        let centered = |w| modulus.centered(w) as f64;
        let list = |powers: &Vec<u64>| {
            let mut floats: Vec<f64> = powers.iter().map(|&w| centered(w)).collect();
            for eight in floats[powers.len() / 2..].chunks_exact_mut(8) {
                let [a, b, c, d, e, f, g, h] = [0, 2, 4, 6, 1, 3, 5, 7].map(|i| eight[i]);
                eight.copy_from_slice(&[a, b, c, d, e, f, g, h]);
            }
            Arc::from(floats)
        };
        let forward: Arc<[f64]> = list(&powers.forward);
        let inverse = powers.inverse.as_ref().map_or_else(|| forward.clone(), list);
        let last = powers.inverse.as_ref().unwrap_or(&powers.forward)[1];
        let scales = [centered(powers.scale), centered(modulus.mul(powers.scale, last))];
        Self { token, modulus, forward, inverse, scales }
    }

    pub(super) fn forward(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.forward.len());
        let _proof = self.token;
        // SAFETY: the token proves AVX2 and FMA; the polynomial is as long as the table.
        unsafe { Transform::new(self, &self.forward).forward(a.as_mut_ptr().cast(), a.len()) }
    }

    pub(super) fn inverse(&self, a: &mut [u64]) {
        assert_eq!(a.len(), self.inverse.len());
        let _proof = self.token;
        // SAFETY: as above.
        unsafe { Transform::new(self, &self.inverse).inverse(a.as_mut_ptr().cast(), a.len()) }
    }
}

/// What every butterfly needs. Blocks are numbered as in a heap: the whole polynomial is block 1, the halves of block `k`
/// are `2k` and `2k + 1`, and the first stage in block `k` multiplies by `powers[k]`.
#[derive(Clone, Copy)]
struct Transform {
    powers: *const f64,
    scales: [f64; 2],
    lanes: Lanes,
}

impl Transform {
    #[target_feature(enable = "avx2,fma")]
    fn new(twiddles: &Twiddles, powers: &[f64]) -> Self {
        Self { powers: powers.as_ptr(), scales: twiddles.scales, lanes: Lanes::new(twiddles.modulus) }
    }

    /// SAFETY for all below: `a` points to the block `k` of `len` coefficients of a polynomial as long as the table.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn forward(self, a: *mut f64, n: usize) {
        // SAFETY: the quarters of block 1 are the blocks 4..8.
        unsafe {
            self.split::<true>(a, n / 4, 1);
            for child in 0..4 {
                self.forward_block(a.add(child * (n / 4)), n / 4, 4 + child);
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn forward_block(self, a: *mut f64, len: usize, k: usize) {
        // SAFETY: the quarters of block k are the blocks 4k..4k+4.
        unsafe {
            if len <= CACHED {
                return self.forward_cached(a, len, k);
            }
            self.split::<false>(a, len / 4, k);
            for child in 0..4 {
                self.forward_block(a.add(child * (len / 4)), len / 4, 4 * k + child);
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn forward_cached(self, a: *mut f64, len: usize, k: usize) {
        let (mut blocks, mut size) = (1, len);
        // SAFETY: block k consists of `blocks` blocks numbered from `k * blocks`, `size` long each.
        unsafe {
            while size > 32 {
                for i in 0..blocks {
                    self.split::<false>(a.add(i * size), size / 4, k * blocks + i);
                }
                (blocks, size) = (blocks * 4, size / 4);
            }
            for i in 0..blocks {
                match size {
                    32 => self.forward_32(a.add(i * 32), k * blocks + i),
                    _ => self.forward_16(a.add(i * 16), k * blocks + i),
                }
            }
        }
    }

    /// Two stages: block `k` of `4 * quarter` floats becomes its four quarters. In and out `<= 2.4`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn split<const FIRST: bool>(self, a: *mut f64, quarter: usize, k: usize) {
        // SAFETY: j + 4 <= quarter, a multiple of 4.
        unsafe {
            let w = self.split_powers(k);
            for j in (0..quarter).step_by(4) {
                let at = a.add(j);
                let load = |i: usize| match FIRST {
                    true => to_float(_mm256_loadu_si256(at.add(i * quarter).cast())),
                    false => _mm256_loadu_pd(at.add(i * quarter)),
                };
                let mut x = [load(0), load(1), load(2), load(3)];
                if !FIRST {
                    x[0] = self.lanes.reduce(x[0]);
                }
                let y = self.butterfly_4(x, w);
                for (i, y) in y.into_iter().enumerate() {
                    _mm256_storeu_pd(at.add(i * quarter), y);
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn split_powers(self, k: usize) -> [__m256d; 3] {
        // SAFETY: blocks 2k and 2k + 1 have a first stage too.
        unsafe { [self.power(k), self.power(2 * k), self.power(2 * k + 1)] }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn power(self, k: usize) -> __m256d {
        // SAFETY: k is the number of a block with a first stage.
        unsafe { _mm256_broadcast_sd(&*self.powers.add(k)) }
    }

    /// The last four stages.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn forward_16(self, a: *mut f64, k: usize) {
        // SAFETY: sixteen floats.
        unsafe {
            let load = |i: usize| _mm256_loadu_pd(a.add(4 * i));
            let x = [self.lanes.reduce(load(0)), load(1), load(2), load(3)];
            let x = self.butterfly_4(x, self.split_powers(k));
            self.forward_last(a, x, k);
        }
    }

    /// The last five stages.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn forward_32(self, a: *mut f64, k: usize) {
        // SAFETY: 32 floats.
        unsafe {
            let load = |i: usize| _mm256_loadu_pd(a.add(4 * i));
            let w = self.power(k);
            let (x0, x4) = self.butterfly(self.lanes.reduce(load(0)), load(4), w);
            let (x1, x5) = self.butterfly(self.lanes.reduce(load(1)), load(5), w);
            let (x2, x6) = self.butterfly(load(2), load(6), w);
            let (x3, x7) = self.butterfly(load(3), load(7), w);
            let low = self.butterfly_4([x0, x1, x2, x3], self.split_powers(2 * k));
            self.forward_last(a, low, 2 * k);
            let high = self.butterfly_4([x4, x5, x6, x7], self.split_powers(2 * k + 1));
            self.forward_last(a.add(16), high, 2 * k + 1);
        }
    }

    /// The last two stages of the block of sixteen `k`, in whose vectors the four blocks of four lie, `<= 3`; stores residues.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn forward_last(self, a: *mut f64, x: [__m256d; 4], k: usize) {
        // SAFETY: sixteen floats; blocks 4k..4k+4 of four and 8k..8k+8 of two.
        unsafe {
            let power = |i: usize| _mm256_loadu_pd(self.powers.add(i));
            let mut x = transpose(x);
            x[0] = self.lanes.reduce(x[0]);
            let y = transpose(self.butterfly_4(x, [power(4 * k), power(8 * k), power(8 * k + 4)]));
            for (i, y) in y.into_iter().enumerate() {
                _mm256_storeu_si256(a.add(4 * i).cast(), self.lanes.to_residue(self.lanes.reduce(y)));
            }
        }
    }

    /// `x[0] <= 1`, others `<= 3` to `<= 2.6 .. 3`.
    #[target_feature(enable = "avx2,fma")]
    fn butterfly_4(self, x: [__m256d; 4], w: [__m256d; 3]) -> [__m256d; 4] {
        let (x0, x2) = self.butterfly(x[0], x[2], w[0]);
        let (x1, x3) = self.butterfly(x[1], x[3], w[0]);
        let (y0, y1) = self.butterfly(x0, x1, w[1]);
        let (y2, y3) = self.butterfly(x2, x3, w[2]);
        [y0, y1, y2, y3]
    }

    #[target_feature(enable = "avx2,fma")]
    fn butterfly(self, x: __m256d, y: __m256d, w: __m256d) -> (__m256d, __m256d) {
        let product = self.lanes.mul_known(y, w);
        (_mm256_add_pd(x, product), _mm256_sub_pd(x, product))
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn inverse(self, a: *mut f64, n: usize) {
        // SAFETY: as for `forward`.
        unsafe {
            for child in 0..4 {
                self.inverse_block(a.add(child * (n / 4)), n / 4, 7 - child);
            }
            self.join_last(a, n / 4);
        }
    }

    /// The inverse reads the powers backwards: here and below `k` is not the number of the block but its mirror image among the
    /// blocks of its size, and differences are taken the other way round for the sign.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn inverse_block(self, a: *mut f64, len: usize, k: usize) {
        // SAFETY: the quarters of block k are the blocks 4k..4k+4.
        unsafe {
            if len <= CACHED {
                return self.inverse_cached(a, len, k);
            }
            for child in 0..4 {
                self.inverse_block(a.add(child * (len / 4)), len / 4, 4 * k + 3 - child);
            }
            self.join(a, len / 4, k);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn inverse_cached(self, a: *mut f64, len: usize, k: usize) {
        let mut size = if len.trailing_zeros() % 2 == 1 { 32 } else { 16 };
        let mut blocks = len / size;
        // SAFETY: the mirror images of block k's blocks are numbered down from `(k + 1) * blocks - 1`.
        unsafe {
            for i in 0..blocks {
                match size {
                    32 => self.inverse_32(a.add(i * 32), (k + 1) * blocks - 1 - i),
                    _ => self.inverse_16(a.add(i * 16), (k + 1) * blocks - 1 - i),
                }
            }
            while size < len {
                (blocks, size) = (blocks / 4, size * 4);
                for i in 0..blocks {
                    self.join(a.add(i * size), size / 4, (k + 1) * blocks - 1 - i);
                }
            }
        }
    }

    /// The first two stages of a block of sixteen: from residues to floats `<= 1`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn inverse_first(self, a: *const f64, k: usize) -> [__m256d; 4] {
        // SAFETY: as for `forward_last`. Rows are taken in reverse, for the mirrored powers.
        unsafe {
            let load = |i: usize| to_float(_mm256_loadu_si256(a.add(4 * i).cast()));
            let power = |i: usize| _mm256_loadu_pd(self.powers.add(i));
            let x = transpose([load(3), load(2), load(1), load(0)]);
            let y = self.inverse_butterfly_4(x, [power(4 * k), power(8 * k), power(8 * k + 4)]);
            let [y3, y2, y1, y0] = transpose(y);
            [y0, y1, y2, y3]
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn inverse_16(self, a: *mut f64, k: usize) {
        // SAFETY: sixteen floats.
        unsafe {
            let x = self.inverse_first(a, k);
            let y = self.inverse_butterfly_4(x, self.split_powers(k));
            for (i, y) in y.into_iter().enumerate() {
                _mm256_storeu_pd(a.add(4 * i), y);
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn inverse_32(self, a: *mut f64, k: usize) {
        // SAFETY: 32 floats.
        unsafe {
            let low = self.inverse_butterfly_4(self.inverse_first(a, 2 * k + 1), self.split_powers(2 * k + 1));
            let high = self.inverse_butterfly_4(self.inverse_first(a.add(16), 2 * k), self.split_powers(2 * k));
            let w = self.power(k);
            for i in 0..4 {
                let (sum, difference) = self.inverse_butterfly(low[i], high[i], w);
                _mm256_storeu_pd(a.add(4 * i), self.lanes.fold(sum));
                _mm256_storeu_pd(a.add(4 * i + 16), difference);
            }
        }
    }

    /// Two stages: four quarters become a block. In and out `<= 1`.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn join(self, a: *mut f64, quarter: usize, k: usize) {
        // SAFETY: j + 4 <= quarter, a multiple of 4.
        unsafe {
            let w = self.split_powers(k);
            for j in (0..quarter).step_by(4) {
                let at = a.add(j);
                let load = |i: usize| _mm256_loadu_pd(at.add(i * quarter));
                let y = self.inverse_butterfly_4([load(0), load(1), load(2), load(3)], w);
                for (i, y) in y.into_iter().enumerate() {
                    _mm256_storeu_pd(at.add(i * quarter), y);
                }
            }
        }
    }

    /// The last two stages, with the division by `N`; stores residues.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn join_last(self, a: *mut f64, quarter: usize) {
        // SAFETY: as for `join`; the mirror image of block 1 is itself.
        unsafe {
            let [_, w_high, w_low] = self.split_powers(1);
            let [scale, scale_w] = self.scales.map(|s| _mm256_set1_pd(s));
            for j in (0..quarter).step_by(4) {
                let at = a.add(j);
                let load = |i: usize| _mm256_loadu_pd(at.add(i * quarter));
                let (x0, x1) = self.inverse_butterfly(load(0), load(1), w_low);
                let (x2, x3) = self.inverse_butterfly(load(2), load(3), w_high);
                let store = |i: usize, x, w| {
                    _mm256_storeu_si256(at.add(i * quarter).cast(), self.lanes.to_residue(self.lanes.mul(x, w)));
                };
                store(0, _mm256_add_pd(x0, x2), scale);
                store(1, _mm256_add_pd(x1, x3), scale);
                store(2, _mm256_sub_pd(x2, x0), scale_w);
                store(3, _mm256_sub_pd(x3, x1), scale_w);
            }
        }
    }

    /// `<= 1` to `<= 1`.
    #[target_feature(enable = "avx2,fma")]
    fn inverse_butterfly_4(self, x: [__m256d; 4], w: [__m256d; 3]) -> [__m256d; 4] {
        let (x0, x1) = self.inverse_butterfly(x[0], x[1], w[2]);
        let (x2, x3) = self.inverse_butterfly(x[2], x[3], w[1]);
        let (y0, y2) = self.inverse_butterfly(x0, x2, w[0]);
        let (y1, y3) = self.inverse_butterfly(x1, x3, w[0]);
        [self.lanes.reduce(y0), self.lanes.fold(y1), y2, y3]
    }

    #[target_feature(enable = "avx2,fma")]
    fn inverse_butterfly(self, x: __m256d, y: __m256d, w: __m256d) -> (__m256d, __m256d) {
        (_mm256_add_pd(x, y), self.lanes.mul_known(_mm256_sub_pd(y, x), w))
    }
}

#[target_feature(enable = "avx2,fma")]
fn transpose(x: [__m256d; 4]) -> [__m256d; 4] {
    let (a, b) = (_mm256_unpacklo_pd(x[0], x[1]), _mm256_unpackhi_pd(x[0], x[1]));
    let (c, d) = (_mm256_unpacklo_pd(x[2], x[3]), _mm256_unpackhi_pd(x[2], x[3]));
    [
        _mm256_permute2f128_pd::<0x20>(a, c),
        _mm256_permute2f128_pd::<0x20>(b, d),
        _mm256_permute2f128_pd::<0x31>(a, c),
        _mm256_permute2f128_pd::<0x31>(b, d),
    ]
}
