//! The end of the model that the client computes after decryption.
//!
//! A classifier ends in a softmax, a sigmoid, or the position of the largest score. Encrypted arithmetic cannot do that, and
//! need not: the client decrypts what comes before, and goes on in the clear. [`split`] cuts the model there.
//!
//! The rule: what encrypted arithmetic cannot compute is the client's, with all that follows it,
//! - if a polynomial could stand in for it (a function of each element, maximum pooling): if no layer follows,
//! - else: if no layer follows but weighted sums, those with no more products than elements going in and coming out (so labels are
//!   looked up in a table).
//!
//! A layer is a convolution or a matrix product. What lies before, and only serves the client, goes with it if fewer
//! values have to be sent then. A model of which nothing would be left for the server is not split.

use std::collections::{BTreeMap, BTreeSet};

use hec_ir::graph::{Builder, Node, Value};
use hec_ir::tensor::{Binary, Effort, Input, Op, Pooling, Reduction, TensorGraph, TensorType, Tensors, Unary};

use crate::error::CompileError;

/// A model in two parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// What the server computes. Its outputs are the values at the cut, by the names that they have in the client graph.
    pub server: TensorGraph,
    /// What the client computes after decryption: an input for each of the server's outputs, and the outputs of the model.
    pub client: TensorGraph,
}

impl Split {
    /// Both parts one after the other, with `server` in the place of the server's part: what the user gets.
    ///
    /// # Errors
    /// If the server's outputs are not what the client expects.
    pub fn join(server: &TensorGraph, client: &TensorGraph) -> Result<TensorGraph, CompileError> {
        let mut builder = Builder::<Tensors>::new(());
        let copied = copy(&mut builder, server, &mut |_, _| None)?;
        let at: BTreeMap<&str, Value> =
            server.outputs().iter().map(|o| (o.name.as_str(), copied[o.value.index()])).collect();
        let copied = copy(&mut builder, client, &mut |_, node: &Node<Tensors>| {
            if let Op::Input(input) = node.op() { at.get(input.name.as_str()).copied() } else { None }
        })?;
        for output in client.outputs() {
            builder.output(&output.name, copied[output.value.index()]);
        }
        Ok(builder.finish())
    }
}

/// Appends the nodes of `graph`, except those that `known` has a value for.
fn copy(
    builder: &mut Builder<Tensors>,
    graph: &TensorGraph,
    known: &mut dyn FnMut(Value, &Node<Tensors>) -> Option<Value>,
) -> Result<Vec<Value>, CompileError> {
    let mut copied: Vec<Value> = Vec::with_capacity(graph.len());
    for (value, node) in graph.nodes() {
        let new = match known(value, node) {
            Some(new) => new,
            None => {
                let operands: Vec<Value> = node.operands().iter().map(|operand| copied[operand.index()]).collect();
                builder.set_origin(node.origin().clone());
                builder.push(node.op().clone(), &operands)?
            }
        };
        copied.push(new);
    }
    Ok(copied)
}

/// Cuts `graph` where the client can go on; `None` if there is nothing for the client to do, or if a node's type is unknown.
///
/// # Errors
/// [`CompileError::ConstantOutput`], if an output beside those that are split depends on no input.
pub fn split(graph: &TensorGraph) -> Result<Option<Split>, CompileError> {
    let Some(cut) = Cut::new(graph) else { return Ok(None) };
    if let Some(output) = graph.outputs().iter().find(|output| !cut.variable[output.value.index()]) {
        return Err(CompileError::ConstantOutput { name: output.name.clone() });
    }
    cut.parts().map(Some)
}

/// What is whose.
struct Cut<'a> {
    graph: &'a TensorGraph,
    /// For each node, whether it depends on an input.
    variable: Vec<bool>,
    /// For each node, whether the client computes it.
    client: Vec<bool>,
}

impl<'a> Cut<'a> {
    fn new(graph: &'a TensorGraph) -> Option<Self> {
        if graph.nodes().any(|(_, node)| node.ty().known().is_none()) {
            return None;
        }
        let mut variable = vec![false; graph.len()];
        for (value, node) in graph.nodes() {
            let depends = node.operands().iter().any(|operand| variable[operand.index()]);
            variable[value.index()] = depends || matches!(node.op(), Op::Input(_));
        }
        let mut cut = Self { graph, variable, client: vec![false; graph.len()] };
        let of = |graph: &TensorGraph, test: &dyn Fn(&Node<Tensors>) -> bool| -> Vec<bool> {
            graph.nodes().map(|(value, node)| cut.variable[value.index()] && test(node)).collect()
        };
        let layers = of(graph, &is_layer);
        let large = of(graph, &|node| is_layer(node) && !is_weighted_sum(graph, node));
        let replaceable = of(graph, &is_replaceable);
        let constant =
            |node: &Node<Tensors>, at: usize| node.operands().get(at).is_some_and(|v| !cut.variable[v.index()]);
        let hopeless = of(graph, &|node| !is_replaceable(node) && !is_arithmetic(node, &|at| constant(node, at)));
        cut.take(&hopeless, &large);
        let layers: Vec<bool> = layers.iter().zip(&cut.client).map(|(layer, client)| *layer && !client).collect();
        cut.take(&replaceable, &layers);
        cut.send_less();
        let mut values = cut.values();
        values.any(|value| !matches!(graph.node(value).op(), Op::Input(_))).then_some(())?;
        drop(values);
        Some(cut)
    }

    /// Gives the client those of `nodes` which nothing of `barriers` follows, and all that follows them.
    fn take(&mut self, nodes: &[bool], barriers: &[bool]) {
        let mut blocked = barriers.to_vec();
        for (value, node) in self.graph.nodes().rev() {
            if blocked[value.index()] {
                node.operands().iter().for_each(|operand| blocked[operand.index()] = true);
            }
        }
        for (value, node) in self.graph.nodes() {
            let own = nodes[value.index()] && !blocked[value.index()];
            let follows = node.operands().iter().any(|operand| self.client[operand.index()]);
            self.client[value.index()] |= own || follows;
        }
    }

    /// Gives the client what only it needs, where the operands are fewer values than the result.
    fn send_less(&mut self) {
        let elements = |value: Value| self.graph.ty(value).known().map_or(0, TensorType::elements);
        let mut to_server: Vec<bool> = vec![false; self.graph.len()];
        let mut to_client: Vec<bool> = vec![false; self.graph.len()];
        self.graph.outputs().iter().for_each(|output| to_server[output.value.index()] = true);
        // All uses by the client are marked first: a value that is sent anyway costs nothing.
        for (_, node) in self.graph.nodes().filter(|(value, _)| self.client[value.index()]) {
            node.operands().iter().for_each(|operand| to_client[operand.index()] = true);
        }
        for (value, node) in self.graph.nodes().rev() {
            let at = value.index();
            if !self.client[at] && self.variable[at] {
                let only = to_client[at] && !to_server[at] && !is_layer(node) && !matches!(node.op(), Op::Input(_));
                let operands: BTreeSet<Value> =
                    node.operands().iter().copied().filter(|v| self.variable[v.index()]).collect();
                let more: usize = operands.iter().filter(|v| !to_client[v.index()]).map(|v| elements(*v)).sum();
                self.client[at] = only && more < elements(value);
            }
            let users = if self.client[at] { &mut to_client } else { &mut to_server };
            node.operands().iter().for_each(|operand| users[operand.index()] = true);
        }
    }

    /// The values at the cut: the server's that the client or the user needs.
    fn values(&self) -> impl Iterator<Item = Value> + use<'_> {
        let mut needed = vec![false; self.graph.len()];
        for (_, node) in self.graph.nodes().filter(|(value, _)| self.client[value.index()]) {
            node.operands().iter().for_each(|operand| needed[operand.index()] = true);
        }
        let any = self.client.contains(&true);
        self.graph.outputs().iter().for_each(|output| needed[output.value.index()] = true);
        let own = move |value: &Value| {
            any && needed[value.index()] && self.variable[value.index()] && !self.client[value.index()]
        };
        self.graph.nodes().map(|(value, _)| value).filter(own)
    }

    fn parts(&self) -> Result<Split, CompileError> {
        let graph = self.graph;
        let mut names: BTreeMap<Value, String> = BTreeMap::new();
        for value in self.values() {
            let output = graph.outputs().iter().find(|output| output.value == value);
            let name = output.map_or(graph.node(value).origin().as_str(), |output| &output.name);
            let taken = |name: &str| names.values().any(|other| other == name);
            let name = if name.is_empty() { "value" } else { name };
            let mut others = (2..).map(|i| format!("{name}_{i}"));
            let name = if taken(name) { others.find(|name| !taken(name)) } else { Some(name.to_owned()) };
            names.insert(value, name.unwrap_or_default());
        }

        let mut server = Builder::<Tensors>::new(());
        let mut copied: BTreeMap<Value, Value> = BTreeMap::new();
        for (value, node) in graph.nodes().filter(|(value, _)| !self.client[value.index()]) {
            push(&mut server, &mut copied, value, node)?;
        }
        names.iter().for_each(|(value, name)| server.output(name, copied[value]));

        let mut client = Builder::<Tensors>::new(());
        let mut copied: BTreeMap<Value, Value> = BTreeMap::new();
        for (value, node) in graph.nodes() {
            if let (Some(name), Some(ty)) = (names.get(&value), node.ty().known()) {
                client.set_origin(node.origin().clone());
                let input = Input { name: name.clone(), ty: ty.clone() };
                copied.insert(value, client.push(input.into(), &[])?);
            } else if self.client[value.index()] || !self.variable[value.index()] {
                push(&mut client, &mut copied, value, node)?;
            }
        }
        graph.outputs().iter().for_each(|output| client.output(&output.name, copied[&output.value]));
        Ok(Split { server: server.finish().without_dead_nodes(), client: client.finish().without_dead_nodes() })
    }
}

/// Whether encrypted arithmetic computes it: sums, products, and elements in other places; `constant` tells whether an operand is
/// known when the model is compiled.
pub(crate) fn is_arithmetic(node: &Node<Tensors>, constant: &dyn Fn(usize) -> bool) -> bool {
    match node.op() {
        Op::Binary(Binary::Add | Binary::Sub | Binary::Mul) => true,
        Op::Binary(Binary::Div) => constant(1),
        Op::Pool(pool) => pool.pooling != Pooling::Max,
        Op::Reduce(reduce) => matches!(reduce.reduction, Reduction::Sum | Reduction::Mean),
        Op::Unary(unary) => *unary == Unary::Neg,
        Op::Where(_) => constant(0),
        Op::Binary(_) | Op::Composite(_) | Op::Softmax(_) | Op::ArgMax(_) => false,
        Op::Input(_) | Op::Constant(_) | Op::Unsupported(_) | Op::Polynomial(_) | Op::Chebyshev(_) => true,
        Op::Conv(_) | Op::MatMul(_) | Op::Affine(_) | Op::CumulativeSum(_) => true,
        Op::Cast(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Expand(_)
        | Op::Slice(_)
        | Op::Gather(_)
        | Op::Concat(_)
        | Op::Pad(_) => node.op().effort() == Effort::Moves,
    }
}

fn push(
    builder: &mut Builder<Tensors>,
    copied: &mut BTreeMap<Value, Value>,
    value: Value,
    node: &Node<Tensors>,
) -> Result<(), CompileError> {
    let operands: Vec<Value> = node.operands().iter().map(|operand| copied[operand]).collect();
    builder.set_origin(node.origin().clone());
    copied.insert(value, builder.push(node.op().clone(), &operands)?);
    Ok(())
}

/// Whether a polynomial can stand in for it.
fn is_replaceable(node: &Node<Tensors>) -> bool {
    let max_pool = matches!(node.op(), Op::Pool(pool) if pool.pooling == Pooling::Max);
    max_pool || node.op().function().is_some()
}

pub(crate) fn is_layer(node: &Node<Tensors>) -> bool {
    matches!(node.op(), Op::Conv(_) | Op::MatMul(_) | Op::Affine(_))
}

/// Whether a layer takes no more products than elements go in and come out.
fn is_weighted_sum(graph: &TensorGraph, node: &Node<Tensors>) -> bool {
    let ty = |value: Value| graph.ty(value).known();
    let Some((x, y)) = node.operands().first().and_then(|x| ty(*x)).zip(node.ty().known()) else { return false };
    let products = if let Op::Affine(affine) = node.op() {
        let mut count = 0;
        affine.matrix.for_each(|_, _, _| count += 1);
        count
    } else if matches!(node.op(), Op::MatMul(_)) {
        y.elements() * x.shape.last().copied().unwrap_or(1)
    } else {
        return false;
    };
    products <= x.elements() + y.elements()
}
