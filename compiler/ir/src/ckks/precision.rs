//! The precision certificate: how large values and errors are expected to be, and what they stay below with high probability.
//!
//! A [`Profile`] is what the compiler saw of every value while it ran the circuit in the clear on calibration samples, with errors drawn
//! as CKKS adds them ([`super::clear`]): once with deviations over all secrets, and once with a secret that is as large as it ever gets in
//! every slot at once, and the largest random factors. A [`Certificate`] is a function of the circuit and the profile.
//!
//! **The expected error** is the root mean square over elements, slots and samples.
//!
//! **The bound** holds for all slots of all ciphertexts at layers and outputs at once but with the probability [`NOISE_FAILURE`].
//! Given the secret, an error is a sum of many independent terms, hence sub-Gaussian: beyond `t` deviations with probability
//! `2 exp(-t^2 / 2)`. Rounding errors grow with powers of the secret's value in the slot, a Gaussian variable itself, and have heavier
//! tails. So one half of the probability is that some slot of the secret is larger than was assumed, the other half that some error
//! exceeds `t` deviations of the worst element under that secret. Errors of products grow with the messages: the bound is for
//! messages up to [`MESSAGE_MARGIN`] times those of the calibration samples.
//!
//! **Overflow** (a value leaves the modulus) and **escape** (a value is beyond [`MESSAGE_MARGIN`] times what calibration reached, so that
//! neither the bound nor the polynomials in place of functions promise anything) are estimated from the largest values of the
//! samples, with a tail that falls like an exponential of their deviation: an assumption on the data, not a proof.

use std::collections::BTreeMap;

use super::errors::added;
use super::noise;
use super::{Circuit, Op};
use crate::graph::{Origin, Value};
use crate::parameters::{Parameters, RingType};

/// The probability that some error of a run exceeds its bound.
pub const NOISE_FAILURE: f64 = 1.0 / (1u64 << 30) as f64;
/// Messages may be so much larger than those of the calibration samples.
pub const MESSAGE_MARGIN: f64 = 2.0;
/// Probabilities below this are not told apart: log2.
const LEAST_LOG2: f64 = -128.0;
/// An error that was seen may be this much smaller than what the operation itself adds: it was seen on few samples.
const SMALLEST_SHARE: f64 = 0.1;

/// What calibration saw of one value. Sizes are in units of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// The largest absolute value.
    pub largest: f64,
    /// Root mean square of the error.
    pub error: f64,
    /// Root mean square of the error of the worst element, under the largest secret.
    pub worst: f64,
    /// Mean over the samples of each sample's largest absolute value.
    pub center: f64,
    /// Its standard deviation.
    pub spread: f64,
}

impl Seen {
    fn is_usable(&self) -> bool {
        let Self { largest, error, worst, center, spread } = *self;
        [largest, error, worst, center, spread].iter().all(|x| x.is_finite() && *x >= 0.0)
    }
}

/// What calibration saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Number of samples.
    pub samples: usize,
    /// Whether they were the user's; else they were made up within the range of the inputs.
    pub calibrated: bool,
    /// For each node of the circuit.
    pub values: Vec<Seen>,
    /// For each output of the circuit, the largest error that rounding the weights caused.
    pub rounding: Vec<f64>,
}

impl Profile {
    /// Why it cannot be one of `circuit`: of another length, no numbers, or an error smaller than the operation itself adds.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self, circuit: &Circuit) -> Result<(), String> {
        let (nodes, outputs) = (circuit.len(), circuit.outputs().len());
        let found = (self.values.len(), self.rounding.len());
        if found != (nodes, outputs) {
            return Err(format!("expected {nodes} values and {outputs} outputs, found {} and {}", found.0, found.1));
        }
        let rounding = self.rounding.iter().all(|x| x.is_finite() && *x >= 0.0);
        if !rounding || !self.values.iter().all(Seen::is_usable) {
            return Err("a size is no number from 0".to_owned());
        }
        for ((_, node), seen) in circuit.nodes().zip(&self.values) {
            let own = added(circuit, node).map_or(0.0, |added| added.mean_variance(circuit.context()).sqrt());
            let found = seen.error.min(seen.worst);
            if found < SMALLEST_SHARE * own {
                let origin = node.origin().as_str().escape_debug();
                return Err(format!("node \"{origin}\" adds an error of {own:.2e}, but {found:.2e} is stated"));
            }
        }
        Ok(())
    }
}

/// The square of the secret in a slot, over its mean, that no slot exceeds but with half of [`NOISE_FAILURE`].
pub fn largest_secret(parameters: &Parameters) -> f64 {
    let exponent = (2.0 * parameters.slots() as f64 / (NOISE_FAILURE / 2.0)).ln();
    match parameters.ring().ring_type {
        // `exp(-z)` of complex slots have a larger square, and at most `2 exp(-z / 2)` of real ones.
        RingType::Standard => exponent,
        RingType::ConjugateInvariant => 2.0 * exponent,
    }
}

/// What is promised of one value, in units of the message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Promise {
    /// The value.
    pub value: Value,
    /// The largest absolute value that calibration reached.
    pub range: f64,
    /// Standard deviation of the error.
    pub error: f64,
    /// What the error stays below.
    pub bound: f64,
    /// The part of the bound that comes from rounded weights; 0 but at outputs. The others are relative to the circuit's own weights.
    pub rounding: f64,
}

impl Promise {
    /// [`noise::bits`] of the range and the error.
    pub fn expected_bits(&self) -> f64 {
        noise::bits(self.range, self.error)
    }

    /// log2 of the range over the bound.
    pub fn bound_bits(&self) -> f64 {
        (self.range / self.bound).log2()
    }
}

/// What a program promises of its precision.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// For each node of the model that the circuit computes, of its last value. What is multiplied by random factors is left out.
    pub layers: Vec<(Origin, Promise)>,
    /// For each output of the circuit.
    pub outputs: Vec<(String, Promise)>,
    /// log2 of the probability that an error exceeds its bound.
    pub noise_failure: f64,
    /// log2 of the estimated probability that a sample has a value that leaves the modulus.
    pub overflow: f64,
    /// log2 of the estimated probability that a sample has a value beyond [`MESSAGE_MARGIN`] times the calibrated range.
    pub escape: f64,
    /// Whether calibration samples were the user's.
    pub calibrated: bool,
    /// How many there were.
    pub samples: usize,
}

impl Certificate {
    /// What follows from a profile.
    ///
    /// # Errors
    /// As [`Profile::check`].
    pub fn of(circuit: &Circuit, profile: &Profile) -> Result<Self, String> {
        profile.check(circuit)?;
        let deviations = deviations(circuit);
        let promise = |value: Value, rounding: f64| {
            let Seen { largest, error, worst, .. } = profile.values[value.index()];
            let bound = MESSAGE_MARGIN * (deviations * worst + rounding);
            Promise { value, range: largest, error, bound, rounding: MESSAGE_MARGIN * rounding }
        };
        let layers = layer_ends(circuit);
        let layers: Vec<_> = layers.into_iter().map(|(origin, value)| (origin, promise(value, 0.0))).collect();
        let outputs = circuit.outputs().iter().zip(&profile.rounding);
        let outputs = outputs.map(|(output, &rounding)| (output.name.clone(), promise(output.value, rounding)));
        let beyond = |value: Value, room: f64| {
            let Seen { center, spread, .. } = profile.values[value.index()];
            if spread > 0.0 { (-(room - center).max(0.0) / spread).exp() } else { 0.0 }
        };
        let room = |value: Value| {
            let ty = circuit.ty(value);
            (circuit.context().log_q(ty.level) - 1.0 - ty.scale.log2()).exp2()
        };
        let overflow: f64 = circuit.nodes().map(|(value, _)| beyond(value, room(value))).sum();
        let escapes = layers.iter().map(|(_, promise)| beyond(promise.value, MESSAGE_MARGIN * promise.range));
        let escape: f64 = escapes.sum();
        Ok(Self {
            outputs: outputs.collect(),
            noise_failure: NOISE_FAILURE.log2(),
            overflow: overflow.min(1.0).log2().max(LEAST_LOG2),
            escape: escape.min(1.0).log2().max(LEAST_LOG2),
            calibrated: profile.calibrated,
            samples: profile.samples,
            layers,
        })
    }
}

/// How many deviations of the worst error are not exceeded anywhere, but with half of [`NOISE_FAILURE`].
fn deviations(circuit: &Circuit) -> f64 {
    let layers = layer_ends(circuit).into_iter().map(|(_, value)| value);
    let values = layers.chain(circuit.outputs().iter().map(|output| output.value));
    let slots: f64 = values.map(|value| circuit.ty(value).length as f64 * circuit.context().slots() as f64).sum();
    (2.0 * (2.0 * slots.max(1.0) / (NOISE_FAILURE / 2.0)).ln()).sqrt()
}

/// The last value of each node of the model, in the order of the circuit; without those that stand behind random factors.
pub fn layer_ends(circuit: &Circuit) -> Vec<(Origin, Value)> {
    let hidden = behind_factors(circuit);
    let mut last: BTreeMap<&Origin, Value> = BTreeMap::new();
    for (value, node) in circuit.nodes().filter(|(value, _)| !hidden[value.index()]) {
        last.insert(node.origin(), value);
    }
    let mut ends: Vec<_> = last.into_iter().map(|(origin, value)| (origin.clone(), value)).collect();
    ends.sort_by_key(|(_, value)| value.index());
    ends
}

/// Which values are multiplied by random factors.
fn behind_factors(circuit: &Circuit) -> Vec<bool> {
    let mut hidden = vec![false; circuit.len()];
    for (value, node) in circuit.nodes() {
        let operands = node.operands().iter().any(|operand| hidden[operand.index()]);
        hidden[value.index()] = match node.op() {
            Op::Blind(at) => !at.blind.inverse,
            Op::Input(_)
            | Op::Combine(_)
            | Op::Multiply
            | Op::Square
            | Op::Add
            | Op::Subtract
            | Op::Concat
            | Op::Gather(_)
            | Op::Relinearize
            | Op::Rescale
            | Op::DropLevel(_)
            | Op::Transform(_)
            | Op::Fold(_)
            | Op::Refresh(_) => operands,
        };
    }
    hidden
}

/// Collects a [`Profile`], sample by sample.
#[derive(Debug)]
pub struct Collector {
    samples: usize,
    disturbed: usize,
    values: Vec<Sums>,
}

#[derive(Clone, Debug, Default)]
struct Sums {
    maxima: Vec<f64>,
    squares: f64,
    count: usize,
    /// Of each element's errors under the largest secret, over all samples.
    worst: Vec<f64>,
}

impl Collector {
    /// Nothing yet of `circuit`.
    pub fn new(circuit: &Circuit) -> Self {
        Self { samples: 0, disturbed: 0, values: vec![Sums::default(); circuit.len()] }
    }

    /// One sample's exact values of every node.
    pub fn exact(&mut self, exact: &[Vec<f64>]) {
        self.samples += 1;
        for (sums, exact) in self.values.iter_mut().zip(exact) {
            sums.maxima.push(exact.iter().fold(0.0, |largest, x| largest.max(x.abs())));
        }
    }

    /// The same sample's values with errors, and with errors under the largest secret.
    pub fn disturbed(&mut self, exact: &[Vec<f64>], expected: &[Vec<f64>], worst: &[Vec<f64>]) {
        self.disturbed += 1;
        for (sums, ((exact, expected), worst)) in self.values.iter_mut().zip(exact.iter().zip(expected).zip(worst)) {
            let error = |(a, b): (&f64, &f64)| (a - b) * (a - b);
            sums.squares += exact.iter().zip(expected).map(error).sum::<f64>();
            sums.count += exact.len();
            sums.worst.resize(exact.len(), 0.0);
            sums.worst.iter_mut().zip(exact.iter().zip(worst)).for_each(|(sum, pair)| *sum += error(pair));
        }
    }

    /// The profile; `rounding` is what rounded weights do to each output.
    pub fn finish(self, calibrated: bool, rounding: Vec<f64>) -> Profile {
        let seen = |sums: &Sums| {
            let count = sums.maxima.len().max(1) as f64;
            let center = sums.maxima.iter().sum::<f64>() / count;
            let spread = (sums.maxima.iter().map(|m| (m - center).powi(2)).sum::<f64>() / count).sqrt();
            let worst = sums.worst.iter().copied().fold(0.0, f64::max);
            Seen {
                largest: sums.maxima.iter().copied().fold(0.0, f64::max),
                error: (sums.squares / sums.count.max(1) as f64).sqrt(),
                worst: (worst / self.disturbed.max(1) as f64).sqrt(),
                center,
                spread,
            }
        };
        Profile { samples: self.samples, calibrated, values: self.values.iter().map(seen).collect(), rounding }
    }
}
