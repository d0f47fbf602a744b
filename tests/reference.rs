//! Committed models and models of several exporters, against what ONNX Runtime answers and against each other.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::{files, repository, stem};
use hec::ir::tensor::TensorGraph;
use hec::{CompileError, ImportOptions, Options, Port, SampleBatch, Silent};
use ndarray::{ArrayD, Axis};
use ndarray_npy::NpzReader;
use onnx_protobuf::{Message, ModelProto};

/// Absolute, as ONNX Runtime computes in single precision.
const TOLERANCE: f64 = 1e-4;

/// What the circuit may lose by rounding its weights, as a part of the largest output.
const CIRCUIT_TOLERANCE: f64 = 1e-2;

fn import(path: &Path) -> TensorGraph {
    let bytes = fs::read(path).unwrap();
    hec::import(&bytes, &ImportOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Samples for the only input, and the answers.
fn samples(npz: &Path, model: &TensorGraph) -> (BTreeMap<String, SampleBatch>, Vec<f64>) {
    let mut npz = NpzReader::new(File::open(npz).unwrap_or_else(|e| panic!("{}: {e}", npz.display()))).unwrap();
    let mut array = |name: &str| -> ArrayD<f64> {
        let array: ArrayD<f32> = npz.by_name(name).unwrap();
        array.mapv(f64::from)
    };
    let (input, output) = (array("input"), array("output"));
    let samples = input.len_of(Axis(0));
    let [port] = &Port::inputs_of(model)[..] else { panic!("expected one input") };
    assert_eq!(port.ty.elements() * samples, input.len());
    let batch = SampleBatch { values: input.into_iter().collect(), samples };
    (BTreeMap::from([(port.name.clone(), batch)]), output.into_iter().collect())
}

fn only(outputs: BTreeMap<String, Vec<f64>>) -> Vec<f64> {
    assert_eq!(outputs.len(), 1);
    outputs.into_values().next().unwrap()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &Path) {
    assert_eq!(found.len(), expected.len(), "{}", what.display());
    let error = found.iter().zip(expected).fold(0.0_f64, |max, (a, b)| max.max((a - b).abs()));
    assert!(error < tolerance, "{}: differs by {error:e}", what.display());
}

/// Models of several outputs, compared with scikit-learn's answers in `tests/tabular.rs`.
const TABULAR: [&str; 3] = ["breast-cancer", "diabetes", "digits"];

#[test]
fn committed_models_answer_what_onnx_runtime_does() {
    let models = files("models", "onnx");
    let models: Vec<PathBuf> = models.into_iter().filter(|path| !TABULAR.contains(&stem(path))).collect();
    let names: BTreeSet<&str> = models.iter().map(|path| stem(path)).collect();
    let answers = files("tests/fixtures/onnxruntime", "npz");
    assert_eq!(names, answers.iter().map(|path| stem(path)).collect(), "a model without answers, or the other way");
    for path in &models {
        let model = import(path);
        let answers = repository("tests/fixtures/onnxruntime").join(stem(path)).with_extension("npz");
        let (inputs, expected) = samples(&answers, &model);
        let found = hec::evaluate_samples(&model, &inputs, &Silent).unwrap();
        assert_close(&only(found.outputs), &expected, TOLERANCE, path);
    }
}

/// Names of nodes that have no meaning under encryption, as the file says them.
fn comparisons(path: &Path) -> BTreeSet<String> {
    let model = ModelProto::parse_from_bytes(&fs::read(path).unwrap()).unwrap();
    let nodes = model.graph.node.iter().filter(|node| ["Relu", "MaxPool"].contains(&node.op_type.as_str()));
    nodes.map(|node| node.name.clone()).collect()
}

#[test]
fn what_exporters_write_compiles_or_is_refused() {
    let models = files("tests/fixtures/exporters", "onnx");
    let (mut compiled, mut refused) = (0, 0);
    for path in &models {
        let model = import(path);
        let result = hec::compile(&model, &Options::default());
        let kind = |kind: &str| stem(path).split('-').any(|part| part == kind);
        match (kind("cryptonets"), kind("classical")) {
            (true, false) => {
                let program = result.unwrap_or_else(|e| panic!("{}: {e}", path.display())).program;
                let (inputs, expected) = samples(&path.with_extension("npz"), &model);
                let plain = only(hec::evaluate_samples(&model, &inputs, &Silent).unwrap().outputs);
                assert_close(&plain, &expected, TOLERANCE, path);
                let backend = hec::backend("plain-circuit").unwrap();
                let circuit = only(backend.run(&program, &inputs, &Silent).unwrap().outputs);
                let largest = plain.iter().fold(0.0_f64, |max, v| max.max(v.abs()));
                assert_close(&circuit, &plain, CIRCUIT_TOLERANCE * largest, path);
                compiled += 1;
            }
            (false, true) => {
                let Err(CompileError::Unsupported { nodes }) = result else { panic!("{} compiles", path.display()) };
                let found: BTreeSet<String> = nodes.iter().map(|node| node.origin.as_str().to_owned()).collect();
                assert_eq!(found.len(), nodes.len(), "{}: listed twice", path.display());
                assert_eq!(found, comparisons(path), "{}", path.display());
                refused += 1;
            }
            (true, true) | (false, false) => panic!("{}: say here what is expected of it", path.display()),
        }
    }
    assert!(compiled >= 19 && refused >= 12, "{compiled} compile, {refused} are refused");
    let with_answers = files("tests/fixtures/exporters", "npz");
    assert!(models.iter().map(|path| stem(path)).eq(with_answers.iter().map(|path| stem(path))));
}
