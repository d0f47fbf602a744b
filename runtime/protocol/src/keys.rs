//! The file of evaluation keys.
//!
//! `HECKEYS\0`, version (u32), the fingerprint of the parameters (32 bytes), 32 random bytes, the number of sets of relinearization keys
//! (u32, 0 or 1) and of rotation keys (u32), and each of these with its length (u64) before it, in the engine's format: seeded, and with a
//! checksum of its own. Numbers are little-endian. The BLAKE3 digest of the whole file is the *fingerprint of the key*: the secret
//! key's file and all ciphertexts carry it, and a server finds the keys by it. The random bytes make it another for each key, even
//! where a program needs no evaluation keys at all.

use std::io::{self, Read, Write};

use hec_ckks::adapter::EvaluationKeys;
use hec_ckks::{Context, GaloisKey, RelinearizationKeys};
use hec_ir::parameters::Parameters;

use crate::error::FormatError;
use crate::fingerprint::{Fingerprint, Hashing};

const MAGIC: &[u8; 8] = b"HECKEYS\0";
/// How a secret key's file begins: told apart for a clear message.
pub const SECRET_MAGIC: &[u8; 8] = b"HECSKEY\0";
const VERSION: u32 = 1;
const WHAT: &str = "evaluation keys";

/// Bytes before the first key.
pub const HEADER: usize = 8 + 4 + 32 + 32 + 4 + 4;

/// Writes `keys` and returns their fingerprint.
///
/// # Errors
/// If the writer refuses, there is no randomness, or the keys are not of these parameters.
pub fn write(context: &Context, keys: &EvaluationKeys, out: impl Write) -> io::Result<Fingerprint> {
    let mut out = Hashing::new(out);
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    out.write_all(MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(context.parameters().fingerprint())?;
    out.write_all(&nonce)?;
    out.write_all(&u32::from(keys.relinearization.is_some()).to_le_bytes())?;
    out.write_all(&(keys.rotations.len() as u32).to_le_bytes())?;
    let mut part = |bytes: Vec<u8>| {
        out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        out.write_all(&bytes)
    };
    if let Some(keys) = &keys.relinearization {
        part(keys.to_bytes(context).map_err(io::Error::other)?)?;
    }
    for key in keys.rotations.iter() {
        part(key.to_bytes(context).map_err(io::Error::other)?)?;
    }
    out.flush()?;
    Ok(out.fingerprint())
}

/// Reads keys, one after the other, and their fingerprint.
///
/// # Errors
/// [`FormatError`]: damaged, a secret key, of other parameters, or more than keys.
pub fn read(context: &Context, from: impl Read) -> Result<(EvaluationKeys, Fingerprint), FormatError> {
    let mut from = Hashing::new(from);
    let parameters = header(&mut from)?;
    let expected = Fingerprint(*context.parameters().fingerprint());
    if parameters != expected {
        return Err(FormatError::Parameters { expected, found: parameters });
    }
    take::<32>(&mut from)?;
    let [relinearization, rotations] = [u32::from_le_bytes(take(&mut from)?), u32::from_le_bytes(take(&mut from)?)];
    if relinearization > 1 {
        return Err(FormatError::damaged("at most one set of relinearization keys", relinearization));
    }
    let limit = part_limit(context.parameters());
    let mut part = |what: &str| -> Result<Vec<u8>, FormatError> {
        let length = u64::from_le_bytes(take(&mut from)?);
        if length > limit {
            return Err(FormatError::damaged(format!("a {what} of at most {limit} bytes"), format!("{length} bytes")));
        }
        let mut bytes = Vec::new();
        let found = (&mut from).take(length).read_to_end(&mut bytes)?;
        if found as u64 != length { Err(FormatError::damaged(format!("{length} bytes"), found)) } else { Ok(bytes) }
    };
    let mut keys = EvaluationKeys::default();
    let value = |what: &str| {
        let what = what.to_owned();
        move |cause| FormatError::Value { what, cause }
    };
    if relinearization == 1 {
        let bytes = part("set of relinearization keys")?;
        let read = RelinearizationKeys::from_bytes(context, &bytes).map_err(value("relinearization keys"))?;
        keys.relinearization = Some(read);
    }
    for _ in 0..rotations {
        let bytes = part("rotation key")?;
        keys.rotations.insert(GaloisKey::from_bytes(context, &bytes).map_err(value("rotation key"))?);
    }
    if from.read(&mut [0])? != 0 {
        return Err(FormatError::damaged("the end of the file", "more bytes"));
    }
    let fingerprint = from.fingerprint();
    Ok((keys, fingerprint))
}

/// The fingerprint of the parameters that keys were made for: what a file begins with.
///
/// # Errors
/// [`FormatError`]: not a file of evaluation keys.
pub fn header(from: &mut impl Read) -> Result<Fingerprint, FormatError> {
    let magic = take::<8>(from)?;
    if magic == *SECRET_MAGIC {
        return Err(FormatError::SecretKey);
    }
    if magic != *MAGIC {
        return Err(FormatError::Magic { expected: WHAT });
    }
    let version = u32::from_le_bytes(take(from)?);
    if version != VERSION {
        return Err(FormatError::Version { what: WHAT, found: version, expected: VERSION });
    }
    Ok(Fingerprint(take(from)?))
}

/// No key of these parameters takes more bytes: up to three polynomials for each digit, residues of up to 50 bits.
fn part_limit(parameters: &Parameters) -> u64 {
    let limbs = (parameters.moduli().len() + parameters.special_primes().len()) as u64;
    (1 << 16) + 3 * 7 * limbs * limbs * parameters.ring_degree() as u64
}

/// The next bytes, which have to be there.
pub(crate) fn take<const N: usize>(from: &mut impl Read) -> Result<[u8; N], FormatError> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            FormatError::damaged(format!("{N} more bytes"), "the end of the file")
        } else {
            FormatError::Io(error)
        }
    })?;
    Ok(bytes)
}
