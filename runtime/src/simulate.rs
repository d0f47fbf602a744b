//! A program on clear numbers, sample by sample, with the errors that CKKS would add, or without any.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hec_ir::Program;
use hec_ir::Scale;
use hec_ir::ckks::clear::{self, Surroundings};
use hec_ir::ckks::errors::{Added, Errors};
use hec_ir::ckks::{Input, Refresh};
use hec_ir::graph::{TypeError, Value};
use hec_ir::program::{EncryptedOutput, Exchange, Groups, Round};
use hec_ir::slots::Blind;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::batch::{Outcome, SampleBatch, sample_count};
use crate::client::Collector;
use crate::engine::{Client, EngineError};
use crate::error::RunError;
use crate::progress::{Phase, Progress};
use crate::reference;
use crate::run::in_the_clear;

/// Runs `program` on all samples of `inputs` in the clear, with errors drawn as the certificate's model says, from a generator seeded with
/// `seed`: each sample as if it were encrypted under a key of its own. Rounds with the client are computed with errors as well. That a
/// value leaves the modulus is not simulated.
///
/// # Errors
/// [`RunError`]: the inputs do not match the program, or the client's functions cannot be computed.
pub fn simulate(
    program: &Program,
    inputs: &BTreeMap<String, SampleBatch>,
    seed: [u8; 32],
    progress: &dyn Progress,
) -> Result<Outcome, RunError> {
    let samples = sample_count(&program.inputs(), inputs)?;
    let contract = program.contract();
    let mut collector = Collector::new(&contract);
    let start = Instant::now();
    let evaluation = Evaluation::new(program, inputs, samples)?;
    progress.phase(Phase::Evaluate { batch: 0, batches: 1 });
    let width = clear::width(program.circuit());
    let run = |sample: usize| {
        let mut random = ChaCha8Rng::from_seed(seed);
        random.set_stream(sample as u64);
        let errors = Errors::new(program.parameters(), width, move || random.next_u64());
        evaluation.sample(sample, Some(errors), &mut |_, _| ())
    };
    let results: Vec<Vec<Vec<f64>>> = (0..samples).into_par_iter().map(run).collect::<Result<_, _>>()?;
    for arrays in results {
        let vectors = |array: Vec<f64>| array.chunks(width.max(1)).map(|vector| Arc::new(vector.to_vec())).collect();
        collector.push(&Revealed, arrays.into_iter().map(vectors).collect(), 1)?;
    }
    let answers = collector.finish()?;
    let mut outcome = Outcome { outputs: answers.outputs, escapes: answers.escapes, batches: 1, ..Outcome::default() };
    outcome.seconds.evaluate = start.elapsed().as_secs_f64();
    Ok(outcome)
}

/// A program in the clear on given samples.
pub(crate) struct Evaluation<'a> {
    program: &'a Program,
    inputs: &'a BTreeMap<String, SampleBatch>,
    /// What the server computes from public inputs.
    public: BTreeMap<String, SampleBatch>,
    exchanges: Vec<Exchange>,
    /// Of each round, what has a common random factor.
    groups: Vec<Option<Groups>>,
    prepared: clear::Prepared,
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        program: &'a Program,
        inputs: &'a BTreeMap<String, SampleBatch>,
        samples: usize,
    ) -> Result<Self, RunError> {
        let public = in_the_clear(program.public(), inputs, samples)?;
        let prepared = clear::Prepared::new(program.circuit());
        let groups = program.rounds().iter().map(Round::groups).collect();
        Ok(Self { program, inputs, public, exchanges: program.exchanges(), groups, prepared })
    }

    /// The circuit's outputs for one sample, in virtual slots; `observe` is told the value of every node.
    pub(crate) fn sample<B: FnMut() -> u64>(
        &self,
        sample: usize,
        errors: Option<Errors<B>>,
        observe: &mut dyn FnMut(Value, &[f64]),
    ) -> Result<Vec<Vec<f64>>, RunError> {
        let answers = BTreeMap::new();
        let mut one = OneSample { evaluation: self, sample, errors, observe, answers, factors: BTreeMap::new() };
        clear::evaluate(self.program.circuit(), &self.prepared, &mut one)
            .map_err(|cause| RunError::Clear(Box::new(cause)))
    }
}

struct OneSample<'a, B> {
    evaluation: &'a Evaluation<'a>,
    sample: usize,
    errors: Option<Errors<B>>,
    observe: &'a mut dyn FnMut(Value, &[f64]),
    /// What the client has computed, by round and name.
    answers: BTreeMap<(usize, String), Vec<f64>>,
    /// What the random factors of each round are made of, by group.
    factors: BTreeMap<usize, Vec<f64>>,
}

impl<B: FnMut() -> u64> Surroundings for OneSample<'_, B> {
    fn input(&mut self, input: &Input) -> Result<Vec<f64>, TypeError> {
        let Evaluation { program, inputs, public, .. } = self.evaluation;
        let elements = input.layout.elements();
        let batch = if input.public { public.get(&input.name) } else { inputs.get(&input.name) };
        let values = batch.and_then(|batch| batch.values.get(self.sample * elements..(self.sample + 1) * elements));
        let mut values = values.ok_or_else(|| TypeError::new(format!("there is no sample {}", self.sample)))?.to_vec();
        if let Some(normalisation) = program.normalisation().get(&input.name) {
            normalisation.apply(&mut values);
        }
        Ok(input.layout.spread(&values))
    }

    fn refresh(&mut self, refresh: &Refresh, operands: &[&[f64]]) -> Result<Vec<f64>, TypeError> {
        let missing = || TypeError::new(format!("round {} has no \"{}\"", refresh.round, refresh.name.escape_debug()));
        let key = (refresh.round, refresh.name.clone());
        if !self.answers.contains_key(&key) {
            let exchange = self.evaluation.exchanges.get(refresh.round).ok_or_else(missing)?;
            let width = clear::width(self.evaluation.program.circuit()).max(1);
            let of = |(own, x): (&EncryptedOutput, &&[f64])| {
                let vectors: Vec<Vec<f64>> = x.chunks(width).map(<[f64]>::to_vec).collect();
                (own.port.name.clone(), SampleBatch { values: own.layout.unpack(&vectors, 1), samples: 1 })
            };
            let inputs = exchange.operands.iter().zip(operands).map(of).collect();
            let outputs = reference::outputs(&exchange.function, &inputs).map_err(|e| TypeError::new(e.to_string()))?;
            for reply in &exchange.results {
                let values = outputs.get(&reply.port.name).ok_or_else(missing)?;
                self.answers.insert((refresh.round, reply.port.name.clone()), reply.layout.spread(values));
            }
        }
        self.answers.remove(&key).ok_or_else(missing)
    }

    /// Without errors there are no factors either: they are taken out again.
    fn factors(&mut self, blind: &Blind) -> Option<Vec<f64>> {
        let errors = self.errors.as_mut()?;
        let groups = self.evaluation.groups.get(blind.round)?.as_ref()?;
        let drawn =
            self.factors.entry(blind.round).or_insert_with(|| (0..groups.count).map(|_| errors.uniform()).collect());
        let factor = |&group: &u32| Blind::factor(drawn.get(group as usize).copied().unwrap_or(0.0), blind.inverse);
        let values: Vec<f64> = groups.of.get(&blind.port)?.iter().map(factor).collect();
        Some(blind.layout.spread(&values))
    }

    fn disturb(&mut self, x: &mut [f64], added: &Added) {
        if let Some(errors) = &mut self.errors {
            errors.disturb(x, added);
        }
    }

    fn computed(&mut self, value: Value, x: &[f64]) {
        (self.observe)(value, x);
    }
}

/// The client of vectors that were never encrypted.
struct Revealed;

impl Client for Revealed {
    type Ciphertext = Vec<f64>;

    fn encrypt(&self, slots: &[f64], _level: usize, _scale: &Scale) -> Result<Vec<f64>, EngineError> {
        Ok(slots.to_vec())
    }

    fn decrypt(&self, ciphertext: &Vec<f64>) -> Result<Vec<f64>, EngineError> {
        Ok(ciphertext.clone())
    }

    fn ciphertext_bytes(&self, _ciphertext: &Vec<f64>) -> u64 {
        0
    }
}
