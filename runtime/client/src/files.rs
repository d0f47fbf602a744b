//! Samples to a file of ciphertexts, and a file of results to answers: a part of a batch in memory at a time.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use hec_ir::program::Contract;
use hec_protocol::FormatError;
use hec_protocol::ciphertexts::{Direction, Header, Reader, Writer, largest};
use hec_runtime::{Answers, Collector, EngineError, Flooded, RunError, SampleBatch, client, sample_count};

use crate::error::ClientError;
use crate::key::Key;

/// Ciphertexts that are encrypted together, on all cores, and are in memory at a time.
const TOGETHER: usize = 64;

/// Encrypts all samples of `inputs` to `out`; the values of public inputs go with them. Returns the number of samples.
///
/// # Errors
/// If the inputs are not the contract's, a value cannot be encrypted, or the writer refuses.
pub fn encrypt(
    contract: &Contract,
    key: &Key,
    inputs: &BTreeMap<String, SampleBatch>,
    out: impl Write,
) -> Result<usize, ClientError> {
    let samples = sample_count(&contract.inputs(), inputs)?;
    let header = Header::new(Direction::Inputs, contract, key.fingerprint(), samples as u64);
    let mut writer = Writer::new(out, &header).map_err(FormatError::Io)?;
    let mut first = 0;
    for size in header.batches(contract) {
        let range = first..first + size;
        for port in contract.public_inputs() {
            let elements = port.ty.elements();
            let values = inputs
                .get(&port.name)
                .map_or(&[][..], |batch| &batch.values[range.start * elements..range.end * elements]);
            writer.clear(values).map_err(FormatError::Io)?;
        }
        each_ciphertext(contract, key, inputs, &range, |_, _, bytes| {
            writer.ciphertext(&bytes).map_err(|e| FormatError::Io(e).into())
        })?;
        first += size;
    }
    writer.finish().map_err(FormatError::Io)?;
    Ok(samples)
}

/// Encrypts the samples `range` of all private inputs and gives away each ciphertext's bytes, with the number of its input and its own.
pub(crate) fn each_ciphertext(
    contract: &Contract,
    key: &Key,
    inputs: &BTreeMap<String, SampleBatch>,
    range: &std::ops::Range<usize>,
    mut give: impl FnMut(usize, usize, Vec<u8>) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let context = key.client().context();
    for (array, input) in contract.private_inputs().iter().enumerate() {
        let vectors = client::pack(contract, input, inputs, range)?;
        for (part, vectors) in vectors.chunks(TOGETHER).enumerate() {
            let encrypted = client::encrypt(key.client(), input, vectors)?;
            for (index, ciphertext) in encrypted.into_iter().enumerate() {
                let bytes = ciphertext
                    .to_bytes(context)
                    .map_err(|e| RunError::Encrypt { name: input.input.name.clone(), cause: EngineError::new(e) })?;
                give(array, part * TOGETHER + index, bytes)?;
            }
        }
    }
    Ok(())
}

/// Decrypts a file of results, for the key's owner alone.
///
/// # Errors
/// If it is damaged, or of another program or key.
pub fn decrypt(contract: &Contract, key: &Key, from: impl Read) -> Result<(Answers, usize), ClientError> {
    decrypt_as(contract, key, from, None)
}

/// Decrypts a file of results that others are to see: with noise that hides the key with `bits` bits of statistical security, all
/// samples of the file together. Each time that it is done, for this file or another under the same key, counts.
///
/// # Errors
/// As [`decrypt`]; [`RunError::Sharing`] if the answers would not be precise enough.
pub fn decrypt_to_share(
    contract: &Contract,
    key: &Key,
    from: impl Read,
    bits: u32,
) -> Result<(Answers, usize), ClientError> {
    decrypt_as(contract, key, from, Some(bits))
}

fn decrypt_as(
    contract: &Contract,
    key: &Key,
    from: impl Read,
    share: Option<u32>,
) -> Result<(Answers, usize), ClientError> {
    let mut reader = Reader::new(from)?;
    let header = reader.header().clone();
    header.check(Direction::Outputs, contract, key.fingerprint())?;
    let (arrays, limit) = (Direction::Outputs.arrays(contract), largest(contract.parameters()));
    let samples = usize::try_from(header.samples).unwrap_or(usize::MAX);
    let flooded = share.map(|bits| Flooded::new(contract, bits, samples)).transpose()?;
    let mut collector = Collector::with_noise(contract, flooded);
    for size in header.batches(contract) {
        let mut results = Vec::with_capacity(arrays.len());
        for declared in &arrays {
            let read =
                |index| Ok(Arc::new(declared.read(key.client().context(), index, &reader.ciphertext(limit)?)?));
            results.push((0..declared.length).map(read).collect::<Result<Vec<_>, FormatError>>()?);
        }
        collector.push(key.client(), results, size)?;
    }
    reader.finish()?;
    Ok((collector.finish()?, samples))
}
