//! The server of encrypted inference. It holds programs and evaluation keys, and no secret.
//!
//! | module | answers |
//! |---|---|
//! | [`model`] | a program that is ready to be evaluated |
//! | [`files`] | the server's part on files |
//! | [`repository`] | which models are served, and how one replaces another |
//! | [`store`] | the clients' evaluation keys |
//! | [`limits`] | how many requests, how much memory, how long |
//! | [`auth`] | who may ask |
//! | [`gate`] | what each request passes before it is read |
//! | [`evaluation`] | one batch, from ciphertexts to results |
//! | [`inference`], [`encrypted`] | the two gRPC services |
//! | [`refresh`] | how an evaluation asks the client |
//! | [`http`], [`metrics`] | probes, metadata, counters |
//! | [`serve()`] | the process |
//!
//! Nothing here prints: `tracing` is told what happens, and never what was in a ciphertext.

pub mod auth;
pub mod cancel;
pub mod encrypted;
pub mod evaluation;
pub mod files;
pub mod gate;
pub mod http;
pub mod inference;
pub mod limits;
pub mod metrics;
pub mod model;
pub mod refresh;
pub mod repository;
mod serve;
pub mod store;

pub use limits::Limits;
pub use repository::Source;
pub use serve::{ServeError, Settings, asked_to_end, serve};
