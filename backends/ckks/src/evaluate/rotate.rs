use super::digits::{Decomposed, add_products, raise};
use super::divide::{Divisor, lower};
use super::linear::add_assign;
use crate::automorphism::{Automorphism, permute};
use crate::ciphertext::Ciphertext;
use crate::context::Context;
use crate::error::Error;
use crate::keys::{GaloisKey, GaloisKeys};

/// Rotates the slots to the left: slot `j` of the result is slot `j + steps` of `a`, cyclically; negative steps go
/// right. By a multiple of the number of slots it is a copy, which needs no key.
///
/// The second polynomial is switched from `s` to `s(X^(1/g))`, `g = 5^steps`, and the automorphism `X -> X^g`, a
/// permutation in the NTT domain, takes both polynomials back to `s`. Transforms, for `l + 1` limbs, `k` special primes
/// and `d` digits: `d (l + 1 + k)` for the digits, `2 (l + 1 + k)` for the division by `P`. The error is that of
/// [`crate::noise::key_switch`] for one part.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::Degree`] unless the degree is 1; [`Error::MissingGaloisKey`];
/// [`Error::LevelTooHigh`] if the level is above the key's.
pub fn rotate(context: &Context, a: &Ciphertext, steps: i64, keys: &GaloisKeys) -> Result<Ciphertext, Error> {
    apply(context, "rotate", a, Automorphism::Rotation { steps }, keys, Divisor::Special)
}

/// [`rotate`], then [`super::rescale`], in one division by `P q_l`: `2 (l + 1)` transforms less, and each coefficient
/// within 1.
///
/// # Errors
/// As [`rotate`]; [`Error::NoLevelLeft`] at level 0, [`Error::ScaleRange`].
pub fn rotate_rescale(context: &Context, a: &Ciphertext, steps: i64, keys: &GaloisKeys) -> Result<Ciphertext, Error> {
    if is_identity(context, steps) {
        a.check(context, "rotate_rescale")?;
        return super::rescale(context, a);
    }
    apply(context, "rotate_rescale", a, Automorphism::Rotation { steps }, keys, Divisor::SpecialAndLast)
}

/// Conjugates each slot. Costs what [`rotate`] does.
///
/// # Errors
/// As [`rotate`]; [`Error::NoConjugation`] in the conjugate-invariant ring, whose slots are real.
pub fn conjugate(context: &Context, a: &Ciphertext, keys: &GaloisKeys) -> Result<Ciphertext, Error> {
    apply(context, "conjugate", a, Automorphism::Conjugation, keys, Divisor::Special)
}

/// [`rotate`] by each of `steps`, with equal bits, but with the digits computed once: `d (l + 1 + k)` transforms for
/// all, and `2 (l + 1 + k)` for each. It holds all digits at once, `d (l + 1 + k) 8 N` bytes.
///
/// # Errors
/// As [`rotate`].
pub fn rotate_many(
    context: &Context,
    a: &Ciphertext,
    steps: &[i64],
    keys: &GaloisKeys,
) -> Result<Vec<Ciphertext>, Error> {
    let operation = "rotate_many";
    a.check(context, operation)?;
    let [c0, c1] = &*a.polys else {
        return Err(Error::Degree { operation, expected: 1, found: a.degree() });
    };
    let find = |&steps: &i64| match is_identity(context, steps) {
        true => Ok(None),
        false => keys.find(context, operation, Automorphism::Rotation { steps }, a.level).map(Some),
    };
    let found: Vec<Option<&GaloisKey>> = steps.iter().map(find).collect::<Result<_, _>>()?;
    if found.iter().all(Option::is_none) {
        return Ok(vec![a.clone(); steps.len()]);
    }
    let decomposed = Decomposed::new(context, a.level, c1)?;
    let rotated = |key: Option<&GaloisKey>| {
        let Some(GaloisKey { element, key }) = key else { return Ok(a.clone()) };
        let mut sums = raise(context, a.level, [Some(c0), None]);
        decomposed.add_product(context, key, &mut sums);
        let [u0, u1] = &mut sums;
        let switched = lower(context, operation, a.level, Divisor::Special, [u0, u1], &a.scale)?;
        Ok(permuted(context, switched, *element))
    };
    found.into_iter().map(rotated).collect()
}

/// Sums of `2^log_count` slots that are `stride` apart: slot `j` of the result is the sum of the slots `j + i stride`
/// of `a`, cyclically, for `i` below `2^log_count`. By `log_count` rotations and additions; see
/// [`inner_sum_rotations`].
///
/// # Errors
/// As [`rotate`].
pub fn inner_sum(
    context: &Context,
    a: &Ciphertext,
    log_count: u32,
    stride: i64,
    keys: &GaloisKeys,
) -> Result<Ciphertext, Error> {
    a.check(context, "inner_sum")?;
    let mut sum = a.clone();
    for steps in inner_sum_rotations(context, log_count, stride) {
        let rotated = apply(context, "inner_sum", &sum, Automorphism::Rotation { steps }, keys, Divisor::Special)?;
        add_assign(context, &mut sum, &rotated)?;
    }
    Ok(sum)
}

/// The rotations of [`inner_sum`], in order: `stride 2^i` for `i` below `log_count`, modulo the number of slots.
pub fn inner_sum_rotations(context: &Context, log_count: u32, stride: i64) -> Vec<i64> {
    let slots = context.parameters().slots() as i64;
    let double = |steps: &i64| Some(2 * steps % slots);
    std::iter::successors(Some(stride.rem_euclid(slots)), double).take(log_count as usize).collect()
}

/// Whether the rotation changes nothing.
pub(crate) fn is_identity(context: &Context, steps: i64) -> bool {
    steps.rem_euclid(context.parameters().slots() as i64) == 0
}

/// Both polynomials under the automorphism of `element`.
fn permuted(context: &Context, mut a: Ciphertext, element: u64) -> Ciphertext {
    let table = context.permutation(element);
    for poly in &mut a.polys {
        let mut image = context.public_poly(poly.limbs());
        image.for_each_limb(|i, limb| permute(&table, poly.limb(i), limb));
        *poly = image;
    }
    a
}

fn apply(
    context: &Context,
    operation: &'static str,
    a: &Ciphertext,
    automorphism: Automorphism,
    keys: &GaloisKeys,
    divisor: Divisor,
) -> Result<Ciphertext, Error> {
    a.check(context, operation)?;
    let [c0, c1] = &*a.polys else {
        return Err(Error::Degree { operation, expected: 1, found: a.degree() });
    };
    if context.galois_element(operation, automorphism)? == 1 {
        return Ok(a.clone());
    }
    let GaloisKey { element, key } = keys.find(context, operation, automorphism, a.level)?;
    divisor.prepare(context, operation, a.level, &a.scale)?;
    let mut sums = raise(context, a.level, [Some(c0), None]);
    add_products(context, a.level, &[(c1, key)], &mut sums)?;
    let [u0, u1] = &mut sums;
    let switched = lower(context, operation, a.level, divisor, [u0, u1], &a.scale)?;
    Ok(permuted(context, switched, *element))
}
