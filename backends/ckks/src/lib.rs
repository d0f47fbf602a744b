//! A leveled RNS-CKKS engine in pure Rust, and its adapter to the runtime.
