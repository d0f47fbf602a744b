//! What a finished circuit costs, node by node: the constants with which the search compares plans, on the circuit that came of it.

use std::collections::BTreeSet;

use hec_ir::ckks::{Circuit, Op, Transform};
use hec_ir::graph::Value;

use crate::cost::{CostModel, Rotations, Shape};
use crate::splits::encoding_nanoseconds;

/// What a circuit costs on one core, in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Price {
    /// For each node of the circuit; inputs and rounds are the client's encryptions and decryptions.
    pub nodes: Vec<f64>,
    /// The client's decryption of the outputs.
    pub decryption: f64,
}

impl Price {
    /// Prices every node of `circuit`.
    pub fn of(circuit: &Circuit, cost: &CostModel) -> Self {
        let parameters = circuit.context();
        let shape = Shape { ring: parameters.ring(), special: parameters.special_primes().len() };
        let moduli: Vec<f64> = parameters.moduli().iter().map(|&q| (q as f64).log2()).collect();
        let of = Pricing { circuit, cost, shape, moduli };
        let mut rounds = BTreeSet::new();
        let nodes = circuit.nodes().map(|(value, _)| of.node(value, &mut rounds)).collect();
        let decryption = circuit.outputs().iter().map(|output| of.decrypt(output.value)).sum();
        Self { nodes, decryption }
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.nodes.iter().sum::<f64>() + self.decryption
    }
}

struct Pricing<'a> {
    circuit: &'a Circuit,
    cost: &'a CostModel,
    shape: Shape,
    /// Sizes in bits.
    moduli: Vec<f64>,
}

impl Pricing<'_> {
    fn node(&self, value: Value, rounds: &mut BTreeSet<usize>) -> f64 {
        let (cost, shape) = (self.cost, self.shape);
        let (node, ty) = (self.circuit.node(value), self.circuit.ty(value));
        let (count, limbs) = (ty.length as f64, ty.level + 1);
        let operand = node.operands().first().map_or(ty, |&x| self.circuit.ty(x));
        match node.op() {
            Op::Input(input) if input.public => 0.0,
            Op::Input(_) => count * cost.encrypt(shape, limbs),
            Op::Combine(combine) => {
                let largest = |weights: &[i32]| weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0);
                let blocks = combine.matrix.blocks().iter();
                let largest = blocks.map(|block| largest(&block.weights)).max().unwrap_or(0).max(1);
                let bits = f64::from(largest).log2().ceil();
                let moduli = &self.moduli[..limbs.min(self.moduli.len())];
                cost.combine(shape, moduli, ty.degree, bits as i32, combine.matrix.shape())
            }
            Op::Multiply | Op::Square => {
                let other = node.operands().last().map_or(operand, |&x| self.circuit.ty(x));
                count * cost.product(shape, limbs, (operand.degree, other.degree))
            }
            Op::Relinearize => count * cost.relinearize(shape, limbs, operand.degree),
            Op::Rescale => count * cost.rescale(shape, operand.level + 1, ty.degree),
            Op::Transform(transform) => {
                let weights =
                    if transform.just_in_time { encoding_nanoseconds(&transform.map, cost, shape, limbs) } else { 0.0 };
                weights + cost.transform(shape, limbs, rotations(transform))
            }
            Op::Fold(fold) => count * fold.steps.len() as f64 * cost.rotation(shape, limbs),
            // All refreshes of a round share what the client decrypts.
            Op::Refresh(refresh) => {
                let decrypted = if rounds.insert(refresh.round) {
                    node.operands().iter().map(|&operand| self.decrypt(operand)).sum()
                } else {
                    0.0
                };
                decrypted + count * cost.encrypt(shape, limbs)
            }
            // Encoding a plaintext takes about as long as encrypting it.
            Op::Blind(_) => count * cost.encrypt(shape, limbs),
            Op::Add | Op::Subtract | Op::Concat | Op::Gather(_) | Op::DropLevel(_) => 0.0,
        }
    }

    fn decrypt(&self, value: Value) -> f64 {
        let ty = self.circuit.ty(value);
        ty.length as f64 * self.cost.decrypt(self.shape, ty.level + 1, ty.degree)
    }
}

fn rotations(transform: &Transform) -> Rotations {
    let [babies, giants] = transform.stepped();
    let turned: BTreeSet<usize> = babies.iter().map(|(from, _)| *from).collect();
    Rotations {
        operands: turned.len(),
        babies: babies.len(),
        giants: giants.len(),
        diagonals: transform.map.steps().values().map(BTreeSet::len).sum(),
        results: transform.map.to().vectors(),
    }
}
