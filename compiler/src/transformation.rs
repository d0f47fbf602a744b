//! A linear map over the slots as management sees it: its norms, and what its rotations come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hec_ir::slots::{LinearMap, baby_and_giant_steps};

use crate::cost::{CostModel, Rotations, Shape};
use crate::norms::RowNorms;

/// What is asked of a linear map often.
#[derive(Clone, Debug)]
pub struct Transformation {
    /// The map.
    pub map: Arc<LinearMap>,
    /// The largest weight.
    pub largest: f64,
    /// The 2-norms of the matrix's rows.
    pub row_norms: RowNorms,
    /// The largest sum of a row's absolute values.
    pub row_sum: f64,
    /// The most diagonals of one vector of the result.
    pub diagonals: usize,
    /// Rotations of its fold.
    pub folds: usize,
    /// What its rotations come to with each number of baby steps: powers of two, ascending.
    pub splits: Vec<(usize, Rotations)>,
}

impl Transformation {
    /// Reads them off `map`.
    pub fn new(map: &Arc<LinearMap>) -> Self {
        let (mut largest, mut squares) = (0f64, vec![0.0; map.matrix().rows()]);
        let mut sums = vec![0.0; map.matrix().rows()];
        map.matrix().for_each(|row, _, &weight| {
            largest = largest.max(weight.abs());
            squares[row] += weight * weight;
            sums[row] += weight.abs();
        });
        let mut diagonals = vec![0; map.to().vectors()];
        map.steps().iter().for_each(|([to, _], steps)| diagonals[*to] += steps.len());
        Self {
            largest,
            row_norms: RowNorms::of(&squares),
            row_sum: sums.into_iter().fold(0.0, f64::max),
            diagonals: diagonals.into_iter().max().unwrap_or(0),
            folds: map.fold().steps(map.period()).len(),
            splits: splits(map),
            map: map.clone(),
        }
    }

    /// log2 of the scale at which weights of `bits` bits are encoded.
    pub fn scale_bits(&self, bits: i32) -> i32 {
        if self.largest > 0.0 { bits - self.largest.log2().ceil() as i32 } else { 0 }
    }

    /// The number of baby steps with which the map costs least at so many limbs, and its nanoseconds, without its fold.
    pub fn cheapest(&self, cost: &CostModel, shape: Shape, limbs: usize) -> (usize, f64) {
        cheapest(&self.splits, cost, shape, limbs)
    }
}

/// Nanoseconds of a map with its fold at so many limbs.
pub fn nanoseconds(map: &LinearMap, cost: &CostModel, shape: Shape, limbs: usize) -> f64 {
    let folds = map.fold().steps(map.period()).len() * map.to().vectors();
    cheapest(&splits(map), cost, shape, limbs).1 + folds as f64 * cost.rotation(shape, limbs)
}

fn cheapest(splits: &[(usize, Rotations)], cost: &CostModel, shape: Shape, limbs: usize) -> (usize, f64) {
    let price = |&(baby_steps, rotations): &(usize, Rotations)| (baby_steps, cost.transform(shape, limbs, rotations));
    splits.iter().map(price).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((1, 0.0))
}

/// What the rotations of a map come to with each number of baby steps: powers of two, ascending.
pub(crate) fn splits(map: &LinearMap) -> Vec<(usize, Rotations)> {
    let steps = map.steps();
    (0..=map.period().trailing_zeros()).map(|log| (1 << log, rotations(map, steps, 1 << log))).collect()
}

fn rotations(map: &LinearMap, steps: &BTreeMap<[usize; 2], BTreeSet<usize>>, baby_steps: usize) -> Rotations {
    let [babies, giants] = baby_and_giant_steps(steps, baby_steps);
    let turned: BTreeSet<usize> = babies.iter().map(|(from, _)| *from).collect();
    Rotations {
        operands: turned.len(),
        babies: babies.len(),
        giants: giants.len(),
        diagonals: steps.values().map(BTreeSet::len).sum(),
        results: map.to().vectors(),
    }
}
