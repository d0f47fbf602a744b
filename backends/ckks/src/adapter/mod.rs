//! The engine behind the runtime's traits. No decision is made here.

#[cfg(feature = "evaluator")]
mod evaluator;
mod keys;
#[cfg(feature = "evaluator")]
mod transform;
#[cfg(feature = "evaluator")]
mod weight_cache;

#[cfg(test)]
mod tests;

#[cfg(feature = "evaluator")]
pub use evaluator::{BACKEND, CkksEngine, CkksEvaluator, Weights};
pub use keys::EvaluationKeys;

use hec_ir::Scale;
use hec_ir::ckks::KeyNeeds;
use hec_ir::parameters::Parameters;
use hec_runtime::engine::{Client, EngineError};

use crate::{Ciphertext, Context, GaloisKeys, Randomness, RelinearizationKeys, SecretKey};

/// Holds the secret key.
#[derive(Debug)]
pub struct CkksClient {
    context: Context,
    secret: SecretKey,
}

impl CkksClient {
    /// With a key that was made before.
    pub fn new(context: Context, secret: SecretKey) -> Self {
        Self { context, secret }
    }

    /// With a fresh key.
    ///
    /// # Errors
    /// If the operating system has no randomness.
    pub fn generate(parameters: &Parameters) -> Result<Self, EngineError> {
        let context = Context::new(parameters);
        let mut randomness = Randomness::from_os().map_err(EngineError::new)?;
        let secret = SecretKey::generate(&context, &mut randomness);
        Ok(Self { context, secret })
    }

    /// The evaluation keys that `needs` lists, and no others.
    ///
    /// # Errors
    /// If there is no randomness, or the parameters have no special primes or no such level.
    pub fn evaluation_keys(&self, needs: &KeyNeeds) -> Result<EvaluationKeys, EngineError> {
        let Self { context, secret } = self;
        let mut randomness = Randomness::from_os().map_err(EngineError::new)?;
        let relinearization = needs
            .relinearization
            .map(|needs| RelinearizationKeys::generate(context, secret, needs.level, needs.degree, &mut randomness));
        let relinearization = relinearization.transpose().map_err(EngineError::new)?;
        let rotations = GaloisKeys::generate(context, secret, keys::rotations(needs), &mut randomness);
        Ok(EvaluationKeys { relinearization, rotations: rotations.map_err(EngineError::new)? })
    }

    /// The context of its parameters.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The secret key.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }
}

impl Client for CkksClient {
    type Ciphertext = Ciphertext;

    fn encrypt(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Ciphertext, EngineError> {
        let plaintext = self.context.encode(slots, level, scale).map_err(EngineError::new)?;
        let mut randomness = Randomness::from_os().map_err(EngineError::new)?;
        self.secret.encrypt(&self.context, &plaintext, &mut randomness).map_err(EngineError::new)
    }

    fn decrypt(&self, ciphertext: &Ciphertext) -> Result<Vec<f64>, EngineError> {
        let plaintext = self.secret.decrypt(&self.context, ciphertext).map_err(EngineError::new)?;
        self.context.decode(&plaintext).map_err(EngineError::new)
    }

    fn decrypt_flooded(&self, ciphertext: &Ciphertext, deviation: f64) -> Result<Vec<f64>, EngineError> {
        let mut plaintext = self.secret.decrypt(&self.context, ciphertext).map_err(EngineError::new)?;
        let mut randomness = Randomness::from_os().map_err(EngineError::new)?;
        self.context.flood(&mut plaintext, deviation, &mut randomness).map_err(EngineError::new)?;
        self.context.decode(&plaintext).map_err(EngineError::new)
    }

    fn ciphertext_bytes(&self, ciphertext: &Ciphertext) -> u64 {
        ciphertext.serialized_len(&self.context).map_or(0, |len| len as u64)
    }
}
