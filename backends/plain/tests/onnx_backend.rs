//! The backend tests of the `onnx` package, and pipelines of scikit-learn: each case answers what is expected, or is refused with
//! a reason.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use hec_ir::tensor::{Op, Tensor, TensorGraph};
use hec_onnx::{ImportOptions, import};
use hec_plain::evaluate;
use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;
use zip::ZipArchive;

/// The tolerances of ONNX's own runner.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// Values are not rounded to bfloat16, which these cases are about.
const ROUNDED: [&str; 3] =
    ["test_cast_FLOAT_to_BFLOAT16", "test_castlike_FLOAT_to_BFLOAT16", "test_castlike_FLOAT_to_BFLOAT16_expanded"];
const RELATIVE_ROUNDED: f64 = 1.0 / 128.0;

/// The data of these cases were corrected in later versions.
const WRONG_IN_1_6: [&str; 3] = [
    "test_resize_upsample_sizes_nearest_ceil_half_pixel",
    "test_resize_upsample_sizes_nearest_floor_align_corners",
    "test_resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric",
];

/// Here ONNX's reference divides by a size that is no integer, where ONNX Runtime, and so `hec`, take the size that the result
/// has.
const OTHERWISE: [&str; 2] =
    ["test_resize_downsample_scales_cubic_align_corners", "test_resize_downsample_scales_linear_align_corners"];

struct Suite(ZipArchive<File>);

impl Suite {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        Self(ZipArchive::new(File::open(folder.join(format!("{name}.zip"))).unwrap()).unwrap())
    }

    fn cases(&self) -> BTreeSet<String> {
        self.0.file_names().map(|name| name.split('/').next().unwrap().to_owned()).collect()
    }

    fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.by_name(name).ok()?.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }

    /// `input_0.npy`, `input_1.npy`, ..
    fn arrays(&mut self, case: &str, kind: &str) -> Vec<ArrayD<f64>> {
        let read = |bytes: Vec<u8>| {
            let single = ArrayD::<f32>::read_npy(Cursor::new(&bytes)).map(|array| array.mapv(f64::from));
            single.or_else(|_| ArrayD::<f64>::read_npy(Cursor::new(&bytes))).unwrap()
        };
        (0..).map_while(|i| self.bytes(&format!("{case}/{kind}_{i}.npy"))).map(read).collect()
    }

    fn run(&mut self, case: &str) -> Answer {
        let model = self.bytes(&format!("{case}/model.onnx")).unwrap();
        let (inputs, outputs) = (self.arrays(case, "input"), self.arrays(case, "output"));
        let options = ImportOptions { keep_first_axis: true, ..ImportOptions::default() };
        let graph = match import(&model, &options) {
            Ok(graph) => graph,
            Err(error) => return Answer::Refused(error.to_string()),
        };
        if let Some(reason) = unsupported(&graph) {
            return Answer::Refused(reason);
        }
        let names: Vec<String> = graph.inputs().map(|(_, name)| name.to_owned()).collect();
        assert_eq!(names.len(), inputs.len(), "{case}");
        let types = graph.inputs().map(|(value, _)| graph.ty(value).known().unwrap().clone());
        let tensors = types.zip(inputs).map(|(ty, array)| {
            assert_eq!(ty.shape, array.shape(), "{case}");
            Tensor::new(ty.element, array)
        });
        let tolerance = if ROUNDED.contains(&case) { RELATIVE_ROUNDED } else { RELATIVE };
        match evaluate(&graph, &names.into_iter().zip(tensors).collect()) {
            Ok(found) => {
                assert_eq!(found.len(), outputs.len(), "{case}");
                let mut differences =
                    found.iter().zip(&outputs).filter_map(|((_, found), y)| difference(found, y, tolerance));
                differences.next().map_or(Answer::Right, Answer::Wrong)
            }
            Err(error) => Answer::Wrong(error.to_string()),
        }
    }
}

enum Answer {
    Right,
    Wrong(String),
    Refused(String),
}

fn unsupported(graph: &TensorGraph) -> Option<String> {
    graph.nodes().find_map(|(_, node)| {
        let Op::Unsupported(op) = node.op() else { return None };
        (!op.is_consequence()).then(|| format!("{}: {}", op.operator, op.reason))
    })
}

fn difference(found: &Tensor, expected: &ArrayD<f64>, tolerance: f64) -> Option<String> {
    if found.shape() != expected.shape() {
        return Some(format!("shape {:?}, not {:?}", found.shape(), expected.shape()));
    }
    let wrong = |&(&found, &expected): &(&f64, &f64)| {
        let same = found == expected || found.is_nan() && expected.is_nan();
        let near = (found - expected).abs() <= ABSOLUTE + tolerance * expected.abs();
        !same && !near
    };
    found.values().iter().zip(expected).find(wrong).map(|(found, expected)| format!("{found}, not {expected}"))
}

/// How many cases are right, which of `known` are not, and which are refused, with the reasons.
fn run(name: &str, known: &[&str]) -> String {
    let mut suite = Suite::open(name);
    let mut right = 0;
    let (mut wrong, mut otherwise) = (Vec::new(), Vec::new());
    let mut refused: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for case in suite.cases() {
        match suite.run(&case) {
            Answer::Right => right += 1,
            Answer::Wrong(_) if known.contains(&&*case) => otherwise.push(case),
            Answer::Wrong(difference) => wrong.push(format!("{case}: {difference}")),
            Answer::Refused(reason) => refused.entry(reason).or_default().push(case),
        }
    }
    assert!(wrong.is_empty(), "{} are right, wrong are:\n{}", right, wrong.join("\n"));
    let lines = refused.into_iter().map(|(reason, cases)| format!("{reason}\n    {}\n", cases.join("\n    ")));
    let lines = lines.collect::<String>();
    format!("{right} cases are right, otherwise are {otherwise:?}, refused are:\n\n{lines}")
}

#[test]
fn models_that_pytorch_wrote() {
    assert_eq!(
        run("onnx-backend/pytorch-converted-1.18.0", &[]),
        "82 cases are right, otherwise are [], refused are:\n\n"
    );
    assert_eq!(
        run("onnx-backend/pytorch-operator-1.18.0", &[]),
        "35 cases are right, otherwise are [], refused are:\n\n"
    );
}

#[test]
fn single_nodes() {
    insta::assert_snapshot!("node-1.18.0", run("onnx-backend/node-1.18.0", &OTHERWISE));
    insta::assert_snapshot!("node-1.6.0", run("onnx-backend/node-1.6.0", &[&OTHERWISE[..], &WRONG_IN_1_6].concat()));
}

#[test]
fn pipelines_that_skl2onnx_wrote() {
    assert_eq!(run("sklearn/sklearn", &[]), "18 cases are right, otherwise are [], refused are:\n\n");
}

#[test]
fn corrupted_cases_do_not_panic() {
    let mut suite = Suite::open("onnx-backend/node-1.18.0");
    // xorshift64: the same corruptions in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut read = 0;
    for case in suite.cases() {
        let model = suite.bytes(&format!("{case}/model.onnx")).unwrap();
        for _ in 0..20 {
            let mut bytes = model.clone();
            let at = random(bytes.len());
            bytes[at] ^= 1 + random(255) as u8;
            let options = ImportOptions { keep_first_axis: random(2) == 0, ..ImportOptions::default() };
            read += usize::from(import(&bytes, &options).is_ok());
        }
    }
    assert!(read > 1000, "{read}");
}
