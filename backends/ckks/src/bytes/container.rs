use super::ReadError;
use crate::context::Context;

const MAGIC: [u8; 4] = *b"hecC";
const VERSION: u16 = 2;
const HEADER: usize = 4 + 2 + 1 + 1 + 32 + 8;
const CHECKSUM: usize = 32;

/// Bytes of a container beyond its body.
pub(super) const OVERHEAD: usize = HEADER + CHECKSUM;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ciphertext = 1,
    PublicKey = 2,
    KeySwitchKey = 3,
    RelinearizationKeys = 4,
    SecretKey = 5,
    GaloisKey = 6,
    GaloisKeys = 7,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ciphertext => "ciphertext",
            Self::PublicKey => "public key",
            Self::KeySwitchKey => "key-switching key",
            Self::RelinearizationKeys => "set of relinearization keys",
            Self::SecretKey => "secret key",
            Self::GaloisKey => "Galois key",
            Self::GaloisKeys => "set of Galois keys",
        }
    }

    pub(super) fn malformed(self, reason: impl ToString) -> ReadError {
        ReadError::Malformed { kind: self.name(), reason: reason.to_string() }
    }
}

/// Writes the container of a body of `body_len` bytes into `out`, which is empty and has capacity for all of it, so that no
/// copy is left behind by growth.
pub(super) fn write(
    context: &Context,
    kind: Kind,
    body_len: usize,
    mut out: Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend([kind as u8, 0]);
    out.extend(context.parameters().fingerprint());
    out.extend((body_len as u64).to_le_bytes());
    body(&mut out);
    debug_assert_eq!(out.len(), HEADER + body_len);
    let checksum = blake3::hash(&out);
    out.extend(checksum.as_bytes());
    out
}

/// The body of a container of at most `limit` bytes.
pub(super) fn read<'a>(context: &Context, kind: Kind, limit: usize, bytes: &'a [u8]) -> Result<&'a [u8], ReadError> {
    let found = bytes.len();
    if found < OVERHEAD {
        return Err(ReadError::Length { expected: OVERHEAD, found });
    }
    if found > limit {
        return Err(ReadError::Length { expected: limit, found });
    }
    let (content, checksum) = bytes.split_at(found - CHECKSUM);
    let (header, body) = content.split_at(HEADER);
    if header[..4] != MAGIC {
        return Err(ReadError::Magic);
    }
    let version = u16::from_le_bytes([header[4], header[5]]);
    if version != VERSION {
        return Err(ReadError::Version { expected: VERSION, found: version });
    }
    if header[6] != kind as u8 || header[7] != 0 {
        return Err(ReadError::Kind { expected: kind.name(), found: header[6] });
    }
    let length = header[40..48].iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    if length != body.len() as u64 {
        let expected = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(OVERHEAD);
        return Err(ReadError::Length { expected, found });
    }
    if blake3::hash(content) != *<&[u8; CHECKSUM]>::try_from(checksum).map_err(|_| ReadError::Checksum)? {
        return Err(ReadError::Checksum);
    }
    if header[8..40] != *context.parameters().fingerprint() {
        return Err(ReadError::Parameters);
    }
    Ok(body)
}
