//! Times of the scheme's operations: `cargo bench -p hec-ckks --bench scheme`.
//!
//! Shapes: 2^13 with 3 limbs of a batch layout, and 2^14 and 2^15 with the moduli that key switching of other libraries is
//! usually timed with.

use std::collections::BTreeMap;

use divan::{Bencher, black_box};
use hec_ckks::{
    Automorphism, Basis, Ciphertext, Context, GaloisKeys, LinearTransform, PolynomialPlan, PublicKey, Randomness,
    RelinearizationKeys, SecretKey, TransformSettings, evaluate,
};
use hec_ir::Scale;
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, RingType, Security};

fn main() {
    divan::main();
}

/// log2 N, limbs of 40 bits, special primes of 48 bits.
#[derive(Clone, Copy)]
struct Shape(u32, usize, usize);

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "2^{} L={} k={}", self.0, self.1, self.2)
    }
}

const SHAPES: [Shape; 4] = [Shape(13, 3, 1), Shape(14, 9, 1), Shape(14, 8, 2), Shape(15, 16, 4)];

/// Those with enough levels for a polynomial of degree 31.
const DEEP: [Shape; 3] = [SHAPES[1], SHAPES[2], SHAPES[3]];

struct Fixture {
    context: Context,
    secret: SecretKey,
    public: PublicKey,
    keys: RelinearizationKeys,
    values: Vec<f64>,
    randomness: Randomness,
}

impl Fixture {
    fn new(Shape(log_n, limbs, special): Shape) -> Self {
        let mut search = PrimeSearch::new(log_n);
        let mut take = |bits, count| (0..count).map(|_| search.take(bits).unwrap_or(0)).collect::<Vec<u64>>();
        let (moduli, special_primes) = (take(40, limbs), take(48, special));
        let literal =
            Literal { ring_type: RingType::Standard, log_n, moduli, special_primes, security: Security::Bits128 };
        let context = Context::new(&Parameters::new(literal).unwrap_or_else(|error| panic!("{error}")));
        let mut randomness = Randomness::from_os().unwrap_or_else(|error| panic!("{error}"));
        let secret = SecretKey::generate(&context, &mut randomness);
        let public = PublicKey::generate(&context, &secret, &mut randomness).unwrap_or_else(|e| panic!("{e}"));
        let keys = RelinearizationKeys::generate(&context, &secret, context.max_level(), 2, &mut randomness)
            .unwrap_or_else(|e| panic!("{e}"));
        let values = (0..1 << (log_n - 1)).map(|i| f64::from(i % 1000) / 1000.0 - 0.5).collect();
        Self { context, secret, public, keys, values, randomness }
    }

    fn scale() -> Scale {
        Scale::power_of_two(40)
    }

    fn galois(&mut self, automorphisms: impl IntoIterator<Item = Automorphism>) -> GaloisKeys {
        let needs = automorphisms.into_iter().map(|automorphism| (automorphism, self.context.max_level()));
        GaloisKeys::generate(&self.context, &self.secret, needs, &mut self.randomness).unwrap_or_else(|e| panic!("{e}"))
    }

    fn ciphertext(&mut self) -> Ciphertext {
        let plaintext = self.context.encode(&self.values, self.context.max_level(), &Self::scale());
        let plaintext = plaintext.unwrap_or_else(|e| panic!("{e}"));
        self.secret.encrypt(&self.context, &plaintext, &mut self.randomness).unwrap_or_else(|e| panic!("{e}"))
    }
}

#[divan::bench(args = SHAPES)]
fn encode(bencher: Bencher, shape: Shape) {
    let f = Fixture::new(shape);
    bencher.bench_local(|| f.context.encode(black_box(&f.values), f.context.max_level(), &Fixture::scale()));
}

#[divan::bench(args = SHAPES)]
fn encrypt_secret(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let plaintext =
        f.context.encode(&f.values, f.context.max_level(), &Fixture::scale()).unwrap_or_else(|e| panic!("{e}"));
    bencher.bench_local(|| f.secret.encrypt(&f.context, black_box(&plaintext), &mut f.randomness));
}

#[divan::bench(args = SHAPES)]
fn encrypt_public(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let plaintext =
        f.context.encode(&f.values, f.context.max_level(), &Fixture::scale()).unwrap_or_else(|e| panic!("{e}"));
    bencher.bench_local(|| f.public.encrypt(&f.context, black_box(&plaintext), &mut f.randomness));
}

#[divan::bench(args = SHAPES)]
fn decrypt(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    bencher.bench_local(|| f.secret.decrypt(&f.context, black_box(&a)));
}

#[divan::bench(args = SHAPES)]
fn decode(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    let plaintext = f.secret.decrypt(&f.context, &a).unwrap_or_else(|e| panic!("{e}"));
    bencher.bench_local(|| f.context.decode(black_box(&plaintext)));
}

#[divan::bench(args = SHAPES)]
fn add(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let (mut a, b) = (f.ciphertext(), f.ciphertext());
    bencher.bench_local(|| evaluate::add_assign(&f.context, black_box(&mut a), &b));
}

#[divan::bench(args = SHAPES)]
fn square(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    bencher.bench_local(|| evaluate::square(&f.context, black_box(&a)));
}

#[divan::bench(args = SHAPES)]
fn relinearize(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    let product = evaluate::square(&f.context, &a).unwrap_or_else(|e| panic!("{e}"));
    bencher.bench_local(|| evaluate::relinearize(&f.context, black_box(&product), &f.keys));
}

#[divan::bench(args = SHAPES)]
fn rescale(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    bencher.bench_local(|| evaluate::rescale(&f.context, black_box(&a)));
}

#[divan::bench(args = SHAPES)]
fn multiply_relinearize_rescale(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let (a, b) = (f.ciphertext(), f.ciphertext());
    bencher.bench_local(|| {
        let product = evaluate::multiply(&f.context, black_box(&a), &b)?;
        evaluate::rescale(&f.context, &evaluate::relinearize(&f.context, &product, &f.keys)?)
    });
}

#[divan::bench(args = SHAPES)]
fn multiply_relinearize_rescale_merged(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let (a, b) = (f.ciphertext(), f.ciphertext());
    bencher.bench_local(|| evaluate::multiply_relinearize_rescale(&f.context, black_box(&a), &b, &f.keys));
}

#[divan::bench(args = SHAPES)]
fn rotate(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    let keys = f.galois([Automorphism::Rotation { steps: 1 }]);
    bencher.bench_local(|| evaluate::rotate(&f.context, black_box(&a), 1, &keys));
}

#[divan::bench(args = SHAPES)]
fn rotate_8_hoisted(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    let steps = [1, 2, 3, 4, 5, 6, 7, 8];
    let keys = f.galois(steps.map(|steps| Automorphism::Rotation { steps }));
    bencher.bench_local(|| evaluate::rotate_many(&f.context, black_box(&a), &steps, &keys));
}

/// 64 diagonals, for each number of baby steps that comes into question.
#[divan::bench(args = SHAPES, consts = [0, 8, 16, 32, 64])]
fn linear_transform_64<const BABIES: usize>(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    let diagonals: BTreeMap<i64, Vec<f64>> = (0..64).map(|step| (step, f.values.clone())).collect();
    let baby_steps = (BABIES > 0).then_some(BABIES);
    let settings = TransformSettings { baby_steps, ..TransformSettings::at_level(f.context.max_level()) };
    let transform = LinearTransform::new(&f.context, &diagonals, &settings).unwrap_or_else(|e| panic!("{e}"));
    let keys = f.galois(transform.required_rotations());
    bencher.bench_local(|| evaluate::linear_transform_rescale(&f.context, black_box(&a), &transform, &keys));
}

#[divan::bench(args = DEEP)]
fn polynomial_31(bencher: Bencher, shape: Shape) {
    let mut f = Fixture::new(shape);
    let a = f.ciphertext();
    let coefficients = [0.03; 32];
    let (level, scale) = (f.context.max_level(), Fixture::scale());
    let plan = PolynomialPlan::new(&f.context, Basis::Chebyshev, &coefficients, level, &scale, &scale);
    let plan = plan.unwrap_or_else(|e| panic!("{e}"));
    bencher.bench_local(|| evaluate::polynomial(&f.context, black_box(&a), &plan, &f.keys));
}
