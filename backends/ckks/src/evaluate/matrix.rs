use hec_ir::Scale;
use rayon::prelude::*;

use super::check_alike;
use crate::ciphertext::Ciphertext;
use crate::context::{Context, check_scale};
use crate::error::Error;
use crate::kernels::{self, PreparedMatrix};
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
    affine(context, matrix, inputs, weight_scale, &vec![0.0; matrix.rows()])
}

/// `matrix * inputs + bias`: [`scalar_matrix`], and the same number added to all slots of an output, as
/// [`super::add_constant`] does it.
///
/// # Errors
/// As [`scalar_matrix`]; [`Error::Rows`] unless there is one number for each row; [`Error::NotFinite`], [`Error::Overflow`] for a
/// number that cannot be encoded.
pub fn affine(
    context: &Context,
    matrix: &PreparedMatrix,
    inputs: &[&Ciphertext],
    weight_scale: &Scale,
    bias: &[f64],
) -> Result<Vec<Ciphertext>, Error> {
    let map = Affine::new(context, matrix, inputs, weight_scale, bias)?;
    let mut outputs: Vec<Vec<Poly>> = (0..matrix.rows()).map(|_| map.unwritten()).collect();
    map.for_each_part(&mut outputs, |(poly, limb, start), rows| {
        let columns: Vec<&[u64]> = inputs.iter().map(|input| input.polys[poly].limb(limb)).collect();
        let range = start..start + rows.first().map_or(0, |row| row.len());
        matrix.product_range(context.modulus(limb), &columns, range, rows);
    });
    Ok(map.ciphertexts(outputs))
}

/// As [`affine`], with the memory of the inputs for the outputs: where [`PreparedMatrix::works_in_place`], and there are no
/// more rows than columns, it takes no other.
///
/// # Errors
/// As [`affine`].
pub fn affine_owned(
    context: &Context,
    matrix: &PreparedMatrix,
    mut inputs: Vec<Ciphertext>,
    weight_scale: &Scale,
    bias: &[f64],
) -> Result<Vec<Ciphertext>, Error> {
    let borrowed: Vec<&Ciphertext> = inputs.iter().collect();
    if !matrix.works_in_place() {
        return affine(context, matrix, &borrowed, weight_scale, bias);
    }
    let map = Affine::new(context, matrix, &borrowed, weight_scale, bias)?;
    let mut vectors: Vec<Vec<Poly>> = inputs.iter_mut().map(|input| std::mem::take(&mut input.polys)).collect();
    vectors.resize_with(matrix.rows().max(matrix.cols()), || map.unwritten());
    map.for_each_part(&mut vectors, |(_, limb, _), vectors| matrix.product_in_place(context.modulus(limb), vectors));
    vectors.truncate(matrix.rows());
    Ok(map.ciphertexts(vectors))
}

/// A product whose operands have been checked.
struct Affine<'a> {
    context: &'a Context,
    /// Of inputs and outputs.
    polys: usize,
    limbs: usize,
    scale: Scale,
    /// Of each row, where it is not 0: its residues.
    bias: Vec<Option<Vec<u64>>>,
}

impl<'a> Affine<'a> {
    fn new(
        context: &'a Context,
        matrix: &PreparedMatrix,
        inputs: &[&Ciphertext],
        weight_scale: &Scale,
        bias: &[f64],
    ) -> Result<Self, Error> {
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
        if bias.len() != matrix.rows() {
            return Err(Error::Rows { operation, expected: matrix.rows(), found: bias.len() });
        }
        let residues = |&value: &f64| {
            let residues = (value != 0.0).then(|| context.constant(operation, value, first.level, &scale));
            residues.transpose()
        };
        let bias = bias.iter().map(residues).collect::<Result<_, _>>()?;
        Ok(Self { context, polys: first.polys.len(), limbs: first.level + 1, scale, bias })
    }

    fn unwritten(&self) -> Vec<Poly> {
        (0..self.polys).map(|_| self.context.public_poly(self.limbs)).collect()
    }

    /// Calls `product` with each polynomial, limb and first coefficient of a range, and this range of all vectors, on all
    /// threads; then adds the bias to the first of them.
    fn for_each_part(
        &self,
        vectors: &mut [Vec<Poly>],
        product: impl Fn((usize, usize, usize), &mut [&mut [u64]]) + Sync,
    ) {
        let n = self.context.n();
        let range = RANGE.min(n);
        let mut tasks: Vec<Vec<&mut [u64]>> = Vec::new();
        tasks.resize_with(self.polys * self.limbs * (n / range), || Vec::with_capacity(vectors.len()));
        for vector in vectors {
            let limbs = vector.iter_mut().flat_map(|poly| poly.iter_mut());
            let parts = limbs.flat_map(|limb| limb.chunks_exact_mut(range));
            tasks.iter_mut().zip(parts).for_each(|(task, part)| task.push(part));
        }
        tasks.into_par_iter().enumerate().for_each(|(task, mut parts)| {
            let (start, limb) = (task % (n / range) * range, task / (n / range));
            let (limb, poly) = (limb % self.limbs, limb / self.limbs);
            product((poly, limb, start), &mut parts);
            if poly == 0 {
                for (part, bias) in parts.iter_mut().zip(&self.bias) {
                    if let Some(bias) = bias {
                        kernels::add_scalar_assign(self.context.modulus(limb), part, bias[limb]);
                    }
                }
            }
        });
    }

    fn ciphertexts(self, polys: Vec<Vec<Poly>>) -> Vec<Ciphertext> {
        polys.into_iter().map(|polys| Ciphertext::new(self.context, polys, self.scale.clone())).collect()
    }
}
