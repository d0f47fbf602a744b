//! A polynomial in the Chebyshev basis on an interval.
//!
//! J. C. Mason and D. C. Handscomb, "Chebyshev Polynomials" (2002): sections 2.4 (recurrences, products), 2.4.1 (Clenshaw's
//! summation), 6.3 (interpolation). In this basis coefficients have the size of the values, so that rounding them, as encoding
//! does, changes the values little; in powers of `x` it may not.

use crate::cost;
use crate::double::Double;
use crate::error::ApproximationError;
use crate::interval::Interval;

/// The highest degree that this crate computes.
pub const MAX_DEGREE: usize = 1023;

/// The symmetry of a function about the middle of its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parity {
    /// `p(c - x) = p(c + x)`.
    Even,
    /// `p(c - x) = -p(c + x)`.
    Odd,
    /// Not known to be either.
    #[default]
    Neither,
}

impl Parity {
    /// The indices, up to `degree`, of the Chebyshev polynomials with this symmetry.
    pub(crate) fn indices(self, degree: usize) -> Vec<usize> {
        match self {
            Self::Even => (0..=degree).step_by(2).collect(),
            Self::Odd => (1..=degree).step_by(2).collect(),
            Self::Neither => (0..=degree).collect(),
        }
    }
}

/// `sum c_k T_k(t)`, where `t` in `[-1, 1]` is `x` in the interval. Never without coefficients, and all of them finite.
///
/// ```
/// # use hec_approximation::{ChebyshevSeries, Interval};
/// // 1 + T_2(x) = 2 x^2.
/// let series = ChebyshevSeries::new(Interval::UNIT, vec![1.0, 0.0, 1.0])?;
/// assert_eq!(series.evaluate(0.5), 0.5);
/// # Ok::<(), hec_approximation::ApproximationError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ChebyshevSeries {
    interval: Interval,
    coefficients: Vec<f64>,
}

impl ChebyshevSeries {
    /// The series with these coefficients, that of `T_0` first; none are taken as 0.
    ///
    /// # Errors
    /// [`ApproximationError::NotFinite`]; [`ApproximationError::Parameter`] for a degree above [`MAX_DEGREE`].
    pub fn new(interval: Interval, mut coefficients: Vec<f64>) -> Result<Self, ApproximationError> {
        if let Some(index) = coefficients.iter().position(|c| !c.is_finite()) {
            return Err(ApproximationError::NotFinite { what: "a coefficient", at: index as f64 });
        }
        if coefficients.is_empty() {
            coefficients.push(0.0);
        }
        check_degree(coefficients.len() - 1)?;
        Ok(Self { interval, coefficients })
    }

    /// The polynomial that agrees with `function` at the `degree + 1` zeros of `T_(degree+1)` (section 6.3.1). Within a small
    /// factor (below 5 up to degree 1023) of the minimax error.
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval};
    /// let series = ChebyshevSeries::interpolate(&f64::exp, Interval::UNIT, 14)?;
    /// assert!((series.evaluate(0.3) - 0.3f64.exp()).abs() < 1e-14);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::NotFinite`] if the function is not; [`ApproximationError::Parameter`] for the degree.
    pub fn interpolate(
        function: &dyn Fn(f64) -> f64,
        interval: Interval,
        degree: usize,
    ) -> Result<Self, ApproximationError> {
        check_degree(degree)?;
        let count = degree + 1;
        let angle = |j: usize| std::f64::consts::PI * (j as f64 + 0.5) / count as f64;
        let values = (0..count)
            .map(|j| {
                let x = interval.nearest(interval.from_unit(angle(j).cos()));
                let y = function(x);
                if y.is_finite() { Ok(y) } else { Err(ApproximationError::NotFinite { what: "the function", at: x }) }
            })
            .collect::<Result<Vec<_>, _>>()?;
        let coefficient = |k: usize| {
            let sum: f64 = values.iter().enumerate().map(|(j, y)| y * (k as f64 * angle(j)).cos()).sum();
            sum * if k == 0 { 1.0 } else { 2.0 } / count as f64
        };
        Self::new(interval, (0..count).map(coefficient).collect())
    }

    /// The polynomial with these coefficients of `1, x, x^2, ...`, on an interval.
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval};
    /// let series = ChebyshevSeries::from_monomials(Interval::UNIT, &[0.0, 0.0, 2.0])?;
    /// assert_eq!(series.coefficients(), [1.0, 0.0, 1.0]);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// As [`ChebyshevSeries::new`].
    pub fn from_monomials(interval: Interval, monomials: &[f64]) -> Result<Self, ApproximationError> {
        let checked = Self::new(interval, monomials.to_vec())?;
        let (middle, half) = halves(interval);
        let mut sum: Vec<Double> = Vec::new();
        for &m in checked.coefficients.iter().rev() {
            sum = times_linear(&sum, middle, half, times_t);
            add(&mut sum, &[Double::from(m)], Double::ONE);
        }
        Self::new(interval, rounded(&sum))
    }

    /// The coefficients of `1, x, x^2, ...`, rounded, if rounding them changes the polynomial by at most `tolerance` on its
    /// interval: powers cancel where Chebyshev polynomials do not, the more the higher the degree and the farther the interval
    /// from 0.
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval};
    /// let series = ChebyshevSeries::new(Interval::UNIT, vec![1.0, 0.0, 1.0])?;
    /// assert_eq!(series.to_monomials(1e-12)?, [0.0, 0.0, 2.0]);
    /// let far = ChebyshevSeries::interpolate(&f64::sin, Interval::new(100.0, 110.0)?, 15)?;
    /// assert!(far.to_monomials(1e-6).is_err());
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Conditioning`] if it may change by more.
    pub fn to_monomials(&self, tolerance: f64) -> Result<Vec<f64>, ApproximationError> {
        let (middle, half) = halves(self.interval);
        let (constant, slope) = (-(middle / half), Double::ONE / half);
        let sum = self.compose(|p| times_linear(p, constant, slope, times_x));
        let monomials = rounded(&sum);
        let magnitude = self.interval.magnitude();
        let size = monomials.iter().rev().fold(0.0, |sum, m| sum * magnitude + m.abs());
        // Half a unit in the last place of each; and 106 bits of what the conversion itself has cancelled.
        let loss = size * 2f64.powi(-53);
        if loss <= tolerance { Ok(monomials) } else { Err(ApproximationError::Conditioning { loss, tolerance }) }
    }

    /// The same polynomial, as a function of `x`, on another interval.
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval};
    /// let series = ChebyshevSeries::new(Interval::UNIT, vec![0.5, 0.0, 0.5])?; // x^2
    /// let wide = series.on_interval(Interval::symmetric(2.0)?)?;
    /// assert_eq!(wide.coefficients(), [2.0, 0.0, 2.0]);
    /// assert_eq!(wide.evaluate(1.5), 2.25);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::NotFinite`] if it is too large there.
    pub fn on_interval(&self, interval: Interval) -> Result<Self, ApproximationError> {
        let ((m0, h0), (m1, h1)) = (halves(self.interval), halves(interval));
        let (constant, slope) = ((m1 - m0) / h0, h1 / h0);
        Self::new(interval, rounded(&self.compose(|p| times_linear(p, constant, slope, times_t))))
    }

    /// The same coefficients on another interval: the polynomial with its argument stretched and moved.
    pub fn stretched_to(&self, interval: Interval) -> Self {
        Self { interval, coefficients: self.coefficients.clone() }
    }

    /// Clenshaw's recurrence on polynomials: `argument` multiplies one by `t`.
    fn compose(&self, argument: impl Fn(&[Double]) -> Vec<Double>) -> Vec<Double> {
        let (mut one, mut two): (Vec<Double>, Vec<Double>) = (Vec::new(), Vec::new());
        for (k, &c) in self.coefficients.iter().enumerate().rev() {
            let mut next = argument(&one);
            if k > 0 {
                next.iter_mut().for_each(|v| *v = v.twice());
            }
            add(&mut next, &two, -Double::ONE);
            add(&mut next, &[Double::from(c)], Double::ONE);
            two = std::mem::replace(&mut one, next);
        }
        one
    }

    /// Where the argument lies.
    pub fn interval(&self) -> Interval {
        self.interval
    }

    /// The coefficients, that of `T_0` first.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The value at `x`, which need not be in the interval, by Clenshaw's summation (C. W. Clenshaw, "A note on the
    /// summation of Chebyshev series", Math. Comp. 9, 1955).
    pub fn evaluate(&self, x: f64) -> f64 {
        let t = self.interval.to_unit(x);
        let (mut one, mut two) = (0.0, 0.0);
        for &c in self.coefficients.iter().skip(1).rev() {
            (one, two) = (2.0 * t * one - two + c, one);
        }
        t * one - two + self.coefficients[0]
    }

    /// The index of the last coefficient that is not 0.
    pub fn degree(&self) -> usize {
        self.coefficients.iter().rposition(|&c| c != 0.0).unwrap_or(0)
    }

    /// The symmetry about the middle of the interval, if the coefficients that break it are exactly 0. The polynomial 0 is even.
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval, Parity};
    /// let parity = |c: &[f64]| Ok::<_, hec_approximation::ApproximationError>(
    ///     ChebyshevSeries::new(Interval::UNIT, c.to_vec())?.parity());
    /// assert_eq!(parity(&[1.0, 0.0, 2.0])?, Parity::Even);
    /// assert_eq!(parity(&[0.0, 1.0, 0.0, 3.0])?, Parity::Odd);
    /// assert_eq!(parity(&[1.0, 1.0])?, Parity::Neither);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn parity(&self) -> Parity {
        let vanish = |first: usize| self.coefficients.iter().skip(first).step_by(2).all(|&c| c == 0.0);
        if vanish(1) {
            Parity::Even
        } else if vanish(0) {
            Parity::Odd
        } else {
            Parity::Neither
        }
    }

    /// The part of one symmetry: coefficients of the other are dropped.
    pub fn part(&self, parity: Parity) -> Self {
        let keep = |k: usize| match parity {
            Parity::Even => k.is_multiple_of(2),
            Parity::Odd => !k.is_multiple_of(2),
            Parity::Neither => true,
        };
        let coefficients = self.coefficients.iter().enumerate().map(|(k, &c)| if keep(k) { c } else { 0.0 });
        Self { interval: self.interval, coefficients: coefficients.collect() }
    }

    /// A bound of the absolute value on the interval: the sum of the absolute coefficients.
    pub fn bound(&self) -> f64 {
        self.coefficients.iter().map(|c| c.abs()).sum()
    }

    /// The derivative by `x` (section 2.4.5).
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval};
    /// let square = ChebyshevSeries::from_monomials(Interval::symmetric(3.0)?, &[0.0, 0.0, 1.0])?;
    /// assert_eq!(square.derivative().evaluate(2.5), 5.0);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn derivative(&self) -> Self {
        let slope = 2.0 / self.interval.width();
        let count = self.coefficients.len().saturating_sub(1).max(1);
        let mut result = vec![0.0; count + 2];
        for k in (1..self.coefficients.len()).rev() {
            result[k - 1] = result[k + 1] + 2.0 * k as f64 * self.coefficients[k] * slope;
        }
        result[0] /= 2.0;
        result.truncate(count);
        Self { interval: self.interval, coefficients: result }
    }

    /// Without the last coefficients, as many as change the polynomial by at most `tolerance` on its interval.
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval};
    /// let series = ChebyshevSeries::new(Interval::UNIT, vec![1.0, 2.0, 1e-9, 1e-9])?;
    /// assert_eq!(series.trimmed(1e-8).degree(), 1);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    pub fn trimmed(&self, tolerance: f64) -> Self {
        let (mut kept, mut dropped) = (self.coefficients.len(), 0.0);
        while kept > 1 {
            dropped += self.coefficients[kept - 1].abs();
            if dropped > tolerance {
                break;
            }
            kept -= 1;
        }
        Self { interval: self.interval, coefficients: self.coefficients[..kept].to_vec() }
    }

    /// Every value times `factor`.
    ///
    /// # Errors
    /// [`ApproximationError::NotFinite`].
    pub fn scaled(&self, factor: f64) -> Result<Self, ApproximationError> {
        Self::new(self.interval, self.coefficients.iter().map(|c| c * factor).collect())
    }

    /// Every value plus `constant`.
    ///
    /// # Errors
    /// [`ApproximationError::NotFinite`].
    pub fn shifted(&self, constant: f64) -> Result<Self, ApproximationError> {
        let mut coefficients = self.coefficients.clone();
        coefficients[0] += constant;
        Self::new(self.interval, coefficients)
    }

    /// The sum of two polynomials on the same interval.
    ///
    /// # Errors
    /// [`ApproximationError::DifferentIntervals`], [`ApproximationError::NotFinite`].
    pub fn plus(&self, other: &Self) -> Result<Self, ApproximationError> {
        self.check_same(other)?;
        let at = |series: &Self, k: usize| series.coefficients.get(k).copied().unwrap_or(0.0);
        let count = self.coefficients.len().max(other.coefficients.len());
        Self::new(self.interval, (0..count).map(|k| at(self, k) + at(other, k)).collect())
    }

    /// The product of two polynomials on the same interval, by `2 T_i T_j = T_(i+j) + T_|i-j|` (section 2.4.3).
    ///
    /// ```
    /// # use hec_approximation::{ChebyshevSeries, Interval};
    /// let x = ChebyshevSeries::new(Interval::UNIT, vec![0.0, 1.0])?;
    /// assert_eq!(x.times(&x)?.coefficients(), [0.5, 0.0, 0.5]);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::DifferentIntervals`], [`ApproximationError::NotFinite`], [`ApproximationError::Parameter`] for
    /// a degree above [`MAX_DEGREE`].
    pub fn times(&self, other: &Self) -> Result<Self, ApproximationError> {
        self.check_same(other)?;
        let mut product = vec![0.0; self.coefficients.len() + other.coefficients.len() - 1];
        for (i, a) in self.coefficients.iter().enumerate() {
            for (j, b) in other.coefficients.iter().enumerate() {
                product[i + j] += a * b / 2.0;
                product[i.abs_diff(j)] += a * b / 2.0;
            }
        }
        Self::new(self.interval, product)
    }

    fn check_same(&self, other: &Self) -> Result<(), ApproximationError> {
        if self.interval == other.interval {
            Ok(())
        } else {
            Err(ApproximationError::DifferentIntervals { left: self.interval, right: other.interval })
        }
    }

    /// Levels on ciphertexts: [`cost::depth`]. That of the map to `[-1, 1]` is not counted: linear operations before it,
    /// which every network has, take it up.
    pub fn depth(&self) -> usize {
        cost::depth(self.degree())
    }

    /// Products of ciphertexts: [`cost::products`].
    pub fn products(&self) -> usize {
        cost::products(&self.coefficients)
    }
}

pub(crate) fn check_degree(degree: usize) -> Result<(), ApproximationError> {
    if degree <= MAX_DEGREE {
        Ok(())
    } else {
        Err(ApproximationError::parameter("degree", format!("{degree} is above {MAX_DEGREE}")))
    }
}

/// The middle and half the length, exactly.
fn halves(interval: Interval) -> (Double, Double) {
    let (lower, upper) = (Double::from(interval.lower()), Double::from(interval.upper()));
    ((lower + upper).half(), (upper - lower).half())
}

fn rounded(values: &[Double]) -> Vec<f64> {
    values.iter().map(|v| v.rounded()).collect()
}

fn add(sum: &mut Vec<Double>, terms: &[Double], factor: Double) {
    if sum.len() < terms.len() {
        sum.resize(terms.len(), Double::ZERO);
    }
    sum.iter_mut().zip(terms).for_each(|(s, &t)| *s = *s + t * factor);
}

/// A polynomial times `constant + slope * v`, where `times` is the product with `v` in its basis.
fn times_linear(
    polynomial: &[Double],
    constant: Double,
    slope: Double,
    times: fn(&[Double]) -> Vec<Double>,
) -> Vec<Double> {
    let mut product: Vec<Double> = times(polynomial).into_iter().map(|v| v * slope).collect();
    add(&mut product, polynomial, constant);
    product
}

fn times_x(polynomial: &[Double]) -> Vec<Double> {
    if polynomial.is_empty() {
        Vec::new()
    } else {
        std::iter::once(Double::ZERO).chain(polynomial.iter().copied()).collect()
    }
}

/// `t T_0 = T_1`, `2 t T_k = T_(k+1) + T_(k-1)`.
fn times_t(polynomial: &[Double]) -> Vec<Double> {
    let mut product = vec![Double::ZERO; if polynomial.is_empty() { 0 } else { polynomial.len() + 1 }];
    for (k, &c) in polynomial.iter().enumerate() {
        let part = if k == 0 { c } else { c.half() };
        product[k + 1] = product[k + 1] + part;
        if k > 0 {
            product[k - 1] = product[k - 1] + part;
        }
    }
    product
}

/// `T_0(t) ..= T_degree(t)`.
pub(crate) fn basis(t: Double, degree: usize) -> Vec<Double> {
    let mut values = vec![Double::ONE, t];
    for k in 2..=degree {
        values.push((t * values[k - 1]).twice() - values[k - 2]);
    }
    values.truncate(degree + 1);
    values
}

/// `x` in the interval as `t` in `[-1, 1]`, to twice the precision.
pub(crate) fn unit_argument(interval: Interval, x: f64) -> Double {
    let (middle, half) = halves(interval);
    (Double::from(x) - middle) / half
}
