//! Pipelines of scikit-learn, as skl2onnx writes them: compiled unedited, they answer what scikit-learn answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};

use common::repository;
use hec::{Bound, Compilation, ImportOptions, Options, Program, SampleBatch, Silent};
use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;
use zip::ZipArchive;

struct Pipeline {
    name: String,
    model: Vec<u8>,
    inputs: ArrayD<f64>,
    expected: Vec<ArrayD<f64>>,
}

impl Pipeline {
    fn open(name: &str) -> Self {
        let file = File::open(repository("tests/fixtures/sklearn/sklearn.zip")).unwrap();
        let mut archive = ZipArchive::new(file).unwrap();
        let mut bytes = |part: &str| {
            let mut bytes = Vec::new();
            archive.by_name(&format!("{name}/{part}")).ok()?.read_to_end(&mut bytes).unwrap();
            Some(bytes)
        };
        let array = |bytes: Vec<u8>| {
            let single = ArrayD::<f32>::read_npy(Cursor::new(&bytes)).map(|array| array.mapv(f64::from));
            single.or_else(|_| ArrayD::<f64>::read_npy(Cursor::new(&bytes))).unwrap()
        };
        Self {
            name: name.to_owned(),
            model: bytes("model.onnx").unwrap(),
            inputs: array(bytes("input_0.npy").unwrap()),
            expected: (0..).map_while(|i| bytes(&format!("output_{i}.npy"))).map(array).collect(),
        }
    }

    fn samples(&self) -> usize {
        self.inputs.shape()[0]
    }

    /// The samples, and what lies between two of them, in an order that mixes them.
    fn calibration(&self) -> Vec<f64> {
        let samples = self.samples();
        let row = |i: usize| {
            self.inputs.iter().copied().skip(i * self.inputs.len() / samples).take(self.inputs.len() / samples)
        };
        let mixed = |step: usize| {
            let (a, b) = (step % samples, step * 7 / samples % samples);
            let part = (step % 5) as f64 / 4.0;
            row(a).zip(row(b)).map(move |(a, b)| a + part * (b - a)).collect::<Vec<_>>()
        };
        (0..64).flat_map(mixed).chain(self.inputs.iter().copied()).collect()
    }

    fn compile(&self) -> Compilation {
        self.try_compile().unwrap_or_else(|e| panic!("{e}"))
    }

    fn try_compile(&self) -> Result<Compilation, hec::CompileError> {
        let mut model = hec::import(&self.model, &ImportOptions::default()).unwrap();
        let name = model.inputs().next().unwrap().1.to_owned();
        let calibration = self.calibration();
        let input_range = calibration.iter().fold((f64::MAX, f64::MIN), |(lo, hi), &x| (lo.min(x), hi.max(x)));
        model = model.without_dead_nodes();
        // Models that answer with numbers.
        let numbers = self.name.ends_with("regressor");
        hec::compile(
            &model,
            &Options {
                input_range,
                precision: 5.0,
                bound: Bound::Any,
                approximation: hec::Approximation {
                    max_output_error: numbers.then_some(0.05),
                    ..hec::Approximation::default()
                },
                calibration: BTreeMap::from([(name, calibration)]),
                ..Options::default()
            },
        )
    }

    /// The outputs, in the model's order, with the range of each one's elements.
    fn run(&self, program: &Program, backend: &str) -> Vec<Vec<f64>> {
        let ports = program.inputs();
        let batch = SampleBatch { values: self.inputs.iter().copied().collect(), samples: self.samples() };
        let inputs = BTreeMap::from([(ports[0].name.clone(), batch)]);
        let mut outcome = hec::backend(backend).unwrap().run(program, &inputs, &Silent).unwrap();
        program.outputs().iter().map(|port| outcome.outputs.remove(&port.name).unwrap()).collect()
    }
}

/// Whole numbers are equal, others nearly so.
#[track_caller]
fn check(name: &str, backend: &str, found: &[Vec<f64>], expected: &[ArrayD<f64>], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.len(), expected.len(), "{name}");
        let whole = expected.iter().all(|v| v.fract() == 0.0);
        let bound = expected.iter().fold(1.0, |m: f64, v| m.max(v.abs())) * tolerance;
        for (a, b) in found.iter().zip(expected) {
            assert!(
                if whole { a == b } else { (a - b).abs() <= bound },
                "{name} on {backend}: {found:?}, not {expected}"
            );
        }
    }
}

/// All but those that divide by the largest feature, with what polynomials may cost.
const PIPELINES: &[(&str, f64)] = &[
    ("linear-2-targets", 0.01),
    ("linear-svr", 0.01),
    ("logistic-2-classes", 0.01),
    ("logistic-l1", 0.1),
    ("logistic-l2", 0.1),
    ("logistic-names", 0.01),
    ("mlp-identity-regressor", 0.01),
    ("mlp-logistic-2-classes", 0.1),
    ("mlp-names", 0.2),
    ("mlp-relu-3-classes", 0.2),
    ("mlp-tanh-labels", 0.2),
    ("mlp-tanh-regressor", 0.2),
    ("perceptron-2-classes", 0.01),
    ("ridge", 0.01),
    ("ridge-classifier", 0.01),
    ("ridge-classifier-2-classes", 0.01),
    ("sgd", 0.01),
];

#[test]
fn pipelines_compile_unedited_and_answer_the_same() {
    let mut failures = Vec::new();
    for (name, tolerance) in PIPELINES {
        let pipeline = Pipeline::open(name);
        let result = std::panic::catch_unwind(|| {
            let compiled = pipeline.compile();
            let read = Program::from_bytes(&compiled.program.to_bytes()).unwrap();
            assert!(read == compiled.program, "{name} reads as another program");
            check(name, "plain-circuit", &pipeline.run(&read, "plain-circuit"), &pipeline.expected, *tolerance);
        });
        if result.is_err() {
            failures.push(name);
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn encrypted_as_well() {
    let pipeline = Pipeline::open("mlp-relu-3-classes");
    let program = pipeline.compile().program;
    check("mlp-relu-3-classes", "he-ckks", &pipeline.run(&program, "he-ckks"), &pipeline.expected, 0.2);
}

#[test]
fn the_largest_feature_as_a_divisor_is_refused() {
    let error = Pipeline::open("linear-max").try_compile().map(|_| "compiles").unwrap_err().to_string();
    assert!(error.contains("Normalizer"), "{error}");
    assert!(!error.contains("arg_max") && !error.contains("softmax"), "{error}");
}
