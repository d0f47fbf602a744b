//! The server's part on files.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use hec_ckks::Ciphertext;
use hec_ckks::adapter::EvaluationKeys;
use hec_protocol::ciphertexts::{Direction, Header, Reader, Writer};
use hec_protocol::{Fingerprint, FormatError, keys};
use hec_runtime::{Checkpoint, NoRounds, Progress, RunError, SampleBatch, evaluate_batch};

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
    /// Batches before those that were finished earlier.
    pub resumed: usize,
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

/// Evaluates a file of ciphertexts, one batch in memory at a time. The results of batches that `checkpoint` has are taken from there, and those of
/// others are kept in it.
///
/// # Errors
/// [`FileError`]: the file is damaged, of another program or key, or the evaluation fails.
pub fn evaluate(
    model: &Model,
    keys: Keys,
    from: impl Read,
    out: impl Write,
    checkpoint: Option<&dyn Checkpoint>,
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
    let mut done = Evaluated { samples, batches: 0, resumed: 0, seconds: 0.0 };
    let kept = checkpoint.map_or(0, Checkpoint::batches);
    for (batch, samples) in header.batches(contract).enumerate() {
        let mut public = BTreeMap::new();
        for port in contract.public_inputs() {
            let values = reader.clear(port.ty.elements().saturating_mul(samples))?;
            public.insert(port.name.clone(), SampleBatch { values, samples });
        }
        if let Some(checkpoint) = checkpoint.filter(|_| batch < kept) {
            // The inputs are passed over: the checksum at the end is that of all of them.
            for _ in 0..model.inputs.iter().map(|declared| declared.length).sum() {
                reader.ciphertext(model.largest_ciphertext())?;
            }
            restore(model, &checkpoint.kept(batch).map_err(unusable)?, &mut writer)?;
            done.resumed += 1;
            continue;
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
        let mut record = Vec::new();
        for ciphertext in outputs.iter().flat_map(|(_, array)| array) {
            let bytes = ciphertext.to_bytes(context).map_err(|e| FormatError::Io(std::io::Error::other(e)))?;
            writer.ciphertext(&bytes).map_err(FormatError::Io)?;
            if checkpoint.is_some() {
                record.extend((bytes.len() as u64).to_le_bytes());
                record.extend(bytes);
            }
        }
        if let Some(checkpoint) = checkpoint {
            checkpoint.keep(&record).map_err(unusable)?;
        }
    }
    reader.finish()?;
    writer.finish().map_err(FormatError::Io)?;
    Ok(done)
}

/// Writes the results of a batch that was kept: each with its length before it.
fn restore(model: &Model, mut record: &[u8], writer: &mut Writer<impl Write>) -> Result<(), FileError> {
    for declared in &model.outputs {
        for index in 0..declared.length {
            let (length, rest) = record.split_first_chunk::<8>().ok_or_else(broken)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| broken())?;
            let (bytes, rest) = rest.split_at_checked(length).ok_or_else(broken)?;
            declared.read(model.context(), index, bytes)?;
            writer.ciphertext(bytes).map_err(FormatError::Io)?;
            record = rest;
        }
    }
    if record.is_empty() { Ok(()) } else { Err(broken()) }
}

fn broken() -> FileError {
    unusable(std::io::Error::other("a batch is not the results of this program"))
}

fn unusable(error: std::io::Error) -> FileError {
    RunError::Checkpoint { cause: error.to_string() }.into()
}
