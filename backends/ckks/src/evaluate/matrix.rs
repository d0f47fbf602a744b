use hec_ir::Scale;
use rayon::prelude::*;

use super::check_alike;
use crate::ciphertext::Ciphertext;
use crate::context::{Context, check_scale};
use crate::error::Error;
use crate::kernels::PreparedMatrix;
use crate::poly::Poly;

/// Coefficients that one task takes; the kernel tiles them further.
const RANGE: usize = 1024;

/// `matrix * inputs`: output `r` is the sum of `W[r, k] * inputs[k]` over the columns, where the integer weights stand for
/// numbers at scale `weight_scale`. The scale of the outputs is the product of the scales, exactly. One pass over the
/// residues, parallel over polynomials, limbs and ranges of coefficients.
///
/// # Errors
/// [`Error::Columns`] unless there is one input for each column and at least one; [`Error::Parameters`]; [`Error::Level`],
/// [`Error::Scale`], [`Error::Degree`] unless these are equal for all inputs; [`Error::ScaleRange`].
pub fn scalar_matrix(
    context: &Context,
    matrix: &PreparedMatrix,
    inputs: &[&Ciphertext],
    weight_scale: &Scale,
) -> Result<Vec<Ciphertext>, Error> {
    let operation = "scalar_matrix";
    let columns = |expected| Error::Columns { operation, expected, found: inputs.len() };
    let first = *inputs.first().ok_or(columns(matrix.cols().max(1)))?;
    if inputs.len() != matrix.cols() {
        return Err(columns(matrix.cols()));
    }
    first.check(context, operation)?;
    for input in &inputs[1..] {
        check_alike(context, operation, first, input)?;
    }
    let scale = first.scale.times(weight_scale);
    check_scale(operation, &scale)?;

    let n = context.n();
    let (polys, limbs) = (first.polys.len(), first.level + 1);
    let zero = || (0..polys).map(|_| Poly::zero(n, limbs)).collect();
    let mut outputs: Vec<Vec<Poly>> = (0..matrix.rows()).map(|_| zero()).collect();

    let range = RANGE.min(n);
    let mut tasks: Vec<Vec<&mut [u64]>> = Vec::new();
    tasks.resize_with(polys * limbs * (n / range), || Vec::with_capacity(matrix.rows()));
    for output in &mut outputs {
        let parts = output.iter_mut().flat_map(|poly| poly.iter_mut()).flat_map(|limb| limb.chunks_exact_mut(range));
        tasks.iter_mut().zip(parts).for_each(|(task, part)| task.push(part));
    }
    tasks.into_par_iter().enumerate().for_each(|(task, mut rows)| {
        let (start, limb, poly) = (task % (n / range) * range, task / (n / range) % limbs, task / (n / range) / limbs);
        let columns: Vec<&[u64]> = inputs.iter().map(|input| input.polys[poly].limb(limb)).collect();
        matrix.product_range(context.modulus(limb), &columns, start..start + range, &mut rows);
    });
    Ok(outputs.into_iter().map(|polys| Ciphertext::new(context, polys, scale.clone())).collect())
}
