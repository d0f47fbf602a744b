//! `hec bench`: a whole model, timed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hec::ir::ckks;
use hec::{Layer, Phases, Port, Progress, RunSettings, SampleBatch, Silent};

use super::report::megabytes;
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
    /// Count the first run as well: for models that take minutes.
    #[arg(long)]
    cold: bool,
    /// Number of threads [default: one, then all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the time of each operation of the circuit as well, a mean of the counted runs.
    #[arg(long)]
    layers: bool,
    /// A folder in which encoded weights are kept from run to run (packed layout).
    #[arg(long, value_name = "DIR")]
    weight_cache: Option<PathBuf>,
    #[command(flatten)]
    options: CompileOptions,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let backend = files::backend(&arguments.backend)?;
    let (subject, card) = files::read(&arguments.file)?;
    let start = Instant::now();
    let program = match subject {
        files::Subject::Program(program) => *program,
        files::Subject::Model(model) => {
            let program = files::compile(&model, card.as_ref(), &arguments.options)?.program;
            console::print(&format!("compiled in {:.1} s", start.elapsed().as_secs_f64()));
            program
        }
    };
    let full = program.capacity();
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
    console::print(
        "threads  encode + encrypt       evaluate  decrypt + decode  samples/s evaluated  ms a sample in all",
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = match arguments.threads {
        Some(threads) => vec![threads.into()],
        None if cores > 1 => vec![1, cores],
        None => vec![1],
    };
    let (mut medians, mut layers) = (Vec::new(), Layers::default());
    for threads in threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let (phases, times) = pool.install(|| timed(backend, &program, &inputs, arguments))?;
        let of = |phase: fn(&Phases) -> f64| Spread::new(phases.iter().map(phase).collect());
        let (encrypt, evaluate, decrypt) = (of(|p| p.encrypt), of(|p| p.evaluate), of(|p| p.decrypt));
        let total = encrypt.median + evaluate.median + decrypt.median;
        let (rate, each) = (samples as f64 / evaluate.median, 1000.0 * total / samples as f64);
        console::print(&format!(
            "{threads:>7}  {encrypt:>16}  {evaluate:>13}  {decrypt:>16}  {rate:>19.1}  {each:>18.3}"
        ));
        let shares = [&encrypt, &evaluate, &decrypt].map(|phase| percent(phase.median, total));
        console::print(&format!("{:>7}  {:>16}  {:>13}  {:>16}", "share", shares[0], shares[1], shares[2]));
        medians.push(evaluate.median);
        layers = times;
    }
    if let [one, all] = medians[..] {
        console::print(&format!("{cores} threads evaluate {:.2} times as fast as one", one / all));
    }
    console::print(&memory(&program));
    if arguments.layers {
        console::print(&layers.table(f64::from(arguments.runs)));
    }
    Ok(())
}

/// What the circuit's ciphertexts and keys take by the compiler's count, and what the process took.
fn memory(program: &hec::Program) -> String {
    let circuit = program.circuit();
    let stated = [ckks::peak_ciphertext_bytes(circuit), ckks::evaluation_key_bytes(circuit)].map(megabytes);
    let measured = hec::memory::peak_resident_bytes().map_or("-".to_owned(), megabytes);
    format!("memory stated: ciphertexts {}, evaluation keys {}; measured: process {measured}", stated[0], stated[1])
}

fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole)
}

/// Phases of each counted run, and the layers of all of them.
fn timed(
    backend: &dyn hec::Backend,
    program: &hec::Program,
    inputs: &BTreeMap<String, SampleBatch>,
    arguments: &Arguments,
) -> Result<(Vec<Phases>, Layers), hec::RunError> {
    let settings = RunSettings { weight_cache: arguments.weight_cache.clone(), ..RunSettings::default() };
    if !arguments.cold {
        backend.run_with(program, inputs, &settings, &Silent)?;
    }
    let layers = Layers::default();
    let one = |_| Ok(backend.run_with(program, inputs, &settings, &layers)?.seconds);
    let phases: Result<_, _> = (0..arguments.runs).map(one).collect();
    Ok((phases?, layers))
}

/// Seconds of each operation of each node of the model, in the circuit's order; tiles of one are added up.
#[derive(Default)]
struct Layers(RefCell<Vec<(String, f64)>>);

impl Progress for Layers {
    fn finished(&self, layer: &Layer<'_>, elapsed: Duration) {
        let name = format!("{:<12} {}", layer.op, layer.origin);
        let mut layers = self.0.borrow_mut();
        match layers.iter_mut().find(|(other, _)| *other == name) {
            Some((_, seconds)) => *seconds += elapsed.as_secs_f64(),
            None => layers.push((name, elapsed.as_secs_f64())),
        }
    }
}

impl Layers {
    fn table(&self, runs: f64) -> String {
        let layers = self.0.borrow();
        let total: f64 = layers.iter().map(|(_, seconds)| seconds).sum();
        let row = |(name, seconds): &(String, f64)| {
            format!("{:>9.3}  {:>7}  {name}", seconds / runs, percent(*seconds, total))
        };
        let head = "  seconds    share  operation    node".to_owned();
        std::iter::once(head).chain(layers.iter().map(row)).collect::<Vec<_>>().join("\n")
    }
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
