//! The kernels in 256-bit vectors.

mod base_conversion;
mod pointwise;
mod scalar_matrix;

pub(super) use base_conversion::convert;
pub(super) use pointwise::*;
pub(super) use scalar_matrix::FloatMatrix;
