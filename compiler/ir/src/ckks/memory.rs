//! How much memory the ciphertexts of a circuit take while it is executed.

use std::collections::BTreeMap;

use super::{Circuit, Op, Transform, Type, key_needs};
use crate::graph::Value;

/// Bytes of the ciphertexts that are alive at once when `circuit` is executed node by node, at the most. Residues take 8
/// bytes. All inputs are there before the first operation; gather and concat share ciphertexts with their operands; an
/// elementwise operation frees those of its operands that nobody else holds one by one, and a combine reuses their memory
/// where the kernel reads all columns before it writes a row ([`crate::matrix::BlockShape::works_in_place`]).
pub fn peak_ciphertext_bytes(circuit: &Circuit) -> u64 {
    peak_bytes_by_node(circuit).into_iter().max().unwrap_or(0)
}

/// The same for each node: bytes of the ciphertexts that are alive at once while it is computed, at the most.
pub fn peak_bytes_by_node(circuit: &Circuit) -> Vec<u64> {
    let mut peaks = Vec::with_capacity(circuit.len());
    let mut memory = Memory::default();
    let mut uses = circuit.use_counts();
    let mut arrays: Vec<Vec<usize>> = vec![Vec::new(); circuit.len()];
    let bytes = |value: Value| ciphertext_bytes(circuit, circuit.ty(value));
    for (value, _) in circuit.inputs() {
        arrays[value.index()] = memory.allocate(circuit.ty(value).length, bytes(value));
    }
    for (value, node) in circuit.nodes() {
        memory.peak = memory.live;
        let mut taken: Vec<Vec<usize>> = Vec::new();
        for operand in node.operands() {
            let left = &mut uses[operand.index()];
            *left -= 1;
            let array = &mut arrays[operand.index()];
            let array = if *left == 0 { std::mem::take(array) } else { array.clone() };
            if *left > 0 {
                array.iter().for_each(|&id| memory.holders[id] += 1);
            }
            taken.push(array);
        }
        let length = node.ty().length;
        let result = match node.op() {
            Op::Input(_) => std::mem::take(&mut arrays[value.index()]),
            Op::Concat => taken.drain(..).flatten().collect(),
            Op::Gather(gather) => {
                let result: Vec<usize> = gather.indices.iter().map(|&i| taken[0][i as usize]).collect();
                result.iter().for_each(|&id| memory.holders[id] += 1);
                result
            }
            Op::Combine(combine) => {
                let owned = taken[0].iter().all(|&id| memory.holders[id] == 1);
                if owned && combine.matrix.shape().works_in_place(combine.matrix.is_narrow()) {
                    let reused = taken[0].len().min(length);
                    memory.require(bytes(value) * (length - reused) as u64);
                    taken.drain(..).for_each(|array| memory.release(&array));
                    memory.allocate(length, bytes(value))
                } else {
                    memory.allocate(length, bytes(value))
                }
            }
            Op::Transform(transform) => {
                // Besides operand and result: the operand's digits, and two polynomials for each giant step.
                let [_, giants] = transform.rotations();
                let special = circuit.context().special_primes().len() as u64;
                let limbs = node.ty().level as u64 + 1;
                let raised = 8 * circuit.context().ring_degree() as u64 * (limbs + special);
                let digits = limbs.div_ceil(special.max(1));
                let weights =
                    if transform.just_in_time { just_in_time_bytes(circuit, transform, node.ty()) } else { 0 };
                memory.require(raised * (digits + 2 * (giants.len() as u64 + 1)) + weights);
                memory.allocate(length, bytes(value))
            }
            // What the client sends is there while what it was sent still is.
            Op::Refresh(_) => memory.allocate(length, bytes(value)),
            Op::Multiply
            | Op::Square
            | Op::Add
            | Op::Subtract
            | Op::Relinearize
            | Op::Rescale
            | Op::DropLevel(_)
            | Op::Fold(_)
            | Op::Blind(_) => {
                // Element by element: what is freed makes room for the next.
                let mut result = Vec::with_capacity(length);
                for i in 0..length {
                    result.extend(memory.allocate(1, bytes(value)));
                    taken.iter().for_each(|array| memory.release(&array[i..=i]));
                }
                taken.clear();
                result
            }
        };
        taken.iter().for_each(|array| memory.release(array));
        if uses[value.index()] == 0 {
            memory.release(&result);
        } else {
            arrays[value.index()] = result;
        }
        peaks.push(memory.peak);
    }
    peaks
}

/// Bytes of one ciphertext of type `ty`.
pub fn ciphertext_bytes(circuit: &Circuit, ty: &Type) -> u64 {
    8 * circuit.context().ring_degree() as u64 * (ty.degree as u64 + 1) * (ty.level as u64 + 1)
}

/// Bytes of the residues of `polynomials` at `level`, each as many bits as its prime has: what is sent of them, but for headers.
pub fn sent_bytes(circuit: &Circuit, level: usize, polynomials: usize) -> u64 {
    let primes = circuit.context().moduli().iter().take(level + 1);
    let bits: u64 = primes.map(|prime| u64::from(u64::BITS - prime.leading_zeros())).sum();
    (circuit.context().ring_degree() as u64 * bits).div_ceil(8) * polynomials as u64
}

/// Bytes of the evaluation keys that `circuit` uses, when they are expanded.
pub fn evaluation_key_bytes(circuit: &Circuit) -> u64 {
    let needed = key_needs(circuit).relinearization;
    let relinearization =
        needed.map_or(0, |needed| switch_key_bytes(circuit, needed.level) * (needed.degree as u64 - 1));
    relinearization + rotation_key_bytes(circuit)
}

/// The part of [`evaluation_key_bytes`] that rotation keys take.
pub fn rotation_key_bytes(circuit: &Circuit) -> u64 {
    key_needs(circuit).rotations.values().map(|&level| switch_key_bytes(circuit, level)).sum()
}

/// Bytes of one key for ciphertexts up to `level`, expanded.
pub fn switch_key_bytes(circuit: &Circuit, level: usize) -> u64 {
    let special = circuit.context().special_primes().len() as u64;
    let limbs = level as u64 + 1;
    let digits = limbs.div_ceil(special.max(1));
    8 * 2 * digits * (limbs + special) * circuit.context().ring_degree() as u64
}

/// Bytes of the diagonals that are encoded when a program is loaded, for the levels that they are used at.
pub fn encoded_weight_bytes(circuit: &Circuit) -> u64 {
    let of = |op: &Op, ty: &Type| match op {
        Op::Transform(transform) if !transform.just_in_time => weight_bytes(circuit, transform, ty),
        Op::Transform(_)
        | Op::Input(_)
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
        | Op::Fold(_)
        | Op::Refresh(_)
        | Op::Blind(_) => 0,
    };
    circuit.nodes().map(|(_, node)| of(node.op(), node.ty())).sum()
}

/// Baby steps of one operand whose diagonals are encoded together just in time.
pub const BABY_STEPS_AT_ONCE: usize = 4;

/// Bytes of the encoded diagonals of a transform whose result has type `ty`.
pub fn weight_bytes(circuit: &Circuit, transform: &Transform, ty: &Type) -> u64 {
    let diagonals: usize = transform.map.steps().values().map(|steps| steps.len()).sum();
    diagonals as u64 * diagonal_bytes(circuit, ty)
}

/// The part of [`weight_bytes`] that is there at once where diagonals are encoded just in time: those of [`BABY_STEPS_AT_ONCE`] baby
/// steps of one vector of the operand.
pub fn just_in_time_bytes(circuit: &Circuit, transform: &Transform, ty: &Type) -> u64 {
    let mut diagonals: BTreeMap<usize, BTreeMap<usize, u64>> = BTreeMap::new();
    for ([_, from], steps) in transform.map.steps().iter() {
        let of = diagonals.entry(*from).or_default();
        steps.iter().for_each(|step| *of.entry(step % transform.baby_steps).or_default() += 1);
    }
    let groups = |babies: BTreeMap<usize, u64>| {
        let babies: Vec<u64> = babies.into_values().collect();
        babies.chunks(BABY_STEPS_AT_ONCE).map(|group| group.iter().sum()).max().unwrap_or(0)
    };
    diagonals.into_values().map(groups).max().unwrap_or(0) * diagonal_bytes(circuit, ty)
}

fn diagonal_bytes(circuit: &Circuit, ty: &Type) -> u64 {
    let special = circuit.context().special_primes().len() as u64;
    8 * circuit.context().ring_degree() as u64 * (ty.level as u64 + 1 + special)
}

/// Ciphertexts, each with its size and the number of arrays that hold it.
#[derive(Default)]
struct Memory {
    bytes: Vec<u64>,
    holders: Vec<u32>,
    live: u64,
    peak: u64,
}

impl Memory {
    fn allocate(&mut self, count: usize, bytes: u64) -> Vec<usize> {
        let first = self.bytes.len();
        self.bytes.resize(first + count, bytes);
        self.holders.resize(first + count, 1);
        self.live += bytes * count as u64;
        self.require(0);
        (first..first + count).collect()
    }

    fn require(&mut self, more: u64) {
        self.peak = self.peak.max(self.live + more);
    }

    fn release(&mut self, array: &[usize]) {
        for &id in array {
            self.holders[id] -= 1;
            if self.holders[id] == 0 {
                self.live -= self.bytes[id];
            }
        }
    }
}
