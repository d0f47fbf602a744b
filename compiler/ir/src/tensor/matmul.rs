use ndarray::{ArrayD, Axis, Ix2, IxDyn};

use super::{Operation, Tensor, TensorType, broadcast_shape, expect_operands};
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;

/// Matrix product with numpy's broadcasting of leading axes (ONNX `MatMul`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatMul;

impl Operation for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, operands: &[&TensorType]) -> Result<TensorType, TypeError> {
        let [a, b] = expect_operands(operands)?;
        let mismatch = || TypeError::new(format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape));
        let (left, right) = (as_matrices(&a.shape, true), as_matrices(&b.shape, false));
        let ([lead_a @ .., rows, inner], [lead_b @ .., depth, cols]) = (&left[..], &right[..]) else {
            return Err(mismatch());
        };
        if inner != depth {
            return Err(mismatch());
        }
        let mut shape = broadcast_shape(lead_a, lead_b).map_err(|_| mismatch())?;
        if a.shape.len() > 1 {
            shape.push(*rows);
        }
        if b.shape.len() > 1 {
            shape.push(*cols);
        }
        TensorType::new(a.element, shape).bounded()
    }

    fn evaluate(&self, operands: &[&Tensor]) -> Result<Tensor, TypeError> {
        let [a, b] = expect_operands(operands)?;
        let ty = self.infer(&[&a.ty(), &b.ty()])?;
        let fail = |e: ndarray::ShapeError| TypeError::new(e.to_string());
        let (left, right) = (as_matrices(a.shape(), true), as_matrices(b.shape(), false));
        let lead = broadcast_shape(&left[..left.len() - 2], &right[..right.len() - 2])?;
        let stack = |t: &Tensor, shape: &[usize]| -> Result<ArrayD<f64>, TypeError> {
            let full: Vec<usize> = lead.iter().chain(&shape[shape.len() - 2..]).copied().collect();
            let matrices = t.array().to_shape(shape).map_err(fail)?;
            let spread = matrices.broadcast(IxDyn(&full)).map(|view| view.to_owned());
            let spread = spread.ok_or_else(|| TypeError::new("leading axes do not broadcast"))?;
            let flat = [&[lead.iter().product()], &shape[shape.len() - 2..]].concat();
            spread.into_shape_with_order(IxDyn(&flat)).map_err(fail)
        };
        let (xs, ys) = (stack(a, &left)?, stack(b, &right)?);
        let mut values = Vec::with_capacity(ty.elements());
        for (x, y) in xs.axis_iter(Axis(0)).zip(ys.axis_iter(Axis(0))) {
            let (x, y) = (x.into_dimensionality::<Ix2>().map_err(fail)?, y.into_dimensionality::<Ix2>().map_err(fail)?);
            values.extend(x.dot(&y).iter());
        }
        Tensor::from_values(ty.element, &ty.shape, values)
    }

    fn attributes(&self) -> Attributes {
        Attributes::new()
    }

    fn rebuild(name: &str, _attributes: &mut Attributes) -> Option<Result<Self, AttributeError>> {
        (name == "matmul").then_some(Ok(Self))
    }
}

/// A vector is a row on the left and a column on the right.
fn as_matrices(shape: &[usize], left: bool) -> Vec<usize> {
    match shape {
        [n] if left => vec![1, *n],
        [n] => vec![*n, 1],
        other => other.to_vec(),
    }
}
