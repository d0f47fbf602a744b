//! Runs on encrypted data, and what they are compared with.

use serde_json::Value;

use crate::common::{self, files, repository};
use crate::process::{Folder, model};

/// Whether the report has all that machines may rely on.
#[track_caller]
fn check_report(report: &Value, samples: u64, security: Option<u64>) {
    let number = |path: &str| {
        let value = report.pointer(path).unwrap_or_else(|| panic!("no {path} in {report}"));
        value.as_f64().unwrap_or_else(|| panic!("{path} is {value}"))
    };
    for part in ["/accuracy", "/plain_accuracy", "/agreement"] {
        assert!((0.0..=1.0).contains(&number(part)), "{part}: {report}");
    }
    assert!(0.0 <= number("/mean_error") && number("/mean_error") <= number("/max_error"), "{report}");
    for phase in ["keygen", "encrypt", "evaluate", "decrypt"] {
        assert!(number(&format!("/seconds/{phase}")) >= 0.0, "{report}");
    }
    for what in ["keys", "input", "output"] {
        assert!(report["bytes"][what].is_u64(), "{report}");
    }
    if cfg!(target_os = "linux") {
        assert!(number("/bytes/peak_memory") > 1e6, "{report}");
    }
    assert_eq!(report["samples"], samples);
    assert!(number("/batches") >= 1.0);
    if let Some(bits) = security {
        assert_eq!(report["parameters"]["security"], bits);
        assert_eq!(report["parameters"]["ring_type"], "conjugate-invariant");
        assert_eq!(number("/parameters/slots"), number("/parameters/log_n").exp2());
        assert!((11.0..=17.0).contains(&number("/parameters/log_n")), "{report}");
        assert!((40.0..3600.0).contains(&number("/parameters/log_qp")), "{report}");
        assert!((10.0..=60.0).contains(&number("/parameters/scale_bits")), "{report}");
        assert!((1.0..=60.0).contains(&number("/parameters/levels")), "{report}");
        assert!(number("/precision_bits") >= 9.0, "{report}");
    } else {
        assert!(report["parameters"].is_null() && report["precision_bits"].is_null(), "{report}");
        assert_eq!((number("/max_error"), number("/agreement")), (0.0, 1.0));
    }
}

fn report(name: &str, backend: &str) -> Value {
    let arguments = ["run", &model(name), "--limit", "64", "--backend", backend, "--json"];
    Folder::new().hec(&arguments).json()
}

#[test]
fn mnist_encrypted_is_as_right_as_in_the_clear() {
    let encrypted = report("cryptonets-mnist", "he-ckks");
    check_report(&encrypted, 64, Some(128));
    assert_eq!(encrypted["agreement"], 1.0);
    assert!(encrypted["accuracy"].as_f64().unwrap() > 0.9, "{encrypted}");
    for bytes in ["input", "output"] {
        assert!(encrypted["bytes"][bytes].as_u64().unwrap() > 100_000, "{encrypted}");
    }
    let plain = report("cryptonets-mnist", "plain");
    check_report(&plain, 64, None);
    assert_eq!(encrypted["accuracy"], plain["accuracy"]);
    assert_eq!(encrypted["plain_accuracy"], plain["accuracy"]);
}

#[test]
fn fashion_mnist_as_circuit_is_as_right_as_in_the_clear() {
    let circuit = report("cryptonets-fashion-mnist", "plain-circuit");
    check_report(&circuit, 64, Some(128));
    assert_eq!(circuit["agreement"], 1.0);
    assert!(circuit["accuracy"].as_f64().unwrap() > 0.8, "{circuit}");
    let plain = report("cryptonets-fashion-mnist", "plain");
    check_report(&plain, 64, None);
    assert_eq!(circuit["accuracy"], plain["accuracy"]);
}

#[test]
fn higher_security_runs_too() {
    for security in [192, 256] {
        let folder = Folder::new();
        let bits = security.to_string();
        let arguments = ["run", &model("cryptonets-mnist"), "--limit", "8", "--security", &bits, "--json"];
        let report = folder.hec(&arguments).json();
        check_report(&report, 8, Some(security));
        assert_eq!(report["agreement"], 1.0);
    }
}

#[test]
fn a_program_runs_with_explicit_data_and_prints_a_table() {
    let folder = Folder::new();
    folder.hec(&["compile", &model("cryptonets-mnist"), "-o", "net.hec"]).ok();
    let data = |file: &str| repository("models/data/mnist").join(file).to_str().unwrap().to_owned();
    let images = data("t10k-images-idx3-ubyte.gz");
    let labels = data("t10k-labels-idx1-ubyte.gz");
    let arguments =
        ["run", "net.hec", "--backend", "he-ckks", "--limit", "32", "--input", &images, "--labels", &labels];
    let said = folder.hec(&arguments).ok();
    let row = |name: &str| {
        let line = said.stdout.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no row {name:?}: {said:?}"))[name.len()..].trim().to_owned()
    };
    assert_eq!(row("samples"), "32 in 1 batch");
    assert_eq!(row("agreement with the plain model"), "100.00 %");
    assert!(row("accuracy").ends_with(" %)"), "{said:?}");
    for name in ["output error", "precision", "key generation", "encode + encrypt", "evaluate", "decrypt + decode"] {
        assert_ne!(row(name), "");
    }
    for name in ["peak memory", "evaluation keys", "encrypted input", "encrypted output"] {
        assert!(row(name).ends_with(" MB"), "{said:?}");
    }
    assert!(row("parameters").contains("(conjugate-invariant ring, "), "{said:?}");
    assert!(row("parameters").starts_with("N = 2^") && row("parameters").ends_with("128 bits of security"), "{said:?}");
    // Without a card beside it, a program has no samples of its own.
    folder.hec(&["run", "net.hec"]).error_with(&["no samples for input \"image\"", "--input FILE"]);
}

#[test]
fn explicit_parameters_are_used() {
    let folder = Folder::new();
    folder.write("good.json", r#"{"poly_modulus_degree": 16384, "coeff_modulus": [49, 49, 49, 49, 49]}"#);
    let arguments = ["run", &model("cryptonets-mnist"), "--limit", "8", "--params", "good.json", "--json"];
    let report = folder.hec(&arguments).json();
    check_report(&report, 8, Some(128));
    assert_eq!((&report["agreement"], &report["parameters"]["log_n"]), (&1.0.into(), &14.into()));
}

#[test]
fn encoded_weights_are_kept_in_a_folder() {
    let folder = Folder::new();
    folder.write("small.onnx", common::small().bytes());
    folder.write("x.csv", "0.5,0.25,0,1\n");
    folder.hec(&["compile", "small.onnx", "--layout", "packed", "-o", "small.hec"]).ok();
    let run = || folder.hec(&["run", "small.hec", "--input", "x.csv", "--weight-cache", "kept/weights"]).ok().stderr;
    let (first, second) = (run(), run());
    assert!(first.contains("weights: encoded, and kept in kept/weights"), "{first}");
    assert!(second.contains("weights: read from kept/weights"), "{second}");
    let files: Vec<_> = std::fs::read_dir(folder.path("kept/weights")).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::write(files.into_iter().next().unwrap().unwrap().path(), "not weights").unwrap();
    let third = run();
    assert!(third.contains("is no cache of this program") && third.contains("made again"), "{third}");
    assert!(run().contains("weights: read from kept/weights"));
    // Where no file can be, the run goes on.
    folder.write("file", "");
    let arguments = ["run", "small.hec", "--input", "x.csv", "--weight-cache", "file"];
    let said = folder.hec(&arguments).ok().stderr;
    assert!(said.contains("cannot be written"), "{said}");
}

/// Relu and MaxPool nodes of the committed model, as its exporter named them.
const CLASSICAL_OBSTACLES: [&str; 4] = ["/relu1/Relu", "/pool1/MaxPool", "/relu2/Relu", "/pool2/MaxPool"];

#[test]
fn what_cannot_be_encrypted_is_listed_at_once_and_runs_in_the_clear() {
    let classical = files("models", "onnx").into_iter().filter(|path| common::stem(path).starts_with("classical-"));
    for path in classical {
        let folder = Folder::new();
        let path = path.to_str().unwrap();
        // Without its card there are no calibration samples.
        folder.write("bare.onnx", std::fs::read(path).unwrap());
        let samples = ["--input", &repository("models/data/mnist/t10k-images-idx3-ubyte.gz").display().to_string()]
            .map(str::to_owned);
        let run = ["run", "bare.onnx", "--backend", "he-ckks", "--limit", "4", &samples[0], &samples[1]];
        for arguments in [&run[..], &["compile", "bare.onnx"]] {
            let error = folder.hec(arguments).error();
            assert_eq!(error.lines().count(), 1 + CLASSICAL_OBSTACLES.len(), "{error}");
            assert!(error.starts_with("4 of the model's nodes cannot be computed on encrypted data:\n"), "{error}");
            for name in CLASSICAL_OBSTACLES {
                assert_eq!(error.matches(&format!("node \"{name}\": ")).count(), 1, "{error}");
            }
        }
        let report = folder.hec(&["run", path, "--backend", "plain", "--limit", "64", "--json"]).json();
        check_report(&report, 64, None);
        assert!(report["accuracy"].as_f64().unwrap() > 0.85, "{report}");
        assert_eq!(folder.names(), ["bare.onnx"]);
    }
}

#[test]
fn a_public_input_is_not_encrypted() {
    let folder = Folder::new();
    let two = common::Onnx::new()
        .input("x", &[2])
        .input("p", &[2])
        .node("Relu", &["p"], "factor")
        .node("Mul", &["x", "factor"], "y")
        .output("y");
    folder.write("two.onnx", two.bytes());
    folder.write("x.csv", "0.5,0.25\n1,-1\n-0.5,0.75\n0,1\n");
    folder.write("p.csv", "4,-3\n-2,1\n0.5,3\n2,-1\n");
    let data = ["--input", "x=x.csv", "--input", "p=p.csv"];
    let compile = ["--public", "p", "--calibrate", "x=x.csv", "--calibrate", "p=p.csv"];
    let said = folder.hec(&[&["compile", "two.onnx"][..], &compile].concat()).ok();
    assert!(said.stdout.contains("inputs in the clear: \"p\" f32[1, 2]"), "{said:?}");
    assert!(said.stdout.contains("from which the server computes relu"), "{said:?}");
    for backend in ["plain-circuit", "he-ckks"] {
        let report = folder.hec(&[&["run", "two.hec", "--backend", backend, "--json"][..], &data].concat()).json();
        assert_eq!(report["public"], serde_json::json!(["p"]));
        assert!(report["max_error"].as_f64().unwrap() < 0.01, "{report}");
    }
    let said = folder.hec(&[&["run", "two.onnx"][..], &data, &compile].concat()).ok();
    assert!(said.stdout.contains("inputs in the clear"), "{said:?}");
    let part = folder.hec(&["inspect", "two.hec", "--at", "public"]).ok().stdout;
    assert!(part.contains("relu") && !part.contains("\"x\""), "{part}");
    folder.hec(&["inspect", "two.onnx", "--at", "public", "--public", "z"]).error_with(&["no input \"z\"", "\"p\""]);
    folder
        .hec(&[&["run", "two.hec", "--public", "p"][..], &data].concat())
        .error_with(&["--public", "compiled program"]);
}
