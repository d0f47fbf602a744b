//! Standard deviations of the errors that CKKS adds, per slot and in units of the encoding (before division by the scale).
//!
//! An error polynomial with independent coefficients of variance `v` has slot values whose real part has variance `v N / 2` in the
//! standard ring and `v (2N - 1)` in the conjugate-invariant ring ([`Ring::real_slot_norm`]): twice the error there. The secret is
//! dense ternary: `|s(zeta)|^2` averages `h = 2k/3`, `k` being [`Ring::slot_norm`], and its powers follow the moments of a
//! Gaussian variable, complex or real ([`Ring::slot_moment`]). Rescaling and key switching round to the nearest integer:
//! variance `1/12` a coefficient. Formulas as in Costache, Curtis, Hales, Murphy, Ogilvie and Player, "On the precision loss in
//! approximate homomorphic encryption" (eprint 2022/162), with averages in place of bounds; those of the conjugate-invariant
//! ring are derived, and tested, in the engine's `noise`.

use hec_ir::parameters::{ERROR_STD, Ring};

fn slot_std(coefficient_variance: f64, ring: Ring) -> f64 {
    (coefficient_variance * ring.real_slot_norm()).sqrt()
}

/// `E |s(zeta)|^(2 power)`.
fn secret_moment(ring: Ring, power: usize) -> f64 {
    ring.slot_moment(power) * (ring.slot_norm() * 2.0 / 3.0).powi(power as i32)
}

/// A fresh ciphertext encrypted with the secret key, rounding of the encoding included.
pub fn fresh(ring: Ring) -> f64 {
    slot_std(ERROR_STD * ERROR_STD + 1.0 / 12.0, ring)
}

/// The rounding of an encoding alone: what is not encrypted.
pub fn encoding(ring: Ring) -> f64 {
    slot_std(1.0 / 12.0, ring)
}

/// Rescaling a ciphertext of `degree`.
pub fn rescale(ring: Ring, degree: usize) -> f64 {
    let moments = (0..=degree).map(|power| secret_moment(ring, power));
    slot_std(moments.sum::<f64>() / 12.0, ring)
}

/// Key switching of `powers` polynomials at `limbs` limbs of `limb_bits` bits with `special` special primes of
/// `special_bits` bits.
pub fn key_switch(ring: Ring, powers: usize, limbs: usize, special: usize, bits: [f64; 2]) -> f64 {
    let rounding = slot_std((1.0 + secret_moment(ring, 1)) / 12.0, ring);
    undivided_key_switch(ring, powers, limbs, special, bits).hypot(rounding)
}

/// The part of [`key_switch`] that does not come from the division by the special primes: what a product with a diagonal multiplies where
/// the division waits until all products are added.
pub fn undivided_key_switch(
    ring: Ring,
    powers: usize,
    limbs: usize,
    special: usize,
    [limb_bits, special_bits]: [f64; 2],
) -> f64 {
    let special = special.max(1);
    let digits = limbs.div_ceil(special) as f64;
    let digit_bits = limb_bits * special.min(limbs) as f64;
    let ratio = (2.0 * (digit_bits - special_bits * special as f64)).exp2();
    slot_std(powers as f64 * digits * ring.slot_norm() * ERROR_STD * ERROR_STD / 12.0 * ratio, ring)
}
