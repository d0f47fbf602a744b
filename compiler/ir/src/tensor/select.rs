use std::sync::Arc;

use ndarray::{Axis, IxDyn, Zip};

use super::{Effort, Element, Operation, Tensor, TensorType, broadcast_shape, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// A regular part of a tensor: on each axis, `sizes` elements from `starts` on, `steps` apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The first element, an axis each.
    pub starts: Vec<usize>,
    /// The distance to the next element; negative walks backwards, never 0.
    pub steps: Vec<i64>,
    /// The number of elements, which is the shape of the result.
    pub sizes: Vec<usize>,
}

impl Slice {
    /// A contiguous part.
    pub fn contiguous(starts: &[usize], sizes: &[usize]) -> Self {
        Self { starts: starts.to_vec(), steps: vec![1; starts.len()], sizes: sizes.to_vec() }
    }
}

impl Operation for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        let rank = x.shape.len();
        let fits = |axis: usize| {
            let (size, step) = (self.sizes[axis] as i128, i128::from(self.steps[axis]));
            let (first, last) = (self.starts[axis] as i128, self.starts[axis] as i128 + (size - 1) * step);
            let inside = |at: i128| (0..x.shape[axis] as i128).contains(&at);
            step != 0 && (size == 0 || (inside(first) && inside(last)))
        };
        let ranks = [self.starts.len(), self.steps.len(), self.sizes.len()];
        if ranks != [rank; 3] || !(0..rank).all(fits) {
            return Err(TypeError::new(format!(
                "starts {:?}, steps {:?}, sizes {:?} are no part of shape {:?}",
                self.starts, self.steps, self.sizes, x.shape
            )));
        }
        TensorType::new(x.element, self.sizes.clone()).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        self.infer(&[&x.ty()])?;
        let mut array = x.array().view();
        for (axis, &size) in self.sizes.iter().enumerate() {
            let start = self.starts[axis] as isize;
            let walk = match size {
                0 => ndarray::Slice::new(0, Some(0), 1),
                1 => ndarray::Slice::new(start, Some(start + 1), 1),
                _several => {
                    // A range is half open and is walked from its end when the step is negative.
                    let step = self.steps[axis] as isize;
                    let last = start + (size as isize - 1) * step;
                    ndarray::Slice::new(start.min(last), Some(start.max(last) + 1), step)
                }
            };
            array.slice_axis_inplace(Axis(axis), walk);
        }
        Ok(Tensor::new(x.element(), array.to_owned()))
    }

    fn effort(&self) -> Effort {
        Effort::Moves
    }

    fn attributes(&self) -> Attributes {
        Attributes::new()
            .with_sizes("starts", &self.starts)
            .with_ints("steps", self.steps.clone())
            .with_sizes("sizes", &self.sizes)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            Ok(Self {
                starts: attributes.sizes("starts")?,
                steps: attributes.ints("steps")?,
                sizes: attributes.sizes("sizes")?,
            })
        };
        (name == "slice").then(&mut read)
    }
}

/// Elements of one axis by known indices; the axis is replaced by the shape of the indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    /// The axis.
    pub axis: usize,
    /// The indices, row-major.
    pub indices: Arc<[u32]>,
    /// Their shape; none for a single index, which removes the axis.
    pub shape: Vec<usize>,
}

impl Operation for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [x] = expect_operands(operands)?;
        let size = x.size(self.axis)?;
        if let Some(index) = self.indices.iter().find(|&&index| index as usize >= size) {
            return Err(TypeError::new(format!("index {index} is out of range: axis {} has size {size}", self.axis)));
        }
        let indices = TensorType::new(Element::I64, self.shape.clone()).bounded()?;
        if indices.elements() != self.indices.len() {
            let found = self.indices.len();
            return Err(TypeError::new(format!("{found} indices do not fill shape {:?}", self.shape)));
        }
        let shape = [&x.shape[..self.axis], &self.shape, &x.shape[self.axis + 1..]].concat();
        TensorType::new(x.element, shape).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [x] = expect_operands(operands)?;
        let ty = self.infer(&[&x.ty()])?;
        let indices: Vec<usize> = self.indices.iter().map(|&index| index as usize).collect();
        let picked = x.array().select(Axis(self.axis), &indices);
        Tensor::from_values(ty.element, &ty.shape, picked.iter().copied().collect())
    }

    fn effort(&self) -> Effort {
        Effort::Moves
    }

    fn attributes(&self) -> Attributes {
        Attributes::new()
            .with_int("axis", self.axis as i64)
            .with_indices("indices", self.indices.clone())
            .with_sizes("shape", &self.shape)
    }

    fn rebuild(name: &str, attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        let mut read = || {
            Ok(Self {
                axis: attributes.size("axis")?,
                indices: attributes.indices("indices")?,
                shape: attributes.sizes("shape")?,
            })
        };
        (name == "gather").then(&mut read)
    }
}

/// Where the first operand is not 0, the second, else the third; all three broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Where;

impl Operation for Where {
    fn name(&self) -> &'static str {
        "where"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [condition, a, b] = expect_operands(operands)?;
        if condition.element != Element::Bool || a.element != b.element {
            return Err(TypeError::new(format!("cannot choose by {condition} between {a} and {b}")));
        }
        let shape = broadcast_shape(&condition.shape, &broadcast_shape(&a.shape, &b.shape)?)?;
        TensorType::new(a.element, shape).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [condition, a, b] = expect_operands(operands)?;
        let ty = self.infer(&[&condition.ty(), &a.ty(), &b.ty()])?;
        let spread = |t: &Tensor| {
            let view = t.array().broadcast(IxDyn(&ty.shape)).map(|view| view.to_owned());
            view.ok_or_else(|| TypeError::new("operands do not broadcast"))
        };
        let (condition, mut out, b) = (spread(condition)?, spread(a)?, spread(b)?);
        Zip::from(&mut out).and(&condition).and(&b).for_each(|out, &chosen, &b| {
            if chosen == 0.0 {
                *out = b;
            }
        });
        Ok(Tensor::new(ty.element, out))
    }

    fn effort(&self) -> Effort {
        Effort::Linear
    }

    fn attributes(&self) -> Attributes {
        Attributes::new()
    }

    fn rebuild(name: &str, _attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "where").then_some(Ok(Self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(shape: &[usize]) -> Tensor {
        let values = (0..shape.iter().product()).map(|i: usize| i as f64).collect();
        Tensor::from_values(Element::F32, shape, values).unwrap()
    }

    #[test]
    fn slices_walk_either_way() {
        let slice = Slice { starts: vec![1, 4], steps: vec![1, -2], sizes: vec![1, 3] };
        assert_eq!(slice.evaluate(&[&count(&[2, 5])]).unwrap().values(), [9.0, 7.0, 5.0]);
        let slice = Slice { starts: vec![0, 4], steps: vec![2, -3], sizes: vec![2, 2] };
        assert_eq!(slice.evaluate(&[&count(&[3, 5])]).unwrap().values(), [4.0, 1.0, 14.0, 11.0]);
        let slice = Slice { starts: vec![0, 1], steps: vec![1, 3], sizes: vec![1, 2] };
        assert_eq!(slice.evaluate(&[&count(&[2, 6])]).unwrap().values(), [1.0, 4.0]);
        let slice = Slice { starts: vec![0, 1], steps: vec![i64::MIN, i64::MAX], sizes: vec![1, 1] };
        assert_eq!(slice.evaluate(&[&count(&[2, 6])]).unwrap().values(), [1.0]);
        let empty = Slice::contiguous(&[2, 5], &[0, 0]).evaluate(&[&count(&[2, 5])]).unwrap();
        assert_eq!(empty.shape(), [0, 0]);
    }

    #[test]
    fn slices_stay_inside() {
        let ty = count(&[5]).ty();
        let infer =
            |start, step, size| Slice { starts: vec![start], steps: vec![step], sizes: vec![size] }.infer(&[&ty]);
        assert!(infer(3, 1, 2).is_ok() && infer(4, -4, 2).is_ok());
        assert!(infer(3, 1, 3).is_err() && infer(4, -5, 2).is_err() && infer(0, 0, 1).is_err());
        assert!(infer(usize::MAX, i64::MAX, usize::MAX).is_err());
        assert!(Slice::contiguous(&[0, 0], &[1, 1]).infer(&[&ty]).is_err());
    }

    #[test]
    fn gather_replaces_the_axis() {
        let x = count(&[2, 3]);
        let gather =
            |indices: &[u32], shape: &[usize]| Gather { axis: 1, indices: indices.into(), shape: shape.into() };
        let out = gather(&[2, 0, 1, 1], &[2, 2]).evaluate(&[&x]).unwrap();
        assert_eq!((out.shape(), out.values()), (&[2, 2, 2][..], &[2.0, 0.0, 1.0, 1.0, 5.0, 3.0, 4.0, 4.0][..]));
        assert_eq!(gather(&[1], &[]).evaluate(&[&x]).unwrap().shape(), [2]);
        assert!(gather(&[3], &[]).infer(&[&x.ty()]).is_err());
        assert!(gather(&[1], &[2]).infer(&[&x.ty()]).is_err());
        assert!(Gather { axis: 2, indices: [0].into(), shape: vec![] }.infer(&[&x.ty()]).is_err());
    }

    #[test]
    fn where_broadcasts_all_three() {
        let condition = Tensor::from_values(Element::Bool, &[2, 1], vec![1.0, 0.0]).unwrap();
        let out = Where.evaluate(&[&condition, &count(&[3]), &Tensor::scalar(Element::F32, -1.0)]).unwrap();
        assert_eq!((out.shape(), out.values()), (&[2, 3][..], &[0.0, 1.0, 2.0, -1.0, -1.0, -1.0][..]));
        let float = TensorType::new(Element::F32, []);
        assert!(Where.infer(&[&float, &float, &float]).is_err());
    }
}
