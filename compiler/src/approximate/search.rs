//! Which replacement each site gets: the least depth at which the answers stay as good as the user wants.
//!
//! The samples are split: fits are made on the first half, answers are compared on the second. All sites start on the first
//! rung of their ladders. As long as too many answers change, that one site is taken a rung up which gains most for the depth
//! that it adds; then every site is taken down again where the answers allow it. Nothing is drawn at random.

use std::fmt;

use hec_ir::graph::Value;
use hec_ir::tensor::{Op, Tensor, TensorGraph};

use super::traced::count;
use super::{Approximation, Replacement, Rung, Site, Targets, replace};
use crate::error::CompileError;
use crate::ranges::Samples;
use crate::tail::Split;

/// A choice that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// A rung for each site.
    pub rungs: Vec<Rung>,
    /// Products on the longest way through the replacements, all sites in a row.
    pub depth: usize,
    /// The share of held-back samples with the wanted answer.
    pub accuracy: f64,
}

/// What was replaced, and why so.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The replacements.
    pub replacements: Vec<Replacement>,
    /// What was tried, in order.
    pub candidates: Vec<Candidate>,
    /// The share of held-back samples with the wanted answer before and after.
    pub accuracy: (f64, f64),
    /// Whether answers were compared with labels, or with those of the model as it was.
    pub labelled: bool,
    /// Held-back samples.
    pub held_back: usize,
    /// The share that was allowed to be lost.
    pub allowed: f64,
}

impl Summary {
    /// Whether the budget was kept.
    pub fn within_budget(&self) -> bool {
        self.accuracy.0 - self.accuracy.1 <= self.allowed + 1e-9
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "polynomials in place of what encrypted arithmetic cannot compute")?;
        for r in &self.replacements {
            let (low, high) = r.seen;
            let share = 100.0 * r.error.0 / r.error.1.max(f64::MIN_POSITIVE);
            write!(f, "  {} ({}): {}, operands {low:.3} to {high:.3}", r.origin, r.function, r.rung)?;
            if r.fitted != r.seen {
                write!(f, ", fitted {:.3} to {:.3}", r.fitted.0, r.fitted.1)?;
            }
            write!(f, ", error {:.4} rms ({share:.1} %), {:.4} at most", r.error.0, r.largest_error)?;
            if let Some(escape) = r.escape {
                write!(f, ", outside with probability {escape:.1e}")?;
            }
            writeln!(f)?;
        }
        let against = if self.labelled { "labels" } else { "the model's own answers" };
        writeln!(f, "choices tried ({} held-back samples, against {against})", self.held_back)?;
        for (i, candidate) in self.candidates.iter().enumerate() {
            let rungs: Vec<String> = candidate.rungs.iter().map(Rung::to_string).collect();
            let accuracy = 100.0 * candidate.accuracy;
            writeln!(f, "  {i:>3}  depth {:>2}  {accuracy:>6.2} %  {}", candidate.depth, rungs.join(", "))?;
        }
        let (before, after) = self.accuracy;
        write!(
            f,
            "  {:.2} % instead of {:.2} %; {:.2} points may be lost{}",
            100.0 * after,
            100.0 * before,
            100.0 * self.allowed,
            if self.within_budget() { "" } else { ": not reached with any of the choices above" }
        )
    }
}

/// A choice with what came of it.
struct Tried {
    rungs: Vec<usize>,
    graph: TensorGraph,
    replacements: Vec<Replacement>,
    accuracy: f64,
}

struct Search<'a> {
    graph: &'a TensorGraph,
    client: Option<&'a TensorGraph>,
    sites: &'a [Site],
    fit: Samples,
    targets: Targets,
    held: Samples,
    wanted: Vec<usize>,
    asked: &'a Approximation,
    candidates: Vec<Candidate>,
}

pub(super) fn climb(
    graph: &TensorGraph,
    client: Option<&TensorGraph>,
    sites: &[Site],
    samples: &Samples,
    asked: &Approximation,
) -> Result<(TensorGraph, Summary), CompileError> {
    let total = count(graph, samples);
    let half = total / 2;
    let part = |from: usize, to: usize| -> Samples {
        let of = |(name, values): (&String, &Vec<f64>)| {
            let each = values.len() / total;
            (name.clone(), values[from * each..to * each].to_vec())
        };
        samples.iter().map(of).collect()
    };
    let (fit, held) = (part(0, half.min(FIT_SAMPLES)), part(half, total));
    let own = final_answers(graph, client, &held)?;
    let labels = asked.labels.as_ref().and_then(|labels| labels.get(half..total)).map(<[usize]>::to_vec);
    let labelled = labels.is_some();
    let wanted = labels.unwrap_or_else(|| own.clone());
    let before = share(&own, &wanted);
    let targets = targets(graph, sites, &fit)?;
    let mut search = Search { graph, client, sites, fit, targets, held, wanted, asked, candidates: Vec::new() };
    let enough = |tried: &Tried| before - tried.accuracy <= asked.max_accuracy_drop + 1e-9;
    let mut best = search.attempt(vec![0; sites.len()])?;
    while !enough(&best) {
        let mut next: Option<(Tried, f64)> = None;
        for site in 0..sites.len() {
            let mut rungs = best.rungs.clone();
            rungs[site] += 1;
            if rungs[site] >= sites[site].ladder.len() || search.candidates.len() >= MAX_TRIES {
                continue;
            }
            let added =
                depth(sites[site].ladder[rungs[site]]) as f64 - depth(sites[site].ladder[rungs[site] - 1]) as f64;
            let tried = search.attempt(rungs)?;
            let gain = (tried.accuracy - best.accuracy) / added.max(0.5);
            if next.as_ref().is_none_or(|(_, most)| gain > *most) {
                next = Some((tried, gain));
            }
        }
        match next {
            Some((tried, _)) => best = tried,
            None => break,
        }
    }
    for site in 0..sites.len() {
        while enough(&best) && best.rungs[site] > 0 && search.candidates.len() < MAX_TRIES {
            let mut rungs = best.rungs.clone();
            rungs[site] -= 1;
            let tried = search.attempt(rungs)?;
            if !enough(&tried) {
                break;
            }
            best = tried;
        }
    }
    let summary = Summary {
        replacements: best.replacements,
        candidates: search.candidates,
        accuracy: (before, best.accuracy),
        labelled,
        held_back: search.wanted.len(),
        allowed: asked.max_accuracy_drop,
    };
    Ok((best.graph, summary))
}

/// Samples on which polynomials are fitted, at most.
const FIT_SAMPLES: usize = 256;
/// Choices that are tried, at most.
const MAX_TRIES: usize = 48;

/// The model's own values at the sites.
fn targets(graph: &TensorGraph, sites: &[Site], samples: &Samples) -> Result<Targets, CompileError> {
    let mut targets = Targets::new();
    for sample in 0..count(graph, samples) {
        let mut keep = |value: Value, tensor: &Tensor| {
            if sites.iter().any(|site| site.value == value) {
                targets.entry(value).or_default().push(tensor.clone());
            }
        };
        evaluate(graph, samples, sample, &mut keep)?;
    }
    Ok(targets)
}

impl Search<'_> {
    fn attempt(&mut self, rungs: Vec<usize>) -> Result<Tried, CompileError> {
        let chosen: Vec<Rung> = self.sites.iter().zip(&rungs).map(|(site, &rung)| site.ladder[rung]).collect();
        let (graph, replacements) =
            replace(self.graph, self.sites, &chosen, &self.fit, &self.targets, self.asked.margin)?;
        let accuracy = share(&final_answers(&graph, self.client, &self.held)?, &self.wanted);
        let depth = chosen.iter().map(|&rung| depth(rung)).sum();
        self.candidates.push(Candidate { rungs: chosen, depth, accuracy });
        Ok(Tried { rungs, graph, replacements, accuracy })
    }
}

/// Levels that a replacement spends.
fn depth(rung: Rung) -> usize {
    let degree = |degree: usize| hec_approximation::cost::depth(degree);
    match rung {
        Rung::Degree(n) => degree(n),
        Rung::Moments { degree: n, .. } => degree(n).min(2),
        // Of a window of nine: four rounds.
        Rung::Tournament(n) => 4 * degree(n),
        Rung::Average => 0,
    }
}

/// The answers after what the client computes.
fn final_answers(
    graph: &TensorGraph,
    client: Option<&TensorGraph>,
    samples: &Samples,
) -> Result<Vec<usize>, CompileError> {
    match client {
        Some(client) => answers(&Split::join(graph, client)?, samples),
        None => answers(graph, samples),
    }
}

/// The class of every sample. If the first output is one whole number, that is the class; else the position of its largest
/// value, or the sign of the only one.
pub fn answers(graph: &TensorGraph, samples: &Samples) -> Result<Vec<usize>, CompileError> {
    let mut all = Vec::new();
    for sample in 0..count(graph, samples) {
        let values = evaluate(graph, samples, sample, &mut |_, _| ())?;
        let output = graph.outputs().first().and_then(|output| values[output.value.index()].as_ref());
        let label = output.is_some_and(|output| !output.element().is_float());
        let values = output.map_or(&[][..], Tensor::values);
        let largest = values.iter().enumerate().max_by(|(i, a), (j, b)| a.total_cmp(b).then(j.cmp(i)));
        all.push(match values {
            // Negative ones too are classes of their own.
            [one] if label => *one as i64 as usize,
            [one] => usize::from(*one > 0.0),
            _ => largest.map_or(0, |(i, _)| i),
        });
    }
    Ok(all)
}

/// The share of samples on which two models give the same answer.
///
/// # Errors
/// If one of them cannot be evaluated.
pub fn agreement(a: &TensorGraph, b: &TensorGraph, samples: &Samples) -> Result<f64, CompileError> {
    Ok(share(&answers(a, samples)?, &answers(b, samples)?))
}

fn share(found: &[usize], wanted: &[usize]) -> f64 {
    let right = found.iter().zip(wanted).filter(|(a, b)| a == b).count();
    right as f64 / wanted.len().max(1) as f64
}

/// All values of one sample; those that are used up are dropped.
fn evaluate(
    graph: &TensorGraph,
    samples: &Samples,
    sample: usize,
    see: &mut dyn FnMut(Value, &Tensor),
) -> Result<Vec<Option<Tensor>>, CompileError> {
    let mut values: Vec<Option<Tensor>> = Vec::with_capacity(graph.len());
    let mut uses = graph.use_counts();
    for (at, node) in graph.nodes() {
        let value = match (node.op(), node.ty().known()) {
            (Op::Input(input), Some(ty)) => {
                let elements = ty.elements();
                let all = samples.get(&input.name).map_or(&[][..], Vec::as_slice);
                let own = all.get(sample * elements..(sample + 1) * elements).unwrap_or(&[]);
                let tensor = Tensor::from_values(ty.element, &ty.shape, own.to_vec());
                Some(tensor.map_err(|cause| super::at(node.origin().as_str(), cause))?)
            }
            (op, _) => {
                let operands: Option<Vec<&Tensor>> =
                    node.operands().iter().map(|operand| values[operand.index()].as_ref()).collect();
                let result = operands.map(|operands| op.evaluate(&operands)).transpose();
                result.map_err(|cause| super::at(node.origin().as_str(), cause))?
            }
        };
        if let Some(value) = &value {
            see(at, value);
        }
        values.push(value);
        for operand in node.operands() {
            let left: &mut u32 = &mut uses[Value::index(*operand)];
            *left -= 1;
            if *left == 0 {
                values[operand.index()] = None;
            }
        }
    }
    Ok(values)
}
