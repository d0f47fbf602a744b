use crate::ciphertext::Ciphertext;
use crate::context::{Context, Digit, Switch};
use crate::error::Error;
use crate::kernels;
use crate::keys::{KeySwitchKey, RelinearizationKeys};
use crate::poly::Poly;

/// Brings a ciphertext of degree 2 to 4 to degree 1. The products with the keys of all powers of `s` are summed before
/// one division by the special primes.
///
/// # Errors
/// [`Error::Parameters`], [`Error::NoSpecialPrimes`]; [`Error::DegreeRange`] if the degree is 1 or above what the keys serve;
/// [`Error::LevelTooHigh`] if the level is above the keys'.
pub fn relinearize(context: &Context, a: &Ciphertext, keys: &RelinearizationKeys) -> Result<Ciphertext, Error> {
    let operation = "relinearize";
    a.check(context, operation)?;
    let max = keys.max_degree();
    let [c0, c1, higher @ ..] = &*a.polys else {
        return Err(Error::DegreeRange { operation, min: 2, max, found: a.degree() });
    };
    if higher.is_empty() || a.degree() > max {
        return Err(Error::DegreeRange { operation, min: 2, max, found: a.degree() });
    }
    let mut terms = Vec::with_capacity(higher.len());
    for (poly, key) in higher.iter().zip(&keys.keys) {
        key.check(context, operation, a.level)?;
        terms.push((poly, key));
    }
    let [mut u0, mut u1] = switch(context, a.level, &terms)?;
    add_rows(context, &mut u0, c0);
    add_rows(context, &mut u1, c1);
    Ok(Ciphertext::new(context, vec![u0, u1], a.scale.clone()))
}

/// Turns a ciphertext of degree 1 under one secret key into one under another.
///
/// # Errors
/// [`Error::Parameters`], [`Error::NoSpecialPrimes`]; [`Error::Degree`] unless the degree is 1; [`Error::LevelTooHigh`] if the level
/// is above the key's.
pub fn key_switch(context: &Context, a: &Ciphertext, key: &KeySwitchKey) -> Result<Ciphertext, Error> {
    a.check(context, "key_switch")?;
    key.check(context, "key_switch", a.level)?;
    let [c0, c1] = &*a.polys else {
        return Err(Error::Degree { operation: "key_switch", expected: 1, found: a.degree() });
    };
    let [mut u0, u1] = switch(context, a.level, &[(c1, key)])?;
    add_rows(context, &mut u0, c0);
    Ok(Ciphertext::new(context, vec![u0, u1], a.scale.clone()))
}

fn add_rows(context: &Context, x: &mut Poly, y: &Poly) {
    x.iter_mut().zip(y.iter()).enumerate().for_each(|(row, (x, y))| kernels::add_assign(context.modulus(row), x, y));
}

/// Digits that are multiplied with their keys in one pass over the sums.
const DIGITS_AT_ONCE: usize = 4;

/// The sum over all terms of polynomial times key: two polynomials `(u_0, u_1)` with `u_0 + u_1 s` close to the sum of
/// `c s'`.
pub(crate) fn switch(context: &Context, level: usize, terms: &[(&Poly, &KeySwitchKey)]) -> Result<[Poly; 2], Error> {
    let constants = context.switch(level)?;
    let extended = level + 1 + context.special().len();
    let mut sums = [context.scratch(extended), context.scratch(extended)];
    sums.iter_mut().for_each(|sum| sum.clear());
    let mut coefficients = context.scratch(level + 1);
    let count = constants.digits.len().min(DIGITS_AT_ONCE);
    let mut buffers: Vec<_> = (0..count).map(|_| context.scratch(extended)).collect();
    for (poly, key) in terms {
        coefficients.copy_from(poly);
        context.inverse(&mut coefficients, |row| row);
        let keys = key.parts.b.iter().zip(&key.parts.a).collect::<Vec<_>>();
        for (digits, keys) in constants.digits.chunks(count).zip(keys.chunks(count)) {
            for (digit, out) in digits.iter().zip(&mut buffers) {
                extend(context, level, digit, poly, &coefficients, out);
            }
            let [sum0, sum1] = &mut sums;
            for (half, sum) in [sum0, sum1].into_iter().enumerate() {
                sum.for_each_limb(|i, limb| {
                    let row = key.limb(level, i);
                    let parts = keys.iter().map(|(b, a)| if half == 0 { b.limb(row) } else { a.limb(row) });
                    let pairs: Vec<_> = buffers.iter().map(|buffer| buffer.limb(i)).zip(parts).collect();
                    kernels::mul_add_many(context.modulus(context.row(level, i)), limb, &pairs);
                });
            }
        }
    }
    let [mut sum0, mut sum1] = sums;
    Ok([
        divide_by_special(context, level, constants, &mut sum0),
        divide_by_special(context, level, constants, &mut sum1),
    ])
}

/// Extends a digit of `poly` to `q_0 ..= q_level, p_0 ..` in the NTT domain: its representative between plus and minus half the
/// digit's modulus. `coefficients` is `poly` in coefficient form.
pub(crate) fn extend(context: &Context, level: usize, digit: &Digit, poly: &Poly, coefficients: &Poly, out: &mut Poly) {
    let input: Vec<&[u64]> = digit.limbs.clone().map(|i| coefficients.limb(i)).collect();
    let others = out.iter_mut().enumerate().filter(|(i, _)| !digit.limbs.contains(i));
    digit.up.convert(&input, &mut others.map(|(_, limb)| limb).collect::<Vec<_>>());
    out.for_each_limb(|i, limb| {
        if digit.limbs.contains(&i) {
            limb.copy_from_slice(poly.limb(i));
        } else {
            context.table(context.row(level, i)).forward(limb);
        }
    });
}

/// Divides by `P`, rounding to nearest: `(x - [x]_P) / P` with `[x]_P` between `-P/2` and `P/2`.
fn divide_by_special(context: &Context, level: usize, constants: &Switch, poly: &mut Poly) -> Poly {
    let mut rest = context.scratch(level + 1);
    let (_, special) = poly.split_after(level);
    for (limb, row) in special.chunks_exact_mut(context.n()).zip(context.max_level() + 1..) {
        context.table(row).inverse(limb);
    }
    let input: Vec<&[u64]> = special.chunks_exact(context.n()).collect();
    constants.down.convert(&input, &mut rest.iter_mut().collect::<Vec<_>>());
    context.forward(&mut rest, |row| row);
    let mut result = poly.prefix(level + 1);
    for (row, (x, y)) in result.iter_mut().zip(rest.iter()).enumerate() {
        kernels::sub_mul_scalar_assign(context.modulus(row), x, y, constants.inverse[row]);
    }
    result
}
