//! Arithmetic modulo one prime below `2^50`.
//!
//! A residue is a `u64` in `[0, q)`, called canonical. Residues may be secret: `add`, `sub`, `neg`, `mul`, `reduce` and
//! `from_i64` have neither branches nor memory accesses that depend on them.

use hec_ir::parameters::MAX_PRIME_BITS;

/// A prime `q`, `2^3 < q < 2^50`, with the constants of its reductions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modulus {
    value: u64,
    bits: u32,
    /// `floor(2^64 / q)`: Barrett reduction of one word.
    word_ratio: u64,
    /// `floor(2^(bits + 62) / q)`: Barrett reduction of a product.
    product_ratio: u64,
    /// `2^64 mod q`.
    word_residue: u64,
    float: f64,
    float_inverse: f64,
}

impl Modulus {
    /// The modulus `q`, which must be odd, above `2^3` and below `2^50`; primality is the caller's business and matters
    /// only to [`Modulus::inv`].
    pub const fn new(q: u64) -> Self {
        debug_assert!(q > 8 && q >> MAX_PRIME_BITS == 0 && q % 2 == 1);
        let bits = u64::BITS - q.leading_zeros();
        Self {
            value: q,
            bits,
            word_ratio: ((1u128 << 64) / q as u128) as u64,
            product_ratio: ((1u128 << (bits + 62)) / q as u128) as u64,
            word_residue: ((1u128 << 64) % q as u128) as u64,
            float: q as f64,
            float_inverse: 1.0 / q as f64,
        }
    }

    /// `q`.
    pub const fn value(self) -> u64 {
        self.value
    }

    /// The number of bits of `q`.
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// `q` as a float, exact.
    pub const fn as_f64(self) -> f64 {
        self.float
    }

    /// `1/q`, rounded to nearest.
    pub const fn inverse_f64(self) -> f64 {
        self.float_inverse
    }

    /// `x` for `x < q`, `x - q` for `q <= x < 2q`.
    #[inline(always)]
    pub const fn subtract_once(self, x: u64) -> u64 {
        let d = x.wrapping_sub(self.value);
        d.wrapping_add(self.value & ((d >> 63).wrapping_neg()))
    }

    /// `a + b mod q`.
    #[inline(always)]
    pub const fn add(self, a: u64, b: u64) -> u64 {
        self.subtract_once(a + b)
    }

    /// `a - b mod q`.
    #[inline(always)]
    pub const fn sub(self, a: u64, b: u64) -> u64 {
        let d = a.wrapping_sub(b);
        d.wrapping_add(self.value & ((d >> 63).wrapping_neg()))
    }

    /// `-a mod q`.
    #[inline(always)]
    pub const fn neg(self, a: u64) -> u64 {
        self.sub(0, a)
    }

    /// `a * b mod q`.
    #[inline(always)]
    pub const fn mul(self, a: u64, b: u64) -> u64 {
        self.reduce_product(a as u128 * b as u128)
    }

    /// `a * b + c mod q`.
    #[inline(always)]
    pub const fn mul_add(self, a: u64, b: u64, c: u64) -> u64 {
        self.reduce_product(a as u128 * b as u128 + c as u128)
    }

    /// `p mod q` for `p < q^2 + 2^64` (Barrett, with a quotient that is at most one too small: truncating `p` costs less
    /// than 1/2, truncating the product less than 1, and the ratio's error is negligible).
    #[inline(always)]
    const fn reduce_product(self, p: u128) -> u64 {
        let high = (p >> (self.bits - 2)) as u64;
        let quotient = ((high as u128 * self.product_ratio as u128) >> 64) as u64;
        self.subtract_once((p as u64).wrapping_sub(quotient.wrapping_mul(self.value)))
    }

    /// `x mod q` for any word.
    #[inline(always)]
    pub const fn reduce(self, x: u64) -> u64 {
        let quotient = ((x as u128 * self.word_ratio as u128) >> 64) as u64;
        self.subtract_once(x.wrapping_sub(quotient.wrapping_mul(self.value)))
    }

    /// `x mod q` for any double word.
    #[inline(always)]
    pub const fn reduce_u128(self, x: u128) -> u64 {
        let high = self.reduce((x >> 64) as u64);
        self.reduce_product(high as u128 * self.word_residue as u128 + (x as u64) as u128)
    }

    /// The residue of a signed number.
    #[inline(always)]
    pub const fn from_i64(self, x: i64) -> u64 {
        let residue = self.reduce(x.unsigned_abs());
        self.negate_if(residue, x < 0)
    }

    /// The residue of a signed double word.
    #[inline(always)]
    pub const fn from_i128(self, x: i128) -> u64 {
        let residue = self.reduce_u128(x.unsigned_abs());
        self.negate_if(residue, x < 0)
    }

    /// The residue of a float that is an integer. Exact at every magnitude: the mantissa is reduced and multiplied with
    /// the power of two. Its time depends on the magnitude of `x`. A fraction is truncated; infinities and NaN give 0.
    pub fn from_f64(self, x: f64) -> u64 {
        if x.abs() < 9.0e18 {
            return self.from_i64(x as i64);
        }
        if !x.is_finite() {
            return 0;
        }
        let bits = x.to_bits();
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        let mut exponent = ((bits >> 52) & 0x7ff) as u32 - 1075;
        let mut residue = self.reduce(mantissa);
        while exponent > 0 {
            let step = exponent.min(63);
            residue = self.mul(residue, self.reduce(1 << step));
            exponent -= step;
        }
        self.negate_if(residue, x < 0.0)
    }

    #[inline(always)]
    const fn negate_if(self, residue: u64, negative: bool) -> u64 {
        let mask = (negative as u64).wrapping_neg();
        residue ^ (mask & (residue ^ self.neg(residue)))
    }

    /// The representative of `x` in `[-(q-1)/2, (q-1)/2]`.
    #[inline(always)]
    pub const fn centered(self, x: u64) -> i64 {
        let above = (self.value / 2).wrapping_sub(x) >> 63;
        x.wrapping_sub(self.value & above.wrapping_neg()) as i64
    }

    /// `base^exponent mod q`. Its time depends on the exponent.
    pub const fn pow(self, base: u64, mut exponent: u64) -> u64 {
        let mut base = base;
        let mut result = 1;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.mul(result, base);
            }
            base = self.mul(base, base);
            exponent >>= 1;
        }
        result
    }

    /// `1/a mod q` by Fermat's theorem; 0 for 0. `q` must be prime.
    pub const fn inv(self, a: u64) -> u64 {
        self.pow(a, self.value - 2)
    }

    /// The companion of a constant factor `w` for [`Modulus::mul_shoup`]: `floor(w * 2^64 / q)`.
    pub const fn shoup(self, w: u64) -> u64 {
        (((w as u128) << 64) / self.value as u128) as u64
    }

    /// `a * w mod q` for a constant factor with its [`Modulus::shoup`] companion (Shoup's method, as in Harvey, "Faster
    /// arithmetic for number-theoretic transforms", 2014). `a` may be any word.
    #[inline(always)]
    pub const fn mul_shoup(self, a: u64, w: u64, w_shoup: u64) -> u64 {
        let quotient = ((a as u128 * w_shoup as u128) >> 64) as u64;
        self.subtract_once(a.wrapping_mul(w).wrapping_sub(quotient.wrapping_mul(self.value)))
    }
}

/// A primitive `2N`-th root of unity modulo the prime `q = 1 mod 2N`, `N = 2^log_n`: `g^((q-1)/2N)` for the smallest
/// `g >= 2` that is not a square. Deterministic.
pub fn primitive_root_2n(q: Modulus, log_n: u32) -> u64 {
    let minus_one = q.value - 1;
    let mut g = 2;
    while q.pow(g, minus_one / 2) != minus_one {
        g += 1;
    }
    q.pow(g, minus_one >> (log_n + 1))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hec_ir::parameters::PrimeSearch;
    use proptest::prelude::*;

    /// Primes for rings up to degree `2^log_n`: the smallest that the search finds, one of 40 bits, the two largest.
    pub(crate) fn primes(log_n: u32) -> Vec<Modulus> {
        let mut search = PrimeSearch::new(log_n);
        let smallest = (log_n + 2..50).find_map(|bits| search.take(bits.max(14)));
        let mut found: Vec<u64> = smallest.into_iter().collect();
        found.extend([40, 50, 50].iter().filter_map(|&bits| search.take(bits)));
        found.into_iter().map(Modulus::new).collect()
    }

    /// `n` pseudo-random residues, the same for the same seed.
    pub(crate) fn random(q: Modulus, n: usize, seed: u64) -> Vec<u64> {
        let mut state = seed.wrapping_add(1);
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            q.reduce_u128(u128::from(state) << 20 | u128::from(state >> 41))
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn roots_have_order_2n_and_are_deterministic() {
        for log_n in 3..=17 {
            for q in primes(log_n) {
                let psi = primitive_root_2n(q, log_n);
                assert_eq!(q.pow(psi, 1 << log_n), q.value() - 1);
                assert_eq!(psi, primitive_root_2n(q, log_n));
            }
        }
    }

    #[test]
    fn floats_of_every_magnitude() {
        for q in primes(13) {
            for (mantissa, exponent) in
                [(1i64, 0), (-5, 3), ((1 << 53) - 1, 67), (-(1 << 52) - 1, 130), (7, 62), (-1, 63)]
            {
                let x = mantissa as f64 * 2f64.powi(exponent);
                let exact: num_bigint::BigInt = num_bigint::BigInt::from(mantissa) << exponent;
                let modulus = num_bigint::BigInt::from(q.value());
                let expected = ((exact % &modulus) + &modulus) % &modulus;
                assert_eq!(num_bigint::BigInt::from(q.from_f64(x)), expected, "{x}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_operation_agrees_with_wide_integers(a: u64, b: u64, wide: u128, signed: i64, which in 0usize..4) {
            let q = primes(12)[which];
            let n = u128::from(q.value());
            prop_assert_eq!(u128::from(q.reduce(a)), u128::from(a) % n);
            prop_assert_eq!(u128::from(q.reduce_u128(wide)), wide % n);
            prop_assert_eq!(i128::from(q.from_i64(signed)), i128::from(signed).rem_euclid(n as i128));
            prop_assert_eq!(i128::from(q.from_i128(wide as i128)), (wide as i128).rem_euclid(n as i128));
            prop_assert_eq!(u128::from(q.from_f64(signed as f64)), (signed as f64 as i128).rem_euclid(n as i128) as u128);
            let (x, y) = (q.reduce(a), q.reduce(b));
            prop_assert_eq!(u128::from(q.add(x, y)), u128::from(x + y) % n);
            prop_assert_eq!(u128::from(q.sub(x, y)), (u128::from(x) + n - u128::from(y)) % n);
            prop_assert_eq!(u128::from(q.neg(x)), (n - u128::from(x)) % n);
            prop_assert_eq!(u128::from(q.mul(x, y)), u128::from(x) * u128::from(y) % n);
            prop_assert_eq!(u128::from(q.mul_shoup(a, y, q.shoup(y))), u128::from(a) * u128::from(y) % n);
            prop_assert_eq!(q.mul(x, q.inv(x)), u64::from(x != 0));
            let c = q.centered(x);
            prop_assert!(c.unsigned_abs() <= q.value() / 2 && q.from_i64(c) == x);
        }

        #[test]
        fn extremes(which in 0usize..4) {
            let q = primes(12)[which];
            let top = q.value() - 1;
            prop_assert_eq!(q.mul(top, top), 1);
            prop_assert_eq!(q.mul_add(top, top, top), 0);
            prop_assert_eq!((q.add(top, top), q.sub(0, top), q.neg(0)), (top - 1, 1, 0));
            prop_assert_eq!((q.centered(0), q.centered(top)), (0, -1));
            prop_assert_eq!(q.centered(q.value() / 2), (q.value() / 2) as i64);
        }
    }
}
