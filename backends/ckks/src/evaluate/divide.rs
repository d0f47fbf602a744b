//! The end of every key switch: the division by the special primes, and with them, where that is wanted, by the prime
//! that rescaling divides by.

use hec_ir::Scale;

use crate::ciphertext::Ciphertext;
use crate::context::{Context, Division, check_scale};
use crate::count::Work;
use crate::error::Error;
use crate::kernels;
use crate::poly::Poly;

/// What a raised polynomial is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Divisor {
    /// `P`.
    Special,
    /// `P q_level`: the rescaling is merged into the division.
    SpecialAndLast,
}

impl Divisor {
    /// The constants of the division at `level`, and the scale of what has `scale` before it.
    ///
    /// # Errors
    /// [`Error::NoLevelLeft`] at level 0, [`Error::NoSpecialPrimes`], [`Error::ScaleRange`].
    pub(crate) fn prepare<'c>(
        self,
        context: &'c Context,
        operation: &'static str,
        level: usize,
        scale: &Scale,
    ) -> Result<(&'c Division, Scale), Error> {
        let constants = context.switch(level)?;
        match self {
            Self::Special => Ok((&constants.special, scale.clone())),
            Self::SpecialAndLast => {
                let division = constants.special_and_last.as_ref().ok_or(Error::NoLevelLeft)?;
                let scale = scale.over(&Scale::prime(context.modulus(level).value()));
                check_scale(operation, &scale)?;
                Ok((division, scale))
            }
        }
    }
}

/// Divides a polynomial over `q_0 ..= q_level, p_0 ..` by the product `D` of its last primes, rounding to nearest: to
/// `(x - [x]_D) / D` with `[x]_D` between `-D/2` and `D/2`. As many inverse transforms as `D` has primes, then one forward
/// for each limb that stays. Overwrites the limbs that fall away.
pub(crate) fn divide(context: &Context, level: usize, division: &Division, poly: &mut Poly) -> Poly {
    context.count(Work::ModDown, 1);
    let kept = division.inverse.len();
    poly.for_each_limb(|i, limb| {
        if i >= kept {
            context.inverse_limb(context.row(level, i), limb);
        }
    });
    let mut quotients = context.scratch(1);
    division.down.scale(&mut poly.iter_mut().skip(kept).collect::<Vec<_>>(), quotients.limb_mut(0));
    let (poly, quotients) = (&*poly, quotients.limb(0));
    let scaled: Vec<&[u64]> = poly.iter().skip(kept).collect();
    let mut result = context.public_poly(kept);
    result.for_each_limb(|row, limb| {
        division.down.combine(row, &scaled, quotients, limb);
        context.forward_limb(row, limb);
        kernels::mul_scalar_sub_assign(context.modulus(row), limb, poly.limb(row), division.inverse[row]);
    });
    result
}

/// A ciphertext of degree 1 from two raised polynomials at `level`, whose quotient by `P` has `scale`.
pub(crate) fn lower(
    context: &Context,
    operation: &'static str,
    level: usize,
    divisor: Divisor,
    [u0, u1]: [&mut Poly; 2],
    scale: &Scale,
) -> Result<Ciphertext, Error> {
    let (division, scale) = divisor.prepare(context, operation, level, scale)?;
    Ok(Ciphertext::new(context, [u0, u1].map(|poly| divide(context, level, division, poly)).into(), scale))
}
