//! Samples in, samples out: keys, packing, encryption, evaluation and decryption of as many batches as it takes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hec_ir::ckks::{self, Op};
use hec_ir::program::{Exchange, Port};
use hec_ir::tensor::TensorGraph;
use hec_ir::{Origin, Program};
use rayon::prelude::*;

use crate::blinding::Blinding;
use crate::engine::{Client, Engine, EngineError, Evaluator, WeightCache};
use crate::error::RunError;
use crate::executor::{Aid, Array, Refresher, execute_aided, no_unknown_inputs};
use crate::memory;
use crate::progress::{Phase, Progress};
use crate::reference;

/// The values of one input for any number of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleBatch {
    /// Row-major, samples outermost.
    pub values: Vec<f64>,
    /// Number of samples.
    pub samples: usize,
}

/// How a program is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSettings {
    /// A folder where encoded weights are kept from run to run.
    pub weight_cache: Option<PathBuf>,
}

/// What came out of a run, and what it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// For each output its values, row-major, samples outermost, in the order of the inputs' samples.
    pub outputs: BTreeMap<String, Vec<f64>>,
    /// For each range witness of the program, the samples that left the range. Without witnesses nothing is known.
    pub escapes: Vec<Escapes>,
    /// Wall-clock time.
    pub seconds: Phases,
    /// Sizes of what a client and a server would exchange.
    pub bytes: Traffic,
    /// How many times the circuit was evaluated.
    pub batches: usize,
}

/// Samples whose values left the range on which a polynomial was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Escapes {
    /// The model's node whose operand was watched.
    pub origin: Origin,
    /// The samples, ascending.
    pub samples: Vec<usize>,
}

/// Seconds spent in each phase, summed over the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// Generation of all keys.
    pub keygen: f64,
    /// Packing, encoding and encryption.
    pub encrypt: f64,
    /// Evaluation of the circuit, and of what is computed before it in the clear.
    pub evaluate: f64,
    /// What the client computes in the middle of the run, with decryption and encryption.
    pub rounds: f64,
    /// Decryption, decoding and unpacking, and what is left to the client to compute.
    pub decrypt: f64,
}

/// Bytes, summed over the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Evaluation keys, sent once.
    pub keys: u64,
    /// Encrypted inputs. Those in the clear are not counted.
    pub input: u64,
    /// Encrypted outputs.
    pub output: u64,
    /// What the server sends to the client in the middle of the run.
    pub rounds_down: u64,
    /// What the client sends back.
    pub rounds_up: u64,
}

/// Runs `program` on all samples of `inputs`: keys are generated once, then the samples go through in batches as large as
/// the layouts' capacity. If the program has a client graph, that is computed from what was decrypted, sample by sample. Public
/// inputs are not encrypted: the public graph is computed from them, and its results are encoded by the evaluator.
///
/// # Errors
/// [`RunError`]: the inputs do not match the program, or the engine fails.
pub fn run_batches<E: Engine>(
    engine: &E,
    program: &Program,
    inputs: &BTreeMap<String, SampleBatch>,
    progress: &dyn Progress,
) -> Result<Outcome, RunError> {
    run_batches_with(engine, program, inputs, &RunSettings::default(), progress)
}

/// [`run_batches`], as `settings` say.
///
/// # Errors
/// As [`run_batches`].
pub fn run_batches_with<E: Engine>(
    engine: &E,
    program: &Program,
    inputs: &BTreeMap<String, SampleBatch>,
    settings: &RunSettings,
    progress: &dyn Progress,
) -> Result<Outcome, RunError> {
    let samples = sample_count(&program.inputs(), inputs)?;
    let circuit = program.circuit();
    let (capacity, layouts) = (program.capacity(), program.output_layouts());
    let batches = samples.div_ceil(capacity.max(1));
    let mut outcome = Outcome { batches, ..Outcome::default() };
    let decrypted = program.decrypted();
    let guards = program.guards();
    let mut witnesses: Vec<Vec<f64>> = vec![Vec::new(); guards.len()];
    outcome.outputs = decrypted.iter().map(|port| (port.name.clone(), Vec::new())).collect();

    let needed = engine.memory(circuit);
    if let Some(available) = memory::available_bytes().filter(|&available| needed > available) {
        return Err(RunError::Memory { needed, available });
    }

    progress.phase(Phase::Keys);
    let cache = settings.weight_cache.as_ref().map(|directory| WeightCache {
        directory: directory.clone(),
        program: *blake3::hash(&program.to_bytes()).as_bytes(),
    });
    let mut say = |line: &str| progress.note(line);
    let keys = timed(&mut outcome.seconds.keygen, || engine.generate_cached(circuit, cache.as_ref(), &mut say));
    let (client, evaluator) = keys.map_err(RunError::Keys)?;
    outcome.bytes.keys = evaluator.key_bytes();

    let public = match program.public() {
        Some(graph) => timed(&mut outcome.seconds.evaluate, || in_the_clear(graph, inputs, samples))?,
        None => BTreeMap::new(),
    };

    for batch in 0..batches {
        let range = batch * capacity..samples.min((batch + 1) * capacity);

        progress.phase(Phase::Encrypt { batch, batches });
        let mut encrypted: BTreeMap<String, Vec<E::Ciphertext>> = timed(&mut outcome.seconds.encrypt, || {
            input_nodes(program)
                .filter(|input| !input.public)
                .map(|input| Ok((input.name.clone(), encrypt(&client, input, pack(program, input, inputs, &range)?)?)))
                .collect::<Result<_, RunError>>()
        })?;
        let sizes = encrypted.values().flatten().map(|ciphertext| client.ciphertext_bytes(ciphertext));
        outcome.bytes.input += sizes.sum::<u64>();

        progress.phase(Phase::Evaluate { batch, batches });
        let rounds = Rounds::new(&client, program);
        let results = timed(&mut outcome.seconds.evaluate, || {
            for input in input_nodes(program).filter(|input| input.public) {
                let encoded = encode(&evaluator, input, pack(program, input, &public, &range)?)?;
                encrypted.insert(input.name.clone(), encoded);
            }
            let blinding = Blinding::fresh(program).map_err(RunError::Keys)?;
            let aid = Aid { refresher: &rounds, blinding: &blinding };
            execute_aided(circuit, &evaluator, encrypted, &aid, progress)
        })?;
        let (seconds, traffic) = rounds.so_far();
        (outcome.seconds.rounds, outcome.seconds.evaluate) =
            (outcome.seconds.rounds + seconds, outcome.seconds.evaluate - seconds);
        outcome.bytes.rounds_down += traffic.0;
        outcome.bytes.rounds_up += traffic.1;

        progress.phase(Phase::Decrypt { batch, batches });
        let sizes = results.iter().flat_map(|(_, array)| array).map(|ciphertext| client.ciphertext_bytes(ciphertext));
        outcome.bytes.output += sizes.sum::<u64>();
        let mut results = results;
        let (outputs, guarded) = layouts.split_at(decrypted.len());
        let witnessed = results.split_off(decrypted.len()).into_iter().zip(guarded).zip(&mut witnesses);
        for (((name, array), layout), witnesses) in witnessed {
            let values = timed(&mut outcome.seconds.decrypt, || decrypt(&client, array))
                .map_err(|cause| RunError::Decrypt { name, cause })?;
            witnesses.extend(layout.unpack(&values, range.len()));
        }
        for ((name, array), layout) in results.into_iter().zip(outputs) {
            let values = timed(&mut outcome.seconds.decrypt, || decrypt(&client, array))
                .map_err(|cause| RunError::Decrypt { name: name.clone(), cause })?;
            outcome.outputs.entry(name).or_default().extend(layout.unpack(&values, range.len()));
        }
    }
    let escapes = guards.iter().zip(&witnesses).map(|(guard, witnesses)| {
        // What is no number escaped as well.
        let inside = |witness: f64| witness <= guard.limit;
        let outside = witnesses.iter().enumerate().filter(|(_, witness)| !inside(**witness));
        Escapes { origin: guard.origin.clone(), samples: outside.map(|(sample, _)| sample).collect() }
    });
    outcome.escapes = escapes.collect();
    if let Some(graph) = program.client() {
        let values = std::mem::take(&mut outcome.outputs);
        outcome.outputs = timed(&mut outcome.seconds.decrypt, || finish(graph, values, &decrypted, samples))?;
    }
    Ok(outcome)
}

/// The client's side of the rounds of one batch.
pub struct Rounds<'a, C> {
    client: &'a C,
    exchanges: Vec<Exchange>,
    capacity: usize,
    slots: usize,
    spent: Mutex<(f64, (u64, u64))>,
}

impl<'a, C: Client<Ciphertext: Send + Sync>> Rounds<'a, C> {
    /// For the rounds of `program`.
    pub fn new(client: &'a C, program: &Program) -> Self {
        let (capacity, slots) = (program.capacity(), program.parameters().slots());
        Self { client, exchanges: program.exchanges(), capacity, slots, spent: Mutex::default() }
    }

    /// Seconds so far, and bytes down and up.
    fn so_far(&self) -> (f64, (u64, u64)) {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(
        &self,
        exchange: &Exchange,
        round: usize,
        operands: Vec<Array<C::Ciphertext>>,
    ) -> Result<BTreeMap<String, Vec<C::Ciphertext>>, RunError> {
        let wrong = |cause: String| RunError::Round { round, cause };
        let mut inputs = BTreeMap::new();
        for ((port, layout), array) in exchange.operands.iter().zip(operands) {
            let decrypted = decrypt(self.client, array).map_err(|cause| wrong(cause.to_string()))?;
            // All that there is room for: what fills up a batch is computed as well, since its factors are its own.
            let values = layout.unpack(&decrypted, self.capacity);
            inputs.insert(port.name.clone(), SampleBatch { values, samples: self.capacity });
        }
        let mut outputs = reference::outputs(&exchange.function, &inputs)?;
        let mut results = BTreeMap::new();
        for reply in &exchange.results {
            let values = outputs.remove(&reply.port.name).unwrap_or_default();
            let vectors = reply.layout.pack(&values, self.capacity, self.slots);
            let vectors = vectors.map_err(|cause| wrong(cause.to_string()))?;
            let encrypted: Result<Vec<_>, _> =
                vectors.into_par_iter().map(|v| self.client.encrypt(&v, reply.level, &reply.scale)).collect();
            results.insert(reply.port.name.clone(), encrypted.map_err(|cause| wrong(cause.to_string()))?);
        }
        Ok(results)
    }
}

impl<C: Client<Ciphertext: Send + Sync>> Refresher<C::Ciphertext> for Rounds<'_, C> {
    fn refresh(
        &self,
        round: usize,
        operands: Vec<Array<C::Ciphertext>>,
    ) -> Result<BTreeMap<String, Vec<C::Ciphertext>>, RunError> {
        let start = Instant::now();
        let missing = || RunError::Round { round, cause: "the program has no such round".to_owned() };
        let exchange = self.exchanges.get(round).ok_or_else(missing)?;
        let bytes = |ciphertext: &C::Ciphertext| self.client.ciphertext_bytes(ciphertext);
        let down: u64 = operands.iter().flatten().map(|ciphertext| bytes(ciphertext)).sum();
        let results = self.answer(exchange, round, operands)?;
        let up: u64 = results.values().flatten().map(bytes).sum();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.0 += start.elapsed().as_secs_f64();
        spent.1 = (spent.1.0 + down, spent.1.1 + up);
        Ok(results)
    }
}

/// What the client makes of the values it has decrypted.
fn finish(
    graph: &TensorGraph,
    mut values: BTreeMap<String, Vec<f64>>,
    decrypted: &[Port],
    samples: usize,
) -> Result<BTreeMap<String, Vec<f64>>, RunError> {
    let batch = |port: &Port| {
        let mut values = values.remove(&port.name).unwrap_or_default();
        if !port.ty.element.is_float() {
            // The encryption's errors have no place in whole numbers.
            values.iter_mut().for_each(|value| *value = value.round());
        }
        (port.name.clone(), SampleBatch { values, samples })
    };
    let inputs = decrypted.iter().map(batch).collect();
    reference::outputs(graph, &inputs)
}

/// How many samples `inputs` holds for `ports`.
///
/// # Errors
/// If an input is missing or unknown, its values are not that many samples of its shape, or inputs differ in their number
/// of samples.
pub fn sample_count(ports: &[Port], inputs: &BTreeMap<String, SampleBatch>) -> Result<usize, RunError> {
    let mut first: Option<(&str, usize)> = None;
    for port in ports {
        let name = || port.name.clone();
        let Some(SampleBatch { values, samples }) = inputs.get(&port.name) else {
            return Err(RunError::MissingInput { name: name() });
        };
        let (samples, found, elements) = (*samples, values.len(), port.ty.elements());
        if elements.checked_mul(samples) != Some(found) {
            let shape = port.ty.shape.clone();
            return Err(RunError::SampleSize { name: name(), samples, elements, shape, found });
        }
        let (first, expected) = *first.get_or_insert((&port.name, samples));
        if samples != expected {
            let first = first.to_owned();
            return Err(RunError::SampleCount { name: name(), found: samples, first, expected });
        }
    }
    no_unknown_inputs(ports.iter().map(|port| port.name.as_str()), inputs.keys())?;
    Ok(first.map_or(0, |(_, samples)| samples))
}

fn input_nodes(program: &Program) -> impl Iterator<Item = &ckks::Input> {
    program.circuit().nodes().filter_map(|(_, node)| if let Op::Input(input) = node.op() { Some(input) } else { None })
}

/// What the public inputs come to before they meet an encrypted value.
fn in_the_clear(
    graph: &TensorGraph,
    inputs: &BTreeMap<String, SampleBatch>,
    samples: usize,
) -> Result<BTreeMap<String, SampleBatch>, RunError> {
    let own = |(_, name): (_, &str)| Some((name.to_owned(), inputs.get(name)?.clone()));
    let outputs = reference::outputs(graph, &graph.inputs().filter_map(own).collect())?;
    Ok(outputs.into_iter().map(|(name, values)| (name, SampleBatch { values, samples })).collect())
}

/// The samples `range` of one input, normalised and packed.
fn pack(
    program: &Program,
    input: &ckks::Input,
    inputs: &BTreeMap<String, SampleBatch>,
    range: &std::ops::Range<usize>,
) -> Result<Vec<Vec<f64>>, RunError> {
    let ckks::Input { name, layout, .. } = input;
    let (name, slots) = (|| name.clone(), program.parameters().slots());
    let batch = inputs.get(&input.name).ok_or_else(|| RunError::MissingInput { name: name() })?;
    let elements = layout.elements();
    let values = &batch.values[range.start * elements..range.end * elements];
    // Slots that are left over hold the same samples again: zeros may lie where a polynomial that stands in for a function
    // leaves every bound, and one slot that overflows spoils all.
    let samples = layout.capacity(slots).max(range.len());
    let mut values: Vec<f64> = values.iter().copied().cycle().take(samples * elements).collect();
    if let Some(normalisation) = program.normalisation().get(&input.name) {
        normalisation.apply(&mut values);
    }
    layout.pack(&values, samples, slots).map_err(|cause| RunError::Layout { name: name(), cause })
}

fn encrypt<C: Client<Ciphertext: Send>>(
    client: &C,
    input: &ckks::Input,
    vectors: Vec<Vec<f64>>,
) -> Result<Vec<C::Ciphertext>, RunError> {
    let ckks::Input { name, level, scale, .. } = input;
    let encrypted: Result<_, _> =
        vectors.into_par_iter().map(|vector| client.encrypt(&vector, *level, scale)).collect();
    encrypted.map_err(|cause| RunError::Encrypt { name: name.clone(), cause })
}

fn encode<E: Evaluator>(
    evaluator: &E,
    input: &ckks::Input,
    vectors: Vec<Vec<f64>>,
) -> Result<Vec<E::Ciphertext>, RunError> {
    let ckks::Input { name, level, scale, .. } = input;
    let encoded: Result<_, _> =
        vectors.into_par_iter().map(|vector| evaluator.encode(&vector, *level, scale)).collect();
    encoded.map_err(|cause| RunError::Encode { name: name.clone(), cause })
}

fn decrypt<C: Client<Ciphertext: Send + Sync>>(
    client: &C,
    array: Array<C::Ciphertext>,
) -> Result<Vec<Vec<f64>>, EngineError> {
    array.into_par_iter().map(|ciphertext| client.decrypt(&ciphertext)).collect()
}

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *seconds += start.elapsed().as_secs_f64();
    result
}
