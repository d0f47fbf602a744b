//! What does not fit is refused, with what was expected and what was found.

use super::*;
use crate::{Ciphertext, Complex, Error, KeySwitchKey, PreparedMatrix, PublicKey, evaluate};

struct Lab {
    context: Context,
    secret: SecretKey,
    keys: RelinearizationKeys,
}

impl Lab {
    fn new() -> Self {
        let context = context(5, &[40, 30, 30], &[40]);
        let (secret, keys) = keys(&context, 1);
        Self { context, secret, keys }
    }

    fn ciphertext(&self, level: usize, scale: i32) -> Ciphertext {
        let plaintext = self.context.encode(&[0.5], level, &bits(scale)).unwrap();
        self.secret.encrypt(&self.context, &plaintext, &mut randomness(3)).unwrap()
    }
}

#[test]
fn levels_scales_and_degrees() {
    let lab = Lab::new();
    let context = &lab.context;
    let (a, low, other) = (lab.ciphertext(2, 20), lab.ciphertext(1, 20), lab.ciphertext(2, 21));
    let square = evaluate::square(context, &a).unwrap();
    let level = |operation| Err(Error::Level { operation, expected: 2, found: 1 });
    assert_eq!(evaluate::add(context, &a, &low), level("add"));
    assert_eq!(evaluate::sub(context, &a, &low), level("sub"));
    assert_eq!(evaluate::multiply(context, &a, &low), level("multiply"));
    let scales = Err(Error::Scale { operation: "add", expected: bits(20), found: bits(21) });
    assert_eq!(evaluate::add(context, &a, &other), scales);
    let same_scale = lab.ciphertext(2, 40);
    assert_eq!(
        evaluate::add(context, &same_scale, &square),
        Err(Error::Degree { operation: "add", expected: 1, found: 2 })
    );
    let fourth = evaluate::square(context, &square).unwrap();
    assert!(matches!(evaluate::multiply(context, &fourth, &a), Err(Error::DegreeRange { found: 5, max: 4, .. })));
    assert!(matches!(evaluate::relinearize(context, &a, &lab.keys), Err(Error::DegreeRange { found: 1, min: 2, .. })));
    assert_eq!(evaluate::rescale(context, &lab.ciphertext(0, 20)), Err(Error::NoLevelLeft));
    assert!(matches!(evaluate::drop_level(context, &low, 2), Err(Error::LevelTooHigh { allowed: 1, found: 2, .. })));
    let plaintext = context.encode(&[1.0], 1, &bits(20)).unwrap();
    assert_eq!(evaluate::add_plain(context, &a, &plaintext), level("add_plain"));
    assert_eq!(evaluate::multiply_plain(context, &a, &plaintext), level("multiply_plain"));
    let message = evaluate::add(context, &a, &other).unwrap_err().to_string();
    assert_eq!(message, "add: scales 2^20 and 2^21 differ (2^20 and 2^21)");
}

#[test]
fn keys_that_do_not_reach() {
    let lab = Lab::new();
    let (context, mut randomness) = (&lab.context, randomness(1));
    let few = RelinearizationKeys::generate(context, &lab.secret, 1, 2, &mut randomness).unwrap();
    let square = evaluate::square(context, &lab.ciphertext(2, 20)).unwrap();
    assert!(matches!(evaluate::relinearize(context, &square, &few), Err(Error::LevelTooHigh { allowed: 1, .. })));
    let low = evaluate::drop_level(context, &square, 1).unwrap();
    evaluate::relinearize(context, &low, &few).unwrap();
    let cube = evaluate::multiply(context, &low, &lab.ciphertext(1, 20)).unwrap();
    assert!(matches!(evaluate::relinearize(context, &cube, &few), Err(Error::DegreeRange { found: 3, max: 2, .. })));
    for degree in [1, 5] {
        let keys = RelinearizationKeys::generate(context, &lab.secret, 1, degree, &mut randomness);
        assert!(matches!(keys, Err(Error::DegreeRange { .. })));
    }
    assert!(RelinearizationKeys::generate(context, &lab.secret, 3, 2, &mut randomness).is_err());

    let without = super::context(5, &[40, 30, 30], &[]);
    let secret = SecretKey::generate(&without, &mut randomness);
    let keys = RelinearizationKeys::generate(&without, &secret, 2, 2, &mut randomness);
    assert_eq!(keys.unwrap_err(), Error::NoSpecialPrimes);
}

#[test]
fn switching_keys_changes_the_key() {
    let lab = Lab::new();
    let (context, mut randomness) = (&lab.context, randomness(8));
    let other = SecretKey::generate(context, &mut randomness);
    let key = KeySwitchKey::generate(context, &lab.secret, &other, 2, &mut randomness).unwrap();
    for level in 0..=2 {
        let switched = evaluate::key_switch(context, &lab.ciphertext(level, 20), &key).unwrap();
        let found = context.decode(&other.decrypt(context, &switched).unwrap()).unwrap();
        assert!((found[0] - 0.5).abs() < 1e-3 && found[1].abs() < 1e-3, "{found:?}");
    }
}

#[test]
fn values_out_of_range() {
    let Lab { context, .. } = Lab::new();
    let encode = |values: &[f64], level, scale| context.encode(values, level, &bits(scale)).err();
    assert_eq!(encode(&[0.0; 17], 2, 20), Some(Error::Slots { slots: 16, found: 17 }));
    assert_eq!(encode(&[0.0, f64::NAN], 2, 20), Some(Error::NotFinite { operation: "encode", index: 1 }));
    assert_eq!(encode(&[f64::NEG_INFINITY], 2, 20), Some(Error::NotFinite { operation: "encode", index: 0 }));
    assert!(matches!(encode(&[f64::MAX; 16], 2, 20), Some(Error::Overflow { .. })));
    assert!(matches!(encode(&[1.0; 16], 0, 39), Some(Error::Overflow { .. })));
    assert_eq!(encode(&[1.0; 16], 0, 38), None);
    assert!(matches!(encode(&[1.0; 16], 2, 5000), Some(Error::ScaleRange { .. })));
    assert!(matches!(encode(&[1.0; 16], 3, 20), Some(Error::LevelTooHigh { allowed: 2, found: 3, .. })));
    assert!(matches!(encode(&[1.0; 16], 2, 99), Some(Error::Overflow { .. })));
    assert_eq!(encode(&[1.0; 16], 2, 98), None);
    let z = [Complex { re: 0.0, im: f64::INFINITY }];
    assert!(matches!(context.encode_complex(&z, 2, &bits(20)), Err(Error::NotFinite { index: 0, .. })));
    for bad in [f64::NAN, f64::INFINITY, 1e40] {
        assert!(context.encode_constant(bad, 2, &bits(20)).is_err());
    }
}

#[test]
fn other_parameters_and_shapes() {
    let lab = Lab::new();
    let other = super::context(6, &[40, 30, 30], &[40]);
    let (context, mut randomness) = (&lab.context, randomness(1));
    let a = lab.ciphertext(2, 20);
    let refused = |error: Option<Error>| assert!(matches!(error, Some(Error::Parameters { .. })), "{error:?}");
    refused(evaluate::add(&other, &a, &a).err());
    refused(evaluate::square(&other, &a).err());
    refused(evaluate::rescale(&other, &a).err());
    refused(lab.secret.decrypt(&other, &a).err());
    refused(a.to_bytes(&other).err());
    refused(PublicKey::generate(&other, &lab.secret, &mut randomness).err());
    let secret = SecretKey::generate(&other, &mut randomness);
    refused(secret.decrypt(&other, &a).err());
    refused(secret.encrypt(&other, &context.encode(&[1.0], 0, &bits(9)).unwrap(), &mut randomness).err());
    refused(other.decode(&context.encode(&[1.0], 0, &bits(9)).unwrap()).err());

    let matrix = hec_ir::matrix::BlockMatrix::dense(1, 2, vec![1.0, 2.0].into()).unwrap().map(|&w| w as i32);
    let matrix = PreparedMatrix::new(&matrix).unwrap();
    let apply = |inputs: &[&Ciphertext]| evaluate::scalar_matrix(context, &matrix, inputs, &bits(1)).err();
    assert!(matches!(apply(&[&a]), Some(Error::Columns { expected: 2, found: 1, .. })));
    assert!(matches!(apply(&[]), Some(Error::Columns { expected: 2, found: 0, .. })));
    assert!(matches!(apply(&[&a, &lab.ciphertext(1, 20)]), Some(Error::Level { .. })));
    assert!(matches!(apply(&[&a, &lab.ciphertext(2, 21)]), Some(Error::Scale { .. })));
}

#[test]
fn secrets_do_not_show() {
    let Lab { secret, keys, .. } = Lab::new();
    assert_eq!(format!("{secret:?} {:?}", randomness(1)), "SecretKey { .. } Randomness { .. }");
    assert!(format!("{keys:?}").len() < 200);
}
