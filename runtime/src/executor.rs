//! Evaluation of a circuit: one walk over its nodes.
//!
//! A value is an array of shared ciphertexts, so that gather and concat copy none. A value that is used for the last time is
//! given away: elementwise operations free its ciphertexts one by one as they go, and at no time do two whole arrays
//! exist where one would do. What the engine answers is compared with what the circuit declares; nothing is adjusted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use hec_ir::ckks::{Circuit, Ckks, Op};
use hec_ir::graph::Dialect;
use hec_ir::{Node, Value};
use rayon::prelude::*;

use crate::blinding::Blinding;
use crate::engine::{EngineError, Evaluator, Metadata};
use crate::error::RunError;
use crate::names::no_unknown_inputs;
use crate::progress::{Layer, Progress};

/// An array of ciphertexts, shared with other values where they hold the same ones.
pub type Array<C> = Vec<Arc<C>>;

/// Named arrays of ciphertexts.
pub type Outputs<C> = Vec<(String, Array<C>)>;

/// Who computes the rounds of a circuit: the client, or the way to it.
pub trait Refresher<C> {
    /// Decrypts the operands of round `round`, computes its function, and encrypts its results: for each of them, by the name of the
    /// refresh, as many ciphertexts as it declares.
    ///
    /// # Errors
    /// [`RunError`]: the client is gone, or answers what does not fit.
    fn refresh(&self, round: usize, operands: Vec<Array<C>>) -> Result<BTreeMap<String, Vec<C>>, RunError>;
}

/// For circuits without rounds.
#[derive(Clone, Copy, Debug)]
pub struct NoRounds;

impl<C> Refresher<C> for NoRounds {
    fn refresh(&self, _round: usize, _operands: Vec<Array<C>>) -> Result<BTreeMap<String, Vec<C>>, RunError> {
        Err(RunError::NoClient)
    }
}

/// Is shown the ciphertexts of a run. It is the client's: an evaluator cannot read them.
pub trait Observer<C>: Sync {
    /// A node's result.
    ///
    /// # Errors
    /// If it cannot be looked at; the run ends.
    fn computed(&self, value: Value, array: &Array<C>) -> Result<(), EngineError>;
}

/// What a circuit with rounds needs beside an evaluator.
pub struct Aid<'a, C> {
    /// Who computes the rounds.
    pub refresher: &'a dyn Refresher<C>,
    /// Random factors for this run; none for circuits that have none.
    pub blinding: &'a Blinding,
    /// Who is shown every result, for debugging.
    pub observer: Option<&'a dyn Observer<C>>,
}

/// Evaluates `circuit` on encrypted inputs and returns its outputs, in the circuit's order.
///
/// # Errors
/// [`RunError`]: an input is missing, unknown or of the wrong length; an operation fails; a ciphertext's level, scale or
/// degree is not what the circuit declares; or the circuit has rounds, for which there is [`execute_aided`].
pub fn execute<E: Evaluator>(
    circuit: &Circuit,
    evaluator: &E,
    inputs: BTreeMap<String, Vec<E::Ciphertext>>,
    progress: &dyn Progress,
) -> Result<Outputs<E::Ciphertext>, RunError> {
    let aid = Aid { refresher: &NoRounds, blinding: &Blinding::none(), observer: None };
    execute_aided(circuit, evaluator, inputs, &aid, progress)
}

/// As [`execute`], with a client that computes rounds in the middle.
///
/// # Errors
/// As [`execute`], and those of the client.
pub fn execute_aided<E: Evaluator>(
    circuit: &Circuit,
    evaluator: &E,
    mut inputs: BTreeMap<String, Vec<E::Ciphertext>>,
    aid: &Aid<'_, E::Ciphertext>,
    progress: &dyn Progress,
) -> Result<Outputs<E::Ciphertext>, RunError> {
    check_inputs(circuit, &inputs)?;
    let mut values = Values::new(circuit);
    let mut answered: BTreeMap<(usize, String), Vec<E::Ciphertext>> = BTreeMap::new();
    let mut asked = BTreeSet::new();
    for (value, node) in circuit.nodes() {
        if progress.cancelled() {
            return Err(RunError::Cancelled);
        }
        let op = Ckks::describe(node.op()).0;
        let (total, origin, ty) = (circuit.len(), node.origin(), node.ty());
        let layer = Layer { index: value.index(), total, origin, op, ty };
        progress.started(&layer);
        let start = Instant::now();
        let wrap = |cause| RunError::Node { origin: origin.clone(), op, cause };
        let result = match node.op() {
            Op::Refresh(refresh) => {
                let round = refresh.round;
                let operands =
                    node.operands().iter().map(|operand| aid.blinding.shuffle(round, values.take(*operand))).collect();
                if asked.insert(round) {
                    let results = aid.refresher.refresh(round, operands)?;
                    let placed = |(name, array)| ((round, name), aid.blinding.unshuffle(round, array));
                    answered.extend(results.into_iter().map(placed));
                }
                let missing =
                    || EngineError(format!("the client sent no \"{}\" in round {}", refresh.name, refresh.round));
                let array =
                    answered.remove(&(refresh.round, refresh.name.clone())).ok_or_else(missing).map_err(wrap)?;
                array.into_iter().map(Arc::new).collect()
            }
            Op::Blind(at) => {
                let factors = aid.blinding.factors(&at.blind, evaluator.slots()).map_err(wrap)?;
                let x = values.take(node.operands()[0]);
                let blinded: Result<Array<E::Ciphertext>, EngineError> = x
                    .into_par_iter()
                    .zip(0..factors.len())
                    .map(|(x, index)| {
                        evaluator.multiply_plain(&x, &factors.vector(index), &at.weight_scale).map(Arc::new)
                    })
                    .collect();
                blinded.map_err(wrap)?
            }
            Op::Input(_)
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
            | Op::Transform(_)
            | Op::Fold(_) => evaluate(evaluator, node, &mut values, &mut inputs).map_err(wrap)?,
        };
        check_declared(evaluator, &layer, &result)?;
        if let Some(observer) = aid.observer {
            observer.computed(value, &result).map_err(wrap)?;
        }
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
        Op::Refresh(_) | Op::Blind(_) => Err(EngineError("a round is not the evaluator's".to_owned())),
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
