//! Secret keys and their passphrases, which never come from the command line itself.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hec::ir::parameters::Parameters;
use hec::ir::program::Contract;
use hec_client::{ClientError, Key};
use zeroize::Zeroizing;

use super::Failure;

/// Where the secret key is, of every command of the client.
#[derive(Debug, clap::Args)]
pub struct SecretArguments {
    /// The secret key, as `hec keygen` wrote it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file that holds the key's passphrase [default: it is asked for].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl SecretArguments {
    /// A file beside the key.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.key.with_file_name(name)
    }

    /// Reads the key.
    pub fn read(&self, contract: &Contract) -> Result<Key, Failure> {
        read(&self.key, self.passphrase_file.as_deref(), contract.parameters())
    }
}

/// Reads a key of these parameters; its passphrase is asked for if it has one and there is no file.
pub fn read(path: &Path, passphrase_file: Option<&Path>, parameters: &Parameters) -> Result<Key, Failure> {
    let passphrase = || match passphrase_file {
        Some(file) => from_file(file),
        None => ask(&format!("passphrase of {}: ", path.display())),
    };
    let read = Key::read::<Refused>(path, parameters, || passphrase().map_err(Refused::Passphrase));
    read.map_err(|refused| match refused {
        Refused::Passphrase(failure) => failure,
        // Those that name the file themselves.
        Refused::Key(error @ (ClientError::Io { .. } | ClientError::Permissions { .. })) => error.into(),
        Refused::Key(error) => format!("{}: {error}", path.display()).into(),
    })
}

enum Refused {
    Key(ClientError),
    Passphrase(Failure),
}

impl From<ClientError> for Refused {
    fn from(error: ClientError) -> Self {
        Self::Key(error)
    }
}

/// The first line of a file.
pub fn from_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let refuse = |what: &str| -> Failure { format!("{}: {what}", path.display()).into() };
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let file = File::open(path).map_err(|e| refuse(&format!("it cannot be read: {e}")))?;
    file.take(4096).read_to_string(&mut text).map_err(|e| refuse(&format!("it cannot be read: {e}")))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        Some(_) | None => Err(refuse("expected a secret in the first line")),
    }
}

/// Asks at the terminal, without an echo.
pub fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let answer = rpassword::prompt_password(prompt);
    Ok(Zeroizing::new(
        answer.map_err(|e| format!("no terminal to ask for a passphrase ({e}): give --passphrase-file"))?,
    ))
}

/// Asks for a new passphrase, twice.
pub fn ask_twice() -> Result<Zeroizing<String>, Failure> {
    let first = ask("new passphrase: ")?;
    if first.is_empty() {
        return Err("an empty passphrase protects nothing: leave --passphrase out, or give one".into());
    }
    if *ask("the same again: ")? == *first { Ok(first) } else { Err("the two differ: nothing was written".into()) }
}
