//! `.npy`: a magic string, a header that is a Python dict literal, the numbers.
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::{self, Read, Write};
use std::path::Path;

use super::source::{Source, broken};
use super::stream::{Encoding, Stream};
use super::{DataError, Samples, Wanted, shape};

const FORMAT: &str = ".npy array";
const MAGIC: &[u8] = b"\x93NUMPY";
/// NumPy itself refuses headers longer than 10,000 bytes unless told to trust the file.
const LONGEST_HEADER: usize = 10_000;

pub(super) fn read(mut source: Source, wanted: &Wanted) -> Result<Samples, DataError> {
    read_from(source.path, &mut source.reader, source.length, wanted)
}

/// Reads an array that begins at `reader` and is `length` bytes long, header included, if that is known.
pub(super) fn read_from(
    path: &Path,
    reader: &mut dyn Read,
    length: Option<u64>,
    wanted: &Wanted,
) -> Result<Samples, DataError> {
    let (header, used) = read_header(path, reader)?;
    let plan = shape::plan(path, &header.shape, wanted, false)?;
    let left = length.map(|length| length.saturating_sub(used as u64));
    let Header { encoding, big_endian, fortran, .. } = header;
    let stream = Stream { path, format: FORMAT, reader, encoding, big_endian, fortran, left };
    Samples::collect(path, wanted, stream.read(&plan)?, encoding.element())
}

/// Writes `values`, row-major, as an array of 64-bit floats.
pub(super) fn write(out: &mut dyn Write, shape: &[usize], values: &[f64]) -> io::Result<()> {
    let dimensions: String = shape.iter().map(|dimension| format!("{dimension}, ")).collect();
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}), }}", dimensions.trim_end());
    // The numbers begin at a multiple of 64 bytes: magic and version 8, header length 2, header, line feed.
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| io::Error::other("a shape of too many dimensions"))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

struct Header {
    encoding: Encoding,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
}

/// The header, and how many bytes it took.
fn read_header(path: &Path, reader: &mut dyn Read) -> Result<(Header, usize), DataError> {
    let damaged = |expected: &str, found: String| DataError::Damaged {
        path: path.to_owned(),
        format: FORMAT,
        expected: expected.into(),
        found,
    };
    let mut bytes = |many: usize| {
        let mut buffer = vec![0; many];
        reader.read_exact(&mut buffer).map(|()| buffer).map_err(|error| broken(path, FORMAT, &error))
    };
    let start = bytes(8)?;
    if !start.starts_with(MAGIC) {
        return Err(damaged("the mark of an .npy array at the start", "something else".into()));
    }
    let length_bytes = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(damaged("format version 1, 2 or 3", version.to_string())),
    };
    let length = bytes(length_bytes)?.iter().rev().fold(0, |all, &byte| all << 8 | usize::from(byte));
    if length > LONGEST_HEADER {
        return Err(damaged("a header of at most 10000 bytes", format!("{length}")));
    }
    let text = String::from_utf8_lossy(&bytes(length)?).into_owned();
    let entries = Literal { rest: &text }.dict().ok_or_else(|| damaged("a header that is a dict", text.clone()))?;
    let value = |key: &str| entries.iter().find(|(k, _)| k == key).map(|(_, value)| value);
    let (Some(Value::Text(descr)), Some(Value::Bool(fortran)), Some(Value::Tuple(shape))) =
        (value("descr"), value("fortran_order"), value("shape"))
    else {
        return Err(damaged("descr, fortran_order and shape of one plain array in the header", text.trim().into()));
    };
    let (encoding, big_endian) = encoding(descr).ok_or_else(|| DataError::Unsupported {
        path: path.to_owned(),
        expected: "an array of bool, integers or floats".into(),
        found: format!("dtype {descr}"),
        advice: "convert it, for instance with .astype('float32')".into(),
    })?;
    let header = Header { encoding, big_endian, fortran: *fortran, shape: shape.clone() };
    Ok((header, 8 + length_bytes + length))
}

fn encoding(descr: &str) -> Option<(Encoding, bool)> {
    let (order, kind) = descr.split_at_checked(1)?;
    let encoding = match kind {
        "b1" => Encoding::Bool,
        "u1" => Encoding::U8,
        "i1" => Encoding::I8,
        "u2" => Encoding::U16,
        "i2" => Encoding::I16,
        "u4" => Encoding::U32,
        "i4" => Encoding::I32,
        "u8" => Encoding::U64,
        "i8" => Encoding::I64,
        "f2" => Encoding::F16,
        "f4" => Encoding::F32,
        "f8" => Encoding::F64,
        _ => return None,
    };
    match order {
        "<" | "=" => Some((encoding, false)),
        "|" if encoding.size() == 1 => Some((encoding, false)),
        ">" => Some((encoding, true)),
        _ => None,
    }
}

/// The Python literals that occur in headers of plain arrays.
enum Value {
    Text(String),
    Bool(bool),
    Tuple(Vec<usize>),
}

struct Literal<'a> {
    rest: &'a str,
}

impl Literal<'_> {
    /// `{'key': value, ...}` and nothing after.
    fn dict(mut self) -> Option<Vec<(String, Value)>> {
        let mut entries = Vec::new();
        self.skip("{").then_some(())?;
        while !self.skip("}") {
            let key = self.text()?;
            self.skip(":").then_some(())?;
            entries.push((key, self.value()?));
            if !self.skip(",") {
                self.skip("}").then_some(())?;
                break;
            }
        }
        self.rest.trim().is_empty().then_some(entries)
    }

    fn value(&mut self) -> Option<Value> {
        if self.skip("True") {
            return Some(Value::Bool(true));
        }
        if self.skip("False") {
            return Some(Value::Bool(false));
        }
        if !self.skip("(") {
            return self.text().map(Value::Text);
        }
        let mut numbers = Vec::new();
        while !self.skip(")") {
            numbers.push(self.number()?);
            // Python 2 wrote long integers so.
            self.skip("L");
            if !self.skip(",") {
                self.skip(")").then_some(())?;
                break;
            }
        }
        Some(Value::Tuple(numbers))
    }

    fn number(&mut self) -> Option<usize> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        self.rest = &rest[end..];
        rest[..end].parse().ok()
    }

    fn text(&mut self) -> Option<String> {
        let rest = self.rest.trim_start();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (text, after) = rest[1..].split_once(quote)?;
        self.rest = after;
        Some(text.to_owned())
    }

    fn skip(&mut self, token: &str) -> bool {
        let after = self.rest.trim_start().strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::super::{Element, read_labels, read_samples};
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn row_and_column_order_read_alike() {
        let path = tests_dir("npy").join("a.npy");
        let rows: Vec<u8> = (0..12).collect();
        // Element [n, i, j] of shape [2, 2, 3] is 6 n + 3 i + j; column order runs n fastest, j slowest.
        let columns = [0, 6, 3, 9, 1, 7, 4, 10, 2, 8, 5, 11];
        for (fortran, data) in [("False", &rows[..]), ("True", &columns)] {
            let header = format!("{{'descr': '|u1', 'fortran_order': {fortran}, 'shape': (2, 2, 3), }} \n");
            let bytes = npy(&header, data);
            std::fs::write(&path, &bytes).unwrap();
            let samples = read_samples(&path, None, &[1, 2, 3], None).unwrap();
            assert_eq!((samples.count, samples.element, samples.shape), (2, Element::U8, vec![1, 2, 3]));
            assert_eq!(samples.values, (0..12).map(f64::from).collect::<Vec<_>>());
            assert_eq!(read_samples(&path, None, &[2, 3], Some(1)).unwrap().values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            assert_eq!(read_samples(&path, None, &[2, 2, 3], None).unwrap().values.len(), 12);
            assert!(read_samples(&path, None, &[6], None).unwrap_err().to_string().contains("reshape"));
            for end in 0..bytes.len() {
                std::fs::write(&path, &bytes[..end]).unwrap();
                assert!(read_samples(&path, None, &[2, 3], None).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let path = tests_dir("npy-write").join("a.npy");
        for shape in [&[2, 3][..], &[2, 1, 3], &[2, 3, 1]] {
            let values = [0.1, -1e300, 5e-324, 3.0, f64::MAX, -0.0];
            let mut bytes = Vec::new();
            write(&mut bytes, shape, &values).unwrap();
            assert_eq!((bytes.len() - 48) % 64, 0);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read_samples(&path, None, &[3], None).unwrap().values, values);
        }
    }

    #[test]
    fn hostile_headers_are_errors() {
        let path = tests_dir("npy-hostile").join("a.npy");
        for header in [
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 3)}",
            "{'descr': '<f8', 'fortran_order': True, 'shape': (1099511627776, 3)}",
            "{'descr': '<f8', 'fortran_order': True, 'shape': (18446744073709551615, 3)}",
            "{'descr': '<f8', 'fortran_order': True, 'shape': (18446744073709551616, 3)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 3)}",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 3",
            "{'descr': '<f8', 'fortran_order': False}",
            "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<c8', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '|f8', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': 'é', 'fortran_order': False, 'shape': (3,)}",
            "{'é",
            "",
            "{",
        ] {
            std::fs::write(&path, npy(header, &[0; 24])).unwrap();
            assert!(read_samples(&path, None, &[3], None).is_err(), "{header}");
        }
        std::fs::write(&path, b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").unwrap();
        assert!(read_samples(&path, None, &[3], None).unwrap_err().to_string().contains("10000"));
    }

    #[test]
    fn labels_may_be_integers_of_any_kind() {
        let path = tests_dir("npy-labels").join("a.npy");
        let data: Vec<u8> = [3_i64, 0].iter().flat_map(|v| v.to_be_bytes()).collect();
        std::fs::write(&path, npy("{'descr': '>i8', 'fortran_order': False, 'shape': (2L,)}", &data)).unwrap();
        assert_eq!(read_labels(&path, None).unwrap(), [3, 0]);
        let data: Vec<u8> = [3.0_f32, 0.5].iter().flat_map(|v| v.to_le_bytes()).collect();
        std::fs::write(&path, npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1)}", &data)).unwrap();
        let error = read_labels(&path, None).unwrap_err();
        assert!(matches!(error, DataError::Label { sample: 1, .. }), "{error}");
    }
}
