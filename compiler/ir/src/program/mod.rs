//! The program: what the compiler writes and the runtime reads.
//!
//! A program file is `HECPROG\0`, a version, the BLAKE3 digest of what follows, and a protobuf message (prost messages) of the
//! source graph, the circuit, the parameters and, if the model ends in operations that encrypted arithmetic cannot do, the
//! client graph: what the client computes from the circuit's decrypted outputs. If some inputs are public there is a public
//! graph as well: what the server computes from those in the clear. Types are not stored: reading rebuilds
//! every node, so a file can only hold graphs that the dialects accept, under parameters that the security table accepts.

mod contract;
mod decode;
mod encode;
mod round;
mod sharing;
mod wire;

pub use contract::{Contract, EncryptedOutput, PrivateInput};
pub use round::{Exchange, Groups, Reply, Round};
pub use sharing::{DEFAULT_SHARING_BITS, Noise, OutputNoise, SHARING_BITS, Sharing};

use std::collections::{BTreeMap, BTreeSet};

use crate::ckks::precision::{Certificate, Profile};
use crate::ckks::{self, Circuit, Op};
use crate::graph::{GraphError, Origin, Value};
use crate::parameters::{ParameterError, Parameters};
use crate::slots::Layout;
use crate::tensor::{self, TensorGraph, TensorType};

/// A compiled model.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    source: TensorGraph,
    circuit: Circuit,
    public: Option<TensorGraph>,
    client: Option<TensorGraph>,
    guards: Vec<Guard>,
    rounds: Vec<Round>,
    normalisation: BTreeMap<String, Normalisation>,
    noise: Option<Noise>,
    profile: Option<Profile>,
    annotations: BTreeMap<String, String>,
}

/// What one node of the model has left for the client to do after decryption, or for the server to do in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientWork {
    /// The model's node.
    pub origin: Origin,
    /// The names of its operations, each once.
    pub operations: Vec<&'static str>,
}

/// `softmax "prob"`.
impl std::fmt::Display for ClientWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} \"{}\"", self.operations.join(", "), self.origin.as_str().escape_debug())
    }
}

/// A range witness: an output of the circuit beside the model's, one number for each sample, that tells whether an operand of a
/// polynomial stayed where the polynomial was fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The name of the circuit's output.
    pub name: String,
    /// The model's node whose operand it watches.
    pub origin: Origin,
    /// With more than this, the operand was not like those of the calibration samples. At most 1 proves that every element was
    /// in range.
    pub limit: f64,
}

impl Guard {
    /// Whether its limit is one.
    fn is_usable(&self) -> bool {
        self.limit >= 1.0 && self.limit.is_finite()
    }

    /// What it is when it is decrypted.
    fn port(&self) -> Port {
        Port { name: self.name.clone(), ty: TensorType { element: tensor::Element::F32, shape: vec![1, 1] } }
    }
}

/// What the client does to an input before it encrypts: `(x - offset) / divisor`, element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// One for each element of a sample.
    pub offset: Vec<f64>,
    /// One for each element of a sample; none is 0.
    pub divisor: Vec<f64>,
}

impl Normalisation {
    /// Whether there are numbers for so many elements, with which can be computed.
    fn is_usable(&self, elements: usize) -> bool {
        let numbers = self.offset.iter().chain(&self.divisor).all(|x| x.is_finite());
        let divisors = self.divisor.iter().all(|divisor| divisor.is_normal());
        [self.offset.len(), self.divisor.len()] == [elements; 2] && numbers && divisors
    }

    /// Normalises samples, one after the other.
    pub fn apply(&self, samples: &mut [f64]) {
        for sample in samples.chunks_mut(self.offset.len().max(1)) {
            let numbers = self.offset.iter().zip(&self.divisor);
            sample.iter_mut().zip(numbers).for_each(|(x, (offset, divisor))| *x = (*x - offset) / divisor);
        }
    }
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
    /// Not such a file.
    #[error("not a hec {name}: it does not begin with the {name} header")]
    Format {
        /// What it should be: "program" or "client".
        name: &'static str,
    },
    /// Written by a version that this one does not read.
    #[error("{name} format version {found} is not supported: this version reads {expected}; compile the model again")]
    Version {
        /// "program" or "client".
        name: &'static str,
        /// The file's version.
        found: u32,
        /// The version that is read.
        expected: u32,
    },
    /// The digest does not match the content.
    #[error("the {name} file is damaged: its checksum does not match; copy or compile it again")]
    Checksum {
        /// "program" or "client".
        name: &'static str,
    },
    /// The content is not what a compiler writes.
    #[error("the file is not valid: {0}")]
    Invalid(String),
    /// A node does not fit its operands.
    #[error("the file is not valid: {0}")]
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
        Self::with_public(source, circuit, None, None, Vec::new())
    }

    /// The same, where the circuit's outputs are not yet those of the model: `client` computes these from them. It has an
    /// input for each output of the circuit, and the model's outputs.
    ///
    /// # Errors
    /// As [`Program::new`], and if the client graph's inputs are not the circuit's outputs, its outputs not the model's, or
    /// if it has an operation that nobody can compute.
    pub fn with_client(source: TensorGraph, circuit: Circuit, client: TensorGraph) -> Result<Self, ProgramError> {
        Self::with_public(source, circuit, None, Some(client), Vec::new())
    }

    /// The same with range witnesses, which are the circuit's last outputs. `client` may be missing.
    ///
    /// # Errors
    /// As [`Program::with_client`].
    pub fn with_guards(
        source: TensorGraph,
        circuit: Circuit,
        client: Option<TensorGraph>,
        guards: Vec<Guard>,
    ) -> Result<Self, ProgramError> {
        Self::with_public(source, circuit, None, client, guards)
    }

    /// The same, where some inputs are public: `public` has these as its inputs, and its outputs are the circuit's inputs that
    /// are marked as public. The other inputs of the model are those of the circuit that are encrypted.
    ///
    /// # Errors
    /// As [`Program::with_client`], and if the public graph's inputs are not the model's, its outputs not the circuit's public
    /// inputs, or if it has an operation that nobody can compute.
    pub fn with_public(
        source: TensorGraph,
        circuit: Circuit,
        public: Option<TensorGraph>,
        client: Option<TensorGraph>,
        guards: Vec<Guard>,
    ) -> Result<Self, ProgramError> {
        let normalisation = BTreeMap::new();
        let (rounds, noise, profile, annotations) = (Vec::new(), None, None, BTreeMap::new());
        let program =
            Self { source, circuit, public, client, guards, rounds, normalisation, noise, profile, annotations };
        if let Some(guard) = program.guards.iter().find(|guard| !guard.is_usable()) {
            return Err(ProgramError::Invalid(format!("the limit of guard \"{}\" is no number from 1", guard.name)));
        }
        let circuit = &program.circuit;
        let layouts = ckks::layouts(circuit);
        let elements = |v: Value| layouts[v.index()].as_ref().map_or(circuit.ty(v).length, |p| p.elements());
        let inputs = |public: bool| {
            let elements = &elements;
            let input = move |(value, node): (Value, &crate::Node<crate::ckks::Ckks>)| {
                let Op::Input(input) = node.op() else { return None };
                (input.public == public).then(|| (input.name.clone(), elements(value)))
            };
            circuit.nodes().filter_map(input)
        };
        same("inputs", lengths(program.private_inputs()), inputs(false))?;
        let cut = program.public.as_ref().map_or_else(Vec::new, Port::outputs_of);
        same("public inputs", lengths(cut), inputs(true))?;
        if let Some(public) = &program.public {
            program.check_public(public)?;
        }
        let found = circuit.outputs().iter().map(|o| (o.name.clone(), elements(o.value)));
        let decrypted = program.decrypted().into_iter().chain(program.guards.iter().map(Guard::port));
        same("outputs", lengths(decrypted.collect()), found)?;
        let mut names = BTreeSet::new();
        if let Some(guard) = program.guards.iter().find(|guard| !names.insert(&guard.name)) {
            return Err(ProgramError::Invalid(format!("two guards have the name \"{}\"", guard.name.escape_debug())));
        }
        if let Some(port) = program.decrypted().into_iter().find(|port| names.contains(&port.name)) {
            let name = port.name.escape_debug();
            return Err(ProgramError::Invalid(format!("an output has the name of guard \"{name}\"")));
        }
        if let Some(client) = &program.client {
            let (expected, found) = (typed(&program.outputs()), typed(&Port::outputs_of(client)));
            if expected != found {
                return Err(ProgramError::Signature { what: "outputs after decryption", expected, found });
            }
            check_client(client)?;
        }
        Ok(program)
    }

    /// Whether the public graph can be evaluated, and belongs to the model.
    fn check_public(&self, public: &TensorGraph) -> Result<(), ProgramError> {
        let own = self.inputs();
        let ports = Port::inputs_of(public);
        if let Some(port) = ports.iter().find(|port| !own.contains(port)) {
            let (expected, found) = (typed(&own), typed(std::slice::from_ref(port)));
            return Err(ProgramError::Signature { what: "public inputs", expected, found });
        }
        if let Some((_, node)) = public.nodes().find(|(_, node)| node.ty().known().is_none()) {
            let origin = node.origin().as_str().escape_debug();
            return Err(ProgramError::Invalid(format!("node \"{origin}\" of the public inputs cannot be computed")));
        }
        if ports.is_empty() {
            return Err(ProgramError::Invalid(
                "nothing is public, but something is computed from public inputs".to_owned(),
            ));
        }
        let mut names = BTreeSet::new();
        if let Some(port) = ports.iter().find(|port| !names.insert(&port.name)) {
            let name = port.name.escape_debug();
            return Err(ProgramError::Invalid(format!("two public inputs have the name \"{name}\"")));
        }
        let mut names: BTreeSet<String> = self.private_inputs().into_iter().map(|port| port.name).collect();
        if let Some(output) = public.outputs().iter().find(|output| !names.insert(output.name.clone())) {
            let name = output.name.escape_debug();
            return Err(ProgramError::Invalid(format!("two inputs of the circuit have the name \"{name}\"")));
        }
        Ok(())
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

    /// What the server computes in the clear from the public inputs, if there are any: its inputs are these, its outputs those
    /// inputs of the circuit that the evaluator encodes.
    pub fn public(&self) -> Option<&TensorGraph> {
        self.public.as_ref()
    }

    /// What the user gives in the clear.
    pub fn public_inputs(&self) -> Vec<Port> {
        self.public.as_ref().map_or_else(Vec::new, Port::inputs_of)
    }

    /// What the user gives encrypted.
    pub fn private_inputs(&self) -> Vec<Port> {
        let public = self.public_inputs();
        self.inputs().into_iter().filter(|port| public.iter().all(|other| other.name != port.name)).collect()
    }

    /// What the client computes from the circuit's decrypted outputs, if those are not the model's outputs already.
    pub fn client(&self) -> Option<&TensorGraph> {
        self.client.as_ref()
    }

    /// What the circuit's outputs are when they are decrypted: the client graph's inputs, or the model's outputs.
    pub fn decrypted(&self) -> Vec<Port> {
        self.client.as_ref().map_or_else(|| self.outputs(), Port::inputs_of)
    }

    /// The range witnesses: the circuit's outputs after those of [`Program::decrypted`].
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// The client's work after decryption, node by node of the model.
    pub fn client_work(&self) -> Vec<ClientWork> {
        work(self.client.as_ref())
    }

    /// The server's work in the clear, node by node of the model.
    pub fn public_work(&self) -> Vec<ClientWork> {
        work(self.public.as_ref())
    }

    /// The same program with what the client computes in the middle of the run: a function for each round of the circuit's refreshes.
    ///
    /// # Errors
    /// If a refresh or a factor of the circuit has no such round, operand or result, or of another size, if two refreshes of a round have
    /// other operands, or a function cannot be computed.
    pub fn with_rounds(mut self, rounds: Vec<Round>) -> Result<Self, ProgramError> {
        let invalid = |text: String| Err(ProgramError::Invalid(text));
        for (number, round) in rounds.iter().enumerate() {
            if let Some((_, node)) = round.function.nodes().find(|(_, node)| node.ty().known().is_none()) {
                let origin = node.origin().as_str().escape_debug();
                return invalid(format!("the client cannot compute node \"{origin}\" of round {number}"));
            }
        }
        let circuit = &self.circuit;
        let layouts = ckks::layouts(circuit);
        let mut seen = BTreeSet::new();
        let mut sent: BTreeMap<usize, &[Value]> = BTreeMap::new();
        for (_, node) in circuit.nodes() {
            let (number, name, layout) = if let Op::Refresh(refresh) = node.op() {
                (refresh.round, &refresh.name, &refresh.layout)
            } else if let Op::Blind(at) = node.op() {
                (at.blind.round, &at.blind.port, &at.blind.layout)
            } else {
                continue;
            };
            let name_text = name.escape_debug();
            let Some(round) = rounds.get(number) else {
                return invalid(format!("there is no round {number} for \"{name_text}\""));
            };
            let port = |ports: Vec<Port>| ports.into_iter().find(|port| port.name == *name);
            if matches!(node.op(), Op::Refresh(_)) {
                if !seen.insert((number, name.clone())) {
                    return invalid(format!("round {number} gives \"{name_text}\" twice"));
                }
                let elements = |v: &Value| layouts[v.index()].as_ref().map_or(circuit.ty(*v).length, |p| p.elements());
                let found = node.operands().iter().map(elements);
                let expected = round.operands().into_iter().map(|port| port.ty.elements());
                if !found.eq(expected) {
                    return invalid(format!("the operands of \"{name_text}\" are not those of round {number}"));
                }
                // The client is asked once for all results of a round.
                if *sent.entry(number).or_insert(node.operands()) != node.operands() {
                    let origin = node.origin().as_str().escape_debug();
                    return invalid(format!(
                        "node \"{origin}\": the operands of \"{name_text}\" are not those of the other results of round {number}"
                    ));
                }
            }
            let before = matches!(node.op(), Op::Blind(at) if !at.blind.inverse);
            let port = port(if before { round.operands() } else { round.results() });
            if port.map(|port| port.ty.elements()) != Some(layout.elements()) {
                return invalid(format!("round {number} has no \"{name_text}\" of {} elements", layout.elements()));
            }
        }
        self.rounds = rounds;
        Ok(self)
    }

    /// What is sent in each round. Results that the circuit does not use are left out.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let layouts = ckks::layouts(&self.circuit);
        let shaped = |value: Value, port: &Port| {
            let shape = port.ty.shape.clone();
            let packed = layouts[value.index()].as_ref().and_then(|packed| packed.reshaped(&shape).ok());
            packed.map_or(Layout::Batch { shape }, |packed| Layout::Packed(packed.into()))
        };
        let exchange = |(number, round): (usize, &Round)| {
            let mut exchange = Exchange { function: round.function.clone(), operands: Vec::new(), results: Vec::new() };
            for (value, node) in self.circuit.nodes() {
                let Op::Refresh(refresh) = node.op() else { continue };
                let port = round.results().into_iter().find(|port| port.name == refresh.name);
                let Some(port) = port.filter(|_| refresh.round == number) else { continue };
                let operands = round.operands().into_iter().zip(node.operands());
                exchange.operands = operands
                    .map(|(port, operand)| {
                        let (layout, ty) = (shaped(*operand, &port), self.circuit.ty(*operand).clone());
                        EncryptedOutput { port, layout, ty }
                    })
                    .collect();
                let (level, scale, layout) = (refresh.level, refresh.scale.clone(), shaped(value, &port));
                exchange.results.push(Reply { port, layout, level, scale });
            }
            exchange
        };
        self.rounds.iter().enumerate().map(exchange).collect()
    }

    /// The rounds whose operands the server multiplies by random factors.
    pub fn blinded_rounds(&self) -> BTreeSet<usize> {
        let blinded = |(_, node): (Value, &crate::Node<ckks::Ckks>)| {
            if let Op::Blind(at) = node.op() { Some(at.blind.round) } else { None }
        };
        self.circuit.nodes().filter_map(blinded).collect()
    }

    /// What the client computes in the middle of the run, round by round.
    pub fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// The same program, whose circuit takes inputs as `normalisation` makes them. Those of other names are taken as they are.
    ///
    /// # Errors
    /// If the circuit has no such input, or not a finite offset and divisor for each of its elements.
    pub fn with_normalisation(mut self, normalisation: BTreeMap<String, Normalisation>) -> Result<Self, ProgramError> {
        let mut ports = self.private_inputs();
        ports.extend(self.public.iter().flat_map(Port::outputs_of));
        for (name, own) in &normalisation {
            let port = ports.iter().find(|port| port.name == *name);
            if !port.is_some_and(|port| own.is_usable(port.ty.elements())) {
                let name = name.escape_debug();
                return Err(ProgramError::Invalid(format!("the normalisation of \"{name}\" does not fit an input")));
            }
        }
        self.normalisation = normalisation;
        Ok(self)
    }

    /// What the client does to each input before it encrypts; those that are missing are encrypted as they are.
    pub fn normalisation(&self) -> &BTreeMap<String, Normalisation> {
        &self.normalisation
    }

    /// The same program with what is known of its outputs' errors.
    ///
    /// # Errors
    /// If there is not a usable number for each output.
    pub fn with_noise(mut self, noise: Option<Noise>) -> Result<Self, ProgramError> {
        noise.as_ref().map_or(Ok(()), |noise| noise.check(self.circuit.outputs().len()))?;
        self.noise = noise;
        Ok(self)
    }

    /// What is known of the outputs' errors.
    pub fn noise(&self) -> Option<&Noise> {
        self.noise.as_ref()
    }

    /// The same program with what calibration saw of its values.
    ///
    /// # Errors
    /// If it is not a profile of the circuit.
    pub fn with_profile(mut self, profile: Option<Profile>) -> Result<Self, ProgramError> {
        if let Some(profile) = &profile {
            let refuse = |cause: String| ProgramError::Invalid(format!("its precision profile does not hold: {cause}"));
            profile.check(&self.circuit).map_err(refuse)?;
        }
        self.profile = profile;
        Ok(self)
    }

    /// What calibration saw of the circuit's values, if that was looked at.
    pub fn profile(&self) -> Option<&Profile> {
        self.profile.as_ref()
    }

    /// What the program promises of its precision, recomputed from its circuit and its profile; `None` without a profile.
    pub fn certificate(&self) -> Option<Certificate> {
        Certificate::of(&self.circuit, self.profile.as_ref()?).ok()
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

    /// How each output of the circuit lies in the slots: those of [`Program::decrypted`], then those of [`Program::guards`].
    pub fn output_layouts(&self) -> Vec<Layout> {
        let layouts = ckks::layouts(&self.circuit);
        let ports = self.decrypted().into_iter().chain(self.guards.iter().map(Guard::port));
        let outputs = self.circuit.outputs().iter().zip(ports);
        let layout = |(output, port): (&crate::graph::Output, Port)| {
            let shape = port.ty.shape;
            let packed = layouts[output.value.index()].as_ref().and_then(|packed| packed.reshaped(&shape).ok());
            packed.map_or(Layout::Batch { shape }, |packed| Layout::Packed(packed.into()))
        };
        outputs.map(layout).collect()
    }

    /// How many samples one evaluation of the circuit takes: as many as there is room for in every layout, of inputs, of outputs and in
    /// between.
    pub fn capacity(&self) -> usize {
        let slots = self.parameters().slots();
        let inputs = self.input_layouts().into_iter().map(|(_, layout)| layout.capacity(slots));
        let packed = ckks::layouts(&self.circuit).into_iter().flatten().map(|packed| slots / packed.period());
        inputs.chain(packed).min().unwrap_or(slots)
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
        bytes.starts_with(FILE.magic)
    }
}

/// Whether a client graph can be evaluated.
fn check_client(client: &TensorGraph) -> Result<(), ProgramError> {
    if let Some((_, node)) = client.nodes().find(|(_, node)| node.ty().known().is_none()) {
        let origin = node.origin().as_str().escape_debug();
        return Err(ProgramError::Invalid(format!("the client cannot compute node \"{origin}\"")));
    }
    let mut names = BTreeSet::new();
    if let Some((_, name)) = client.inputs().find(|(_, name)| !names.insert(*name)) {
        let name = name.escape_debug();
        return Err(ProgramError::Invalid(format!("two values for the client have the name \"{name}\"")));
    }
    Ok(())
}

fn work(graph: Option<&TensorGraph>) -> Vec<ClientWork> {
    let mut all: Vec<ClientWork> = Vec::new();
    for (_, node) in graph.into_iter().flat_map(TensorGraph::nodes) {
        if matches!(node.op(), tensor::Op::Input(_) | tensor::Op::Constant(_)) {
            continue;
        }
        let (origin, name) = (node.origin(), node.op().name());
        match all.iter_mut().find(|work| work.origin == *origin) {
            Some(work) if work.operations.contains(&name) => {}
            Some(work) => work.operations.push(name),
            None => all.push(ClientWork { origin: origin.clone(), operations: vec![name] }),
        }
    }
    all
}

fn lengths(ports: Vec<Port>) -> impl Iterator<Item = (String, usize)> {
    ports.into_iter().map(|port| (port.name, port.ty.elements()))
}

fn typed(ports: &[Port]) -> String {
    ports.iter().map(|port| format!("\"{}\" {}", port.name, port.ty)).collect::<Vec<_>>().join(", ")
}

/// Compares names and numbers of elements.
fn same(
    what: &'static str,
    expected: impl Iterator<Item = (String, usize)>,
    found: impl Iterator<Item = (String, usize)>,
) -> Result<(), ProgramError> {
    let list = |ports: &mut dyn Iterator<Item = (String, usize)>| {
        ports.map(|(name, elements)| format!("\"{name}\" ({elements})")).collect::<Vec<_>>().join(", ")
    };
    let (mut expected, mut found) = (expected, found);
    let (expected, found) = (list(&mut expected), list(&mut found));
    if expected == found { Ok(()) } else { Err(ProgramError::Signature { what, expected, found }) }
}

/// How a file begins: magic, version, BLAKE3 of the rest.
struct FileKind {
    /// What the file is called in errors.
    name: &'static str,
    magic: &'static [u8; 8],
    version: u32,
}

const FILE: FileKind = FileKind { name: "program", magic: b"HECPROG\0", version: 4 };
const HEADER: usize = 8 + 4 + blake3::OUT_LEN;
