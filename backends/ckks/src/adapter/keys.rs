//! The evaluation keys of a circuit.

use hec_ir::ckks::KeyNeeds;
use hec_runtime::engine::EngineError;

use crate::{Automorphism, Context, GaloisKeys, RelinearizationKeys};

/// All keys that a server has of a client.
#[derive(Debug, Default)]
pub struct EvaluationKeys {
    /// To take products back to degree 1.
    pub relinearization: Option<RelinearizationKeys>,
    /// To rotate slots.
    pub rotations: GaloisKeys,
}

impl EvaluationKeys {
    /// Bytes that they take when they are sent.
    pub fn bytes(&self, context: &Context) -> u64 {
        let keys = self.relinearization.as_ref();
        let relinearization = keys.and_then(|keys| keys.serialized_len(context).ok()).unwrap_or(0);
        let rotations = if self.rotations.is_empty() { 0 } else { self.rotations.serialized_len(context).unwrap_or(0) };
        (relinearization + rotations) as u64
    }

    /// Whether a circuit that needs `needs` can be evaluated with them.
    ///
    /// # Errors
    /// Names the first key that is missing, or made for a lower level.
    pub fn serve(&self, context: &Context, needs: &KeyNeeds) -> Result<(), EngineError> {
        if let Some(wanted) = needs.relinearization {
            let found = self.relinearization.as_ref().map(|keys| (keys.max_degree(), keys.level()));
            let (degree, level) = found.unwrap_or((0, 0));
            if degree < wanted.degree || level < wanted.level {
                let (wanted_degree, wanted_level) = (wanted.degree, wanted.level);
                return Err(EngineError(format!(
                    "expected relinearization keys up to degree {wanted_degree} at level {wanted_level}, \
                     found degree {degree} at level {level}"
                )));
            }
        }
        for (automorphism, level) in rotations(needs) {
            self.rotations.find(context, "evaluation keys", automorphism, level).map_err(EngineError::new)?;
        }
        Ok(())
    }
}

/// The rotations other than by 0, which needs no key, with their levels.
pub(super) fn rotations(needs: &KeyNeeds) -> impl Iterator<Item = (Automorphism, usize)> {
    let steps = needs.rotations.iter().filter(|(steps, _)| **steps != 0);
    steps.map(|(&steps, &level)| (Automorphism::Rotation { steps: steps as i64 }, level))
}
