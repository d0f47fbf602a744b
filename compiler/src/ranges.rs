//! How large values become: interval bounds, narrowed by calibration samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::graph::Value;
use hec_ir::matrix::BlockMatrix;
use hec_ir::slots::{self, Blind, Fold, Layout, LinearMap, Op, SlotGraph};
use hec_ir::tensor::{TensorGraph, TensorType};

/// A calibrated bound is the largest value seen, times this.
pub const CALIBRATION_MARGIN: f64 = 2.0;

/// For each value of a slot graph: a bound, a typical size, a typical largest value.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    values: Vec<Range>,
    /// Whether samples were seen.
    pub calibrated: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Range {
    bound: f64,
    size: f64,
    typical: f64,
    /// The largest absolute value seen on the way to this one, before a fold.
    inner: f64,
}

/// Virtual slots of each vector of `graph`: 1 in the batch layout, where all slots are alike.
pub(crate) fn width(graph: &SlotGraph) -> usize {
    let layout = |op: &Op| match op {
        Op::Input(input) => match &input.layout {
            Layout::Packed(packed) => Some(packed.period()),
            Layout::Batch { .. } => None,
        },
        Op::Transform(map) => Some(map.period()),
        Op::Combine(_)
        | Op::Multiply
        | Op::Square
        | Op::Add
        | Op::Subtract
        | Op::WeightedSum(_)
        | Op::Concat
        | Op::Gather(_)
        | Op::Refresh(_)
        | Op::Blind(_) => None,
    };
    graph.nodes().find_map(|(_, node)| layout(node.op())).unwrap_or(1)
}

/// Number of values of one sample of an input.
pub(crate) fn sample_size(graph: &SlotGraph, input: Value) -> usize {
    if let Op::Input(input) = graph.node(input).op() { input.layout.elements() } else { 0 }
}

/// Samples for calibration: for each input's name, the flattened samples one after the other.
pub type Samples = BTreeMap<String, Vec<f64>>;

/// Some of the samples of every input of `graph`.
pub(crate) fn part(graph: &TensorGraph, samples: &Samples, range: std::ops::Range<usize>) -> Samples {
    let of = |(value, name): (Value, &str)| {
        let each = graph.ty(value).known().map_or(0, TensorType::elements);
        let all = samples.get(name)?;
        let end = (range.end.saturating_mul(each)).min(all.len());
        Some((name.to_owned(), all.get(range.start * each..end)?.to_vec()))
    };
    graph.inputs().filter_map(of).collect()
}

impl Ranges {
    /// Bounds every value of `graph` for inputs in `[input.0, input.1]`; samples, if there are any, narrow the bounds to
    /// [`CALIBRATION_MARGIN`] times what they reach. Public inputs of which there are samples are bounded by these alone: they may
    /// have been computed from the model's own.
    pub fn of_graph(graph: &SlotGraph, input: (f64, f64), samples: &Samples) -> Self {
        let intervals = intervals(graph, input, samples);
        let mut values: Vec<Range> = intervals
            .iter()
            .map(|elements| {
                let bound = elements.iter().map(|(lo, hi)| lo.abs().max(hi.abs())).fold(0.0, f64::max);
                Range { bound, size: bound / 2.0, typical: bound, inner: bound }
            })
            .collect();
        let seen = observe(graph, samples);
        let calibrated = !seen.is_empty();
        for (range, seen) in values.iter_mut().zip(seen) {
            let reached = seen.typical.max(seen.inner);
            let calibrated = reached * CALIBRATION_MARGIN;
            // Samples beyond the range that inputs were said to have show that it is another.
            let bound = if reached > range.bound { calibrated } else { range.bound.min(calibrated) };
            *range = Range { bound, ..seen };
        }
        // A constant is added as it is, however small the sum; a tenth more, since primes are near their sizes and not at them.
        for ((_, node), range) in graph.nodes().zip(&mut values) {
            let constant = match node.op() {
                Op::Combine(combine) => combine.bias.iter().fold(0.0, |largest: f64, b| largest.max(b.abs())),
                Op::Transform(map) => map.bias().iter().fold(0.0, |largest: f64, b| largest.max(b.abs())),
                Op::WeightedSum(sum) => sum.bias.abs(),
                Op::Input(_) | Op::Multiply | Op::Square | Op::Add | Op::Subtract | Op::Concat | Op::Gather(_) => 0.0,
                Op::Refresh(_) | Op::Blind(_) => 0.0,
            };
            range.bound = range.bound.max(1.1 * constant);
        }
        // Between the factors and their reciprocals values are larger.
        let mut blinded = vec![false; graph.len()];
        for (value, node) in graph.nodes() {
            blinded[value.index()] = match node.op() {
                Op::Blind(blind) => !blind.inverse,
                Op::Refresh(_) => node.operands().iter().any(|operand| blinded[operand.index()]),
                Op::Input(_)
                | Op::Combine(_)
                | Op::Multiply
                | Op::Square
                | Op::Add
                | Op::Subtract
                | Op::WeightedSum(_)
                | Op::Concat
                | Op::Gather(_)
                | Op::Transform(_) => false,
            };
        }
        let largest = f64::from(Blind::BITS).exp2();
        values.iter_mut().zip(blinded).filter(|(_, own)| *own).for_each(|(range, _)| range.bound *= largest);
        Self { values, calibrated }
    }

    /// Room for the outputs `names`, and for what only they need, to become `factor` times as large as is expected.
    pub fn widen(&mut self, graph: &SlotGraph, names: &[String], factor: f64) {
        let mut others = vec![false; graph.len()];
        let mut own = vec![false; graph.len()];
        for output in graph.outputs() {
            let mark = if names.contains(&output.name) { &mut own } else { &mut others };
            mark[output.value.index()] = true;
        }
        for (value, node) in graph.nodes().rev() {
            for mark in [&mut own, &mut others] {
                if mark[value.index()] {
                    node.operands().iter().for_each(|operand| mark[operand.index()] = true);
                }
            }
        }
        let alone = own.iter().zip(&others).map(|(own, others)| *own && !others);
        self.values.iter_mut().zip(alone).filter(|(_, alone)| *alone).for_each(|(range, _)| range.bound *= factor);
    }

    /// No element is larger than this in absolute value (a promise for interval bounds, an estimate for calibrated ones).
    pub fn bound(&self, value: Value) -> f64 {
        self.values[value.index()].bound
    }

    /// Root mean square over elements and samples.
    pub fn size(&self, value: Value) -> f64 {
        self.values[value.index()].size
    }

    /// The largest absolute value seen on samples; the bound if there were none.
    pub fn typical(&self, value: Value) -> f64 {
        self.values[value.index()].typical
    }
}

/// Where an input lies in the clear, with the margin: 0 stays inside.
fn shown(samples: &[f64]) -> (f64, f64) {
    let reach = |of: fn(f64, f64) -> f64| CALIBRATION_MARGIN * samples.iter().copied().fold(0.0, of);
    (reach(f64::min), reach(f64::max))
}

fn intervals(graph: &SlotGraph, input: (f64, f64), samples: &Samples) -> Vec<Vec<(f64, f64)>> {
    let width = width(graph);
    let mut all: Vec<Vec<(f64, f64)>> = Vec::with_capacity(graph.len());
    for (_, node) in graph.nodes() {
        let of = |i: usize| &all[node.operands()[i].index()];
        let product = |(a, b): (f64, f64), (c, d): (f64, f64)| {
            let corners = [a * c, a * d, b * c, b * d];
            (corners.into_iter().fold(f64::INFINITY, f64::min), corners.into_iter().fold(f64::NEG_INFINITY, f64::max))
        };
        all.push(match node.op() {
            Op::Input(own) => {
                let samples = samples.get(&own.name).filter(|samples| own.public && !samples.is_empty());
                let input = samples.map_or(input, |samples| shown(samples));
                spread(&own.layout, input)
            }
            Op::Combine(combine) => {
                let x = of(0);
                let mut y: Vec<(f64, f64)> =
                    combine.bias.iter().flat_map(|&b| std::iter::repeat_n((b, b), width)).collect();
                combine.matrix.for_each(|row, col, &weight| {
                    for (y, x) in y[row * width..][..width].iter_mut().zip(&x[col * width..][..width]) {
                        let (lo, hi) = (weight * x.0, weight * x.1);
                        y.0 += lo.min(hi);
                        y.1 += lo.max(hi);
                    }
                });
                y
            }
            Op::Transform(map) => transformed(map, of(0)),
            Op::Refresh(own) => {
                // What the client computes is known from samples alone.
                let input = samples.get(&own.name).map_or(input, |samples| shown(samples));
                spread(&own.layout, input)
            }
            Op::Blind(_) => of(0).clone(),
            Op::Square => {
                let square = |&(lo, hi): &(f64, f64)| {
                    let largest = lo.abs().max(hi.abs());
                    let least = if lo <= 0.0 && hi >= 0.0 { 0.0 } else { lo.abs().min(hi.abs()) };
                    (least * least, largest * largest)
                };
                of(0).iter().map(square).collect()
            }
            Op::Multiply => of(0).iter().zip(of(1)).map(|(&a, &b)| product(a, b)).collect(),
            Op::Add => of(0).iter().zip(of(1)).map(|(a, b)| (a.0 + b.0, a.1 + b.1)).collect(),
            Op::Subtract => of(0).iter().zip(of(1)).map(|(a, b)| (a.0 - b.1, a.1 - b.0)).collect(),
            Op::WeightedSum(sum) => {
                let mut y = vec![(sum.bias, sum.bias); node.ty().length * width];
                for (k, weight) in sum.weights.iter().enumerate() {
                    for (y, &x) in y.iter_mut().zip(of(k)) {
                        let (lo, hi) = (weight * x.0, weight * x.1);
                        *y = (y.0 + lo.min(hi), y.1 + lo.max(hi));
                    }
                }
                y
            }
            Op::Concat => (0..node.operands().len()).flat_map(of).copied().collect(),
            Op::Gather(gather) => {
                gather.indices.iter().flat_map(|&i| &of(0)[i as usize * width..][..width]).copied().collect()
            }
        });
    }
    all
}

/// A range in each slot that holds an element.
fn spread(layout: &Layout, range: (f64, f64)) -> Vec<(f64, f64)> {
    match layout {
        Layout::Batch { .. } => vec![range; layout.array_length()],
        Layout::Packed(packed) => {
            packed.table().iter().map(|&entry| if entry == 0 { (0.0, 0.0) } else { range }).collect()
        }
    }
}

/// Interval bounds of a linear map's result in every slot; where a fold follows, they hold what is there before it as well.
fn transformed(map: &LinearMap, x: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let period = map.period();
    if map.fold() == Fold::None {
        let slots = map.from().slots_of_elements();
        let mut sums: Vec<(f64, f64)> = map.bias().iter().map(|&b| (b, b)).collect();
        map.matrix().for_each(|row, col, &weight| {
            let (lo, hi) = x[slots[col] as usize];
            let sum = &mut sums[row];
            *sum = (sum.0 + (weight * lo).min(weight * hi), sum.1 + (weight * lo).max(weight * hi));
        });
        let at = |entry: u32| (entry as usize).checked_sub(1).map_or((0.0, 0.0), |element| sums[element]);
        return map.to().table().into_iter().map(at).collect();
    }
    let diagonals = map.diagonals();
    let mut y = vec![(0.0, 0.0); map.to().vectors() * period];
    for (&[to, from, step], weights) in &diagonals.weights {
        for &(slot, weight) in weights {
            let (lo, hi) = x[from * period + (slot as usize + step) % period];
            let y: &mut (f64, f64) = &mut y[to * period + slot as usize];
            y.0 += (weight * lo).min(weight * hi);
            y.1 += (weight * lo).max(weight * hi);
        }
    }
    for (y, bias) in y.chunks_mut(period).zip(&diagonals.bias) {
        for &(slot, value) in bias {
            let y = &mut y[slot as usize];
            *y = (y.0 + value, y.1 + value);
        }
        for step in map.fold().steps(period) {
            let before = y.to_vec();
            for (slot, y) in y.iter_mut().enumerate() {
                let other = before[(slot + step) % period];
                *y = (y.0 + other.0, y.1 + other.1);
            }
        }
    }
    y
}

/// Runs the graph on each sample; empty if there is not one whole sample of every input.
fn observe(graph: &SlotGraph, samples: &Samples) -> Vec<Range> {
    let named = |(_, node): (Value, &hec_ir::Node<hec_ir::slots::Slots>)| {
        if let Op::Refresh(refresh) = node.op() {
            return Some((refresh.name.clone(), refresh.layout.elements()));
        }
        if let Op::Input(input) = node.op() { Some((input.name.clone(), input.layout.elements())) } else { None }
    };
    let count = |(name, elements): (String, usize)| samples.get(&name).map_or(0, |all| all.len() / elements.max(1));
    let count = graph.nodes().filter_map(named).map(count).min().unwrap_or(0);
    if count == 0 {
        return Vec::new();
    }
    let width = width(graph);
    let products = |op: &Op| if let Op::Transform(map) = op { map.matrix().multiply_adds() } else { 0 };
    let products: usize = graph.nodes().map(|(_, node)| products(node.op())).sum();
    let affordable = (PACKED_PRODUCTS / products.max(1)).clamp(MIN_PACKED_SAMPLES, PACKED_SAMPLES);
    let count = if width > 1 { count.min(affordable) } else { count };
    let mut ranges = vec![Range::default(); graph.len()];
    let mut squares: Vec<Vec<f64>> = graph.nodes().map(|(_, node)| vec![0.0; node.ty().length * width]).collect();
    for sample in 0..count {
        let values = evaluate(graph, |name, length| {
            samples.get(name).map_or_else(Vec::new, |all| all[sample * length..][..length].to_vec())
        });
        for (((range, squares), value), (_, node)) in
            ranges.iter_mut().zip(&mut squares).zip(&values).zip(graph.nodes())
        {
            range.typical = value.iter().fold(range.typical, |largest, v| largest.max(v.abs()));
            if let Op::Transform(map) = node.op()
                && map.fold() != Fold::None
                && sample < UNFOLDED_SAMPLES
            {
                let before = map.apply_unfolded(&values[node.operands()[0].index()]);
                range.inner = before.iter().fold(range.inner, |largest, v| largest.max(v.abs()));
            }
            squares.iter_mut().zip(value).for_each(|(square, v)| *square += v * v);
        }
    }
    for (range, squares) in ranges.iter_mut().zip(squares) {
        // Slots that stay empty are none of the elements.
        let used = if width > 1 { squares.iter().filter(|&&square| square > 0.0).count() } else { squares.len() };
        range.size = (squares.iter().sum::<f64>() / (count * used.max(1)) as f64).sqrt();
    }
    ranges
}

/// Samples of the packed layout that are looked at: each takes as much work as all slots of a vector.
const PACKED_SAMPLES: usize = 32;
/// Products of weights and values that are worth looking at more of them, and how many are looked at in any case.
const PACKED_PRODUCTS: usize = 1 << 29;
const MIN_PACKED_SAMPLES: usize = 8;
/// Samples of which the sums before a fold are looked at.
const UNFOLDED_SAMPLES: usize = 8;

/// The value of every node for one sample, in every virtual slot: what a slot graph means.
pub fn evaluate(graph: &SlotGraph, input: impl Fn(&str, usize) -> Vec<f64>) -> Vec<Vec<f64>> {
    evaluate_with(graph, &[], input)
}

/// The same with other matrices for the combines, by node; those that are missing stay.
pub(crate) fn evaluate_with(
    graph: &SlotGraph,
    matrices: &[Option<Option<Arc<BlockMatrix<f64>>>>],
    input: impl Fn(&str, usize) -> Vec<f64>,
) -> Vec<Vec<f64>> {
    let width = width(graph);
    let mut all: Vec<Vec<f64>> = Vec::with_capacity(graph.len());
    for (value, node) in graph.nodes() {
        let of = |i: usize| &all[node.operands()[i].index()];
        let zip = |f: fn(f64, f64) -> f64| of(0).iter().zip(of(1)).map(|(&a, &b)| f(a, b)).collect();
        all.push(match node.op() {
            Op::Input(slots::Input { name, layout, .. }) | Op::Refresh(slots::Refresh { name, layout, .. }) => {
                match layout {
                    Layout::Batch { .. } => input(name, node.ty().length),
                    Layout::Packed(packed) => packed.spread(&input(name, packed.elements())),
                }
            }
            // Whatever the factors are, they are taken out again.
            Op::Blind(_) => of(0).clone(),
            Op::Combine(combine) => {
                let other = matrices.get(value.index()).and_then(|m| m.as_ref()?.as_ref());
                let (x, mut y) = (of(0), vec![0.0; combine.bias.len() * width]);
                other.unwrap_or(&combine.matrix).for_each(|row, col, weight| {
                    let slots = y[row * width..][..width].iter_mut().zip(&x[col * width..][..width]);
                    slots.for_each(|(y, x)| *y += weight * x);
                });
                let biased = y.chunks_mut(width).zip(&*combine.bias);
                biased.for_each(|(y, b)| y.iter_mut().for_each(|y| *y += b));
                y
            }
            Op::Transform(map) => map.apply(of(0)),
            Op::Square => of(0).iter().map(|x| x * x).collect(),
            Op::Multiply => zip(|a, b| a * b),
            Op::Add => zip(|a, b| a + b),
            Op::Subtract => zip(|a, b| a - b),
            Op::WeightedSum(sum) => {
                let mut y = vec![sum.bias; node.ty().length * width];
                for (k, weight) in sum.weights.iter().enumerate() {
                    y.iter_mut().zip(of(k)).for_each(|(y, x)| *y += weight * x);
                }
                y
            }
            Op::Concat => (0..node.operands().len()).flat_map(of).copied().collect(),
            Op::Gather(gather) => {
                gather.indices.iter().flat_map(|&i| &of(0)[i as usize * width..][..width]).copied().collect()
            }
        });
    }
    all
}
