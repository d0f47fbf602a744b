//! What a circuit means for one sample, in the clear, with or without the errors that CKKS adds.
//!
//! A value is an array of vectors of *virtual slots*: one in the batch layout, as many as the layouts' period in the packed one, vector by
//! vector in one list. Weights are the circuit's integers, constants are rounded at their scale, and everything else is exact to the
//! precision of f64. Errors, where they are wanted, are drawn operation by operation with the deviations of [`noise`], so that they
//! grow, cancel and meet the messages as they do under encryption.

use std::collections::BTreeMap;

use super::errors::{Added, added, key_switch, undivided};
use super::noise;
use super::{Circuit, Ckks, Combine, Fold, Input, Op, Refresh, Transform, Type};
use crate::graph::{Dialect, GraphError, Node, TypeError, Value};
use crate::slots::{Blind, Layout};

/// What one sample's evaluation takes from outside, and what it tells.
pub trait Surroundings {
    /// The sample's values of an input, in virtual slots.
    ///
    /// # Errors
    /// If there is no such input.
    fn input(&mut self, input: &Input) -> Result<Vec<f64>, TypeError>;

    /// What the client makes of the operands, in virtual slots.
    ///
    /// # Errors
    /// If it cannot.
    fn refresh(&mut self, refresh: &Refresh, operands: &[&[f64]]) -> Result<Vec<f64>, TypeError>;

    /// Random factors, in virtual slots; `None` for factors of one.
    fn factors(&mut self, blind: &Blind) -> Option<Vec<f64>> {
        let _ = blind;
        None
    }

    /// Where [`Surroundings::factors`] are one, the factor that the rounding of reciprocals is counted for.
    fn assumed_factor(&self) -> f64 {
        Blind::mean_factor()
    }

    /// Adds an error of this size to every slot; nothing by default.
    fn disturb(&mut self, x: &mut [f64], added: &Added) {
        let _ = (x, added);
    }

    /// Is told every node's value.
    fn computed(&mut self, value: Value, x: &[f64]) {
        let _ = (value, x);
    }
}

/// What follows of a circuit's transforms for all samples.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// By node, for each vector of a transform's result.
    rows: BTreeMap<usize, Vec<Row>>,
}

/// What makes the error of one vector of a transform's result.
#[derive(Clone, Debug, Default)]
struct Row {
    /// For each vector of the operand, the number of its diagonals.
    reads: BTreeMap<usize, usize>,
    /// Sum of the squares of weights that meet a rotated operand, over the slots.
    switched: f64,
    /// Giant steps other than 0.
    giants: usize,
    /// Whether anything is rotated.
    turned: bool,
}

impl Prepared {
    /// Of `circuit`.
    pub fn new(circuit: &Circuit) -> Self {
        let rows = |(value, node): (Value, &Node<Ckks>)| {
            if let Op::Transform(transform) = node.op() { Some((value.index(), rows(transform))) } else { None }
        };
        Self { rows: circuit.nodes().filter_map(rows).collect() }
    }
}

fn rows(transform: &Transform) -> Vec<Row> {
    let map = &transform.map;
    let mut rows = vec![Row::default(); map.to().vectors()];
    for (&[to, from, step], diagonal) in &map.diagonals().weights {
        let row = &mut rows[to];
        *row.reads.entry(from).or_default() += 1;
        if step % transform.baby_steps != 0 {
            row.switched += diagonal.iter().map(|(_, weight)| weight * weight).sum::<f64>() / map.period() as f64;
        }
        row.turned |= step != 0;
    }
    transform.stepped()[1].iter().for_each(|(to, _)| rows[*to].giants += 1);
    rows
}

/// Evaluates `circuit`, of which `prepared` is, on one sample; the outputs in the circuit's order, in virtual slots.
///
/// # Errors
/// What the surroundings refuse, and values that do not fit each other: the node's name, and what was found.
pub fn evaluate(
    circuit: &Circuit,
    prepared: &Prepared,
    surroundings: &mut dyn Surroundings,
) -> Result<Vec<Vec<f64>>, GraphError> {
    let (values, uses) = (vec![Vec::new(); circuit.len()], circuit.use_counts());
    let mut run = Run { circuit, prepared, width: width(circuit), values, uses };
    for (value, node) in circuit.nodes() {
        let wrap =
            |cause| GraphError { origin: node.origin().clone(), op: Ckks::describe(node.op()).0.to_owned(), cause };
        let x = run.node(value, node, surroundings).map_err(wrap)?;
        let expected = node.ty().length.saturating_mul(run.width);
        if x.len() != expected {
            return Err(wrap(TypeError::new(format!("expected {expected} values, found {}", x.len()))));
        }
        surroundings.computed(value, &x);
        for operand in node.operands() {
            let left = &mut run.uses[operand.index()];
            *left = left.saturating_sub(1);
            if *left == 0 {
                run.values[operand.index()] = Vec::new();
            }
        }
        if run.uses[value.index()] > 0 {
            run.values[value.index()] = x;
        }
    }
    Ok(circuit.outputs().iter().map(|output| run.values[output.value.index()].clone()).collect())
}

/// Virtual slots of each vector of a circuit: 1 in the batch layout.
pub fn width(circuit: &Circuit) -> usize {
    let period = |op: &Op| match op {
        Op::Input(Input { layout: Layout::Packed(packed), .. }) => Some(packed.period()),
        Op::Transform(transform) => Some(transform.map.period()),
        Op::Input(_)
        | Op::Combine(_)
        | Op::Multiply
        | Op::Square
        | Op::Add
        | Op::Subtract
        | Op::Concat
        | Op::Gather(_)
        | Op::Relinearize
        | Op::Rescale
        | Op::DropLevel(_)
        | Op::Fold(_)
        | Op::Refresh(_)
        | Op::Blind(_) => None,
    };
    circuit.nodes().find_map(|(_, node)| period(node.op())).unwrap_or(1)
}

struct Run<'a> {
    circuit: &'a Circuit,
    prepared: &'a Prepared,
    width: usize,
    values: Vec<Vec<f64>>,
    /// Of each value, by nodes that are still to be computed.
    uses: Vec<u32>,
}

impl Run<'_> {
    /// The first operand, to be changed.
    fn take(&mut self, node: &Node<Ckks>) -> Vec<f64> {
        match node.operands().first().map(|operand| operand.index()) {
            Some(last) if self.uses[last] == 1 => std::mem::take(&mut self.values[last]),
            Some(used) => self.values[used].clone(),
            None => Vec::new(),
        }
    }

    fn of(&self, node: &Node<Ckks>, index: usize) -> &[f64] {
        node.operands().get(index).map_or(&[], |operand| &self.values[operand.index()])
    }

    fn node(&mut self, value: Value, node: &Node<Ckks>, outside: &mut dyn Surroundings) -> Result<Vec<f64>, TypeError> {
        let zip = |f: fn(f64, f64) -> f64| -> Vec<f64> {
            self.of(node, 0).iter().zip(self.of(node, 1)).map(|(&a, &b)| f(a, b)).collect()
        };
        let mut y = match node.op() {
            Op::Input(input) => outside.input(input)?,
            Op::Refresh(refresh) => {
                let operands: Vec<&[f64]> = (0..node.operands().len()).map(|i| self.of(node, i)).collect();
                outside.refresh(refresh, &operands)?
            }
            Op::Combine(combine) => self.combine(node, combine),
            Op::Multiply => zip(|a, b| a * b),
            Op::Square => {
                let mut x = self.take(node);
                x.iter_mut().for_each(|x| *x *= *x);
                x
            }
            Op::Add => zip(|a, b| a + b),
            Op::Subtract => zip(|a, b| a - b),
            Op::Concat => (0..node.operands().len()).flat_map(|i| self.of(node, i)).copied().collect(),
            Op::Gather(gather) => {
                let vectors = self.of(node, 0).chunks(self.width).collect::<Vec<_>>();
                gather.indices.iter().flat_map(|&i| vectors[i as usize]).copied().collect()
            }
            Op::Relinearize | Op::Rescale | Op::DropLevel(_) => self.take(node),
            Op::Transform(transform) => self.transform((value, node), transform, outside)?,
            Op::Fold(fold) => self.fold(node, fold, outside)?,
            Op::Blind(at) => {
                let x = self.of(node, 0);
                // Those of the encoded factors, slot by slot.
                let mut errors = vec![0.0; x.len()];
                let encoding = Added::constant(noise::encoding().powi(2));
                outside.disturb(&mut errors, &encoding.in_slots(self.circuit.context(), at.weight_scale.log2()));
                match outside.factors(&at.blind) {
                    Some(factors) => {
                        x.iter().zip(errors).zip(factors).map(|((x, e), factor)| x * (factor + e)).collect()
                    }
                    None => {
                        // The reciprocal meets a value that is larger by the factor.
                        let factor = if at.blind.inverse { outside.assumed_factor() } else { 1.0 };
                        x.iter().zip(errors).map(|(x, e)| x * (1.0 + factor * e)).collect()
                    }
                }
            }
        };
        if let Some(added) = added(self.circuit, node) {
            outside.disturb(&mut y, &added);
        }
        Ok(y)
    }

    fn combine(&self, node: &Node<Ckks>, Combine { matrix, weight_scale, bias }: &Combine) -> Vec<f64> {
        let (x, width) = (self.of(node, 0), self.width);
        let mut y = vec![0.0; matrix.rows() * width];
        if width == 1 {
            let mut read = Vec::new();
            for block in matrix.blocks() {
                read.clear();
                read.extend(block.cols.iter().map(|&col| x[col as usize]));
                for (&row, weights) in block.rows.iter().zip(block.weights.chunks(read.len().max(1))) {
                    y[row as usize] += dot(weights, &read);
                }
            }
        } else {
            matrix.for_each(|row, col, &weight| {
                let slots = y[row * width..][..width].iter_mut().zip(&x[col * width..][..width]);
                slots.for_each(|(y, x)| *y += f64::from(weight) * x);
            });
        }
        let (divisor, scale) = (weight_scale.to_f64(), node.ty().scale.to_f64());
        for (y, bias) in y.chunks_mut(width).zip(&**bias) {
            // As it stands beside a ciphertext: an integer at the result's scale.
            let bias = if scale.is_finite() { (bias * scale).round() / scale } else { *bias };
            y.iter_mut().for_each(|y| *y = *y / divisor + bias);
        }
        y
    }

    fn transform(
        &self,
        (value, node): (Value, &Node<Ckks>),
        transform: &Transform,
        outside: &mut dyn Surroundings,
    ) -> Result<Vec<f64>, TypeError> {
        let (map, x) = (&transform.map, self.of(node, 0));
        if map.period() != self.width || x.len() != map.from().vectors() * self.width {
            let (expected, found) = (map.from().vectors() * map.period(), x.len());
            return Err(TypeError::new(format!("a map of {expected} slots does not take {found}")));
        }
        let mut y = map.apply_unfolded(x);
        let squares: Vec<f64> = x.chunks(self.width).map(mean_square).collect();
        let types = [self.circuit.ty(node.operands()[0]), node.ty()];
        let rows = self.prepared.rows.get(&value.index()).map_or(&[][..], Vec::as_slice);
        for (y, row) in y.chunks_mut(self.width).zip(rows) {
            outside.disturb(y, &self.added_by(row, transform, types, &squares));
        }
        Ok(y)
    }

    /// What a transform adds to a vector of its result, for operands of these mean squares. The diagonals are rounded where they are
    /// encoded; baby steps are multiplied by the diagonals before they are divided by the special primes, giant steps are not; each giant
    /// step rounds the polynomial that it cuts into digits ([`noise::linear_transform`]).
    fn added_by(&self, row: &Row, transform: &Transform, [operand, result]: [&Type; 2], squares: &[f64]) -> Added {
        let parameters = self.circuit.context();
        let [weights, before, after] = [&transform.weight_scale, &operand.scale, &result.scale].map(|s| s.log2());
        let own = noise::encoding().powi(2);
        let read: f64 = row.reads.iter().map(|(&from, &count)| squares[from] * count as f64).sum();
        let encoded = Added::constant(own * read).in_slots(parameters, weights);
        if !row.turned {
            return encoded;
        }
        let (kappa, rounding) = (undivided(parameters, 1, operand.level), Added::rounding(parameters, 1));
        let babies = Added::constant(kappa * row.switched).in_slots(parameters, before);
        let giants = row.giants as f64;
        let mut giant = Added::constant(giants * kappa);
        giant.variances[1] = giants * rounding.variances[1];
        let bias = Added::constant(own);
        encoded.plus(babies).plus(giant.plus(rounding).plus(bias).in_slots(parameters, after))
    }

    fn fold(&mut self, node: &Node<Ckks>, fold: &Fold, outside: &mut dyn Surroundings) -> Result<Vec<f64>, TypeError> {
        let parameters = self.circuit.context();
        // Samples lie between each other.
        let samples = parameters.slots() / self.width.max(1);
        let added = key_switch(parameters, 1, node.ty().level).in_slots(parameters, node.ty().scale.log2());
        let (mut y, mut turned) = (self.take(node), Vec::with_capacity(self.width));
        for step in &fold.steps {
            if samples == 0 || step % samples != 0 || step / samples >= self.width {
                return Err(TypeError::new(format!("a rotation by {step} takes slots of one sample to another's")));
            }
            for y in y.chunks_mut(self.width) {
                turned.clear();
                turned.extend_from_slice(&y[step / samples..]);
                turned.extend_from_slice(&y[..step / samples]);
                outside.disturb(&mut turned, &added);
                y.iter_mut().zip(&turned).for_each(|(y, turned)| *y += turned);
            }
        }
        Ok(y)
    }
}

/// In four sums, which a processor adds up side by side.
fn dot(weights: &[i32], x: &[f64]) -> f64 {
    let (whole, rest) = (weights.chunks_exact(4).zip(x.chunks_exact(4)), weights.len() / 4 * 4);
    let mut sums = [0.0; 4];
    for (weights, x) in whole {
        let products = sums.iter_mut().zip(weights.iter().zip(x));
        products.for_each(|(sum, (&weight, x))| *sum += f64::from(weight) * x);
    }
    let rest = weights.iter().zip(x).skip(rest).map(|(&weight, x)| f64::from(weight) * x);
    sums.into_iter().chain(rest).sum()
}

fn mean_square(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64
}
