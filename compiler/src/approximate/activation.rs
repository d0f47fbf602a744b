//! A scalar function, replaced by the polynomial of least mean square error on what the samples show.

use std::sync::Arc;

use hec_approximation::chebyshev::{ChebyshevSeries, Parity};
use hec_approximation::least_squares::{LeastSquares, TailTarget, Tails};
use hec_approximation::{Distribution, Interval};
use hec_ir::graph::{Node, Value};
use hec_ir::tensor::{Binary, Chebyshev, Composite, Constant, Element, Polynomial, Tensor, Tensors};

use super::traced::Traced;
use super::{Replacement, Rung, Site};
use crate::error::CompileError;

/// Degrees that are tried: each spends one level more.
pub(super) fn ladder(function: &Composite) -> Vec<Rung> {
    if slope_of(function).is_some() {
        return [2, 4, 8, 16, 32].map(Rung::Degree).to_vec();
    }
    [2, 3, 7, 15, 31].map(Rung::Degree).to_vec()
}

/// The slope `s`, if `f(x) - s x` is even: as `|x|` is that `relu(x) = x/2 + |x|/2` is made of.
pub(super) fn slope_of(function: &Composite) -> Option<f64> {
    let points = [0.25, 0.5, 1.0, 3.0, 7.0];
    let slope = |x: f64| (function.apply(x) - function.apply(-x)) / (2.0 * x);
    let first = slope(points[0]);
    points.iter().all(|&x| (slope(x) - first).abs() < 1e-12).then_some(first)
}

/// A series on an interval, as operations on a value.
pub(super) struct Fitted {
    pub(super) series: ChebyshevSeries,
    pub(super) interval: Interval,
}

/// The least squares polynomial of `degree` for `function` on `seen`, which stays bounded for `margin` half-lengths beyond.
pub(super) fn fit(
    function: &dyn Fn(f64) -> f64,
    slope: Option<f64>,
    seen: &Distribution,
    degree: usize,
    margin: f64,
) -> Result<Fitted, CompileError> {
    let whole = seen.interval(margin)?;
    // About 0, a function that is even but for a slope needs even powers only.
    let interval = if slope.is_some() { Interval::symmetric(whole.magnitude())? } else { whole };
    let parity = if slope.is_some() { Parity::Even } else { Parity::Neither };
    let slope = slope.unwrap_or(0.0);
    let rest = |x: f64| function(x) - slope * x;
    let squares = LeastSquares { parity, ..LeastSquares::weighted(interval, degree, seen) };
    let largest = [interval.lower(), 0.0, interval.upper()].map(|x| rest(x).abs()).into_iter().fold(1e-6, f64::max);
    let tails = Tails { margin: TAILS, target: TailTarget::Function, limit: largest };
    let series = match (LeastSquares { tails: Some(tails), ..squares.clone() }).fit(&rest) {
        Ok(series) => series,
        // A high degree that cannot be held in the corridor: the interval has its margin.
        Err(_unbounded) => squares.fit(&rest)?,
    };
    let interval = series.interval();
    let line = ChebyshevSeries::new(interval, vec![slope * interval.centre(), slope * interval.width() / 2.0])?;
    Ok(Fitted { series: series.plus(&line)?, interval })
}

/// Half-lengths beyond the fitted interval where polynomials are still held.
const TAILS: f64 = 0.1;

impl Fitted {
    /// The operations: a shift and a scale that the layer before takes in, and the polynomial.
    pub(super) fn push(&self, traced: &mut Traced, x: Value) -> Result<Value, CompileError> {
        if self.series.degree() <= 2 {
            let coefficients = self.series.to_monomials(1e-9)?;
            return traced.push(Polynomial { coefficients: coefficients.into() }.into(), &[x]);
        }
        let scaled =
            scale(traced, x, 2.0 / self.interval.width(), -2.0 * self.interval.centre() / self.interval.width())?;
        traced.push(Chebyshev { coefficients: self.series.coefficients().into() }.into(), &[scaled])
    }
}

/// `factor * x + shift`.
pub(super) fn scale(traced: &mut Traced, x: Value, factor: f64, shift: f64) -> Result<Value, CompileError> {
    let mut y = x;
    for (binary, number, neutral) in [(Binary::Mul, factor, 1.0), (Binary::Add, shift, 0.0)] {
        if number != neutral {
            let number = traced.push(Constant(Arc::new(Tensor::scalar(Element::F32, number))).into(), &[])?;
            y = traced.push(binary.into(), &[y, number])?;
        }
    }
    Ok(y)
}

/// What the samples show of a value.
/// One in a thousand is below the first, one above the second.
pub(super) fn quantiles(seen: &Distribution) -> (f64, f64) {
    (seen.quantile(0.001).unwrap_or(0.0), seen.quantile(0.999).unwrap_or(0.0))
}

pub(super) fn seen(traced: &Traced, x: Value) -> Result<Distribution, CompileError> {
    let mut seen = Distribution::new();
    for &value in traced.values(x).iter().flat_map(Tensor::values) {
        seen.add(value)?;
    }
    Ok(seen)
}

/// The new value, the operand that must stay in its range, and what was done.
pub(super) fn replace(
    traced: &mut Traced,
    node: &Node<Tensors>,
    rung: Rung,
    site: &Site,
    margin: f64,
) -> Result<(Value, Value, Replacement), CompileError> {
    let (Some(function), Rung::Degree(degree)) = (node.op().function(), rung) else {
        return Err(CompileError::internal("a site that is no function"));
    };
    let x = traced.operands(node.operands())[0];
    let seen = seen(traced, x)?;
    let fitted = fit(&|x| function.apply(x), slope_of(&function), &seen, degree, margin)?;
    let y = fitted.push(traced, x)?;
    let (mut squares, mut size, mut count) = (0.0, 0.0, 0usize);
    for (x, y) in traced.values(x).iter().zip(traced.values(y)) {
        for (&x, &y) in x.values().iter().zip(y.values()) {
            let exact = function.apply(x);
            squares += (y - exact) * (y - exact);
            size += exact * exact;
            count += 1;
        }
    }
    let mean = |sum: f64| (sum / count.max(1) as f64).sqrt();
    let (low, high) = (fitted.interval.lower(), fitted.interval.upper());
    let points = (0..=POINTS).map(|i| low + (high - low) * i as f64 / POINTS as f64);
    let largest_error = points.map(|x| (fitted.series.evaluate(x) - function.apply(x)).abs()).fold(0.0, f64::max);
    let points = (0..=CURVE_POINTS).map(|i| low + (high - low) * i as f64 / CURVE_POINTS as f64);
    let curve = points.map(|x| [x, function.apply(x), fitted.series.evaluate(x)]).collect();
    let replacement = Replacement {
        origin: site.origin.clone(),
        function: site.function.clone(),
        rung,
        seen: (seen.min().unwrap_or(0.0), seen.max().unwrap_or(0.0)),
        quantiles: quantiles(&seen),
        channels: traced.channels(x),
        bound: None,
        fitted: (low, high),
        error: (mean(squares), mean(size)),
        largest_error,
        escape: seen.escape_probability(&fitted.interval),
        histogram: histogram(&seen),
        curve,
    };
    Ok((y, x, replacement))
}

/// Shares of the operands in equal parts of what was seen.
pub(super) fn histogram(seen: &Distribution) -> Vec<f64> {
    let (low, high) = (seen.min().unwrap_or(0.0), seen.max().unwrap_or(0.0));
    let mut shares = vec![0.0; HISTOGRAM_BINS];
    for (x, share) in seen.points() {
        let at = (x - low) / (high - low).max(f64::MIN_POSITIVE) * HISTOGRAM_BINS as f64;
        shares[(at as usize).min(HISTOGRAM_BINS - 1)] += share;
    }
    shares
}

/// Parts of a histogram.
const HISTOGRAM_BINS: usize = 32;
/// Parts of a curve that is drawn.
const CURVE_POINTS: usize = 96;
/// Points at which the largest error is looked for.
const POINTS: usize = 4096;
