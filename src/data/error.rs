//! What can be wrong with a file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why data could not be read or written. Each message names the file, what was expected, what was found, and what to
/// do about it. Samples count from 0.
#[derive(Debug, Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Neither the content nor the name says what the file is.
    #[error(
        "{}: {found}; known are IDX, .npy, .npz, ONNX tensors (.pb), .csv, .tsv and .png, of which all but .npz may \
         be gzipped: convert the file to one of these",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What speaks against each format.
        found: String,
    },
    /// The file contradicts itself or its format.
    #[error("{}: damaged {format}: expected {expected}, found {found}; copy or write the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it was read as.
        format: &'static str,
        /// What should have been there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The file is sound, but of a kind that is not read or written here.
    #[error("{}: expected {expected}, found {found}; {advice}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What can be handled.
        expected: String,
        /// What was there.
        found: String,
        /// What to do.
        advice: String,
    },
    /// The samples are of another shape than the model's input.
    #[error("{}: expected {expected}, found {found}; {advice}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The shape wanted.
        expected: String,
        /// The shape in the file.
        found: String,
        /// What to do.
        advice: String,
    },
    /// There is nothing to read.
    #[error("{}: expected at least one sample, found {found}; {advice}", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was there, or asked for.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// More numbers than are read at once.
    #[error(
        "{}: expected at most {limit} numbers (8 GiB in memory), found {found}; read fewer samples, or split the file",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most there may be.
        limit: usize,
        /// What was there.
        found: String,
    },
    /// A value is NaN or infinite.
    #[error(
        "{}: expected finite numbers, found {value} in sample {sample} (counting from 0); mend or remove that sample",
        path.display()
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Which sample.
        sample: usize,
        /// The value.
        value: f64,
    },
    /// A value lies outside the range the model was calibrated for.
    #[error(
        "{}: expected values between {low} and {high}, found {value} in sample {sample} (counting from 0; {outside} of \
         {of} values are outside); check the preprocessing, or calibrate with data like this",
        path.display()
    )]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// The first sample concerned.
        sample: usize,
        /// Its first value outside.
        value: f64,
        /// The smallest value allowed.
        low: f64,
        /// The largest value allowed.
        high: f64,
        /// How many values are outside.
        outside: usize,
        /// How many values there are.
        of: usize,
    },
    /// A label is not a class number.
    #[error(
        "{}: expected labels that are whole numbers from 0 to {}, found {value} for sample {sample} (counting from 0); \
         number the classes from 0",
        path.display(), u32::MAX
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// Which sample.
        sample: usize,
        /// The value.
        value: f64,
    },
    /// The preprocessing does not fit the samples.
    #[error("preprocessing of {}: expected {expected}, found {found}; correct the model card", path.display())]
    Preprocessing {
        /// The file with the samples.
        path: PathBuf,
        /// What would fit.
        expected: String,
        /// What was given.
        found: String,
    },
    /// A model card does not say what it should.
    #[error("{}: model card: {key}: expected {expected}, found {found}; correct the card", path.display())]
    Card {
        /// The card.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
}
