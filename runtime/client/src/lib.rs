//! The client of encrypted inference: keys, encryption, decryption, and queries to a server.
//!
//! All that it knows of a model is its [`Contract`], the client file that `hec compile` writes. It
//! depends on neither the compiler nor the evaluator.
//!
//! | module | answers |
//! |---|---|
//! | [`key`] | a secret key with its evaluation keys, and the secret key's file |
//! | [`files`] | samples to a file of ciphertexts, and a file of results to answers |
//! | `network` | the same with a server (feature `network`) |
//!
//! Nothing here prints.

mod error;
pub mod files;
pub mod key;
#[cfg(feature = "network")]
pub mod network;

pub use error::ClientError;
pub use hec_ir::program::Contract;
pub use hec_protocol::{Fingerprint, FormatError};
pub use hec_runtime::{Answers, Flooded, SampleBatch};
pub use key::Key;
#[cfg(feature = "network")]
pub use network::{Client, Options, Progress, Tls, Traffic};
