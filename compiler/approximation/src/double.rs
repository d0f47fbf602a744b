//! Numbers of twice the precision (about 106 bits), as unevaluated sums of two.
//!
//! Changes of basis and minimax equations lose up to 15 digits where a polynomial is determined by values in a narrow part of
//! its interval; in this arithmetic there are 16 left. T. J. Dekker, "A floating-point technique for extending the available
//! precision", Numer. Math. 18 (1971); error-free sums by Knuth, products by fused multiply-add.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// `high + low`, `low` at most half a unit in the last place of `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Double {
    high: f64,
    low: f64,
}

impl Double {
    pub(crate) const ZERO: Self = Self { high: 0.0, low: 0.0 };
    pub(crate) const ONE: Self = Self { high: 1.0, low: 0.0 };

    pub(crate) fn sum(a: f64, b: f64) -> Self {
        let high = a + b;
        let other = high - a;
        Self { high, low: (a - (high - other)) + (b - other) }
    }

    fn ordered(a: f64, b: f64) -> Self {
        let high = a + b;
        Self { high, low: b - (high - a) }
    }

    pub(crate) fn rounded(self) -> f64 {
        self.high + self.low
    }

    pub(crate) fn abs(self) -> f64 {
        self.rounded().abs()
    }

    pub(crate) fn half(self) -> Self {
        Self { high: self.high / 2.0, low: self.low / 2.0 }
    }

    pub(crate) fn twice(self) -> Self {
        self + self
    }
}

impl From<f64> for Double {
    fn from(high: f64) -> Self {
        Self { high, low: 0.0 }
    }
}

impl Neg for Double {
    type Output = Self;
    fn neg(self) -> Self {
        Self { high: -self.high, low: -self.low }
    }
}

impl Add for Double {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (high, low) = (Self::sum(self.high, other.high), Self::sum(self.low, other.low));
        let first = Self::ordered(high.high, high.low + low.high);
        Self::ordered(first.high, first.low + low.low)
    }
}

impl Sub for Double {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Double {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let high = self.high * other.high;
        let error = self.high.mul_add(other.high, -high);
        Self::ordered(high, error + (self.high * other.low + self.low * other.high))
    }
}

impl Div for Double {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let first = self.high / other.high;
        let rest = self - other * Self::from(first);
        let second = rest.high / other.high;
        let rest = rest - other * Self::from(second);
        Self::ordered(first, second) + Self::from(rest.high / other.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_has_32_digits() {
        let third = Double::ONE / Double::from(3.0);
        let back = third * Double::from(3.0) - Double::ONE;
        assert!(back.abs() < 1e-31, "{back:?}");
        assert_ne!(third.low, 0.0);
    }

    #[test]
    fn what_cancels_is_exact() {
        let small = Double::from(2f64.powi(-80));
        assert_eq!((Double::ONE + small) - Double::ONE, small);
        let square = (Double::ONE + Double::from(2f64.powi(-40))) * (Double::ONE + Double::from(2f64.powi(-40)));
        assert_eq!((square - Double::ONE - Double::from(2f64.powi(-39))).rounded(), 2f64.powi(-80));
    }
}
