//! Against values that others have published, or that were computed elsewhere with more digits.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use hec_approximation::composite::{CompositeFunction, CompositeSign, Margins, PiecewiseLinear};
use hec_approximation::least_squares::LeastSquares;
use hec_approximation::plan::{SignGoal, plan_sign};
use hec_approximation::remez::{Minimax, RemezOptions, minimax};
use hec_approximation::{ApproximationError, Interval, Parity};

fn interval(lower: f64, upper: f64) -> Interval {
    Interval::new(lower, upper).unwrap()
}

fn exact(parity: Parity) -> RemezOptions {
    RemezOptions { parity, tolerance: 1e-9, ..RemezOptions::default() }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[track_caller]
fn near(found: f64, wanted: f64, tolerance: f64) {
    assert!((found - wanted).abs() <= tolerance, "{found} is not {wanted}");
}

#[track_caller]
fn error_is(found: &Minimax, wanted: f64) {
    let tolerance = 2e-9 * wanted + 4e-15;
    near(found.lower, wanted, tolerance);
    near(found.upper, wanted, tolerance);
}

#[track_caller]
fn coefficients_are(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).for_each(|(&f, &w)| near(f, w, tolerance));
}

/// R. S. Varga and A. J. Carpenter, "On the Bernstein conjecture in approximation theory", Constr. Approx. 1 (1985), table 1.1
/// (2n times these); digits from a Remez exchange in 40 digits (mpmath).
#[test]
fn minimax_errors_of_the_absolute_value() {
    for (degree, wanted) in
        [(2, 0.125), (4, 0.067620899277784), (6, 0.045929062066862), (8, 0.034689728084380), (10, 0.027845118553550)]
    {
        error_is(&minimax(&f64::abs, &[Interval::UNIT], degree, &exact(Parity::Even)).unwrap(), wanted);
    }
    // Without the symmetry being asked for it is found.
    let relu = minimax(&|x| x.max(0.0), &[Interval::UNIT], 6, &exact(Parity::Neither)).unwrap();
    error_is(&relu, 0.045929062066862 / 2.0);
    assert!(relu.polynomial.coefficients()[3].abs() < 1e-12);
    // Bernstein's constant.
    let high = minimax(&f64::abs, &[Interval::UNIT], 104, &exact(Parity::Even)).unwrap();
    near(104.0 * high.upper, 0.280_169_499, 1e-4);
}

/// Computed by a Remez exchange in 40 digits (mpmath).
#[test]
fn minimax_errors_of_smooth_functions() {
    for (degree, wanted) in [(3, 0.005528370108685), (5, 4.52055119261048e-5), (8, 1.10642893117527e-8)] {
        error_is(&minimax(&f64::exp, &[Interval::UNIT], degree, &exact(Parity::Neither)).unwrap(), wanted);
    }
    let odd = |x: f64| sigmoid(x) - 0.5;
    let found = minimax(&odd, &[interval(-8.0, 8.0)], 7, &exact(Parity::Odd)).unwrap();
    error_is(&found, 0.018892310117353);
    let wanted = [0.0, 0.619056202408, 0.0, -0.168265935201, 0.0, 0.0708732124289, 0.0, -0.0408911398841];
    coefficients_are(found.polynomial.coefficients(), &wanted, 1e-10);
    let found = minimax(&sigmoid, &[interval(-4.0, 6.0)], 5, &exact(Parity::Neither)).unwrap();
    error_is(&found, 0.018965681122020);
    let wanted = [0.569898635809, 0.571599011243, -0.0927108491205, -0.101243855731, 0.0495346878364, 0.0194154279287];
    coefficients_are(found.polynomial.coefficients(), &wanted, 1e-9);
}

/// Computed by a Remez exchange in 40 digits (mpmath).
#[test]
fn a_minimax_error_on_two_intervals() {
    let pieces = [interval(-1.0, -0.5), interval(0.25, 1.0)];
    let found = minimax(&f64::exp, &pieces, 4, &exact(Parity::Neither)).unwrap();
    error_is(&found, 0.000474564708296);
    let wanted = [1.2661509768, 1.13027170154, 0.271354935578, 0.0444549273981, 0.00557472243752];
    coefficients_are(found.polynomial.coefficients(), &wanted, 1e-9);
}

/// Lattigo's default for comparisons (`circuits/ckks/comparison`, made for 2^-30 with errors of 2^-35): the precision that its
/// documentation states, and coefficients.
#[test]
fn the_sign_that_lattigo_ships() {
    let margins = Margins { stage: 2f64.powi(-35), domain: 2f64.powi(-35) };
    let degrees = [15, 15, 15, 17, 31, 31, 31, 31];
    let sign = CompositeSign::new(&degrees, 2f64.powi(-30), margins).unwrap();
    near(-sign.error().log2(), 21.926741, 1e-2);
    let odd =
        |stage: usize| -> Vec<f64> { sign.stages()[stage].coefficients().iter().skip(1).step_by(2).copied().collect() };
    let first = [
        0.637146295767204,
        -0.213803243061076,
        0.130043930383566,
        -0.094884275656619,
        0.076041781161894,
        -0.064771482092081,
        0.057790441121195,
        -0.527563432838610,
    ];
    coefficients_are(&odd(0), &first, 1e-8);
    let seventh = [0.898823115051963, -0.299606462512259, 0.179764578931782, -0.128408003934426];
    coefficients_are(&odd(6)[..4], &seventh, 1e-4);
    let last = [1.265440510732393, -0.401542750244362, 0.218210934826564, -0.134169254017746];
    coefficients_are(&odd(7)[..4], &last, 1e-4);
}

/// Composites of degrees that Orion and HEIR use; computed by a Remez exchange in 40 digits (mpmath).
#[test]
fn composite_signs_of_published_degrees() {
    let margins = Margins { stage: 2f64.powi(-12), domain: 0.0 };
    let sign = CompositeSign::new(&[15, 15, 27], 2f64.powi(-10), margins).unwrap();
    near(sign.error(), 0.006504582439405, 1e-6);
    let last = sign.stages()[2].coefficients();
    near(last[1] / (1.0 + sign.error() + margins.stage), 1.26201200248, 1e-6);
    near(last[27] / (1.0 + sign.error() + margins.stage), -0.0104755357346, 1e-6);
    assert_eq!(sign.depth(), 13);
    let sign = CompositeSign::new(&[7, 15, 15], 2f64.powi(-6), margins).unwrap();
    near(sign.error(), 7.738484821e-8, 1e-12);
}

/// Legendre projections, computed with 40 digits (mpmath).
#[test]
fn uniform_least_squares() {
    let fit = LeastSquares::uniform(interval(-8.0, 8.0), 7).fit(&sigmoid).unwrap();
    for (x, y) in [(0.0, 0.5), (1.0, 0.708865665138), (4.0, 0.993432002081), (8.0, 0.967469612239)] {
        near(fit.evaluate(x), y, 1e-4);
    }
    let fit = LeastSquares::uniform(Interval::UNIT, 4).fit(&f64::exp).unwrap();
    for (x, y) in [(-1.0, 0.368886715257), (0.0, 1.00003094138), (0.5, 1.64858867698), (1.0, 2.71707462962)] {
        near(fit.evaluate(x), y, 1e-6);
    }
}

/// The plan is never deeper than chains in use, and with the same depth never has more products.
#[test]
fn plans_are_as_good_as_chains_in_use() {
    for (degrees, epsilon) in [(&[15, 15, 27][..], 2f64.powi(-10)), (&[7, 15, 15], 2f64.powi(-6)), (&[7, 7, 13], 0.02)]
    {
        let margins = Margins::default();
        let used = CompositeSign::new(degrees, epsilon, margins).unwrap();
        let goal = SignGoal { epsilon, error: used.error() * 1.001, max_depth: 16, margins };
        let planned = plan_sign(&goal).unwrap();
        assert!(planned.error() <= goal.error, "{degrees:?}");
        let (cost, in_use) = ((planned.depth(), planned.products()), (used.depth(), used.products()));
        assert!(cost <= in_use, "{degrees:?}: {cost:?}, not {in_use:?}");
    }
    let goal = SignGoal { epsilon: 1e-3, error: 1e-3, max_depth: 6, margins: Margins::default() };
    let Err(ApproximationError::NoPlan { reached, .. }) = plan_sign(&goal) else { panic!() };
    assert!(reached > 1e-3);
}

/// Lee, Lee, No and Kim (eprint 2020/834), table 2: degrees of least depth for comparing numbers that differ by `2^-a`, to `2^-a`
/// (which is half of the sign's error), without margins.
#[test]
fn plans_are_no_deeper_than_published_ones() {
    let table: [(i32, &[usize]); 9] = [
        (8, &[7, 15, 15]),
        (9, &[7, 7, 7, 13]),
        (10, &[7, 7, 13, 15]),
        (11, &[7, 15, 15, 15]),
        (12, &[15, 15, 15, 15]),
        (13, &[15, 15, 15, 31]),
        (14, &[7, 7, 15, 15, 27]),
        (15, &[7, 15, 15, 15, 27]),
        (16, &[15, 15, 15, 15, 27]),
    ];
    for (a, degrees) in table {
        let margins = Margins { stage: 0.0, domain: 0.0 };
        let published = CompositeSign::new(degrees, 2f64.powi(-a), margins).unwrap();
        assert!(published.error() <= 2f64.powi(1 - a), "{degrees:?}: {} for {a}", published.error());
        let goal = SignGoal { epsilon: 2f64.powi(-a), error: 2f64.powi(1 - a), max_depth: 30, margins };
        let planned = plan_sign(&goal).unwrap();
        assert_eq!(planned.depth(), published.depth(), "{a}: {degrees:?}");
        assert!(planned.products() <= published.products(), "{a}: {degrees:?}");
    }
}

/// Without a margin the chain of Orion's degrees explodes at once; with one, it is bounded up to it.
#[test]
fn a_margin_of_the_domain_keeps_composites_bounded() {
    let tight = Margins { domain: 0.0, ..Margins::default() };
    let sign = CompositeSign::new(&[15, 15, 27], 2f64.powi(-10), tight).unwrap();
    assert!(sign.largest_within(0.01) > 1e30, "{}", sign.largest_within(0.01));
    let roomy = Margins { domain: 0.25, ..Margins::default() };
    let sign = CompositeSign::new(&[15, 15, 27], 2f64.powi(-10), roomy).unwrap();
    assert!(sign.largest_within(0.25) <= 1.0 + sign.error() + 1e-12);
    assert!(sign.safe_margin(1.1).is_some_and(|m| m >= 0.25));
    for (kind, exact) in [(PiecewiseLinear::Relu, 10.0), (PiecewiseLinear::Abs, 10.0), (PiecewiseLinear::Max, 10.0)] {
        let function = CompositeFunction::new(kind, 8.0, sign.clone()).unwrap();
        near(function.evaluate(exact), exact, function.error());
    }
}
