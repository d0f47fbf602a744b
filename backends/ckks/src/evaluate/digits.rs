//! Key switching before its division: polynomials cut into digits, digits times keys, all modulo `Q P`.

use crate::context::{Context, Digit};
use crate::count::Work;
use crate::error::Error;
use crate::kernels;
use crate::keys::KeySwitchKey;
use crate::poly::Poly;
use crate::scratch::Scratch;

/// Digits that are multiplied with their keys in one pass over the sums.
const DIGITS_AT_ONCE: usize = 4;

/// Two polynomials over `q_0 ..= q_level, p_0 ..` in the NTT domain: a ciphertext times `P`, plus errors that are small
/// beside `P`.
pub(crate) type Raised<'c> = [Scratch<'c>; 2];

/// `(P c_0, P c_1)`; what is absent counts as 0. `P x` is 0 modulo the special primes.
pub(crate) fn raise<'c>(context: &'c Context, level: usize, polys: [Option<&Poly>; 2]) -> Raised<'c> {
    polys.map(|poly| {
        let mut raised = context.scratch(level + 1 + context.special().len());
        raised.for_each_limb(|i, limb| match poly {
            Some(poly) if i <= level => {
                limb.copy_from_slice(poly.limb(i));
                kernels::mul_scalar_assign(context.modulus(i), limb, context.special_product(i));
            }
            Some(_) | None => limb.fill(0),
        });
        raised
    })
}

/// Adds to `sums`, over all terms, the digits of a polynomial times a key; a few digits at a time, so that little
/// memory is touched.
pub(crate) fn add_products(
    context: &Context,
    level: usize,
    terms: &[(&Poly, &KeySwitchKey)],
    sums: &mut Raised<'_>,
) -> Result<(), Error> {
    let constants = context.switch(level)?;
    let mut coefficients = context.scratch(level + 1);
    let count = constants.digits.len().min(DIGITS_AT_ONCE);
    let mut buffers: Vec<_> = (0..count).map(|_| context.scratch(sums[0].limbs())).collect();
    for (poly, key) in terms {
        context.count(Work::Decomposition, 1);
        context.count(Work::KeyProduct, 1);
        coefficients.copy_from(poly);
        context.inverse(&mut coefficients, |row| row);
        for (first, digits) in (0..).step_by(count).zip(constants.digits.chunks(count)) {
            for (digit, out) in digits.iter().zip(&mut buffers) {
                extend(context, level, digit, poly, &coefficients, out);
            }
            for (sum, half) in sums.iter_mut().zip([&key.parts.b, &key.parts.a]) {
                sum.for_each_limb(|i, limb| {
                    let parts = half[first..].iter().map(|part| part.limb(key.limb(level, i)));
                    let used = buffers[..digits.len()].iter().map(|buffer| buffer.limb(i));
                    let pairs: Vec<_> = used.zip(parts).collect();
                    kernels::mul_add_many(context.modulus(context.row(level, i)), limb, &pairs);
                });
            }
        }
    }
    Ok(())
}

/// All digits of a polynomial, extended to `q_0 ..= q_level, p_0 ..` in the NTT domain: computed once, multiplied with
/// many keys ("hoisting": Halevi and Shoup, eprint 2018/244).
pub(crate) struct Decomposed<'c> {
    level: usize,
    digits: Vec<Scratch<'c>>,
}

impl<'c> Decomposed<'c> {
    /// Cuts `poly`, at `level`, into digits: `(digits)(level + 1 + special primes)` transforms, of which those of the
    /// digits' own limbs are replaced by `level + 1` inverse ones.
    pub(crate) fn new(context: &'c Context, level: usize, poly: &Poly) -> Result<Self, Error> {
        context.count(Work::Decomposition, 1);
        let constants = context.switch(level)?;
        let mut coefficients = context.scratch(level + 1);
        coefficients.copy_from(poly);
        context.inverse(&mut coefficients, |row| row);
        let digit = |digit| {
            let mut out = context.scratch(level + 1 + context.special().len());
            extend(context, level, digit, poly, &coefficients, &mut out);
            out
        };
        Ok(Self { level, digits: constants.digits.iter().map(digit).collect() })
    }

    /// Adds to both halves of limb `i` the digits times the key. Whoever calls it for all limbs counts the product.
    pub(crate) fn add_product_limb(&self, context: &Context, key: &KeySwitchKey, i: usize, out: [&mut [u64]; 2]) {
        let row = key.limb(self.level, i);
        for (out, half) in out.into_iter().zip([&key.parts.b, &key.parts.a]) {
            let parts = half.iter().map(|part| part.limb(row));
            let pairs: Vec<_> = self.digits.iter().map(|digit| digit.limb(i)).zip(parts).collect();
            kernels::mul_add_many(context.modulus(context.row(self.level, i)), out, &pairs);
        }
    }

    /// Adds the digits times the key.
    pub(crate) fn add_product(&self, context: &Context, key: &KeySwitchKey, sums: &mut Raised<'_>) {
        context.count(Work::KeyProduct, 1);
        let [sum0, sum1] = sums;
        for_each_pair(sum0, sum1, |i, out0, out1| self.add_product_limb(context, key, i, [out0, out1]));
    }
}

/// Calls `work(i, limb i of a, limb i of b)`, on several threads if there is enough to do.
pub(crate) fn for_each_pair(a: &mut Poly, b: &mut Poly, work: impl Fn(usize, &mut [u64], &mut [u64]) + Sync + Send) {
    use rayon::prelude::*;
    if a.is_large() {
        let limbs: Vec<_> = a.iter_mut().zip(b.iter_mut()).collect();
        limbs.into_par_iter().enumerate().for_each(|(i, (a, b))| work(i, a, b));
    } else {
        a.iter_mut().zip(b.iter_mut()).enumerate().for_each(|(i, (a, b))| work(i, a, b));
    }
}

/// Extends a digit of `poly` to `q_0 ..= q_level, p_0 ..` in the NTT domain: its representative between plus and minus
/// half the digit's modulus. `coefficients` is `poly` in coefficient form.
fn extend(context: &Context, level: usize, digit: &Digit, poly: &Poly, coefficients: &Poly, out: &mut Poly) {
    let input: Vec<&[u64]> = digit.limbs.clone().map(|i| coefficients.limb(i)).collect();
    let others = out.iter_mut().enumerate().filter(|(i, _)| !digit.limbs.contains(i));
    digit.up.convert(&input, &mut others.map(|(_, limb)| limb).collect::<Vec<_>>());
    out.for_each_limb(|i, limb| {
        if digit.limbs.contains(&i) {
            limb.copy_from_slice(poly.limb(i));
        } else {
            context.forward_limb(context.row(level, i), limb);
        }
    });
}
