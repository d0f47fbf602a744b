//! The program file: the same bytes for the same program, and nothing believed of what is read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Random, files, small, stem};
use hec::ir::program::Contract;
use hec::{ImportOptions, LayoutChoice, Options, Program, SampleBatch, Silent};

fn compile(onnx: &[u8]) -> Program {
    let model = hec::import(onnx, &ImportOptions::default()).unwrap();
    hec::compile(&model, &Options::default()).unwrap().program
}

/// Before the content: magic and version, then the content's digest.
const DIGEST: usize = 12;
const CONTENT: usize = DIGEST + 32;

#[test]
fn programs_are_what_they_were() {
    let mut count = 0;
    for path in files("models", "onnx").iter().filter(|path| stem(path).starts_with("cryptonets-")) {
        let program = compile(&fs::read(path).unwrap()).with_annotation("card", "{\"name\": \"x\"}");
        let bytes = program.to_bytes();
        let read = Program::from_bytes(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(read == program, "{}: reads as another program", path.display());
        assert!(read.to_bytes() == bytes, "{}: writes other bytes", path.display());
        assert_eq!(read.annotation("card"), Some("{\"name\": \"x\"}"));
        count += 1;
    }
    assert_eq!(count, 2);
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = compile(&small().bytes()).to_bytes();
    for length in 0..bytes.len() {
        assert!(Program::from_bytes(&bytes[..length]).is_err(), "the first {length} bytes are a program");
    }
}

#[test]
fn every_corruption_is_an_error() {
    let bytes = compile(&small().bytes()).to_bytes();
    let mut random = Random(1);
    for _ in 0..500 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            damaged[at] = random.next() as u8;
        }
        assert!(damaged == bytes || Program::from_bytes(&damaged).is_err());
    }
}

/// Behind a digest that matches, as only an attacker writes it: an error or a program, but no panic. A program can be
/// written again and run.
#[test]
fn forged_programs_do_no_harm() {
    harmless(&compile(&small().bytes()));
}

/// The same for layouts and maps over the slots.
#[test]
fn forged_packed_programs_do_no_harm() {
    let model = hec::import(&small().bytes(), &ImportOptions::default()).unwrap();
    let options = Options { layout: LayoutChoice::Packed, ..Options::default() };
    harmless(&hec::compile(&model, &options).unwrap().program);
}

fn harmless(program: &Program) {
    let bytes = program.to_bytes();
    let inputs = BTreeMap::from([("x".to_owned(), SampleBatch { values: vec![0.5; 8], samples: 2 })]);
    let backend = hec::backend("plain-circuit").unwrap();
    let mut random = Random(2);
    let mut programs = 0;
    for _ in 0..3000 {
        let mut forged = bytes.clone();
        for _ in 0..=random.below(2) {
            let at = CONTENT + random.below(bytes.len() - CONTENT);
            forged[at] ^= 1 + random.below(255) as u8;
        }
        if random.below(4) == 0 {
            forged.truncate(CONTENT + random.below(bytes.len() - CONTENT));
        }
        let digest = blake3::hash(&forged[CONTENT..]);
        forged[DIGEST..CONTENT].copy_from_slice(digest.as_bytes());
        if let Ok(program) = Program::from_bytes(&forged) {
            programs += 1;
            assert!(Program::from_bytes(&program.to_bytes()).is_ok());
            // It may ask for other inputs; that is an error.
            let _ = backend.run(&program, &inputs, &Silent);
        }
    }
    assert!((1..2900).contains(&programs), "{programs} of 3000 are programs: the test does not test");
}

/// Contracts are read and written as programs are: by one codec, and with as little trust.
#[test]
fn contracts_are_what_they_were() {
    let read = |path: &std::path::PathBuf| fs::read(path).unwrap();
    let cryptonets = read(&files("models", "onnx").into_iter().find(|p| stem(p) == "cryptonets-mnist").unwrap());
    let model = hec::import(&cryptonets, &ImportOptions::default()).unwrap();
    let packed = Options { layout: LayoutChoice::Packed, ..Options::default() };
    for options in [Options::default(), packed] {
        let program = hec::compile(&model, &options).unwrap().program.with_annotation("card", "x");
        let contract = program.contract();
        let bytes = contract.to_bytes();
        let again = Contract::from_bytes(&bytes).unwrap();
        assert!(again == contract && again.to_bytes() == bytes);
        assert_eq!(again.program()[..], program.to_bytes()[DIGEST..CONTENT]);
        assert_eq!(again.annotation("card"), Some("x"));
        assert!(bytes.len() * 20 < program.to_bytes().len(), "{} bytes: it has weights", bytes.len());
        for output in contract.encrypted_outputs() {
            assert_eq!(output.layout.array_length(), output.ty.length);
        }
        assert!(Program::from_bytes(&bytes).is_err() && Contract::from_bytes(&program.to_bytes()).is_err());
    }
}

#[test]
fn forged_contracts_do_no_harm() {
    let bytes = compile(&small().bytes()).contract().to_bytes();
    for length in 0..bytes.len() {
        assert!(Contract::from_bytes(&bytes[..length]).is_err(), "the first {length} bytes are a contract");
    }
    let mut random = Random(3);
    let mut contracts = 0;
    for _ in 0..3000 {
        let mut forged = bytes.clone();
        for _ in 0..=random.below(2) {
            let at = CONTENT + random.below(bytes.len() - CONTENT);
            forged[at] ^= 1 + random.below(255) as u8;
        }
        let digest = blake3::hash(&forged[CONTENT..]);
        forged[DIGEST..CONTENT].copy_from_slice(digest.as_bytes());
        if let Ok(contract) = Contract::from_bytes(&forged) {
            contracts += 1;
            assert!(Contract::from_bytes(&contract.to_bytes()).is_ok());
            assert!(contract.capacity() <= contract.parameters().slots());
        }
    }
    assert!((1..2900).contains(&contracts), "{contracts} of 3000 are contracts: the test does not test");
}
