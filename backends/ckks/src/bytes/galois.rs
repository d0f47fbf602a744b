use hec_ir::parameters::RingType;
use prost::Message;

use super::ReadError;
use super::container::{self, Kind, OVERHEAD};
use super::keys::{KeySwitchMessage, field_len, longest_switch};
use crate::automorphism::is_element;
use crate::context::Context;
use crate::error::Error;
use crate::keys::{GaloisKey, GaloisKeys, KeySwitchKey};

#[derive(Clone, PartialEq, Message)]
struct GaloisKeyMessage {
    #[prost(uint32, tag = "1")]
    element: u32,
    #[prost(message, optional, tag = "2")]
    key: Option<KeySwitchMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct GaloisKeysMessage {
    /// By ascending element.
    #[prost(message, repeated, tag = "1")]
    keys: Vec<GaloisKeyMessage>,
}

/// A bound on the bytes of a key's message.
fn longest_key(context: &Context) -> usize {
    16 + field_len(longest_switch(context))
}

impl GaloisKey {
    /// The key as bytes; the uniform halves are stored as their seed.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn to_bytes(&self, context: &Context) -> Result<Vec<u8>, Error> {
        let len = self.serialized_len(context)?;
        let message = self.message(context);
        Ok(container::write(context, Kind::GaloisKey, len - OVERHEAD, Vec::with_capacity(len), |out| {
            message.encode_raw(out);
        }))
    }

    /// The length of [`GaloisKey::to_bytes`], without building it.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn serialized_len(&self, context: &Context) -> Result<usize, Error> {
        Ok(OVERHEAD + self.message_len(context)?)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        let kind = Kind::GaloisKey;
        let body = container::read(context, kind, OVERHEAD + longest_key(context), bytes)?;
        let message = GaloisKeyMessage::decode(body).map_err(|error| kind.malformed(error))?;
        if message.encoded_len() != body.len() {
            return Err(kind.malformed("it has unknown fields"));
        }
        Self::from_message(context, kind, &message)
    }

    fn message(&self, context: &Context) -> GaloisKeyMessage {
        GaloisKeyMessage { element: self.element as u32, key: Some(self.key.message(context)) }
    }

    fn message_len(&self, context: &Context) -> Result<usize, Error> {
        context.check_fingerprint("serialize", &self.key.fingerprint)?;
        let element = GaloisKeyMessage { element: self.element as u32, key: None };
        Ok(element.encoded_len() + field_len(self.key.message_len(context)))
    }

    fn from_message(context: &Context, kind: Kind, message: &GaloisKeyMessage) -> Result<Self, ReadError> {
        let element = u64::from(message.element);
        if !is_element(element, context.ring()) {
            let expected = match context.ring().ring_type {
                RingType::Standard => "an odd number",
                RingType::ConjugateInvariant => "1 modulo 4, and a number",
            };
            let order = context.ring().order();
            return Err(kind.malformed(format_args!("Galois element {element}, expected {expected} below {order}")));
        }
        let key = message.key.as_ref().ok_or_else(|| kind.malformed("a Galois element without a key"))?;
        Ok(Self { element, key: KeySwitchKey::from_message(context, kind, key)? })
    }
}

impl GaloisKeys {
    /// The keys as bytes.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn to_bytes(&self, context: &Context) -> Result<Vec<u8>, Error> {
        let len = self.serialized_len(context)?;
        let message = GaloisKeysMessage { keys: self.iter().map(|key| key.message(context)).collect() };
        let kind = Kind::GaloisKeys;
        Ok(container::write(context, kind, len - OVERHEAD, Vec::with_capacity(len), |out| message.encode_raw(out)))
    }

    /// The length of [`GaloisKeys::to_bytes`], without building it.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn serialized_len(&self, context: &Context) -> Result<usize, Error> {
        self.iter().try_fold(OVERHEAD, |len, key| Ok(len + field_len(key.message_len(context)?)))
    }

    /// Reads keys. There are at most N, one for each Galois element, in ascending order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        let kind = Kind::GaloisKeys;
        let limit = context.n().saturating_mul(field_len(longest_key(context))).saturating_add(OVERHEAD);
        let body = container::read(context, kind, limit, bytes)?;
        let message = GaloisKeysMessage::decode(body).map_err(|error| kind.malformed(error))?;
        if message.encoded_len() != body.len() {
            return Err(kind.malformed("it has unknown fields"));
        }
        if !message.keys.is_sorted_by(|a, b| a.element < b.element) {
            return Err(kind.malformed("its Galois elements do not ascend"));
        }
        let mut keys = Self::new();
        for key in &message.keys {
            keys.insert(GaloisKey::from_message(context, kind, key)?);
        }
        Ok(keys)
    }
}
