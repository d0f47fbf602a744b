//! The client's side of a run, from a contract alone: samples are normalised, packed and encrypted, results decrypted, unpacked, and
//! what is left is computed in the clear.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use hec_ir::program::{Contract, EncryptedOutput, Exchange, Port, PrivateInput};
use hec_ir::tensor::TensorGraph;
use rayon::prelude::*;
use zeroize::Zeroize;

use crate::batch::{Escapes, SampleBatch};
use crate::engine::{Client, EngineError};
use crate::error::RunError;
use crate::reference;
use crate::sharing::Flooded;

/// The samples `range` of one input, normalised and packed: a vector for each ciphertext.
///
/// # Errors
/// If the input is missing, or has not these samples.
pub fn pack(
    contract: &Contract,
    input: &PrivateInput,
    inputs: &BTreeMap<String, SampleBatch>,
    range: &Range<usize>,
) -> Result<Vec<Vec<f64>>, RunError> {
    let hec_ir::ckks::Input { name, layout, .. } = &input.input;
    let slots = contract.parameters().slots();
    pack_input(name, layout, input.normalisation.as_ref(), slots, inputs, range)
}

/// The same of any input, private or not.
pub(crate) fn pack_input(
    name: &str,
    layout: &hec_ir::slots::Layout,
    normalisation: Option<&hec_ir::program::Normalisation>,
    slots: usize,
    inputs: &BTreeMap<String, SampleBatch>,
    range: &Range<usize>,
) -> Result<Vec<Vec<f64>>, RunError> {
    let missing = || RunError::MissingInput { name: name.to_owned() };
    let elements = layout.elements();
    let held = inputs.get(name).and_then(|batch| batch.values.get(range.start * elements..range.end * elements));
    let values = held.ok_or_else(missing)?;
    // Slots that are left over hold the same samples again: zeros may lie where a polynomial that stands in for a function
    // leaves every bound, and one slot that overflows spoils all.
    let samples = layout.capacity(slots).max(range.len());
    let mut values: Vec<f64> = values.iter().copied().cycle().take(samples * elements).collect();
    if let Some(normalisation) = normalisation {
        normalisation.apply(&mut values);
    }
    layout.pack(&values, samples, slots).map_err(|cause| RunError::Layout { name: name.to_owned(), cause })
}

/// Encrypts packed vectors of one input, on all cores.
///
/// # Errors
/// If a value cannot be encoded, or no randomness can be had.
pub fn encrypt<C: Client<Ciphertext: Send>>(
    client: &C,
    input: &PrivateInput,
    vectors: &[Vec<f64>],
) -> Result<Vec<C::Ciphertext>, RunError> {
    let hec_ir::ckks::Input { name, level, scale, .. } = &input.input;
    let encrypted: Result<_, _> = vectors.par_iter().map(|vector| client.encrypt(vector, *level, scale)).collect();
    encrypted.map_err(|cause| RunError::Encrypt { name: name.clone(), cause })
}

/// The client's part of a round: decrypts the operands, computes the function, and encrypts its results, in the contract's order. All samples
/// that there is room for are computed: what fills up a batch has factors of its own.
///
/// # Errors
/// If there is no such round, the operands are not its, or a value cannot be encrypted.
pub fn answer<C: Client<Ciphertext: Send + Sync>>(
    client: &C,
    contract: &Contract,
    round: usize,
    operands: Vec<Vec<Arc<C::Ciphertext>>>,
) -> Result<Vec<Vec<C::Ciphertext>>, RunError> {
    let wrong = |cause: String| RunError::Round { round, cause };
    let exchange: &Exchange =
        contract.exchanges().get(round).ok_or_else(|| wrong("the program has no such round".to_owned()))?;
    let (samples, slots) = (contract.capacity(), contract.parameters().slots());
    if operands.len() != exchange.operands.len() {
        return Err(wrong(format!("expected {} operands, found {}", exchange.operands.len(), operands.len())));
    }
    let mut inputs = BTreeMap::new();
    for (own, array) in exchange.operands.iter().zip(operands) {
        if array.len() != own.ty.length {
            return Err(wrong(format!("expected {} ciphertexts, found {}", own.ty.length, array.len())));
        }
        let decrypted: Result<Vec<Vec<f64>>, EngineError> = array.into_par_iter().map(|x| client.decrypt(&x)).collect();
        let decrypted = decrypted.map_err(|cause| wrong(cause.to_string()))?;
        let values = own.layout.unpack(&decrypted, samples);
        inputs.insert(own.port.name.clone(), SampleBatch { values, samples });
    }
    let mut outputs = reference::outputs(&exchange.function, &inputs)?;
    let mut results = Vec::with_capacity(exchange.results.len());
    for reply in &exchange.results {
        let values = outputs.remove(&reply.port.name).unwrap_or_default();
        let vectors = reply.layout.pack(&values, samples, slots).map_err(|cause| wrong(cause.to_string()))?;
        let encrypted: Result<Vec<_>, _> =
            vectors.into_par_iter().map(|vector| client.encrypt(&vector, reply.level, &reply.scale)).collect();
        results.push(encrypted.map_err(|cause| wrong(cause.to_string()))?);
    }
    Ok(results)
}

/// What the client knows in the end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// For each output its values, row-major, samples outermost, in the order of the inputs' samples.
    pub outputs: BTreeMap<String, Vec<f64>>,
    /// For each range witness of the program, the samples that left the range.
    pub escapes: Vec<Escapes>,
    /// The noise in them, if they are for others.
    pub shared: Option<Flooded>,
}

/// Collects decrypted results, batch after batch.
#[derive(Debug)]
pub struct Collector<'c> {
    contract: &'c Contract,
    /// For each encrypted output the values of all samples so far.
    values: Vec<Vec<f64>>,
    samples: usize,
    flooded: Option<Flooded>,
}

impl<'c> Collector<'c> {
    /// Nothing yet. The results are for the key's owner alone.
    pub fn new(contract: &'c Contract) -> Self {
        Self::with_noise(contract, None)
    }

    /// Nothing yet. With noise, the results are for others as well; it has to be that for all samples that will come.
    pub fn with_noise(contract: &'c Contract, flooded: Option<Flooded>) -> Self {
        Self { contract, values: vec![Vec::new(); contract.encrypted_outputs().len()], samples: 0, flooded }
    }

    /// Decrypts the results of one batch of `samples` samples: an array for each of the contract's encrypted outputs, in order.
    ///
    /// # Errors
    /// If arrays are missing, a ciphertext does not belong to this client, or there are more samples than the noise is for.
    pub fn push<C: Client<Ciphertext: Send + Sync>>(
        &mut self,
        client: &C,
        results: Vec<Vec<Arc<C::Ciphertext>>>,
        samples: usize,
    ) -> Result<(), RunError> {
        let outputs = self.contract.encrypted_outputs();
        for (index, output) in outputs.iter().enumerate() {
            let found = results.get(index).map_or(0, Vec::len);
            if found != output.ty.length {
                let (name, expected) = (output.port.name.clone(), output.ty.length);
                return Err(RunError::OutputLength { name, expected, found });
            }
        }
        if let Some(Flooded { sharing, .. }) =
            self.flooded.as_ref().filter(|f| self.samples + samples > f.sharing.samples)
        {
            let reason = format!("there are {} of them", self.samples + samples);
            return Err(RunError::Sharing { sharing: *sharing, reason });
        }
        let deviation = |index: usize| self.flooded.as_ref().and_then(|flooded| flooded.deviations.get(index)).copied();
        for (index, ((output, array), values)) in outputs.iter().zip(results).zip(&mut self.values).enumerate() {
            let deviation = deviation(index);
            let decrypt = |ciphertext: Arc<C::Ciphertext>| match deviation {
                Some(deviation) => client.decrypt_flooded(&ciphertext, deviation),
                None => client.decrypt(&ciphertext),
            };
            let decrypted: Result<Vec<Vec<f64>>, EngineError> = array.into_par_iter().map(decrypt).collect();
            let name = || output.port.name.clone();
            let mut decrypted = decrypted.map_err(|cause| RunError::Decrypt { name: name(), cause })?;
            values.extend(output.layout.unpack(&decrypted, samples));
            // What else is in the slots, such as samples that filled up the batch, is nobody's.
            decrypted.iter_mut().for_each(Zeroize::zeroize);
        }
        self.samples += samples;
        Ok(())
    }

    /// The values of the last `samples` samples: output by output, row-major, as little-endian `f64`.
    pub fn record(&self, samples: usize) -> Vec<u8> {
        let own = |(output, values): (&EncryptedOutput, &Vec<f64>)| {
            let first = values.len().saturating_sub(output.port.ty.elements() * samples);
            values[first..].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
        };
        self.contract.encrypted_outputs().iter().zip(&self.values).flat_map(own).collect()
    }

    /// Takes over a batch of `samples` samples from [`Collector::record`].
    ///
    /// # Errors
    /// [`RunError::Checkpoint`]: it is of another length.
    pub fn restore(&mut self, record: &[u8], samples: usize) -> Result<(), RunError> {
        let lengths: Vec<usize> =
            self.contract.encrypted_outputs().iter().map(|output| output.port.ty.elements() * samples).collect();
        let (words, rest) = record.as_chunks::<8>();
        let expected: usize = lengths.iter().sum();
        if words.len() != expected || !rest.is_empty() {
            let found = record.len();
            let cause = format!("expected {expected} values of a batch of {samples} samples, found {found} bytes");
            return Err(RunError::Checkpoint { cause });
        }
        let mut words = words.iter().map(|word| f64::from_le_bytes(*word));
        for (values, length) in self.values.iter_mut().zip(lengths) {
            values.extend(words.by_ref().take(length));
        }
        self.samples += samples;
        Ok(())
    }

    /// What the client makes of all that was decrypted.
    ///
    /// # Errors
    /// If the client graph cannot be computed.
    pub fn finish(self) -> Result<Answers, RunError> {
        let Self { contract, mut values, samples, flooded: shared } = self;
        let guards = contract.guards();
        let witnesses = values.split_off(values.len() - guards.len());
        let escapes = guards.iter().zip(&witnesses).map(|(guard, witnesses)| {
            // What is no number escaped as well.
            let inside = |witness: f64| witness <= guard.limit;
            let outside = witnesses.iter().enumerate().filter(|(_, witness)| !inside(**witness));
            Escapes { origin: guard.origin.clone(), samples: outside.map(|(sample, _)| sample).collect() }
        });
        let escapes = escapes.collect();
        let mut outputs: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (port, values) in contract.decrypted().zip(values) {
            outputs.entry(port.name.clone()).or_default().extend(values);
        }
        if let Some(graph) = contract.client() {
            outputs = after_decryption(graph, outputs, contract.decrypted(), samples)?;
        }
        Ok(Answers { outputs, escapes, shared })
    }
}

/// What the client makes of the values it has decrypted.
fn after_decryption<'p>(
    graph: &TensorGraph,
    mut values: BTreeMap<String, Vec<f64>>,
    decrypted: impl Iterator<Item = &'p Port>,
    samples: usize,
) -> Result<BTreeMap<String, Vec<f64>>, RunError> {
    let batch = |port: &Port| {
        let mut values = values.remove(&port.name).unwrap_or_default();
        if !port.ty.element.is_float() {
            // The encryption's errors have no place in whole numbers.
            values.iter_mut().for_each(|value| *value = value.round());
        }
        (port.name.clone(), SampleBatch { values, samples })
    };
    let inputs = decrypted.map(batch).collect();
    reference::outputs(graph, &inputs)
}
