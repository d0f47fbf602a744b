//! Polynomials of every degree in both bases: values, exact scales, exact counts.

use super::*;
use crate::count::Work;
use crate::{Basis, Ciphertext, Error, PolynomialPlan, evaluate};

struct Lab {
    context: Context,
    secret: SecretKey,
    keys: RelinearizationKeys,
    x: Vec<f64>,
    a: Ciphertext,
}

impl Lab {
    fn new() -> Self {
        Self::with_scale(Ring::standard(8), |_| bits(45))
    }

    fn with_scale(ring: Ring, scale: fn(&Context) -> Scale) -> Self {
        let context = context_of(ring, &[50, 45, 45, 45, 45, 45, 45, 45], &[50, 50]);
        let (secret, keys) = keys(&context, 1);
        let x = values(ring.slots(), 1);
        let plaintext = context.encode(&x, 7, &scale(&context)).unwrap();
        let a = secret.encrypt(&context, &plaintext, &mut randomness(2)).unwrap();
        Self { context, secret, keys, x, a }
    }

    /// Plans, evaluates, checks values, scale, level and counts; returns products and relinearizations.
    fn check(&self, basis: Basis, coefficients: &[f64], level: usize, target: &Scale) -> (usize, usize) {
        let context = &self.context;
        let plan = PolynomialPlan::new(context, basis, coefficients, level, self.a.scale(), target).unwrap();
        let a = evaluate::drop_level(context, &self.a, level).unwrap();
        let counters = context.counters();
        counters.reset();
        let found = evaluate::polynomial(context, &a, &plan, &self.keys).unwrap();
        let cost = plan.cost();
        assert_eq!(counters.take(Work::Product), cost.products);
        assert_eq!(counters.take(Work::KeyProduct), cost.relinearizations);
        assert_eq!(counters.take(Work::ModDown), 2 * cost.relinearizations);
        let depth = (plan.degree() as f64 + 1.0).log2().ceil() as usize;
        assert_eq!((cost.depth, found.level(), plan.output_level()), (depth, level - depth, level - depth));
        assert_eq!((found.scale(), found.degree()), (target, 1));
        let values = context.decode(&self.secret.decrypt(context, &found).unwrap()).unwrap();
        let wanted: Vec<f64> = self.x.iter().map(|&x| clear(basis, coefficients, x)).collect();
        // The operand's error is multiplied by the derivative, which at the ends of [-1, 1] grows like the cube of the
        // degree.
        assert_close(&values, &wanted, if plan.degree() < 64 { 1e-8 } else { 1e-7 });
        (cost.products, cost.relinearizations)
    }
}

fn clear(basis: Basis, coefficients: &[f64], x: f64) -> f64 {
    let power = |i: usize| match basis {
        Basis::Monomial => x.powi(i as i32),
        Basis::Chebyshev => (i as f64 * x.acos()).cos(),
    };
    coefficients.iter().enumerate().map(|(i, c)| c * power(i)).sum()
}

/// Between -1 and 1, and never 0.
fn coefficients(degree: usize) -> Vec<f64> {
    values(degree + 1, degree).into_iter().map(|c| if c == 0.0 { 0.5 } else { c }).collect()
}

#[test]
fn every_degree_in_both_bases_at_the_exact_scale() {
    let lab = Lab::new();
    let odd_scale = Scale::prime(lab.context.modulus(3).value()).times(&bits(-4));
    let mut counts = [Vec::new(), Vec::new()];
    for degree in 1..=63 {
        for (basis, counts) in [Basis::Monomial, Basis::Chebyshev].into_iter().zip(&mut counts) {
            let level = if degree % 2 == 0 { 7 } else { 6 };
            let target = if degree % 3 == 0 { &odd_scale } else { &bits(45) };
            counts.push(lab.check(basis, &coefficients(degree), level, target));
        }
    }
    assert_eq!(counts[0], GOLDEN);
    assert_eq!(counts[1], GOLDEN);
    // Powers up to the 64th, whose scales are products of as many primes.
    let lab = Lab::with_scale(Ring::standard(8), |context| Scale::prime(context.modulus(7).value()));
    lab.check(Basis::Chebyshev, &coefficients(127), 7, &bits(45));
}

#[test]
fn the_conjugate_invariant_ring_takes_the_same_products() {
    let lab = Lab::with_scale(Ring::conjugate_invariant(6), |_| bits(45));
    for degree in [1, 3, 8, 21, 63] {
        for basis in [Basis::Monomial, Basis::Chebyshev] {
            assert_eq!(lab.check(basis, &coefficients(degree), 7, &bits(45)), GOLDEN[degree - 1]);
        }
    }
}

/// Products and relinearizations of dense polynomials of degrees 1 to 63, in either basis.
#[rustfmt::skip]
const GOLDEN: [(usize, usize); 63] = [
    (0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (4, 3), (5, 4), (5, 4),
    (6, 5), (6, 5), (6, 5), (6, 5), (7, 6), (7, 6), (8, 7), (9, 6),
    (9, 7), (9, 7), (9, 7), (9, 7), (10, 8), (10, 8), (10, 8), (10, 8),
    (11, 8), (11, 8), (11, 8), (11, 8), (12, 9), (12, 9), (13, 10), (12, 9),
    (13, 10), (13, 10), (13, 10), (13, 10), (13, 11), (13, 11), (13, 11), (13, 11),
    (14, 11), (14, 11), (14, 11), (14, 11), (14, 12), (14, 12), (14, 12), (14, 12),
    (15, 12), (15, 12), (15, 12), (15, 12), (15, 12), (15, 12), (15, 12), (15, 12),
    (16, 13), (16, 13), (16, 13), (16, 13), (17, 14), (17, 14), (18, 15),
];

#[test]
fn odd_and_even_polynomials_skip_powers() {
    let lab = Lab::new();
    let golden = [
        (3, (2, 2)),
        (7, (5, 4)),
        (8, (4, 3)),
        (14, (6, 5)),
        (15, (8, 7)),
        (27, (10, 8)),
        (31, (12, 10)),
        (63, (17, 14)),
    ];
    for (degree, counts) in golden {
        for basis in [Basis::Monomial, Basis::Chebyshev] {
            let mut coefficients = coefficients(degree);
            coefficients.iter_mut().enumerate().for_each(|(i, c)| *c *= f64::from((i + degree).is_multiple_of(2)));
            assert_eq!(lab.check(basis, &coefficients, 7, &bits(45)), counts, "degree {degree}");
        }
    }
}

#[test]
fn sparse_polynomials() {
    let lab = Lab::new();
    let sparse = |terms: &[(usize, f64)]| {
        let mut coefficients = vec![0.0; terms.iter().map(|(i, _)| i + 1).max().unwrap()];
        terms.iter().for_each(|&(i, c)| coefficients[i] = c);
        coefficients
    };
    let (m, c) = (Basis::Monomial, Basis::Chebyshev);
    assert_eq!(lab.check(m, &sparse(&[(1, -2.5), (0, 0.25)]), 1, &bits(44)), (0, 0));
    assert_eq!(lab.check(m, &sparse(&[(32, 1.0)]), 6, &bits(45)), (5, 5));
    assert_eq!(lab.check(c, &sparse(&[(32, 1.0)]), 6, &bits(45)), (5, 5));
    assert_eq!(lab.check(m, &sparse(&[(16, 0.5), (2, 1.0)]), 7, &bits(45)), (4, 4));
    let mut padded = coefficients(5);
    padded.extend([0.0; 30]);
    lab.check(c, &padded, 3, &bits(45));
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let lab = Lab::new();
    let context = &lab.context;
    let plan = |coefficients: &[f64], level| {
        PolynomialPlan::new(context, Basis::Monomial, coefficients, level, &bits(45), &bits(45)).map(|_| ())
    };
    assert_eq!(plan(&coefficients(4), 2), Err(Error::Depth { needed: 3, found: 2 }));
    assert!(matches!(plan(&[1.0], 2), Err(Error::DegreeRange { found: 0, .. })));
    assert!(matches!(plan(&[], 2), Err(Error::DegreeRange { found: 0, .. })));
    assert!(matches!(plan(&vec![1.0; 1025], 7), Err(Error::DegreeRange { found: 1024, .. })));
    assert!(matches!(plan(&[0.0, f64::NAN], 7), Err(Error::NotFinite { index: 1, .. })));
    assert!(matches!(plan(&[0.0, 1.0], 8), Err(Error::LevelTooHigh { allowed: 7, .. })));
    assert!(matches!(plan(&[0.0, 1e80], 1), Err(Error::Overflow { .. })));
    let plan = PolynomialPlan::new(context, Basis::Monomial, &[0.0, 1.0, 1.0], 4, &bits(45), &bits(45)).unwrap();
    let apply = |a: &Ciphertext| evaluate::polynomial(context, a, &plan, &lab.keys);
    let operation = "polynomial";
    assert_eq!(apply(&lab.a), Err(Error::Level { operation, expected: 4, found: 7 }));
    let low = evaluate::drop_level(context, &lab.a, 4).unwrap();
    let square = evaluate::square(context, &low).unwrap();
    assert_eq!(apply(&square), Err(Error::Scale { operation, expected: bits(45), found: bits(90) }));
    let other = super::context(8, &[50, 45, 45], &[50]);
    assert!(matches!(evaluate::polynomial(&other, &low, &plan, &lab.keys), Err(Error::Parameters { .. })));
}
