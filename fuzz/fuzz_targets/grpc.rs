//! Requests to both gRPC services, from the gate to the answer, in the server's own process.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hec_fuzz::server::ask(bytes));
