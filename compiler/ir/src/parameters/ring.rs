use std::fmt;

/// Which elements of a cyclotomic ring polynomials are: all of them, or those that conjugation leaves alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RingType {
    /// `Z[X]/(X^N + 1)`, N/2 complex slots.
    #[default]
    Standard,
    /// `Z[X + 1/X]/(X^2N + 1)`, the fixed ring of `X -> 1/X` in the standard ring of degree 2N: N coefficients in the basis
    /// `1, X^i + X^-i` for `0 < i < N`, and N real slots (Kim and Song, eprint 2018/952).
    ConjugateInvariant,
}

impl RingType {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Standard, Self::ConjugateInvariant];

    /// `standard` or `conjugate-invariant`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::ConjugateInvariant => "conjugate-invariant",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ring| ring.name() == name)
    }
}

impl fmt::Display for RingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A ring of degree N. Its slots are the values at `zeta^(5^j)`, zeta a primitive root of unity of the ring's order M: `2N`
/// for a standard ring, `4N` for a conjugate-invariant one. There are `M/4` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ring {
    /// Which ring.
    pub ring_type: RingType,
    /// log2 of the degree N, the number of coefficients.
    pub log_n: u32,
}

impl Ring {
    /// `Z[X]/(X^N + 1)`.
    pub fn standard(log_n: u32) -> Self {
        Self { ring_type: RingType::Standard, log_n }
    }

    /// `Z[X + 1/X]/(X^2N + 1)`.
    pub fn conjugate_invariant(log_n: u32) -> Self {
        Self { ring_type: RingType::ConjugateInvariant, log_n }
    }

    /// The degree N.
    pub fn degree(self) -> usize {
        1 << self.log_n
    }

    /// log2 of the order M of the roots of unity at which slots are values. Primes are `= 1 mod M`.
    pub fn log_order(self) -> u32 {
        match self.ring_type {
            RingType::Standard => self.log_n + 1,
            RingType::ConjugateInvariant => self.log_n + 2,
        }
    }

    /// The order M.
    pub fn order(self) -> u64 {
        1 << self.log_order()
    }

    /// Number of slots: N/2 complex ones, or N real ones.
    pub fn slots(self) -> usize {
        1 << (self.log_order() - 2)
    }

    /// The expected square of a slot's absolute value, for an element whose coefficients are independent with mean 0 and
    /// variance 1.
    ///
    /// In the standard ring a slot is a sum of N terms of modulus 1: `N`. In the conjugate-invariant ring it is
    /// `a_0 + sum 2 a_i cos(i t)` with `t` an odd multiple of `pi / 2N`, and `sum_(0 < i < N) 4 cos^2(i t) = 2N - 2`: `2N - 1`.
    pub fn slot_norm(self) -> f64 {
        let n = f64::from(self.log_n).exp2();
        match self.ring_type {
            RingType::Standard => n,
            RingType::ConjugateInvariant => 2.0 * n - 1.0,
        }
    }

    /// The moment `E |z|^(2k)` of a slot `z` that is a Gaussian variable with `E |z|^2 = 1`: `k!` for complex slots,
    /// `1 3 5 .. (2k - 1)` for real ones.
    pub fn slot_moment(self, k: usize) -> f64 {
        let factor = |i: usize| match self.ring_type {
            RingType::Standard => i as f64,
            RingType::ConjugateInvariant => (2 * i - 1) as f64,
        };
        (1..=k).map(factor).product()
    }

    /// As [`Ring::slot_norm`], for the square of a slot's real part: half of it in the standard ring, all of it in the other.
    pub fn real_slot_norm(self) -> f64 {
        match self.ring_type {
            RingType::Standard => self.slot_norm() / 2.0,
            RingType::ConjugateInvariant => self.slot_norm(),
        }
    }
}

/// The ring as a formula.
impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ring_type {
            RingType::Standard => write!(f, "Z[X]/(X^N + 1), N = 2^{}", self.log_n),
            RingType::ConjugateInvariant => write!(f, "Z[X + 1/X]/(X^2N + 1), N = 2^{}", self.log_n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_a_quarter_of_the_order() {
        for log_n in 3..=17 {
            let (standard, invariant) = (Ring::standard(log_n), Ring::conjugate_invariant(log_n));
            assert_eq!((standard.slots(), standard.order()), (standard.degree() / 2, 2 << log_n));
            assert_eq!((invariant.slots(), invariant.order()), (invariant.degree(), 4 << log_n));
        }
    }

    #[test]
    fn slot_norms_are_sums_of_squares() {
        let n = 16;
        let angle = |step: usize, e: usize| (step * e) as f64 * std::f64::consts::TAU / (4 * n) as f64;
        for e in (1..4 * n).step_by(2) {
            let squares: f64 = (1..n).map(|i| (2.0 * angle(i, e).cos()).powi(2)).sum();
            assert!((1.0 + squares - Ring::conjugate_invariant(4).slot_norm()).abs() < 1e-9);
            let real: f64 = (0..n).map(|i| angle(i, 2 * e).cos().powi(2)).sum();
            assert!((real - Ring::standard(4).real_slot_norm()).abs() < 1e-9);
        }
    }

    #[test]
    fn names_are_read_back() {
        for ring in RingType::ALL {
            assert_eq!(RingType::from_name(ring.name()), Some(ring));
        }
        assert_eq!(RingType::from_name("complex"), None);
    }
}
