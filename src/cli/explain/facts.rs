//! What the page shows, gathered from the circuit layer by layer: a layer is all that comes from one node of the model on one side
//! of the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hec::ir::ckks::precision::{Certificate, Promise};
use hec::ir::ckks::{self, Circuit, Op, OpCounts};
use hec::ir::graph::{Dialect, Value};
use hec::ir::slots::Layout;
use hec::ir::tensor::Tensors;
use hec::price::Price;
use hec::{Bound, CostModel, Decisions, Program};

use super::super::Failure;
use super::super::profile::Profile;
use super::super::statement::ProgramStatement;

/// Who computes a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client, before the run: it encrypts.
    Input,
    /// The server encodes what is public.
    Public,
    /// The server, on ciphertexts.
    Server,
    /// The client, in the middle of the run.
    Round(usize),
}

/// What a layer is and takes.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The model's node, or the input.
    pub name: String,
    pub side: Side,
    /// The operations of the model behind it.
    pub operations: Vec<&'static str>,
    /// Layers that it reads.
    pub reads: BTreeSet<usize>,
    /// The level of its operand and of its result.
    pub levels: (usize, usize),
    /// Products on the longest way through it.
    pub depth: usize,
    /// How its result lies.
    pub layout: String,
    /// Ciphertexts of its result, and their degree.
    pub ciphertexts: (usize, usize),
    pub counts: OpCounts,
    /// Predicted, on one core, for one batch.
    pub seconds: f64,
    /// Measured, for one batch.
    pub measured: Option<f64>,
    /// Predicted bytes of all ciphertexts that are alive while it is computed.
    pub bytes: u64,
    /// Measured: the largest size of the process until then.
    pub measured_bytes: Option<u64>,
    /// Predicted of its result.
    pub precision: Option<Bits>,
}

/// Bits of precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bits {
    /// Expected: the certificate's, or else the planner's.
    pub expected: f64,
    /// With high probability there are no fewer, if the certificate says so.
    pub least: Option<f64>,
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} bits expected", self.expected)?;
        self.least.map_or(Ok(()), |bits| write!(f, ", {bits:.1} at least"))
    }
}

impl Bits {
    /// Beside what was asked for.
    pub fn asked(&self, decisions: &Decisions) -> String {
        match decisions.bound.asked {
            Bound::Bits(_) | Bound::Error(_) => format!("{self}; {}", decisions.bound),
            Bound::Any | Bound::Decisions => format!("{self}; {:.1} expected asked for", decisions.precision.0),
        }
    }

    /// What is promised, unless there is no error at all.
    fn promised(own: &Promise) -> Option<Self> {
        let expected = own.expected_bits();
        expected.is_finite().then(|| Self { expected, least: Some(own.bound_bits()) })
    }
}

/// The layout with an element in each ciphertext and a sample in each slot.
pub const BATCH: &str = "an element in each ciphertext";

/// Everything that the page shows.
pub struct Facts<'a> {
    /// The file that was explained.
    pub name: String,
    pub program: &'a Program,
    pub decisions: Option<&'a Decisions>,
    pub statement: ProgramStatement,
    pub layers: Vec<Layer>,
    pub counts: OpCounts,
    /// Predicted seconds for one batch on one core, by what they are spent on, most first.
    pub spent: Vec<(&'static str, f64)>,
    pub seconds: f64,
    pub peak_bytes: u64,
    pub key_bytes: u64,
    pub measured: Option<&'a Profile>,
    pub certificate: Option<Certificate>,
}

impl<'a> Facts<'a> {
    pub fn new(
        name: String,
        program: &'a Program,
        decisions: Option<&'a Decisions>,
        cost: &CostModel,
        measured: Option<&'a Profile>,
    ) -> Result<Self, Failure> {
        let circuit = program.circuit();
        let price = Price::of(circuit, cost);
        let certificate = program.certificate();
        Ok(Self {
            name,
            program,
            decisions,
            statement: ProgramStatement::of(program)?,
            layers: layers(program, &price, (decisions, certificate.as_ref()), measured),
            counts: ckks::counts(circuit),
            spent: spent(circuit, &price),
            seconds: price.total() * 1e-9,
            peak_bytes: ckks::peak_ciphertext_bytes(circuit),
            key_bytes: ckks::evaluation_key_bytes(circuit),
            measured,
            certificate,
        })
    }

    /// Of the worst output.
    pub fn precision(&self) -> Option<Bits> {
        let promised = self.certificate.iter().flat_map(|certificate| &certificate.outputs);
        let worst =
            promised.filter_map(|(_, own)| Bits::promised(own)).min_by(|a, b| a.expected.total_cmp(&b.expected));
        worst.or_else(|| Some(Bits { expected: self.decisions?.precision.1, least: None }))
    }

    /// Whether a ciphertext holds whole samples, not one element of many.
    pub fn packed(&self) -> bool {
        ckks::layouts(self.program.circuit()).iter().any(Option::is_some)
    }
}

fn layers(
    program: &Program,
    price: &Price,
    (decisions, certificate): (Option<&Decisions>, Option<&Certificate>),
    measured: Option<&Profile>,
) -> Vec<Layer> {
    let circuit = program.circuit();
    let mut numbers: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    let mut members: Vec<(Side, Vec<Value>)> = Vec::new();
    let mut of = Vec::with_capacity(circuit.len());
    for (value, node) in circuit.nodes() {
        let side = if let Op::Input(input) = node.op() {
            if input.public { Side::Public } else { Side::Input }
        } else if let Op::Refresh(refresh) = node.op() {
            Side::Round(refresh.round)
        } else {
            Side::Server
        };
        let kind = match side {
            Side::Input => 0,
            Side::Public => 1,
            Side::Server => 2,
            Side::Round(round) => 3 + round,
        };
        let name = if let Op::Input(input) = node.op() { &input.name } else { node.origin().as_str() };
        let number = *numbers.entry((name, kind)).or_insert(members.len());
        if number == members.len() {
            members.push((side, Vec::new()));
        }
        members[number].1.push(value);
        of.push(number);
    }
    let named = operations(program);
    let bytes = ckks::peak_bytes_by_node(circuit);
    let layouts = ckks::layouts(circuit);
    let layer = |(number, (side, values)): (usize, &(Side, Vec<Value>))| {
        let (first, last) = (values.first()?, values.last()?);
        let own = |value: &Value| of[value.index()] == number;
        let operands = || values.iter().flat_map(|value| circuit.node(*value).operands());
        let from_outside = operands().filter(|operand| !own(operand));
        let name = if let Op::Input(input) = circuit.node(*first).op() {
            input.name.clone()
        } else {
            circuit.node(*first).origin().as_str().to_owned()
        };
        let result = circuit.ty(*last);
        let entry = match side {
            Side::Input | Side::Public | Side::Round(_) => result.level,
            Side::Server => from_outside.clone().map(|v| circuit.ty(*v).level).max().unwrap_or(result.level),
        };
        let layout = match &layouts[last.index()] {
            Some(packed) => Layout::Packed(packed.clone()).to_string(),
            None => BATCH.to_owned(),
        };
        let timings = measured.map(|profile| values.iter().map(|v| &profile.nodes[v.index()]));
        let batches = measured.map_or(1.0, |profile| profile.batches as f64);
        let origin = circuit.node(*last).origin();
        let promised = certificate.iter().flat_map(|c| &c.layers).find(|(own, _)| own == origin);
        let planned = || {
            let (_, expected) = decisions?.precisions.iter().find(|(own, _)| own == origin)?;
            Some(Bits { expected: *expected, least: None })
        };
        let precision = promised.map_or_else(planned, |(_, own)| Bits::promised(own));
        Some(Layer {
            operations: named.get(&name).cloned().unwrap_or_default(),
            side: *side,
            reads: from_outside.map(|v| of[v.index()]).collect(),
            levels: (entry, result.level),
            depth: depth(circuit, values),
            layout,
            ciphertexts: (result.length, result.degree),
            counts: ckks::counts_of(circuit, values.iter().copied()),
            seconds: 1e-9 * values.iter().map(|v| price.nodes[v.index()]).sum::<f64>(),
            measured: timings.clone().map(|all| all.map(|t| t.seconds).sum::<f64>() / batches),
            bytes: values.iter().map(|v| bytes[v.index()]).max().unwrap_or(0),
            measured_bytes: timings.and_then(|all| all.filter_map(|t| t.peak_memory).max()),
            precision,
            name,
        })
    };
    members.iter().enumerate().filter_map(layer).collect()
}

/// Products on the longest way through `values`, which are in order.
fn depth(circuit: &Circuit, values: &[Value]) -> usize {
    let mut depths: BTreeMap<Value, usize> = BTreeMap::new();
    for &value in values {
        let node = circuit.node(value);
        let before = node.operands().iter().filter_map(|v| depths.get(v)).max().copied().unwrap_or(0);
        let product = matches!(node.op(), Op::Combine(_) | Op::Multiply | Op::Square | Op::Transform(_) | Op::Blind(_));
        depths.insert(value, before + usize::from(product));
    }
    depths.values().max().copied().unwrap_or(0)
}

/// The operations of the model, by the node that they come from, each once; those that only move elements where there are no others.
fn operations(program: &Program) -> BTreeMap<String, Vec<&'static str>> {
    const MOVES: [&str; 4] = ["constant", "transpose", "reshape", "expand"];
    let mut named: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
    for (_, node) in program.source().nodes() {
        let operation = Tensors::describe(node.op()).0;
        let list = named.entry(node.origin().as_str().to_owned()).or_default();
        if !list.contains(&operation) {
            list.push(operation);
        }
    }
    for list in named.values_mut().filter(|list| list.iter().any(|operation| !MOVES.contains(operation))) {
        list.retain(|operation| !MOVES.contains(operation));
    }
    named
}

/// Seconds by kind of operation, most first.
fn spent(circuit: &Circuit, price: &Price) -> Vec<(&'static str, f64)> {
    let mut kinds: BTreeMap<&'static str, f64> = BTreeMap::new();
    for ((_, node), nanoseconds) in circuit.nodes().zip(&price.nodes) {
        let kind = match node.op() {
            Op::Input(_) => "encryption",
            Op::Combine(_) => "weighted sums of ciphertexts",
            Op::Transform(_) => "products with diagonals, and their rotations",
            Op::Fold(_) => "rotations that add up slots",
            Op::Multiply | Op::Square => "products of ciphertexts",
            Op::Relinearize => "relinearization",
            Op::Rescale => "rescaling",
            Op::Refresh(_) => "rounds with the client",
            Op::Blind(_) => "random factors for rounds",
            Op::Add | Op::Subtract | Op::Concat | Op::Gather(_) | Op::DropLevel(_) => continue,
        };
        *kinds.entry(kind).or_insert(0.0) += 1e-9 * nanoseconds;
    }
    kinds.insert("decryption", 1e-9 * price.decryption);
    let mut spent: Vec<(&'static str, f64)> = kinds.into_iter().filter(|(_, seconds)| *seconds > 0.0).collect();
    spent.sort_by(|a, b| b.1.total_cmp(&a.1));
    spent
}
