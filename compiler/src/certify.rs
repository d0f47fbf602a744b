//! What calibration samples show of a finished circuit: how large its values and their errors become.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::ckks::clear::{self, Surroundings};
use hec_ir::ckks::errors::{Added, Errors};
use hec_ir::ckks::precision::{Collector, Profile, largest_secret};
use hec_ir::ckks::{Circuit, Input, Op, Refresh, layouts};
use hec_ir::graph::{GraphError, TypeError, Value};
use hec_ir::program::{Port, Round};
use hec_ir::slots::{Blind, Layout, Packed, SlotGraph};
use rayon::prelude::*;

use crate::approximate::evaluate_sample;
use crate::ranges::{self, Samples};

/// Products of weights and values that are spent on it.
const PRODUCTS: usize = 1 << 28;
/// Samples whose values are looked at, and those that are disturbed: at least, at most.
const EXACT: [usize; 2] = [8, 512];
const DISTURBED: [usize; 2] = [8, 128];
/// Runs of one disturbed sample: exact, with errors, and under the largest secret.
const RUNS: usize = 3;

/// The profile of `circuit`, which was made from `graph`. Without samples, on made-up ones in `range`; errors are drawn from a fixed
/// generator, so that the same model gives the same profile.
///
/// # Errors
/// If the circuit cannot be evaluated in the clear.
pub(crate) fn profile(
    circuit: &Circuit,
    graph: &SlotGraph,
    samples: &Samples,
    range: (f64, f64),
    rounds: &[Round],
) -> Result<Profile, GraphError> {
    let named = circuit.nodes().filter_map(|(_, node)| source(node.op()));
    let counts = named.map(|(name, layout)| samples.get(name).map_or(0, |all| all.len() / layout.elements().max(1)));
    let available = counts.min().unwrap_or(0);
    let affordable = PRODUCTS / products(circuit).max(1);
    let disturbed = (affordable / (2 * RUNS)).clamp(DISTURBED[0], DISTURBED[1]);
    let exact = (affordable / 2).clamp(EXACT[0].max(disturbed), EXACT[1]);
    let count = if available == 0 { disturbed } else { exact.min(available) };
    let placed = layouts(circuit);
    let (errors, placed) = (clear::Prepared::new(circuit), &placed[..]);
    let given = Given { samples, available, range, rounds: with_operands(circuit, rounds), placed, errors, circuit };
    let mut collector = Collector::new(circuit);
    let mut rounding = vec![0f64; circuit.outputs().len()];
    // A few samples at a time: all values of all nodes are there at once.
    let (width, mean) = (clear::width(circuit), Blind::mean_factor());
    let values: usize = circuit.nodes().map(|(_, node)| node.ty().length * width).sum();
    let at_once = (HELD / (COPIES * values).max(1)).clamp(1, AT_ONCE);
    for first in (0..count).step_by(at_once) {
        let chunk: Vec<usize> = (first..count.min(first + at_once)).collect();
        let run = |&sample: &usize| -> Result<Runs, GraphError> {
            let exact = given.run(sample, mean, None)?;
            if sample >= disturbed {
                return Ok(Runs { exact, disturbed: None, slots: None });
            }
            let mut errors = Errors::averaged(circuit.context(), generator(sample, 0));
            let expected = given.run(sample, mean, Some(&mut errors))?;
            let mut errors = Errors::with_secret(largest_secret(circuit.context()), generator(sample, 1));
            let worst = given.run(sample, Blind::largest_factor(), Some(&mut errors))?;
            let slots = ranges::evaluate(graph, |name, length| given.values(name, length, sample));
            Ok(Runs { exact, disturbed: Some([expected, worst]), slots: Some(slots) })
        };
        for runs in chunk.par_iter().map(run).collect::<Result<Vec<_>, _>>()? {
            collector.exact(&runs.exact);
            if let Some([expected, worst]) = &runs.disturbed {
                collector.disturbed(&runs.exact, expected, worst);
            }
            let Some(slots) = runs.slots else { continue };
            let outputs = circuit.outputs().iter().zip(graph.outputs());
            for ((own, other), largest) in outputs.zip(&mut rounding) {
                let layout = placed[own.value.index()].as_deref();
                let (own, other) = (&runs.exact[own.value.index()], &slots[other.value.index()]);
                let elements = elements(layout, own.len());
                let apart = |&at: &u32| Some((own.get(at as usize)? - other.get(at as usize)?).abs());
                *largest = elements.iter().filter_map(apart).fold(*largest, f64::max);
            }
        }
    }
    Ok(collector.finish(available > 0, rounding))
}

/// Samples that are run at once, and values of them that are held.
const AT_ONCE: usize = 8;
const HELD: usize = 1 << 26;
/// All values of a sample: those of its runs, and those of the slot graph.
const COPIES: usize = RUNS + 1;

/// The values of every node for one sample.
struct Runs {
    exact: Vec<Vec<f64>>,
    disturbed: Option<[Vec<Vec<f64>>; 2]>,
    /// Those of the slot graph, whose weights are not rounded.
    slots: Option<Vec<Vec<f64>>>,
}

/// Where elements lie in the virtual slots of an array.
fn elements(layout: Option<&Packed>, length: usize) -> Vec<u32> {
    layout.map_or_else(|| (0..length as u32).collect(), |packed| packed.slots_of_elements())
}

/// What comes from outside: name and layout.
fn source(op: &Op) -> Option<(&str, &Layout)> {
    match op {
        Op::Input(Input { name, layout, .. }) | Op::Refresh(Refresh { name, layout, .. }) => Some((name, layout)),
        Op::Combine(_)
        | Op::Multiply
        | Op::Square
        | Op::Add
        | Op::Subtract
        | Op::Concat
        | Op::Gather(_)
        | Op::Relinearize
        | Op::Rescale
        | Op::DropLevel(_)
        | Op::Transform(_)
        | Op::Fold(_)
        | Op::Blind(_) => None,
    }
}

/// Products of a weight and a value that one run takes.
fn products(circuit: &Circuit) -> usize {
    let width = clear::width(circuit);
    let of = |op: &Op| match op {
        Op::Combine(combine) => combine.matrix.multiply_adds() * width,
        Op::Transform(transform) => transform.map.diagonals().weights.values().map(Vec::len).sum(),
        Op::Input(_)
        | Op::Multiply
        | Op::Square
        | Op::Add
        | Op::Subtract
        | Op::Concat
        | Op::Gather(_)
        | Op::Relinearize
        | Op::Rescale
        | Op::DropLevel(_)
        | Op::Fold(_)
        | Op::Refresh(_)
        | Op::Blind(_) => 0,
    };
    circuit.nodes().map(|(_, node)| of(node.op()) + node.ty().length * width).sum()
}

/// Each round with the values that the client gets, which are the same for all its results.
fn with_operands<'a>(circuit: &'a Circuit, rounds: &'a [Round]) -> Vec<(&'a Round, &'a [Value])> {
    let mut operands: Vec<&[Value]> = vec![&[]; rounds.len()];
    for (_, node) in circuit.nodes() {
        if let Op::Refresh(refresh) = node.op()
            && let Some(of) = operands.get_mut(refresh.round)
        {
            *of = node.operands();
        }
    }
    rounds.iter().zip(operands).collect()
}

struct Given<'a> {
    circuit: &'a Circuit,
    samples: &'a Samples,
    available: usize,
    range: (f64, f64),
    rounds: Vec<(&'a Round, &'a [Value])>,
    placed: &'a [Option<Arc<Packed>>],
    errors: clear::Prepared,
}

impl Given<'_> {
    /// A sample's values of what comes from outside.
    fn values(&self, name: &str, length: usize, sample: usize) -> Vec<f64> {
        let given = self.samples.get(name).filter(|_| self.available > 0);
        match given.and_then(|all| all.get(sample * length..(sample + 1) * length)) {
            Some(values) => values.to_vec(),
            None => {
                let (low, high) = self.range;
                let mut bits = generator(sample, 2);
                (0..length).map(|_| low + (high - low) * (bits() >> 11) as f64 / (1u64 << 53) as f64).collect()
            }
        }
    }

    /// The values of every node, with errors or exact.
    fn run(&self, sample: usize, factor: f64, errors: Option<&mut dyn Disturb>) -> Result<Vec<Vec<f64>>, GraphError> {
        let (answers, values) = (BTreeMap::new(), Vec::with_capacity(self.circuit.len()));
        let mut run = Run { given: self, sample, errors, factor, answers, values };
        clear::evaluate(self.circuit, &self.errors, &mut run)?;
        Ok(run.values)
    }
}

/// Adds errors.
trait Disturb {
    fn disturb(&mut self, x: &mut [f64], added: &Added);
}

impl<B: FnMut() -> u64> Disturb for Errors<B> {
    fn disturb(&mut self, x: &mut [f64], added: &Added) {
        Errors::disturb(self, x, added);
    }
}

struct Run<'a, 'e> {
    given: &'a Given<'a>,
    sample: usize,
    errors: Option<&'e mut dyn Disturb>,
    /// The factor that the rounding of reciprocals is counted for.
    factor: f64,
    /// What the client has computed, by round and name.
    answers: BTreeMap<(usize, String), Vec<f64>>,
    values: Vec<Vec<f64>>,
}

impl Surroundings for Run<'_, '_> {
    fn input(&mut self, input: &Input) -> Result<Vec<f64>, TypeError> {
        let values = self.given.values(&input.name, input.layout.elements(), self.sample);
        Ok(input.layout.spread(&values))
    }

    fn refresh(&mut self, refresh: &Refresh, operands: &[&[f64]]) -> Result<Vec<f64>, TypeError> {
        if let Some(values) = self.answers.remove(&(refresh.round, refresh.name.clone())) {
            return Ok(refresh.layout.spread(&values));
        }
        let Given { rounds, placed, .. } = self.given;
        let Some(&(round, from)) = rounds.get(refresh.round) else {
            return Err(TypeError::new(format!("there is no round {}", refresh.round)));
        };
        let of = |(port, (value, x)): (Port, (&Value, &&[f64]))| {
            let elements = elements(placed[value.index()].as_deref(), x.len());
            (port.name, elements.into_iter().filter_map(|at| x.get(at as usize).copied()).collect())
        };
        let inputs: Samples = round.operands().into_iter().zip(from.iter().zip(operands)).map(of).collect();
        evaluate_sample(&round.function, &inputs, 0, &mut |value, tensor| {
            for output in round.function.outputs().iter().filter(|output| output.value == value) {
                self.answers.insert((refresh.round, output.name.clone()), tensor.values().to_vec());
            }
        })
        .map_err(|cause| TypeError::new(cause.to_string()))?;
        let values = self.answers.remove(&(refresh.round, refresh.name.clone()));
        let missing = || TypeError::new(format!("round {} has no \"{}\"", refresh.round, refresh.name.escape_debug()));
        Ok(refresh.layout.spread(&values.ok_or_else(missing)?))
    }

    fn assumed_factor(&self) -> f64 {
        self.factor
    }

    fn disturb(&mut self, x: &mut [f64], added: &Added) {
        if let Some(errors) = &mut self.errors {
            errors.disturb(x, added);
        }
    }

    fn computed(&mut self, _value: Value, x: &[f64]) {
        self.values.push(x.to_vec());
    }
}

/// Bits from a fixed generator (SplitMix64; Steele, Lea and Flood, OOPSLA 2014), a stream for each use of a sample.
fn generator(sample: usize, stream: u64) -> impl FnMut() -> u64 {
    let mut state = (sample as u64).wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(stream << 32 | 1);
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
