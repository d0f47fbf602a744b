//! The polynomial of least largest error, on one or several intervals.
//!
//! Remez' second algorithm (E. Remez, C. R. Acad. Sci. Paris 199, 1934; E. W. Cheney, "Introduction to Approximation Theory",
//! 1966, chapter 3): level the error on `n + 1` points, go to `n + 1` extrema of the error with alternating signs, and so on.
//! On several intervals there may be more extrema than that; which to keep follows J.-W. Lee, E. Lee, Y. Lee, Y.-S. Kim, J.-S. No,
//! "High-precision bootstrapping of RNS-CKKS homomorphic encryption using optimal minimax polynomial approximation and inverse
//! sine function", EUROCRYPT 2021 (eprint 2020/552), section 3: of those not below the levelled error, the ones with the
//! largest sum. Odd and even polynomials are
//! found on the positive half, where each half of the basis is a Chebyshev system (0, where odd ones vanish, left out).

use crate::chebyshev::{ChebyshevSeries, Parity, basis, check_degree, unit_argument};
use crate::double::Double;
use crate::error::ApproximationError;
use crate::interval::Interval;

/// How to look for a minimax polynomial.
#[derive(Clone, Debug, PartialEq)]
pub struct RemezOptions {
    /// Only polynomials of this symmetry about 0. The function must have it, and so must the intervals.
    pub parity: Parity,
    /// Stop when the error is at most this part above what is possible.
    pub tolerance: f64,
    /// Give up after so many exchanges.
    pub max_exchanges: usize,
    /// The interval of the series: by default the least that holds all of the intervals.
    pub domain: Option<Interval>,
}

impl Default for RemezOptions {
    fn default() -> Self {
        Self { parity: Parity::Neither, tolerance: 1e-6, max_exchanges: 60, domain: None }
    }
}

/// A minimax polynomial, and between which errors the least possible one is.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimax {
    /// The polynomial.
    pub polynomial: ChebyshevSeries,
    /// No polynomial of this degree (and symmetry) has a smaller largest error: the levelled error on some reference (de la Vallée
    /// Poussin; Cheney, chapter 3, section 4). Computed to twice the precision, from the function's values as they are.
    pub lower: f64,
    /// The largest error of this polynomial: at the extrema that were found on a grid of 32 points to each extremum of the
    /// reference, and refined. Not proved: a function that wiggles between them is not seen.
    pub upper: f64,
    /// Points where the error is nearly equal, with alternating signs; for odd and even polynomials on the positive half.
    pub reference: Vec<f64>,
    /// How often points were exchanged.
    pub exchanges: usize,
}

/// The polynomial of at most this degree with the least largest error on the intervals.
///
/// ```
/// use hec_approximation::remez::{RemezOptions, minimax};
/// use hec_approximation::{Interval, Parity};
///
/// // x^2 + 1/8 is the best parabola for |x|.
/// let options = RemezOptions { parity: Parity::Even, ..RemezOptions::default() };
/// let best = minimax(&f64::abs, &[Interval::UNIT], 2, &options)?;
/// assert!((best.upper - 0.125).abs() < 1e-6);
/// assert!((best.polynomial.evaluate(0.5) - 0.375).abs() < 1e-6);
/// # Ok::<(), hec_approximation::ApproximationError>(())
/// ```
///
/// # Errors
/// [`ApproximationError::Parameter`] for intervals that overlap or are not symmetric where they have to be, for a function
/// without the symmetry, for options out of range; [`ApproximationError::NotFinite`] where the function is not;
/// [`ApproximationError::NotConverged`].
pub fn minimax(
    function: &dyn Fn(f64) -> f64,
    intervals: &[Interval],
    degree: usize,
    options: &RemezOptions,
) -> Result<Minimax, ApproximationError> {
    Problem::new(function, intervals, degree, options)?.solve(options)
}

struct Problem<'f> {
    function: &'f dyn Fn(f64) -> f64,
    /// Where the error counts, ascending; for odd and even polynomials on the positive half.
    pieces: Vec<Interval>,
    domain: Interval,
    /// Whether the pieces are the positive half.
    half: bool,
    indices: Vec<usize>,
    /// The largest absolute value of the function that was seen.
    magnitude: f64,
}

#[derive(Clone, Copy)]
struct Extremum {
    at: f64,
    error: f64,
}

impl<'f> Problem<'f> {
    fn new(
        function: &'f dyn Fn(f64) -> f64,
        intervals: &[Interval],
        degree: usize,
        options: &RemezOptions,
    ) -> Result<Self, ApproximationError> {
        check_degree(degree)?;
        if !(options.tolerance > 0.0 && options.tolerance < 1.0) {
            return Err(ApproximationError::parameter("tolerance", format!("{} is not in (0, 1)", options.tolerance)));
        }
        let indices = options.parity.indices(degree);
        if indices.is_empty() {
            return Err(ApproximationError::parameter("degree", "no odd polynomial has degree 0"));
        }
        let mut pieces = intervals.to_vec();
        pieces.sort_by(|a, b| a.lower().total_cmp(&b.lower()));
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return Err(ApproximationError::parameter("intervals", "there are none"));
        };
        let hull = Interval::new(first.lower(), last.upper())?;
        if pieces.windows(2).any(|pair| pair[0].upper() >= pair[1].lower()) {
            return Err(ApproximationError::parameter("intervals", "they overlap or touch"));
        }
        let domain = options.domain.unwrap_or(hull);
        if !domain.covers(&hull) {
            return Err(ApproximationError::parameter("domain", format!("{domain} does not hold {hull}")));
        }
        match options.parity {
            Parity::Neither => (),
            Parity::Odd | Parity::Even => {
                let mirrored = |(a, b): (&Interval, &Interval)| a.lower() == -b.upper() && a.upper() == -b.lower();
                if !domain.is_symmetric() || !pieces.iter().zip(pieces.iter().rev()).all(mirrored) {
                    return Err(ApproximationError::parameter("intervals", "they are not symmetric about 0"));
                }
                let positive = |piece: &Interval| Interval::new(piece.lower().max(0.0), piece.upper()).ok();
                pieces = pieces.iter().filter(|piece| piece.upper() > 0.0).filter_map(positive).collect();
            }
        }
        let mut problem =
            Self { function, pieces, domain, half: options.parity != Parity::Neither, indices, magnitude: 0.0 };
        let seen: Vec<f64> = problem.pieces.iter().flat_map(|piece| piece.chebyshev_points(16)).collect();
        for x in seen {
            let y = problem.value(x)?;
            problem.magnitude = problem.magnitude.max(y.abs());
            let mirrored = match options.parity {
                Parity::Neither => continue,
                Parity::Even => (problem.function)(-x),
                Parity::Odd => -(problem.function)(-x),
            };
            // At a jump in 0 both values may be right.
            if x != 0.0 && (y - mirrored).abs() > 1e-9 * (y.abs() + mirrored.abs()) {
                let reason = format!("the function is not symmetric: {y} at {x}, {} at {}", (problem.function)(-x), -x);
                return Err(ApproximationError::parameter("parity", reason));
            }
        }
        Ok(problem)
    }

    fn value(&self, x: f64) -> Result<f64, ApproximationError> {
        let y = (self.function)(x);
        if y.is_finite() { Ok(y) } else { Err(ApproximationError::NotFinite { what: "the function", at: x }) }
    }

    fn vanishes_at_zero(&self) -> bool {
        self.indices.iter().all(|k| k % 2 == 1)
    }

    /// The extrema of a Chebyshev polynomial, laid along the pieces; `skew` other than 1 moves them to one side.
    fn first_reference(&self, skew: f64) -> Vec<f64> {
        use std::f64::consts::PI;
        let count = self.indices.len();
        let total: f64 = self.pieces.iter().map(Interval::width).sum();
        let from_zero = self.half && self.pieces[0].lower() == 0.0;
        let fraction = |j: usize| {
            if from_zero && self.vanishes_at_zero() {
                (PI * (count - j) as f64 / (2 * count + 1) as f64).cos()
            } else if from_zero && self.indices[0] == 0 && count > 1 {
                (PI * (count - j) as f64 / (2 * count) as f64).cos()
            } else {
                (1.0 - (PI * j as f64 / count as f64).cos()) / 2.0
            }
        };
        let at = |j: usize| {
            let mut along = total * fraction(j).powf(skew);
            for piece in &self.pieces {
                if along <= piece.width() {
                    return piece.nearest(piece.lower() + along);
                }
                along -= piece.width();
            }
            self.pieces[self.pieces.len() - 1].upper()
        };
        (0..=count).map(at).collect()
    }

    /// The polynomial whose errors on the reference are equal with alternating signs, and that error.
    fn level(&self, reference: &[f64]) -> Result<(ChebyshevSeries, f64), ApproximationError> {
        let degree = self.indices[self.indices.len() - 1];
        let row = |(i, &x): (usize, &f64)| {
            let basis = basis(unit_argument(self.domain, x), degree);
            let mut row: Vec<Double> = self.indices.iter().map(|&k| basis[k]).collect();
            row.push(Double::from(if i % 2 == 0 { 1.0 } else { -1.0 }));
            row.push(Double::from(self.value(x)?));
            Ok(row)
        };
        let rows = reference.iter().enumerate().map(row).collect::<Result<Vec<_>, ApproximationError>>()?;
        let solution = crate::linear::solve(rows).ok_or(ApproximationError::Singular)?;
        let mut coefficients = vec![0.0; degree + 1];
        self.indices.iter().zip(&solution).for_each(|(&k, c)| coefficients[k] = c.rounded());
        Ok((ChebyshevSeries::new(self.domain, coefficients)?, solution[self.indices.len()].abs()))
    }

    /// Local extrema of the error, ascending.
    fn extrema(&self, polynomial: &ChebyshevSeries, reference: &[f64]) -> Result<Vec<Extremum>, ApproximationError> {
        let error = |x: f64| (self.function)(x) - polynomial.evaluate(x);
        let mut found = Vec::new();
        for piece in &self.pieces {
            let points = subdivided(*piece, reference);
            let errors: Vec<f64> = points.iter().map(|&x| error(x)).collect();
            if let Some(i) = errors.iter().position(|e| !e.is_finite()) {
                return Err(ApproximationError::NotFinite { what: "the error", at: points[i] });
            }
            for (i, (&x, &e)) in points.iter().zip(&errors).enumerate() {
                let sign = 1f64.copysign(e);
                let (before, after) = (i.checked_sub(1), (i + 1 < points.len()).then_some(i + 1));
                let lower = |j: Option<usize>| j.is_none_or(|j| sign * errors[j] <= sign * e);
                if lower(before) && lower(after) {
                    let ends = (points[before.unwrap_or(i)], points[after.unwrap_or(i)]);
                    let refined = highest(|x| sign * error(x), ends);
                    let better = sign * error(refined) > sign * e;
                    let at = if better { refined } else { x };
                    found.push(Extremum { at, error: error(at) });
                }
            }
        }
        Ok(found)
    }

    /// Exchanges from one reference, and from others where the error of a symmetric function on symmetric points is 0.
    fn solve(&self, options: &RemezOptions) -> Result<Minimax, ApproximationError> {
        let mut search = Search { lower: 0.0, best: None, exchanges: 0 };
        for skew in [1.0, 1.125, 0.875] {
            if let Some(found) = self.exchange(self.first_reference(skew), &mut search, options)? {
                return Ok(found);
            }
        }
        let upper = search.best.map_or(f64::INFINITY, |best| best.upper);
        Err(ApproximationError::NotConverged { iterations: search.exchanges, lower: search.lower, upper })
    }

    fn exchange(
        &self,
        mut reference: Vec<f64>,
        search: &mut Search,
        options: &RemezOptions,
    ) -> Result<Option<Minimax>, ApproximationError> {
        for _ in 0..=options.max_exchanges {
            let (polynomial, levelled) = self.level(&reference)?;
            search.lower = search.lower.max(levelled);
            let extrema = self.extrema(&polynomial, &reference)?;
            let upper = extrema.iter().map(|e| e.error.abs()).fold(0.0, f64::max);
            // What rounding of coefficients and values makes of any error.
            let floor = 8.0 * f64::EPSILON * (polynomial.bound() + self.magnitude);
            // With smaller ones the levelled error might fall, and exchanges go in circles.
            let large = extrema.into_iter().filter(|e| e.error.abs() >= levelled - floor).collect();
            let next: Vec<f64> = alternating(large, reference.len()).iter().map(|e| e.at).collect();
            let full = next.len() == reference.len();
            if search.best.as_ref().is_none_or(|best| upper < best.upper) {
                let reference = if full { next.clone() } else { reference.clone() };
                search.best = Some(Best { polynomial, upper, reference });
            }
            if let Some(best) = &search.best
                && best.upper - search.lower <= (options.tolerance * best.upper).max(floor)
            {
                let Best { polynomial, upper, reference } = best.clone();
                let lower = search.lower.min(upper);
                return Ok(Some(Minimax { polynomial, lower, upper, reference, exchanges: search.exchanges }));
            }
            if !full || next == reference {
                break;
            }
            reference = next;
            search.exchanges += 1;
        }
        Ok(None)
    }
}

/// What is known after some exchanges.
struct Search {
    /// No polynomial has a smaller error.
    lower: f64,
    best: Option<Best>,
    exchanges: usize,
}

#[derive(Clone)]
struct Best {
    polynomial: ChebyshevSeries,
    upper: f64,
    reference: Vec<f64>,
}

/// Points of a piece, ascending: its ends, those of the reference, and 32 parts between neighbours. No two are so close that
/// their errors differ by rounding only, as a maximum beside them would not be seen then.
fn subdivided(piece: Interval, reference: &[f64]) -> Vec<f64> {
    let mut stops = vec![piece.lower()];
    let inside: Vec<f64> = reference.iter().copied().filter(|&x| piece.contains(x)).collect();
    for (i, &x) in inside.iter().enumerate() {
        let last = stops[stops.len() - 1];
        let next = inside.get(i + 1).copied().unwrap_or(piece.upper());
        let clear = 1e-6 * (next - last);
        if x - last > clear && piece.upper() - x > clear {
            stops.push(x);
        }
    }
    stops.push(piece.upper());
    let between = |pair: &[f64]| Interval::new(pair[0], pair[1]).ok().map(|part| part.even_points(32));
    let mut points: Vec<f64> = stops.windows(2).filter_map(between).flatten().collect();
    points.dedup();
    points
}

/// Where a function with one maximum between two ends has it, by golden section.
fn highest(value: impl Fn(f64) -> f64, (mut a, mut b): (f64, f64)) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    let (mut x, mut y) = (b - RATIO * (b - a), a + RATIO * (b - a));
    let (mut at_x, mut at_y) = (value(x), value(y));
    for _ in 0..40 {
        if at_x > at_y {
            (b, y, at_y) = (y, x, at_x);
            x = b - RATIO * (b - a);
            at_x = value(x);
        } else {
            (a, x, at_x) = (x, y, at_y);
            y = a + RATIO * (b - a);
            at_y = value(y);
        }
    }
    if at_x > at_y { x } else { y }
}

/// `count` of the extrema with alternating signs, the largest among them, and a large sum of absolute errors; fewer if
/// the signs do not change so often.
fn alternating(extrema: Vec<Extremum>, count: usize) -> Vec<Extremum> {
    let mut runs: Vec<Extremum> = Vec::new();
    for e in extrema {
        match runs.last_mut() {
            Some(last) if (last.error < 0.0) == (e.error < 0.0) => {
                if e.error.abs() > last.error.abs() {
                    *last = e;
                }
            }
            _ => runs.push(e),
        }
    }
    let size = |e: &Extremum| e.error.abs();
    while runs.len() > count {
        let last = runs.len() - 1;
        let shorter_end = if size(&runs[0]) < size(&runs[last]) { 0 } else { last };
        if runs.len() == count + 1 {
            runs.remove(shorter_end);
            continue;
        }
        let pair = |&i: &usize| size(&runs[i]) + size(&runs[i + 1]);
        let least = (0..last).min_by(|a, b| pair(a).total_cmp(&pair(b))).unwrap_or(0);
        let ends = size(&runs[0]) + size(&runs[last]);
        if ends <= pair(&least) {
            runs.remove(last);
            runs.remove(0);
        } else {
            runs.drain(least..least + 2);
        }
    }
    runs
}
