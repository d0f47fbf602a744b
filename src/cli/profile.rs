//! What a run took, node by node of the circuit: `hec run --measured` writes it, `hec explain --measured` reads it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hec::ir::ckks::{Circuit, Ckks};
use hec::ir::graph::Dialect;
use hec::{Layer, Outcome, Phase, Phases, Progress};
use serde_json::{Value, json};

/// The format that is written and read.
const VERSION: u64 = 1;

/// What one node of the circuit took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timing {
    pub origin: String,
    pub op: String,
    /// Over all batches.
    pub seconds: f64,
    /// The largest resident size of the process until the node was done for the last time, in bytes.
    pub peak_memory: Option<u64>,
}

/// A run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    pub backend: String,
    pub threads: u64,
    pub samples: u64,
    pub batches: u64,
    /// Key generation, encryption, evaluation, rounds, decryption: seconds over all batches.
    pub phases: [f64; 5],
    pub precision_bits: Option<f64>,
    pub peak_memory: Option<u64>,
    pub nodes: Vec<Timing>,
}

/// Names of [`Profile::phases`].
pub const PHASES: [&str; 5] = ["keygen", "encrypt", "evaluate", "rounds", "decrypt"];

impl Profile {
    /// What `recorder` saw of a run.
    pub fn of(
        recorder: Recorder<'_>,
        backend: &str,
        outcome: &Outcome,
        samples: usize,
        precision: Option<f64>,
    ) -> Self {
        let Phases { keygen, encrypt, evaluate, rounds, decrypt } = outcome.seconds;
        Self {
            backend: backend.to_owned(),
            threads: rayon::current_num_threads() as u64,
            samples: samples as u64,
            batches: outcome.batches as u64,
            phases: [keygen, encrypt, evaluate, rounds, decrypt],
            precision_bits: precision,
            peak_memory: hec::memory::peak_resident_bytes(),
            nodes: recorder.nodes.into_inner().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// One object.
    pub fn json(&self) -> String {
        let node =
            |t: &Timing| json!({ "origin": t.origin, "op": t.op, "seconds": t.seconds, "peak_memory": t.peak_memory });
        let phases: serde_json::Map<String, Value> =
            PHASES.iter().zip(self.phases).map(|(name, seconds)| ((*name).to_owned(), json!(seconds))).collect();
        let value = json!({
            "measured": VERSION,
            "backend": self.backend,
            "threads": self.threads,
            "samples": self.samples,
            "batches": self.batches,
            "seconds": phases,
            "precision_bits": self.precision_bits,
            "peak_memory": self.peak_memory,
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
        });
        format!("{value:#}\n")
    }

    /// Reads what [`Profile::json`] wrote for a run of `circuit`.
    ///
    /// # Errors
    /// What is wrong with it, or why it is of another program.
    pub fn read(text: &str, circuit: &Circuit) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if value.get("measured").and_then(Value::as_u64) != Some(VERSION) {
            return Err(format!("expected version {VERSION} of what hec run --measured writes"));
        }
        let missing = |what: &str| format!("\"{what}\" is missing, or of another type than hec run --measured writes");
        let count = |what: &str| value.get(what).and_then(Value::as_u64).ok_or_else(|| missing(what));
        let seconds = |value: Option<&Value>, what: &str| {
            value.and_then(Value::as_f64).filter(|s| s.is_finite() && *s >= 0.0).ok_or_else(|| missing(what))
        };
        let text = |value: &Value, what: &str| value.get(what).and_then(Value::as_str).map(str::to_owned);
        let mut phases = [0.0; 5];
        for (phase, name) in phases.iter_mut().zip(PHASES) {
            *phase = seconds(value.get("seconds").and_then(|all| all.get(name)), name)?;
        }
        let nodes = value.get("nodes").and_then(Value::as_array).ok_or_else(|| missing("nodes"))?;
        let node = |node: &Value| {
            Ok(Timing {
                origin: text(node, "origin").ok_or_else(|| missing("origin"))?,
                op: text(node, "op").ok_or_else(|| missing("op"))?,
                seconds: seconds(node.get("seconds"), "seconds")?,
                peak_memory: node.get("peak_memory").and_then(Value::as_u64),
            })
        };
        let nodes: Vec<Timing> = nodes.iter().map(node).collect::<Result<_, String>>()?;
        if nodes.len() != circuit.len() {
            let (expected, found) = (circuit.len(), nodes.len());
            return Err(format!("it was measured on another program: expected {expected} nodes, found {found}"));
        }
        let own = circuit.nodes().map(|(_, node)| (node.origin().as_str(), Ckks::describe(node.op()).0));
        let differs = own.zip(&nodes).position(|((origin, op), t)| t.origin != origin || t.op != op);
        if let Some(at) = differs {
            let found = nodes.get(at).map_or("", |node| &node.origin).escape_debug();
            return Err(format!("it was measured on another program: node {at} is \"{found}\" there"));
        }
        Ok(Self {
            backend: text(&value, "backend").ok_or_else(|| missing("backend"))?,
            threads: count("threads")?,
            samples: count("samples")?,
            batches: count("batches")?.max(1),
            phases,
            precision_bits: value.get("precision_bits").and_then(Value::as_f64),
            peak_memory: value.get("peak_memory").and_then(Value::as_u64),
            nodes,
        })
    }
}

/// Notes what each node takes, and passes everything on.
pub struct Recorder<'a> {
    next: &'a dyn Progress,
    nodes: Mutex<Vec<Timing>>,
}

impl<'a> Recorder<'a> {
    /// Notes, and tells `next`.
    pub fn new(next: &'a dyn Progress) -> Self {
        Self { next, nodes: Mutex::default() }
    }
}

impl Progress for Recorder<'_> {
    fn phase(&self, phase: Phase) {
        self.next.phase(phase);
    }

    fn note(&self, line: &str) {
        self.next.note(line);
    }

    fn cancelled(&self) -> bool {
        self.next.cancelled()
    }

    fn started(&self, layer: &Layer<'_>) {
        self.next.started(layer);
    }

    fn finished(&self, layer: &Layer<'_>, elapsed: Duration) {
        self.next.finished(layer, elapsed);
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let length = layer.total.max(nodes.len());
        nodes.resize(length, Timing::default());
        if let Some(node) = nodes.get_mut(layer.index) {
            node.origin = layer.origin.as_str().to_owned();
            node.op = layer.op.to_owned();
            node.seconds += elapsed.as_secs_f64();
            node.peak_memory = hec::memory::peak_resident_bytes();
        }
    }
}
