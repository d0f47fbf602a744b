//! Standard deviations of the errors that CKKS adds, per slot and in units of the encoding (before division by the scale): the formulas
//! of [`hec_ir::ckks::noise`], for plans whose primes are not chosen yet.

use hec_ir::ckks::noise;
use hec_ir::parameters::Ring;

fn slot_std(coefficient_std: f64, ring: Ring) -> f64 {
    noise::slot_std(ring, coefficient_std, 1.0)
}

/// A fresh ciphertext encrypted with the secret key, rounding of the encoding included.
pub fn fresh(ring: Ring) -> f64 {
    slot_std(noise::add(noise::fresh_secret(), noise::encoding()), ring)
}

/// The rounding of an encoding alone: what is not encrypted.
pub fn encoding(ring: Ring) -> f64 {
    slot_std(noise::encoding(), ring)
}

/// Rescaling a ciphertext of `degree`.
pub fn rescale(ring: Ring, degree: usize) -> f64 {
    slot_std(noise::rounding(ring, degree), ring)
}

/// Key switching of `powers` polynomials at `limbs` limbs of `limb_bits` bits with `special` special primes of
/// `special_bits` bits.
pub fn key_switch(ring: Ring, powers: usize, limbs: usize, special: usize, bits: [f64; 2]) -> f64 {
    slot_std(noise::rounding(ring, 1), ring).hypot(undivided_key_switch(ring, powers, limbs, special, bits))
}

/// The part of [`key_switch`] that does not come from the division by the special primes.
pub fn undivided_key_switch(
    ring: Ring,
    powers: usize,
    limbs: usize,
    special: usize,
    [limb_bits, special_bits]: [f64; 2],
) -> f64 {
    let special = special.max(1);
    let digit = limb_bits * special.min(limbs) as f64;
    let digits = std::iter::repeat_n(digit, limbs.div_ceil(special));
    slot_std(noise::undivided_key_switch(ring, powers, digits, special_bits * special as f64), ring)
}
