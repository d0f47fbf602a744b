use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hec_ir::graph::{GraphError, TypeError};
use hec_ir::tensor::{Constant, Effort, Element, Op, Tensor, TensorGraph, Tensors, Type};
use hec_ir::{Builder, Value};

use crate::ImportError;

/// Larger constants are not computed here.
const MAX_FOLDED: usize = 1 << 20;
/// Nor are more elements than this in one model: a few nodes must not decide how long the import takes.
const BUDGET: usize = 1 << 24;
/// No tensor may have more axes.
const MAX_AXES: usize = 64;

/// The graph so far, and what the model's names stand for.
pub(crate) struct Scope {
    builder: Builder<Tensors>,
    names: BTreeMap<String, Value>,
    /// For each value, whether it depends on constants only.
    constant: Vec<bool>,
    budget: usize,
    /// The batch that the model was exported for, if it is fixed and not 1.
    exported_batch: Option<usize>,
}

impl Scope {
    pub(crate) fn new() -> Self {
        Self {
            builder: Builder::new(()),
            names: BTreeMap::new(),
            constant: Vec::new(),
            budget: BUDGET,
            exported_batch: None,
        }
    }

    pub(crate) fn set_origin(&mut self, origin: &str) {
        self.builder.set_origin(origin);
    }

    pub(crate) fn origin(&self) -> &str {
        self.builder.origin().as_str()
    }

    pub(crate) fn set_exported_batch(&mut self, batch: usize) {
        self.exported_batch.get_or_insert(batch);
    }

    pub(crate) fn exported_batch(&self) -> Option<usize> {
        self.exported_batch
    }

    /// Lets `name` stand for `value`.
    pub(crate) fn name(&mut self, name: &str, value: Value) {
        self.names.insert(name.to_owned(), value);
    }

    /// What `name` stands for.
    pub(crate) fn value(&self, name: &str, user: &str) -> Result<Value, ImportError> {
        let missing = || ImportError::Missing { value: name.to_owned(), user: user.to_owned() };
        self.names.get(name).copied().ok_or_else(missing)
    }

    /// Makes what `name` stands for a result of the graph.
    pub(crate) fn output(&mut self, name: &str) -> Result<(), ImportError> {
        let value = self.value(name, "an output")?;
        self.builder.output(name, value);
        Ok(())
    }

    pub(crate) fn finish(self) -> TensorGraph {
        self.builder.finish()
    }

    pub(crate) fn ty(&self, value: Value) -> &Type {
        self.builder.ty(value)
    }

    /// Appends an operation. If its result is of integers (a shape, axes, indices) and depends on constants only, it
    /// becomes a constant.
    pub(crate) fn push(&mut self, op: impl Into<Op>, operands: &[Value]) -> Result<Value, GraphError> {
        let op = op.into();
        let from_outside = matches!(op, Op::Input(_) | Op::Unsupported(_));
        let is_literal = matches!(op, Op::Constant(_));
        let name = op.name();
        let value = self.builder.push(op, operands)?;
        let constant = !from_outside && operands.iter().all(|operand| self.constant[operand.index()]);
        self.constant.push(constant);
        let axes = self.ty(value).known().map_or(0, |ty| ty.shape.len());
        if axes > MAX_AXES {
            let cause = TypeError::new(format!("a tensor with {axes} axes; at most {MAX_AXES} are supported"));
            return Err(GraphError { origin: self.builder.origin().clone(), op: name.to_owned(), cause });
        }
        let integers = self.ty(value).known().is_some_and(|ty| matches!(ty.element, Element::I64 | Element::Bool));
        if constant
            && integers
            && !is_literal
            && let Some(tensor) = self.constant(value)
        {
            return self.push(Constant(tensor), &[]);
        }
        Ok(value)
    }

    /// Asks for leave to write out this many elements.
    pub(crate) fn spend(&mut self, elements: usize) -> bool {
        spend(&mut self.budget, elements)
    }

    /// Whether a value depends on constants only.
    pub(crate) fn is_constant(&self, value: Value) -> bool {
        self.constant[value.index()]
    }

    /// The value of what depends on constants only, unless it is too large.
    pub(crate) fn constant(&mut self, value: Value) -> Option<Arc<Tensor>> {
        if !self.is_constant(value) {
            return None;
        }
        let mut needed = BTreeSet::from([value]);
        let mut open = vec![value];
        while let Some(next) = open.pop() {
            let operands = self.builder.node(next).operands();
            open.extend(operands.iter().copied().filter(|&operand| needed.insert(operand)));
        }
        let mut done: BTreeMap<Value, Arc<Tensor>> = BTreeMap::new();
        for value in needed {
            let node = self.builder.node(value);
            if let Op::Constant(Constant(tensor)) = node.op() {
                done.insert(value, tensor.clone());
                continue;
            }
            let elements = node.ty().known()?.elements();
            // Shapes need no operation that takes longer than its operands and its result are long.
            if node.op().effort() == Effort::More || !spend(&mut self.budget, elements) {
                return None;
            }
            let operands: Vec<&Tensor> = node.operands().iter().filter_map(|o| Some(&**done.get(o)?)).collect();
            let tensor = node.op().evaluate(&operands).ok()?;
            done.insert(value, Arc::new(tensor));
        }
        done.remove(&value)
    }
}

/// Whether this many elements may still be computed here.
fn spend(budget: &mut usize, elements: usize) -> bool {
    let left = budget.checked_sub(elements.saturating_add(1)).filter(|_| elements <= MAX_FOLDED);
    *budget = left.unwrap_or(*budget);
    left.is_some()
}
