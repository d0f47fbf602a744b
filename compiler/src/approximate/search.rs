//! Which replacement each site gets: the least depth at which the answers stay as good as the user wants.
//!
//! The samples are split: fits are made on the first half, answers are compared on the second. All sites start on the first
//! rung of their ladders. As long as too many answers change, that one site is taken a rung up which gains most for the depth
//! that it adds; then every site is taken down again where the answers allow it. Nothing is drawn at random.

use std::fmt;

use hec_ir::graph::Value;
use hec_ir::program::Guard;
use hec_ir::tensor::{Tensor, TensorGraph, TensorType};
use rayon::prelude::*;

use super::answers::{Answers, evaluate};
use super::traced::count;
use super::{Approximation, DEFAULT_DROP, MIN_SAMPLES, Replaced, Replacement, Rung, Site, Targets, replace};
use crate::error::CompileError;
use crate::ranges::{Samples, part};

/// A choice that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// A rung for each site.
    pub rungs: Vec<Rung>,
    /// Products on the longest way through the replacements, all sites in a row.
    pub depth: usize,
    /// The share of held-back samples with the wanted answer.
    pub accuracy: f64,
    /// The root mean square of the outputs' errors on held-back samples, as a share of their standard deviation.
    pub output_error: f64,
}

/// What was replaced, and why so.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The replacements.
    pub replacements: Vec<Replacement>,
    /// The range witnesses, if they were asked for.
    pub guards: Vec<Guard>,
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
    /// As of the candidate that was chosen.
    pub output_error: f64,
    /// The largest output error that was allowed.
    pub allowed_error: Option<f64>,
}

impl Summary {
    /// Whether the budget was kept.
    pub fn within_budget(&self) -> bool {
        let error = self.allowed_error.is_none_or(|allowed| self.output_error <= allowed);
        error && self.accuracy.0 - self.accuracy.1 <= self.allowed + 1e-9
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
            let (low, high) = r.quantiles;
            write!(f, ", 99.8 % of them {low:.3} to {high:.3}")?;
            match r.bound {
                Some((low, high)) => write!(f, ", any input {low:.3} to {high:.3}")?,
                None => write!(f, ", any input unbounded")?,
            }
            if r.channels.len() > 1 {
                let widths = || r.channels.iter().map(|(low, high)| low.abs().max(high.abs()));
                let (least, most) = (widths().fold(f64::INFINITY, f64::min), widths().fold(0.0, f64::max));
                write!(f, ", {} channels reach {least:.3} to {most:.3}", r.channels.len())?;
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
            let error = 100.0 * candidate.output_error;
            writeln!(
                f,
                "  {i:>3}  depth {:>2}  {accuracy:>6.2} %  error {error:>5.1} %  {}",
                candidate.depth,
                rungs.join(", ")
            )?;
        }
        let (before, after) = self.accuracy;
        let error = 100.0 * self.output_error;
        let allowed_error = self.allowed_error.map_or(String::new(), |e| format!(" of the {:.1} % allowed", 100.0 * e));
        write!(
            f,
            "  {:.2} % instead of {:.2} %; {:.2} points may be lost; outputs are off by {error:.1} % of their spread{allowed_error}{}",
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
    output_error: f64,
}

struct Search<'a> {
    graph: &'a TensorGraph,
    client: Option<&'a TensorGraph>,
    sites: &'a [Site],
    fit: Samples,
    targets: Targets,
    held: Samples,
    own: Answers,
    wanted: Answers,
    asked: &'a Approximation,
    candidates: Vec<Candidate>,
    /// For each candidate the places of its rungs on their ladders.
    places: Vec<Vec<usize>>,
}

pub(super) fn climb(
    graph: &TensorGraph,
    client: Option<&TensorGraph>,
    sites: &[Site],
    samples: &Samples,
    asked: &Approximation,
) -> Result<(TensorGraph, Summary), CompileError> {
    let allowed = asked.max_accuracy_drop.unwrap_or(DEFAULT_DROP);
    let total = count(graph, samples);
    let half = total / 2;
    let fitted = (FIT_ELEMENTS / elements(graph).max(1)).clamp(MIN_SAMPLES / 2, FIT_SAMPLES).min(half);
    let (fit, held) = (part(graph, samples, 0..fitted), part(graph, samples, half..total));
    let own = Answers::of(graph, client, &held)?;
    let labelled = asked.labels.is_some();
    let wanted = match &asked.labels {
        None => own.clone(),
        Some(labels) if labels.len() == total => own.clone().labelled(&labels[half..]),
        Some(labels) => {
            let reason = format!("expected a label for each of {total} samples, found {}", labels.len());
            return Err(CompileError::Option { name: "calibrate-labels", reason });
        }
    };
    let before = own.share(&wanted);
    let targets = targets(graph, sites, &fit)?;
    let mut search = Search {
        graph,
        client,
        sites,
        fit,
        targets,
        held,
        own,
        wanted,
        asked,
        candidates: Vec::new(),
        places: Vec::new(),
    };
    let close = |error: f64| asked.max_output_error.is_none_or(|most| error <= most);
    let enough = |tried: &Tried| before - tried.accuracy <= allowed + 1e-9 && close(tried.output_error);
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
            let mut gained = tried.accuracy - best.accuracy;
            if before - best.accuracy <= allowed + 1e-9 {
                gained = best.output_error - tried.output_error;
            }
            let gain = gained / added.max(0.5);
            if next.as_ref().is_none_or(|(_, most)| gain > *most) {
                next = Some((tried, gain));
            }
        }
        match next {
            Some((tried, _)) => best = tried,
            None => break,
        }
    }
    if !enough(&best)
        && let Some(places) = search.nearest(allowed).filter(|places| *places != best.rungs)
    {
        best = search.attempt(places)?;
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
    let mut guards = Vec::new();
    if asked.guard {
        let chosen = search.rungs(&best.rungs);
        let guarded = replace(graph, sites, &chosen, &search.fit, &search.targets, asked)?;
        (best.graph, guards) = (guarded.graph, guarded.guards);
    }
    let summary = Summary {
        replacements: best.replacements,
        guards,
        candidates: search.candidates,
        accuracy: (before, best.accuracy),
        labelled,
        held_back: search.wanted.samples(),
        allowed,
        output_error: best.output_error,
        allowed_error: asked.max_output_error,
    };
    Ok((best.graph, summary))
}

/// Elements of all values of one sample.
fn elements(graph: &TensorGraph) -> usize {
    graph.nodes().filter_map(|(_, node)| node.ty().known()).map(TensorType::elements).sum()
}

/// Samples on which polynomials are fitted, at most.
const FIT_SAMPLES: usize = 512;
/// While polynomials are fitted, all values of all these samples are kept: 8 bytes for each element.
const FIT_ELEMENTS: usize = 1 << 27;
/// Choices that are tried, at most.
const MAX_TRIES: usize = 48;

/// The model's own values at the sites.
fn targets(graph: &TensorGraph, sites: &[Site], samples: &Samples) -> Result<Targets, CompileError> {
    let one = |sample: usize| -> Result<Vec<(Value, Tensor)>, CompileError> {
        let mut kept = Vec::new();
        let mut keep = |value: Value, tensor: &Tensor| {
            if sites.iter().any(|site| site.value == value) {
                kept.push((value, tensor.clone()));
            }
        };
        evaluate(graph, samples, sample, &mut keep)?;
        Ok(kept)
    };
    let all: Vec<_> = (0..count(graph, samples)).into_par_iter().map(one).collect::<Result<_, _>>()?;
    let mut targets = Targets::new();
    all.into_iter().flatten().for_each(|(value, tensor)| targets.entry(value).or_default().push(tensor));
    Ok(targets)
}

impl Search<'_> {
    /// Of what was tried, the least deep that is as right as any, or nearly so: by no more than may be lost.
    fn nearest(&self, allowed: f64) -> Option<Vec<usize>> {
        let most = self.candidates.iter().map(|c| c.accuracy).fold(0.0, f64::max);
        let near = |(c, _): &(&Candidate, &Vec<usize>)| c.accuracy >= most - allowed - 1e-9;
        let all = self.candidates.iter().zip(&self.places).filter(near);
        all.min_by_key(|(candidate, _)| candidate.depth).map(|(_, places)| places.clone())
    }

    fn rungs(&self, places: &[usize]) -> Vec<Rung> {
        self.sites.iter().zip(places).map(|(site, &rung)| site.ladder[rung]).collect()
    }

    fn attempt(&mut self, rungs: Vec<usize>) -> Result<Tried, CompileError> {
        let chosen = self.rungs(&rungs);
        let without = Approximation { guard: false, ..self.asked.clone() };
        let Replaced { graph, replacements, .. } =
            replace(self.graph, self.sites, &chosen, &self.fit, &self.targets, &without)?;
        let answers = Answers::of(&graph, self.client, &self.held)?;
        let (accuracy, output_error) = (answers.share(&self.wanted), answers.error(&self.own));
        let depth = chosen.iter().map(|&rung| depth(rung)).sum();
        self.places.push(rungs.clone());
        self.candidates.push(Candidate { rungs: chosen, depth, accuracy, output_error });
        Ok(Tried { rungs, graph, replacements, accuracy, output_error })
    }
}

/// What a round with the client counts for, in levels.
const ROUND_DEPTH: usize = 12;

/// Levels that a replacement spends.
fn depth(rung: Rung) -> usize {
    let degree = |degree: usize| hec_approximation::cost::depth(degree);
    match rung {
        Rung::Degree(n) => degree(n),
        // The product of the first and the third moment is one level deeper than those of the others.
        Rung::Moments { order, degree: n } => degree(n).min(2) + usize::from(order > 2),
        // Of a window of nine: four rounds.
        Rung::Tournament(n) => 4 * degree(n),
        Rung::Average => 0,
        // A round trip: dearer than any polynomial, however few levels it takes.
        Rung::Client => ROUND_DEPTH,
    }
}
