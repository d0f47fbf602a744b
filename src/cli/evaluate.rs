//! `hec evaluate`: what the server does, on files.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hec::Checkpoint;
use hec_protocol::Fingerprint;
use hec_server::files::{Evaluated, evaluate, read_keys};
use hec_server::model::Model;

use super::report::megabytes;
use super::{Failure, console, files};
use crate::data::{AtomicFile, Journal};

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
    /// Keep finished batches beside the output (in OUTPUT.resume), and go on after those that an interrupted evaluation of the same input has
    /// kept. The file is removed when the output is there.
    #[arg(long)]
    resume: bool,
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
    let journal = match arguments.resume {
        true => Some(Journal::open(&arguments.output, identity(&arguments.input, &model, keys.fingerprint)?)?),
        false => None,
    };
    let input = files::open(&arguments.input)?;
    let mut output = AtomicFile::create(&arguments.output)?;
    let bar = console::Bar::new();
    if let Some(journal) = &journal {
        console::resuming(journal.batches(), None);
    }
    let checkpoint = journal.as_ref().map(|journal| journal as &dyn Checkpoint);
    let done = evaluate(&model, keys, input, &mut output, checkpoint, &bar);
    let Evaluated { samples, batches, resumed, seconds } =
        done.map_err(|e| format!("{}: {e}", arguments.input.display()))?;
    bar.clear();
    output.commit()?;
    if let Some(journal) = journal {
        journal.remove()?;
    }
    let bytes = fs::metadata(&arguments.output).map(|there| there.len()).unwrap_or(0);
    let (output, size) = (arguments.output.display(), megabytes(bytes));
    let earlier = if resumed == 0 { String::new() } else { format!(", and {resumed} batches had been before") };
    console::print(&format!(
        "wrote {output} ({size}): {samples} samples in {} batches; {batches} were evaluated in {seconds:.3} s{earlier}",
        batches + resumed
    ));
    Ok(())
}

/// What tells an evaluation from another one. The last bytes of the input are the digest of all of it, which is checked when it is read.
fn identity(input: &Path, model: &Model, key: Fingerprint) -> Result<[u8; 32], Failure> {
    const DIGEST: i64 = 32;
    let mut digest = [0; DIGEST as usize];
    let mut file = File::open(input).map_err(|e| format!("{} cannot be read: {e}", input.display()))?;
    let read = file.seek(SeekFrom::End(-DIGEST)).and_then(|_| file.read_exact(&mut digest));
    read.map_err(|e| format!("{} is no file of ciphertexts: {e}", input.display()))?;
    let mut hasher = blake3::Hasher::new_derive_key("hec 2026 finished batches of an evaluation v1");
    hasher.update(&model.fingerprint().0).update(&key.0).update(&digest);
    Ok(*hasher.finalize().as_bytes())
}
