use hec_ir::Scale;
use hec_ir::ckks::noise::DEVIATIONS;
use hec_ir::graph::{Origin, Value};
use hec_ir::matrix::BlockShape;
use hec_ir::parameters::MAX_PRIME_BITS;
use hec_ir::program::{OutputNoise, Sharing};
use hec_ir::slots::{self, SlotGraph};

use super::worst::{Growth, Worst};
use super::{Chain, Plan, State, Target, on_grid, walk};
use crate::cost::{CostModel, Shape};
use crate::noise;
use crate::norms::RowNorms;
use crate::ranges::Ranges;
use crate::transformation::Transformation;
use crate::weights::Weights;

/// What a plan would come to, without a prime or a weight being touched.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// Number of rescalings on the longest way.
    pub rescalings: usize,
    /// Sizes of the moduli in bits, from `q_0` up.
    pub moduli: Vec<f64>,
    /// Sizes of the special primes in bits.
    pub special: Vec<f64>,
    /// Predicted time on the client and the server for one batch, nanoseconds on one core.
    pub nanoseconds: f64,
    /// Predicted bits of precision at the worst output: log2 of its range over six standard deviations of its error, noise that is
    /// added to share decryptions included.
    pub precision: f64,
    /// Predicted standard deviation of the outputs' errors that rounding the weights causes (part of the above), for the worst
    /// output.
    pub rounding: f64,
    /// Predicted standard deviation of the error of each value of the graph, in units of the message.
    pub errors: Vec<f64>,
    /// What is known of the error of each output.
    pub outputs: Vec<OutputNoise>,
    /// The value that needs the largest modulus.
    pub tightest: Requirement,
}

impl Simulation {
    /// log2 of QP.
    pub fn log_qp(&self) -> f64 {
        self.moduli.iter().chain(&self.special).sum()
    }
}

/// A value that needs so many bits of modulus.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    /// The model's node.
    pub origin: Origin,
    /// Primes used up.
    pub depth: usize,
    /// Bits of the scale, the range of the message and the sign.
    pub bits: f64,
}

/// Why a plan leads nowhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Infeasible {
    /// The chain is too short for a value.
    Chain(Requirement),
    /// Two scales cannot be made equal at this node.
    Scales(Origin),
}

/// Key switching is judged before limbs are counted: only the number of digits depends on them.
const ASSUMED_LIMBS: usize = 8;
/// Bits between a message's bound and half of the modulus.
const HEADROOM_BITS: f64 = 1.0;
/// No modulus of any ring holds a larger scale, in bits.
const LARGEST_SCALE: f64 = 8192.0;
/// The largest size that is asked of a prime, so that enough primes lie near it.
pub(crate) const PRIME_BITS: f64 = MAX_PRIME_BITS as f64 - 0.1;

/// Bits of modulus for a message of at most `bound` at a scale of so many bits.
pub(super) fn needed_bits(scale: f64, bound: f64) -> f64 {
    scale + bound.max(f64::MIN_POSITIVE).log2().max(0.0) + HEADROOM_BITS
}

/// Which values lead to a round with the client.
fn before_rounds(graph: &SlotGraph) -> Vec<bool> {
    let mut before = vec![false; graph.len()];
    let nodes: Vec<_> = graph.nodes().collect();
    for (value, node) in nodes.into_iter().rev() {
        if before[value.index()] || matches!(node.op(), slots::Op::Refresh(_)) {
            node.operands().iter().for_each(|operand| before[operand.index()] = true);
        }
    }
    before
}

/// What a simulation is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    /// What operations cost.
    pub cost: &'a CostModel,
    /// How much larger the errors of rounded weights are than independent ones would be. A convolution uses the same rounded
    /// weights everywhere, so its errors add up in later sums.
    pub rounding_factor: f64,
    /// Noise that leaves its mark on the precision, if decryptions are to be shared.
    pub flooding: Option<Flooding>,
}

/// Noise that the client will add to what it decrypts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flooding {
    /// Bits of statistical security.
    pub bits: u32,
    /// Samples in a batch, if fewer than a ring has slots for.
    pub batch: Option<usize>,
    /// Values that one sample is decrypted to.
    pub values: usize,
}

impl Flooding {
    /// Its standard deviation over the bound on an output's error, for the samples of one batch.
    fn factor(&self, slots: usize) -> f64 {
        let samples = self.batch.map_or(slots, |batch| batch.min(slots));
        Sharing { bits: self.bits, samples }.factor(self.values)
    }
}

/// Runs `plan` on bits, noise and cost.
///
/// # Errors
/// [`Infeasible`].
pub fn simulate(
    graph: &SlotGraph,
    weights: &[Option<Weights>],
    ranges: &Ranges,
    plan: &Plan,
    model: Model,
) -> Result<Simulation, Infeasible> {
    let Model { cost, rounding_factor, flooding } = model;
    let origin = Origin::from("");
    let mut run = Run {
        plan,
        ranges,
        averaged: before_rounds(graph),
        rounding_factor,
        origin,
        requirements: Vec::new(),
        work: Vec::new(),
        errors: Vec::new(),
        depth: 0,
    };
    let outputs = walk(graph, weights, plan, &mut run)?;
    let moduli = run.moduli()?;
    let special = run.special(&moduli);
    let shape = Shape { ring: plan.ring, special: special.len() };
    let limbs = |depth: usize| moduli.len() - depth;
    let mut nanoseconds: f64 = run.work.iter().map(|work| work.price(cost, shape, &moduli, weights)).sum();
    let (mut precision, mut rounding, mut noise) = (f64::INFINITY, 0f64, Vec::new());
    for ((_, value), output) in outputs.iter().zip(graph.outputs()) {
        nanoseconds += cost.decrypt(shape, limbs(value.state.depth), value.state.degree) * value.length as f64;
        let own = OutputNoise {
            bound: value.worst.rms.max(f64::MIN_POSITIVE),
            deviation: value.error,
            range: ranges.typical(output.value),
        };
        let added = flooding.map_or(0.0, |flooding| flooding.factor(plan.ring.slots()) * own.bound);
        precision = precision.min(own.precision(added));
        noise.push(own);
        rounding = rounding.max(value.rounding);
    }
    let tightest = run.tightest().unwrap_or(Requirement { origin: run.origin.clone(), depth: 0, bits: 0.0 });
    Ok(Simulation {
        rescalings: run.depth,
        moduli,
        special,
        nanoseconds,
        precision,
        rounding,
        errors: run.errors,
        outputs: noise,
        tightest,
    })
}

#[derive(Clone, Debug)]
struct Simulated {
    state: State,
    length: usize,
    /// Largest message.
    bound: f64,
    /// Root mean square of the messages.
    size: f64,
    /// Standard deviation of the error in units of the message.
    error: f64,
    /// The part of it that comes from rounded weights, were they independent.
    rounding: f64,
    /// What encryption can make of it at worst.
    worst: Worst,
}

enum Work {
    Transform { depth: usize, node: Value },
    Rotate { depth: usize, count: usize },
    Encrypt { count: usize },
    Decrypt { depth: usize, degree: usize, count: usize },
    Blind { depth: usize, count: usize },
    Combine { depth: usize, degree: usize, weight_bits: i32, shape: BlockShape },
    Product { depth: usize, degrees: (usize, usize), count: usize },
    Relinearize { depth: usize, degree: usize, count: usize },
    Rescale { depth: usize, degree: usize, count: usize },
}

impl Work {
    fn price(&self, cost: &CostModel, size: Shape, moduli: &[f64], weights: &[Option<Weights>]) -> f64 {
        let limbs = |depth: usize| moduli.len() - depth;
        match *self {
            Self::Transform { depth, node } => match &weights[node.index()] {
                Some(Weights::Transformation(transformation)) => transformation.cheapest(cost, size, limbs(depth)).1,
                Some(_) | None => 0.0,
            },
            Self::Rotate { depth, count } => count as f64 * cost.rotation(size, limbs(depth)),
            Self::Encrypt { count } => count as f64 * cost.encrypt(size, limbs(0)),
            Self::Decrypt { depth, degree, count } => count as f64 * cost.decrypt(size, limbs(depth), degree),
            // Encoding a plaintext takes about as long as encrypting it.
            Self::Blind { depth, count } => count as f64 * cost.encrypt(size, limbs(depth)),
            Self::Combine { depth, degree, weight_bits, shape } => {
                cost.combine(size, &moduli[..limbs(depth)], degree, weight_bits, shape)
            }
            Self::Product { depth, degrees, count } => count as f64 * cost.product(size, limbs(depth), degrees),
            Self::Relinearize { depth, degree, count } => count as f64 * cost.relinearize(size, limbs(depth), degree),
            Self::Rescale { depth, degree, count } => count as f64 * cost.rescale(size, limbs(depth), degree),
        }
    }
}

struct Run<'a> {
    plan: &'a Plan,
    ranges: &'a Ranges,
    averaged: Vec<bool>,
    rounding_factor: f64,
    origin: Origin,
    requirements: Vec<Requirement>,
    work: Vec<Work>,
    /// For each node so far, the error of what was computed last for it.
    errors: Vec<f64>,
    depth: usize,
}

impl Run<'_> {
    fn require(&mut self, value: Simulated) -> Result<Simulated, Infeasible> {
        let bits = needed_bits(value.state.bits, value.bound);
        let requirement = Requirement { origin: self.origin.clone(), depth: value.state.depth, bits };
        if bits.is_nan() || bits > LARGEST_SCALE {
            return Err(Infeasible::Chain(requirement));
        }
        self.requirements.push(requirement);
        Ok(self.noted(value))
    }

    /// How much a linear map enlarges errors. At the outputs the worst element counts. Before a round with the client it is the average
    /// over the elements: the next layer adds them up, and the worst ones of a dozen layers in a row never meet.
    fn growth(&self, node: Value, norms: RowNorms) -> f64 {
        if self.averaged[node.index()] { norms.mean } else { norms.largest }
    }

    /// The error of the node so far.
    fn noted(&mut self, value: Simulated) -> Simulated {
        if let Some(last) = self.errors.last_mut() {
            *last = value.error;
        }
        value
    }

    fn rescale_bits(&self, depth: usize) -> Option<f64> {
        match &self.plan.chain {
            Chain::Uniform(bits) => Some(*bits),
            Chain::Explicit(moduli) => (depth + 1 < moduli.len()).then(|| moduli[moduli.len() - 1 - depth]),
        }
    }

    fn tightest(&self) -> Option<Requirement> {
        let used = |depth: usize| (0..depth).filter_map(|d| self.rescale_bits(d)).sum::<f64>();
        self.requirements.iter().max_by(|a, b| (a.bits + used(a.depth)).total_cmp(&(b.bits + used(b.depth)))).cloned()
    }

    /// The error of key switching so many polynomials.
    fn key_switch(&self, powers: usize) -> f64 {
        noise::key_switch(self.plan.ring, powers, ASSUMED_LIMBS, self.plan.special.max(1), self.digit_bits())
    }

    /// The part of it that a product with a diagonal multiplies.
    fn undivided_key_switch(&self) -> f64 {
        noise::undivided_key_switch(self.plan.ring, 1, ASSUMED_LIMBS, self.plan.special.max(1), self.digit_bits())
    }

    /// Sizes of the primes of a digit and of the special primes, in bits.
    fn digit_bits(&self) -> [f64; 2] {
        let limb = self.rescale_bits(0).unwrap_or(PRIME_BITS);
        [limb, (limb + 1.0).min(PRIME_BITS)]
    }

    fn moduli(&self) -> Result<Vec<f64>, Infeasible> {
        match &self.plan.chain {
            Chain::Explicit(moduli) => {
                let left = |depth: usize| moduli[..moduli.len() - depth].iter().sum::<f64>();
                match self.requirements.iter().find(|r| r.bits > left(r.depth)) {
                    Some(r) => Err(Infeasible::Chain(r.clone())),
                    None => Ok(moduli.clone()),
                }
            }
            Chain::Uniform(bits) => {
                let depth = self.depth;
                let base = |r: &Requirement| r.bits - bits * (depth - r.depth) as f64;
                let base = self.requirements.iter().map(base).fold(20.0, f64::max);
                let limbs = (base / PRIME_BITS).ceil();
                let mut moduli = vec![(base / limbs).max(20.0); limbs as usize];
                moduli.extend(std::iter::repeat_n(*bits, depth));
                Ok(moduli)
            }
        }
    }

    fn special(&self, moduli: &[f64]) -> Vec<f64> {
        let switches =
            |work: &Work| matches!(work, Work::Relinearize { .. } | Work::Transform { .. } | Work::Rotate { .. });
        let switches = self.work.iter().any(switches);
        let largest = moduli.iter().copied().fold(0.0, f64::max);
        let count = if switches { self.plan.special.max(1) } else { 0 };
        vec![(largest + 1.0).min(PRIME_BITS); count]
    }
}

impl Target for Run<'_> {
    type Value = Simulated;
    type Error = Infeasible;

    fn at(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        self.errors.push(0.0);
    }

    fn input(&mut self, node: Value, input: &slots::Input) -> Result<Simulated, Infeasible> {
        let length = input.layout.array_length();
        if !input.public {
            self.work.push(Work::Encrypt { count: length });
        }
        let scale = Scale::power_of_two(self.plan.input_bits);
        let bits = f64::from(self.plan.input_bits);
        let added = if input.public { noise::encoding(self.plan.ring) } else { noise::fresh(self.plan.ring) };
        let error = added / bits.exp2();
        let state = State { depth: 0, degree: 1, scale, bits };
        let (bound, size) = (self.ranges.bound(node), self.ranges.size(node));
        let worst = Worst::fresh(error);
        self.require(Simulated { state, length, bound, size, error, rounding: 0.0, worst })
    }

    fn combine(
        &mut self,
        node: Value,
        x: &Simulated,
        weights: &Weights,
        scale: &Scale,
    ) -> Result<Simulated, Infeasible> {
        let shape = weights.shape(x.length);
        // The fake primes of a simulated scale are not worth their bits: weights are at powers of two, or at what `align` asks.
        let bits = self.bits(scale);
        let weight_bits = weights.integer_bits(bits);
        self.work.push(Work::Combine { depth: x.state.depth, degree: x.state.degree, weight_bits, shape });
        let state = State { scale: x.state.scale.times(scale), bits: x.state.bits + bits, ..x.state.clone() };
        let rounding = (weights.rounded_weights() as f64 / 12.0).sqrt() / bits.exp2() * x.size;
        let error = (x.error * self.growth(node, weights.row_norms())).hypot(rounding * self.rounding_factor);
        let rounding = (x.rounding * self.growth(node, weights.row_norms())).hypot(rounding);
        let worst = match weights {
            Weights::Identity => x.worst,
            Weights::Uniform(u) => x.worst.times(u.weight.abs() + 0.5 / bits.exp2()),
            Weights::Matrix(_) | Weights::Transformation(_) => x.worst.mapped(Growth {
                norm: weights.row_norms().largest,
                sum: weights.row_sum(),
                rounding: 0.5 * weights.rounded_weights() as f64 / bits.exp2(),
            }),
        };
        let (bound, size) = match weights {
            Weights::Identity => (x.bound, x.size),
            // A term of a sum, before the others are added.
            Weights::Uniform(u) => (u.weight.abs() * x.bound + u.bias.abs(), u.weight.abs() * x.size),
            Weights::Matrix(_) | Weights::Transformation(_) => (self.ranges.bound(node), self.ranges.size(node)),
        };
        self.require(Simulated { state, length: shape.results, bound, size, error, rounding, worst })
    }

    fn transform(
        &mut self,
        node: Value,
        x: &Simulated,
        transformation: &Transformation,
        scale: &Scale,
    ) -> Result<Simulated, Infeasible> {
        self.work.push(Work::Transform { depth: x.state.depth, node });
        let bits = self.bits(scale);
        let state = State { scale: x.state.scale.times(scale), bits: x.state.bits + bits, ..x.state.clone() };
        if state.bits > LARGEST_SCALE {
            let requirement = Requirement { origin: self.origin.clone(), depth: state.depth, bits: state.bits };
            return Err(Infeasible::Chain(requirement));
        }
        // Until the fold, a row's terms are spread over as many slots as it adds up.
        let parts = f64::from(transformation.folds as u32).exp2().sqrt();
        let encoding =
            noise::encoding(self.plan.ring) * (transformation.diagonals as f64).sqrt() / bits.exp2() * x.size;
        let switching = self.key_switch(1) * (transformation.diagonals as f64).sqrt() / state.bits.exp2();
        // Baby steps are multiplied by the diagonals before they are divided by the special primes: their errors grow as the operand's do.
        let operand = x.error.hypot(self.undivided_key_switch() / x.state.bits.exp2());
        let growth = self.growth(node, transformation.row_norms);
        let error = (operand * growth / parts).hypot(encoding).hypot(switching);
        let (bound, size) = (self.ranges.bound(node), self.ranges.size(node));
        let length = transformation.map.to().vectors();
        let rounding = x.rounding * growth / parts;
        // What a fold adds up are the parts of one row: its sum holds for all of them together.
        let worst_growth = Growth {
            norm: transformation.row_norms.largest / (parts * parts),
            sum: transformation.row_sum / (parts * parts),
            rounding: DEVIATIONS * noise::encoding(self.plan.ring) * transformation.diagonals as f64 / bits.exp2(),
        };
        let babies = self.undivided_key_switch() / x.state.bits.exp2() * (worst_growth.sum + worst_growth.rounding);
        let worst = x.worst.mapped(worst_growth).with(babies + switching);
        self.require(Simulated { state, length, bound, size, error, rounding, worst })
    }

    fn fold(&mut self, _node: Value, x: &Simulated, transformation: &Transformation) -> Result<Simulated, Infeasible> {
        self.work.push(Work::Rotate { depth: x.state.depth, count: transformation.folds * x.length });
        let terms = f64::from(transformation.folds as u32).exp2();
        let added = self.key_switch(1) / x.state.bits.exp2() * (terms - 1.0).sqrt();
        let (error, rounding) = ((x.error * terms.sqrt()).hypot(added), x.rounding * terms.sqrt());
        let worst = x.worst.folded(terms).with(self.key_switch(1) / x.state.bits.exp2() * (terms - 1.0));
        Ok(self.noted(Simulated { error, rounding, worst, ..x.clone() }))
    }

    fn product(&mut self, node: Value, a: &Simulated, b: Option<&Simulated>) -> Result<Simulated, Infeasible> {
        let grown = |part: fn(&Simulated) -> f64| {
            b.map_or(2.0 * a.size * part(a), |b| (a.size * part(b)).hypot(b.size * part(a)))
        };
        let (error, rounding) = (grown(|x| x.error), grown(|x| x.rounding));
        let b = b.unwrap_or(a);
        let worst = a.worst.product(a.bound, b.worst, b.bound);
        let degrees = (a.state.degree, b.state.degree);
        self.work.push(Work::Product { depth: a.state.depth, degrees, count: a.length });
        let state = State {
            depth: a.state.depth,
            degree: degrees.0 + degrees.1,
            scale: a.state.scale.times(&b.state.scale),
            bits: a.state.bits + b.state.bits,
        };
        if state.bits > LARGEST_SCALE {
            let requirement = Requirement { origin: self.origin.clone(), depth: state.depth, bits: state.bits };
            return Err(Infeasible::Chain(requirement));
        }
        let (bound, size) = (self.ranges.bound(node), self.ranges.size(node));
        let error = error.hypot(a.error * b.error);
        self.require(Simulated { state, length: a.length, bound, size, error, rounding, worst })
    }

    fn sum(&mut self, node: Value, a: &Simulated, b: &Simulated, _subtract: bool) -> Result<Simulated, Infeasible> {
        let state = State { degree: a.state.degree.max(b.state.degree), ..a.state.clone() };
        let (bound, size) = (self.ranges.bound(node), self.ranges.size(node));
        let (error, rounding) = (a.error.hypot(b.error), a.rounding.hypot(b.rounding));
        let worst = a.worst.sum(b.worst);
        self.require(Simulated { state, length: a.length, bound, size, error, rounding, worst })
    }

    fn concat(&mut self, node: Value, operands: &[Simulated]) -> Result<Simulated, Infeasible> {
        let length = operands.iter().map(|x| x.length).sum();
        let largest = |part: fn(&Simulated) -> f64| operands.iter().map(part).fold(0.0, f64::max);
        let (error, rounding) = (largest(|x| x.error), largest(|x| x.rounding));
        let (bound, size) = (self.ranges.bound(node), self.ranges.size(node));
        let worst = Worst::any(operands.iter().map(|x| x.worst));
        Ok(self.noted(Simulated { state: operands[0].state.clone(), length, bound, size, error, rounding, worst }))
    }

    fn gather(&mut self, x: &Simulated, gather: &slots::Gather) -> Result<Simulated, Infeasible> {
        let worst = Worst::any(std::iter::once(x.worst));
        Ok(self.noted(Simulated { length: gather.indices.len(), worst, ..x.clone() }))
    }

    fn refresh(
        &mut self,
        node: Value,
        refresh: &slots::Refresh,
        operands: &[(Value, Simulated)],
    ) -> Result<Simulated, Infeasible> {
        for (_, x) in operands {
            self.work.push(Work::Decrypt { depth: x.state.depth, degree: x.state.degree, count: x.length });
        }
        let length = refresh.layout.array_length();
        self.work.push(Work::Encrypt { count: length });
        let bits = f64::from(self.plan.input_bits);
        let state = State { depth: 0, degree: 1, scale: Scale::power_of_two(self.plan.input_bits), bits };
        // The function is exact, and takes errors along; those that the client computes in practice (ReLU, maxima, sigmoids) do not
        // enlarge them.
        let largest = |part: fn(&Simulated) -> f64| operands.iter().map(|(_, x)| part(x)).fold(0.0, f64::max);
        let error = largest(|x| x.error).hypot(noise::fresh(self.plan.ring) / bits.exp2());
        let (bound, size) = (self.ranges.bound(node), self.ranges.size(node));
        // How much the function enlarges errors at worst, and what the key can do by way of them, is not known.
        let (rounding, worst) = (largest(|x| x.rounding), Worst::unknown());
        self.require(Simulated { state, length, bound, size, error, rounding, worst })
    }

    /// Errors are counted as if the factors were one: those that are added between them and their reciprocals become smaller. What
    /// rounding does to a reciprocal is multiplied by a value that is larger by the factor.
    fn blind(
        &mut self,
        node: Value,
        x: &Simulated,
        blind: &slots::Blind,
        scale: &Scale,
    ) -> Result<Simulated, Infeasible> {
        self.work.push(Work::Blind { depth: x.state.depth, count: x.length });
        let bits = self.bits(scale);
        let state = State { scale: x.state.scale.times(scale), bits: x.state.bits + bits, ..x.state.clone() };
        let factor = if blind.inverse { slots::Blind::mean_factor() } else { 1.0 };
        let error = x.error.hypot(noise::encoding(self.plan.ring) / bits.exp2() * x.size * factor);
        let (bound, size) = (self.ranges.bound(node), self.ranges.size(node));
        self.require(Simulated { state, error, bound, size, worst: Worst::unknown(), ..x.clone() })
    }

    fn relinearize(&mut self, x: &Simulated) -> Result<Simulated, Infeasible> {
        let (depth, degree, count) = (x.state.depth, x.state.degree, x.length);
        self.work.push(Work::Relinearize { depth, degree, count });
        let added = self.key_switch(degree - 1);
        let added = added / x.state.bits.exp2();
        let (error, worst) = (x.error.hypot(added), x.worst.with(added));
        Ok(self.noted(Simulated { state: State { degree: 1, ..x.state.clone() }, error, worst, ..x.clone() }))
    }

    fn rescale(&mut self, x: &Simulated) -> Result<Simulated, Infeasible> {
        let State { depth, degree, scale, bits } = &x.state;
        self.work.push(Work::Rescale { depth: *depth, degree: *degree, count: x.length });
        let bits = bits - self.rescale_bits(*depth).unwrap_or(0.0);
        let state = State { depth: depth + 1, degree: *degree, scale: scale.over(&placeholder(*depth)), bits };
        self.depth = self.depth.max(state.depth);
        let added = noise::rescale(self.plan.ring, *degree) / bits.exp2();
        let (error, worst) = (x.error.hypot(added), x.worst.with(added));
        self.require(Simulated { state, error, worst, ..x.clone() })
    }

    fn drop_level(&mut self, x: &Simulated, count: usize) -> Result<Simulated, Infeasible> {
        let state = State { depth: x.state.depth + count, ..x.state.clone() };
        self.depth = self.depth.max(state.depth);
        self.require(Simulated { state, ..x.clone() })
    }

    fn state(&self, x: &Simulated) -> State {
        State { bits: on_grid(x.state.bits), ..x.state.clone() }
    }

    fn prime_bits(&self, depth: usize) -> Option<f64> {
        self.rescale_bits(depth)
    }

    fn mismatch(&self, _a: &State, _b: &State) -> Infeasible {
        Infeasible::Scales(self.origin.clone())
    }
}

impl Run<'_> {
    fn bits(&self, scale: &Scale) -> f64 {
        let factor = |(fake, exponent): (u64, i32)| {
            let depth = (fake - FIRST_PLACEHOLDER) / 2;
            self.rescale_bits(depth as usize).unwrap_or(0.0) * f64::from(exponent)
        };
        f64::from(scale.twos()) + scale.factors().map(factor).sum::<f64>()
    }
}

const FIRST_PLACEHOLDER: u64 = 3;

/// An odd number that stands for the prime of a depth, so that simulated scales are equal exactly when real ones are.
fn placeholder(depth: usize) -> Scale {
    Scale::prime(FIRST_PLACEHOLDER + 2 * depth as u64)
}
