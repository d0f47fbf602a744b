//! Standard deviations of the errors that CKKS adds, per slot and in units of the encoding (before division by the scale).
//!
//! An error polynomial with independent coefficients of variance `v` has slot values whose real part has variance `v N / 2`
//! (canonical embedding). The secret is dense ternary: `|s(zeta)|^2` averages `2N/3`, and its `k`-th power
//! `k! (2N/3)^k`. Rescaling and key switching round to the nearest integer: variance `1/12` a coefficient.
//! Formulas as in Costache, Curtis, Hales, Murphy, Ogilvie and Player, "On the precision loss in approximate homomorphic
//! encryption" (eprint 2022/162), with averages in place of bounds.

use hec_ir::parameters::ERROR_STD;

fn slot_std(coefficient_variance: f64, log_n: u32) -> f64 {
    (coefficient_variance * f64::from(log_n).exp2() / 2.0).sqrt()
}

fn secret_square(log_n: u32) -> f64 {
    f64::from(log_n).exp2() * 2.0 / 3.0
}

/// A fresh ciphertext encrypted with the secret key, rounding of the encoding included.
pub fn fresh(log_n: u32) -> f64 {
    slot_std(ERROR_STD * ERROR_STD + 1.0 / 12.0, log_n)
}

/// Rescaling a ciphertext of `degree`.
pub fn rescale(log_n: u32, degree: usize) -> f64 {
    let moments = (1..=degree).scan(1.0, |moment, k| {
        *moment *= k as f64 * secret_square(log_n);
        Some(*moment)
    });
    slot_std((1.0 + moments.sum::<f64>()) / 12.0, log_n)
}

/// Key switching of `powers` polynomials at `limbs` limbs of `limb_bits` bits with `special` special primes of
/// `special_bits` bits.
pub fn key_switch(log_n: u32, powers: usize, limbs: usize, special: usize, [limb_bits, special_bits]: [f64; 2]) -> f64 {
    let special = special.max(1);
    let digits = limbs.div_ceil(special) as f64;
    let digit_bits = limb_bits * special.min(limbs) as f64;
    let ratio = (2.0 * (digit_bits - special_bits * special as f64)).exp2();
    let gadget = powers as f64 * digits * f64::from(log_n).exp2() * ERROR_STD * ERROR_STD / 12.0 * ratio;
    slot_std(gadget + (1.0 + secret_square(log_n)) / 12.0, log_n)
}
