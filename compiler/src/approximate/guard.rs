//! Range witnesses: what lets the client see that an operand left the range on which its polynomial was fitted.
//!
//! For an operand `x` that was seen between `c - h` and `c + h`, the witness is the sum of `((x - c) / h)^8` over its elements: one
//! number for each sample, an output of the circuit beside the model's. A sum of at most 1 proves that every element was inside; what is
//! larger than anything that the calibration samples gave, with a margin, was not like these.

use std::sync::Arc;

use hec_ir::graph::Value;
use hec_ir::program::Guard;
use hec_ir::tensor::{Polynomial, Reduce, Reduction, Reshape, Tensor};

use super::Replacement;
use super::activation::scale;
use super::traced::Traced;
use crate::error::CompileError;

/// The eighth power: a lower one would drown one element outside in the many inside, a higher one takes more levels.
const SQUARINGS: usize = 3;
/// A witness may be this much above the largest that the calibration samples gave.
const MARGIN: f64 = 1.5;

/// Adds the witness of `x`, the operand of `replacement`, as an output.
pub(super) fn add(traced: &mut Traced, x: Value, replacement: &Replacement) -> Result<Guard, CompileError> {
    let (low, high) = replacement.fitted;
    let half = ((high - low) / 2.0).max(f64::MIN_POSITIVE);
    let scaled = scale(traced, x, 1.0 / half, -(high + low) / (2.0 * half))?;
    let square = |traced: &mut Traced, x| {
        let coefficients: Arc<[f64]> = [0.0, 0.0, 1.0].into();
        traced.push(Polynomial { coefficients }.into(), &[x])
    };
    let mut power = scaled;
    for _ in 0..SQUARINGS {
        power = square(traced, power)?;
    }
    let axes = (0..traced.shape(power).len()).collect();
    let sum = traced.push(Reduce { reduction: Reduction::Sum, axes, keep: false }.into(), &[power])?;
    let witness = traced.push(Reshape { shape: vec![1, 1] }.into(), &[sum])?;
    let all = traced.values(witness).iter().flat_map(Tensor::values);
    let limit = (MARGIN * all.copied().fold(0.0, f64::max)).max(1.0);
    let name = traced.witness(&replacement.origin, witness);
    Ok(Guard { name, origin: replacement.origin.as_str().into(), limit })
}
