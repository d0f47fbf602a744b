//! Polynomials in place of scalar functions, for evaluation on CKKS ciphertexts.
//!
//! CKKS adds and multiplies, so that every other function has to become a polynomial on the interval where its operands
//! lie. This crate holds that mathematics and nothing else: no graphs, no ciphertexts, no IO. The same arguments give the
//! same bits.
//!
//! | module | answers |
//! |---|---|
//! | [`mod@fit`] | the front door: a function, where its operands lie, and a method give polynomials, errors and costs |
//! | [`chebyshev`] | a polynomial in the Chebyshev basis on an interval |
//! | [`cost`] | how deep a polynomial is, and how many products it takes |
//! | [`distribution`] | what calibration has seen of an operand, and how likely it is to be left |
//! | [`least_squares`] | the polynomial of least mean square error, with tails that stay bounded |
//! | [`remez`] | the polynomial of least largest error, on one or several intervals |
//! | [`composite`] | the sign function as a chain of polynomials; ReLU, abs and max from it |
//! | [`plan`] | which degrees such a chain should have |
//! | [`iterate`] | 1/x and 1/sqrt(x) by Goldschmidt's and Newton's iterations |

pub mod chebyshev;
pub mod composite;
pub mod cost;
pub mod distribution;
mod double;
mod error;
pub mod fit;
mod interval;
pub mod iterate;
pub mod least_squares;
mod linear;
pub mod plan;
pub mod remez;

pub use chebyshev::{ChebyshevSeries, Parity};
pub use distribution::Distribution;
pub use error::ApproximationError;
pub use fit::{Fit, Request, fit};
pub use interval::Interval;
