//! The ends of what parameters allow: rings of degree 2^16 and 2^17, chains of forty limbs, few and many digits.

use super::*;
use crate::{Automorphism, GaloisKeys, evaluate};

#[test]
fn large_rings() {
    for log_n in [16, 17] {
        let context = context(log_n, &[50, 45, 45], &[50]);
        let slots = context.parameters().slots();
        let mut randomness = randomness(1);
        let secret = SecretKey::generate(&context, &mut randomness);
        let keys = RelinearizationKeys::generate(&context, &secret, 2, 2, &mut randomness).unwrap();
        let needs = [(Automorphism::Rotation { steps: 12_345 }, 1)];
        let galois = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
        let x = values(slots, 1);
        let plaintext = context.encode(&x, 2, &bits(45)).unwrap();
        let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
        let product = evaluate::multiply_relinearize_rescale(&context, &a, &a, &keys).unwrap();
        let rotated = evaluate::rotate(&context, &product, 12_345, &galois).unwrap();
        let found = context.decode(&secret.decrypt(&context, &rotated).unwrap()).unwrap();
        let wanted: Vec<f64> = (0..slots).map(|j| x[(j + 12_345) % slots].powi(2)).collect();
        assert_close(&found, &wanted, 1e-6);
        let low =
            evaluate::rescale(&context, &evaluate::multiply_constant(&context, &rotated, 0.5, &bits(45)).unwrap());
        let found = context.decode(&secret.decrypt(&context, &low.unwrap()).unwrap()).unwrap();
        assert_close(&found, &wanted.iter().map(|v| v / 2.0).collect::<Vec<_>>(), 1e-6);
    }
}

#[test]
fn forty_limbs_down_to_the_last_with_any_number_of_digits() {
    let mut chain = vec![50];
    chain.extend([40; 39]);
    for special in [&[50][..], &[50, 50], &[50, 50, 50], &[50, 50, 50, 50, 50]] {
        let context = context(5, &chain, special);
        let mut randomness = randomness(1);
        let (secret, keys) = keys(&context, 1);
        let needs = [(Automorphism::Rotation { steps: 3 }, 38)];
        let galois = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
        let mut x: Vec<f64> = values(16, 1).iter().map(|v| v.signum() * (1.0 - v.abs() / 50.0)).collect();
        let signs = x.clone();
        let plaintext = context.encode(&x, 39, &bits(40)).unwrap();
        let b = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
        let mut a = b.clone();
        while a.level() > 0 {
            let b = evaluate::drop_level(&context, &b, a.level()).unwrap();
            let product = evaluate::multiply_relinearize_rescale(&context, &a, &b, &keys).unwrap();
            a = evaluate::rotate(&context, &product, 3, &galois).unwrap();
            x = (0..16).map(|j| x[(j + 3) % 16] * signs[(j + 3) % 16]).collect();
            let found = context.decode(&secret.decrypt(&context, &a).unwrap()).unwrap();
            assert_close(&found, &x, 1e-6);
        }
    }
}
