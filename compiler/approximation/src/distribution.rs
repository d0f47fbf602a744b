//! What calibration has seen of an operand, and how likely it is to be left.
//!
//! A histogram whose bins are multiples of a power of two. When a value falls outside of what the bins can cover, pairs
//! of bins become one; so the bins depend on the values and not on their order, and two histograms merge exactly. The extremes
//! are kept as they are, for the estimate of what lies beyond them.

use std::collections::BTreeMap;

use crate::error::ApproximationError;
use crate::interval::Interval;

/// The histogram spans at most so many bins: a resolution of between 1/1024 and 1/2048 of the range.
pub const MAX_BINS: i64 = 2048;

/// How many values are kept at each end.
pub const MAX_EXTREMES: usize = 512;

/// Fewer values above the threshold than this tell nothing about the tail.
pub const MIN_EXCEEDANCES: usize = 25;

/// A histogram of finite values.
///
/// ```
/// use hec_approximation::Distribution;
/// let mut seen = Distribution::new();
/// for i in 0..=1000 {
///     seen.add(f64::from(i) / 100.0)?;
/// }
/// assert_eq!((seen.count(), seen.min(), seen.max()), (1001, Some(0.0), Some(10.0)));
/// assert!((seen.quantile(0.25).unwrap() - 2.5).abs() < 0.02);
/// # Ok::<(), hec_approximation::ApproximationError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// Bins are `[i w, (i + 1) w)` for `w = 2^exponent`.
    exponent: i32,
    bins: BTreeMap<i64, u64>,
    count: u64,
    /// The largest values of `-x` and of `x`, descending.
    extremes: [Vec<f64>; 2],
}

/// One end of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The small values.
    Lower,
    /// The large values.
    Upper,
}

impl Side {
    /// Takes values of this side to large ones.
    fn sign(self) -> f64 {
        match self {
            Self::Lower => -1.0,
            Self::Upper => 1.0,
        }
    }
}

/// A generalised Pareto distribution fitted to what exceeds a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Which end.
    pub side: Side,
    /// The threshold; for the lower side its negative.
    pub threshold: f64,
    /// Which part of the values exceeds the threshold.
    pub weight: f64,
    /// How many values the fit is from.
    pub exceedances: usize,
    /// The scale, in units of `x`.
    pub scale: f64,
    /// The shape: 0 for an exponential tail, positive for heavier ones. Never negative: that would be a promise that the
    /// values end somewhere.
    pub shape: f64,
}

impl Tail {
    /// The estimated probability of a value beyond `bound`, which is beyond the threshold (else that of the threshold).
    pub fn probability(&self, bound: f64) -> f64 {
        let excess = (self.side.sign() * bound - self.threshold).max(0.0);
        if self.scale <= 0.0 {
            return if excess > 0.0 { 0.0 } else { self.weight };
        }
        let beyond = if self.shape < 1e-9 {
            (-excess / self.scale).exp()
        } else {
            (1.0 + self.shape * excess / self.scale).powf(-1.0 / self.shape)
        };
        self.weight * beyond
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

impl Distribution {
    /// Without values.
    pub fn new() -> Self {
        Self { exponent: i32::MIN, bins: BTreeMap::new(), count: 0, extremes: [Vec::new(), Vec::new()] }
    }

    /// The distribution of these values.
    ///
    /// # Errors
    /// [`ApproximationError::NotFinite`], with the index.
    pub fn of(values: &[f64]) -> Result<Self, ApproximationError> {
        let mut all = Self::new();
        for (i, &x) in values.iter().enumerate() {
            all.add(x).map_err(|_| ApproximationError::NotFinite { what: "a value", at: i as f64 })?;
        }
        Ok(all)
    }

    /// Adds a value.
    ///
    /// # Errors
    /// [`ApproximationError::NotFinite`]; then nothing has changed.
    pub fn add(&mut self, x: f64) -> Result<(), ApproximationError> {
        if !x.is_finite() {
            return Err(ApproximationError::NotFinite { what: "a value", at: self.count as f64 });
        }
        // Bins narrower than the last places of the largest value are of no use.
        let least = if x == 0.0 { -1000 } else { (x.abs().log2().floor() as i32 - 50).max(-1000) };
        self.coarsen(least);
        *self.bins.entry(self.index(x)).or_default() += 1;
        self.count += 1;
        self.fit_bins();
        for (side, x) in self.extremes.iter_mut().zip([-x, x]) {
            keep(side, x);
        }
        Ok(())
    }

    /// All values of both.
    ///
    /// ```
    /// # use hec_approximation::Distribution;
    /// let (mut a, b) = (Distribution::of(&[1.0, 2.0])?, Distribution::of(&[300.0])?);
    /// a.merge(&b);
    /// assert_eq!(a, Distribution::of(&[300.0, 1.0, 2.0])?);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        self.coarsen(other.exponent);
        other.coarsen(self.exponent);
        for (index, count) in other.bins {
            *self.bins.entry(index).or_default() += count;
        }
        self.count += other.count;
        self.fit_bins();
        for (mine, its) in self.extremes.iter_mut().zip(other.extremes) {
            its.into_iter().for_each(|x| keep(mine, x));
        }
    }

    fn width(&self) -> f64 {
        2f64.powi(self.exponent)
    }

    fn index(&self, x: f64) -> i64 {
        (x / self.width()).floor() as i64
    }

    fn coarsen(&mut self, exponent: i32) {
        if exponent > self.exponent {
            let shift = exponent.saturating_sub(self.exponent).min(63);
            self.exponent = exponent;
            let mut bins = BTreeMap::new();
            for (&index, &count) in &self.bins {
                *bins.entry(index >> shift).or_default() += count;
            }
            self.bins = bins;
        }
    }

    fn fit_bins(&mut self) {
        while let (Some((first, _)), Some((last, _))) = (self.bins.first_key_value(), self.bins.last_key_value())
            && last - first >= MAX_BINS
        {
            self.coarsen(self.exponent + 1);
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The least value.
    pub fn min(&self) -> Option<f64> {
        self.extremes[0].first().map(|x| -x)
    }

    /// The largest value.
    pub fn max(&self) -> Option<f64> {
        self.extremes[1].first().copied()
    }

    /// The bins with values, ascending: middles (within what was seen), and parts of all values, which sum to 1.
    pub fn points(&self) -> Vec<(f64, f64)> {
        let (min, max) = (self.min().unwrap_or(0.0), self.max().unwrap_or(0.0));
        let middle = |index: i64| ((index as f64 + 0.5) * self.width()).clamp(min, max);
        self.bins.iter().map(|(&index, &count)| (middle(index), count as f64 / self.count as f64)).collect()
    }

    /// A value with the part `p` of all values below it: linear within a bin, so right to a bin's width. Nothing without values
    /// or for `p` outside of [0, 1].
    pub fn quantile(&self, p: f64) -> Option<f64> {
        let (min, max) = (self.min()?, self.max()?);
        if !(0.0..=1.0).contains(&p) {
            return None;
        }
        let wanted = p * self.count as f64;
        let mut below = 0.0;
        for (&index, &count) in &self.bins {
            let count = count as f64;
            if below + count >= wanted {
                return Some(((index as f64 + (wanted - below) / count) * self.width()).clamp(min, max));
            }
            below += count;
        }
        Some(max)
    }

    /// Which part of the values seen is outside of an interval, to a bin's width (exact for the extremes that are kept).
    pub fn outside(&self, interval: &Interval) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let part = |side: &Vec<f64>, bound: f64, beyond: &dyn Fn(f64) -> bool| {
            let exact = side.iter().take_while(|&&x| x > bound).count();
            if exact < side.len() || side.len() as u64 == self.count {
                exact as f64 / self.count as f64
            } else {
                self.points().iter().filter(|(x, _)| beyond(*x)).map(|(_, w)| w).sum()
            }
        };
        part(&self.extremes[0], -interval.lower(), &|x| x < interval.lower())
            + part(&self.extremes[1], interval.upper(), &|x| x > interval.upper())
    }

    /// From the least to the largest value, wider by `margin` half-lengths at each end. A single value counts as an interval
    /// of its own size about it.
    ///
    /// ```
    /// # use hec_approximation::{Distribution, Interval};
    /// let seen = Distribution::of(&[-1.0, 0.0, 3.0])?;
    /// assert_eq!(seen.interval(0.5)?, Interval::new(-2.0, 4.0)?);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Empty`]; those of [`Interval::widened`].
    pub fn interval(&self, margin: f64) -> Result<Interval, ApproximationError> {
        let (Some(min), Some(max)) = (self.min(), self.max()) else { return Err(ApproximationError::Empty) };
        if min < max {
            Interval::new(min, max)?.widened(margin)
        } else {
            let half = if min == 0.0 { 1.0 } else { min.abs() / 2.0 };
            Interval::new(min - half, min + half)?.widened(margin)
        }
    }

    /// The generalised Pareto distribution for one end: J. Pickands, "Statistical inference using extreme order statistics", Ann.
    /// Statist. 3 (1975), fitted by probability-weighted moments (J. R. M. Hosking and J. R. Wallis, "Parameter and quantile
    /// estimation for the generalized Pareto distribution", Technometrics 29, 1987, section 3.3) to a tenth of all values, or
    /// to the [`MAX_EXTREMES`] that are kept if these are fewer. The shape is not let below 0. Nothing for fewer than
    /// [`MIN_EXCEEDANCES`] values above the threshold.
    pub fn tail(&self, side: Side) -> Option<Tail> {
        let values = match side {
            Side::Lower => &self.extremes[0],
            Side::Upper => &self.extremes[1],
        };
        let tenth = usize::try_from(self.count / 10).unwrap_or(usize::MAX);
        let exceedances = tenth.min(values.len().saturating_sub(1));
        if exceedances < MIN_EXCEEDANCES {
            return None;
        }
        let threshold = values[exceedances];
        let number = exceedances as f64;
        // Excesses, descending: the j-th has the plotting position (j + 0.65) / n from above.
        let excess = |j: usize| values[j] - threshold;
        let mean = (0..exceedances).map(excess).sum::<f64>() / number;
        let weighted = (0..exceedances).map(|j| excess(j) * (j as f64 + 0.65) / number).sum::<f64>() / number;
        let difference = mean - 2.0 * weighted;
        let (scale, shape) =
            if difference > 0.0 { (2.0 * mean * weighted / difference, 2.0 - mean / difference) } else { (mean, 0.0) };
        // With the shape at 0, the scale of an exponential tail is its mean.
        let (scale, shape) = if shape > 0.0 { (scale, shape) } else { (mean, 0.0) };
        Some(Tail { side, threshold, weight: number / self.count as f64, exceedances, scale, shape })
    }

    /// An estimate of the probability that another value of the same kind is outside of the interval: at each end that of the
    /// [`tail`](Distribution::tail), or the part seen outside if that is more. An extrapolation, not a promise: values must
    /// be independent and of the same distribution, which those of one sample's neighbours are not. Nothing where there are
    /// too few values.
    ///
    /// ```
    /// # use hec_approximation::{Distribution, Interval};
    /// // Quantiles of the exponential distribution, on both sides.
    /// let quantile = |i: i32| -(1.0 - (f64::from(i) + 0.5) / 5000.0).ln();
    /// let seen = Distribution::of(&(0..5000).flat_map(|i| [quantile(i), -quantile(i)]).collect::<Vec<_>>())?;
    /// let beyond = seen.escape_probability(&Interval::symmetric(12.0)?).unwrap();
    /// let exact = (-12f64).exp();
    /// assert!(beyond > exact / 3.0 && beyond < exact * 3.0, "{beyond}");
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn escape_probability(&self, interval: &Interval) -> Option<f64> {
        let (lower, upper) = (self.tail(Side::Lower)?, self.tail(Side::Upper)?);
        let estimate = lower.probability(interval.lower()) + upper.probability(interval.upper());
        Some(estimate.max(self.outside(interval)).min(1.0))
    }
}

/// Keeps the largest values, descending.
fn keep(largest: &mut Vec<f64>, x: f64) {
    if largest.len() == MAX_EXTREMES && largest.last().is_some_and(|&least| x <= least) {
        return;
    }
    let at = largest.partition_point(|&y| y >= x);
    largest.insert(at, x);
    largest.truncate(MAX_EXTREMES);
}
