//! The machine's limit, to compare kernels with.

use std::arch::x86_64::*;

use crate::kernels::Avx2;

/// Enough to fill two units with a latency of up to five, with registers to spare.
const CHAINS: usize = 12;

pub(in crate::kernels) fn fused_multiply_adds(_: Avx2, rounds: usize) -> (usize, f64) {
    #[target_feature(enable = "avx2,fma")]
    fn vectors(rounds: usize) -> f64 {
        let (factor, term) = (_mm256_set1_pd(0.5), _mm256_set1_pd(1.0));
        let mut x = [_mm256_setzero_pd(); CHAINS];
        for _ in 0..rounds {
            x = x.map(|x| _mm256_fmadd_pd(x, factor, term));
        }
        let sum = x.into_iter().fold(_mm256_setzero_pd(), |sum, x| _mm256_add_pd(sum, x));
        _mm256_cvtsd_f64(sum)
    }
    // SAFETY: the token proves AVX2 and FMA.
    (4 * CHAINS * rounds, unsafe { vectors(rounds) })
}
