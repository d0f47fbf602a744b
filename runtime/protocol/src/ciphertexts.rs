//! The file of ciphertexts: batch after batch, written and read one ciphertext at a time.
//!
//! `HECCTXT\0`, version (u32), then frames: length (u32), kind (one byte), content. The first is a header ([`Header`], protobuf); for
//! each batch follow the values of the public inputs and the ciphertexts of each array, in the contract's order; the last frame holds
//! the BLAKE3 digest of all bytes before it. Numbers are little-endian. A ciphertext has a checksum of its own, so damage is found
//! before it is used; the last frame tells that nothing was left out or put into another order.

use std::io::{self, Read, Write};

use hec_ckks::{Ciphertext, Context};
use hec_ir::Scale;
use hec_ir::parameters::Parameters;
use hec_ir::program::{Contract, EncryptedOutput, Reply};
use prost::Message;

use crate::error::FormatError;
use crate::fingerprint::{Fingerprint, Hashing};
use crate::preamble::SECRET;
use crate::read::{bounded, take};

const MAGIC: &[u8; 8] = b"HECCTXT\0";
const VERSION: u32 = 1;
const WHAT: &str = "ciphertexts";
const HEADER: u8 = 0;
const CIPHERTEXT: u8 = 1;
const CLEAR: u8 = 2;
const END: u8 = 3;
/// A header is no longer.
const LONGEST_HEADER: u32 = 1 << 12;
/// No file holds more samples.
const MAX_SAMPLES: u64 = 1 << 40;

/// Which way the ciphertexts go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Private inputs, to the server.
    Inputs,
    /// Outputs, to the client.
    Outputs,
}

impl Direction {
    /// The name, the number of ciphertexts, and level, scale and degree of each array.
    pub fn arrays(self, contract: &Contract) -> Vec<Declared> {
        match self {
            Self::Inputs => {
                let inputs = contract.private_inputs().iter().map(|own| &own.input);
                let array = |input: &hec_ir::ckks::Input| Declared {
                    name: input.name.clone(),
                    length: input.layout.array_length(),
                    level: input.level,
                    scale: input.scale.clone(),
                    degree: 1,
                };
                inputs.map(array).collect()
            }
            Self::Outputs => contract.encrypted_outputs().iter().map(Declared::of_output).collect(),
        }
    }
}

/// What a contract says of an array of ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// The input or output.
    pub name: String,
    /// Number of ciphertexts.
    pub length: usize,
    /// Level of each.
    pub level: usize,
    /// Scale of each.
    pub scale: Scale,
    /// Degree of each.
    pub degree: usize,
}

impl Declared {
    /// What the client decrypts: an output, or an operand of a round.
    pub fn of_output(output: &EncryptedOutput) -> Self {
        Self {
            name: output.port.name.clone(),
            length: output.ty.length,
            level: output.ty.level,
            scale: output.ty.scale.clone(),
            degree: output.ty.degree,
        }
    }

    /// What the client encrypts in a round.
    pub fn of_reply(reply: &Reply) -> Self {
        Self {
            name: reply.port.name.clone(),
            length: reply.layout.array_length(),
            level: reply.level,
            scale: reply.scale.clone(),
            degree: 1,
        }
    }

    /// Reads ciphertext `index` of the array.
    ///
    /// # Errors
    /// [`FormatError`]: damaged, of other parameters, or of another level, scale or degree.
    pub fn read(&self, context: &Context, index: usize, bytes: &[u8]) -> Result<Ciphertext, FormatError> {
        let what = || format!("ciphertext {index} of \"{}\"", self.name.escape_debug());
        let ciphertext =
            Ciphertext::from_bytes(context, bytes).map_err(|cause| FormatError::Value { what: what(), cause })?;
        let found = (ciphertext.level(), ciphertext.scale().clone(), ciphertext.degree());
        let expected = (self.level, self.scale.clone(), self.degree);
        if found != expected {
            let (expected, found) = (expected.into(), found.into());
            return Err(FormatError::Ciphertext { what: what(), expected, found });
        }
        Ok(ciphertext)
    }
}

/// No ciphertext of these parameters takes more bytes: five polynomials, residues of up to 50 bits.
pub fn largest(parameters: &Parameters) -> usize {
    (1 << 16) + 5 * 7 * parameters.moduli().len() * parameters.ring_degree()
}

/// What a file of ciphertexts begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Inputs or outputs.
    pub direction: Direction,
    /// Of the parameters.
    pub parameters: Fingerprint,
    /// Of the program.
    pub program: Fingerprint,
    /// Of the key.
    pub key: Fingerprint,
    /// Samples in all batches together.
    pub samples: u64,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderMessage {
    #[prost(bool, tag = "1")]
    outputs: bool,
    #[prost(bytes = "vec", tag = "2")]
    parameters: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    program: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    key: Vec<u8>,
    #[prost(uint64, tag = "5")]
    samples: u64,
}

impl Header {
    /// For ciphertexts of `samples` samples under this contract and key.
    pub fn new(direction: Direction, contract: &Contract, key: Fingerprint, samples: u64) -> Self {
        let parameters = Fingerprint::of(contract.parameters());
        Self { direction, parameters, program: Fingerprint(*contract.program()), key, samples }
    }

    /// Whether the file is one of this direction, contract and key.
    ///
    /// # Errors
    /// [`FormatError`] names what differs.
    pub fn check(&self, direction: Direction, contract: &Contract, key: Fingerprint) -> Result<(), FormatError> {
        let expected = Self::new(direction, contract, key, self.samples);
        if self.direction != direction {
            let name = |direction| match direction {
                Direction::Inputs => "encrypted inputs",
                Direction::Outputs => "encrypted outputs",
            };
            return Err(FormatError::damaged(name(direction), name(self.direction)));
        }
        if self.parameters != expected.parameters {
            return Err(FormatError::Parameters { expected: expected.parameters, found: self.parameters });
        }
        if self.program != expected.program {
            return Err(FormatError::Program { expected: expected.program, found: self.program });
        }
        if self.key != key {
            return Err(FormatError::Key { expected: key, found: self.key });
        }
        Ok(())
    }

    /// The number of samples in each batch.
    pub fn batches(&self, contract: &Contract) -> impl Iterator<Item = usize> + use<> {
        let (samples, capacity) = (self.samples, contract.capacity().max(1) as u64);
        (0..samples.div_ceil(capacity)).map(move |batch| (samples - batch * capacity).min(capacity) as usize)
    }
}

/// Writes a file of ciphertexts.
pub struct Writer<W: Write> {
    out: Hashing<W>,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// If the writer refuses.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { out: Hashing::new(out) };
        writer.out.write_all(MAGIC)?;
        writer.out.write_all(&VERSION.to_le_bytes())?;
        let message = HeaderMessage {
            outputs: header.direction == Direction::Outputs,
            parameters: header.parameters.0.to_vec(),
            program: header.program.0.to_vec(),
            key: header.key.0.to_vec(),
            samples: header.samples,
        };
        writer.frame(HEADER, &message.encode_to_vec())?;
        Ok(writer)
    }

    /// The values of one public input for one batch.
    ///
    /// # Errors
    /// If the writer refuses.
    pub fn clear(&mut self, values: &[f64]) -> io::Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.frame(CLEAR, &bytes)
    }

    /// The next ciphertext.
    ///
    /// # Errors
    /// If the writer refuses.
    pub fn ciphertext(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.frame(CIPHERTEXT, bytes)
    }

    /// The end.
    ///
    /// # Errors
    /// If the writer refuses.
    pub fn finish(mut self) -> io::Result<()> {
        let digest = self.out.fingerprint();
        self.frame(END, &digest.0)?;
        self.out.flush()
    }

    fn frame(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let length = u32::try_from(content.len()).map_err(|_| io::Error::other("a frame of more than 4 GiB"))?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(&[kind])?;
        self.out.write_all(content)
    }
}

/// Reads a file of ciphertexts.
pub struct Reader<R: Read> {
    from: Hashing<R>,
    header: Header,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`FormatError`]: another kind of file, or damaged.
    pub fn new(from: R) -> Result<Self, FormatError> {
        let mut from = Hashing::new(from);
        let magic: [u8; 8] = take(&mut from)?;
        if magic == *SECRET.magic {
            return Err(FormatError::SecretKey);
        }
        if magic != *MAGIC {
            return Err(FormatError::Magic { expected: WHAT });
        }
        let version = u32::from_le_bytes(take(&mut from)?);
        if version != VERSION {
            let remedy = "write it again";
            return Err(FormatError::Version { what: WHAT, found: version, expected: VERSION, remedy });
        }
        let content = frame(&mut from, HEADER, "a header", LONGEST_HEADER)?;
        let message = HeaderMessage::decode(&*content).map_err(|e| FormatError::damaged("a header", e))?;
        let print = |bytes: &[u8]| {
            Fingerprint::from_slice(bytes).ok_or_else(|| FormatError::damaged("a fingerprint of 32 bytes", bytes.len()))
        };
        if message.samples > MAX_SAMPLES {
            return Err(FormatError::damaged(format!("at most {MAX_SAMPLES} samples"), message.samples));
        }
        let header = Header {
            direction: if message.outputs { Direction::Outputs } else { Direction::Inputs },
            parameters: print(&message.parameters)?,
            program: print(&message.program)?,
            key: print(&message.key)?,
            samples: message.samples,
        };
        Ok(Self { from, header })
    }

    /// What the file begins with.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The values of the next public input, of which there are `count`.
    ///
    /// # Errors
    /// [`FormatError`]: something else comes, or not as many, or a value that is not finite.
    pub fn clear(&mut self, count: usize) -> Result<Vec<f64>, FormatError> {
        let limit = u32::try_from(count.saturating_mul(8)).unwrap_or(u32::MAX);
        let bytes = frame(&mut self.from, CLEAR, "values in the clear", limit)?;
        let (words, rest) = bytes.as_chunks::<8>();
        let values: Vec<f64> = words.iter().map(|word| f64::from_le_bytes(*word)).collect();
        if values.len() != count || !rest.is_empty() {
            return Err(FormatError::damaged(format!("{count} values"), format!("{} bytes", bytes.len())));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(FormatError::damaged("finite values", value)),
            None => Ok(values),
        }
    }

    /// The bytes of the next ciphertext, at most `limit`.
    ///
    /// # Errors
    /// [`FormatError`]: something else comes.
    pub fn ciphertext(&mut self, limit: usize) -> Result<Vec<u8>, FormatError> {
        frame(&mut self.from, CIPHERTEXT, "a ciphertext", u32::try_from(limit).unwrap_or(u32::MAX))
    }

    /// The end, and that all was as it was written.
    ///
    /// # Errors
    /// [`FormatError`]: it was not.
    pub fn finish(mut self) -> Result<(), FormatError> {
        let digest = self.from.fingerprint();
        let stored = frame(&mut self.from, END, "the end", 32)?;
        if stored != digest.0 {
            return Err(FormatError::damaged("the checksum of the file", "another one"));
        }
        match self.from.read(&mut [0])? {
            0 => Ok(()),
            _more => Err(FormatError::damaged("the end of the file", "more bytes")),
        }
    }
}

fn frame(from: &mut impl Read, kind: u8, expected: &str, limit: u32) -> Result<Vec<u8>, FormatError> {
    let length = u32::from_le_bytes(take(from)?);
    let [found] = take(from)?;
    if found != kind {
        return Err(FormatError::damaged(expected, format!("a frame of kind {found}")));
    }
    bounded(from, expected, length.into(), limit.into())
}
