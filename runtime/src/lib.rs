//! The runtime: engine traits, the executor of circuits, and the runner of whole batches.
//!
//! | module | answers |
//! |---|---|
//! | [`engine`] | what a backend implements |
//! | [`expand`] | what a composite operation means in single ciphertexts |
//! | [`executor`] | how one circuit is evaluated, without any secret |
//! | [`batch`] | how samples go in and come out: keys, packing, encryption, evaluation, decryption |
//! | [`mod@reference`] | what a tensor graph means in the clear: whole models, and what a client does after decryption |
//! | [`backend`] | what the command line calls, whatever the engine |
//! | `conformance` | what every engine must compute and refuse (feature `conformance`) |
//!
//! Nothing here prints: a [`Progress`] is told what happens.

pub mod backend;
pub mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod engine;
mod error;
pub mod executor;
pub mod expand;
pub mod memory;
pub mod progress;
pub mod reference;

pub use backend::{Backend, EngineBackend};
pub use batch::{Escapes, Outcome, Phases, SampleBatch, Traffic, run_batches};
pub use engine::{Client, Engine, EngineError, Evaluator, Metadata};
pub use error::RunError;
pub use executor::execute;
pub use progress::{Layer, Phase, Progress, Silent};
pub use reference::{evaluate, evaluate_samples};
