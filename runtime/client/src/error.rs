use std::io;
use std::path::PathBuf;

use hec_protocol::{Fingerprint, FormatError};
use hec_runtime::{EngineError, RunError};

/// Why the client did not get its answers.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The operating system refused.
    #[error("{} cannot be {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A secret key is there already.
    #[error(
        "{} is there already: a secret key is never overwritten, as all that is encrypted with it would be lost; choose another \
         place, or remove it yourself", path.display()
    )]
    KeyExists {
        /// The file.
        path: PathBuf,
    },
    /// Others can read the secret key.
    #[error("{}: others than its owner can read it (mode {mode:03o}): chmod 600 it, or make another key", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The passphrase does not open the key.
    #[error("the passphrase is wrong, or the file was changed")]
    Passphrase,
    /// The key is encrypted, and no passphrase was given.
    #[error("the secret key is encrypted: give its passphrase")]
    NoPassphrase,
    /// Bytes are refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Samples or results are refused.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A server cannot be reached, or refused.
    #[error("the server {server}: {reason}")]
    Server {
        /// Its address.
        server: String,
        /// What it said.
        reason: String,
    },
    /// The server has another program under this name.
    #[error(
        "the server has no program {wanted} as model \"{model}\": it has {found}; take the client file of that one"
    )]
    Program {
        /// The model asked for.
        model: String,
        /// The contract's program.
        wanted: Fingerprint,
        /// Those of the server.
        found: String,
    },
}

impl ClientError {
    pub(crate) fn io(path: &std::path::Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}
