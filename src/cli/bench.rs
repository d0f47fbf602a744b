//! `hec bench`: a whole model, timed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hec::{Outcome, Phases, Port, SampleBatch, Silent};

use super::{CompileOptions, Failure, console, files};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An ONNX model (compiled first) or a program.
    file: PathBuf,
    #[arg(long, default_value = "he-ckks", help = format!("What runs it:{}", files::backends()))]
    backend: String,
    /// Samples [default: those that the model card names].
    #[arg(long, value_name = "[NAME=]FILE")]
    input: Vec<String>,
    /// Samples a run [default: one full batch].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Counted runs for each number of threads, after one that is not counted.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    #[command(flatten)]
    options: CompileOptions,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let backend = files::backend(&arguments.backend)?;
    let (subject, card) = files::read(&arguments.file)?;
    let program = match subject {
        files::Subject::Program(program) => program,
        files::Subject::Model(model) => files::compile(&model, card.as_ref(), &arguments.options)?.program,
    };
    let full = program.parameters().slots();
    let limit = arguments.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(full);
    let inputs = files::inputs(&Port::inputs_of(program.source()), &arguments.input, card.as_ref(), Some(limit))?;
    let samples = inputs.values().next().map_or(0, |batch| batch.samples);
    console::print(&format!(
        "{} on {}: {samples} samples a run in batches of {full}, N = 2^{} ({} ring), log2(QP) = {:.1}, median of {} runs (and the fastest), seconds",
        arguments.file.display(),
        backend.name(),
        program.parameters().log_n(),
        program.parameters().ring().ring_type,
        program.parameters().log_qp(),
        arguments.runs
    ));
    console::print("threads  encode + encrypt       evaluate  decrypt + decode  samples/s evaluated");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut evaluate = Vec::new();
    for threads in if cores > 1 { vec![1, cores] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let phases = pool.install(|| timed(backend, &program, &inputs, arguments.runs))?;
        let of = |phase: fn(&Phases) -> f64| Spread::new(phases.iter().map(phase).collect());
        let (encrypt, evaluated, decrypt) = (of(|p| p.encrypt), of(|p| p.evaluate), of(|p| p.decrypt));
        let rate = samples as f64 / evaluated.median;
        console::print(&format!("{threads:>7}  {encrypt:>16}  {evaluated:>13}  {decrypt:>16}  {rate:>19.0}"));
        evaluate.push(evaluated.median);
    }
    if let [one, all] = evaluate[..] {
        console::print(&format!("{cores} threads evaluate {:.2} times as fast as one", one / all));
    }
    Ok(())
}

fn timed(
    backend: &dyn hec::Backend,
    program: &hec::Program,
    inputs: &BTreeMap<String, SampleBatch>,
    runs: u32,
) -> Result<Vec<Phases>, hec::RunError> {
    let once = || -> Result<Outcome, hec::RunError> { backend.run(program, inputs, &Silent) };
    once()?;
    (0..runs).map(|_| Ok(once()?.seconds)).collect()
}

/// Median and least of some times.
struct Spread {
    median: f64,
    least: f64,
}

impl Spread {
    fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        let at = |i: usize| seconds.get(i).copied().unwrap_or(0.0);
        let half = seconds.len() / 2;
        let median = if seconds.len() % 2 == 1 { at(half) } else { (at(half) + at(half.saturating_sub(1))) / 2.0 };
        Self { median, least: at(0) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.3} ({:.3})", self.median, self.least))
    }
}
