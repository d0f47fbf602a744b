//! How large the error of each operation is: formulas for its standard deviation, with their derivation.
//!
//! Errors are in units of the integer coefficients, before division by the scale. Coefficients of independent
//! polynomials are taken as independent with mean 0, so that a coefficient of a product `a b` in `Z[X]/(X^N + 1)`, a
//! sum of N terms, has variance `N var(a) var(b)`. Tests compare every formula with measured errors over many keys.
//!
//! Notation: `N` ring degree; `sigma = 3.19` ([`ERROR_STD`]); `h = 2N/3`, the expected squared norm of a secret key
//! whose coefficients are uniform over {-1, 0, 1}. Where a message enters, it does so by the root mean square `r` of
//! its slots times the scale: the coefficients then have mean square `r^2 / N`.

use hec_ir::parameters::ERROR_STD;

/// From coefficients to slots: the standard deviation of the real part of a slot, given that of the coefficients.
///
/// A slot is `sum c_i zeta^(k i)`, the sum of N terms of modulus 1; half the variance falls to the real part:
/// `std sqrt(N/2) / scale`. The error's absolute value as a complex number has root mean square `std sqrt(N) / scale`.
pub fn slot_std(ring_degree: usize, coefficient_std: f64, scale: f64) -> f64 {
    coefficient_std * (ring_degree as f64 / 2.0).sqrt() / scale
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
/// squared norm `h`: `sigma sqrt(2h + 1)`.
pub fn fresh_public(ring_degree: usize) -> f64 {
    ERROR_STD * (2.0 * secret_norm(ring_degree, 1) + 1.0).sqrt()
}

/// The expected squared norm of `s^i`: `i! h^i`, and 1 for `i = 0`.
///
/// It is the mean of `|s(zeta)|^(2i)` over the N roots `zeta`, and by the central limit theorem `s(zeta)` is a complex
/// Gaussian variable with `E |s|^2 = h`, whose moments these are. The norm itself depends on the key: for `i` of 2, 3,
/// 4 its standard deviation at ring degree N is 3, 6 and 12 times `N^(-1/2)` of it, roughly.
pub fn secret_norm(ring_degree: usize, exponent: usize) -> f64 {
    let h = 2.0 * ring_degree as f64 / 3.0;
    (1..=exponent).map(|i| i as f64 * h).product()
}

/// Addition and subtraction of independent errors: `sqrt(a^2 + b^2)`.
pub fn add(a: f64, b: f64) -> f64 {
    a.hypot(b)
}

/// One row of a scalar matrix on independent errors of one size: `sqrt(sum w^2)` times that.
pub fn scalar_row<'a>(std: f64, weights: impl IntoIterator<Item = &'a i32>) -> f64 {
    std * weights.into_iter().map(|&w| f64::from(w).powi(2)).sum::<f64>().sqrt()
}

/// A product with a plaintext whose scaled slots have root mean square `r`: `m e` has variance `N (r^2/N) e^2`, so
/// `r e`.
pub fn multiply_plain(std: f64, plain_rms: f64) -> f64 {
    plain_rms * std
}

/// A product of two ciphertexts with independent errors: `m_a e_b + m_b e_a + e_a e_b`, hence
/// `sqrt(r_a^2 e_b^2 + r_b^2 e_a^2 + N e_a^2 e_b^2)`, where `r` is the root mean square of the scaled slots.
pub fn multiply(ring_degree: usize, a: f64, a_rms: f64, b: f64, b_rms: f64) -> f64 {
    ((a_rms * b).powi(2) + (b_rms * a).powi(2) + ring_degree as f64 * (a * b).powi(2)).sqrt()
}

/// A square: `2 m e + e^2`. Each unordered pair of coefficients occurs twice in `e^2`, hence
/// `sqrt(4 r^2 e^2 + 2 N e^4)`.
pub fn square(ring_degree: usize, std: f64, rms: f64) -> f64 {
    (4.0 * (rms * std).powi(2) + 2.0 * ring_degree as f64 * std.powi(4)).sqrt()
}

/// Rounding the `degree + 1` polynomials of a ciphertext to integers: `sum d_i s^i` with `d_i` uniform on an interval
/// of length 1, hence `sqrt(sum_i i! h^i / 12)`. Grows by a factor of about `sqrt(N)` with each degree.
pub fn rounding(ring_degree: usize, degree: usize) -> f64 {
    ((0..=degree).map(|i| secret_norm(ring_degree, i)).sum::<f64>() / 12.0).sqrt()
}

/// Rescaling by the prime `q`: the error so far divided by `q`, and [`rounding`].
pub fn rescale(ring_degree: usize, std: f64, prime: f64, degree: usize) -> f64 {
    add(std / prime, rounding(ring_degree, degree))
}

/// What one key switch, or one relinearization of `parts` polynomials, or one rotation or conjugation (`parts` of 1),
/// adds.
///
/// `sum_d [c]_d e_d / P` with digits uniform between plus and minus half of the digit's modulus `D_d`, and the
/// rounding of the division by `P` for two polynomials: `sqrt(parts N sigma^2 sum_d (D_d / P)^2 / 12 + (1 + h) / 12)`.
/// `log2_digits` are the `log2 D_d`, `log2_special` is `log2 P`.
pub fn key_switch(
    ring_degree: usize,
    parts: usize,
    log2_digits: impl IntoIterator<Item = f64>,
    log2_special: f64,
) -> f64 {
    let ratios: f64 = log2_digits.into_iter().map(|digit| (2.0 * (digit - log2_special)).exp2()).sum();
    let keys = (parts * ring_degree) as f64 * ERROR_STD.powi(2) * ratios / 12.0;
    keys.sqrt().hypot(rounding(ring_degree, 1))
}

/// A linear transform ([`crate::LinearTransform`]) of a ciphertext with error `std`, relative to the map by the
/// diagonals as encoded.
///
/// With `r_k` the root mean square of the scaled values of diagonal `k`, `all_rms` is the root of the sum of all
/// `r_k^2`, and `switched_rms` that of the diagonals whose baby step is not 0; `giants` is the number of giant steps
/// other than 0. A key switch that is not divided by `P` yet has the error of [`key_switch`] without its rounding,
/// `kappa^2 = N sigma^2 sum_d (D_d / P)^2 / 12`; those of baby steps are multiplied by the diagonals, those of giant
/// steps are not, and each giant step rounds the polynomial that it cuts into digits. The variance is
/// `all_rms^2 std^2 + switched_rms^2 kappa^2 + giants (kappa^2 + h/12) + (1 + h)/12`.
pub fn linear_transform(
    ring_degree: usize,
    std: f64,
    all_rms: f64,
    switched_rms: f64,
    giants: usize,
    log2_digits: impl IntoIterator<Item = f64>,
    log2_special: f64,
) -> f64 {
    let rounding = rounding(ring_degree, 1).powi(2);
    let kappa = key_switch(ring_degree, 1, log2_digits, log2_special).powi(2) - rounding;
    let giant = kappa + secret_norm(ring_degree, 1) / 12.0;
    ((all_rms * std).powi(2) + switched_rms.powi(2) * kappa + giants as f64 * giant + rounding).sqrt()
}

/// log2 of the modulus of each digit of a key switch at `level`: products of as many consecutive primes of the chain as
/// there are special primes. Empty without special primes.
pub fn log2_digits(parameters: &hec_ir::parameters::Parameters, level: usize) -> Vec<f64> {
    let alpha = parameters.special_primes().len();
    if alpha == 0 {
        return Vec::new();
    }
    let chain = parameters.moduli().iter().take(level + 1).map(|&q| (q as f64).log2()).collect::<Vec<_>>();
    chain.chunks(alpha).map(|digit| digit.iter().sum()).collect()
}
