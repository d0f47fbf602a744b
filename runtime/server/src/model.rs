//! A program that is ready to be evaluated.

use std::sync::Arc;

use hec_ckks::Context;
use hec_ckks::adapter::{CkksEvaluator, EvaluationKeys, Weights};
use hec_ir::Program;
use hec_ir::ckks::peak_ciphertext_bytes;
use hec_ir::program::Contract;
use hec_protocol::Fingerprint;
use hec_protocol::ciphertexts::{Declared, Direction, largest};
use hec_runtime::EngineError;

/// A program with its weights encoded once, for the keys of all clients.
#[derive(Debug)]
pub struct Model {
    /// The name that clients know it by.
    pub name: String,
    /// The program.
    pub program: Program,
    /// What clients know of it.
    pub contract: Contract,
    /// What is read.
    pub inputs: Vec<Declared>,
    /// What is written.
    pub outputs: Vec<Declared>,
    weights: Arc<Weights>,
}

impl Model {
    /// Prepares a program.
    ///
    /// # Errors
    /// If a weight cannot be encoded.
    pub fn new(name: String, program: Program) -> Result<Self, EngineError> {
        let weights = Arc::new(Weights::prepare(program.circuit())?);
        let contract = program.contract();
        let [inputs, outputs] = [Direction::Inputs, Direction::Outputs].map(|way| way.arrays(&contract));
        Ok(Self { name, program, contract, inputs, outputs, weights })
    }

    /// The program's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(*self.contract.program())
    }

    /// The context of its parameters.
    pub fn context(&self) -> &Context {
        self.weights.context()
    }

    /// No ciphertext has more bytes.
    pub fn largest_ciphertext(&self) -> usize {
        largest(self.contract.parameters())
    }

    /// Bytes of memory that the evaluation of one batch takes, with its inputs.
    pub fn memory(&self) -> u64 {
        peak_ciphertext_bytes(self.program.circuit())
    }

    /// The number of samples of one batch.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if there are none, or more than fit.
    pub fn batch_of(&self, samples: u64) -> Result<usize, tonic::Status> {
        let capacity = self.contract.capacity();
        let fits = usize::try_from(samples).ok().filter(|samples| (1..=capacity).contains(samples));
        fits.ok_or_else(|| tonic::Status::invalid_argument(format!("{samples} samples, expected 1 to {capacity}")))
    }

    /// The evaluator for the ciphertexts of the client with these keys.
    pub fn evaluator(&self, keys: Arc<EvaluationKeys>) -> CkksEvaluator {
        CkksEvaluator::new(self.weights.clone(), keys)
    }
}
