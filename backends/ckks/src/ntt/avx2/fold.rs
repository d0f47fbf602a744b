use std::arch::x86_64::*;

use crate::arithmetic::Modulus;
use crate::kernels::Avx2;
use crate::kernels::lanes::{Lanes, to_float};

/// Replaces `x_j` and `x_(N-j)` by `x_j + w x_(N-j)` and `x_(N-j) + w x_j`, from `j = 1` in fours as far as they go; the first
/// `j` that is left.
pub(in crate::ntt) fn fold_pairs(token: Avx2, modulus: Modulus, x: &mut [u64], w: u64) -> usize {
    let _proof = token;
    let fours = (x.len() / 2).saturating_sub(1) / 4;
    // SAFETY: the token proves AVX2 and FMA; the fours end before the middle.
    unsafe { fours_of(modulus, x, w, fours) }
    1 + 4 * fours
}

/// SAFETY: `8 * fours < x.len()`.
#[target_feature(enable = "avx2,fma")]
unsafe fn fours_of(modulus: Modulus, x: &mut [u64], w: u64, fours: usize) {
    let lanes = Lanes::new(modulus);
    let w = _mm256_set1_pd(modulus.centered(w) as f64);
    let (start, n) = (x.as_mut_ptr(), x.len());
    // At most 1 + 5/8 before the reduction, in multiples of q.
    let sum = |x, y| lanes.to_residue(lanes.reduce(_mm256_add_pd(x, lanes.mul(y, w))));
    for four in 0..fours {
        let j = 1 + 4 * four;
        // SAFETY: j + 4 <= N/2, and N - j - 3 > N/2.
        unsafe {
            let (low, high) = (start.add(j), start.add(n - j - 3));
            let x = to_float(_mm256_loadu_si256(low.cast()));
            let y = to_float(reversed(_mm256_loadu_si256(high.cast())));
            _mm256_storeu_si256(low.cast(), sum(x, y));
            _mm256_storeu_si256(high.cast(), reversed(sum(y, x)));
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn reversed(x: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b00_01_10_11>(x)
}
