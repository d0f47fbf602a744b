//! BLAKE3 digests by which programs, parameters and keys are told apart.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use hec_ir::parameters::Parameters;

/// A BLAKE3 digest: 64 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of parameters.
    pub fn of(parameters: &Parameters) -> Self {
        Self(*parameters.fingerprint())
    }

    /// From 32 bytes; `None` if there are not as many.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// All digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The first twelve digits: enough for people.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
        let digits = digits.filter(|digits| digits.len() == 64);
        let digits =
            digits.ok_or_else(|| format!("expected 64 hexadecimal digits, found \"{}\"", text.escape_debug()))?;
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(digits.chunks(2)).for_each(|(byte, pair)| *byte = pair[0] << 4 | pair[1]);
        Ok(Self(bytes))
    }
}

/// A writer or reader that hashes what passes.
pub(crate) struct Hashing<T> {
    pub(crate) inner: T,
    hasher: blake3::Hasher,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }

    /// Of all that has passed.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        Fingerprint(*self.hasher.finalize().as_bytes())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let fingerprint = Fingerprint([0xa5; 32]);
        assert_eq!(fingerprint.hex().parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string(), "a5a5a5a5a5a5");
        for bad in ["", "a5", &"x".repeat(64), &"é".repeat(32), &"a".repeat(65)] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }
}
