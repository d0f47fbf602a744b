//! `hec decrypt`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hec::ir::program::Contract;
use hec::{Phases, Traffic};
use hec_client::Answers;

use super::report::Report;
use super::score::agreement;
use super::secret::SecretArguments;
use super::{Failure, console, files, run};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The client file of the program (.hecclient).
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    #[command(flatten)]
    secret: SecretArguments,
    /// The server's encrypted results.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    results: ResultArguments,
}

/// What is done with answers.
#[derive(Debug, clap::Args)]
pub struct ResultArguments {
    /// The classes that the samples have.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Write the outputs to a .npy, .npz, .csv or .json file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (contract, _) = files::contract(&arguments.client)?;
    let key = arguments.secret.read(&contract)?;
    let file = files::open(&arguments.input)?;
    let output = file.get_ref().metadata().map(|there| there.len()).unwrap_or(0);
    let start = Instant::now();
    let (answers, samples) =
        hec_client::files::decrypt(&contract, &key, file).map_err(|e| format!("{}: {e}", arguments.input.display()))?;
    let (unknown, decrypt) = (f64::NAN, start.elapsed().as_secs_f64());
    let seconds = Phases { keygen: unknown, encrypt: unknown, evaluate: unknown, rounds: unknown, decrypt };
    let bytes = Traffic { output, ..Traffic::default() };
    arguments.results.report(&arguments.client, &contract, &answers, samples, (seconds, None), bytes)
}

impl ResultArguments {
    /// Writes and prints what is known.
    pub fn report(
        &self,
        model: &Path,
        contract: &Contract,
        answers: &Answers,
        samples: usize,
        (seconds, wall): (Phases, Option<f64>),
        bytes: Traffic,
    ) -> Result<(), Failure> {
        let ports = contract.outputs();
        // A file may hold the labels of more samples than there are.
        let labels = run::labels(self.labels.as_deref(), Some(samples), samples)?;
        if let Some(path) = &self.output {
            run::write(path, &ports, &answers.outputs, samples)?;
        }
        let found = run::decide(&ports, &answers.outputs);
        let report = Report {
            model: model.display().to_string(),
            backend: "he-ckks".to_owned(),
            samples,
            batches: samples.div_ceil(contract.capacity()),
            resumed: 0,
            accuracy: found.as_deref().zip(labels.as_deref()).map(|(found, labels)| agreement(found, labels)),
            plain_accuracy: None,
            agreement: None,
            errors: None,
            seconds,
            wall,
            bytes,
            peak_memory: hec::memory::peak_resident_bytes(),
            parameters: Some(contract.parameters().clone()),
            scale_bits: contract.private_inputs().first().map(|own| own.input.scale.log2()),
            public: contract.public_inputs().to_vec(),
            client: contract.client_work(),
            rounds: contract.exchanges().len(),
            escapes: answers.escapes.clone(),
        };
        console::print(&if self.json { report.json() } else { report.table() });
        Ok(())
    }
}
