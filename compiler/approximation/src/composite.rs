//! The sign function as a chain of polynomials, and ReLU, abs and max from it.
//!
//! E. Lee, J.-W. Lee, J.-S. No, Y.-S. Kim, "Minimax approximation of sign function by composite polynomial for homomorphic
//! comparison", IEEE TDSC 2022 (eprint 2020/834), section 3: each stage is the minimax odd polynomial for the sign on what
//! the stage before leaves, `[-1-e, -1+e]` and `[1-e, 1+e]`. ReLU from it: E. Lee et al., "Low-complexity deep convolutional
//! neural networks on fully homomorphic encryption using multiplexed parallel convolutions", ICML 2022 (eprint 2021/1688),
//! section 2. As in Lattigo (`circuits/ckks/minimax`), what each stage leaves is divided by its largest value, so that
//! every stage works on `[-1, 1]`, and the next one is fitted for a little more, so that errors of the scheme do no harm.

use crate::chebyshev::{ChebyshevSeries, Parity};
use crate::cost;
use crate::error::ApproximationError;
use crate::interval::Interval;
use crate::remez::{RemezOptions, minimax};

/// The odd minimax polynomial for the sign on `[-upper, -lower]` and `[lower, upper]`, on `[-upper, upper]`, and its error.
pub(crate) fn sign_stage(
    degree: usize,
    lower: f64,
    upper: f64,
    tolerance: f64,
) -> Result<(ChebyshevSeries, f64), ApproximationError> {
    let pieces = [Interval::new(-upper, -lower)?, Interval::new(lower, upper)?];
    // For a small interval's sake errors are near 1, and it is what is left of 1 that has to be right: some multiple of `lower`.
    let tolerance = tolerance * lower / upper;
    let options = RemezOptions { parity: Parity::Odd, tolerance, max_exchanges: 100, domain: None };
    let found = minimax(&sign, &pieces, degree, &options)?;
    // Coefficients are rounded; at errors this small it shows.
    let error = found.upper + f64::EPSILON * found.polynomial.bound();
    Ok((found.polynomial, error))
}

fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// How much room a chain leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margins {
    /// Each stage but the first is fitted for operands off by this much, which errors of the scheme may add; in units of the
    /// sign, so that what the stages exchange, which is divided by at most 2, may be off by half of it.
    pub stage: f64,
    /// The first stage is fitted up to `1 + domain`: operands may be larger than expected by this part, and nothing
    /// gets worse.
    pub domain: f64,
}

impl Default for Margins {
    /// `2^-12` for each stage, as Lattigo's examples have it, and a tenth of the domain.
    fn default() -> Self {
        Self { stage: 2f64.powi(-12), domain: 0.1 }
    }
}

impl Margins {
    pub(crate) fn check(&self, epsilon: f64) -> Result<(), ApproximationError> {
        if !(epsilon > 0.0 && epsilon < 1.0) {
            return Err(ApproximationError::parameter("epsilon", format!("{epsilon} is not in (0, 1)")));
        }
        if !(0.0..0.5).contains(&self.stage) {
            return Err(ApproximationError::parameter(
                "margin of a stage",
                format!("{} is not in [0, 0.5)", self.stage),
            ));
        }
        if !(self.domain.is_finite() && self.domain >= 0.0) {
            let reason = format!("{} is not a finite number from 0", self.domain);
            return Err(ApproximationError::parameter("margin of the domain", reason));
        }
        Ok(())
    }
}

/// What a stage with this error leaves, in units of its largest value: the least absolute value for the next stage. Nothing
/// if the two signs cannot be told apart.
pub(crate) fn remaining(error: f64, stage_margin: f64) -> Option<f64> {
    let least = (1.0 - error - stage_margin) / (1.0 + error + stage_margin);
    (least > 0.0).then_some(least)
}

/// A chain of odd polynomials, each on the values of the one before, near the sign of `x` for `epsilon <= |x| <= 1 + m`.
#[derive(Clone, Debug, PartialEq)]
pub struct CompositeSign {
    stages: Vec<ChebyshevSeries>,
    epsilon: f64,
    margins: Margins,
    error: f64,
}

impl CompositeSign {
    /// The chain of minimax polynomials with these degrees, the first of them first.
    ///
    /// ```
    /// use hec_approximation::composite::{CompositeSign, Margins};
    /// let sign = CompositeSign::new(&[7, 7], 0.1, Margins::default())?;
    /// assert!((sign.evaluate(0.1) - 1.0).abs() <= sign.error());
    /// assert!((sign.evaluate(-1.1) + 1.0).abs() <= sign.error());
    /// assert_eq!(sign.depth(), 6);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Parameter`] for degrees that are not odd, for none, for an `epsilon` outside of (0, 1) and for
    /// margins that leave nothing between the signs; errors of [`minimax`].
    pub fn new(degrees: &[usize], epsilon: f64, margins: Margins) -> Result<Self, ApproximationError> {
        margins.check(epsilon)?;
        if degrees.is_empty() || degrees.iter().any(|d| d % 2 == 0) {
            return Err(ApproximationError::parameter("degrees", format!("{degrees:?}: one or more odd numbers")));
        }
        let mut stages = Vec::with_capacity(degrees.len());
        let (mut lower, mut upper, mut last_error) = (epsilon, 1.0 + margins.domain, 0.0);
        for (i, &degree) in degrees.iter().enumerate() {
            let (polynomial, error) = sign_stage(degree, lower, upper, 1e-7)?;
            if i + 1 == degrees.len() {
                last_error = error;
                stages.push(polynomial);
            } else {
                lower = remaining(error, margins.stage).ok_or_else(|| {
                    let reason = format!("{:?}: stage {} of degree {degree} has an error of {error}", degrees, i + 1);
                    ApproximationError::parameter("degrees", reason)
                })?;
                upper = 1.0;
                stages.push(polynomial.scaled(1.0 / (1.0 + error + margins.stage))?);
            }
        }
        Ok(Self { stages, epsilon, margins, error: last_error })
    }

    /// The polynomials. The first is on `[-1 - m, 1 + m]`, the others on `[-1, 1]`.
    pub fn stages(&self) -> &[ChebyshevSeries] {
        &self.stages
    }

    /// The stages with the step function (0 and 1 instead of -1 and 1): only the last one differs.
    ///
    /// ```
    /// # use hec_approximation::composite::{CompositeSign, Margins};
    /// let sign = CompositeSign::new(&[15, 15], 0.02, Margins::default())?;
    /// let step = |x: f64| sign.step_stages().iter().fold(x, |x, p| p.evaluate(x));
    /// assert!(step(-0.5).abs() < 0.01 && (step(0.5) - 1.0).abs() < 0.01);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn step_stages(&self) -> Vec<ChebyshevSeries> {
        let mut stages = self.stages.clone();
        if let Some(last) = stages.last_mut()
            && let Ok(step) = last.scaled(0.5).and_then(|p| p.shifted(0.5))
        {
            *last = step;
        }
        stages
    }

    /// The least absolute value whose sign is told.
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// The room that was left.
    pub fn margins(&self) -> Margins {
        self.margins
    }

    /// The largest difference from the sign for `epsilon <= |x| <= 1 + m`, if no stage's values are off by more than the margin
    /// of a stage: the error of the last polynomial on an interval that holds all that the others leave. Between
    /// `-epsilon` and `epsilon` each stage is monotone (all zeros of its derivative lie between the points of its reference), and
    /// so values are between those at the ends.
    pub fn error(&self) -> f64 {
        self.error
    }

    /// The value of the chain.
    pub fn evaluate(&self, x: f64) -> f64 {
        self.stages.iter().fold(x, |x, stage| stage.evaluate(x))
    }

    /// Levels: the sum over the stages.
    pub fn depth(&self) -> usize {
        self.stages.iter().map(ChebyshevSeries::depth).sum()
    }

    /// Products of ciphertexts.
    pub fn products(&self) -> usize {
        self.stages.iter().map(ChebyshevSeries::products).sum()
    }

    /// The largest absolute value for `|x| <= 1 + margin`, sampled densely. Up to the margin of the domain it is
    /// `1 +` [`CompositeSign::error`]; beyond, polynomials explode, and this says how much.
    pub fn largest_within(&self, margin: f64) -> f64 {
        let end = 1.0 + margin;
        let count = 1 << 14;
        (0..=count).map(|i| self.evaluate(end * f64::from(i) / f64::from(count)).abs()).fold(0.0, f64::max)
    }

    /// The largest margin, at least that of the domain and found to one part in 2^10 of it up to 1, within which no value is above
    /// `limit` in absolute value. Nothing if values are above it within the margin of the domain.
    ///
    /// ```
    /// # use hec_approximation::composite::{CompositeSign, Margins};
    /// let sign = CompositeSign::new(&[15, 15, 27], 0.001, Margins { domain: 0.0, ..Margins::default() })?;
    /// assert!(sign.safe_margin(2.0).is_some_and(|m| m < 0.01));
    /// assert!(sign.largest_within(0.01) > 1e30);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn safe_margin(&self, limit: f64) -> Option<f64> {
        let start = self.margins.domain;
        if self.largest_within(start) > limit {
            return None;
        }
        let step = (1.0f64 - start).max(0.0) / 1024.0;
        let fine = 16;
        let mut safe = start;
        for _ in 0..1024 {
            let holds = |i: i32| self.evaluate(1.0 + safe + step * f64::from(i) / f64::from(fine)).abs() <= limit;
            if step == 0.0 || !(1..=fine).all(holds) {
                break;
            }
            safe += step;
        }
        Some(safe)
    }
}

/// What is made of the sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PiecewiseLinear {
    /// `max(x, 0) = x (1 + sign(x)) / 2`.
    Relu,
    /// `|x| = x sign(x)`.
    Abs,
    /// `max(a, b) = (a + b) / 2 + |a - b| / 2`, on the difference of the operands.
    Max,
}

impl PiecewiseLinear {
    /// The exact function: for the maximum, that of `x` and 0 (the larger of `a = x + b` and `b`, less `b`).
    pub fn exact(self, x: f64) -> f64 {
        match self {
            Self::Relu | Self::Max => x.max(0.0),
            Self::Abs => x.abs(),
        }
    }
}

/// A piecewise linear function of operands up to a bound, by a [`CompositeSign`] and one product.
#[derive(Clone, Debug, PartialEq)]
pub struct CompositeFunction {
    kind: PiecewiseLinear,
    bound: f64,
    sign: CompositeSign,
}

impl CompositeFunction {
    /// The function for `|x| <= bound` (for the maximum, `x` is the difference of the operands).
    ///
    /// ```
    /// use hec_approximation::composite::{CompositeFunction, CompositeSign, Margins, PiecewiseLinear};
    /// let sign = CompositeSign::new(&[7, 15, 15], 2f64.powi(-6), Margins::default())?;
    /// let relu = CompositeFunction::new(PiecewiseLinear::Relu, 8.0, sign)?;
    /// for x in [-8.8, -3.0, -0.01, 0.0, 0.01, 3.0, 8.8] {
    ///     assert!((relu.evaluate(x) - x.max(0.0)).abs() <= relu.error());
    /// }
    /// assert_eq!(relu.depth(), 3 + 4 + 4 + 1);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Parameter`] unless the bound is finite and positive.
    pub fn new(kind: PiecewiseLinear, bound: f64, sign: CompositeSign) -> Result<Self, ApproximationError> {
        if bound.is_finite() && bound > 0.0 {
            Ok(Self { kind, bound, sign })
        } else {
            Err(ApproximationError::parameter("bound", format!("{bound} is not finite and positive")))
        }
    }

    /// Which function.
    pub fn kind(&self) -> PiecewiseLinear {
        self.kind
    }

    /// Operands are divided by this for the sign.
    pub fn bound(&self) -> f64 {
        self.bound
    }

    /// The sign.
    pub fn sign(&self) -> &CompositeSign {
        &self.sign
    }

    /// Where the error bound holds: the bound with the margin of the domain.
    ///
    /// # Errors
    /// [`ApproximationError::Interval`] where the bound is too large.
    pub fn interval(&self) -> Result<Interval, ApproximationError> {
        Interval::symmetric(self.bound * (1.0 + self.sign.margins.domain))
    }

    /// The value at `x`; for the maximum, of `x` and 0.
    pub fn evaluate(&self, x: f64) -> f64 {
        let sign = self.sign.evaluate(x / self.bound);
        match self.kind {
            PiecewiseLinear::Relu | PiecewiseLinear::Max => x * (1.0 + sign) / 2.0,
            PiecewiseLinear::Abs => x * sign,
        }
    }

    /// The larger of two operands whose difference is within the bound.
    ///
    /// ```
    /// # use hec_approximation::composite::{CompositeFunction, CompositeSign, Margins, PiecewiseLinear};
    /// let sign = CompositeSign::new(&[15, 27], 0.01, Margins::default())?;
    /// let max = CompositeFunction::new(PiecewiseLinear::Max, 2.0, sign)?;
    /// assert!((max.maximum(3.0, 4.5) - 4.5).abs() <= max.error());
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn maximum(&self, a: f64, b: f64) -> f64 {
        let x = a - b;
        (a + b) / 2.0 + x * self.sign.evaluate(x / self.bound) / 2.0
    }

    /// How much of the sign's error the function has.
    fn share(&self) -> f64 {
        match self.kind {
            PiecewiseLinear::Relu | PiecewiseLinear::Max => 0.5,
            PiecewiseLinear::Abs => 1.0,
        }
    }

    /// A bound of the error on [`CompositeFunction::interval`] (rounding and errors of the scheme apart): away from 0 it is `|x|`
    /// times the sign's error, and near 0, where the sign is between 0 and `1 +` its error, at most `epsilon`
    /// times the bound; half of it for ReLU and the maximum.
    pub fn error(&self) -> f64 {
        self.error_near_zero().max(self.error_elsewhere())
    }

    /// The bound for `|x| <= epsilon * bound`.
    pub fn error_near_zero(&self) -> f64 {
        self.share() * self.bound * self.sign.epsilon * self.sign.error.max(1.0)
    }

    /// The bound for larger operands.
    pub fn error_elsewhere(&self) -> f64 {
        self.share() * self.bound * (1.0 + self.sign.margins.domain) * self.sign.error
    }

    /// Levels: those of the sign and one for the product. The division by the bound is taken up by the first stage's map to
    /// `[-1, 1]`, or by what is before it.
    pub fn depth(&self) -> usize {
        self.sign.depth() + cost::depth(1)
    }

    /// Products of ciphertexts: those of the sign and one.
    pub fn products(&self) -> usize {
        self.sign.products() + 1
    }
}
