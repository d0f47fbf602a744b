use std::sync::Arc;

use prost::Message;

use super::{FILE, FileKind, Guard, HEADER, Noise, Normalisation, OutputNoise, Program, ProgramError, Round, wire};
use crate::Scale;
use crate::attribute::{Attribute, Attributes};
use crate::ckks::Ckks;
use crate::ckks::precision::{Profile, Seen};
use crate::graph::{Builder, Dialect, Graph};
use crate::matrix::{Block, BlockMatrix};
use crate::parameters::{Literal, Parameters, RingType, Security};
use crate::slots::{Digit, Packed, Place};
use crate::tensor::{Element, Tensor, Tensors};

/// Rows and columns of a stored matrix: checked before anything of that size is allocated.
const MAX_SIDE: u32 = 1 << 24;

/// What follows the header, if the header is that of such a file.
pub(super) fn body<'a>(kind: &FileKind, bytes: &'a [u8]) -> Result<&'a [u8], ProgramError> {
    let FileKind { name, magic, version } = *kind;
    if bytes.len() < HEADER || !bytes.starts_with(magic) {
        return Err(ProgramError::Format { name });
    }
    let found = bytes[8..12].iter().rev().fold(0, |v, &byte| v << 8 | u32::from(byte));
    if found != version {
        return Err(ProgramError::Version { name, found, expected: version });
    }
    let (stored, body) = bytes[12..].split_at(blake3::OUT_LEN);
    if blake3::hash(body).as_bytes() != stored {
        return Err(ProgramError::Checksum { name });
    }
    Ok(body)
}

pub(super) fn blobs(stored: Vec<wire::Blob>) -> Result<Vec<Content>, ProgramError> {
    stored.into_iter().map(Content::new).collect()
}

pub(super) fn guard(stored: wire::Guard) -> Guard {
    Guard { name: stored.name, origin: stored.origin.into(), limit: stored.limit }
}

/// What is known of outputs, as many as there are numbers.
pub(super) fn noise(stored: wire::Noise) -> Result<Noise, ProgramError> {
    let wire::Noise { precision, bounds, deviations, ranges } = stored;
    if [deviations.len(), ranges.len()] != [bounds.len(); 2] {
        return Err(invalid("what it says of errors is not complete"));
    }
    let numbers = bounds.into_iter().zip(deviations).zip(ranges);
    let outputs = numbers.map(|((bound, deviation), range)| OutputNoise { bound, deviation, range }).collect();
    Ok(Noise { precision, outputs })
}

pub(super) fn element(name: &str) -> Result<Element, ProgramError> {
    Element::from_name(name).ok_or_else(|| invalid(format!("unknown element type \"{name}\"")))
}

pub(super) fn program(bytes: &[u8]) -> Result<Program, ProgramError> {
    let message = wire::Program::decode(body(&FILE, bytes)?).map_err(|e| ProgramError::Invalid(e.to_string()))?;
    let parameters = parameters(message.parameters.ok_or_else(|| missing("parameters"))?)?;
    let blobs = blobs(message.blobs)?;
    let source = graph::<Tensors>((), message.source.ok_or_else(|| missing("source graph"))?, &blobs)?;
    let circuit = graph::<Ckks>(parameters, message.circuit.ok_or_else(|| missing("circuit"))?, &blobs)?;
    let client = message.client.map(|client| graph::<Tensors>((), client, &blobs)).transpose()?;
    let public = message.public.map(|public| graph::<Tensors>((), public, &blobs)).transpose()?;
    let guards = message.guards.into_iter().map(guard).collect();
    let own = |n: wire::Normalisation| (n.name, Normalisation { offset: n.offset, divisor: n.divisor });
    let normalisation = message.normalisation.into_iter().map(own).collect();
    let rounds = message.rounds.into_iter().map(|function| graph::<Tensors>((), function, &blobs));
    let rounds = rounds.map(|function| function.map(|function| Round { function })).collect::<Result<_, _>>()?;
    let program = Program::with_public(source, circuit, public, client, guards)?;
    let program = program.with_rounds(rounds)?.with_normalisation(normalisation)?;
    let program = program.with_noise(message.noise.map(noise).transpose()?)?;
    let program = program.with_profile(message.profile.map(profile).transpose()?)?;
    Ok(Program { annotations: message.annotations, ..program })
}

fn profile(stored: wire::Profile) -> Result<Profile, ProgramError> {
    let wire::Profile { samples, calibrated, largest, error, worst, center, spread, rounding } = stored;
    let length = largest.len();
    if [&error, &worst, &center, &spread].iter().any(|list| list.len() != length) {
        return Err(invalid("the lists of its precision profile differ in length"));
    }
    let samples = usize::try_from(samples).map_err(|_| invalid("its precision profile has too many samples"))?;
    let (errors, maxima) = (error.into_iter().zip(worst), center.into_iter().zip(spread));
    let values = largest
        .into_iter()
        .zip(errors)
        .zip(maxima)
        .map(|((largest, (error, worst)), (center, spread))| Seen { largest, error, worst, center, spread });
    Ok(Profile { samples, calibrated, values: values.collect(), rounding })
}

pub(super) fn missing(what: &str) -> ProgramError {
    ProgramError::Invalid(format!("it has no {what}"))
}

fn invalid(text: impl Into<String>) -> ProgramError {
    ProgramError::Invalid(text.into())
}

pub(super) fn parameters(stored: wire::Parameters) -> Result<Parameters, ProgramError> {
    Ok(Parameters::new(literal(stored)?)?)
}

impl Literal {
    /// Reads the bytes of [`Literal::to_bytes`]. Only [`Parameters::new`] checks what they say.
    ///
    /// # Errors
    /// [`ProgramError::Invalid`]: no such message, or a level or ring that is not known.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        literal(wire::Parameters::decode(bytes).map_err(|e| invalid(e.to_string()))?)
    }
}

fn literal(stored: wire::Parameters) -> Result<Literal, ProgramError> {
    let security = Security::from_bits(stored.security)
        .ok_or_else(|| invalid(format!("security level {} is not 128, 192 or 256", stored.security)))?;
    let ring_type = RingType::from_name(&stored.ring_type)
        .ok_or_else(|| invalid(format!("unknown ring type \"{}\"", stored.ring_type)))?;
    let wire::Parameters { log_n, moduli, special_primes, .. } = stored;
    Ok(Literal { ring_type, log_n, moduli, special_primes, security })
}

pub(super) fn graph<D: Dialect>(
    context: D::Context,
    stored: wire::Graph,
    blobs: &[Content],
) -> Result<Graph<D>, ProgramError> {
    if stored.dialect != D::NAME {
        return Err(invalid(format!("expected a {} graph, found \"{}\"", D::NAME, stored.dialect)));
    }
    let mut builder = Builder::<D>::new(context);
    let value = |builder: &Builder<D>, index: u32| {
        builder.value(index as usize).ok_or_else(|| invalid(format!("value %{index} is used before it is made")))
    };
    for node in stored.nodes {
        let operands: Vec<_> = node.operands.iter().map(|&v| value(&builder, v)).collect::<Result<_, _>>()?;
        let mut attributes = Attributes::new();
        for attribute in node.attributes {
            let found = attribute.value.ok_or_else(|| invalid(format!("attribute \"{}\" is empty", attribute.name)))?;
            attributes.insert(attribute.name, read_attribute(found, blobs)?);
        }
        let op = D::rebuild(&node.op, attributes)
            .map_err(|cause| invalid(format!("node \"{}\" ({}): {cause}", node.origin, node.op)))?;
        builder.set_origin(node.origin);
        builder.push(op, &operands)?;
    }
    for output in stored.outputs {
        let at = value(&builder, output.value)?;
        builder.output(&output.name, at);
    }
    Ok(builder.finish())
}

fn read_attribute(value: wire::Value, blobs: &[Content]) -> Result<Attribute, ProgramError> {
    Ok(match value {
        wire::Value::Int(value) => Attribute::Int(value),
        wire::Value::Ints(ints) => Attribute::Ints(ints.values),
        wire::Value::Float(value) => Attribute::Float(value),
        wire::Value::Floats(at) => Attribute::Floats(reals(blobs, at)?),
        wire::Value::Text(text) => Attribute::Text(text),
        wire::Value::Tensor(stored) => Attribute::Tensor(tensor(stored, blobs)?),
        wire::Value::Matrix(stored) => Attribute::Matrix(matrix(stored, blobs, reals)?),
        wire::Value::IntMatrix(stored) => Attribute::IntMatrix(matrix(stored, blobs, signed)?),
        wire::Value::Indices(at) => Attribute::Indices(indices(blobs, at)?),
        wire::Value::Scale(stored) => Attribute::Scale(scale(&stored)?),
        wire::Value::Packed(stored) => Attribute::Packed(packed(stored, blobs)?),
    })
}

fn tensor(stored: wire::Tensor, blobs: &[Content]) -> Result<Arc<Tensor>, ProgramError> {
    let element = element(&stored.element)?;
    let shape: Option<Vec<usize>> = stored.shape.iter().map(|&s| usize::try_from(s).ok()).collect();
    let shape = shape.ok_or_else(|| invalid("a shape is too large"))?;
    let values = reals(blobs, stored.values)?;
    let tensor = Tensor::from_values(element, &shape, values.to_vec()).map_err(|e| invalid(e.0))?;
    Ok(Arc::new(tensor))
}

pub(super) fn packed(stored: wire::Packed, blobs: &[Content]) -> Result<Arc<Packed>, ProgramError> {
    let size = |n: u64| usize::try_from(n).map_err(|_| invalid("a layout is too large"));
    let sizes = |list: &[u64]| list.iter().map(|&n| size(n)).collect::<Result<Vec<_>, _>>();
    let wire::Packed { period, vectors, every, shift, .. } = stored;
    let place = match stored.table {
        Some(at) if stored.sizes.is_empty() && stored.strides.is_empty() => Place::Table(indices(blobs, at)?),
        None if stored.sizes.len() == stored.strides.len() => {
            let digits = sizes(&stored.sizes)?.into_iter().zip(sizes(&stored.strides)?);
            Place::Strided(digits.map(|(size, stride)| Digit { size, stride }).collect())
        }
        Some(_) | None => return Err(invalid("a layout has neither digits nor a table")),
    };
    let repetition = [size(every)?, size(shift)?];
    let packed = Packed::new(sizes(&stored.shape)?, size(period)?, size(vectors)?, repetition, place);
    Ok(Arc::new(packed.map_err(|e| invalid(e.0))?))
}

type ReadBlob<T> = fn(&[Content], u32) -> Result<Arc<[T]>, ProgramError>;

fn matrix<T>(stored: wire::Matrix, blobs: &[Content], read: ReadBlob<T>) -> Result<Arc<BlockMatrix<T>>, ProgramError> {
    if stored.rows > MAX_SIDE || stored.cols > MAX_SIDE {
        return Err(invalid(format!("a {}x{} matrix is too large", stored.rows, stored.cols)));
    }
    let block = |b: &wire::Block| {
        Ok(Block { rows: indices(blobs, b.rows)?, cols: indices(blobs, b.cols)?, weights: read(blobs, b.weights)? })
    };
    let blocks = stored.blocks.iter().map(block).collect::<Result<_, ProgramError>>()?;
    let matrix = BlockMatrix::new(stored.rows as usize, stored.cols as usize, blocks);
    Ok(Arc::new(matrix.map_err(|e| invalid(e.to_string()))?))
}

pub(super) fn scale(stored: &wire::Scale) -> Result<Scale, ProgramError> {
    const MAX_EXPONENT: u32 = 1 << 28;
    let bounded = |e: i32| e.unsigned_abs() <= MAX_EXPONENT;
    let lengths = stored.primes.len() == stored.exponents.len();
    let exponents = bounded(stored.twos) && stored.exponents.iter().all(|&e| bounded(e));
    let factors = stored.primes.iter().copied().zip(stored.exponents.iter().copied());
    let scale = (lengths && exponents).then(|| Scale::from_factors(stored.twos, factors)).flatten();
    scale.ok_or_else(|| invalid("a scale is malformed"))
}

/// A blob, decoded once and shared by everything that refers to it.
pub(super) enum Content {
    Reals(Arc<[f64]>),
    Signed(Arc<[i32]>),
    Unsigned(Arc<[u32]>),
}

impl Content {
    fn new(blob: wire::Blob) -> Result<Self, ProgramError> {
        Ok(match blob.content.ok_or_else(|| invalid("a blob is empty"))? {
            wire::Content::F64(bytes) => Self::Reals(numbers(&bytes, f64::from_le_bytes)?),
            wire::Content::F32(bytes) => Self::Reals(numbers(&bytes, |b| f64::from(f32::from_le_bytes(b)))?),
            wire::Content::Signed(list) => Self::Signed(list.values.into()),
            wire::Content::Unsigned(list) => Self::Unsigned(list.values.into()),
        })
    }
}

fn numbers<const W: usize>(bytes: &[u8], read: impl Fn([u8; W]) -> f64) -> Result<Arc<[f64]>, ProgramError> {
    let (words, rest) = bytes.as_chunks::<W>();
    if !rest.is_empty() {
        return Err(invalid("a blob of reals has a broken length"));
    }
    let values: Arc<[f64]> = words.iter().map(|word| read(*word)).collect();
    if values.iter().any(|v| v.is_nan()) {
        return Err(invalid("a weight is not a number"));
    }
    Ok(values)
}

fn blob(blobs: &[Content], at: u32) -> Result<&Content, ProgramError> {
    blobs.get(at as usize).ok_or_else(|| invalid(format!("there is no blob {at}")))
}

fn reals(blobs: &[Content], at: u32) -> Result<Arc<[f64]>, ProgramError> {
    match blob(blobs, at)? {
        Content::Reals(values) => Ok(values.clone()),
        Content::Signed(_) | Content::Unsigned(_) => Err(invalid(format!("blob {at} does not hold reals"))),
    }
}

fn signed(blobs: &[Content], at: u32) -> Result<Arc<[i32]>, ProgramError> {
    match blob(blobs, at)? {
        Content::Signed(values) => Ok(values.clone()),
        Content::Reals(_) | Content::Unsigned(_) => Err(invalid(format!("blob {at} does not hold integers"))),
    }
}

fn indices(blobs: &[Content], at: u32) -> Result<Arc<[u32]>, ProgramError> {
    match blob(blobs, at)? {
        Content::Unsigned(values) => Ok(values.clone()),
        Content::Reals(_) | Content::Signed(_) => Err(invalid(format!("blob {at} does not hold indices"))),
    }
}
