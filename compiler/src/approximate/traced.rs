//! A graph under construction, with its values on samples.

use hec_ir::graph::{Builder, Origin, Value};
use hec_ir::tensor::{Op, Tensor, TensorGraph, Tensors};

use rayon::prelude::*;

use super::at;
use crate::error::CompileError;
use crate::ranges::Samples;

/// A graph that is built and evaluated on every sample at the same time.
pub(super) struct Traced {
    builder: Builder<Tensors>,
    /// For each new value, one tensor a sample; one alone for constants.
    values: Vec<Vec<Tensor>>,
    /// What has become of the old graph's values.
    renamed: Vec<Value>,
    inputs: Samples,
    samples: usize,
    /// Outputs beside those of the old graph.
    witnesses: Vec<(String, Value)>,
}

/// Whole samples of every input.
pub(super) fn count(graph: &TensorGraph, samples: &Samples) -> usize {
    let of = |(value, name): (Value, &str)| {
        let elements = graph.ty(value).known().map_or(0, hec_ir::tensor::TensorType::elements);
        samples.get(name).map_or(0, |all| all.len() / elements.max(1))
    };
    graph.inputs().map(of).min().unwrap_or(0)
}

impl Traced {
    pub(super) fn new(graph: &TensorGraph, samples: &Samples) -> Self {
        let (builder, inputs, samples) = (Builder::new(()), samples.clone(), count(graph, samples));
        Self { builder, values: Vec::new(), renamed: Vec::new(), inputs, samples, witnesses: Vec::new() }
    }

    pub(super) fn at(&mut self, origin: &Origin) {
        self.builder.set_origin(origin.clone());
    }

    /// The new values of operands.
    pub(super) fn operands(&self, old: &[Value]) -> Vec<Value> {
        old.iter().map(|operand| self.renamed[operand.index()]).collect()
    }

    /// Says what has become of the next old value.
    pub(super) fn keep(&mut self, new: Value) {
        self.renamed.push(new);
    }

    pub(super) fn push(&mut self, op: Op, operands: &[Value]) -> Result<Value, CompileError> {
        let value = self.builder.push(op, operands)?;
        let node = self.builder.node(value);
        let origin = node.origin().as_str();
        let values = match (node.op(), node.ty().known()) {
            (Op::Input(input), Some(ty)) => {
                let all = self.inputs.get(&input.name).map_or(&[][..], Vec::as_slice);
                let one = |values: &[f64]| Tensor::from_values(ty.element, &ty.shape, values.to_vec());
                let parts = all.chunks_exact(ty.elements().max(1)).take(self.samples).map(one);
                parts.collect::<Result<Vec<_>, _>>().map_err(|cause| at(origin, cause))?
            }
            (Op::Constant(constant), _) => vec![(*constant.0).clone()],
            (_, None) => Vec::new(),
            (op, Some(_)) => {
                let of = |operand: &Value, sample: usize| {
                    let all = &self.values[operand.index()];
                    all.get(if all.len() == 1 { 0 } else { sample })
                };
                let constant = operands.iter().all(|operand| self.values[operand.index()].len() == 1);
                let evaluate = |sample: usize| {
                    let tensors: Option<Vec<&Tensor>> = operands.iter().map(|operand| of(operand, sample)).collect();
                    tensors.map(|tensors| op.evaluate(&tensors))
                };
                let count = if constant && self.samples != 1 { 1 } else { self.samples };
                let all: Option<Result<Vec<Tensor>, _>> = (0..count).into_par_iter().map(evaluate).collect();
                all.unwrap_or(Ok(Vec::new())).map_err(|cause| at(origin, cause))?
            }
        };
        self.values.push(values);
        Ok(value)
    }

    /// The values on all samples.
    pub(super) fn values(&self, value: Value) -> &[Tensor] {
        &self.values[value.index()]
    }

    /// The smallest and largest element of each channel (the second axis) of a value.
    pub(super) fn channels(&self, value: Value) -> Vec<(f64, f64)> {
        let shape = self.shape(value);
        let channels = shape.get(1).copied().unwrap_or(1);
        let inner: usize = shape.iter().skip(2).product();
        let mut all = vec![(f64::INFINITY, f64::NEG_INFINITY); channels];
        for tensor in self.values(value) {
            for (i, &x) in tensor.values().iter().enumerate() {
                let (low, high) = &mut all[i / inner.max(1) % channels.max(1)];
                (*low, *high) = (low.min(x), high.max(x));
            }
        }
        all
    }

    /// The shape of a value.
    pub(super) fn shape(&self, value: Value) -> Vec<usize> {
        self.builder.ty(value).known().map(|ty| ty.shape.clone()).unwrap_or_default()
    }

    /// Makes `value` an output called after the model's node `origin`; gives the name.
    pub(super) fn witness(&mut self, origin: &str, value: Value) -> String {
        let name = format!("range of {origin}");
        let taken = |name: &str| self.witnesses.iter().any(|(other, _)| other == name);
        let mut others = (2..).map(|i| format!("{name} ({i})"));
        let name = if taken(&name) { others.find(|name| !taken(name)).unwrap_or_default() } else { name };
        self.witnesses.push((name.clone(), value));
        name
    }

    /// The graph, with the outputs of the old one, and then the witnesses.
    pub(super) fn finish(mut self, old: &TensorGraph) -> TensorGraph {
        for output in old.outputs() {
            self.builder.output(&output.name, self.renamed[output.value.index()]);
        }
        self.witnesses.iter().for_each(|(name, value)| self.builder.output(name, *value));
        self.builder.finish().without_dead_nodes()
    }
}
