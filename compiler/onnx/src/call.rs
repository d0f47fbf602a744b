use std::collections::BTreeSet;
use std::sync::Arc;

use hec_ir::Value;
use hec_ir::graph::GraphError;
use hec_ir::tensor::{Constant, Element, Op, Tensor, TensorType};
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{AttributeProto, NodeProto, TensorProto};

use crate::ImportError;
use crate::scope::Scope;

/// Why a node does not become tensor operations.
pub(crate) enum Problem {
    /// This importer or the tensor dialect has no spelling for it.
    Unsupported(String),
    /// The shape of an operand is not known, as it follows an unsupported operator.
    Follows,
    /// It breaks ONNX's rules.
    Invalid(String),
    /// Its operands do not fit.
    Graph(GraphError),
    /// Something in it has an error of its own.
    Import(ImportError),
}

impl From<GraphError> for Problem {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

pub(crate) fn invalid<T>(reason: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Invalid(reason.into()))
}

pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Unsupported(reason.into()))
}

/// One node on its way to tensor operations: its attributes and operands, and where the operations go.
pub(crate) struct Call<'a> {
    node: &'a NodeProto,
    opset: i64,
    operands: Vec<Option<Value>>,
    scope: &'a mut Scope,
    /// Attributes that were asked for: what is left has a meaning that was not considered.
    seen: BTreeSet<&'a str>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(node: &'a NodeProto, opset: i64, operands: Vec<Option<Value>>, scope: &'a mut Scope) -> Self {
        Self { node, opset, operands, scope, seen: BTreeSet::new() }
    }

    /// The version of the operator set.
    pub(crate) fn opset(&self) -> i64 {
        self.opset
    }

    /// How many results the node names, and whether it names result `index`.
    pub(crate) fn results(&self) -> usize {
        self.node.output.len()
    }

    pub(crate) fn names_result(&self, index: usize) -> bool {
        self.node.output.get(index).is_some_and(|name| !name.is_empty())
    }

    /// The name of its first result, for errors.
    pub(crate) fn result_name(&self) -> &'a str {
        self.node.output.first().map_or("", String::as_str)
    }

    pub(crate) fn origin(&self) -> &str {
        self.scope.origin()
    }

    pub(crate) fn exported_batch(&self) -> Option<usize> {
        self.scope.exported_batch()
    }

    // Operands.

    pub(crate) fn operand(&self, index: usize) -> Result<Value, Problem> {
        let missing = || Problem::Invalid(format!("operand {index} is missing; {} are given", self.node.input.len()));
        self.optional(index).ok_or_else(missing)
    }

    pub(crate) fn optional(&self, index: usize) -> Option<Value> {
        self.operands.get(index).copied().flatten()
    }

    /// All operands of an operator that takes any number, at least one.
    pub(crate) fn all_operands(&self) -> Result<Vec<Value>, Problem> {
        (0..self.operands.len().max(1)).map(|index| self.operand(index)).collect()
    }

    /// The type of a value.
    pub(crate) fn ty(&self, value: Value) -> Result<TensorType, Problem> {
        self.scope.ty(value).known().cloned().ok_or(Problem::Follows)
    }

    /// The element type of a value; single precision where it is not known, as nothing is made of it then.
    pub(crate) fn element(&self, value: Value) -> Element {
        self.scope.ty(value).known().map_or(Element::F32, |ty| ty.element)
    }

    /// Whether a value depends on constants only.
    pub(crate) fn is_constant(&self, value: Value) -> bool {
        self.scope.is_constant(value)
    }

    /// The value of an optional operand that must be known; `what` says what it is.
    pub(crate) fn constant(&mut self, index: usize, what: &str) -> Result<Option<Arc<Tensor>>, Problem> {
        let Some(value) = self.optional(index) else { return Ok(None) };
        self.ty(value)?;
        match self.scope.constant(value) {
            Some(tensor) => Ok(Some(tensor)),
            None => unsupported(format!(
                "its {what} must be known, but it depends on the input or on too many elements: \
                 export the model with fixed shapes"
            )),
        }
    }

    /// The same for a list of integers.
    pub(crate) fn integers(&mut self, index: usize, what: &str) -> Result<Option<Vec<i64>>, Problem> {
        let Some(tensor) = self.constant(index, what)? else { return Ok(None) };
        if tensor.shape().len() > 1 {
            return invalid(format!("expected a list as its {what}, found {}", tensor.ty()));
        }
        Ok(Some(tensor.values().iter().map(|&v| v as i64).collect()))
    }

    /// The same for a single number.
    pub(crate) fn number(&mut self, index: usize, what: &str) -> Result<Option<f64>, Problem> {
        let Some(tensor) = self.constant(index, what)? else { return Ok(None) };
        match tensor.values() {
            [number] => Ok(Some(*number)),
            _other => invalid(format!("expected a single number as its {what}, found {}", tensor.ty())),
        }
    }

    /// Integers that are an attribute before opset `since` and operand `index` from then on.
    pub(crate) fn moved_integers(
        &mut self,
        name: &'static str,
        since: i64,
        index: usize,
    ) -> Result<Option<Vec<i64>>, Problem> {
        if self.opset < since { self.ints(name) } else { self.integers(index, name) }
    }

    // Results.

    /// Asks for leave to write out constants of this many elements.
    pub(crate) fn spend(&mut self, elements: usize) -> Result<(), Problem> {
        match self.scope.spend(elements) {
            true => Ok(()),
            false => unsupported(format!("it needs {elements} elements that are known; that is too many")),
        }
    }

    /// Appends an operation.
    pub(crate) fn push(&mut self, op: impl Into<Op>, operands: &[Value]) -> Result<Value, Problem> {
        Ok(self.scope.push(op, operands)?)
    }

    /// Appends a constant.
    pub(crate) fn literal(&mut self, tensor: Tensor) -> Result<Value, Problem> {
        self.push(Constant(Arc::new(tensor)), &[])
    }

    /// Appends a number as a constant without axes.
    pub(crate) fn scalar(&mut self, element: Element, value: f64) -> Result<Value, Problem> {
        self.literal(Tensor::scalar(element, value))
    }

    /// Checks that every attribute was considered.
    pub(crate) fn finish(&self) -> Result<(), Problem> {
        match self.node.attribute.iter().find(|attribute| !self.seen.contains(attribute.name.as_str())) {
            None => Ok(()),
            Some(attribute) => unsupported(format!("its attribute \"{}\" is not supported", attribute.name)),
        }
    }

    // Attributes.

    /// Attributes that change nothing in the result.
    pub(crate) fn ignore(&mut self, names: &[&'static str]) {
        self.seen.extend(names);
    }

    fn attribute(&mut self, name: &'static str, kind: AttributeType) -> Result<Option<&'a AttributeProto>, Problem> {
        self.seen.insert(name);
        let Some(attribute) = self.node.attribute.iter().find(|attribute| attribute.name == name) else {
            return Ok(None);
        };
        // Very old models do not write the kind.
        match attribute.type_.enum_value() {
            Ok(found) if found == kind || found == AttributeType::UNDEFINED => Ok(Some(attribute)),
            Ok(found) => invalid(format!("expected attribute \"{name}\" to be of type {kind:?}, found {found:?}")),
            Err(found) => invalid(format!("expected attribute \"{name}\" to be of type {kind:?}, found type {found}")),
        }
    }

    /// Whether there are graphs within the node.
    pub(crate) fn has_subgraphs(node: &NodeProto) -> bool {
        node.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
    }

    pub(crate) fn has_attribute(&self, name: &str) -> bool {
        self.node.attribute.iter().any(|attribute| attribute.name == name)
    }

    pub(crate) fn int(&mut self, name: &'static str, default: i64) -> Result<i64, Problem> {
        Ok(self.attribute(name, AttributeType::INT)?.map_or(default, |attribute| attribute.i))
    }

    pub(crate) fn required_int(&mut self, name: &'static str) -> Result<i64, Problem> {
        match self.attribute(name, AttributeType::INT)? {
            Some(attribute) => Ok(attribute.i),
            None => invalid(format!("attribute \"{name}\" is missing")),
        }
    }

    pub(crate) fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, Problem> {
        Ok(self.int(name, i64::from(default))? != 0)
    }

    pub(crate) fn float(&mut self, name: &'static str, default: f64) -> Result<f64, Problem> {
        Ok(self.attribute(name, AttributeType::FLOAT)?.map_or(default, |attribute| attribute.f.into()))
    }

    pub(crate) fn floats(&mut self, name: &'static str) -> Result<Option<Vec<f64>>, Problem> {
        let attribute = self.attribute(name, AttributeType::FLOATS)?;
        Ok(attribute.map(|attribute| attribute.floats.iter().map(|&v| v.into()).collect()))
    }

    pub(crate) fn ints(&mut self, name: &'static str) -> Result<Option<Vec<i64>>, Problem> {
        Ok(self.attribute(name, AttributeType::INTS)?.map(|attribute| attribute.ints.clone()))
    }

    /// Integers that are not negative.
    pub(crate) fn sizes(&mut self, name: &'static str) -> Result<Option<Vec<usize>>, Problem> {
        self.ints(name)?.map(|values| sizes(&values, name)).transpose()
    }

    pub(crate) fn text(&mut self, name: &'static str, default: &'static str) -> Result<String, Problem> {
        let attribute = self.attribute(name, AttributeType::STRING)?;
        Ok(attribute.map_or_else(|| default.to_owned(), |a| String::from_utf8_lossy(&a.s).into_owned()))
    }

    /// How many texts a list has; none if it is not there.
    pub(crate) fn texts(&mut self, name: &'static str) -> Result<usize, Problem> {
        Ok(self.attribute(name, AttributeType::STRINGS)?.map_or(0, |attribute| attribute.strings.len()))
    }

    pub(crate) fn tensor(&mut self, name: &'static str) -> Result<Option<&'a TensorProto>, Problem> {
        Ok(self.attribute(name, AttributeType::TENSOR)?.and_then(|attribute| attribute.t.as_ref()))
    }
}

/// Integers as sizes; `what` says what they are.
pub(crate) fn sizes(values: &[i64], what: &str) -> Result<Vec<usize>, Problem> {
    let negative = |_| Problem::Invalid(format!("expected sizes as its {what}, found {values:?}"));
    values.iter().map(|&value| usize::try_from(value)).collect::<Result<_, _>>().map_err(negative)
}

/// An axis, counted from the end if it is negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    match usize::try_from(counted) {
        Ok(counted) if counted < rank => Ok(counted),
        _outside => invalid(format!("axis {axis} does not exist in a tensor with {rank} axes")),
    }
}

/// Axes, ascending.
///
/// # Errors
/// If one is named twice or does not exist.
pub(crate) fn axes(named: &[i64], rank: usize) -> Result<Vec<usize>, Problem> {
    let mut counted: Vec<usize> = named.iter().map(|&named| axis(named, rank)).collect::<Result<_, _>>()?;
    counted.sort_unstable();
    if counted.windows(2).any(|pair| pair[0] == pair[1]) {
        return invalid(format!("axes {named:?} name an axis twice"));
    }
    Ok(counted)
}
