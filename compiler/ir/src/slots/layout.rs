use std::fmt;
use std::sync::Arc;

use super::Packed;
use crate::attribute::{AttributeError, Attributes};

/// How the elements of tensors lie in an array of slot vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One slot vector for each tensor element, in row-major order; slot `j` holds the element of sample `j` of the batch
    /// (nGraph-HE's packing).
    Batch {
        /// The shape of one sample's tensor.
        shape: Vec<usize>,
    },
    /// One sample spread over the virtual slots of one or a few vectors; as many samples as there are slots for each virtual one.
    Packed(Arc<Packed>),
}

/// Samples that do not fit a layout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// More samples than slots.
    #[error("{found} samples do not fit {slots} slots; run them in batches of at most {slots}")]
    TooManySamples {
        /// Number of samples.
        found: usize,
        /// Number of slots that a sample can have.
        slots: usize,
    },
    /// A sample has another number of elements than the layout's shape.
    #[error("expected samples of {expected} elements (shape {shape:?}), found {found} values for {samples} samples")]
    SampleSize {
        /// Elements of one sample.
        expected: usize,
        /// Shape of one sample.
        shape: Vec<usize>,
        /// Number of values.
        found: usize,
        /// Number of samples.
        samples: usize,
    },
}

impl Layout {
    /// Number of slot vectors.
    pub fn array_length(&self) -> usize {
        match self {
            Self::Batch { shape } => shape.iter().product(),
            Self::Packed(packed) => packed.vectors(),
        }
    }

    /// Number of elements of one sample.
    pub fn elements(&self) -> usize {
        self.shape().iter().product()
    }

    /// The shape of one sample's tensor.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Batch { shape } => shape,
            Self::Packed(packed) => packed.shape(),
        }
    }

    /// How many samples one array holds, for vectors of `slots` slots.
    pub fn capacity(&self, slots: usize) -> usize {
        match self {
            Self::Batch { .. } => slots,
            Self::Packed(packed) => slots / packed.period(),
        }
    }

    /// The slot vectors of `samples` samples (`values` is row-major, samples outermost). Unused slots are left out: vectors
    /// may be shorter than `slots`, and what is not there is 0.
    ///
    /// # Errors
    /// [`LayoutError`] if the samples do not fit.
    pub fn pack(&self, values: &[f64], samples: usize, slots: usize) -> Result<Vec<Vec<f64>>, LayoutError> {
        let expected = self.elements();
        let capacity = self.capacity(slots);
        if samples > capacity {
            return Err(LayoutError::TooManySamples { found: samples, slots: capacity });
        }
        if expected.checked_mul(samples) != Some(values.len()) {
            let shape = self.shape().to_vec();
            return Err(LayoutError::SampleSize { expected, shape, found: values.len(), samples });
        }
        match self {
            Self::Batch { .. } => Ok((0..expected)
                .map(|element| values.iter().skip(element).step_by(expected.max(1)).copied().collect())
                .collect()),
            Self::Packed(packed) => {
                let mut vectors = vec![vec![0.0; slots]; packed.vectors()];
                for (j, sample) in values.chunks_exact(expected.max(1)).enumerate() {
                    for (vector, spread) in vectors.iter_mut().zip(packed.spread(sample).chunks(packed.period())) {
                        spread.iter().enumerate().for_each(|(i, &value)| vector[i * capacity + j] = value);
                    }
                }
                Ok(vectors)
            }
        }
    }

    /// The inverse of [`Layout::pack`]: the values of the first `samples` samples, row-major, samples outermost. What a vector
    /// does not hold is 0.
    pub fn unpack(&self, vectors: &[Vec<f64>], samples: usize) -> Vec<f64> {
        match self {
            Self::Batch { .. } => (0..samples)
                .flat_map(|sample| vectors.iter().map(move |vector| vector.get(sample).copied().unwrap_or(0.0)))
                .collect(),
            Self::Packed(packed) => {
                let (period, slots) = (packed.period(), packed.slots_of_elements());
                let at = |slot: u32, sample: usize| {
                    let vector = vectors.get(slot as usize / period)?;
                    vector.get(slot as usize % period * (vector.len() / period) + sample).copied()
                };
                (0..samples).flat_map(|j| slots.iter().map(move |&slot| at(slot, j).unwrap_or(0.0))).collect()
            }
        }
    }

    /// One sample in virtual slots, vector by vector: of one slot in the batch layout, of a period of them in the packed one.
    pub fn spread(&self, sample: &[f64]) -> Vec<f64> {
        match self {
            Self::Batch { .. } => sample.to_vec(),
            Self::Packed(packed) => packed.spread(sample),
        }
    }

    pub(crate) fn attributes(&self, attributes: Attributes) -> Attributes {
        match self {
            Self::Batch { shape } => attributes.with_text("layout", "batch").with_sizes("shape", shape),
            Self::Packed(packed) => attributes.with_text("layout", "packed").with_packed("place", packed.clone()),
        }
    }

    pub(crate) fn from_attributes(attributes: &mut Attributes) -> Result<Self, AttributeError> {
        match attributes.text("layout")?.as_str() {
            "batch" => Ok(Self::Batch { shape: attributes.sizes("shape")? }),
            "packed" => Ok(Self::Packed(attributes.packed("place")?)),
            other => Err(AttributeError::Value { name: "layout", reason: format!("unknown layout \"{other}\"") }),
        }
    }
}

/// `batch[1, 28, 28]`.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch { shape } => write!(f, "batch{shape:?}"),
            Self::Packed(packed) => write!(f, "{packed}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_packing_transposes_and_unpacking_undoes_it() {
        let layout = Layout::Batch { shape: vec![1, 2] };
        let packed = layout.pack(&[1., 2., 3., 4., 5., 6.], 3, 4).unwrap();
        assert_eq!(packed, vec![vec![1., 3., 5.], vec![2., 4., 6.]]);
        assert_eq!(layout.unpack(&packed, 3), vec![1., 2., 3., 4., 5., 6.]);
        assert_eq!(layout.to_string(), "batch[1, 2]");
    }

    #[test]
    fn packed_samples_interleave() {
        let place = crate::slots::Place::Table([1, 0, 2, 3].into());
        let packed = Packed::new(vec![3], 4, 1, [4, 0], place).unwrap();
        let layout = Layout::Packed(packed.into());
        assert_eq!((layout.capacity(8), layout.array_length()), (2, 1));
        let vectors = layout.pack(&[1., 2., 3., 4., 5., 6.], 2, 8).unwrap();
        assert_eq!(vectors, vec![vec![1., 4., 0., 0., 2., 5., 3., 6.]]);
        assert_eq!(layout.unpack(&vectors, 2), vec![1., 2., 3., 4., 5., 6.]);
        assert_eq!(layout.pack(&[0.; 9], 3, 8), Err(LayoutError::TooManySamples { found: 3, slots: 2 }));
    }

    #[test]
    fn samples_that_do_not_fit_are_refused() {
        let layout = Layout::Batch { shape: vec![2] };
        assert_eq!(layout.pack(&[0.; 10], 5, 4), Err(LayoutError::TooManySamples { found: 5, slots: 4 }));
        assert!(matches!(layout.pack(&[0.; 5], 2, 4), Err(LayoutError::SampleSize { expected: 2, found: 5, .. })));
    }
}
