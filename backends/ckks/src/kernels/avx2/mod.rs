//! The kernels in 256-bit vectors.

mod base_conversion;
mod digit_matrix;
mod float_matrix;
mod peak;
mod pointwise;
mod sums;

pub(super) use base_conversion::{combine, scale};
pub(super) use digit_matrix::DigitMatrix;
pub(super) use float_matrix::FloatMatrix;
pub(super) use peak::fused_multiply_adds;
pub(super) use pointwise::*;
