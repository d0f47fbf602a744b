//! The evaluator's side, and what makes both.

use std::path::PathBuf;

use hec_ir::Scale;
use hec_ir::ckks::{Circuit, Combine, Transform};

use super::{Client, EngineError, Metadata};

/// Where an engine may keep what it computes from a program's weights alone: nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightCache {
    /// A folder of files; it is made where it is not there.
    pub directory: PathBuf,
    /// The BLAKE3 hash of the program's bytes.
    pub program: [u8; 32],
}

/// A source of clients and evaluators for circuits: one type for each backend.
pub trait Engine: Sync {
    /// One encrypted slot vector.
    type Ciphertext: Send + Sync;
    /// The side with the secret key.
    type Client: Client<Ciphertext = Self::Ciphertext>;
    /// The side without.
    type Evaluator: Evaluator<Ciphertext = Self::Ciphertext>;

    /// Bytes of ciphertexts and keys that running `circuit` takes at most; 0 where that is little.
    fn memory(&self, circuit: &Circuit) -> u64 {
        let _ = circuit;
        0
    }

    /// Generates keys for `circuit`: exactly those that it uses.
    ///
    /// # Errors
    /// If no randomness can be had, or the circuit's parameters cannot be used.
    fn generate(&self, circuit: &Circuit) -> Result<(Self::Client, Self::Evaluator), EngineError>;

    /// As [`Engine::generate`], with encoded weights from `cache` if they are there; else they are put there. `say` is told which, in a
    /// line. An engine without encoded weights ignores both.
    ///
    /// # Errors
    /// As [`Engine::generate`]. A cache that is damaged, or cannot be read or written, is no error.
    fn generate_cached(
        &self,
        circuit: &Circuit,
        cache: Option<&WeightCache>,
        say: &mut dyn FnMut(&str),
    ) -> Result<(Self::Client, Self::Evaluator), EngineError> {
        let _ = (cache, say);
        self.generate(circuit)
    }
}

/// The side that computes, without any secret.
///
/// Level 1 is one call for each operation on single ciphertexts. Level 2 are composite operations on arrays, with default
/// bodies written in level 1: an engine overrides those for which it has a fast kernel.
pub trait Evaluator: Sync {
    /// One encrypted slot vector.
    type Ciphertext: Send + Sync;

    /// The level, scale and degree that the ciphertext itself carries.
    fn metadata(&self, ciphertext: &Self::Ciphertext) -> Metadata;

    /// Size of the evaluation keys as they would be sent, in bytes.
    fn key_bytes(&self) -> u64;

    /// Encodes what is no secret into a ciphertext that hides nothing: of degree 1, and of the form that all operations take. `slots`
    /// may be shorter than the number of slots: the rest is 0.
    ///
    /// # Errors
    /// If a value is not finite, or does not fit the modulus at this scale.
    fn encode(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Self::Ciphertext, EngineError>;

    /// Sum of equal level and scale.
    ///
    /// # Errors
    /// If levels or scales differ.
    fn add(&self, a: &Self::Ciphertext, b: &Self::Ciphertext) -> Result<Self::Ciphertext, EngineError>;

    /// Difference of equal level and scale.
    ///
    /// # Errors
    /// If levels or scales differ.
    fn subtract(&self, a: &Self::Ciphertext, b: &Self::Ciphertext) -> Result<Self::Ciphertext, EngineError>;

    /// Adds `value` to every slot, at the ciphertext's scale.
    ///
    /// # Errors
    /// If the value does not fit the modulus.
    fn add_constant(&self, a: &Self::Ciphertext, value: f64) -> Result<Self::Ciphertext, EngineError>;

    /// Multiplies every slot by `weight / weight_scale`; the scale grows by `weight_scale`.
    ///
    /// # Errors
    /// If the ciphertext is malformed.
    fn multiply_integer(
        &self,
        a: &Self::Ciphertext,
        weight: i32,
        weight_scale: &Scale,
    ) -> Result<Self::Ciphertext, EngineError>;

    /// Product; degrees add, scales multiply.
    ///
    /// # Errors
    /// If levels differ or the degree becomes too high.
    fn multiply(&self, a: &Self::Ciphertext, b: &Self::Ciphertext) -> Result<Self::Ciphertext, EngineError>;

    /// Square.
    ///
    /// # Errors
    /// As [`Evaluator::multiply`].
    fn square(&self, a: &Self::Ciphertext) -> Result<Self::Ciphertext, EngineError> {
        self.multiply(a, a)
    }

    /// Back to degree 1.
    ///
    /// # Errors
    /// If the key is missing.
    fn relinearize(&self, a: &Self::Ciphertext) -> Result<Self::Ciphertext, EngineError>;

    /// Divides by the last prime of the level.
    ///
    /// # Errors
    /// At level 0.
    fn rescale(&self, a: &Self::Ciphertext) -> Result<Self::Ciphertext, EngineError>;

    /// Forgets the last `levels` primes.
    ///
    /// # Errors
    /// If there are not as many.
    fn drop_level(&self, a: &Self::Ciphertext, levels: usize) -> Result<Self::Ciphertext, EngineError>;

    /// Number of slots of a ciphertext.
    fn slots(&self) -> usize;

    /// Rotates the slots to the left: slot `j` of the result is slot `j + steps`, cyclically.
    ///
    /// # Errors
    /// If the key is missing, or the degree is not 1.
    fn rotate(&self, a: &Self::Ciphertext, steps: usize) -> Result<Self::Ciphertext, EngineError>;

    /// Multiplies slot by slot; the weights are encoded at `weight_scale`, by which the scale grows. There are as many as slots.
    ///
    /// # Errors
    /// If a weight cannot be encoded.
    fn multiply_plain(
        &self,
        a: &Self::Ciphertext,
        weights: &[f64],
        weight_scale: &Scale,
    ) -> Result<Self::Ciphertext, EngineError>;

    /// Adds slot by slot, at the ciphertext's scale. There are as many values as slots.
    ///
    /// # Errors
    /// If a value does not fit the modulus.
    fn add_plain(&self, a: &Self::Ciphertext, values: &[f64]) -> Result<Self::Ciphertext, EngineError>;

    /// A linear map over the slots, with its bias, without its fold.
    ///
    /// # Errors
    /// If the operands differ in level, scale or degree, or a key is missing.
    fn transform(
        &self,
        operands: &[&Self::Ciphertext],
        transform: &Transform,
    ) -> Result<Vec<Self::Ciphertext>, EngineError> {
        crate::expand::transform(self, operands, transform)
    }

    /// Adds a ciphertext's own rotations, one after the other.
    ///
    /// # Errors
    /// If a key is missing.
    fn fold(&self, a: &Self::Ciphertext, steps: &[usize]) -> Result<Self::Ciphertext, EngineError> {
        crate::expand::fold(self, a, steps)
    }

    /// Integer-weighted sums across an array, and a bias: `y[r] = sum_c M[r, c] x[c] / weight_scale + bias[r]`.
    /// The result may use all cores.
    ///
    /// # Errors
    /// If the operands differ in level, scale or degree.
    fn combine(&self, operands: &[&Self::Ciphertext], combine: &Combine) -> Result<Vec<Self::Ciphertext>, EngineError> {
        crate::expand::combine(self, operands, combine)
    }

    /// [`Evaluator::rescale`] of a ciphertext that is not needed any more: an engine may work in its memory.
    ///
    /// # Errors
    /// As [`Evaluator::rescale`].
    fn rescale_owned(&self, a: Self::Ciphertext) -> Result<Self::Ciphertext, EngineError> {
        self.rescale(&a)
    }

    /// [`Evaluator::drop_level`] of a ciphertext that is not needed any more.
    ///
    /// # Errors
    /// As [`Evaluator::drop_level`].
    fn drop_level_owned(&self, a: Self::Ciphertext, levels: usize) -> Result<Self::Ciphertext, EngineError> {
        self.drop_level(&a, levels)
    }

    /// [`Evaluator::combine`] of ciphertexts that are not needed any more.
    ///
    /// # Errors
    /// As [`Evaluator::combine`].
    fn combine_owned(
        &self,
        operands: Vec<Self::Ciphertext>,
        combine: &Combine,
    ) -> Result<Vec<Self::Ciphertext>, EngineError> {
        self.combine(&operands.iter().collect::<Vec<_>>(), combine)
    }
}
