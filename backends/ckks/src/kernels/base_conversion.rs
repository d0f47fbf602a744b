//! From residues modulo one set of primes to residues modulo another.

use super::Simd;
use crate::arithmetic::Modulus;

/// The change of RNS base of hybrid key switching and of rescaling by several primes.
///
/// A number `x` modulo `Q = q_1 ... q_k` becomes the residues of its centred representative, in `[-Q/2, Q/2)`, modulo every
/// prime `p_j`: `sum y_i (Q/q_i) - v Q` with `y_i = x_i (Q/q_i)^-1 mod q_i` and `v = round(sum y_i / q_i)`, a sum of floats
/// (Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV homomorphic encryption scheme", 2019, section 2). The
/// result is exact except for `x` within about `k^2 2^-53 Q` of `Q/2` modulo `Q`, where the representative may be the other
/// one, `Q` away. The floats are summed in the same order everywhere, so that every machine gives the same bits.
#[derive(Clone, Debug)]
pub struct BaseConversion {
    pub(super) from: Vec<Modulus>,
    pub(super) to: Vec<Modulus>,
    /// `(Q/q_i)^-1 mod q_i`.
    pub(super) cofactor_inverses: Vec<u64>,
    /// For each `p_j`: `Q/q_i mod p_j` for every `i`, then `-Q mod p_j`.
    cofactors: Vec<u64>,
    /// The same, centred.
    pub(super) centered_cofactors: Vec<f64>,
    simd: Simd,
}

impl BaseConversion {
    /// From the residues modulo `from` to those modulo `to`. The primes in `from` are distinct and at least one.
    pub fn new(from: &[Modulus], to: &[Modulus]) -> Self {
        Self::with_simd(from, to, Simd::detected())
    }

    pub(crate) fn with_simd(from: &[Modulus], to: &[Modulus], simd: Simd) -> Self {
        let product_except = |skip: usize, modulus: Modulus| {
            let others = from.iter().enumerate().filter(|&(i, _)| i != skip);
            others.fold(1, |product, (_, q)| modulus.mul(product, modulus.reduce(q.value())))
        };
        let cofactor_inverses = from.iter().enumerate().map(|(i, &q)| q.inv(product_except(i, q))).collect();
        let mut cofactors = Vec::with_capacity(to.len() * (from.len() + 1));
        for &p in to {
            cofactors.extend((0..from.len()).map(|i| product_except(i, p)));
            cofactors.push(p.neg(product_except(from.len(), p)));
        }
        let terms = from.len() + 1;
        let centered_cofactors = cofactors.iter().enumerate().map(|(i, &c)| to[i / terms].centered(c) as f64).collect();
        Self { from: from.to_vec(), to: to.to_vec(), cofactor_inverses, cofactors, centered_cofactors, simd }
    }

    /// Converts: `input[i]` are residues modulo `from[i]`, `out[j]` becomes residues modulo `to[j]`.
    ///
    /// # Panics
    /// If the numbers of slices are not those of the primes, or the slices' lengths differ.
    pub fn convert(&self, input: &[&[u64]], out: &mut [&mut [u64]]) {
        assert_eq!((input.len(), out.len()), (self.from.len(), self.to.len()), "one slice for each prime");
        let len = input[0].len();
        let equal = input.iter().all(|x| x.len() == len) && out.iter().all(|y| y.len() == len);
        assert!(equal, "the slices have one length");
        match self.simd {
            Simd::Portable => self.convert_portable(input, out, 0),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => {
                let done = super::avx2::convert(token, self, input, out);
                self.convert_portable(input, out, done);
            }
        }
    }

    /// Converts the coefficients from `start` on.
    fn convert_portable(&self, input: &[&[u64]], out: &mut [&mut [u64]], start: usize) {
        let mut scaled = vec![0; self.from.len() + 1];
        for at in start..input[0].len() {
            self.scale(input, at, &mut scaled);
            for ((out, &p), cofactors) in out.iter_mut().zip(&self.to).zip(self.cofactors.chunks(scaled.len())) {
                let terms = scaled.iter().zip(cofactors);
                out[at] = p.reduce_u128(terms.map(|(&y, &c)| u128::from(y) * u128::from(c)).sum());
            }
        }
    }

    /// The `y_i` of one coefficient, then `v`.
    fn scale(&self, input: &[&[u64]], at: usize, scaled: &mut [u64]) {
        let mut quotient = 0.0;
        for (i, &q) in self.from.iter().enumerate() {
            scaled[i] = q.mul(input[i][at], self.cofactor_inverses[i]);
            quotient += scaled[i] as f64 * q.inverse_f64();
        }
        scaled[self.from.len()] = f64::round_ties_even(quotient) as u64;
    }
}

#[cfg(test)]
mod tests;
