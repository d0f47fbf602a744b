//! Writes a first corpus for each target to the folder `HEC_SEEDS` and ends.
#![no_main]

libfuzzer_sys::fuzz_target!(init: {
    hec_fuzz::seeds::write_all();
    std::process::exit(0);
}, |_bytes: &[u8]| {});
