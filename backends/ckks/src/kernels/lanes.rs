//! Arithmetic modulo a prime in the four lanes of a vector of floats.
//!
//! A residue `x` times `w`, `|x w| < 2^51 q`, is `h + l` exactly, `h = x w` rounded and `l = fma(x, w, -h)`; with `c` the
//! integer next to `h/q`, `h - c q + l` is congruent to `x w`, exact, and at most `(1/2 + 2^-52 |x w|/q) q` in magnitude
//! (van der Hoeven, Lecerf, Quintin, "Modular SIMD arithmetic in Mathemagix", 2016, section 3.2).

use std::arch::x86_64::*;

use crate::arithmetic::Modulus;

/// A modulus, broadcast. Floats are integers; "canonical" is in `[0, q)`, "reduced" in `[-q, q]`.
#[derive(Clone, Copy)]
pub(crate) struct Lanes {
    pub(crate) q: __m256d,
    q_inverse: __m256d,
    /// `1.5 * 2^52`: adding it rounds to an integer.
    round: __m256d,
}

/// The last bits of this float plus an integer below `2^52` are that integer.
const TWO_52: f64 = 4_503_599_627_370_496.0;

impl Lanes {
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn new(modulus: Modulus) -> Self {
        Self {
            q: _mm256_set1_pd(modulus.as_f64()),
            q_inverse: _mm256_set1_pd(modulus.inverse_f64()),
            round: _mm256_set1_pd(6_755_399_441_055_744.0),
        }
    }

    /// `x w` modulo `q`. With `|x| <= b q` and `|w| <= q/2`, at most `(1/2 + b/8) q` for `b <= 4`; with both up to `q`, at
    /// most `3/4 q`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul(self, x: __m256d, w: __m256d) -> __m256d {
        let high = _mm256_mul_pd(x, w);
        let low = _mm256_fmsub_pd(x, w, high);
        _mm256_add_pd(self.reduce(high), low)
    }

    /// `x` modulo `q`, for `|x| < 2^51 q` whose difference from a multiple of `q` is a float; at most `q/2`, up to the error of
    /// the quotient, `2^-52 |x|`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn reduce(self, x: __m256d) -> __m256d {
        let quotient = self.round(_mm256_fmadd_pd(x, self.q_inverse, self.round));
        _mm256_fnmadd_pd(quotient, self.q, x)
    }

    /// The integer nearest to `x`, ties to even, `|x| < 2^51`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn nearest(self, x: __m256d) -> __m256d {
        self.round(_mm256_add_pd(x, self.round))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn round(self, x: __m256d) -> __m256d {
        _mm256_sub_pd(x, self.round)
    }

    /// From `[-2q, 2q]` to reduced: one `q` towards zero.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn fold(self, x: __m256d) -> __m256d {
        let sign = _mm256_and_pd(x, _mm256_set1_pd(-0.0));
        _mm256_sub_pd(x, _mm256_or_pd(sign, self.q))
    }

    /// From `(-q, q)`, no negative zero, to canonical.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn canonical(self, x: __m256d) -> __m256d {
        _mm256_blendv_pd(x, _mm256_add_pd(x, self.q), x)
    }

    /// From `(-q, q)`, no negative zero, to the canonical word.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn to_residue(self, x: __m256d) -> __m256i {
        let zero = _mm256_set1_pd(TWO_52);
        let offset = _mm256_blendv_pd(zero, _mm256_add_pd(zero, self.q), x);
        _mm256_xor_si256(_mm256_castpd_si256(_mm256_add_pd(x, offset)), _mm256_castpd_si256(zero))
    }

    /// Canonical words plus canonical words.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn add_words(self, x: __m256i, y: __m256i) -> __m256i {
        let sum = _mm256_add_epi64(x, y);
        let q = self.q_word();
        let less = _mm256_sub_epi64(sum, q);
        select_negative(less, sum, less)
    }

    /// Canonical words minus canonical words.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn sub_words(self, x: __m256i, y: __m256i) -> __m256i {
        let difference = _mm256_sub_epi64(x, y);
        let q = self.q_word();
        select_negative(difference, _mm256_add_epi64(difference, q), difference)
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn q_word(self) -> __m256i {
        let zero = _mm256_set1_pd(TWO_52);
        _mm256_xor_si256(_mm256_castpd_si256(_mm256_add_pd(self.q, zero)), _mm256_castpd_si256(zero))
    }
}

/// `b` where `sign` is negative, else `a`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn select_negative(a: __m256i, b: __m256i, sign: __m256i) -> __m256i {
    let [a, b, sign] = [a, b, sign].map(|x| _mm256_castsi256_pd(x));
    _mm256_castpd_si256(_mm256_blendv_pd(a, b, sign))
}

/// Words below `2^52` as floats.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn to_float(x: __m256i) -> __m256d {
    let two_52 = _mm256_set1_pd(TWO_52);
    _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(x, _mm256_castpd_si256(two_52))), two_52)
}
