//! What passes between client and server.
//!
//! | module | answers |
//! |---|---|
//! | [`fingerprint`] | by what programs and keys are told apart |
//! | [`preamble`] | what both files of keys begin with: their parameters, and what is stated about security |
//! | [`keys`] | the file of evaluation keys |
//! | [`ciphertexts`] | the file of ciphertexts, batch after batch, and what each ciphertext is checked for |
//! | `inference` | the messages and services of the Open Inference Protocol, version 2 (feature `grpc`) |
//! | `encrypted` | those of our own service (feature `grpc`) |
//! | `tensors` | how ciphertexts stand in the Open Inference Protocol (feature `grpc`) |
//!
//! Readers trust nothing: every length is bounded before it is allocated, and everything is compared with the contract. There is no
//! secret key here.

pub mod ciphertexts;
mod error;
pub mod fingerprint;
pub mod keys;
pub mod preamble;
mod read;
#[cfg(feature = "grpc")]
pub mod tensors;

pub use error::FormatError;
pub use fingerprint::Fingerprint;

/// The Open Inference Protocol, version 2.
#[cfg(feature = "grpc")]
#[allow(missing_docs, clippy::all, clippy::wildcard_enum_match_arm, clippy::disallowed_types, reason = "generated")]
#[rustfmt::skip]
pub mod inference {
    include!("generated/inference.rs");
}

/// Evaluation keys and streams of ciphertexts.
#[cfg(feature = "grpc")]
#[allow(missing_docs, clippy::all, clippy::wildcard_enum_match_arm, clippy::disallowed_types, reason = "generated")]
#[rustfmt::skip]
pub mod encrypted {
    include!("generated/hec.v1.rs");
}
