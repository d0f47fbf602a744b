//! The four steps on files: keys, encryption, evaluation, decryption.

use crate::common::{Onnx, small, tensor};
use crate::process::Folder;

const SAMPLES: &str = "0.5,0.25,1,0\n0,1,0,1\n-0.5,0.75,0.25,-1\n";
const CLIENT: [&str; 4] = ["--client", "small.hecclient", "--key", "keys/secret.heckey"];

/// A folder with a program, its client file, keys and samples.
fn prepared() -> Folder {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("x.csv", SAMPLES);
    folder.hec(&["compile", "small.onnx"]).ok();
    folder.hec(&["keygen", "--client", "small.hecclient", "-o", "keys"]).ok();
    folder
}

fn encrypt<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    [&["encrypt"][..], &CLIENT, &["--input", input, "-o", output]].concat()
}

const EVALUATE: [&str; 8] =
    ["evaluate", "small.hec", "--keys", "keys/evaluation.heckeys", "--input", "in.hecct", "-o", "out.hecct"];

fn decrypt<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["decrypt"][..], &CLIENT, &["--input", "out.hecct"], more].concat()
}

fn numbers(folder: &Folder, file: &str) -> Vec<f64> {
    let text = String::from_utf8(folder.read(file)).unwrap();
    text.lines().skip(1).flat_map(|line| line.split(',')).map(|number| number.parse().unwrap()).collect()
}

#[track_caller]
fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.01), "{a:?} {b:?}");
}

#[test]
fn four_steps_are_one_run() {
    let folder = prepared();
    folder.hec(&encrypt("x.csv", "in.hecct")).ok();
    // The server has no secret.
    std::fs::rename(folder.path("keys/secret.heckey"), folder.path("away")).unwrap();
    let said = folder.hec(&EVALUATE).ok();
    assert!(said.stdout.contains("3 samples in 1 batches"), "{said:?}");
    std::fs::rename(folder.path("away"), folder.path("keys/secret.heckey")).unwrap();
    folder.write("labels.csv", "0\n1\n1\n");
    let said = folder.hec(&decrypt(&["--output", "y.csv", "--labels", "labels.csv"])).ok();
    let row = |name: &str| said.stdout.lines().find(|line| line.starts_with(name)).unwrap()[name.len()..].trim();
    assert_eq!((row("samples"), row("evaluate"), row("output error")), ("3 in 1 batch", "-", "-"));
    assert!(row("accuracy").ends_with("% (plain model -)"), "{said:?}");
    assert!(row("parameters").ends_with("128 bits of security"), "{said:?}");

    folder.hec(&["run", "small.hec", "--input", "x.csv", "--output", "run.csv"]).ok();
    close(&numbers(&folder, "y.csv"), &numbers(&folder, "run.csv"));
    let report = folder.hec(&decrypt(&["--json"])).json();
    assert!(report["seconds"]["evaluate"].is_null() && report["max_error"].is_null(), "{report}");
    assert_eq!(report["samples"], 3);
}

#[test]
fn keys_of_a_packed_program_with_rotations() {
    let folder = prepared();
    folder.hec(&["compile", "small.onnx", "--layout", "packed"]).ok();
    folder.hec(&[&["keygen"][..], &CLIENT[..2], &["-o", "packed"]].concat()).ok();
    let in_packed =
        |arguments: &[&str]| -> Vec<String> { arguments.iter().map(|text| text.replace("keys/", "packed/")).collect() };
    for step in [&encrypt("x.csv", "in.hecct")[..], &EVALUATE, &decrypt(&["--output", "y.csv"])] {
        let step = in_packed(step);
        folder.hec(&step.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    }
    folder.hec(&["run", "small.hec", "--input", "x.csv", "--output", "run.csv"]).ok();
    close(&numbers(&folder, "y.csv"), &numbers(&folder, "run.csv"));
    // Keys for the batch layout hold no rotations.
    folder.hec(&EVALUATE).error_with(&["evaluation.heckeys", "other parameters"]);
}

#[test]
fn what_is_left_to_the_client_and_what_is_public() {
    let folder = Folder::new();
    let two = Onnx::new()
        .input("x", &[2])
        .input("p", &[2])
        .node("Relu", &["p"], "factor")
        .node("Mul", &["x", "factor"], "z")
        .node("Softmax", &["z"], "y")
        .output("y");
    folder.write("small.onnx", two.bytes());
    folder.write("x.csv", "0.5,0.25\n1,-1\n-0.5,0.75\n0,1\n");
    folder.write("p.csv", "4,-3\n-2,1\n0.5,3\n2,-1\n");
    let data = ["--input", "x=x.csv", "--input", "p=p.csv"];
    let calibrate = ["--public", "p", "--calibrate", "x=x.csv", "--calibrate", "p=p.csv"];
    folder.hec(&[&["compile", "small.onnx"][..], &calibrate].concat()).ok();
    folder.hec(&["keygen", "--client", "small.hecclient", "-o", "keys"]).ok();
    let said = folder.hec(&[&["encrypt"][..], &CLIENT, &data, &["-o", "in.hecct"]].concat()).ok();
    assert!(said.stdout.contains("in the clear: \"p\""), "{said:?}");
    folder.hec(&EVALUATE).ok();
    let said = folder.hec(&decrypt(&["--output", "y.csv"])).ok();
    assert!(said.stdout.contains("softmax") && said.stdout.contains("inputs in the clear"), "{said:?}");
    folder.hec(&[&["run", "small.hec", "--output", "run.csv"][..], &data].concat()).ok();
    close(&numbers(&folder, "y.csv"), &numbers(&folder, "run.csv"));
}

#[cfg(unix)]
#[test]
fn a_secret_key_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let folder = prepared();
    let path = folder.path("keys/secret.heckey");
    let mode = |name: &str| folder.path(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys/secret.heckey"), mode("keys")), (0o600, 0o700));
    // Never overwritten.
    let before = folder.read("keys/secret.heckey");
    let again = ["keygen", "--client", "small.hecclient", "-o", "keys"];
    folder.hec(&again).error_with(&["secret.heckey is there already", "never overwritten"]);
    assert_eq!(before, folder.read("keys/secret.heckey"));
    // Nor read by a server, nor by anyone if others can.
    let secret: Vec<&str> =
        EVALUATE.iter().map(|&text| if text.starts_with("keys/") { "keys/secret.heckey" } else { text }).collect();
    folder.hec(&encrypt("x.csv", "in.hecct")).ok();
    folder.hec(&secret).error_with(&["SECRET key", "never leaves its owner"]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    folder.hec(&encrypt("x.csv", "in.hecct")).error_with(&["mode 644", "chmod 600"]);
}

#[test]
fn a_passphrase_opens_the_key_and_another_does_not() {
    let folder = prepared();
    folder.write("right", "correct horse\nrest");
    folder.write("wrong", "correct cow");
    folder.write("empty", "\n");
    let keygen = |file| ["keygen", "--client", "small.hecclient", "-o", "locked", "--passphrase-file", file];
    folder.hec(&keygen("empty")).error_with(&["expected a secret"]);
    folder.hec(&keygen("right")).ok();
    let with = |file| {
        let locked = ["--client", "small.hecclient", "--key", "locked/secret.heckey", "--passphrase-file", file];
        [&["encrypt"][..], &locked, &["--input", "x.csv", "-o", "in.hecct"]].concat()
    };
    folder.hec(&with("wrong")).error_with(&["secret.heckey", "passphrase is wrong"]);
    folder.hec(&with("right")).ok();
    let bytes = folder.read("locked/secret.heckey");
    for at in [8, 20, 60, 77, 100, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        folder.write("locked/secret.heckey", damaged);
        folder.hec(&with("right")).error_with(&["secret.heckey"]);
    }
}

#[test]
fn other_keys_and_programs_are_told_apart() {
    let folder = prepared();
    folder.hec(&["keygen", "--client", "small.hecclient", "-o", "other"]).ok();
    folder.hec(&encrypt("x.csv", "in.hecct")).ok();
    folder.hec(&EVALUATE).ok();
    let other =
        |arguments: &[&str]| -> Vec<String> { arguments.iter().map(|text| text.replace("keys/", "other/")).collect() };
    for step in [&EVALUATE[..], &decrypt(&[])] {
        let step = other(step);
        folder.hec(&step.iter().map(String::as_str).collect::<Vec<_>>()).error_with(&["another key"]);
    }
    // Other weights, the same parameters.
    let weights = |count: u16| (0..count).map(|i| f32::from(i % 4) * 0.25 - 0.5).collect::<Vec<_>>();
    let twin = Onnx::new()
        .input("x", &[4])
        .weights("w1", &[4, 3], &weights(12))
        .weights("w2", &[3, 2], &weights(6))
        .node("MatMul", &["x", "w1"], "hidden")
        .node("Mul", &["hidden", "hidden"], "squared")
        .node("MatMul", &["squared", "w2"], "y")
        .output("y");
    folder.write("small.onnx", twin.bytes());
    folder.hec(&["compile", "small.onnx"]).ok();
    folder.hec(&EVALUATE).error_with(&["in.hecct", "another program"]);
    folder.hec(&decrypt(&[])).error_with(&["out.hecct", "another program"]);
    // What is for the one is not for the other.
    let client = ["keygen", "--client", "small.hec", "-o", "more"];
    folder.hec(&client).error_with(&["this is the server's program", ".hecclient"]);
    let (inputs, outputs) = (folder.read("in.hecct"), folder.read("out.hecct"));
    folder.write("in.hecct", outputs);
    folder.hec(&EVALUATE).error_with(&["expected encrypted inputs"]);
    folder.write("out.hecct", inputs);
    folder.hec(&decrypt(&[])).error_with(&["expected encrypted outputs"]);
    folder.write("in.hecct", tensor("x", &[1], &[1.0]).name);
    folder.hec(&EVALUATE).error_with(&["in.hecct"]);
}

#[test]
fn damaged_files_are_refused_and_write_nothing() {
    let folder = prepared();
    folder.hec(&encrypt("x.csv", "in.hecct")).ok();
    folder.hec(&EVALUATE).ok();
    let good = folder.read("in.hecct");
    std::fs::remove_file(folder.path("out.hecct")).unwrap();
    let mut cases: Vec<Vec<u8>> = vec![Vec::new(), good[..good.len() - 1].to_vec(), [&good[..], b"x"].concat()];
    for at in [0, 9, 12, 30, 100, good.len() / 2, good.len() - 40, good.len() - 2] {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        cases.push(damaged);
        cases.push(good[..at].to_vec());
    }
    for damaged in cases {
        folder.write("in.hecct", damaged);
        folder.hec(&EVALUATE).error_with(&["in.hecct"]);
        assert!(!folder.names().iter().any(|name| name.contains("out.hecct")), "{:?}", folder.names());
    }
    folder.write("in.hecct", good);
    let keys = folder.read("keys/evaluation.heckeys");
    for at in [0, 8, 20, keys.len() - 8] {
        let mut damaged = keys.clone();
        damaged[at] ^= 1;
        folder.write("keys/evaluation.heckeys", damaged);
        folder.hec(&EVALUATE).error();
    }
    let client = folder.read("small.hecclient");
    folder.write("small.hecclient", &client[..client.len() - 1]);
    folder.hec(&encrypt("x.csv", "in.hecct")).error_with(&["small.hecclient", "client file is damaged"]);
}
