//! Key switches on small rings against big integers: digits times keys, automorphisms, and divisions, exactly.

use hec_ir::parameters::RingType;
use num_bigint::BigInt;
use num_traits::{Signed, Zero};

use super::exact::*;
use super::*;
use crate::{Automorphism, Ciphertext, GaloisKeys, KeySwitchKey, evaluate};

/// `sum_d [c]_d (b_d, a_d)` over all terms, no modulus.
fn key_products(lab: &Lab, level: usize, terms: &[(&Big, &KeySwitchKey)]) -> [Big; 2] {
    let context = &lab.context;
    let all: Vec<usize> = context.extended(context.max_level()).collect();
    let mut halves = [vec![BigInt::zero(); context.n()], vec![BigInt::zero(); context.n()]];
    for (c, key) in terms {
        for (d, limbs) in context.chain(level).chunks(context.special().len()).enumerate() {
            let digit_modulus: BigInt = limbs.iter().map(|q| BigInt::from(q.value())).product();
            let digit = centred_all(c, &digit_modulus);
            for (half, key) in halves.iter_mut().zip([&key.parts.b[d], &key.parts.a[d]]) {
                *half = sum(half, &lab.product(&digit, &lab.big(key, &all)));
            }
        }
    }
    halves
}

/// `(halves + P (c_0, c_1)) / D`, rounded, modulo what remains: `P` for `D`, or `P q_level`.
fn lowered(lab: &Lab, level: usize, halves: [Big; 2], c: [Option<&Big>; 2], merged: bool) -> Vec<Big> {
    let special = lab.special();
    let total = lab.modulus(level) * &special;
    let (divisor, kept) = match merged {
        false => (special.clone(), level),
        true => (&special * lab.context.modulus(level).value(), level - 1),
    };
    let lowered = halves.iter().zip(c).map(|(half, c)| {
        let raised = c.map_or_else(|| half.clone(), |c| half.iter().zip(c).map(|(h, c)| h + c * &special).collect());
        divided(&centred_all(&raised, &total), &divisor, &lab.modulus(kept))
    });
    lowered.collect()
}

/// `a(X^g)`.
fn automorphism(lab: &Lab, a: &Big, g: usize) -> Big {
    let degree = a.len();
    let a = lab.polynomial(a);
    let n = a.len();
    let mut image = vec![BigInt::zero(); n];
    for (i, c) in a.iter().enumerate() {
        let at = i * g % (2 * n);
        image[at % n] = if at < n { c.clone() } else { -c };
    }
    image.truncate(degree);
    image
}

fn galois(lab: &Lab, automorphisms: &[Automorphism]) -> GaloisKeys {
    let top = lab.context.max_level();
    let needs = automorphisms.iter().map(|&a| (a, top));
    GaloisKeys::generate(&lab.context, &lab.secret, needs, &mut randomness(5)).unwrap()
}

#[test]
fn relinearization_is_the_rounded_sum_of_digits_times_keys() {
    for lab in labs() {
        for level in 0..=lab.context.max_level() {
            for degree in 2..=4 {
                let a = lab.ciphertext(level, degree, 4);
                let parts = lab.parts(&a);
                let terms: Vec<_> = parts[2..].iter().zip(&lab.keys.keys).collect();
                let halves = key_products(&lab, level, &terms);
                let c = [Some(&parts[0]), Some(&parts[1])];
                let found = evaluate::relinearize(&lab.context, &a, &lab.keys).unwrap();
                let wanted = lowered(&lab, level, halves.clone(), c, false);
                assert_eq!(lab.parts(&found), wanted, "level {level}, degree {degree}");
                if level > 0 {
                    let found = evaluate::relinearize_rescale(&lab.context, &a, &lab.keys).unwrap();
                    let wanted = lowered(&lab, level, halves, c, true);
                    assert_eq!(lab.parts(&found), wanted, "merged, level {level}, degree {degree}");
                }
            }
        }
    }
}

#[test]
fn rotations_and_conjugation() {
    let automorphisms = [1, 3, -2].map(|steps| Automorphism::Rotation { steps });
    for lab in labs() {
        let context = &lab.context;
        let mut automorphisms = automorphisms.to_vec();
        if context.ring().ring_type == RingType::Standard {
            automorphisms.push(Automorphism::Conjugation);
        }
        let keys = galois(&lab, &automorphisms);
        for level in 0..=context.max_level() {
            let a = lab.ciphertext(level, 1, 4);
            let parts = lab.parts(&a);
            for &automorphism in &automorphisms {
                let key = keys.find(context, "", automorphism, level).unwrap();
                let halves = key_products(&lab, level, &[(&parts[1], &key.key)]);
                let image = |merged| -> Vec<Big> {
                    let lowered = lowered(&lab, level, halves.clone(), [Some(&parts[0]), None], merged);
                    lowered.iter().map(|poly| self::automorphism(&lab, poly, key.element as usize)).collect()
                };
                let found = match automorphism {
                    Automorphism::Rotation { steps } => {
                        if level > 0 {
                            let found = evaluate::rotate_rescale(context, &a, steps, &keys).unwrap();
                            assert_eq!(lab.parts(&found), image(true), "{automorphism} at level {level}");
                        }
                        evaluate::rotate(context, &a, steps, &keys)
                    }
                    Automorphism::Conjugation => evaluate::conjugate(context, &a, &keys),
                };
                assert_eq!(lab.parts(&found.unwrap()), image(false), "{automorphism} at level {level}");
            }
        }
    }
}

/// Two roundings, or one: no coefficient is more than 1 apart.
#[test]
fn merged_rescaling_is_within_one_of_the_separate_path() {
    for lab in labs() {
        let context = &lab.context;
        let keys = galois(&lab, &[Automorphism::Rotation { steps: 1 }]);
        for level in 1..=context.max_level() {
            let (a, b) = (lab.ciphertext(level, 1, 4), lab.ciphertext(level, 1, 5));
            let product = evaluate::multiply(context, &a, &b).unwrap();
            let relinearized = evaluate::relinearize(context, &product, &lab.keys).unwrap();
            let merged = evaluate::multiply_relinearize_rescale(context, &a, &b, &lab.keys).unwrap();
            let rotated = evaluate::rotate(context, &a, 1, &keys).unwrap();
            for (separate, merged) in
                [(relinearized, merged), (rotated, evaluate::rotate_rescale(context, &a, 1, &keys).unwrap())]
            {
                let separate: Ciphertext = evaluate::rescale(context, &separate).unwrap();
                assert_eq!((merged.level(), merged.scale()), (separate.level(), separate.scale()));
                for (x, y) in lab.parts(&merged).iter().zip(lab.parts(&separate)) {
                    let apart = x.iter().zip(y).map(|(x, y)| centred(&(x - y), &lab.modulus(level - 1)).abs()).max();
                    assert!(apart.unwrap() <= BigInt::from(1));
                }
            }
            let square = evaluate::square(context, &a).unwrap();
            let square = evaluate::relinearize_rescale(context, &square, &lab.keys).unwrap();
            assert!(square == evaluate::multiply_relinearize_rescale(context, &a, &a, &lab.keys).unwrap());
        }
    }
}
