//! The change of RNS base; [`BaseConversion`] documents it. Every function does as many coefficients as fill vectors and returns
//! their number.

use std::arch::x86_64::*;

use super::pointwise::{load, store};
use crate::kernels::lanes::{Lanes, WideLanes, to_float, to_word};
use crate::kernels::{Avx2, BaseConversion};

/// Coefficients at a time whose quotients stay in the first cache.
const TILE: usize = 256;

pub(in crate::kernels) fn scale(
    _: Avx2,
    conversion: &BaseConversion,
    residues: &mut [&mut [u64]],
    quotients: &mut [u64],
) -> usize {
    let len = quotients.len() / 4 * 4;
    // SAFETY: the token proves AVX2 and FMA.
    unsafe { scale_vectors(conversion, residues, &mut quotients[..len]) };
    len
}

#[target_feature(enable = "avx2,fma")]
fn scale_vectors(conversion: &BaseConversion, residues: &mut [&mut [u64]], quotients: &mut [u64]) {
    let round = Lanes::new(conversion.from[0]);
    for (tile, quotients) in quotients.chunks_mut(TILE).enumerate() {
        let mut sums = [_mm256_setzero_pd(); TILE / 4];
        for (i, row) in residues.iter_mut().enumerate() {
            let q = conversion.from[i];
            let f = Lanes::new(q);
            let factor = _mm256_set1_pd(q.centered(conversion.cofactor_inverses[i]) as f64);
            let inverse = _mm256_set1_pd(q.inverse_f64());
            let row = &mut row[tile * TILE..][..quotients.len()];
            for (sum, x) in sums.iter_mut().zip(row.chunks_exact_mut(4)) {
                let y = f.canonical(f.mul(to_float(load(x)), factor));
                *sum = _mm256_add_pd(*sum, _mm256_mul_pd(y, inverse));
                store(x, to_word(y));
            }
        }
        for (out, sum) in quotients.chunks_exact_mut(4).zip(sums) {
            store(out, to_word(round.nearest(sum)));
        }
    }
}

pub(in crate::kernels) fn combine(
    _: Avx2,
    conversion: &BaseConversion,
    j: usize,
    scaled: &[&[u64]],
    quotients: &[u64],
    out: &mut [u64],
) -> usize {
    let len = out.len() / 4 * 4;
    // SAFETY: the token proves AVX2 and FMA.
    unsafe {
        match scaled {
            [x, y] => combine_vectors(conversion, j, &[x, y, quotients], &mut out[..len]),
            [x, y, z] => combine_vectors(conversion, j, &[x, y, z, quotients], &mut out[..len]),
            _ => combine_vectors(conversion, j, &[scaled, &[quotients]].concat()[..], &mut out[..len]),
        }
    }
    len
}

/// The sum of rows times cofactors. A row is below the largest source prime, a cofactor at most half of the target.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn combine_vectors(conversion: &BaseConversion, j: usize, rows: &[&[u64]], out: &mut [u64]) {
    let p = conversion.to[j];
    let largest = conversion.from.iter().fold(0.0, |largest, q| q.as_f64().max(largest));
    let f = WideLanes::new(p, largest * p.as_f64() / 2.0, rows.len());
    let cofactors = &conversion.centered_cofactors[j * rows.len()..][..rows.len()];
    for (at, out) in out.chunks_mut(8).enumerate() {
        let mut sums = [f.from_low(_mm256_setzero_pd()); 2];
        let mut room = f.terms;
        for (row, &cofactor) in rows.iter().zip(cofactors) {
            if room == 0 {
                sums = sums.map(|sum| f.from_low(f.reduce(sum)));
                room = f.terms;
            }
            room -= 1;
            let cofactor = _mm256_set1_pd(cofactor);
            for (sum, x) in sums.iter_mut().zip(row[8 * at..].chunks_exact(4)) {
                *sum = f.mul_add(*sum, to_float(load(x)), cofactor);
            }
        }
        for (out, sum) in out.chunks_exact_mut(4).zip(sums) {
            store(out, f.lanes.to_residue(f.reduce(sum)));
        }
    }
}
