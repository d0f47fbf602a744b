//! A stream of numbers in a fixed binary encoding: what lies behind the headers of IDX and `.npy`.

use std::io::Read;
use std::path::Path;

use super::shape::{MOST_NUMBERS, Plan, elements};
use super::source::broken;
use super::{DataError, Element};

/// How one number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// The numbers of one array, not yet read.
pub(super) struct Stream<'a> {
    pub(super) path: &'a Path,
    pub(super) format: &'static str,
    pub(super) reader: &'a mut dyn Read,
    pub(super) encoding: Encoding,
    pub(super) big_endian: bool,
    /// First index fastest, as Fortran stores arrays.
    pub(super) fortran: bool,
    /// The bytes left in the file, where known.
    pub(super) left: Option<u64>,
}

/// How many numbers are read at a time.
const CHUNK: usize = 1 << 13;

impl Encoding {
    /// Bytes a number.
    pub(super) fn size(self) -> usize {
        match self {
            Encoding::Bool | Encoding::U8 | Encoding::I8 => 1,
            Encoding::U16 | Encoding::I16 | Encoding::F16 => 2,
            Encoding::U32 | Encoding::I32 | Encoding::F32 => 4,
            Encoding::U64 | Encoding::I64 | Encoding::F64 => 8,
        }
    }

    pub(super) fn element(self) -> Element {
        match self {
            Encoding::U8 => Element::U8,
            Encoding::Bool | Encoding::F16 | Encoding::F32 | Encoding::F64 => Element::Float,
            Encoding::I8 | Encoding::U16 | Encoding::I16 | Encoding::U32 => Element::Int,
            Encoding::I32 | Encoding::U64 | Encoding::I64 => Element::Int,
        }
    }

    /// The number in `bytes`, of which there are [`Encoding::size`] (missing ones count as zero).
    pub(super) fn decode(self, bytes: &[u8], big_endian: bool) -> f64 {
        let mut word = [0_u8; 8];
        for (i, byte) in bytes.iter().take(self.size()).enumerate() {
            word[if big_endian { self.size() - 1 - i } else { i }] = *byte;
        }
        let bits = u64::from_le_bytes(word);
        match self {
            Encoding::Bool => f64::from(u8::from(bits != 0)),
            Encoding::U8 | Encoding::U16 | Encoding::U32 | Encoding::U64 => bits as f64,
            Encoding::I8 => f64::from(bits as u8 as i8),
            Encoding::I16 => f64::from(bits as u16 as i16),
            Encoding::I32 => f64::from(bits as u32 as i32),
            Encoding::I64 => bits as i64 as f64,
            Encoding::F16 => half(bits as u16),
            Encoding::F32 => f64::from(f32::from_bits(bits as u32)),
            Encoding::F64 => f64::from_bits(bits),
        }
    }
}

impl Stream<'_> {
    /// Reads the samples of `plan`, row-major. Memory grows only as bytes arrive.
    pub(super) fn read(mut self, plan: &Plan) -> Result<Vec<f64>, DataError> {
        let declared = plan.declared.checked_mul(plan.size).filter(|&all| !self.fortran || all <= MOST_NUMBERS);
        let bytes = declared.and_then(|all| all.checked_mul(self.encoding.size())).map(|bytes| bytes as u64);
        let Some((declared, bytes)) = declared.zip(bytes) else {
            let found = format!("{} samples of {}", plan.declared, plan.size);
            return Err(DataError::TooLarge { path: self.path.to_owned(), limit: MOST_NUMBERS, found });
        };
        if let Some(left) = self.left.filter(|&left| left != bytes) {
            return Err(self.damaged(format!("{bytes} bytes after the header"), format!("{left}")));
        }
        // An array of one sample lies the same way in both orders if it has one dimension.
        let columns = self.fortran && (plan.declared > 1 || plan.sample.len() > 1);
        let wanted = if columns { declared } else { plan.take.saturating_mul(plan.size) };
        let mut values = Vec::new();
        let mut buffer = vec![0; CHUNK * self.encoding.size()];
        let mut done = 0;
        while done < wanted {
            let many = (wanted - done).min(CHUNK);
            let buffer = &mut buffer[..many * self.encoding.size()];
            self.reader.read_exact(buffer).map_err(|error| broken(self.path, self.format, &error))?;
            let numbers = buffer.chunks_exact(self.encoding.size()).map(|b| self.encoding.decode(b, self.big_endian));
            // In column order the sample is the fastest index.
            let kept = numbers.enumerate().filter(|(i, _)| !columns || (done + i) % plan.declared < plan.take);
            values.try_reserve(many).map_err(|_| self.too_large(wanted))?;
            values.extend(kept.map(|(_, number)| number));
            done += many;
        }
        if done == declared {
            self.expect_end()?;
        }
        Ok(if columns { to_rows(&values, plan) } else { values })
    }

    /// Nothing may follow the numbers; reading to the end also checks the checksum of gzip and zip.
    fn expect_end(&mut self) -> Result<(), DataError> {
        let mut more = [0];
        match self.reader.read(&mut more).map_err(|error| broken(self.path, self.format, &error))? {
            0 => Ok(()),
            _ => Err(self.damaged("the end of the file after the numbers its header tells of".into(), "more".into())),
        }
    }

    fn damaged(&self, expected: String, found: String) -> DataError {
        DataError::Damaged { path: self.path.to_owned(), format: self.format, expected, found }
    }

    fn too_large(&self, wanted: usize) -> DataError {
        let found = format!("{wanted}, for which there is no memory");
        DataError::TooLarge { path: self.path.to_owned(), limit: MOST_NUMBERS, found }
    }
}

/// Reorders `plan.take` samples from first-index-fastest to row-major.
fn to_rows(values: &[f64], plan: &Plan) -> Vec<f64> {
    let mut rows = vec![0.0; values.len()];
    // How far apart, in a row-major sample, neighbours along each dimension are.
    let strides: Vec<usize> = (1..=plan.sample.len()).map(|d| elements(&plan.sample[d..]).unwrap_or(0)).collect();
    for (i, of_samples) in values.chunks_exact(plan.take).enumerate() {
        let mut rest = i;
        let mut at = 0;
        for (&dimension, stride) in plan.sample.iter().zip(&strides) {
            at += rest % dimension * stride;
            rest /= dimension;
        }
        for (sample, &value) in of_samples.iter().enumerate() {
            rows[sample * plan.size + at] = value;
        }
    }
    rows
}

/// The value of an IEEE 754 half.
pub(super) fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff);
    match (bits >> 10) & 0x1f {
        0 => sign * fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => sign * f64::INFINITY,
        31 => f64::NAN,
        exponent => sign * (1024.0 + fraction) * 2_f64.powi(i32::from(exponent) - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        let known =
            [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2_f64.powi(-24)), (0x3555, 0.333251953125)];
        for (bits, value) in known {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan());
    }

    #[test]
    fn every_encoding_in_both_byte_orders() {
        let check = |encoding: Encoding, bytes: &[u8], value: f64| {
            let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
            assert_eq!(encoding.decode(bytes, false), value);
            assert_eq!(encoding.decode(&reversed, true), value);
        };
        check(Encoding::Bool, &[7], 1.0);
        check(Encoding::U8, &[200], 200.0);
        check(Encoding::I8, &[200], -56.0);
        check(Encoding::U16, &60000_u16.to_le_bytes(), 60000.0);
        check(Encoding::I16, &(-2_i16).to_le_bytes(), -2.0);
        check(Encoding::U32, &u32::MAX.to_le_bytes(), 4294967295.0);
        check(Encoding::I32, &i32::MIN.to_le_bytes(), -2147483648.0);
        check(Encoding::U64, &3_u64.to_le_bytes(), 3.0);
        check(Encoding::I64, &(-3_i64).to_le_bytes(), -3.0);
        check(Encoding::F16, &0x3c00_u16.to_le_bytes(), 1.0);
        check(Encoding::F32, &0.1_f32.to_le_bytes(), f64::from(0.1_f32));
        check(Encoding::F64, &0.1_f64.to_le_bytes(), 0.1);
    }
}
