//! The program: what the compiler writes and the runtime reads.
//!
//! A program file is `HECPROG\0`, a version, the BLAKE3 digest of what follows, and a protobuf message (prost messages) of the
//! source graph, the circuit and the parameters. Types are not stored: reading rebuilds every node, so a file can only
//! hold graphs that the dialects accept, under parameters that the security table accepts.

mod decode;
mod encode;
mod wire;

use std::collections::BTreeMap;

use crate::ckks::{self, Circuit, Op};
use crate::graph::{GraphError, Value};
use crate::parameters::{ParameterError, Parameters};
use crate::slots::Layout;
use crate::tensor::{TensorGraph, TensorType};

/// A compiled model.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    source: TensorGraph,
    circuit: Circuit,
    annotations: BTreeMap<String, String>,
}

/// A named input or output: what the user gives and gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name in the ONNX model.
    pub name: String,
    /// Element type and shape of one sample (the batch dimension is 1).
    pub ty: TensorType,
}

impl Port {
    /// The inputs of `graph` whose type is known: all of them.
    pub fn inputs_of(graph: &TensorGraph) -> Vec<Self> {
        let known =
            |(value, name): (_, &str)| Some(Self { name: name.to_owned(), ty: graph.ty(value).known()?.clone() });
        graph.inputs().filter_map(known).collect()
    }

    /// The outputs of `graph` whose type is known: all of them, unless they follow an unsupported operation.
    pub fn outputs_of(graph: &TensorGraph) -> Vec<Self> {
        let known = |output: &crate::graph::Output| {
            Some(Self { name: output.name.clone(), ty: graph.ty(output.value).known()?.clone() })
        };
        graph.outputs().iter().filter_map(known).collect()
    }
}

/// A source graph and a circuit that do not belong together, or bytes that are no program.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ProgramError {
    /// Not a program file.
    #[error("not a hec program: {0}")]
    Format(&'static str),
    /// Written by a version that this one does not read.
    #[error("program format version {found} is not supported: this version reads {expected}; compile the model again")]
    Version {
        /// The file's version.
        found: u32,
        /// The version that is read.
        expected: u32,
    },
    /// The digest does not match the content.
    #[error("the program file is damaged: its checksum does not match; copy or compile it again")]
    Checksum,
    /// The content is not what a compiler writes.
    #[error("the program file is not valid: {0}")]
    Invalid(String),
    /// A node does not fit its operands.
    #[error("the program file is not valid: {0}")]
    Graph(#[from] GraphError),
    /// The parameters are refused.
    #[error("the program's parameters are refused: {0}")]
    Parameters(#[from] ParameterError),
    /// Inputs or outputs of the two graphs differ.
    #[error("the circuit's {what} do not match the model's: expected {expected}, found {found}")]
    Signature {
        /// "inputs" or "outputs".
        what: &'static str,
        /// Those of the source graph.
        expected: String,
        /// Those of the circuit.
        found: String,
    },
}

impl Program {
    /// Puts a source graph and the circuit compiled from it together.
    ///
    /// # Errors
    /// [`ProgramError::Signature`] if their inputs or outputs differ in name, order or number of elements.
    pub fn new(source: TensorGraph, circuit: Circuit) -> Result<Self, ProgramError> {
        let program = Self { source, circuit, annotations: BTreeMap::new() };
        let list = |ports: &mut dyn Iterator<Item = (String, usize)>| {
            ports.map(|(name, elements)| format!("\"{name}\" ({elements})")).collect::<Vec<_>>().join(", ")
        };
        let source = list(&mut program.inputs().into_iter().map(|port| (port.name, port.ty.elements())));
        let inputs = program.circuit.inputs();
        let layouts = ckks::layouts(&program.circuit);
        let elements = |v: Value| layouts[v.index()].as_ref().map_or(program.circuit.ty(v).length, |p| p.elements());
        let circuit = list(&mut inputs.map(|(v, name)| (name.to_owned(), elements(v))));
        if source != circuit {
            return Err(ProgramError::Signature { what: "inputs", expected: source, found: circuit });
        }
        let source = list(&mut program.outputs().into_iter().map(|port| (port.name, port.ty.elements())));
        let outputs = program.circuit.outputs().iter();
        let circuit = list(&mut outputs.map(|o| (o.name.clone(), elements(o.value))));
        if source != circuit {
            return Err(ProgramError::Signature { what: "outputs", expected: source, found: circuit });
        }
        Ok(program)
    }

    /// The model as it was imported: its meaning.
    pub fn source(&self) -> &TensorGraph {
        &self.source
    }

    /// The circuit that computes it on ciphertexts.
    pub fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    /// The circuit's parameters.
    pub fn parameters(&self) -> &Parameters {
        self.circuit.context()
    }

    /// What the user gives.
    pub fn inputs(&self) -> Vec<Port> {
        Port::inputs_of(&self.source)
    }

    /// What the user gets.
    pub fn outputs(&self) -> Vec<Port> {
        Port::outputs_of(&self.source)
    }

    /// The same program with a note for its readers (how to preprocess, the names of the classes): nothing that computes
    /// looks at it.
    #[must_use]
    pub fn with_annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The note under `key`.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// How each input lies in the slots.
    pub fn input_layouts(&self) -> Vec<(&str, &Layout)> {
        let nodes = self.circuit.nodes();
        nodes
            .filter_map(
                |(_, node)| if let Op::Input(i) = node.op() { Some((i.name.as_str(), &i.layout)) } else { None },
            )
            .collect()
    }

    /// How each output lies in the slots, in the order of [`Program::outputs`].
    pub fn output_layouts(&self) -> Vec<Layout> {
        let layouts = ckks::layouts(&self.circuit);
        let outputs = self.circuit.outputs().iter().zip(self.outputs());
        let layout = |(output, port): (&crate::graph::Output, Port)| {
            let shape = port.ty.shape;
            let packed = layouts[output.value.index()].as_ref().and_then(|packed| packed.reshaped(&shape).ok());
            packed.map_or(Layout::Batch { shape }, |packed| Layout::Packed(packed.into()))
        };
        outputs.map(layout).collect()
    }

    /// How many samples one evaluation of the circuit takes.
    pub fn capacity(&self) -> usize {
        let slots = self.parameters().slots();
        self.input_layouts().iter().map(|(_, layout)| layout.capacity(slots)).min().unwrap_or(slots)
    }

    /// The file's bytes. Equal programs give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::program(self)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`ProgramError`]: damaged, of another version, or not what a compiler writes. Nothing is trusted.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        decode::program(bytes)
    }

    /// Whether these bytes begin like a program file.
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }
}

const MAGIC: &[u8; 8] = b"HECPROG\0";
const VERSION: u32 = 3;
const HEADER: usize = MAGIC.len() + 4 + blake3::OUT_LEN;
