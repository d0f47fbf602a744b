//! Tensor graphs in the clear, with ONNX's meaning: the reference for every model, and what a client computes after
//! decryption.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use hec_ir::program::Port;
use hec_ir::tensor::{Constant, Op, Tensor, TensorGraph, Tensors, Type};
use hec_ir::{Node, Value};
use rayon::prelude::*;

use crate::batch::{Outcome, SampleBatch, sample_count};
use crate::engine::EngineError;
use crate::error::RunError;
use crate::progress::{Phase, Progress};

/// The outputs of `graph` for one sample, in the graph's order.
///
/// # Errors
/// [`RunError`]: an input is missing, unknown or not of its type, or a node has no value; the node is named.
pub fn evaluate(graph: &TensorGraph, inputs: &BTreeMap<String, Tensor>) -> Result<Vec<(String, Tensor)>, RunError> {
    Prepared::new(graph)?.evaluate(inputs)
}

/// The outputs of `graph` for every sample of `inputs`, in parallel over the samples.
///
/// # Errors
/// [`RunError`]: the inputs do not match the graph, or a node has no value; the node is named.
pub fn evaluate_samples(
    graph: &TensorGraph,
    inputs: &BTreeMap<String, SampleBatch>,
    progress: &dyn Progress,
) -> Result<Outcome, RunError> {
    progress.phase(Phase::Evaluate { batch: 0, batches: 1 });
    let start = Instant::now();
    let mut outcome = Outcome { batches: 1, outputs: outputs(graph, inputs)?, ..Outcome::default() };
    outcome.seconds.evaluate = start.elapsed().as_secs_f64();
    Ok(outcome)
}

/// For each output of `graph` its values for all samples, one sample after the other.
pub(crate) fn outputs(
    graph: &TensorGraph,
    inputs: &BTreeMap<String, SampleBatch>,
) -> Result<BTreeMap<String, Vec<f64>>, RunError> {
    let ports = Port::inputs_of(graph);
    let samples = sample_count(&ports, inputs)?;
    let prepared = Prepared::new(graph)?;
    let sample = |index: usize| {
        let tensor = |port: &Port| {
            let elements = port.ty.elements();
            let values = inputs.get(&port.name).map_or(&[][..], |batch| &batch.values[index * elements..][..elements]);
            let tensor = Tensor::from_values(port.ty.element, &port.ty.shape, values.to_vec());
            // Sizes were checked: the only failure left is a missing input, which the evaluation names.
            Some((port.name.clone(), tensor.ok()?))
        };
        prepared.evaluate(&ports.iter().filter_map(tensor).collect())
    };
    let results: Vec<_> = (0..samples).into_par_iter().map(sample).collect::<Result<_, _>>()?;
    let mut all: BTreeMap<String, Vec<f64>> =
        Port::outputs_of(graph).into_iter().map(|port| (port.name, Vec::new())).collect();
    for (name, tensor) in results.into_iter().flatten() {
        all.entry(name).or_default().extend(tensor.values());
    }
    Ok(all)
}

/// A graph whose constant part has been computed.
struct Prepared<'g> {
    graph: &'g TensorGraph,
    /// The values that do not depend on an input.
    constants: Vec<Option<Cow<'g, Tensor>>>,
}

impl<'g> Prepared<'g> {
    fn new(graph: &'g TensorGraph) -> Result<Self, RunError> {
        let mut constants: Vec<Option<Cow<'g, Tensor>>> = Vec::with_capacity(graph.len());
        for (_, node) in graph.nodes() {
            let operands: Option<Vec<&Tensor>> =
                node.operands().iter().map(|operand| constants[operand.index()].as_deref()).collect();
            let value = match (node.op(), operands) {
                (Op::Input(_), _) | (_, None) => None,
                (Op::Constant(Constant(tensor)), _) => Some(Cow::Borrowed(&**tensor)),
                (op, Some(operands)) => Some(Cow::Owned(op.evaluate(&operands).map_err(named(node))?)),
            };
            constants.push(value);
        }
        Ok(Self { graph, constants })
    }

    fn evaluate(&self, inputs: &BTreeMap<String, Tensor>) -> Result<Vec<(String, Tensor)>, RunError> {
        let graph = self.graph;
        if let Some(name) = inputs.keys().find(|name| graph.inputs().all(|(_, known)| known != *name)) {
            let known = graph.inputs().map(|(_, name)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            return Err(RunError::UnknownInput { name: name.clone(), known });
        }
        let mut uses = graph.use_counts();
        let mut values: Vec<Option<Cow<'_, Tensor>>> = vec![None; graph.len()];
        for (value, node) in graph.nodes().filter(|(value, _)| self.constants[value.index()].is_none()) {
            let result = if let Op::Input(input) = node.op() {
                Cow::Borrowed(given(inputs, node, &input.name)?)
            } else {
                let operand = |operand: &Value| {
                    let index = operand.index();
                    self.constants[index].as_deref().or(values[index].as_deref())
                };
                let operands: Vec<&Tensor> = node.operands().iter().filter_map(operand).collect();
                Cow::Owned(node.op().evaluate(&operands).map_err(named(node))?)
            };
            for operand in node.operands() {
                uses[operand.index()] -= 1;
                if uses[operand.index()] == 0 {
                    values[operand.index()] = None;
                }
            }
            if uses[value.index()] > 0 {
                values[value.index()] = Some(result);
            }
        }
        let held = |value: Value| self.constants[value.index()].as_ref().or(values[value.index()].as_ref());
        let outputs = graph.outputs().iter();
        Ok(outputs.filter_map(|o| Some((o.name.clone(), held(o.value)?.clone().into_owned()))).collect())
    }
}

fn given<'a>(inputs: &'a BTreeMap<String, Tensor>, node: &Node<Tensors>, name: &str) -> Result<&'a Tensor, RunError> {
    let tensor = inputs.get(name).ok_or_else(|| RunError::MissingInput { name: name.to_owned() })?;
    if *node.ty() == Type::Tensor(tensor.ty()) {
        return Ok(tensor);
    }
    let cause = EngineError(format!("input \"{name}\": expected {}, found {}", node.ty(), tensor.ty()));
    Err(RunError::Node { origin: node.origin().clone(), op: node.op().name(), cause })
}

fn named<X: std::fmt::Display>(node: &Node<Tensors>) -> impl Fn(X) -> RunError {
    |cause| RunError::Node { origin: node.origin().clone(), op: node.op().name(), cause: EngineError::new(cause) }
}
