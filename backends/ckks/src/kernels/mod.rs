//! Loops over residues: what every operation on polynomials comes down to.
//!
//! Inputs and outputs are slices of canonical residues modulo one prime, and the slices of one call have equal lengths
//! (longer ones are cut to the shortest). Nothing here depends on the order of the coefficients, so the slices may as well
//! hold values of the transform, or several polynomials. Every function gives the same bits on every machine.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector instructions: loads and stores through pointers, and their run-time detection")]
mod avx2;
mod base_conversion;
#[cfg(target_arch = "x86_64")]
pub(crate) mod lanes;
mod portable;
mod scalar_matrix;
mod simd;

pub use base_conversion::BaseConversion;
pub use scalar_matrix::{MAX_WEIGHT, PreparedMatrix, WeightError, scalar_matrix_product};
#[cfg(target_arch = "x86_64")]
pub(crate) use simd::Avx2;
pub use simd::Simd;

use crate::arithmetic::Modulus;

/// Runs the AVX2 kernel where the machine has it, else the portable one.
macro_rules! dispatch {
    ($kernel:ident($($argument:expr),*)) => {
        match Simd::detected() {
            Simd::Portable => portable::$kernel($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => avx2::$kernel(token, $($argument),*),
        }
    };
}

/// `x += y`.
pub fn add_assign(q: Modulus, x: &mut [u64], y: &[u64]) {
    dispatch!(add_assign(q, x, y));
}

/// `x -= y`.
pub fn sub_assign(q: Modulus, x: &mut [u64], y: &[u64]) {
    dispatch!(sub_assign(q, x, y));
}

/// `x = -x`.
pub fn neg_assign(q: Modulus, x: &mut [u64]) {
    dispatch!(neg_assign(q, x));
}

/// `out = a * b`, pointwise.
pub fn mul(q: Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    dispatch!(mul(q, out, a, b));
}

/// `x *= y`, pointwise.
pub fn mul_assign(q: Modulus, x: &mut [u64], y: &[u64]) {
    dispatch!(mul_assign(q, x, y));
}

/// `acc += a * b`, pointwise.
pub fn mul_add_assign(q: Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    dispatch!(mul_add_assign(q, acc, a, b));
}

/// `acc[h] += sum of x * y[h]` over the terms `(x, y)`, pointwise, reduced once for several terms: the inner product of key
/// switching, where `y` is the two halves of a part of a key.
pub fn mul_add_many<const H: usize>(q: Modulus, acc: [&mut [u64]; H], terms: &[(&[u64], [&[u64]; H])]) {
    dispatch!(mul_add_many(q, acc, terms));
}

/// `x *= scalar`; the scalar is canonical.
pub fn mul_scalar_assign(q: Modulus, x: &mut [u64], scalar: u64) {
    dispatch!(mul_scalar_assign(q, x, scalar));
}

/// `acc += x * scalar`; the scalar is canonical.
pub fn mul_scalar_add_assign(q: Modulus, acc: &mut [u64], x: &[u64], scalar: u64) {
    dispatch!(mul_scalar_add_assign(q, acc, x, scalar));
}

/// `x += scalar`; the scalar is canonical.
pub fn add_scalar_assign(q: Modulus, x: &mut [u64], scalar: u64) {
    dispatch!(add_scalar_assign(q, x, scalar));
}

/// `x = (x - y) * scalar`: the last step of rescaling and of dividing by the special primes. The scalar is canonical.
pub fn sub_mul_scalar_assign(q: Modulus, x: &mut [u64], y: &[u64], scalar: u64) {
    dispatch!(sub_mul_scalar_assign(q, x, y, scalar));
}

/// `x = (y - x) * scalar`: [`sub_mul_scalar_assign`] to the other operand.
pub fn mul_scalar_sub_assign(q: Modulus, x: &mut [u64], y: &[u64], scalar: u64) {
    dispatch!(mul_scalar_sub_assign(q, x, y, scalar));
}

/// `out[i]` = the residue modulo `modulus_out` of the representative of `x[i]` in `(-q_in/2, q_in/2)`. Either modulus may be
/// the larger.
pub fn reduce_centered(out: &mut [u64], modulus_out: Modulus, x: &[u64], modulus_in: Modulus) {
    dispatch!(reduce_centered(out, modulus_out, x, modulus_in));
}

/// The product of two ciphertexts of degree 1: `out = (a0 b0, a0 b1 + a1 b0, a1 b1)`, pointwise.
pub fn tensor_product(q: Modulus, out: [&mut [u64]; 3], a: [&[u64]; 2], b: [&[u64]; 2]) {
    dispatch!(tensor_product(q, out, a, b));
}

/// The square of a ciphertext of degree 1: `out = (a0^2, 2 a0 a1, a1^2)`, pointwise.
pub fn tensor_square(q: Modulus, out: [&mut [u64]; 3], a: [&[u64]; 2]) {
    dispatch!(tensor_square(q, out, a));
}

/// Does fused multiply-adds of floats as fast as the machine can, and returns how many: what the other kernels may be compared with.
/// The second number depends on all of them, so that none is left out. `None` without vector instructions.
pub fn fused_multiply_adds(rounds: usize) -> Option<(usize, f64)> {
    match Simd::detected() {
        Simd::Portable => None,
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2(token) => Some(avx2::fused_multiply_adds(token, rounds)),
    }
}

#[cfg(test)]
mod tests;
