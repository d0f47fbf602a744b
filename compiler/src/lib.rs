//! The compiler: from a tensor graph to a program that computes it on ciphertexts.
//!
//! The pipeline, as it can be read aloud in [`compile`]: compute the [`head`] in the clear if inputs are public, run the [`passes`],
//! leave the [`tail`] to the client,
//! [`approximate`] functions by polynomials, [`pack`] the tensors into slots, bound the [`ranges`] of all values, [search](management::search) for a plan and the parameters with which it is cheapest, and
//! [emit](management::emit) the circuit. Nothing here does IO or reads a clock: the same model and options give the same bytes.

pub mod affine;
pub mod aided;
pub mod approximate;
mod certify;
pub mod cost;
mod decisions;
mod encrypted_product;
mod error;
pub mod head;
mod latency;
pub mod management;
pub mod margins;
pub mod noise;
mod normalise;
pub mod norms;
mod options;
pub mod pack;
pub mod packed;
pub mod passes;
pub mod price;
mod promise;
pub mod ranges;
mod series;
mod splits;
pub mod tail;
pub mod tile;
pub mod transformation;
pub mod view;
pub mod weights;

pub use decisions::{BoundDecision, Decisions, EncodedWeights, LayerDecision, PackedDecision, RoundDecision};
pub use error::{CompileError, Obstacle};
pub use options::{Activations, Bound, ExplicitParameters, LayoutChoice, Options};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hec_ir::Program;
use hec_ir::ckks::Circuit;
use hec_ir::ckks::precision::Profile;
use hec_ir::parameters::{Literal, ParameterError, Parameters, PrimeSearch, Ring, Security};
use hec_ir::program::{Noise, Port};
use hec_ir::slots::SlotGraph;
use hec_ir::tensor::TensorGraph;

use approximate::Approximation;
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
    let given = at_the_cut.as_ref().unwrap_or(&options.calibration);
    let normalised = normalise::normalise(server, given)?;
    let (server, calibration, input_range) = match &normalised {
        Some(normalised) => (&normalised.graph, &normalised.samples, (-1.0, 1.0)),
        None => (server, given, options.input_range),
    };
    let (cleaned, asked) = (passes::run(server)?, &options.approximation);
    let asked = Approximation { client: options.activations == Activations::Mixed, ..asked.clone() };
    let approximated = match options.activations {
        Activations::Client => None,
        Activations::Polynomial | Activations::Mixed => {
            approximate::run(&cleaned, client.as_ref(), calibration, input_range, &asked)?
        }
    };
    let (replaced, approximation) = approximated.map_or((None, None), |(graph, summary)| (Some(graph), Some(summary)));
    let cleaned = match (&replaced, options.activations) {
        (Some(replaced), Activations::Mixed) => passes::run(replaced)?,
        _ => cleaned,
    };
    let aided = match options.activations {
        Activations::Polynomial => None,
        Activations::Client | Activations::Mixed => aided::split(&cleaned, options.blind)?,
    };
    let rest = if aided.is_some() { &cleaned } else { replaced.as_ref().unwrap_or(server) };
    let tolerated = match options.bound {
        Bound::Decisions => {
            margins::tolerated(rest, client.as_ref(), calibration, options.approximation.labels.is_some())?
        }
        Bound::Any | Bound::Bits(_) | Bound::Error(_) => BTreeMap::new(),
    };
    let shown = aided.as_ref().map(|aided| aided.samples(rest, calibration)).transpose()?;
    let calibration = shown.as_ref().unwrap_or(calibration);
    let server = aided.as_ref().map_or(rest, |aided| &aided.server);
    let tensor = passes::run(server)?;
    let guards = approximation.as_ref().map_or(Vec::new(), |summary| summary.guards.clone());
    let inner =
        Options { input_range, calibration: ranges::part(server, calibration, 0..RANGE_SAMPLES), ..options.clone() };
    if options.sharing.is_some() && aided.is_some() {
        let reason = "how far the client's part in the middle of a run enlarges errors is not known, so there is no noise that \
                      surely hides them; compile with --activations polynomial";
        return Err(CompileError::Option { name: "share-decryptions", reason: reason.to_owned() });
    }
    let explicit = options.parameters.as_ref().map(ExplicitParameters::chain).transpose()?;
    if let Some(explicit) = &options.parameters {
        explicit.hold(options.security)?;
    }
    let goal = Goal {
        ring_types: options.ring_types(),
        security: options.security,
        precision: options.precision,
        input_range,
        batch: options.batch,
        log_n: None,
        explicit,
        public: head.as_ref().map_or_else(BTreeSet::new, head::Split::cut),
        aided: aided.map(Arc::new),
        sharing: options.sharing,
        values: Port::outputs_of(&tensor).iter().map(|port| port.ty.elements()).sum(),
        witnesses: guards.iter().map(|guard| guard.name.clone()).collect(),
    };
    let (planned, bound) = promise::kept(&tensor, &inner, goal.clone(), &tolerated)?;
    let Planned { found, reason, circuit, tiled, profile } = planned;
    let Lowered { slots, ranges, found, .. } = found;
    let precisions = decisions::precisions(&slots, &ranges, &found.simulation.errors);
    let public = head.map(|head| head.public);
    let rounds = goal.aided.as_ref().map_or_else(Vec::new, |aided| aided.rounds.clone());
    let program = Program::with_public(model.clone(), circuit, public, client, guards)?
        .with_rounds(rounds)?
        .with_normalisation(normalised.map(|n| n.inputs).unwrap_or_default())?;
    let noise = Noise { precision: options.precision, outputs: found.simulation.outputs.clone() };
    let program = program.with_profile(Some(profile))?.with_noise(Some(noise))?;
    let mut decisions = Decisions::new(&program, &ranges, options, found, tiled, approximation);
    decisions.layout_reason = reason;
    decisions.bound = bound;
    decisions.precisions = precisions;
    Ok(Compilation { program, tensor, slots, decisions })
}

/// A circuit, and how it came to be.
struct Planned {
    found: Lowered,
    reason: Option<String>,
    circuit: Circuit,
    tiled: bool,
    profile: Profile,
}

/// The circuit of least cost for a goal, and what it does with the calibration samples.
fn circuit(tensor: &TensorGraph, options: &Options, goal: &Goal) -> Result<Planned, CompileError> {
    let (found, reason) = match options.layout {
        LayoutChoice::Batch => (in_batches(tensor, options, goal)?, None),
        LayoutChoice::Packed => (latency::packed(tensor, options, goal)?, None),
        LayoutChoice::Auto => latency::sooner(tensor, options, goal)?,
    };
    let Lowered { slots, weights, ranges, found: plan } = &found;
    let parameters = choose_primes(&plan.plan, &plan.simulation, options.security)?;
    let circuit = management::emit(slots, weights, &plan.plan, &parameters, ranges, &options.cost)?;
    let nodes = circuit.len();
    let packed = ranges::width(slots) > 1;
    let circuit = match options.memory {
        budget if packed => splits::fitted(circuit, budget, &options.cost)?,
        // What the client waits for is not computed in parts.
        Some(_) if goal.aided.is_some() => circuit,
        Some(budget) => tile::to_budget(&circuit, ciphertext_budget(&circuit, budget))?,
        None => circuit,
    };
    let tiled = circuit.len() > nodes;
    let rounds = goal.aided.as_ref().map_or(&[][..], |aided| &aided.rounds);
    let profile = certify::profile(&circuit, slots, &options.calibration, options.input_range, rounds)?;
    Ok(Planned { found, reason, circuit, tiled, profile })
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

/// A model in slots, and the plan that is cheapest for it.
struct Lowered {
    slots: SlotGraph,
    weights: Vec<Option<Weights>>,
    ranges: Ranges,
    found: management::Found,
}

impl Lowered {
    /// Nanoseconds for one slot of a full batch.
    fn per_slot(&self) -> f64 {
        let found = &self.found;
        let taken = found.candidates.iter().find(|candidate| candidate.ring == found.plan.ring);
        taken.map_or(found.simulation.nanoseconds, |candidate| candidate.per_slot)
    }
}

/// The batch layout.
fn in_batches(tensor: &TensorGraph, options: &Options, goal: &Goal) -> Result<Lowered, CompileError> {
    planned(pack::batch(tensor)?, options, goal)
}

/// Searches a plan for a model in slots.
fn planned(slots: SlotGraph, options: &Options, goal: &Goal) -> Result<Lowered, CompileError> {
    let slots = if goal.public.is_empty() { slots } else { head::mark(&slots, &goal.public)? };
    let slots = goal.aided.as_ref().map_or_else(|| Ok(slots.clone()), |aided| aided.weave(&slots))?;
    let weights = Weights::of_graph(&slots);
    let mut ranges = Ranges::of_graph(&slots, options.input_range, &options.calibration);
    ranges.widen(&slots, &goal.witnesses, GUARD_ROOM);
    let found = management::search(&slots, &weights, &ranges, goal, &options.cost, &options.calibration)?;
    Ok(Lowered { slots, weights, ranges, found })
}

/// A model of which nothing is left to the client: after the passes, and packed into slots, in the batch layout.
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
    let keys = hec_ir::ckks::evaluation_key_bytes(circuit) + hec_ir::ckks::encoded_weight_bytes(circuit);
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
