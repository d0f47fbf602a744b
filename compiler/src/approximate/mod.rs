//! Polynomials in place of what encrypted arithmetic cannot compute: scalar functions and maximum pooling.
//!
//! A *site* is a node that has to be replaced. For each there is a ladder of replacements, cheapest first; a search climbs
//! the ladders until the model's answers on held-back calibration samples are as good as the user wants. Every fit is
//! made on what the samples show at its site, with the replacements before it already in place.

mod activation;
mod answers;
mod bounds;
mod decompose;
mod guard;
mod pool;
mod search;
mod traced;

use std::collections::BTreeMap;

use hec_ir::graph::{GraphError, Value};
use hec_ir::program::Guard;
use hec_ir::tensor::{Op, Pooling, Tensor, TensorGraph};

use crate::error::CompileError;
use crate::ranges::Samples;

pub(crate) use answers::{CLOSE, evaluate as evaluate_sample};
pub use search::{Candidate, Summary};
use traced::Traced;

/// How maximum pooling is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxPooling {
    /// By a polynomial in the moments of each window, with a function before it taken in.
    #[default]
    Auto,
    /// By a tournament: the larger of two values, with a polynomial for `|a - b|`.
    Tournament,
    /// By the average: another function, for models that bear it.
    Average,
}

impl MaxPooling {
    /// The names of all.
    pub const NAMES: [&'static str; 3] = ["auto", "tournament", "average"];

    /// By name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Auto, Self::Tournament, Self::Average];
        Self::NAMES.iter().position(|own| *own == name).map(|i| all[i])
    }
}

/// What is asked of the replacements.
#[derive(Clone, Debug, PartialEq)]
pub struct Approximation {
    /// The share of held-back samples whose answer may change (or become wrong, if there are labels): with more, the model is
    /// refused. `None` aims at [`DEFAULT_DROP`], and goes on with the best if that is not reached.
    pub max_accuracy_drop: Option<f64>,
    /// The largest root mean square error of the outputs on held-back samples, as a share of their standard deviation: for
    /// models that answer with numbers. With more, the model is refused.
    pub max_output_error: Option<f64>,
    /// The classes of the calibration samples, if they are known.
    pub labels: Option<Vec<usize>>,
    /// How maximum pooling is replaced.
    pub max_pooling: MaxPooling,
    /// Whether the circuit tells the client, with one number for each replacement and sample, that an operand left its range.
    pub guard: bool,
    /// Whether the client may compute in the middle of the run what no polynomial comes near enough to.
    pub client: bool,
    /// By how many half-lengths the range that the samples show is widened.
    pub margin: f64,
}

impl Default for Approximation {
    /// Nothing refused, no labels, a quarter of margin.
    fn default() -> Self {
        Self {
            max_accuracy_drop: None,
            max_output_error: None,
            labels: None,
            max_pooling: MaxPooling::Auto,
            guard: false,
            client: false,
            margin: 0.25,
        }
    }
}

/// What is aimed at where the user does not say: half a percent.
pub const DEFAULT_DROP: f64 = 0.005;

/// What stands in for a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rung {
    /// A least squares polynomial of this degree.
    Degree(usize),
    /// A polynomial in the moments of each window.
    Moments {
        /// The highest moment: the mean of this power of the elements.
        order: usize,
        /// The degree in the elements.
        degree: usize,
    },
    /// A tournament with polynomials of this degree for `|a - b|`.
    Tournament(usize),
    /// The average.
    Average,
    /// Nothing: the client computes it.
    Client,
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Degree(degree) => write!(f, "degree {degree}"),
            Self::Moments { order, degree } => write!(f, "{order} moments, degree {degree}"),
            Self::Tournament(degree) => write!(f, "tournament of degree {degree}"),
            Self::Average => f.write_str("average"),
            Self::Client => f.write_str("client"),
        }
    }
}

/// A node that has to be replaced, and how it can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// The node.
    pub value: Value,
    /// The model's node.
    pub origin: String,
    /// What it computes.
    pub function: String,
    /// Replacements, cheapest first.
    pub ladder: Vec<Rung>,
}

impl Site {
    /// The operand of the function: with maximum pooling, that of the function before it if that is replaced together with it.
    fn operand(&self, graph: &TensorGraph) -> Value {
        let inner = graph.node(self.value).operands()[0];
        let pooled = matches!(graph.node(self.value).op(), Op::Pool(_));
        if pooled && self.function != "max_pool" { graph.node(inner).operands()[0] } else { inner }
    }
}

/// A replacement that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Replacement {
    /// The model's node.
    pub origin: String,
    /// What it computes.
    pub function: String,
    /// What stands in for it.
    pub rung: Rung,
    /// The smallest and largest operand on the samples.
    pub seen: (f64, f64),
    /// Where all but one in a thousand of the operands on each side are.
    pub quantiles: (f64, f64),
    /// The smallest and largest operand of each channel (the second axis) on the samples.
    pub channels: Vec<(f64, f64)>,
    /// The smallest and largest operand that any input in the input range can give in the model as it was, by interval arithmetic;
    /// `None` if it is not bounded.
    pub bound: Option<(f64, f64)>,
    /// Where the polynomial was fitted.
    pub fitted: (f64, f64),
    /// The root mean square of the error on the samples, and of what the node itself gives.
    pub error: (f64, f64),
    /// The largest error inside of the fitted range; for pooling, on the samples.
    pub largest_error: f64,
    /// The estimated probability that an operand leaves the fitted range, if it can be told.
    pub escape: Option<f64>,
    /// Shares of the operands in equal parts of what was seen.
    pub histogram: Vec<f64>,
    /// Operand, function and polynomial, point by point across the fitted range; none where more than one number decides.
    pub curve: Vec<[f64; 3]>,
}

/// The nodes of `graph` that need a replacement, and depend on an input.
pub fn sites(graph: &TensorGraph, max_pooling: MaxPooling) -> Vec<Site> {
    let uses = graph.use_counts();
    let mut variable = vec![false; graph.len()];
    let mut found = Vec::new();
    for (value, node) in graph.nodes() {
        let depends = node.operands().iter().any(|operand| variable[operand.index()]);
        variable[value.index()] = depends || matches!(node.op(), Op::Input(_));
        if !depends {
            continue;
        }
        let origin = node.origin().as_str().to_owned();
        if let Op::Pool(pool) = node.op()
            && pool.pooling == Pooling::Max
        {
            // What is applied to every element before the maximum is replaced together with it.
            let inner = node.operands()[0];
            let before = graph.node(inner).op().function().filter(|_| uses[inner.index()] == 1);
            let fused = before.is_some() && max_pooling == MaxPooling::Auto;
            if fused {
                found.retain(|site: &Site| site.value != inner);
            }
            let function = match before.filter(|_| fused) {
                Some(function) => format!("max_pool of {function}"),
                None => "max_pool".to_owned(),
            };
            let ladder = match max_pooling {
                MaxPooling::Average => vec![Rung::Average],
                MaxPooling::Tournament => [4, 8, 16, 32].map(Rung::Tournament).to_vec(),
                MaxPooling::Auto => {
                    [(2, 2), (2, 4), (4, 4)].map(|(order, degree)| Rung::Moments { order, degree }).to_vec()
                }
            };
            found.push(Site { value, origin, function, ladder });
        } else if let Some(function) = node.op().function() {
            let ladder = activation::ladder(&function);
            found.push(Site { value, origin, function: function.to_string(), ladder });
        }
    }
    found
}

/// What the model as it was gives at each site, on the samples of the fit.
pub(crate) type Targets = BTreeMap<Value, Vec<Tensor>>;

/// A graph without sites.
pub(crate) struct Replaced {
    pub(crate) graph: TensorGraph,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) guards: Vec<Guard>,
}

/// Replaces every site by its rung, fitting on `samples`.
pub(crate) fn replace(
    graph: &TensorGraph,
    sites: &[Site],
    rungs: &[Rung],
    samples: &Samples,
    targets: &Targets,
    asked: &Approximation,
) -> Result<Replaced, CompileError> {
    let margin = asked.margin;
    let mut traced = Traced::new(graph, samples);
    let mut replacements = Vec::new();
    let mut guards = Vec::new();
    for (value, node) in graph.nodes() {
        traced.at(node.origin());
        let site = sites.iter().position(|site| site.value == value);
        let replaced = match (site, site.map(|site| rungs[site])) {
            (Some(site), Some(rung)) if rung != Rung::Client => {
                let (value, operand, replacement) = if let Op::Pool(pool) = node.op() {
                    let pool = pool::MaxPool { graph, node, pool, target: targets.get(&value) };
                    pool::replace(&mut traced, pool, rung, &sites[site], margin)?
                } else {
                    activation::replace(&mut traced, node, rung, &sites[site], margin)?
                };
                if asked.guard {
                    guards.push(guard::add(&mut traced, operand, &replacement)?);
                }
                replacements.push(replacement);
                value
            }
            _ => {
                let operands = traced.operands(node.operands());
                traced.push(node.op().clone(), &operands)?
            }
        };
        traced.keep(replaced);
    }
    Ok(Replaced { graph: traced.finish(graph), replacements, guards })
}

/// The replaced model, what was replaced, and how the choice was made; `None` if nothing has to be replaced or there are no
/// samples to fit on. If `client` goes on from the outputs, answers are compared after it. What is said of
/// any input holds for elements in `input_range`.
///
/// # Errors
/// If a replacement cannot be fitted.
pub fn run(
    graph: &TensorGraph,
    client: Option<&TensorGraph>,
    samples: &Samples,
    input_range: (f64, f64),
    asked: &Approximation,
) -> Result<Option<(TensorGraph, Summary)>, CompileError> {
    if traced::count(graph, samples) < MIN_SAMPLES {
        return Ok(None);
    }
    let decomposed = decompose::decompose(graph)?.map(|graph| crate::passes::run(&graph)).transpose()?;
    let graph = decomposed.as_ref().unwrap_or(graph);
    let mut sites = sites(graph, asked.max_pooling);
    if asked.client {
        sites.iter_mut().for_each(|site| site.ladder.push(Rung::Client));
    }
    if sites.is_empty() {
        return Ok(None);
    }
    let (replaced, mut summary) = search::climb(graph, client, &sites, samples, asked)?;
    let bounds = bounds::of_graph(graph, input_range);
    for replacement in &mut summary.replacements {
        let site = sites.iter().find(|site| site.origin == replacement.origin);
        replacement.bound = site.and_then(|site| bounds[site.operand(graph).index()]);
    }
    if (asked.max_accuracy_drop.is_some() || asked.max_output_error.is_some()) && !summary.within_budget() {
        return Err(CompileError::Accuracy { summary: Box::new(summary) });
    }
    Ok(Some((replaced, summary)))
}

/// Fewer samples than this show nothing.
const MIN_SAMPLES: usize = 16;

impl From<hec_approximation::ApproximationError> for CompileError {
    fn from(cause: hec_approximation::ApproximationError) -> Self {
        Self::internal(&cause.to_string())
    }
}

/// An error of the tensor dialect at a node.
fn at(origin: &str, cause: hec_ir::graph::TypeError) -> GraphError {
    GraphError { origin: origin.into(), op: "approximate".to_owned(), cause }
}
