//! The engine behind the runtime's traits. No decision is made here.

mod transform;
mod weight_cache;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use hec_ir::Scale;
use hec_ir::ckks::{
    Circuit, Combine, Transform, encoded_weight_bytes, evaluation_key_bytes, key_needs, peak_ciphertext_bytes,
};
use hec_runtime::EngineBackend;
use hec_runtime::engine::{Client, Engine, EngineError, Evaluator, Metadata, WeightCache};
use hec_runtime::expand::{combinable, transformable};

use crate::poly::Poly;
use crate::{
    Automorphism, Ciphertext, Context, GaloisKeys, PreparedMatrix, Randomness, RelinearizationKeys, SecretKey, evaluate,
};
use transform::{Prepared, Source};

/// The backend `he-ckks`.
pub const BACKEND: EngineBackend<CkksEngine> =
    EngineBackend { name: "he-ckks", description: "the compiled circuit under CKKS encryption", engine: CkksEngine };

/// Makes clients and evaluators from the operating system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct CkksEngine;

/// Holds the secret key.
#[derive(Debug)]
pub struct CkksClient {
    context: Context,
    secret: SecretKey,
}

/// Holds evaluation keys, and no secret.
#[derive(Debug)]
pub struct CkksEvaluator {
    context: Context,
    relinearization: Option<RelinearizationKeys>,
    rotations: GaloisKeys,
    /// The circuit's transforms, encoded.
    transforms: Vec<Prepared>,
}

impl Engine for CkksEngine {
    type Ciphertext = Ciphertext;
    type Client = CkksClient;
    type Evaluator = CkksEvaluator;

    fn memory(&self, circuit: &Circuit) -> u64 {
        peak_ciphertext_bytes(circuit) + evaluation_key_bytes(circuit) + encoded_weight_bytes(circuit)
    }

    fn generate(&self, circuit: &Circuit) -> Result<(CkksClient, CkksEvaluator), EngineError> {
        self.generate_cached(circuit, None, &mut |_| ())
    }

    fn generate_cached(
        &self,
        circuit: &Circuit,
        cache: Option<&WeightCache>,
        say: &mut dyn FnMut(&str),
    ) -> Result<(CkksClient, CkksEvaluator), EngineError> {
        let context = Context::new(circuit.context());
        let mut randomness = Randomness::from_os().map_err(EngineError::new)?;
        let secret = SecretKey::generate(&context, &mut randomness);
        let needs = key_needs(circuit);
        let relinearization = needs
            .relinearization
            .map(|needs| RelinearizationKeys::generate(&context, &secret, needs.level, needs.degree, &mut randomness));
        let relinearization = relinearization.transpose().map_err(EngineError::new)?;
        let steps = needs.rotations.iter();
        let steps = steps.map(|(&steps, &level)| (Automorphism::Rotation { steps: steps as i64 }, level));
        let rotations = GaloisKeys::generate(&context, &secret, steps, &mut randomness).map_err(EngineError::new)?;
        let transforms = match cache {
            Some(cache) => weight_cache::prepared(&context, circuit, cache, say)?,
            None => weight_cache::layers(circuit)
                .iter()
                .map(|layer| layer.prepare(&context, Source::Encode))
                .collect::<Result<_, _>>()?,
        };
        let client = CkksClient { context: context.clone(), secret };
        Ok((client, CkksEvaluator { context, relinearization, rotations, transforms }))
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

    fn ciphertext_bytes(&self, ciphertext: &Ciphertext) -> u64 {
        ciphertext.serialized_len(&self.context).map_or(0, |len| len as u64)
    }
}

impl Evaluator for CkksEvaluator {
    type Ciphertext = Ciphertext;

    fn metadata(&self, ciphertext: &Ciphertext) -> Metadata {
        Metadata { level: ciphertext.level(), scale: ciphertext.scale().clone(), degree: ciphertext.degree() }
    }

    fn key_bytes(&self) -> u64 {
        let keys = self.relinearization.as_ref();
        let relinearization = keys.and_then(|keys| keys.serialized_len(&self.context).ok()).unwrap_or(0);
        let rotations =
            if self.rotations.is_empty() { 0 } else { self.rotations.serialized_len(&self.context).unwrap_or(0) };
        (relinearization + rotations) as u64
    }

    fn encode(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Ciphertext, EngineError> {
        let plaintext = self.context.encode(slots, level, scale).map_err(EngineError::new)?;
        Ciphertext::trivial(&self.context, plaintext).map_err(EngineError::new)
    }

    fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EngineError> {
        let degree = a.degree().max(b.degree());
        evaluate::add(&self.context, &self.padded(a, degree), &self.padded(b, degree)).map_err(EngineError::new)
    }

    fn subtract(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EngineError> {
        let degree = a.degree().max(b.degree());
        evaluate::sub(&self.context, &self.padded(a, degree), &self.padded(b, degree)).map_err(EngineError::new)
    }

    fn add_constant(&self, a: &Ciphertext, value: f64) -> Result<Ciphertext, EngineError> {
        evaluate::add_constant(&self.context, a, value).map_err(EngineError::new)
    }

    fn multiply_integer(&self, a: &Ciphertext, weight: i32, weight_scale: &Scale) -> Result<Ciphertext, EngineError> {
        let value = f64::from(weight) / weight_scale.to_f64();
        evaluate::multiply_constant(&self.context, a, value, weight_scale).map_err(EngineError::new)
    }

    fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::multiply(&self.context, a, b).map_err(EngineError::new)
    }

    fn square(&self, a: &Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::square(&self.context, a).map_err(EngineError::new)
    }

    fn relinearize(&self, a: &Ciphertext) -> Result<Ciphertext, EngineError> {
        let keys = self.relinearization.as_ref();
        let keys = keys.ok_or_else(|| EngineError::new("the relinearization key is missing"))?;
        evaluate::relinearize(&self.context, a, keys).map_err(|cause| {
            EngineError(format!("relinearization with a key for degrees up to {}: {cause}", keys.max_degree()))
        })
    }

    fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::rescale(&self.context, a).map_err(EngineError::new)
    }

    fn drop_level(&self, a: &Ciphertext, levels: usize) -> Result<Ciphertext, EngineError> {
        evaluate::drop_level(&self.context, a, level_below(a, levels)?).map_err(EngineError::new)
    }

    fn slots(&self) -> usize {
        self.context.parameters().slots()
    }

    fn rotate(&self, a: &Ciphertext, steps: usize) -> Result<Ciphertext, EngineError> {
        evaluate::rotate(&self.context, a, steps as i64, &self.rotations).map_err(EngineError::new)
    }

    fn multiply_plain(&self, a: &Ciphertext, weights: &[f64], weight_scale: &Scale) -> Result<Ciphertext, EngineError> {
        let weights = self.context.encode(weights, a.level(), weight_scale).map_err(EngineError::new)?;
        evaluate::multiply_plain(&self.context, a, &weights).map_err(EngineError::new)
    }

    fn add_plain(&self, a: &Ciphertext, values: &[f64]) -> Result<Ciphertext, EngineError> {
        let values = self.context.encode(values, a.level(), a.scale()).map_err(EngineError::new)?;
        evaluate::add_plain(&self.context, a, &values).map_err(EngineError::new)
    }

    fn transform(&self, operands: &[&Ciphertext], transform: &Transform) -> Result<Vec<Ciphertext>, EngineError> {
        let first = transformable(self, operands, transform)?;
        let apply = |prepared: &Prepared| prepared.apply(&self.context, operands, &self.rotations);
        let results = match self.transforms.iter().find(|prepared| prepared.is_for(transform, first)) {
            Some(prepared) => apply(prepared),
            None => Prepared::new(&self.context, transform, first.level(), first.scale(), Source::Encode)
                .and_then(|p| apply(&p)),
        };
        results.map_err(EngineError::new)
    }

    fn combine(&self, operands: &[&Ciphertext], combine: &Combine) -> Result<Vec<Ciphertext>, EngineError> {
        combinable(self, operands, combine)?;
        let prepared = PreparedMatrix::new(&combine.matrix).map_err(EngineError::new)?;
        evaluate::affine(&self.context, &prepared, operands, &combine.weight_scale, &combine.bias)
            .map_err(EngineError::new)
    }

    fn rescale_owned(&self, mut a: Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::rescale_assign(&self.context, &mut a).map_err(EngineError::new)?;
        Ok(a)
    }

    fn drop_level_owned(&self, mut a: Ciphertext, levels: usize) -> Result<Ciphertext, EngineError> {
        let level = level_below(&a, levels)?;
        evaluate::drop_level_assign(&self.context, &mut a, level).map_err(EngineError::new)?;
        Ok(a)
    }

    fn combine_owned(&self, operands: Vec<Ciphertext>, combine: &Combine) -> Result<Vec<Ciphertext>, EngineError> {
        combinable(self, &operands.iter().collect::<Vec<_>>(), combine)?;
        let prepared = PreparedMatrix::new(&combine.matrix).map_err(EngineError::new)?;
        evaluate::affine_owned(&self.context, &prepared, operands, &combine.weight_scale, &combine.bias)
            .map_err(EngineError::new)
    }
}

impl CkksEvaluator {
    /// The same ciphertext with zeros as coefficients of the powers of the secret up to `degree`.
    fn padded<'a>(&self, a: &'a Ciphertext, degree: usize) -> Cow<'a, Ciphertext> {
        let missing = degree - a.degree();
        if missing == 0 {
            return Cow::Borrowed(a);
        }
        let mut padded = Ciphertext { seed: None, ..a.clone() };
        padded.polys.extend((0..missing).map(|_| Poly::zero(self.context.n(), a.level() + 1)));
        Cow::Owned(padded)
    }
}

fn level_below(a: &Ciphertext, levels: usize) -> Result<usize, EngineError> {
    let level = a.level().checked_sub(levels);
    level.ok_or_else(|| EngineError::new(format!("{levels} levels below level {}", a.level())))
}
