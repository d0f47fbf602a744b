//! The contract: what a client needs of a program, and no more.
//!
//! A contract file is `HECCLNT\0`, a version, the BLAKE3 digest of what follows, and a protobuf message. It holds no weight of the
//! circuit: parameters, which keys to make, how inputs are encrypted, what is decrypted, and the client graph.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use super::encode::Blobs;
use super::{
    ClientWork, Exchange, FileKind, Guard, Noise, Normalisation, Port, Program, ProgramError, Reply, decode, encode,
    wire, work,
};
use crate::ckks::{self, Ckks, KeyNeeds, Op, Relinearization};
use crate::graph::{Dialect, Value};
use crate::parameters::Parameters;
use crate::slots::Layout;
use crate::tensor::{TensorGraph, TensorType, Tensors};

pub(super) const FILE: FileKind = FileKind { name: "client", magic: b"HECCLNT\0", version: 1 };

/// Rotations have at most one key for each slot of the largest ring.
const MAX_ROTATIONS: usize = 1 << 17;

/// What the client and the server of a program agree on.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    parameters: Parameters,
    keys: KeyNeeds,
    inputs: Vec<PrivateInput>,
    public: Vec<Port>,
    outputs: Vec<EncryptedOutput>,
    guards: Vec<Guard>,
    exchanges: Vec<Exchange>,
    client: Option<TensorGraph>,
    capacity: usize,
    noise: Option<Noise>,
    annotations: BTreeMap<String, String>,
    program: [u8; 32],
}

/// An input that the client encrypts.
#[derive(Clone, Debug, PartialEq)]
pub struct PrivateInput {
    /// Name, layout, level and scale.
    pub input: ckks::Input,
    /// Element type and shape of one sample.
    pub ty: TensorType,
    /// What is done to it before it is encrypted.
    pub normalisation: Option<Normalisation>,
}

/// An array of ciphertexts that the client decrypts.
#[derive(Clone, Debug, PartialEq)]
pub struct EncryptedOutput {
    /// The name, and the type of one sample when it is decrypted.
    pub port: Port,
    /// How a sample lies in the slots.
    pub layout: Layout,
    /// Number, level, scale and degree of the ciphertexts.
    pub ty: ckks::Type,
}

impl Program {
    /// BLAKE3 of the program: by which a client tells it from another one.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut digest = [0; 32];
        digest.copy_from_slice(&self.to_bytes()[12..super::HEADER]);
        digest
    }

    /// What a client needs of it.
    pub fn contract(&self) -> Contract {
        let nodes = self.circuit.nodes().filter_map(|(_, node)| {
            if let Op::Input(input) = node.op() { (!input.public).then(|| input.clone()) } else { None }
        });
        // A program has its private inputs in the same order in model and circuit.
        let inputs = nodes.zip(self.private_inputs()).map(|(input, port)| {
            let normalisation = self.normalisation.get(&input.name).cloned();
            PrivateInput { input, ty: port.ty, normalisation }
        });
        let ports = self.decrypted().into_iter().chain(self.guards.iter().map(Guard::port));
        let values = self.circuit.outputs().iter().map(|output| output.value);
        let output = |((port, layout), value): ((Port, Layout), Value)| {
            let ty = self.circuit.ty(value).clone();
            EncryptedOutput { port, layout, ty }
        };
        Contract {
            parameters: self.parameters().clone(),
            keys: ckks::key_needs(&self.circuit),
            inputs: inputs.collect(),
            public: self.public_inputs(),
            outputs: ports.zip(self.output_layouts()).zip(values).map(output).collect(),
            guards: self.guards.clone(),
            exchanges: self.exchanges(),
            client: self.client.clone(),
            capacity: self.capacity(),
            noise: self.noise.clone(),
            annotations: self.annotations.clone(),
            program: self.fingerprint(),
        }
    }
}

impl Contract {
    /// The parameters of all ciphertexts and keys.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The evaluation keys that the server needs.
    pub fn keys(&self) -> &KeyNeeds {
        &self.keys
    }

    /// What the client encrypts.
    pub fn private_inputs(&self) -> &[PrivateInput] {
        &self.inputs
    }

    /// What the client sends in the clear.
    pub fn public_inputs(&self) -> &[Port] {
        &self.public
    }

    /// What the user gives: private inputs, then public ones.
    pub fn inputs(&self) -> Vec<Port> {
        let private = self.inputs.iter().map(|own| Port { name: own.input.name.clone(), ty: own.ty.clone() });
        private.chain(self.public.iter().cloned()).collect()
    }

    /// What the server returns: the decrypted values, then one array for each guard.
    pub fn encrypted_outputs(&self) -> &[EncryptedOutput] {
        &self.outputs
    }

    /// What the circuit's outputs are when they are decrypted, without the guards.
    pub fn decrypted(&self) -> impl Iterator<Item = &Port> {
        self.outputs[..self.outputs.len() - self.guards.len()].iter().map(|output| &output.port)
    }

    /// What the user gets.
    pub fn outputs(&self) -> Vec<Port> {
        self.client.as_ref().map_or_else(|| self.decrypted().cloned().collect(), Port::outputs_of)
    }

    /// The range witnesses: the last of the encrypted outputs.
    pub fn guards(&self) -> &[Guard] {
        &self.guards
    }

    /// What is sent in each round with the client in the middle of a run.
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// What the client computes from the decrypted values, if those are not the model's outputs already.
    pub fn client(&self) -> Option<&TensorGraph> {
        self.client.as_ref()
    }

    /// The client's work after decryption, node by node of the model.
    pub fn client_work(&self) -> Vec<ClientWork> {
        work(self.client.as_ref())
    }

    /// How many samples one evaluation of the circuit takes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What is known of the errors of the encrypted outputs.
    pub fn noise(&self) -> Option<&Noise> {
        self.noise.as_ref()
    }

    /// The note under `key`: see [`Program::annotation`].
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// The fingerprint of the program: [`Program::fingerprint`].
    pub fn program(&self) -> &[u8; 32] {
        &self.program
    }

    /// The file's bytes. Equal contracts give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut blobs = Blobs::default();
        let message = wire::Contract {
            parameters: Some(encode::parameters(self.parameters.literal())),
            inputs: Some(wire::Graph {
                dialect: Ckks::NAME.to_owned(),
                nodes: self.inputs.iter().map(|own| input_node(&own.input, &mut blobs)).collect(),
                outputs: Vec::new(),
            }),
            types: self.inputs.iter().map(|own| port(&own.input.name, &own.ty)).collect(),
            public: self.public.iter().map(|own| port(&own.name, &own.ty)).collect(),
            outputs: self.outputs.iter().map(|own| output(own, &mut blobs)).collect(),
            client: self.client.as_ref().map(|client| encode::graph(client, &mut blobs)),
            exchanges: self.exchanges.iter().map(|own| exchange(own, &mut blobs)).collect(),
            blobs: blobs.list,
            guards: self.guards.iter().map(encode::guard).collect(),
            normalisation: self
                .inputs
                .iter()
                .filter_map(|own| Some(encode::normalisation((&own.input.name, own.normalisation.as_ref()?))))
                .collect(),
            annotations: self.annotations.clone(),
            relinearization: self
                .keys
                .relinearization
                .map(|r| wire::Relinearization { level: r.level as u64, degree: r.degree as u64 }),
            rotations: self
                .keys
                .rotations
                .iter()
                .map(|(&steps, &level)| wire::Rotation { steps: steps as u64, level: level as u64 })
                .collect(),
            capacity: self.capacity as u64,
            noise: self.noise.as_ref().map(encode::noise),
            program: self.program.to_vec(),
        };
        encode::file(&FILE, &message)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// [`ProgramError`]: damaged, of another version, or not what a compiler writes. Nothing is trusted.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ProgramError> {
        let body = decode::body(&FILE, bytes)?;
        read(wire::Contract::decode(body).map_err(|e| ProgramError::Invalid(e.to_string()))?)
    }

    /// Whether these bytes begin like a contract file.
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes.starts_with(FILE.magic)
    }
}

fn input_node(input: &ckks::Input, blobs: &mut Blobs) -> wire::Node {
    let (name, attributes) = Ckks::describe(&Op::Input(input.clone()));
    encode::node(name, &attributes, Vec::new(), String::new(), blobs)
}

fn port(name: &str, ty: &TensorType) -> wire::Port {
    wire::Port {
        name: name.to_owned(),
        element: ty.element.name().to_owned(),
        shape: ty.shape.iter().map(|&n| n as u64).collect(),
    }
}

fn output(own: &EncryptedOutput, blobs: &mut Blobs) -> wire::EncryptedOutput {
    let packed = match &own.layout {
        Layout::Batch { .. } => None,
        Layout::Packed(layout) => Some(encode::packed(layout, blobs)),
    };
    wire::EncryptedOutput {
        port: Some(port(&own.port.name, &own.port.ty)),
        packed,
        level: own.ty.level as u64,
        scale: Some(encode::scale(&own.ty.scale)),
        degree: own.ty.degree as u64,
    }
}

fn exchange(own: &Exchange, blobs: &mut Blobs) -> wire::Exchange {
    wire::Exchange {
        function: Some(encode::graph(&own.function, blobs)),
        operands: own.operands.iter().map(|operand| output(operand, blobs)).collect(),
        results: own.results.iter().map(|reply| output(&fresh(reply), blobs)).collect(),
    }
}

/// The ciphertexts of a result of a round.
fn fresh(reply: &Reply) -> EncryptedOutput {
    let Reply { port, layout, level, scale } = reply.clone();
    let ty = ckks::Type { length: layout.array_length(), level, scale, degree: 1 };
    EncryptedOutput { port, layout, ty }
}

fn invalid(text: impl Into<String>) -> ProgramError {
    ProgramError::Invalid(text.into())
}

fn size(n: u64) -> Result<usize, ProgramError> {
    usize::try_from(n).map_err(|_| invalid("a number is too large"))
}

fn read(message: wire::Contract) -> Result<Contract, ProgramError> {
    let parameters = decode::parameters(message.parameters.ok_or_else(|| decode::missing("parameters"))?)?;
    let blobs = decode::blobs(message.blobs)?;
    let keys = read_keys(&parameters, message.relinearization, message.rotations)?;
    let nodes = message.inputs.ok_or_else(|| decode::missing("inputs"))?;
    let nodes = decode::graph::<Ckks>(parameters.clone(), nodes, &blobs)?;
    let mut normalisation = BTreeMap::new();
    for own in message.normalisation {
        normalisation.insert(own.name, Normalisation { offset: own.offset, divisor: own.divisor });
    }
    let types = message.types.into_iter().map(read_port).collect::<Result<Vec<_>, _>>()?;
    if types.len() != nodes.len() {
        return Err(invalid(format!("{} inputs have {} types", nodes.len(), types.len())));
    }
    let mut inputs = Vec::with_capacity(types.len());
    for ((_, node), port) in nodes.nodes().zip(types) {
        let Op::Input(input) = node.op() else { return Err(invalid("an input is an operation")) };
        let name = input.name.escape_debug();
        if input.public || input.name != port.name || input.layout.elements() != port.ty.elements() {
            return Err(invalid(format!("input \"{name}\" is not as its type says")));
        }
        let normalisation = normalisation.remove(&input.name);
        if normalisation.as_ref().is_some_and(|own| !own.is_usable(port.ty.elements())) {
            return Err(invalid(format!("the normalisation of \"{name}\" does not fit an input")));
        }
        inputs.push(PrivateInput { input: input.clone(), ty: port.ty, normalisation });
    }
    if let Some(name) = normalisation.keys().next() {
        return Err(invalid(format!("the normalisation of \"{}\" does not fit an input", name.escape_debug())));
    }
    let public = message.public.into_iter().map(read_port).collect::<Result<Vec<_>, _>>()?;
    let names = inputs.iter().map(|own| &own.input.name).chain(public.iter().map(|port| &port.name));
    unique("input", names)?;

    let read_output = |stored| read_output(&parameters, stored, &blobs);
    let outputs = message.outputs.into_iter().map(read_output).collect::<Result<Vec<_>, _>>()?;
    unique("output", outputs.iter().map(|output| &output.port.name))?;
    let guards: Vec<Guard> = message.guards.into_iter().map(decode::guard).collect();
    let named = outputs.len().checked_sub(guards.len()).map(|first| &outputs[first..]);
    let ports = guards.iter().map(Guard::port);
    if !named.is_some_and(|named| named.iter().map(|output| output.port.clone()).eq(ports)) {
        return Err(invalid("the last outputs are not the guards"));
    }
    if let Some(guard) = guards.iter().find(|guard| !guard.is_usable()) {
        return Err(invalid(format!("the limit of guard \"{}\" is no number from 1", guard.name.escape_debug())));
    }

    let read_exchange = |stored| read_exchange(&parameters, stored, &blobs);
    let exchanges = message.exchanges.into_iter().map(read_exchange).collect::<Result<Vec<_>, _>>()?;
    let client = message.client.map(|client| decode::graph::<Tensors>((), client, &blobs)).transpose()?;
    let slots = parameters.slots();
    let layouts = inputs.iter().map(|own| &own.input.layout).chain(outputs.iter().map(|own| &own.layout));
    let operands = exchanges.iter().flat_map(|own| own.operands.iter().map(|operand| &operand.layout));
    let results = exchanges.iter().flat_map(|own| own.results.iter().map(|reply| &reply.layout));
    let all = layouts.chain(operands).chain(results);
    let largest = all.map(|layout| layout.capacity(slots)).min().unwrap_or(slots);
    let capacity = size(message.capacity)?;
    if !(1..=largest).contains(&capacity) {
        return Err(invalid(format!("a batch of {capacity} samples, expected 1 to {largest}")));
    }
    let program = message.program.as_slice().try_into().map_err(|_| decode::missing("fingerprint of a program"))?;
    let noise = message.noise.map(decode::noise).transpose()?;
    noise.as_ref().map_or(Ok(()), |noise| noise.check(outputs.len()))?;
    let annotations = message.annotations;
    let contract = Contract {
        parameters,
        keys,
        inputs,
        public,
        outputs,
        guards,
        exchanges,
        client,
        capacity,
        noise,
        annotations,
        program,
    };
    if let Some(client) = &contract.client {
        super::check_client(client)?;
        let (expected, found) = (contract.decrypted().cloned().collect::<Vec<_>>(), Port::inputs_of(client));
        if expected != found {
            let (expected, found) = (super::typed(&expected), super::typed(&found));
            return Err(ProgramError::Signature { what: "inputs after decryption", expected, found });
        }
    }
    Ok(contract)
}

fn unique<'a>(what: &str, mut names: impl Iterator<Item = &'a String>) -> Result<(), ProgramError> {
    let mut seen = BTreeSet::new();
    match names.find(|name| !seen.insert(*name)) {
        Some(name) => Err(invalid(format!("two {what}s have the name \"{}\"", name.escape_debug()))),
        None => Ok(()),
    }
}

fn read_port(stored: wire::Port) -> Result<Port, ProgramError> {
    let element = decode::element(&stored.element)?;
    let shape = stored.shape.into_iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let ty = TensorType { element, shape }.bounded().map_err(|e| invalid(e.0))?;
    Ok(Port { name: stored.name, ty })
}

fn read_output(
    parameters: &Parameters,
    stored: wire::EncryptedOutput,
    blobs: &[decode::Content],
) -> Result<EncryptedOutput, ProgramError> {
    let port = read_port(stored.port.ok_or_else(|| decode::missing("name of an output"))?)?;
    let name = port.name.escape_debug();
    let layout = match stored.packed {
        Some(packed) => Layout::Packed(decode::packed(packed, blobs)?),
        None => Layout::Batch { shape: port.ty.shape.clone() },
    };
    if layout.elements() != port.ty.elements() || layout.capacity(parameters.slots()) == 0 {
        return Err(invalid(format!("the layout of output \"{name}\" does not fit its type")));
    }
    let (level, degree) = (size(stored.level)?, size(stored.degree)?);
    let scale = decode::scale(&stored.scale.ok_or_else(|| decode::missing("scale of an output"))?)?;
    let ty = ckks::Type { length: layout.array_length(), level, scale, degree };
    let ty = ckks::fits_modulus(parameters, ty).map_err(|e| invalid(format!("output \"{name}\": {}", e.0)))?;
    if !(1..=ckks::MAX_DEGREE).contains(&degree) {
        return Err(invalid(format!("output \"{name}\" has degree {degree}, expected 1 to {}", ckks::MAX_DEGREE)));
    }
    Ok(EncryptedOutput { port, layout, ty })
}

/// A round: its function, and ciphertexts for its inputs and for some of its outputs.
fn read_exchange(
    parameters: &Parameters,
    stored: wire::Exchange,
    blobs: &[decode::Content],
) -> Result<Exchange, ProgramError> {
    let function = stored.function.ok_or_else(|| decode::missing("function of a round"))?;
    let function = decode::graph::<Tensors>((), function, blobs)?;
    super::check_client(&function)?;
    let read = |stored| read_output(parameters, stored, blobs);
    let operands = stored.operands.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if !operands.is_empty() && !operands.iter().map(|own| own.port.clone()).eq(Port::inputs_of(&function)) {
        return Err(invalid("the operands of a round are not its function's inputs"));
    }
    let known = Port::outputs_of(&function);
    let mut results = Vec::with_capacity(stored.results.len());
    for EncryptedOutput { port, layout, ty } in stored.results.into_iter().map(read).collect::<Result<Vec<_>, _>>()? {
        if !known.contains(&port) || ty.degree != 1 || operands.is_empty() {
            return Err(invalid(format!("a round has no fresh result \"{}\"", port.name.escape_debug())));
        }
        results.push(Reply { port, layout, level: ty.level, scale: ty.scale });
    }
    unique("result of a round", results.iter().map(|reply| &reply.port.name))?;
    Ok(Exchange { function, operands, results })
}

fn read_keys(
    parameters: &Parameters,
    relinearization: Option<wire::Relinearization>,
    rotations: Vec<wire::Rotation>,
) -> Result<KeyNeeds, ProgramError> {
    if (relinearization.is_some() || !rotations.is_empty()) && parameters.special_primes().is_empty() {
        return Err(invalid("keys are needed, and the parameters have no special primes"));
    }
    let level = |stored: u64| {
        let level = size(stored)?;
        let max = parameters.max_level();
        if level > max { Err(invalid(format!("a key at level {level}, expected at most {max}"))) } else { Ok(level) }
    };
    let relinearization = match relinearization {
        Some(stored) => {
            let needs = Relinearization { level: level(stored.level)?, degree: size(stored.degree)? };
            if !(2..=ckks::MAX_DEGREE).contains(&needs.degree) {
                return Err(invalid(format!("a relinearization key for degree {}", needs.degree)));
            }
            Some(needs)
        }
        None => None,
    };
    if rotations.len() > MAX_ROTATIONS.min(parameters.slots()) {
        return Err(invalid(format!("{} keys for rotations of {} slots", rotations.len(), parameters.slots())));
    }
    let mut steps = BTreeMap::new();
    for rotation in rotations {
        let step = size(rotation.steps)?;
        if step >= parameters.slots() || steps.insert(step, level(rotation.level)?).is_some() {
            return Err(invalid(format!("a key for a rotation of {} slots by {step}", parameters.slots())));
        }
    }
    Ok(KeyNeeds { relinearization, rotations: steps })
}
