//! Functions that the client computes in the middle of the run.
//!
//! What encrypted arithmetic cannot compute, the client can: the server sends it the operands, the client decrypts, computes the function
//! exactly, encrypts the results at the top level, and the run goes on (client-aided activations, as nGraph-HE has them). [`split`] cuts
//! a model there. What the client computes between two layers is one *round*; the server's part gets an output for each value
//! that the client needs, and an input for each that comes back, so passes, packing and ranges see a model like any other. Weaving then
//! makes one graph of it again, in which a [`slots::Refresh`] stands between them.
//!
//! Operands are blinded, where the function commutes with positive factors ([`Round::groups`]): the server multiplies them by random
//! ones before it sends them, and divides by them afterwards.

use std::collections::{BTreeMap, BTreeSet};

use hec_ir::graph::{Builder, Node, Value};
use hec_ir::program::{Port, Round};
use hec_ir::slots::{self, Blind, Layout, Packed, Refresh, SlotGraph, Slots};
use hec_ir::tensor::{Effort, Input, Op, Pooling, Reduction, TensorGraph, Tensors};
use rayon::prelude::*;

use crate::approximate::evaluate_sample;
use crate::error::CompileError;
use crate::ranges::Samples;
use crate::tail::{is_arithmetic, is_layer};

/// A model in the server's part, and the client's rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the server computes: its outputs are the model's, and the operands of the rounds; its inputs are the model's, and the results
    /// of the rounds.
    pub server: TensorGraph,
    /// What the client computes, in order.
    pub rounds: Vec<Round>,
    /// Whether operands are blinded where they can be.
    pub blind: bool,
}

/// Cuts `graph` at what encrypted arithmetic cannot compute; `None` if it can compute all of it, or if a type is not known.
///
/// # Errors
/// If a part does not fit together: none, for a graph that exists.
pub fn split(graph: &TensorGraph, blind: bool) -> Result<Option<Split>, CompileError> {
    if graph.nodes().any(|(_, node)| node.ty().known().is_none()) {
        return Ok(None);
    }
    let cut = Cut::new(graph);
    if !cut.client.contains(&true) {
        return Ok(None);
    }
    cut.parts(blind).map(Some)
}

/// Samples that are enough to see how large results of a round become.
const SAMPLES: usize = 256;

impl Split {
    /// Samples of the server's inputs, from those of the model: results of rounds are computed by `graph`, from which the parts were cut.
    ///
    /// # Errors
    /// If there are none: nothing is known then of how large values are.
    pub(crate) fn samples(&self, graph: &TensorGraph, samples: &Samples) -> Result<Samples, CompileError> {
        let ports = Port::inputs_of(graph);
        let count = |port: &Port| samples.get(&port.name).map_or(0, |all| all.len() / port.ty.elements().max(1));
        let count = ports.iter().map(count).min().unwrap_or(0).min(SAMPLES);
        if count == 0 {
            return Err(CompileError::Option {
                name: "activations",
                reason: "how large the values are that the client sends back is not known: give calibration samples with --calibrate"
                    .to_owned(),
            });
        }
        let mut all: Samples = ports
            .iter()
            .filter_map(|port| {
                let own = samples.get(&port.name)?;
                Some((port.name.clone(), own[..count * port.ty.elements()].to_vec()))
            })
            .collect();
        // Where in the model a result of a round is computed: the only nodes that the client's part and the model share are those.
        let places = Cut::new(graph).results();
        let one = |sample: usize| {
            let mut row = vec![Vec::new(); places.len()];
            evaluate_sample(graph, samples, sample, &mut |value, tensor| {
                if let Some(place) = places.iter().position(|(own, _)| *own == value) {
                    row[place] = tensor.values().to_vec();
                }
            })?;
            Ok(row)
        };
        let rows: Vec<Vec<Vec<f64>>> = (0..count).into_par_iter().map(one).collect::<Result<_, CompileError>>()?;
        for (i, (_, name)) in places.iter().enumerate() {
            all.insert(name.clone(), rows.iter().flat_map(|row| &row[i]).copied().collect());
        }
        Ok(all)
    }

    /// Puts refreshes between the server's outputs and inputs that belong to rounds, in its packed form.
    ///
    /// # Errors
    /// If the graph is not that of this split.
    pub(crate) fn weave(&self, graph: &SlotGraph) -> Result<SlotGraph, CompileError> {
        Weave::new(self, graph).run()
    }
}

/// What is whose.
struct Cut<'a> {
    graph: &'a TensorGraph,
    variable: Vec<bool>,
    client: Vec<bool>,
    /// For a node of the client, its round; for one of the server, the number of rounds before it.
    round: Vec<usize>,
    users: Vec<Vec<Value>>,
    is_output: Vec<bool>,
}

impl<'a> Cut<'a> {
    fn new(graph: &'a TensorGraph) -> Self {
        let mut variable = vec![false; graph.len()];
        let mut users: Vec<Vec<Value>> = vec![Vec::new(); graph.len()];
        let mut is_output = vec![false; graph.len()];
        for (value, node) in graph.nodes() {
            let depends = node.operands().iter().any(|operand| variable[operand.index()]);
            variable[value.index()] = depends || matches!(node.op(), Op::Input(_));
            node.operands().iter().for_each(|operand| users[operand.index()].push(value));
        }
        graph.outputs().iter().for_each(|output| is_output[output.value.index()] = true);
        let cannot = |(value, node): (Value, &Node<Tensors>)| {
            let arithmetic = is_arithmetic(node, &|at| node.operands().get(at).is_some_and(|v| !variable[v.index()]));
            variable[value.index()] && !arithmetic
        };
        let client = graph.nodes().map(cannot).collect();
        let mut cut = Self { graph, variable, client, round: vec![0; graph.len()], users, is_output };
        cut.take_between();
        cut.count_rounds();
        cut
    }

    fn variables<'n>(&'n self, node: &'n Node<Tensors>) -> impl Iterator<Item = Value> + 'n {
        node.operands().iter().copied().filter(|operand| self.variable[operand.index()])
    }

    /// Gives the client what lies between two of its nodes, and what makes fewer values of its results.
    fn take_between(&mut self) {
        loop {
            let mut more = Vec::new();
            for (value, node) in self.graph.nodes() {
                let own = self.variable[value.index()] && !self.client[value.index()];
                let follows = self.variables(node).all(|operand| self.client[operand.index()]);
                if !own || !follows || is_layer(node) || matches!(node.op(), Op::Input(_)) {
                    continue;
                }
                let users = &self.users[value.index()];
                let between = !self.is_output[value.index()]
                    && !users.is_empty()
                    && users.iter().all(|user| self.client[user.index()]);
                let only = |operand: Value| self.users[operand.index()] == [value] && !self.is_output[operand.index()];
                let fewer = self.variables(node).all(only) && keeps_or_shrinks(self.graph, node);
                if between || fewer {
                    more.push(value);
                }
            }
            if more.is_empty() {
                return;
            }
            more.into_iter().for_each(|value| self.client[value.index()] = true);
        }
    }

    fn count_rounds(&mut self) {
        for (value, node) in self.graph.nodes() {
            let at = value.index();
            let before = self.variables(node).map(|operand| {
                let o = operand.index();
                if self.client[o] && !self.client[at] { self.round[o] + 1 } else { self.round[o] }
            });
            self.round[at] = before.max().unwrap_or(0);
        }
    }

    /// Results of rounds that the server, the user or a later round needs, with their names in the server's part.
    fn results(&self) -> Vec<(Value, String)> {
        let mut taken: BTreeSet<String> = self.graph.inputs().map(|(_, name)| name.to_owned()).collect();
        taken.extend(self.graph.outputs().iter().map(|output| output.name.clone()));
        let mut all = Vec::new();
        for (value, node) in self.graph.nodes().filter(|(value, _)| self.client[value.index()]) {
            let leaves =
                |user: &Value| !self.client[user.index()] || self.round[user.index()] != self.round[value.index()];
            if self.is_output[value.index()] || self.users[value.index()].iter().any(leaves) {
                all.push((value, fresh_name(node, "", &mut taken)));
            }
        }
        all
    }

    fn parts(&self, blind: bool) -> Result<Split, CompileError> {
        let graph = self.graph;
        let results: BTreeMap<Value, String> = self.results().into_iter().collect();
        let mut taken: BTreeSet<String> = graph.inputs().map(|(_, name)| name.to_owned()).collect();
        taken.extend(graph.outputs().iter().map(|output| output.name.clone()));
        taken.extend(results.values().cloned());

        // What each round decrypts: its operands that are not its own.
        let count = 1 + (0..graph.len()).filter(|&i| self.client[i]).map(|i| self.round[i]).max().unwrap_or(0);
        let mut operands: Vec<BTreeMap<Value, String>> = vec![BTreeMap::new(); count];
        for (value, node) in graph.nodes().filter(|(value, _)| self.client[value.index()]) {
            let round = self.round[value.index()];
            for operand in self.variables(node) {
                let own = self.client[operand.index()] && self.round[operand.index()] == round;
                if !own && !operands[round].contains_key(&operand) {
                    let name = fresh_name(graph.node(operand), "to_client", &mut taken);
                    operands[round].insert(operand, name);
                }
            }
        }

        let mut server = Builder::<Tensors>::new(());
        let mut copied: BTreeMap<Value, Value> = BTreeMap::new();
        for (value, node) in graph.nodes() {
            server.set_origin(node.origin().clone());
            if let Some(name) = results.get(&value) {
                copied.insert(value, server.push(input(node, name)?, &[])?);
            } else if !self.client[value.index()] {
                let own: Vec<Value> = node.operands().iter().map(|operand| copied[operand]).collect();
                copied.insert(value, server.push(node.op().clone(), &own)?);
            }
        }
        graph.outputs().iter().for_each(|output| server.output(&output.name, copied[&output.value]));
        for (value, name) in operands.iter().flatten() {
            server.output(name, copied[value]);
        }

        let mut rounds = Vec::with_capacity(count);
        for (round, operands) in operands.iter().enumerate() {
            let mut function = Builder::<Tensors>::new(());
            let mut copied: BTreeMap<Value, Value> = BTreeMap::new();
            for (value, node) in graph.nodes() {
                let own = self.client[value.index()] && self.round[value.index()] == round;
                function.set_origin(node.origin().clone());
                if let Some(name) = operands.get(&value) {
                    copied.insert(value, function.push(input(node, name)?, &[])?);
                } else if own || !self.variable[value.index()] {
                    let operands: Vec<Value> = node.operands().iter().map(|operand| copied[operand]).collect();
                    copied.insert(value, function.push(node.op().clone(), &operands)?);
                }
                if let Some(name) = results.get(&value).filter(|_| own) {
                    function.output(name, copied[&value]);
                }
            }
            rounds.push(Round { function: function.finish().without_dead_nodes() });
        }
        Ok(Split { server: server.finish().without_dead_nodes(), rounds, blind })
    }
}

fn input(node: &Node<Tensors>, name: &str) -> Result<Op, CompileError> {
    let ty = node.ty().known().cloned().ok_or_else(|| CompileError::internal("a value of no type is cut"))?;
    Ok(Input { name: name.to_owned(), ty }.into())
}

/// A name after the node that nothing else has.
fn fresh_name(node: &Node<Tensors>, suffix: &str, taken: &mut BTreeSet<String>) -> String {
    let own = node.origin().as_str();
    let own = if own.is_empty() { "value" } else { own };
    let own = if suffix.is_empty() { own.to_owned() } else { format!("{own}:{suffix}") };
    let mut name = own.clone();
    let mut next = 2;
    while !taken.insert(name.clone()) {
        name = format!("{own}_{next}");
        next += 1;
    }
    name
}

/// Whether a node only moves or averages its operand's elements, and gives no more of them.
fn keeps_or_shrinks(graph: &TensorGraph, node: &Node<Tensors>) -> bool {
    let size = |value: &Value| graph.ty(*value).known().map_or(0, |ty| ty.elements());
    let [x, ..] = node.operands() else { return false };
    let averages = matches!(node.op(), Op::Pool(pool) if matches!(pool.pooling, Pooling::Average { .. }))
        || matches!(node.op(), Op::Reduce(reduce) if matches!(reduce.reduction, Reduction::Sum | Reduction::Mean));
    let plain = averages || node.op().effort() == Effort::Moves && node.operands().len() == 1;
    plain && node.ty().known().is_some_and(|ty| ty.elements() <= size(x))
}

/// Rebuilds a packed server part with refreshes.
struct Weave<'a> {
    split: &'a Split,
    graph: &'a SlotGraph,
    /// By name: the round, and whether it is blinded.
    results: BTreeMap<String, usize>,
    blinded: Vec<bool>,
    layouts: Vec<Option<Layout>>,
    builder: Builder<Slots>,
    made: Vec<Option<Value>>,
    /// The operands of each round as they are sent, once they are made.
    sent: Vec<Option<Vec<Value>>>,
}

impl<'a> Weave<'a> {
    fn new(split: &'a Split, graph: &'a SlotGraph) -> Self {
        let named = |(number, round): (usize, &Round)| {
            round.results().into_iter().map(move |port| (port.name, number)).collect::<Vec<_>>()
        };
        let results = split.rounds.iter().enumerate().flat_map(named).collect();
        let blinded = split.rounds.iter().map(|round| split.blind && round.groups().is_some()).collect();
        let layouts = layouts(graph);
        let sent = vec![None; split.rounds.len()];
        Self { split, graph, results, blinded, layouts, builder: Builder::new(()), made: vec![None; graph.len()], sent }
    }

    /// Node after node, as soon as all that it depends on is there: what comes back of a round waits for what is sent.
    fn run(mut self) -> Result<SlotGraph, CompileError> {
        let mut left: Vec<Value> = self.graph.nodes().map(|(value, _)| value).collect();
        while !left.is_empty() {
            let before = left.len();
            let mut waiting = Vec::new();
            for value in left {
                if !self.node(value)? {
                    waiting.push(value);
                }
            }
            if waiting.len() == before {
                return Err(CompileError::internal("a round with the client waits for itself"));
            }
            left = waiting;
        }
        for output in self.graph.outputs() {
            let sent = self.split.rounds.iter().flat_map(Round::operands).any(|port| port.name == output.name);
            if let Some(value) = self.made[output.value.index()].filter(|_| !sent) {
                self.builder.output(&output.name, value);
            }
        }
        Ok(self.builder.finish().without_dead_nodes())
    }

    /// Whether it could be made.
    fn node(&mut self, value: Value) -> Result<bool, CompileError> {
        let graph = self.graph;
        let node = graph.node(value);
        if let slots::Op::Input(input) = node.op()
            && let Some(&round) = self.results.get(&input.name)
        {
            if !self.send(round)? {
                return Ok(false);
            }
            let operands = self.sent[round].clone().unwrap_or_default();
            self.builder.set_origin(node.origin().clone());
            let (name, layout) = (input.name.clone(), input.layout.clone());
            let refresh = Refresh { round, name: name.clone(), layout: layout.clone() };
            let mut result = self.builder.push(slots::Op::Refresh(refresh), &operands)?;
            if self.blinded[round] {
                let blind = Blind { round, port: name, layout, inverse: true };
                result = self.builder.push(slots::Op::Blind(blind), &[result])?;
            }
            self.made[value.index()] = Some(result);
            return Ok(true);
        }
        let operands: Option<Vec<Value>> = node.operands().iter().map(|operand| self.made[operand.index()]).collect();
        let Some(operands) = operands else { return Ok(false) };
        self.builder.set_origin(node.origin().clone());
        self.made[value.index()] = Some(self.builder.push(node.op().clone(), &operands)?);
        Ok(true)
    }

    /// Makes what a round is sent, if all of it is there.
    fn send(&mut self, round: usize) -> Result<bool, CompileError> {
        if self.sent[round].is_some() {
            return Ok(true);
        }
        let mut operands = Vec::new();
        for port in self.split.rounds[round].operands() {
            let output = self.graph.outputs().iter().find(|output| output.name == port.name);
            let output = output.ok_or_else(|| CompileError::internal("an operand of a round is no output"))?;
            let Some(made) = self.made[output.value.index()] else { return Ok(false) };
            operands.push((port, output.value, made));
        }
        let mut sent = Vec::new();
        for (port, value, made) in operands {
            let origin = self.graph.node(value).origin().clone();
            self.builder.set_origin(origin);
            let Some(layout) = self.layouts[value.index()].as_ref().filter(|_| self.blinded[round]) else {
                sent.push(made);
                continue;
            };
            let layout = of_shape(layout, &port.ty.shape)?;
            let blind = Blind { round, port: port.name, layout, inverse: false };
            sent.push(self.builder.push(slots::Op::Blind(blind), &[made])?);
        }
        self.sent[round] = Some(sent);
        Ok(true)
    }
}

fn of_shape(layout: &Layout, shape: &[usize]) -> Result<Layout, CompileError> {
    match layout {
        Layout::Batch { .. } => Ok(Layout::Batch { shape: shape.to_vec() }),
        Layout::Packed(packed) => {
            let reshaped: Packed = packed.reshaped(shape).map_err(|e| CompileError::internal(&e.to_string()))?;
            Ok(Layout::Packed(reshaped.into()))
        }
    }
}

/// How each value lies.
fn layouts(graph: &SlotGraph) -> Vec<Option<Layout>> {
    let mut all: Vec<Option<Layout>> = Vec::with_capacity(graph.len());
    for (_, node) in graph.nodes() {
        let first = node.operands().first().and_then(|operand| all[operand.index()].clone());
        let batch = || Some(Layout::Batch { shape: vec![node.ty().length] });
        all.push(match node.op() {
            slots::Op::Input(input) => Some(input.layout.clone()),
            slots::Op::Refresh(refresh) => Some(refresh.layout.clone()),
            slots::Op::Transform(map) => Some(Layout::Packed(map.to().clone())),
            slots::Op::Combine(_) | slots::Op::Concat | slots::Op::Gather(_) => batch(),
            slots::Op::Multiply
            | slots::Op::Square
            | slots::Op::Add
            | slots::Op::Subtract
            | slots::Op::WeightedSum(_)
            | slots::Op::Blind(_) => first,
        });
    }
    all
}
