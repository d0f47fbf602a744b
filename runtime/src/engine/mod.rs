//! What an engine is: the traits between a compiled circuit and the code that computes on ciphertexts.
//!
//! The two sides of a protocol are two types. [`Client`] holds the secret key and never sees a weight; `Evaluator` holds
//! evaluation keys and weights, and no secret: it has no way to decrypt. A backend implements `Engine` and contains
//! no decision: levels, scales and degrees come with the circuit, and nothing is adjusted on the way.

#[cfg(feature = "evaluator")]
mod evaluator;

#[cfg(feature = "evaluator")]
pub use evaluator::{Engine, Evaluator, WeightCache};

use std::fmt;

use hec_ir::Scale;
use hec_ir::ckks::Type;

/// What went wrong inside an engine: a sentence saying what was expected and what was found. The executor adds the model's
/// node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(pub String);

impl EngineError {
    /// From any error of an engine.
    pub fn new(cause: impl fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// What a ciphertext says of itself. The executor compares it with what the circuit declares, after every operation.
#[derive(Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Index of the last prime of the modulus.
    pub level: usize,
    /// Factor between messages and their encodings.
    pub scale: Scale,
    /// Degree in the secret; a ciphertext has one polynomial more.
    pub degree: usize,
}

impl From<&Type> for Metadata {
    fn from(ty: &Type) -> Self {
        Self { level: ty.level, scale: ty.scale.clone(), degree: ty.degree }
    }
}

/// `<L3, 2^40, degree 1>`, with the exact scale.
impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<L{}, {:?}, degree {}>", self.level, self.scale, self.degree)
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The side that holds the secret key.
pub trait Client: Sync {
    /// One encrypted slot vector.
    type Ciphertext;

    /// Encodes and encrypts. `slots` may be shorter than the number of slots: the rest is 0.
    ///
    /// # Errors
    /// If a value is not finite, or does not fit the modulus at this scale.
    fn encrypt(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Self::Ciphertext, EngineError>;

    /// Decrypts and decodes all slots, at any degree.
    ///
    /// # Errors
    /// If the ciphertext does not belong to this client's parameters.
    fn decrypt(&self, ciphertext: &Self::Ciphertext) -> Result<Vec<f64>, EngineError>;

    /// The same for values that are shown to others: with Gaussian noise on every slot, drawn afresh, of a standard deviation of at
    /// least `deviation` in units of the message. Engines that hide nothing refuse.
    ///
    /// # Errors
    /// As [`Client::decrypt`]; if there is no randomness, or the noise does not fit the modulus.
    fn decrypt_flooded(&self, ciphertext: &Self::Ciphertext, deviation: f64) -> Result<Vec<f64>, EngineError> {
        let _ = (ciphertext, deviation);
        Err(EngineError("expected an engine that encrypts: this one has no key for noise to hide".to_owned()))
    }

    /// Size of a ciphertext as it would be sent, in bytes.
    fn ciphertext_bytes(&self, ciphertext: &Self::Ciphertext) -> u64;
}
