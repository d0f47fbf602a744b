//! Which degrees a composite sign should have.
//!
//! The search of Lee, Lee, No and Kim (eprint 2020/834, section 4, algorithms 4 and 5): what a chain leaves only gets better
//! with what it is given, and so among all chains of one depth and number of products only the best needs to be continued.
//! Here depth counts first, then products, as levels are what the other parts of a circuit compete for.

use std::collections::BTreeMap;

use crate::composite::{CompositeSign, Margins, remaining, sign_stage};
use crate::cost;
use crate::error::ApproximationError;

/// The highest degree of a stage: depth 5. Beyond it, more stages are better than higher ones.
pub const MAX_STAGE_DEGREE: usize = 31;

/// What to plan for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignGoal {
    /// The least absolute value whose sign is to be told, with operands up to 1.
    pub epsilon: f64,
    /// The largest difference from the sign.
    pub error: f64,
    /// The largest depth.
    pub max_depth: usize,
    /// The room that is left.
    pub margins: Margins,
}

/// A chain on the way: its degrees, and what it leaves.
#[derive(Clone, Debug)]
struct Chain {
    degrees: Vec<usize>,
    lower: f64,
    error: f64,
}

/// Degrees of a composite sign with the least depth, among these with the fewest products, and among these with the least error.
///
/// ```
/// use hec_approximation::composite::{CompositeSign, Margins};
/// use hec_approximation::plan::{SignGoal, plan_sign};
///
/// let goal = SignGoal { epsilon: 0.05, error: 0.01, max_depth: 12, margins: Margins::default() };
/// let sign = plan_sign(&goal)?;
/// assert!(sign.error() <= 0.01 && sign.depth() <= 12);
/// # Ok::<(), hec_approximation::ApproximationError>(())
/// ```
///
/// # Errors
/// [`ApproximationError::NoPlan`] if no chain within the depth is good enough; [`ApproximationError::Parameter`] for a goal
/// out of range.
pub fn plan_sign(goal: &SignGoal) -> Result<CompositeSign, ApproximationError> {
    goal.margins.check(goal.epsilon)?;
    if !(goal.error > 0.0 && goal.error < 1.0) {
        return Err(ApproximationError::parameter("error", format!("{} is not in (0, 1)", goal.error)));
    }
    let (depth, degrees) = least_depth(goal)?;
    let chain = fewest_products(goal, depth, degrees.iter().map(|&degree| stage_products(degree)).sum())?;
    CompositeSign::new(&chain.degrees, goal.epsilon, goal.margins)
}

fn start(goal: &SignGoal) -> Chain {
    Chain { degrees: Vec::new(), lower: goal.epsilon, error: 1.0 }
}

/// The chain with one more stage. Nothing if it does not tell the signs apart, or lies below what numbers resolve.
fn extend(goal: &SignGoal, chain: &Chain, degree: usize) -> Option<Chain> {
    let upper = if chain.degrees.is_empty() { 1.0 + goal.margins.domain } else { 1.0 };
    let (_, error) = sign_stage(degree, chain.lower, upper, 1e-3).ok()?;
    let lower = remaining(error, goal.margins.stage)?;
    let degrees = chain.degrees.iter().copied().chain([degree]).collect();
    Some(Chain { degrees, lower, error })
}

/// The least depth, and a chain of it. The highest degree of a depth is the best of it; so only depths are to be chosen.
fn least_depth(goal: &SignGoal) -> Result<(usize, Vec<usize>), ApproximationError> {
    let mut best: BTreeMap<usize, Chain> = BTreeMap::from([(0, start(goal))]);
    for depth in 2..=goal.max_depth {
        for stage in 2..=cost::depth(MAX_STAGE_DEGREE).min(depth) {
            let Some(chain) = best.get(&(depth - stage)) else { continue };
            let Some(longer) = extend(goal, chain, (1 << stage) - 1) else { continue };
            if best.get(&depth).is_none_or(|known| longer.error < known.error) {
                best.insert(depth, longer);
            }
        }
        if let Some(chain) = best.get(&depth).filter(|chain| chain.error <= goal.error) {
            return Ok((depth, chain.degrees.clone()));
        }
    }
    let reached = best.values().map(|chain| chain.error).fold(1.0, f64::min);
    Err(ApproximationError::NoPlan { depth: goal.max_depth, error: goal.error, reached })
}

fn stage_products(degree: usize) -> usize {
    let odd: Vec<f64> = (0..=degree).map(|k| if k % 2 == 1 { 1.0 / (k * k) as f64 } else { 0.0 }).collect();
    cost::products(&odd)
}

/// Stages worth trying: for each depth and number of products, the highest degree.
fn stages() -> Vec<(usize, usize, usize)> {
    let mut best: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for degree in (3..=MAX_STAGE_DEGREE).step_by(2) {
        best.insert((cost::depth(degree), stage_products(degree)), degree);
    }
    best.into_iter().map(|((depth, products), degree)| (depth, products, degree)).collect()
}

/// The chain of a depth with the fewest products, of which there is one with `most`.
fn fewest_products(goal: &SignGoal, depth: usize, most: usize) -> Result<Chain, ApproximationError> {
    let stages = stages();
    // What is left of the depth takes at least the products of its cheapest stages: one for each level.
    let bearable = |at: usize, products: usize| products + (depth - at) <= most;
    // By depth, then products: the best chain.
    let mut table: Vec<BTreeMap<usize, Chain>> = vec![BTreeMap::new(); depth + 1];
    table[0].insert(0, start(goal));
    for at in 2..=depth {
        let mut row: BTreeMap<usize, Chain> = BTreeMap::new();
        for &(stage, products, degree) in &stages {
            let Some(before) = at.checked_sub(stage) else { continue };
            for (&made, chain) in table[before].iter().filter(|&(&made, _)| bearable(at, made + products)) {
                if let Some(longer) = extend(goal, chain, degree)
                    && row.get(&(made + products)).is_none_or(|known| longer.error < known.error)
                {
                    row.insert(made + products, longer);
                }
            }
        }
        // More products for no less error are of no use.
        let mut least = f64::INFINITY;
        row.retain(|_, chain| {
            let better = chain.error < least;
            least = least.min(chain.error);
            better
        });
        table[at] = row;
    }
    let good = table[depth].values().find(|chain| chain.error <= goal.error).cloned();
    let reached = table[depth].values().map(|chain| chain.error).fold(1.0, f64::min);
    good.ok_or(ApproximationError::NoPlan { depth, error: goal.error, reached })
}
