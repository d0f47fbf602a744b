//! Management: the only place that decides on level, scale and degree.
//!
//! [`walk`] lowers a slot graph once; it is run on two targets: the simulation (for bits, noise and cost, by the search) and
//! the circuit builder. What a [`Plan`] leaves open is decided by fixed rules, so the two always agree.

mod emit;
mod rounding;
mod search;
mod simulate;
mod worst;

pub use emit::emit;
pub use search::{Candidate, Explicit, Found, Goal, SearchError, search};
pub(crate) use simulate::PRIME_BITS;
pub use simulate::{Flooding, Infeasible, Model, Requirement, Simulation, simulate};

use hec_ir::Scale;
use hec_ir::ckks::{MAX_DEGREE, MAX_WEIGHT_BITS};
use hec_ir::graph::{Origin, Value};
use hec_ir::parameters::Ring;
use hec_ir::slots::{self, Op, SlotGraph};

use crate::transformation::Transformation;
use crate::weights::{Uniform, Weights};

/// Everything that is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The ring.
    pub ring: Ring,
    /// Sizes of the primes.
    pub chain: Chain,
    /// Number of special primes for key switching.
    pub special: usize,
    /// log2 of the scale of the inputs.
    pub input_bits: i32,
    /// Bits of the largest integer weight of each combine, in the order of the graph.
    pub weight_bits: Vec<i32>,
    /// No rescaling takes a scale below `2^waterline`.
    pub waterline: f64,
    /// What is done around each product, in the order of the graph.
    pub products: Vec<ProductPolicy>,
    /// log2 of the scale of random factors around rounds with the client.
    pub blind_bits: i32,
    /// For each transform, in the order of the graph, whether it is folded before it is rescaled: dearer, and more precise.
    pub fold_first: Vec<bool>,
}

/// Sizes of the modulus chain in bits.
#[derive(Clone, Debug, PartialEq)]
pub enum Chain {
    /// All rescaling primes of one size, as many as needed; the base is as large as needed.
    Uniform(f64),
    /// Given by the user, from `q_0` up.
    Explicit(Vec<f64>),
}

/// What is done around one product of ciphertexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProductPolicy {
    /// Relinearise the operands.
    pub relinearize_before: bool,
    /// Rescale the operands as far as the waterline allows.
    pub rescale_before: bool,
    /// Relinearise the product.
    pub relinearize_after: bool,
    /// Rescale the product as far as the waterline allows.
    pub rescale_after: bool,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Number of rescaling primes used up.
    pub depth: usize,
    /// Degree in the secret.
    pub degree: usize,
    /// Exact scale.
    pub scale: Scale,
    /// log2 of the scale, were all primes of their planned sizes: both targets see the same number, and so take the same turns.
    pub bits: f64,
}

/// Bits without what rounding in another order of additions leaves.
fn on_grid(bits: f64) -> f64 {
    const STEPS: f64 = (1 << 20) as f64;
    (bits * STEPS).round() / STEPS
}

/// What a slot graph is lowered onto.
pub trait Target {
    /// An array of ciphertexts.
    type Value: Clone;
    /// What can go wrong.
    type Error;

    /// Following operations come from this node of the model.
    fn at(&mut self, origin: &Origin);
    /// A fresh input.
    fn input(&mut self, node: Value, input: &slots::Input) -> Result<Self::Value, Self::Error>;
    /// Weighted sums, with weights at `scale`.
    fn combine(
        &mut self,
        node: Value,
        x: &Self::Value,
        weights: &Weights,
        scale: &Scale,
    ) -> Result<Self::Value, Self::Error>;
    /// A product; `b` is `None` for a square.
    fn product(&mut self, node: Value, a: &Self::Value, b: Option<&Self::Value>) -> Result<Self::Value, Self::Error>;
    /// A sum or difference.
    fn sum(
        &mut self,
        node: Value,
        a: &Self::Value,
        b: &Self::Value,
        subtract: bool,
    ) -> Result<Self::Value, Self::Error>;
    /// Arrays one after the other.
    fn concat(&mut self, node: Value, operands: &[Self::Value]) -> Result<Self::Value, Self::Error>;
    /// Re-indexing.
    fn gather(&mut self, x: &Self::Value, gather: &slots::Gather) -> Result<Self::Value, Self::Error>;
    /// The diagonals of a linear map, with weights at `scale`, without its fold.
    fn transform(
        &mut self,
        node: Value,
        x: &Self::Value,
        transformation: &Transformation,
        scale: &Scale,
    ) -> Result<Self::Value, Self::Error>;
    /// The fold of a linear map.
    fn fold(
        &mut self,
        node: Value,
        x: &Self::Value,
        transformation: &Transformation,
    ) -> Result<Self::Value, Self::Error>;
    /// What the client sends back for the operands.
    fn refresh(
        &mut self,
        node: Value,
        refresh: &slots::Refresh,
        operands: &[(Value, Self::Value)],
    ) -> Result<Self::Value, Self::Error>;
    /// Products with random factors, encoded at `scale`.
    fn blind(
        &mut self,
        node: Value,
        x: &Self::Value,
        blind: &slots::Blind,
        scale: &Scale,
    ) -> Result<Self::Value, Self::Error>;
    /// Back to degree 1.
    fn relinearize(&mut self, x: &Self::Value) -> Result<Self::Value, Self::Error>;
    /// One prime less, scale over it.
    fn rescale(&mut self, x: &Self::Value) -> Result<Self::Value, Self::Error>;
    /// `count` primes less.
    fn drop_level(&mut self, x: &Self::Value, count: usize) -> Result<Self::Value, Self::Error>;
    /// Where `x` stands.
    fn state(&self, x: &Self::Value) -> State;
    /// Bits of the prime that a rescale at `depth` divides by; `None` if the chain ends there.
    fn prime_bits(&self, depth: usize) -> Option<f64>;
    /// Says that the scales of two operands cannot be made equal.
    fn mismatch(&self, a: &State, b: &State) -> Self::Error;
}

/// Lowers `graph` onto `target` as `plan` says; `weights` are those of its combines (see [`Weights::of_graph`]).
///
/// # Errors
/// Those of the target.
pub fn walk<T: Target>(
    graph: &SlotGraph,
    weights: &[Option<Weights>],
    plan: &Plan,
    target: &mut T,
) -> Result<Vec<(String, T::Value)>, T::Error> {
    let mut walk = Walk { plan, values: Vec::with_capacity(graph.len()), target };
    let (mut products, mut combines, mut transforms) = (0, 0, 0);
    for (value, node) in graph.nodes() {
        walk.target.at(node.origin());
        let operands = node.operands();
        let result = match node.op() {
            Op::Input(input) => walk.target.input(value, input)?,
            Op::Transform(_) => match &weights[value.index()] {
                Some(Weights::Transformation(transformation)) => {
                    let bits = plan.weight_bits.get(combines).copied().unwrap_or(DEFAULT_WEIGHT_BITS);
                    let fold_first = plan.fold_first.get(transforms).copied().unwrap_or(false);
                    (combines, transforms) = (combines + 1, transforms + 1);
                    walk.transform(value, operands[0], transformation, bits, fold_first)?
                }
                Some(_) | None => walk.values[operands[0].index()].clone(),
            },
            Op::Combine(_) => match &weights[value.index()] {
                Some(weights) => {
                    let bits = plan.weight_bits.get(combines).copied().unwrap_or(DEFAULT_WEIGHT_BITS);
                    combines += 1;
                    walk.combine(value, operands[0], weights, bits)?
                }
                None => walk.values[operands[0].index()].clone(),
            },
            Op::Square | Op::Multiply => {
                let policy = plan.products.get(products).copied().unwrap_or_default();
                products += 1;
                walk.product(value, operands, policy)?
            }
            Op::Add | Op::Subtract => {
                let operands = walk.align(value, operands)?;
                walk.target.sum(value, &operands[0], &operands[1], *node.op() == Op::Subtract)?
            }
            Op::WeightedSum(sum) => {
                let bits = plan.weight_bits.get(combines).copied().unwrap_or(DEFAULT_WEIGHT_BITS);
                combines += 1;
                walk.weighted_sum(value, operands, sum, bits)?
            }
            Op::Concat => {
                let mut operands = walk.align(value, operands)?;
                let degree = |walk: &Walk<T>, x: &T::Value| walk.target.state(x).degree;
                let mixed = operands.windows(2).any(|w| degree(&walk, &w[0]) != degree(&walk, &w[1]));
                for x in operands.iter_mut().filter(|_| mixed) {
                    if degree(&walk, x) > 1 {
                        *x = walk.target.relinearize(x)?;
                    }
                }
                walk.target.concat(value, &operands)?
            }
            Op::Gather(gather) => walk.target.gather(&walk.values[operands[0].index()].clone(), gather)?,
            Op::Refresh(refresh) => {
                let mut reduced = Vec::with_capacity(operands.len());
                for operand in operands {
                    let x = walk.values[operand.index()].clone();
                    reduced.push((*operand, walk.reduced(&x, false, true)?));
                }
                walk.target.refresh(value, refresh, &reduced)?
            }
            Op::Blind(blind) => {
                let x = walk.values[operands[0].index()].clone();
                let x = walk.reduced(&x, false, true)?;
                let scale = walk.towards_power_of_two(&x, plan.blind_bits);
                let y = walk.target.blind(value, &x, blind, &scale)?;
                walk.reduced(&y, false, true)?
            }
        };
        walk.values.push(result);
    }
    let outputs = graph.outputs().iter();
    Ok(outputs.map(|o| (o.name.clone(), walk.values[o.value.index()].clone())).collect())
}

/// Number of operations with weights in `graph`: the length of [`Plan::weight_bits`].
pub fn combine_count(graph: &SlotGraph) -> usize {
    graph
        .nodes()
        .filter(|(_, node)| matches!(node.op(), Op::Combine(_) | Op::Transform(_) | Op::WeightedSum(_)))
        .count()
}

/// Number of products in `graph`: the length of [`Plan::products`].
pub fn product_count(graph: &SlotGraph) -> usize {
    graph.nodes().filter(|(_, node)| matches!(node.op(), Op::Square | Op::Multiply)).count()
}

/// Whether `graph` has random factors.
pub fn has_blinds(graph: &SlotGraph) -> bool {
    graph.nodes().any(|(_, node)| matches!(node.op(), Op::Blind(_)))
}

/// Number of transforms in `graph`: the length of [`Plan::fold_first`].
pub fn transform_count(graph: &SlotGraph) -> usize {
    graph.nodes().filter(|(_, node)| matches!(node.op(), Op::Transform(_))).count()
}

/// For combines that a plan does not name.
const DEFAULT_WEIGHT_BITS: i32 = 12;

/// Bits that are added to two scales to make them equal; one is multiplied by about this power of two, the other by a nearby
/// rational: 1 is then off by half of `2^-MATCH_BITS`.
const MATCH_BITS: i32 = 14;

/// Scales that differ by less need [`MATCH_BITS`] more. Bits on paper are often whole numbers, those of real primes nearly so:
/// a half between them lets both targets decide alike.
const COARSE: f64 = MATCH_BITS as f64 - 0.5;

/// Scales that differ by more bits are not brought together.
const LARGEST_GAP: f64 = 200.0;

/// A scale that is missing beyond what one weight can carry is made up in steps of so many bits.
const STEP_BITS: i32 = 20;

/// Squaring doubles the exponents of an exact scale: above this, a multiplication by one makes it a power of two again.
const LARGEST_EXPONENT: u32 = 1 << 12;

struct Walk<'a, T: Target> {
    plan: &'a Plan,
    values: Vec<T::Value>,
    target: &'a mut T,
}

impl<T: Target> Walk<'_, T> {
    fn combine(&mut self, node: Value, operand: Value, weights: &Weights, bits: i32) -> Result<T::Value, T::Error> {
        let x = self.values[operand.index()].clone();
        let scale = match weights.scale_bits(bits) {
            0 => Scale::ONE,
            bits => self.towards_power_of_two(&x, bits),
        };
        self.target.combine(node, &x, weights, &scale)
    }

    /// A linear map over the slots. Every limb less makes its rotations cheaper, so its operand is rescaled as far as the waterline allows,
    /// and its result at once.
    fn transform(
        &mut self,
        node: Value,
        operand: Value,
        transformation: &Transformation,
        bits: i32,
        fold_first: bool,
    ) -> Result<T::Value, T::Error> {
        let x = self.values[operand.index()].clone();
        let x = self.reduced(&x, true, true)?;
        self.values[operand.index()] = x.clone();
        let scale = match transformation.scale_bits(bits) {
            0 => Scale::ONE,
            bits => self.towards_power_of_two(&x, bits),
        };
        let y = self.target.transform(node, &x, transformation, &scale)?;
        if transformation.folds == 0 {
            return self.reduced(&y, false, true);
        }
        let y = if fold_first { y } else { self.reduced(&y, false, true)? };
        let y = self.target.fold(node, &y, transformation)?;
        self.reduced(&y, false, true)
    }

    /// A sum whose terms all come to one scale by their weights: that of the operand that stands highest once its weight
    /// has the precision of `bits` bits.
    fn weighted_sum(
        &mut self,
        node: Value,
        operands: &[Value],
        sum: &slots::WeightedSum,
        bits: i32,
    ) -> Result<T::Value, T::Error> {
        let values = operands.iter().map(|v| self.values[v.index()].clone()).collect();
        let mut values = self.drop_to_lowest(values)?;
        let largest = sum.weights.iter().fold(0f64, |largest, w| largest.max(w.abs()));
        let common = Weights::Uniform(Uniform { weight: largest, bias: 0.0 });
        let own_bits = |weight: f64| match Weights::Uniform(Uniform { weight, bias: 0.0 }).scale_bits(bits) {
            0 => 0,
            _rounded => common.scale_bits(bits).max(1),
        };
        let states: Vec<State> = values.iter().map(|x| self.target.state(x)).collect();
        let (goal, goal_bits) = goal(&states, &sum.weights.iter().map(|&w| own_bits(w)).collect::<Vec<_>>());
        let mut total: Option<T::Value> = None;
        for (i, (x, &weight)) in values.iter_mut().zip(&*sum.weights).enumerate() {
            let mut left = goal_bits - states[i].bits;
            let room = f64::from(MAX_WEIGHT_BITS) - 1.0 - weight.abs().log2().max(0.0);
            while left > room {
                let step = Scale::power_of_two(STEP_BITS);
                *x = self.target.combine(node, x, &Weights::Identity, &step)?;
                left -= f64::from(STEP_BITS);
            }
            let scale = goal.over(&self.target.state(x).scale);
            let bias = if i == 0 { sum.bias } else { 0.0 };
            if scale != Scale::ONE || weight != 1.0 || bias != 0.0 {
                *x = self.target.combine(node, x, &Weights::Uniform(Uniform { weight, bias }), &scale)?;
            }
            total = Some(match total {
                Some(total) => self.target.sum(node, &total, x, false)?,
                None => x.clone(),
            });
        }
        #[expect(clippy::expect_used, reason = "the slots dialect wants an operand")]
        Ok(total.expect("a sum has a term"))
    }

    /// A weight scale of about `2^bits` that takes the scale of `x` to a power of two. Any weight scale is as good as any
    /// other, and so what rescaling by primes near a power of two leaves does not add up from layer to layer.
    fn towards_power_of_two(&self, x: &T::Value, bits: i32) -> Scale {
        let state = self.target.state(x);
        Scale::power_of_two((state.bits.round() as i32).saturating_add(bits)).over(&state.scale)
    }

    fn product(&mut self, node: Value, operands: &[Value], policy: ProductPolicy) -> Result<T::Value, T::Error> {
        let degrees: usize = match operands {
            [x] => 2 * self.target.state(&self.values[x.index()]).degree,
            other => other.iter().map(|x| self.target.state(&self.values[x.index()]).degree).sum(),
        };
        let relinearize = policy.relinearize_before || degrees > MAX_DEGREE;
        for operand in operands {
            let mut x = self.values[operand.index()].clone();
            if self.target.state(&x).scale.largest_exponent() > LARGEST_EXPONENT {
                let scale = self.towards_power_of_two(&x, MATCH_BITS);
                x = self.target.combine(node, &x, &Weights::Identity, &scale)?;
            }
            self.values[operand.index()] = self.reduced(&x, relinearize, policy.rescale_before)?;
        }
        let product = match operands {
            [x] => self.target.product(node, &self.values[x.index()], None)?,
            _two => {
                let levelled = self.same_level(operands)?;
                self.target.product(node, &levelled[0], Some(&levelled[1]))?
            }
        };
        self.reduced(&product, policy.relinearize_after, policy.rescale_after)
    }

    /// Relinearises first: the rounding of a rescale then meets `s` and not its powers.
    fn reduced(&mut self, x: &T::Value, relinearize: bool, rescale: bool) -> Result<T::Value, T::Error> {
        let mut x = x.clone();
        if relinearize && self.target.state(&x).degree > 1 {
            x = self.target.relinearize(&x)?;
        }
        if !rescale {
            return Ok(x);
        }
        loop {
            let state = self.target.state(&x);
            match self.target.prime_bits(state.depth) {
                Some(prime) if state.bits - prime >= self.plan.waterline - TIE_BITS => x = self.target.rescale(&x)?,
                Some(_) | None => return Ok(x),
            }
        }
    }

    fn same_level(&mut self, operands: &[Value]) -> Result<Vec<T::Value>, T::Error> {
        let values: Vec<T::Value> = operands.iter().map(|v| self.values[v.index()].clone()).collect();
        self.drop_to_lowest(values)
    }

    fn drop_to_lowest(&mut self, mut values: Vec<T::Value>) -> Result<Vec<T::Value>, T::Error> {
        let deepest = values.iter().map(|x| self.target.state(x).depth).max().unwrap_or(0);
        for x in &mut values {
            let depth = self.target.state(x).depth;
            if depth < deepest {
                *x = self.target.drop_level(x, deepest - depth)?;
            }
        }
        Ok(values)
    }

    /// Brings operands of a sum to one level and one exact scale.
    fn align(&mut self, node: Value, operands: &[Value]) -> Result<Vec<T::Value>, T::Error> {
        let mut values: Vec<T::Value> = operands.iter().map(|v| self.values[v.index()].clone()).collect();
        let states: Vec<State> = values.iter().map(|x| self.target.state(x)).collect();
        if states.iter().any(|s| s.scale != states[0].scale) {
            // Rescale what stands far above the others, then multiply each by one at the scale that is missing.
            for x in &mut values {
                *x = self.reduced(x, false, true)?;
            }
            let states: Vec<State> = values.iter().map(|x| self.target.state(x)).collect();
            let largest = states.iter().max_by(|a, b| a.bits.total_cmp(&b.bits)).cloned();
            let Some(largest) = largest else { return Ok(values) };
            let coarse = |s: &State| s.scale != largest.scale && largest.bits - s.bits < COARSE;
            let extra = if states.iter().any(coarse) { MATCH_BITS } else { 0 };
            let goal = largest.scale.times(&Scale::power_of_two(extra));
            for (x, state) in values.iter_mut().zip(&states) {
                let missing = goal.over(&state.scale);
                if missing == Scale::ONE {
                    continue;
                }
                let mut left = largest.bits + f64::from(extra) - state.bits;
                if left > LARGEST_GAP {
                    return Err(self.target.mismatch(&largest, state));
                }
                while left > f64::from(MAX_WEIGHT_BITS) - 0.5 {
                    let step = Scale::power_of_two(STEP_BITS);
                    *x = self.target.combine(node, x, &Weights::Identity, &step)?;
                    left -= f64::from(STEP_BITS);
                }
                let missing = goal.over(&self.target.state(x).scale);
                *x = self.target.combine(node, x, &Weights::Identity, &missing)?;
            }
        }
        self.drop_to_lowest(values)
    }
}

/// The scale of a sum, with its bits: that of the highest term, or a power of two above it where a weight would be too coarse.
/// `own` are the bits that each term's weight takes; a term without any has a weight that is exact at its own scale, and
/// needs [`MATCH_BITS`] at any other.
fn goal(states: &[State], own: &[i32]) -> (Scale, f64) {
    let needed = |own: i32| f64::from(if own == 0 { MATCH_BITS } else { own });
    let mut highest = 0;
    let height = |i: usize| states[i].bits + f64::from(own[i]);
    (1..states.len()).for_each(|i| highest = if height(i) > height(highest) { i } else { highest });
    let scale = match own[highest] {
        0 => states[highest].scale.clone(),
        bits => Scale::power_of_two((states[highest].bits.round() as i32).saturating_add(bits)),
    };
    let fits = |(state, &own): (&State, &i32)| {
        own == 0 && state.scale == scale || height(highest) - state.bits > needed(own) - 0.5
    };
    if states.iter().zip(own).all(fits) {
        let bits = if own[highest] == 0 { states[highest].bits } else { f64::from(scale.twos()) };
        return (scale, bits);
    }
    let above = states.iter().zip(own).map(|(state, &own)| state.bits + needed(own));
    let bits = above.fold(0.0, f64::max).round() as i32;
    (Scale::power_of_two(bits), f64::from(bits))
}

/// Primes are near their planned sizes, not at them: scales that are equal on paper must compare alike on both targets.
const TIE_BITS: f64 = 0.25;
