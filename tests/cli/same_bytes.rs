//! The same model and options give the same program, byte for byte, in every process and on any number of threads.

use crate::common::{files, stem};
use crate::process::{Folder, model};

/// Compiles twice, and under one and two threads.
fn compare(name: &str, options: &[&str]) {
    let folder = Folder::new();
    let path = model(name);
    let compile = |output: &str, threads: Option<&str>| {
        let arguments = [&["compile", &path, "-o", output], options].concat();
        let variables: Vec<(&str, &str)> = threads.map(|n| ("RAYON_NUM_THREADS", n)).into_iter().collect();
        folder.hec_with(&arguments, &variables).ok();
        folder.read(output)
    };
    let first = compile("first.hec", Some("2"));
    assert!(first == compile("again.hec", Some("2")), "{name}: two compilations differ");
    assert!(first == compile("alone.hec", Some("1")), "{name}: the number of threads changes the program");
}

/// Models in which nothing, or little, has to be fitted.
const CHEAP: [&str; 5] = ["breast-cancer", "cryptonets-fashion-mnist", "cryptonets-mnist", "diabetes", "digits"];

#[test]
fn cheap_models_in_batches() {
    CHEAP.iter().for_each(|name| compare(name, &[]));
}

#[test]
fn cheap_models_packed() {
    CHEAP.iter().for_each(|name| compare(name, &["--layout", "packed"]));
}

#[test]
#[ignore = "minutes: activations are fitted, for each of three compilations"]
fn all_models_in_batches() {
    all(&[]);
}

#[test]
#[ignore = "many minutes: every split of every layer is priced, for each of three compilations"]
fn all_models_packed() {
    all(&["--layout", "packed"]);
}

fn all(options: &[&str]) {
    let models = files("models", "onnx");
    assert!(models.len() >= 9, "{models:?}");
    models.iter().map(|path| stem(path)).filter(|name| !CHEAP.contains(name)).for_each(|name| compare(name, options));
}
