use super::*;
use crate::arithmetic::tests::{primes, random};
use proptest::prelude::*;

/// Every transform that this machine can run.
fn tables(q: Modulus, ring: Ring) -> Vec<NttTable> {
    [Simd::Portable, Simd::detected()].map(|simd| NttTable::with_simd(q, ring, simd)).to_vec()
}

/// Both rings of a degree, each with its primes.
fn rings(log_n: u32) -> Vec<(Ring, Modulus)> {
    let standard = primes(log_n).into_iter().map(|q| (Ring::standard(log_n), q));
    standard.chain(primes(log_n + 1).into_iter().map(|q| (Ring::conjugate_invariant(log_n), q))).collect()
}

/// The coefficients of an element as a polynomial in `X`, modulo `X^N + 1` or `X^2N + 1`.
fn coefficients(q: Modulus, ring: Ring, a: &[u64]) -> Vec<u64> {
    match ring.ring_type {
        RingType::Standard => a.to_vec(),
        RingType::ConjugateInvariant => {
            let mirrored = a[1..].iter().rev().map(|&c| q.neg(c));
            a.iter().copied().chain([0]).chain(mirrored).collect()
        }
    }
}

/// All zero, all `q - 1`, alternating, only one coefficient, random.
fn inputs(q: Modulus, n: usize) -> Vec<Vec<u64>> {
    let top = q.value() - 1;
    let half = q.value() / 2;
    let single = |at: usize| (0..n).map(|i| if i == at { top } else { 0 }).collect();
    let mut all = vec![vec![0; n], vec![top; n], vec![half; n], vec![half + 1; n], single(0), single(n - 1)];
    all.push((0..n).map(|i| if i % 2 == 0 { top } else { 0 }).collect());
    all.push((0..n).map(|i| if i < n / 2 { top } else { 0 }).collect());
    all.push((0..n).map(|i| if i.count_ones() % 2 == 0 { top } else { 1 }).collect());
    all.extend((0..3).map(|seed| random(q, n, seed)));
    all
}

fn schoolbook(q: Modulus, a: &[u64], b: &[u64]) -> Vec<u64> {
    let n = a.len();
    let mut product = vec![0; n];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            let term = (u128::from(x) * u128::from(y) % u128::from(q.value())) as u64;
            let at = &mut product[(i + j) % n];
            *at = if i + j < n { q.add(*at, term) } else { q.sub(*at, term) };
        }
    }
    product
}

#[test]
fn output_i_is_the_value_at_the_documented_root() {
    for log_n in 3..=8 {
        for (ring, q) in rings(log_n) {
            let n = 1usize << log_n;
            let a = random(q, n, 5);
            let polynomial = coefficients(q, ring, &a);
            let psi = primitive_root_2n(q, ring.log_order() - 1);
            for table in tables(q, ring) {
                let mut values = a.clone();
                table.forward(&mut values);
                for (i, &value) in values.iter().enumerate() {
                    let reversed = i.reverse_bits() >> (usize::BITS - log_n);
                    let root = q.pow(psi, ring.order() / n as u64 * reversed as u64 + 1);
                    assert_eq!(value, polynomial.iter().rev().fold(0, |sum, &c| q.mul_add(sum, root, c)));
                }
            }
        }
    }
}

#[test]
fn pointwise_products_are_products_in_the_ring() {
    for log_n in 3..=9 {
        for (ring, q) in rings(log_n) {
            let (a, b) = (random(q, 1 << log_n, 1), random(q, 1 << log_n, 2));
            let wanted = schoolbook(q, &coefficients(q, ring, &a), &coefficients(q, ring, &b));
            for table in tables(q, ring) {
                let (mut x, mut y) = (a.clone(), b.clone());
                table.forward(&mut x);
                table.forward(&mut y);
                x.iter_mut().zip(&y).for_each(|(x, &y)| *x = q.mul(*x, y));
                table.inverse(&mut x);
                assert_eq!(coefficients(q, ring, &x), wanted, "{ring}, q {}", q.value());
            }
        }
    }
}

#[test]
fn the_transforms_are_inverse_and_equal_on_every_machine() {
    for log_n in 3..=17 {
        for (ring, q) in rings(log_n) {
            let [portable, fast] = &tables(q, ring)[..] else { unreachable!("two") };
            for input in inputs(q, 1 << log_n) {
                let (mut x, mut y) = (input.clone(), input.clone());
                portable.forward(&mut x);
                fast.forward(&mut y);
                assert!(x == y, "forward, {ring}, q {}", q.value());
                fast.inverse(&mut y);
                assert!(y == input, "inverse of forward, {ring}, q {}", q.value());
                let mut z = input.clone();
                portable.inverse(&mut x);
                assert!(x == input, "portable, {ring}, q {}", q.value());
                portable.inverse(&mut x);
                fast.inverse(&mut z);
                assert!(x == z, "inverse, {ring}, q {}", q.value());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bits_do_not_depend_on_the_machine(seed: u64, log_n in 6u32..12, which in 0usize..8, dense: bool) {
        let (ring, q) = rings(log_n)[which];
        let mut input = random(q, 1 << log_n, seed);
        if dense {
            input.iter_mut().for_each(|x| *x = if *x % 2 == 0 { q.value() - 1 - *x % 8 } else { *x % 8 });
        }
        let [portable, fast] = &tables(q, ring)[..] else { unreachable!("two") };
        let (mut x, mut y) = (input.clone(), input);
        portable.forward(&mut x);
        fast.forward(&mut y);
        prop_assert!(x == y);
        portable.inverse(&mut x);
        fast.inverse(&mut y);
        prop_assert!(x == y);
    }
}
