use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;

use super::{FILE, FileKind, Guard, HEADER, Noise, Normalisation, Program, wire};
use crate::Scale;
use crate::attribute::{Attribute, Attributes};
use crate::ckks::precision::{Profile, Seen};
use crate::graph::{Dialect, Graph};
use crate::matrix::BlockMatrix;
use crate::parameters::Literal;
use crate::slots::{Packed, Place};

pub(super) fn program(program: &Program) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let rounds = program.rounds().iter().map(|round| graph(&round.function, &mut blobs)).collect();
    let message = wire::Program {
        parameters: Some(parameters(program.parameters().literal())),
        source: Some(graph(program.source(), &mut blobs)),
        circuit: Some(graph(program.circuit(), &mut blobs)),
        client: program.client().map(|client| graph(client, &mut blobs)),
        public: program.public().map(|public| graph(public, &mut blobs)),
        blobs: blobs.list,
        rounds,
        guards: program.guards().iter().map(guard).collect(),
        normalisation: program.normalisation().iter().map(normalisation).collect(),
        noise: program.noise().map(noise),
        profile: program.profile().map(profile),
        annotations: program.annotations.clone(),
    };
    file(&FILE, &message)
}

/// The message with its header.
pub(super) fn file(kind: &FileKind, message: &impl Message) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    message.encode_raw(&mut bytes);
    let digest = blake3::hash(&bytes[HEADER..]);
    bytes[..8].copy_from_slice(kind.magic);
    bytes[8..12].copy_from_slice(&kind.version.to_le_bytes());
    bytes[12..HEADER].copy_from_slice(digest.as_bytes());
    bytes
}

fn profile(profile: &Profile) -> wire::Profile {
    let all = |of: fn(&Seen) -> f64| profile.values.iter().map(of).collect();
    wire::Profile {
        samples: profile.samples as u64,
        calibrated: profile.calibrated,
        largest: all(|seen| seen.largest),
        error: all(|seen| seen.error),
        worst: all(|seen| seen.worst),
        center: all(|seen| seen.center),
        spread: all(|seen| seen.spread),
        rounding: profile.rounding.clone(),
    }
}

pub(super) fn guard(guard: &Guard) -> wire::Guard {
    wire::Guard { name: guard.name.clone(), origin: guard.origin.as_str().to_owned(), limit: guard.limit }
}

pub(super) fn noise(noise: &Noise) -> wire::Noise {
    wire::Noise {
        precision: noise.precision,
        bounds: noise.outputs.iter().map(|output| output.bound).collect(),
        deviations: noise.outputs.iter().map(|output| output.deviation).collect(),
        ranges: noise.outputs.iter().map(|output| output.range).collect(),
    }
}

pub(super) fn normalisation((name, own): (&String, &Normalisation)) -> wire::Normalisation {
    wire::Normalisation { name: name.clone(), offset: own.offset.clone(), divisor: own.divisor.clone() }
}

impl Literal {
    /// The bytes that a program file has of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        parameters(self).encode_to_vec()
    }
}

pub(super) fn parameters(literal: &Literal) -> wire::Parameters {
    wire::Parameters {
        ring_type: literal.ring_type.name().to_owned(),
        log_n: literal.log_n,
        moduli: literal.moduli.clone(),
        special_primes: literal.special_primes.clone(),
        security: literal.security.bits(),
    }
}

pub(super) fn graph<D: Dialect>(graph: &Graph<D>, blobs: &mut Blobs) -> wire::Graph {
    let nodes = graph.nodes().map(|(_, op_node)| {
        let (name, attributes) = D::describe(op_node.op());
        let operands = op_node.operands().iter().map(|v| v.index() as u32).collect();
        node(name, &attributes, operands, op_node.origin().as_str().to_owned(), blobs)
    });
    let nodes = nodes.collect();
    let output = |o: &crate::graph::Output| wire::Output { name: o.name.clone(), value: o.value.index() as u32 };
    wire::Graph { dialect: D::NAME.to_owned(), nodes, outputs: graph.outputs().iter().map(output).collect() }
}

pub(super) fn node(
    op: &str,
    attributes: &Attributes,
    operands: Vec<u32>,
    origin: String,
    blobs: &mut Blobs,
) -> wire::Node {
    let attributes = attributes
        .iter()
        .map(|(name, value)| wire::Attribute { name: name.to_owned(), value: Some(attribute(value, blobs)) })
        .collect();
    wire::Node { op: op.to_owned(), operands, attributes, origin }
}

fn attribute(value: &Attribute, blobs: &mut Blobs) -> wire::Value {
    match value {
        Attribute::Int(value) => wire::Value::Int(*value),
        Attribute::Ints(values) => wire::Value::Ints(wire::Ints { values: values.clone() }),
        Attribute::Float(value) => wire::Value::Float(*value),
        Attribute::Floats(values) => wire::Value::Floats(blobs.reals(values)),
        Attribute::Text(text) => wire::Value::Text(text.clone()),
        Attribute::Tensor(tensor) => wire::Value::Tensor(wire::Tensor {
            element: tensor.element().name().to_owned(),
            shape: tensor.shape().iter().map(|&s| s as u64).collect(),
            values: blobs.reals(tensor.values()),
        }),
        Attribute::Matrix(m) => wire::Value::Matrix(matrix(m, blobs, Blobs::reals)),
        Attribute::IntMatrix(m) => wire::Value::IntMatrix(matrix(m, blobs, Blobs::signed)),
        Attribute::Indices(indices) => wire::Value::Indices(blobs.indices(indices)),
        Attribute::Scale(own) => wire::Value::Scale(scale(own)),
        Attribute::Packed(layout) => wire::Value::Packed(packed(layout, blobs)),
    }
}

pub(super) fn scale(scale: &Scale) -> wire::Scale {
    let (primes, exponents) = scale.factors().unzip();
    wire::Scale { twos: scale.twos(), primes, exponents }
}

pub(super) fn packed(layout: &Packed, blobs: &mut Blobs) -> wire::Packed {
    let [every, shift] = layout.repetition().map(|n| n as u64);
    let (digits, table) = match layout.place() {
        Place::Strided(digits) => (&digits[..], None),
        Place::Table(table) => (&[][..], Some(blobs.indices(table))),
    };
    wire::Packed {
        shape: layout.shape().iter().map(|&n| n as u64).collect(),
        period: layout.period() as u64,
        vectors: layout.vectors() as u64,
        every,
        shift,
        sizes: digits.iter().map(|digit| digit.size as u64).collect(),
        strides: digits.iter().map(|digit| digit.stride as u64).collect(),
        table,
    }
}

fn matrix<T>(m: &BlockMatrix<T>, blobs: &mut Blobs, store: fn(&mut Blobs, &[T]) -> u32) -> wire::Matrix {
    // Blocks share weights and indices by pointer: look those up before hashing megabytes again.
    let mut stored: BTreeMap<*const T, u32> = BTreeMap::new();
    let blocks = m.blocks().iter().map(|block| wire::Block {
        rows: blobs.indices(&block.rows),
        cols: blobs.indices(&block.cols),
        weights: *stored.entry(Arc::as_ptr(&block.weights).cast()).or_insert_with(|| store(blobs, &block.weights)),
    });
    let blocks = blocks.collect();
    wire::Matrix { rows: m.rows() as u32, cols: m.cols() as u32, blocks }
}

/// Content-addressed blobs in order of first use.
#[derive(Default)]
pub(super) struct Blobs {
    pub(super) list: Vec<wire::Blob>,
    index: BTreeMap<[u8; 32], u32>,
}

impl Blobs {
    fn reals(&mut self, values: &[f64]) -> u32 {
        let exact = values.iter().all(|&v| f64::from(v as f32).to_bits() == v.to_bits());
        self.insert(if exact {
            wire::Content::F32(values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect())
        } else {
            wire::Content::F64(values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
    }

    fn signed(&mut self, values: &[i32]) -> u32 {
        self.insert(wire::Content::Signed(wire::Signed { values: values.to_vec() }))
    }

    fn indices(&mut self, values: &[u32]) -> u32 {
        self.insert(wire::Content::Unsigned(wire::Unsigned { values: values.to_vec() }))
    }

    fn insert(&mut self, content: wire::Content) -> u32 {
        let blob = wire::Blob { content: Some(content) };
        let key = *blake3::hash(&blob.encode_to_vec()).as_bytes();
        *self.index.entry(key).or_insert_with(|| {
            self.list.push(blob);
            (self.list.len() - 1) as u32
        })
    }
}
