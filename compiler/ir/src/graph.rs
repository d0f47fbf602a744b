//! Graphs: nodes in an arena, operands before users, types inferred on entry.

use std::fmt;
use std::sync::Arc;

use crate::attribute::{AttributeError, Attributes};

/// What distinguishes one level of abstraction from another: its operations, its types, and how one follows from the other.
pub trait Dialect: Clone + fmt::Debug + 'static {
    /// Short name, the first word of the text form.
    const NAME: &'static str;
    /// A closed enum of operations.
    type Op: Clone + fmt::Debug + PartialEq + Send + Sync;
    /// The type of a result.
    type Type: Clone + fmt::Debug + fmt::Display + PartialEq + Send + Sync;
    /// What inference needs to know beside the operands (the CKKS parameters).
    type Context: Clone + fmt::Debug + PartialEq + Send + Sync;

    /// The type of `op` applied to operands of these types.
    ///
    /// # Errors
    /// [`TypeError`]: what was expected and what was found.
    fn infer(context: &Self::Context, op: &Self::Op, operands: &[&Self::Type]) -> Result<Self::Type, TypeError>;

    /// The operation's name and attributes, for the text and the program file.
    fn describe(op: &Self::Op) -> (&'static str, Attributes);

    /// The inverse of [`Dialect::describe`].
    ///
    /// # Errors
    /// An unknown name, or a missing or ill-typed attribute.
    fn rebuild(name: &str, attributes: Attributes) -> Result<Self::Op, AttributeError>;

    /// The name of the graph input that `op` is, if it is one.
    fn input_name(op: &Self::Op) -> Option<&str>;
}

/// Why an operation cannot be applied to its operands: a sentence saying what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

impl TypeError {
    /// From a sentence.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A node that could not be added to a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node \"{origin}\" ({op}): {cause}")]
pub struct GraphError {
    /// The ONNX node that the operation comes from.
    pub origin: Origin,
    /// The operation's name.
    pub op: String,
    /// What is wrong.
    pub cause: TypeError,
}

/// The name of the ONNX node that a node comes from. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(Arc<str>);

impl Origin {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T: AsRef<str>> From<T> for Origin {
    fn from(name: T) -> Self {
        Self(name.as_ref().into())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The result of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(u32);

impl Value {
    /// Position of the node in its graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An operation, its operands, the type of its result, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node<D: Dialect> {
    op: D::Op,
    operands: Vec<Value>,
    ty: D::Type,
    origin: Origin,
}

impl<D: Dialect> Node<D> {
    /// The operation.
    pub fn op(&self) -> &D::Op {
        &self.op
    }

    /// The operands, in order.
    pub fn operands(&self) -> &[Value] {
        &self.operands
    }

    /// The type of the result.
    pub fn ty(&self) -> &D::Type {
        &self.ty
    }

    /// The ONNX node that this comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// A named result of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The name, from the ONNX graph.
    pub name: String,
    /// The value.
    pub value: Value,
}

/// A well-typed graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph<D: Dialect> {
    context: D::Context,
    nodes: Vec<Node<D>>,
    outputs: Vec<Output>,
}

impl<D: Dialect> Graph<D> {
    /// What types were inferred under.
    pub fn context(&self) -> &D::Context {
        &self.context
    }

    /// All nodes, operands before users.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (Value, &Node<D>)> + DoubleEndedIterator {
        self.nodes.iter().enumerate().map(|(i, node)| (Value(i as u32), node))
    }

    /// The node whose result is `value`.
    pub fn node(&self, value: Value) -> &Node<D> {
        &self.nodes[value.index()]
    }

    /// The type of `value`.
    pub fn ty(&self, value: Value) -> &D::Type {
        &self.node(value).ty
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The named results, in the model's order.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The input nodes with their names, in order of appearance.
    pub fn inputs(&self) -> impl Iterator<Item = (Value, &str)> {
        self.nodes().filter_map(|(value, node)| Some((value, D::input_name(&node.op)?)))
    }

    /// For each value, how many operands and outputs refer to it.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.nodes.len()];
        let operands = self.nodes.iter().flat_map(|node| &node.operands);
        operands.chain(self.outputs.iter().map(|o| &o.value)).for_each(|value| counts[value.index()] += 1);
        counts
    }

    /// Rebuilds the graph in dialect `E`: `rewrite` is called for every node in order, with the new values of its operands,
    /// and answers with the new value that replaces it. The builder's origin is already that of the node.
    ///
    /// # Errors
    /// Whatever `rewrite` answers.
    pub fn translate<E: Dialect, X>(
        &self,
        context: E::Context,
        mut rewrite: impl FnMut(&mut Builder<E>, Value, &Node<D>, &[Value]) -> Result<Value, X>,
    ) -> Result<Graph<E>, X> {
        let mut builder = Builder::new(context);
        let mut renamed: Vec<Value> = Vec::with_capacity(self.nodes.len());
        for (value, node) in self.nodes() {
            let operands: Vec<Value> = node.operands.iter().map(|operand| renamed[operand.index()]).collect();
            builder.set_origin(node.origin.clone());
            renamed.push(rewrite(&mut builder, value, node, &operands)?);
        }
        for output in &self.outputs {
            builder.output(&output.name, renamed[output.value.index()]);
        }
        Ok(builder.finish())
    }

    /// The graph without nodes that no output depends on. Inputs stay: they are part of the signature.
    #[must_use]
    pub fn without_dead_nodes(&self) -> Self {
        let mut live: Vec<bool> = self.nodes.iter().map(|node| D::input_name(&node.op).is_some()).collect();
        self.outputs.iter().for_each(|output| live[output.value.index()] = true);
        for (value, node) in self.nodes().rev() {
            if live[value.index()] {
                node.operands.iter().for_each(|operand| live[operand.index()] = true);
            }
        }
        let mut renamed = vec![Value(u32::MAX); self.nodes.len()];
        let mut nodes = Vec::new();
        for (value, node) in self.nodes().filter(|(value, _)| live[value.index()]) {
            renamed[value.index()] = Value(nodes.len() as u32);
            let operands = node.operands.iter().map(|operand| renamed[operand.index()]).collect();
            nodes.push(Node { operands, ..node.clone() });
        }
        let outputs =
            self.outputs.iter().map(|o| Output { name: o.name.clone(), value: renamed[o.value.index()] }).collect();
        Self { context: self.context.clone(), nodes, outputs }
    }
}

/// The only way to make a [`Graph`].
#[derive(Clone, Debug)]
pub struct Builder<D: Dialect> {
    graph: Graph<D>,
    origin: Origin,
}

impl<D: Dialect> Builder<D> {
    /// An empty graph.
    pub fn new(context: D::Context) -> Self {
        Self { graph: Graph { context, nodes: Vec::new(), outputs: Vec::new() }, origin: Origin::from("") }
    }

    /// Nodes pushed from here on come from this ONNX node.
    pub fn set_origin(&mut self, origin: impl Into<Origin>) {
        self.origin = origin.into();
    }

    /// The origin that the next node gets.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Appends a node, inferring its type.
    ///
    /// # Errors
    /// [`GraphError`] naming the current origin, if the operands do not fit.
    ///
    /// # Panics
    /// If an operand is not a value of this builder.
    pub fn push(&mut self, op: D::Op, operands: &[Value]) -> Result<Value, GraphError> {
        let types: Vec<&D::Type> = operands.iter().map(|&operand| self.graph.ty(operand)).collect();
        let ty = D::infer(&self.graph.context, &op, &types).map_err(|cause| GraphError {
            origin: self.origin.clone(),
            op: D::describe(&op).0.to_owned(),
            cause,
        })?;
        let value = Value(self.graph.nodes.len() as u32);
        self.graph.nodes.push(Node { op, operands: operands.to_vec(), ty, origin: self.origin.clone() });
        Ok(value)
    }

    /// The type of a value made so far.
    pub fn ty(&self, value: Value) -> &D::Type {
        self.graph.ty(value)
    }

    /// The node of a value made so far.
    pub fn node(&self, value: Value) -> &Node<D> {
        self.graph.node(value)
    }

    /// The value at `index`, if that many nodes have been made: for readers of outside bytes.
    pub fn value(&self, index: usize) -> Option<Value> {
        (index < self.graph.nodes.len()).then_some(Value(index as u32))
    }

    /// What types are inferred under.
    pub fn context(&self) -> &D::Context {
        &self.graph.context
    }

    /// Names `value` as a result.
    pub fn output(&mut self, name: &str, value: Value) {
        self.graph.outputs.push(Output { name: name.to_owned(), value });
    }

    /// The graph.
    pub fn finish(self) -> Graph<D> {
        self.graph
    }
}

/// One line a node: `%2 = conv %0, %1 {strides=[2, 2]} : f32[1, 5, 13, 13]  // conv1`.
impl<D: Dialect> fmt::Display for Graph<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", D::NAME)?;
        for (value, node) in self.nodes() {
            let (name, attributes) = D::describe(&node.op);
            write!(f, "  {value} = {name}")?;
            for (i, operand) in node.operands.iter().enumerate() {
                write!(f, "{} {operand}", if i == 0 { "" } else { "," })?;
            }
            if !attributes.is_empty() {
                write!(f, " {attributes}")?;
            }
            write!(f, " : {}", node.ty)?;
            if !node.origin.as_str().is_empty() {
                write!(f, "  // {}", node.origin.as_str().escape_debug())?;
            }
            writeln!(f)?;
        }
        for output in &self.outputs {
            writeln!(f, "  output {} {}", output.name.escape_debug(), output.value)?;
        }
        Ok(())
    }
}
