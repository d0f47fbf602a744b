use std::borrow::Cow;

use hec_ir::Scale;

use super::check_alike;
use crate::arithmetic::Modulus;
use crate::ciphertext::Ciphertext;
use crate::context::{Context, check_scale};
use crate::error::Error;
use crate::kernels;
use crate::plaintext::{Form, Plaintext};
use crate::poly::Poly;

/// `a + b`.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::Level`], [`Error::Scale`], [`Error::Degree`] unless these are equal.
pub fn add(context: &Context, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, Error> {
    let mut sum = a.clone();
    add_assign(context, &mut sum, b)?;
    Ok(sum)
}

/// `a += b`.
///
/// # Errors
/// As [`add`]; `a` is then unchanged.
pub fn add_assign(context: &Context, a: &mut Ciphertext, b: &Ciphertext) -> Result<(), Error> {
    check_alike(context, "add", a, b)?;
    zip_assign(context, a, b, kernels::add_assign);
    Ok(())
}

/// `a - b`.
///
/// # Errors
/// As [`add`].
pub fn sub(context: &Context, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, Error> {
    let mut difference = a.clone();
    sub_assign(context, &mut difference, b)?;
    Ok(difference)
}

/// `a -= b`.
///
/// # Errors
/// As [`add`]; `a` is then unchanged.
pub fn sub_assign(context: &Context, a: &mut Ciphertext, b: &Ciphertext) -> Result<(), Error> {
    check_alike(context, "sub", a, b)?;
    zip_assign(context, a, b, kernels::sub_assign);
    Ok(())
}

/// `-a`.
///
/// # Errors
/// [`Error::Parameters`].
pub fn negate(context: &Context, a: &Ciphertext) -> Result<Ciphertext, Error> {
    a.check(context, "negate")?;
    let mut result = a.clone();
    result.seed = None;
    for poly in &mut result.polys {
        for (&q, x) in context.chain(a.level).iter().zip(poly.iter_mut()) {
            kernels::neg_assign(q, x);
        }
    }
    Ok(result)
}

/// `a + b` for a plaintext `b`.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::Level`], [`Error::Scale`] unless these are equal.
pub fn add_plain(context: &Context, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext, Error> {
    plain_sum(context, "add_plain", a, b, kernels::add_assign)
}

/// `a - b` for a plaintext `b`.
///
/// # Errors
/// As [`add_plain`].
pub fn sub_plain(context: &Context, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext, Error> {
    plain_sum(context, "sub_plain", a, b, kernels::sub_assign)
}

/// `a * b`, slot by slot, for a plaintext `b`. The scale is the product of the scales.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::Level`] unless the levels are equal; [`Error::ScaleRange`].
pub fn multiply_plain(context: &Context, a: &Ciphertext, b: &Plaintext) -> Result<Ciphertext, Error> {
    check_plain(context, "multiply_plain", a, b)?;
    let mut result = rescaled(a, "multiply_plain", b.scale())?;
    let b = transformed(context, b);
    for poly in &mut result.polys {
        for ((&q, x), y) in context.chain(a.level).iter().zip(poly.iter_mut()).zip(b.iter()) {
            kernels::mul_assign(q, x, y);
        }
    }
    Ok(result)
}

/// `a + value` in all slots. The value is rounded to a multiple of one over the ciphertext's scale. Needs no encoding.
///
/// # Errors
/// [`Error::Parameters`], [`Error::NotFinite`], [`Error::Overflow`] where `value * scale` reaches half the modulus.
pub fn add_constant(context: &Context, a: &Ciphertext, value: f64) -> Result<Ciphertext, Error> {
    let mut result = a.clone();
    add_constant_assign(context, &mut result, value)?;
    Ok(result)
}

/// [`add_constant`] in place.
///
/// # Errors
/// As [`add_constant`]; `a` is then unchanged.
pub fn add_constant_assign(context: &Context, a: &mut Ciphertext, value: f64) -> Result<(), Error> {
    a.check(context, "add_constant")?;
    let residues = context.constant("add_constant", value, a.level, &a.scale)?;
    for ((&q, x), c) in context.chain(a.level).iter().zip(a.polys[0].iter_mut()).zip(residues) {
        kernels::add_scalar_assign(q, x, c);
    }
    Ok(())
}

/// `a * value` for a real number, encoded as the integer `round(value * scale)`. The scale is the product of the scales.
///
/// # Errors
/// [`Error::Parameters`], [`Error::NotFinite`], [`Error::Overflow`], [`Error::ScaleRange`].
pub fn multiply_constant(context: &Context, a: &Ciphertext, value: f64, scale: &Scale) -> Result<Ciphertext, Error> {
    a.check(context, "multiply_constant")?;
    let residues = context.constant("multiply_constant", value, a.level, scale)?;
    let mut result = rescaled(a, "multiply_constant", scale)?;
    multiply_residues(context, &mut result, &residues);
    Ok(result)
}

/// `a * factor` for an integer; the scale stays.
///
/// # Errors
/// [`Error::Parameters`].
pub fn multiply_integer(context: &Context, a: &Ciphertext, factor: i64) -> Result<Ciphertext, Error> {
    a.check(context, "multiply_integer")?;
    let residues: Vec<u64> = context.chain(a.level).iter().map(|q| q.from_i64(factor)).collect();
    let mut result = a.clone();
    result.seed = None;
    multiply_residues(context, &mut result, &residues);
    Ok(result)
}

fn multiply_residues(context: &Context, a: &mut Ciphertext, residues: &[u64]) {
    for poly in &mut a.polys {
        for ((&q, x), &c) in context.chain(a.level).iter().zip(poly.iter_mut()).zip(residues) {
            kernels::mul_scalar_assign(q, x, c);
        }
    }
}

fn zip_assign(context: &Context, a: &mut Ciphertext, b: &Ciphertext, f: fn(Modulus, &mut [u64], &[u64])) {
    a.seed = None;
    for (x, y) in a.polys.iter_mut().zip(&b.polys) {
        for ((&q, x), y) in context.chain(b.level).iter().zip(x.iter_mut()).zip(y.iter()) {
            f(q, x, y);
        }
    }
}

fn plain_sum(
    context: &Context,
    operation: &'static str,
    a: &Ciphertext,
    b: &Plaintext,
    f: fn(Modulus, &mut [u64], &[u64]),
) -> Result<Ciphertext, Error> {
    check_plain(context, operation, a, b)?;
    if a.scale != b.scale {
        return Err(Error::Scale { operation, expected: a.scale.clone(), found: b.scale.clone() });
    }
    let mut result = a.clone();
    let b = transformed(context, b);
    for ((&q, x), y) in context.chain(a.level).iter().zip(result.polys[0].iter_mut()).zip(b.iter()) {
        f(q, x, y);
    }
    Ok(result)
}

fn check_plain(context: &Context, operation: &'static str, a: &Ciphertext, b: &Plaintext) -> Result<(), Error> {
    a.check(context, operation)?;
    context.check_fingerprint(operation, &b.fingerprint)?;
    if a.level == b.level { Ok(()) } else { Err(Error::Level { operation, expected: a.level, found: b.level }) }
}

fn transformed<'a>(context: &Context, plaintext: &'a Plaintext) -> Cow<'a, Poly> {
    match plaintext.form {
        Form::Ntt => Cow::Borrowed(&plaintext.poly),
        Form::Coefficients => {
            let mut poly = plaintext.poly.clone();
            context.forward(&mut poly, |row| row);
            Cow::Owned(poly)
        }
    }
}

/// A copy of `a` whose scale is multiplied.
fn rescaled(a: &Ciphertext, operation: &'static str, scale: &Scale) -> Result<Ciphertext, Error> {
    let scale = a.scale.times(scale);
    check_scale(operation, &scale)?;
    Ok(Ciphertext { polys: a.polys.clone(), level: a.level, scale, seed: None, fingerprint: a.fingerprint })
}
