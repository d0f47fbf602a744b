//! A secret key with the fingerprint of its evaluation keys, and its file.
//!
//! The file begins as [`hec_protocol::preamble`] says; its own field is the fingerprint of the evaluation keys. After the preamble comes
//! one byte: 0, and the key in the engine's format, with its checksum; or 1, memory in KiB, passes and lanes of Argon2id (u32 each), a
//! salt (16 bytes), a nonce (24 bytes), and the same encrypted with XChaCha20-Poly1305, which authenticates all before it as well.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hec_ckks::adapter::{CkksClient, EvaluationKeys};
use hec_ckks::{Context, SecretKey};
use hec_ir::parameters::Parameters;
use hec_ir::program::Contract;
use hec_protocol::keys;
use hec_protocol::preamble::{LONGEST, SECRET};
use hec_protocol::{Fingerprint, FormatError};
use zeroize::Zeroizing;

use crate::error::ClientError;

const SALT: usize = 16;
const NONCE: usize = 24;
/// Memory in KiB, passes, lanes.
const ARGON2: [u32; 3] = [64 * 1024, 3, 1];
/// What a file may ask for: a gibibyte, and a minute or so.
const ARGON2_LIMITS: [u32; 3] = [1 << 20, 64, 16];

/// A secret key, and by which fingerprint its evaluation keys are found. Zeroized on drop; `Debug` shows the fingerprint only.
pub struct Key {
    client: CkksClient,
    fingerprint: Fingerprint,
}

impl Key {
    /// A fresh key. The evaluation keys that the contract asks for go to `evaluation`, with what `statement` says about their security.
    ///
    /// # Errors
    /// If there is no randomness, the statement fails or is too long, or the writer refuses.
    pub fn generate<E: From<ClientError>>(
        contract: &Contract,
        evaluation: impl Write,
        statement: impl FnOnce(&EvaluationKeys) -> Result<String, E>,
    ) -> Result<Self, E> {
        let client = CkksClient::generate(contract.parameters()).map_err(ClientError::from)?;
        let made = client.evaluation_keys(contract.keys()).map_err(ClientError::from)?;
        let written = keys::write(client.context(), &made, &statement(&made)?, evaluation);
        let fingerprint = written.map_err(ClientError::from)?;
        Ok(Self { client, fingerprint })
    }

    /// Encrypts and decrypts.
    pub fn client(&self) -> &CkksClient {
        &self.client
    }

    /// That of the evaluation keys: what ciphertexts and servers know the key by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Writes the key to a new file that only its owner can read, encrypted if there is a passphrase; `statement` is what the file says about
    /// security, in the clear.
    ///
    /// # Errors
    /// If there is a file of this name, the statement is too long, or the operating system refuses.
    pub fn write(&self, path: &Path, statement: &str, passphrase: Option<&str>) -> Result<(), ClientError> {
        let context = self.client.context();
        let mut bytes = SECRET.bytes(context.parameters(), &self.fingerprint.0, statement)?;
        let secret = self.client.secret().to_bytes(context).map_err(hec_runtime::EngineError::new)?;
        let body = match passphrase {
            None => {
                bytes.push(0);
                secret
            }
            Some(passphrase) => {
                bytes.push(1);
                bytes.extend(ARGON2.iter().flat_map(|number| number.to_le_bytes()));
                let mut random = [0; SALT + NONCE];
                getrandom::fill(&mut random)
                    .map_err(|e| FormatError::Io(std::io::Error::other(format!("no randomness: {e}"))))?;
                bytes.extend(random);
                let (salt, nonce) = random.split_at(SALT);
                let sealed = cipher(passphrase, salt, ARGON2)?
                    .encrypt(&nonce_of(nonce)?, Payload { msg: &secret, aad: &bytes })
                    .map_err(|_| ClientError::Passphrase)?;
                Zeroizing::new(sealed)
            }
        };
        let mut file = create_private(path)?;
        let written = file.write_all(&bytes).and_then(|()| file.write_all(&body)).and_then(|()| file.sync_all());
        written.map_err(|source| {
            // Half a key is none.
            let _ = fs::remove_file(path);
            ClientError::io(path, "written")(source)
        })
    }

    /// Reads a key of these parameters; `passphrase` is asked if it is encrypted.
    ///
    /// # Errors
    /// If others can read the file, it is damaged, of other parameters, or the passphrase is wrong.
    pub fn read<E: From<ClientError>>(
        path: &Path,
        parameters: &Parameters,
        passphrase: impl FnOnce() -> Result<Zeroizing<String>, E>,
    ) -> Result<Self, E> {
        let mut file = File::open(path).map_err(ClientError::io(path, "read"))?;
        check_permissions(path, &file)?;
        let context = Context::new(parameters);
        // The preamble, two bits for each coefficient, and less than 2^12 of all else.
        let limit = (LONGEST + parameters.ring_degree() / 4 + (1 << 12)) as u64;
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit as usize));
        (&mut file).take(limit).read_to_end(&mut bytes).map_err(ClientError::io(path, "read"))?;
        let refuse = |error: FormatError| E::from(ClientError::from(error));
        let mut rest = &bytes[..];
        let (fingerprint, preamble) = SECRET.read(&mut rest).map_err(refuse)?;
        preamble.check(parameters).map_err(refuse)?;
        let opened;
        let secret = match rest.split_first() {
            Some((0, secret)) => secret,
            Some((1, sealed)) => {
                opened = open(&bytes, sealed, &passphrase()?)?;
                &opened
            }
            Some((other, _)) => return Err(refuse(FormatError::damaged("0 or 1", other))),
            None => return Err(refuse(FormatError::damaged("a key", "the end of the file"))),
        };
        let value = |cause| refuse(FormatError::Value { what: "secret key".to_owned(), cause });
        let secret = SecretKey::from_bytes(&context, secret).map_err(value)?;
        Ok(Self { client: CkksClient::new(context, secret), fingerprint: Fingerprint(fingerprint) })
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Decrypts what follows the byte 1 in `all`.
fn open(all: &[u8], sealed: &[u8], passphrase: &str) -> Result<Zeroizing<Vec<u8>>, ClientError> {
    let Some((settings, body)) = sealed.split_at_checked(12 + SALT + NONCE) else {
        return Err(FormatError::damaged("an encrypted key", "the end of the file").into());
    };
    let (numbers, random) = settings.split_at(12);
    let mut costs = [0; 3];
    for (cost, bytes) in costs.iter_mut().zip(numbers.as_chunks::<4>().0) {
        *cost = u32::from_le_bytes(*bytes);
    }
    if costs.iter().zip(ARGON2_LIMITS).any(|(cost, limit)| *cost > limit) {
        return Err(FormatError::damaged(format!("costs of at most {ARGON2_LIMITS:?}"), format!("{costs:?}")).into());
    }
    let (salt, nonce) = random.split_at(SALT);
    let authenticated = &all[..all.len() - body.len()];
    let opened = cipher(passphrase, salt, costs)?.decrypt(&nonce_of(nonce)?, Payload { msg: body, aad: authenticated });
    opened.map(Zeroizing::new).map_err(|_| ClientError::Passphrase)
}

fn nonce_of(bytes: &[u8]) -> Result<XNonce, ClientError> {
    bytes.try_into().map_err(|_| FormatError::damaged(format!("{NONCE} bytes"), bytes.len()).into())
}

/// The cipher whose key Argon2id makes of a passphrase.
fn cipher(passphrase: &str, salt: &[u8], costs: [u32; 3]) -> Result<XChaCha20Poly1305, ClientError> {
    let [memory, passes, lanes] = costs;
    let refuse = |error: argon2::Error| FormatError::damaged("usable costs of Argon2", error);
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(refuse)?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.as_bytes(), salt, &mut *key).map_err(refuse)?;
    Ok(XChaCha20Poly1305::new((&*key).into()))
}

/// A new file for the owner alone, from the first moment.
fn create_private(path: &Path) -> Result<File, ClientError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|source| {
        if source.kind() == std::io::ErrorKind::AlreadyExists {
            ClientError::KeyExists { path: path.to_owned() }
        } else {
            ClientError::io(path, "written")(source)
        }
    })
}

#[cfg(unix)]
fn check_permissions(path: &Path, file: &File) -> Result<(), ClientError> {
    let metadata = file.metadata().map_err(ClientError::io(path, "read"))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(ClientError::Permissions { path: path.to_owned(), mode }) }
}

#[cfg(not(unix))]
fn check_permissions(_path: &Path, _file: &File) -> Result<(), ClientError> {
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails here fails the test")]
mod tests {
    use hec_ir::parameters::{Literal, PrimeSearch, RingType, Security};

    use super::*;

    fn parameters(bits: u32) -> Parameters {
        let moduli = vec![PrimeSearch::new(4).take(bits).unwrap()];
        let (ring_type, security) = (RingType::Standard, Security::Bits128);
        Parameters::insecure_for_tests(Literal { ring_type, log_n: 4, moduli, special_primes: vec![], security })
            .unwrap()
    }

    #[test]
    fn written_and_read_with_and_without_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let (own, path) = (parameters(30), folder.path().join("secret.heckey"));
        let key = Key { client: CkksClient::generate(&own).unwrap(), fingerprint: Fingerprint([7; 32]) };
        let secret = |key: &Key| key.client.secret().to_bytes(key.client.context()).unwrap();
        let read_as = |parameters: &Parameters| {
            Key::read::<ClientError>(&path, parameters, || Ok(Zeroizing::new("right".to_owned())))
        };
        for passphrase in [None, Some("right")] {
            key.write(&path, "stated", passphrase).unwrap();
            assert!(matches!(key.write(&path, "stated", passphrase), Err(ClientError::KeyExists { .. })));
            let found = read_as(&own).unwrap();
            assert_eq!((secret(&found), found.fingerprint()), (secret(&key), key.fingerprint()));
            let other = read_as(&parameters(31));
            assert!(matches!(other, Err(ClientError::Format(FormatError::Parameters { .. }))));

            let good = fs::read(&path).unwrap();
            // The first version, and the fingerprint of others.
            for at in [8, 12] {
                let mut bytes = good.clone();
                bytes[at] ^= 3;
                fs::write(&path, bytes).unwrap();
                assert!(matches!(read_as(&own), Err(ClientError::Format(_))), "{at}");
            }
            // What is stated is authenticated as soon as there is a passphrase.
            let (fields, preamble) = SECRET.read(&mut &*good).unwrap();
            assert_eq!((fields, &*preamble.statement), (key.fingerprint.0, "stated"));
            let at = good.windows(6).position(|part| part == b"stated").unwrap();
            let mut bytes = good.clone();
            bytes[at..at + 6].copy_from_slice(b"edited");
            fs::write(&path, bytes).unwrap();
            match passphrase {
                None => drop(read_as(&own).unwrap()),
                Some(_) => assert!(matches!(read_as(&own), Err(ClientError::Passphrase))),
            }
            fs::remove_file(&path).unwrap();
        }
        assert!(matches!(key.write(&path, &"x".repeat(LONGEST), None), Err(ClientError::Format(_))));
        assert!(!path.exists());
    }
}
