use hec_ir::Scale;

use crate::ciphertext::Ciphertext;
use crate::context::{Context, check_scale};
use crate::error::Error;
use crate::kernels;
use crate::poly::Poly;

/// Divides by the last prime `q_l` and rounds to nearest: one level less, and the scale divided by `q_l`, exactly. For any degree.
///
/// Each coefficient `c` becomes `(c - [c]) / q_l` with `[c]` the representative of `c` modulo `q_l` between `-q_l/2` and
/// `q_l/2` (Cheon, Han, Kim, Kim, Song, eprint 2018/931, section 3.2).
///
/// # Errors
/// [`Error::Parameters`], [`Error::NoLevelLeft`] at level 0, [`Error::ScaleRange`].
pub fn rescale(context: &Context, a: &Ciphertext) -> Result<Ciphertext, Error> {
    let mut result = a.clone();
    rescale_assign(context, &mut result)?;
    Ok(result)
}

/// [`rescale`] in place.
///
/// # Errors
/// As [`rescale`]; `a` is then unchanged.
pub fn rescale_assign(context: &Context, a: &mut Ciphertext) -> Result<(), Error> {
    a.check(context, "rescale")?;
    let level = a.level.checked_sub(1).ok_or(Error::NoLevelLeft)?;
    let scale = a.scale.over(&Scale::prime(context.modulus(a.level).value()));
    check_scale("rescale", &scale)?;
    a.polys.iter_mut().for_each(|poly| divide_by_last(context, level, poly));
    (a.level, a.scale, a.seed) = (level, scale, None);
    Ok(())
}

fn divide_by_last(context: &Context, level: usize, poly: &mut Poly) {
    let divisor = context.modulus(level + 1);
    let mut last = context.scratch(1);
    last.limb_mut(0).copy_from_slice(poly.limb(level + 1));
    context.inverse_limb(level + 1, last.limb_mut(0));
    poly.truncate(level + 1);
    poly.for_each_limb(|row, limb| {
        let q = context.modulus(row);
        let mut rest = context.scratch(1);
        kernels::reduce_centered(rest.limb_mut(0), q, last.limb(0), divisor);
        context.forward_limb(row, rest.limb_mut(0));
        kernels::sub_mul_scalar_assign(q, limb, rest.limb(0), q.inv(q.reduce(divisor.value())));
    });
}

/// The same ciphertext at a lower `level`: the upper limbs are left out, the scale stays. A seeded ciphertext stays seeded.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::LevelTooHigh`] if `level` is above the ciphertext's.
pub fn drop_level(context: &Context, a: &Ciphertext, level: usize) -> Result<Ciphertext, Error> {
    check_drop(context, a, level)?;
    let polys = a.polys.iter().map(|poly| poly.prefix(level + 1)).collect();
    Ok(Ciphertext { polys, level, scale: a.scale.clone(), seed: a.seed, fingerprint: a.fingerprint })
}

/// [`drop_level`] in place.
///
/// # Errors
/// As [`drop_level`]; `a` is then unchanged.
pub fn drop_level_assign(context: &Context, a: &mut Ciphertext, level: usize) -> Result<(), Error> {
    check_drop(context, a, level)?;
    a.polys.iter_mut().for_each(|poly| poly.truncate(level + 1));
    a.level = level;
    Ok(())
}

fn check_drop(context: &Context, a: &Ciphertext, level: usize) -> Result<(), Error> {
    a.check(context, "drop_level")?;
    if level <= a.level {
        Ok(())
    } else {
        Err(Error::LevelTooHigh { operation: "drop_level", allowed: a.level, found: level })
    }
}
