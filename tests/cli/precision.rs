//! The precision certificate from the outside: stated, verified, checked, and asked for.

use hec::Program;

use crate::common::small;
use crate::process::{Folder, model};

#[test]
fn the_certificate_is_stated_and_recomputed() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.hec(&["compile", "small.onnx"]).ok();
    let said = folder.hec(&["verify", "small.hec"]).ok().stdout;
    for part in ["bits expected", "at least", "an error above its bound 2^-30", "made-up samples", "the same"] {
        assert!(said.contains(part), "expected {part:?} in {said}");
    }
    let json = folder.hec(&["verify", "small.hec", "--json"]).json();
    let output = &json["precision"]["outputs"][0];
    assert!(output["bits"].as_f64().unwrap() > output["bound_bits"].as_f64().unwrap(), "{json}");
    let program = Program::from_bytes(&folder.read("small.hec")).unwrap();
    let stated = program.annotation("precision").unwrap().to_owned();
    let with = |text: &str| {
        folder.write("stated.hec", program.clone().with_annotation("precision", text).to_bytes());
        folder.hec(&["verify", "stated.hec"])
    };
    with(&stated).ok();
    with(&stated.replace("\"calibrated\":false", "\"calibrated\":true"))
        .error_with(&["precision certificate", "does not hold"]);
    with("[]").error_with(&["precision certificate does not hold"]);
    // Another profile is another certificate.
    let mut profile = program.profile().unwrap().clone();
    profile.values.iter_mut().for_each(|seen| seen.worst /= 2.0);
    folder.write("bold.hec", program.clone().with_profile(Some(profile)).unwrap().to_bytes());
    folder.hec(&["verify", "bold.hec"]).error_with(&["bold.hec", "precision certificate does not hold"]);
}

#[test]
fn a_check_names_what_is_broken() {
    let folder = Folder::new();
    folder.hec(&["compile", &model("digits"), "-o", "digits.hec"]).ok();
    let input = crate::common::repository("models/data/tabular/digits.test.npz");
    let input = input.to_str().unwrap();
    let arguments = |file| ["run", file, "--input", input, "--limit", "2", "--check"];
    let said = folder.hec(&arguments("digits.hec")).ok();
    assert!(said.stderr.contains("decrypted with the secret key"), "{said:?}");
    for part in ["precision certificate", "expected", "measured", "bound", "output"] {
        assert!(said.stdout.contains(part), "expected {part:?} in {said:?}");
    }
    let program = Program::from_bytes(&folder.read("digits.hec")).unwrap();
    let mut profile = program.profile().unwrap().clone();
    profile.values.iter_mut().for_each(|seen| seen.worst = 0.2 * seen.error);
    folder.write("bold.hec", program.with_profile(Some(profile)).unwrap().to_bytes());
    let said = folder.hec(&arguments("bold.hec")).failed();
    assert!(said.stdout.contains("BROKEN") && said.stderr.contains("the precision certificate is broken"), "{said:?}");
    let check = |backend| folder.hec(&[&arguments("digits.hec")[..], &["--backend", backend]].concat());
    check("plain").error_with(&["--check", "encrypts nothing"]);
    assert!(check("sim").failed().stderr.contains("nothing to check"));
}

#[test]
fn errors_are_simulated_and_asked_for() {
    let folder = Folder::new();
    let input = crate::common::repository("models/data/tabular/digits.test.npz");
    let run = |backend: &str| {
        let report =
            folder.hec(&["run", &model("digits"), "--input", input.to_str().unwrap(), "--backend", backend, "--json"]);
        report.json()["mean_error"].as_f64().unwrap()
    };
    assert!(run("sim") < 0.01);
    let measured = ["run", &model("digits"), "--backend", "sim", "--measured", "m.json"];
    folder.hec(&measured).error_with(&["--measured", "sim"]);
    folder.write("small.onnx", small().bytes());
    for bad in ["0", "-1", "much"] {
        folder.hec(&["compile", "small.onnx", &format!("--output-error={bad}")]).usage_with("--output-error");
    }
    folder
        .hec(&["compile", "small.onnx", "--output-error", "1e-30"])
        .error_with(&["output-error", "cannot be bounded"]);
    folder.hec(&["compile", "small.onnx", "--output-error", "1e-3"]).ok();
    let json = folder.hec(&["verify", "small.hec", "--json"]).json();
    assert!(json["precision"]["outputs"][0]["bound"].as_f64().unwrap() <= 1e-3, "{json}");
}
