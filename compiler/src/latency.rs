//! The packed layout: ring by ring, as what a transform costs depends on the number of slots.

use hec_ir::parameters::{MAX_LOG_N, Ring, RingType, max_log_qp};
use hec_ir::tensor::TensorGraph;

use crate::error::CompileError;
use crate::management::{Candidate, Goal, SearchError};
use crate::options::Options;
use crate::{Lowered, in_batches, packed, planned};

/// Rings that are looked at.
const MIN_LOG_N: u32 = 11;
/// No chain takes fewer bits for a level: below, what rescaling rounds is more than the message.
const LEAST_BITS_A_LEVEL: u32 = 20;

/// The plan with the least time for one evaluation, over all rings that are worth a look.
///
/// # Errors
/// [`CompileError`]: what cannot be packed, or why no ring carries the model.
pub(crate) fn packed(tensor: &TensorGraph, options: &Options, goal: &Goal) -> Result<Lowered, CompileError> {
    let plan = packed::Plan::new(tensor)?;
    let samples = options.batch.unwrap_or(1).max(1).next_power_of_two();
    let degrees = goal.explicit.as_ref().map_or(MIN_LOG_N..=MAX_LOG_N, |e| e.log_n..=e.log_n);
    let mut best: Option<Lowered> = None;
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut refusal: Option<CompileError> = None;
    let mut carried = 0;
    for log_n in degrees {
        let allowed = max_log_qp(options.security, log_n).unwrap_or(0);
        let hopeless = plan.depth() as u32 * LEAST_BITS_A_LEVEL > allowed && log_n < MAX_LOG_N;
        if goal.explicit.is_none() && hopeless {
            continue;
        }
        let mut feasible = false;
        for &ring_type in &goal.ring_types {
            let slots = Ring { ring_type, log_n }.slots();
            // As many samples share a vector as were asked for, as long as each has slots for its largest value.
            let most = slots / plan.largest().next_power_of_two().min(slots);
            let period = slots / samples.min(most.max(1));
            let graph = plan.lower(period, &options.cost)?;
            let own =
                Goal { ring_types: vec![ring_type], log_n: Some(log_n), batch: Some(slots / period), ..goal.clone() };
            match planned(graph, options, &own) {
                Ok(lowered) => {
                    feasible = true;
                    candidates.extend(lowered.found.candidates.iter().cloned());
                    let nanoseconds = |lowered: &Lowered| lowered.found.simulation.nanoseconds;
                    if best.as_ref().is_none_or(|best| nanoseconds(&lowered) < nanoseconds(best)) {
                        best = Some(lowered);
                    }
                    // Real slots are as dear as half as many complex ones: there is no need to look at those.
                    if ring_type == RingType::ConjugateInvariant {
                        break;
                    }
                }
                Err(cause @ CompileError::Search(SearchError::TooDeep { .. } | SearchError::Precision { .. })) => {
                    refusal = Some(cause);
                }
                Err(other) => return Err(other),
            }
        }
        // In twice as many slots an operation costs more than twice, and there are not less than half as many: a larger ring can only
        // be better where values lie in several vectors in this one.
        let whole = plan.largest() <= Ring { ring_type: goal.ring_types[0], log_n }.slots();
        carried += usize::from(feasible);
        if carried > 0 && (whole || carried > 1) {
            break;
        }
    }
    match (best, refusal) {
        (Some(mut best), _) => {
            best.found.candidates = candidates;
            Ok(best)
        }
        (None, Some(refusal)) => Err(refusal),
        (None, None) => Err(CompileError::internal("no ring was looked at")),
    }
}

/// Whichever layout answers the samples asked for sooner, and why.
///
/// # Errors
/// [`CompileError`] of the batch layout, if neither carries the model.
pub(crate) fn sooner(
    tensor: &TensorGraph,
    options: &Options,
    goal: &Goal,
) -> Result<(Lowered, Option<String>), CompileError> {
    let samples = options.batch.unwrap_or(1).max(1);
    let seconds = |lowered: &Lowered, capacity: usize| {
        samples.div_ceil(capacity.max(1)) as f64 * lowered.found.simulation.nanoseconds * 1e-9
    };
    match (packed(tensor, options, goal), in_batches(tensor, options, goal)) {
        (Ok(packed), Ok(batch)) => {
            let capacity = packed.found.plan.ring.slots() / crate::ranges::width(&packed.slots);
            let times = [seconds(&packed, capacity), seconds(&batch, batch.found.plan.ring.slots())];
            let (chosen, name) = if times[0] <= times[1] { (packed, "packed") } else { (batch, "batch") };
            let [one, other] = times;
            let reason = format!(
                "layout: {name}; {samples} samples take about {one:.3} s packed and {other:.3} s in the batch layout, on one core"
            );
            Ok((chosen, Some(reason)))
        }
        (Ok(packed), Err(cause)) => Ok((packed, Some(format!("layout: packed; in the batch layout, {cause}")))),
        (Err(cause), Ok(batch)) => Ok((batch, Some(format!("layout: batch; packed, {cause}")))),
        (Err(_), Err(cause)) => Err(cause),
    }
}
