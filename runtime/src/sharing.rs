//! Decryptions that the client shows to others: how much noise they get, and whether the answers are good enough with it.

use hec_ir::program::{Contract, Sharing};

use crate::error::RunError;

/// What is added to the decryptions of a run before anyone is shown them, and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Flooded {
    /// Statistical security of all samples together.
    pub sharing: Sharing,
    /// Bits of precision of the least precise output, predicted, without the noise and with it.
    pub precision: [f64; 2],
    /// The standard deviation of the noise for each encrypted output, in units of the message.
    pub(crate) deviations: Vec<f64>,
}

impl Flooded {
    /// The noise for `samples` samples of a program, which together are to have `bits` bits of statistical security.
    ///
    /// # Errors
    /// [`RunError::Sharing`], with the numbers: nothing is known of an output's errors, or the noise leaves it with less precision
    /// than the program was compiled for.
    pub fn new(contract: &Contract, bits: u32, samples: usize) -> Result<Self, RunError> {
        let sharing = Sharing { bits, samples };
        let refuse = |reason: String| RunError::Sharing { sharing, reason };
        let noise = contract.noise().ok_or_else(|| {
            refuse("the program does not say how large the errors of its outputs become; compile it again".to_owned())
        })?;
        let outputs = contract.encrypted_outputs();
        let factor = sharing.factor(outputs.iter().map(|output| output.layout.elements()).sum());
        let (mut precision, mut deviations) = ([f64::INFINITY; 2], Vec::with_capacity(outputs.len()));
        for (output, own) in outputs.iter().zip(&noise.outputs) {
            let name = output.port.name.escape_debug();
            if !own.bound.is_finite() {
                return Err(refuse(format!(
                    "there is no bound on the errors of output \"{name}\", because the client computes in the middle of the run; \
                     compile the model with --activations polynomial"
                )));
            }
            let deviation = factor * own.bound;
            let [before, after] = [own.precision(0.0), own.precision(deviation)];
            if after < noise.precision {
                let needed = noise.precision;
                return Err(refuse(format!(
                    "output \"{name}\" would keep {after:.1} of {before:.1} bits of precision, and the program was compiled for \
                     {needed:.1}; compile the model with --share-decryptions={bits} --batch {samples}, which reserves the bits"
                )));
            }
            precision = [precision[0].min(before), precision[1].min(after)];
            deviations.push(deviation);
        }
        Ok(Self { sharing, precision, deviations })
    }
}
