//! The reference backend: nothing is encrypted.
//!
//! | backend | computes | to tell |
//! |---|---|---|
//! | `plain` ([`Reference`]) | the program's source graph, with ONNX's meaning | what the model answers |
//! | `plain-circuit` ([`ClearEngine`]) | the program's circuit, on clear slot vectors | a wrong pass from a wrong engine |

mod circuit;
mod reference;

pub use circuit::{Clear, ClearClient, ClearEngine, ClearEvaluator};
pub use hec_runtime::{evaluate, evaluate_samples};
pub use reference::Reference;

use hec_runtime::EngineBackend;

/// The backend `plain-circuit`.
pub const CIRCUIT: EngineBackend<ClearEngine> = EngineBackend {
    name: "plain-circuit",
    description: "the compiled circuit on clear numbers: quantised weights and CKKS's rules, no noise, no privacy",
    engine: ClearEngine,
};
