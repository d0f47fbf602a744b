//! A look at the bytes before they are parsed.
//!
//! The parser recurses on groups, without a limit, wherever it meets one (RUSTSEC-2024-0437), and ONNX has none: so they
//! are refused here, in every place that the parser reads as a message. Lengths and nesting are checked on the way.

use crate::ImportError;

/// Deeper nesting is refused: ten graphs within each other.
const MAX_DEPTH: usize = 32;

/// A message of `onnx.proto`, as far as messages lie in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    ValueInfo,
    Training,
    Annotation,
    Tensor,
    SparseTensor,
    Type,
    TensorType,
    /// A sequence's or an optional's.
    ElementType,
    MapType,
    Shape,
    Function,
    /// Has no messages in it.
    Leaf,
}

impl Message {
    /// The message that a field holds, if it holds one.
    fn field(self, number: u64) -> Option<Self> {
        let fields: &[(u64, Self)] = match self {
            Self::Model => {
                &[(7, Self::Graph), (8, Self::Leaf), (14, Self::Leaf), (20, Self::Training), (25, Self::Function)]
            }
            Self::Graph => &[
                (1, Self::Node),
                (5, Self::Tensor),
                (11, Self::ValueInfo),
                (12, Self::ValueInfo),
                (13, Self::ValueInfo),
                (14, Self::Annotation),
                (15, Self::SparseTensor),
                (16, Self::Leaf),
            ],
            Self::Node => &[(5, Self::Attribute), (9, Self::Leaf)],
            Self::Attribute => &[
                (5, Self::Tensor),
                (6, Self::Graph),
                (10, Self::Tensor),
                (11, Self::Graph),
                (14, Self::Type),
                (15, Self::Type),
                (22, Self::SparseTensor),
                (23, Self::SparseTensor),
            ],
            Self::ValueInfo => &[(2, Self::Type), (4, Self::Leaf)],
            Self::Training => &[(1, Self::Graph), (2, Self::Graph), (3, Self::Leaf), (4, Self::Leaf)],
            Self::Annotation => &[(2, Self::Leaf)],
            Self::Tensor => &[(3, Self::Leaf), (13, Self::Leaf), (16, Self::Leaf)],
            Self::SparseTensor => &[(1, Self::Tensor), (2, Self::Tensor)],
            Self::Type => &[
                (1, Self::TensorType),
                (4, Self::ElementType),
                (5, Self::MapType),
                (8, Self::TensorType),
                (9, Self::ElementType),
            ],
            Self::TensorType => &[(2, Self::Shape)],
            Self::ElementType => &[(1, Self::Type)],
            Self::MapType => &[(2, Self::Type)],
            Self::Shape => &[(1, Self::Leaf)],
            Self::Function => {
                &[(7, Self::Node), (9, Self::Leaf), (11, Self::Attribute), (12, Self::ValueInfo), (14, Self::Leaf)]
            }
            Self::Leaf => &[],
        };
        fields.iter().find(|(found, _)| *found == number).map(|(_, message)| *message)
    }
}

/// Whether the bytes can be parsed without harm.
///
/// # Errors
/// What is wrong, and at which byte.
pub(crate) fn check(bytes: &[u8]) -> Result<(), ImportError> {
    if bytes.is_empty() {
        return Err(ImportError::Model { reason: "the file is empty".to_owned() });
    }
    let mut reader = Reader { bytes, at: 0 };
    let mut open = vec![(Message::Model, bytes.len())];
    while let Some(&(message, end)) = open.last() {
        if reader.at == end {
            open.pop();
            continue;
        }
        let start = reader.at;
        let tag = reader.varint(end)?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        if number == 0 || tag > u64::from(u32::MAX) {
            return Err(error(start, format!("there is no field {number}")));
        }
        match wire_type {
            0 => {
                reader.varint(end)?;
            }
            1 => reader.skip(8, end)?,
            2 => {
                let length = reader.varint(end)?;
                let after = reader.end_of(length, end)?;
                match message.field(number) {
                    Some(_) if open.len() == MAX_DEPTH => {
                        return Err(error(start, format!("messages are nested deeper than {MAX_DEPTH}")));
                    }
                    Some(inner) => open.push((inner, after)),
                    None => reader.at = after,
                }
            }
            5 => reader.skip(4, end)?,
            other => {
                return Err(error(start, format!("field {number} is of wire type {other}, which ONNX does not use")));
            }
        }
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn varint(&mut self, end: usize) -> Result<u64, ImportError> {
        let start = self.at;
        let mut value = 0;
        for (i, byte) in self.bytes[start..end].iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        let cut = end - start < 10;
        Err(error(start, if cut { "the data end within a number" } else { "a number is longer than ten bytes" }))
    }

    fn end_of(&self, length: u64, end: usize) -> Result<usize, ImportError> {
        let left = (end - self.at) as u64;
        if length > left {
            return Err(error(self.at, format!("{length} bytes are announced, but {left} are left")));
        }
        Ok(self.at + length as usize)
    }

    fn skip(&mut self, length: u64, end: usize) -> Result<(), ImportError> {
        self.at = self.end_of(length, end)?;
        Ok(())
    }
}

fn error(offset: usize, reason: impl Into<String>) -> ImportError {
    ImportError::Bytes { reason: reason.into(), offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        check(bytes).unwrap_err().to_string()
    }

    /// Field `number` around `inner`.
    fn message(number: u8, inner: &[u8]) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2];
        let mut length = inner.len();
        while length >= 0x80 {
            bytes.push(length as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        [&bytes, inner].concat()
    }

    #[test]
    fn what_is_not_a_message() {
        insta::assert_snapshot!(refused(b""), @"not an ONNX model: the file is empty");
        insta::assert_snapshot!(refused(b"# Model\n"), @"not an ONNX model: field 4 is of wire type 3, which ONNX does not use at byte 0");
        insta::assert_snapshot!(refused(&[0xff; 20]), @"not an ONNX model: a number is longer than ten bytes at byte 0");
        insta::assert_snapshot!(refused(&[0x08]), @"not an ONNX model: the data end within a number at byte 1");
        insta::assert_snapshot!(refused(&[0x3a, 0x05, 0x00]), @"not an ONNX model: 5 bytes are announced, but 1 are left at byte 2");
        insta::assert_snapshot!(refused(&[0x00, 0x00]), @"not an ONNX model: there is no field 0 at byte 0");
        insta::assert_snapshot!(refused(&[0x0d, 0x00]), @"not an ONNX model: 4 bytes are announced, but 1 are left at byte 1");
    }

    #[test]
    fn groups_are_refused_in_every_message() {
        let group = [0x9b, 0x06, 0x9c, 0x06];
        let places: [&[u8]; 9] =
            [&[7], &[7, 1], &[7, 1, 5], &[7, 1, 5, 5], &[7, 5, 13], &[7, 11, 2, 1, 2, 1], &[8], &[14], &[7, 15, 1]];
        for place in places {
            let bytes = place.iter().rev().fold(group.to_vec(), |inner, &number| message(number, &inner));
            assert!(refused(&bytes).contains("wire type 3"), "{place:?}");
        }
        // Within bytes and text there are no messages.
        assert_eq!(check(&message(2, &group)), Ok(()));
        assert_eq!(check(&message(7, &message(5, &message(9, &group)))), Ok(()));
    }

    #[test]
    fn nesting_ends_somewhere() {
        let graphs = |count| (0..count).fold(Vec::new(), |inner, _| message(1, &message(5, &message(6, &inner))));
        assert_eq!(check(&message(7, &graphs(10))), Ok(()));
        assert!(refused(&message(7, &graphs(11))).contains("nested deeper than 32"));
        assert!(refused(&message(7, &graphs(5000))).contains("nested deeper than 32"));
    }
}
