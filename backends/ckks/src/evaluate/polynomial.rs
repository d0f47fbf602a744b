use std::borrow::Cow;
use std::collections::BTreeMap;

use super::linear::add_assign;
use super::product::{multiply, square};
use super::rescale::{drop_level, rescale};
use super::switch::relinearize_rescale;
use crate::ciphertext::Ciphertext;
use crate::context::Context;
use crate::error::Error;
use crate::kernels;
use crate::keys::RelinearizationKeys;
use crate::poly::Poly;
use crate::polynomial::{PolynomialPlan, Power, Sum};

const OPERATION: &str = "polynomial";

/// Powers of the operand by their index.
type Powers<'a> = BTreeMap<usize, Cow<'a, Ciphertext>>;

/// Evaluates a polynomial in each slot, as planned: at the plan's level and scale, with a result of exactly the plan's
/// target scale. It takes what [`PolynomialPlan::cost`] says. Degrees of ciphertexts never exceed 2.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::Level`], [`Error::Scale`], [`Error::Degree`] unless the operand is at the plan's
/// level, has its input scale, and degree 1; as [`super::relinearize_rescale`].
pub fn polynomial(
    context: &Context,
    a: &Ciphertext,
    plan: &PolynomialPlan,
    keys: &RelinearizationKeys,
) -> Result<Ciphertext, Error> {
    a.check(context, OPERATION)?;
    plan.check(context, OPERATION)?;
    if a.level != plan.level {
        return Err(Error::Level { operation: OPERATION, expected: plan.level, found: a.level });
    }
    if a.scale != plan.input_scale {
        return Err(Error::Scale { operation: OPERATION, expected: plan.input_scale.clone(), found: a.scale.clone() });
    }
    if a.degree() != 1 {
        return Err(Error::Degree { operation: OPERATION, expected: 1, found: a.degree() });
    }
    let mut powers = Powers::from([(1, Cow::Borrowed(a))]);
    for step in &plan.powers {
        let computed = power(context, step, &powers, keys)?;
        powers.insert(step.index, Cow::Owned(computed));
    }
    let root = sum(context, &plan.root, &powers, keys)?;
    lowered(context, &root, keys)
}

fn power(
    context: &Context,
    step: &Power,
    powers: &Powers<'_>,
    keys: &RelinearizationKeys,
) -> Result<Ciphertext, Error> {
    let [a, b] = step.factors.map(|index| &*powers[&index]);
    let mut product = if step.factors[0] == step.factors[1] {
        square(context, a)?
    } else {
        let level = a.level.min(b.level);
        multiply(context, &*at_level(context, a, level)?, &*at_level(context, b, level)?)?
    };
    if let Some(correction) = &step.correction {
        for poly in &mut product.polys {
            poly.for_each_limb(|row, limb| kernels::mul_scalar_assign(context.modulus(row), limb, 2));
        }
        add_terms(context, &mut product, correction, powers);
    }
    if step.relinearize { relinearize_rescale(context, &product, keys) } else { rescale(context, &product) }
}

fn sum(context: &Context, plan: &Sum, powers: &Powers<'_>, keys: &RelinearizationKeys) -> Result<Ciphertext, Error> {
    let mut result: Option<Ciphertext> = None;
    for (factor, index) in &plan.products {
        let factor = lowered(context, &sum(context, factor, powers, keys)?, keys)?;
        let product = multiply(context, &factor, &*at_level(context, &powers[index], plan.level)?)?;
        match &mut result {
            Some(result) => add_assign(context, result, &product)?,
            None => result = Some(product),
        }
    }
    let zero = || Poly::zero(context.n(), plan.level + 1);
    let mut result = result.unwrap_or_else(|| Ciphertext::new(context, vec![zero(), zero()], plan.scale.clone()));
    if result.scale != plan.scale {
        return Err(Error::Scale { operation: OPERATION, expected: plan.scale.clone(), found: result.scale });
    }
    add_terms(context, &mut result, plan, powers);
    Ok(result)
}

/// Adds the constant and the powers times constants, whose scales the plan has made equal.
fn add_terms(context: &Context, a: &mut Ciphertext, plan: &Sum, powers: &Powers<'_>) {
    let degree = plan.terms.iter().map(|(index, _)| powers[index].degree()).max().unwrap_or(0);
    while a.degree() < degree {
        a.polys.push(Poly::zero(context.n(), a.level + 1));
    }
    for (k, poly) in a.polys.iter_mut().enumerate() {
        poly.for_each_limb(|row, limb| {
            let q = context.modulus(row);
            for (index, residues) in &plan.terms {
                if let Some(power) = powers[index].polys.get(k) {
                    kernels::mul_scalar_add_assign(q, limb, power.limb(row), residues[row]);
                }
            }
            if let (0, Some(residues)) = (k, &plan.constant) {
                kernels::add_scalar_assign(q, limb, residues[row]);
            }
        });
    }
}

/// Degree 1, and one level less.
fn lowered(context: &Context, a: &Ciphertext, keys: &RelinearizationKeys) -> Result<Ciphertext, Error> {
    if a.degree() == 1 { rescale(context, a) } else { relinearize_rescale(context, a, keys) }
}

fn at_level<'a>(context: &Context, a: &'a Ciphertext, level: usize) -> Result<Cow<'a, Ciphertext>, Error> {
    Ok(if a.level == level { Cow::Borrowed(a) } else { Cow::Owned(drop_level(context, a, level)?) })
}
