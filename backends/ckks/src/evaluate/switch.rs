use crate::ciphertext::Ciphertext;
use crate::context::Context;
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
        terms.push((decompose(context, a.level, poly)?, key));
    }
    let [mut u0, mut u1] = inner_product(context, a.level, &terms)?;
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
    let [mut u0, u1] = inner_product(context, a.level, &[(decompose(context, a.level, c1)?, key)])?;
    add_rows(context, &mut u0, c0);
    Ok(Ciphertext::new(context, vec![u0, u1], a.scale.clone()))
}

fn add_rows(context: &Context, x: &mut Poly, y: &Poly) {
    x.iter_mut().zip(y.iter()).enumerate().for_each(|(row, (x, y))| kernels::add_assign(context.modulus(row), x, y));
}

/// A polynomial's digits, each extended to `q_0 ..= q_level, p_0 ..`, in the NTT domain.
pub(crate) struct Decomposed(Vec<Poly>);

/// Cuts a polynomial in the NTT domain into its digits: their representatives between plus and minus half the digit's modulus.
pub(crate) fn decompose(context: &Context, level: usize, poly: &Poly) -> Result<Decomposed, Error> {
    let constants = context.switch(level)?;
    let mut coefficients = poly.clone();
    context.inverse(&mut coefficients, |row| row);
    let extended = level + 1 + context.special().len();
    let digits = constants.digits.iter().map(|digit| {
        let mut result = Poly::zero(context.n(), extended);
        let input: Vec<&[u64]> = digit.limbs.clone().map(|i| coefficients.limb(i)).collect();
        let others = result.iter_mut().enumerate().filter(|(i, _)| !digit.limbs.contains(i));
        digit.up.convert(&input, &mut others.map(|(_, limb)| limb).collect::<Vec<_>>());
        result.for_each_limb(|i, limb| {
            if digit.limbs.contains(&i) {
                limb.copy_from_slice(poly.limb(i));
            } else {
                context.table(context.row(level, i)).forward(limb);
            }
        });
        result
    });
    Ok(Decomposed(digits.collect()))
}

/// The sum of all digits times their keys' halves, divided by the special primes.
pub(crate) fn inner_product(
    context: &Context,
    level: usize,
    terms: &[(Decomposed, &KeySwitchKey)],
) -> Result<[Poly; 2], Error> {
    let half = |parts: fn(&KeySwitchKey) -> &[Poly]| {
        let mut sum = Poly::zero(context.n(), level + 1 + context.special().len());
        sum.for_each_limb(|i, limb| {
            let pairs = terms.iter().flat_map(|(decomposed, key)| {
                let row = key.limb(level, i);
                decomposed.0.iter().zip(parts(key)).map(move |(digit, part)| (digit.limb(i), part.limb(row)))
            });
            let q = context.modulus(context.row(level, i));
            kernels::mul_add_many(q, limb, &pairs.collect::<Vec<_>>());
        });
        divide_by_special(context, level, sum)
    };
    Ok([half(|key| &key.parts.b)?, half(|key| &key.parts.a)?])
}

/// Divides by `P`, rounding to nearest: `(x - [x]_P) / P` with `[x]_P` between `-P/2` and `P/2`.
fn divide_by_special(context: &Context, level: usize, mut poly: Poly) -> Result<Poly, Error> {
    let constants = context.switch(level)?;
    let mut rest = Poly::zero(context.n(), level + 1);
    let (_, special) = poly.split_after(level);
    for (limb, row) in special.chunks_exact_mut(context.n()).zip(context.max_level() + 1..) {
        context.table(row).inverse(limb);
    }
    let input: Vec<&[u64]> = special.chunks_exact(context.n()).collect();
    constants.down.convert(&input, &mut rest.iter_mut().collect::<Vec<_>>());
    context.forward(&mut rest, |row| row);
    poly.truncate(level + 1);
    for (row, (x, y)) in poly.iter_mut().zip(rest.iter()).enumerate() {
        kernels::sub_mul_scalar_assign(context.modulus(row), x, y, constants.inverse[row]);
    }
    Ok(poly)
}
