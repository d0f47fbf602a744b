//! How the rotations of a packed circuit are split into baby and giant steps, and when its weights are encoded: what costs least, under a
//! budget of memory.
//!
//! A rotation key serves every layer, so a step that another layer takes anyway costs no key. All layers are chosen together: nanoseconds
//! plus a price for each byte of keys and encoded weights come to the least, layer by layer until none changes. The price rises until the
//! circuit fits; then each layer takes back what still fits.

use hec_ir::ckks::{
    Circuit, Op, Transform, encoded_weight_bytes, evaluation_key_bytes, just_in_time_bytes, peak_ciphertext_bytes,
    switch_key_bytes, weight_bytes,
};
use hec_ir::graph::{GraphError, Value};
use hec_ir::slots::LinearMap;

use crate::cost::{CostModel, Shape};
use crate::error::CompileError;
use crate::transformation::splits;

/// Nanoseconds that a byte of keys is worth where memory is not scarce: keys are made, sent and held.
const KEY_PRICE: f64 = 0.01;
/// The price at which it is given up.
const HIGHEST_PRICE: f64 = 1e6;
/// No circuit needs as many rounds.
const MAX_ROUNDS: usize = 16;

/// `circuit` with the splits, and the weights encoded just in time, that cost least in `budget` bytes of ciphertexts, keys and weights.
///
/// # Errors
/// If it takes more, whatever is chosen.
pub(crate) fn fitted(circuit: Circuit, budget: Option<u64>, cost: &CostModel) -> Result<Circuit, CompileError> {
    let layers: Vec<Layer> =
        circuit.nodes().filter_map(|(value, _)| Layer::new(&circuit, value, budget.is_some(), cost)).collect();
    let keys = Keys::new(&circuit);
    let mut chosen = vec![0; layers.len()];
    let mut price = KEY_PRICE;
    loop {
        descend(&layers, &keys, price, &mut chosen);
        let found = rebuilt(&circuit, &layers, &chosen)?;
        let Some(budget) = budget else { return Ok(found) };
        if bytes(&found).iter().sum::<u64>() <= budget {
            return refined(&circuit, &layers, chosen, found, budget);
        }
        price *= 2.0;
        if price > HIGHEST_PRICE {
            let [ciphertexts, keys, weights] = bytes(&found);
            return Err(CompileError::Option {
                name: "memory",
                reason: format!(
                    "the packed layout takes {ciphertexts} bytes of ciphertexts (with a few diagonals at a time), {keys} of keys, \
                     and {weights} of encoded weights at the least; {budget} bytes are allowed; allow more, or take the batch layout"
                ),
            });
        }
    }
}

/// Ciphertexts, evaluation keys and encoded weights.
fn bytes(circuit: &Circuit) -> [u64; 3] {
    [peak_ciphertext_bytes(circuit), evaluation_key_bytes(circuit), encoded_weight_bytes(circuit)]
}

/// A transform, and the ways to compute it; the first is the fastest.
struct Layer {
    node: Value,
    level: usize,
    choices: Vec<Choice>,
}

struct Choice {
    baby_steps: usize,
    just_in_time: bool,
    nanoseconds: f64,
    /// Of weights that stay encoded, or are encoded at once just in time.
    weight_bytes: u64,
    /// Rotations of slots.
    steps: Vec<usize>,
}

impl Layer {
    /// `None` for what is no transform.
    fn new(circuit: &Circuit, node: Value, may_wait: bool, cost: &CostModel) -> Option<Self> {
        let Op::Transform(transform) = circuit.node(node).op() else { return None };
        let parameters = circuit.context();
        let shape = Shape { ring: parameters.ring(), special: parameters.special_primes().len() };
        let ty = circuit.ty(node);
        let samples = parameters.slots() / transform.map.period().max(1);
        let encoding = encoding_nanoseconds(&transform.map, cost, shape, ty.level + 1);
        let bytes = weight_bytes(circuit, transform, ty);
        let mut choices: Vec<Choice> = Vec::new();
        for (baby_steps, rotations) in splits(&transform.map) {
            let own = Transform { baby_steps, ..transform.clone() };
            let steps: Vec<usize> = own.rotations().into_iter().flatten().map(|step| step * samples).collect();
            let nanoseconds = cost.transform(shape, ty.level + 1, rotations);
            let waiting = just_in_time_bytes(circuit, &own, ty);
            for just_in_time in [false, true].into_iter().take(if may_wait { 2 } else { 1 }) {
                choices.push(Choice {
                    baby_steps,
                    just_in_time,
                    nanoseconds: nanoseconds + if just_in_time { encoding } else { 0.0 },
                    weight_bytes: if just_in_time { waiting } else { bytes },
                    steps: steps.clone(),
                });
            }
        }
        choices.sort_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds));
        Some(Self { node, level: ty.level, choices })
    }
}

/// Nanoseconds of encoding all diagonals of a map.
pub(crate) fn encoding_nanoseconds(map: &LinearMap, cost: &CostModel, shape: Shape, limbs: usize) -> f64 {
    let diagonals: usize = map.steps().values().map(|steps| steps.len()).sum();
    diagonals as f64 * cost.encode_diagonal(shape, limbs)
}

/// What keys take, and which are there for folds.
struct Keys {
    /// Bytes of a key, by the number of limbs that it serves; none for 0.
    bytes: Vec<u64>,
    /// For each rotation the number of limbs that folds need a key for.
    folds: Vec<usize>,
}

impl Keys {
    fn new(circuit: &Circuit) -> Self {
        let bytes = (0..=circuit.context().max_level()).map(|level| switch_key_bytes(circuit, level));
        let mut folds = vec![0; circuit.context().slots()];
        for (_, node) in circuit.nodes() {
            if let Op::Fold(fold) = node.op() {
                fold.steps.iter().for_each(|&step| raise(&mut folds, step, node.ty().level + 1));
            }
        }
        Self { bytes: [0].into_iter().chain(bytes).collect(), folds }
    }

    /// Bytes beyond those of keys that serve so many limbs already.
    fn added(&self, served: &[usize], steps: &[usize], limbs: usize) -> u64 {
        let own = |step: &usize| {
            let before = served.get(*step).copied().unwrap_or(0);
            self.bytes[limbs.max(before)] - self.bytes[before]
        };
        steps.iter().map(own).sum()
    }
}

fn raise(served: &mut [usize], step: usize, limbs: usize) {
    if let Some(own) = served.get_mut(step) {
        *own = limbs.max(*own);
    }
}

/// Chooses layer by layer what is cheapest beside the choices of the others, until none changes.
fn descend(layers: &[Layer], keys: &Keys, price: f64, chosen: &mut [usize]) {
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        for at in 0..layers.len() {
            let mut served = keys.folds.clone();
            for (other, layer) in layers.iter().enumerate().filter(|(other, _)| *other != at) {
                let steps = &layer.choices[chosen[other]].steps;
                steps.iter().for_each(|&step| raise(&mut served, step, layer.level + 1));
            }
            let layer = &layers[at];
            let price = |choice: &Choice| {
                let bytes = choice.weight_bytes + keys.added(&served, &sorted(&choice.steps), layer.level + 1);
                choice.nanoseconds + price * bytes as f64
            };
            let prices = layer.choices.iter().map(price).enumerate();
            let best = prices.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(best, _)| best);
            changed |= best != chosen[at];
            chosen[at] = best;
        }
        if !changed {
            return;
        }
    }
}

/// Each step once.
fn sorted(steps: &[usize]) -> Vec<usize> {
    let mut steps = steps.to_vec();
    steps.sort_unstable();
    steps.dedup();
    steps
}

/// Layer by layer the fastest choice with which the circuit still fits.
fn refined(
    circuit: &Circuit,
    layers: &[Layer],
    mut chosen: Vec<usize>,
    mut found: Circuit,
    budget: u64,
) -> Result<Circuit, CompileError> {
    for at in 0..layers.len() {
        for faster in 0..chosen[at] {
            let mut other = chosen.clone();
            other[at] = faster;
            let changed = rebuilt(circuit, layers, &other)?;
            if bytes(&changed).iter().sum::<u64>() <= budget {
                (chosen, found) = (other, changed);
                break;
            }
        }
    }
    Ok(found)
}

fn rebuilt(circuit: &Circuit, layers: &[Layer], chosen: &[usize]) -> Result<Circuit, GraphError> {
    circuit.translate(circuit.context().clone(), |builder, value, node, operands| {
        let choice = layers.iter().zip(chosen).find(|(layer, _)| layer.node == value);
        let op = match (node.op(), choice) {
            (Op::Transform(transform), Some((layer, &at))) => {
                let Choice { baby_steps, just_in_time, .. } = layer.choices[at];
                Op::Transform(Transform { baby_steps, just_in_time, ..transform.clone() })
            }
            (other, _) => other.clone(),
        };
        builder.push(op, operands)
    })
}
