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
//! depth is two. A third and a fourth moment, with the term `m1 m3`, bring it closer, one level deeper. (`m2 - q` is the variance: the maximum of a window lies above its mean by a multiple of its deviation.) A
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

/// A maximum pool in the model.
pub(super) struct MaxPool<'a> {
    pub(super) graph: &'a TensorGraph,
    pub(super) node: &'a Node<Tensors>,
    pub(super) pool: &'a Pool,
    /// What the model as it was gives here.
    pub(super) target: Option<&'a Vec<Tensor>>,
}

/// The new value, the operand that must stay in its range, and what was done.
pub(super) fn replace(
    traced: &mut Traced,
    MaxPool { graph, node, pool, target }: MaxPool<'_>,
    rung: Rung,
    site: &Site,
    margin: f64,
) -> Result<(Value, Value, Replacement), CompileError> {
    let inner = node.operands()[0];
    // The function before the maximum is no site of its own if it is replaced together with it.
    let function = graph.node(inner).op().function().filter(|_| site.function != "max_pool");
    let whole = traced.operands(&[inner])[0];
    let exact = traced.push(pool.clone().into(), &[whole])?;
    let x = if function.is_some() { traced.operands(graph.node(inner).operands())[0] } else { whole };
    let seen = activation::seen(traced, x)?;
    let y = match rung {
        Rung::Moments { order, degree } => {
            // What the model as it was gives here: so the fit makes up for errors of those before.
            let exact = target.cloned().unwrap_or_else(|| traced.values(exact).to_vec());
            moments(traced, pool, x, &exact, Terms { order, degree })?
        }
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
        Rung::Client => exact,
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
        quantiles: activation::quantiles(&seen),
        channels: traced.channels(x),
        bound: None,
        fitted: range,
        error: (mean(squares), mean(size)),
        largest_error: largest,
        escape: None,
        histogram: activation::histogram(&seen),
        curve: Vec::new(),
    };
    Ok((y, x, replacement))
}

/// Which terms a polynomial in the moments has.
#[derive(Clone, Copy)]
struct Terms {
    order: usize,
    degree: usize,
}

impl Terms {
    /// The terms of a window with these means of powers: `1, m1, m2, q`, and for degree 4 `m1 m2, m2^2, m1 q, m2 q, q^2` and, if
    /// there are four moments, `m3, m4, m1 m3`.
    fn of(self, m: [f64; 4], q: f64) -> Vec<f64> {
        let [m1, m2, m3, m4] = m;
        let mut all = vec![1.0, m1, m2, q];
        if self.degree > 2 {
            all.extend([m1 * m2, m2 * m2, m1 * q, m2 * q, q * q]);
        }
        if self.order > 2 {
            all.extend([m3, m4, m1 * m3]);
        }
        all
    }
}

/// The moments of each window, and the polynomial in them that is closest to `exact` channel by channel.
fn moments(traced: &mut Traced, pool: &Pool, x: Value, exact: &[Tensor], terms: Terms) -> Result<Value, CompileError> {
    let mean =
        |traced: &mut Traced, x: Value| traced.push(Pool::average(&pool.kernel, pool.window.clone()).into(), &[x]);
    let square = traced.push(Polynomial::square().into(), &[x])?;
    let (m1, m2) = (mean(traced, x)?, mean(traced, square)?);
    let mut all = vec![m1, m2];
    if terms.order > 2 {
        let cube = traced.push(Binary::Mul.into(), &[x, square])?;
        let fourth = traced.push(Polynomial::square().into(), &[square])?;
        all.extend([mean(traced, cube)?, mean(traced, fourth)?]);
    }
    let q = traced.push(Polynomial::square().into(), &[m1])?;
    let c = coefficients(traced, &all, q, exact, terms)?;
    let column = |k: usize| c.iter().map(|c| c.get(k).copied().unwrap_or(0.0)).collect::<Vec<f64>>();
    if terms.degree == 2 {
        return affine(traced, &[(m1, column(1)), (m2, column(2)), (q, column(3))], column(0));
    }
    let by_m2 = affine(traced, &[(m1, column(4)), (m2, column(5)), (q, column(7))], column(2))?;
    let by_q = affine(traced, &[(m1, column(6)), (q, column(8))], column(3))?;
    let first = traced.push(Binary::Mul.into(), &[by_m2, m2])?;
    let second = traced.push(Binary::Mul.into(), &[by_q, q])?;
    let mut sum = traced.push(Binary::Add.into(), &[first, second])?;
    let mut rest = vec![(m1, column(1))];
    if let [_, _, m3, m4] = all[..] {
        let by_m1 = affine(traced, &[(m3, column(11))], vec![0.0; c.len()])?;
        let third = traced.push(Binary::Mul.into(), &[by_m1, m1])?;
        sum = traced.push(Binary::Add.into(), &[sum, third])?;
        rest.extend([(m3, column(9)), (m4, column(10))]);
    }
    let rest = affine(traced, &rest, column(0))?;
    traced.push(Binary::Add.into(), &[sum, rest])
}

/// The least squares coefficients of each channel.
fn coefficients(
    traced: &Traced,
    moments: &[Value],
    q: Value,
    exact: &[Tensor],
    terms: Terms,
) -> Result<Vec<Vec<f64>>, CompileError> {
    let shape = traced.shape(q);
    let channels = shape.get(1).copied().unwrap_or(1);
    let plane: usize = shape.iter().skip(2).product();
    let size = terms.of([0.0; 4], 0.0).len();
    let mut normal = vec![vec![vec![0.0; size + 1]; size]; channels];
    for (sample, exact) in exact.iter().enumerate() {
        let of = |value: Value| traced.values(value).get(sample).map_or(&[][..], Tensor::values);
        let m: Vec<&[f64]> = moments.iter().map(|&m| of(m)).collect();
        let (q, exact) = (of(q), exact.values());
        if m.iter().any(|m| m.len() != exact.len()) || q.len() != exact.len() || exact.len() != channels * plane {
            return Err(CompileError::internal("moments of another shape"));
        }
        for (channel, normal) in normal.iter_mut().enumerate() {
            for i in channel * plane..(channel + 1) * plane {
                let at = |k: usize| m.get(k).map_or(0.0, |m| m[i]);
                let terms = terms.of([at(0), at(1), at(2), at(3)], q[i]);
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
    let unit = |square: f64| if square > 0.0 { square.sqrt() } else { 1.0 };
    let units: Vec<f64> = (0..size).map(|i| unit(rows[i][i])).collect();
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
            let taken: Vec<f64> = rows[pivot].iter().map(|x| factor * x).collect();
            rows[other].iter_mut().zip(taken).for_each(|(x, taken)| *x -= taken);
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
    let zeros = [0; 2];
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
