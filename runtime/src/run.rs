//! Both sides of a run in one process, and the server's side of one batch.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hec_ir::Program;
use hec_ir::ckks::precision::Certificate;
use hec_ir::ckks::{self, Op};
use hec_ir::program::Contract;
use hec_ir::tensor::TensorGraph;
use rayon::prelude::*;

use crate::batch::{Outcome, RunSettings, SampleBatch, sample_count};
use crate::blinding::Blinding;
use crate::check::{Checked, Checker, merged};
use crate::checkpoint::Checkpoint;
use crate::client::{Collector, answer, encrypt, pack, pack_input};
use crate::engine::{Client, Engine, Evaluator, WeightCache};
use crate::error::RunError;
use crate::executor::{Aid, Array, Observer, Outputs, Refresher, execute_aided};
use crate::memory;
use crate::progress::{Phase, Progress};
use crate::reference;
use crate::sharing::Flooded;

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
    settings: &RunSettings<'_>,
    progress: &dyn Progress,
) -> Result<Outcome, RunError> {
    observed(engine, program, inputs, settings, None, progress).map(|(outcome, _)| outcome)
}

/// [`run_batches_with`], where the client decrypts values in the middle of the run and compares them with what the program's
/// certificate promises: a debugging mode.
///
/// # Errors
/// As [`run_batches_with`], and if the program has no certificate. That a promise is broken is no error.
pub fn check_batches<E: Engine>(
    engine: &E,
    program: &Program,
    inputs: &BTreeMap<String, SampleBatch>,
    settings: &RunSettings,
    progress: &dyn Progress,
) -> Result<(Outcome, Vec<Checked>), RunError> {
    let certificate = program.certificate().ok_or(RunError::NoCertificate)?;
    observed(engine, program, inputs, settings, Some(&certificate), progress)
}

fn observed<E: Engine>(
    engine: &E,
    program: &Program,
    inputs: &BTreeMap<String, SampleBatch>,
    settings: &RunSettings,
    certificate: Option<&Certificate>,
    progress: &dyn Progress,
) -> Result<(Outcome, Vec<Checked>), RunError> {
    let samples = sample_count(&program.inputs(), inputs)?;
    let contract = program.contract();
    let circuit = program.circuit();
    let capacity = contract.capacity();
    let batches = samples.div_ceil(capacity.max(1));
    let mut outcome = Outcome { batches, ..Outcome::default() };

    let flooded = settings.share.map(|bits| Flooded::new(&contract, bits, samples)).transpose()?;
    let needed = engine.memory(circuit);
    if let Some(available) = memory::available_bytes().filter(|&available| needed > available) {
        return Err(RunError::Memory { needed, available });
    }

    let mut collector = Collector::with_noise(&contract, flooded);
    outcome.resumed = restore(&mut collector, settings.checkpoint, samples, capacity)?;
    outcome.batches -= outcome.resumed;
    if outcome.batches == 0 && outcome.resumed > 0 {
        return Ok((answered(collector, outcome)?, Vec::new()));
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

    let public = timed(&mut outcome.seconds.evaluate, || in_the_clear(program.public(), inputs, samples))?;
    let mut checked: Vec<Checked> = Vec::new();
    for batch in outcome.resumed..batches {
        let range = batch * capacity..samples.min((batch + 1) * capacity);
        let checker =
            certificate.map(|own| Checker::new(&client, program, own, inputs, &range, samples)).transpose()?;

        progress.phase(Phase::Encrypt { batch, batches });
        let encrypted: BTreeMap<String, Vec<E::Ciphertext>> = timed(&mut outcome.seconds.encrypt, || {
            let array = |input| encrypt(&client, input, &pack(&contract, input, inputs, &range)?);
            let own = contract.private_inputs().iter();
            own.map(|input| Ok((input.input.name.clone(), array(input)?))).collect::<Result<_, RunError>>()
        })?;
        let sizes = encrypted.values().flatten().map(|ciphertext| client.ciphertext_bytes(ciphertext));
        outcome.bytes.input += sizes.sum::<u64>();

        progress.phase(Phase::Evaluate { batch, batches });
        let rounds = Rounds { client: &client, contract: &contract, spent: Mutex::default() };
        let results = timed(&mut outcome.seconds.evaluate, || {
            let encrypted = with_public(program, &evaluator, encrypted, &public, &range)?;
            let observer = checker.as_ref().map(|own| own as &dyn Observer<E::Ciphertext>);
            aided(program, &evaluator, encrypted, &rounds, observer, progress)
        })?;
        checked = merged(checked, checker.map_or_else(Vec::new, Checker::finish));
        let Spent { seconds, down, up } = rounds.spent();
        outcome.seconds.rounds += seconds;
        outcome.seconds.evaluate -= seconds;
        outcome.bytes.rounds_down += down;
        outcome.bytes.rounds_up += up;

        progress.phase(Phase::Decrypt { batch, batches });
        let sizes = results.iter().flat_map(|(_, array)| array).map(|ciphertext| client.ciphertext_bytes(ciphertext));
        outcome.bytes.output += sizes.sum::<u64>();
        let results = results.into_iter().map(|(_, array)| array).collect();
        timed(&mut outcome.seconds.decrypt, || collector.push(&client, results, range.len()))?;
        if let Some(checkpoint) = settings.checkpoint {
            checkpoint.keep(&collector.record(range.len())).map_err(unusable)?;
        }
    }
    Ok((answered(collector, outcome)?, checked))
}

/// The outcome with what the client makes of all that was decrypted.
fn answered(collector: Collector<'_>, mut outcome: Outcome) -> Result<Outcome, RunError> {
    let answers = timed(&mut outcome.seconds.decrypt, || collector.finish())?;
    (outcome.outputs, outcome.escapes, outcome.shared) = (answers.outputs, answers.escapes, answers.shared);
    Ok(outcome)
}

/// Takes over what an earlier run has kept, and returns its number of batches.
fn restore(
    collector: &mut Collector<'_>,
    checkpoint: Option<&dyn Checkpoint>,
    samples: usize,
    capacity: usize,
) -> Result<usize, RunError> {
    let Some(checkpoint) = checkpoint else { return Ok(0) };
    let (kept, batches) = (checkpoint.batches(), samples.div_ceil(capacity.max(1)));
    if kept > batches {
        return Err(RunError::Checkpoint { cause: format!("{kept} are kept of {batches}") });
    }
    for batch in 0..kept {
        let record = checkpoint.kept(batch).map_err(unusable)?;
        collector.restore(&record, (samples - batch * capacity).min(capacity))?;
    }
    Ok(kept)
}

fn unusable(error: std::io::Error) -> RunError {
    RunError::Checkpoint { cause: error.to_string() }
}

/// The client's side of the rounds of one batch, in the same process.
struct Rounds<'a, C> {
    client: &'a C,
    contract: &'a Contract,
    spent: Mutex<Spent>,
}

/// What the rounds cost so far.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    seconds: f64,
    down: u64,
    up: u64,
}

impl<C> Rounds<'_, C> {
    fn spent(&self) -> Spent {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Client<Ciphertext: Send + Sync>> Refresher<C::Ciphertext> for Rounds<'_, C> {
    fn refresh(
        &self,
        round: usize,
        operands: Vec<Array<C::Ciphertext>>,
    ) -> Result<BTreeMap<String, Vec<C::Ciphertext>>, RunError> {
        let start = Instant::now();
        let bytes = |ciphertext: &C::Ciphertext| self.client.ciphertext_bytes(ciphertext);
        let down: u64 = operands.iter().flatten().map(|ciphertext| bytes(ciphertext)).sum();
        let results = answer(self.client, self.contract, round, operands)?;
        let up: u64 = results.iter().flatten().map(bytes).sum();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.seconds += start.elapsed().as_secs_f64();
        spent.down += down;
        spent.up += up;
        Ok(named(self.contract, round, results))
    }
}

/// The results of a round by name, as the executor takes them.
pub fn named<C>(contract: &Contract, round: usize, results: Vec<Vec<C>>) -> BTreeMap<String, Vec<C>> {
    let replies = contract.exchanges().get(round).map_or(&[][..], |exchange| &exchange.results);
    replies.iter().map(|reply| reply.port.name.clone()).zip(results).collect()
}

/// Evaluates the circuit, with fresh factors for what the client is shown in the middle.
fn aided<E: Evaluator>(
    program: &Program,
    evaluator: &E,
    encrypted: BTreeMap<String, Vec<E::Ciphertext>>,
    refresher: &dyn Refresher<E::Ciphertext>,
    observer: Option<&dyn Observer<E::Ciphertext>>,
    progress: &dyn Progress,
) -> Result<Outputs<E::Ciphertext>, RunError> {
    let blinding = Blinding::fresh(program).map_err(RunError::Keys)?;
    let aid = Aid { refresher, blinding: &blinding, observer };
    execute_aided(program.circuit(), evaluator, encrypted, &aid, progress)
}

/// The server's side of one batch: `encrypted` holds the private inputs, `public` the samples of the public ones, as many as
/// `samples`. The outputs are in the circuit's order. `refresher` is the way to
/// the client, for programs that need it in the middle.
///
/// # Errors
/// [`RunError`]: the inputs do not match the program, or the engine fails.
pub fn evaluate_batch<E: Evaluator>(
    program: &Program,
    evaluator: &E,
    encrypted: BTreeMap<String, Vec<E::Ciphertext>>,
    public: &BTreeMap<String, SampleBatch>,
    samples: usize,
    refresher: &dyn Refresher<E::Ciphertext>,
    progress: &dyn Progress,
) -> Result<Outputs<E::Ciphertext>, RunError> {
    sample_count(&program.public_inputs(), public)?;
    let public = in_the_clear(program.public(), public, samples)?;
    let encrypted = with_public(program, evaluator, encrypted, &public, &(0..samples))?;
    aided(program, evaluator, encrypted, refresher, None, progress)
}

/// What the public inputs come to before they meet an encrypted value.
pub(crate) fn in_the_clear(
    graph: Option<&TensorGraph>,
    inputs: &BTreeMap<String, SampleBatch>,
    samples: usize,
) -> Result<BTreeMap<String, SampleBatch>, RunError> {
    let Some(graph) = graph else { return Ok(BTreeMap::new()) };
    let own = |(_, name): (_, &str)| Some((name.to_owned(), inputs.get(name)?.clone()));
    let outputs = reference::outputs(graph, &graph.inputs().filter_map(own).collect())?;
    Ok(outputs.into_iter().map(|(name, values)| (name, SampleBatch { values, samples })).collect())
}

/// All inputs of the circuit: those that are encrypted, and the samples `range` of `public`, encoded.
fn with_public<E: Evaluator>(
    program: &Program,
    evaluator: &E,
    mut encrypted: BTreeMap<String, Vec<E::Ciphertext>>,
    public: &BTreeMap<String, SampleBatch>,
    range: &Range<usize>,
) -> Result<BTreeMap<String, Vec<E::Ciphertext>>, RunError> {
    let slots = program.parameters().slots();
    for (_, node) in program.circuit().nodes() {
        let Op::Input(input) = node.op() else { continue };
        if input.public {
            let normalisation = program.normalisation().get(&input.name);
            let vectors = pack_input(&input.name, &input.layout, normalisation, slots, public, range)?;
            encrypted.insert(input.name.clone(), encode(evaluator, input, vectors)?);
        }
    }
    Ok(encrypted)
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

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *seconds += start.elapsed().as_secs_f64();
    result
}
