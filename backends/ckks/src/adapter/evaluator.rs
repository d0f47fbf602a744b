//! The evaluator's side.

use std::borrow::Cow;
use std::sync::Arc;

use hec_ir::Scale;
use hec_ir::ckks::{
    Circuit, Combine, Transform, encoded_weight_bytes, evaluation_key_bytes, key_needs, peak_ciphertext_bytes,
};
use hec_runtime::EngineBackend;
use hec_runtime::engine::{Engine, EngineError, Evaluator, Metadata, WeightCache};
use hec_runtime::expand::{combinable, transformable};

use super::transform::{Prepared, Source};
use super::{CkksClient, EvaluationKeys, weight_cache};
use crate::poly::Poly;
use crate::{Ciphertext, Context, PreparedMatrix, evaluate};

/// The backend `he-ckks`.
pub const BACKEND: EngineBackend<CkksEngine> =
    EngineBackend { name: "he-ckks", description: "the compiled circuit under CKKS encryption", engine: CkksEngine };

/// Makes clients and evaluators from the operating system's randomness.
#[derive(Clone, Copy, Debug)]
pub struct CkksEngine;

/// What follows from a circuit and not from keys: all evaluators of the circuit share it.
#[derive(Debug)]
pub struct Weights {
    context: Context,
    /// The circuit's transforms, encoded.
    transforms: Vec<Prepared>,
}

impl Weights {
    /// Encodes the circuit's transforms.
    ///
    /// # Errors
    /// If a weight cannot be encoded; the node is named.
    pub fn prepare(circuit: &Circuit) -> Result<Self, EngineError> {
        Self::under(Context::new(circuit.context()), circuit)
    }

    fn under(context: Context, circuit: &Circuit) -> Result<Self, EngineError> {
        let layers = weight_cache::layers(circuit);
        let transforms =
            layers.iter().map(|layer| layer.prepare(&context, Source::Encode)).collect::<Result<_, _>>()?;
        Ok(Self { context, transforms })
    }

    /// As [`Weights::prepare`], with what `cache` holds; `say` is told whether it did.
    fn cached(
        context: Context,
        circuit: &Circuit,
        cache: &WeightCache,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, EngineError> {
        let transforms = weight_cache::prepared(&context, circuit, cache, say)?;
        Ok(Self { context, transforms })
    }

    /// The context of the circuit's parameters.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

/// Holds evaluation keys, and no secret.
#[derive(Clone, Debug)]
pub struct CkksEvaluator {
    weights: Arc<Weights>,
    keys: Arc<EvaluationKeys>,
}

impl CkksEvaluator {
    /// The evaluator of one client's ciphertexts.
    pub fn new(weights: Arc<Weights>, keys: Arc<EvaluationKeys>) -> Self {
        Self { weights, keys }
    }

    fn context(&self) -> &Context {
        &self.weights.context
    }
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
        let client = CkksClient::generate(circuit.context())?;
        let keys = client.evaluation_keys(&key_needs(circuit))?;
        let context = client.context().clone();
        let weights = match cache {
            Some(cache) => Weights::cached(context, circuit, cache, say)?,
            None => Weights::under(context, circuit)?,
        };
        Ok((client, CkksEvaluator::new(weights.into(), keys.into())))
    }
}

impl Evaluator for CkksEvaluator {
    type Ciphertext = Ciphertext;

    fn metadata(&self, ciphertext: &Ciphertext) -> Metadata {
        Metadata { level: ciphertext.level(), scale: ciphertext.scale().clone(), degree: ciphertext.degree() }
    }

    fn key_bytes(&self) -> u64 {
        self.keys.bytes(self.context())
    }

    fn encode(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Ciphertext, EngineError> {
        let plaintext = self.context().encode(slots, level, scale).map_err(EngineError::new)?;
        Ciphertext::trivial(self.context(), plaintext).map_err(EngineError::new)
    }

    fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EngineError> {
        let degree = a.degree().max(b.degree());
        evaluate::add(self.context(), &self.padded(a, degree), &self.padded(b, degree)).map_err(EngineError::new)
    }

    fn subtract(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EngineError> {
        let degree = a.degree().max(b.degree());
        evaluate::sub(self.context(), &self.padded(a, degree), &self.padded(b, degree)).map_err(EngineError::new)
    }

    fn add_constant(&self, a: &Ciphertext, value: f64) -> Result<Ciphertext, EngineError> {
        evaluate::add_constant(self.context(), a, value).map_err(EngineError::new)
    }

    fn multiply_integer(&self, a: &Ciphertext, weight: i32, weight_scale: &Scale) -> Result<Ciphertext, EngineError> {
        let value = f64::from(weight) / weight_scale.to_f64();
        evaluate::multiply_constant(self.context(), a, value, weight_scale).map_err(EngineError::new)
    }

    fn multiply(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::multiply(self.context(), a, b).map_err(EngineError::new)
    }

    fn square(&self, a: &Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::square(self.context(), a).map_err(EngineError::new)
    }

    fn relinearize(&self, a: &Ciphertext) -> Result<Ciphertext, EngineError> {
        let keys = self.keys.relinearization.as_ref();
        let keys = keys.ok_or_else(|| EngineError::new("the relinearization key is missing"))?;
        evaluate::relinearize(self.context(), a, keys).map_err(|cause| {
            EngineError(format!("relinearization with a key for degrees up to {}: {cause}", keys.max_degree()))
        })
    }

    fn rescale(&self, a: &Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::rescale(self.context(), a).map_err(EngineError::new)
    }

    fn drop_level(&self, a: &Ciphertext, levels: usize) -> Result<Ciphertext, EngineError> {
        evaluate::drop_level(self.context(), a, level_below(a, levels)?).map_err(EngineError::new)
    }

    fn slots(&self) -> usize {
        self.context().parameters().slots()
    }

    fn rotate(&self, a: &Ciphertext, steps: usize) -> Result<Ciphertext, EngineError> {
        evaluate::rotate(self.context(), a, steps as i64, &self.keys.rotations).map_err(EngineError::new)
    }

    fn multiply_plain(&self, a: &Ciphertext, weights: &[f64], weight_scale: &Scale) -> Result<Ciphertext, EngineError> {
        let weights = self.context().encode(weights, a.level(), weight_scale).map_err(EngineError::new)?;
        evaluate::multiply_plain(self.context(), a, &weights).map_err(EngineError::new)
    }

    fn add_plain(&self, a: &Ciphertext, values: &[f64]) -> Result<Ciphertext, EngineError> {
        let values = self.context().encode(values, a.level(), a.scale()).map_err(EngineError::new)?;
        evaluate::add_plain(self.context(), a, &values).map_err(EngineError::new)
    }

    fn transform(&self, operands: &[&Ciphertext], transform: &Transform) -> Result<Vec<Ciphertext>, EngineError> {
        let first = transformable(self, operands, transform)?;
        let apply = |prepared: &Prepared| prepared.apply(self.context(), operands, &self.keys.rotations);
        let results = match self.weights.transforms.iter().find(|prepared| prepared.is_for(transform, first)) {
            Some(prepared) => apply(prepared),
            None => Prepared::new(self.context(), transform, first.level(), first.scale(), Source::Encode)
                .and_then(|p| apply(&p)),
        };
        results.map_err(EngineError::new)
    }

    fn combine(&self, operands: &[&Ciphertext], combine: &Combine) -> Result<Vec<Ciphertext>, EngineError> {
        combinable(self, operands, combine)?;
        let prepared = PreparedMatrix::new(&combine.matrix).map_err(EngineError::new)?;
        evaluate::affine(self.context(), &prepared, operands, &combine.weight_scale, &combine.bias)
            .map_err(EngineError::new)
    }

    fn rescale_owned(&self, mut a: Ciphertext) -> Result<Ciphertext, EngineError> {
        evaluate::rescale_assign(self.context(), &mut a).map_err(EngineError::new)?;
        Ok(a)
    }

    fn drop_level_owned(&self, mut a: Ciphertext, levels: usize) -> Result<Ciphertext, EngineError> {
        let level = level_below(&a, levels)?;
        evaluate::drop_level_assign(self.context(), &mut a, level).map_err(EngineError::new)?;
        Ok(a)
    }

    fn combine_owned(&self, operands: Vec<Ciphertext>, combine: &Combine) -> Result<Vec<Ciphertext>, EngineError> {
        combinable(self, &operands.iter().collect::<Vec<_>>(), combine)?;
        let prepared = PreparedMatrix::new(&combine.matrix).map_err(EngineError::new)?;
        evaluate::affine_owned(self.context(), &prepared, operands, &combine.weight_scale, &combine.bias)
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
        padded.polys.extend((0..missing).map(|_| Poly::zero(self.context().n(), a.level() + 1)));
        Cow::Owned(padded)
    }
}

fn level_below(a: &Ciphertext, levels: usize) -> Result<usize, EngineError> {
    let level = a.level().checked_sub(levels);
    level.ok_or_else(|| EngineError::new(format!("{levels} levels below level {}", a.level())))
}
