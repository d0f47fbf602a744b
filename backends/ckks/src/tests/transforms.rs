//! Linear transforms against direct sums over the slots, and their work against exact counts.

use std::collections::BTreeMap;

use hec_ir::parameters::RingType;

use super::noise::{LOG_N, N, Sample, difference, image, opened};
use super::*;
use crate::count::Work;
use crate::plaintext::{Form, Plaintext};
use crate::{
    Ciphertext, Complex, Error, GaloisKeys, LinearTransform, TransformCost, TransformSettings, evaluate, noise,
};

type Diagonals = BTreeMap<i64, Vec<Complex>>;

struct Lab {
    context: Context,
    secret: SecretKey,
    z: Vec<Complex>,
    a: Ciphertext,
}

impl Lab {
    fn new(log_n: u32, special: &[u32]) -> Self {
        Self::in_ring(Ring::standard(log_n), special)
    }

    /// Numbers are complex in the standard ring, real in the other.
    fn in_ring(ring: Ring, special: &[u32]) -> Self {
        let context = context_of(ring, &[50, 40, 40, 41, 39], special);
        let mut randomness = randomness(1);
        let secret = SecretKey::generate(&context, &mut randomness);
        let slots = context.parameters().slots();
        let unit = imaginary_unit(ring);
        let z: Vec<Complex> =
            values(slots, 1).iter().zip(values(slots, 2)).map(|(&re, im)| Complex { re, im: im * unit }).collect();
        let plaintext = context.encode_complex(&z, 4, &bits(40)).unwrap();
        let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
        Self { context, secret, z, a }
    }

    fn at(&self, level: usize) -> Ciphertext {
        evaluate::drop_level(&self.context, &self.a, level).unwrap()
    }

    fn keys(&self, transforms: &[&LinearTransform]) -> GaloisKeys {
        let needs = transforms.iter().flat_map(|t| t.required_rotations().into_iter().map(|a| (a, t.level())));
        GaloisKeys::generate(&self.context, &self.secret, needs, &mut randomness(3)).unwrap()
    }

    fn check(&self, found: &Ciphertext, diagonals: &Diagonals) {
        let found = self.context.decode_complex(&self.secret.decrypt(&self.context, found).unwrap()).unwrap();
        let slots = found.len();
        for (r, found) in found.into_iter().enumerate() {
            let mut wanted = Complex::default();
            for (&step, d) in diagonals {
                let (d, x) = (d[r % d.len()], self.z[(r as i64 + step).rem_euclid(slots as i64) as usize]);
                wanted.re += d.re * x.re - d.im * x.im;
                wanted.im += d.re * x.im + d.im * x.re;
            }
            let apart = (found.re - wanted.re).hypot(found.im - wanted.im);
            assert!(apart < 1e-6, "slot {r}: {found:?}, expected {wanted:?}");
        }
    }
}

/// What imaginary parts are multiplied by: slots are real in the conjugate-invariant ring.
fn imaginary_unit(ring: Ring) -> f64 {
    match ring.ring_type {
        RingType::Standard => 1.0,
        RingType::ConjugateInvariant => 0.0,
    }
}

/// Their real parts in the conjugate-invariant ring.
fn in_ring(ring: Ring, diagonals: &Diagonals) -> Diagonals {
    let number = |z: &Complex| Complex { re: z.re, im: z.im * imaginary_unit(ring) };
    diagonals.iter().map(|(&step, values)| (step, values.iter().map(number).collect())).collect()
}

fn diagonals(steps: impl IntoIterator<Item = i64>, len: usize) -> Diagonals {
    let vector = |step: i64| -> Vec<Complex> {
        let (re, im) = (values(len, step.unsigned_abs() as usize), values(len, step.unsigned_abs() as usize + 50));
        re.iter().zip(im).map(|(&re, im)| Complex { re, im }).collect()
    };
    steps.into_iter().map(|step| (step, vector(step))).collect()
}

#[test]
fn maps_of_the_slots() {
    for (ring, special) in [
        (Ring::standard(7), &[50][..]),
        (Ring::standard(7), &[50, 49]),
        (Ring::standard(7), &[45, 46, 47]),
        (Ring::conjugate_invariant(6), &[50, 49]),
    ] {
        let lab = Lab::in_ring(ring, special);
        let context = &lab.context;
        // Dense; dense of a block that repeats; few; with and without step 0; one alone; far apart.
        let cases: Vec<(Diagonals, usize)> = vec![
            (diagonals(0..64, 64), 4),
            (diagonals(0..16, 16), 3),
            (diagonals([-2, -1, 0, 1, 2], 64), 4),
            (diagonals([7, 31, 40, -20], 32), 2),
            (diagonals([0], 64), 4),
            (diagonals([5], 1), 1),
            (diagonals([32], 2), 4),
            (diagonals([1, 65, -63], 64), 2),
        ];
        for (diagonals, level) in &cases {
            let diagonals = &in_ring(ring, diagonals);
            for baby_steps in [None, Some(1), Some(4), Some(64)] {
                let settings = TransformSettings { baby_steps, ..TransformSettings::at_level(*level) };
                let transform = LinearTransform::new(context, diagonals, &settings).unwrap();
                let (a, keys) = (lab.at(*level), lab.keys(&[&transform]));
                let counters = context.counters();
                counters.reset();
                let found = evaluate::linear_transform(context, &a, &transform, &keys).unwrap();
                let cost = transform.cost();
                assert_eq!(counters.take(Work::Decomposition), cost.decompositions);
                assert_eq!(counters.take(Work::KeyProduct), cost.key_products);
                assert_eq!(counters.take(Work::ModDown), cost.mod_downs);
                assert_eq!(counters.take(Work::Transform), cost.transforms);
                assert_eq!(transform.required_rotations().len(), keys.len());
                assert_eq!((found.level(), found.scale()), (*level, &a.scale().times(transform.scale())));
                lab.check(&found, diagonals);
                counters.reset();
                let separate = evaluate::rescale(context, &found).unwrap();
                let rescaling = counters.take(Work::Transform);
                let merged = evaluate::linear_transform_rescale(context, &a, &transform, &keys).unwrap();
                let saved = if cost.key_products == 0 { 0 } else { 2 * (level + 1) };
                assert_eq!(counters.take(Work::Transform), cost.transforms + rescaling - saved);
                assert_eq!((merged.level(), merged.scale()), (level - 1, a.scale()), "the scale comes back");
                assert_eq!(separate.scale(), a.scale());
                lab.check(&merged, diagonals);
            }
        }
    }
}

#[test]
fn the_work_is_exactly_this() {
    let context = context(12, &[50, 40, 40, 41, 39, 42, 43, 44], &[50, 49]);
    let cost = |steps: &[i64], baby_steps| {
        let diagonals: BTreeMap<i64, Vec<f64>> = steps.iter().map(|&step| (step, vec![1.0])).collect();
        let settings = TransformSettings { baby_steps, ..TransformSettings::at_level(7) };
        let transform = LinearTransform::new(&context, &diagonals, &settings).unwrap();
        (transform.baby_steps(), transform.cost())
    };
    let dense: Vec<i64> = (0..64).collect();
    let counts = |decompositions, key_products, mod_downs, plain_products, transforms| TransformCost {
        decompositions,
        key_products,
        mod_downs,
        plain_products,
        transforms,
    };
    // 16 baby steps and 4 giant steps, not 8 and 8: baby steps share their digits.
    assert_eq!(cost(&dense, None), (16, counts(4, 18, 5, 64, (4 * 4 + 5) * 10)));
    assert_eq!(cost(&dense, Some(8)), (8, counts(8, 14, 9, 64, (8 * 4 + 9) * 10)));
    assert_eq!(cost(&dense, Some(64)), (64, counts(1, 63, 2, 64, (4 + 2) * 10)));
    assert_eq!(cost(&[0, 1, 2, 3, 4, 5, 6], None), (8, counts(1, 6, 2, 7, 60)));
    assert_eq!(cost(&[-1, 0, 1], None), (2048, counts(1, 2, 2, 3, 60)));
    assert_eq!(cost(&[0], None), (1, counts(0, 0, 0, 1, 0)));
}

#[test]
fn several_maps_of_one_ciphertext_share_its_rotations() {
    let lab = Lab::new(7, &[50, 49]);
    let context = &lab.context;
    let all = [diagonals(0..64, 64), diagonals([0], 64), diagonals(-5..6, 64), diagonals([9, 18, 27], 64)];
    let settings = TransformSettings { baby_steps: Some(16), ..TransformSettings::at_level(3) };
    let transforms: Vec<_> = all.iter().map(|d| LinearTransform::new(context, d, &settings).unwrap()).collect();
    let transforms: Vec<&LinearTransform> = transforms.iter().collect();
    let (a, keys) = (lab.at(3), lab.keys(&transforms));
    let single: Vec<_> =
        transforms.iter().map(|t| evaluate::linear_transform(context, &a, t, &keys).unwrap()).collect();
    let counters = context.counters();
    counters.reset();
    let together = evaluate::linear_transforms(context, &a, &transforms, &keys).unwrap();
    assert!(together == single);
    let giants = 3 + 1 + 1;
    assert_eq!(counters.take(Work::Decomposition), 1 + giants);
    assert_eq!(counters.take(Work::KeyProduct), 15 + giants);
    for (found, diagonals) in together.iter().zip(&all) {
        lab.check(found, diagonals);
    }
    assert_eq!(evaluate::linear_transforms(context, &a, &[], &keys), Ok(vec![]));
}

#[test]
fn transforms_that_do_not_fit_are_refused() {
    let lab = Lab::new(5, &[50]);
    let context = &lab.context;
    let new = |diagonals: &Diagonals, settings: &TransformSettings| {
        LinearTransform::new(context, diagonals, settings).map(|_| ())
    };
    let settings = TransformSettings::at_level(2);
    assert_eq!(new(&diagonals([], 1), &settings), Err(Error::NoDiagonals));
    let length = Error::DiagonalLength { step: 1, slots: 16, found: 3 };
    assert_eq!(new(&diagonals([1], 3), &settings), Err(length));
    let odd = TransformSettings { baby_steps: Some(3), ..settings.clone() };
    assert_eq!(new(&diagonals([1], 1), &odd), Err(Error::BabySteps { slots: 16, found: 3 }));
    let high = TransformSettings::at_level(5);
    assert!(matches!(new(&diagonals([1], 1), &high), Err(Error::LevelTooHigh { allowed: 4, found: 5, .. })));
    let transform = LinearTransform::new(context, &diagonals([1, 2], 16), &settings).unwrap();
    let operation = "linear_transform";
    let keys = lab.keys(&[&transform]);
    let apply = |a: &Ciphertext, keys: &GaloisKeys| evaluate::linear_transform(context, a, &transform, keys);
    assert_eq!(apply(&lab.at(3), &keys), Err(Error::Level { operation, expected: 2, found: 3 }));
    let error = apply(&lab.at(2), &GaloisKeys::new()).unwrap_err();
    assert_eq!(error.to_string(), "linear_transform: no key for the rotation by 1 (Galois element 5)");
    let square = evaluate::square(context, &lab.at(2)).unwrap();
    assert_eq!(apply(&square, &keys), Err(Error::Degree { operation, expected: 1, found: 2 }));
    let without = super::context(5, &[50, 40], &[]);
    let steps = diagonals([1], 1);
    let refused = LinearTransform::new(&without, &steps, &TransformSettings::at_level(1));
    assert_eq!(refused.unwrap_err(), Error::NoSpecialPrimes);
    let scaling = LinearTransform::new(&without, &diagonals([0], 4), &TransformSettings::at_level(1)).unwrap();
    let secret = SecretKey::generate(&without, &mut randomness(1));
    let plaintext = without.encode(&[0.5], 1, &bits(40)).unwrap();
    let a = secret.encrypt(&without, &plaintext, &mut randomness(2)).unwrap();
    let scaled = evaluate::linear_transform_rescale(&without, &a, &scaling, &GaloisKeys::new()).unwrap();
    assert_eq!(scaled.scale(), &bits(40));
    assert!(matches!(apply(&a, &keys), Err(Error::Parameters { .. })));
}

#[test]
fn the_error_follows_its_formula() {
    // Small special primes, so that key switches outweigh the rest; then large ones.
    let cases = [&[34][..], &[50]];
    for (ring, special) in rings(LOG_N).into_iter().flat_map(|ring| cases.map(|special| (ring, special))) {
        let context = context_of(ring, &[50, 40, 40], special);
        let steps = [0, 1, 2, 5, 8, 11, 16];
        let diagonals: BTreeMap<i64, Vec<f64>> =
            steps.iter().map(|&step| (step, values(ring.slots(), step as usize))).collect();
        let scale = bits(12);
        let settings = TransformSettings { level: 2, scale: Some(scale.clone()), baby_steps: Some(8) };
        let transform = LinearTransform::new(&context, &diagonals, &settings).unwrap();
        let squares = |step: &i64| {
            diagonals[step].iter().map(|v| (v * scale.to_f64()).powi(2)).sum::<f64>() / ring.slots() as f64
        };
        let all = steps.iter().map(squares).sum::<f64>().sqrt();
        let switched = [1, 2, 5, 11].iter().map(squares).sum::<f64>().sqrt();
        let mut sample = Sample::default();
        for seed in 0..40 {
            let mut randomness = randomness(seed);
            let secret = SecretKey::generate(&context, &mut randomness);
            let needs = transform.required_rotations().into_iter().map(|a| (a, 2));
            let keys = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
            let plaintext = context.encode(&values(ring.slots(), 1), 2, &bits(20)).unwrap();
            let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
            let found = evaluate::linear_transform(&context, &a, &transform, &keys).unwrap();
            sample.take(difference(
                &context,
                &opened(&context, &secret, &found),
                &mapped(&context, &plaintext, &transform),
                1,
            ));
        }
        let digits = noise::log2_digits(context.parameters(), 2);
        let log2_special = (context.special()[0].value() as f64).log2();
        let std = noise::linear_transform(ring, noise::fresh_secret(), all, switched, 2, digits, log2_special);
        sample.check(&format!("linear transform, special primes {special:?}, {ring}"), std, 0.1);
    }
}

/// The diagonals, as encoded, applied to a plaintext, modulo `q_0`.
fn mapped(context: &Context, a: &Plaintext, transform: &LinearTransform) -> Plaintext {
    let q = context.modulus(0);
    let rotated = |a: &Plaintext, step: usize| {
        let rotation = crate::Automorphism::Rotation { steps: step as i64 };
        image(context, a, rotation.galois_element(context.ring()).unwrap())
    };
    let zero = || Plaintext { poly: crate::poly::Poly::zero(N, 1), form: Form::Ntt, ..a.clone() };
    let mut outer = zero();
    for (&giant, diagonals) in &transform.giants {
        let mut inner = zero();
        for (&baby, diagonal) in diagonals {
            let x = rotated(a, baby);
            crate::kernels::mul_add_assign(q, inner.poly.limb_mut(0), x.poly.limb(0), diagonal.limb(0));
        }
        let inner = rotated(&inner, giant);
        crate::kernels::add_assign(q, outer.poly.limb_mut(0), inner.poly.limb(0));
    }
    outer
}
