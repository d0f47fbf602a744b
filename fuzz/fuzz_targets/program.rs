//! The program file behind its digest. What is read is written, and reads as the same.
#![no_main]

use hec::Program;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(program) = Program::from_bytes(&hec_fuzz::with_digest(bytes)) else { return };
    let written = program.to_bytes();
    let again = Program::from_bytes(&written).expect("what is written can be read");
    assert!(again.to_bytes() == written, "a program is written otherwise than it was read");
    let contract = program.contract().to_bytes();
    hec_ir::program::Contract::from_bytes(&contract).expect("the contract of a program can be read");
    let _ = (program.to_bytes(), hec_ir::ckks::peak_ciphertext_bytes(program.circuit()));
});
