//! The error of every operation against its formula, over many keys.
//!
//! Errors are read modulo `q_0` alone, which is far larger than any of them: exact integers, no rounding of the decoder.

use super::*;
use crate::plaintext::{Form, Plaintext};
use crate::{Automorphism, Ciphertext, GaloisKeys, PreparedMatrix, PublicKey, evaluate, noise};

pub(super) const LOG_N: u32 = 10;
pub(super) const N: usize = 1 << LOG_N;

/// Sums over samples of an error.
#[derive(Default)]
pub(super) struct Sample {
    count: f64,
    squares: f64,
    largest: f64,
    mean: f64,
}

impl Sample {
    pub(super) fn take(&mut self, errors: impl IntoIterator<Item = f64>) {
        for e in errors {
            self.count += 1.0;
            self.mean += e;
            self.squares += e * e;
            self.largest = self.largest.max(e.abs());
        }
    }

    /// Within `tolerance` in mean square, without bias, and no error beyond 6.5 standard deviations.
    pub(super) fn check(&self, name: &str, std: f64, tolerance: f64) {
        let measured = (self.squares / self.count).sqrt();
        let ratio = (measured / std).powi(2);
        assert!((ratio - 1.0).abs() < tolerance, "{name}: measured {measured}, formula {std}");
        assert!(self.largest < 6.5 * std.max(measured), "{name}: largest {} of std {std}", self.largest);
        let bias = self.mean / self.count;
        assert!(bias.abs() < 6.0 * measured / self.count.sqrt(), "{name}: bias {bias} of std {std}");
    }
}

/// `a - factor * b` modulo `q_0`, centred.
pub(super) fn difference(context: &Context, a: &Plaintext, b: &Plaintext, factor: u64) -> Vec<f64> {
    let q = context.modulus(0);
    let limb = |p: &Plaintext| {
        let mut limb = p.poly.limb(0).to_vec();
        match p.form {
            Form::Ntt => context.table(0).inverse(&mut limb),
            Form::Coefficients => (),
        }
        limb
    };
    let factor = q.reduce(factor);
    limb(a).iter().zip(limb(b)).map(|(&a, b)| q.centered(q.sub(a, q.mul(b, factor))) as f64).collect()
}

pub(super) fn opened(context: &Context, secret: &SecretKey, a: &Ciphertext) -> Plaintext {
    secret.decrypt(context, a).unwrap()
}

/// The product of two plaintexts, exact modulo each prime.
fn plain_product(context: &Context, a: &Plaintext, b: &Plaintext) -> Plaintext {
    let (mut a, b) = (a.clone().transform(context).unwrap(), b.clone().transform(context).unwrap());
    for (row, (x, y)) in a.poly.iter_mut().zip(b.poly.iter()).enumerate() {
        crate::kernels::mul_assign(context.modulus(row), x, y);
    }
    a
}

/// The plaintext under `X -> X^element`.
pub(super) fn image(context: &Context, a: &Plaintext, element: u64) -> Plaintext {
    let a = a.clone().transform(context).unwrap();
    let mut image = a.clone();
    let table = context.permutation(element);
    image.poly.iter_mut().zip(a.poly.iter()).for_each(|(out, x)| crate::automorphism::permute(&table, x, out));
    image
}

#[test]
fn encryption_sums_and_products() {
    for ring in rings(LOG_N) {
        let context = context_of(ring, &[50, 50], &[]);
        let scale = bits(20);
        let (mut fresh, mut public_fresh, mut sum, mut row) =
            (Sample::default(), Sample::default(), Sample::default(), Sample::default());
        let (mut plain, mut product, mut square, mut slots) =
            (Sample::default(), Sample::default(), Sample::default(), Sample::default());
        let weights: Vec<i32> = vec![3, -100, 2000, 77, -1500];
        let block = hec_ir::matrix::Block {
            rows: [0u32].into(),
            cols: [0u32, 1, 2, 3, 4].into(),
            weights: weights.clone().into(),
        };
        let matrix = hec_ir::matrix::BlockMatrix::new(1, 5, vec![block]).unwrap();
        let matrix = PreparedMatrix::new(&matrix).unwrap();
        let x: Vec<f64> = values(ring.slots(), 1);
        let y: Vec<f64> = values(ring.slots(), 2);
        let rms = |v: &[f64]| scale.to_f64() * (v.iter().map(|v| v * v).sum::<f64>() / v.len() as f64).sqrt();
        for seed in 0..60 {
            let mut randomness = randomness(seed);
            let secret = SecretKey::generate(&context, &mut randomness);
            let public = PublicKey::generate(&context, &secret, &mut randomness).unwrap();
            let [p, r] = [&x, &y].map(|v| context.encode(v, 1, &scale).unwrap());
            let a = secret.encrypt(&context, &p, &mut randomness).unwrap();
            let b = public.encrypt(&context, &r, &mut randomness).unwrap();
            let open = |c: &Ciphertext| opened(&context, &secret, c);
            let errors = difference(&context, &open(&a), &p, 1);
            let as_slots = Plaintext { scale: bits(0), ..open(&evaluate::sub_plain(&context, &a, &p).unwrap()) };
            slots.take(context.decode(&as_slots).unwrap());
            fresh.take(errors);
            public_fresh.take(difference(&context, &open(&b), &r, 1));
            sum.take(difference(
                &context,
                &open(&evaluate::sub_plain(&context, &evaluate::add(&context, &a, &b).unwrap(), &p).unwrap()),
                &r,
                1,
            ));

            let inputs: Vec<Ciphertext> =
                (0..5).map(|_| secret.encrypt(&context, &p, &mut randomness).unwrap()).collect();
            let output =
                evaluate::scalar_matrix(&context, &matrix, &inputs.iter().collect::<Vec<_>>(), &bits(0)).unwrap();
            let total: i32 = weights.iter().sum();
            row.take(difference(&context, &open(&output[0]), &p, total as u64));

            let wanted = plain_product(&context, &p, &r);
            plain.take(difference(&context, &open(&evaluate::multiply_plain(&context, &a, &r).unwrap()), &wanted, 1));
            product.take(difference(&context, &open(&evaluate::multiply(&context, &a, &b).unwrap()), &wanted, 1));
            let wanted = plain_product(&context, &r, &r);
            let mut errors = difference(&context, &open(&evaluate::square(&context, &b).unwrap()), &wanted, 1);
            errors[0] -= noise::square_mean(ring, noise::fresh_public(ring));
            square.take(errors);
        }
        let (sk, pk) = (noise::fresh_secret(), noise::fresh_public(ring));
        fresh.check(&format!("fresh, secret key, {ring}"), sk, 0.1);
        slots.check(&format!("fresh, slots, {ring}"), noise::slot_std(ring, sk, 1.0), 0.1);
        public_fresh.check(&format!("fresh, public key, {ring}"), pk, 0.1);
        sum.check(&format!("add, {ring}"), noise::add(sk, pk), 0.1);
        row.check(&format!("scalar matrix, {ring}"), noise::scalar_row(sk, &weights), 0.1);
        plain.check(&format!("multiply plain, {ring}"), noise::multiply_plain(sk, rms(&y)), 0.1);
        product.check(&format!("multiply, {ring}"), noise::multiply(ring, sk, rms(&x), pk, rms(&y)), 0.1);
        square.check(&format!("square, {ring}"), noise::square(ring, pk, rms(&y)), 0.1);
    }
}

#[test]
fn products_of_errors_alone() {
    for ring in rings(LOG_N) {
        let context = context_of(ring, &[50], &[]);
        let zero = context.encode_constant(0.0, 0, &bits(10)).unwrap();
        let (mut product, mut square, mut means) = (Sample::default(), Sample::default(), Sample::default());
        for seed in 0..40 {
            let mut randomness = randomness(seed);
            let secret = SecretKey::generate(&context, &mut randomness);
            let [a, b] = [0, 1].map(|_| secret.encrypt(&context, &zero, &mut randomness).unwrap());
            let errors = |c: &Ciphertext| difference(&context, &opened(&context, &secret, c), &zero, 1);
            product.take(errors(&evaluate::multiply(&context, &a, &b).unwrap()));
            let mut errors = errors(&evaluate::square(&context, &a).unwrap());
            means.take([errors[0]]);
            errors[0] -= noise::square_mean(ring, noise::fresh_secret());
            square.take(errors);
        }
        let e = noise::fresh_secret();
        product.check(&format!("product of errors, {ring}"), noise::multiply(ring, e, 0.0, e, 0.0), 0.1);
        square.check(&format!("square of an error, {ring}"), noise::square(ring, e, 0.0), 0.1);
        let (found, wanted) = (means.mean / means.count, noise::square_mean(ring, e));
        let apart = (found - wanted).abs() / noise::square(ring, e, 0.0);
        assert!(apart < 5.0 * (2.0 / means.count).sqrt(), "mean of a square, {ring}: {found}, formula {wanted}");
    }
}

#[test]
fn encoding_rounds_to_nearest() {
    for ring in rings(LOG_N) {
        let context = context_of(ring, &[50], &[]);
        let mut rounding = Sample::default();
        for seed in 0..40 {
            let x = values(ring.slots(), seed);
            let [coarse, fine] = [20, 46].map(|s| context.encode(&x, 0, &bits(s)).unwrap());
            let q = context.modulus(0);
            let apart = coarse.poly.limb(0).iter().zip(fine.poly.limb(0));
            rounding.take(apart.map(|(&c, &f)| q.centered(c) as f64 - q.centered(f) as f64 / 26f64.exp2()));
        }
        rounding.check(&format!("encoding, {ring}"), noise::encoding(), 0.1);
    }
}

#[test]
fn rescaling_by_degree() {
    let cases = [(1, 0.1), (2, 0.1), (3, 0.1), (4, 0.2)];
    for (ring, (degree, tolerance)) in rings(LOG_N).into_iter().flat_map(|ring| cases.map(|case| (ring, case))) {
        let context = context_of(ring, &[50, 25], &[]);
        let mut rounding = Sample::default();
        for seed in 0..200 {
            let mut randomness = randomness(seed);
            let secret = SecretKey::generate(&context, &mut randomness);
            let plaintext = context.encode(&values(ring.slots(), 1), 1, &bits(10)).unwrap();
            let mut fresh = || secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
            let mut a = fresh();
            for _ in 1..degree {
                a = evaluate::multiply(&context, &a, &fresh()).unwrap();
            }
            let rescaled = opened(&context, &secret, &evaluate::rescale(&context, &a).unwrap());
            let q = context.modulus(1).value();
            let errors = difference(&context, &opened(&context, &secret, &a), &rescaled, q);
            rounding.take(errors.into_iter().map(|e| e / q as f64));
        }
        // The norm of a power of the key is not that of a Gaussian: above degree 1 the tail is compared with 7 keys' worth.
        let std = noise::rounding(ring, degree);
        let largest = rounding.largest;
        rounding.largest = 0.0;
        rounding.check(&format!("rescale, degree {degree}, {ring}"), std, tolerance);
        assert!(
            largest < 6.5 * std * [1.0, 1.3, 2.0, 4.0][degree - 1],
            "degree {degree}, {ring}: {largest} of std {std}"
        );
        assert_eq!(noise::rescale(ring, 0.0, 3.0, degree), std);
    }
}

#[test]
fn key_switching_by_shape() {
    let shapes: [(&[u32], &[u32], usize); 5] = [
        (&[50, 40, 40], &[40], 2),
        (&[50, 40, 40], &[30], 1),
        (&[50, 40, 40, 45], &[50, 50], 3),
        (&[50, 40, 40, 40, 40], &[35, 36], 4),
        (&[50, 30, 30], &[50], 2),
    ];
    for (ring, (chain, special, level)) in rings(LOG_N).into_iter().flat_map(|ring| shapes.map(|shape| (ring, shape))) {
        let context = context_of(ring, chain, special);
        let mut samples = [Sample::default(), Sample::default()];
        let mut rotation = Sample::default();
        for seed in 0..25 {
            let (secret, keys) = keys(&context, seed);
            let mut randomness = randomness(seed + 1000);
            let plaintext = context.encode(&values(ring.slots(), 1), level, &bits(10)).unwrap();
            let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
            let needs = [(Automorphism::Rotation { steps: 3 }, level)];
            let galois = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
            let rotated = opened(&context, &secret, &evaluate::rotate(&context, &a, 3, &galois).unwrap());
            let wanted = image(&context, &opened(&context, &secret, &a), 125);
            rotation.take(difference(&context, &rotated, &wanted, 1));
            let mut product = a.clone();
            for (parts, sample) in [(1, 0), (3, 1)] {
                while product.degree() < parts + 1 {
                    product = evaluate::multiply(&context, &product, &a).unwrap();
                }
                let switched = evaluate::relinearize(&context, &product, &keys).unwrap();
                let [before, after] = [&product, &switched].map(|c| opened(&context, &secret, c));
                samples[sample].take(difference(&context, &after, &before, 1));
            }
        }
        let log2_special = context.special().iter().map(|p| (p.value() as f64).log2()).sum();
        let digits = noise::log2_digits(context.parameters(), level);
        rotation.check(&format!("rotation, {ring}"), noise::key_switch(ring, 1, digits, log2_special), 0.1);
        for (sample, parts) in samples.iter().zip([1, 3]) {
            let digits = noise::log2_digits(context.parameters(), level);
            let std = noise::key_switch(ring, parts, digits, log2_special);
            sample.check(&format!("key switch {chain:?} {special:?} of {parts}, {ring}"), std, 0.1);
        }
    }
}
