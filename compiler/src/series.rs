//! Chebyshev series on slot vectors: few products, and the least depth.
//!
//! Only `T_1, T_2, T_4, ..` are made, by `T_2k = 2 T_k^2 - 1`, and the products of the first few of them. With
//! `T_(m+j) = 2 T_m T_j - T_(m-j)` a series of degree below `2m` is `q T_m + r` with `q` and `r` of degree below `m`
//! (Paterson and Stockmeyer 1973, in the Chebyshev basis as in Chen, Chillotti and Song, eprint 2018/1043, section 3). Weights
//! and constants of a sum go into one [`WeightedSum`], whose scales management brings together.

use std::collections::BTreeMap;

use hec_ir::graph::{Builder, Value};
use hec_ir::slots::{Op, Slots, WeightedSum};

use crate::error::CompileError;

/// Coefficients smaller than this share of the largest are left out.
const NEGLIGIBLE: f64 = 1e-13;

/// `sum_k coefficients[k] * T_k(x)`.
pub(crate) fn push(builder: &mut Builder<Slots>, x: Value, coefficients: &[f64]) -> Result<Value, CompileError> {
    let degree = coefficients.len().saturating_sub(1);
    let largest = coefficients.iter().fold(0f64, |largest, c| largest.max(c.abs()));
    let kept: Vec<f64> = coefficients.iter().map(|&c| if c.abs() > NEGLIGIBLE * largest { c } else { 0.0 }).collect();
    // Leaves of degree below 2^baby: with more, leaves share more products, with less, there are fewer of them to share.
    let bits = usize::BITS - degree.leading_zeros();
    let mut series = Series { builder, baby: bits.div_ceil(2), made: BTreeMap::from([(1, x)]) };
    let sum = series.sum(&kept)?;
    series.value(sum)
}

/// A weighted sum that is not made yet.
#[derive(Default)]
struct Sum {
    terms: Vec<(Value, f64)>,
    bias: f64,
}

struct Series<'a> {
    builder: &'a mut Builder<Slots>,
    baby: u32,
    /// The product of `T_(2^i)` over the bits `i` of the key.
    made: BTreeMap<usize, Value>,
}

impl Series<'_> {
    fn push(&mut self, op: Op, operands: &[Value]) -> Result<Value, CompileError> {
        Ok(self.builder.push(op, operands)?)
    }

    fn sum(&mut self, c: &[f64]) -> Result<Sum, CompileError> {
        let Some(degree) = c.iter().rposition(|&c| c != 0.0) else { return Ok(Sum::default()) };
        if degree == 0 {
            return Ok(Sum { terms: Vec::new(), bias: c[0] });
        }
        let top = degree.ilog2();
        if top < self.baby {
            return self.leaf(&c[..=degree]);
        }
        let (q, r) = split(&c[..=degree], 1 << top);
        let power = self.product(1 << top)?;
        let (q, mut sum) = (self.sum(&q)?, self.sum(&r)?);
        if q.terms.is_empty() {
            sum.terms.push((power, q.bias));
        } else {
            let q = self.value(q)?;
            let product = self.push(Op::Multiply, &[q, power])?;
            sum.terms.push((product, 1.0));
        }
        Ok(sum)
    }

    /// Of low degree: a sum of products that all leaves share.
    fn leaf(&mut self, c: &[f64]) -> Result<Sum, CompileError> {
        let mut products = vec![0.0; c.len().next_power_of_two()];
        to_products(c, &mut products);
        let mut sum = Sum { terms: Vec::new(), bias: products[0] };
        for (k, &weight) in products.iter().enumerate().skip(1).filter(|(_, weight)| **weight != 0.0) {
            let product = self.product(k)?;
            sum.terms.push((product, weight));
        }
        Ok(sum)
    }

    fn product(&mut self, key: usize) -> Result<Value, CompileError> {
        if let Some(&value) = self.made.get(&key) {
            return Ok(value);
        }
        let value = if key.is_power_of_two() {
            let half = self.product(key / 2)?;
            let square = self.push(Op::Square, &[half])?;
            self.value(Sum { terms: vec![(square, 2.0)], bias: -1.0 })?
        } else {
            let high = 1 << key.ilog2();
            let (high, low) = (self.product(high)?, self.product(key - high)?);
            self.push(Op::Multiply, &[high, low])?
        };
        self.made.insert(key, value);
        Ok(value)
    }

    fn value(&mut self, sum: Sum) -> Result<Value, CompileError> {
        match sum.terms[..] {
            [] => Err(CompileError::internal("a series without a variable")),
            [(value, 1.0)] if sum.bias == 0.0 => Ok(value),
            _ => {
                let (operands, weights): (Vec<Value>, Vec<f64>) = sum.terms.into_iter().unzip();
                self.push(Op::WeightedSum(WeightedSum { weights: weights.into(), bias: sum.bias }), &operands)
            }
        }
    }
}

/// `q` and `r` of `c = q T_m + r`, where `c` has degree at least `m` and below `2m`.
fn split(c: &[f64], m: usize) -> (Vec<f64>, Vec<f64>) {
    let mut r = c[..m].to_vec();
    let mut q = vec![c[m]];
    for (j, &above) in c.iter().enumerate().skip(m + 1).map(|(k, c)| (k - m, c)) {
        q.push(2.0 * above);
        r[m - j] -= above;
    }
    (q, r)
}

/// The same polynomial in products of `T_(2^i)`, in the order of their keys.
fn to_products(c: &[f64], products: &mut [f64]) {
    match c.len() {
        0 => {}
        1 => products[0] += c[0],
        _ => {
            let m = 1 << (c.len() - 1).ilog2();
            let (q, r) = split(c, m);
            let (low, high) = products.split_at_mut(m);
            to_products(&r, low);
            to_products(&q, high);
        }
    }
}

#[cfg(test)]
mod tests {
    use hec_ir::slots::{Input, Layout};
    use hec_ir::tensor::Chebyshev;

    use super::*;
    use crate::ranges::evaluate;

    fn lowered(coefficients: &[f64]) -> hec_ir::slots::SlotGraph {
        let mut builder = Builder::new(());
        let layout = Layout::Batch { shape: vec![1, 3] };
        let x = builder.push(Op::Input(Input { name: "x".into(), layout, public: false }), &[]).unwrap();
        let y = push(&mut builder, x, coefficients).unwrap();
        builder.output("y", y);
        builder.finish().without_dead_nodes()
    }

    #[test]
    fn every_degree_keeps_its_meaning() {
        for degree in 1..=63 {
            let c: Vec<f64> = (0..=degree).map(|k| ((k * 37 % 19) as f64 - 9.0) / (1.0 + k as f64)).collect();
            let c: Vec<f64> = if c[degree] == 0.0 { c.iter().map(|c| c + 0.5).collect() } else { c };
            let graph = lowered(&c);
            let x = [-1.0, 0.31, 0.9];
            let values = evaluate(&graph, |_, _| x.to_vec());
            let found = &values[graph.outputs()[0].value.index()];
            let series = Chebyshev { coefficients: c.into() };
            for (x, y) in x.iter().zip(found) {
                assert!((series.apply(*x) - y).abs() < 1e-12, "degree {degree} at {x}");
            }
        }
    }

    fn products(coefficients: &[f64]) -> usize {
        lowered(coefficients).nodes().filter(|(_, node)| matches!(node.op(), Op::Multiply | Op::Square)).count()
    }

    #[test]
    fn number_of_products() {
        let dense: Vec<usize> = [2, 3, 4, 7, 8, 15, 16, 31].map(|d| products(&vec![1.0; d + 1])).to_vec();
        assert_eq!(dense, [1, 2, 3, 4, 5, 6, 8, 9]);
        let even = |d: usize| (0..=d).map(|k| if k % 2 == 0 { 1.0 } else { 0.0 }).collect::<Vec<_>>();
        assert_eq!([2, 4, 8, 16].map(|d| products(&even(d))), [1, 2, 4, 6]);
        let odd = |d: usize| (0..=d).map(|k| if k % 2 == 1 { 1.0 } else { 0.0 }).collect::<Vec<_>>();
        assert_eq!([3, 7, 15].map(|d| products(&odd(d))), [2, 4, 6]);
    }
}
