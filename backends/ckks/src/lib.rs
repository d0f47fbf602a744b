//! A leveled RNS-CKKS engine in pure Rust, and its adapter to the runtime.
//!
//! CKKS computes with encrypted vectors of complex numbers, approximately: sums and products act on all *slots* of a
//! vector at once, and the result carries a small error, as floating-point numbers do.
//!
//! # The mathematics
//!
//! - **Plaintexts** are polynomials in `R = Z[X]/(X^N + 1)`. The N/2 slots of `m` are its values at `zeta^(5^j)`, zeta a
//!   complex 2N-th root of unity; encoding multiplies by a *scale* and rounds ([`Context::encode`]). Cheon, Kim, Kim, Song,
//!   eprint 2016/421.
//! - **Real slots.** Where all numbers are real, the *conjugate-invariant ring* `R = Z[X + 1/X]/(X^2N + 1)` has N real slots in the
//!   place of N/2 complex ones, at the same degree and price: values at the powers `5^j` of a 4N-th root. All of the below is
//!   the same there, except that there is no conjugation ([`hec_ir::parameters::RingType`]; Kim and Song, eprint 2018/952).
//! - **Ciphertexts** of degree `d` at level `l` are `c_0, .., c_d` in `R` modulo `Q_l = q_0 .. q_l` with `sum c_i s^i = m + e`:
//!   fresh ones have degree 1, products add degrees. They are stored by residues modulo each prime, in the domain of the
//!   number-theoretic transform (Cheon, Han, Kim, Kim, Song, eprint 2018/931).
//! - **Rescaling** divides by `q_l`, which divides scale and error alike and leaves level `l - 1`
//!   ([`evaluate::rescale`]). Scales are exact rationals ([`hec_ir::Scale`]): values are added only under one and the same.
//! - **Key switching** turns a factor `s'` (such as `s^2`) into `s`: the polynomial is cut into digits of several primes, each digit
//!   is multiplied with its part of a key modulo `Q P`, and the sum divided by the *special primes* P (hybrid
//!   key switching; Han and Ki, eprint 2019/688; the change of base is that of Halevi, Polyakov and Shoup, eprint 2018/117). See
//!   [`KeySwitchKey`] and [`evaluate::relinearize`], which takes degrees 2 to 4 to degree 1 in one go.
//! - **Rotations** are the automorphisms `X -> X^(5^k)`, and conjugation is `X -> X^-1`: permutations in the NTT domain, and a key
//!   switch ([`GaloisKeys`]). Many rotations of one ciphertext share its digits ([`evaluate::rotate_many`]); linear maps of the slots
//!   go further ([`LinearTransform`]); polynomials land on the scale they are asked for ([`PolynomialPlan`]).
//! - **Seeds** stand for whatever is uniform and public: the `a` halves of all keys, and the second half of what the secret
//!   key encrypts. That halves the bytes.
//! - **Errors** of every operation follow the formulas in [`noise`].
//!
//! # Rules
//!
//! No operation adjusts its operands: a level, scale or degree that does not fit is an [`Error`] that names what was expected
//! and what was found. [`evaluate`] never sees a [`SecretKey`]. Readers of bytes trust nothing. Results do not depend on
//! the number of threads, nor on the vector instructions of the machine.
//!
//! The engine has not been audited. Sampling, encryption and decryption have no branches or addresses that depend on secrets;
//! encoding and decoding, which use floating point, promise nothing of the kind. Decrypted values carry a function of the key
//! in their error: read the warning at [`SecretKey::decrypt`] before passing them on.
//!
//! # Example
//!
//! ```
//! use hec_ckks::{Context, Randomness, RelinearizationKeys, SecretKey, evaluate};
//! use hec_ir::Scale;
//! use hec_ir::parameters::{Literal, Parameters, PrimeSearch, RingType, Security};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A chain of two primes, and one special prime: 106 bits, the most that 128-bit security allows at N = 4096.
//! let mut search = PrimeSearch::new(12);
//! let mut take = |bits| search.take(bits).ok_or("no such prime");
//! let (moduli, special_primes) = (vec![take(38)?, take(30)?], vec![take(38)?]);
//! let literal = Literal { ring_type: RingType::Standard, log_n: 12, moduli, special_primes, security: Security::Bits128 };
//! let context = Context::new(&Parameters::new(literal)?);
//!
//! // The client makes the keys and encrypts.
//! let mut randomness = Randomness::from_os()?;
//! let secret = SecretKey::generate(&context, &mut randomness);
//! let keys = RelinearizationKeys::generate(&context, &secret, 1, 2, &mut randomness)?;
//! let plaintext = context.encode(&[0.5, -1.5, 3.0], 1, &Scale::power_of_two(30))?;
//! let encrypted = secret.encrypt(&context, &plaintext, &mut randomness)?;
//!
//! // The server squares, without seeing anything.
//! let square = evaluate::square(&context, &encrypted)?;
//! let square = evaluate::rescale(&context, &evaluate::relinearize(&context, &square, &keys)?)?;
//!
//! // The client decrypts.
//! let values = context.decode(&secret.decrypt(&context, &square)?)?;
//! for (value, expected) in values.iter().zip([0.25, 2.25, 9.0, 0.0]) {
//!     assert!((value - expected).abs() < 1e-3);
//! }
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(feature = "evaluator"), allow(dead_code, reason = "a client uses a part of the engine"))]

pub mod adapter;
pub mod arithmetic;
mod automorphism;
mod bytes;
#[cfg(feature = "evaluator")]
pub mod calibration;
mod ciphertext;
mod context;
mod count;
mod encoding;
mod encryption;
mod error;
#[cfg(feature = "evaluator")]
pub mod evaluate;
mod flooding;
pub mod kernels;
mod keys;
mod limb;
#[cfg(feature = "evaluator")]
mod linear_transform;
pub use hec_ir::ckks::noise;
pub mod ntt;
mod plaintext;
mod poly;
#[cfg(feature = "evaluator")]
mod polynomial;
mod sampling;
mod scratch;

pub use automorphism::Automorphism;
pub use bytes::ReadError;
pub use ciphertext::{Ciphertext, MAX_DEGREE};
pub use context::Context;
pub use encoding::Complex;
pub use error::Error;
#[cfg(feature = "evaluator")]
pub use kernels::{MAX_WEIGHT, PreparedMatrix, WeightError};
pub use keys::{GaloisKey, GaloisKeys, KeySwitchKey, PublicKey, RelinearizationKeys, SecretKey};
#[cfg(feature = "evaluator")]
pub use linear_transform::{LinearTransform, TransformCost, TransformSettings};
pub use plaintext::Plaintext;
#[cfg(feature = "evaluator")]
pub use polynomial::{Basis, MAX_POLYNOMIAL_DEGREE, PolynomialCost, PolynomialPlan};
pub use sampling::{Randomness, SEED_BYTES, Seed};

#[cfg(test)]
#[cfg(feature = "evaluator")]
mod tests;
