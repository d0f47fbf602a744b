//! The report of a run: a table for people, JSON for machines.

use hec::ir::ckks::Op;
use hec::ir::parameters::Parameters;
use hec::ir::program::ClientWork;
use hec::{Checked, Escapes, Flooded, Phases, Port, Program, Traffic};
use serde_json::json;

use super::certificate;
use super::score::Errors;

/// Everything that a run is judged by.
#[derive(Clone, Debug)]
pub struct Report {
    pub model: String,
    pub backend: String,
    pub samples: usize,
    /// Batches that were run.
    pub batches: usize,
    /// Batches before those that an earlier run had finished; times and sizes are without them.
    pub resumed: usize,
    /// Part of the samples classified as their labels say, 0 to 1.
    pub accuracy: Option<f64>,
    /// The same for the plain model.
    pub plain_accuracy: Option<f64>,
    /// Part of the samples classified as by the plain model, 0 to 1.
    pub agreement: Option<f64>,
    /// Against the plain model, if that is there.
    pub errors: Option<Errors>,
    /// What was not done here is no number.
    pub seconds: Phases,
    /// From the first byte to the last, where a server was asked.
    pub wall: Option<f64>,
    pub bytes: Traffic,
    pub peak_memory: Option<u64>,
    /// `None` where nothing was encrypted.
    pub parameters: Option<Parameters>,
    pub scale_bits: Option<f64>,
    /// Inputs that were not encrypted, of a program that encrypts others.
    pub public: Vec<Port>,
    /// What the client computed after decryption, node by node.
    pub client: Vec<ClientWork>,
    /// Rounds with the client in the middle of each batch.
    pub rounds: usize,
    /// What the range witnesses say, if there are any.
    pub escapes: Vec<Escapes>,
    /// The noise in the outputs, if they are for others.
    pub shared: Option<Flooded>,
    /// The certificate beside what was measured, if it was.
    pub checked: Option<Vec<Checked>>,
}

/// log2 of the scale at which inputs are encrypted.
pub fn input_scale_bits(program: &Program) -> Option<f64> {
    let mut nodes = program.circuit().nodes();
    nodes.find_map(|(_, node)| {
        let Op::Input(input) = node.op() else { return None };
        (!input.public).then(|| input.scale.log2())
    })
}

impl Report {
    /// One object. What was not measured is null; a precision without error is null as well.
    pub fn json(&self) -> String {
        let Report { seconds, bytes, .. } = self;
        let parameters = self.parameters.as_ref().map(|p| {
            json!({
                "ring_type": p.ring().ring_type.name(),
                "log_n": p.log_n(),
                "slots": p.slots(),
                "log_qp": p.log_qp(),
                "security": p.security().map(|s| s.bits()),
                "scale_bits": self.scale_bits,
                "levels": p.max_level(),
            })
        });
        let value = json!({
            "model": self.model,
            "backend": self.backend,
            "samples": self.samples,
            "batches": self.batches,
            "resumed_batches": self.resumed,
            "accuracy": self.accuracy,
            "plain_accuracy": self.plain_accuracy,
            "agreement": self.agreement,
            "max_error": self.errors.map(|errors| errors.max),
            "mean_error": self.errors.map(|errors| errors.mean),
            "precision_bits": self.errors.and_then(|errors| finite(errors.precision_bits)),
            "seconds": {
                "keygen": seconds.keygen,
                "encrypt": seconds.encrypt,
                "evaluate": seconds.evaluate,
                "rounds": seconds.rounds,
                "decrypt": seconds.decrypt,
                "wall": self.wall,
            },
            "bytes": {
                "keys": bytes.keys,
                "input": bytes.input,
                "output": bytes.output,
                "rounds_down": bytes.rounds_down,
                "rounds_up": bytes.rounds_up,
                "peak_memory": self.peak_memory,
            },
            "parameters": parameters,
            "rounds": self.rounds,
            "escapes": self.escapes.iter().map(|e| json!({ "node": e.origin.as_str(), "samples": e.samples })).collect::<Vec<_>>(),
            "shared": self.shared.as_ref().map(|Flooded { sharing, precision, .. }| {
                json!({ "bits": sharing.bits, "samples": sharing.samples, "precision_bits": precision })
            }),
            "public": self.public.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(),
            "checked": self.checked.as_deref().map(certificate::checked_json),
            "client": self.client.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        format!("{value:#}")
    }

    fn all_batches(&self) -> String {
        let batches = |count: usize| if count == 1 { "1 batch".to_owned() } else { format!("{count} batches") };
        match self.resumed {
            0 => batches(self.batches),
            earlier => format!("{} ({earlier} of them finished earlier)", batches(self.batches + earlier)),
        }
    }

    /// Name and value, a line each.
    pub fn table(&self) -> String {
        let percent = |part: Option<f64>| part.map_or("-".to_owned(), |p| format!("{:.2} %", 100.0 * p));
        let time = |seconds: f64| finite(seconds).map_or("-".to_owned(), |seconds| format!("{seconds:.3} s"));
        let Report { seconds, bytes, samples, .. } = self;
        // What an earlier run took is not known here.
        let each = finite(seconds.evaluate)
            .filter(|_| self.resumed == 0)
            .map_or(String::new(), |all| format!(" ({:.3} ms a sample)", per_sample(all, *samples)));
        let errors = self.errors.map_or("-".to_owned(), |e| format!("largest {:.2e}, mean {:.2e}", e.max, e.mean));
        let precision = self.errors.map_or("-".to_owned(), |errors| {
            finite(errors.precision_bits).map_or("exact".to_owned(), |bits| format!("{bits:.1} bits"))
        });
        let mut rows = vec![
            ("model", self.model.clone()),
            ("backend", self.backend.clone()),
            ("samples", format!("{samples} in {}", self.all_batches())),
            ("accuracy", format!("{} (plain model {})", percent(self.accuracy), percent(self.plain_accuracy))),
            ("agreement with the plain model", percent(self.agreement)),
            ("output error", errors),
            ("precision", precision),
            ("key generation", time(seconds.keygen)),
            ("encode + encrypt", time(seconds.encrypt)),
            ("evaluate", time(seconds.evaluate) + &each),
            ("decrypt + decode", time(seconds.decrypt)),
            ("by the client after decryption", none_or(&self.client)),
            ("peak memory", self.peak_memory.map_or("-".to_owned(), megabytes)),
        ];
        if let Some(wall) = self.wall {
            rows.push(("from first byte to last", time(wall)));
        }
        if !self.public.is_empty() {
            let names = self.public.iter().map(|port| format!("\"{}\" {}", port.name.escape_debug(), port.ty));
            rows.push(("inputs in the clear", names.collect::<Vec<_>>().join("; ")));
        }
        if self.rounds > 0 {
            rows.push((
                "rounds with the client",
                format!(
                    "{} a batch: {:.3} s of the client's time, {} down, {} up in all",
                    self.rounds,
                    seconds.rounds,
                    megabytes(bytes.rounds_down),
                    megabytes(bytes.rounds_up)
                ),
            ));
        }
        if let Some(Flooded { sharing, precision: [before, after], .. }) = &self.shared {
            let each = f64::from(sharing.bits) + (sharing.samples.max(1) as f64).log2();
            rows.push((
                "shared",
                format!(
                    "{} bits of statistical security for {} samples together, {each:.1} bits per decryption; precision {before:.1} -> \
                     {after:.1} bits predicted",
                    sharing.bits, sharing.samples
                ),
            ));
        }
        for escapes in &self.escapes {
            let found = match &escapes.samples[..] {
                [] => "all samples stayed in range".to_owned(),
                [first, ..] => {
                    let count = escapes.samples.len();
                    format!(
                        "{count} samples LEFT THE RANGE of the polynomial: their answers are void; the first is sample {first}"
                    )
                }
            };
            rows.push(("guard", format!("{found} ({})", escapes.origin.as_str())));
        }
        if let Some(p) = &self.parameters {
            let security = p.security().map_or(0, |s| s.bits());
            rows.extend([
                ("evaluation keys", megabytes(bytes.keys)),
                ("encrypted input", megabytes(bytes.input)),
                ("encrypted output", megabytes(bytes.output)),
                (
                    "parameters",
                    format!(
                        "N = 2^{} ({} ring, {} slots), log2(QP) = {:.1}, {security} bits of security",
                        p.log_n(),
                        p.ring().ring_type,
                        p.slots(),
                        p.log_qp()
                    ),
                ),
            ]);
        }
        let mut lines: Vec<String> = rows.iter().map(|(name, value)| format!("{name:<32}{value}")).collect();
        if let Some(checked) = &self.checked {
            lines.push("precision certificate (errors relative to the same circuit in the clear)".to_owned());
            lines.push(certificate::table(checked));
        }
        lines.join("\n")
    }
}

fn none_or(work: &[ClientWork]) -> String {
    let list: Vec<String> = work.iter().map(ToString::to_string).collect();
    if list.is_empty() { "-".to_owned() } else { list.join("; ") }
}

fn per_sample(seconds: f64, samples: usize) -> f64 {
    1000.0 * seconds / samples.max(1) as f64
}

/// In millions of bytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}
