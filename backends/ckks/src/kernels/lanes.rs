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

    /// As [`Lanes::mul`], with the same bounds, for a `w` that is known before `x`: the quotient is computed beside the product, not
    /// from it, which takes one instruction more, unless `w` serves several products, and a sixth off the way from `x` to the result.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul_known(self, x: __m256d, w: __m256d) -> __m256d {
        let high = _mm256_mul_pd(x, w);
        let low = _mm256_fmsub_pd(x, w, high);
        let quotient = self.round(_mm256_fmadd_pd(x, _mm256_mul_pd(w, self.q_inverse), self.round));
        _mm256_add_pd(_mm256_fnmadd_pd(quotient, self.q, high), low)
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

/// Sums of products that are reduced once for several terms.
///
/// The upper half of a sum starts at `1.5 2^52 U`, `U` a power of two. A fused multiply-add to it rounds the product to a multiple of
/// `U`, and the difference of the upper halves and a second one give what was rounded off, at most `U/2`: both are exact, and take
/// four instructions in place of the seven of [`Lanes::mul`] and an addition.
#[derive(Clone, Copy)]
pub(crate) struct WideLanes {
    pub(crate) lanes: Lanes,
    start: __m256d,
    /// How many products may be added to [`WideLanes::with_low`] of a reduced or canonical number.
    pub(crate) terms: usize,
}

/// The upper half, then the lower.
pub(crate) type Wide = [__m256d; 2];

impl WideLanes {
    /// For up to `wanted` products of magnitude up to `bound`, at most `2^50 q`, and one more if the magnitudes' sum stays the same;
    /// `terms` is at least three, or `wanted`.
    ///
    /// With `n` terms, the upper half stays in the binade of its start for `n bound <= 2^51 U`, its quotient by `q` is off by at most
    /// 3/2 for `n bound <= 2^52 q`, and the lower half plus the upper one's residue is a float for `(n + 1) U/2 + 4q <= 2^53`.
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn new(modulus: Modulus, bound: f64, wanted: usize) -> Self {
        let (q, two_51) = (modulus.as_f64(), TWO_52 / 2.0);
        let mut terms = (wanted.clamp(1, 256) as f64).min((2.0 * two_51 * q / bound).floor());
        let unit = |terms: f64| {
            let mut unit = 1.0;
            while unit * two_51 < terms * bound {
                unit *= 2.0;
            }
            unit
        };
        while terms > 1.0 && (terms + 1.0) * unit(terms) / 2.0 + 4.0 * q > 2.0 * TWO_52 {
            terms -= 1.0;
        }
        let start = _mm256_set1_pd(1.5 * TWO_52 * unit(terms));
        Self { lanes: Lanes::new(modulus), start, terms: terms as usize }
    }

    /// The sum that is `low`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn with_low(self, low: __m256d) -> Wide {
        [self.start, low]
    }

    /// `sum + x y`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn mul_add(self, [high, low]: Wide, x: __m256d, y: __m256d) -> Wide {
        let next = _mm256_fmadd_pd(x, y, high);
        let rest = _mm256_fmadd_pd(x, y, _mm256_sub_pd(high, next));
        [next, _mm256_add_pd(low, rest)]
    }

    /// The sum modulo `q`, at most `q/2` up to the error of the quotient; never a negative zero if it did not start with one.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(crate) fn reduce(self, [high, low]: Wide) -> __m256d {
        let high = self.lanes.reduce(_mm256_sub_pd(high, self.start));
        self.lanes.reduce(_mm256_add_pd(high, low))
    }
}

/// `b` where `sign` is negative, else `a`.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn select_negative(a: __m256i, b: __m256i, sign: __m256i) -> __m256i {
    let [a, b, sign] = [a, b, sign].map(|x| _mm256_castsi256_pd(x));
    _mm256_castpd_si256(_mm256_blendv_pd(a, b, sign))
}

/// Floats in `[0, 2^52)` as words.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn to_word(x: __m256d) -> __m256i {
    let two_52 = _mm256_set1_pd(TWO_52);
    _mm256_castpd_si256(_mm256_xor_pd(_mm256_add_pd(x, two_52), two_52))
}

/// Words below `2^52` as floats.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(crate) fn to_float(x: __m256i) -> __m256d {
    let two_52 = _mm256_set1_pd(TWO_52);
    _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(x, _mm256_castpd_si256(two_52))), two_52)
}
