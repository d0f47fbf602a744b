//! How large errors at the outputs may be without changing what is decided by them.

use std::collections::BTreeMap;

use hec_ir::program::Port;
use hec_ir::tensor::{Op, TensorGraph, Unary};
use rayon::prelude::*;

use crate::approximate::{CLOSE, evaluate_sample};
use crate::error::CompileError;
use crate::ranges::Samples;

/// The share of calibration samples that are to be answered alike.
pub const ALIKE: f64 = 0.99;
/// Samples that are looked at.
const SAMPLES: usize = 256;
/// The smallest error that is asked for, as bits below the range of an output: two values that happen to be close are no decision.
const FINEST: f64 = 10.0;

/// For each output of `graph` by which something is decided, the error of all its elements that leaves the answers to [`ALIKE`] of the
/// samples as they are; empty without samples.
///
/// - of several values, the largest: half of its distance to the next,
/// - of one value that is a score of two classes, its sign: if there are labels, or the `client` makes a probability of it,
/// - a number: the error at which two numbers count as alike in the search for polynomials.
///
/// Images and the like are no decisions.
///
/// # Errors
/// If the graph cannot be evaluated.
pub(crate) fn tolerated(
    graph: &TensorGraph,
    client: Option<&TensorGraph>,
    samples: &Samples,
    labelled: bool,
) -> Result<BTreeMap<String, f64>, CompileError> {
    let counts = Port::inputs_of(graph).into_iter().map(|port| {
        let each = port.ty.elements().max(1);
        samples.get(&port.name).map_or(0, |all| all.len() / each)
    });
    let count = counts.min().unwrap_or(0).min(SAMPLES);
    let one = |sample: usize| -> Result<Vec<Vec<f64>>, CompileError> {
        let values = evaluate_sample(graph, samples, sample, &mut |_, _| ())?;
        let of = |value: usize| values.get(value).and_then(Option::as_ref).map_or(Vec::new(), |x| x.values().to_vec());
        Ok(graph.outputs().iter().map(|output| of(output.value.index())).collect())
    };
    let all: Vec<Vec<Vec<f64>>> = (0..count).into_par_iter().map(one).collect::<Result<_, _>>()?;
    let scores = labelled || client.is_some_and(makes_probabilities);
    let mut tolerated = BTreeMap::new();
    for (at, output) in graph.outputs().iter().enumerate() {
        let values: Vec<&[f64]> = all.iter().filter_map(|sample| sample.get(at).map(Vec::as_slice)).collect();
        let Some(ty) = graph.ty(output.value).known().filter(|_| !values.is_empty()) else { continue };
        if ty.shape.iter().filter(|&&size| size != 1).count() > 1 {
            continue;
        }
        let range = values.iter().flat_map(|x| x.iter()).fold(0.0, |range: f64, x| range.max(x.abs()));
        let own = if ty.elements() > 1 {
            at_least(values.iter().map(|x| gap(x) / 2.0))
        } else if scores {
            at_least(values.iter().map(|x| x.first().map_or(0.0, |x| x.abs())))
        } else {
            CLOSE * deviation(&values)
        };
        let error = own.max(range * (-FINEST).exp2());
        if error > 0.0 {
            tolerated.insert(output.name.clone(), error);
        }
    }
    Ok(tolerated)
}

/// What [`ALIKE`] of these are not below.
fn at_least(margins: impl Iterator<Item = f64>) -> f64 {
    let mut margins: Vec<f64> = margins.collect();
    margins.sort_by(f64::total_cmp);
    let below = (margins.len() as f64 * (1.0 - ALIKE)) as usize;
    margins.get(below).copied().unwrap_or(0.0)
}

/// From the largest to the next.
fn gap(values: &[f64]) -> f64 {
    let (mut first, mut second) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for &x in values {
        if x > first {
            (first, second) = (x, first);
        } else {
            second = second.max(x);
        }
    }
    first - second
}

fn deviation(values: &[&[f64]]) -> f64 {
    let numbers = || values.iter().filter_map(|x| x.first());
    let count = numbers().count().max(1) as f64;
    let mean = numbers().sum::<f64>() / count;
    (numbers().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count).sqrt()
}

fn makes_probabilities(client: &TensorGraph) -> bool {
    client.nodes().any(|(_, node)| matches!(node.op(), Op::Unary(Unary::Sigmoid)))
}

#[cfg(test)]
mod tests {
    use hec_ir::graph::Builder;
    use hec_ir::tensor::{Element, Input, TensorType, Tensors};

    use super::*;

    /// The input of `shape` as it is, and whether the client makes probabilities of it.
    fn of(shape: &[usize], values: &[f64], client: bool, labelled: bool) -> Option<f64> {
        let graph = |function: Option<Unary>| {
            let mut builder = Builder::<Tensors>::new(());
            let input = Input { name: "x".to_owned(), ty: TensorType::new(Element::F32, shape) };
            let x = builder.push(Op::Input(input), &[]).unwrap();
            let y = function.map_or(x, |function| builder.push(Op::Unary(function), &[x]).unwrap());
            builder.output("y", y);
            builder.finish()
        };
        let samples = Samples::from([("x".to_owned(), values.to_vec())]);
        let client = client.then(|| graph(Some(Unary::Sigmoid)));
        tolerated(&graph(None), client.as_ref(), &samples, labelled).unwrap().get("y").copied()
    }

    #[test]
    fn half_the_distance_to_the_next_class_is_tolerated() {
        assert_eq!(of(&[1, 3], &[1.0, 5.0, 3.0, -4.0, -9.0, -8.0], false, false), Some(1.0));
        // The closest of two hundred samples, and the next, may be answered otherwise.
        let mut many: Vec<f64> = (0..200).flat_map(|i| [0.0, f64::from(i)]).collect();
        assert_eq!(of(&[2], &many, false, false), Some(1.0));
        many.iter_mut().for_each(|x| *x = 1.0);
        assert_eq!(of(&[2], &many, false, false), Some((-FINEST).exp2()), "ties are no decisions");
    }

    #[test]
    fn one_number_is_a_score_or_a_number() {
        let values = [-3.0, -1.0, 1.0, 3.0];
        assert_eq!(of(&[1], &values, true, false), Some(1.0));
        assert_eq!(of(&[1], &values, false, true), Some(1.0));
        assert_eq!(of(&[1, 1], &values, false, false), Some(CLOSE * 5f64.sqrt()));
    }

    #[test]
    fn without_samples_and_of_images_nothing_is_known() {
        assert_eq!(of(&[4], &[], false, false), None);
        assert_eq!(of(&[2, 2], &[1.0, 2.0, 3.0, 4.0], false, false), None);
    }
}
