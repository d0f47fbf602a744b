//! What the certificate is to promise of the outputs, kept at least cost.

use std::collections::BTreeMap;

use hec_ir::ckks::precision::Certificate;
use hec_ir::tensor::TensorGraph;

use crate::decisions::BoundDecision;
use crate::error::CompileError;
use crate::management::Goal;
use crate::options::{Bound, Options};
use crate::{Planned, circuit};

/// Precisions that are tried for a bound at the outputs.
const PRECISION_ATTEMPTS: usize = 6;
/// Precisions that are closer are not told apart, in bits.
const PRECISION_APART: f64 = 0.5;
/// What is worth a search: so many times the cost of the plan that promised too little.
const DEARER: f64 = 1.02;
/// Bits that are added to those that are missing: rounded weights and messages do not follow exactly.
const PRECISION_STEP: f64 = 0.1;
/// The highest precision that can be asked for, in bits.
pub(crate) const MAX_PRECISION: f64 = 40.0;

/// The circuit of least cost whose certificate promises what is asked of the outputs; `tolerated` is what [`Bound::Decisions`] asks.
pub(crate) fn kept(
    tensor: &TensorGraph,
    options: &Options,
    goal: Goal,
    tolerated: &BTreeMap<String, f64>,
) -> Result<(Planned, BoundDecision), CompileError> {
    let first = circuit(tensor, options, &goal)?;
    let judge = |planned: &Planned| {
        let certificate = Certificate::of(&planned.circuit, &planned.profile);
        let promises = certificate.map_or_else(|_| Vec::new(), |certificate| certificate.outputs);
        let own: Vec<_> = promises.into_iter().filter(|(name, _)| !goal.witnesses.contains(name)).collect();
        BoundDecision::new(options.bound, &own, tolerated)
    };
    let own = judge(&first);
    let (mut reached, mut missing) = (first.found.found.simulation.precision, own.missing);
    let (mut least, mut cause) = (missing, None);
    // The precision that was too little, and what kept the promise.
    let mut below = goal.precision;
    let mut kept: Option<(f64, (Planned, BoundDecision))> = None;
    for _ in 0..PRECISION_ATTEMPTS {
        let asked = match &kept {
            None if missing <= 0.0 => break,
            None => reached.max(below) + missing + PRECISION_STEP,
            // More than is needed is not taken if it costs more.
            Some((above, (planned, _))) => {
                let dearer = planned.found.per_slot() > DEARER * first.found.per_slot();
                if above - below < PRECISION_APART || !dearer {
                    break;
                }
                f64::midpoint(below, *above)
            }
        };
        if !asked.is_finite() || asked > MAX_PRECISION {
            break;
        }
        match circuit(tensor, options, &Goal { precision: asked, ..goal.clone() }) {
            Ok(planned) => {
                let found = judge(&planned);
                if found.missing > 0.0 {
                    below = asked;
                    (reached, missing) = (planned.found.found.simulation.precision, found.missing);
                    least = least.min(missing);
                } else if kept.as_ref().is_none_or(|(_, (kept, _))| planned.found.per_slot() < kept.found.per_slot()) {
                    kept = Some((asked, (planned, found)));
                } else {
                    break;
                }
            }
            Err(error) => {
                cause = Some(error);
                break;
            }
        }
    }
    if let Some((_, kept)) = kept {
        return Ok(kept);
    }
    if own.missing <= 0.0 {
        return Ok((first, own));
    }
    let why = cause.map_or(String::new(), |cause| format!(": {cause}"));
    match options.bound {
        Bound::Any | Bound::Decisions => Ok((first, own)),
        Bound::Bits(bits) => Err(CompileError::Option {
            name: "precision",
            reason: format!(
                "{bits:.1} bits cannot be promised at the outputs; the best that was found is {:.1}{why}",
                bits - least
            ),
        }),
        Bound::Error(error) => Err(CompileError::Option {
            name: "output-error",
            reason: format!(
                "errors at the outputs cannot be bounded by {error:e}; the best that was found is {:.1e}{why}",
                error * least.exp2()
            ),
        }),
    }
}
