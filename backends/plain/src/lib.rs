//! The reference backend: nothing is encrypted.
//!
//! | backend | computes | to tell |
//! |---|---|---|
//! | `plain` ([`Reference`]) | the program's source graph, with ONNX's meaning | what the model answers |
//! | `plain-circuit` ([`ClearEngine`]) | the program's circuit, on clear slot vectors | a wrong pass from a wrong engine |
//! | `sim` ([`Simulator`]) | the same sample by sample, with the errors that CKKS would add | what encryption does to the answers |

mod circuit;
mod reference;
mod simulator;

pub use circuit::{Clear, ClearClient, ClearEngine, ClearEvaluator};
pub use hec_runtime::{evaluate, evaluate_samples};
pub use reference::Reference;
pub use simulator::Simulator;

use hec_runtime::EngineBackend;

/// The backend `plain-circuit`.
pub const CIRCUIT: EngineBackend<ClearEngine> = EngineBackend {
    name: "plain-circuit",
    description: "the compiled circuit on clear numbers: quantised weights and CKKS's rules, no noise, no privacy",
    engine: ClearEngine,
};
