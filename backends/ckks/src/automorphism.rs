//! Galois automorphisms `X -> X^g`: what they do to slots, and to polynomials in the NTT domain.
//!
//! Those of a ring whose order is M are given by odd `g` modulo M. In the conjugate-invariant ring `X -> X^-1` changes
//! nothing, so `g` and `-g` are one; of the two, the one that is 1 modulo 4 stands for both.

use std::fmt;

use hec_ir::parameters::{Ring, RingType};

/// An automorphism of the ring, by what it does to the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Automorphism {
    /// Slot `j` of the result is slot `j + steps` of the operand, cyclically: left for positive steps.
    Rotation {
        /// How far; any integer, modulo the number of slots.
        steps: i64,
    },
    /// Each slot becomes its complex conjugate. The slots of the conjugate-invariant ring are real: there it does not exist.
    Conjugation,
}

impl Automorphism {
    /// The exponent `g` of `X -> X^g`, modulo the ring's order: `5^steps` for rotations, as slot `j` is the value at
    /// `zeta^(5^j)`, and `-1` for conjugation. `None` for conjugation in a conjugate-invariant ring. The degree is at least 4.
    ///
    /// ```
    /// use hec_ckks::Automorphism;
    /// use hec_ir::parameters::Ring;
    /// let (standard, invariant) = (Ring::standard(13), Ring::conjugate_invariant(13));
    /// assert_eq!(Automorphism::Rotation { steps: 2 }.galois_element(standard), Some(25));
    /// assert_eq!(Automorphism::Rotation { steps: -4095 }.galois_element(standard), Some(5));
    /// assert_eq!(Automorphism::Rotation { steps: -8191 }.galois_element(invariant), Some(5));
    /// assert_eq!(Automorphism::Conjugation.galois_element(standard), Some((1 << 14) - 1));
    /// assert_eq!(Automorphism::Conjugation.galois_element(invariant), None);
    /// ```
    pub fn galois_element(self, ring: Ring) -> Option<u64> {
        match (self, ring.ring_type) {
            (Self::Rotation { steps }, _) => Some(power(5, steps.rem_euclid(ring.slots() as i64) as u64, ring.order())),
            (Self::Conjugation, RingType::Standard) => Some(ring.order() - 1),
            (Self::Conjugation, RingType::ConjugateInvariant) => None,
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

/// Whether `element` stands for an automorphism.
pub(crate) fn is_element(element: u64, ring: Ring) -> bool {
    element < ring.order() && element % stride(ring) == 1
}

/// The inverse of an odd `element` modulo the order M, whose group of units has the exponent `M/4` for `M >= 8`.
pub(crate) fn inverse(element: u64, ring: Ring) -> u64 {
    power(element, ring.order() / 4 - 1, ring.order())
}

/// The exponents of the roots at which values are taken are 1 plus multiples of this: `M/N`.
fn stride(ring: Ring) -> u64 {
    1 << (ring.log_order() - ring.log_n)
}

/// The automorphism of an `element` in the NTT domain, where index `i` holds the value at `psi^(M/N bitrev(i) + 1)`:
/// index `i` of the result is this index of the operand. One table serves all primes.
pub(crate) fn permutation(element: u64, ring: Ring) -> Vec<u32> {
    let reversed = |i: u64| i.reverse_bits() >> (u64::BITS - ring.log_n);
    let (stride, mask) = (stride(ring), ring.order() - 1);
    let from = |i| reversed((((stride * reversed(i) + 1) * element) & mask) / stride) as u32;
    (0..1u64 << ring.log_n).map(from).collect()
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
            let ring = Ring::standard(log_n);
            let table = NttTable::new(q, ring);
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
                permute(&permutation(g, ring), &x, &mut found);
                assert_eq!(found, wanted, "2^{log_n}, element {g}");
                assert_eq!(g * inverse(g, ring) % ring.order(), 1);
            }
        }
    }

    /// `X^i + X^-i` goes to `X^(gi) + X^-(gi)`.
    #[test]
    fn permutations_are_automorphisms_of_the_conjugate_invariant_ring() {
        for log_n in [3, 4, 7, 10] {
            let (ring, n) = (Ring::conjugate_invariant(log_n), 1usize << log_n);
            let q = Modulus::new(PrimeSearch::for_ring(ring).take(40).unwrap());
            let table = NttTable::new(q, ring);
            let a: Vec<u64> = (0..n as u64).map(|i| q.reduce(i * i * 12_345 + 77)).collect();
            for g in [1, 5, 25, 4 * n as u64 - 3, 2 * n as u64 + 1] {
                assert!(is_element(g, ring) && !is_element(g + 2, ring) && !is_element(g + ring.order(), ring));
                let mut wanted = vec![0; n];
                for (i, &c) in a.iter().enumerate() {
                    // X^at + X^-at, whose sign changes with `at` beyond 2N, and which is 0 at N.
                    let at = i * g as usize % (4 * n);
                    let (at, c) = if at >= 2 * n { (at - 2 * n, q.neg(c)) } else { (at, c) };
                    let (at, c) = if at > n { (2 * n - at, q.neg(c)) } else { (at, c) };
                    if at < n {
                        wanted[at] = c;
                    }
                }
                table.forward(&mut wanted);
                let (mut x, mut found) = (a.clone(), vec![0; n]);
                table.forward(&mut x);
                permute(&permutation(g, ring), &x, &mut found);
                assert_eq!(found, wanted, "2^{log_n}, element {g}");
                assert_eq!(g * inverse(g, ring) % ring.order(), 1);
            }
        }
    }

    #[test]
    fn elements_of_opposite_rotations_are_inverse() {
        for ring in [Ring::standard(6), Ring::conjugate_invariant(5)] {
            for steps in [0, 1, 2, 17, -3, i64::MAX, i64::MIN] {
                let g = Automorphism::Rotation { steps }.galois_element(ring).unwrap();
                let back = Automorphism::Rotation { steps: -(steps % 32) }.galois_element(ring).unwrap();
                assert_eq!(g * back % 128, 1);
            }
        }
    }
}
