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
    let len = out.len() / 8 * 8;
    let p = conversion.to[j];
    let largest = conversion.from.iter().fold(0.0, |largest, q| q.as_f64().max(largest));
    let cofactors = &conversion.centered_cofactors[j * (scaled.len() + 1)..][..scaled.len() + 1];
    let out = &mut out[..len];
    // SAFETY: the token proves AVX2 and FMA.
    unsafe {
        // A row is below the largest source prime, a cofactor at most half of the target. A quotient is at most the number of the
        // other rows, and so counts as one more in the largest residue of each.
        let f = WideLanes::new(p, (largest + 1.0) * p.as_f64() / 2.0, scaled.len());
        match *scaled {
            [a, b] if f.terms == 2 => combine_rows(f, [a, b, quotients], cofactors, out),
            [a, b, c] if f.terms == 3 => combine_rows(f, [a, b, c, quotients], cofactors, out),
            [a, b, c, d] if f.terms == 4 => combine_rows(f, [a, b, c, d, quotients], cofactors, out),
            _ => combine_vectors(f, &[scaled, &[quotients]].concat(), cofactors, out),
        }
    }
    len
}

/// The sum of so few rows times cofactors that it is reduced only once.
#[target_feature(enable = "avx2,fma")]
fn combine_rows<const R: usize>(f: WideLanes, rows: [&[u64]; R], cofactors: &[f64], out: &mut [u64]) {
    let mut factors = [_mm256_setzero_pd(); R];
    factors.iter_mut().zip(cofactors).for_each(|(factor, &cofactor)| *factor = _mm256_set1_pd(cofactor));
    let rows = rows.map(|row| row[..out.len()].as_ptr());
    for at in (0..out.len() / 8 * 8).step_by(8) {
        let mut sums = [f.with_low(_mm256_setzero_pd()); 2];
        for r in 0..R {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: every row is as long as `out`, and at + 8 at most that.
                let x = unsafe { _mm256_loadu_si256(rows[r].add(at + 4 * v).cast()) };
                *sum = f.mul_add(*sum, to_float(x), factors[r]);
            }
        }
        for (v, sum) in sums.into_iter().enumerate() {
            store(&mut out[at + 4 * v..], f.lanes.to_residue(f.reduce(sum)));
        }
    }
}

/// The sum of rows times cofactors.
#[target_feature(enable = "avx2,fma")]
fn combine_vectors(f: WideLanes, rows: &[&[u64]], cofactors: &[f64], out: &mut [u64]) {
    for (at, out) in out.chunks_mut(8).enumerate() {
        let mut sums = [f.with_low(_mm256_setzero_pd()); 2];
        let mut room = f.terms;
        for (row, &cofactor) in rows.iter().zip(cofactors) {
            if room == 0 {
                sums = sums.map(|sum| f.with_low(f.reduce(sum)));
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
