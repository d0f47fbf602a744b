use hec_ir::Scale;
use prost::Message;
use prost::encoding::{encoded_len_varint, key_len};

use super::ReadError;
use super::container::{self, Kind, OVERHEAD};
use super::packing::{pack, packed_len, unpack};
use crate::ciphertext::{Ciphertext, MAX_DEGREE};
use crate::context::{Context, SCALE_LIMIT, check_scale};
use crate::error::Error;
use crate::keys::expand;
use crate::sampling::uniform::Purpose;
use crate::sampling::{SEED_BYTES, Seed};

#[derive(Clone, PartialEq, Message)]
struct FactorMessage {
    #[prost(uint64, tag = "1")]
    base: u64,
    #[prost(sint32, tag = "2")]
    exponent: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ScaleMessage {
    #[prost(sint32, tag = "1")]
    twos: i32,
    #[prost(message, repeated, tag = "2")]
    factors: Vec<FactorMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct CiphertextMessage {
    #[prost(uint32, tag = "1")]
    level: u32,
    #[prost(message, optional, tag = "2")]
    scale: Option<ScaleMessage>,
    /// Empty, or the seed of the second polynomial, which is then left out.
    #[prost(bytes = "vec", tag = "3")]
    seed: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    polys: Vec<Vec<u8>>,
}

/// Tag of the repeated field `polys`.
const POLYS: u32 = 4;

/// More than the fields of a message other than its polynomials can take.
const MAX_METADATA: usize = 128 + 24 * SCALE_LIMIT;

impl Ciphertext {
    /// The ciphertext as bytes; half as many if it is seeded.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn to_bytes(&self, context: &Context) -> Result<Vec<u8>, Error> {
        let len = self.serialized_len(context)?;
        let moduli = context.chain(self.level);
        let mut message = self.metadata();
        message.polys = self.stored().map(|poly| pack(poly, moduli)).collect();
        let body_len = len - OVERHEAD;
        Ok(container::write(context, Kind::Ciphertext, body_len, Vec::with_capacity(len), |out| {
            message.encode_raw(out);
        }))
    }

    /// The length of [`Ciphertext::to_bytes`], without building it.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn serialized_len(&self, context: &Context) -> Result<usize, Error> {
        self.check(context, "serialize")?;
        let poly = packed_len(context.n(), context.chain(self.level));
        let field = key_len(POLYS) + encoded_len_varint(poly as u64) + poly;
        Ok(OVERHEAD + self.metadata().encoded_len() + self.stored().count() * field)
    }

    /// Reads a ciphertext of degree 1 to [`MAX_DEGREE`] at any level.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn from_bytes(context: &Context, bytes: &[u8]) -> Result<Self, ReadError> {
        let kind = Kind::Ciphertext;
        let largest = packed_len(context.n(), context.chain(context.max_level())) + 16;
        let limit = OVERHEAD + MAX_METADATA + (MAX_DEGREE + 1) * largest;
        let body = container::read(context, kind, limit, bytes)?;
        let message = CiphertextMessage::decode(body).map_err(|error| kind.malformed(error))?;
        if message.encoded_len() != body.len() {
            return Err(kind.malformed("it has unknown fields"));
        }
        let level = message.level as usize;
        if level > context.max_level() {
            return Err(kind.malformed(format_args!("level {level}, expected at most {}", context.max_level())));
        }
        let scale = message.scale.ok_or_else(|| kind.malformed("it has no scale"))?;
        let factors = scale.factors.iter().map(|factor| (factor.base, factor.exponent));
        let scale = Scale::from_factors(scale.twos, factors)
            .filter(|scale| check_scale("read", scale).is_ok())
            .ok_or_else(|| kind.malformed("its scale is not in canonical form or out of range"))?;
        let seed: Option<Seed> = match message.seed.len() {
            0 => None,
            SEED_BYTES => message.seed.try_into().ok(),
            found => return Err(kind.malformed(format_args!("a seed of {found} bytes, expected {SEED_BYTES}"))),
        };
        let degrees = if seed.is_some() { 0..=0 } else { 1..=MAX_DEGREE };
        let stored = message.polys.len();
        if !degrees.contains(&stored.wrapping_sub(1)) {
            return Err(kind.malformed(format_args!("{stored} polynomials do not make a degree from {degrees:?}")));
        }
        let moduli = context.chain(level);
        let read = |bytes: &Vec<u8>| {
            unpack(context.n(), moduli, bytes)
                .ok_or_else(|| kind.malformed("a polynomial of the wrong length, or with a residue beyond its prime"))
        };
        let mut polys = message.polys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        polys.extend(seed.iter().map(|seed| expand(context, seed, Purpose::Ciphertext, level)));
        let mut ciphertext = Self::new(context, polys, scale);
        ciphertext.seed = seed;
        Ok(ciphertext)
    }

    /// The polynomials that are written.
    fn stored(&self) -> impl Iterator<Item = &crate::poly::Poly> {
        self.polys.iter().take(if self.seed.is_some() { 1 } else { self.polys.len() })
    }

    fn metadata(&self) -> CiphertextMessage {
        let factors = self.scale.factors().map(|(base, exponent)| FactorMessage { base, exponent }).collect();
        CiphertextMessage {
            level: self.level as u32,
            scale: Some(ScaleMessage { twos: self.scale.twos(), factors }),
            seed: self.seed.iter().flatten().copied().collect(),
            polys: Vec::new(),
        }
    }
}
