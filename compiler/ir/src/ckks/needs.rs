//! What a circuit needs and does: functions of the circuit, never stored beside it.

use super::{Circuit, Op};
use crate::graph::Value;

/// The evaluation keys that a circuit uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyNeeds {
    /// For relinearization, if any.
    pub relinearization: Option<Relinearization>,
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
    for (_, node) in circuit.nodes().filter(|(_, node)| *node.op() == Op::Relinearize) {
        let operand = circuit.ty(node.operands()[0]);
        let so_far = needs.relinearization.unwrap_or(Relinearization { level: 0, degree: 0 });
        needs.relinearization =
            Some(Relinearization { level: so_far.level.max(operand.level), degree: so_far.degree.max(operand.degree) });
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
    /// Key switches (one for each power of the secret above the first).
    pub key_switches: usize,
    /// Rescaled ciphertexts.
    pub rescales: usize,
    /// Sums and differences.
    pub additions: usize,
}

/// Counts what `circuit` does.
pub fn counts(circuit: &Circuit) -> OpCounts {
    let mut total = OpCounts::default();
    for (_, node) in circuit.nodes() {
        let length = node.ty().length;
        match node.op() {
            Op::Combine(combine) => total.scalar_products += combine.matrix.multiply_adds(),
            Op::Multiply | Op::Square => total.products += length,
            Op::Relinearize => total.key_switches += length * (circuit.ty(node.operands()[0]).degree - 1),
            Op::Rescale => total.rescales += length,
            Op::Add | Op::Subtract => total.additions += length,
            Op::Input(_) | Op::Concat | Op::Gather(_) | Op::DropLevel(_) => {}
        }
    }
    total
}

/// For each value, the largest number of products (with weights or ciphertexts) on a path from an input to it.
pub fn multiplicative_depth(circuit: &Circuit) -> Vec<usize> {
    let mut depths: Vec<usize> = Vec::with_capacity(circuit.len());
    for (_, node) in circuit.nodes() {
        let before = node.operands().iter().map(|v: &Value| depths[v.index()]).max().unwrap_or(0);
        let own = match node.op() {
            Op::Combine(_) | Op::Multiply | Op::Square => 1,
            Op::Input(_)
            | Op::Add
            | Op::Subtract
            | Op::Concat
            | Op::Gather(_)
            | Op::Relinearize
            | Op::Rescale
            | Op::DropLevel(_) => 0,
        };
        depths.push(before + own);
    }
    depths
}
