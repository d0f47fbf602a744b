//! `hec encrypt`.

use std::fs;
use std::path::PathBuf;

use super::report::megabytes;
use super::secret::SecretArguments;
use super::{Failure, console, files};
use crate::data::AtomicFile;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The client file of the program (.hecclient).
    #[arg(long, value_name = "FILE")]
    client: PathBuf,
    #[command(flatten)]
    secret: SecretArguments,
    /// Samples: IDX, .npy, .npz, .csv, TensorProto .pb, PNG or a folder of PNGs.
    #[arg(long, value_name = "[NAME=]FILE")]
    input: Vec<String>,
    /// Only the first N samples.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Where to write the ciphertexts.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (contract, card) = files::contract(&arguments.client)?;
    let limit = arguments.limit.and_then(|n| usize::try_from(n).ok());
    let inputs = files::inputs(&contract.inputs(), &arguments.input, card.as_ref(), limit)?;
    let key = arguments.secret.read(&contract)?;
    let mut file = AtomicFile::create(&arguments.output)?;
    let samples = hec_client::files::encrypt(&contract, &key, &inputs, &mut file)?;
    file.commit()?;
    let bytes = fs::metadata(&arguments.output).map(|there| there.len()).unwrap_or(0);
    let batches = samples.div_ceil(contract.capacity());
    let output = arguments.output.display();
    console::print(&format!("wrote {output} ({}): {samples} samples in {batches} batches", megabytes(bytes)));
    if !contract.public_inputs().is_empty() {
        let names = contract.public_inputs().iter().map(|port| format!("\"{}\"", port.name.escape_debug()));
        console::print(&format!("in the clear: {}", names.collect::<Vec<_>>().join(", ")));
    }
    Ok(())
}
