//! The protobuf messages of a program file (prost derives the format; no .proto file is needed).
#![allow(missing_docs, reason = "field by field what `encode` and `decode` say")]

use std::collections::BTreeMap;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Program {
    #[prost(message, optional, tag = "1")]
    pub parameters: Option<Parameters>,
    #[prost(message, optional, tag = "2")]
    pub source: Option<Graph>,
    #[prost(message, optional, tag = "3")]
    pub circuit: Option<Graph>,
    /// Weights and index lists, each once, referred to by position.
    #[prost(message, repeated, tag = "4")]
    pub blobs: Vec<Blob>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub annotations: BTreeMap<String, String>,
    /// What the client computes from the circuit's outputs.
    #[prost(message, optional, tag = "6")]
    pub client: Option<Graph>,
    #[prost(message, repeated, tag = "7")]
    pub guards: Vec<Guard>,
    #[prost(message, repeated, tag = "8")]
    pub normalisation: Vec<Normalisation>,
    /// What the server computes in the clear, from the public inputs, for the circuit.
    #[prost(message, optional, tag = "9")]
    pub public: Option<Graph>,
    /// What the client computes in the middle of the run.
    #[prost(message, repeated, tag = "10")]
    pub rounds: Vec<Graph>,
    /// What is known of the outputs' errors.
    #[prost(message, optional, tag = "12")]
    pub noise: Option<Noise>,
    /// What calibration saw.
    #[prost(message, optional, tag = "11")]
    pub profile: Option<Profile>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Noise {
    /// Bits asked for.
    #[prost(double, tag = "1")]
    pub precision: f64,
    /// For each output of the circuit: bound on the error of encryption, deviation of the whole error, largest value.
    #[prost(double, repeated, tag = "2")]
    pub bounds: Vec<f64>,
    #[prost(double, repeated, tag = "3")]
    pub deviations: Vec<f64>,
    #[prost(double, repeated, tag = "4")]
    pub ranges: Vec<f64>,
}

/// What calibration saw of each node of the circuit, and of each output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Profile {
    #[prost(uint64, tag = "1")]
    pub samples: u64,
    #[prost(bool, tag = "2")]
    pub calibrated: bool,
    #[prost(double, repeated, tag = "3")]
    pub largest: Vec<f64>,
    #[prost(double, repeated, tag = "4")]
    pub error: Vec<f64>,
    #[prost(double, repeated, tag = "5")]
    pub worst: Vec<f64>,
    #[prost(double, repeated, tag = "6")]
    pub center: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    pub spread: Vec<f64>,
    #[prost(double, repeated, tag = "8")]
    pub rounding: Vec<f64>,
}

/// What the client does to an input before it encrypts.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Normalisation {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(double, repeated, tag = "2")]
    pub offset: Vec<f64>,
    #[prost(double, repeated, tag = "3")]
    pub divisor: Vec<f64>,
}

/// A range witness.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Guard {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub origin: String,
    #[prost(double, tag = "3")]
    pub limit: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Parameters {
    #[prost(uint32, tag = "1")]
    pub log_n: u32,
    #[prost(uint64, repeated, tag = "2")]
    pub moduli: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    pub special_primes: Vec<u64>,
    #[prost(uint32, tag = "4")]
    pub security: u32,
    #[prost(string, tag = "5")]
    pub ring_type: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Graph {
    #[prost(string, tag = "1")]
    pub dialect: String,
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<Node>,
    #[prost(message, repeated, tag = "3")]
    pub outputs: Vec<Output>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Node {
    #[prost(string, tag = "1")]
    pub op: String,
    #[prost(uint32, repeated, tag = "2")]
    pub operands: Vec<u32>,
    #[prost(message, repeated, tag = "3")]
    pub attributes: Vec<Attribute>,
    #[prost(string, tag = "4")]
    pub origin: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Output {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub value: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(oneof = "Value", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    #[prost(sint64, tag = "2")]
    Int(i64),
    #[prost(message, tag = "3")]
    Ints(Ints),
    #[prost(double, tag = "4")]
    Float(f64),
    /// A blob of reals.
    #[prost(uint32, tag = "5")]
    Floats(u32),
    #[prost(string, tag = "6")]
    Text(String),
    #[prost(message, tag = "7")]
    Tensor(Tensor),
    /// Blocks with blobs of reals.
    #[prost(message, tag = "8")]
    Matrix(Matrix),
    /// Blocks with blobs of integers.
    #[prost(message, tag = "9")]
    IntMatrix(Matrix),
    /// A blob of integers.
    #[prost(uint32, tag = "10")]
    Indices(u32),
    #[prost(message, tag = "11")]
    Scale(Scale),
    #[prost(message, tag = "12")]
    Packed(Packed),
}

/// A packed layout: digits, or a blob of indices.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Packed {
    #[prost(uint64, repeated, tag = "1")]
    pub shape: Vec<u64>,
    #[prost(uint64, tag = "2")]
    pub period: u64,
    #[prost(uint64, tag = "3")]
    pub vectors: u64,
    #[prost(uint64, tag = "4")]
    pub every: u64,
    #[prost(uint64, tag = "5")]
    pub shift: u64,
    #[prost(uint64, repeated, tag = "6")]
    pub sizes: Vec<u64>,
    #[prost(uint64, repeated, tag = "7")]
    pub strides: Vec<u64>,
    #[prost(uint32, optional, tag = "8")]
    pub table: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Ints {
    #[prost(sint64, repeated, tag = "1")]
    pub values: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Tensor {
    #[prost(string, tag = "1")]
    pub element: String,
    #[prost(uint64, repeated, tag = "2")]
    pub shape: Vec<u64>,
    #[prost(uint32, tag = "3")]
    pub values: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Matrix {
    #[prost(uint32, tag = "1")]
    pub rows: u32,
    #[prost(uint32, tag = "2")]
    pub cols: u32,
    #[prost(message, repeated, tag = "3")]
    pub blocks: Vec<Block>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Block {
    #[prost(uint32, tag = "1")]
    pub rows: u32,
    #[prost(uint32, tag = "2")]
    pub cols: u32,
    #[prost(uint32, tag = "3")]
    pub weights: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Scale {
    #[prost(sint32, tag = "1")]
    pub twos: i32,
    #[prost(uint64, repeated, tag = "2")]
    pub primes: Vec<u64>,
    #[prost(sint32, repeated, tag = "3")]
    pub exponents: Vec<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Blob {
    #[prost(oneof = "Content", tags = "1, 2, 3, 4")]
    pub content: Option<Content>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Content {
    /// Little-endian f64.
    #[prost(bytes, tag = "1")]
    F64(Vec<u8>),
    /// Little-endian f32: reals that are exact in it.
    #[prost(bytes, tag = "2")]
    F32(Vec<u8>),
    /// Signed integers.
    #[prost(message, tag = "3")]
    Signed(Signed),
    /// Indices.
    #[prost(message, tag = "4")]
    Unsigned(Unsigned),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Signed {
    #[prost(sint32, repeated, tag = "1")]
    pub values: Vec<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Unsigned {
    #[prost(uint32, repeated, tag = "1")]
    pub values: Vec<u32>,
}

/// What a client needs of a program.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Contract {
    #[prost(message, optional, tag = "1")]
    pub parameters: Option<Parameters>,
    /// The private inputs, as the circuit has them.
    #[prost(message, optional, tag = "2")]
    pub inputs: Option<Graph>,
    /// Their types, in the same order.
    #[prost(message, repeated, tag = "3")]
    pub types: Vec<Port>,
    #[prost(message, repeated, tag = "4")]
    pub blobs: Vec<Blob>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "6")]
    pub client: Option<Graph>,
    #[prost(message, repeated, tag = "7")]
    pub guards: Vec<Guard>,
    #[prost(message, repeated, tag = "8")]
    pub normalisation: Vec<Normalisation>,
    #[prost(message, repeated, tag = "9")]
    pub public: Vec<Port>,
    /// Those of the model or the client graph, then the guards.
    #[prost(message, repeated, tag = "10")]
    pub outputs: Vec<EncryptedOutput>,
    #[prost(message, optional, tag = "11")]
    pub relinearization: Option<Relinearization>,
    #[prost(message, repeated, tag = "12")]
    pub rotations: Vec<Rotation>,
    /// Samples of a batch.
    #[prost(uint64, tag = "13")]
    pub capacity: u64,
    /// The program's fingerprint.
    #[prost(bytes = "vec", tag = "14")]
    pub program: Vec<u8>,
    /// The rounds with the client.
    #[prost(message, repeated, tag = "15")]
    pub exchanges: Vec<Exchange>,
    /// What is known of the outputs' errors.
    #[prost(message, optional, tag = "17")]
    pub noise: Option<Noise>,
}

/// What is sent in a round.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exchange {
    #[prost(message, optional, tag = "1")]
    pub function: Option<Graph>,
    #[prost(message, repeated, tag = "2")]
    pub operands: Vec<EncryptedOutput>,
    /// Of degree 1.
    #[prost(message, repeated, tag = "3")]
    pub results: Vec<EncryptedOutput>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Port {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub element: String,
    #[prost(uint64, repeated, tag = "3")]
    pub shape: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct EncryptedOutput {
    #[prost(message, optional, tag = "1")]
    pub port: Option<Port>,
    /// Missing in the batch layout.
    #[prost(message, optional, tag = "2")]
    pub packed: Option<Packed>,
    #[prost(uint64, tag = "3")]
    pub level: u64,
    #[prost(message, optional, tag = "4")]
    pub scale: Option<Scale>,
    #[prost(uint64, tag = "5")]
    pub degree: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Relinearization {
    #[prost(uint64, tag = "1")]
    pub level: u64,
    #[prost(uint64, tag = "2")]
    pub degree: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Rotation {
    #[prost(uint64, tag = "1")]
    pub steps: u64,
    #[prost(uint64, tag = "2")]
    pub level: u64,
}
