//! Inputs whose elements differ widely in size: features as they were measured, some in thousands and some in hundredths.
//!
//! All elements of an input are encrypted at one scale, so small ones would lose their precision to large ones. The client
//! therefore brings each element to `[-1, 1]`, as the calibration samples show it, before it encrypts; the layer behind
//! takes the inverse into its weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::graph::{Builder, Value};
use hec_ir::program::Normalisation;
use hec_ir::tensor::{Binary, Constant, Op, Tensor, TensorGraph, TensorType, Tensors};

use crate::error::CompileError;
use crate::ranges::Samples;

/// If the largest element is more than so many times as large as the median one, all are brought to one size.
const UNLIKE: f64 = 16.0;
/// Fewer samples than this show no range.
const MIN_SAMPLES: usize = 16;

/// A model that takes normalised inputs, the samples as it takes them, and what the client does to each input.
pub(crate) struct Normalised {
    pub(crate) graph: TensorGraph,
    pub(crate) samples: Samples,
    pub(crate) inputs: BTreeMap<String, Normalisation>,
}

/// `graph` with normalised inputs; `None` if the elements of each input are of one size, or there are no samples for one.
pub(crate) fn normalise(graph: &TensorGraph, samples: &Samples) -> Result<Option<Normalised>, CompileError> {
    let mut inputs = BTreeMap::new();
    let mut needed = false;
    for (value, name) in graph.inputs() {
        let elements = graph.ty(value).known().map_or(0, TensorType::elements);
        let Some(all) = samples.get(name).filter(|all| elements > 0 && all.len() >= MIN_SAMPLES * elements) else {
            return Ok(None);
        };
        let ends = ends(all, elements);
        needed |= unlike(&ends);
        inputs.insert(name.to_owned(), normalisation(&ends));
    }
    if !needed {
        return Ok(None);
    }
    let samples = inputs.iter().map(|(name, own)| {
        let mut values = samples.get(name).cloned().unwrap_or_default();
        own.apply(&mut values);
        (name.clone(), values)
    });
    let samples = samples.collect();
    Ok(Some(Normalised { graph: undone(graph, &inputs)?, samples, inputs }))
}

/// The smallest and largest of each element.
fn ends(all: &[f64], elements: usize) -> Vec<(f64, f64)> {
    let mut ends = vec![(f64::INFINITY, f64::NEG_INFINITY); elements];
    for sample in all.chunks_exact(elements) {
        sample.iter().zip(&mut ends).for_each(|(x, (low, high))| (*low, *high) = (low.min(*x), high.max(*x)));
    }
    ends
}

fn unlike(ends: &[(f64, f64)]) -> bool {
    let sizes = ends.iter().map(|(low, high)| low.abs().max(high.abs())).filter(|size| *size > 0.0);
    let mut sizes: Vec<f64> = sizes.collect();
    sizes.sort_by(f64::total_cmp);
    // Not the smallest: pixels at an image's edge are nearly always 0, and matter as little.
    let middle = sizes.get(sizes.len() / 2).copied().unwrap_or(0.0);
    sizes.last().is_some_and(|&largest| largest > UNLIKE * middle)
}

fn normalisation(ends: &[(f64, f64)]) -> Normalisation {
    let offset = ends.iter().map(|(low, high)| (low + high) / 2.0).collect();
    // A constant element becomes 0.
    let half = |(low, high): &(f64, f64)| if high > low { (high - low) / 2.0 } else { low.abs().max(1.0) };
    Normalisation { offset, divisor: ends.iter().map(half).collect() }
}

/// `graph` behind the inverse of what the client does.
fn undone(graph: &TensorGraph, inputs: &BTreeMap<String, Normalisation>) -> Result<TensorGraph, CompileError> {
    let mut builder = Builder::<Tensors>::new(());
    let mut renamed: Vec<Value> = Vec::with_capacity(graph.len());
    for (_, node) in graph.nodes() {
        builder.set_origin(node.origin().clone());
        let operands: Vec<Value> = node.operands().iter().map(|operand| renamed[operand.index()]).collect();
        let mut new = builder.push(node.op().clone(), &operands)?;
        if let (Op::Input(input), Some(ty)) = (node.op(), node.ty().known())
            && let Some(own) = inputs.get(&input.name)
        {
            for (binary, values) in [(Binary::Mul, &own.divisor), (Binary::Add, &own.offset)] {
                let tensor = Tensor::from_values(ty.element, &ty.shape, values.to_vec());
                let tensor = tensor.map_err(|cause| CompileError::node(node.origin(), "normalise", cause))?;
                let constant = builder.push(Op::from(Constant(Arc::new(tensor))), &[])?;
                new = builder.push(Op::from(binary), &[new, constant])?;
            }
        }
        renamed.push(new);
    }
    graph.outputs().iter().for_each(|output| builder.output(&output.name, renamed[output.value.index()]));
    Ok(builder.finish())
}
