use super::*;
use crate::arithmetic::tests::random;
use hec_ir::parameters::PrimeSearch;
use num_bigint::BigInt;

fn moduli(bits: &[u32]) -> Vec<Modulus> {
    let mut search = PrimeSearch::new(10);
    bits.iter().map(|&bits| Modulus::new(search.take(bits).unwrap())).collect()
}

fn product(moduli: &[Modulus]) -> BigInt {
    moduli.iter().map(|q| BigInt::from(q.value())).product()
}

fn residue(x: &BigInt, q: Modulus) -> u64 {
    let q = BigInt::from(q.value());
    u64::try_from(((x % &q) + &q) % &q).unwrap()
}

/// Converts numbers given by their residues, on every machine that there is.
fn convert(from: &[Modulus], to: &[Modulus], input: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let input: Vec<&[u64]> = input.iter().map(|x| &x[..]).collect();
    let [portable, fast] = [Simd::Portable, Simd::detected()].map(|simd| {
        let mut out = vec![vec![1; input[0].len()]; to.len()];
        let mut slices: Vec<&mut [u64]> = out.iter_mut().map(|x| &mut x[..]).collect();
        BaseConversion::with_simd(from, to, simd).convert(&input, &mut slices);
        out
    });
    assert!(portable == fast, "bits depend on the machine");
    fast
}

fn check(from: &[Modulus], to: &[Modulus], centred: &[BigInt]) {
    let input: Vec<Vec<u64>> = from.iter().map(|&q| centred.iter().map(|x| residue(x, q)).collect()).collect();
    let out = convert(from, to, &input);
    for (out, &p) in out.iter().zip(to) {
        for (&y, x) in out.iter().zip(centred) {
            assert_eq!(y, residue(x, p), "{x} modulo {}", p.value());
        }
    }
}

const SHAPES: [(&[u32], &[u32]); 6] = [
    (&[50], &[50, 49, 20]),
    (&[50, 50, 50], &[50, 50, 40, 14]),
    (&[14, 50], &[50, 30]),
    (&[30, 40], &[50]),
    (&[50, 50, 50, 50, 50, 50, 50, 50, 50], &[50, 50]),
    (&[45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45, 45], &[50, 45]),
];

fn split<'a>(all: &'a [Modulus], (from, _): (&[u32], &[u32])) -> (&'a [Modulus], &'a [Modulus]) {
    all.split_at(from.len())
}

#[test]
fn the_centred_representative_is_lifted() {
    for shape in SHAPES {
        let all = moduli(&[shape.0, shape.1].concat());
        let (from, to) = split(&all, shape);
        let q = product(from);
        let inside: BigInt = (&q >> 1) - (&q >> 36);
        let mut numbers: Vec<BigInt> = (-3..=3).map(BigInt::from).collect();
        let quarter: BigInt = &q >> 2;
        numbers.extend([inside.clone(), -inside, -quarter]);
        check(from, to, &numbers);
    }
}

#[test]
fn random_residues_are_lifted() {
    for shape in SHAPES {
        let all = moduli(&[shape.0, shape.1].concat());
        let (from, to) = split(&all, shape);
        let q = product(from);
        let input: Vec<Vec<u64>> = from.iter().enumerate().map(|(i, &q)| random(q, 517, i as u64)).collect();
        let out = convert(from, to, &input);
        for at in 0..517 {
            let terms = from.iter().zip(&input).map(|(&m, x)| {
                let cofactor = &q / m.value();
                let inverse = m.inv(residue(&cofactor, m));
                cofactor * m.mul(x[at], inverse)
            });
            let x: BigInt = terms.sum::<BigInt>() % &q;
            let centred = if &x * 2 > q { x - &q } else { x };
            for (out, &p) in out.iter().zip(to) {
                assert_eq!(out[at], residue(&centred, p));
            }
        }
    }
}

#[test]
fn extreme_residues_give_some_representative() {
    for shape in SHAPES {
        let all = moduli(&[shape.0, shape.1].concat());
        let (from, to) = split(&all, shape);
        let q = product(from);
        for pick in [|q: Modulus| q.value() - 1, |q: Modulus| q.value() / 2, |q: Modulus| q.value() / 2 + 1] {
            let input: Vec<Vec<u64>> = from.iter().map(|&q| vec![pick(q); 9]).collect();
            let out = convert(from, to, &input);
            for &p in to {
                let at = to.iter().position(|&other| other == p).unwrap();
                assert!(out[at].iter().all(|&y| y < p.value() && y == out[at][0]));
            }
        }
        let third: BigInt = &q / 3;
        check(from, to, &[BigInt::from(0), third]);
    }
}
