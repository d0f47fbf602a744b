use std::fmt;

use crate::error::ApproximationError;

/// A closed interval of finite, positive length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    lower: f64,
    upper: f64,
}

impl Interval {
    /// `[-1, 1]`, where Chebyshev polynomials live.
    pub const UNIT: Self = Self { lower: -1.0, upper: 1.0 };

    /// `[lower, upper]`.
    ///
    /// ```
    /// # use hec_approximation::Interval;
    /// assert_eq!(Interval::new(-1.0, 3.0)?.centre(), 1.0);
    /// assert!(Interval::new(1.0, 1.0).is_err());
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Interval`] unless both ends are finite and `lower < upper`, with a finite length that is not 0.
    pub fn new(lower: f64, upper: f64) -> Result<Self, ApproximationError> {
        let width = upper - lower;
        let holds = lower.is_finite() && upper.is_finite() && width.is_finite() && width > 0.0;
        // A map to [-1, 1] needs the reciprocal of the length.
        if holds && (2.0 / width).is_finite() {
            Ok(Self { lower, upper })
        } else {
            Err(ApproximationError::Interval { lower, upper })
        }
    }

    /// `[-bound, bound]`.
    ///
    /// # Errors
    /// As [`Interval::new`].
    pub fn symmetric(bound: f64) -> Result<Self, ApproximationError> {
        Self::new(-bound, bound)
    }

    /// The lower end.
    pub fn lower(&self) -> f64 {
        self.lower
    }

    /// The upper end.
    pub fn upper(&self) -> f64 {
        self.upper
    }

    /// The length.
    pub fn width(&self) -> f64 {
        self.upper - self.lower
    }

    /// The middle.
    pub fn centre(&self) -> f64 {
        self.lower / 2.0 + self.upper / 2.0
    }

    /// The largest absolute value in it.
    pub fn magnitude(&self) -> f64 {
        self.lower.abs().max(self.upper.abs())
    }

    /// Whether `x` is in it.
    pub fn contains(&self, x: f64) -> bool {
        (self.lower..=self.upper).contains(&x)
    }

    /// Whether all of `other` is in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.contains(other.lower) && self.contains(other.upper)
    }

    /// Whether 0 is the middle.
    pub fn is_symmetric(&self) -> bool {
        self.lower == -self.upper
    }

    /// The affine map that takes the interval to `[-1, 1]`.
    ///
    /// ```
    /// # use hec_approximation::Interval;
    /// let interval = Interval::new(2.0, 6.0)?;
    /// assert_eq!(interval.to_unit(5.0), 0.5);
    /// assert_eq!(interval.from_unit(0.5), 5.0);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn to_unit(&self, x: f64) -> f64 {
        ((x - self.lower) - (self.upper - x)) / self.width()
    }

    /// The affine map that takes `[-1, 1]` to the interval.
    pub fn from_unit(&self, t: f64) -> f64 {
        self.centre() + self.width() / 2.0 * t
    }

    /// Wider by `margin` half-lengths at each end.
    ///
    /// ```
    /// # use hec_approximation::Interval;
    /// assert_eq!(Interval::new(0.0, 4.0)?.widened(0.5)?, Interval::new(-1.0, 5.0)?);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Parameter`] unless the margin is finite and not negative; [`ApproximationError::Interval`].
    pub fn widened(&self, margin: f64) -> Result<Self, ApproximationError> {
        if !(margin.is_finite() && margin >= 0.0) {
            return Err(ApproximationError::parameter("margin", format!("{margin} is not a finite number from 0")));
        }
        let more = self.width() / 2.0 * margin;
        Self::new(self.lower - more, self.upper + more)
    }

    /// The point nearest to `x`.
    pub fn nearest(&self, x: f64) -> f64 {
        x.clamp(self.lower, self.upper)
    }

    /// `count + 1` points, both ends among them, close together near the ends: the extrema of `T_count`.
    pub(crate) fn chebyshev_points(self, count: usize) -> impl Iterator<Item = f64> {
        (0..=count).map(move |j| {
            let t = -(std::f64::consts::PI * j as f64 / count as f64).cos();
            if j == 0 {
                self.lower
            } else if j == count {
                self.upper
            } else {
                self.nearest(self.from_unit(t))
            }
        })
    }

    /// `count + 1` points at equal distances, both ends among them.
    pub(crate) fn even_points(self, count: usize) -> impl Iterator<Item = f64> {
        let inner = move |j: usize| self.nearest(self.lower + self.width() * (j as f64 / count as f64));
        // The upper end exactly.
        (0..=count).map(move |j| if j == count { self.upper } else { inner(j) })
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.lower, self.upper)
    }
}
