//! From sums of products to residues, and other things that both matrix kernels do.

use std::arch::x86_64::*;

use crate::arithmetic::Modulus;
use crate::kernels::lanes::Lanes;

/// Bound on a sum of products, in a float.
const LIMIT: f64 = 4_503_599_627_370_496.0;

/// What sums become residues with.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) lanes: Lanes,
    pub(super) q: f64,
    weight: __m256d,
}

impl Sums {
    /// For sums in two halves, the upper one worth `2^shift` times its value.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn new(q: Modulus, shift: u32) -> Self {
        Self { lanes: Lanes::new(q), q: q.as_f64(), weight: _mm256_set1_pd((1u64 << shift) as f64) }
    }

    /// How many terms of up to `largest` can be added to a reduced sum.
    pub(super) fn terms(self, largest: f64) -> usize {
        ((LIMIT - self.q) / largest.max(1.0)) as usize
    }

    /// Upper and lower half together. The upper times a power of two is a float, and its quotient by `q` is below `2^51`, since `q`
    /// has at most two bits fewer than the halves.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn join(self, [high, low]: [__m256d; 2]) -> __m256d {
        _mm256_add_pd(self.lanes.reduce(_mm256_mul_pd(high, self.weight)), low)
    }

    /// Stores the residues of up to four sums, or adds them to what is there.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn store(self, sum: __m256d, again: bool, out: &mut [u64]) {
        let mut residues = self.lanes.to_residue(self.lanes.reduce(sum));
        if again {
            residues = self.lanes.add_words(residues, load_part(out));
        }
        store_part(residues, out);
    }
}

/// Asks for the lines of a slice ahead of time: columns and rows lie on pages of their own, where the machine does not guess.
#[target_feature(enable = "avx2,fma")]
pub(super) fn prefetch(x: &[u64]) {
    for line in x.chunks(8) {
        // SAFETY: a prefetch has no effect that a program can see.
        #[allow(unused_unsafe, reason = "safe in later versions of the compiler only")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast())
        }
    }
}

/// Up to four words, zeros after the last.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn load_part(x: &[u64]) -> __m256i {
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
#[inline]
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
