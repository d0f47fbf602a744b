//! Maximum pooling without comparisons.
//!
//! *Moments*: the maximum over a window is a symmetric function, and so a function of the window's power sums. With `m1` the
//! mean, `m2` the mean square and `q = m1^2`, the polynomial of least mean square error among
//!
//! ```text
//! c0 + c1 m1 + m2 (c2 + c3 m1 + c4 m2 + c5 q) + q (c6 + c7 m1 + c8 q)
//! ```
//!
//! takes four products of which only the first, the square of every element, is made before the window is summed up; its
//! depth is two. (`m2 - q` is the variance: the maximum of a window lies above its mean by a multiple of its deviation.) A
//! function applied to the elements before, such as ReLU, is taken in. Each channel has coefficients of its own.
//!
//! *Tournament*: `max(a, b) = (a + b)/2 + |a - b|/2` with a polynomial for the absolute value, pair by pair.

use std::sync::Arc;

use hec_ir::graph::{Node, Value};
use hec_ir::tensor::{Binary, Constant, Element, Pad, Polynomial, Pool, Slice, Tensor, TensorGraph, Tensors};

use super::activation::{self, scale};
use super::traced::Traced;
use super::{Replacement, Rung, Site, at};
use crate::error::CompileError;

pub(super) fn replace(
    traced: &mut Traced,
    graph: &TensorGraph,
    node: &Node<Tensors>,
    pool: &Pool,
    rung: Rung,
    site: &Site,
    margin: f64,
) -> Result<(Value, Replacement), CompileError> {
    let inner = node.operands()[0];
    // The function before the maximum is no site of its own if it is replaced together with it.
    let function = graph.node(inner).op().function().filter(|_| site.function != "max_pool");
    let whole = traced.operands(&[inner])[0];
    let exact = traced.push(pool.clone().into(), &[whole])?;
    let x = if function.is_some() { traced.operands(graph.node(inner).operands())[0] } else { whole };
    let seen = activation::seen(traced, x)?;
    let y = match rung {
        Rung::Moments(degree) => moments(traced, pool, x, exact, degree)?,
        Rung::Tournament(degree) => {
            let y = tournament(traced, pool, x, degree, margin)?;
            match &function {
                // Functions that are replaced with a maximum do not fall: they may as well be applied after it.
                Some(function) => {
                    let fitted = activation::seen(traced, y)?;
                    activation::fit(&|x| function.apply(x), activation::slope_of(function), &fitted, degree, margin)?
                        .push(traced, y)?
                }
                None => y,
            }
        }
        Rung::Average | Rung::Degree(_) => {
            traced.push(Pool::average(&pool.kernel, pool.window.clone()).into(), &[whole])?
        }
    };
    let (mut squares, mut size, mut largest, mut count) = (0.0, 0.0, 0f64, 0usize);
    for (y, exact) in traced.values(y).iter().zip(traced.values(exact)) {
        for (&y, &exact) in y.values().iter().zip(exact.values()) {
            squares += (y - exact) * (y - exact);
            size += exact * exact;
            largest = largest.max((y - exact).abs());
            count += 1;
        }
    }
    let mean = |sum: f64| (sum / count.max(1) as f64).sqrt();
    let range = (seen.min().unwrap_or(0.0), seen.max().unwrap_or(0.0));
    let replacement = Replacement {
        origin: site.origin.clone(),
        function: site.function.clone(),
        rung,
        seen: range,
        fitted: range,
        error: (mean(squares), mean(size)),
        largest_error: largest,
        escape: None,
    };
    Ok((y, replacement))
}

/// The moments of each window, and the polynomial in them that is closest to `exact` channel by channel.
fn moments(traced: &mut Traced, pool: &Pool, x: Value, exact: Value, degree: usize) -> Result<Value, CompileError> {
    let average = || Pool::average(&pool.kernel, pool.window.clone());
    let square = traced.push(Polynomial::square().into(), &[x])?;
    let m1 = traced.push(average().into(), &[x])?;
    let m2 = traced.push(average().into(), &[square])?;
    let q = traced.push(Polynomial::square().into(), &[m1])?;
    let c = coefficients(traced, [m1, m2, q], exact, degree)?;
    let column = |k: usize| c.iter().map(|c| c.get(k).copied().unwrap_or(0.0)).collect::<Vec<f64>>();
    if degree == 2 {
        let sum = affine(traced, &[(m1, column(1)), (m2, column(2)), (q, column(3))], column(0))?;
        return Ok(sum);
    }
    let by_m2 = affine(traced, &[(m1, column(4)), (m2, column(5)), (q, column(7))], column(2))?;
    let by_q = affine(traced, &[(m1, column(6)), (q, column(8))], column(3))?;
    let first = traced.push(Binary::Mul.into(), &[by_m2, m2])?;
    let second = traced.push(Binary::Mul.into(), &[by_q, q])?;
    let products = traced.push(Binary::Add.into(), &[first, second])?;
    let rest = affine(traced, &[(m1, column(1))], column(0))?;
    traced.push(Binary::Add.into(), &[products, rest])
}

/// The terms of a window: `1, m1, m2, q` and, for degree 4, `m1 m2, m2^2, m1 q, m2 q, q^2`.
fn terms([m1, m2, q]: [f64; 3], degree: usize) -> Vec<f64> {
    let mut all = vec![1.0, m1, m2, q];
    if degree > 2 {
        all.extend([m1 * m2, m2 * m2, m1 * q, m2 * q, q * q]);
    }
    all
}

/// The least squares coefficients of each channel.
fn coefficients(
    traced: &Traced,
    moments: [Value; 3],
    exact: Value,
    degree: usize,
) -> Result<Vec<Vec<f64>>, CompileError> {
    let shape = traced.shape(exact);
    let channels = shape.get(1).copied().unwrap_or(1);
    let plane: usize = shape.iter().skip(2).product();
    let size = terms([0.0; 3], degree).len();
    let mut normal = vec![vec![vec![0.0; size + 1]; size]; channels];
    for sample in 0..traced.values(exact).len() {
        let [m1, m2, q] = moments.map(|m| traced.values(m)[sample].values());
        let exact = traced.values(exact)[sample].values();
        for (channel, normal) in normal.iter_mut().enumerate() {
            for i in channel * plane..(channel + 1) * plane {
                let terms = terms([m1[i], m2[i], q[i]], degree);
                for (row, a) in normal.iter_mut().zip(&terms) {
                    row.iter_mut().zip(terms.iter().chain([&exact[i]])).for_each(|(sum, b)| *sum += a * b);
                }
            }
        }
    }
    Ok(normal.into_iter().map(solve).collect())
}

/// Part of every diagonal element that is added to it: coefficients that the samples do not tell stay small.
const RIDGE: f64 = 1e-7;

/// Normal equations by Gaussian elimination, each variable in units of its own size.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let size = rows.len();
    let units: Vec<f64> = (0..size).map(|i| rows[i][i].sqrt().max(f64::MIN_POSITIVE)).collect();
    for i in 0..size {
        for j in 0..size {
            rows[i][j] /= units[i] * units[j];
        }
        rows[i][size] /= units[i];
        rows[i][i] += RIDGE;
    }
    for pivot in 0..size {
        let best = (pivot..size).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()));
        rows.swap(pivot, best.unwrap_or(pivot));
        if rows[pivot][pivot] == 0.0 {
            continue;
        }
        for other in (0..size).filter(|&other| other != pivot) {
            let factor = rows[other][pivot] / rows[pivot][pivot];
            for k in pivot..=size {
                let taken = factor * rows[pivot][k];
                rows[other][k] -= taken;
            }
        }
    }
    let value = |i: usize| if rows[i][i] == 0.0 { 0.0 } else { rows[i][size] / rows[i][i] / units[i] };
    (0..size).map(value).collect()
}

/// `sum of c_k x_k + c_0`, with a number for each channel.
fn affine(traced: &mut Traced, terms: &[(Value, Vec<f64>)], bias: Vec<f64>) -> Result<Value, CompileError> {
    let mut sum: Option<Value> = None;
    for (i, (x, factors)) in terms.iter().enumerate() {
        let factors = channels(traced, *x, factors.clone())?;
        let mut term = traced.push(Binary::Mul.into(), &[*x, factors])?;
        if i == 0 {
            let bias = channels(traced, *x, bias.clone())?;
            term = traced.push(Binary::Add.into(), &[term, bias])?;
        }
        sum = Some(match sum {
            Some(sum) => traced.push(Binary::Add.into(), &[sum, term])?,
            None => term,
        });
    }
    sum.ok_or_else(|| CompileError::internal("a sum without terms"))
}

/// Numbers along the channels of `like`.
fn channels(traced: &mut Traced, like: Value, numbers: Vec<f64>) -> Result<Value, CompileError> {
    let mut shape = vec![1; traced.shape(like).len()];
    if let Some(channels) = shape.get_mut(1) {
        *channels = numbers.len();
    }
    let tensor = Tensor::from_values(Element::F32, &shape, numbers).map_err(|cause| at("", cause))?;
    traced.push(Constant(Arc::new(tensor)).into(), &[])
}

/// The maximum of each window, pair by pair.
fn tournament(traced: &mut Traced, pool: &Pool, x: Value, degree: usize, margin: f64) -> Result<Value, CompileError> {
    let low = activation::seen(traced, x)?.min().unwrap_or(0.0);
    let window = &pool.window;
    let shape = traced.shape(x);
    let zeros = vec![0; 2];
    let pad = |pads: &[usize]| zeros.iter().chain(pads).copied().collect::<Vec<usize>>();
    let padded = Pad { begin: pad(&window.pads_begin), end: pad(&window.pads_end), value: low };
    let padded = traced.push(padded.into(), &[x])?;
    let axes = pool.kernel.len();
    let spatial: Vec<usize> = (0..axes)
        .map(|axis| {
            let size = shape[2 + axis] + window.pads_begin[axis] + window.pads_end[axis];
            (size - (pool.kernel[axis] - 1) * window.dilations[axis] - 1) / window.strides[axis] + 1
        })
        .collect();
    let mut players = Vec::new();
    for tap in ndarray::indices(ndarray::IxDyn(&pool.kernel)) {
        let starts = [0, 0].into_iter().chain((0..axes).map(|axis| tap[axis] * window.dilations[axis])).collect();
        let steps = [1, 1].into_iter().chain(window.strides.iter().map(|&stride| stride as i64)).collect();
        let sizes = shape[..2].iter().copied().chain(spatial.iter().copied()).collect();
        players.push(traced.push(Slice { starts, steps, sizes }.into(), &[padded])?);
    }
    while players.len() > 1 {
        let mut next = Vec::new();
        for pair in players.chunks(2) {
            next.push(match *pair {
                [a, b] => larger(traced, a, b, degree, margin)?,
                _ => pair[0],
            });
        }
        players = next;
    }
    players.first().copied().ok_or_else(|| CompileError::internal("a window without elements"))
}

fn larger(traced: &mut Traced, a: Value, b: Value, degree: usize, margin: f64) -> Result<Value, CompileError> {
    let difference = traced.push(Binary::Sub.into(), &[a, b])?;
    let seen = activation::seen(traced, difference)?;
    let half = activation::fit(&|x| x.abs() / 2.0, Some(0.0), &seen, degree, margin)?.push(traced, difference)?;
    let sum = traced.push(Binary::Add.into(), &[a, b])?;
    let mean = scale(traced, sum, 0.5, 0.0)?;
    traced.push(Binary::Add.into(), &[mean, half])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_equations_are_solved() {
        // 2 a + b = 5, a + 3 b = 10.
        let x = solve(vec![vec![2.0, 1.0, 5.0], vec![1.0, 3.0, 10.0]]);
        assert!((x[0] - 1.0).abs() < 1e-5 && (x[1] - 3.0).abs() < 1e-5, "{x:?}");
        // A variable that never occurs stays 0.
        let x = solve(vec![vec![4.0, 0.0, 8.0], vec![0.0, 0.0, 0.0]]);
        assert!((x[0] - 2.0).abs() < 1e-5 && x[1] == 0.0, "{x:?}");
    }
}
