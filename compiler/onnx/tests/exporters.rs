//! Models as exporters write them: each imports, and answers what ONNX Runtime does.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use hec_ir::tensor::{Element, Op, Tensor, TensorGraph, TensorType};
use hec_onnx::{ImportOptions, import};
use ndarray::{ArrayD, Axis};
use ndarray_npy::NpzReader;

/// Folders with models, and where the expected outputs of each are.
const MODELS: [(&str, &str); 2] = [
    ("../../tests/fixtures/exporters", "../../tests/fixtures/exporters"),
    ("../../models", "../../tests/fixtures/onnxruntime"),
];

/// ONNX Runtime computes in single precision.
const TOLERANCE: f64 = 1e-4;

/// Models whose imported graph is reviewed.
const GOLDEN: [&str; 6] = [
    "classical-mnist",
    "cryptonets-fashion-mnist",
    "cryptonets-mnist",
    "keras-cryptonets-pow-same",
    "torch-dynamo-classical-unoptimised",
    "torch-legacy-cryptonets-bn",
];

fn models(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "onnx")).collect();
    models.sort();
    assert!(!models.is_empty(), "no models in {}", folder.display());
    models
}

fn all_models() -> Vec<PathBuf> {
    MODELS.iter().flat_map(|(folder, _)| models(folder)).collect()
}

fn read(path: &Path) -> TensorGraph {
    let bytes = fs::read(path).unwrap();
    import(&bytes, &ImportOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn name(path: &Path) -> &str {
    path.file_stem().unwrap().to_str().unwrap()
}

/// The only output, node by node.
fn run(graph: &TensorGraph, input: &Tensor) -> Tensor {
    let mut values = BTreeMap::new();
    for (value, node) in graph.nodes() {
        let operands: Vec<&Tensor> = node.operands().iter().map(|operand| &values[operand]).collect();
        let tensor = if matches!(node.op(), Op::Input(_)) {
            input.clone()
        } else {
            node.op().evaluate(&operands).unwrap_or_else(|e| panic!("{}: {e}", node.origin()))
        };
        assert_eq!(Some(&tensor.ty()), node.ty().known(), "{}", node.origin());
        values.insert(value, tensor);
    }
    let [output] = graph.outputs() else { panic!("expected one output") };
    values.remove(&output.value).unwrap()
}

fn array(npz: &mut NpzReader<File>, name: &str) -> ArrayD<f64> {
    npz.by_name::<ndarray::OwnedRepr<f32>, ndarray::IxDyn>(name).unwrap().mapv(f64::from)
}

/// Models of several outputs, compared with scikit-learn's answers in the workspace's `tests/tabular.rs`.
const TABULAR: [&str; 3] = ["breast-cancer", "diabetes", "digits"];

#[test]
fn every_model_answers_what_onnx_runtime_does() {
    for (folder, expected) in MODELS {
        for path in models(folder).into_iter().filter(|path| !TABULAR.contains(&name(path))) {
            let graph = read(&path);
            let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join(expected).join(name(&path)).with_extension("npz");
            let mut npz = NpzReader::new(File::open(&expected).unwrap()).unwrap();
            let (inputs, outputs) = (array(&mut npz, "input"), array(&mut npz, "output"));
            assert!(inputs.len_of(Axis(0)) >= 4);
            for (input, output) in inputs.axis_iter(Axis(0)).zip(outputs.axis_iter(Axis(0))).take(8) {
                let input = Tensor::new(Element::F32, input.insert_axis(Axis(0)).to_owned());
                let found = run(&graph, &input);
                assert_eq!(found.ty(), TensorType::new(Element::F32, [1, 10]));
                for (found, expected) in found.values().iter().zip(&output) {
                    assert!((found - expected).abs() < TOLERANCE, "{}: {found}, not {expected}", path.display());
                }
            }
        }
    }
}

#[test]
fn imported_graphs() {
    let mut missing: Vec<&str> = GOLDEN.to_vec();
    for path in all_models() {
        if let Some(at) = missing.iter().position(|golden| *golden == name(&path)) {
            insta::assert_snapshot!(missing.remove(at), read(&path));
        }
    }
    assert!(missing.is_empty(), "{missing:?} are gone");
}

#[test]
fn a_truncated_model_is_an_error() {
    let path = &models(MODELS[0].0)[0];
    let bytes = fs::read(path).unwrap();
    for length in (0..bytes.len()).step_by(97) {
        assert!(import(&bytes[..length], &ImportOptions::default()).is_err(), "the first {length} bytes are a model");
    }
}

#[test]
fn corrupted_models_do_not_panic() {
    let models: Vec<Vec<u8>> = models(MODELS[0].0).iter().map(|path| fs::read(path).unwrap()).collect();
    // xorshift64: the same corruptions in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..2000 {
        let mut bytes = models[random(models.len())].clone();
        // The weights fill most of a model, but not its ends.
        let at = match random(3) {
            0 => random(bytes.len()),
            1 => random(bytes.len().min(4000)),
            _end => bytes.len() - 1 - random(bytes.len().min(4000)),
        };
        bytes[at] ^= 1 + random(255) as u8;
        if let Ok(graph) = import(&bytes, &ImportOptions::default()) {
            assert!(!graph.to_string().is_empty());
        }
    }
}
