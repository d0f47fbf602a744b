//! The cache of encoded weights, with the length and the hashes that it should have.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hec_fuzz::weights::load(bytes));
