//! `hec inspect`.

use std::path::PathBuf;

use hec::ir::graph::{Dialect, Graph};
use hec::ir::tensor::TensorGraph;

use super::{CompileOptions, Failure, LayoutArgument, console, files};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// An ONNX model or a program.
    file: PathBuf,
    /// After which stage [default: model for a model, ckks for a program].
    #[arg(long, value_enum)]
    at: Option<Stage>,
    /// In Graphviz's DOT language.
    #[arg(long)]
    dot: bool,
    #[command(flatten)]
    options: CompileOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    /// As imported.
    Model,
    /// What the server computes in the clear, from the inputs that are public.
    Public,
    /// What the server computes on encrypted data, after the passes over tensors.
    Tensor,
    /// What the client computes after decryption.
    Client,
    /// Packed into slots.
    Slots,
    /// With levels, scales and degrees.
    Ckks,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (subject, card) = files::read(&arguments.file)?;
    let (model, program) = match &subject {
        files::Subject::Model(model) => (model, None),
        files::Subject::Program(program) => (program.source(), Some(program)),
    };
    let stage = arguments.at.unwrap_or(if program.is_some() { Stage::Ckks } else { Stage::Model });
    let public = match program {
        Some(program) => program.public_inputs().into_iter().map(|port| port.name).collect(),
        None => arguments.options.public.iter().cloned().collect(),
    };
    let head = hec::head::split(model, &public)?;
    let rest = head.as_ref().map_or(model, |head| &head.rest);
    let text = match (stage, program) {
        (Stage::Model, _) => shown(model, arguments.dot),
        (Stage::Public, _) => match &head {
            Some(head) => shown(&head.public, arguments.dot),
            None => "no input is public".to_owned(),
        },
        (Stage::Tensor, _) => shown(&hec::passes::run(&server(rest)?)?, arguments.dot),
        (Stage::Client, _) => match hec::split(rest)? {
            Some(parts) => shown(&parts.client, arguments.dot),
            None => "nothing is left to the client".to_owned(),
        },
        (Stage::Slots, None) if arguments.options.layout != LayoutArgument::Batch => {
            shown(&files::compile(model, card.as_ref(), &arguments.options)?.slots, arguments.dot)
        }
        (Stage::Slots, _) => {
            let slots = hec::lower(&server(rest)?)?.1;
            shown(&head.as_ref().map_or(Ok(slots.clone()), |head| head.mark(&slots))?, arguments.dot)
        }
        (Stage::Ckks, Some(program)) => shown(program.circuit(), arguments.dot),
        (Stage::Ckks, None) => {
            let compiled = files::compile(model, card.as_ref(), &arguments.options)?;
            shown(compiled.program.circuit(), arguments.dot)
        }
    };
    console::print(text.trim_end());
    Ok(())
}

/// The part of the model that the server computes.
fn server(model: &TensorGraph) -> Result<TensorGraph, Failure> {
    Ok(hec::split(model)?.map_or_else(|| model.clone(), |parts| parts.server))
}

fn shown<D: Dialect>(graph: &Graph<D>, dot: bool) -> String {
    if dot { hec::view::dot(graph) } else { graph.to_string() }
}
