//! Packing one sample into few vectors: which linear maps there are, how each value lies, and the slot graph.
//!
//! `steps` reads the tensor graph as linear maps and elementwise operations; what only moves elements goes into the maps that read it.
//! Values that meet elementwise lie alike: they are one *class* (`classes`). `choose` gives each class a layout out of its
//! `candidates`, such that all maps together cost least. `lower` then is one walk over the steps.

mod candidates;
mod choose;
mod classes;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::graph::{Builder, Value};
use hec_ir::slots::{self, Fold, Layout, LinearMap, Packed, SlotGraph, Slots, WeightedSum};
use hec_ir::tensor::{Polynomial, TensorGraph};

use crate::cost::CostModel;
use crate::error::CompileError;
use crate::series;
use choose::Chosen;
use steps::{Operation, Step, Steps};

/// How deep a model is and what it is made of, before any layout is chosen.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Steps,
}

impl Plan {
    /// Reads the linear maps off `graph`.
    ///
    /// # Errors
    /// [`CompileError::Unsupported`] with *all* nodes that cannot be computed on encrypted data, or a node that does not fit.
    pub fn new(graph: &TensorGraph) -> Result<Self, CompileError> {
        Ok(Self { steps: steps::read(graph)? })
    }

    /// Products, of weights or of values, on the longest way.
    pub fn depth(&self) -> usize {
        self.steps.depth()
    }

    /// Elements of the largest value.
    pub fn largest(&self) -> usize {
        self.steps.list.iter().map(|step| step.shape.iter().product()).max().unwrap_or(1)
    }

    /// The model in vectors of `period` virtual slots, laid out such that it costs least.
    ///
    /// # Errors
    /// [`CompileError`] if a layout does not fit.
    pub fn lower(&self, period: usize, cost: &CostModel) -> Result<SlotGraph, CompileError> {
        let chosen = choose::layouts(&self.steps, period, cost)?;
        lower(&self.steps, &chosen)
    }
}

fn lower(steps: &Steps, chosen: &Chosen) -> Result<SlotGraph, CompileError> {
    let mut builder = Builder::<Slots>::new(());
    let mut values: Vec<Value> = Vec::with_capacity(steps.list.len());
    for (index, step) in steps.list.iter().enumerate() {
        builder.set_origin(step.origin.clone());
        let of = |operand: usize| values[operand];
        let value = match &step.operation {
            Operation::Input(name) => {
                let layout = Layout::Packed(shaped(&chosen.placement(index).0, step)?);
                builder.push(slots::Op::Input(slots::Input { name: name.clone(), layout, public: false }), &[])?
            }
            Operation::Linear { terms, bias } => {
                let (to, fold) = chosen.placement(index);
                let to = shaped(to, step)?;
                let mut sum: Option<Value> = None;
                for (i, (operand, matrix)) in terms.iter().enumerate() {
                    let from = shaped(&chosen.placement(*operand).0, &steps.list[*operand])?;
                    let bias: Arc<[f64]> = if i == 0 { bias.clone() } else { vec![0.0; bias.len()].into() };
                    let map = LinearMap::new(matrix.clone(), bias, from, to.clone(), *fold);
                    let map = map.map_err(|cause| CompileError::node(&step.origin, "transform", cause))?;
                    let term = builder.push(slots::Op::Transform(Arc::new(map)), &[of(*operand)])?;
                    sum = Some(match sum {
                        Some(sum) => builder.push(slots::Op::Add, &[sum, term])?,
                        None => term,
                    });
                }
                sum.ok_or_else(|| CompileError::ConstantOutput { name: step.origin.as_str().to_owned() })?
            }
            Operation::Polynomial(operand, polynomial) => power_sum(&mut builder, of(*operand), polynomial)?,
            Operation::Chebyshev(operand, coefficients) => series::push(&mut builder, of(*operand), coefficients)?,
            Operation::Multiply(a, b) if a == b => builder.push(slots::Op::Square, &[of(*a)])?,
            Operation::Multiply(a, b) => builder.push(slots::Op::Multiply, &[of(*a), of(*b)])?,
            Operation::Add(a, b) => builder.push(slots::Op::Add, &[of(*a), of(*b)])?,
            Operation::Subtract(a, b) => builder.push(slots::Op::Subtract, &[of(*a), of(*b)])?,
        };
        values.push(value);
    }
    for (name, index) in &steps.outputs {
        builder.output(name, values[*index]);
    }
    Ok(builder.finish().without_dead_nodes())
}

/// The class's layout with the shape of one of its values.
fn shaped(layout: &Arc<Packed>, step: &Step) -> Result<Arc<Packed>, CompileError> {
    if layout.shape() == &step.shape[..] {
        return Ok(layout.clone());
    }
    let reshaped = layout.reshaped(&step.shape);
    Ok(Arc::new(reshaped.map_err(|cause| CompileError::node(&step.origin, "layout", cause))?))
}

/// A polynomial as a weighted sum of powers, each the product of two halves.
fn power_sum(builder: &mut Builder<Slots>, x: Value, polynomial: &Polynomial) -> Result<Value, CompileError> {
    let mut powers = BTreeMap::from([(1, x)]);
    let (mut terms, mut weights) = (Vec::new(), Vec::new());
    for k in (1..=polynomial.degree()).filter(|&k| polynomial.coefficients[k] != 0.0) {
        terms.push(power(builder, &mut powers, k)?);
        weights.push(polynomial.coefficients[k]);
    }
    let bias = polynomial.coefficients.first().copied().unwrap_or(0.0);
    match (&terms[..], &weights[..], bias) {
        ([one], [1.0], 0.0) => Ok(*one),
        _ => {
            let sum = WeightedSum { weights: weights.into(), bias };
            Ok(builder.push(slots::Op::WeightedSum(sum), &terms)?)
        }
    }
}

fn power(builder: &mut Builder<Slots>, powers: &mut BTreeMap<usize, Value>, k: usize) -> Result<Value, CompileError> {
    if let Some(&power) = powers.get(&k) {
        return Ok(power);
    }
    let (low, high) = (power(builder, powers, k / 2)?, power(builder, powers, k - k / 2)?);
    let product = match low == high {
        true => builder.push(slots::Op::Square, &[low])?,
        false => builder.push(slots::Op::Multiply, &[low, high])?,
    };
    powers.insert(k, product);
    Ok(product)
}

/// A layout and the fold that leads to it.
type Placement = (Arc<Packed>, Fold);
