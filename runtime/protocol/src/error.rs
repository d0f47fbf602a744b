use std::io;

use hec_ckks::ReadError;

use crate::fingerprint::Fingerprint;

/// Why bytes from outside are refused.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file of another kind.
    #[error("not a file of {expected}")]
    Magic {
        /// What it should hold.
        expected: &'static str,
    },
    /// A secret key where there must be none.
    #[error(
        "this is a SECRET key: it never leaves its owner, and no server command reads it; give the file of evaluation keys"
    )]
    SecretKey,
    /// Written by a version that this one does not read.
    #[error("format version {found} of {what} is not supported: this version reads {expected}; {remedy}")]
    Version {
        /// What the file holds.
        what: &'static str,
        /// The file's version.
        found: u32,
        /// The version that is read.
        expected: u32,
        /// What to do.
        remedy: &'static str,
    },
    /// It ends too early, or goes on where it should end.
    #[error("damaged: expected {expected}, found {found}")]
    Damaged {
        /// What should come.
        expected: String,
        /// What comes.
        found: String,
    },
    /// What a file of keys says before the keys is refused.
    #[error("what it says of its parameters does not hold: {0}")]
    Preamble(String),
    /// Made for other parameters.
    #[error("made for other parameters (fingerprint {found}, expected {expected})")]
    Parameters {
        /// Those of the program.
        expected: Fingerprint,
        /// Those of the file.
        found: Fingerprint,
    },
    /// Made for another program.
    #[error(
        "made for another program (fingerprint {found}, expected {expected}): take the client file of this program"
    )]
    Program {
        /// The program's.
        expected: Fingerprint,
        /// That of the file.
        found: Fingerprint,
    },
    /// Made with another key.
    #[error("made with another key (fingerprint {found}, expected {expected})")]
    Key {
        /// That of the key that is there.
        expected: Fingerprint,
        /// That of the file.
        found: Fingerprint,
    },
    /// The bytes of a key or a ciphertext are refused.
    #[error("{what}: {cause}")]
    Value {
        /// Which one.
        what: String,
        /// Why.
        cause: ReadError,
    },
    /// A ciphertext is not what the program takes or gives.
    #[error("{what}: expected level {}, scale {:?} and degree {}, found level {}, scale {:?} and degree {}",
        expected.0, expected.1, expected.2, found.0, found.1, found.2)]
    Ciphertext {
        /// Which one.
        what: String,
        /// Level, scale and degree that the program declares.
        expected: Box<(usize, hec_ir::Scale, usize)>,
        /// Those of the ciphertext.
        found: Box<(usize, hec_ir::Scale, usize)>,
    },
    /// Evaluation keys do not hold what the program needs.
    #[error("the evaluation keys do not serve this program: {0}")]
    Needs(String),
}

impl FormatError {
    /// A file that is not as it was written.
    pub fn damaged(expected: impl ToString, found: impl ToString) -> Self {
        Self::Damaged { expected: expected.to_string(), found: found.to_string() }
    }
}
