//! Byte formats of ciphertexts and keys.
//!
//! A value is a container: magic `hecC`, format version (u16), kind (u8), a zero byte, the fingerprint of the parameters (32
//! bytes), the body's length (u64), the body, and the BLAKE3 hash of everything before it (32 bytes). Numbers are
//! little-endian. The body is a protobuf message, except that of a secret key, which is plain bytes so that no copy of it
//! is left behind. Residues take as many bits as their prime has, least significant first. Seeded values hold the
//! seed, not its expansion.
//!
//! Readers trust nothing: the length is bounded by that of the largest value of the kind under the parameters before
//! anything is allocated, and the checksum, the fingerprint, every length, level, degree, scale and residue is checked.
//! The checksum finds damage; it does not authenticate.

mod ciphertext;
mod container;
mod galois;
mod keys;
mod packing;

/// Why bytes are not the value that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Wrong number of bytes.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// The number expected, or the largest possible.
        expected: usize,
        /// The number found.
        found: usize,
    },
    /// Not one of these formats.
    #[error("not a ciphertext or key: the magic number is wrong")]
    Magic,
    /// A format of another version.
    #[error("format version {found} cannot be read, expected {expected}")]
    Version {
        /// The version that this library reads.
        expected: u16,
        /// The version found.
        found: u16,
    },
    /// Another kind of value.
    #[error("expected a {expected}, found kind {found}")]
    Kind {
        /// The kind asked for.
        expected: &'static str,
        /// The number of the kind found.
        found: u8,
    },
    /// Made for other parameters.
    #[error("made for other parameters: the fingerprints differ")]
    Parameters,
    /// Damaged.
    #[error("damaged: the checksum is wrong")]
    Checksum,
    /// The body is not what the kind calls for.
    #[error("malformed {kind}: {reason}")]
    Malformed {
        /// The kind.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
}
