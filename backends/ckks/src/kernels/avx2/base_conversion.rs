//! The change of RNS base; [`BaseConversion`] documents it.

use std::arch::x86_64::*;

use super::pointwise::{load, store};
use crate::kernels::lanes::{Lanes, to_float};
use crate::kernels::{Avx2, BaseConversion};

/// Coefficients converted at a time: with up to a dozen source primes, their scaled residues stay in the first cache.
const TILE: usize = 128;
const VECTORS: usize = TILE / 4;

/// Converts as many coefficients as fill vectors and returns their number.
pub(in crate::kernels) fn convert(
    _: Avx2,
    conversion: &BaseConversion,
    input: &[&[u64]],
    out: &mut [&mut [u64]],
) -> usize {
    let len = input[0].len() / 4 * 4;
    // SAFETY: the token proves AVX2 and FMA.
    unsafe { convert_vectors(conversion, input, out, len) };
    len
}

#[target_feature(enable = "avx2,fma")]
fn convert_vectors(conversion: &BaseConversion, input: &[&[u64]], out: &mut [&mut [u64]], len: usize) {
    let terms = input.len() + 1;
    let mut scaled = vec![_mm256_setzero_pd(); terms * VECTORS];
    for start in (0..len).step_by(TILE) {
        let part = start..len.min(start + TILE);
        scale(conversion, input, part.clone(), &mut scaled);
        for (j, out) in out.iter_mut().enumerate() {
            let f = Lanes::new(conversion.to[j]);
            let cofactors = &conversion.centered_cofactors[j * terms..][..terms];
            combine(f, &scaled, cofactors, &mut out[part.clone()]);
        }
    }
}

/// The `y_i` of a tile, then `v`, one row of vectors each.
#[target_feature(enable = "avx2,fma")]
fn scale(conversion: &BaseConversion, input: &[&[u64]], part: std::ops::Range<usize>, scaled: &mut [__m256d]) {
    let (rows, quotients) = scaled.split_at_mut(input.len() * VECTORS);
    quotients.fill(_mm256_setzero_pd());
    for (i, row) in rows.chunks_exact_mut(VECTORS).enumerate() {
        let q = conversion.from[i];
        let f = Lanes::new(q);
        let factor = _mm256_set1_pd(q.centered(conversion.cofactor_inverses[i]) as f64);
        let inverse = _mm256_set1_pd(q.inverse_f64());
        let x = input[i][part.clone()].chunks_exact(4);
        for ((y, quotient), x) in row.iter_mut().zip(&mut *quotients).zip(x) {
            *y = f.canonical(f.mul(to_float(load(x)), factor));
            *quotient = _mm256_add_pd(*quotient, _mm256_mul_pd(*y, inverse));
        }
    }
    let f = Lanes::new(conversion.from[0]);
    quotients.iter_mut().for_each(|v| *v = f.nearest(*v));
}

/// The sum of rows times cofactors. A row is below `2^50` and a cofactor at most half of the modulus `p`, so that a product is
/// at most `5/8 p`, and eight of them and a reduced sum stay below `2^53`.
#[target_feature(enable = "avx2,fma")]
fn combine(f: Lanes, scaled: &[__m256d], cofactors: &[f64], out: &mut [u64]) {
    for (pair, out) in out.chunks_mut(8).enumerate() {
        let mut sums = [_mm256_setzero_pd(); 2];
        for (i, (row, &cofactor)) in scaled.chunks_exact(VECTORS).zip(cofactors).enumerate() {
            if i % 8 == 7 {
                sums = sums.map(|sum| f.reduce(sum));
            }
            let cofactor = _mm256_set1_pd(cofactor);
            for (sum, &y) in sums.iter_mut().zip(&row[2 * pair..]) {
                *sum = _mm256_add_pd(*sum, f.mul(y, cofactor));
            }
        }
        for (out, sum) in out.chunks_exact_mut(4).zip(sums) {
            store(out, f.to_residue(f.reduce(sum)));
        }
    }
}
