//! A first look: every operation on a ring of some size, against the numbers it stands for.

use super::*;
use crate::{Complex, PublicKey, evaluate};

#[test]
fn encoding_round_trips_to_fifty_bits_of_the_coefficients() {
    for ring in rings(12) {
        let context = context_of(ring, &[50, 40, 40, 50], &[]);
        let x = values(ring.slots(), 1);
        round_trips(&context, &x);
        let constant = context.decode(&context.encode_constant(-0.75, 3, &bits(80)).unwrap()).unwrap();
        assert_close(&constant, &vec![-0.75; ring.slots()], 1e-15);
    }
    let context = context(12, &[50, 40, 40, 50], &[]);
    let z: Vec<Complex> = values(2048, 1).iter().map(|&re| Complex { re, im: 0.5 - re }).collect();
    let found = context.decode_complex(&context.encode_complex(&z, 1, &bits(60)).unwrap()).unwrap();
    for (a, b) in found.iter().zip(&z) {
        assert!((a.re - b.re).hypot(a.im - b.im) < 1e-14);
    }
}

fn round_trips(context: &Context, x: &[f64]) {
    for (level, scale, tolerance) in [(0, 40, 1e-10), (1, 60, 1e-14), (2, 100, 1e-14), (3, 150, 1e-14), (3, 20, 1e-4)] {
        let plaintext = context.encode(x, level, &bits(scale)).unwrap();
        assert_close(&context.decode(&plaintext).unwrap(), x, tolerance);
        let plaintext = plaintext.transform(context).unwrap();
        assert_close(&context.decode(&plaintext).unwrap(), x, tolerance);
    }
}

#[test]
fn a_circuit_with_every_operation_gives_the_numbers() {
    for ring in rings(12) {
        let context = context_of(ring, &[50, 40, 40, 40], &[50, 50]);
        let (secret, keys) = keys(&context, 1);
        let mut randomness = randomness(2);
        let public = PublicKey::generate(&context, &secret, &mut randomness).unwrap();
        let (x, y) = (values(ring.slots(), 1), values(ring.slots(), 2));
        let encode = |v: &[f64]| context.encode(v, 3, &bits(40)).unwrap();
        let a = secret.encrypt(&context, &encode(&x), &mut randomness).unwrap();
        let b = public.encrypt(&context, &encode(&y), &mut randomness).unwrap();
        let open = |c: &crate::Ciphertext| context.decode(&secret.decrypt(&context, c).unwrap()).unwrap();
        let zip = |f: fn(f64, f64) -> f64| x.iter().zip(&y).map(|(&x, &y)| f(x, y)).collect::<Vec<f64>>();
        let eps = 1e-6;

        assert_close(&open(&a), &x, eps);
        assert_close(&open(&b), &y, eps);
        assert_close(&open(&evaluate::add(&context, &a, &b).unwrap()), &zip(|x, y| x + y), eps);
        assert_close(&open(&evaluate::sub(&context, &a, &b).unwrap()), &zip(|x, y| x - y), eps);
        assert_close(&open(&evaluate::negate(&context, &a).unwrap()), &zip(|x, _| -x), eps);
        assert_close(&open(&evaluate::add_plain(&context, &a, &encode(&y)).unwrap()), &zip(|x, y| x + y), eps);
        assert_close(&open(&evaluate::sub_plain(&context, &a, &encode(&y)).unwrap()), &zip(|x, y| x - y), eps);
        assert_close(&open(&evaluate::multiply_plain(&context, &a, &encode(&y)).unwrap()), &zip(|x, y| x * y), eps);
        assert_close(&open(&evaluate::add_constant(&context, &a, 1.5).unwrap()), &zip(|x, _| x + 1.5), eps);
        let scaled = evaluate::multiply_constant(&context, &a, -0.3, &bits(30)).unwrap();
        assert_close(&open(&scaled), &zip(|x, _| x * -0.3), eps);
        assert_close(&open(&evaluate::multiply_integer(&context, &a, -7).unwrap()), &zip(|x, _| x * -7.0), 1e-5);

        let product = evaluate::multiply(&context, &a, &b).unwrap();
        assert_eq!(product.degree(), 2);
        assert_close(&open(&product), &zip(|x, y| x * y), eps);
        let square = evaluate::square(&context, &a).unwrap();
        assert_close(&open(&square), &zip(|x, _| x * x), eps);
        let relinearised = evaluate::relinearize(&context, &product, &keys).unwrap();
        assert_close(&open(&relinearised), &zip(|x, y| x * y), eps);
        let rescaled = evaluate::rescale(&context, &relinearised).unwrap();
        assert_eq!((rescaled.level(), rescaled.degree()), (2, 1));
        assert_close(&open(&rescaled), &zip(|x, y| x * y), eps);

        let cube = evaluate::multiply(&context, &product, &a).unwrap();
        assert_close(&open(&cube), &zip(|x, y| x * x * y), eps);
        assert_close(&open(&evaluate::relinearize(&context, &cube, &keys).unwrap()), &zip(|x, y| x * x * y), eps);
        let quartic = evaluate::multiply(&context, &product, &square).unwrap();
        let quartic = evaluate::relinearize(&context, &quartic, &keys);
        // 2^160 over a modulus of 2^170.
        assert_close(&open(&quartic.unwrap()), &zip(|x, y| x * x * x * y), eps);
        let low = evaluate::relinearize(&context, &evaluate::square(&context, &rescaled).unwrap(), &keys).unwrap();
        assert_close(&open(&low), &zip(|x, y| x * x * y * y), eps);
        assert_close(&open(&evaluate::drop_level(&context, &a, 0).unwrap()), &x, eps);
    }
}
