use std::sync::Arc;

use hec_ir::graph::{Builder, GraphError, Value};
use hec_ir::tensor::{Binary, Constant, Op, Tensor, TensorGraph, Tensors};

/// Moves `conv(x) * a`, `/ a`, `+ b`, `- b`, with one number for each output channel, into the convolution's weights and
/// bias. Batch normalisation at inference is a scale and a shift of channels.
pub(super) fn run(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    let uses = graph.use_counts();
    graph.translate((), |builder, _, node, operands| {
        if let (Op::Binary(binary), [a, b]) = (node.op(), operands) {
            let old = node.operands();
            let pairs = [(*a, *b, old[0], true), (*b, *a, old[1], *binary != Binary::Sub && *binary != Binary::Div)];
            for (conv, other, original, allowed) in pairs {
                if allowed
                    && uses[original.index()] == 1
                    && let Some(folded) = fold(builder, *binary, conv, other)?
                {
                    return Ok(folded);
                }
            }
        }
        builder.push(node.op().clone(), operands)
    })
}

fn fold(
    builder: &mut Builder<Tensors>,
    binary: Binary,
    conv: Value,
    other: Value,
) -> Result<Option<Value>, GraphError> {
    let node = builder.node(conv);
    let (Op::Conv(op), [x, kernel, bias @ ..]) = (node.op(), node.operands()) else { return Ok(None) };
    let (op, x) = (op.clone(), *x);
    let rank = node.ty().known().map_or(0, |ty| ty.shape.len());
    let constant = |v: Value| if let Op::Constant(c) = builder.node(v).op() { Some(c.0.clone()) } else { None };
    let (Some(kernel), Some(other)) = (constant(*kernel), constant(other)) else { return Ok(None) };
    let channels = kernel.shape()[0];
    let bias = match bias.first().map(|&bias| constant(bias)) {
        Some(Some(bias)) => bias.values().to_vec(),
        Some(None) => return Ok(None),
        None => vec![0.0; channels],
    };
    let Some(numbers) = per_channel(&other, rank, channels) else { return Ok(None) };
    let (scale, shift) = match binary {
        Binary::Mul => (numbers, vec![0.0; channels]),
        Binary::Div => (numbers.iter().map(|v| v.recip()).collect(), vec![0.0; channels]),
        Binary::Add => (vec![1.0; channels], numbers),
        Binary::Sub => (vec![1.0; channels], numbers.iter().map(|v| -v).collect()),
        Binary::Mod
        | Binary::Remainder
        | Binary::Pow
        | Binary::Max
        | Binary::Min
        | Binary::Equal
        | Binary::Greater
        | Binary::Less => return Ok(None),
    };
    let per_row = kernel.values().len() / channels.max(1);
    let weights = kernel.values().iter().enumerate().map(|(i, w)| w * scale[i / per_row.max(1)]).collect();
    let bias = bias.iter().zip(&scale).zip(&shift).map(|((b, scale), shift)| b * scale + shift).collect();
    let mut push = |shape: &[usize], values: Vec<f64>| {
        let tensor = Tensor::from_values(kernel.element(), shape, values).map_err(|cause| GraphError {
            origin: builder.origin().clone(),
            op: "conv".to_owned(),
            cause,
        })?;
        builder.push(Constant(Arc::new(tensor)).into(), &[])
    };
    let weights = push(kernel.shape(), weights)?;
    let bias = push(&[channels], bias)?;
    builder.push(op.into(), &[x, weights, bias]).map(Some)
}

/// One number for each channel, if `constant` broadcasts over `[1, channels, 1, ..]` of that rank.
fn per_channel(constant: &Tensor, rank: usize, channels: usize) -> Option<Vec<f64>> {
    let shape = constant.shape();
    let values = constant.values();
    if values.len() == 1 && shape.len() <= rank {
        return Some(vec![values[0]; channels]);
    }
    let channel_axis = (shape.len() + 1).checked_sub(rank)?;
    let fits = shape.iter().enumerate().all(|(axis, &size)| size == if axis == channel_axis { channels } else { 1 });
    (fits && shape.len() <= rank).then(|| values.to_vec())
}
