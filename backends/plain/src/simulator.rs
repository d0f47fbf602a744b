use std::collections::BTreeMap;

use hec_ir::Program;
use hec_runtime::{Backend, EngineError, Outcome, Progress, RunError, RunSettings, SampleBatch, simulate};

/// The backend `sim`: the circuit in the clear with errors as encryption would add them, from the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulator;

impl Backend for Simulator {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn description(&self) -> &'static str {
        "the compiled circuit on clear numbers with the errors that CKKS would add: fast, no privacy"
    }

    fn run_with(
        &self,
        program: &Program,
        inputs: &BTreeMap<String, SampleBatch>,
        _settings: &RunSettings,
        progress: &dyn Progress,
    ) -> Result<Outcome, RunError> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).map_err(|cause| {
            RunError::Keys(EngineError(format!("the operating system gives no randomness: {cause}")))
        })?;
        simulate(program, inputs, seed, progress)
    }
}
