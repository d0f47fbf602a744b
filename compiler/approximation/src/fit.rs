//! The front door: a function, where its operands lie, and a method give polynomials with their errors and costs.

use crate::chebyshev::{ChebyshevSeries, Parity};
use crate::composite::{CompositeFunction, Margins, PiecewiseLinear};
use crate::distribution::Distribution;
use crate::error::ApproximationError;
use crate::interval::Interval;
use crate::least_squares::{LeastSquares, Tails};
use crate::plan::{SignGoal, plan_sign};
use crate::remez::{RemezOptions, minimax};

/// Where the operands of a function lie.
#[derive(Clone, Copy, Debug)]
pub enum Domain<'d> {
    /// Anywhere in an interval.
    Interval(Interval),
    /// As they were seen.
    Distribution(&'d Distribution),
}

impl Domain<'_> {
    fn interval(&self, margin: f64) -> Result<Interval, ApproximationError> {
        match self {
            Self::Interval(interval) => interval.widened(margin),
            Self::Distribution(seen) => seen.interval(margin),
        }
    }
}

/// How a polynomial is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Least mean square error, weighted by the distribution if there is one: best where most operands are.
    LeastSquares {
        /// As [`LeastSquares::floor`].
        floor: f64,
        /// As [`LeastSquares::tails`].
        tails: Option<Tails>,
    },
    /// Least largest error.
    Minimax,
    /// A chain of polynomials for the sign, for a function with a kink: degrees are planned, and that of the request is not
    /// used.
    Composite {
        /// Which function it is.
        kind: PiecewiseLinear,
        /// The wanted largest error.
        error: f64,
        /// The largest depth.
        max_depth: usize,
    },
}

/// What is known of the function, for the bound of the error between the points where it is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Smoothness {
    /// Nothing.
    #[default]
    Unknown,
    /// The slope is nowhere more than this.
    Lipschitz(f64),
    /// The second derivative is nowhere more than `bound`, apart from kinks.
    Curvature {
        /// The largest absolute second derivative.
        bound: f64,
        /// Where the slope jumps.
        kinks: Vec<f64>,
    },
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// How.
    pub method: Method,
    /// The highest degree.
    pub degree: usize,
    /// By how many half-lengths the interval is widened at each end before the fit.
    pub margin: f64,
    /// What is known of the function.
    pub smoothness: Smoothness,
}

impl Request {
    /// The minimax polynomial without a margin.
    pub fn minimax(degree: usize) -> Self {
        Self { method: Method::Minimax, degree, margin: 0.0, smoothness: Smoothness::Unknown }
    }

    /// Least squares with a hundredth of the weight spread evenly, and free tails.
    pub fn least_squares(degree: usize) -> Self {
        Self { method: Method::LeastSquares { floor: 0.01, tails: None }, ..Self::minimax(degree) }
    }

    /// A composite with a tenth of margin.
    pub fn composite(kind: PiecewiseLinear, error: f64, max_depth: usize) -> Self {
        Self { method: Method::Composite { kind, error, max_depth }, margin: 0.1, ..Self::minimax(0) }
    }

    /// The same with another margin.
    #[must_use]
    pub fn with_margin(self, margin: f64) -> Self {
        Self { margin, ..self }
    }

    /// The same with something known of the function.
    #[must_use]
    pub fn with_smoothness(self, smoothness: Smoothness) -> Self {
        Self { smoothness, ..self }
    }
}

/// What replaces the function.
#[derive(Clone, Debug, PartialEq)]
pub enum Approximation {
    /// One polynomial.
    Polynomial(ChebyshevSeries),
    /// A chain of them and a product.
    Composite(CompositeFunction),
}

/// A largest error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxError {
    /// The largest one at the points where it was computed.
    pub sampled: f64,
    /// With what may be between the points.
    pub bound: f64,
    /// Whether `bound` follows from what is known of the function (rounding apart, and as far as that is true), rather than from
    /// the differences of neighbouring points.
    pub proved: bool,
}

/// What happens to operands outside of the interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TailBehaviour {
    /// Up to so many half-lengths beyond the interval, and at most 4, no value is more than twice the largest one inside.
    /// Sampled at every 1/256.
    pub safe_margin: f64,
    /// The estimated probability of an operand outside of the interval; with a distribution of enough values only.
    pub escape_probability: Option<f64>,
    /// The same for the safe margin around it.
    pub explosion_probability: Option<f64>,
}

/// What replaces a function, where, how well, and for how much.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The polynomials.
    pub approximation: Approximation,
    /// Where the errors below hold: the domain with its margin.
    pub interval: Interval,
    /// The largest error there.
    pub error: MaxError,
    /// The root of the mean square of the error, for operands as they were seen, else evenly in the interval.
    pub rms_error: f64,
    /// Levels.
    pub depth: usize,
    /// Products of ciphertexts.
    pub products: usize,
    /// Outside.
    pub tail: TailBehaviour,
}

impl Fit {
    /// The value at `x`.
    pub fn evaluate(&self, x: f64) -> f64 {
        match &self.approximation {
            Approximation::Polynomial(polynomial) => polynomial.evaluate(x),
            Approximation::Composite(composite) => composite.evaluate(x),
        }
    }
}

/// Polynomials in place of a function.
///
/// ```
/// use hec_approximation::fit::{Domain, Request, Smoothness};
/// use hec_approximation::{Interval, fit};
///
/// let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
/// // Its second derivative is at most 1 / (6 sqrt(3)).
/// let request = Request::minimax(7).with_smoothness(Smoothness::Curvature { bound: 0.0963, kinks: vec![] });
/// let found = fit(&sigmoid, Domain::Interval(Interval::symmetric(8.0)?), &request)?;
/// assert!(found.error.proved && found.error.bound < 0.0192);
/// assert_eq!(found.depth, 3);
/// # Ok::<(), hec_approximation::ApproximationError>(())
/// ```
///
/// # Errors
/// Those of the methods, and [`ApproximationError::Parameter`] where a composite is asked for another function.
pub fn fit(function: &dyn Fn(f64) -> f64, domain: Domain<'_>, request: &Request) -> Result<Fit, ApproximationError> {
    match request.method {
        Method::Composite { kind, error, max_depth } => {
            composite(function, domain, request.margin, (kind, error, max_depth))
        }
        Method::Minimax => {
            let interval = domain.interval(request.margin)?;
            polynomial(function, domain, interval, best(function, interval, request.degree)?, &request.smoothness)
        }
        Method::LeastSquares { floor, tails } => {
            let interval = domain.interval(request.margin)?;
            let distribution = match domain {
                Domain::Interval(_) => None,
                Domain::Distribution(seen) => Some(seen),
            };
            let problem =
                LeastSquares { distribution, floor, tails, ..LeastSquares::uniform(interval, request.degree) };
            polynomial(function, domain, interval, problem.fit(function)?, &request.smoothness)
        }
    }
}

/// The fit of least degree, up to that of the request, whose error is bounded by `error`.
///
/// ```
/// # use hec_approximation::fit::{Domain, Request, fit_within};
/// # use hec_approximation::Interval;
/// let found = fit_within(&f64::exp, Domain::Interval(Interval::UNIT), &Request::minimax(15), 1e-4)?;
/// assert_eq!(found.depth, 3);
/// assert!(found.error.bound <= 1e-4);
/// # Ok::<(), hec_approximation::ApproximationError>(())
/// ```
///
/// # Errors
/// As [`fit()`]; [`ApproximationError::Degree`] if none is good enough.
pub fn fit_within(
    function: &dyn Fn(f64) -> f64,
    domain: Domain<'_>,
    request: &Request,
    error: f64,
) -> Result<Fit, ApproximationError> {
    let mut least = f64::INFINITY;
    for degree in 1..=request.degree.max(1) {
        let found = fit(function, domain, &Request { degree, ..request.clone() })?;
        if found.error.bound <= error {
            return Ok(found);
        }
        least = least.min(found.error.bound);
    }
    Err(ApproximationError::Degree { degree: request.degree, error, reached: least })
}

/// The minimax polynomial; a function that is odd but for a constant, or even but for a slope, has one that is so exactly,
/// which takes fewer products.
fn best(
    function: &dyn Fn(f64) -> f64,
    interval: Interval,
    degree: usize,
) -> Result<ChebyshevSeries, ApproximationError> {
    let (constant, slope, parity) = symmetry(function, interval, degree);
    let rest = |x: f64| function(x) - constant - slope * x;
    let options = RemezOptions { parity, ..RemezOptions::default() };
    let found = minimax(&rest, &[interval], degree, &options)?.polynomial;
    if parity == Parity::Neither {
        return Ok(found);
    }
    found.plus(&ChebyshevSeries::from_monomials(interval, &[constant, slope])?)
}

/// The constant and slope without which a function is odd or even on an interval about 0, as far as some points tell.
fn symmetry(function: &dyn Fn(f64) -> f64, interval: Interval, degree: usize) -> (f64, f64, Parity) {
    if !interval.is_symmetric() || degree == 0 {
        return (0.0, 0.0, Parity::Neither);
    }
    let end = interval.upper();
    let at = |x: f64| (function(x), function(-x));
    let (constant, (high, low)) = (function(0.0), at(end));
    let slope = (high - low) / (2.0 * end);
    let near = |a: f64, b: f64, size: f64| (a - b).abs() <= 1e-13 * size;
    // No round numbers, so that no periodic function is taken in.
    let points = (1..=64).map(|i| end * (f64::from(i) * 0.618_033_988_749_894_9).fract());
    let pairs: Vec<(f64, (f64, f64))> = points.map(|x| (x, at(x))).collect();
    let size = pairs.iter().map(|(_, (a, b))| a.abs().max(b.abs())).fold(constant.abs(), f64::max);
    if pairs.iter().all(|&(_, (a, b))| near(a + b, 2.0 * constant, size)) {
        (constant, 0.0, Parity::Odd)
    } else if pairs.iter().all(|&(x, (a, b))| near(a - b, 2.0 * slope * x, size)) {
        (0.0, slope, Parity::Even)
    } else {
        (0.0, 0.0, Parity::Neither)
    }
}

fn polynomial(
    function: &dyn Fn(f64) -> f64,
    domain: Domain<'_>,
    interval: Interval,
    polynomial: ChebyshevSeries,
    smoothness: &Smoothness,
) -> Result<Fit, ApproximationError> {
    let error = max_error(function, interval, &polynomial, smoothness)?;
    let (depth, products) = (polynomial.depth(), polynomial.products());
    finish(function, domain, interval, Approximation::Polynomial(polynomial), error, depth, products)
}

fn composite(
    function: &dyn Fn(f64) -> f64,
    domain: Domain<'_>,
    margin: f64,
    (kind, error, max_depth): (PiecewiseLinear, f64, usize),
) -> Result<Fit, ApproximationError> {
    let bound = domain.interval(0.0)?.magnitude();
    let other = |&x: &f64| (function(x) - kind.exact(x)).abs() > 1e-12 * bound;
    if let Some(x) = Interval::symmetric(bound)?.even_points(64).find(other) {
        let reason = format!("the function is not {kind:?}: {} at {x}", function(x));
        return Err(ApproximationError::parameter("composite", reason));
    }
    let share = match kind {
        PiecewiseLinear::Relu | PiecewiseLinear::Max => 0.5,
        PiecewiseLinear::Abs => 1.0,
    };
    // Coarser signs than these are of no use, and hardly cost less.
    let relative = (error / (share * bound)).min(0.5);
    let goal = SignGoal {
        epsilon: relative,
        error: relative / (1.0 + margin),
        max_depth,
        margins: Margins { domain: margin, ..Margins::default() },
    };
    let composite = CompositeFunction::new(kind, bound, plan_sign(&goal)?)?;
    let interval = composite.interval()?;
    let difference = |x: f64| (composite.evaluate(x) - kind.exact(x)).abs();
    let sampled = interval.chebyshev_points(1 << 12).map(difference).fold(0.0, f64::max);
    let error = MaxError { sampled, bound: composite.error(), proved: true };
    let (depth, products) = (composite.depth(), composite.products());
    finish(function, domain, interval, Approximation::Composite(composite), error, depth, products)
}

fn finish(
    function: &dyn Fn(f64) -> f64,
    domain: Domain<'_>,
    interval: Interval,
    approximation: Approximation,
    error: MaxError,
    depth: usize,
    products: usize,
) -> Result<Fit, ApproximationError> {
    let none = TailBehaviour { safe_margin: 0.0, escape_probability: None, explosion_probability: None };
    let mut fit = Fit { approximation, interval, error, rms_error: 0.0, depth, products, tail: none };
    let points = match domain {
        Domain::Interval(_) => interval.even_points(4096).map(|x| (x, 1.0 / 4097.0)).collect(),
        Domain::Distribution(seen) => seen.points(),
    };
    let square = |(x, weight): (f64, f64)| weight * (function(x) - fit.evaluate(x)).powi(2);
    fit.rms_error = points.into_iter().map(square).sum::<f64>().sqrt();
    fit.tail = tail(&fit, domain)?;
    Ok(fit)
}

/// The error on an interval, at evenly spaced points and between them.
fn max_error(
    function: &dyn Fn(f64) -> f64,
    interval: Interval,
    polynomial: &ChebyshevSeries,
    smoothness: &Smoothness,
) -> Result<MaxError, ApproximationError> {
    let (slope, curvature) = (polynomial.derivative().bound(), polynomial.derivative().derivative().bound());
    let mut ends = vec![interval.lower(), interval.upper()];
    if let Smoothness::Curvature { kinks, .. } = smoothness {
        ends.extend(kinks.iter().filter(|&&x| interval.lower() < x && x < interval.upper()));
    }
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let mut count = 64 * (polynomial.degree() + 1);
    loop {
        let (mut sampled, mut between) = (0.0f64, 0.0f64);
        for pair in ends.windows(2) {
            let piece = Interval::new(pair[0], pair[1])?;
            let points: Vec<f64> = piece.even_points(count).collect();
            let errors: Vec<f64> = points.iter().map(|&x| function(x) - polynomial.evaluate(x)).collect();
            if let Some(i) = errors.iter().position(|e| !e.is_finite()) {
                return Err(ApproximationError::NotFinite { what: "the error", at: points[i] });
            }
            let step = piece.width() / count as f64;
            sampled = errors.iter().map(|e| e.abs()).fold(sampled, f64::max);
            between = between.max(match smoothness {
                // What linear interpolation may be off by, from second differences.
                Smoothness::Unknown => {
                    errors.windows(3).map(|e| (e[0] - 2.0 * e[1] + e[2]).abs() / 8.0).fold(0.0, f64::max)
                }
                Smoothness::Lipschitz(bound) => step / 2.0 * (slope + bound),
                Smoothness::Curvature { bound, .. } => step * step / 8.0 * (curvature + bound),
            });
        }
        if between <= 0.005 * sampled || count >= 1 << 16 {
            let proved = *smoothness != Smoothness::Unknown;
            return Ok(MaxError { sampled, bound: sampled + between, proved });
        }
        count *= 4;
    }
}

fn tail(fit: &Fit, domain: Domain<'_>) -> Result<TailBehaviour, ApproximationError> {
    const STEPS: i32 = 1024;
    let interval = fit.interval;
    let largest = interval.chebyshev_points(1 << 10).map(|x| fit.evaluate(x).abs()).fold(0.0, f64::max);
    let half = interval.width() / 2.0;
    let holds = |&step: &i32| {
        let beyond = half * f64::from(step) / 256.0;
        let inside = |x: f64| fit.evaluate(x).abs() <= 2.0 * largest;
        inside(interval.lower() - beyond) && inside(interval.upper() + beyond)
    };
    let safe_margin = f64::from((1..=STEPS).take_while(holds).last().unwrap_or(0)) / 256.0;
    let escape = |interval: &Interval| match domain {
        Domain::Interval(_) => None,
        Domain::Distribution(seen) => seen.escape_probability(interval),
    };
    let (escape_probability, explosion_probability) = (escape(&interval), escape(&interval.widened(safe_margin)?));
    Ok(TailBehaviour { safe_margin, escape_probability, explosion_probability })
}
