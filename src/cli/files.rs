//! Models, programs, cards and parameter files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hec::ir::program::Contract;
use hec::ir::tensor::TensorGraph;
use hec::{Bound, Compilation, ExplicitParameters, ImportOptions, Options, Program, SampleBatch, Security};
use serde_json::Value;

use super::statement::ProgramStatement;
use super::{CompileOptions, Failure, certificate};
use crate::data::{Card, Preprocessing, read_beside, read_labels, read_samples};

/// No model or program is larger.
const LARGEST_FILE: u64 = 1 << 31;
/// Calibration samples that are looked at.
const CALIBRATION_SAMPLES: usize = 2048;
/// Where a program keeps what its readers need of the model card.
const CARD: &str = "card";
/// Where a program keeps its security statement.
pub const STATEMENT: &str = "security";
/// Where a program keeps its precision certificate.
pub const CERTIFICATE: &str = "precision";

/// A model or a compiled program.
pub enum Subject {
    /// From an ONNX file.
    Model(TensorGraph),
    /// From a program file.
    Program(Box<Program>),
}

/// Reads `path`, whichever of the two it is, with its card (a program carries its own).
pub fn read(path: &Path) -> Result<(Subject, Option<Card>), Failure> {
    let bytes = read_bounded(path)?;
    if Program::recognises(&bytes) {
        let program = Program::from_bytes(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
        let card = program.annotation(CARD).map(|text| Card::parse(text, Path::new("")));
        let card = card.transpose().map_err(|e| format!("{}: the card inside: {e}", path.display()))?;
        return Ok((Subject::Program(program.into()), card));
    }
    let mut beside = |data: &hec::ExternalData| read_beside(path, data);
    let model = hec::import_with(&bytes, &ImportOptions::default(), &mut beside);
    let model = model.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok((Subject::Model(model), Card::beside(path)?))
}

/// Reads a client file, with the card inside.
pub fn contract(path: &Path) -> Result<(Contract, Option<Card>), Failure> {
    let bytes = read_bounded(path)?;
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    if Program::recognises(&bytes) {
        return Err(named(&"this is the server's program: give the client file (.hecclient) beside it").into());
    }
    let contract = Contract::from_bytes(&bytes).map_err(|e| named(&e))?;
    let card = contract.annotation(CARD).map(|text| Card::parse(text, Path::new("")));
    let card = card.transpose().map_err(|e| named(&format!("the card inside: {e}")))?;
    Ok((contract, card))
}

/// Reads a program; no model is compiled.
pub fn program(path: &Path) -> Result<Program, Failure> {
    let bytes = read_bounded(path)?;
    Ok(Program::from_bytes(&bytes).map_err(|e| format!("{}: {e}", path.display()))?)
}

/// Opens a file to be read in pieces.
pub fn open(path: &Path) -> Result<std::io::BufReader<File>, Failure> {
    let file = File::open(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    Ok(std::io::BufReader::with_capacity(1 << 20, file))
}

pub fn read_bounded(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |e: std::io::Error| format!("{} cannot be read: {e}", path.display());
    let file = File::open(path).map_err(fail)?;
    let declared = file.metadata().map_err(fail)?.len();
    let mut bytes = Vec::new();
    if declared <= LARGEST_FILE {
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(fail)?;
    }
    if declared.max(bytes.len() as u64) > LARGEST_FILE {
        return Err(
            format!("{} is larger than {} GiB: it is no model or program", path.display(), LARGEST_FILE >> 30).into()
        );
    }
    Ok(bytes)
}

/// Compiles a model as the options and its card say.
pub fn compile(model: &TensorGraph, card: Option<&Card>, asked: &CompileOptions) -> Result<Compilation, Failure> {
    let precision = asked.precision.unwrap_or(asked.layout.precision());
    let mut options = Options { precision, ring_type: asked.ring.asked(), ..Options::default() };
    options.layout = asked.layout.choice();
    options.bound = match (asked.precision, asked.output_error) {
        (Some(bits), _) => Bound::Bits(bits),
        (None, Some(error)) => Bound::Error(error),
        (None, None) => Bound::Decisions,
    };
    options.security = Security::from_bits(asked.security).unwrap_or(options.security);
    options.parameters = asked.params.as_deref().map(parameters).transpose()?;
    options.memory = asked.memory;
    options.sharing = asked.share_decryptions;
    options.activations = asked.activations.choice();
    options.blind = !asked.no_blind;
    options.public = asked.public.iter().cloned().collect();
    options.batch = asked.batch.map(|n| n as usize);
    options.approximation.max_accuracy_drop = asked.max_accuracy_drop;
    options.approximation.max_output_error = asked.max_output_error;
    options.approximation.guard = asked.guard;
    if let Some(how) = asked.maxpool.as_deref().and_then(hec::MaxPooling::from_name) {
        options.approximation.max_pooling = how;
    }
    options.cost = cost_model(asked)?;
    let ports = hec::Port::inputs_of(model);
    let file = card.and_then(|c| c.calibration.clone()).filter(|f| f.exists() && ports.len() == 1);
    if file.is_some() || !asked.calibrate.is_empty() {
        let given = Given { option: "--calibrate", arguments: &asked.calibrate, default: file };
        let inputs = given.samples(&ports, card, Some(CALIBRATION_SAMPLES))?;
        // Those in the clear have ranges of their own.
        let private = || inputs.iter().filter(|(name, _)| !options.public.contains(*name));
        let all = || private().flat_map(|(_, batch)| batch.values.iter().copied());
        let range = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
        options.input_range = if range.0 <= range.1 { range } else { options.input_range };
        let own = card.filter(|_| asked.calibrate.is_empty()).and_then(|card| card.calibration_labels.clone());
        if let Some(path) = asked.calibrate_labels.clone().or(own.filter(|file| file.exists())) {
            let labels = read_labels(&path, Some(CALIBRATION_SAMPLES))?;
            let count = inputs.values().map(|batch| batch.samples).min().unwrap_or(0);
            if labels.len() != count {
                let found = labels.len();
                return Err(format!("{}: expected {count} labels, found {found}", path.display()).into());
            }
            options.approximation.labels = Some(labels.into_iter().map(|label| label as usize).collect());
        }
        options.calibration = inputs.into_iter().map(|(name, batch)| (name, batch.values)).collect();
    }
    if asked.calibrate_labels.is_some() && options.approximation.labels.is_none() {
        return Err("--calibrate-labels are those of calibration samples: give --calibrate FILE as well".into());
    }
    if let Some([low, high]) = asked.input_range.as_deref() {
        options.input_range = (*low, *high);
    }
    let mut compiled = hec::compile(model, &options)?;
    if let Some(card) = card {
        compiled.program = compiled.program.with_annotation(CARD, &card.summary());
    }
    let statement = ProgramStatement::of(&compiled.program)?.json();
    compiled.program = compiled.program.with_annotation(STATEMENT, &statement.to_string());
    if let Some(own) = compiled.program.certificate() {
        compiled.program = compiled.program.with_annotation(CERTIFICATE, &certificate::json(&own).to_string());
    }
    Ok(compiled)
}

/// A compiled program is what it is: options that would compile it otherwise are refused, not ignored.
pub fn already_compiled(program: &Program, asked: &CompileOptions) -> Result<(), Failure> {
    let security = program.parameters().security().map_or(0, Security::bits);
    if asked.security > security {
        let wanted = asked.security;
        return Err(format!(
            "the program was compiled for {security} bits of security, not {wanted}: compile the model again"
        )
        .into());
    }
    let ring_type = program.parameters().ring().ring_type;
    if let Some(wanted) = asked.ring.asked().filter(|&wanted| wanted != ring_type) {
        return Err(format!(
            "the program was compiled for the {ring_type} ring, not the {wanted} one: compile it again"
        )
        .into());
    }
    if let Some(option) = asked.given() {
        return Err(format!("{option} is for compiling, and this is a compiled program").into());
    }
    Ok(())
}

/// What operations cost: as a file says, or the default.
pub fn cost_model(asked: &CompileOptions) -> Result<hec::CostModel, Failure> {
    asked.costs.as_deref().map_or_else(|| Ok(hec::CostModel::default()), costs)
}

/// A cost model as `hec calibrate` writes it.
fn costs(path: &Path) -> Result<hec::CostModel, Failure> {
    let refuse = |what: &str| -> Failure { format!("{}: {what}", path.display()).into() };
    let text = String::from_utf8(read_bounded(path)?).map_err(|_| refuse("it is not text"))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| refuse(&e.to_string()))?;
    let object = value.as_object().ok_or_else(|| refuse("expected a JSON object"))?;
    let mut costs = hec::CostModel::default();
    for (name, value) in object {
        let nanoseconds = value.as_f64().ok_or_else(|| refuse(&format!("\"{name}\" is no number")))?;
        costs.set(name, nanoseconds).map_err(|e| refuse(&e.to_string()))?;
    }
    Ok(costs)
}

/// Explicit parameters from a JSON file.
fn parameters(path: &Path) -> Result<ExplicitParameters, Failure> {
    const KEYS: [&str; 3] = ["poly_modulus_degree", "coeff_modulus", "scale_bits"];
    let refuse = |what: &str| -> Failure { format!("{}: {what}", path.display()).into() };
    let text = String::from_utf8(read_bounded(path)?).map_err(|_| refuse("it is not text"))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| refuse(&e.to_string()))?;
    let object = value.as_object().ok_or_else(|| refuse("expected a JSON object"))?;
    if let Some(key) = object.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(refuse(&format!("unknown key \"{key}\": expected {}", KEYS.join(", "))));
    }
    let degree = object.get(KEYS[0]).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let bits = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    let primes = object.get(KEYS[1]).and_then(Value::as_array).map(|list| list.iter().map(bits).collect());
    let scale = match object.get(KEYS[2]) {
        Some(bits) => {
            Some(bits.as_i64().and_then(|n| i32::try_from(n).ok()).ok_or_else(|| refuse("scale_bits is no number"))?)
        }
        None => None,
    };
    match (degree, primes.flatten()) {
        (Some(poly_modulus_degree), Some(coeff_modulus)) => {
            Ok(ExplicitParameters { poly_modulus_degree, coeff_modulus, scale_bits: scale })
        }
        (_, _) => Err(refuse("expected poly_modulus_degree, a number, and coeff_modulus, a list of sizes in bits")),
    }
}

/// What the card says of raw values; nothing is changed without one.
pub fn preprocessing(card: Option<&Card>) -> Preprocessing {
    card.and_then(|card| card.preprocessing.clone()).unwrap_or_default()
}

/// A model's input shape without the batch.
pub fn sample_shape(shape: &[usize]) -> &[usize] {
    shape.get(1..).unwrap_or(&[])
}

/// The backend called `name`.
pub fn backend(name: &str) -> Result<&'static dyn hec::Backend, Failure> {
    hec::backend(name).ok_or_else(|| format!("there is no backend \"{name}\"; there are:{}", backends()).into())
}

/// All backends, a line each.
pub fn backends() -> String {
    hec::BACKENDS.iter().map(|b| format!("\n  {:<14} {}", b.name(), b.description())).collect()
}

/// `[NAME=]PATH`.
pub fn split_name(argument: &str) -> (Option<&str>, PathBuf) {
    match argument.split_once('=') {
        Some((name, path)) if !Path::new(argument).exists() => (Some(name), path.into()),
        Some(_) | None => (None, argument.into()),
    }
}

/// The samples of every input to run, from the command line or the card.
pub fn inputs(
    ports: &[hec::Port],
    arguments: &[String],
    card: Option<&Card>,
    limit: Option<usize>,
) -> Result<BTreeMap<String, SampleBatch>, Failure> {
    let default = card.filter(|_| ports.len() == 1).and_then(|card| card.input.clone());
    Given { option: "--input", arguments, default }.samples(ports, card, limit)
}

/// Files of samples: `[NAME=]PATH` each, or one `.npz` with an array for every input.
struct Given<'a> {
    option: &'static str,
    arguments: &'a [String],
    /// For a model of one input, where nothing is given.
    default: Option<PathBuf>,
}

impl Given<'_> {
    fn samples(
        &self,
        ports: &[hec::Port],
        card: Option<&Card>,
        limit: Option<usize>,
    ) -> Result<BTreeMap<String, SampleBatch>, Failure> {
        let option = self.option;
        let mut files: BTreeMap<&str, PathBuf> = BTreeMap::new();
        for argument in self.arguments {
            let (name, path) = split_name(argument);
            let archive = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
            let own: Vec<&hec::Port> = match name {
                Some(name) => ports.iter().filter(|port| port.name == name).collect(),
                None if ports.len() == 1 || archive => ports.iter().collect(),
                None => Vec::new(),
            };
            if own.is_empty() {
                let names = ports.iter().map(|p| format!("\"{}\"", p.name)).collect::<Vec<_>>().join(", ");
                let message = format!(
                    "{option} {argument}: the model's inputs are {names}; give NAME=PATH, or an .npz with an array for each"
                );
                return Err(message.into());
            }
            own.into_iter().for_each(|port| drop(files.insert(&port.name, path.clone())));
        }
        let mut batches = BTreeMap::new();
        for port in ports {
            let path = files.remove(port.name.as_str()).or_else(|| self.default.clone());
            let path =
                path.ok_or_else(|| format!("no samples for input \"{}\" {}: give {option} FILE", port.name, port.ty))?;
            let mut samples = read_samples(&path, Some(&port.name), sample_shape(&port.ty.shape), limit)?;
            samples.preprocess(&preprocessing(card))?;
            if let Some(&(low, high)) = card.and_then(|card| card.ranges.get("input")) {
                samples.check_range(low, high)?;
            }
            batches.insert(port.name.clone(), SampleBatch { values: samples.values, samples: samples.count });
        }
        Ok(batches)
    }
}
