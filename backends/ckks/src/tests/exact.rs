//! The scheme on small rings against schoolbook arithmetic on big integers: every operation's result, exactly.

use hec_ir::parameters::RingType;
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::*;
use crate::evaluate;
use crate::poly::Poly;
use crate::{Ciphertext, PreparedMatrix, PublicKey};

/// An element of the ring: N integer coefficients.
pub(super) type Big = Vec<BigInt>;

/// Modulo `X^N + 1`.
fn negacyclic(a: &Big, b: &Big) -> Big {
    let n = a.len();
    let mut c = vec![BigInt::zero(); n];
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            if i + j < n { c[i + j] += x * y } else { c[i + j - n] -= x * y }
        }
    }
    c
}

pub(super) fn sum(a: &Big, b: &Big) -> Big {
    a.iter().zip(b).map(|(x, y)| x + y).collect()
}

/// The representative between `-m/2` and `m/2`, m odd.
pub(super) fn centred(x: &BigInt, m: &BigInt) -> BigInt {
    let r = ((x % m) + m) % m;
    if &r * 2 > *m { r - m } else { r }
}

pub(super) fn centred_all(a: &Big, m: &BigInt) -> Big {
    a.iter().map(|x| centred(x, m)).collect()
}

/// `round(x / d)` for every coefficient of `x` modulo `modulus * d`, modulo `modulus`.
pub(super) fn divided(a: &Big, d: &BigInt, modulus: &BigInt) -> Big {
    a.iter().map(|x| centred(&((x - centred(x, d)) / d), modulus)).collect()
}

pub(super) struct Lab {
    pub(super) context: Context,
    pub(super) secret: SecretKey,
    pub(super) keys: RelinearizationKeys,
    s: Big,
}

impl Lab {
    fn new(ring: Ring, chain: &[u32], special: &[u32], seed: u64) -> Self {
        let context = context_of(ring, chain, special);
        let (secret, keys) = keys(&context, seed);
        let s = secret.coefficients().iter().map(|&c| BigInt::from(c)).collect();
        Self { context, secret, keys, s }
    }

    /// The coefficients as a polynomial in `X` modulo `X^(M/2) + 1`, M the ring's order; the first N of them are the element's.
    pub(super) fn polynomial(&self, a: &Big) -> Big {
        match self.context.ring().ring_type {
            RingType::Standard => a.clone(),
            RingType::ConjugateInvariant => {
                let mirrored = a[1..].iter().rev().map(|c| -c);
                a.iter().cloned().chain([BigInt::zero()]).chain(mirrored).collect()
            }
        }
    }

    pub(super) fn product(&self, a: &Big, b: &Big) -> Big {
        let mut c = negacyclic(&self.polynomial(a), &self.polynomial(b));
        c.truncate(a.len());
        c
    }

    pub(super) fn modulus(&self, level: usize) -> BigInt {
        self.context.chain(level).iter().map(|q| BigInt::from(q.value())).product()
    }

    pub(super) fn special(&self) -> BigInt {
        self.context.special().iter().map(|q| BigInt::from(q.value())).product()
    }

    /// Residues of the given rows, in the NTT domain, to centred integers.
    pub(super) fn big(&self, poly: &Poly, rows: &[usize]) -> Big {
        let total: BigInt = rows.iter().map(|&row| BigInt::from(self.context.modulus(row).value())).product();
        let mut result = vec![BigInt::zero(); self.context.n()];
        for (limb, &row) in poly.iter().zip(rows) {
            let mut limb = limb.to_vec();
            self.context.table(row).inverse(&mut limb);
            let q = self.context.modulus(row);
            let rest = &total / q.value();
            let unit = &rest * q.inv((&rest % q.value()).to_u64().unwrap());
            result.iter_mut().zip(limb).for_each(|(r, x)| *r += &unit * x);
        }
        centred_all(&result, &total)
    }

    pub(super) fn parts(&self, a: &Ciphertext) -> Vec<Big> {
        let rows: Vec<usize> = (0..=a.level).collect();
        a.polys.iter().map(|poly| self.big(poly, &rows)).collect()
    }

    /// A ciphertext of that degree whose polynomials are as good as uniform.
    pub(super) fn ciphertext(&self, level: usize, degree: usize, seed: u64) -> Ciphertext {
        let mut randomness = randomness(seed);
        let x = values(self.context.embedding().slots(), seed as usize);
        let plaintext = self.context.encode(&x, level, &bits(20)).unwrap();
        let mut fresh = || self.secret.encrypt(&self.context, &plaintext, &mut randomness).unwrap();
        let mut result = fresh();
        for _ in 1..degree {
            result = evaluate::multiply(&self.context, &result, &fresh()).unwrap();
        }
        result
    }

    fn decrypted(&self, a: &Ciphertext) -> Big {
        let modulus = self.modulus(a.level);
        let mut parts = self.parts(a);
        let mut total = parts.pop().unwrap();
        while let Some(part) = parts.pop() {
            total = centred_all(&sum(&self.product(&total, &self.s), &part), &modulus);
        }
        total
    }
}

/// Chains whose digits are whole and cut off, with one to three special primes, in both rings.
pub(super) fn labs() -> Vec<Lab> {
    vec![
        Lab::new(Ring::standard(4), &[40, 30, 35, 50], &[50], 1),
        Lab::new(Ring::standard(5), &[50, 50, 30, 42, 33], &[49, 50], 2),
        Lab::new(Ring::standard(6), &[30, 31, 32, 33, 34, 35, 36], &[40, 41, 42], 3),
        Lab::new(Ring::conjugate_invariant(4), &[40, 30, 35, 50], &[50], 4),
        Lab::new(Ring::conjugate_invariant(5), &[30, 31, 32, 33, 34], &[40, 41], 5),
    ]
}

#[test]
fn encryption_and_decryption() {
    for lab in labs() {
        let (context, top) = (&lab.context, lab.context.max_level());
        let mut randomness = randomness(9);
        let public = PublicKey::generate(context, &lab.secret, &mut randomness).unwrap();
        let x = values(context.embedding().slots(), 5);
        for level in 0..=top {
            let plaintext = context.encode(&x, level, &bits(20)).unwrap();
            let transformed = plaintext.clone().transform(context).unwrap();
            let message = lab.big(&transformed.poly, &(0..=level).collect::<Vec<_>>());
            let error = |a: &Ciphertext| -> i64 {
                let away = lab.decrypted(a).iter().zip(&message).map(|(x, y)| (x - y).abs()).max();
                away.unwrap().to_i64().unwrap()
            };
            for p in [&plaintext, &transformed] {
                assert!((1..=29).contains(&error(&lab.secret.encrypt(context, p, &mut randomness).unwrap())));
                // A coefficient of a product with a key is a sum of up to 2N terms in the conjugate-invariant ring.
                let bound = (context.ring().order() as i64 + 1) * 29;
                assert!((1..=bound).contains(&error(&public.encrypt(context, p, &mut randomness).unwrap())));
            }
            for degree in 1..=4 {
                let a = lab.ciphertext(level, degree, 7);
                let opened = lab.secret.decrypt(context, &a).unwrap().transform(context).unwrap();
                assert_eq!(lab.big(&opened.poly, &(0..=level).collect::<Vec<_>>()), lab.decrypted(&a));
            }
        }
    }
}

#[test]
fn linear_operations() {
    for lab in labs() {
        let context = &lab.context;
        for (level, degree) in [(0, 1), (1, 2), (context.max_level(), 1), (context.max_level(), 3)] {
            let modulus = lab.modulus(level);
            let (a, b) = (lab.ciphertext(level, degree, 1), lab.ciphertext(level, degree, 2));
            let (x, y) = (lab.parts(&a), lab.parts(&b));
            let each = |result: Ciphertext, f: &dyn Fn(&BigInt, &BigInt) -> BigInt| {
                let wanted = x
                    .iter()
                    .zip(&y)
                    .map(|(x, y)| x.iter().zip(y).map(|(x, y)| centred(&f(x, y), &modulus)).collect::<Big>());
                assert_eq!(lab.parts(&result), wanted.collect::<Vec<_>>());
            };
            each(evaluate::add(context, &a, &b).unwrap(), &|x, y| x + y);
            each(evaluate::sub(context, &a, &b).unwrap(), &|x, y| x - y);
            each(evaluate::negate(context, &a).unwrap(), &|x, _| -x);
            for factor in [0, -1, 12345, i64::MIN, i64::MAX] {
                each(evaluate::multiply_integer(context, &a, factor).unwrap(), &|x, _| x * factor);
            }
            each(evaluate::multiply_constant(context, &a, -1.25, &bits(4)).unwrap(), &|x, _| x * -20);
            for low in 0..=level {
                let modulus = lab.modulus(low);
                let wanted: Vec<Big> = x.iter().map(|x| centred_all(x, &modulus)).collect();
                assert_eq!(lab.parts(&evaluate::drop_level(context, &a, low).unwrap()), wanted);
            }

            let plaintext = context
                .encode(&values(context.embedding().slots(), 3), level, a.scale())
                .unwrap_or_else(|_| context.encode_constant(0.0, level, a.scale()).unwrap());
            let p = lab.big(&plaintext.clone().transform(context).unwrap().poly, &(0..=level).collect::<Vec<_>>());
            let scaled: Vec<Big> = x.iter().map(|x| centred_all(&lab.product(x, &p), &modulus)).collect();
            assert_eq!(lab.parts(&evaluate::multiply_plain(context, &a, &plaintext).unwrap()), scaled);
            let mut shifted = x.clone();
            shifted[0] = centred_all(&sum(&x[0], &p), &modulus);
            assert_eq!(lab.parts(&evaluate::add_plain(context, &a, &plaintext).unwrap()), shifted);
            shifted[0] = x[0].clone();
            shifted[0][0] = centred(&(&x[0][0] + 1), &modulus);
            let value = 1.0 / a.scale().to_f64();
            assert_eq!(lab.parts(&evaluate::add_constant(context, &a, value).unwrap()), shifted);
        }
    }
}

#[test]
fn scalar_matrices() {
    for lab in labs() {
        let context = &lab.context;
        let weights: Vec<i32> =
            (0..12).map(|i| [7, -3, 0, 1 << 20, -(1 << 24), 1, 99][i * 5 % 7] * (i as i32 % 3)).collect();
        let weights: Vec<i32> = weights.iter().map(|&w| w.clamp(-(1 << 24), 1 << 24)).collect();
        let block = hec_ir::matrix::Block {
            rows: [0u32, 1, 2].into(),
            cols: [3u32, 0, 1, 2].into(),
            weights: weights.clone().into(),
        };
        let matrix = hec_ir::matrix::BlockMatrix::new(4, 4, vec![block]).unwrap();
        let prepared = PreparedMatrix::new(&matrix).unwrap();
        for (level, degree) in [(1, 1), (context.max_level(), 2)] {
            let inputs: Vec<Ciphertext> = (0..4).map(|k| lab.ciphertext(level, degree, k)).collect();
            let found =
                evaluate::scalar_matrix(context, &prepared, &inputs.iter().collect::<Vec<_>>(), &bits(9)).unwrap();
            let parts: Vec<Vec<Big>> = inputs.iter().map(|a| lab.parts(a)).collect();
            assert_eq!(found.len(), 4);
            for (r, output) in found.iter().enumerate() {
                assert_eq!(output.scale(), &inputs[0].scale().times(&bits(9)));
                for (p, poly) in lab.parts(output).iter().enumerate() {
                    let mut wanted = vec![BigInt::zero(); context.n()];
                    matrix.for_each(|row, col, &w| {
                        if row == r {
                            wanted.iter_mut().zip(&parts[col][p]).for_each(|(t, x)| *t += x * w);
                        }
                    });
                    assert_eq!(*poly, centred_all(&wanted, &lab.modulus(level)));
                }
            }
        }
    }
}

#[test]
fn tensor_products() {
    for lab in labs() {
        let context = &lab.context;
        for level in 0..=context.max_level() {
            for (i, j) in [(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)] {
                let (a, b) = (lab.ciphertext(level, i, 1), lab.ciphertext(level, j, 2));
                let (x, y) = (lab.parts(&a), lab.parts(&b));
                let mut wanted = vec![vec![BigInt::zero(); context.n()]; i + j + 1];
                for (k, x) in x.iter().enumerate() {
                    for (l, y) in y.iter().enumerate() {
                        wanted[k + l] = sum(&wanted[k + l], &lab.product(x, y));
                    }
                }
                let wanted: Vec<Big> = wanted.iter().map(|p| centred_all(p, &lab.modulus(level))).collect();
                let found = evaluate::multiply(context, &a, &b).unwrap();
                assert_eq!((lab.parts(&found), found.scale()), (wanted, &a.scale().times(b.scale())));
                if i <= 2 {
                    let squared = evaluate::square(context, &a).unwrap();
                    assert!(squared == evaluate::multiply(context, &a, &a).unwrap());
                }
            }
        }
    }
}

#[test]
fn rescaling_rounds_to_nearest() {
    for lab in labs() {
        for level in 1..=lab.context.max_level() {
            for degree in 1..=4 {
                let a = lab.ciphertext(level, degree, 3);
                let q = lab.context.modulus(level).value();
                let wanted: Vec<Big> =
                    lab.parts(&a).iter().map(|x| divided(x, &BigInt::from(q), &lab.modulus(level - 1))).collect();
                let found = evaluate::rescale(&lab.context, &a).unwrap();
                assert_eq!(lab.parts(&found), wanted);
                assert_eq!(found.scale(), &a.scale().over(&Scale::prime(q)));
            }
        }
    }
}

#[test]
fn keys_encrypt_multiples_of_what_they_switch_from() {
    for lab in labs() {
        let context = &lab.context;
        let (top, alpha) = (context.max_level(), context.special().len());
        let rows: Vec<usize> = context.extended(top).collect();
        let total = lab.modulus(top) * lab.special();
        let mut power = lab.s.clone();
        for key in &lab.keys.keys {
            power = lab.product(&power, &lab.s);
            for (d, (b, a)) in key.parts.b.iter().zip(&key.parts.a).enumerate() {
                // 1 modulo the digit's primes, 0 modulo the others of the chain.
                let own: BigInt =
                    context.chain(top).chunks(alpha).nth(d).unwrap().iter().map(|q| BigInt::from(q.value())).product();
                let rest = lab.modulus(top) / &own;
                let gadget = &rest * rest.modinv(&own).unwrap() * lab.special();
                let opened = sum(&lab.big(b, &rows), &lab.product(&lab.big(a, &rows), &lab.s));
                for (x, p) in opened.iter().zip(&power) {
                    let error = centred(&(x - &gadget * p), &total);
                    assert!(error.abs() <= BigInt::from(29), "digit {d}: error {error}");
                }
            }
        }
    }
}
