//! `hec inspect`: the graph as text, at every stage.

use crate::process::{Folder, model};

const STAGES: [&str; 4] = ["model", "tensor", "slots", "ckks"];

fn inspect(arguments: &[&str]) -> String {
    Folder::new().hec(&[&["inspect", &model("cryptonets-mnist")], arguments].concat()).ok().stdout
}

#[test]
fn cryptonets_after_the_passes() {
    insta::assert_snapshot!(inspect(&["--at", "tensor"]));
}

#[test]
fn cryptonets_in_slots() {
    insta::assert_snapshot!(inspect(&["--at", "slots"]));
}

#[test]
fn cryptonets_managed() {
    insta::assert_snapshot!(inspect(&["--at", "ckks"]));
}

#[test]
fn a_program_shows_what_its_model_shows() {
    let folder = Folder::new();
    folder.hec(&["compile", &model("cryptonets-mnist"), "-o", "net.hec"]).ok();
    for stage in STAGES {
        let of_program = folder.hec(&["inspect", "net.hec", "--at", stage]).ok().stdout;
        assert_eq!(of_program, inspect(&["--at", stage]), "{stage}");
    }
    assert_eq!(inspect(&[]), inspect(&["--at", "model"]));
    assert_eq!(folder.hec(&["inspect", "net.hec"]).ok().stdout, inspect(&["--at", "ckks"]));
}

/// The origins of a dump's nodes: what stands after `//`.
fn origins(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once("  // ")).map(|(_, origin)| origin).collect()
}

#[test]
fn pictures_name_every_node() {
    for stage in STAGES {
        let (text, dot) = (inspect(&["--at", stage]), inspect(&["--at", stage, "--dot"]));
        assert!(dot.starts_with("digraph {\n") && dot.trim_end().ends_with('}'), "{dot}");
        let origins = origins(&text);
        assert!(origins.len() > 5, "{text}");
        for (i, origin) in origins.iter().enumerate() {
            let named = |line: &str| line.contains(&format!("\"%{i} ")) && line.contains(&format!("\\n{origin}\""));
            assert!(dot.lines().any(named), "%{i} {origin} is not in {dot}");
        }
        assert!(dot.contains("\"output logits\""), "{dot}");
    }
}

#[test]
fn what_cannot_be_encrypted_can_be_looked_at() {
    let folder = Folder::new();
    let path = model("classical-mnist");
    for stage in ["model", "tensor"] {
        let text = folder.hec(&["inspect", &path, "--at", stage]).ok().stdout;
        assert!(text.contains("// /relu1/Relu") && text.contains("// /pool2/MaxPool"), "{text}");
    }
    // Without its card there are no calibration samples.
    folder.write("bare.onnx", std::fs::read(&path).unwrap());
    for stage in ["slots", "ckks"] {
        folder.hec(&["inspect", "bare.onnx", "--at", stage]).error_with(&["/relu1/Relu", "/pool2/MaxPool"]);
    }
    folder.hec(&["inspect", &path, "--at", "nowhere"]).usage_with("nowhere");
}
