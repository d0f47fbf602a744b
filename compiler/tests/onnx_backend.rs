//! The backend tests of the `onnx` package on slots: what is compiled for encryption means the same there.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use hec_compiler::{lower, ranges};
use hec_ir::tensor::Op;
use hec_onnx::{ImportOptions, import};
use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;
use zip::ZipArchive;

const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-6;

/// Larger ones take too long for what they show.
const MAX_ELEMENTS: usize = 5000;

/// As in the plain backend's test of the same cases.
const OTHERWISE: [&str; 5] = [
    "test_cast_FLOAT_to_BFLOAT16",
    "test_castlike_FLOAT_to_BFLOAT16",
    "test_castlike_FLOAT_to_BFLOAT16_expanded",
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
];

fn bytes(suite: &mut ZipArchive<File>, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    suite.by_name(name).ok()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

fn arrays(suite: &mut ZipArchive<File>, case: &str, kind: &str) -> Vec<Vec<f64>> {
    let read = |bytes: Vec<u8>| {
        let single = ArrayD::<f32>::read_npy(Cursor::new(&bytes)).map(|array| array.mapv(f64::from));
        single.or_else(|_| ArrayD::<f64>::read_npy(Cursor::new(&bytes))).unwrap().iter().copied().collect()
    };
    (0..).map_while(|i| bytes(suite, &format!("{case}/{kind}_{i}.npy"))).map(read).collect()
}

/// What became of a case.
enum Answer {
    Compiled,
    Refused,
    /// It is not imported, too large, of other numbers than floating-point ones, or a constant.
    Other,
}

fn run(suite: &mut ZipArchive<File>, case: &str) -> Answer {
    let model = bytes(suite, &format!("{case}/model.onnx")).unwrap();
    let options = ImportOptions { keep_first_axis: true, ..ImportOptions::default() };
    let Ok(graph) = import(&model, &options) else { return Answer::Other };
    let known = |value| graph.ty(value).known();
    let small = graph.nodes().all(|(value, _)| known(value).is_some_and(|ty| ty.elements() <= MAX_ELEMENTS));
    let real = graph.inputs().all(|(value, _)| known(value).is_some_and(|ty| ty.element.is_float()));
    let constant = |value| matches!(graph.node(value).op(), Op::Constant(_));
    let imported = !graph.nodes().any(|(_, node)| matches!(node.op(), Op::Unsupported(_)));
    if !small || !real || !imported || graph.inputs().count() == 0 || graph.outputs().iter().any(|o| constant(o.value))
    {
        return Answer::Other;
    }
    let Ok((_, slots)) = lower(&graph) else { return Answer::Refused };
    let inputs: BTreeMap<&str, Vec<f64>> =
        graph.inputs().map(|(_, name)| name).zip(arrays(suite, case, "input")).collect();
    let found = ranges::evaluate(&slots, |name, _| inputs[name].clone());
    for (output, expected) in slots.outputs().iter().zip(arrays(suite, case, "output")) {
        let found = &found[output.value.index()];
        assert_eq!(found.len(), expected.len(), "{case}");
        let near =
            |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= ABSOLUTE + RELATIVE * b.abs();
        let right = found.iter().zip(&expected).all(near);
        assert!(right || OTHERWISE.contains(&case), "{case}: {found:?}, not {expected:?}");
    }
    Answer::Compiled
}

/// Each case that is compiled, and how many are not.
fn report(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/onnx-backend");
    let mut suite = ZipArchive::new(File::open(folder.join(format!("{name}-1.18.0.zip"))).unwrap()).unwrap();
    let cases: BTreeSet<String> = suite.file_names().map(|name| name.split('/').next().unwrap().to_owned()).collect();
    let (mut compiled, mut refused, mut others) = (Vec::new(), Vec::new(), 0);
    for case in cases {
        match run(&mut suite, &case) {
            Answer::Compiled => compiled.push(case),
            Answer::Refused => refused.push(case),
            Answer::Other => others += 1,
        }
    }
    let list = |cases: &[String]| cases.iter().map(|case| format!("    {case}\n")).collect::<String>();
    format!("compiled:\n{}refused:\n{}not tried: {others}", list(&compiled), list(&refused))
}

#[test]
fn models_that_pytorch_wrote() {
    insta::assert_snapshot!("pytorch-converted", report("pytorch-converted"));
    insta::assert_snapshot!("pytorch-operator", report("pytorch-operator"));
}

#[test]
fn single_nodes() {
    insta::assert_snapshot!("node", report("node"));
}
