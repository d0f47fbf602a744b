//! The runtime: engine traits, the executor of circuits, and the runner of whole batches.
//!
//! | module | answers |
//! |---|---|
//! | [`engine`] | what a backend implements |
//! | [`expand`] | what a composite operation means in single ciphertexts |
//! | [`executor`] | how one circuit is evaluated, without any secret |
//! | [`blinding`] | which random factors hide from a client what it computes on in the middle of a run |
//! | [`batch`] | how samples go in and come out: keys, packing, encryption, evaluation, decryption |
//! | [`mod@reference`] | what a tensor graph means in the clear: whole models, and what a client does after decryption |
//! | [`backend`] | what the command line calls, whatever the engine |
//! | `conformance` | what every engine must compute and refuse (feature `conformance`) |
//!
//! Nothing here prints: a [`Progress`] is told what happens.

pub mod backend;
pub mod batch;
pub mod blinding;
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
pub use batch::{Escapes, Outcome, Phases, RunSettings, SampleBatch, Traffic, run_batches, run_batches_with};
pub use blinding::Blinding;
pub use engine::{Client, Engine, EngineError, Evaluator, Metadata, WeightCache};
pub use error::RunError;
pub use executor::{Aid, NoRounds, Refresher, execute, execute_aided};
pub use progress::{Layer, Phase, Progress, Silent};
pub use reference::{evaluate, evaluate_samples};
