//! `hec compile`.

use std::io::Write;
use std::path::PathBuf;

use super::explain::summary;
use super::{CompileOptions, Failure, console, files};
use crate::data::write_atomically;

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
    write_atomically(&output, |file| file.write_all(&bytes))?;
    let summary = summary(&compiled, &files::cost_model(&arguments.options)?)?;
    console::print(&format!("{}\n{summary}\nwrote {} ({} bytes)", compiled.decisions, output.display(), bytes.len()));
    Ok(())
}
