//! What is added to a decryption before it is shown: how wide, how shaped, and never twice the same.

use super::{bits, context_of, randomness, rings, values};
use crate::sampling::Randomness;
use crate::{Context, Error, SecretKey};

/// The noise in each slot, of one flooded plaintext.
fn noise(context: &Context, deviation: f64, randomness: &mut Randomness) -> (f64, Vec<f64>) {
    let zeros = vec![0.0; context.parameters().slots()];
    let mut plaintext = context.encode(&zeros, 1, &bits(60)).unwrap();
    let got = context.flood(&mut plaintext, deviation, randomness).unwrap();
    (got, context.decode(&plaintext).unwrap())
}

/// The largest distance between the distribution of `x` and a Gaussian's (Kolmogorov and Smirnov), times the root of their number.
fn kolmogorov_smirnov(mut x: Vec<f64>, deviation: f64) -> f64 {
    x.sort_by(f64::total_cmp);
    let n = x.len() as f64;
    let distance = x.iter().enumerate().map(|(i, value)| {
        let expected = normal(value / deviation);
        (expected - i as f64 / n).abs().max((expected - (i + 1) as f64 / n).abs())
    });
    distance.fold(0.0, f64::max) * n.sqrt()
}

/// The standard Gaussian's distribution function, by Simpson's rule.
fn normal(x: f64) -> f64 {
    const STEPS: usize = 200;
    let end = x.abs().min(8.0);
    let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let step = end / STEPS as f64;
    let weight = |i: usize| if i == 0 || i == STEPS { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
    let area = (0..=STEPS).map(|i| weight(i) * density(i as f64 * step)).sum::<f64>() * step / 3.0;
    0.5 + area.copysign(x)
}

#[test]
fn slots_get_gaussian_noise_of_the_width_asked_for() {
    for ring in rings(12) {
        let context = context_of(ring, &[50, 50, 50], &[]);
        let mut randomness = randomness(71);
        // In coefficients from about 2^2 to 2^50.
        for deviation in [-50, -40, -20, -3].map(|e: i32| 1.3 * f64::from(e).exp2()) {
            let (got, x) = noise(&context, deviation, &mut randomness);
            assert!(got >= deviation && got < 1.5 * deviation, "{deviation} {got}");
            let n = x.len() as f64;
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|v| v * v).sum::<f64>() / n;
            assert!(mean.abs() < 5.0 * got / n.sqrt(), "{ring}: mean {mean} at {got}");
            assert!(
                (variance / (got * got) - 1.0).abs() < 5.0 * (2.0 / n).sqrt(),
                "{ring}: variance {variance} at {got}"
            );
            // More with one chance in 10^6: 2 exp(-2 x^2).
            let distance = kolmogorov_smirnov(x, got);
            assert!(distance < 2.7, "{ring}: {distance} at {got}");
        }
    }
}

#[test]
fn no_two_floodings_are_the_same_and_the_message_stays() {
    for ring in rings(10) {
        let context = context_of(ring, &[50, 50], &[]);
        let (mut own, mut source) = (Randomness::from_os().unwrap(), randomness(5));
        let secret = SecretKey::generate(&context, &mut source);
        let message = values(context.parameters().slots(), 3);
        let plaintext = context.encode(&message, 1, &bits(40)).unwrap();
        let ciphertext = secret.encrypt(&context, &plaintext, &mut source).unwrap();
        let mut shown = || {
            let mut plaintext = secret.decrypt(&context, &ciphertext).unwrap();
            let got = context.flood(&mut plaintext, 1e-4, &mut own).unwrap();
            (got, context.decode(&plaintext).unwrap())
        };
        let ((got, first), (_, second)) = (shown(), shown());
        assert!(first.iter().zip(&second).all(|(a, b)| a != b));
        assert!(
            first.iter().chain(&second).zip(message.iter().chain(&message)).all(|(a, b)| (a - b).abs() < 8.0 * got)
        );
        // They differ by the noise of both, not by that of the ciphertext.
        let apart = first.iter().zip(&second).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / first.len() as f64;
        assert!((apart.sqrt() / (2f64.sqrt() * got) - 1.0).abs() < 0.2, "{apart} {got}");
    }
}

#[test]
fn noise_that_cannot_be_added_is_refused() {
    let context = context_of(rings(10)[0], &[40, 40], &[]);
    let mut source = randomness(6);
    let mut plaintext = context.encode(&[0.5], 0, &bits(30)).unwrap();
    for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let refused = context.flood(&mut plaintext, deviation, &mut source).unwrap_err();
        assert!(matches!(refused, Error::NotFinite { operation: "flood", .. }), "{refused}");
    }
    for deviation in [1e4, 1e30] {
        let refused = context.flood(&mut plaintext, deviation, &mut source).unwrap_err();
        assert!(matches!(refused, Error::Overflow { operation: "flood", .. }), "{refused}");
    }
    let other = context_of(rings(10)[0], &[41, 40], &[]);
    assert!(matches!(other.flood(&mut plaintext, 0.1, &mut source), Err(Error::Parameters { .. })));
    // What was refused is as it was.
    assert!((context.decode(&plaintext).unwrap()[0] - 0.5).abs() < 1e-6);
}
