//! How ciphertexts stand in the Open Inference Protocol.
//!
//! An array of ciphertexts is a tensor of `BYTES`, whose elements are ciphertexts in the engine's format; its raw content has the length
//! of each element in four bytes, little-endian, before it. A public input is a tensor of `FP64`: samples, then the shape of one. The
//! parameters of a request name the key (`key`, hexadecimal) and the samples (`samples`); the version is the program's fingerprint.

use prost::bytes::Bytes;

use crate::error::FormatError;
use crate::fingerprint::Fingerprint;
use crate::inference::InferParameter;
use crate::inference::infer_parameter::ParameterChoice;

/// The datatype of ciphertexts.
pub const CIPHERTEXTS: &str = "BYTES";
/// The datatype of values in the clear.
pub const CLEAR: &str = "FP64";
/// What a server says that it is.
pub const PLATFORM: &str = "hec_ckks";
/// The parameter that names the key.
pub const KEY: &str = "key";
/// The parameter that gives the number of samples.
pub const SAMPLES: &str = "samples";
/// The parameter of a response that says how long the evaluation took, in microseconds.
pub const MICROSECONDS: &str = "evaluation_us";

/// Appends an element to raw content.
pub fn append(raw: &mut Vec<u8>, element: &[u8]) {
    raw.extend((element.len() as u32).to_le_bytes());
    raw.extend(element);
}

/// The elements of raw content, of which there are `count`, each of at most `limit` bytes. Nothing is copied.
///
/// # Errors
/// [`FormatError::Damaged`]: too few, too many, or too long.
pub fn split(mut raw: Bytes, count: usize, limit: usize) -> Result<Vec<Bytes>, FormatError> {
    let mut elements = Vec::new();
    while !raw.is_empty() {
        if elements.len() == count {
            return Err(FormatError::damaged(format!("{count} elements"), "more"));
        }
        let Some(length) = raw.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
            return Err(FormatError::damaged("the length of an element", format!("{} bytes", raw.len())));
        };
        if length > limit || length > raw.len() - 4 {
            let expected = format!("an element of at most {} bytes", limit.min(raw.len() - 4));
            return Err(FormatError::damaged(expected, format!("{length} bytes")));
        }
        drop(raw.split_to(4));
        elements.push(raw.split_to(length));
    }
    if elements.len() == count {
        Ok(elements)
    } else {
        Err(FormatError::damaged(format!("{count} elements"), elements.len()))
    }
}

/// A parameter of text.
pub fn text(value: impl Into<String>) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::StringParam(value.into())) }
}

/// A parameter that is a number.
pub fn number(value: i64) -> InferParameter {
    InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(value)) }
}

/// The fingerprint that a parameter holds.
///
/// # Errors
/// [`FormatError::Damaged`]: it holds none.
pub fn read_fingerprint(parameter: Option<&InferParameter>) -> Result<Fingerprint, FormatError> {
    match parameter.and_then(|p| p.parameter_choice.as_ref()) {
        Some(ParameterChoice::StringParam(text)) => {
            text.parse().map_err(|e: String| FormatError::damaged("a fingerprint", e))
        }
        Some(ParameterChoice::BoolParam(_) | ParameterChoice::Int64Param(_)) | None => {
            Err(FormatError::damaged("a parameter with a fingerprint", "none"))
        }
    }
}

/// The number from 1 that a parameter holds.
///
/// # Errors
/// [`FormatError::Damaged`]: it holds none.
pub fn read_number(parameter: Option<&InferParameter>) -> Result<u64, FormatError> {
    match parameter.and_then(|p| p.parameter_choice.as_ref()) {
        Some(ParameterChoice::Int64Param(number)) if *number >= 1 => Ok(number.unsigned_abs()),
        Some(ParameterChoice::Int64Param(_) | ParameterChoice::BoolParam(_) | ParameterChoice::StringParam(_))
        | None => Err(FormatError::damaged("a parameter with a number from 1", "none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_split_as_they_were_joined() {
        let mut raw = Vec::new();
        for element in [&b"one"[..], b"", b"three"] {
            append(&mut raw, element);
        }
        let raw = Bytes::from(raw);
        assert_eq!(split(raw.clone(), 3, 5).expect("three"), [&b"one"[..], b"", b"three"]);
        for (count, limit) in [(2, 5), (4, 5), (3, 4)] {
            assert!(split(raw.clone(), count, limit).is_err());
        }
        for length in 1..raw.len() {
            assert!(split(raw.slice(..length), 3, 5).is_err(), "{length}");
        }
    }
}
