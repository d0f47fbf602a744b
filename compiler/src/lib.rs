//! The compiler: from a tensor graph to a program that computes it on ciphertexts.
//!
//! The pipeline, as it can be read aloud in [`compile`]: compute the [`head`] in the clear if inputs are public, run the [`passes`],
//! leave the [`tail`] to the client,
//! [`approximate`] functions by polynomials, [`pack`] the tensors into slots, bound the [`ranges`] of all values, [search](management::search) for a plan and the parameters with which it is cheapest, and
//! [emit](management::emit) the circuit. Nothing here does IO or reads a clock: the same model and options give the same bytes.

pub mod affine;
pub mod approximate;
pub mod cost;
mod decisions;
mod encrypted_product;
mod error;
pub mod head;
pub mod management;
pub mod noise;
mod options;
pub mod pack;
pub mod passes;
pub mod ranges;
mod series;
pub mod tail;
pub mod tile;
pub mod view;
pub mod weights;

pub use decisions::{Decisions, LayerDecision};
pub use error::{CompileError, Obstacle};
pub use options::{ExplicitParameters, Options};

use hec_ir::Program;
use hec_ir::ckks::Circuit;
use hec_ir::parameters::{Literal, ParameterError, Parameters, PrimeSearch, Ring, Security};
use hec_ir::slots::SlotGraph;
use hec_ir::tensor::TensorGraph;

use management::{Goal, Simulation};
use ranges::Ranges;
use weights::Weights;

/// A compiled model with everything that was decided on the way.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// What to run.
    pub program: Program,
    /// What the server computes of the model, after the passes.
    pub tensor: TensorGraph,
    /// The model in slots.
    pub slots: SlotGraph,
    /// What was decided, and why.
    pub decisions: Decisions,
}

/// Compiles `model`.
///
/// # Errors
/// [`CompileError`]: all operations that cannot be encrypted, or why no parameters carry the model, or why the given ones are
/// refused.
pub fn compile(model: &TensorGraph, options: &Options) -> Result<Compilation, CompileError> {
    options.check()?;
    let head = head::split(model, &options.public)?;
    let rest = head.as_ref().map_or(model, |head| &head.rest);
    let (server, client) = split(rest)?.map_or((None, None), |parts| (Some(parts.server), Some(parts.client)));
    let server = server.as_ref().unwrap_or(rest);
    let at_the_cut = head.as_ref().map(|head| head.samples(&options.calibration)).transpose()?;
    let (calibration, asked) = (at_the_cut.as_ref().unwrap_or(&options.calibration), &options.approximation);
    let approximated = approximate::run(&passes::run(server)?, client.as_ref(), calibration, asked)?;
    let (replaced, approximation) = approximated.map_or((None, None), |(graph, summary)| (Some(graph), Some(summary)));
    let (tensor, slots) = lower(replaced.as_ref().unwrap_or(server))?;
    let slots = match &head {
        Some(head) => head.mark(&slots)?,
        None => slots,
    };
    let weights = Weights::of_graph(&slots);
    let calibration = ranges::part(server, calibration, 0..RANGE_SAMPLES);
    let mut ranges = Ranges::of_graph(&slots, options.input_range, &calibration);
    let guards = approximation.as_ref().map_or(Vec::new(), |summary| summary.guards.clone());
    let witnesses: Vec<&str> = guards.iter().map(|guard| guard.name.as_str()).collect();
    ranges.widen(&slots, &witnesses, GUARD_ROOM);
    let explicit = options.parameters.as_ref().map(ExplicitParameters::chain).transpose()?;
    if let Some(explicit) = &options.parameters {
        explicit.hold(options.security)?;
    }
    let goal = Goal {
        ring_types: options.ring_types(),
        security: options.security,
        precision: options.precision,
        input_range: options.input_range,
        batch: options.batch,
        explicit,
    };
    let found = management::search(&slots, &weights, &ranges, &goal, &options.cost, &calibration)?;
    let parameters = choose_primes(&found.plan, &found.simulation, options.security)?;
    let circuit = management::emit(&slots, &weights, &found.plan, &parameters)?;
    let nodes = circuit.len();
    let circuit = match options.memory {
        Some(budget) => tile::to_budget(&circuit, ciphertext_budget(&circuit, budget))?,
        None => circuit,
    };
    let tiled = circuit.len() > nodes;
    let public = head.map(|head| head.public);
    let program = Program::with_public(model.clone(), circuit, public, client, guards)?;
    let decisions = Decisions::new(&program, &ranges, options, found, tiled, approximation);
    Ok(Compilation { program, tensor, slots, decisions })
}

/// How much larger than expected a range witness may become before it overflows: what overflows is as good as random, and then
/// below the limit with one chance in as many.
const GUARD_ROOM: f64 = 1024.0;
/// Samples that are enough to see how large values become, and how rounded weights change answers.
const RANGE_SAMPLES: usize = 512;

/// The parts of `model` that the server and the client compute; `None` if all of it is the server's.
///
/// # Errors
/// As [`compile`], for this stage.
pub fn split(model: &TensorGraph) -> Result<Option<tail::Split>, CompileError> {
    tail::split(&passes::recognise(model)?)
}

/// A model of which nothing is left to the client: after the passes, and packed into slots.
///
/// # Errors
/// As [`compile`], for these stages.
pub fn lower(model: &TensorGraph) -> Result<(TensorGraph, SlotGraph), CompileError> {
    let tensor = passes::run(model)?;
    let slots = pack::batch(&tensor)?;
    Ok((tensor, slots))
}

/// What of a budget is left for ciphertexts beside evaluation keys, weights, and what else a process takes.
fn ciphertext_budget(circuit: &Circuit, budget: u64) -> u64 {
    /// The share that ciphertexts may take of what keys leave.
    const SHARE: f64 = 0.9;
    let keys = hec_ir::ckks::evaluation_key_bytes(circuit);
    (budget.saturating_sub(keys) as f64 * SHARE) as u64
}

/// Primes of the planned sizes, checked against the security table.
fn choose_primes(
    plan: &management::Plan,
    simulation: &Simulation,
    security: Security,
) -> Result<Parameters, CompileError> {
    let mut search = PrimeSearch::for_ring(plan.ring);
    let mut take = |sizes: &[f64]| -> Result<Vec<u64>, CompileError> {
        let found = |&bits: &f64| {
            search.take_near(bits).ok_or_else(|| CompileError::Option {
                name: "params",
                reason: format!("there are not enough primes of {bits:.0} bits for the ring {}", plan.ring),
            })
        };
        sizes.iter().map(found).collect()
    };
    let special_primes = take(&simulation.special)?;
    let moduli = take(&simulation.moduli)?;
    let Ring { ring_type, log_n } = plan.ring;
    let literal = Literal { ring_type, log_n, moduli, special_primes, security };
    Parameters::new(literal).map_err(|e: ParameterError| CompileError::Parameters(e))
}
