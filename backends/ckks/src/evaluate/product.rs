use super::check_levels;
use crate::ciphertext::{Ciphertext, MAX_DEGREE};
use crate::context::{Context, check_scale};
use crate::count::Work;
use crate::error::Error;
use crate::kernels;

/// `a * b`, slot by slot, without relinearization: the degree of the result is the sum of the degrees, its scale the
/// product of the scales.
///
/// # Errors
/// [`Error::Parameters`]; [`Error::Level`] unless the levels are equal; [`Error::DegreeRange`] if the degree would exceed
/// [`MAX_DEGREE`]; [`Error::ScaleRange`].
pub fn multiply(context: &Context, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, Error> {
    check_levels(context, "multiply", a, b)?;
    let mut result = unwritten_product(context, "multiply", a, b)?;
    for row in 0..=a.level {
        let q = context.modulus(row);
        if let ([a0, a1], [b0, b1], [c0, c1, c2]) = (&*a.polys, &*b.polys, &mut *result.polys) {
            let out = [c0.limb_mut(row), c1.limb_mut(row), c2.limb_mut(row)];
            kernels::tensor_product(q, out, [a0.limb(row), a1.limb(row)], [b0.limb(row), b1.limb(row)]);
        } else {
            for (i, x) in a.polys.iter().enumerate() {
                for (j, y) in b.polys.iter().enumerate() {
                    let (out, x, y) = (result.polys[i + j].limb_mut(row), x.limb(row), y.limb(row));
                    // The first term that each polynomial of the result gets is written, the others are added to it.
                    if i == 0 || j == b.degree() {
                        kernels::mul(q, out, x, y);
                    } else {
                        kernels::mul_add_assign(q, out, x, y);
                    }
                }
            }
        }
    }
    Ok(result)
}

/// `a * a`; as [`multiply`], somewhat cheaper.
///
/// # Errors
/// As [`multiply`].
pub fn square(context: &Context, a: &Ciphertext) -> Result<Ciphertext, Error> {
    a.check(context, "square")?;
    if a.degree() != 1 {
        return multiply(context, a, a);
    }
    let mut result = unwritten_product(context, "square", a, a)?;
    if let ([a0, a1], [c0, c1, c2]) = (&*a.polys, &mut *result.polys) {
        for row in 0..=a.level {
            let out = [c0.limb_mut(row), c1.limb_mut(row), c2.limb_mut(row)];
            kernels::tensor_square(context.modulus(row), out, [a0.limb(row), a1.limb(row)]);
        }
    }
    Ok(result)
}

/// The ciphertext of a product, whose residues are unspecified.
fn unwritten_product(
    context: &Context,
    operation: &'static str,
    a: &Ciphertext,
    b: &Ciphertext,
) -> Result<Ciphertext, Error> {
    let degree = a.degree() + b.degree();
    if degree > MAX_DEGREE {
        return Err(Error::DegreeRange { operation, min: 0, max: MAX_DEGREE, found: degree });
    }
    let scale = a.scale.times(&b.scale);
    check_scale(operation, &scale)?;
    context.count(Work::Product, 1);
    let polys = (0..=degree).map(|_| context.public_poly(a.level + 1)).collect();
    Ok(Ciphertext::new(context, polys, scale))
}
