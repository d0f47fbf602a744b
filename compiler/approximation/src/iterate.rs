//! 1/x and 1/sqrt(x) by iterations that square their error.
//!
//! Both begin with a linear polynomial that is best for its degree, and both know exactly how errors go on:
//! - 1/x: `r = 1 - x y` becomes `r^2`. Goldschmidt's form (R. E. Goldschmidt, "Applications of division by convergence",
//!   MIT 1964; on ciphertexts: J. H. Cheon, D. Kim, D. Kim, H. H. Lee, K. Lee, ASIACRYPT 2019, eprint 2019/417, section 3.1) has one level
//!   for each iteration, Newton's two.
//! - 1/sqrt(x): `r = 1 - x y^2` becomes `r^2 (3 + r) / 4`. Newton's form; Goldschmidt's, which yields the square root too (P. Markstein,
//!   "Software division and square root using Goldschmidt's algorithms", RNC6 2004, section 2.3), has as many levels.

use crate::error::ApproximationError;
use crate::interval::Interval;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reciprocal {
    /// `1 / x`.
    Inverse,
    /// `1 / sqrt(x)`.
    InverseSquareRoot,
}

/// How it is iterated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Iteration {
    /// Newton: each iteration mends errors of those before, of the scheme as well.
    Newton,
    /// Goldschmidt: less depth for 1/x; errors of the scheme add up.
    Goldschmidt,
}

/// Iterations to a wanted error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReciprocalPlan {
    /// Which function.
    pub function: Reciprocal,
    /// How.
    pub iteration: Iteration,
    /// Where.
    pub interval: Interval,
    /// The beginning is `start.0 + start.1 * x`.
    pub start: (f64, f64),
    /// How many iterations.
    pub iterations: usize,
    /// A bound of the relative error, rounding and errors of the scheme apart.
    pub relative_error: f64,
}

/// More iterations than this are not planned: then intervals are wider than any scheme's precision.
pub const MAX_ITERATIONS: usize = 64;

impl ReciprocalPlan {
    /// The least number of iterations for a relative error.
    ///
    /// ```
    /// use hec_approximation::Interval;
    /// use hec_approximation::iterate::{Iteration, Reciprocal, ReciprocalPlan};
    ///
    /// let interval = Interval::new(0.5, 8.0)?;
    /// let plan = ReciprocalPlan::new(Reciprocal::Inverse, Iteration::Goldschmidt, interval, 1e-6)?;
    /// assert_eq!((plan.iterations, plan.depth()), (5, 7));
    /// assert!((plan.evaluate(3.0) * 3.0 - 1.0).abs() <= plan.relative_error);
    /// # Ok::<(), hec_approximation::ApproximationError>(())
    /// ```
    ///
    /// # Errors
    /// [`ApproximationError::Parameter`] unless the interval is above 0, the error in (0, 1), and [`MAX_ITERATIONS`] enough.
    pub fn new(
        function: Reciprocal,
        iteration: Iteration,
        interval: Interval,
        relative_error: f64,
    ) -> Result<Self, ApproximationError> {
        if interval.lower() <= 0.0 {
            return Err(ApproximationError::parameter("interval", format!("{interval} is not above 0")));
        }
        // Below this, rounding is more.
        if !(1e-15..1.0).contains(&relative_error) {
            return Err(ApproximationError::parameter("error", format!("{relative_error} is not in [1e-15, 1)")));
        }
        let (start, residual) = match function {
            Reciprocal::Inverse => start_of_inverse(interval),
            Reciprocal::InverseSquareRoot => start_of_inverse_square_root(interval),
        };
        let mut plan = Self { function, iteration, interval, start, iterations: 0, relative_error: f64::INFINITY };
        let mut residual = residual;
        loop {
            plan.relative_error = match function {
                Reciprocal::Inverse => residual.0.abs().max(residual.1.abs()),
                // y sqrt(x) = sqrt(1 - r).
                Reciprocal::InverseSquareRoot => root_error(residual.0).max(root_error(residual.1)),
            };
            if plan.relative_error <= relative_error {
                return Ok(plan);
            }
            if plan.iterations == MAX_ITERATIONS {
                let reason = format!("{interval} is too wide: {MAX_ITERATIONS} iterations are not enough");
                return Err(ApproximationError::parameter("interval", reason));
            }
            let next = |r: f64| match function {
                Reciprocal::Inverse => r * r,
                Reciprocal::InverseSquareRoot => square_root_residual(r),
            };
            // Both are 0 at 0 and grow on each side of it, for r above -2.
            residual = (0.0, next(residual.0).max(next(residual.1)));
            plan.iterations += 1;
        }
    }

    /// The value at `x`, as it will be computed.
    pub fn evaluate(&self, x: f64) -> f64 {
        let mut y = self.start.0 + self.start.1 * x;
        match (self.function, self.iteration) {
            (Reciprocal::Inverse, Iteration::Newton) => (0..self.iterations).for_each(|_| y *= 2.0 - x * y),
            (Reciprocal::Inverse, Iteration::Goldschmidt) => {
                let mut r = 1.0 - x * y;
                for _ in 0..self.iterations {
                    (y, r) = (y + y * r, r * r);
                }
            }
            (Reciprocal::InverseSquareRoot, Iteration::Newton) => {
                (0..self.iterations).for_each(|_| y = 1.5 * y - 0.5 * (x * y) * (y * y));
            }
            (Reciprocal::InverseSquareRoot, Iteration::Goldschmidt) => {
                let (mut root, mut half) = (x * y, y / 2.0);
                for _ in 0..self.iterations {
                    let r = 0.5 - root * half;
                    (root, half) = (root + root * r, half + half * r);
                }
                y = 2.0 * half;
            }
        }
        y
    }

    /// Levels. One for the start; for Goldschmidt one for its first residual (or root), which is there before the first
    /// iteration; then those of the iterations.
    pub fn depth(&self) -> usize {
        let n = self.iterations;
        match (self.function, self.iteration) {
            _ if n == 0 => 1,
            (Reciprocal::Inverse, Iteration::Goldschmidt) => 2 + n,
            (Reciprocal::Inverse | Reciprocal::InverseSquareRoot, Iteration::Newton) => 1 + 2 * n,
            // The residual needs a level, and the product with it another.
            (Reciprocal::InverseSquareRoot, Iteration::Goldschmidt) => 2 + 2 * n,
        }
    }

    /// Products of ciphertexts.
    pub fn products(&self) -> usize {
        let n = self.iterations;
        match (self.function, self.iteration) {
            _ if n == 0 => 0,
            (Reciprocal::Inverse, Iteration::Newton) => 2 * n,
            // The first residual; then two each, the last residual left out.
            (Reciprocal::Inverse, Iteration::Goldschmidt) => 2 * n,
            (Reciprocal::InverseSquareRoot, Iteration::Newton) => 3 * n,
            // The first root; then three each, the last root left out.
            (Reciprocal::InverseSquareRoot, Iteration::Goldschmidt) => 3 * n,
        }
    }
}

fn root_error(residual: f64) -> f64 {
    // 1 - sqrt(1 - r), without cancellation.
    (residual / (1.0 + (1.0 - residual).max(0.0).sqrt())).abs()
}

/// `y = (1 - r(x)) / x` for the polynomial `r` of degree 2 with `r(0) = 1` that is least on the interval, a Chebyshev
/// polynomial (Y. Saad, "Iterative Methods for Sparse Linear Systems", theorem 6.25), and the range of `r`.
fn start_of_inverse(interval: Interval) -> ((f64, f64), (f64, f64)) {
    let (a, b) = (interval.lower(), interval.upper());
    let (sum, difference) = (a + b, b - a);
    // T_2((2 x - a - b) / (b - a)), times the square of the difference: d(0) is 2 s^2 - d^2.
    let at_zero = 2.0 * sum * sum - difference * difference;
    let largest = difference * difference / at_zero;
    ((8.0 * sum / at_zero, -8.0 / at_zero), (-largest, largest))
}

/// The linear polynomial `y` for which `y sqrt(x)` varies by the least factor, scaled so that the residual after one
/// iteration is least, and the range of `r = 1 - x y^2`.
fn start_of_inverse_square_root(interval: Interval) -> ((f64, f64), (f64, f64)) {
    let (a, b) = (interval.lower(), interval.upper());
    // For y = 1 - k x, y sqrt(x) is least at both ends, where it is equal, and largest at 1 / (3 k).
    let k = 1.0 / (a + (a * b).sqrt() + b);
    let least = a.sqrt() * (1.0 - k * a);
    let largest = (1.0 / (3.0 * k)).sqrt() * (2.0 / 3.0);
    let residuals = |scale: f64| (1.0 - (scale * largest).powi(2), 1.0 - (scale * least).powi(2));
    // A larger scale makes the residual at the ends smaller and that between larger: up to 1, at sqrt(3).
    let (mut low, mut high) = (1.0 / largest, 3f64.sqrt() / largest);
    for _ in 0..64 {
        let scale = (low + high) / 2.0;
        let (between, ends) = residuals(scale);
        if square_root_residual(between) < square_root_residual(ends) {
            low = scale;
        } else {
            high = scale;
        }
    }
    ((low, -low * k), residuals(low))
}

fn square_root_residual(r: f64) -> f64 {
    r * r * (3.0 + r) / 4.0
}
