//! A leveled RNS-CKKS engine in pure Rust, and its adapter to the runtime.

pub mod arithmetic;
mod bytes;
mod ciphertext;
mod context;
mod encoding;
mod encryption;
mod error;
pub mod evaluate;
pub mod kernels;
mod keys;
pub mod ntt;
mod plaintext;
mod poly;
mod sampling;

pub use bytes::ReadError;
pub use ciphertext::{Ciphertext, MAX_DEGREE};
pub use context::Context;
pub use encoding::Complex;
pub use error::Error;
pub use kernels::{MAX_WEIGHT, PreparedMatrix, WeightError};
pub use keys::{KeySwitchKey, PublicKey, RelinearizationKeys, SecretKey};
pub use plaintext::Plaintext;
pub use sampling::{Randomness, SEED_BYTES, Seed};

#[cfg(test)]
mod tests;
