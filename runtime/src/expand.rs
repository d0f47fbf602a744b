//! Composite operations in terms of operations on single ciphertexts: their meaning, and what an engine gets that has no
//! kernel for them.

use rayon::prelude::*;

use hec_ir::ckks::Combine;
use hec_ir::matrix::Block;

use crate::engine::{EngineError, Evaluator};

/// [`Evaluator::combine`], weight by weight; rows in parallel. A row without weights is zero times the first operand, plus
/// its bias.
///
/// # Errors
/// As [`Evaluator::combine`], and if there is no operand.
pub fn combine<E: Evaluator + ?Sized>(
    evaluator: &E,
    operands: &[&E::Ciphertext],
    combine: &Combine,
) -> Result<Vec<E::Ciphertext>, EngineError> {
    let Combine { matrix, weight_scale, bias } = combine;
    let first = combinable(evaluator, operands, combine)?;
    let row = |(pieces, &bias): (&Vec<Piece<'_>>, &f64)| {
        let mut sum: Option<E::Ciphertext> = None;
        for (col, weight) in pieces.iter().flat_map(|piece| piece.terms()).filter(|&(_, weight)| weight != 0) {
            let term = evaluator.multiply_integer(operands[col], weight, weight_scale)?;
            sum = Some(match sum {
                Some(sum) => evaluator.add(&sum, &term)?,
                None => term,
            });
        }
        let sum = match sum {
            Some(sum) => sum,
            None => evaluator.multiply_integer(first, 0, weight_scale)?,
        };
        if bias == 0.0 { Ok(sum) } else { evaluator.add_constant(&sum, bias) }
    };
    let pieces = pieces_of_rows(matrix.rows(), matrix.blocks());
    pieces.par_iter().zip(&bias[..]).map(row).collect()
}

/// The first of `operands`, if [`Evaluator::combine`] can be applied to them.
///
/// # Errors
/// If there are none, not as many as the matrix has columns, or they differ in level, scale or degree.
pub fn combinable<'a, E: Evaluator + ?Sized>(
    evaluator: &E,
    operands: &[&'a E::Ciphertext],
    combine: &Combine,
) -> Result<&'a E::Ciphertext, EngineError> {
    let (rows, cols, biases) = (combine.matrix.rows(), combine.matrix.cols(), combine.bias.len());
    if operands.len() != cols || biases != rows {
        let found = operands.len();
        return Err(EngineError(format!(
            "a {rows}x{cols} matrix with {biases} biases does not take an array of {found}"
        )));
    }
    let Some((&first, rest)) = operands.split_first() else {
        return Err(EngineError::new("a combine of no ciphertexts has nothing to add its biases to"));
    };
    let expected = evaluator.metadata(first);
    for (index, operand) in (1..).zip(rest) {
        let found = evaluator.metadata(operand);
        if found != expected {
            return Err(EngineError(format!("operand 0 is {expected}, but operand {index} is {found}")));
        }
    }
    Ok(first)
}

/// One row of one block.
struct Piece<'a> {
    block: &'a Block<i32>,
    row: usize,
}

impl<'a> Piece<'a> {
    fn terms(&self) -> impl Iterator<Item = (usize, i32)> + use<'a> {
        let Block { cols, weights, .. } = self.block;
        let weights = &weights[self.row * cols.len()..][..cols.len()];
        cols.iter().zip(weights).map(|(&col, &weight)| (col as usize, weight))
    }
}

fn pieces_of_rows(rows: usize, blocks: &[Block<i32>]) -> Vec<Vec<Piece<'_>>> {
    let mut pieces: Vec<Vec<Piece<'_>>> = Vec::new();
    pieces.resize_with(rows, Vec::new);
    for block in blocks {
        for (row, &of_matrix) in block.rows.iter().enumerate() {
            pieces[of_matrix as usize].push(Piece { block, row });
        }
    }
    pieces
}
