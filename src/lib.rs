//! Compiles trained neural networks (ONNX) to run on encrypted data.
//!
//! A server with a compiled program classifies what it cannot see: inputs arrive encrypted under CKKS, and so do the
//! answers leave. This crate is the facade for embedding; each part is a crate of its own.
//!
//! ```
//! use std::collections::BTreeMap;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = hec::import(&std::fs::read("models/cryptonets-mnist.onnx")?, &hec::ImportOptions::default())?;
//! let compiled = hec::compile(&model, &hec::Options::default())?;
//! println!("{}", compiled.decisions); // layers, levels, parameters, security, predicted precision and time
//! std::fs::write(std::env::temp_dir().join("example.hec"), compiled.program.to_bytes())?;
//!
//! let input = hec::SampleBatch { values: vec![0.5; 2 * 784], samples: 2 };
//! let inputs = BTreeMap::from([(compiled.program.inputs()[0].name.clone(), input)]);
//! let backend = hec::backend("plain-circuit").ok_or("no such backend")?; // or "he-ckks"
//! let outcome = backend.run(&compiled.program, &inputs, &hec::Silent)?;
//! assert_eq!(outcome.outputs.values().next().map(Vec::len), Some(2 * 10));
//! # Ok(())
//! # }
//! ```

pub use hec_compiler::approximate::{self, Approximation, MaxPooling};
pub use hec_compiler::cost::{CostError, CostModel};
pub use hec_compiler::{
    Activations, Bound, BoundDecision, Compilation, CompileError, Decisions, EncodedWeights, ExplicitParameters,
    LayerDecision, LayoutChoice, Obstacle, Options, PackedDecision, RoundDecision, compile, head, lower, margins,
    passes, price, split, view,
};
pub use hec_ir as ir;
pub use hec_ir::Program;
pub use hec_ir::parameters::{RingType, Security};
pub use hec_ir::program::{Port, ProgramError};
pub use hec_onnx::{
    ExternalData, ImportError, ImportOptions, import, import_with, operators_page, supported_operators,
};
pub use hec_plain::evaluate_samples;
pub use hec_runtime::{
    Backend, Checked, Checkpoint, Escapes, Flooded, Layer, Outcome, Phase, Phases, Progress, RunError, RunSettings,
    SampleBatch, Silent, Traffic, memory,
};

/// Everything that runs programs, by name. A new backend is a line here.
pub const BACKENDS: &[&dyn Backend] =
    &[&hec_ckks::adapter::BACKEND, &hec_plain::Reference, &hec_plain::CIRCUIT, &hec_plain::Simulator];

/// The backend called `name`.
pub fn backend(name: &str) -> Option<&'static dyn Backend> {
    BACKENDS.iter().copied().find(|backend| backend.name() == name)
}

/// What operations cost on this machine, measured: nanoseconds on one core. Takes a few seconds of one thread.
///
/// # Errors
/// [`CalibrationError`]: no randomness, or a measurement that makes no sense.
pub fn calibrate() -> Result<CostModel, CalibrationError> {
    let mut costs = CostModel::default();
    for (name, nanoseconds) in hec_ckks::calibration::measure()? {
        costs.set(name, nanoseconds)?;
    }
    Ok(costs)
}

/// Why costs could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] hec_ckks::calibration::CalibrationError),
    /// A measurement makes no sense.
    #[error(transparent)]
    Cost(#[from] CostError),
}
