//! The same model and options give the same program, byte for byte, in every process and on any number of threads.

use crate::common::{files, stem};
use crate::process::{Folder, model};

/// Compiles twice, under one thread and under two.
fn compare(name: &str, options: &[&str]) {
    let folder = Folder::new();
    let path = model(name);
    let compile = |output: &str, threads: &str| {
        let arguments = [&["compile", &path, "-o", output], options].concat();
        folder.hec_with(&arguments, &[("RAYON_NUM_THREADS", threads)]).ok();
        folder.read(output)
    };
    let equal = compile("two.hec", "2") == compile("one.hec", "1");
    assert!(equal, "{name} {options:?}: two compilations, under one thread and two, differ");
}

const BATCH: &[&str] = &[];
const PACKED: &[&str] = &["--layout", "packed"];
/// Their activations are the client's: no polynomial comes near enough, or only at a price.
const CLIENT: [&str; 4] = ["classical-fashion-mnist", "classical-mnist", "mobilenet-fashion-mnist", "resnet20-cifar10"];

fn compare_all(chosen: impl Fn(&str) -> bool, layout: &[&str]) {
    let models = files("models", "onnx");
    assert!(models.len() >= 11, "{models:?}");
    for name in models.iter().map(|path| stem(path)).filter(|name| chosen(name)) {
        let activations: &[&str] = if CLIENT.contains(&name) { &["--activations", "client"] } else { &[] };
        compare(name, &[activations, layout].concat());
    }
}

/// Deep, or with small margins between its answers, for which several plans are tried: together as long as all others.
fn is_dear(name: &str) -> bool {
    ["finetuned-fashion-mnist", "resnet20-cifar10"].contains(&name)
}

#[test]
fn models_in_batches() {
    compare_all(|name| !is_dear(name), BATCH);
}

#[test]
fn models_packed() {
    compare_all(|name| !is_dear(name), PACKED);
}

#[test]
#[ignore = "minutes"]
fn dear_models() {
    [BATCH, PACKED].iter().for_each(|layout| compare_all(is_dear, layout));
    // With polynomials, which are fitted and tried.
    compare("classical-mnist", &["--precision", "5", "--memory", "16GiB"]);
    compare("classical-mnist", &["--layout", "packed", "--precision", "7", "--batch", "16"]);
}
