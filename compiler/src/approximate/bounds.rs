//! Interval arithmetic on the model as it was: how large an operand can become for any input in its range, whatever the samples
//! show (Moore, *Interval Analysis*, 1966, chapter 4).

use std::sync::Arc;

use hec_ir::graph::{Node, Value};
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::tensor::{Affine, Binary, Op, Pooling, Reduction, Tensor, TensorGraph, Tensors, Unary};

/// The smallest and the largest value of each element.
#[derive(Clone)]
struct Interval {
    low: Tensor,
    high: Tensor,
}

/// For each value the smallest and the largest element that inputs in `input` can give; `None` where that is not known.
pub(super) fn of_graph(graph: &TensorGraph, input: (f64, f64)) -> Vec<Option<(f64, f64)>> {
    let mut all: Vec<Option<Interval>> = Vec::with_capacity(graph.len());
    let mut bounds = Vec::with_capacity(graph.len());
    let mut uses = graph.use_counts();
    for (_, node) in graph.nodes() {
        let operands: Option<Vec<&Interval>> = node.operands().iter().map(|v| all[v.index()].as_ref()).collect();
        let interval = operands.and_then(|operands| of_node(graph, node, &operands, input));
        let finite = |x: f64| x.is_finite();
        let ends = interval.as_ref().map(|Interval { low, high }| {
            let least = low.values().iter().copied().fold(f64::INFINITY, f64::min);
            (least, high.values().iter().copied().fold(f64::NEG_INFINITY, f64::max))
        });
        bounds.push(ends.filter(|(low, high)| finite(*low) && finite(*high)));
        all.push(interval);
        for operand in node.operands() {
            uses[operand.index()] -= 1;
            if uses[operand.index()] == 0 {
                all[operand.index()] = None;
            }
        }
    }
    bounds
}

fn of_node(graph: &TensorGraph, node: &Node<Tensors>, operands: &[&Interval], input: (f64, f64)) -> Option<Interval> {
    let constant = |at: usize| node.operands().get(at).and_then(|v: &Value| known(graph, *v));
    let apply = |ends: &dyn Fn(&Interval) -> Tensor| {
        let tensors: Vec<Tensor> = operands.iter().map(|operand| ends(operand)).collect();
        node.op().evaluate(&tensors.iter().collect::<Vec<_>>()).ok()
    };
    // An operation that never falls when an operand rises.
    let rising = || {
        let (low, high) = (apply(&|x| x.low.clone())?, apply(&|x| x.high.clone())?);
        Some(Interval { low, high })
    };
    match node.op() {
        Op::Input(_) => {
            let ty = node.ty().known()?;
            let all = |x: f64| Tensor::from_values(ty.element, &ty.shape, vec![x; ty.elements()]).ok();
            Some(Interval { low: all(input.0)?, high: all(input.1)? })
        }
        Op::Constant(constant) => Some(Interval { low: (*constant.0).clone(), high: (*constant.0).clone() }),
        Op::Pool(pool) if matches!(pool.pooling, Pooling::Max | Pooling::Average { .. }) => rising(),
        Op::Reduce(reduce)
            if matches!(reduce.reduction, Reduction::Sum | Reduction::Mean | Reduction::Max | Reduction::Min) =>
        {
            rising()
        }
        Op::Binary(Binary::Add | Binary::Max | Binary::Min) => rising(),
        Op::Binary(Binary::Sub) => {
            let [a, b] = operands else { return None };
            let difference = |a: &Tensor, b: &Tensor| node.op().evaluate(&[a, b]).ok();
            Some(Interval { low: difference(&a.low, &b.high)?, high: difference(&a.high, &b.low)? })
        }
        Op::Binary(Binary::Mul | Binary::Div) => {
            let [a, b] = operands else { return None };
            // Divisors that reach 0 give no finite corner.
            let crosses = b.low.values().iter().zip(b.high.values()).any(|(low, high)| *low <= 0.0 && *high >= 0.0);
            if matches!(node.op(), Op::Binary(Binary::Div)) && crosses {
                return None;
            }
            let corners = [(&a.low, &b.low), (&a.low, &b.high), (&a.high, &b.low), (&a.high, &b.high)];
            let corners = corners.map(|(a, b)| node.op().evaluate(&[a, b]).ok());
            let fold = |f: fn(f64, f64) -> f64| {
                let [first, rest @ ..] = &corners;
                rest.iter().try_fold(first.clone()?, |x, y| elementwise(&x, y.as_ref()?, f))
            };
            Some(Interval { low: fold(f64::min)?, high: fold(f64::max)? })
        }
        Op::Conv(_) | Op::MatMul(_) => {
            // Weights apart by sign: positive ones carry low to low, negative ones high to low.
            let weights = constant(1)?;
            let part = |f: fn(f64) -> f64| map(weights, f);
            let (positive, negative) = (part(|w| w.max(0.0))?, part(|w| w.min(0.0))?);
            let x = operands.first()?;
            // A bias is counted once: with the positive weights.
            let bias = operands.get(2).map(|bias| &bias.low);
            let none = bias.map(|bias| map(bias, |_| 0.0)).map_or(Some(None), |b| b.map(Some))?;
            let with = |x: &Tensor, weights: &Tensor, bias: Option<&Tensor>| {
                node.op().evaluate(&[x, weights].into_iter().chain(bias).collect::<Vec<_>>()).ok()
            };
            let end = |x: &Tensor, other: &Tensor| {
                let (a, b) = (with(x, &positive, bias)?, with(other, &negative, none.as_ref())?);
                elementwise(&a, &b, |a, b| a + b)
            };
            Some(Interval { low: end(&x.low, &x.high)?, high: end(&x.high, &x.low)? })
        }
        Op::Affine(affine) => {
            let [x] = operands else { return None };
            let part = |f: fn(f64) -> f64, keep: bool| {
                let block = |b: &Block<f64>| Block { weights: b.weights.iter().map(|&w| f(w)).collect(), ..b.clone() };
                let matrix = BlockMatrix::new(
                    affine.matrix.rows(),
                    affine.matrix.cols(),
                    affine.matrix.blocks().iter().map(block).collect(),
                );
                let bias = affine.bias.iter().map(|&b| if keep { b } else { 0.0 }).collect();
                Some(Affine { matrix: Arc::new(matrix.ok()?), bias, shape: affine.shape.clone() })
            };
            let (positive, negative) = (part(|w| w.max(0.0), true)?, part(|w| w.min(0.0), false)?);
            let end = |x: &Tensor, other: &Tensor| {
                let (a, b) = (Op::from(positive.clone()).evaluate(&[x]), Op::from(negative.clone()).evaluate(&[other]));
                elementwise(&a.ok()?, &b.ok()?, |a, b| a + b)
            };
            Some(Interval { low: end(&x.low, &x.high)?, high: end(&x.high, &x.low)? })
        }
        Op::Unsupported(_) | Op::ArgMax(_) | Op::Softmax(_) | Op::Where(_) | Op::Polynomial(_) | Op::Chebyshev(_) => {
            None
        }
        Op::Pool(_) | Op::Reduce(_) => None,
        Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Expand(_)
        | Op::Slice(_)
        | Op::Gather(_)
        | Op::Concat(_)
        | Op::Pad(_)
        | Op::CumulativeSum(_) => rising(),
        op @ (Op::Unary(_) | Op::Composite(_) | Op::Binary(_) | Op::Cast(_)) => {
            let function = op.function()?;
            let [x] = operands else { return None };
            let positive = x.low.values().iter().all(|&low| low > 0.0);
            if matches!(op, Op::Unary(Unary::Reciprocal | Unary::Log | Unary::Sqrt)) && !positive {
                return None;
            }
            let rises = matches!(op, Op::Unary(unary) if rises(*unary));
            if rises {
                return rising();
            }
            // In pieces, each with its ends and as much again as they differ by: no function here turns within a piece by more.
            let ends = |low: f64, high: f64, least: bool| {
                let at = |i: usize| function.apply(low + (high - low) * i as f64 / PIECES as f64);
                let values: Vec<f64> = (0..=PIECES).map(at).collect();
                let slack = values.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f64::max);
                let fold = |f: fn(f64, f64) -> f64, start| values.iter().copied().fold(start, f);
                if least { fold(f64::min, f64::INFINITY) - slack } else { fold(f64::max, f64::NEG_INFINITY) + slack }
            };
            let low = elementwise(&x.low, &x.high, |low, high| ends(low, high, true))?;
            let high = elementwise(&x.low, &x.high, |low, high| ends(low, high, false))?;
            let finite = low.values().iter().chain(high.values()).all(|x| x.is_finite());
            finite.then_some(Interval { low, high })
        }
    }
}

/// Pieces of an interval on which a function that is not known to rise is looked at.
const PIECES: usize = 64;

fn known(graph: &TensorGraph, value: Value) -> Option<&Tensor> {
    if let Op::Constant(constant) = graph.node(value).op() { Some(&constant.0) } else { None }
}

/// Functions that never fall.
fn rises(unary: Unary) -> bool {
    match unary {
        Unary::Relu | Unary::Sigmoid | Unary::Tanh | Unary::Erf | Unary::Softplus | Unary::Exp => true,
        Unary::Clip { .. } | Unary::ThresholdedRelu { .. } => true,
        Unary::LeakyRelu { alpha } | Unary::HardSigmoid { alpha, .. } => alpha >= 0.0,
        Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round | Unary::Sqrt | Unary::Log => true,
        Unary::Neg | Unary::Abs | Unary::Reciprocal | Unary::Sin | Unary::Cos => false,
        Unary::Elu { .. } | Unary::Selu { .. } | Unary::Celu { .. } => false,
    }
}

fn map(x: &Tensor, f: impl Fn(f64) -> f64) -> Option<Tensor> {
    Tensor::from_values(x.element(), x.shape(), x.values().iter().map(|&x| f(x)).collect()).ok()
}

/// Of two tensors of one shape.
fn elementwise(a: &Tensor, b: &Tensor, f: impl Fn(f64, f64) -> f64) -> Option<Tensor> {
    let values = a.values().iter().zip(b.values()).map(|(&a, &b)| f(a, b)).collect();
    Tensor::from_values(a.element(), a.shape(), values).ok()
}
