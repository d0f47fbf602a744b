//! What the command line sees of a backend, whatever its ciphertexts are.

use std::collections::BTreeMap;

use hec_ir::Program;

use crate::batch::{Outcome, RunSettings, SampleBatch};
use crate::check::Checked;
use crate::engine::Engine;
use crate::error::RunError;
use crate::progress::Progress;
use crate::run::{check_batches, run_batches_with};

/// Something that runs programs.
pub trait Backend: Sync {
    /// The name to choose it by.
    fn name(&self) -> &'static str;

    /// One line for a list of backends.
    fn description(&self) -> &'static str;

    /// Runs `program` on all samples of `inputs`.
    ///
    /// # Errors
    /// [`RunError`]: the inputs do not match the program, or the backend fails.
    fn run(
        &self,
        program: &Program,
        inputs: &BTreeMap<String, SampleBatch>,
        progress: &dyn Progress,
    ) -> Result<Outcome, RunError> {
        self.run_with(program, inputs, &RunSettings::default(), progress)
    }

    /// [`Backend::run`], as `settings` say.
    ///
    /// # Errors
    /// As [`Backend::run`].
    fn run_with(
        &self,
        program: &Program,
        inputs: &BTreeMap<String, SampleBatch>,
        settings: &RunSettings<'_>,
        progress: &dyn Progress,
    ) -> Result<Outcome, RunError>;

    /// [`Backend::run_with`], where values in the middle of the run are decrypted and compared with what the program's certificate
    /// promises.
    ///
    /// # Errors
    /// As [`Backend::run`]; [`RunError::NothingToCheck`] where nothing is encrypted; [`RunError::NoCertificate`].
    fn check(
        &self,
        program: &Program,
        inputs: &BTreeMap<String, SampleBatch>,
        settings: &RunSettings,
        progress: &dyn Progress,
    ) -> Result<(Outcome, Vec<Checked>), RunError> {
        let _ = (program, inputs, settings, progress);
        Err(RunError::NothingToCheck { backend: self.name() })
    }
}

/// The backend that runs a program's circuit on an engine, client and evaluator in one process.
#[derive(Clone, Copy, Debug)]
pub struct EngineBackend<E> {
    /// See [`Backend::name`].
    pub name: &'static str,
    /// See [`Backend::description`].
    pub description: &'static str,
    /// The engine.
    pub engine: E,
}

impl<E: Engine> Backend for EngineBackend<E> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> &'static str {
        self.description
    }

    fn run_with(
        &self,
        program: &Program,
        inputs: &BTreeMap<String, SampleBatch>,
        settings: &RunSettings<'_>,
        progress: &dyn Progress,
    ) -> Result<Outcome, RunError> {
        run_batches_with(&self.engine, program, inputs, settings, progress)
    }

    fn check(
        &self,
        program: &Program,
        inputs: &BTreeMap<String, SampleBatch>,
        settings: &RunSettings,
        progress: &dyn Progress,
    ) -> Result<(Outcome, Vec<Checked>), RunError> {
        check_batches(&self.engine, program, inputs, settings, progress)
    }
}
