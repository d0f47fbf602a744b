//! The polynomial of least mean square error under a distribution.
//!
//! Normal equations in the Chebyshev basis, to twice the usual precision: their condition is the square of that of the
//! least squares problem (G. H. Golub and C. F. Van Loan, "Matrix Computations", section 5.3), which leaves as many digits as a
//! QR factorisation in the usual precision would. A small uniform weight on the whole interval keeps them regular where
//! there are no values.
//!
//! "Clamped tails": beyond what calibration has seen, a least squares fit is free to explode. Here the tails are points with
//! a target of their own and a weight that is raised until the polynomial stays in a corridor around it (a penalty method;
//! J. Nocedal and S. J. Wright, "Numerical Optimization", section 17.1).

use crate::chebyshev::{ChebyshevSeries, Parity, basis, check_degree, unit_argument};
use crate::distribution::Distribution;
use crate::double::Double;
use crate::error::ApproximationError;
use crate::interval::Interval;

/// What the polynomial should be in the tails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailTarget {
    /// The function.
    Function,
    /// The function's value at the end of what was seen.
    Clamped,
}

/// How a fit behaves beyond what was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tails {
    /// How far they go: half-lengths of the interval at each end.
    pub margin: f64,
    /// What is wanted there.
    pub target: TailTarget,
    /// How far the polynomial may be from it.
    pub limit: f64,
}

/// What is fitted, and where.
#[derive(Clone, Debug)]
pub struct LeastSquares<'d> {
    /// Where errors count.
    pub interval: Interval,
    /// The degree.
    pub degree: usize,
    /// Only polynomials of this symmetry about the middle of the interval.
    pub parity: Parity,
    /// How much values count: without a distribution, uniformly.
    pub distribution: Option<&'d Distribution>,
    /// How much the uniform weight has of the whole, above 0 and at most 1. Not used without a distribution.
    pub floor: f64,
    /// Without: the polynomial may explode right beyond the interval.
    pub tails: Option<Tails>,
}

impl<'d> LeastSquares<'d> {
    /// A uniform fit.
    pub fn uniform(interval: Interval, degree: usize) -> Self {
        Self { interval, degree, parity: Parity::Neither, distribution: None, floor: 1.0, tails: None }
    }

    /// A fit for what was seen, with one percent of the weight spread over the interval.
    pub fn weighted(interval: Interval, degree: usize, distribution: &'d Distribution) -> Self {
        Self { distribution: Some(distribution), floor: 0.01, ..Self::uniform(interval, degree) }
    }

    /// The polynomial with the least weighted mean square of the error. Its interval is that of the fit, with the margin of the
    /// tails.
    ///
    /// ```
    /// use hec_approximation::Interval;
    /// use hec_approximation::least_squares::LeastSquares;
    /// // The best parabola for |x| on [-1, 1] in the mean: 3/16 + 15/16 x^2.
    /// let fit = LeastSquares::uniform(Interval::UNIT, 2).fit(&f64::abs)?;
    /// assert!((fit.evaluate(0.0) - 3.0 / 16.0).abs() < 1e-3);
    /// assert!((fit.evaluate(1.0) - 18.0 / 16.0).abs() < 1e-3);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Parameter`]; [`ApproximationError::NotFinite`] where the function is not;
    /// [`ApproximationError::Tails`] if no weight keeps the tails in their corridor; [`ApproximationError::Singular`].
    pub fn fit(&self, function: &dyn Fn(f64) -> f64) -> Result<ChebyshevSeries, ApproximationError> {
        check_degree(self.degree)?;
        if !(self.floor > 0.0 && self.floor <= 1.0) {
            return Err(ApproximationError::parameter("floor", format!("{} is not in (0, 1]", self.floor)));
        }
        let domain = self.interval.widened(self.tails.map_or(0.0, |tails| tails.margin))?;
        let indices = self.parity.indices(self.degree);
        if indices.is_empty() {
            return Err(ApproximationError::parameter("degree", "no odd polynomial has degree 0"));
        }
        let mut inside = Equations::new(domain, indices.clone());
        for (x, weight) in self.points() {
            inside.add(x, weight, function(x))?;
        }
        let Some(tails) = self.tails.filter(|tails| tails.margin > 0.0) else { return inside.solve() };
        if !(tails.limit.is_finite() && tails.limit > 0.0) {
            return Err(ApproximationError::parameter(
                "limit of the tails",
                format!("{} is not positive", tails.limit),
            ));
        }
        let count = 8 * (self.degree + 8);
        let target = |x: f64| match tails.target {
            TailTarget::Function => function(x),
            TailTarget::Clamped => function(self.interval.nearest(x)),
        };
        let ends = [(domain.lower(), self.interval.lower()), (self.interval.upper(), domain.upper())];
        let mut points = Vec::new();
        for (a, b) in ends {
            points.extend(Interval::new(a, b)?.chebyshev_points(count).map(|x| (x, target(x))));
        }
        let mut outside = Equations::new(domain, indices);
        for &(x, y) in &points {
            outside.add(x, 1.0 / points.len() as f64, y)?;
        }
        let mut least = f64::INFINITY;
        for step in 0..=12 {
            // From a thousandth of the weight of the inside to 16 thousand times as much.
            let fit = inside.plus(&outside, 1e-3 * 4f64.powi(step)).solve()?;
            let reached = points.iter().map(|&(x, y)| (fit.evaluate(x) - y).abs()).fold(0.0, f64::max);
            if reached <= tails.limit {
                return Ok(fit);
            }
            least = least.min(reached);
        }
        Err(ApproximationError::Tails { degree: self.degree, reached: least, limit: tails.limit })
    }

    /// Where the error counts and how much: all weights sum to 1.
    fn points(&self) -> Vec<(f64, f64)> {
        let seen = self.distribution.map(Distribution::points).unwrap_or_default();
        let total: f64 = seen.iter().filter(|(x, _)| self.interval.contains(*x)).map(|(_, w)| w).sum();
        let floor = if total > 0.0 { self.floor } else { 1.0 };
        // Chebyshev points, each with the length that it stands for: exact for polynomials up to twice the degree and
        // denser where polynomials turn fastest.
        let count = (16 * (self.degree + 1)).max(256);
        let uniform = (0..count).map(|j| {
            let angle = |j: f64| std::f64::consts::PI * j / count as f64;
            let length = (angle(j as f64).cos() - angle((j + 1) as f64).cos()) / 2.0;
            (self.interval.nearest(self.interval.from_unit(angle(j as f64 + 0.5).cos())), floor * length)
        });
        let seen = seen.iter().filter(|(x, _)| self.interval.contains(*x));
        uniform.chain(seen.map(|&(x, w)| (x, (1.0 - floor) * w / total))).collect()
    }
}

/// Normal equations: the matrix and the right side, row by row.
#[derive(Clone)]
struct Equations {
    domain: Interval,
    indices: Vec<usize>,
    rows: Vec<Vec<Double>>,
}

impl Equations {
    fn new(domain: Interval, indices: Vec<usize>) -> Self {
        let rows = vec![vec![Double::ZERO; indices.len() + 1]; indices.len()];
        Self { domain, indices, rows }
    }

    fn add(&mut self, x: f64, weight: f64, y: f64) -> Result<(), ApproximationError> {
        if !y.is_finite() {
            return Err(ApproximationError::NotFinite { what: "the function", at: x });
        }
        let all = basis(unit_argument(self.domain, x), self.indices.last().copied().unwrap_or(0));
        let mut values: Vec<Double> = self.indices.iter().map(|&k| all[k]).collect();
        values.push(Double::from(y));
        for (row, &value) in self.rows.iter_mut().zip(&values) {
            let weighted = value * Double::from(weight);
            row.iter_mut().zip(&values).for_each(|(entry, &v)| *entry = *entry + weighted * v);
        }
        Ok(())
    }

    fn plus(&self, other: &Self, factor: f64) -> Self {
        let factor = Double::from(factor);
        let mut sum = self.clone();
        for (row, its) in sum.rows.iter_mut().zip(&other.rows) {
            row.iter_mut().zip(its).for_each(|(entry, &v)| *entry = *entry + factor * v);
        }
        sum
    }

    fn solve(&self) -> Result<ChebyshevSeries, ApproximationError> {
        let solution = crate::linear::solve(self.rows.clone()).ok_or(ApproximationError::Singular)?;
        let mut coefficients = vec![0.0; self.indices.last().map_or(1, |last| last + 1)];
        self.indices.iter().zip(&solution).for_each(|(&k, c)| coefficients[k] = c.rounded());
        ChebyshevSeries::new(self.domain, coefficients)
    }
}
