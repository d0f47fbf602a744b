//! The search for the cheapest plan that is precise and secure enough.

use std::cmp::Ordering::Equal;
use std::collections::BTreeSet;
use std::sync::Arc;

use hec_ir::graph::Origin;
use hec_ir::parameters::{MAX_LIMBS, MAX_LOG_N, Ring, RingType, Security, TABLE_NAME, max_log_qp};
use hec_ir::slots::SlotGraph;
use rayon::prelude::*;

use super::simulate::{Infeasible, PRIME_BITS};
use super::{
    Chain, Flooding, Model, Plan, ProductPolicy, Simulation, combine_count, has_blinds, product_count, rounding,
    simulate, transform_count,
};
use crate::aided;
use crate::cost::CostModel;
use crate::ranges::{Ranges, Samples};
use crate::weights::Weights;

/// What a plan has to reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// Which rings may be taken, in order of preference at equal cost.
    pub ring_types: Vec<RingType>,
    /// Bounds log2(QP).
    pub security: Security,
    /// Bits of precision at the outputs.
    pub precision: f64,
    /// The range of the inputs.
    pub input_range: (f64, f64),
    /// Samples in a batch, if fewer than a ring has slots for.
    pub batch: Option<usize>,
    /// log2 of the ring degree, if only one is looked at.
    pub log_n: Option<u32>,
    /// Inputs that are not encrypted.
    pub public: BTreeSet<String>,
    /// What the client computes in the middle.
    pub aided: Option<Arc<aided::Split>>,
    /// Outputs that are range witnesses: they, and what only they need, have room to become much larger than expected.
    pub witnesses: Vec<String>,
    /// Ring degree and chain, if the user gives them.
    pub explicit: Option<Explicit>,
    /// Bits of statistical security that shared decryptions are to have.
    pub sharing: Option<u32>,
    /// Values that one sample is decrypted to.
    pub values: usize,
}

/// A ring and a chain given by the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Explicit {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Sizes of the chain in bits, from `q_0` up.
    pub moduli: Vec<f64>,
    /// Number of special primes.
    pub special: usize,
    /// log2 of the inputs' scale.
    pub input_bits: Option<i32>,
}

/// The plan that was found, and what others came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The plan.
    pub plan: Plan,
    /// What it comes to.
    pub simulation: Simulation,
    /// The best of each ring that was tried.
    pub candidates: Vec<Candidate>,
}

/// The best plan of one ring.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The ring.
    pub ring: Ring,
    /// What it comes to.
    pub simulation: Simulation,
    /// Nanoseconds for one slot of a full batch.
    pub per_slot: f64,
    /// What the security table allows.
    pub allowed: u32,
    /// Whether it meets the goal.
    pub feasible: bool,
}

/// No plan meets the goal.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SearchError {
    /// No ring is large enough.
    #[error(
        "the model is too deep for any parameter set at {security} bits of security: with a precision of {precision:.1} bits it \
         needs log2(QP) = {needed:.0} bits, and the largest ring degree, 2^{log_n}, allows {allowed} ({TABLE_NAME}); the \
         multiplicative depth is {depth}, and the value that needs most is node \"{origin}\"; use fewer activations or a lower \
         --precision or --security"
    )]
    TooDeep {
        /// Bits of security.
        security: u32,
        /// Bits of precision asked for.
        precision: f64,
        /// log2(QP) of the smallest plan.
        needed: f64,
        /// log2 of the largest ring degree.
        log_n: u32,
        /// What the table allows there.
        allowed: u32,
        /// Rescalings on the longest way.
        depth: usize,
        /// The model's node.
        origin: Origin,
    },
    /// Everything fits but the precision.
    #[error(
        "a precision of {wanted:.1} bits cannot be reached: the best parameters give {reached:.1} bits; ask for less with \
         --precision, share decryptions of fewer samples (--batch) or none, or train the model for smaller values inside"
    )]
    Precision {
        /// Bits asked for.
        wanted: f64,
        /// Bits reached.
        reached: f64,
    },
    /// The user's chain does not carry the model.
    #[error(
        "the given modulus chain is too short: node \"{origin}\" needs {needed:.0} bits of modulus after {depth} rescalings; give a \
         longer chain, a smaller scale, or leave the choice to the compiler"
    )]
    Chain {
        /// The model's node.
        origin: Origin,
        /// Bits that it needs.
        needed: f64,
        /// Rescalings before it.
        depth: usize,
    },
    /// Values grow beyond what any modulus holds.
    #[error(
        "the values at node \"{origin}\" may become too large: with their range they need {needed:.0} bits of modulus, more than any \
         parameter set has; give calibration samples, a narrower --input-range, or train the model for smaller values inside"
    )]
    TooLarge {
        /// The model's node.
        origin: Origin,
        /// Bits that it needs.
        needed: f64,
    },
    /// Two branches cannot be brought to one scale.
    #[error(
        "node \"{origin}\" adds values whose scales cannot be made equal; add a linear layer to one of the branches"
    )]
    Scales {
        /// The model's node.
        origin: Origin,
    },
}

/// Smaller rings than this are not worth the calls: batches become too small.
const MIN_SEARCHED_LOG_N: u32 = 11;
/// A larger ring has to be cheaper by this factor.
const LARGER_RING_GAIN: f64 = 0.9;
const INPUT_BITS: std::ops::RangeInclusive<i32> = 16..=60;
const WEIGHT_BITS: std::ops::RangeInclusive<i32> = 4..=22;
const WATERLINES: std::ops::RangeInclusive<i32> = 12..=60;
const RESCALE_BITS: std::ops::RangeInclusive<i32> = 22..=49;
/// Scales of random factors; below, their rounding shows at any precision worth asking for.
const BLIND_BITS: std::ops::RangeInclusive<i32> = 16..=44;
const START_BLIND_BITS: i32 = 26;

/// Finds a plan for `graph`. Deterministic: coordinate descent from a grid of starts, ring degree by ring degree, and at each the
/// ring types of the goal; the cheapest for each slot of a full batch is taken; then as much precision as the same cost allows. What the rounded weights do to the outputs is then measured on samples; if it is more
/// than was predicted, the search is repeated with that in mind.
///
/// # Errors
/// [`SearchError`] with the numbers, if nothing meets `goal`.
pub fn search(
    graph: &SlotGraph,
    weights: &[Option<Weights>],
    ranges: &Ranges,
    goal: &Goal,
    cost: &CostModel,
    samples: &Samples,
) -> Result<Found, SearchError> {
    let mut rounding_factor = 1.0;
    let flooding = goal.sharing.map(|bits| Flooding { bits, batch: goal.batch, values: goal.values });
    loop {
        let found = search_once(graph, weights, ranges, goal, Model { cost, rounding_factor, flooding })?;
        let measured = rounding::measure(graph, weights, &found.plan, goal.input_range, samples);
        let allowance = rounding_factor * found.simulation.rounding * ROUNDING_TOLERANCE;
        if measured <= allowance || rounding_factor >= MAX_ROUNDING_FACTOR {
            return Ok(found);
        }
        rounding_factor = (1.1 * measured / found.simulation.rounding).max(1.5 * rounding_factor);
    }
}

/// Measured rounding errors may be this much above the predicted ones.
const ROUNDING_TOLERANCE: f64 = 1.2;
/// Beyond this the prediction is no use, and the weights have as many bits as they can have.
const MAX_ROUNDING_FACTOR: f64 = 64.0;

fn search_once(
    graph: &SlotGraph,
    weights: &[Option<Weights>],
    ranges: &Ranges,
    goal: &Goal,
    model: Model,
) -> Result<Found, SearchError> {
    let space = Space {
        graph,
        weights,
        ranges,
        goal,
        model,
        products: product_count(graph),
        combines: combine_count(graph),
        transforms: transform_count(graph),
        blinds: has_blinds(graph),
    };
    let searched = goal.log_n.map_or(MIN_SEARCHED_LOG_N..=MAX_LOG_N, |log_n| log_n..=log_n);
    let degrees = goal.explicit.as_ref().map_or(searched, |e| e.log_n..=e.log_n);
    let mut failure = None;
    let mut plans: Vec<(Plan, Scored)> = Vec::new();
    for log_n in degrees.rev() {
        if max_log_qp(goal.security, log_n).is_none() && goal.explicit.is_none() {
            continue;
        }
        for &ring_type in &goal.ring_types {
            let ring = Ring { ring_type, log_n };
            let related = plans.iter().map(|(plan, _)| plan);
            let related = related.filter(|plan| plan.ring.ring_type == ring_type || plan.ring.log_n == log_n);
            match space.best(ring, related) {
                Ok(found) => plans.push(found),
                Err(why) => failure = Some(why),
            }
        }
    }
    if space.is_deep() {
        plans = space.again(&plans);
    }
    let mut best: Option<(Plan, f64)> = None;
    let mut closest: Option<(Scored, u32)> = None;
    let mut candidates = Vec::new();
    for twins in plans.chunk_by(|(a, _), (b, _)| a.ring.log_n == b.ring.log_n) {
        let mut here: Option<(Plan, f64)> = None;
        for (plan, scored) in twins {
            let (ring, per_slot, feasible) = (plan.ring, space.per_slot(scored, plan.ring), scored.excess == 0.0);
            let allowed = max_log_qp(goal.security, ring.log_n).unwrap_or(0);
            candidates.push(Candidate { ring, simulation: scored.simulation.clone(), per_slot, allowed, feasible });
            if !feasible {
                closest.get_or_insert((scored.clone(), ring.log_n));
            } else if here.as_ref().is_none_or(|(_, twin)| per_slot < *twin) {
                here = Some((plan.clone(), per_slot));
            }
        }
        if let Some((plan, per_slot)) = here
            && best.as_ref().is_none_or(|(_, larger)| per_slot * LARGER_RING_GAIN <= *larger)
        {
            best = Some((plan, per_slot));
        }
    }
    candidates.reverse();
    match (best, closest, failure) {
        (Some((plan, _)), _, _) => {
            let (plan, scored) = space.most_precise(plan);
            Ok(Found { plan, simulation: scored.simulation, candidates })
        }
        (None, Some((scored, log_n)), _) => Err(space.refusal(&scored, log_n)),
        (None, None, Some(Infeasible::Chain(r))) if goal.explicit.is_none() => {
            Err(SearchError::TooLarge { origin: r.origin, needed: r.bits })
        }
        (None, None, Some(Infeasible::Chain(r))) => {
            Err(SearchError::Chain { origin: r.origin, needed: r.bits, depth: r.depth })
        }
        (None, None, Some(Infeasible::Scales(origin))) => Err(SearchError::Scales { origin }),
        (None, None, None) => Err(SearchError::Precision { wanted: goal.precision, reached: 0.0 }),
    }
}

struct Space<'a> {
    graph: &'a SlotGraph,
    weights: &'a [Option<Weights>],
    ranges: &'a Ranges,
    goal: &'a Goal,
    model: Model<'a>,
    products: usize,
    combines: usize,
    transforms: usize,
    blinds: bool,
}

#[derive(Clone, Debug)]
struct Scored {
    simulation: Simulation,
    /// Bits by which the goal is missed, modulus and precision together; 0 if it is met.
    excess: f64,
    /// The part of it that is precision.
    shortfall: f64,
}

impl Scored {
    fn better_than(&self, other: &Self) -> bool {
        if self.excess > 0.0 || other.excess > 0.0 {
            return self.excess < other.excess;
        }
        self.price() < other.price()
    }

    /// Cost moves in steps of whole limbs; a little of the modulus makes descent walk across the plateaus.
    fn price(&self) -> f64 {
        self.simulation.nanoseconds * (1.0 + PLATEAU_SLOPE * self.simulation.log_qp())
    }
}

const PLATEAU_SLOPE: f64 = 1e-5;

/// By how many bits weights in slots start above others.
const SLOTWISE_START_BITS: i32 = 8;

/// Nodes simulated in one descent.
const DESCENT_BUDGET: usize = 150_000;
/// Starts that miss the goal by more bits than this are not descended from.
const HOPELESS: f64 = 600.0;

impl Space<'_> {
    fn score(&self, plan: &Plan) -> Result<Scored, Infeasible> {
        let simulation = simulate(self.graph, self.weights, self.ranges, plan, self.model)?;
        // A hundredth of a bit for each prime: primes are near their sizes, not at them.
        let size = simulation.log_qp() + 0.01 * (simulation.moduli.len() + simulation.special.len()) as f64;
        let allowed = f64::from(max_log_qp(self.goal.security, plan.ring.log_n).unwrap_or(0));
        // What the user gave is checked when the parameters are made.
        let missing = missing_primes(&simulation, plan.ring);
        let over = if self.goal.explicit.is_some() { 0.0 } else { (size - allowed).max(0.0) + missing };
        let shortfall = (self.goal.precision - simulation.precision).max(0.0);
        // Precision is bought with modulus, several bits for one: weigh it so that descent does not trade it away.
        Ok(Scored { simulation, excess: over + 8.0 * shortfall, shortfall })
    }

    /// The best plan on one ring; `others` are the best of other rings, as further starts.
    fn best<'p>(&self, ring: Ring, others: impl Iterator<Item = &'p Plan>) -> Result<(Plan, Scored), Infeasible> {
        let mut starts: Vec<(Plan, Scored)> = Vec::new();
        let mut failure = None;
        let others = others.map(|plan| Plan { ring, ..plan.clone() });
        for plan in self.starts(ring).into_iter().chain(others) {
            match self.score(&plan) {
                Ok(scored) => starts.push((plan, scored)),
                Err(why) => failure = Some(why),
            }
        }
        starts.sort_by(|(_, a), (_, b)| {
            let key = |s: &Scored| (s.excess, s.price());
            key(a).partial_cmp(&key(b)).unwrap_or(Equal)
        });
        starts.truncate(6);
        let best = self.descend_all(starts, DESCENT_BUDGET);
        best.ok_or_else(|| failure.unwrap_or(Infeasible::Scales(Origin::from(""))))
    }

    /// The best of what is found from all `starts`; the first among equals.
    fn descend_all(&self, starts: Vec<(Plan, Scored)>, budget: usize) -> Option<(Plan, Scored)> {
        let descend = |(plan, scored): (Plan, Scored)| {
            if scored.excess > HOPELESS { (plan, scored) } else { self.descend(plan, scored, budget) }
        };
        let descended: Vec<(Plan, Scored)> = starts.into_par_iter().map(descend).collect();
        descended.into_iter().reduce(|best, next| if next.1.better_than(&best.1) { next } else { best })
    }

    /// Whether a graph has so many coordinates that descent ends in many places.
    fn is_deep(&self) -> bool {
        const SHALLOW: usize = 12;
        self.products + self.combines > SHALLOW
    }

    /// Descends once more on every ring that may still win, from the best plans of all rings, and for longer.
    fn again(&self, plans: &[(Plan, Scored)]) -> Vec<(Plan, Scored)> {
        const STARTS: usize = 3;
        const LONGER: usize = 2;
        /// Where the least cost a slot is above this share of the best, or the goal is missed by more bits, it is left at that.
        const FAR: (f64, f64) = (2.0, 60.0);
        let costs = plans.iter().filter(|(_, scored)| scored.excess == 0.0);
        let least = costs.map(|(plan, scored)| self.per_slot(scored, plan.ring)).fold(f64::INFINITY, f64::min);
        let once_more = |(plan, scored): &(Plan, Scored)| {
            if self.per_slot(scored, plan.ring) > FAR.0 * least || scored.excess > FAR.1 {
                return (plan.clone(), scored.clone());
            }
            let moved = plans.iter().map(|(other, _)| Plan { ring: plan.ring, ..other.clone() });
            let mut starts: Vec<(Plan, Scored)> =
                moved.filter_map(|p| Some((p.clone(), self.score(&p).ok()?))).collect();
            starts.sort_by(|(_, a), (_, b)| (a.excess, a.price()).partial_cmp(&(b.excess, b.price())).unwrap_or(Equal));
            starts.dedup_by(|(a, _), (b, _)| a == b);
            starts.truncate(STARTS);
            self.descend_all(starts, LONGER * DESCENT_BUDGET).unwrap_or_else(|| (plan.clone(), scored.clone()))
        };
        plans.iter().map(once_more).collect()
    }

    /// Nanoseconds for one slot of a batch.
    fn per_slot(&self, scored: &Scored, ring: Ring) -> f64 {
        let used = self.goal.batch.map_or(ring.slots(), |samples| samples.min(ring.slots()));
        scored.simulation.nanoseconds / used.max(1) as f64
    }

    fn starts(&self, ring: Ring) -> Vec<Plan> {
        let mut plans = Vec::new();
        let explicit = self.goal.explicit.as_ref();
        let chains: Vec<Chain> = match explicit {
            Some(explicit) => vec![Chain::Explicit(explicit.moduli.clone())],
            None => [28.0, 36.0, 44.0, 49.0].map(Chain::Uniform).to_vec(),
        };
        for chain in chains {
            let slotwise = if self.transforms > 0 { SLOTWISE_START_BITS } else { 0 };
            for (input_bits, weight_bits) in [(22, 8), (28, 12), (34, 14), (42, 18)] {
                for waterline in [20.0, 26.0, 32.0, 40.0] {
                    for mask in 0..16u8 {
                        let policy = policy(mask);
                        plans.push(Plan {
                            ring,
                            chain: chain.clone(),
                            special: explicit.map_or(1, |e| e.special.max(1)),
                            input_bits: explicit.and_then(|e| e.input_bits).unwrap_or(input_bits),
                            weight_bits: vec![weight_bits + slotwise; self.combines],
                            waterline,
                            products: vec![policy; self.products],
                            blind_bits: START_BLIND_BITS,
                            fold_first: vec![false; self.transforms],
                        });
                    }
                }
            }
        }
        plans
    }

    /// Takes the best neighbour along each coordinate in turn until none is better, or until as many were tried as a graph of
    /// this size is worth.
    fn descend(&self, mut plan: Plan, mut scored: Scored, budget: usize) -> (Plan, Scored) {
        let mut budget = budget / (self.graph.len() + 1);
        loop {
            let mut improved = false;
            for coordinate in 0..self.coordinates() {
                for neighbour in self.neighbours(&plan, coordinate) {
                    if budget == 0 {
                        return (plan, scored);
                    }
                    budget -= 1;
                    if let Ok(found) = self.score(&neighbour)
                        && found.better_than(&scored)
                    {
                        (plan, scored, improved) = (neighbour, found, true);
                    }
                }
            }
            if !improved {
                return (plan, scored);
            }
        }
    }

    /// Weights in slots are encoded in coefficients, which takes more bits for as much precision; every other number of bits will do.
    fn weight_bits(&self) -> impl Iterator<Item = i32> + use<> {
        let step = if self.transforms > 0 { 2 } else { 1 };
        WEIGHT_BITS.map(move |bits| step * bits)
    }

    fn coordinates(&self) -> usize {
        5 + self.combines + self.products + self.transforms + usize::from(self.blinds)
    }

    fn neighbours(&self, plan: &Plan, coordinate: usize) -> Vec<Plan> {
        let with = |change: &dyn Fn(&mut Plan)| {
            let mut plan = plan.clone();
            change(&mut plan);
            plan
        };
        let explicit = self.goal.explicit.as_ref();
        match coordinate {
            0 if explicit.is_none() => {
                let sizes = RESCALE_BITS.map(f64::from).chain([PRIME_BITS]);
                sizes.map(|bits| with(&|p| p.chain = Chain::Uniform(bits))).collect()
            }
            1 if explicit.is_none_or(|e| e.input_bits.is_none()) => {
                INPUT_BITS.map(|bits| with(&|p| p.input_bits = bits)).collect()
            }
            2 => self.weight_bits().map(|bits| with(&|p| p.weight_bits.fill(bits))).collect(),
            3 => WATERLINES.map(|bits| with(&|p| p.waterline = f64::from(bits))).collect(),
            4 if explicit.is_none() => (1..=4).map(|count| with(&|p| p.special = count)).collect(),
            fixed if fixed < 5 => Vec::new(),
            other if other < 5 + self.combines => {
                self.weight_bits().map(|bits| with(&|p| p.weight_bits[other - 5] = bits)).collect()
            }
            other if other == 5 + self.combines + self.products + self.transforms => {
                BLIND_BITS.map(|bits| with(&|p| p.blind_bits = bits)).collect()
            }
            other if other >= 5 + self.combines + self.products => {
                let index = other - 5 - self.combines - self.products;
                vec![with(&|p| p.fold_first[index] = !p.fold_first[index])]
            }
            other => (0..16).map(|mask| with(&|p| p.products[other - 5 - self.combines] = policy(mask))).collect(),
        }
    }

    /// Raises the precision as far as costs nothing (a tenth of a percent).
    fn most_precise(&self, mut plan: Plan) -> (Plan, Scored) {
        #[expect(clippy::expect_used, reason = "the plan was scored before")]
        let mut scored = self.score(&plan).expect("a feasible plan");
        let limit = scored.simulation.nanoseconds * 1.001;
        loop {
            let mut improved = false;
            for coordinate in (0..4).chain(5..5 + self.combines).chain(self.blinds.then(|| self.coordinates() - 1)) {
                for neighbour in self.neighbours(&plan, coordinate) {
                    if let Ok(found) = self.score(&neighbour)
                        && found.excess == 0.0
                        && found.simulation.nanoseconds <= limit
                        && found.simulation.precision > scored.simulation.precision + 0.01
                    {
                        (plan, scored, improved) = (neighbour, found, true);
                    }
                }
            }
            if !improved {
                return (plan, scored);
            }
        }
    }

    fn refusal(&self, scored: &Scored, log_n: u32) -> SearchError {
        let simulation = &scored.simulation;
        if scored.excess <= 8.0 * scored.shortfall {
            return SearchError::Precision { wanted: self.goal.precision, reached: simulation.precision };
        }
        SearchError::TooDeep {
            security: self.goal.security.bits(),
            precision: self.goal.precision,
            needed: simulation.log_qp(),
            log_n,
            allowed: max_log_qp(self.goal.security, log_n).unwrap_or(0),
            depth: simulation.rescalings,
            origin: simulation.tightest.origin.clone(),
        }
    }
}

/// How many primes of the planned sizes are wanting: there must be enough of them so near that their sizes are as planned.
fn missing_primes(simulation: &Simulation, ring: Ring) -> f64 {
    /// One in so many of the primes within half a bit is near enough.
    const NEAR: f64 = 4.0;
    let count = simulation.moduli.len() + simulation.special.len();
    let smallest = simulation.moduli.iter().copied().fold(f64::INFINITY, f64::min);
    // Dirichlet: primes = 1 mod M within half a bit of 2^b, of which there are about 2^b / (ln(2^b) sqrt(2) M/2).
    let within = smallest.exp2() / (smallest * std::f64::consts::LN_2 * 2f64.sqrt() * ring.order() as f64 / 2.0);
    (count as f64 - (within / NEAR).min(MAX_LIMBS as f64)).max(0.0)
}

fn policy(mask: u8) -> ProductPolicy {
    let bit = |i: u8| mask >> i & 1 == 1;
    ProductPolicy {
        relinearize_before: bit(0),
        rescale_before: bit(1),
        relinearize_after: bit(2),
        rescale_after: bit(3),
    }
}
