//! How large the error of each operation is: formulas for its standard deviation, with their derivation.
//!
//! Errors are in units of the integer coefficients, before division by the scale. Coefficients of independent
//! polynomials are taken as independent with mean 0. The engine's tests compare every formula with measured errors over many keys.
//! The planner, the simulation of a run, and the certificate of a program all take them from here. Formulas as in Costache, Curtis,
//! Hales, Murphy, Ogilvie and Player, "On the precision loss in approximate homomorphic encryption" (eprint 2022/162), with averages in
//! place of bounds.
//!
//! Notation: `N` ring degree; `sigma = 3.19` ([`ERROR_STD`]); `k` the mean square of a slot of an element whose coefficients
//! have variance 1 ([`Ring::slot_norm`]): `N` in the standard ring, `2N - 1` in the conjugate-invariant ring; `h = 2k/3`, that
//! of a secret key, whose coefficients are uniform over {-1, 0, 1}. Where a message enters, it does so by the root mean
//! square `r` of its slots times the scale.
//!
//! # Products
//!
//! Slots multiply, so a product `a e` of an element whose slots have mean square `r^2` with an error of variance `v` a
//! coefficient has slots of mean square `r^2 k v`, and coefficients of variance `r^2 v`; with `r^2 = k var(a)` for an `a` that
//! is random too, `k var(a) v`. In the standard ring this is the sum of N products of coefficients. In the conjugate-invariant
//! ring the basis `1, X^i + X^-i` is orthogonal in the slots, its first vector of squared norm N and the others of 2N: a slot of
//! an error is a real Gaussian variable, uncorrelated with the others but for one part in 2N, and a product's coefficient 0 has
//! twice the variance of the others, `2 r^2 v`, which is one coefficient in N. Slots being real has two consequences more:
//! powers of the secret follow the moments of a real Gaussian variable ([`secret_norm`]), and squares of errors have a mean
//! ([`square`]).

use crate::parameters::{ERROR_STD, Parameters, Ring, RingType};

/// How many standard deviations of its error a value is taken to be off at most.
pub const DEVIATIONS: f64 = 6.0;

/// Bits of precision: log2 of the range over [`DEVIATIONS`] standard deviations of the error.
pub fn bits(range: f64, deviation: f64) -> f64 {
    (range / (DEVIATIONS * deviation)).log2()
}

/// From coefficients to slots: the standard deviation of the real part of a slot, given that of the coefficients.
///
/// In the standard ring a slot is a complex number, and half the variance falls to the real part: `std sqrt(N/2) / scale`. The
/// error's absolute value has root mean square `std sqrt(N) / scale`. In the conjugate-invariant ring it is
/// `std sqrt(2N - 1) / scale`: twice as much, one bit of precision less.
pub fn slot_std(ring: Ring, coefficient_std: f64, scale: f64) -> f64 {
    coefficient_std * ring.real_slot_norm().sqrt() / scale
}

/// Encoding rounds each coefficient to an integer: uniform on an interval of length 1, `sqrt(1/12)`.
pub fn encoding() -> f64 {
    (1.0 / 12.0_f64).sqrt()
}

/// Encryption with the secret key: `c_0 + c_1 s = m + e`, `sigma`.
pub fn fresh_secret() -> f64 {
    ERROR_STD
}

/// Encryption with the public key: `b v + e_0 + (a v + e_1) s = m + e v + e_0 + e_1 s` where `v` and `s` both have
/// slots of mean square `h`: `sigma sqrt(2h + 1)`.
pub fn fresh_public(ring: Ring) -> f64 {
    ERROR_STD * (2.0 * secret_norm(ring, 1) + 1.0).sqrt()
}

/// The expected mean square of the slots of `s^i`: in the standard ring `i! h^i`, in the conjugate-invariant ring
/// `1 3 5 .. (2i - 1) h^i`; 1 for `i = 0`.
///
/// It is the mean of `|s(zeta)|^(2i)` over the roots `zeta`, and by the central limit theorem `s(zeta)` is a Gaussian variable
/// with `E |s|^2 = h`, complex or real, whose moments these are. The mean itself depends on the key: in the standard ring,
/// for `i` of 2, 3, 4 its standard deviation at ring degree N is 3, 6 and 12 times `N^(-1/2)` of it, roughly; in the other ring
/// 3, 7 and 14 times.
pub fn secret_norm(ring: Ring, exponent: usize) -> f64 {
    let h = 2.0 * ring.slot_norm() / 3.0;
    ring.slot_moment(exponent) * h.powi(exponent as i32)
}

/// Addition and subtraction of independent errors: `sqrt(a^2 + b^2)`.
pub fn add(a: f64, b: f64) -> f64 {
    a.hypot(b)
}

/// One row of a scalar matrix on independent errors of one size: `sqrt(sum w^2)` times that.
pub fn scalar_row<'a>(std: f64, weights: impl IntoIterator<Item = &'a i32>) -> f64 {
    std * weights.into_iter().map(|&w| f64::from(w).powi(2)).sum::<f64>().sqrt()
}

/// A product with a plaintext whose scaled slots have root mean square `r`: `m e` has variance `r^2 e^2`, so `r e`.
pub fn multiply_plain(std: f64, plain_rms: f64) -> f64 {
    plain_rms * std
}

/// A product of two ciphertexts with independent errors: `m_a e_b + m_b e_a + e_a e_b`, hence
/// `sqrt(r_a^2 e_b^2 + r_b^2 e_a^2 + k e_a^2 e_b^2)`, where `r` is the root mean square of the scaled slots.
pub fn multiply(ring: Ring, a: f64, a_rms: f64, b: f64, b_rms: f64) -> f64 {
    ((a_rms * b).powi(2) + (b_rms * a).powi(2) + ring.slot_norm() * (a * b).powi(2)).sqrt()
}

/// A square: `2 m e + e^2`. Each unordered pair of coefficients occurs twice in `e^2`, hence
/// `sqrt(4 r^2 e^2 + 2 k e^4)`, about a mean of [`square_mean`] in coefficient 0.
pub fn square(ring: Ring, std: f64, rms: f64) -> f64 {
    (4.0 * (rms * std).powi(2) + 2.0 * ring.slot_norm() * std.powi(4)).sqrt()
}

/// The mean of the error of a square in coefficient 0, which is a shift of all slots: 0 in the standard ring; `k e^2` in the
/// conjugate-invariant ring, where the slots of an error are real and their squares positive.
pub fn square_mean(ring: Ring, std: f64) -> f64 {
    match ring.ring_type {
        RingType::Standard => 0.0,
        RingType::ConjugateInvariant => ring.slot_norm() * std.powi(2),
    }
}

/// Rounding the `degree + 1` polynomials of a ciphertext to integers: `sum d_i s^i` with `d_i` uniform on an interval
/// of length 1, hence `sqrt(sum_i E|s|^(2i) / 12)` with [`secret_norm`]. Grows by a factor of about `sqrt(k)` with each degree.
pub fn rounding(ring: Ring, degree: usize) -> f64 {
    ((0..=degree).map(|i| secret_norm(ring, i)).sum::<f64>() / 12.0).sqrt()
}

/// Rescaling by the prime `q`: the error so far divided by `q`, and [`rounding`].
pub fn rescale(ring: Ring, std: f64, prime: f64, degree: usize) -> f64 {
    add(std / prime, rounding(ring, degree))
}

/// What one key switch, or one relinearization of `parts` polynomials, or one rotation or conjugation (`parts` of 1),
/// adds.
///
/// `sum_d [c]_d e_d / P` with digits uniform between plus and minus half of the digit's modulus `D_d`, and the
/// rounding of the division by `P` for two polynomials: `sqrt(parts k sigma^2 sum_d (D_d / P)^2 / 12 + (1 + h) / 12)`.
/// `log2_digits` are the `log2 D_d`, `log2_special` is `log2 P`.
pub fn key_switch(ring: Ring, parts: usize, log2_digits: impl IntoIterator<Item = f64>, log2_special: f64) -> f64 {
    undivided_key_switch(ring, parts, log2_digits, log2_special).hypot(rounding(ring, 1))
}

/// The part of [`key_switch`] that does not come from the division by `P`: what a product with a diagonal multiplies where the division
/// waits until all products are added, `sqrt(parts k sigma^2 sum_d (D_d / P)^2 / 12)`.
pub fn undivided_key_switch(
    ring: Ring,
    parts: usize,
    log2_digits: impl IntoIterator<Item = f64>,
    log2_special: f64,
) -> f64 {
    let ratios: f64 = log2_digits.into_iter().map(|digit| (2.0 * (digit - log2_special)).exp2()).sum();
    (parts as f64 * ring.slot_norm() * ERROR_STD.powi(2) * ratios / 12.0).sqrt()
}

/// A linear transform of a ciphertext with error `std`, relative to the map by the
/// diagonals as encoded.
///
/// With `r_k` the root mean square of the scaled values of diagonal `k`, `all_rms` is the root of the sum of all
/// `r_k^2`, and `switched_rms` that of the diagonals whose baby step is not 0; `giants` is the number of giant steps
/// other than 0. A key switch that is not divided by `P` yet has the error of [`key_switch`] without its rounding,
/// `kappa^2 = k sigma^2 sum_d (D_d / P)^2 / 12`; those of baby steps are multiplied by the diagonals, those of giant
/// steps are not, and each giant step rounds the polynomial that it cuts into digits. The variance is
/// `all_rms^2 std^2 + switched_rms^2 kappa^2 + giants (kappa^2 + h/12) + (1 + h)/12`.
pub fn linear_transform(
    ring: Ring,
    std: f64,
    all_rms: f64,
    switched_rms: f64,
    giants: usize,
    log2_digits: impl IntoIterator<Item = f64>,
    log2_special: f64,
) -> f64 {
    let rounding = rounding(ring, 1).powi(2);
    let kappa = undivided_key_switch(ring, 1, log2_digits, log2_special).powi(2);
    let giant = kappa + secret_norm(ring, 1) / 12.0;
    ((all_rms * std).powi(2) + switched_rms.powi(2) * kappa + giants as f64 * giant + rounding).sqrt()
}

/// log2 of the modulus of each digit of a key switch at `level`: products of as many consecutive primes of the chain as
/// there are special primes. Empty without special primes.
pub fn log2_digits(parameters: &Parameters, level: usize) -> Vec<f64> {
    let alpha = parameters.special_primes().len();
    if alpha == 0 {
        return Vec::new();
    }
    let chain = parameters.moduli().iter().take(level + 1).map(|&q| (q as f64).log2()).collect::<Vec<_>>();
    chain.chunks(alpha).map(|digit| digit.iter().sum()).collect()
}
