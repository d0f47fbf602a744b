//! What rounding the weights does to the outputs, measured on samples.

use hec_ir::Node;
use hec_ir::slots::{Op, SlotGraph, Slots};

use super::Plan;
use crate::ranges::{Samples, evaluate_with, sample_size, width};
use crate::weights::Weights;

/// Samples that are evaluated.
const SAMPLES: usize = 32;

/// The size of the outputs' errors that the rounded weights of `plan` cause, comparable with a standard deviation: the root
/// mean square, or a sixth of the largest if that is more. Without samples, on reproducible ones from `input`.
pub(super) fn measure(
    graph: &SlotGraph,
    weights: &[Option<Weights>],
    plan: &Plan,
    input: (f64, f64),
    samples: &Samples,
) -> f64 {
    // Weights in slots are encoded in coefficients: their roundings are independent from slot to slot.
    if width(graph) > 1 {
        return 0.0;
    }
    let mut bits = plan.weight_bits.iter().copied();
    let rounded = |((_, node), weights): ((_, &Node<Slots>), &Option<Weights>)| {
        let weighted = matches!(node.op(), Op::Combine(_) | Op::WeightedSum(_));
        let bits = if weighted { bits.next().unwrap_or(0) } else { 0 };
        weights.as_ref().map(|w| w.rounded(bits))
    };
    let rounded: Vec<_> = graph.nodes().zip(weights).map(rounded).collect();
    let exact: Vec<_> = weights.iter().map(|w| w.as_ref().map(Weights::exact)).collect();
    let count =
        |(value, name): (_, &str)| samples.get(name).map_or(0, |all| all.len() / sample_size(graph, value).max(1));
    let available = graph.inputs().map(count).min().unwrap_or(0);
    let (mut squares, mut largest, mut total) = (0.0, 0f64, 0usize);
    for sample in 0..if available == 0 { SAMPLES } else { available.min(SAMPLES) } {
        let values = |name: &str, length: usize| match samples.get(name).filter(|_| available > 0) {
            Some(all) => all[sample * length..][..length].to_vec(),
            None => reproducible(sample as u64 + 1, length, input),
        };
        let (found, expected) = (evaluate_with(graph, &rounded, values), evaluate_with(graph, &exact, values));
        for output in graph.outputs() {
            for (a, b) in found[output.value.index()].iter().zip(&expected[output.value.index()]) {
                squares += (a - b) * (a - b);
                largest = largest.max((a - b).abs());
                total += 1;
            }
        }
    }
    (squares / total.max(1) as f64).sqrt().max(largest / 6.0)
}

/// Numbers in `range` from a fixed generator (Knuth's MMIX): the same on every machine.
fn reproducible(seed: u64, length: usize, (low, high): (f64, f64)) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * (state >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..length).map(|_| next()).collect()
}
