use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::Scale;
use hec_ir::ckks::{self, Circuit, Ckks};
use hec_ir::graph::{Builder, GraphError, Origin, TypeError, Value};
use hec_ir::parameters::Parameters;
use hec_ir::slots::{self, SlotGraph};

use super::simulate::needed_bits;
use super::{Plan, State, Target, on_grid, walk};
use crate::cost::{CostModel, Shape};
use crate::ranges::Ranges;
use crate::transformation::Transformation;
use crate::weights::Weights;

/// Builds the circuit of `plan` under `parameters`. `ranges` say how few primes hold a value; rotations are split into baby and giant steps as costs least by `cost`.
///
/// # Errors
/// If the parameters do not carry the plan: the node's name, and what did not fit.
pub fn emit(
    graph: &SlotGraph,
    weights: &[Option<Weights>],
    plan: &Plan,
    parameters: &Parameters,
    ranges: &Ranges,
    cost: &CostModel,
) -> Result<Circuit, GraphError> {
    let mut emitter =
        Emitter { plan, cost, ranges, planned: BTreeMap::new(), builder: Builder::new(parameters.clone()) };
    for (depth, &prime) in parameters.moduli().iter().rev().enumerate() {
        if let Some(bits) = emitter.prime_bits(depth) {
            emitter.planned.insert(prime, bits);
        }
    }
    for (name, value) in walk(graph, weights, plan, &mut emitter)? {
        emitter.builder.output(&name, value);
    }
    Ok(emitter.builder.finish().without_dead_nodes())
}

struct Emitter<'a> {
    plan: &'a Plan,
    cost: &'a CostModel,
    ranges: &'a Ranges,
    /// The sizes that were planned for the primes that rescaling divides by.
    planned: BTreeMap<u64, f64>,
    builder: Builder<Ckks>,
}

impl Emitter<'_> {
    /// log2 of a scale, were all primes of their planned sizes.
    fn planned_bits(&self, scale: &Scale) -> f64 {
        let size = |prime: u64| self.planned.get(&prime).copied().unwrap_or((prime as f64).log2());
        f64::from(scale.twos())
            + scale.factors().map(|(prime, exponent)| f64::from(exponent) * size(prime)).sum::<f64>()
    }

    fn push(&mut self, op: ckks::Op, operands: &[Value]) -> Result<Value, GraphError> {
        self.builder.push(op, operands)
    }
}

impl Target for Emitter<'_> {
    type Value = Value;
    type Error = GraphError;

    fn at(&mut self, origin: &Origin) {
        self.builder.set_origin(origin.clone());
    }

    fn input(&mut self, _node: Value, input: &slots::Input) -> Result<Value, GraphError> {
        let level = self.builder.context().max_level();
        let scale = Scale::power_of_two(self.plan.input_bits);
        let (name, layout) = (input.name.clone(), input.layout.clone());
        self.push(ckks::Op::Input(ckks::Input { name, layout, level, scale, public: input.public }), &[])
    }

    fn combine(&mut self, _node: Value, x: &Value, weights: &Weights, scale: &Scale) -> Result<Value, GraphError> {
        let (matrix, bias) = weights.quantise(scale, self.builder.ty(*x).length);
        let combine = ckks::Combine { matrix: Arc::new(matrix), weight_scale: scale.clone(), bias };
        self.push(ckks::Op::Combine(combine), &[*x])
    }

    fn transform(
        &mut self,
        _node: Value,
        x: &Value,
        transformation: &Transformation,
        scale: &Scale,
    ) -> Result<Value, GraphError> {
        let parameters = self.builder.context();
        let shape = Shape { ring: parameters.ring(), special: parameters.special_primes().len() };
        let (baby_steps, _) = transformation.cheapest(self.cost, shape, self.builder.ty(*x).level + 1);
        let (map, weight_scale) = (transformation.map.clone(), scale.clone());
        self.push(ckks::Op::Transform(ckks::Transform { map, weight_scale, baby_steps, just_in_time: false }), &[*x])
    }

    fn fold(&mut self, _node: Value, x: &Value, transformation: &Transformation) -> Result<Value, GraphError> {
        let map = &transformation.map;
        let samples = self.builder.context().slots() / map.period().max(1);
        let steps = map.fold().steps(map.period()).into_iter().map(|step| step * samples).collect();
        self.push(ckks::Op::Fold(ckks::Fold { steps }), &[*x])
    }

    fn product(&mut self, _node: Value, a: &Value, b: Option<&Value>) -> Result<Value, GraphError> {
        match b {
            Some(b) => self.push(ckks::Op::Multiply, &[*a, *b]),
            None => self.push(ckks::Op::Square, &[*a]),
        }
    }

    fn sum(&mut self, _node: Value, a: &Value, b: &Value, subtract: bool) -> Result<Value, GraphError> {
        self.push(if subtract { ckks::Op::Subtract } else { ckks::Op::Add }, &[*a, *b])
    }

    fn concat(&mut self, _node: Value, operands: &[Value]) -> Result<Value, GraphError> {
        self.push(ckks::Op::Concat, operands)
    }

    fn gather(&mut self, x: &Value, gather: &slots::Gather) -> Result<Value, GraphError> {
        self.push(ckks::Op::Gather(gather.clone()), &[*x])
    }

    /// Operands are sent with as few primes as hold them.
    fn refresh(
        &mut self,
        _node: Value,
        refresh: &slots::Refresh,
        operands: &[(Value, Value)],
    ) -> Result<Value, GraphError> {
        let mut sent = Vec::with_capacity(operands.len());
        for &(node, x) in operands {
            let ty = self.builder.ty(x);
            let needed = needed_bits(ty.scale.log2(), self.ranges.bound(node));
            let mut held = 0.0;
            let holds = |prime: &u64| {
                held += (*prime as f64).log2();
                held >= needed
            };
            let least = self.builder.context().moduli().iter().position(holds).unwrap_or(ty.level);
            sent.push(match ty.level.saturating_sub(least) {
                0 => x,
                levels => self.push(ckks::Op::DropLevel(ckks::DropLevel { levels }), &[x])?,
            });
        }
        let level = self.builder.context().max_level();
        let scale = Scale::power_of_two(self.plan.input_bits);
        let slots::Refresh { round, name, layout } = refresh.clone();
        self.push(ckks::Op::Refresh(ckks::Refresh { round, name, layout, level, scale }), &sent)
    }

    fn blind(&mut self, _node: Value, x: &Value, blind: &slots::Blind, scale: &Scale) -> Result<Value, GraphError> {
        self.push(ckks::Op::Blind(ckks::BlindAt { blind: blind.clone(), weight_scale: scale.clone() }), &[*x])
    }

    fn relinearize(&mut self, x: &Value) -> Result<Value, GraphError> {
        self.push(ckks::Op::Relinearize, &[*x])
    }

    fn rescale(&mut self, x: &Value) -> Result<Value, GraphError> {
        self.push(ckks::Op::Rescale, &[*x])
    }

    fn drop_level(&mut self, x: &Value, count: usize) -> Result<Value, GraphError> {
        self.push(ckks::Op::DropLevel(ckks::DropLevel { levels: count }), &[*x])
    }

    fn state(&self, x: &Value) -> State {
        let ty = self.builder.ty(*x);
        let depth = self.builder.context().max_level() - ty.level;
        State { depth, degree: ty.degree, scale: ty.scale.clone(), bits: on_grid(self.planned_bits(&ty.scale)) }
    }

    fn prime_bits(&self, depth: usize) -> Option<f64> {
        let parameters = self.builder.context();
        let level = parameters.max_level().checked_sub(depth).filter(|&level| level > 0)?;
        // The sizes that were planned, not the primes near them: both targets then take the same turns, at ties too.
        match &self.plan.chain {
            super::Chain::Uniform(bits) => Some(*bits),
            super::Chain::Explicit(moduli) => moduli.get(level).copied(),
        }
    }

    fn mismatch(&self, a: &State, b: &State) -> GraphError {
        GraphError {
            origin: self.builder.origin().clone(),
            op: "add".to_owned(),
            cause: TypeError::new(format!("scales {} and {} cannot be made equal", a.scale, b.scale)),
        }
    }
}
