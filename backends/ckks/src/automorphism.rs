//! Galois automorphisms `X -> X^g`: what they do to slots, and to polynomials in the NTT domain.

use std::fmt;

/// An automorphism of the ring, by what it does to the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Automorphism {
    /// Slot `j` of the result is slot `j + steps` of the operand, cyclically: left for positive steps.
    Rotation {
        /// How far; any integer, modulo the number of slots.
        steps: i64,
    },
    /// Each slot becomes its complex conjugate.
    Conjugation,
}

impl Automorphism {
    /// The exponent `g` of `X -> X^g`, modulo `2N`: `5^steps` for rotations, as slot `j` is the value at `zeta^(5^j)`,
    /// and `-1` for conjugation. `ring_degree` is a power of two and at least 4.
    ///
    /// ```
    /// use hec_ckks::Automorphism;
    /// assert_eq!(Automorphism::Rotation { steps: 2 }.galois_element(1 << 13), 25);
    /// assert_eq!(Automorphism::Rotation { steps: -4095 }.galois_element(1 << 13), 5);
    /// assert_eq!(Automorphism::Conjugation.galois_element(1 << 13), (1 << 14) - 1);
    /// ```
    pub fn galois_element(self, ring_degree: usize) -> u64 {
        let order = 2 * ring_degree as u64;
        match self {
            Self::Rotation { steps } => power(5, steps.rem_euclid(ring_degree as i64 / 2) as u64, order),
            Self::Conjugation => order - 1,
        }
    }
}

impl fmt::Display for Automorphism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rotation { steps } => write!(f, "rotation by {steps}"),
            Self::Conjugation => f.write_str("conjugation"),
        }
    }
}

/// `base^exponent` modulo `order`, a power of two up to `2^32`.
fn power(mut base: u64, mut exponent: u64, order: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result * base % order;
        }
        base = base * base % order;
        exponent /= 2;
    }
    result
}

/// The inverse of an odd `element` modulo `2N`, whose group of units has the exponent `N/2` for `N >= 4`.
pub(crate) fn inverse(element: u64, ring_degree: usize) -> u64 {
    power(element, ring_degree as u64 / 2 - 1, 2 * ring_degree as u64)
}

/// The automorphism of an odd `element` in the NTT domain, where index `i` holds the value at `psi^(2 bitrev(i) + 1)`:
/// index `i` of the result is this index of the operand. One table serves all primes.
pub(crate) fn permutation(element: u64, log_n: u32) -> Vec<u32> {
    let reversed = |i: u64| i.reverse_bits() >> (u64::BITS - log_n);
    let mask = (2 << log_n) - 1;
    (0..1u64 << log_n).map(|i| reversed((((2 * reversed(i) + 1) * element) & mask) / 2) as u32).collect()
}

/// `out[i] = x[table[i]]`.
pub(crate) fn permute(table: &[u32], x: &[u64], out: &mut [u64]) {
    out.iter_mut().zip(table).for_each(|(out, &from)| *out = x[from as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::Modulus;
    use crate::ntt::NttTable;
    use hec_ir::parameters::PrimeSearch;

    #[test]
    fn permutations_are_automorphisms_of_the_transformed_polynomial() {
        for log_n in [3, 4, 7, 10] {
            let n = 1usize << log_n;
            let q = Modulus::new(PrimeSearch::new(log_n).take(40).unwrap());
            let table = NttTable::new(q, log_n);
            let a: Vec<u64> = (0..n as u64).map(|i| q.reduce(i * i * 12_345 + 77)).collect();
            for g in [1, 3, 5, 25, n as u64 + 1, 2 * n as u64 - 1] {
                let mut wanted = vec![0; n];
                for (i, &c) in a.iter().enumerate() {
                    let at = i * g as usize % (2 * n);
                    wanted[at % n] = if at < n { c } else { q.neg(c) };
                }
                table.forward(&mut wanted);
                let (mut x, mut found) = (a.clone(), vec![0; n]);
                table.forward(&mut x);
                permute(&permutation(g, log_n), &x, &mut found);
                assert_eq!(found, wanted, "2^{log_n}, element {g}");
                assert_eq!(g * inverse(g, n) % (2 * n as u64), 1);
            }
        }
    }

    #[test]
    fn elements_of_opposite_rotations_are_inverse() {
        for steps in [0, 1, 2, 17, -3, i64::MAX, i64::MIN] {
            let g = Automorphism::Rotation { steps }.galois_element(64);
            let back = Automorphism::Rotation { steps: -(steps % 32) }.galois_element(64);
            assert_eq!(g * back % 128, 1);
        }
    }
}
