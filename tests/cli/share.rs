//! Results that are shown to others: noise, what it costs, and when it is refused.

use crate::common::{Onnx, small};
use crate::process::Folder;

const SAMPLES: &str = "0.5,0.25,1,0\n0,1,0,1\n-0.5,0.75,0.25,-1\n";
const CLIENT: [&str; 4] = ["--client", "small.hecclient", "--key", "keys/secret.heckey"];

/// A folder with encrypted results of a program that was compiled with `more`.
fn evaluated(more: &[&str]) -> Folder {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("x.csv", SAMPLES);
    folder.hec(&[&["compile", "small.onnx", "--input-range", "-1", "1"][..], more].concat()).ok();
    folder.hec(&["keygen", "--client", "small.hecclient", "-o", "keys"]).ok();
    folder.hec(&[&["encrypt"][..], &CLIENT, &["--input", "x.csv", "-o", "in.hecct"]].concat()).ok();
    let files = ["--keys", "keys/evaluation.heckeys", "--input", "in.hecct", "-o", "out.hecct"];
    folder.hec(&[&["evaluate", "small.hec"][..], &files].concat()).ok();
    folder
}

fn decrypt<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["decrypt"][..], &CLIENT, &["--input", "out.hecct"], more].concat()
}

fn numbers(folder: &Folder, file: &str) -> Vec<f64> {
    let text = String::from_utf8(folder.read(file)).unwrap();
    text.lines().skip(1).flat_map(|line| line.split(',')).map(|number| number.parse().unwrap()).collect()
}

#[test]
fn shared_results_have_fresh_noise_and_the_precision_asked_for() {
    for layout in ["batch", "packed"] {
        let folder = evaluated(&["--share-decryptions", "--batch", "3", "--layout", layout]);
        folder.hec(&decrypt(&["--output", "own.csv"])).ok();
        folder.hec(&decrypt(&["--output", "again.csv"])).ok();
        let said = folder.hec(&decrypt(&["--output", "first.csv", "--share-decryptions"])).ok();
        let row = said.stdout.lines().find(|line| line.starts_with("shared")).unwrap();
        assert!(
            row.contains("30 bits of statistical security for 3 samples together, 31.6 bits per decryption"),
            "{row}"
        );
        let report = folder.hec(&decrypt(&["--output", "second.csv", "--share-decryptions=24", "--json"])).json();
        assert!(report["shared"]["bits"] == 24 && report["shared"]["samples"] == 3, "{report}");
        let [before, after] = [0, 1].map(|i| report["shared"]["precision_bits"][i].as_f64().unwrap());
        assert!(before > after && after >= 10.0, "{report}");

        let [own, again, first, second] =
            ["own", "again", "first", "second"].map(|n| numbers(&folder, &format!("{n}.csv")));
        // Who decrypts for himself gets what is there.
        assert_eq!(own, again);
        assert_eq!(own.len(), 6);
        let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect::<Vec<_>>();
        for (a, b) in [(&own, &first), (&own, &second), (&first, &second)] {
            assert!(apart(a, b).iter().all(|apart| (1e-12..1e-2).contains(apart)), "{layout}: {a:?} {b:?}");
        }
    }
}

#[test]
fn one_process_shares_as_two_do() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("x.csv", SAMPLES);
    let run = ["run", "small.onnx", "--input", "x.csv", "--input-range", "-1", "1", "--batch", "3", "--json"];
    let report = folder.hec(&[&run[..], &["--share-decryptions=40"]].concat()).json();
    assert_eq!(report["shared"]["bits"], 40, "{report}");
    assert!(report["precision_bits"].as_f64().unwrap() > 9.0, "{report}");
    assert!(folder.hec(&run).json()["shared"].is_null());
    // Nothing is encrypted, so there is nothing to hide.
    folder.hec(&["compile", "small.onnx", "--input-range", "-1", "1", "--share-decryptions", "--batch", "3"]).ok();
    for backend in ["plain", "plain-circuit"] {
        let run = ["run", "small.hec", "--input", "x.csv", "--share-decryptions", "--backend", backend];
        folder.hec(&run).error_with(&["encrypts"]);
    }
}

#[test]
fn what_would_not_be_safe_or_not_precise_is_refused() {
    // Compiled without a thought of sharing: the noise leaves nothing.
    let folder = evaluated(&[]);
    let said = folder.hec(&decrypt(&["--output", "y.csv", "--share-decryptions=64"]));
    said.error_with(&[
        "decryptions of 3 samples cannot be shared with 64 bits",
        "output \"y\" would keep",
        "compiled for 10.0",
        "--share-decryptions=64 --batch 3",
    ]);
    assert!(!folder.names().contains(&"y.csv".to_owned()));
    folder.hec(&["run", "small.hec", "--input", "x.csv", "--share-decryptions=64"]).error_with(&["cannot be shared"]);
    folder.hec(&decrypt(&["--share-decryptions=4"])).usage_with("20 to 128");

    // What the client makes of values in the middle of a run has no bound.
    let relu = Onnx::new().input("x", &[4]).node("Relu", &["x"], "h").node("Mul", &["h", "h"], "y").output("y");
    folder.write("relu.onnx", relu.bytes());
    let rounds = ["--activations", "client", "--calibrate", "x.csv"];
    folder
        .hec(&[&["compile", "relu.onnx", "--share-decryptions"][..], &rounds].concat())
        .error_with(&["--activations polynomial"]);
    folder.hec(&[&["compile", "relu.onnx"][..], &rounds].concat()).ok();
    folder.hec(&["run", "relu.hec", "--input", "x.csv", "--share-decryptions"]).error_with(&["no bound on the errors"]);
}
