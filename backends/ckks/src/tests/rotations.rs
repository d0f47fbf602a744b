//! Rotations, conjugation, sums of slots: values, equal bits, counts of work, refusals.

use super::*;
use crate::count::Work;
use crate::{Automorphism, Complex, Error, GaloisKey, GaloisKeys, evaluate};

fn rotations(steps: impl IntoIterator<Item = i64>, level: usize) -> Vec<(Automorphism, usize)> {
    steps.into_iter().map(|steps| (Automorphism::Rotation { steps }, level)).collect()
}

#[test]
fn slots_move_and_conjugate() {
    let context = context(10, &[50, 40, 40], &[50]);
    let (secret, _) = keys(&context, 1);
    let mut randomness = randomness(2);
    let steps = [1, 5, -1, 100, 511, 0, 512, -513];
    let mut needs = rotations(steps, 2);
    needs.push((Automorphism::Conjugation, 1));
    let galois = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
    // -1 and 511 are one, as are -513 and 511; 0 and 512 need none.
    assert_eq!(galois.len(), 5);
    let z: Vec<Complex> = values(512, 1).iter().zip(values(512, 2)).map(|(&re, im)| Complex { re, im }).collect();
    let plaintext = context.encode_complex(&z, 2, &bits(40)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
    let open = |c: &crate::Ciphertext| context.decode_complex(&secret.decrypt(&context, c).unwrap()).unwrap();
    let close = |found: Vec<Complex>, wanted: &dyn Fn(usize) -> Complex| {
        for (j, found) in found.into_iter().enumerate() {
            let wanted = wanted(j);
            assert!((found.re - wanted.re).hypot(found.im - wanted.im) < 1e-7, "slot {j}");
        }
    };
    for level in [2, 0] {
        let a = evaluate::drop_level(&context, &a, level).unwrap();
        for steps in steps {
            let rotated = evaluate::rotate(&context, &a, steps, &galois).unwrap();
            assert_eq!((rotated.level(), rotated.scale()), (level, a.scale()));
            close(open(&rotated), &|j| z[(j as i64 + steps).rem_euclid(512) as usize]);
        }
    }
    let low = evaluate::drop_level(&context, &a, 1).unwrap();
    let conjugated = evaluate::conjugate(&context, &low, &galois).unwrap();
    close(open(&conjugated), &|j| Complex { re: z[j].re, im: -z[j].im });
    assert!(matches!(
        evaluate::conjugate(&context, &a, &galois),
        Err(Error::LevelTooHigh { operation: "conjugate", allowed: 1, found: 2 })
    ));
}

#[test]
fn rotations_that_share_their_digits_are_the_same_bits() {
    for special in 1..=3 {
        let context = context(6, &[40; 7], &[45, 46, 47][..special]);
        let (secret, _) = keys(&context, 1);
        let mut randomness = randomness(2);
        let steps = [3, 0, -7, 3, 16, 31];
        let galois = GaloisKeys::generate(&context, &secret, rotations(steps, 6), &mut randomness).unwrap();
        let plaintext = context.encode(&values(32, 1), 6, &bits(40)).unwrap();
        let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
        for level in [6, 3, 0] {
            let a = evaluate::drop_level(&context, &a, level).unwrap();
            let (limbs, digits) = (level + 1, (level + 1).div_ceil(special));
            context.counters().reset();
            let many = evaluate::rotate_many(&context, &a, &steps, &galois).unwrap();
            // As the documentation says: digits once, two divisions for each rotation that is one.
            let once = digits * (limbs + special);
            let each = 2 * (limbs + special);
            assert_eq!(context.counters().take(Work::Transform), once + 5 * each);
            for (steps, found) in steps.iter().zip(many) {
                assert!(found == evaluate::rotate(&context, &a, *steps, &galois).unwrap(), "by {steps}");
            }
            assert_eq!(context.counters().take(Work::Transform), 5 * (once + each));
            if level > 0 {
                evaluate::rotate_rescale(&context, &a, 3, &galois).unwrap();
                assert_eq!(context.counters().take(Work::Transform), once + each);
                let rescaled = evaluate::rotate_rescale(&context, &a, 0, &galois).unwrap();
                assert_eq!(context.counters().take(Work::Transform), 2 * limbs);
                assert!(rescaled == evaluate::rescale(&context, &a).unwrap());
            }
            context.counters().reset();
        }
    }
}

#[test]
fn merged_rescaling_saves_the_transforms_that_it_claims() {
    let context = context(6, &[40; 7], &[45, 46]);
    let (secret, keys) = keys(&context, 1);
    let plaintext = context.encode(&values(32, 1), 6, &bits(40)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness(2)).unwrap();
    let square = evaluate::square(&context, &a).unwrap();
    context.counters().reset();
    evaluate::relinearize_rescale(&context, &square, &keys).unwrap();
    let merged = context.counters().take(Work::Transform);
    evaluate::rescale(&context, &evaluate::relinearize(&context, &square, &keys).unwrap()).unwrap();
    assert_eq!(context.counters().take(Work::Transform) - merged, 2 * 7);
    assert_eq!(merged, 4 * 9 + 2 * (2 + 1 + 6));
}

#[test]
fn sums_of_slots() {
    let context = context(8, &[50, 40], &[50]);
    let (secret, _) = keys(&context, 1);
    let mut randomness = randomness(2);
    let x = values(128, 1);
    let plaintext = context.encode(&x, 1, &bits(40)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
    for (log_count, stride) in [(0, 1), (3, 1), (7, 1), (2, 16), (4, -3), (9, 64)] {
        let steps = evaluate::inner_sum_rotations(&context, log_count, stride);
        assert_eq!(steps.len(), log_count as usize);
        let galois = GaloisKeys::generate(&context, &secret, rotations(steps, 1), &mut randomness).unwrap();
        let sum = evaluate::inner_sum(&context, &a, log_count, stride, &galois).unwrap();
        let found = context.decode(&secret.decrypt(&context, &sum).unwrap()).unwrap();
        let slot = |j: i64, i: i64| x[(j + i * stride).rem_euclid(128) as usize];
        let wanted: Vec<f64> = (0..128).map(|j| (0..1 << log_count).map(|i| slot(j, i)).sum()).collect();
        assert_close(&found, &wanted, 1e-6);
    }
}

#[test]
fn what_keys_are_missing_is_said() {
    let context = context(5, &[40, 30], &[40]);
    let (secret, keys) = keys(&context, 1);
    let mut randomness = randomness(2);
    let plaintext = context.encode(&[0.5], 1, &bits(30)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
    let mut galois = GaloisKeys::new();
    assert!(galois.is_empty());
    let error = evaluate::rotate(&context, &a, 3, &galois).unwrap_err();
    assert_eq!(error.to_string(), "rotate: no key for the rotation by 3 (Galois element 61)");
    let error = evaluate::rotate_many(&context, &a, &[0, -1], &galois).unwrap_err();
    let automorphism = Automorphism::Rotation { steps: -1 };
    assert_eq!(error, Error::MissingGaloisKey { operation: "rotate_many", automorphism, element: 13 });
    let error = evaluate::conjugate(&context, &a, &galois).unwrap_err();
    assert_eq!(error.to_string(), "conjugate: no key for the conjugation (Galois element 63)");
    evaluate::rotate_many(&context, &a, &[0, 16], &galois).unwrap();

    galois.insert(GaloisKey::generate(&context, &secret, automorphism, 0, &mut randomness).unwrap());
    let key = galois.iter().next().unwrap();
    assert_eq!((key.galois_element(), key.level()), (13, 0));
    let low = Error::LevelTooHigh { operation: "rotate", allowed: 0, found: 1 };
    assert_eq!(evaluate::rotate(&context, &a, -1, &galois), Err(low));
    galois.insert(GaloisKey::generate(&context, &secret, automorphism, 1, &mut randomness).unwrap());
    assert_eq!(galois.len(), 1);
    evaluate::rotate(&context, &a, -1, &galois).unwrap();
    let square = evaluate::square(&context, &a).unwrap();
    let degree = |operation| Err(Error::Degree { operation, expected: 1, found: 2 });
    assert_eq!(evaluate::rotate(&context, &square, -1, &galois), degree("rotate"));
    assert_eq!(evaluate::rotate_many(&context, &square, &[1], &galois), degree("rotate_many").map(|a| vec![a]));
    let bottom = evaluate::drop_level(&context, &a, 0).unwrap();
    assert_eq!(evaluate::rotate_rescale(&context, &bottom, -1, &galois), Err(Error::NoLevelLeft));
    let square = evaluate::drop_level(&context, &square, 0).unwrap();
    assert_eq!(evaluate::relinearize_rescale(&context, &square, &keys), Err(Error::NoLevelLeft));
    assert!(GaloisKey::generate(&context, &secret, automorphism, 2, &mut randomness).is_err());

    let other = super::context(6, &[40, 30], &[40]);
    assert!(matches!(evaluate::rotate(&other, &a, 1, &galois), Err(Error::Parameters { .. })));
    assert!(matches!(galois.to_bytes(&other), Err(Error::Parameters { .. })));
}
