//! The client file behind its digest, and what a client asks of it first.
#![no_main]

use hec_ir::program::Contract;
use hec_protocol::ciphertexts::{Direction, largest};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(contract) = Contract::from_bytes(&hec_fuzz::with_digest(bytes)) else { return };
    let written = contract.to_bytes();
    let again = Contract::from_bytes(&written).expect("what is written can be read");
    assert!(again.to_bytes() == written, "a contract is written otherwise than it was read");
    for direction in [Direction::Inputs, Direction::Outputs] {
        direction.arrays(&contract);
    }
    let _ = (largest(contract.parameters()), contract.capacity(), contract.inputs(), contract.outputs());
});
