//! How large errors become, at worst, beside what is promised of them; and that nothing but the samples' own slots is ever given out.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{Onnx, Random, small};
use hec::ir::Scale;
use hec::ir::ckks::Circuit;
use hec::ir::program::Sharing;
use hec::{
    Flooded, ImportOptions, LayoutChoice, Options, Outcome, Program, RunError, RunSettings, SampleBatch, Silent,
};
use hec_plain::{ClearEngine, ClearEvaluator};
use hec_runtime::{Client, Collector, Engine, EngineError, run_batches_with};

const SAMPLES: usize = 3;
/// How near: the engine in the clear wants room below the modulus.
const NEAR: f64 = 0.75;
/// What lies where no sample does.
const NOBODYS: f64 = 123_456.0;

fn compile(model: &Onnx, layout: LayoutChoice, sharing: Option<u32>) -> Program {
    let graph = hec::import(&model.bytes(), &ImportOptions::default()).unwrap();
    let options = Options { layout, sharing, batch: Some(4), input_range: (-1.0, 1.0), ..Options::default() };
    hec::compile(&graph, &options).unwrap().program
}

/// Samples near the corners of the range: little makes values larger.
fn corners(samples: usize) -> BTreeMap<String, SampleBatch> {
    let mut random = Random(11);
    let values = (0..4 * samples).map(|_| if random.below(2) == 0 { NEAR } else { -NEAR }).collect();
    BTreeMap::from([("x".to_owned(), SampleBatch { values, samples })])
}

fn run<E: Engine>(engine: &E, program: &Program, samples: usize, share: Option<u32>) -> Result<Outcome, RunError> {
    let settings = RunSettings { share, ..RunSettings::default() };
    run_batches_with(engine, program, &corners(samples), &settings, &Silent)
}

/// Fills the slots that belong to no sample, and notes what noise was asked for.
#[derive(Default)]
struct Marking(Arc<Mutex<Vec<f64>>>);

struct MarkingClient {
    inner: <ClearEngine as Engine>::Client,
    program: Program,
    noise: Arc<Mutex<Vec<f64>>>,
}

/// An engine for one program.
struct Marked<'p>(&'p Program, Marking);

impl Engine for Marked<'_> {
    type Ciphertext = <ClearEngine as Engine>::Ciphertext;
    type Client = MarkingClient;
    type Evaluator = ClearEvaluator;

    fn generate(&self, circuit: &Circuit) -> Result<(MarkingClient, ClearEvaluator), EngineError> {
        let (inner, evaluator) = ClearEngine.generate(circuit)?;
        Ok((MarkingClient { inner, program: self.0.clone(), noise: self.1.0.clone() }, evaluator))
    }
}

impl Client for MarkingClient {
    type Ciphertext = <ClearEngine as Engine>::Ciphertext;

    fn encrypt(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Self::Ciphertext, EngineError> {
        self.inner.encrypt(slots, level, scale)
    }

    fn decrypt(&self, ciphertext: &Self::Ciphertext) -> Result<Vec<f64>, EngineError> {
        let slots = self.inner.decrypt(ciphertext)?;
        // Which slots hold the samples' values follows from the layout: they are those that packing fills.
        let layout = &self.program.output_layouts()[0];
        let ones = vec![1.0; SAMPLES * layout.elements()];
        let used = layout.pack(&ones, SAMPLES, slots.len()).map_err(EngineError::new)?;
        let used = |slot: usize| used.iter().any(|vector| vector.get(slot).is_some_and(|own| *own != 0.0));
        Ok(slots.iter().enumerate().map(|(slot, &own)| if used(slot) { own } else { NOBODYS }).collect())
    }

    fn decrypt_flooded(&self, ciphertext: &Self::Ciphertext, deviation: f64) -> Result<Vec<f64>, EngineError> {
        self.noise.lock().unwrap().push(deviation);
        self.decrypt(ciphertext)
    }

    fn ciphertext_bytes(&self, ciphertext: &Self::Ciphertext) -> u64 {
        self.inner.ciphertext_bytes(ciphertext)
    }
}

#[test]
fn slots_of_no_sample_never_reach_an_output_and_the_noise_is_what_the_program_says() {
    for layout in [LayoutChoice::Batch, LayoutChoice::Packed] {
        let program = compile(&small(), layout, Some(30));
        let engine = Marked(&program, Marking::default());
        for share in [None, Some(30)] {
            let outcome = run(&engine, &program, SAMPLES, share).unwrap();
            let values = &outcome.outputs["y"];
            assert_eq!(values.len(), 2 * SAMPLES);
            assert!(values.iter().all(|value| value.abs() < 100.0), "{layout:?}: {values:?}");
            assert_eq!(outcome.shared.is_some(), share.is_some());
        }
        let bound = program.noise().unwrap().outputs[0].bound;
        let expected = bound * Sharing { bits: 30, samples: SAMPLES }.factor(2);
        let asked = engine.1.0.lock().unwrap();
        assert!(!asked.is_empty() && asked.iter().all(|deviation| *deviation == expected), "{asked:?} {expected}");
    }
}

/// Three layers whose errors are anything but independent: each value enters the next layer many times.
fn correlated() -> Onnx {
    Onnx::new()
        .input("x", &[4])
        .weights("w1", &[4, 6], &[0.4; 24])
        .weights("w2", &[6, 6], &[0.3; 36])
        .weights("w3", &[6, 2], &[0.5; 12])
        .node("MatMul", &["x", "w1"], "a")
        .node("Mul", &["a", "a"], "b")
        .node("MatMul", &["b", "w2"], "c")
        .node("Mul", &["c", "c"], "d")
        .node("MatMul", &["d", "w3"], "y")
        .output("y")
}

#[test]
fn no_error_of_encryption_is_above_the_bound() {
    for (name, model) in [("small", small()), ("correlated", correlated())] {
        for layout in [LayoutChoice::Batch, LayoutChoice::Packed] {
            let program = compile(&model, layout, None);
            let samples = program.capacity().min(1024);
            // The same rounded weights: what is left is the error of encryption.
            let clear = run(&ClearEngine, &program, samples, None).unwrap();
            let encrypted = run(&hec_ckks::adapter::CkksEngine, &program, samples, None).unwrap();
            let squares = clear.outputs["y"].iter().zip(&encrypted.outputs["y"]).map(|(a, b)| (a - b).powi(2));
            let rms = (squares.sum::<f64>() / (2 * samples) as f64).sqrt();
            let bound = program.noise().unwrap().outputs[0].bound;
            // One number that is off by chance is not beyond six deviations.
            assert!(rms < 6.0 * bound && (samples < 100 || rms < bound), "{name} {layout:?}: {rms} {bound}");
            assert!(bound < 1e4 * rms, "{name} {layout:?}: {rms} {bound}");
        }
    }
}

#[test]
fn noise_is_for_as_many_samples_as_were_named() {
    let program = compile(&small(), LayoutChoice::Batch, Some(30));
    let contract = program.contract();
    let (client, evaluator) = ClearEngine.generate(program.circuit()).unwrap();
    let flooded = Flooded::new(&contract, 30, 1).unwrap();
    let mut collector = Collector::with_noise(&contract, Some(flooded));
    let results = vec![Vec::new(); 1];
    drop(evaluator);
    // A wrong number of ciphertexts is told first; then the samples are counted.
    assert!(matches!(collector.push(&client, results, 2), Err(RunError::OutputLength { .. })));
    let ty = &contract.encrypted_outputs()[0].ty;
    let zero = || client.encrypt(&[0.0], ty.level, &ty.scale).map(Arc::new).unwrap();
    let results = vec![(0..ty.length).map(|_| zero()).collect()];
    let refused = collector.push(&client, results, 2).unwrap_err().to_string();
    assert!(refused.contains("there are 2 of them"), "{refused}");
}

#[test]
fn a_program_says_the_same_of_its_errors_after_it_was_written_and_read() {
    let program = compile(&small(), LayoutChoice::Batch, None);
    let read = Program::from_bytes(&program.to_bytes()).unwrap();
    assert!(program.noise().is_some() && read.noise() == program.noise());
    let contract = program.contract();
    let read = hec::ir::program::Contract::from_bytes(&contract.to_bytes()).unwrap();
    assert_eq!(read.noise(), program.noise());
    // One that says nothing cannot be shared.
    let silent = program.with_noise(None).unwrap().contract();
    let refused = Flooded::new(&silent, 30, 1).unwrap_err().to_string();
    assert!(refused.contains("compile it again"), "{refused}");
}
