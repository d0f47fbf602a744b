use super::digits::{add_products, raise};
use super::divide::{Divisor, lower};
use super::product::{multiply, square};
use crate::ciphertext::Ciphertext;
use crate::context::Context;
use crate::error::Error;
use crate::keys::{KeySwitchKey, RelinearizationKeys};

/// Brings a ciphertext of degree 2 to 4 to degree 1. The products with the keys of all powers of `s` are summed before
/// one division by the special primes.
///
/// # Errors
/// [`Error::Parameters`], [`Error::NoSpecialPrimes`]; [`Error::DegreeRange`] if the degree is 1 or above what the keys
/// serve; [`Error::LevelTooHigh`] if the level is above the keys'.
pub fn relinearize(context: &Context, a: &Ciphertext, keys: &RelinearizationKeys) -> Result<Ciphertext, Error> {
    relinearize_by(context, "relinearize", a, keys, Divisor::Special)
}

/// [`relinearize`], then [`super::rescale`], in one division by `P q_l`: instead of `k + l + 1` transforms for the
/// special primes and `l + 1` for the rescaling, each of the two polynomials takes `k + 1 + l`. That is `2 (l + 1)`
/// transforms less, where the rest of a key switch takes `d (l + 1 + k)`, for `d` digits. And one rounding less: each
/// coefficient of the result is within 1 of the two steps'.
///
/// # Errors
/// As [`relinearize`], [`Error::NoLevelLeft`] at level 0, [`Error::ScaleRange`].
pub fn relinearize_rescale(context: &Context, a: &Ciphertext, keys: &RelinearizationKeys) -> Result<Ciphertext, Error> {
    relinearize_by(context, "relinearize_rescale", a, keys, Divisor::SpecialAndLast)
}

/// `a * b`, relinearised and rescaled: [`multiply`] (or [`square`], for one and the same operand), then
/// [`relinearize_rescale`].
///
/// # Errors
/// As these.
pub fn multiply_relinearize_rescale(
    context: &Context,
    a: &Ciphertext,
    b: &Ciphertext,
    keys: &RelinearizationKeys,
) -> Result<Ciphertext, Error> {
    let product = if std::ptr::eq(a, b) { square(context, a) } else { multiply(context, a, b) }?;
    relinearize_by(context, "multiply_relinearize_rescale", &product, keys, Divisor::SpecialAndLast)
}

fn relinearize_by(
    context: &Context,
    operation: &'static str,
    a: &Ciphertext,
    keys: &RelinearizationKeys,
    divisor: Divisor,
) -> Result<Ciphertext, Error> {
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
    divisor.prepare(context, operation, a.level, &a.scale)?;
    let mut sums = raise(context, a.level, [Some(c0), Some(c1)]);
    add_products(context, a.level, &terms, &mut sums)?;
    let [u0, u1] = &mut sums;
    lower(context, operation, a.level, divisor, [u0, u1], &a.scale)
}

/// Turns a ciphertext of degree 1 under one secret key into one under another.
///
/// # Errors
/// [`Error::Parameters`], [`Error::NoSpecialPrimes`]; [`Error::Degree`] unless the degree is 1; [`Error::LevelTooHigh`]
/// if the level is above the key's.
pub fn key_switch(context: &Context, a: &Ciphertext, key: &KeySwitchKey) -> Result<Ciphertext, Error> {
    let operation = "key_switch";
    a.check(context, operation)?;
    key.check(context, operation, a.level)?;
    let [c0, c1] = &*a.polys else {
        return Err(Error::Degree { operation, expected: 1, found: a.degree() });
    };
    let mut sums = raise(context, a.level, [Some(c0), None]);
    add_products(context, a.level, &[(c1, key)], &mut sums)?;
    let [u0, u1] = &mut sums;
    lower(context, operation, a.level, Divisor::Special, [u0, u1], &a.scale)
}
