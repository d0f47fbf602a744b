//! `hec explain`: a page that shows what a program does, what it takes and what it promises.

mod advice;
mod facts;
mod fits;
mod html;
mod layers;
mod network;
mod page;
mod security;
mod summary;

use std::io::Write;
use std::path::{Path, PathBuf};

use hec::Program;

use super::profile::Profile;
use super::{CompileOptions, Failure, console, files};
use crate::data::write_atomically;
use facts::Facts;

pub use summary::summary;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An ONNX model (compiled on the fly, and then the fits are shown as well) or a program.
    file: PathBuf,
    /// Where to write the page [default: the file's name with the extension .html, in the working folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What hec run --measured wrote for the same program.
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    #[command(flatten)]
    options: CompileOptions,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (subject, card) = files::read(&arguments.file)?;
    let cost = files::cost_model(&arguments.options)?;
    let compiled = match &subject {
        files::Subject::Model(model) => Some(files::compile(model, card.as_ref(), &arguments.options)?),
        files::Subject::Program(_) => None,
    };
    let program: &Program = match (&subject, &compiled) {
        (_, Some(compiled)) => &compiled.program,
        (files::Subject::Program(program), None) => {
            files::already_compiled(program, &CompileOptions { costs: None, ..arguments.options.clone() })?;
            program
        }
        (files::Subject::Model(_), None) => return Err("the model was not compiled".into()),
    };
    let measured = arguments.measured.as_deref().map(|path| measured(path, program)).transpose()?;
    let stem = arguments.file.file_stem().map(PathBuf::from);
    let output = match (&arguments.output, &stem) {
        (Some(output), _) => output.clone(),
        (None, Some(stem)) => stem.with_extension("html"),
        (None, None) => return Err("give --output FILE".into()),
    };
    let name = arguments.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let decisions = compiled.as_ref().map(|compiled| &compiled.decisions);
    let facts = Facts::new(name, program, decisions, &cost, measured.as_ref())?;
    let page = page::render(&facts);
    write_atomically(&output, |file| file.write_all(page.as_bytes()))?;
    console::print(&format!("wrote {} ({} bytes)", output.display(), page.len()));
    Ok(())
}

fn measured(path: &Path, program: &Program) -> Result<Profile, Failure> {
    let refuse = |cause: String| -> Failure { format!("{}: {cause}", path.display()).into() };
    let text = String::from_utf8(files::read_bounded(path)?).map_err(|_| refuse("it is not text".to_owned()))?;
    Profile::read(&text, program.circuit()).map_err(refuse)
}
