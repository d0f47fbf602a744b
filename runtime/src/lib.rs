//! The runtime: engine traits, the executor of circuits, and the runner of whole batches.

pub mod engine;

pub use engine::{Client, Engine, EngineError, Evaluator};
