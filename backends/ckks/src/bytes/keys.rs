use prost::Message;
use prost::encoding::{encoded_len_varint, key_len};
use zeroize::Zeroizing;

use super::ReadError;
use super::container::{self, Kind, OVERHEAD};
use super::packing::{pack, packed_len, unpack};
use crate::arithmetic::Modulus;
use crate::ciphertext::MAX_DEGREE;
use crate::context::Context;
use crate::error::Error;
use crate::keys::{KeySwitchKey, PublicKey, RelinearizationKeys, SecretKey};
use crate::sampling::Seed;

#[derive(Clone, PartialEq, Message)]
struct PublicKeyMessage {
    #[prost(bytes = "vec", tag = "1")]
    seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    b: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeySwitchMessage {
    #[prost(uint32, tag = "1")]
    level: u32,
    #[prost(bytes = "vec", tag = "2")]
    seed: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    b: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct RelinearizationMessage {
    #[prost(message, repeated, tag = "1")]
    keys: Vec<KeySwitchMessage>,
}

/// Bytes of a field with a tag below 16.
pub(super) fn field_len(content: usize) -> usize {
    key_len(1) + encoded_len_varint(content as u64) + content
}

/// A bound on the bytes of the fields of a message other than its polynomials.
const MAX_METADATA: usize = 128;

fn seed(kind: Kind, bytes: &[u8]) -> Result<Seed, ReadError> {
    bytes.try_into().map_err(|_| kind.malformed(format_args!("a seed of {} bytes", bytes.len())))
}

const BAD_POLY: &str = "a polynomial of the wrong length, or with a residue beyond its prime";

impl PublicKey {
    /// The key as bytes.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn to_bytes(&self, context: &Context) -> Result<Vec<u8>, Error> {
        let len = self.serialized_len(context)?;
        let b = pack(&self.b, context.chain(context.max_level()));
        let message = PublicKeyMessage { seed: self.seed.to_vec(), b };
        Ok(container::write(context, Kind::PublicKey, len - OVERHEAD, Vec::with_capacity(len), |out| {
            message.encode_raw(out);
        }))
    }

    /// The length of [`PublicKey::to_bytes`], without building it.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn serialized_len(&self, context: &Context) -> Result<usize, Error> {
        context.check_fingerprint("serialize", &self.fingerprint)?;
        let poly = packed_len(context.n(), context.chain(context.max_level()));
        Ok(OVERHEAD + field_len(self.seed.len()) + field_len(poly))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        let kind = Kind::PublicKey;
        let moduli = context.chain(context.max_level());
        let limit = OVERHEAD + MAX_METADATA + packed_len(context.n(), moduli);
        let body = container::read(context, kind, limit, bytes)?;
        let message = PublicKeyMessage::decode(body).map_err(|error| kind.malformed(error))?;
        if message.encoded_len() != body.len() {
            return Err(kind.malformed("it has unknown fields"));
        }
        let b = unpack(context.n(), moduli, &message.b).ok_or_else(|| kind.malformed(BAD_POLY))?;
        Ok(Self::from_seeded(context, b, seed(kind, &message.seed)?))
    }
}

/// The primes of a key-switching key at `level`.
fn switch_moduli(context: &Context, level: usize) -> Vec<Modulus> {
    context.extended(level).map(|row| context.modulus(row)).collect()
}

/// The length of the longest key-switching key's message.
pub(super) fn longest_switch(context: &Context) -> usize {
    let top = context.max_level();
    let poly = packed_len(context.n(), &switch_moduli(context, top));
    MAX_METADATA + context.digits(top).unwrap_or(0) * field_len(poly)
}

impl KeySwitchKey {
    /// The key as bytes; the uniform halves are stored as their seed.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn to_bytes(&self, context: &Context) -> Result<Vec<u8>, Error> {
        let len = self.serialized_len(context)?;
        let message = self.message(context);
        Ok(container::write(context, Kind::KeySwitchKey, len - OVERHEAD, Vec::with_capacity(len), |out| {
            message.encode_raw(out);
        }))
    }

    /// The length of [`KeySwitchKey::to_bytes`], without building it.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn serialized_len(&self, context: &Context) -> Result<usize, Error> {
        context.check_fingerprint("serialize", &self.fingerprint)?;
        Ok(OVERHEAD + self.message_len(context))
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        let kind = Kind::KeySwitchKey;
        let body = container::read(context, kind, OVERHEAD + longest_switch(context), bytes)?;
        let message = KeySwitchMessage::decode(body).map_err(|error| kind.malformed(error))?;
        if message.encoded_len() != body.len() {
            return Err(kind.malformed("it has unknown fields"));
        }
        Self::from_message(context, kind, &message)
    }

    pub(super) fn message(&self, context: &Context) -> KeySwitchMessage {
        let moduli = switch_moduli(context, self.level);
        let b = self.parts.b.iter().map(|poly| pack(poly, &moduli)).collect();
        KeySwitchMessage { b, ..self.metadata() }
    }

    fn metadata(&self) -> KeySwitchMessage {
        KeySwitchMessage { level: self.level as u32, seed: self.parts.seed.to_vec(), b: Vec::new() }
    }

    pub(super) fn message_len(&self, context: &Context) -> usize {
        let poly = packed_len(context.n(), &switch_moduli(context, self.level));
        self.metadata().encoded_len() + self.parts.b.len() * field_len(poly)
    }

    pub(super) fn from_message(context: &Context, kind: Kind, message: &KeySwitchMessage) -> Result<Self, ReadError> {
        let level = message.level as usize;
        if level > context.max_level() {
            return Err(kind.malformed(format_args!("level {level}, expected at most {}", context.max_level())));
        }
        let digits = context.digits(level).map_err(|error| kind.malformed(error))?;
        if message.b.len() != digits {
            return Err(kind.malformed(format_args!("{} digits, expected {digits}", message.b.len())));
        }
        let moduli = switch_moduli(context, level);
        let read = |bytes: &Vec<u8>| unpack(context.n(), &moduli, bytes).ok_or_else(|| kind.malformed(BAD_POLY));
        let b = message.b.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self::from_seeded(context, b, seed(kind, &message.seed)?, level))
    }
}

impl RelinearizationKeys {
    /// The keys as bytes.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn to_bytes(&self, context: &Context) -> Result<Vec<u8>, Error> {
        let len = self.serialized_len(context)?;
        let message = RelinearizationMessage { keys: self.keys.iter().map(|key| key.message(context)).collect() };
        let kind = Kind::RelinearizationKeys;
        Ok(container::write(context, kind, len - OVERHEAD, Vec::with_capacity(len), |out| message.encode_raw(out)))
    }

    /// The length of [`RelinearizationKeys::to_bytes`], without building it.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn serialized_len(&self, context: &Context) -> Result<usize, Error> {
        let mut len = OVERHEAD;
        for key in &self.keys {
            context.check_fingerprint("serialize", &key.fingerprint)?;
            len += field_len(key.message_len(context));
        }
        Ok(len)
    }

    /// Reads keys.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        let kind = Kind::RelinearizationKeys;
        let limit = OVERHEAD + (MAX_DEGREE - 1) * field_len(longest_switch(context));
        let body = container::read(context, kind, limit, bytes)?;
        let message = RelinearizationMessage::decode(body).map_err(|error| kind.malformed(error))?;
        if message.encoded_len() != body.len() {
            return Err(kind.malformed("it has unknown fields"));
        }
        let found = message.keys.len();
        if !(1..MAX_DEGREE).contains(&found) {
            return Err(kind.malformed(format_args!("{found} keys, expected 1 to {}", MAX_DEGREE - 1)));
        }
        let read = |key| KeySwitchKey::from_message(context, kind, key);
        Ok(Self { keys: message.keys.iter().map(read).collect::<Result<_, _>>()? })
    }
}

impl SecretKey {
    /// The key as bytes: two bits for each coefficient. The buffer is zeroized on drop.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn to_bytes(&self, context: &Context) -> Result<Zeroizing<Vec<u8>>, Error> {
        let len = self.serialized_len(context)?;
        let coefficients = self.coefficients();
        Ok(Zeroizing::new(container::write(context, Kind::SecretKey, len - OVERHEAD, Vec::with_capacity(len), |out| {
            out.extend(
                coefficients
                    .chunks(4)
                    .map(|four| four.iter().rev().fold(0, |byte, &c| byte << 2 | (c & 1) as u8 | (c >> 62 & 2) as u8)),
            );
        })))
    }

    /// The length of [`SecretKey::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn serialized_len(&self, context: &Context) -> Result<usize, Error> {
        self.check(context, "serialize")?;
        Ok(OVERHEAD + context.n() / 4)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        let kind = Kind::SecretKey;
        let expected = OVERHEAD + context.n() / 4;
        let body = container::read(context, kind, expected, bytes)?;
        if body.len() != context.n() / 4 {
            return Err(ReadError::Length { expected, found: bytes.len() });
        }
        // Two bits: 00 for 0, 01 for 1, 11 for -1 (two's complement); 10 is no coefficient.
        let mut coefficients = Zeroizing::new(Vec::with_capacity(context.n()));
        let mut bad = 0;
        for &byte in body {
            for i in 0..4 {
                let (low, high) = (i64::from(byte >> (2 * i) & 1), i64::from(byte >> (2 * i + 1) & 1));
                coefficients.push(low - 2 * high);
                bad |= high & (low ^ 1);
            }
        }
        if bad == 0 {
            Ok(Self::from_coefficients(context, coefficients))
        } else {
            Err(kind.malformed("a coefficient is not -1, 0 or 1"))
        }
    }
}
