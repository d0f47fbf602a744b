//! Attributes of operations: one description serves the text form and the program file.

use std::fmt;
use std::sync::Arc;

use crate::Scale;
use crate::matrix::BlockMatrix;
use crate::slots::Packed;
use crate::tensor::Tensor;

/// One attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(Vec<i64>),
    /// A real number.
    Float(f64),
    /// Real numbers (many: printed as a digest).
    Floats(Arc<[f64]>),
    /// Text.
    Text(String),
    /// A tensor (printed as type and digest).
    Tensor(Arc<Tensor>),
    /// A real matrix (printed as shape and digest).
    Matrix(Arc<BlockMatrix<f64>>),
    /// An integer matrix (printed as shape and digest).
    IntMatrix(Arc<BlockMatrix<i32>>),
    /// Indices (many: printed as a digest).
    Indices(Arc<[u32]>),
    /// An exact scale.
    Scale(Scale),
    /// A packed layout.
    Packed(Arc<Packed>),
}

/// What is wrong with a described operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// No operation has this name.
    #[error("unknown operation \"{0}\"")]
    UnknownOperation(String),
    /// An attribute is missing or of another kind.
    #[error("attribute \"{0}\" is missing or of the wrong kind")]
    Attribute(&'static str),
    /// An attribute's value is out of range.
    #[error("attribute \"{name}\": {reason}")]
    Value {
        /// The attribute.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An attribute that the operation does not have.
    #[error("unexpected attribute \"{0}\"")]
    Unexpected(String),
}

/// The attributes of one operation, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Vec<(String, Attribute)>);

macro_rules! accessor {
    ($take:ident, $with:ident, $variant:ident, $type:ty, $doc:literal) => {
        #[doc = concat!("Adds ", $doc, ".")]
        #[must_use]
        pub fn $with(mut self, name: &'static str, value: impl Into<$type>) -> Self {
            self.0.push((name.to_owned(), Attribute::$variant(value.into())));
            self
        }

        #[doc = concat!("Takes out ", $doc, ".")]
        ///
        /// # Errors
        /// If it is missing or of another kind.
        pub fn $take(&mut self, name: &'static str) -> Result<$type, AttributeError> {
            match self.take(name) {
                Some(Attribute::$variant(value)) => Ok(value),
                _other => Err(AttributeError::Attribute(name)),
            }
        }
    };
}

impl Attributes {
    /// No attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Adds an attribute under a name read from outside.
    pub fn insert(&mut self, name: String, value: Attribute) {
        self.0.push((name, value));
    }

    /// Takes out an attribute, if there is one of that name.
    pub fn take(&mut self, name: &str) -> Option<Attribute> {
        let at = self.0.iter().position(|(found, _)| found == name)?;
        Some(self.0.remove(at).1)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`AttributeError::Unexpected`] naming the first attribute left.
    pub fn finish(self) -> Result<(), AttributeError> {
        self.0.into_iter().next().map_or(Ok(()), |(name, _)| Err(AttributeError::Unexpected(name)))
    }

    accessor!(int, with_int, Int, i64, "an integer");
    accessor!(ints, with_ints, Ints, Vec<i64>, "integers");
    accessor!(float, with_float, Float, f64, "a real number");
    accessor!(floats, with_floats, Floats, Arc<[f64]>, "real numbers");
    accessor!(text, with_text, Text, String, "text");
    accessor!(tensor, with_tensor, Tensor, Arc<Tensor>, "a tensor");
    accessor!(matrix, with_matrix, Matrix, Arc<BlockMatrix<f64>>, "a real matrix");
    accessor!(int_matrix, with_int_matrix, IntMatrix, Arc<BlockMatrix<i32>>, "an integer matrix");
    accessor!(indices, with_indices, Indices, Arc<[u32]>, "indices");
    accessor!(scale, with_scale, Scale, Scale, "a scale");
    accessor!(packed, with_packed, Packed, Arc<Packed>, "a packed layout");

    /// Adds sizes (shapes, strides, axes).
    #[must_use]
    pub fn with_sizes(self, name: &'static str, sizes: &[usize]) -> Self {
        self.with_ints(name, sizes.iter().map(|&s| s as i64).collect::<Vec<_>>())
    }

    /// Takes out sizes.
    ///
    /// # Errors
    /// If they are missing, of another kind, or negative.
    pub fn sizes(&mut self, name: &'static str) -> Result<Vec<usize>, AttributeError> {
        let negative = |_| AttributeError::Value { name, reason: "a size is negative".to_owned() };
        self.ints(name)?.into_iter().map(|v| usize::try_from(v).map_err(negative)).collect()
    }

    /// Takes out one size.
    ///
    /// # Errors
    /// If it is missing, of another kind, or negative.
    pub fn size(&mut self, name: &'static str) -> Result<usize, AttributeError> {
        let value = self.int(name)?;
        usize::try_from(value).map_err(|_| AttributeError::Value { name, reason: format!("{value} is negative") })
    }

    /// Adds a truth value, as 0 or 1.
    #[must_use]
    pub fn with_flag(self, name: &'static str, value: bool) -> Self {
        self.with_int(name, i64::from(value))
    }

    /// Adds a truth value only if it is true: what is false then reads and prints as if there were no such attribute.
    #[must_use]
    pub fn with_mark(self, name: &'static str, value: bool) -> Self {
        if value { self.with_flag(name, true) } else { self }
    }

    /// Takes out a truth value that is false if it is missing.
    ///
    /// # Errors
    /// If it is there, and of another kind or neither 0 nor 1.
    pub fn mark(&mut self, name: &'static str) -> Result<bool, AttributeError> {
        if self.iter().any(|(found, _)| found == name) { self.flag(name) } else { Ok(false) }
    }

    /// Takes out a truth value.
    ///
    /// # Errors
    /// If it is missing or neither 0 nor 1.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, AttributeError> {
        match self.int(name)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(AttributeError::Value { name, reason: format!("{other} is neither 0 nor 1") }),
        }
    }
}

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            write!(f, "{}{name}={value}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Ints(values) => write!(f, "{values:?}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Floats(values) if values.len() <= 4 => write!(f, "{values:?}"),
            Self::Floats(values) => {
                write!(f, "<{} {}>", values.len(), digest(values.iter().flat_map(|v| v.to_le_bytes())))
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Tensor(tensor) => {
                let bytes = tensor.array().iter().flat_map(|v| v.to_le_bytes());
                write!(f, "<{} {}>", tensor.ty(), digest(bytes))
            }
            Self::Matrix(m) => write!(f, "{}", matrix(m, |w| w.to_bits().to_le_bytes())),
            Self::IntMatrix(m) => write!(f, "{}", matrix(m, |w| i64::from(*w).to_le_bytes())),
            Self::Indices(indices) => {
                write!(f, "<{} {}>", indices.len(), digest(indices.iter().flat_map(|v| v.to_le_bytes())))
            }
            Self::Scale(scale) => write!(f, "{scale}"),
            Self::Packed(packed) => write!(f, "{packed}"),
        }
    }
}

fn matrix<T>(m: &BlockMatrix<T>, bytes: impl Fn(&T) -> [u8; 8]) -> String {
    let mut hash = blake3::Hasher::new();
    m.for_each(|row, col, weight| {
        hash.update(&(row as u64).to_le_bytes());
        hash.update(&(col as u64).to_le_bytes());
        hash.update(&bytes(weight));
    });
    let blocks = if m.blocks().len() == 1 { String::new() } else { format!(", {} blocks", m.blocks().len()) };
    let digest = &hash.finalize().to_hex()[..8];
    format!("<{}x{}, {} weights{blocks} {digest}>", m.rows(), m.cols(), m.multiply_adds())
}

fn digest(bytes: impl Iterator<Item = u8>) -> String {
    let bytes: Vec<u8> = bytes.collect();
    blake3::hash(&bytes).to_hex()[..8].to_owned()
}
