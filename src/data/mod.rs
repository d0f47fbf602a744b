//! Reads input samples, labels and model cards; writes outputs.
//!
//! A file's format is told from its first bytes, and from its name only where they do not say. Everything read is
//! distrusted: no size written in a file is allocated before that many bytes have been seen, and a value that is not
//! a finite number is refused.

mod atomic;
mod beside;
mod card;
mod error;
mod idx;
mod image;
mod journal;
mod npz;
mod numpy;
mod onnx_tensor;
mod outputs;
mod preprocessing;
mod shape;
mod source;
mod stream;
mod table;

use std::path::{Path, PathBuf};

pub use atomic::{AtomicFile, write_atomically};
pub use beside::read_beside;
pub use card::Card;
pub use error::DataError;
pub use journal::Journal;
pub use outputs::{Output, write_outputs};
pub use preprocessing::Preprocessing;

use source::{Format, Source};

/// What the numbers of a file were, which decides whether preprocessing still has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Bytes, as images hold: 0 to 255, not preprocessed.
    U8,
    /// Numbers with a fraction, or truth values (0 and 1): taken to be what the model wants already.
    Float,
    /// Whole numbers other than bytes.
    Int,
}

/// One batch of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// How many samples there are, at least one.
    pub count: usize,
    /// The shape of each sample: always the one asked for.
    pub shape: Vec<usize>,
    /// `count` samples one after the other, each row-major. All are finite.
    pub values: Vec<f64>,
    /// What the file held.
    pub element: Element,
    /// Where they were read, for messages.
    pub path: PathBuf,
}

/// Reads samples of the shape `expected_shape` (a model's input without its batch dimension) from a file of any format
/// known here: IDX, `.npy`, `.npz`, ONNX TensorProto (`.pb`), CSV (each also gzipped, but `.npz`), a PNG or a folder of
/// PNGs, taken in the byte order of their names.
///
/// A leading batch dimension is recognised, and leading and trailing dimensions of 1 do not matter. IDX and CSV, which
/// cannot hold every shape, may hold the sample flattened. Images are stored as the expected shape wants them, channels
/// first or last.
///
/// Of an `.npz` of several arrays, the one called `name`, the model's input, is taken.
///
/// With `limit`, samples after the first `limit` are neither stored nor, where the format allows it, read.
///
/// # Errors
/// If the file cannot be read, is damaged, holds other shapes, too much, nothing, or a value that is not finite.
pub fn read_samples(
    path: &Path,
    name: Option<&str>,
    expected_shape: &[usize],
    limit: Option<usize>,
) -> Result<Samples, DataError> {
    read(path, &Wanted { purpose: Purpose::Samples, name, shape: expected_shape, limit })
}

/// Reads class labels, one whole number a sample, from the formats of [`read_samples`] but images.
///
/// # Errors
/// As [`read_samples`], and if a value is not a whole number that fits a `u32`.
pub fn read_labels(path: &Path, limit: Option<usize>) -> Result<Vec<u32>, DataError> {
    let read = read(path, &Wanted { purpose: Purpose::Labels, name: None, shape: &[], limit })?;
    read.values
        .iter()
        .enumerate()
        .map(|(sample, &value)| {
            if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) {
                Ok(value as u32)
            } else {
                Err(DataError::Label { path: path.to_owned(), sample, value })
            }
        })
        .collect()
}

/// What a caller wants of a file.
struct Wanted<'a> {
    purpose: Purpose,
    /// The name of the model's input, if it matters.
    name: Option<&'a str>,
    /// The shape of one sample.
    shape: &'a [usize],
    limit: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Samples,
    Labels,
}

fn read(path: &Path, wanted: &Wanted) -> Result<Samples, DataError> {
    shape::check_wanted(path, wanted)?;
    if path.is_dir() {
        return image::read_folder(path, wanted);
    }
    let source = Source::open(path)?;
    match source.format()? {
        Format::Idx => idx::read(source, wanted),
        Format::Npy => numpy::read(source, wanted),
        Format::Npz => npz::read(source, wanted),
        Format::Tensor => onnx_tensor::read(source, wanted),
        Format::Csv { delimiter } => table::read(source, delimiter, wanted),
        Format::Png => image::read_file(source, wanted),
    }
}

impl Samples {
    /// Collects what a format's reader found, refusing values that are not finite.
    fn collect(path: &Path, wanted: &Wanted, values: Vec<f64>, element: Element) -> Result<Samples, DataError> {
        // Never zero: `check_wanted` refuses a shape without elements.
        let size = wanted.shape.iter().product::<usize>().max(1);
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(DataError::NotFinite { path: path.to_owned(), sample: at / size, value: values[at] });
        }
        Ok(Samples { count: values.len() / size, shape: wanted.shape.to_vec(), values, element, path: path.to_owned() })
    }

    /// Checks that every value lies in `low..=high`, the range a model was calibrated for.
    ///
    /// # Errors
    /// Names the first value outside and how many there are.
    pub fn check_range(&self, low: f64, high: f64) -> Result<(), DataError> {
        let outside = |value: &f64| !(low..=high).contains(value);
        let Some(at) = self.values.iter().position(outside) else { return Ok(()) };
        Err(DataError::OutOfRange {
            path: self.path.clone(),
            sample: at / (self.values.len() / self.count.max(1)).max(1),
            value: self.values[at],
            low,
            high,
            outside: self.values.iter().filter(|value| outside(value)).count(),
            of: self.values.len(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: Vec<f64>) -> Samples {
        Samples { count: 2, shape: vec![2], values, element: Element::Float, path: "x.npy".into() }
    }

    #[test]
    fn a_value_out_of_range_is_named() {
        assert!(samples(vec![0.0, 1.0, 0.5, 1.0]).check_range(0.0, 1.0).is_ok());
        let error = samples(vec![0.0, 1.0, 0.5, 255.0]).check_range(0.0, 1.0).unwrap_err().to_string();
        assert!(error.contains("sample 1") && error.contains("255") && error.contains("1 of 4"), "{error}");
    }

    #[test]
    fn missing_files_and_unknown_formats_are_explained() {
        let dir = tests_dir("formats");
        let error = read_samples(&dir.join("absent.npy"), None, &[2], None).unwrap_err().to_string();
        assert!(error.contains("absent.npy"), "{error}");
        for (name, bytes) in
            [("photo.jpg", &b"\xff\xd8\xff\xe0"[..]), ("empty.npy", b""), ("x.npy", b"garbage"), ("z.gz", b"1,2")]
        {
            let path = dir.join(name);
            std::fs::write(&path, bytes).unwrap();
            let error = read_samples(&path, None, &[2], None).unwrap_err();
            assert!(matches!(error, DataError::UnknownFormat { .. }), "{name}: {error}");
        }
        assert!(read_samples(&dir.join("x.npy"), None, &[2], Some(0)).is_err());
        assert!(read_samples(&dir.join("x.npy"), None, &[0], None).is_err());
        assert!(read_samples(&dir.join("x.npy"), None, &[usize::MAX, 3], None).is_err());
    }

    /// An empty folder for one test, beside the test program.
    pub(super) fn tests_dir(name: &str) -> PathBuf {
        let dir = std::env::current_exe().unwrap().with_file_name("data-tests").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}
