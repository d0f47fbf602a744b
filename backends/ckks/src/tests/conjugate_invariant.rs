//! The conjugate-invariant ring: what it shares with the standard ring of twice the degree, and what it refuses.

use super::*;
use crate::{
    Automorphism, Complex, Error, GaloisKey, GaloisKeys, LinearTransform, ReadError, TransformSettings, evaluate,
};

fn ring() -> Ring {
    Ring::conjugate_invariant(9)
}

/// Real slots of the standard ring of degree 2N have the same coefficients, of which N say all.
#[test]
fn encodings_are_halves_of_those_in_the_ring_of_twice_the_degree() {
    let (small, large) = (context_of(ring(), &[50, 40], &[]), context(10, &[50, 40], &[]));
    let x = values(512, 1);
    for scale in [10, 20] {
        let [a, b] = [&small, &large].map(|context| context.encode(&x, 1, &bits(scale)).unwrap());
        let q = small.modulus(0);
        assert_eq!(q, large.modulus(0), "the same primes fit both");
        let (a, b) = (a.poly.limb(0), b.poly.limb(0));
        assert_eq!(a, &b[..512]);
        assert!(b[512] == 0 && (1..512).all(|i| b[1024 - i] == q.neg(a[i])));
    }
}

#[test]
fn slots_rotate_through_all_n() {
    let context = context_of(ring(), &[50, 40, 40], &[50]);
    let (secret, _) = keys(&context, 1);
    let mut randomness = randomness(2);
    let steps = [1, 5, -1, 100, 256, 511, 0, 512, -513];
    let needs = steps.map(|steps| (Automorphism::Rotation { steps }, 2));
    let galois = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
    assert_eq!(galois.len(), 5, "-1, 511 and -513 are one; 0 and 512 need none");
    let x = values(512, 1);
    let plaintext = context.encode(&x, 2, &bits(40)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
    let open = |c: &crate::Ciphertext| context.decode(&secret.decrypt(&context, c).unwrap()).unwrap();
    let rotated = |steps: i64| -> Vec<f64> { (0..512).map(|j: i64| x[(j + steps).rem_euclid(512) as usize]).collect() };
    for level in [2, 0] {
        let a = evaluate::drop_level(&context, &a, level).unwrap();
        for (steps, many) in steps.iter().zip(evaluate::rotate_many(&context, &a, &steps, &galois).unwrap()) {
            let one = evaluate::rotate(&context, &a, *steps, &galois).unwrap();
            assert!(one == many, "by {steps}");
            assert_close(&open(&one), &rotated(*steps), 1e-7);
        }
    }
    let needs = evaluate::inner_sum_rotations(&context, 9, 1).into_iter();
    let needs = needs.map(|steps| (Automorphism::Rotation { steps }, 2));
    let galois = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
    let sum = evaluate::inner_sum(&context, &a, 9, 1, &galois).unwrap();
    assert_close(&open(&sum), &vec![x.iter().sum(); 512], 1e-5);
}

#[test]
fn there_is_nothing_to_conjugate() {
    let context = context_of(ring(), &[50, 40], &[50]);
    let (secret, _) = keys(&context, 1);
    let mut randomness = randomness(2);
    let plaintext = context.encode(&[0.5], 1, &bits(30)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
    let error = evaluate::conjugate(&context, &a, &GaloisKeys::new()).unwrap_err();
    assert_eq!(error, Error::NoConjugation { operation: "conjugate" });
    let text = "conjugate: the slots of the conjugate-invariant ring are real, so there is nothing to conjugate";
    assert_eq!(error.to_string(), text);
    let conjugation = Automorphism::Conjugation;
    let key = GaloisKey::generate(&context, &secret, conjugation, 1, &mut randomness);
    assert_eq!(key.err(), Some(Error::NoConjugation { operation: "Galois key" }));
    let keys = GaloisKeys::generate(&context, &secret, [(conjugation, 1)], &mut randomness);
    assert_eq!(keys.err(), Some(Error::NoConjugation { operation: "Galois key" }));
}

#[test]
fn numbers_that_are_not_real_are_refused() {
    let context = context_of(ring(), &[50, 40], &[50]);
    let z = [Complex { re: 1.0, im: 0.0 }, Complex { re: 1.0, im: 1e-300 }];
    let encode = |z: &[Complex]| context.encode_complex(z, 1, &bits(30));
    let real = context.decode_complex(&encode(&z[..1]).unwrap()).unwrap();
    assert!((real[0].re - 1.0).abs() < 1e-6 && real.iter().all(|z| z.im.abs() < 1e-12));
    assert_eq!(encode(&z).err(), Some(Error::NotReal { operation: "encode", index: 1 }));
    let diagonals = [(0, vec![z[1]])].into();
    let transform = LinearTransform::new(&context, &diagonals, &TransformSettings::at_level(1));
    assert_eq!(transform.err(), Some(Error::NotReal { operation: "encode", index: 0 }));
    assert_eq!(context.encode(&[0.0; 513], 1, &bits(30)).err(), Some(Error::Slots { slots: 512, found: 513 }));
}

/// Same degree, same primes: only the ring differs, and nothing of one is taken for the other's.
#[test]
fn rings_are_not_mixed() {
    let invariant = parameters(ring(), &[50, 40], &[50]);
    let literal = Literal { ring_type: hec_ir::parameters::RingType::Standard, ..invariant.literal().clone() };
    let standard = Context::new(&Parameters::insecure_for_tests(literal).unwrap());
    let invariant = Context::new(&invariant);
    let (secret, _) = keys(&invariant, 1);
    let plaintext = invariant.encode(&[0.5], 1, &bits(30)).unwrap();
    let a = secret.encrypt(&invariant, &plaintext, &mut randomness(2)).unwrap();
    assert!(matches!(evaluate::square(&standard, &a), Err(Error::Parameters { .. })));
    assert!(matches!(secret.decrypt(&standard, &a), Err(Error::Parameters { .. })));
    let bytes = a.to_bytes(&invariant).unwrap();
    assert!(crate::Ciphertext::from_bytes(&invariant, &bytes).unwrap() == a);
    assert_eq!(crate::Ciphertext::from_bytes(&standard, &bytes).err(), Some(ReadError::Parameters));
}

/// Of `g` and `-g` only the one that is 1 modulo 4 is a Galois element.
#[test]
fn other_galois_elements_are_not_read() {
    let context = context_of(Ring::conjugate_invariant(4), &[30], &[31]);
    let (secret, _) = keys(&context, 1);
    let rotation = Automorphism::Rotation { steps: 1 };
    let mut key = GaloisKey::generate(&context, &secret, rotation, 0, &mut randomness(2)).unwrap();
    for element in [3, 59, 64, 69] {
        key.element = element;
        let error = GaloisKey::from_bytes(&context, &key.to_bytes(&context).unwrap()).unwrap_err().to_string();
        let expected = format!("Galois element {element}, expected 1 modulo 4, and a number below 64");
        assert!(error.contains(&expected), "{error}");
    }
}
