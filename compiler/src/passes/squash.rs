//! Squashing: a run of linear operations becomes one affine map where that is cheaper (nGraph-HE did it by hand, in the
//! training script).

use std::sync::Arc;

use hec_ir::graph::{GraphError, Value};
use hec_ir::tensor::{Affine, Op, TensorGraph};

use crate::affine::{self, AffineMap, Operand};
use crate::pack::constant;

/// Composing two maps is not even tried above so many multiply-adds.
const MAX_EFFORT: f64 = 4e8;

/// Levels that a network has beside those of one run: one map more makes everything dearer by one part in so many.
const OTHER_LEVELS: f64 = 3.0;

/// Runs of more maps than this are cut.
const MAX_RUN: usize = 10;

/// Replaces runs of linear operations.
pub(super) fn run(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    let runs = find_runs(graph);
    let mut replaced: Vec<Option<Arc<Segment>>> = vec![None; graph.len()];
    for segment in runs.iter().flat_map(|run| partition(run)) {
        let last = segment.last.index();
        replaced[last] = Some(Arc::new(segment));
    }
    let mut renamed: Vec<Option<Value>> = vec![None; graph.len()];
    graph.translate((), |builder, value, node, operands| {
        let result = match &replaced[value.index()] {
            Some(segment) => {
                let shape = node.ty().known().map_or_else(Vec::new, |ty| ty.shape.clone());
                let affine = Affine {
                    matrix: Arc::new(segment.map.matrix.clone()),
                    bias: segment.map.bias.clone().into(),
                    shape,
                };
                let operand = renamed[segment.operand.index()].unwrap_or(operands[0]);
                builder.push(affine.into(), &[operand])?
            }
            None => builder.push(node.op().clone(), operands)?,
        };
        renamed[value.index()] = Some(result);
        Ok(result)
    })
}

/// One linear operation of a run; operations that only move or shift are merged with the one before.
struct Link {
    operand: Value,
    last: Value,
    map: AffineMap,
    /// How many operations it stands for.
    operations: usize,
    /// Whether it is a convolution with its bias and nothing else.
    convolution: bool,
}

/// Links `first..=last` of a run as one map.
#[derive(Clone)]
struct Segment {
    operand: Value,
    last: Value,
    map: AffineMap,
}

/// Chains of affine operations, each the only user of the one before.
fn find_runs(graph: &TensorGraph) -> Vec<Vec<Link>> {
    let uses = graph.use_counts();
    let mut run_of: Vec<Option<usize>> = vec![None; graph.len()];
    let mut runs: Vec<Vec<Link>> = Vec::new();
    for (value, node) in graph.nodes() {
        let Some((operand, map)) = affine_node(graph, value) else { continue };
        let continued = run_of[operand.index()].filter(|_| uses[operand.index()] == 1);
        let run = continued.unwrap_or_else(|| {
            runs.push(Vec::new());
            runs.len() - 1
        });
        run_of[value.index()] = Some(run);
        let convolution = matches!(node.op(), Op::Conv(_));
        let link = Link { operand, last: value, map, operations: 1, convolution };
        append(&mut runs[run], link);
    }
    runs
}

/// Appends a link; what is free goes into its neighbour.
fn append(run: &mut Vec<Link>, link: Link) {
    match run.last_mut() {
        Some(before) if before.map.free || link.map.free => {
            let convolution = before.convolution && is_shift(&link.map);
            before.map = before.map.then(&link.map);
            before.operations += link.operations;
            before.last = link.last;
            before.convolution = convolution;
        }
        Some(_) | None => run.push(link),
    }
}

fn is_shift(map: &AffineMap) -> bool {
    let mut identity = map.matrix.rows() == map.matrix.cols();
    map.matrix.for_each(|row, col, &weight| identity &= row == col && weight == 1.0);
    identity
}

fn affine_node(graph: &TensorGraph, value: Value) -> Option<(Value, AffineMap)> {
    let node = graph.node(value);
    let mut variable = None;
    let mut operands = Vec::new();
    for &operand in node.operands() {
        match constant(graph, operand) {
            Some(tensor) => operands.push(Operand::Constant(tensor)),
            None => {
                variable = Some(operand);
                operands.push(Operand::Variable(graph.ty(operand).known()?));
            }
        }
    }
    let map = affine::of_operation(node.op(), &operands).ok().flatten()?;
    Some((variable?, map))
}

/// The segments of the cheapest partition that have to be replaced: cost is the number of weights, times the number of
/// levels. A convolution by itself stays a convolution.
fn partition(run: &[Link]) -> Vec<Segment> {
    run.chunks(MAX_RUN).flat_map(best_cut).collect()
}

fn best_cut(run: &[Link]) -> Vec<Segment> {
    let n = run.len();
    // composed[i][j]: links i ..= i + j as one map; None where that takes too long.
    let mut composed: Vec<Vec<Option<AffineMap>>> = Vec::with_capacity(n);
    for (i, link) in run.iter().enumerate() {
        let mut row = vec![Some(link.map.clone())];
        for next in &run[i + 1..] {
            let before = row.last().and_then(Option::as_ref);
            let affordable = before.filter(|map| map.composition_effort(&next.map) <= MAX_EFFORT);
            row.push(affordable.map(|map| map.then(&next.map)));
        }
        composed.push(row);
    }
    let weights =
        |i: usize, j: usize| composed[i][j - i].as_ref().map(|m| if m.free { 0 } else { m.matrix.multiply_adds() });
    // Every way of cutting between links, as a bit mask; the first of the cheapest.
    let cost = |cuts: u32| {
        let segments = segments(n, cuts);
        let total: Option<usize> = segments.iter().map(|&(i, j)| weights(i, j)).sum();
        total.map(|total| total as f64 * (OTHER_LEVELS + segments.len() as f64))
    };
    let all = 0..1u32 << n.saturating_sub(1);
    let costs = all.filter_map(|cuts| Some((cost(cuts)?, cuts)));
    let best = costs.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let cuts = best.map_or(u32::MAX, |(_, cuts)| cuts);
    let replaced = |&(i, j): &(usize, usize)| {
        let stays = i == j && (run[i].convolution || run[i].operations == 1 && run[i].map.free);
        let map = composed[i][j - i].clone().filter(|_| !stays)?;
        Some(Segment { operand: run[i].operand, last: run[j].last, map })
    };
    segments(n, cuts).iter().filter_map(replaced).collect()
}

fn segments(links: usize, cuts: u32) -> Vec<(usize, usize)> {
    let mut result = Vec::new();
    let mut first = 0;
    for last in 0..links {
        if last + 1 == links || cuts >> last & 1 == 1 {
            result.push((first, last));
            first = last + 1;
        }
    }
    result
}
