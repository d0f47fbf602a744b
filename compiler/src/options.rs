use std::collections::BTreeSet;

use hec_ir::parameters::{
    MAX_LOG_N, MAX_PRIME_BITS, MIN_LOG_N, ParameterError, PrimeSearch, Ring, RingType, Security, max_log_qp,
};
use hec_ir::program::SHARING_BITS;

use crate::approximate::Approximation;
use crate::cost::CostModel;
use crate::error::CompileError;
use crate::management::Explicit;
use crate::ranges::Samples;

/// What the user asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// Security level.
    pub security: Security,
    /// The ring; `None` for the one that costs least for each slot of a full batch. The conjugate-invariant ring has twice the
    /// slots at nearly the same price, and one bit of precision less.
    pub ring_type: Option<RingType>,
    /// Bits of precision that are expected at the outputs, at least: log2 of the largest output over six deviations of its errors.
    pub precision: f64,
    /// What the certificate is to promise of the outputs: more precision is taken until it does.
    pub bound: Bound,
    /// The range of every input element.
    pub input_range: (f64, f64),
    /// Samples that show how large values become; without them only interval bounds are known.
    pub calibration: Samples,
    /// Parameters given by hand.
    pub parameters: Option<ExplicitParameters>,
    /// What operations cost.
    pub cost: CostModel,
    /// How functions that encrypted arithmetic cannot compute are replaced.
    pub approximation: Approximation,
    /// Bits of statistical security that decryptions are to have when the client shows them to others, all samples of a batch together:
    /// precision is reserved for the noise that this takes.
    pub sharing: Option<u32>,
    /// Samples that a batch will have, if it will not be full: a ring with more slots is then no cheaper for it.
    pub batch: Option<usize>,
    /// Bytes that the server may use: larger layers are computed in tiles.
    pub memory: Option<u64>,
    /// How samples lie in the slots.
    pub layout: LayoutChoice,
    /// Who computes what encrypted arithmetic cannot.
    pub activations: Activations,
    /// Whether the server multiplies what it sends to the client in the middle of a run by random factors, where it can.
    pub blind: bool,
    /// Inputs that the server may see: they are not encrypted, and what depends on them alone is computed in the clear.
    pub public: BTreeSet<String>,
}

/// What is asked of the bound of errors, which is not exceeded but with small probability, at the outputs of the circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Bound {
    /// Nothing.
    Any,
    /// That it does not change the answers to 99 % of the calibration samples ([`ALIKE`](crate::margins::ALIKE)), if parameters can be found for that.
    #[default]
    Decisions,
    /// So many bits below the range of each output.
    Bits(f64),
    /// This much.
    Error(f64),
}

/// Which layout is compiled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LayoutChoice {
    /// One vector for each element of a tensor, the samples in its slots: for thousands of samples.
    #[default]
    Batch,
    /// One sample, or a few, over the slots of few vectors: for an answer at once.
    Packed,
    /// Whichever is predicted to answer [`Options::batch`] samples (one, if that is not said) sooner.
    Auto,
}

/// Who computes functions that encrypted arithmetic cannot, in the middle of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// The server, by polynomials that come near.
    #[default]
    Polynomial,
    /// The client: it decrypts, computes them exactly and encrypts again, round by round.
    Client,
    /// Polynomials where the budget of accuracy allows them, the client elsewhere: as few rounds as that takes.
    Mixed,
}

impl Default for Options {
    /// 128 bits of security, 10 bits of precision and what decisions need, inputs between 0 and 1.
    fn default() -> Self {
        Self {
            security: Security::Bits128,
            ring_type: None,
            precision: 10.0,
            bound: Bound::default(),
            input_range: (0.0, 1.0),
            calibration: Samples::new(),
            parameters: None,
            cost: CostModel::default(),
            approximation: Approximation::default(),
            sharing: None,
            batch: None,
            memory: None,
            layout: LayoutChoice::Batch,
            activations: Activations::Polynomial,
            blind: true,
            public: BTreeSet::new(),
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

    /// Whether there are primes of these sizes for the ring.
    pub(crate) fn has_primes(&self, ring_type: RingType) -> bool {
        let log_n = self.poly_modulus_degree.trailing_zeros();
        let mut search = PrimeSearch::for_ring(Ring { ring_type, log_n });
        self.coeff_modulus.iter().all(|&bits| search.take_near(prime_bits(bits)).is_some())
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
        let moduli = chain.iter().map(|&bits| prime_bits(bits)).collect();
        Ok(Explicit { log_n, moduli, special: 1, input_bits: self.scale_bits })
    }
}

fn prime_bits(bits: u32) -> f64 {
    f64::from(bits).min(crate::management::PRIME_BITS)
}

impl Options {
    /// The rings to choose from, in order of preference: the one asked for, or those that the given primes allow.
    pub(crate) fn ring_types(&self) -> Vec<RingType> {
        let explicit = self.parameters.as_ref();
        match self.ring_type {
            Some(ring_type) => vec![ring_type],
            None if explicit.is_some_and(|e| !e.has_primes(RingType::ConjugateInvariant)) => vec![RingType::Standard],
            None => vec![RingType::ConjugateInvariant, RingType::Standard],
        }
    }

    pub(crate) fn check(&self) -> Result<(), CompileError> {
        let (lo, hi) = self.input_range;
        if !(lo.is_finite() && hi.is_finite() && lo <= hi) {
            let reason = format!("[{lo}, {hi}] is not a range");
            return Err(CompileError::Option { name: "input-range", reason });
        }
        if let Some(bits) = self.sharing.filter(|bits| !SHARING_BITS.contains(bits)) {
            let reason = format!("{bits} bits: expected {} to {}", SHARING_BITS.start(), SHARING_BITS.end());
            return Err(CompileError::Option { name: "share-decryptions", reason });
        }
        let bits = match self.bound {
            Bound::Error(error) if !(error.is_finite() && error > 0.0) => {
                return Err(CompileError::Option {
                    name: "output-error",
                    reason: format!("{error} is no error above 0"),
                });
            }
            Bound::Bits(bits) => bits,
            Bound::Any | Bound::Decisions | Bound::Error(_) => self.precision,
        };
        for bits in [bits, self.precision] {
            if !(1.0..=crate::promise::MAX_PRECISION).contains(&bits) {
                let reason = format!("{bits} bits: expected 1 to {}", crate::promise::MAX_PRECISION);
                return Err(CompileError::Option { name: "precision", reason });
            }
        }
        Ok(())
    }
}
