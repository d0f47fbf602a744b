//! The beginning of the model that the server computes in the clear.
//!
//! Inputs that the user calls public need no encryption, and what depends on them alone needs no polynomials: the server computes
//! it as ONNX says. [`split`] cuts the model where public values meet private ones. What crosses the cut becomes an input of
//! the rest, which the server encodes.
//!
//! Two operations whose second half is public become products: a division by what is public, and a choice by a public condition.

use std::collections::{BTreeMap, BTreeSet};

use hec_ir::graph::{Builder, Node, Value};
use hec_ir::program::Port;
use hec_ir::slots::{self, SlotGraph};
use hec_ir::tensor::{Binary, Cast, Element, Input, Op, TensorGraph, TensorType, Tensors, Unary};
use rayon::prelude::*;

use crate::approximate::evaluate_sample;
use crate::error::{CompileError, Obstacle};
use crate::ranges::Samples;

/// A model in two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the server computes in the clear: from the public inputs to the values at the cut.
    pub public: TensorGraph,
    /// What is left of the model: its inputs are the private ones, and the values at the cut.
    pub rest: TensorGraph,
}

/// Cuts `graph` where values that depend on the inputs `names` alone meet others; `None` without names.
///
/// # Errors
/// If a name is no input, nothing private is left, an output depends on public inputs alone, or the public part has an
/// operation that is not supported.
pub fn split(graph: &TensorGraph, names: &BTreeSet<String>) -> Result<Option<Split>, CompileError> {
    if names.is_empty() {
        return Ok(None);
    }
    let quoted = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("\"{}\"", name.escape_debug())).collect::<Vec<_>>().join(", ")
    };
    let known: BTreeSet<&str> = graph.inputs().map(|(_, name)| name).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name.as_str())) {
        let known = quoted(&mut graph.inputs().map(|(_, name)| name));
        return Err(refused(format!("the model has no input \"{}\": its inputs are {known}", name.escape_debug())));
    }
    if known.iter().all(|name| names.contains(*name)) {
        return Err(refused(
            "all inputs are public: nothing is left to encrypt; run it with --backend plain".to_owned(),
        ));
    }
    let whose = whose(graph, names);
    let mut outputs = graph.outputs().iter();
    if let Some(output) = outputs.find(|output| whose[output.value.index()] == Whose::Public) {
        let reason = format!(
            "output \"{}\" depends on public inputs alone: whoever has these can compute it; leave it out of the model",
            output.name.escape_debug()
        );
        return Err(refused(reason));
    }
    Cut::new(graph, &whose)?.parts().map(Some)
}

/// Marks the inputs `names` of a packed graph as public.
pub(crate) fn mark(graph: &SlotGraph, names: &BTreeSet<String>) -> Result<SlotGraph, CompileError> {
    graph.translate((), |builder, _, node, operands| {
        let mut op = node.op().clone();
        if let slots::Op::Input(input) = &mut op {
            input.public = names.contains(&input.name);
        }
        Ok(builder.push(op, operands)?)
    })
}

impl Split {
    /// Marks those inputs of the packed rest that are at the cut.
    ///
    /// # Errors
    /// None, for a graph that exists.
    pub fn mark(&self, rest: &SlotGraph) -> Result<SlotGraph, CompileError> {
        mark(rest, &self.cut())
    }

    /// The names of the values at the cut.
    pub fn cut(&self) -> BTreeSet<String> {
        self.public.outputs().iter().map(|output| output.name.clone()).collect()
    }

    /// Samples of the inputs of the rest, from those of the model: values at the cut are computed.
    ///
    /// # Errors
    /// If there are none of the public inputs, and more than moving their elements is done to them: nothing is known then of how
    /// large the values at the cut become.
    pub fn samples(&self, samples: &Samples) -> Result<Samples, CompileError> {
        let ports = Port::inputs_of(&self.public);
        let count = |port: &Port| samples.get(&port.name).map_or(0, |all| all.len() / port.ty.elements().max(1));
        let count = ports.iter().map(count).min().unwrap_or(0);
        let mut all: Samples = samples.clone();
        ports.iter().for_each(|port| drop(all.remove(&port.name)));
        if count == 0 {
            return match computed(&self.public) {
                Some(node) => Err(refused(format!(
                    "how large node \"{}\" becomes, which the server computes in the clear, is not known: give calibration samples \
                     of all inputs with --calibrate",
                    node.origin()
                ))),
                None => Ok(all),
            };
        }
        let one = |sample: usize| {
            let values = evaluate_sample(&self.public, samples, sample, &mut |_, _| ())?;
            let outputs = self.public.outputs().iter().map(|output| values[output.value.index()].clone());
            Ok(outputs.map(|value| value.map_or_else(Vec::new, |tensor| tensor.values().to_vec())).collect())
        };
        let rows: Vec<Vec<Vec<f64>>> = (0..count).into_par_iter().map(one).collect::<Result<_, CompileError>>()?;
        for (i, output) in self.public.outputs().iter().enumerate() {
            let values: Vec<f64> = rows.iter().flat_map(|row| &row[i]).copied().collect();
            if values.iter().any(|value| !value.is_finite()) {
                let name = output.name.escape_debug();
                return Err(refused(format!(
                    "\"{name}\", computed in the clear, is not finite on the calibration samples"
                )));
            }
            all.insert(output.name.clone(), values);
        }
        Ok(all)
    }
}

fn refused(reason: String) -> CompileError {
    CompileError::Option { name: "public", reason }
}

/// A node that does more than move elements of inputs.
fn computed(graph: &TensorGraph) -> Option<&Node<Tensors>> {
    let constant = constants(graph);
    let variable = |x: &Value| !constant[x.index()];
    let moves = |node: &Node<Tensors>| {
        let elsewhere =
            matches!(node.op(), Op::Input(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Expand(_) | Op::Slice(_));
        elsewhere
            || matches!(node.op(), Op::Gather(_)) && node.operands().first().is_some_and(variable)
            || matches!(node.op(), Op::Concat(_)) && node.operands().iter().all(variable)
    };
    let mut nodes = graph.nodes().filter(|(value, _)| variable(value));
    nodes.find(|(_, node)| !moves(node)).map(|(_, node)| node)
}

fn constants(graph: &TensorGraph) -> Vec<bool> {
    whose(graph, &BTreeSet::new()).into_iter().map(|whose| whose == Whose::Nobodys).collect()
}

/// On which inputs a value depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// None.
    Nobodys,
    /// Public ones alone.
    Public,
    /// Private ones.
    Private,
}

fn whose(graph: &TensorGraph, names: &BTreeSet<String>) -> Vec<Whose> {
    let mut all: Vec<Whose> = Vec::with_capacity(graph.len());
    for (_, node) in graph.nodes() {
        let own = if let Op::Input(input) = node.op() {
            if names.contains(&input.name) { Whose::Public } else { Whose::Private }
        } else {
            Whose::Nobodys
        };
        all.push(node.operands().iter().map(|operand| all[operand.index()]).fold(own, Whose::max));
    }
    all
}

/// In which form a public value crosses the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Itself,
    /// Its reciprocal, for divisions.
    Reciprocal,
    /// 1 for true and 0 for false.
    Factor,
}

struct Cut<'a> {
    graph: &'a TensorGraph,
    whose: &'a [Whose],
    public: Builder<Tensors>,
    /// By value of the model: the same in the public part.
    in_public: BTreeMap<Value, Value>,
    rest: Builder<Tensors>,
    in_rest: BTreeMap<Value, Value>,
    crossing: BTreeMap<(Value, Form), Value>,
    names: BTreeSet<String>,
}

impl<'a> Cut<'a> {
    fn new(graph: &'a TensorGraph, whose: &'a [Whose]) -> Result<Self, CompileError> {
        let private = graph.inputs().filter(|(value, _)| whose[value.index()] == Whose::Private);
        let names = private.map(|(_, name)| name.to_owned()).collect();
        let mut public = Builder::new(());
        let mut in_public: BTreeMap<Value, Value> = BTreeMap::new();
        for (value, node) in graph.nodes().filter(|(value, _)| whose[value.index()] != Whose::Private) {
            let operands: Vec<Value> = node.operands().iter().map(|operand| in_public[operand]).collect();
            public.set_origin(node.origin().clone());
            in_public.insert(value, public.push(node.op().clone(), &operands)?);
        }
        let (rest, in_rest, crossing) = (Builder::new(()), BTreeMap::new(), BTreeMap::new());
        Ok(Self { graph, whose, public, in_public, rest, in_rest, crossing, names })
    }

    fn parts(mut self) -> Result<Split, CompileError> {
        for (value, node) in self.graph.nodes().filter(|(value, _)| self.whose[value.index()] != Whose::Public) {
            let new = if matches!(node.op(), Op::Binary(Binary::Div)) && self.divides(node) {
                let [x, p] = [node.operands()[0], node.operands()[1]];
                let operands = [self.operand(x, Form::Itself)?, self.operand(p, Form::Reciprocal)?];
                self.push(node, Binary::Mul, &operands)?
            } else if matches!(node.op(), Op::Where(_)) && self.chooses(node) {
                // b + c (a - b)
                let [c, a, b] = [node.operands()[0], node.operands()[1], node.operands()[2]];
                let c = self.operand(c, Form::Factor)?;
                let [a, b] = [self.operand(a, Form::Itself)?, self.operand(b, Form::Itself)?];
                let difference = self.push(node, Binary::Sub, &[a, b])?;
                let chosen = self.push(node, Binary::Mul, &[c, difference])?;
                self.push(node, Binary::Add, &[b, chosen])?
            } else {
                let operands = node.operands().iter().map(|operand| self.operand(*operand, Form::Itself));
                let operands: Vec<Value> = operands.collect::<Result<_, CompileError>>()?;
                self.push(node, node.op().clone(), &operands)?
            };
            self.in_rest.insert(value, new);
        }
        for output in self.graph.outputs() {
            self.rest.output(&output.name, self.in_rest[&output.value]);
        }
        let public = self.public.finish().without_dead_nodes();
        let nodes: Vec<Obstacle> = public.nodes().filter_map(|(_, node)| Obstacle::unsupported(node)).collect();
        if !nodes.is_empty() {
            return Err(CompileError::Unsupported { nodes });
        }
        Ok(Split { public, rest: self.rest.finish().without_dead_nodes() })
    }

    fn push(&mut self, node: &Node<Tensors>, op: impl Into<Op>, operands: &[Value]) -> Result<Value, CompileError> {
        self.rest.set_origin(node.origin().clone());
        Ok(self.rest.push(op.into(), operands)?)
    }

    fn divides(&self, node: &Node<Tensors>) -> bool {
        self.whose[node.operands()[1].index()] == Whose::Public && is_float(node)
    }

    fn chooses(&self, node: &Node<Tensors>) -> bool {
        self.whose[node.operands()[0].index()] == Whose::Public && is_float(node)
    }

    /// A value of the model as the rest sees it: a public one comes in as an input.
    fn operand(&mut self, value: Value, form: Form) -> Result<Value, CompileError> {
        if self.whose[value.index()] != Whose::Public {
            return Ok(self.in_rest[&value]);
        }
        if let Some(&input) = self.crossing.get(&(value, form)) {
            return Ok(input);
        }
        let node = self.graph.node(value);
        let own = self.in_public[&value];
        self.public.set_origin(node.origin().clone());
        let crosses = match form {
            Form::Itself => own,
            Form::Reciprocal => self.public.push(Unary::Reciprocal.into(), &[own])?,
            Form::Factor => self.public.push(Cast { element: Element::F32 }.into(), &[own])?,
        };
        let Some(ty) = self.public.ty(crosses).known().cloned() else {
            let reason = "its type is not known, so nothing can be computed from it in the clear".to_owned();
            return Err(self.unknown(Obstacle { origin: node.origin().clone(), reason }));
        };
        let name = self.name(node);
        self.public.output(&name, crosses);
        self.rest.set_origin(node.origin().clone());
        let input = self.rest.push(Input { name, ty }.into(), &[])?;
        self.crossing.insert((value, form), input);
        Ok(input)
    }

    /// What stands in the way of a public value: the operations that are not supported, or `otherwise`.
    fn unknown(&self, otherwise: Obstacle) -> CompileError {
        let open = self.graph.nodes().filter(|(value, _)| self.whose[value.index()] != Whose::Private);
        let nodes: Vec<Obstacle> = open.filter_map(|(_, node)| Obstacle::unsupported(node)).collect();
        CompileError::Unsupported { nodes: if nodes.is_empty() { vec![otherwise] } else { nodes } }
    }

    /// A name that no input of the rest has yet.
    fn name(&mut self, node: &Node<Tensors>) -> String {
        let own = if let Op::Input(input) = node.op() { &input.name } else { node.origin().as_str() };
        let own = if own.is_empty() { "public" } else { own };
        let mut name = own.to_owned();
        let mut next = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{own}_{next}");
            next += 1;
        }
        name
    }
}

fn is_float(node: &Node<Tensors>) -> bool {
    node.ty().known().is_some_and(|ty: &TensorType| ty.element.is_float())
}
