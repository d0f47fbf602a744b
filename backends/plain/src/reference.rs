use std::collections::BTreeMap;

use hec_ir::Program;
use hec_runtime::{Backend, Outcome, Progress, RunError, RunSettings, SampleBatch, evaluate_samples};

/// The backend `plain`: the program's source graph, sample by sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

impl Backend for Reference {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn description(&self) -> &'static str {
        "the model in the clear, with ONNX's meaning: no compilation, no privacy"
    }

    fn run_with(
        &self,
        program: &Program,
        inputs: &BTreeMap<String, SampleBatch>,
        _settings: &RunSettings<'_>,
        progress: &dyn Progress,
    ) -> Result<Outcome, RunError> {
        evaluate_samples(program.source(), inputs, progress)
    }
}
