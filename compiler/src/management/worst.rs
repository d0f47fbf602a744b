//! How large the error that encryption causes can become, whatever the inputs are: what noise that hides it is sized by.
//!
//! The root mean square of each value's error, over keys and encryptions, for the worst inputs in range. Where [`crate::noise`] takes
//! averages and adds variances, this takes the largest message in range and adds standard deviations (Minkowski's inequality), which
//! holds whatever depends on what: `||sum w_i e_i|| <= sum |w_i| ||e_i||`. Only fresh encryptions are independent: a linear map of inputs
//! as they were encrypted adds their variances. What follows from weights alone, such as their rounding, is not counted.

/// `||e_a e_b|| <= 16 ||e_a|| ||e_b||`: by Cauchy and Schwarz the root of the fourth moments, which for an error that is a product of
/// at most five Gaussian ones (a rounding times a secret to the fourth power, the largest degree) is `3^(5/2) = 15.6` times the second.
const SECOND_ORDER: f64 = 16.0;

/// A bound on the root mean square of an error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worst {
    /// In units of the message; infinite where nothing is known.
    pub rms: f64,
    /// Whether the errors of different elements are uncorrelated.
    independent: bool,
}

/// How a linear map makes errors grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// The largest 2-norm of a row.
    pub norm: f64,
    /// The largest sum of a row's absolute values.
    pub sum: f64,
    /// By how much rounding can enlarge that sum.
    pub rounding: f64,
}

impl Worst {
    /// A fresh encryption.
    pub fn fresh(rms: f64) -> Self {
        Self { rms, independent: true }
    }

    /// Nothing is known.
    pub fn unknown() -> Self {
        Self { rms: f64::INFINITY, independent: false }
    }

    /// After multiplication of every element by one number.
    pub fn times(self, factor: f64) -> Self {
        Self { rms: self.rms * factor.abs(), ..self }
    }

    /// With an operation's own error, whatever that depends on.
    pub fn with(self, rms: f64) -> Self {
        Self { rms: self.rms + rms, ..self }
    }

    /// After a linear map.
    pub fn mapped(self, growth: Growth) -> Self {
        let factor = if self.independent { growth.norm } else { growth.sum };
        Self { rms: self.rms * (factor + growth.rounding), independent: false }
    }

    /// The sum of `count` slots of one vector.
    pub fn folded(self, count: f64) -> Self {
        Self { rms: self.rms * count, independent: false }
    }

    /// The product with a value of another error; the bounds are those of the messages.
    pub fn product(self, bound: f64, other: Self, other_bound: f64) -> Self {
        let first = bound * other.rms + other_bound * self.rms;
        Self { rms: first + SECOND_ORDER * self.rms * other.rms, independent: false }
    }

    /// The sum with, or difference from, another value.
    pub fn sum(self, other: Self) -> Self {
        Self { rms: self.rms + other.rms, independent: false }
    }

    /// Elements of all of them.
    pub fn any(all: impl Iterator<Item = Self>) -> Self {
        Self { rms: all.map(|own| own.rms).fold(0.0, f64::max), independent: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fresh_errors_add_like_variances() {
        let growth = Growth { norm: 5.0, sum: 7.0, rounding: 0.5 };
        let once = Worst::fresh(2.0).mapped(growth);
        assert_eq!(once.rms, 11.0);
        assert_eq!(once.mapped(growth).rms, 82.5);
        // The same element twice is twice as far off.
        assert_eq!(Worst::fresh(2.0).sum(Worst::fresh(2.0)).rms, 4.0);
        assert_eq!(Worst::fresh(2.0).folded(8.0).with(1.0).rms, 17.0);
        assert_eq!(Worst::fresh(0.5).product(3.0, Worst::fresh(0.25), 2.0).rms, 3.0 * 0.25 + 2.0 * 0.5 + 16.0 * 0.125);
        assert!(Worst::unknown().times(0.5).rms.is_infinite());
    }
}
