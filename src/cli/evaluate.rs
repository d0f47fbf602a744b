//! `hec evaluate`: what the server does, on files.

use std::fs;
use std::path::PathBuf;

use hec_server::files::{Evaluated, evaluate, read_keys};
use hec_server::model::Model;

use super::report::megabytes;
use super::{Failure, console, files};
use crate::data::AtomicFile;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The program.
    program: PathBuf,
    /// The client's evaluation keys (evaluation.heckeys).
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The client's encrypted samples.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where to write the encrypted results.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Number of threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(threads) = arguments.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
    }
    let program = files::program(&arguments.program)?;
    let model = Model::new(String::new(), program).map_err(|e| format!("{}: {e}", arguments.program.display()))?;
    let keys = read_keys(&model, files::open(&arguments.keys)?);
    let keys = keys.map_err(|e| format!("{}: {e}", arguments.keys.display()))?;
    let input = files::open(&arguments.input)?;
    let mut output = AtomicFile::create(&arguments.output)?;
    let bar = console::Bar::new();
    let done = evaluate(&model, keys, input, &mut output, &bar);
    let Evaluated { samples, batches, seconds } = done.map_err(|e| format!("{}: {e}", arguments.input.display()))?;
    bar.clear();
    output.commit()?;
    let bytes = fs::metadata(&arguments.output).map(|there| there.len()).unwrap_or(0);
    let (output, size) = (arguments.output.display(), megabytes(bytes));
    console::print(&format!(
        "wrote {output} ({size}): {samples} samples in {batches} batches, evaluated in {seconds:.3} s"
    ));
    Ok(())
}
