//! Layers computed in tiles: less memory, the same answers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;

use common::{Onnx, Random};
use hec::ir::ckks::{counts, peak_ciphertext_bytes};
use hec::ir::tensor::TensorGraph;
use hec::{CompileError, ImportOptions, Options, Program, SampleBatch, Silent};

/// Two convolutions with squares, and a dense layer that reads all of the second.
fn network() -> TensorGraph {
    let mut random = Random(7);
    let mut weights = |count: usize| (0..count).map(|_| random.below(2001) as f32 / 4000.0 - 0.25).collect::<Vec<_>>();
    let (w1, w2, w3) = (weights(36), weights(216), weights(216 * 5));
    let model = Onnx::new()
        .input("x", &[1, 10, 10])
        .weights("w1", &[4, 1, 3, 3], &w1)
        .weights("w2", &[6, 4, 3, 3], &w2)
        .weights("w3", &[216, 5], &w3)
        .node("Conv", &["x", "w1"], "a")
        .node("Mul", &["a", "a"], "b")
        .node("Conv", &["b", "w2"], "c")
        .node("Mul", &["c", "c"], "d")
        .node("Flatten", &["d"], "e")
        .node("MatMul", &["e", "w3"], "y")
        .output("y");
    hec::import(&model.bytes(), &ImportOptions::default()).unwrap()
}

fn outputs(program: &Program, backend: &str, samples: usize) -> Vec<f64> {
    let mut random = Random(3);
    let values = (0..samples * 100).map(|_| random.below(1001) as f64 / 1000.0).collect();
    let inputs = BTreeMap::from([("x".to_owned(), SampleBatch { values, samples })]);
    let outcome = hec::backend(backend).unwrap().run(program, &inputs, &Silent).unwrap();
    outcome.outputs.into_values().next().unwrap()
}

fn compiled(memory: Option<u64>) -> Result<Program, CompileError> {
    Ok(hec::compile(&network(), &Options { memory, ..Options::default() })?.program)
}

#[test]
fn less_memory_gives_the_same_answers() {
    let whole = compiled(None).unwrap();
    let peak = peak_ciphertext_bytes(whole.circuit());
    let expected = outputs(&whole, "plain-circuit", 3);
    let mut tiled = 0;
    for percent in [90, 75, 60, 50] {
        let budget = peak * percent / 100;
        let program = match compiled(Some(budget)) {
            Ok(program) => program,
            Err(CompileError::Memory(unfit)) => {
                assert!(unfit.found > unfit.budget && percent < 75, "{unfit}");
                continue;
            }
            Err(other) => panic!("{other}"),
        };
        assert!(peak_ciphertext_bytes(program.circuit()) <= budget, "{percent} %");
        assert!(program.circuit().len() > whole.circuit().len());
        let found = outputs(&program, "plain-circuit", 3);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{percent} %: {a} is not {b}");
        }
        tiled += 1;
    }
    assert!(tiled >= 2);
}

#[test]
fn tiles_run_encrypted() {
    let whole = compiled(None).unwrap();
    let program = compiled(Some(peak_ciphertext_bytes(whole.circuit()) * 75 / 100)).unwrap();
    let (found, expected) = (outputs(&program, "he-ckks", 2), outputs(&program, "plain", 2));
    let largest = expected.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < largest / 64.0), "{found:?} {expected:?}");
    // What several tiles need is computed more than once: here tiles are a few places of a 6x6 grid, and overlap by 2.
    let (tiled, whole) = (counts(program.circuit()), counts(whole.circuit()));
    assert!(tiled.products >= whole.products && tiled.products <= 6 * whole.products, "{tiled:?} {whole:?}");
}

#[test]
fn a_budget_that_nothing_fits_is_refused_with_the_numbers() {
    let refused = compiled(Some(1 << 16)).expect_err("64 KiB do not hold a ciphertext").to_string();
    assert!(refused.contains("the inputs alone take") && refused.contains("--memory"), "{refused}");
}
