//! As many bytes as are expected, and no more than are allowed.

use std::io::{self, Read};

use crate::error::FormatError;

/// The next bytes, which have to be there.
pub fn take<const N: usize>(from: &mut impl Read) -> Result<[u8; N], FormatError> {
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

/// The next `length` bytes, which are `expected` and may be `limit`. Memory is taken for those that are there.
pub fn bounded(from: &mut impl Read, expected: &str, length: u64, limit: u64) -> Result<Vec<u8>, FormatError> {
    if length > limit {
        return Err(FormatError::damaged(format!("{expected} of at most {limit} bytes"), format!("{length} bytes")));
    }
    let mut bytes = Vec::new();
    let found = from.take(length).read_to_end(&mut bytes)?;
    if found as u64 != length {
        return Err(FormatError::damaged(format!("{expected} of {length} bytes"), format!("{found} bytes")));
    }
    Ok(bytes)
}
