//! `hec run`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use hec::{Checkpoint, Outcome, Port, Program, RunSettings, SampleBatch};

use super::profile::{Profile, Recorder};
use super::report::Report;
use super::score::{agreement, classes, errors};
use super::{CompileOptions, Failure, certificate, console, files};
use crate::data::{Journal, Output, read_labels, write_atomically, write_outputs};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An ONNX model (compiled on the fly) or a program.
    file: PathBuf,
    #[arg(long, default_value = "he-ckks", help = format!("What runs it:{}", files::backends()))]
    backend: String,
    /// Samples: IDX, .npy, .npz, .csv, TensorProto .pb, PNG or a folder of PNGs [default: those that the model card names].
    #[arg(long, value_name = "[NAME=]FILE")]
    input: Vec<String>,
    /// Their labels [default: those that the model card names, with its samples].
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Only the first N samples.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Write the outputs to a .npy, .npz, .csv or .json file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write what each node of the circuit took to a JSON file, for hec explain.
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// Decrypt values in the middle of the run, compare them with exact ones, and fail if an error is above what the program's
    /// precision certificate promises. For debugging: the secret key is used where it otherwise never is.
    #[arg(long)]
    check: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Number of threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Keep finished batches beside the output (in OUTPUT.resume, decrypted, for its owner alone), and go on after those that an interrupted
    /// run of the same program on the same input has kept. The file is removed when the output is there.
    #[arg(long, requires = "output")]
    resume: bool,
    /// A folder in which encoded weights are kept from run to run (packed layout).
    #[arg(long, value_name = "DIR")]
    weight_cache: Option<PathBuf>,
    #[command(flatten)]
    options: CompileOptions,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let backend = files::backend(&arguments.backend)?;
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    }
    if arguments.measured.is_some() && ["plain", "sim"].contains(&backend.name()) {
        let name = backend.name();
        return Err(format!("--measured: the {name} backend times no nodes; take another --backend").into());
    }
    if arguments.check && backend.name() == "plain" {
        return Err("--check: the plain backend encrypts nothing, so there is nothing to check".into());
    }
    if arguments.options.share_decryptions.is_some() && backend.name() == "plain" {
        return Err("--share-decryptions: the plain backend encrypts nothing; take another --backend".into());
    }
    if arguments.resume && arguments.check {
        return Err("--resume: batches that were finished before cannot be checked; leave out --check".into());
    }
    if arguments.resume && backend.name() == "plain" {
        return Err("--resume: the plain backend has no batches; take another --backend".into());
    }
    let limit = arguments.limit.and_then(|n| usize::try_from(n).ok());
    let (subject, card) = files::read(&arguments.file)?;
    let source = match &subject {
        files::Subject::Model(model) => model,
        files::Subject::Program(program) => {
            files::already_compiled(program, &arguments.options)?;
            program.source()
        }
    };
    let ports = Port::inputs_of(source);
    let inputs = files::inputs(&ports, &arguments.input, card.as_ref(), limit)?;
    let samples = inputs.values().next().map_or(0, |batch| batch.samples);
    let default = card.as_ref().filter(|_| arguments.input.is_empty()).and_then(|card| card.input_labels.clone());
    let labels = labels(arguments.labels.clone().or(default).as_deref(), limit, samples)?;

    let bar = console::Bar::new();
    let recorder = Recorder::new(&bar);
    let plain = hec::evaluate_samples(source, &inputs, &bar)?;
    let mut checked = None;
    let mut kept = None;
    let (outcome, program) = if backend.name() == "plain" {
        (plain.clone(), None)
    } else {
        let program = match &subject {
            files::Subject::Program(program) => (**program).clone(),
            files::Subject::Model(model) => {
                let compiled = files::compile(model, card.as_ref(), &arguments.options)?;
                bar.suspend(|| console::say(&compiled.decisions.to_string()));
                compiled.program
            }
        };
        let journal = match arguments.output.as_deref().filter(|_| arguments.resume) {
            Some(output) => Some(Journal::open(
                output,
                identity(backend.name(), &program, &inputs, arguments.options.share_decryptions),
            )?),
            None => None,
        };
        if let Some(journal) = &journal {
            let (kept, all) = (journal.batches(), samples.div_ceil(program.capacity().max(1)));
            bar.suspend(|| console::resuming(kept, Some(all)));
        }
        let checkpoint = journal.as_ref().map(|journal| journal as &dyn Checkpoint);
        let settings = RunSettings {
            weight_cache: arguments.weight_cache.clone(),
            share: arguments.options.share_decryptions,
            checkpoint,
        };
        let outcome = if arguments.check {
            bar.suspend(|| console::say("checking: values in the middle of the run are decrypted with the secret key"));
            let (outcome, found) = backend.check(&program, &inputs, &settings, &recorder)?;
            checked = Some(found);
            outcome
        } else {
            backend.run_with(&program, &inputs, &settings, &recorder)?
        };
        kept = journal;
        (outcome, Some(program))
    };
    bar.clear();

    let outputs = Port::outputs_of(source);
    if let Some(path) = &arguments.output {
        write(path, &outputs, &outcome.outputs, samples)?;
    }
    if let Some(journal) = kept {
        journal.remove()?;
    }
    let mut report = report(arguments, &outputs, &outcome, &plain, labels.as_deref(), program.as_ref(), samples);
    if let Some(path) = &arguments.measured {
        let precision = report.errors.as_ref().map(|errors| errors.precision_bits).filter(|bits| bits.is_finite());
        let text = Profile::of(recorder, backend.name(), &outcome, samples, precision).json();
        write_atomically(path, |file| file.write_all(text.as_bytes()))?;
    }
    report.checked = checked;
    console::print(&if arguments.json { report.json() } else { report.table() });
    match report.checked.as_deref().and_then(certificate::broken) {
        Some(broken) => Err(broken.into()),
        None => Ok(()),
    }
}

/// What tells a run from another one: the backend, the program, the noise of what is shared, and every value of the inputs.
fn identity(backend: &str, program: &Program, inputs: &BTreeMap<String, SampleBatch>, share: Option<u32>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("hec 2026 finished batches of a run v1");
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    text(backend);
    inputs.keys().for_each(|name| text(name));
    hasher.update(&program.fingerprint());
    hasher.update(&share.map_or(0, |bits| u64::from(bits) + 1).to_le_bytes());
    for SampleBatch { values, samples } in inputs.values() {
        hasher.update(&(*samples as u64).to_le_bytes());
        for value in values {
            hasher.update(&value.to_le_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

/// The labels in a file: one for each sample.
pub fn labels(path: Option<&Path>, limit: Option<usize>, samples: usize) -> Result<Option<Vec<u32>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let labels = read_labels(path, limit)?;
    if labels.len() != samples {
        let message =
            format!("{}: expected a label for each of {samples} samples, found {}", path.display(), labels.len());
        return Err(message.into());
    }
    Ok(Some(labels))
}

/// The outputs of all samples to a file.
pub fn write(path: &Path, ports: &[Port], outputs: &BTreeMap<String, Vec<f64>>, samples: usize) -> Result<(), Failure> {
    let shapes: Vec<Vec<usize>> = ports
        .iter()
        .map(|port| std::iter::once(samples).chain(files::sample_shape(&port.ty.shape).iter().copied()).collect())
        .collect();
    let list = ports.iter().zip(&shapes).map(|(port, shape)| Output {
        name: &port.name,
        shape,
        values: outputs.get(&port.name).map_or(&[], Vec::as_slice),
    });
    write_outputs(path, &list.collect::<Vec<_>>())?;
    Ok(())
}

/// The class of each sample: by the first output, if it has more than one element or is a label.
pub fn decide(ports: &[Port], outputs: &BTreeMap<String, Vec<f64>>) -> Option<Vec<u32>> {
    let port = ports.first().filter(|port| port.ty.elements() > 1 || !port.ty.element.is_float())?;
    let values = outputs.get(&port.name)?;
    // Negative labels become large ones, each its own.
    let label = |value: &f64| *value as i64 as u32;
    let elements = port.ty.elements();
    Some(if elements > 1 { classes(values, elements) } else { values.iter().map(label).collect() })
}

fn report(
    arguments: &Arguments,
    ports: &[Port],
    outcome: &Outcome,
    plain: &Outcome,
    labels: Option<&[u32]>,
    program: Option<&hec::Program>,
    samples: usize,
) -> Report {
    let all = |outcome: &Outcome| -> Vec<f64> {
        ports.iter().filter_map(|port| outcome.outputs.get(&port.name)).flatten().copied().collect()
    };
    let (found, expected) = (decide(ports, &outcome.outputs), decide(ports, &plain.outputs));
    Report {
        model: arguments.file.display().to_string(),
        backend: arguments.backend.clone(),
        samples,
        batches: outcome.batches,
        resumed: outcome.resumed,
        accuracy: found.as_deref().zip(labels).map(|(found, labels)| agreement(found, labels)),
        plain_accuracy: expected.as_deref().zip(labels).map(|(plain, labels)| agreement(plain, labels)),
        agreement: found.as_deref().zip(expected.as_deref()).map(|(found, plain)| agreement(found, plain)),
        errors: Some(errors(&all(outcome), &all(plain))),
        seconds: outcome.seconds,
        wall: None,
        bytes: outcome.bytes,
        peak_memory: hec::memory::peak_resident_bytes(),
        parameters: program.map(|program| program.parameters().clone()),
        scale_bits: program.and_then(super::report::input_scale_bits),
        public: program.map(hec::Program::public_inputs).unwrap_or_default(),
        client: program.map(hec::Program::client_work).unwrap_or_default(),
        rounds: program.map_or(0, |program| program.rounds().len()),
        escapes: outcome.escapes.clone(),
        shared: outcome.shared.clone(),
        checked: None,
    }
}
