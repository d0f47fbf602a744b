//! Evaluation of a circuit: one walk over its nodes.
//!
//! A value is an array of shared ciphertexts, so that gather and concat copy none. A value that is used for the last time is
//! given away: elementwise operations free its ciphertexts one by one as they go, and at no time do two whole arrays
//! exist where one would do. What the engine answers is compared with what the circuit declares; nothing is adjusted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hec_ir::ckks::{Circuit, Ckks, Op};
use hec_ir::graph::Dialect;
use hec_ir::{Node, Value};
use rayon::prelude::*;

use crate::engine::{EngineError, Evaluator, Metadata};
use crate::error::RunError;
use crate::names::no_unknown_inputs;
use crate::progress::{Layer, Progress};

/// An array of ciphertexts, shared with other values where they hold the same ones.
pub type Array<C> = Vec<Arc<C>>;

/// Named arrays of ciphertexts.
pub type Outputs<C> = Vec<(String, Array<C>)>;

/// Evaluates `circuit` on encrypted inputs and returns its outputs, in the circuit's order.
///
/// # Errors
/// [`RunError`]: an input is missing, unknown or of the wrong length; an operation fails; or a ciphertext's level, scale or
/// degree is not what the circuit declares.
pub fn execute<E: Evaluator>(
    circuit: &Circuit,
    evaluator: &E,
    mut inputs: BTreeMap<String, Vec<E::Ciphertext>>,
    progress: &dyn Progress,
) -> Result<Outputs<E::Ciphertext>, RunError> {
    check_inputs(circuit, &inputs)?;
    let mut values = Values::new(circuit);
    for (value, node) in circuit.nodes() {
        if progress.cancelled() {
            return Err(RunError::Cancelled);
        }
        let op = Ckks::describe(node.op()).0;
        let (total, origin, ty) = (circuit.len(), node.origin(), node.ty());
        let layer = Layer { index: value.index(), total, origin, op, ty };
        progress.started(&layer);
        let start = Instant::now();
        let result = evaluate(evaluator, node, &mut values, &mut inputs).map_err(|cause| RunError::Node {
            origin: origin.clone(),
            op,
            cause,
        })?;
        check_declared(evaluator, &layer, &result)?;
        values.put(value, result);
        progress.finished(&layer, start.elapsed());
    }
    Ok(circuit.outputs().iter().map(|output| (output.name.clone(), values.take(output.value))).collect())
}

fn evaluate<E: Evaluator>(
    evaluator: &E,
    node: &Node<Ckks>,
    values: &mut Values<E::Ciphertext>,
    inputs: &mut BTreeMap<String, Vec<E::Ciphertext>>,
) -> Result<Array<E::Ciphertext>, EngineError> {
    let mut operand = |index: usize| values.take(node.operands()[index]);
    match node.op() {
        Op::Input(input) => {
            let given = inputs.remove(&input.name);
            let given = given.ok_or_else(|| EngineError(format!("input \"{}\" occurs twice", input.name)))?;
            Ok(given.into_iter().map(Arc::new).collect())
        }
        Op::Combine(combine) => {
            let results = match into_owned(operand(0)) {
                Ok(owned) => evaluator.combine_owned(owned, combine),
                Err(shared) => evaluator.combine(&shared.iter().map(|x| &**x).collect::<Vec<_>>(), combine),
            };
            Ok(results?.into_iter().map(Arc::new).collect())
        }
        Op::Multiply => each_pair(operand(0), operand(1), |a, b| evaluator.multiply(a, b)),
        Op::Square => each(operand(0), |x| evaluator.square(x)),
        Op::Add => each_pair(operand(0), operand(1), |a, b| evaluator.add(a, b)),
        Op::Subtract => each_pair(operand(0), operand(1), |a, b| evaluator.subtract(a, b)),
        Op::Concat => Ok((0..node.operands().len()).flat_map(operand).collect()),
        Op::Gather(gather) => {
            let x = operand(0);
            Ok(gather.indices.iter().map(|&index| x[index as usize].clone()).collect())
        }
        Op::Relinearize => each(operand(0), |x| evaluator.relinearize(x)),
        Op::Rescale => each_owned(operand(0), |x| evaluator.rescale_owned(x), |x| evaluator.rescale(x)),
        Op::Transform(transform) => {
            let x = operand(0);
            let results = evaluator.transform(&x.iter().map(|x| &**x).collect::<Vec<_>>(), transform);
            Ok(results?.into_iter().map(Arc::new).collect())
        }
        Op::Fold(fold) => each(operand(0), |x| evaluator.fold(x, &fold.steps)),
        Op::DropLevel(drop) => each_owned(
            operand(0),
            |x| evaluator.drop_level_owned(x, drop.levels),
            |x| evaluator.drop_level(x, drop.levels),
        ),
    }
}

/// Consumes the array element by element: one that nobody else holds is freed as soon as its result is there.
fn each<C: Send + Sync>(x: Array<C>, f: impl Fn(&C) -> Result<C, EngineError> + Sync) -> Result<Array<C>, EngineError> {
    x.into_par_iter().map(|x| f(&x).map(Arc::new)).collect()
}

/// As [`each`], where ciphertexts that nobody else holds are given away.
fn each_owned<C: Send + Sync>(
    x: Array<C>,
    owned: impl Fn(C) -> Result<C, EngineError> + Sync,
    shared: impl Fn(&C) -> Result<C, EngineError> + Sync,
) -> Result<Array<C>, EngineError> {
    let each = |x| Arc::try_unwrap(x).map_or_else(|x| shared(&x), &owned);
    x.into_par_iter().map(|x| each(x).map(Arc::new)).collect()
}

/// The ciphertexts themselves, if nobody else holds any of them.
fn into_owned<C>(mut x: Array<C>) -> Result<Vec<C>, Array<C>> {
    if x.iter_mut().any(|x| Arc::get_mut(x).is_none()) {
        return Err(x);
    }
    Ok(x.into_iter().filter_map(Arc::into_inner).collect())
}

fn each_pair<C: Send + Sync>(
    a: Array<C>,
    b: Array<C>,
    f: impl Fn(&C, &C) -> Result<C, EngineError> + Sync,
) -> Result<Array<C>, EngineError> {
    a.into_par_iter().zip(b).map(|(a, b)| f(&a, &b).map(Arc::new)).collect()
}

/// The values that are still to be used, and how often.
struct Values<C> {
    arrays: Vec<Array<C>>,
    uses: Vec<u32>,
}

impl<C> Values<C> {
    fn new(circuit: &Circuit) -> Self {
        let mut arrays = Vec::new();
        arrays.resize_with(circuit.len(), Vec::new);
        Self { arrays, uses: circuit.use_counts() }
    }

    fn put(&mut self, value: Value, array: Array<C>) {
        if self.uses[value.index()] > 0 {
            self.arrays[value.index()] = array;
        }
    }

    /// One use of `value`; the last one moves it out.
    fn take(&mut self, value: Value) -> Array<C> {
        let uses = &mut self.uses[value.index()];
        *uses -= 1;
        let array = &mut self.arrays[value.index()];
        if *uses == 0 { std::mem::take(array) } else { array.clone() }
    }
}

fn check_inputs<C>(circuit: &Circuit, given: &BTreeMap<String, Vec<C>>) -> Result<(), RunError> {
    let known: BTreeMap<&str, usize> = circuit.inputs().map(|(value, name)| (name, circuit.ty(value).length)).collect();
    for (&name, &expected) in &known {
        let name = name.to_owned();
        match given.get(&name).map(Vec::len) {
            Some(found) if found == expected => {}
            Some(found) => return Err(RunError::InputLength { name, expected, found }),
            None => return Err(RunError::MissingInput { name }),
        }
    }
    no_unknown_inputs(known.keys().copied(), given.keys())
}

fn check_declared<E: Evaluator>(
    evaluator: &E,
    layer: &Layer<'_>,
    result: &[Arc<E::Ciphertext>],
) -> Result<(), RunError> {
    let (origin, op, declared) = (layer.origin, layer.op, Metadata::from(layer.ty));
    if result.len() != layer.ty.length {
        let cause = EngineError(format!("expected {} ciphertexts, found {}", layer.ty.length, result.len()));
        return Err(RunError::Node { origin: origin.clone(), op, cause });
    }
    for (index, ciphertext) in result.iter().enumerate() {
        let found = evaluator.metadata(ciphertext);
        if found != declared {
            let (origin, declared, found) = (origin.clone(), Box::new(declared), Box::new(found));
            return Err(RunError::Declared { origin, op, index, declared, found });
        }
    }
    Ok(())
}
