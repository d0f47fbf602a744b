//! `hec compile`.

use std::io::Write;
use std::path::PathBuf;

use super::explain::summary;
use super::{CompileOptions, Failure, console, files};
use crate::data::AtomicFile;

/// The extension of the file for clients, which stands beside the program.
const CLIENT: &str = "hecclient";

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The ONNX model.
    model: PathBuf,
    /// Where to write the program [default: the model's name with the extension .hec, in the working folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    options: CompileOptions,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (subject, card) = files::read(&arguments.model)?;
    let files::Subject::Model(model) = subject else {
        return Err(format!("{} is a compiled program already", arguments.model.display()).into());
    };
    let compiled = files::compile(&model, card.as_ref(), &arguments.options)?;
    let output = match (&arguments.output, arguments.model.file_stem()) {
        (Some(output), _) => output.clone(),
        (None, Some(stem)) => PathBuf::from(stem).with_extension("hec"),
        (None, None) => return Err("give --output FILE".into()),
    };
    let bytes = compiled.program.to_bytes();
    let client = output.with_extension(CLIENT);
    if client == output {
        return Err(
            format!("{}: .{CLIENT} is for the client's file: choose another extension", output.display()).into()
        );
    }
    let contract = compiled.program.contract().to_bytes();
    // Both or none: either is of no use without the other.
    let mut files = [AtomicFile::create(&output)?, AtomicFile::create(&client)?];
    for (file, bytes) in files.iter_mut().zip([&bytes, &contract]) {
        file.write_all(bytes).map_err(|e| format!("{} cannot be written: {e}", output.display()))?;
    }
    files.into_iter().try_for_each(AtomicFile::commit)?;
    let summary = summary(&compiled, &files::cost_model(&arguments.options)?)?;
    console::print(&format!(
        "{}\n{summary}\nwrote {} ({} bytes)\nwrote {} ({} bytes), all that a client needs",
        compiled.decisions,
        output.display(),
        bytes.len(),
        client.display(),
        contract.len()
    ));
    Ok(())
}
