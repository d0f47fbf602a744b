//! Composite operations in terms of operations on single ciphertexts: their meaning, and what an engine gets that has no
//! kernel for them.

use std::collections::BTreeMap;

use rayon::prelude::*;

use hec_ir::ckks::{Combine, Transform};
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
    alike(evaluator, first, rest)?;
    Ok(first)
}

fn alike<E: Evaluator + ?Sized>(
    evaluator: &E,
    first: &E::Ciphertext,
    rest: &[&E::Ciphertext],
) -> Result<(), EngineError> {
    let expected = evaluator.metadata(first);
    for (index, operand) in (1..).zip(rest) {
        let found = evaluator.metadata(operand);
        if found != expected {
            return Err(EngineError(format!("operand 0 is {expected}, but operand {index} is {found}")));
        }
    }
    Ok(())
}

/// [`Evaluator::transform`], diagonal by diagonal, with the rotations of [`Transform::rotations`]. Where no weight goes to a vector, it
/// is 0 times the first operand.
///
/// # Errors
/// As [`Evaluator::transform`].
pub fn transform<E: Evaluator + ?Sized>(
    evaluator: &E,
    operands: &[&E::Ciphertext],
    transform: &Transform,
) -> Result<Vec<E::Ciphertext>, EngineError> {
    let (map, weight_scale) = (&transform.map, &transform.weight_scale);
    let first = transformable(evaluator, operands, transform)?;
    let (period, slots) = (map.period(), evaluator.slots());
    let samples = slots / period;
    let diagonals = map.diagonals();
    let [babies, _] = transform.stepped();
    let babies: BTreeMap<(usize, usize), E::Ciphertext> = babies
        .into_par_iter()
        .map(|(from, step)| Ok(((from, step), evaluator.rotate(operands[from], step * samples)?)))
        .collect::<Result<_, EngineError>>()?;
    let result = |to: usize| {
        let mut sums: BTreeMap<usize, E::Ciphertext> = BTreeMap::new();
        for (&[_, from, step], weights) in diagonals.weights.range([to, 0, 0]..[to + 1, 0, 0]) {
            let (baby, giant) = (step % transform.baby_steps, step - step % transform.baby_steps);
            let operand = babies.get(&(from, baby)).unwrap_or(operands[from]);
            let turned: Vec<(u32, f64)> =
                weights.iter().map(|&(slot, w)| (((slot as usize + giant) % period) as u32, w)).collect();
            let term = evaluator.multiply_plain(operand, &spread(&turned, period, slots), weight_scale)?;
            add_to(evaluator, &mut sums, giant, term)?;
        }
        let mut total = BTreeMap::new();
        for (giant, sum) in sums {
            let term = if giant == 0 { sum } else { evaluator.rotate(&sum, giant * samples)? };
            add_to(evaluator, &mut total, 0, term)?;
        }
        let sum = match total.remove(&0) {
            Some(sum) => sum,
            None => evaluator.multiply_plain(first, &vec![0.0; slots], weight_scale)?,
        };
        match &diagonals.bias[to][..] {
            [] => Ok(sum),
            bias => evaluator.add_plain(&sum, &spread(bias, period, slots)),
        }
    };
    (0..map.to().vectors()).into_par_iter().map(result).collect()
}

fn add_to<E: Evaluator + ?Sized>(
    evaluator: &E,
    sums: &mut BTreeMap<usize, E::Ciphertext>,
    key: usize,
    term: E::Ciphertext,
) -> Result<(), EngineError> {
    let sum = match sums.remove(&key) {
        Some(sum) => evaluator.add(&sum, &term)?,
        None => term,
    };
    sums.insert(key, sum);
    Ok(())
}

/// [`Evaluator::fold`], by rotations and sums.
///
/// # Errors
/// As [`Evaluator::fold`].
pub fn fold<E: Evaluator + ?Sized>(
    evaluator: &E,
    a: &E::Ciphertext,
    steps: &[usize],
) -> Result<E::Ciphertext, EngineError> {
    let Some((&first, rest)) = steps.split_first() else {
        return Err(EngineError::new("a fold without rotations"));
    };
    let twice = |sum: &E::Ciphertext, step: usize| evaluator.add(sum, &evaluator.rotate(sum, step)?);
    rest.iter().try_fold(twice(a, first)?, |sum, &step| twice(&sum, step))
}

/// The first of `operands`, if [`Evaluator::transform`] can be applied to them.
///
/// # Errors
/// If there are none, not as many as the map takes, they differ in level, scale or degree, or have too few slots.
pub fn transformable<'a, E: Evaluator + ?Sized>(
    evaluator: &E,
    operands: &[&'a E::Ciphertext],
    transform: &Transform,
) -> Result<&'a E::Ciphertext, EngineError> {
    let (expected, found) = (transform.map.from().vectors(), operands.len());
    let (period, slots) = (transform.map.period(), evaluator.slots());
    let Some((&first, rest)) = operands.split_first().filter(|_| expected == found) else {
        return Err(EngineError(format!("a map of {expected} vectors does not take an array of {found}")));
    };
    if period > slots {
        return Err(EngineError(format!("{period} virtual slots do not fit vectors of {slots} slots")));
    }
    alike(evaluator, first, rest)?;
    Ok(first)
}

/// Values of virtual slots, in as many slots as there are for each.
pub fn spread(values: &[(u32, f64)], period: usize, slots: usize) -> Vec<f64> {
    let samples = slots / period;
    let mut all = vec![0.0; slots];
    values.iter().for_each(|&(slot, value)| all[slot as usize * samples..][..samples].fill(value));
    all
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
