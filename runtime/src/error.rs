use hec_ir::Origin;
use hec_ir::program::Sharing;
use hec_ir::slots::LayoutError;

use crate::engine::{EngineError, Metadata};

/// Why a program did not run. Where a node of the model is concerned, it is named.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RunError {
    /// An input of the program was not given.
    #[error("no value was given for input \"{name}\"")]
    MissingInput {
        /// The input's name in the model.
        name: String,
    },
    /// A value was given for an input that the program does not have.
    #[error("the program has no input \"{name}\": its inputs are {known}")]
    UnknownInput {
        /// The name that was given.
        name: String,
        /// The names of the program's inputs.
        known: String,
    },
    /// The program needs a client in the middle of the run.
    #[error(
        "the program's activations are computed by the client, and there is none: run it with `hec run`, or with a server and \
         `hec query`; or compile it with --activations polynomial"
    )]
    NoClient,
    /// A client in the middle of the run is gone, or does not answer what was asked.
    #[error("round {round} with the client: {cause}")]
    Round {
        /// Which round, from 0.
        round: usize,
        /// What happened.
        cause: String,
    },
    /// The machine has not the memory that the program needs.
    #[error(
        "the program needs {:.1} GB for its ciphertexts and keys, and {:.1} GB are free: compile it with a smaller --memory, \
         and it is computed in tiles",
        *needed as f64 / 1e9, *available as f64 / 1e9
    )]
    Memory {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// An input array has not as many ciphertexts as its layout.
    #[error("input \"{name}\": expected {expected} ciphertexts, found {found}")]
    InputLength {
        /// The input's name in the model.
        name: String,
        /// Length of the array that the circuit declares.
        expected: usize,
        /// Number of ciphertexts given.
        found: usize,
    },
    /// An output array has not as many ciphertexts as its layout.
    #[error("output \"{name}\": expected {expected} ciphertexts, found {found}")]
    OutputLength {
        /// The output's name.
        name: String,
        /// Length of the array that the program declares.
        expected: usize,
        /// Number of ciphertexts received.
        found: usize,
    },
    /// Decryptions may not be shown to others.
    #[error(
        "decryptions of {} samples cannot be shared with {} bits of statistical security: {reason}", sharing.samples, sharing.bits
    )]
    Sharing {
        /// What was asked for.
        sharing: Sharing,
        /// Why not, and what to do.
        reason: String,
    },
    /// The run was asked to stop.
    #[error("cancelled before it was done")]
    Cancelled,
    /// The values of an input are not a whole number of samples of its shape.
    #[error(
        "input \"{name}\": expected {samples} samples of {elements} elements (shape {shape:?}), found {found} values"
    )]
    SampleSize {
        /// The input's name in the model.
        name: String,
        /// Number of samples stated.
        samples: usize,
        /// Elements of one sample.
        elements: usize,
        /// Shape of one sample.
        shape: Vec<usize>,
        /// Number of values given.
        found: usize,
    },
    /// Two inputs have different numbers of samples.
    #[error("input \"{name}\" has {found} samples, but \"{first}\" has {expected}")]
    SampleCount {
        /// The input's name in the model.
        name: String,
        /// Its number of samples.
        found: usize,
        /// The first input's name.
        first: String,
        /// The first input's number of samples.
        expected: usize,
    },
    /// Finished batches cannot be kept, or what was kept cannot be used.
    #[error("finished batches: {cause}")]
    Checkpoint {
        /// What is wrong.
        cause: String,
    },
    /// Samples could not be laid out in slots.
    #[error("input \"{name}\": {cause}")]
    Layout {
        /// The input's name in the model.
        name: String,
        /// What is wrong.
        cause: LayoutError,
    },
    /// Keys could not be generated.
    #[error("generating keys: {0}")]
    Keys(EngineError),
    /// An input could not be encrypted.
    #[error("encrypting input \"{name}\": {cause}")]
    Encrypt {
        /// The input's name in the model.
        name: String,
        /// What is wrong.
        cause: EngineError,
    },
    /// An input in the clear could not be encoded.
    #[error("encoding input \"{name}\": {cause}")]
    Encode {
        /// The input's name in the circuit.
        name: String,
        /// What is wrong.
        cause: EngineError,
    },
    /// An output could not be decrypted.
    #[error("decrypting output \"{name}\": {cause}")]
    Decrypt {
        /// The output's name in the model.
        name: String,
        /// What is wrong.
        cause: EngineError,
    },
    /// An operation failed.
    #[error("node \"{origin}\" ({op}): {cause}")]
    Node {
        /// The ONNX node that the operation comes from.
        origin: Origin,
        /// The operation's name.
        op: &'static str,
        /// What is wrong.
        cause: EngineError,
    },
    /// The circuit cannot be evaluated in the clear.
    #[error("in the clear: {0}")]
    Clear(Box<hec_ir::graph::GraphError>),
    /// There is nothing to compare errors with.
    #[error("the program has no precision certificate: compile the model again")]
    NoCertificate,
    /// A backend without errors, or without a circuit.
    #[error("the backend \"{backend}\" encrypts nothing, so there is nothing to check: take one that does")]
    NothingToCheck {
        /// Its name.
        backend: &'static str,
    },
    /// A ciphertext's own level, scale or degree is not what the circuit declares: the engine and the compiler disagree.
    #[error(
        "node \"{origin}\" ({op}): the circuit declares {declared}, but ciphertext {index} of the result is {found}"
    )]
    Declared {
        /// The ONNX node that the operation comes from.
        origin: Origin,
        /// The operation's name.
        op: &'static str,
        /// Index of the ciphertext in the result's array.
        index: usize,
        /// What the circuit declares.
        declared: Box<Metadata>,
        /// What the ciphertext says.
        found: Box<Metadata>,
    },
}
