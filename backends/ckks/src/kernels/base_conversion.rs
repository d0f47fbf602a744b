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
        assert_eq!(out.len(), self.to.len(), "one slice for each prime");
        let mut scaled: Vec<Vec<u64>> = input.iter().map(|x| x.to_vec()).collect();
        let mut quotients = vec![0; input.first().map_or(0, |x| x.len())];
        self.scale(&mut scaled.iter_mut().map(|x| &mut x[..]).collect::<Vec<_>>(), &mut quotients);
        let scaled: Vec<&[u64]> = scaled.iter().map(|x| &x[..]).collect();
        out.iter_mut().enumerate().for_each(|(j, out)| self.combine(j, &scaled, &quotients, out));
    }

    /// The first step of a conversion, the same for all targets: the residues modulo `from[i]` become `y_i`, and the last
    /// argument `v`. With one prime there is nothing to do, and `v` is left as it is.
    ///
    /// # Panics
    /// If the number of slices is not that of the primes, or the slices' lengths differ.
    pub fn scale(&self, residues: &mut [&mut [u64]], quotients: &mut [u64]) {
        assert_eq!(residues.len(), self.from.len(), "one slice for each prime");
        if residues.len() == 1 {
            return;
        }
        let len = quotients.len();
        assert!(residues.iter().all(|x| x.len() == len), "the slices have one length");
        let done = match self.simd {
            Simd::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => super::avx2::scale(token, self, residues, quotients),
        };
        for at in done..len {
            let mut quotient = 0.0;
            for ((x, &q), &inverse) in residues.iter_mut().zip(&self.from).zip(&self.cofactor_inverses) {
                x[at] = q.mul(x[at], inverse);
                quotient += x[at] as f64 * q.inverse_f64();
            }
            quotients[at] = f64::round_ties_even(quotient) as u64;
        }
    }

    /// The second step: from what [`BaseConversion::scale`] left to the residues modulo `to[j]`.
    ///
    /// # Panics
    /// If the number of slices is not that of the primes, the slices' lengths differ, or there is no prime `j`.
    pub fn combine(&self, j: usize, scaled: &[&[u64]], quotients: &[u64], out: &mut [u64]) {
        assert_eq!(scaled.len(), self.from.len(), "one slice for each prime");
        let (p, len) = (self.to[j], out.len());
        assert!(scaled.iter().all(|x| x.len() == len), "the slices have one length");
        if let [x] = scaled {
            return match self.simd {
                Simd::Portable => super::portable::reduce_centered(out, p, x, self.from[0]),
                #[cfg(target_arch = "x86_64")]
                Simd::Avx2(token) => super::avx2::reduce_centered(token, out, p, x, self.from[0]),
            };
        }
        assert_eq!(quotients.len(), len, "the slices have one length");
        let done = match self.simd {
            Simd::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => super::avx2::combine(token, self, j, scaled, quotients, out),
        };
        let cofactors = &self.cofactors[j * (scaled.len() + 1)..][..scaled.len() + 1];
        for at in done..len {
            let terms = scaled.iter().map(|x| x[at]).chain([quotients[at]]).zip(cofactors);
            out[at] = p.reduce_u128(terms.map(|(y, &c)| u128::from(y) * u128::from(c)).sum());
        }
    }
}

#[cfg(test)]
mod tests;
