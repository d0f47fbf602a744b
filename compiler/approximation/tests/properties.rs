//! What holds for all functions, intervals and degrees.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use hec_approximation::composite::{CompositeSign, Margins, PiecewiseLinear};
use hec_approximation::distribution::Side;
use hec_approximation::fit::{Approximation, Domain, Method, Request, Smoothness};
use hec_approximation::iterate::{Iteration, Reciprocal, ReciprocalPlan};
use hec_approximation::least_squares::{LeastSquares, TailTarget, Tails};
use hec_approximation::plan::{SignGoal, plan_sign};
use hec_approximation::remez::{RemezOptions, minimax};
use hec_approximation::{ApproximationError, ChebyshevSeries, Distribution, Interval, Parity, fit};
use proptest::prelude::*;

fn intervals() -> impl Strategy<Value = Interval> {
    (-20.0..20.0, 0.01..30.0).prop_map(|(lower, width)| Interval::new(lower, lower + width).unwrap())
}

fn series(degree: usize) -> impl Strategy<Value = ChebyshevSeries> {
    (intervals(), prop::collection::vec(-5.0..5.0f64, 1..=degree + 1))
        .prop_map(|(interval, coefficients)| ChebyshevSeries::new(interval, coefficients).unwrap())
}

/// A smooth function, in units of its interval, that no polynomial is equal to.
fn functions() -> impl Strategy<Value = (Interval, [f64; 4])> {
    (intervals(), [-2.0..2.0f64, 0.5..2.0, 0.3..3.0, 0.5..4.0])
}

fn value(interval: Interval, [a, b, c, d]: [f64; 4], x: f64) -> f64 {
    let t = interval.to_unit(x);
    a * (b * t).exp() + c * (d * t + a).sin()
}

fn points(interval: Interval, count: u32) -> impl Iterator<Item = f64> {
    (0..=count).map(move |i| interval.nearest(interval.lower() + interval.width() * f64::from(i) / f64::from(count)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_minimax_error_equioscillates((interval, shape) in functions(), degree in 0usize..12) {
        let function = |x: f64| value(interval, shape, x);
        let found = minimax(&function, &[interval], degree, &RemezOptions::default()).unwrap();
        let rounding = 1e-13 * found.polynomial.bound().max(1.0);
        prop_assert!(found.upper - found.lower <= 1e-6 * found.upper + rounding);
        prop_assert_eq!(found.reference.len(), degree + 2);
        let errors: Vec<f64> = found.reference.iter().map(|&x| function(x) - found.polynomial.evaluate(x)).collect();
        for pair in errors.windows(2) {
            prop_assert!(found.upper <= 100.0 * rounding || pair[0] * pair[1] < 0.0, "{errors:?}");
        }
        for error in errors {
            prop_assert!(error.abs() >= found.lower * (1.0 - 1e-3) - rounding);
        }
        for x in points(interval, 2000) {
            let error = (function(x) - found.polynomial.evaluate(x)).abs();
            prop_assert!(error <= found.upper + rounding, "{error} {} {}", found.upper, found.lower);
        }
        // No other polynomial is better: for one, that of interpolation.
        let other = ChebyshevSeries::interpolate(&function, interval, degree).unwrap();
        let reached = points(interval, 2000).map(|x| (function(x) - other.evaluate(x)).abs()).fold(0.0, f64::max);
        prop_assert!(reached >= found.lower * 0.99 - rounding);
    }

    #[test]
    fn conversions_invert(series in series(10), other in intervals()) {
        let size = series.bound().max(1e-3);
        let moved = series.on_interval(other).unwrap();
        let back = moved.on_interval(series.interval()).unwrap();
        // What rounding on the other interval makes of it here.
        let ends = [series.interval().lower(), series.interval().upper()].map(|x| other.to_unit(x).abs());
        let there = 1e-15 * moved.bound() * (2.0 * ends[0].max(ends[1])).max(1.0).powi(10);
        for (a, b) in series.coefficients().iter().zip(back.coefficients()) {
            prop_assert!((a - b).abs() <= 1e-13 * size + there, "{a} {b}");
        }
        match series.to_monomials(1e-9 * size) {
            Ok(monomials) => {
                let back = ChebyshevSeries::from_monomials(series.interval(), &monomials).unwrap();
                for (a, b) in series.coefficients().iter().zip(back.coefficients()) {
                    prop_assert!((a - b).abs() <= 2e-9 * size, "{a} {b}");
                }
            }
            Err(ApproximationError::Conditioning { loss, tolerance }) => prop_assert!(loss > tolerance),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn algebra_agrees_with_values(a in series(8), coefficients in prop::collection::vec(-5.0..5.0f64, 1..9)) {
        let b = ChebyshevSeries::new(a.interval(), coefficients).unwrap();
        let (product, sum, slope) = (a.times(&b).unwrap(), a.plus(&b).unwrap(), a.derivative());
        let size = a.bound() * b.bound() + 1.0;
        let step = a.interval().width() * 1e-5;
        for x in points(a.interval(), 50).skip(1).take(49) {
            prop_assert!((product.evaluate(x) - a.evaluate(x) * b.evaluate(x)).abs() <= 1e-12 * size);
            prop_assert!((sum.evaluate(x) - a.evaluate(x) - b.evaluate(x)).abs() <= 1e-12 * size);
            let difference = (a.evaluate(x + step) - a.evaluate(x - step)) / (2.0 * step);
            prop_assert!((slope.evaluate(x) - difference).abs() <= 1e-4 * size / a.interval().width().min(1.0));
            prop_assert!(a.evaluate(x).abs() <= a.bound() + 1e-12 * size);
        }
    }

    #[test]
    fn fits_never_explode_inside_their_margin(
        (domain, shape) in functions(),
        degree in 1usize..12,
        margin in 0.0..1.0f64,
        least_squares in any::<bool>(),
    ) {
        let function = |x: f64| value(domain, shape, x);
        let seen: Vec<f64> = points(domain, 500).map(|x| domain.from_unit(domain.to_unit(x).powi(3))).collect();
        let seen = Distribution::of(&seen).unwrap();
        let request = if least_squares { Request::least_squares(degree) } else { Request::minimax(degree) };
        let found = fit(&function, Domain::Distribution(&seen), &request.with_margin(margin)).unwrap();
        prop_assert!(found.interval.covers(&seen.interval(margin).unwrap()));
        let largest = points(found.interval, 4000).map(|x| function(x).abs()).fold(0.0, f64::max);
        for x in points(found.interval, 1999) {
            let error = (found.evaluate(x) - function(x)).abs();
            prop_assert!(error <= found.error.bound + 1e-12 * largest, "{error} {:?}", found.error);
        }
        prop_assert!(found.rms_error <= found.error.bound + 1e-12 * largest);
        prop_assert!(found.error.sampled <= found.error.bound);
        let safe = found.interval.widened(found.tail.safe_margin).unwrap();
        for x in points(safe, 1024) {
            prop_assert!(found.evaluate(x).abs() <= 2.05 * (largest + found.error.bound));
        }
    }

    #[test]
    fn tails_stay_in_their_corridor(
        degree in 4usize..16, margin in 0.1..2.0f64, limit in 0.6..1.5f64, clamped in any::<bool>(),
    ) {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let interval = Interval::new(-5.0, 4.0).unwrap();
        let seen: Vec<f64> = (0..1000).map(|i| 2.0 * (f64::from(i) * 0.37).sin()).collect();
        let seen = Distribution::of(&seen).unwrap();
        let target = if clamped { TailTarget::Clamped } else { TailTarget::Function };
        let tails = Some(Tails { margin, target, limit });
        let found = LeastSquares { tails, ..LeastSquares::weighted(interval, degree, &seen) }.fit(&sigmoid).unwrap();
        for x in points(interval.widened(margin).unwrap(), 3000).filter(|&x| !interval.contains(x)) {
            prop_assert!(found.evaluate(x).abs() <= 1.0 + 1.02 * limit, "{x}");
        }
    }

    #[test]
    fn reciprocals_keep_their_error(lower in 1e-4..10.0f64, ratio in 1.001..1e4f64, bits in 4i32..40) {
        let interval = Interval::new(lower, lower * ratio).unwrap();
        for function in [Reciprocal::Inverse, Reciprocal::InverseSquareRoot] {
            for iteration in [Iteration::Newton, Iteration::Goldschmidt] {
                let plan = ReciprocalPlan::new(function, iteration, interval, 2f64.powi(-bits)).unwrap();
                prop_assert!(plan.relative_error <= 2f64.powi(-bits));
                for x in points(interval, 300) {
                    let exact = match function {
                        Reciprocal::Inverse => 1.0 / x,
                        Reciprocal::InverseSquareRoot => 1.0 / x.sqrt(),
                    };
                    let error = (plan.evaluate(x) / exact - 1.0).abs();
                    // Residuals near 1 are squared so often that their rounding shows.
                    prop_assert!(error <= plan.relative_error * 1.01 + 1e-12, "{plan:?} {x} {error}");
                }
            }
        }
    }

    #[test]
    fn distributions_do_not_depend_on_the_order(
        values in prop::collection::vec(-1e3..1e3f64, 1..300), at in any::<prop::sample::Index>(), scale in 1e-3..1e6f64,
    ) {
        let values: Vec<f64> = values.iter().map(|v| v * scale).collect();
        let (first, second) = values.split_at(at.index(values.len()));
        let all = Distribution::of(&values).unwrap();
        let mut merged = Distribution::of(second).unwrap();
        merged.merge(&Distribution::of(first).unwrap());
        prop_assert_eq!(&all, &merged);
        let quantiles: Vec<f64> = (0..=20).map(|i| all.quantile(f64::from(i) / 20.0).unwrap()).collect();
        prop_assert!(quantiles.is_sorted());
        prop_assert!(all.min().unwrap() <= quantiles[0] && quantiles[20] == all.max().unwrap());
        prop_assert!((all.points().iter().map(|(_, w)| w).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_reach_their_goal(epsilon in 0.002..0.3f64, error in 1e-6..0.2f64, domain in 0.0..0.5f64) {
        let margins = Margins { domain, ..Margins::default() };
        let sign = plan_sign(&SignGoal { epsilon, error, max_depth: 20, margins }).unwrap();
        prop_assert!(sign.error() <= error * 1.01);
        for i in 0..=4000 {
            let x = (1.0 + domain) * f64::from(i) / 4000.0;
            prop_assert!(sign.evaluate(x).abs() <= 1.0 + sign.error() + 1e-9);
            prop_assert!(sign.evaluate(-x) == -sign.evaluate(x));
            if x >= epsilon {
                prop_assert!((sign.evaluate(x) - 1.0).abs() <= sign.error() + 1e-9);
            }
        }
    }

    #[test]
    fn chains_bear_what_their_stages_allow_for(epsilon in 0.01..0.3f64, stage in 1e-6..1e-3f64) {
        let sign = CompositeSign::new(&[7, 15, 15], epsilon, Margins { stage, domain: 0.0 }).unwrap();
        let noisy = |x: f64, noise: f64| {
            let (last, before) = sign.stages().split_last().unwrap();
            last.evaluate(before.iter().fold(x, |x, stage| stage.evaluate(x) + noise))
        };
        for i in 0..=1000 {
            let x = epsilon + (1.0 - epsilon) * f64::from(i) / 1000.0;
            for noise in [-0.49, 0.49] {
                // In units of what a stage leaves, after the division.
                prop_assert!((noisy(x, noise * stage) - 1.0).abs() <= sign.error() + 1e-9, "{x}");
            }
        }
    }
}

#[test]
fn symmetric_functions_get_symmetric_polynomials() {
    let gelu_like = |x: f64| x / (1.0 + (-1.702 * x).exp());
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let domain = Domain::Interval(Interval::symmetric(6.0).unwrap());
    let coefficients = |function: &dyn Fn(f64) -> f64| {
        let found = fit(function, domain, &Request::minimax(14)).unwrap();
        let Approximation::Polynomial(polynomial) = found.approximation else { panic!() };
        (polynomial, found.products)
    };
    let (odd, odd_products) = coefficients(&sigmoid);
    assert_eq!(odd.shifted(-odd.coefficients()[0]).unwrap().parity(), Parity::Odd);
    let (even, even_products) = coefficients(&gelu_like);
    assert!(even.coefficients().iter().skip(3).step_by(2).all(|&c| c == 0.0));
    let (_, full_products) = coefficients(&|x| sigmoid(x + 0.5));
    assert!(odd_products <= full_products && even_products < full_products);
}

#[test]
fn a_proved_bound_is_near_the_error() {
    let relu = |x: f64| x.max(0.0);
    let domain = Domain::Interval(Interval::symmetric(4.0).unwrap());
    for degree in [2, 7, 15, 31] {
        let smoothness = Smoothness::Curvature { bound: 0.0, kinks: vec![0.0] };
        let found = fit(&relu, domain, &Request::minimax(degree).with_smoothness(smoothness)).unwrap();
        assert!(found.error.proved && found.error.bound <= 1.01 * found.error.sampled, "{degree}: {:?}", found.error);
        let unknown = fit(&relu, domain, &Request::minimax(degree)).unwrap();
        assert!(!unknown.error.proved && (unknown.error.bound / found.error.bound - 1.0).abs() < 0.02);
    }
}

#[test]
fn a_composite_relu_from_a_distribution() {
    let values: Vec<f64> =
        (0..20_000).map(|i| 3.0 * (f64::from(i) * 0.123).sin() + (f64::from(i) * 0.777).cos()).collect();
    let seen = Distribution::of(&values).unwrap();
    let relu = |x: f64| x.max(0.0);
    let request = Request::composite(PiecewiseLinear::Relu, 0.05, 16);
    let found = fit(&relu, Domain::Distribution(&seen), &request).unwrap();
    assert!(found.error.bound <= 0.0501 && found.error.sampled <= found.error.bound && found.error.proved);
    assert!(found.depth <= 10, "{}", found.depth);
    assert!(found.tail.escape_probability.is_some_and(|p| p < 0.01));
    let other = fit(&f64::exp, Domain::Distribution(&seen), &request);
    assert!(matches!(other, Err(ApproximationError::Parameter { name: "composite", .. })), "{other:?}");
}

#[test]
fn a_weighted_fit_is_best_where_operands_are() {
    let values: Vec<f64> = (0..4000).map(|i| (f64::from(i) * 0.37).sin()).chain([-8.0, 8.0]).collect();
    let seen = Distribution::of(&values).unwrap();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let weighted = fit(&sigmoid, Domain::Distribution(&seen), &Request::least_squares(5)).unwrap();
    let largest = fit(&sigmoid, Domain::Distribution(&seen), &Request::minimax(5)).unwrap();
    assert!(weighted.rms_error < largest.rms_error / 2.0);
    assert!(largest.error.bound < weighted.error.bound);
}

#[test]
fn heavy_tails_are_seen_as_such() {
    // Quantiles of the Pareto distribution with P(X > x) = x^-4: the shape is 1/4.
    let pareto: Vec<f64> = (0..20_000).map(|i| (1.0 - (f64::from(i) + 0.5) / 20_000.0).powf(-0.25)).collect();
    let tail = Distribution::of(&pareto).unwrap().tail(Side::Upper).unwrap();
    assert!((tail.shape - 0.25).abs() < 0.05, "{tail:?}");
    let (found, exact) = (tail.probability(20.0), 20f64.powi(-4));
    assert!(found > exact / 1.5 && found < exact * 1.5, "{found} {exact}");
    // Evenly distributed values have an end; the estimate does not promise it.
    let even: Vec<f64> = (0..20_000).map(f64::from).collect();
    let tail = Distribution::of(&even).unwrap().tail(Side::Upper).unwrap();
    assert!(tail.shape == 0.0 && tail.probability(20_100.0) > 0.0);
    assert_eq!(Distribution::of(&even[..100]).unwrap().tail(Side::Upper), None);
}

#[test]
fn what_callers_get_wrong_is_an_error() {
    let unit = Interval::UNIT;
    let options = RemezOptions::default();
    assert!(minimax(&f64::exp, &[], 3, &options).is_err());
    assert!(minimax(&f64::exp, &[unit, unit], 3, &options).is_err());
    assert!(minimax(&f64::ln, &[unit], 3, &options).is_err());
    assert!(minimax(&f64::exp, &[unit], 5000, &options).is_err());
    let odd = RemezOptions { parity: Parity::Odd, ..RemezOptions::default() };
    assert!(minimax(&f64::exp, &[unit], 3, &odd).is_err());
    assert!(minimax(&f64::sin, &[Interval::new(-1.0, 2.0).unwrap()], 3, &odd).is_err());
    assert!(minimax(&f64::sin, &[unit], 0, &odd).is_err());
    assert!(Interval::new(f64::NAN, 1.0).is_err());
    assert!(ChebyshevSeries::new(unit, vec![f64::INFINITY]).is_err());
    assert!(Distribution::of(&[1.0, f64::NAN]).is_err());
    assert_eq!(Distribution::new().interval(0.0), Err(ApproximationError::Empty));
    assert!(CompositeSign::new(&[4], 0.1, Margins::default()).is_err());
    assert!(CompositeSign::new(&[3, 3], 1e-5, Margins::default()).is_err());
    assert!(ReciprocalPlan::new(Reciprocal::Inverse, Iteration::Newton, unit, 1e-3).is_err());
    let tails = Some(Tails { margin: 4.0, target: TailTarget::Function, limit: 1e-6 });
    let request = Request { method: Method::LeastSquares { floor: 0.01, tails }, ..Request::least_squares(5) };
    assert!(matches!(fit(&f64::exp, Domain::Interval(unit), &request), Err(ApproximationError::Tails { .. })));
}

/// More extrema than the reference has points, some of them just below the levelled error: with these among the next points
/// exchanges went in circles.
#[test]
fn exchanges_do_not_go_in_circles() {
    let function = |t: f64| 0.286_357 * (0.5 * t).exp() + 0.3 * (3.701_942 * t + 0.286_357).sin();
    let interval = Interval::symmetric(1.989_724_9).unwrap();
    let found = minimax(&function, &[interval], 1, &RemezOptions::default()).unwrap();
    assert!(found.upper < 0.3505 && found.upper - found.lower <= 1e-6 * found.upper);
    assert!(found.exchanges < 12, "{}", found.exchanges);
}

/// A reference point and an end of a grid that differed by rounding hid the maximum beside them.
#[test]
fn no_extremum_hides_beside_the_reference() {
    let interval = Interval::new(-18.467_412_889_898_092, 3.044_507_400_595_876).unwrap();
    let function = |x: f64| {
        let t = interval.to_unit(x);
        -1.016_519_822_027_956_3 * (1.547_275_131_850_833_5 * t).exp()
            + 1.808_700_679_615_530_7 * (3.353_884_634_528_834_3 * t - 1.016_519_822_027_956_3).sin()
    };
    let found = minimax(&function, &[interval], 7, &RemezOptions::default()).unwrap();
    let seen =
        points(interval, 200_000).map(|x| (function(x) - found.polynomial.evaluate(x)).abs()).fold(0.0, f64::max);
    assert!(seen <= found.upper * (1.0 + 1e-9), "{seen} {}", found.upper);
}
