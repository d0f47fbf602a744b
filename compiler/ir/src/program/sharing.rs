//! What is known of the errors of a program's outputs before it is run, and how much noise hides them when decryptions are shared.
//!
//! A decrypted CKKS value is the message plus an error that depends on the key. Who is shown enough of them, and has the ciphertexts,
//! finds the key (Li and Micciancio, eprint 2020/1533). Gaussian noise of standard deviation `sigma` on every value shown hides errors
//! whose vector has norm `t`: the two distributions, with the errors and without, are `t^2 / (2 sigma^2)` apart (Kullback and
//! Leibler). Li, Micciancio, Schultz and Sorrell, "Securing approximate homomorphic encryption using differential privacy", CRYPTO 2022
//! (eprint 2022/816: KL differential privacy and the Gaussian mechanism) show that for `tau` decryptions `sigma = sqrt(12 tau) 2^(s/2) t` leaves `s` bits of
//! statistical security: by Pinsker's inequality no one, with whatever computing power, tells the two apart with a probability more
//! than `2^(-s/2) / sqrt(48)` above one half.
//!
//! `t` has to hold for the inputs that someone chooses, not for average ones: noise that is sized by averages is broken by inputs that
//! make errors add up (Guo, Nabokov, Suvanto and Johansson, "Key recovery attacks on approximate homomorphic encryption with
//! non-worst-case noise flooding countermeasures", USENIX Security 2024). So [`OutputNoise::bound`] is a maximum over all inputs of the
//! declared range, and over everything that correlation can do; see `hec-compiler`'s `management::worst`. The circuit is fixed, which is
//! the application-aware model of Alexandru, Al Badawi, Micciancio and Polyakov (eprint 2024/203).

use super::ProgramError;
use crate::ckks::noise::{self, DEVIATIONS};

/// Statistical security of shared decryptions where nothing else is asked for, in bits: the least that OpenFHE's documentation of
/// noise flooding recommends.
pub const DEFAULT_SHARING_BITS: u32 = 30;

/// What is accepted as statistical security, in bits.
pub const SHARING_BITS: std::ops::RangeInclusive<u32> = 20..=128;

/// Bits of precision that the outputs were compiled for, and what is known of the error of each.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// The bits asked for: log2 of the largest value over six standard deviations of the error.
    pub precision: f64,
    /// One for each encrypted output, in the circuit's order.
    pub outputs: Vec<OutputNoise>,
}

/// What is known of the error of one encrypted output, in units of the message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutputNoise {
    /// The root mean square over keys and encryptions of the error that encryption causes is not larger than this for any inputs
    /// in range. What rounded weights do is not counted: it depends on no secret. Infinite where nothing is known.
    pub bound: f64,
    /// Expected standard deviation of the whole error.
    pub deviation: f64,
    /// The largest value.
    pub range: f64,
}

impl OutputNoise {
    /// Bits of precision with so much noise on top.
    pub fn precision(&self, added: f64) -> f64 {
        noise::bits(self.range, self.deviation.hypot(added))
    }
}

/// Decryptions that are shown to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Bits of statistical security for all of them together.
    pub bits: u32,
    /// Samples whose results are shown: `tau`.
    pub samples: usize,
}

impl Sharing {
    /// Standard deviation of the noise that is added to each value, over the bound on the error of that value: with `values` values
    /// to a sample the vector of their errors has norm `t = 6 sqrt(values)` bounds.
    pub fn factor(&self, values: usize) -> f64 {
        let norm = DEVIATIONS * (values as f64).sqrt();
        norm * (12.0 * self.samples as f64).sqrt() * (f64::from(self.bits) / 2.0).exp2()
    }
}

impl Noise {
    /// Whether there is something usable for each of so many outputs.
    pub(super) fn check(&self, outputs: usize) -> Result<(), ProgramError> {
        let usable = |output: &OutputNoise| {
            let OutputNoise { bound, deviation, range } = *output;
            bound > 0.0 && deviation >= 0.0 && deviation.is_finite() && range >= 0.0 && range.is_finite()
        };
        if self.outputs.len() == outputs && self.precision.is_finite() && self.outputs.iter().all(usable) {
            return Ok(());
        }
        Err(ProgramError::Invalid(format!("what it says of errors does not fit {outputs} outputs")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The divergence that the proof needs: 1 / (24 2^s) for all samples together.
    #[test]
    fn the_noise_keeps_the_divergence_that_the_theorem_asks_for() {
        for (bits, samples, values) in [(30, 1, 1), (40, 8192, 10), (64, 3, 1000)] {
            let sharing = Sharing { bits, samples };
            let bound = 0.37;
            let sigma = sharing.factor(values) * bound;
            let error = DEVIATIONS * bound;
            let divergence = samples as f64 * values as f64 * error * error / (2.0 * sigma * sigma);
            let asked = 1.0 / (24.0 * f64::from(bits).exp2());
            assert!((divergence / asked - 1.0).abs() < 1e-9, "{bits} {samples} {values}: {divergence} {asked}");
        }
    }

    #[test]
    fn precision_is_that_of_the_larger_error() {
        let output = OutputNoise { bound: 1e-9, deviation: 1e-4, range: 6.0 };
        assert!((output.precision(0.0) - 1e4f64.log2()).abs() < 1e-9);
        assert!((output.precision(0.25) - 2.0).abs() < 1e-3);
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let good = OutputNoise { bound: 1e-9, deviation: 1e-4, range: 6.0 };
        let noise = |output| Noise { precision: 10.0, outputs: vec![output] };
        assert!(noise(good).check(1).is_ok());
        assert!(noise(OutputNoise { bound: f64::INFINITY, ..good }).check(1).is_ok());
        assert!(noise(good).check(2).is_err());
        for bad in [
            OutputNoise { bound: 0.0, ..good },
            OutputNoise { bound: f64::NAN, ..good },
            OutputNoise { deviation: f64::INFINITY, ..good },
            OutputNoise { range: -1.0, ..good },
        ] {
            assert!(noise(bad).check(1).is_err(), "{bad:?}");
        }
        assert!(Noise { precision: f64::NAN, outputs: vec![good] }.check(1).is_err());
    }
}
