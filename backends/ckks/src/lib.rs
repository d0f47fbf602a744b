//! A leveled RNS-CKKS engine in pure Rust, and its adapter to the runtime.

pub mod arithmetic;
pub mod kernels;
pub mod ntt;
