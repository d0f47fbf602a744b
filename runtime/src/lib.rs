//! The runtime: engine traits, the executor of circuits, and the runner of whole batches.
//!
//! | module | answers |
//! |---|---|
//! | [`engine`] | what a backend implements |
//! | [`batch`] | what goes through a run, and what is known of it |
//! | [`checkpoint`] | what is kept of finished batches, so that another run goes on after them |
//! | [`client`] | the client's side, from a contract: packing and encryption, decryption and unpacking |
//! | [`blinding`] | which random factors hide from a client what it computes on in the middle of a run |
//! | `expand` | what a composite operation means in single ciphertexts |
//! | `executor` | how one circuit is evaluated, without any secret |
//! | [`sharing`] | noise on decryptions that are shown to others |
//! | `run` | both sides in one process, and the server's side of one batch |
//! | `simulate` | a program in the clear, sample by sample, with the errors that encryption would add |
//! | `check` | what a certificate promises beside what is measured |
//! | [`mod@reference`] | what a tensor graph means in the clear: whole models, and what a client does after decryption |
//! | `backend` | what the command line calls, whatever the engine |
//! | `conformance` | what every engine must compute and refuse (feature `conformance`) |
//!
//! Without the default feature `evaluator` only the client's side is left.
//!
//! Nothing here prints: a [`Progress`] is told what happens.

#[cfg(feature = "evaluator")]
pub mod backend;
pub mod batch;
#[cfg(feature = "evaluator")]
pub mod blinding;
#[cfg(feature = "evaluator")]
pub mod check;
pub mod checkpoint;
pub mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod engine;
mod error;
#[cfg(feature = "evaluator")]
pub mod executor;
#[cfg(feature = "evaluator")]
pub mod expand;
pub mod memory;
mod names;
pub mod progress;
pub mod reference;
#[cfg(feature = "evaluator")]
pub mod run;
pub mod sharing;

#[cfg(feature = "evaluator")]
pub mod simulate;

#[cfg(feature = "evaluator")]
pub use backend::{Backend, EngineBackend};
pub use batch::{Escapes, Outcome, Phases, RunSettings, SampleBatch, Traffic, sample_count};
#[cfg(feature = "evaluator")]
pub use blinding::Blinding;
#[cfg(feature = "evaluator")]
pub use check::Checked;
pub use checkpoint::Checkpoint;
pub use client::{Answers, Collector};
pub use engine::{Client, EngineError, Metadata};
#[cfg(feature = "evaluator")]
pub use engine::{Engine, Evaluator, WeightCache};
pub use error::RunError;
#[cfg(feature = "evaluator")]
pub use executor::{Aid, NoRounds, Observer, Refresher, execute, execute_aided};
pub use progress::{Layer, Phase, Progress, Silent};
pub use reference::{evaluate, evaluate_samples};
#[cfg(feature = "evaluator")]
pub use run::{check_batches, evaluate_batch, run_batches, run_batches_with};
pub use sharing::Flooded;
#[cfg(feature = "evaluator")]
pub use simulate::simulate;
