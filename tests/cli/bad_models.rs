//! Files that are no models, and models that cannot be compiled.

use std::fs::{self, File};

use crate::common::{Onnx, Random, small, squarings};
use crate::process::{Folder, model};

/// Every command refuses the file with these words.
#[track_caller]
fn refused(folder: &Folder, name: &str, parts: &[&str]) {
    for command in ["compile", "inspect", "run"] {
        folder.hec(&[command, name]).error_with(parts);
    }
}

#[test]
fn files_that_are_no_models() {
    let folder = Folder::new();
    folder.write("empty.onnx", b"");
    refused(&folder, "empty.onnx", &["empty.onnx", "not an ONNX model", "empty"]);
    folder.write("readme.txt", "Convolutional networks are\nwritten by exporters.\n");
    refused(&folder, "readme.txt", &["readme.txt", "not an ONNX model"]);
    folder.write("zeros.onnx", [0; 100_000]);
    refused(&folder, "zeros.onnx", &["zeros.onnx", "not an ONNX model"]);
    folder.write("ones.onnx", [0xff; 100_000]);
    refused(&folder, "ones.onnx", &["ones.onnx", "not an ONNX model"]);
    fs::create_dir(folder.path("folder.onnx")).unwrap();
    refused(&folder, "folder.onnx", &["folder.onnx", "cannot be read"]);
    refused(&folder, "absent.onnx", &["absent.onnx", "cannot be read"]);
}

#[test]
fn garbage() {
    let folder = Folder::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for length in [1, 2, 7, 64, 4096] {
        for _ in 0..4 {
            let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            folder.write("garbage.onnx", bytes);
            folder.hec(&["compile", "garbage.onnx"]).error_with(&["garbage.onnx"]);
        }
    }
}

#[test]
fn truncated_models() {
    let folder = Folder::new();
    let whole = fs::read(model("cryptonets-mnist")).unwrap();
    for length in [1, 2, 10, 100, 1000, 5000, whole.len() / 2, whole.len() - 100, whole.len() - 1] {
        folder.write("cut.onnx", &whole[..length]);
        folder.hec(&["compile", "cut.onnx"]).error_with(&["cut.onnx"]);
        folder.hec(&["run", "cut.onnx", "--backend", "plain"]).error_with(&["cut.onnx"]);
    }
    assert_eq!(folder.names(), ["cut.onnx"]);
}

/// Sparse: it takes no room on the disk.
#[test]
fn a_huge_file() {
    let folder = Folder::new();
    File::create(folder.path("huge.onnx")).unwrap().set_len(3 << 30).unwrap();
    folder.hec(&["compile", "huge.onnx"]).error_with(&["huge.onnx", "larger than 2 GiB"]);
}

#[test]
fn an_unknown_operator() {
    let folder = Folder::new();
    let mut bytes = fs::read(model("cryptonets-mnist")).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|&at| bytes[at..].starts_with(b"\x22\x04Gemm")).collect();
    assert_eq!(places.len(), 2, "two nodes with op_type (field 4, four bytes) Gemm");
    for at in places {
        bytes[at + 5] = b'x';
    }
    folder.write("gemx.onnx", bytes);
    let both = ["/fc1/Gemm", "/fc2/Gemm", "Gemx"];
    // The second Gemm has no known operand, and is wrong by itself nevertheless.
    folder.hec(&["compile", "gemx.onnx"]).error_with(&both);
    folder.hec(&["run", "gemx.onnx", "--backend", "he-ckks"]).error();
    let text = folder.hec(&["inspect", "gemx.onnx"]).ok().stdout;
    for part in both {
        assert!(text.contains(part), "{text}");
    }
    let data = crate::common::repository("models/data/mnist/t10k-images-idx3-ubyte.gz");
    let arguments = ["--backend", "plain", "--limit", "2", "--input", data.to_str().unwrap()];
    folder.hec(&[&["run", "gemx.onnx"][..], &arguments].concat()).error_with(&["/fc1/Gemm", "Gemx"]);
    assert_eq!(folder.names(), ["gemx.onnx"]);
}

#[test]
fn weights_that_are_no_numbers() {
    let folder = Folder::new();
    for (value, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")] {
        let model = Onnx::new().input("x", &[2]).weights("w", &[2, 2], &[1.0, 2.0, value, 4.0]);
        folder.write("bad.onnx", model.node("MatMul", &["x", "w"], "y").output("y").bytes());
        refused(&folder, "bad.onnx", &["bad.onnx", "tensor \"w\"", "[1, 0]", name, "finite"]);
    }
}

#[test]
fn weights_of_the_wrong_shape() {
    let folder = Folder::new();
    let model = Onnx::new().input("x", &[2]).weights("w", &[3, 2], &[1.0; 6]);
    folder.write("bad.onnx", model.node("MatMul", &["x", "w"], "y").output("y").bytes());
    folder.hec(&["compile", "bad.onnx"]).error_with(&["node \"/y\"", "[1, 2]", "[3, 2]"]);
    let model = Onnx::new().input("x", &[2]).weights("w", &[3, 2], &[1.0; 5]);
    folder.write("bad.onnx", model.node("MatMul", &["x", "w"], "y").output("y").bytes());
    folder.hec(&["compile", "bad.onnx"]).error_with(&["tensor \"w\""]);
}

#[test]
fn deeper_than_any_parameters() {
    let folder = Folder::new();
    folder.write("deep.onnx", squarings(150).bytes());
    let parts =
        ["too deep for any parameter set at 128 bits of security", "log2(QP) = ", "2^17", "depth is", "node \"/square"];
    folder.hec(&["compile", "deep.onnx"]).error_with(&parts);
    assert_eq!(folder.names(), ["deep.onnx"]);
}

/// Deeper than any chain of primes.
#[test]
fn a_little_too_deep() {
    let folder = Folder::new();
    for depth in [140, 200] {
        folder.write("deep.onnx", squarings(depth).bytes());
        folder.hec(&["compile", "deep.onnx"]).error_with(&["too deep for any parameter set"]);
    }
}

/// No finite range bounds them, or none that parameters can carry.
#[test]
fn values_that_become_too_large() {
    let folder = Folder::new();
    folder.write("steep.onnx", squarings(12).bytes());
    for [low, high] in [["0", "2"], ["-1000", "1000"], ["0", "1e300"]] {
        folder.hec(&["compile", "steep.onnx", "--input-range", low, high]).error();
    }
    assert_eq!(folder.names(), ["steep.onnx"]);
}

#[test]
fn damaged_cards() {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.hec(&["inspect", "small.onnx"]).ok();
    folder.write("small.json", "{\"name\": ");
    refused(&folder, "small.onnx", &["small.json", "model card"]);
    folder.write("small.json", r#"{"name": "small", "input": "absent.npy"}"#);
    folder.hec(&["run", "small.onnx"]).error_with(&["absent.npy", "cannot be read"]);
}
