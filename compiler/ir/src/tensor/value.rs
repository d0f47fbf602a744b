use std::fmt;

use ndarray::{ArrayD, IxDyn};

use crate::graph::TypeError;

/// The type of a tensor's elements. Values are held in f64 whatever the element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// 32-bit floating point; 16-bit is widened to it.
    F32,
    /// 64-bit floating point.
    F64,
    /// Integers of any width, exact up to 2^53.
    I64,
    /// Truth values, 0 or 1.
    Bool,
}

impl Element {
    const NAMES: [(Self, &'static str); 4] =
        [(Self::F32, "f32"), (Self::F64, "f64"), (Self::I64, "i64"), (Self::Bool, "bool")];

    /// `f32`, `f64`, `i64` or `bool`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(element, _)| *element == self).map_or("", |(_, name)| name)
    }

    /// The inverse of [`Element::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, found)| *found == name).map(|(element, _)| *element)
    }

    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

/// Element type and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorType {
    /// The type of the elements.
    pub element: Element,
    /// The sizes of the axes, outermost first.
    pub shape: Vec<usize>,
}

/// No tensor may have more elements than this: hostile shapes must not allocate.
pub const MAX_ELEMENTS: usize = 1 << 31;

impl TensorType {
    /// From its parts.
    pub fn new(element: Element, shape: impl Into<Vec<usize>>) -> Self {
        Self { element, shape: shape.into() }
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The number of places along an axis.
    ///
    /// # Errors
    /// If there is no such axis.
    pub(super) fn size(&self, axis: usize) -> Result<usize, TypeError> {
        let missing = || TypeError::new(format!("shape {:?} has no axis {axis}", self.shape));
        self.shape.get(axis).copied().ok_or_else(missing)
    }

    /// The same, if the shape's product is at most 2^31 elements.
    ///
    /// # Errors
    /// The shape, if it is larger.
    pub fn bounded(self) -> Result<Self, TypeError> {
        let elements = self.shape.iter().try_fold(1usize, |product, &axis| product.checked_mul(axis));
        match elements {
            Some(elements) if elements <= MAX_ELEMENTS => Ok(self),
            _too_large => Err(TypeError::new(format!("a tensor of shape {:?} is too large", self.shape))),
        }
    }
}

/// `f32[1, 5, 13, 13]`.
impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.element.name(), self.shape)
    }
}

/// A tensor value.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    element: Element,
    array: ArrayD<f64>,
}

impl Tensor {
    /// From an array, in any memory order (kept row-major).
    pub fn new(element: Element, array: ArrayD<f64>) -> Self {
        let array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() };
        Self { element, array }
    }

    /// From row-major values.
    ///
    /// # Errors
    /// If there are not as many values as the shape says.
    pub fn from_values(element: Element, shape: &[usize], values: Vec<f64>) -> Result<Self, TypeError> {
        let found = values.len();
        let array = ArrayD::from_shape_vec(IxDyn(shape), values);
        let array = array.map_err(|_| TypeError::new(format!("shape {shape:?} does not hold {found} values")))?;
        Ok(Self { element, array })
    }

    /// A scalar (no axes).
    pub fn scalar(element: Element, value: f64) -> Self {
        Self { element, array: ArrayD::from_elem(IxDyn(&[]), value) }
    }

    /// The type of the elements.
    pub fn element(&self) -> Element {
        self.element
    }

    /// The sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        self.array.shape()
    }

    /// Element type and shape.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.element, self.shape())
    }

    /// The values, row-major (standard layout).
    pub fn array(&self) -> &ArrayD<f64> {
        &self.array
    }

    /// The values in row-major order.
    pub fn values(&self) -> &[f64] {
        self.array.as_slice().unwrap_or(&[])
    }

    /// The array, row-major (standard layout).
    pub fn into_array(self) -> ArrayD<f64> {
        self.array
    }
}

/// The shape that two shapes broadcast to (numpy's rules, as ONNX uses them).
///
/// # Errors
/// Both shapes, if they do not broadcast.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Result<Vec<usize>, TypeError> {
    let rank = a.len().max(b.len());
    let axis = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    (0..rank)
        .map(|i| match (axis(a, i), axis(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            (_, _) => Err(TypeError::new(format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect()
}
