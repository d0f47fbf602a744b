//! Samples in, samples out: what goes through a run and what is known of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hec_ir::Origin;
use hec_ir::program::Port;

use crate::checkpoint::Checkpoint;
use crate::error::RunError;
use crate::names::no_unknown_inputs;
use crate::sharing::Flooded;

/// The values of one input for any number of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleBatch {
    /// Row-major, samples outermost.
    pub values: Vec<f64>,
    /// Number of samples.
    pub samples: usize,
}

/// How a program is run.
#[derive(Clone, Default)]
pub struct RunSettings<'a> {
    /// A folder where encoded weights are kept from run to run.
    pub weight_cache: Option<PathBuf>,
    /// Bits of statistical security for results that are shown to others, all samples of the run together: see [`Flooded`].
    pub share: Option<u32>,
    /// Where finished batches are kept: those that are there are not run again.
    pub checkpoint: Option<&'a dyn Checkpoint>,
}

/// What came out of a run, and what it cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// For each output its values, row-major, samples outermost, in the order of the inputs' samples.
    pub outputs: BTreeMap<String, Vec<f64>>,
    /// For each range witness of the program, the samples that left the range. Without witnesses nothing is known.
    pub escapes: Vec<Escapes>,
    /// Wall-clock time.
    pub seconds: Phases,
    /// Sizes of what a client and a server would exchange.
    pub bytes: Traffic,
    /// How many times the circuit was evaluated.
    pub batches: usize,
    /// The noise in the outputs, if they are for others.
    pub shared: Option<Flooded>,
    /// Batches before those that an earlier run had finished.
    pub resumed: usize,
}

/// Samples whose values left the range on which a polynomial was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Escapes {
    /// The model's node whose operand was watched.
    pub origin: Origin,
    /// The samples, ascending.
    pub samples: Vec<usize>,
}

/// Seconds spent in each phase, summed over the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phases {
    /// Generation of all keys.
    pub keygen: f64,
    /// Packing, encoding and encryption.
    pub encrypt: f64,
    /// Evaluation of the circuit, and of what is computed before it in the clear.
    pub evaluate: f64,
    /// What the client computes in the middle of the run, with decryption and encryption.
    pub rounds: f64,
    /// Decryption, decoding and unpacking, and what is left to the client to compute.
    pub decrypt: f64,
}

/// Bytes, summed over the batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Evaluation keys, sent once.
    pub keys: u64,
    /// Encrypted inputs. Those in the clear are not counted.
    pub input: u64,
    /// Encrypted outputs.
    pub output: u64,
    /// What the server sends to the client in the middle of the run.
    pub rounds_down: u64,
    /// What the client sends back.
    pub rounds_up: u64,
}

/// How many samples `inputs` holds for `ports`.
///
/// # Errors
/// If an input is missing or unknown, its values are not that many samples of its shape, or inputs differ in their number
/// of samples.
pub fn sample_count(ports: &[Port], inputs: &BTreeMap<String, SampleBatch>) -> Result<usize, RunError> {
    let mut first: Option<(&str, usize)> = None;
    for port in ports {
        let name = || port.name.clone();
        let Some(SampleBatch { values, samples }) = inputs.get(&port.name) else {
            return Err(RunError::MissingInput { name: name() });
        };
        let (samples, found, elements) = (*samples, values.len(), port.ty.elements());
        if elements.checked_mul(samples) != Some(found) {
            let shape = port.ty.shape.clone();
            return Err(RunError::SampleSize { name: name(), samples, elements, shape, found });
        }
        let (first, expected) = *first.get_or_insert((&port.name, samples));
        if samples != expected {
            let first = first.to_owned();
            return Err(RunError::SampleCount { name: name(), found: samples, first, expected });
        }
    }
    no_unknown_inputs(ports.iter().map(|port| port.name.as_str()), inputs.keys())?;
    Ok(first.map_or(0, |(_, samples)| samples))
}
