//! Operations of several encrypted values that are arithmetic around a function of one value: written as such, so that a
//! polynomial can stand in for the function.

use std::sync::Arc;

use hec_ir::graph::{Builder, Node, Value};
use hec_ir::tensor::{Binary, Constant, Element, Op, Reduce, Reduction, Softmax, Tensor, TensorGraph, Tensors, Unary};

use crate::error::CompileError;

/// `graph` with divisions, softmax, and maxima and minima of two values in other words; `None` if there are none.
///
/// - `a / b` is `a * (1 / b)`;
/// - `max(a, b)` is `(a + b) / 2 + |a - b| / 2`, `min(a, b)` the same with a difference;
/// - `softmax(x)` is `e^x / sum e^x`, of `x` without its mean: that changes nothing, and keeps the exponents small.
pub(super) fn decompose(graph: &TensorGraph) -> Result<Option<TensorGraph>, CompileError> {
    let mut variable = vec![false; graph.len()];
    let mut builder = Builder::<Tensors>::new(());
    let mut renamed: Vec<Value> = Vec::with_capacity(graph.len());
    let mut changed = false;
    for (value, node) in graph.nodes() {
        let depends = node.operands().iter().any(|operand| variable[operand.index()]);
        variable[value.index()] = depends || matches!(node.op(), Op::Input(_));
        builder.set_origin(node.origin().clone());
        let operands: Vec<Value> = node.operands().iter().map(|operand| renamed[operand.index()]).collect();
        let both = node.operands().iter().all(|operand| variable[operand.index()]);
        let divides = node.operands().last().is_some_and(|operand| variable[operand.index()]);
        let new = match (node.op(), &operands[..]) {
            (Op::Binary(Binary::Div), [a, b]) if divides => Some(divided(&mut builder, *a, *b)?),
            (Op::Binary(binary @ (Binary::Max | Binary::Min)), [a, b]) if both => {
                Some(larger(&mut builder, *binary, *a, *b)?)
            }
            (Op::Softmax(softmax), [x]) if depends => softmax_of(&mut builder, node, softmax, *x)?,
            _ => None,
        };
        changed |= new.is_some();
        renamed.push(match new {
            Some(new) => new,
            None => builder.push(node.op().clone(), &operands)?,
        });
    }
    for output in graph.outputs() {
        builder.output(&output.name, renamed[output.value.index()]);
    }
    Ok(changed.then(|| builder.finish().without_dead_nodes()))
}

fn divided(builder: &mut Builder<Tensors>, a: Value, b: Value) -> Result<Value, CompileError> {
    let inverse = builder.push(Op::from(Unary::Reciprocal), &[b])?;
    Ok(builder.push(Op::from(Binary::Mul), &[a, inverse])?)
}

fn larger(builder: &mut Builder<Tensors>, binary: Binary, a: Value, b: Value) -> Result<Value, CompileError> {
    let half = builder.push(Op::from(Constant(Arc::new(Tensor::scalar(Element::F32, 0.5)))), &[])?;
    let [sum, difference] = [Binary::Add, Binary::Sub].map(|op| builder.push(Op::from(op), &[a, b]));
    let distance = builder.push(Op::from(Unary::Abs), &[difference?])?;
    let combine = if binary == Binary::Max { Binary::Add } else { Binary::Sub };
    let doubled = builder.push(Op::from(combine), &[sum?, distance])?;
    Ok(builder.push(Op::from(Binary::Mul), &[doubled, half])?)
}

/// `None` if the type is not known.
fn softmax_of(
    builder: &mut Builder<Tensors>,
    node: &Node<Tensors>,
    softmax: &Softmax,
    x: Value,
) -> Result<Option<Value>, CompileError> {
    if node.ty().known().is_none() {
        return Ok(None);
    }
    let over = |reduction: Reduction| Op::from(Reduce { reduction, axes: vec![softmax.axis], keep: true });
    let mean = builder.push(over(Reduction::Mean), &[x])?;
    let centred = builder.push(Op::from(Binary::Sub), &[x, mean])?;
    let powers = builder.push(Op::from(Unary::Exp), &[centred])?;
    let sum = builder.push(over(Reduction::Sum), &[powers])?;
    divided(builder, powers, sum).map(Some)
}
