use hec_ir::Scale;

use crate::automorphism::Automorphism;

/// Why an operation was refused. Operands are never changed silently to make them fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system gave no entropy.
    #[error("no randomness from the operating system: {reason}")]
    Entropy {
        /// What the operating system said.
        reason: String,
    },
    /// An operand or a key belongs to other parameters.
    #[error("{operation}: the operand was made for other parameters (fingerprint {found}, expected {expected})")]
    Parameters {
        /// The operation.
        operation: &'static str,
        /// First bytes of the context's fingerprint, in hexadecimal.
        expected: String,
        /// First bytes of the operand's fingerprint, in hexadecimal.
        found: String,
    },
    /// Levels do not fit.
    #[error("{operation}: expected level {expected}, found level {found}")]
    Level {
        /// The operation.
        operation: &'static str,
        /// The level needed.
        expected: usize,
        /// The level found.
        found: usize,
    },
    /// The level is above what the parameters or a key have.
    #[error("{operation}: expected a level of at most {allowed}, found level {found}")]
    LevelTooHigh {
        /// The operation.
        operation: &'static str,
        /// The highest level possible.
        allowed: usize,
        /// The level found.
        found: usize,
    },
    /// A ciphertext at level 0 has no prime left to be divided by.
    #[error("rescale: the ciphertext is at level 0, no prime is left to divide by")]
    NoLevelLeft,
    /// Scales differ.
    #[error("{operation}: scales {expected} and {found} differ ({expected:?} and {found:?})")]
    Scale {
        /// The operation.
        operation: &'static str,
        /// The scale needed, or that of the first operand.
        expected: Scale,
        /// The scale found.
        found: Scale,
    },
    /// A scale's exponents are out of any sensible range.
    #[error("{operation}: the scale has an exponent beyond {limit}, or more than {limit} factors")]
    ScaleRange {
        /// The operation.
        operation: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The degrees (number of polynomials minus one) do not fit.
    #[error("{operation}: expected degree {expected}, found degree {found}")]
    Degree {
        /// The operation.
        operation: &'static str,
        /// The degree needed.
        expected: usize,
        /// The degree found.
        found: usize,
    },
    /// The degree is out of range.
    #[error("{operation}: degree {found} is outside {min} to {max}")]
    DegreeRange {
        /// The operation.
        operation: &'static str,
        /// The smallest degree allowed.
        min: usize,
        /// The largest degree allowed.
        max: usize,
        /// The degree found.
        found: usize,
    },
    /// The keys hold none for an automorphism that is needed.
    #[error("{operation}: no key for the {automorphism} (Galois element {element})")]
    MissingGaloisKey {
        /// The operation.
        operation: &'static str,
        /// What is to be done to the slots.
        automorphism: Automorphism,
        /// Its Galois element: the exponent `g` of `X -> X^g`.
        element: u64,
    },
    /// Keys are to be switched under parameters that have no special primes.
    #[error("key switching needs special primes, and these parameters have none")]
    NoSpecialPrimes,
    /// A value is not a finite number.
    #[error("{operation}: value {index} is not a finite number")]
    NotFinite {
        /// The operation.
        operation: &'static str,
        /// Index of the first such value.
        index: usize,
    },
    /// Scaled values do not fit the modulus.
    #[error("{operation}: coefficients of 2^{found:.1} do not fit the modulus, which takes up to 2^{allowed:.1}")]
    Overflow {
        /// The operation.
        operation: &'static str,
        /// log2 of the largest coefficient.
        found: f64,
        /// log2 of half the modulus.
        allowed: f64,
    },
    /// More values than slots.
    #[error("encode: {found} values do not fit {slots} slots")]
    Slots {
        /// Slots of the ring.
        slots: usize,
        /// Values given.
        found: usize,
    },
    /// The vector of a diagonal does not repeat a whole number of times.
    #[error("linear transform: the diagonal of step {step} has {found} values, expected a divisor of {slots} slots")]
    DiagonalLength {
        /// The step of the diagonal.
        step: i64,
        /// Slots of the ring.
        slots: usize,
        /// Values given.
        found: usize,
    },
    /// The slots of the conjugate-invariant ring are real.
    #[error("{operation}: the slots of the conjugate-invariant ring are real, so there is nothing to conjugate")]
    NoConjugation {
        /// The operation.
        operation: &'static str,
    },
    /// A complex number is to be encoded where slots are real.
    #[error("{operation}: the number at index {index} is not real, and the slots of the conjugate-invariant ring are")]
    NotReal {
        /// The operation.
        operation: &'static str,
        /// Where it is.
        index: usize,
    },
    /// A linear transform has no diagonals.
    #[error("linear transform: expected at least one diagonal, found none")]
    NoDiagonals,
    /// A number of baby steps that cannot be used.
    #[error("linear transform: expected a power of two of at most {slots} baby steps, found {found}")]
    BabySteps {
        /// Slots of the ring.
        slots: usize,
        /// The number found.
        found: usize,
    },
    /// A polynomial takes more levels than there are.
    #[error("polynomial: expected a level of at least {needed}, found level {found}")]
    Depth {
        /// Levels that the polynomial takes.
        needed: usize,
        /// The level found.
        found: usize,
    },
    /// A matrix and the numbers to add to its rows differ in length.
    #[error("{operation}: the matrix has {expected} rows, found {found} numbers to add")]
    Rows {
        /// The operation.
        operation: &'static str,
        /// Rows of the matrix.
        expected: usize,
        /// Numbers given.
        found: usize,
    },
    /// A matrix and its operand differ in length.
    #[error("{operation}: the matrix has {expected} columns, found {found} ciphertexts")]
    Columns {
        /// The operation.
        operation: &'static str,
        /// Columns of the matrix.
        expected: usize,
        /// Ciphertexts given.
        found: usize,
    },
}
