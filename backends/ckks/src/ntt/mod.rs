//! The number-theoretic transform of a ring: negacyclic, or conjugate-invariant.
//!
//! Forward: Cooley-Tukey butterflies from natural to bit-reversed order; inverse: Gentleman-Sande butterflies back, with
//! the powers of the `2N`-th root merged into the butterflies (Longa and Naehrig, "Speeding up the number theoretic
//! transform for faster ideal lattice-based cryptography", 2016, algorithms 1 and 2).
//!
//! The conjugate-invariant ring of degree N lies in the standard ring of degree 2N, whose transform first splits it into two
//! halves that say the same of an invariant element. Its own transform folds the element into one of them, and goes on there:
//! a transform of length N on the twiddle factors of that half.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions: loads and stores through pointers, and their run-time detection")]
mod avx2;
mod fold;
mod portable;

use hec_ir::parameters::{Ring, RingType};

use crate::arithmetic::{Modulus, primitive_root_2n};
use crate::kernels::Simd;
use fold::Fold;

/// The transform of one modulus and one ring of degree `N = 2^log_n`, `log_n` in `3..=17`.
///
/// With `psi` a primitive root of unity of the ring's order `M` ([`primitive_root_2n`]) and `bitrev` the reversal of `log_n` bits,
/// the forward transform of the polynomial `a` has at index `i` the value `a(psi^(M/N bitrev(i) + 1))`; `M/N` is 2 in the standard
/// ring and 4 in the conjugate-invariant ring.
#[derive(Clone, Debug)]
pub struct NttTable {
    modulus: Modulus,
    ring: Ring,
    twiddles: Twiddles,
    /// In the conjugate-invariant ring.
    fold: Option<Fold>,
}

#[derive(Clone, Debug)]
enum Twiddles {
    Portable(portable::Twiddles),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Twiddles),
}

impl NttTable {
    /// The tables for a prime that is 1 modulo the ring's order.
    pub fn new(modulus: Modulus, ring: Ring) -> Self {
        Self::with_simd(modulus, ring, Simd::detected())
    }

    /// As [`NttTable::new`], on the instruction set asked for.
    pub fn with_simd(modulus: Modulus, ring: Ring, simd: Simd) -> Self {
        let powers = Powers::new(modulus, ring);
        let twiddles = match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(avx2) if ring.log_n >= avx2::MIN_LOG_N => {
                Twiddles::Avx2(avx2::Twiddles::new(avx2, modulus, &powers))
            }
            _ => Twiddles::Portable(portable::Twiddles::new(modulus, &powers)),
        };
        let fold = powers.fold.map(|root| Fold::new(modulus, root, simd));
        Self { modulus, ring, twiddles, fold }
    }

    /// The modulus.
    pub fn modulus(&self) -> Modulus {
        self.modulus
    }

    /// The ring.
    pub fn ring(&self) -> Ring {
        self.ring
    }

    /// From `N` coefficients to `N` values, in place; canonical residues in and out.
    ///
    /// # Panics
    /// If the length is not the ring degree.
    pub fn forward(&self, polynomial: &mut [u64]) {
        assert_eq!(polynomial.len(), self.ring.degree(), "a polynomial has as many coefficients as the ring's degree");
        if let Some(fold) = &self.fold {
            fold.forward(polynomial);
        }
        match &self.twiddles {
            Twiddles::Portable(twiddles) => twiddles.forward(polynomial),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Avx2(twiddles) => twiddles.forward(polynomial),
        }
    }

    /// From `N` values to `N` coefficients, in place; canonical residues in and out. Inverse of [`NttTable::forward`].
    ///
    /// # Panics
    /// If the length is not the ring degree.
    pub fn inverse(&self, values: &mut [u64]) {
        assert_eq!(values.len(), self.ring.degree(), "there are as many values as the ring's degree");
        match &self.twiddles {
            Twiddles::Portable(twiddles) => twiddles.inverse(values),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Avx2(twiddles) => twiddles.inverse(values),
        }
        if let Some(fold) = &self.fold {
            fold.inverse_times_two(values);
        }
    }
}

/// The twiddle factors of a ring, in the order of a heap: those of the first stage at index 1, those of the two halves after
/// it at 2 and 3, and so on.
///
/// In the standard ring they are `psi^bitrev(i)`. The inverse transform needs the inverse powers, and they are the same list:
/// at index `m + i` for `m` a power of two and `i < m`, `psi^-bitrev(m + i) = -psi^bitrev(m + m - 1 - i)`. In the
/// conjugate-invariant ring they are those of the half 2 of the standard ring of degree 2N; the mirror images of its indices lie in
/// the half 3, which the inverse transform reads.
struct Powers {
    forward: Vec<u64>,
    /// If they are not those of `forward`.
    inverse: Option<Vec<u64>>,
    /// What the inverse transform multiplies by: `1/N`, or `1/2N` before unfolding.
    scale: u64,
    /// The square root of -1 by which an element is folded.
    fold: Option<u64>,
}

impl Powers {
    fn new(modulus: Modulus, ring: Ring) -> Self {
        let all = bit_reversed_powers(modulus, ring.log_order() - 1);
        let scale = modulus.inv(modulus.reduce(all.len() as u64));
        match ring.ring_type {
            RingType::Standard => Self { forward: all, inverse: None, scale, fold: None },
            RingType::ConjugateInvariant => {
                let half = |h: usize| {
                    let level = |m: usize| all[h * m..(h + 1) * m].iter().copied();
                    std::iter::once(1).chain((0..ring.log_n).flat_map(|l| level(1 << l))).collect()
                };
                Self { forward: half(2), inverse: Some(half(3)), scale, fold: Some(all[1]) }
            }
        }
    }
}

fn bit_reversed_powers(modulus: Modulus, log_n: u32) -> Vec<u64> {
    let psi = primitive_root_2n(modulus, log_n);
    let mut powers = vec![0; 1 << log_n];
    let mut power = 1;
    for i in 0..1usize << log_n {
        powers[i.reverse_bits() >> (usize::BITS - log_n)] = power;
        power = modulus.mul(power, psi);
    }
    powers
}

#[cfg(test)]
mod tests;
