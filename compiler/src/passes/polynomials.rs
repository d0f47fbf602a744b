//! Elementwise polynomials: recognising them, and spending one product on a quadratic.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::graph::{Builder, GraphError, Value};
use hec_ir::tensor::{Binary, Constant, Element, Op, Polynomial, Tensor, TensorGraph, TensorType, Tensors, Unary};

/// Polynomials above this degree are left as products.
const MAX_DEGREE: usize = 32;

/// A value as a polynomial of another.
#[derive(Clone)]
struct Recognised {
    base: Value,
    coefficients: Vec<f64>,
}

/// Turns sums, products and integer powers of one value, with scalar constants, into [`Polynomial`]s.
pub(super) fn recognise(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    let mut known: BTreeMap<Value, Recognised> = BTreeMap::new();
    graph.translate((), |builder, _, node, operands| {
        let found = match (node.op(), operands) {
            (Op::Binary(binary), [a, b]) => combined(builder, &known, *binary, *a, *b),
            (Op::Unary(Unary::Neg), [x]) => known.get(x).map(|p| scaled(p, -1.0)),
            (Op::Polynomial(p), [x]) => Some(Recognised { base: *x, coefficients: p.coefficients.to_vec() }),
            (_, _) => None,
        };
        let found =
            found.filter(|p| p.coefficients.len() <= MAX_DEGREE + 1 && same_shape(builder, p.base, node.ty().known()));
        match found {
            Some(p) if p.coefficients.len() > 2 => {
                let op = Polynomial { coefficients: p.coefficients.clone().into() };
                let value = builder.push(op.into(), &[p.base])?;
                known.insert(value, p);
                Ok(value)
            }
            other => {
                let value = builder.push(node.op().clone(), operands)?;
                if let Some(linear) = other {
                    known.insert(value, linear);
                }
                Ok(value)
            }
        }
    })
}

fn same_shape(builder: &Builder<Tensors>, base: Value, ty: Option<&TensorType>) -> bool {
    ty.is_some_and(|ty| builder.ty(base).known().is_some_and(|base| base.shape == ty.shape))
}

/// The number that a constant consists of.
pub(super) fn scalar(builder: &Builder<Tensors>, value: Value) -> Option<f64> {
    let Op::Constant(constant) = builder.node(value).op() else { return None };
    let values = constant.0.values();
    values.first().copied().filter(|first| values.iter().all(|v| v == first))
}

fn is_constant(builder: &Builder<Tensors>, value: Value) -> bool {
    matches!(builder.node(value).op(), Op::Constant(_))
}

fn combined(
    builder: &Builder<Tensors>,
    known: &BTreeMap<Value, Recognised>,
    binary: Binary,
    a: Value,
    b: Value,
) -> Option<Recognised> {
    let itself = |base: Value| Recognised { base, coefficients: vec![0.0, 1.0] };
    let polynomial = |value: Value| known.get(&value).cloned().unwrap_or_else(|| itself(value));
    match (binary, scalar(builder, a), scalar(builder, b)) {
        (_, Some(_), Some(_)) => None,
        (Binary::Add, None, Some(c)) => Some(shifted(&polynomial(a), c)),
        (Binary::Add, Some(c), None) => Some(shifted(&polynomial(b), c)),
        (Binary::Sub, None, Some(c)) => Some(shifted(&polynomial(a), -c)),
        (Binary::Sub, Some(c), None) => Some(shifted(&scaled(&polynomial(b), -1.0), c)),
        (Binary::Mul, None, Some(c)) => Some(scaled(&polynomial(a), c)),
        (Binary::Mul, Some(c), None) => Some(scaled(&polynomial(b), c)),
        (Binary::Div, None, Some(c)) if c != 0.0 => Some(scaled(&polynomial(a), c.recip())),
        (Binary::Pow, None, Some(k)) if (1.0..=MAX_DEGREE as f64).contains(&k) && k.fract() == 0.0 => {
            // A power of the value itself: a linear map before it stays where it can be folded.
            let mut coefficients = vec![0.0; k as usize + 1];
            coefficients[k as usize] = 1.0;
            Some(Recognised { base: a, coefficients })
        }
        (Binary::Mul, None, None) if a == b => Some(Recognised { base: a, coefficients: vec![0.0, 0.0, 1.0] }),
        (Binary::Add | Binary::Sub | Binary::Mul, None, None) => {
            let (p, q) = (polynomial(a), polynomial(b));
            if p.base != q.base || is_constant(builder, a) || is_constant(builder, b) {
                return None;
            }
            let coefficients = if binary == Binary::Mul {
                product(&p.coefficients, &q.coefficients)
            } else {
                let sign = if binary == Binary::Sub { -1.0 } else { 1.0 };
                sum(&p.coefficients, &scaled(&q, sign).coefficients)
            };
            Some(Recognised { base: p.base, coefficients: trimmed(coefficients) })
        }
        (_, _, _) => None,
    }
}

fn trimmed(mut coefficients: Vec<f64>) -> Vec<f64> {
    while coefficients.len() > 1 && coefficients.last() == Some(&0.0) {
        coefficients.pop();
    }
    coefficients
}

fn scaled(p: &Recognised, factor: f64) -> Recognised {
    let coefficients = trimmed(p.coefficients.iter().map(|c| c * factor).collect());
    Recognised { base: p.base, coefficients }
}

fn shifted(p: &Recognised, by: f64) -> Recognised {
    let mut coefficients = p.coefficients.clone();
    coefficients[0] += by;
    Recognised { base: p.base, coefficients }
}

fn sum(p: &[f64], q: &[f64]) -> Vec<f64> {
    let at = |c: &[f64], k: usize| c.get(k).copied().unwrap_or(0.0);
    (0..p.len().max(q.len())).map(|k| at(p, k) + at(q, k)).collect()
}

fn product(p: &[f64], q: &[f64]) -> Vec<f64> {
    let mut result = vec![0.0; p.len() + q.len() - 1];
    for (i, a) in p.iter().enumerate() {
        q.iter().enumerate().for_each(|(j, b)| result[i + j] += a * b);
    }
    result
}

/// Writes `a x^2 + b x + c` as `a (x + b/2a)^2 + (c - b^2/4a)`: one product, and shifts and scales that the neighbouring linear
/// maps take in.
pub(super) fn complete_squares(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    graph.translate((), |builder, _, node, operands| {
        let (Op::Polynomial(p), [x]) = (node.op(), operands) else {
            return builder.push(node.op().clone(), operands);
        };
        let [c, b, a] = *p.coefficients else {
            return builder.push(node.op().clone(), operands);
        };
        let shifted = with_scalar(builder, *x, Binary::Add, b / (2.0 * a))?;
        let squared = builder.push(Polynomial::square().into(), &[shifted])?;
        let scaled = with_scalar(builder, squared, Binary::Mul, a)?;
        with_scalar(builder, scaled, Binary::Add, c - b * b / (4.0 * a))
    })
}

/// `x + by` or `x * by`; `x` itself where that changes nothing.
fn with_scalar(builder: &mut Builder<Tensors>, x: Value, binary: Binary, by: f64) -> Result<Value, GraphError> {
    let neutral = if binary == Binary::Mul { 1.0 } else { 0.0 };
    if by == neutral {
        return Ok(x);
    }
    let element = builder.ty(x).known().map_or(Element::F32, |ty| ty.element);
    let by = builder.push(Constant(Arc::new(Tensor::scalar(element, by))).into(), &[])?;
    builder.push(binary.into(), &[x, by])
}
