//! What both files of keys begin with, so that they can be judged by themselves.
//!
//! Eight bytes that tell the kind of file, version (u32), the fingerprint of the parameters (32 bytes), fields that only this kind has,
//! and the *preamble*: its length (u32, at most [`LONGEST`]) and a protobuf message of the parameters, as a program file has them, and of the
//! statement of security, a text that nobody here looks into. Numbers are little-endian.

use std::io::Read;

use hec_ir::parameters::{Literal, Parameters};
use prost::Message;

use crate::error::FormatError;
use crate::fingerprint::Fingerprint;
use crate::read::{bounded, take};

const VERSION: u32 = 2;
/// Bytes of a preamble at most.
pub const LONGEST: usize = 1 << 16;

/// A kind of file, with `FIELDS` bytes of its own before the preamble.
#[derive(Clone, Copy, Debug)]
pub struct Kind<const FIELDS: usize> {
    pub(crate) magic: &'static [u8; 8],
    name: &'static str,
}

/// A secret key; its field is the fingerprint of the evaluation keys.
pub const SECRET: Kind<32> = Kind { magic: b"HECSKEY\0", name: "a secret key" };
/// Evaluation keys; their fields: [`keys`](crate::keys).
pub const EVALUATION: Kind<40> = Kind { magic: b"HECKEYS\0", name: "evaluation keys" };

/// What a file says of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// The fingerprint of the parameters.
    pub fingerprint: Fingerprint,
    /// The parameters, as they stand there: [`Preamble::parameters`] checks them.
    pub literal: Literal,
    /// What is stated about security; empty if nothing is.
    pub statement: String,
}

#[derive(Clone, PartialEq, Message)]
struct PreambleMessage {
    #[prost(bytes = "vec", tag = "1")]
    parameters: Vec<u8>,
    #[prost(string, tag = "2")]
    statement: String,
}

impl<const FIELDS: usize> Kind<FIELDS> {
    /// Bytes before the content of the preamble. No file is shorter.
    pub const fn header(&self) -> usize {
        self.magic.len() + size_of::<u32>() + size_of::<Fingerprint>() + FIELDS + size_of::<u32>()
    }

    /// The bytes before the keys.
    ///
    /// # Errors
    /// [`FormatError::Preamble`] if the statement is too long.
    pub fn bytes(
        &self,
        parameters: &Parameters,
        fields: &[u8; FIELDS],
        statement: &str,
    ) -> Result<Vec<u8>, FormatError> {
        let (parameters, print) = (parameters.literal().to_bytes(), parameters.fingerprint());
        let message = PreambleMessage { parameters, statement: statement.to_owned() };
        let length = message.encoded_len();
        if length > LONGEST {
            return Err(FormatError::Preamble(format!("{length} bytes, expected at most {LONGEST}")));
        }
        let mut bytes = Vec::with_capacity(self.header() + length);
        bytes.extend(self.magic);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(print);
        bytes.extend(fields);
        bytes.extend((length as u32).to_le_bytes());
        message.encode_raw(&mut bytes);
        Ok(bytes)
    }

    /// Reads what is before the keys: the fields of this kind, and the preamble, whose parameters are not yet checked.
    ///
    /// # Errors
    /// [`FormatError`]: another kind of file or version, or damaged.
    pub fn read(&self, from: &mut impl Read) -> Result<([u8; FIELDS], Preamble), FormatError> {
        let magic: [u8; 8] = take(from)?;
        if magic != *self.magic {
            return Err(match magic == *SECRET.magic {
                true => FormatError::SecretKey,
                false => FormatError::Magic { expected: self.name },
            });
        }
        let version = u32::from_le_bytes(take(from)?);
        if version != VERSION {
            let remedy = "make the keys again with `hec keygen`";
            return Err(FormatError::Version { what: self.name, found: version, expected: VERSION, remedy });
        }
        let (fingerprint, fields) = (Fingerprint(take(from)?), take(from)?);
        let length = u32::from_le_bytes(take(from)?);
        let bytes = bounded(from, "a preamble", length.into(), LONGEST as u64)?;
        let message = PreambleMessage::decode(&*bytes).map_err(|e| FormatError::damaged("a preamble", e))?;
        let literal = Literal::from_bytes(&message.parameters).map_err(|e| FormatError::Preamble(e.to_string()))?;
        Ok((fields, Preamble { fingerprint, literal, statement: message.statement }))
    }
}

impl Preamble {
    /// The parameters: sound, within the security table, and those of the fingerprint.
    ///
    /// # Errors
    /// [`FormatError::Preamble`]: they are not.
    pub fn parameters(&self) -> Result<Parameters, FormatError> {
        let parameters = Parameters::new(self.literal.clone()).map_err(|e| FormatError::Preamble(e.to_string()))?;
        if self.fingerprint == Fingerprint::of(&parameters) { Ok(parameters) } else { Err(self.contradiction()) }
    }

    /// Whether the keys are of parameters that the reader has: by the fingerprint, and as they stand there.
    ///
    /// # Errors
    /// [`FormatError::Parameters`], [`FormatError::Preamble`]: they are not.
    pub fn check(&self, expected: &Parameters) -> Result<(), FormatError> {
        if self.fingerprint != Fingerprint::of(expected) {
            let expected = Fingerprint::of(expected);
            return Err(FormatError::Parameters { expected, found: self.fingerprint });
        }
        if self.literal == *expected.literal() { Ok(()) } else { Err(self.contradiction()) }
    }

    fn contradiction(&self) -> FormatError {
        let print = self.fingerprint;
        FormatError::Preamble(format!("the parameters are not those of the fingerprint {print}; make the keys again"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails here fails the test")]
mod tests {
    use hec_ir::parameters::{PrimeSearch, Ring, RingType, Security};

    use super::*;

    const LENGTH: std::ops::Range<usize> = 76..80;

    /// A ring in which the table allows 53 bits.
    fn literal(bits: &[u32]) -> Literal {
        let mut search = PrimeSearch::for_ring(Ring::standard(11));
        let moduli = bits.iter().map(|&bits| search.take(bits).unwrap()).collect();
        let (ring_type, security) = (RingType::Standard, Security::Bits128);
        Literal { ring_type, log_n: 11, moduli, special_primes: vec![], security }
    }

    fn parameters(bits: &[u32]) -> Parameters {
        Parameters::new(literal(bits)).unwrap()
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(found: Result<T, FormatError>, expected: &str) {
        let said = found.unwrap_err().to_string();
        assert!(said.contains(expected), "expected {expected:?} in {said}");
    }

    #[test]
    fn written_and_read() {
        let own = parameters(&[30, 20]);
        for statement in ["", "{\"security\":128}"] {
            let bytes = [&SECRET.bytes(&own, &[7; 32], statement).unwrap()[..], b"rest"].concat();
            let mut from = &bytes[..];
            let (fields, preamble) = SECRET.read(&mut from).unwrap();
            assert_eq!((fields, &preamble.literal, &*preamble.statement), ([7; 32], own.literal(), statement));
            assert_eq!((preamble.parameters().unwrap(), from), (own.clone(), &b"rest"[..]));
            preamble.check(&own).unwrap();
        }
        let bytes = EVALUATION.bytes(&own, &[7; 40], "").unwrap();
        assert_eq!(EVALUATION.read(&mut &*bytes).unwrap().0, [7; 40]);
        refused(EVALUATION.read(&mut &*SECRET.bytes(&own, &[7; 32], "").unwrap()), "SECRET key");
        refused(SECRET.read(&mut &*bytes), "not a file of a secret key");
    }

    #[test]
    fn too_long_or_not_to_be_read() {
        let own = parameters(&[30]);
        refused(SECRET.bytes(&own, &[7; 32], &"x".repeat(LONGEST)), "expected at most 65536");
        let longest = SECRET.bytes(&own, &[7; 32], &"x".repeat(LONGEST - 100)).unwrap();
        assert!(SECRET.read(&mut &*longest).is_ok());
        let with_length = |length: usize| {
            let mut bytes = longest.clone();
            bytes.resize(SECRET.header() + LONGEST + 1, 0);
            bytes[LENGTH].copy_from_slice(&(length as u32).to_le_bytes());
            bytes
        };
        refused(SECRET.read(&mut &*with_length(LONGEST + 1)), "a preamble of at most 65536 bytes");
        refused(SECRET.read(&mut &*with_length(LONGEST)), "expected a preamble");
        refused(SECRET.read(&mut &*with_length(50)), "expected a preamble");
        refused(SECRET.read(&mut &*with_length(0)), "its parameters does not hold");
        for end in [0, 11, 40, 79, longest.len() - 1] {
            refused(SECRET.read(&mut &longest[..end]), "damaged");
        }
    }

    #[test]
    fn the_first_version_is_refused() {
        let own = parameters(&[30]);
        let mut files = [SECRET.bytes(&own, &[7; 32], "").unwrap(), EVALUATION.bytes(&own, &[7; 40], "").unwrap()];
        files.iter_mut().for_each(|bytes| bytes[8] = 1);
        let remedy = "this version reads 2; make the keys again with `hec keygen`";
        refused(SECRET.read(&mut &*files[0]), remedy);
        refused(EVALUATION.read(&mut &*files[1]), remedy);
    }

    #[test]
    fn parameters_have_to_be_those_of_the_fingerprint() {
        let (own, other) = (parameters(&[30, 20]), parameters(&[30]));
        let of = |print: &Parameters, literal: &Parameters| {
            let mut bytes = SECRET.bytes(literal, &[7; 32], "").unwrap();
            bytes[12..44].copy_from_slice(print.fingerprint());
            SECRET.read(&mut &*bytes).unwrap().1
        };
        assert!(matches!(of(&other, &other).check(&own), Err(FormatError::Parameters { .. })));
        assert!(matches!(of(&other, &own).check(&own), Err(FormatError::Parameters { .. })));
        refused(of(&own, &other).check(&own), "not those of the fingerprint");
        refused(of(&own, &other).parameters(), "not those of the fingerprint");
        // A reader that has such parameters takes them, and nobody else does.
        let insecure = Parameters::insecure_for_tests(literal(&[30, 30])).unwrap();
        of(&insecure, &insecure).check(&insecure).unwrap();
        refused(of(&insecure, &insecure).parameters(), "too large for 128 bits of security");
        let unchecked = Parameters::insecure_for_tests(literal(&[30, 20])).unwrap();
        refused(of(&unchecked, &unchecked).parameters(), "not those of the fingerprint");
    }
}
