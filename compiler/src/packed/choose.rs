//! Which layout each class gets: the way through the classes on which the maps cost least.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use hec_ir::matrix::BlockMatrix;
use hec_ir::parameters::Ring;
use hec_ir::slots::{Fold, LinearMap, Packed};

use super::Placement;
use super::candidates;
use super::classes::Classes;
use super::steps::{Operation, Steps};
use crate::cost::{CostModel, Shape};
use crate::error::CompileError;
use crate::transformation;

/// Limbs at which maps are compared: what they are computed at is not known yet.
const LIMBS: usize = 5;

/// A layout for each class.
pub(super) struct Chosen {
    of: Vec<usize>,
    placements: Vec<Placement>,
}

impl Chosen {
    /// The layout of a step's value, and the fold that a map to it ends with.
    pub(super) fn placement(&self, step: usize) -> &Placement {
        &self.placements[self.of[step]]
    }
}

/// Chooses by dynamic programming from the inputs on. A class that several maps read is settled before them: by what it costs, and
/// by the least that its readers could.
pub(super) fn layouts(steps: &Steps, period: usize, cost: &CostModel) -> Result<Chosen, CompileError> {
    let classes = Classes::new(steps);
    let ring = Ring::conjugate_invariant(period.trailing_zeros());
    let mut search =
        Search { steps, cost, shape: Shape { ring, special: 1 }, known: BTreeMap::new(), structures: BTreeMap::new() };
    let candidates: Vec<Vec<Placement>> =
        classes.list.iter().map(|class| candidates::of_class(steps, &classes, class, period)).collect();
    // For each class and candidate: the cost of all before it, and the candidates of the classes read.
    let mut ways: Vec<Vec<Way>> = Vec::with_capacity(classes.list.len());
    let mut settled: Vec<Option<usize>> = vec![None; classes.list.len()];
    for (number, class) in classes.list.iter().enumerate() {
        let mut own: Vec<Way> = Vec::new();
        for to in &candidates[number] {
            let mut way = Way { cost: 0.0, read: Vec::new() };
            for &step in &class.made_by {
                let Operation::Linear { terms, .. } = &steps.list[step].operation else { continue };
                for (term, (operand, _)) in terms.iter().enumerate() {
                    let before = classes.of[*operand];
                    // A residual block: what comes back to its own class, and what is made inside it and not looked at yet.
                    let Some(ways) = ways.get(before) else {
                        let from = if before == number { Some(to) } else { candidates[before].first() };
                        way.cost += from.map_or(0.0, |from| search.map((step, term), from, to));
                        continue;
                    };
                    let offers = (0..ways.len()).filter(|&from| settled[before].is_none_or(|one| one == from));
                    let each = offers.map(|from| {
                        let before_it = if settled[before].is_some() { 0.0 } else { ways[from].cost };
                        (before_it + search.map((step, term), &candidates[before][from], to), from)
                    });
                    let best = each.collect::<Vec<_>>().into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
                    let Some((cost, from)) = best else { continue };
                    way.cost += cost;
                    way.read.push((before, from));
                }
            }
            own.push(way);
        }
        if class.read_by.len() != 1 {
            let mut totals = Vec::new();
            for (at, way) in own.iter().enumerate() {
                let mut total = way.cost;
                for &(step, term) in &class.read_by {
                    let reader = &candidates[classes.of[step]];
                    let least = reader.iter().map(|to| search.map((step, term), &candidates[number][at], to));
                    total += least.fold(f64::INFINITY, f64::min);
                }
                totals.push((total, at));
            }
            settled[number] = totals.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, at)| at);
        }
        ways.push(own);
    }
    for number in (0..classes.list.len()).rev() {
        if settled[number].is_none() {
            let mut best = (f64::INFINITY, 0);
            for (at, way) in ways[number].iter().enumerate() {
                let mut total = way.cost;
                for &(step, term) in &classes.list[number].read_by {
                    let reader = classes.of[step];
                    let to = settled[reader].unwrap_or(0);
                    total += search.map((step, term), &candidates[number][at], &candidates[reader][to]);
                }
                if total < best.0 {
                    best = (total, at);
                }
            }
            settled[number] = Some(best.1);
        }
        if let Some(way) = settled[number].and_then(|at| ways[number].get(at)) {
            for &(before, from) in &way.read {
                settled[before].get_or_insert(from);
            }
        }
    }
    let placements = settled.iter().zip(candidates).map(|(at, list)| list.into_iter().nth(at.unwrap_or(0)));
    let placements = placements.collect::<Option<Vec<_>>>();
    let placements = placements.ok_or_else(|| CompileError::internal("a value lies nowhere"))?;
    Ok(Chosen { of: classes.of, placements })
}

struct Way {
    cost: f64,
    read: Vec<(usize, usize)>,
}

struct Search<'a> {
    steps: &'a Steps,
    cost: &'a CostModel,
    shape: Shape,
    /// By where a matrix has weights, and the texts of both layouts and the fold: layers of one shape cost the same.
    known: BTreeMap<(u64, String), f64>,
    /// By step and term: where its matrix has weights, as a digest.
    structures: BTreeMap<(usize, usize), u64>,
}

impl Search<'_> {
    /// Nanoseconds of one map; infinite where a layout does not take it.
    fn map(&mut self, (step, term): (usize, usize), from: &Placement, to: &Placement) -> f64 {
        let Operation::Linear { terms, bias } = &self.steps.list[step].operation else { return f64::INFINITY };
        let structure = *self.structures.entry((step, term)).or_insert_with(|| structure(&terms[term].1));
        let key = (structure, format!("{} {} {}", from.0, to.0, to.1));
        if let Some(&cost) = self.known.get(&key) {
            return cost;
        }
        if choices(&terms[term].1, from, to) > MAX_CHOICES {
            self.known.insert(key, f64::INFINITY);
            return f64::INFINITY;
        }
        let map = LinearMap::new(terms[term].1.clone(), bias.clone(), from.0.clone(), to.0.clone(), to.1);
        let price = |map| transformation::nanoseconds(&map, self.cost, self.shape, LIMBS);
        let cost = map.map_or(f64::INFINITY, price);
        self.known.insert(key, cost);
        cost
    }
}

/// A digest of where a matrix has weights other than 0. The hasher has fixed keys: it is the same in every run.
fn structure(matrix: &BlockMatrix<f64>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (matrix.rows(), matrix.cols()).hash(&mut hasher);
    // Blocks share weights and indices by pointer.
    let mut zeros: BTreeMap<*const f64, u64> = BTreeMap::new();
    for block in matrix.blocks() {
        (&block.rows, &block.cols).hash(&mut hasher);
        let pattern = zeros.entry(Arc::as_ptr(&block.weights).cast()).or_insert_with(|| {
            let mut hasher = DefaultHasher::new();
            block.weights.iter().for_each(|weight| (*weight != 0.0).hash(&mut hasher));
            hasher.finish()
        });
        pattern.hash(&mut hasher);
    }
    hasher.finish()
}

/// Layouts in which a map has more choices between diagonals are not looked at: counting them would take a second.
const MAX_CHOICES: usize = 1 << 24;

/// How many choices there are, about: each weight lies wherever its column does, for each place that needs a sum of its row.
fn choices(matrix: &BlockMatrix<f64>, from: &Placement, to: &Placement) -> usize {
    let places = |layout: &Packed, every: usize| {
        let table = layout.table();
        let used =
            table.iter().enumerate().filter(|(slot, entry)| **entry != 0 && slot % layout.period() < every).count();
        used.div_ceil(layout.elements().max(1))
    };
    let summed = match to.1 {
        Fold::Full { period } => period,
        Fold::None | Fold::Window { .. } => to.0.period(),
    };
    let (sources, targets) = (places(&from.0, from.0.period()), places(&to.0, summed));
    matrix.multiply_adds().saturating_mul(sources).saturating_mul(targets)
}
