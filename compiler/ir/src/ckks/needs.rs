//! What a circuit needs and does: functions of the circuit, never stored beside it.

use std::collections::BTreeMap;

use super::{Circuit, Op};
use crate::graph::Value;

/// The evaluation keys that a circuit uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyNeeds {
    /// For relinearization, if any.
    pub relinearization: Option<Relinearization>,
    /// For rotations of slots to the left: the highest level at which a ciphertext is rotated by so many.
    pub rotations: BTreeMap<usize, usize>,
}

/// Which relinearization keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relinearization {
    /// The highest level at which a ciphertext is relinearised.
    pub level: usize,
    /// The highest degree that is relinearised.
    pub degree: usize,
}

/// The keys that `circuit` uses.
pub fn key_needs(circuit: &Circuit) -> KeyNeeds {
    let mut needs = KeyNeeds::default();
    for (_, node) in circuit.nodes() {
        let steps: Vec<usize> = match node.op() {
            Op::Relinearize => {
                let operand = circuit.ty(node.operands()[0]);
                let so_far = needs.relinearization.unwrap_or(Relinearization { level: 0, degree: 0 });
                let (level, degree) = (so_far.level.max(operand.level), so_far.degree.max(operand.degree));
                needs.relinearization = Some(Relinearization { level, degree });
                Vec::new()
            }
            Op::Transform(transform) => {
                let samples = circuit.context().slots() / transform.map.period();
                transform.rotations().into_iter().flatten().map(|step| step * samples).collect()
            }
            Op::Fold(fold) => fold.steps.clone(),
            Op::Input(_)
            | Op::Combine(_)
            | Op::Multiply
            | Op::Square
            | Op::Add
            | Op::Subtract
            | Op::Concat
            | Op::Gather(_)
            | Op::Rescale
            | Op::DropLevel(_)
            | Op::Refresh(_)
            | Op::Blind(_) => Vec::new(),
        };
        for step in steps {
            let level = needs.rotations.entry(step).or_insert(0);
            *level = node.ty().level.max(*level);
        }
    }
    needs
}

/// How often a circuit does what, counted in single ciphertexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpCounts {
    /// Scalar multiply-adds of combines (one weight, one ciphertext).
    pub scalar_products: usize,
    /// Products of two ciphertexts, squares included.
    pub products: usize,
    /// Key switches: one for each power of the secret above the first, and one for each rotation.
    pub key_switches: usize,
    /// Rotations of ciphertexts.
    pub rotations: usize,
    /// Products of a ciphertext with a diagonal.
    pub plain_products: usize,
    /// Rescaled ciphertexts.
    pub rescales: usize,
    /// Sums and differences.
    pub additions: usize,
    /// Ciphertexts that the client encrypts in the middle of the run.
    pub refreshed: usize,
}

/// Counts what `circuit` does.
pub fn counts(circuit: &Circuit) -> OpCounts {
    counts_of(circuit, circuit.nodes().map(|(value, _)| value))
}

/// Counts what the nodes that make `values` do.
pub fn counts_of(circuit: &Circuit, values: impl IntoIterator<Item = Value>) -> OpCounts {
    let mut total = OpCounts::default();
    for node in values.into_iter().map(|value| circuit.node(value)) {
        let length = node.ty().length;
        match node.op() {
            Op::Combine(combine) => total.scalar_products += combine.matrix.multiply_adds(),
            Op::Multiply | Op::Square => total.products += length,
            Op::Relinearize => total.key_switches += length * (circuit.ty(node.operands()[0]).degree - 1),
            Op::Rescale => total.rescales += length,
            Op::Add | Op::Subtract => total.additions += length,
            Op::Transform(transform) => {
                let rotations: usize = transform.rotations().iter().map(Vec::len).sum();
                total.rotations += rotations;
                total.key_switches += rotations;
                total.plain_products += transform.map.steps().values().map(|steps| steps.len()).sum::<usize>();
            }
            Op::Fold(fold) => {
                total.rotations += fold.steps.len() * length;
                total.key_switches += fold.steps.len() * length;
                total.additions += fold.steps.len() * length;
            }
            Op::Refresh(_) => total.refreshed += length,
            Op::Blind(_) => total.plain_products += length,
            Op::Input(_) | Op::Concat | Op::Gather(_) | Op::DropLevel(_) => {}
        }
    }
    total
}

/// For each value, the largest number of products (with weights or ciphertexts) on a path from an input, or from where the client last
/// encrypted, to it.
pub fn multiplicative_depth(circuit: &Circuit) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(circuit.len());
    for (_, node) in circuit.nodes() {
        let before = node.operands().iter().map(|v: &Value| depths[v.index()]).max().unwrap_or(0);
        let own = match node.op() {
            Op::Refresh(_) => {
                depths.push(0);
                continue;
            }
            Op::Combine(_) | Op::Multiply | Op::Square | Op::Transform(_) | Op::Blind(_) => 1,
            Op::Input(_)
            | Op::Add
            | Op::Subtract
            | Op::Concat
            | Op::Gather(_)
            | Op::Relinearize
            | Op::Rescale
            | Op::DropLevel(_)
            | Op::Fold(_) => 0,
        };
        depths.push(before + own);
    }
    depths
}
