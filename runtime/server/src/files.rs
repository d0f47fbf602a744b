//! The server's part on files.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use hec_ckks::Ciphertext;
use hec_ckks::adapter::EvaluationKeys;
use hec_protocol::ciphertexts::{Direction, Header, Reader, Writer};
use hec_protocol::{Fingerprint, FormatError, keys};
use hec_runtime::{NoRounds, Progress, RunError, SampleBatch, evaluate_batch};

use crate::model::Model;

/// The keys of a client.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The keys.
    pub keys: Arc<EvaluationKeys>,
    /// By which the client's ciphertexts name them.
    pub fingerprint: Fingerprint,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluated {
    /// Samples in all.
    pub samples: usize,
    /// How often the circuit was evaluated.
    pub batches: usize,
    /// Wall-clock time of the evaluation alone.
    pub seconds: f64,
}

/// Why a file was not evaluated.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Bytes are refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The evaluation failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Reads evaluation keys, which have to be all that the model needs.
///
/// # Errors
/// [`FormatError`]: a secret key, damaged, or not enough.
pub fn read_keys(model: &Model, from: impl Read) -> Result<Keys, FormatError> {
    let (keys, fingerprint) = keys::read(model.context(), from)?;
    let needs = model.contract.keys();
    keys.serve(model.context(), needs).map_err(|e| FormatError::Needs(e.0))?;
    Ok(Keys { keys: keys.into(), fingerprint })
}

/// Evaluates a file of ciphertexts, one batch in memory at a time.
///
/// # Errors
/// [`FileError`]: the file is damaged, of another program or key, or the evaluation fails.
pub fn evaluate(
    model: &Model,
    keys: Keys,
    from: impl Read,
    out: impl Write,
    progress: &dyn Progress,
) -> Result<Evaluated, FileError> {
    let (context, contract) = (model.context(), &model.contract);
    let mut reader = Reader::new(from)?;
    let header = reader.header().clone();
    header.check(Direction::Inputs, contract, keys.fingerprint)?;
    let evaluator = model.evaluator(keys.keys);
    let answer = Header { direction: Direction::Outputs, ..header.clone() };
    let mut writer = Writer::new(out, &answer).map_err(FormatError::Io)?;
    let samples = usize::try_from(header.samples).unwrap_or(usize::MAX);
    let mut done = Evaluated { samples, batches: 0, seconds: 0.0 };
    for samples in header.batches(contract) {
        let mut public = BTreeMap::new();
        for port in contract.public_inputs() {
            let values = reader.clear(port.ty.elements().saturating_mul(samples))?;
            public.insert(port.name.clone(), SampleBatch { values, samples });
        }
        let mut encrypted: BTreeMap<String, Vec<Ciphertext>> = BTreeMap::new();
        for declared in &model.inputs {
            let mut array = Vec::new();
            for index in 0..declared.length {
                array.push(declared.read(context, index, &reader.ciphertext(model.largest_ciphertext())?)?);
            }
            encrypted.insert(declared.name.clone(), array);
        }
        let start = Instant::now();
        let outputs = evaluate_batch(&model.program, &evaluator, encrypted, &public, samples, &NoRounds, progress)?;
        done.seconds += start.elapsed().as_secs_f64();
        done.batches += 1;
        for ciphertext in outputs.iter().flat_map(|(_, array)| array) {
            let bytes = ciphertext.to_bytes(context).map_err(|e| FormatError::Io(std::io::Error::other(e)))?;
            writer.ciphertext(&bytes).map_err(FormatError::Io)?;
        }
    }
    reader.finish()?;
    writer.finish().map_err(FormatError::Io)?;
    Ok(done)
}
