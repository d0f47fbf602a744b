//! Discrete Gaussians of any width, from the table of [`super::gaussian`].
//!
//! With `y_i` independent of standard deviation `sigma = 3.19`, `sum_{i < k} 2^i y_i + z y_k` has variance
//! `sigma^2 ((4^k - 1) / 3 + z^2)`, and is a discrete Gaussian up to a statistical distance that the smoothing parameter `eta` of the
//! integers bounds (Micciancio and Walter, "Gaussian sampling over the integers: efficient, generic, constant-time", CRYPTO 2017,
//! section 4; Peikert, "An efficient and parallel Gaussian sampler for lattices", CRYPTO 2010, theorem 3.1): adding `w y` to what has
//! width `s = sqrt(2 pi)` times its deviation needs `(1 / s^2 + 1 / (w s_0)^2)^(-1/2) >= w eta`, `s_0 = 8.0`. The left side is least
//! beside `w` in the first step (`w = 2`: 3.57 w), which gives a distance below 2^-56 a step; it is 4.0 w in later ones.
//!
//! Integers take the place of floating-point noise so that what is added has no holes in its lower digits (Mironov, "On significance
//! of the least significant bits for differential privacy", CCS 2012), and so that no step depends on what was drawn.

use hec_ir::parameters::ERROR_STD;

use super::{Randomness, gaussian};
use crate::arithmetic::Modulus;
use crate::context::reduce_integers;
use crate::kernels;
use crate::poly::Poly;

/// The factors of the terms of a wide Gaussian: powers of two, then one that makes up the width.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wide {
    factors: Vec<f64>,
}

impl Wide {
    /// The narrowest whose standard deviation is at least `deviation`, and at least `sqrt(2)` times that of an error.
    pub(crate) fn at_least(deviation: f64) -> Self {
        let ratio = deviation / ERROR_STD;
        let mut factors = vec![1.0];
        let mut power = 2.0;
        let variance = |factors: &[f64]| factors.iter().map(|factor: &f64| factor * factor).sum::<f64>();
        // With the next power of two the width is enough.
        while variance(&factors) + power * power < ratio * ratio {
            factors.push(power);
            power *= 2.0;
        }
        let left = (ratio * ratio - variance(&factors)).max(0.0).sqrt().ceil().max(1.0);
        factors.push(left.min(power));
        Self { factors }
    }

    /// The standard deviation.
    pub(crate) fn deviation(&self) -> f64 {
        ERROR_STD * self.factors.iter().map(|factor| factor * factor).sum::<f64>().sqrt()
    }

    /// No sample is larger.
    pub(crate) fn bound(&self) -> f64 {
        gaussian::BOUND as f64 * self.factors.iter().sum::<f64>()
    }

    /// Adds a sample to each of the first `count` coefficients of `poly`, whose limbs are those of `moduli`.
    pub(crate) fn add_to(&self, poly: &mut Poly, count: usize, moduli: &[Modulus], randomness: &mut Randomness) {
        let mut residues = zeroize::Zeroizing::new(vec![0; count]);
        for factor in &self.factors {
            let terms = gaussian::sample(&mut randomness.stream(), count);
            for (limb, &q) in poly.iter_mut().zip(moduli) {
                reduce_integers(&mut residues, &terms, q, gaussian::BOUND);
                kernels::mul_scalar_add_assign(q, &mut limb[..count], &residues, q.from_f64(*factor));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_met_from_above_and_closely() {
        for bits in -20..2000 {
            let asked = (f64::from(bits) / 10.0).exp2();
            let wide = Wide::at_least(asked);
            let found = wide.deviation();
            assert!(found >= asked * (1.0 - 1e-12), "{asked}: {found}");
            let least = ERROR_STD * 2f64.sqrt();
            // The last factor is rounded up: by one part in as many as it has.
            assert!(found <= (1.6 * asked).max(least) && (bits < 300 || found < 1.000_001 * asked), "{asked}: {found}");
            // What the bound on the distance rests on.
            let mut width = (2.0 * std::f64::consts::PI).sqrt() * ERROR_STD;
            for &factor in &wide.factors[1..] {
                let own = (2.0 * std::f64::consts::PI).sqrt() * ERROR_STD * factor;
                let both = (width.powi(-2) + own.powi(-2)).powf(-0.5);
                assert!(both >= 3.57 * factor, "{asked}: factor {factor} at width {width}");
                width = width.hypot(own);
            }
        }
        // eta for a distance of 2^-56 (Micciancio and Walter, section 2): sqrt(ln(2 (1 + 1 / epsilon)) / pi).
        assert!((58.0 * 2f64.ln() / std::f64::consts::PI).sqrt() < 3.58);
    }
}
