//! Counters, in the text format of Prometheus. They say how much and how long, never what.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::limits::Admission;
use crate::store::Store;

/// Upper ends of the buckets of durations, in seconds.
const BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0];

/// What has been counted since the start.
#[derive(Debug, Default)]
pub struct Metrics {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By method and code.
    requests: BTreeMap<(&'static str, i32), u64>,
    /// By model.
    evaluations: BTreeMap<String, Durations>,
    samples: BTreeMap<String, u64>,
    /// By direction.
    bytes: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, Default)]
struct Durations {
    buckets: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

impl Metrics {
    fn with(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A request was answered.
    pub fn request(&self, method: &'static str, code: tonic::Code) {
        self.with(|state| *state.requests.entry((method, code as i32)).or_default() += 1);
    }

    /// A batch was evaluated.
    pub fn evaluation(&self, model: &str, samples: usize, seconds: f64) {
        self.with(|state| {
            let own = state.evaluations.entry(model.to_owned()).or_default();
            for (bucket, limit) in own.buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= limit);
            }
            own.sum += seconds;
            own.count += 1;
            *state.samples.entry(model.to_owned()).or_default() += samples as u64;
        });
    }

    /// Bytes of keys or ciphertexts came or went.
    pub fn bytes(&self, direction: &'static str, bytes: usize) {
        self.with(|state| *state.bytes.entry(direction).or_default() += bytes as u64);
    }

    /// All of it as text.
    pub fn text(&self, admission: &Admission, store: &Store) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP hec_{name} {help}\n# TYPE hec_{name} {kind}");
        };
        head(&mut out, "requests_total", "counter", "Requests answered, by method and gRPC code.");
        for ((method, code), count) in &state.requests {
            let _ = writeln!(out, "hec_requests_total{{method=\"{method}\",code=\"{code}\"}} {count}");
        }
        head(&mut out, "evaluation_seconds", "histogram", "Time of the evaluation of a batch.");
        for (model, own) in &state.evaluations {
            let model = escaped(model);
            for (count, limit) in own.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(out, "hec_evaluation_seconds_bucket{{model=\"{model}\",le=\"{limit}\"}} {count}");
            }
            let _ = writeln!(out, "hec_evaluation_seconds_bucket{{model=\"{model}\",le=\"+Inf\"}} {}", own.count);
            let _ = writeln!(out, "hec_evaluation_seconds_sum{{model=\"{model}\"}} {}", own.sum);
            let _ = writeln!(out, "hec_evaluation_seconds_count{{model=\"{model}\"}} {}", own.count);
        }
        head(&mut out, "samples_total", "counter", "Samples evaluated.");
        for (model, count) in &state.samples {
            let _ = writeln!(out, "hec_samples_total{{model=\"{}\"}} {count}", escaped(model));
        }
        head(&mut out, "bytes_total", "counter", "Bytes of keys and ciphertexts, by direction.");
        for (direction, count) in &state.bytes {
            let _ = writeln!(out, "hec_bytes_total{{direction=\"{direction}\"}} {count}");
        }
        let (keys, bytes) = store.in_memory();
        for (name, help, value) in [
            ("requests_inside", "Requests that are evaluated or wait.", admission.inside() as u64),
            ("evaluations_running", "Evaluations that run.", admission.running() as u64),
            ("keys_in_memory", "Sets of evaluation keys in memory.", keys as u64),
            ("keys_in_memory_bytes", "About the memory that they take.", bytes),
        ] {
            head(&mut out, name, "gauge", help);
            let _ = writeln!(out, "hec_{name} {value}");
        }
        out
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
