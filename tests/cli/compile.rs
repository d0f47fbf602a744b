//! `hec compile`: what it writes, and what it leaves alone.

use crate::common::{Onnx, small};
use crate::process::{Folder, model};

#[test]
fn decisions_are_printed_and_the_program_is_named_after_the_model() {
    let folder = Folder::new();
    let said = folder.hec(&["compile", &model("cryptonets-mnist")]).ok();
    assert_eq!(folder.names(), ["cryptonets-mnist.hec", "cryptonets-mnist.hecclient"]);
    for part in ["/conv1/Conv", "/fc2/Gemm", "depth", "chosen", "log2(QP)", "128 bits of security", "precision"] {
        assert!(said.stdout.contains(part), "expected {part:?} in {said:?}");
    }
    let written = format!("wrote cryptonets-mnist.hec ({} bytes)", folder.read("cryptonets-mnist.hec").len());
    let client = folder.read("cryptonets-mnist.hecclient").len();
    let client = format!("wrote cryptonets-mnist.hecclient ({client} bytes), all that a client needs");
    assert_eq!(said.stdout.lines().rev().take(2).collect::<Vec<_>>(), [client, written]);
}

#[test]
fn options_change_what_is_decided() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    let said = |arguments: &[&str]| folder.hec(&[&["compile", "small.onnx"], arguments].concat()).ok().stdout;
    assert!(said(&["--security", "256"]).contains("256 bits of security"));
    assert!(said(&["--precision", "20"]).contains("20.0 asked for"));
    assert_ne!(said(&["--input-range", "-8", "8", "-o", "wide.hec"]), said(&["-o", "wide.hec"]));
    assert_eq!(folder.names(), ["small.hec", "small.hecclient", "small.onnx", "wide.hec", "wide.hecclient"]);
}

#[test]
fn the_ring_is_the_compiler_s_choice_or_the_user_s() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    let said = |arguments: &[&str]| folder.hec(&[&["compile", "small.onnx"], arguments].concat()).ok().stdout;
    assert!(said(&[]).contains("(conjugate-invariant, the least cost a sample)"));
    assert!(said(&["--ring", "standard", "-o", "standard.hec"]).contains("(standard, as asked for)"));
    let asked = said(&["--ring", "conjugate-invariant", "-o", "invariant.hec"]);
    assert!(asked.contains("(conjugate-invariant, as asked for)"), "{asked}");
    assert!(folder.read("small.hec") == folder.read("invariant.hec"));
    let run = folder.hec(&["run", "standard.hec", "--ring", "conjugate-invariant"]);
    run.error_with(&["compiled for the standard ring, not the conjugate-invariant one"]);
    folder.hec(&["compile", "small.onnx", "--ring", "complex"]).usage_with("conjugate-invariant");
}

#[test]
fn a_program_is_not_compiled_again() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.hec(&["compile", "small.onnx"]).ok();
    folder.hec(&["compile", "small.hec"]).error_with(&["small.hec", "compiled program already"]);
}

#[test]
fn failure_leaves_everything_as_it_was() {
    let folder = Folder::new();
    // Without its card there are no calibration samples.
    folder.write("classical.onnx", std::fs::read(model("classical-mnist")).unwrap());
    let nan = Onnx::new().input("x", &[1]).weights("w", &[1], &[f32::NAN]);
    folder.write("nan.onnx", nan.node("Mul", &["x", "w"], "y").output("y").bytes());
    folder.write("garbage.onnx", b"garbage");
    folder.write("kept.hec", b"old");
    folder.write("kept.json", b"old");
    let before = folder.names();
    for source in ["classical.onnx", "nan.onnx", "garbage.onnx", "absent.onnx"] {
        folder.hec(&["compile", source, "-o", "kept.hec"]).error();
        folder.hec(&["compile", source, "-o", "new.hec"]).error();
        folder.hec(&["compile", source]).error();
        folder.hec(&["run", source, "--limit", "2", "--output", "kept.json"]).error();
    }
    assert_eq!(folder.names(), before);
    assert_eq!((folder.read("kept.hec"), folder.read("kept.json")), (b"old".to_vec(), b"old".to_vec()));
}

#[test]
fn outputs_that_cannot_be_written() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    std::fs::create_dir(folder.path("folder")).unwrap();
    let before = folder.names();
    folder.hec(&["compile", "small.onnx", "-o", "absent/small.hec"]).error_with(&["absent", "cannot be written"]);
    folder.hec(&["compile", "small.onnx", "-o", "folder"]).error_with(&["folder", "another name"]);
    assert_eq!(folder.names(), before);
    assert_eq!(std::fs::read_dir(folder.path("folder")).unwrap().count(), 0);
}

/// Whatever the model needs: a longer chain would be no better advice.
#[test]
fn insecure_parameters_are_refused_with_the_numbers() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    let cryptonets = model("cryptonets-mnist");
    for primes in ["[49, 49, 49, 49, 49]", "[50, 50, 50, 50]"] {
        folder.write("p.json", format!(r#"{{"poly_modulus_degree": 4096, "coeff_modulus": {primes}}}"#));
        for path in ["small.onnx", &cryptonets] {
            let said = folder.hec(&["compile", path, "--params", "p.json", "-o", "never.hec"]);
            said.error_with(&["log2(QP) = ", "too large for 128 bits of security", "2^12", "106 bits"]);
        }
    }
    assert_eq!(folder.names(), ["p.json", "small.onnx"]);
}

#[test]
fn explicit_parameters_are_checked() {
    let folder = Folder::new();
    let refuse = |text: &str, parts: &[&str]| {
        folder.write("p.json", text);
        let said = folder.hec(&["compile", &model("cryptonets-mnist"), "--params", "p.json", "-o", "never.hec"]);
        said.error_with(parts);
    };
    refuse(r#"{"poly_modulus_degree": 8192, "coeff_modulus": [30, 30]}"#, &["too short", "node \""]);
    refuse(r#"{"poly_modulus_degree": 8192, "coeff_modulus": [40]}"#, &["at least two primes"]);
    refuse(r#"{"poly_modulus_degree": 8192, "coeff_modulus": []}"#, &["at least two primes"]);
    refuse(r#"{"poly_modulus_degree": 5000, "coeff_modulus": [40, 40]}"#, &["5000 is not a power of two"]);
    refuse(r#"{"poly_modulus_degree": 0, "coeff_modulus": [40, 40]}"#, &["0 is not a power of two"]);
    refuse(r#"{"poly_modulus_degree": 8192, "coeff_modulus": [40, 3]}"#, &["a prime of 3 bits"]);
    refuse(r#"{"poly_modulus_degree": 8192, "coeff_modulus": [40, 400]}"#, &["a prime of 400 bits"]);
    refuse(r#"{"poly_modulus_degree": 8192, "coeff_modulus": [40, -4]}"#, &["p.json", "coeff_modulus"]);
    refuse(r#"{"poly_modulus_degree": "8192", "coeff_modulus": [40]}"#, &["p.json", "poly_modulus_degree"]);
    refuse(
        r#"{"poly_modulus_degree": 16384, "coeff_modulus": [49, 49, 49, 49, 49], "scale_bits": 1e9}"#,
        &["scale_bits"],
    );
    refuse(r#"{"poly_modulus_degree": 16384, "coeff_modulus": [49, 49, 49, 49, 49], "scale_bits": 2000000000}"#, &[]);
    refuse(r#"{"poly_modulus_degree": 16384, "coeff_modulus": [49, 49, 49, 49, 49], "scale_bits": -2000000000}"#, &[]);
    refuse(r#"{"poly_modulus_degree": 8192, "primes": [40]}"#, &["unknown key \"primes\""]);
    refuse("[]", &["p.json", "object"]);
    refuse("{", &["p.json"]);
    refuse("", &["p.json"]);
    let many = vec!["20"; 4000].join(", ");
    refuse(&format!(r#"{{"poly_modulus_degree": 131072, "coeff_modulus": [{many}]}}"#), &[]);
    let said = folder.hec(&["compile", &model("cryptonets-mnist"), "--params", "absent.json"]);
    said.error_with(&["absent.json", "cannot be read"]);
    assert_eq!(folder.names(), ["p.json"]);
}

#[test]
fn options_are_checked() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    let said = |arguments: &[&str]| folder.hec(&[&["compile", "small.onnx"], arguments].concat());
    said(&["--security", "100"]).usage_with("expected 128, 192 or 256");
    said(&["--unknown"]).usage_with("--unknown");
    said(&["--precision", "high"]).usage_with("--precision");
    said(&["--precision", "100"]).error_with(&["precision", "100"]);
    said(&["--precision", "NaN"]).error_with(&["precision", "NaN"]);
    said(&["--input-range", "1", "0"]).error_with(&["input-range", "[1, 0]"]);
    said(&["--input-range", "0", "inf"]).error_with(&["input-range", "inf"]);
    said(&["--input-range", "0"]).usage_with("--input-range");
    assert_eq!(folder.names(), ["small.onnx"]);
}
