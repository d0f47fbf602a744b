//! Operations on ciphertexts. None of them takes a secret key, and none adjusts an operand: where levels, scales or
//! degrees do not fit, the error says what was expected and what was found.

mod digits;
mod divide;
mod linear;
mod matrix;
mod polynomial;
mod product;
mod rescale;
mod rotate;
mod switch;
mod transform;

pub use linear::{
    add, add_assign, add_constant, add_constant_assign, add_plain, multiply_constant, multiply_integer, multiply_plain,
    negate, sub, sub_assign, sub_plain,
};
pub use matrix::{affine, affine_owned, scalar_matrix};
pub use polynomial::polynomial;
pub use product::{multiply, square};
pub use rescale::{drop_level, drop_level_assign, rescale, rescale_assign};
pub use rotate::{conjugate, inner_sum, inner_sum_rotations, rotate, rotate_many, rotate_rescale};
pub use switch::{key_switch, multiply_relinearize_rescale, relinearize, relinearize_rescale};
pub(crate) use transform::linear_transform_streamed;
pub use transform::{linear_transform, linear_transform_block, linear_transform_rescale, linear_transforms};

use crate::ciphertext::Ciphertext;
use crate::context::Context;
use crate::error::Error;

/// Refuses operands that cannot be added.
fn check_alike(context: &Context, operation: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<(), Error> {
    check_levels(context, operation, a, b)?;
    if a.scale != b.scale {
        return Err(Error::Scale { operation, expected: a.scale.clone(), found: b.scale.clone() });
    }
    if a.degree() != b.degree() {
        return Err(Error::Degree { operation, expected: a.degree(), found: b.degree() });
    }
    Ok(())
}

/// Refuses operands of other parameters or of different levels.
fn check_levels(context: &Context, operation: &'static str, a: &Ciphertext, b: &Ciphertext) -> Result<(), Error> {
    a.check(context, operation)?;
    b.check(context, operation)?;
    if a.level == b.level { Ok(()) } else { Err(Error::Level { operation, expected: a.level, found: b.level }) }
}
