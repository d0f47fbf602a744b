//! Program files that are damaged.

use crate::common::small;
use crate::process::Folder;

fn compiled() -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    folder.write("small.onnx", small().bytes());
    folder.write("x.csv", "0.5,0.25,1,0\n0,1,0,1\n");
    folder.hec(&["compile", "small.onnx"]).ok();
    folder.hec(&["run", "small.hec", "--backend", "plain-circuit", "--input", "x.csv"]).ok();
    let bytes = folder.read("small.hec");
    (folder, bytes)
}

#[track_caller]
fn refused(folder: &Folder, bytes: &[u8], parts: &[&str]) {
    folder.write("bad.hec", bytes);
    folder.hec(&["run", "bad.hec", "--input", "x.csv"]).error_with(&[&["bad.hec"], parts].concat());
    folder.hec(&["inspect", "bad.hec"]).error_with(&[&["bad.hec"], parts].concat());
}

#[test]
fn one_flipped_bit() {
    let (folder, bytes) = compiled();
    let flipped = |at: usize, bit: u8| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << bit;
        bytes
    };
    // Magic (taken for a model then), version, digest, content.
    refused(&folder, &flipped(0, 0), &[]);
    refused(&folder, &flipped(7, 3), &[]);
    refused(&folder, &flipped(8, 0), &["version 5", "compile the model again"]);
    refused(&folder, &flipped(11, 7), &["version"]);
    let last = bytes.len() - 1;
    for at in [12, 43, 44, 60, last / 3, last / 2, last - 8, last] {
        refused(&folder, &flipped(at, (at % 8) as u8), &["damaged", "checksum"]);
    }
}

#[test]
fn truncated_and_prolonged() {
    let (folder, bytes) = compiled();
    for length in [1, 7] {
        refused(&folder, &bytes[..length], &[]);
    }
    for length in [8, 12, 43] {
        refused(&folder, &bytes[..length], &["not a hec program"]);
    }
    for length in [44, bytes.len() / 2, bytes.len() - 1] {
        refused(&folder, &bytes[..length], &["damaged", "checksum"]);
    }
    refused(&folder, &[&bytes[..], &[0]].concat(), &["damaged", "checksum"]);
}
