//! Exact scales.

use std::collections::BTreeMap;
use std::fmt;

/// The factor between a message and its integer encoding, as an exact positive rational `2^k * prod q_i^e_i` over
/// odd primes of the modulus chain.
///
/// Scales are multiplied by products and divided by rescaling, so this form is closed under everything that a circuit
/// does, and equality is exact: two scales that differ by one part in 2^40 are different, and adding values under them is
/// a type error.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Scale {
    twos: i32,
    primes: BTreeMap<u64, i32>,
}

impl Scale {
    /// The scale 1.
    pub const ONE: Self = Self { twos: 0, primes: BTreeMap::new() };

    /// `2^bits`.
    pub fn power_of_two(bits: i32) -> Self {
        Self { twos: bits, primes: BTreeMap::new() }
    }

    /// The scale that equals the odd prime `q`.
    pub fn prime(q: u64) -> Self {
        debug_assert!(q % 2 == 1 && q > 1, "{q} is not an odd prime");
        Self { twos: 0, primes: BTreeMap::from([(q, 1)]) }
    }

    /// Rebuilds a scale from [`Scale::factors`]; `None` if a base is even, 1, 0, repeated or has exponent 0.
    pub fn from_factors(twos: i32, factors: impl IntoIterator<Item = (u64, i32)>) -> Option<Self> {
        let mut primes = BTreeMap::new();
        for (q, exponent) in factors {
            if q % 2 == 0 || q == 1 || exponent == 0 || primes.insert(q, exponent).is_some() {
                return None;
            }
        }
        Some(Self { twos, primes })
    }

    /// The exponent of two.
    pub fn twos(&self) -> i32 {
        self.twos
    }

    /// The odd bases with their exponents, ascending.
    pub fn factors(&self) -> impl Iterator<Item = (u64, i32)> + '_ {
        self.primes.iter().map(|(&q, &e)| (q, e))
    }

    /// The largest exponent of an odd prime in absolute value: how far the scale is from a power of two.
    pub fn largest_exponent(&self) -> u32 {
        self.factors().map(|(_, e)| e.unsigned_abs()).max().unwrap_or(0)
    }

    /// log2 of the scale.
    pub fn log2(&self) -> f64 {
        f64::from(self.twos) + self.factors().map(|(q, e)| f64::from(e) * (q as f64).log2()).sum::<f64>()
    }

    /// The scale as the nearest f64 (to a few units in the last place).
    pub fn to_f64(&self) -> f64 {
        let odd: f64 = self.factors().map(|(q, e)| (q as f64).powi(e)).product();
        let even = f64::from(self.twos).exp2();
        if odd.is_normal() && even.is_normal() {
            return odd * even;
        }
        // Powers that are out of reach themselves may nearly cancel, as in the scales of high powers of a ciphertext.
        let (mut mantissa, mut exponent) = (1.0, i64::from(self.twos));
        for (q, e) in self.factors() {
            let log = (q as f64).log2().round();
            mantissa *= (q as f64 / log.exp2()).powi(e);
            exponent += log as i64 * i64::from(e);
        }
        let half = exponent / 2;
        mantissa * (half as f64).exp2() * ((exponent - half) as f64).exp2()
    }

    /// Exact product.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        self.combined(other, 1)
    }

    /// Exact quotient.
    #[must_use]
    pub fn over(&self, other: &Self) -> Self {
        self.combined(other, -1)
    }

    /// Exponents saturate: a scale that comes near is refused by the dialect (`MAX_SCALE_EXPONENT`) long before.
    fn combined(&self, other: &Self, sign: i32) -> Self {
        let mut result = self.clone();
        result.twos = result.twos.saturating_add(other.twos.saturating_mul(sign));
        for (q, e) in other.factors() {
            let exponent = result.primes.entry(q).or_insert(0);
            *exponent = exponent.saturating_add(e.saturating_mul(sign));
            if *exponent == 0 {
                result.primes.remove(&q);
            }
        }
        result
    }
}

/// `2^40` when that is all there is, else log2 with the odd part: `2^29.731`.
impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.primes.is_empty() { write!(f, "2^{}", self.twos) } else { write!(f, "2^{:.3}", self.log2()) }
    }
}

impl fmt::Debug for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "2^{}", self.twos)?;
        self.factors().try_for_each(|(q, e)| write!(f, " * {q}^{e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_quotients_are_exact() {
        let a = Scale::power_of_two(40).times(&Scale::prime(97));
        let b = a.times(&a).over(&Scale::prime(97)).over(&Scale::power_of_two(40));
        assert_eq!(a, b);
        assert_ne!(a, Scale::power_of_two(40));
        assert_eq!(a.over(&a), Scale::ONE);
        assert_eq!(a.to_f64(), 97.0 * 40f64.exp2());
    }

    #[test]
    fn text_tells_exact_powers_from_others() {
        assert_eq!(Scale::power_of_two(-3).to_string(), "2^-3");
        assert_eq!(Scale::prime(97).to_string(), "2^6.600");
        assert_eq!(format!("{:?}", Scale::power_of_two(2).over(&Scale::prime(97))), "2^2 * 97^-1");
    }

    #[test]
    fn factors_round_trip_and_are_checked() {
        let a = Scale::power_of_two(4).over(&Scale::prime(97));
        assert_eq!(Scale::from_factors(a.twos(), a.factors()), Some(a));
        for bad in [vec![(2, 1)], vec![(1, 1)], vec![(97, 0)], vec![(97, 1), (97, 2)]] {
            assert_eq!(Scale::from_factors(0, bad), None);
        }
    }

    #[test]
    fn large_exponents_that_cancel_are_floats() {
        let q = 1_099_511_480_321;
        let near_one = Scale::prime(q).over(&Scale::power_of_two(40));
        let mut scale = Scale::power_of_two(33);
        for exponent in 1..=60 {
            scale = scale.times(&near_one);
            let wanted = 33f64.exp2() * (q as f64 / 40f64.exp2()).powi(exponent);
            assert!((scale.to_f64() / wanted - 1.0).abs() < 1e-13, "{scale:?}");
        }
    }
}
