use std::sync::Arc;

use hec_ir::graph::GraphError;
use hec_ir::tensor::{Constant, Op, Tensor, TensorGraph};

/// Computes every operation whose operands are all constants.
pub(super) fn run(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    graph.translate((), |builder, _, node, operands| {
        let constants: Option<Vec<&Tensor>> = operands
            .iter()
            .map(|&v| if let Op::Constant(c) = builder.node(v).op() { Some(&*c.0) } else { None })
            .collect();
        let folded = match (node.op(), constants) {
            (Op::Input(_) | Op::Constant(_) | Op::Unsupported(_), _) | (_, None) => None,
            (op, Some(constants)) => op.evaluate(&constants).ok(),
        };
        match folded {
            Some(tensor) => builder.push(Op::Constant(Constant(Arc::new(tensor))), &[]),
            None => builder.push(node.op().clone(), operands),
        }
    })
}
