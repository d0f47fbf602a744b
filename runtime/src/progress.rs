//! What a run tells about itself while it goes on.

use std::time::Duration;

use hec_ir::Origin;
use hec_ir::ckks::Type;

/// Is told how a run proceeds. Every method does nothing by default; all are called from the thread that runs the program.
pub trait Progress {
    /// A phase begins.
    fn phase(&self, phase: Phase) {
        let _ = phase;
    }

    /// Something worth a line.
    fn note(&self, line: &str) {
        let _ = line;
    }

    /// A node of the circuit begins.
    fn started(&self, layer: &Layer<'_>) {
        let _ = layer;
    }

    /// Whether to stop before the next node: the run then ends with [`RunError::Cancelled`](crate::RunError::Cancelled).
    fn cancelled(&self) -> bool {
        false
    }

    /// A node of the circuit has been computed, in this time.
    fn finished(&self, layer: &Layer<'_>, elapsed: Duration) {
        let _ = (layer, elapsed);
    }
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {}

/// A part of a run. `batch` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Generation of all keys.
    Keys,
    /// Packing, encoding and encryption of one batch.
    Encrypt {
        /// Which batch.
        batch: usize,
        /// Of how many.
        batches: usize,
    },
    /// Evaluation of one batch.
    Evaluate {
        /// Which batch.
        batch: usize,
        /// Of how many.
        batches: usize,
    },
    /// Decryption, decoding and unpacking of one batch.
    Decrypt {
        /// Which batch.
        batch: usize,
        /// Of how many.
        batches: usize,
    },
}

/// A node of the circuit that is being computed.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Position in the circuit, from 0.
    pub index: usize,
    /// Number of nodes.
    pub total: usize,
    /// The ONNX node that it comes from.
    pub origin: &'a Origin,
    /// The operation's name.
    pub op: &'static str,
    /// The type of its result.
    pub ty: &'a Type,
}
