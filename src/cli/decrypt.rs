//! `hec decrypt`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hec::ir::program::Contract;
use hec::{Phases, Traffic};
use hec_client::Answers;

use super::report::Report;
use super::score::agreement;
use super::secret::SecretArguments;
use super::{Failure, SHARE_BY_DEFAULT, console, files, run, sharing};

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
    /// The results are to be shown to others: adds noise to them, with which ciphertexts and results together say nothing about the key,
    /// with so many bits of statistical security for all samples together, and refuses if that leaves too little precision [default
    /// without BITS: 30].
    #[arg(long, value_name = "BITS", num_args = 0..=1, require_equals = true, default_missing_value = SHARE_BY_DEFAULT, value_parser = sharing)]
    pub share_decryptions: Option<u32>,
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
    let done = match arguments.results.share_decryptions {
        Some(bits) => hec_client::files::decrypt_to_share(&contract, &key, file, bits),
        None => hec_client::files::decrypt(&contract, &key, file),
    };
    let (answers, samples) = done.map_err(|e| format!("{}: {e}", arguments.input.display()))?;
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
            shared: answers.shared.clone(),
            checked: None,
        };
        console::print(&if self.json { report.json() } else { report.table() });
        Ok(())
    }
}
