use hec_ir::parameters::{MAX_LOG_N, MAX_PRIME_BITS, MIN_LOG_N, ParameterError, Security, max_log_qp};

use crate::cost::CostModel;
use crate::error::CompileError;
use crate::management::Explicit;
use crate::ranges::Samples;

/// What the user asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Security level.
    pub security: Security,
    /// Bits of precision wanted at the outputs: log2 of the largest output over the largest error.
    pub precision: f64,
    /// The range of every input element.
    pub input_range: (f64, f64),
    /// Samples that show how large values become; without them only interval bounds are known.
    pub calibration: Samples,
    /// Parameters given by hand.
    pub parameters: Option<ExplicitParameters>,
    /// What operations cost.
    pub cost: CostModel,
    /// Bytes that the server may use: larger layers are computed in tiles.
    pub memory: Option<u64>,
}

impl Default for Options {
    /// 128 bits of security, 10 bits of precision, inputs between 0 and 1.
    fn default() -> Self {
        Self {
            security: Security::Bits128,
            precision: 10.0,
            input_range: (0.0, 1.0),
            calibration: Samples::new(),
            parameters: None,
            cost: CostModel::default(),
            memory: None,
        }
    }
}

/// Parameters given by hand, in nGraph-HE's terms. They stand under the same check as the compiler's own.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplicitParameters {
    /// The ring degree N, a power of two.
    pub poly_modulus_degree: usize,
    /// Sizes of the primes in bits: `q_0` first; the last is the special prime for key switching.
    pub coeff_modulus: Vec<u32>,
    /// log2 of the inputs' scale; the compiler's choice if missing.
    pub scale_bits: Option<i32>,
}

impl ExplicitParameters {
    /// Checks the sizes against the security table, before any prime is looked for.
    pub(crate) fn hold(&self, security: Security) -> Result<(), CompileError> {
        let log_n = self.poly_modulus_degree.trailing_zeros();
        let found = f64::from(self.coeff_modulus.iter().sum::<u32>());
        let allowed = max_log_qp(security, log_n).unwrap_or(0);
        if found <= f64::from(allowed) {
            return Ok(());
        }
        Err(ParameterError::Insecure { log_n, found, allowed, wanted: security.bits() }.into())
    }

    pub(crate) fn chain(&self) -> Result<Explicit, CompileError> {
        let refuse = |reason: String| CompileError::Option { name: "params", reason };
        let log_n = self.poly_modulus_degree.trailing_zeros();
        if !self.poly_modulus_degree.is_power_of_two() || !(MIN_LOG_N..=MAX_LOG_N).contains(&log_n) {
            let found = self.poly_modulus_degree;
            return Err(refuse(format!(
                "poly_modulus_degree {found} is not a power of two from 2^{MIN_LOG_N} to 2^{MAX_LOG_N}"
            )));
        }
        let smallest = log_n + 2;
        if let Some(bits) = self.coeff_modulus.iter().find(|&&bits| bits < smallest || bits > MAX_PRIME_BITS) {
            return Err(refuse(format!(
                "a prime of {bits} bits cannot be used at ring degree 2^{log_n}: expected {smallest} to {MAX_PRIME_BITS}"
            )));
        }
        let Some((_, chain)) = self.coeff_modulus.split_last().filter(|(_, chain)| !chain.is_empty()) else {
            return Err(refuse("coeff_modulus needs at least two primes, the last of which is special".to_owned()));
        };
        let moduli = chain.iter().map(|&bits| f64::from(bits).min(crate::management::PRIME_BITS)).collect();
        Ok(Explicit { log_n, moduli, special: 1, input_bits: self.scale_bits })
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), CompileError> {
        let (lo, hi) = self.input_range;
        if !(lo.is_finite() && hi.is_finite() && lo <= hi) {
            let reason = format!("[{lo}, {hi}] is not a range");
            return Err(CompileError::Option { name: "input-range", reason });
        }
        if !(1.0..=40.0).contains(&self.precision) {
            let reason = format!("{} bits: expected 1 to 40", self.precision);
            return Err(CompileError::Option { name: "precision", reason });
        }
        Ok(())
    }
}
