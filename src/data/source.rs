//! An open file: its bytes, unpacked if gzipped, and its format.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::DataError;

/// A file whose bytes can be read once, from the start.
pub(super) struct Source<'p> {
    pub(super) path: &'p Path,
    pub(super) reader: Box<dyn BufRead>,
    /// The number of bytes, if known before reading: not for a gzipped file.
    pub(super) length: Option<u64>,
    /// The first bytes, at most [`HEAD`].
    head: Vec<u8>,
}

/// The formats of one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Format {
    Idx,
    Npy,
    Npz,
    Tensor,
    Csv { delimiter: u8 },
    Png,
}

/// How many bytes are looked at to tell the format.
const HEAD: u64 = 8;

impl<'p> Source<'p> {
    pub(super) fn open(path: &'p Path) -> Result<Source<'p>, DataError> {
        let failed = |source| DataError::Io { path: path.to_owned(), action: "be read", source };
        let about = fs::metadata(path).map_err(failed)?;
        if !about.is_file() {
            return Err(DataError::Unsupported {
                path: path.to_owned(),
                expected: "a regular file or a folder of images".into(),
                found: "a pipe, device or the like".into(),
                advice: "store the data in a file first".into(),
            });
        }
        let mut plain = BufReader::new(File::open(path).map_err(failed)?);
        let gzipped = plain.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let (mut reader, length): (Box<dyn BufRead>, _) = if gzipped {
            (Box::new(BufReader::new(MultiGzDecoder::new(plain))), None)
        } else {
            (Box::new(plain), Some(about.len()))
        };
        let mut head = Vec::new();
        (&mut reader).take(HEAD).read_to_end(&mut head).map_err(|error| broken(path, "gzip", &error))?;
        Ok(Source { path, reader: Box::new(Cursor::new(head.clone()).chain(reader)), length, head })
    }

    /// The format, by the first bytes, or else by the name.
    pub(super) fn format(&self) -> Result<Format, DataError> {
        let unknown = |found: String| Err(DataError::UnknownFormat { path: self.path.to_owned(), found });
        let gzipped = self.length.is_none();
        match self.head.as_slice() {
            [] => return unknown("the file is empty".into()),
            [0, 0, ..] => return Ok(Format::Idx),
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => return Ok(Format::Npy),
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a] => return Ok(Format::Png),
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] if gzipped => {
                return unknown("a gzipped .npz, which is compressed already".into());
            }
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => return Ok(Format::Npz),
            _ => {}
        }
        match self.extension().as_str() {
            "pb" => Ok(Format::Tensor),
            "csv" | "txt" => Ok(Format::Csv { delimiter: b',' }),
            "tsv" => Ok(Format::Csv { delimiter: b'\t' }),
            "npy" | "npz" | "png" | "idx" | "gz" => {
                unknown(format!("the first bytes ({}) are not those of such a file", hex(&self.head)))
            }
            _ => unknown(format!("neither the name nor the first bytes ({}) say what this is", hex(&self.head))),
        }
    }

    /// All bytes, if they are at most `most`.
    pub(super) fn read_all(self, format: &'static str, most: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let read = self.reader.take(most.saturating_add(1)).read_to_end(&mut bytes);
        let read = read.map_err(|error| broken(self.path, format, &error))?;
        if read as u64 > most {
            return Err(DataError::Unsupported {
                path: self.path.to_owned(),
                expected: format!("at most {most} bytes"),
                found: "more".into(),
                advice: "split the file, or store it as .npy".into(),
            });
        }
        Ok(bytes)
    }

    /// The lower-case extension, of the packed file if gzipped.
    fn extension(&self) -> String {
        let of = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        let outer = of(self.path);
        if outer != "gz" || self.length.is_some() {
            return outer;
        }
        self.path.file_stem().map(|stem| of(Path::new(stem))).filter(|inner| !inner.is_empty()).unwrap_or(outer)
    }
}

/// The error for a stream that ended early or could not be unpacked.
pub(super) fn broken(path: &Path, format: &'static str, error: &io::Error) -> DataError {
    let damaged =
        |expected: &str, found| DataError::Damaged { path: path.to_owned(), format, expected: expected.into(), found };
    let kind = error.kind();
    if kind == io::ErrorKind::UnexpectedEof {
        return damaged("more bytes", "the end of the file".into());
    }
    if kind == io::ErrorKind::InvalidData || kind == io::ErrorKind::InvalidInput {
        return damaged("compressed bytes that unpack", error.to_string());
    }
    DataError::Io { path: path.to_owned(), action: "be read", source: io::Error::new(kind, error.to_string()) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::*;
    use std::io::Write;

    #[test]
    fn content_decides_before_the_name() {
        let dir = tests_dir("source");
        let is = |name: &str, bytes: &[u8]| {
            fs::write(dir.join(name), bytes).unwrap();
            Source::open(&dir.join(name)).unwrap().format().unwrap()
        };
        assert_eq!(is("a.csv", b"\x93NUMPY\x01\x00"), Format::Npy);
        assert_eq!(is("a.npy", b"\0\0\x08\x01"), Format::Idx);
        assert_eq!(is("a", b"PK\x03\x04"), Format::Npz);
        assert_eq!(is("a.PB", b"\x08\x01"), Format::Tensor);
        assert_eq!(is("a.tsv", b"1\t2"), Format::Csv { delimiter: b'\t' });
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(b"1,2").unwrap();
        assert_eq!(is("a.csv.gz", &gz.finish().unwrap()), Format::Csv { delimiter: b',' });
    }
}
