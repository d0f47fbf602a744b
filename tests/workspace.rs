//! The crates, what they depend on, and where they may do what.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates of the workspace, and on which of each other they depend outside tests.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |value: &Value| value.as_array().unwrap().clone();
    let edges = |package: &Value| {
        // `path`: in the workspace. Kind null: neither for tests nor for build scripts.
        let normal = |d: &Value| d["kind"].is_null() && d["path"].is_string();
        list(&package["dependencies"]).iter().filter(|&d| normal(d)).map(|d| text(&d["name"])).collect()
    };
    list(&metadata["packages"]).iter().map(|package| (text(&package["name"]), edges(package))).collect()
}

#[test]
fn crates_depend_on_each_other_as_drawn() {
    let line = |(name, on): (String, BTreeSet<String>)| {
        format!("{name} -> {}", if on.is_empty() { "-".into() } else { on.into_iter().collect::<Vec<_>>().join(", ") })
    };
    insta::assert_snapshot!(edges().into_iter().map(line).collect::<Vec<_>>().join("\n"), @r"
    hec -> hec-ckks, hec-client, hec-compiler, hec-ir, hec-onnx, hec-plain, hec-protocol, hec-runtime, hec-server
    hec-approximation -> -
    hec-ckks -> hec-ir, hec-runtime
    hec-client -> hec-ckks, hec-ir, hec-protocol, hec-runtime
    hec-compiler -> hec-approximation, hec-ir
    hec-ir -> -
    hec-onnx -> hec-ir
    hec-plain -> hec-ir, hec-runtime
    hec-protocol -> hec-ckks, hec-ir
    hec-runtime -> hec-ir
    hec-server -> hec-ckks, hec-ir, hec-protocol, hec-runtime
    ");
}

#[test]
fn the_compiler_needs_neither_runtime_nor_engine() {
    let edges = edges();
    let (mut needs, mut open) = (BTreeSet::new(), vec!["hec-compiler".to_owned()]);
    while let Some(name) = open.pop() {
        if needs.insert(name.clone()) {
            open.extend(edges[&name].iter().cloned());
        }
    }
    for engine in ["hec-runtime", "hec-ckks", "hec-plain"] {
        assert!(!needs.contains(engine), "{engine}");
    }
}

/// What a crate is built with, with these features: `name feature "feature"` lines and names.
fn tree(package: &str, features: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "-p", package, "-e", "features,normal", "--prefix", "none"]).args(features);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_client_needs_neither_compiler_nor_evaluator() {
    for features in [&[][..], &["--features", "network"]] {
        let tree = tree("hec-client", features);
        assert!(tree.contains("hec-ckks v") && tree.contains("hec-runtime v"), "{tree}");
        for absent in
            ["hec-compiler", "hec-onnx", "hec-plain", "hec-server", "feature \"evaluator\"", "cmake", "aws-lc"]
        {
            assert!(!tree.contains(absent), "{absent} in:\n{tree}");
        }
    }
    assert!(!tree("hec-server", &[]).contains("hec-client"), "the server needs no client");
    assert!(!tree("hec-client", &[]).contains("tonic"), "files need no network");
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn only_vector_kernels_are_unsafe() {
    const WORD: &str = concat!("un", "safe");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(root, &mut files);
    assert!(files.len() > 50, "{files:?}");
    let within = |c: char| c.is_alphanumeric() || c == '_';
    let has = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        code.into_iter().any(|code| code.split(|c| !within(c)).any(|word| word == WORD))
    };
    let files = files.iter().filter(|path| has(path)).map(|path| path.strip_prefix(root).unwrap());
    let allowed = ["backends/ckks/src/ntt/avx2", "backends/ckks/src/kernels/avx2"];
    // A check that users neither build nor run: requests to valgrind.
    let files = files.filter(|path| *path != Path::new("constant-time/src/memcheck.rs"));
    let (kernels, others): (Vec<_>, Vec<_>) =
        files.partition(|path| allowed.iter().any(|start| path.to_str().unwrap().starts_with(start)));
    assert!(others.is_empty(), "{WORD} code outside of the vector kernels: {others:?}");
    assert!(!kernels.is_empty());
}
