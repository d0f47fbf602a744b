//! The negacyclic number-theoretic transform.
//!
//! Forward: Cooley-Tukey butterflies from natural to bit-reversed order; inverse: Gentleman-Sande butterflies back, with
//! the powers of the `2N`-th root merged into the butterflies (Longa and Naehrig, "Speeding up the number theoretic
//! transform for faster ideal lattice-based cryptography", 2016, algorithms 1 and 2).

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions: loads and stores through pointers, and their run-time detection")]
mod avx2;
mod portable;

use crate::arithmetic::{Modulus, primitive_root_2n};
use crate::kernels::Simd;

/// The transform of one modulus and one ring degree `N = 2^log_n`, `log_n` in `3..=17`.
///
/// With `psi` = [`primitive_root_2n`] and `bitrev` the reversal of `log_n` bits, the forward transform of the polynomial
/// `a` has at index `i` the value `a(psi^(2 bitrev(i) + 1))`.
#[derive(Clone, Debug)]
pub struct NttTable {
    modulus: Modulus,
    log_n: u32,
    twiddles: Twiddles,
}

/// `psi^bitrev(i)` at index `i` of each list. The inverse transform needs the inverse powers, and they are the same list:
/// at index `m + i` for `m` a power of two and `i < m`, `psi^-bitrev(m + i) = -psi^bitrev(m + m - 1 - i)`.
#[derive(Clone, Debug)]
enum Twiddles {
    Portable(portable::Twiddles),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Twiddles),
}

impl NttTable {
    /// The tables for `q = 1 mod 2N`, prime.
    pub fn new(modulus: Modulus, log_n: u32) -> Self {
        Self::with_simd(modulus, log_n, Simd::detected())
    }

    /// As [`NttTable::new`], on the instruction set asked for.
    pub fn with_simd(modulus: Modulus, log_n: u32, simd: Simd) -> Self {
        let powers = bit_reversed_powers(modulus, log_n);
        let twiddles = match simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(avx2) if log_n >= avx2::MIN_LOG_N => Twiddles::Avx2(avx2::Twiddles::new(avx2, modulus, &powers)),
            _ => Twiddles::Portable(portable::Twiddles::new(modulus, powers)),
        };
        Self { modulus, log_n, twiddles }
    }

    /// The modulus.
    pub fn modulus(&self) -> Modulus {
        self.modulus
    }

    /// log2 of the ring degree.
    pub fn log_n(&self) -> u32 {
        self.log_n
    }

    /// From `N` coefficients to `N` values, in place; canonical residues in and out.
    ///
    /// # Panics
    /// If the length is not the ring degree.
    pub fn forward(&self, polynomial: &mut [u64]) {
        assert_eq!(polynomial.len(), 1 << self.log_n, "a polynomial has as many coefficients as the ring's degree");
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
        assert_eq!(values.len(), 1 << self.log_n, "there are as many values as the ring's degree");
        match &self.twiddles {
            Twiddles::Portable(twiddles) => twiddles.inverse(values),
            #[cfg(target_arch = "x86_64")]
            Twiddles::Avx2(twiddles) => twiddles.inverse(values),
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
