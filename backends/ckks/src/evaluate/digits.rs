//! Key switching before its division: polynomials cut into digits, digits times keys, all modulo `Q P`.

use rayon::prelude::*;

use crate::context::{Context, Digit};
use crate::count::Work;
use crate::error::Error;
use crate::kernels;
use crate::keys::KeySwitchKey;
use crate::poly::Poly;
use crate::scratch::Scratch;

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

/// A polynomial in the NTT domain and what its digits are computed from.
struct Cut<'a> {
    context: &'a Context,
    level: usize,
    poly: &'a Poly,
    digits: &'a [Digit],
    /// The coefficients, scaled for the change of base.
    scaled: Scratch<'a>,
    /// A limb for each digit, if digits have several limbs.
    quotients: Option<Scratch<'a>>,
}

impl<'a> Cut<'a> {
    fn new(context: &'a Context, level: usize, poly: &'a Poly) -> Result<Self, Error> {
        context.count(Work::Decomposition, 1);
        let digits = &context.switch(level)?.digits[..];
        let mut scaled = context.scratch(level + 1);
        let mut quotients = (digits.len() <= level).then(|| context.scratch(digits.len()));
        let scale = |digit: &Digit, limbs: &mut [&mut [u64]], quotients: &mut [u64]| {
            for (i, limb) in digit.limbs.clone().zip(&mut *limbs) {
                limb.copy_from_slice(poly.limb(i));
                context.inverse_limb(i, limb);
            }
            digit.up.scale(limbs, quotients);
        };
        let parallel = scaled.is_large();
        let alpha = digits.first().map_or(1, |digit| digit.limbs.len());
        let mut limbs: Vec<&mut [u64]> = scaled.iter_mut().collect();
        let mut none: Vec<&mut [u64]> = Vec::new();
        none.resize_with(digits.len(), || &mut []);
        let quotient_limbs = quotients.as_mut().map_or(none, |quotients| quotients.iter_mut().collect());
        if parallel {
            let work = limbs.par_chunks_mut(alpha).zip(digits).zip(quotient_limbs);
            work.for_each(|((limbs, digit), quotients)| scale(digit, limbs, quotients));
        } else {
            let work = limbs.chunks_mut(alpha).zip(digits).zip(quotient_limbs);
            work.for_each(|((limbs, digit), quotients)| scale(digit, limbs, quotients));
        }
        Ok(Self { context, level, poly, digits, scaled, quotients })
    }

    /// Limb `i` of digit `d`, extended to `q_0 ..= q_level, p_0 ..` in the NTT domain: of its representative between plus
    /// and minus half the digit's modulus. In `out`, but for the digit's own limbs, which are the polynomial's.
    fn limb<'b>(&'b self, d: usize, i: usize, out: &'b mut [u64]) -> &'b [u64] {
        let Digit { limbs, up } = &self.digits[d];
        if limbs.contains(&i) {
            return self.poly.limb(i);
        }
        let j = if i < limbs.start { i } else { i - limbs.len() };
        let quotients = self.quotients.as_ref().map_or(&[][..], |quotients| quotients.limb(d));
        match limbs.len() {
            1 => up.combine(j, &[self.scaled.limb(limbs.start)], quotients, out),
            _ => {
                let scaled: Vec<&[u64]> = limbs.clone().map(|i| self.scaled.limb(i)).collect();
                up.combine(j, &scaled, quotients, out);
            }
        }
        self.context.forward_limb(self.context.row(self.level, i), out);
        out
    }
}

/// Adds to `sums`, over all terms, the digits of a polynomial times a key. One limb after the other: its digits are still
/// in the cache when they are multiplied, and little memory is needed.
pub(crate) fn add_products(
    context: &Context,
    level: usize,
    terms: &[(&Poly, &KeySwitchKey)],
    sums: &mut Raised<'_>,
) -> Result<(), Error> {
    for (poly, key) in terms {
        let cut = Cut::new(context, level, poly)?;
        context.count(Work::KeyProduct, 1);
        let [sum0, sum1] = &mut *sums;
        for_each_pair(sum0, sum1, |i, out0, out1| {
            let row = key.limb(level, i);
            let mut buffers = context.scratch(cut.digits.len());
            let digits = buffers.iter_mut().enumerate().map(|(d, buffer)| cut.limb(d, i, buffer));
            let products: Vec<_> = digits.zip(key.halves(row)).collect();
            kernels::mul_add_many(context.modulus(context.row(level, i)), [out0, out1], &products);
        });
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
        let cut = Cut::new(context, level, poly)?;
        let digit = |d: usize| {
            let mut out = context.scratch(level + 1 + context.special().len());
            out.for_each_limb(|i, out| {
                if cut.digits[d].limbs.contains(&i) {
                    out.copy_from_slice(poly.limb(i));
                } else {
                    cut.limb(d, i, out);
                }
            });
            out
        };
        Ok(Self { level, digits: (0..cut.digits.len()).map(digit).collect() })
    }

    /// Adds to both halves of limb `i` the digits times the key. Whoever calls it for all limbs counts the product.
    pub(crate) fn add_product_limb(&self, context: &Context, key: &KeySwitchKey, i: usize, out: [&mut [u64]; 2]) {
        let halves = key.halves(key.limb(self.level, i));
        let products: Vec<_> = self.digits.iter().map(|digit| digit.limb(i)).zip(halves).collect();
        kernels::mul_add_many(context.modulus(context.row(self.level, i)), out, &products);
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
    if a.is_large() {
        let limbs: Vec<_> = a.iter_mut().zip(b.iter_mut()).collect();
        limbs.into_par_iter().enumerate().for_each(|(i, (a, b))| work(i, a, b));
    } else {
        a.iter_mut().zip(b.iter_mut()).enumerate().for_each(|(i, (a, b))| work(i, a, b));
    }
}
