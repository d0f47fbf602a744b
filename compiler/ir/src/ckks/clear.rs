//! What a circuit means for one sample, in the clear, with or without the errors that CKKS adds.
//!
//! A value is an array of vectors of *virtual slots*: one in the batch layout, as many as the layouts' period in the packed one, vector by
//! vector in one list. Weights are the circuit's integers, constants are rounded at their scale, and everything else is exact to the
//! precision of f64. Errors, where they are wanted, are drawn operation by operation with the deviations of [`noise`], so that they
//! grow, cancel and meet the messages as they do under encryption.

use super::noise;
use super::{Circuit, Ckks, Combine, Fold, Input, MAX_DEGREE, Op, Refresh, Transform, Type};
use crate::graph::{Dialect, GraphError, Node, TypeError, Value};
use crate::parameters::{ERROR_STD, Parameters, RingType};
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

    /// Adds an error of this size to every slot; nothing by default.
    fn disturb(&mut self, x: &mut [f64], added: &Added) {
        let _ = (x, added);
    }

    /// Is told every node's value.
    fn computed(&mut self, value: Value, x: &[f64]) {
        let _ = (value, x);
    }
}

/// The error that an operation adds to a slot, in units of the message.
///
/// What is multiplied by powers of the secret `s` has a variance that depends on the slot: it follows the secret's value there, which is
/// the same in a whole run. `variances[i]` goes with `z^i` where `z = |s(zeta)|^2 / E |s|^2`, of mean 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Added {
    /// By the power of `z`.
    pub variances: [f64; MAX_DEGREE + 1],
}

impl Added {
    fn constant(variance: f64) -> Self {
        let mut variances = [0.0; MAX_DEGREE + 1];
        variances[0] = variance;
        Self { variances }
    }

    /// Rounding the polynomials of a ciphertext of `degree` to integers.
    fn rounding(parameters: &Parameters, degree: usize) -> Self {
        let h = noise::secret_norm(parameters.ring(), 1);
        let mut variances = [0.0; MAX_DEGREE + 1];
        let powers = variances.iter_mut().take(degree + 1);
        powers.enumerate().for_each(|(i, variance)| *variance = h.powi(i as i32) / 12.0);
        Self { variances }
    }

    fn plus(mut self, other: Self) -> Self {
        self.variances.iter_mut().zip(other.variances).for_each(|(a, b)| *a += b);
        self
    }

    /// From coefficients at a scale to the real parts of slots.
    fn in_slots(mut self, parameters: &Parameters, log2_scale: f64) -> Self {
        let factor = parameters.ring().real_slot_norm() * (-2.0 * log2_scale).exp2();
        self.variances.iter_mut().for_each(|variance| *variance *= factor);
        self
    }

    /// The variance in a slot where the secret's square is `z` times its mean.
    pub fn variance(&self, z: f64) -> f64 {
        self.variances.iter().rev().fold(0.0, |sum, variance| sum * z + variance)
    }

    /// The variance over all slots of a ring.
    pub fn mean_variance(&self, parameters: &Parameters) -> f64 {
        let moment = |i: usize| parameters.ring().slot_moment(i);
        self.variances.iter().enumerate().map(|(i, variance)| variance * moment(i)).sum()
    }
}

/// What a node adds to each slot of its result whatever the messages are; `None` for operations that add nothing, or whose errors depend
/// on them (a transform, random factors).
pub fn added(circuit: &Circuit, node: &Node<Ckks>) -> Option<Added> {
    let parameters = circuit.context();
    let scale = node.ty().scale.log2();
    match node.op() {
        Op::Input(input) => Some(fresh(parameters, !input.public, scale)),
        Op::Refresh(_) => Some(fresh(parameters, true, scale)),
        Op::Rescale => Some(Added::rounding(parameters, node.ty().degree).in_slots(parameters, scale)),
        Op::Relinearize => {
            let parts = node.operands().first().map_or(1, |operand| circuit.ty(*operand).degree.saturating_sub(1));
            Some(key_switch(parameters, parts, node.ty().level).in_slots(parameters, scale))
        }
        Op::Combine(_)
        | Op::Multiply
        | Op::Square
        | Op::Add
        | Op::Subtract
        | Op::Concat
        | Op::Gather(_)
        | Op::DropLevel(_)
        | Op::Transform(_)
        | Op::Fold(_)
        | Op::Blind(_) => None,
    }
}

fn fresh(parameters: &Parameters, encrypted: bool, log2_scale: f64) -> Added {
    let encryption = if encrypted { ERROR_STD * ERROR_STD } else { 0.0 };
    Added::constant(encryption + noise::encoding().powi(2)).in_slots(parameters, log2_scale)
}

/// Variance of what a key switch has before it is divided by the special primes, over their square.
fn undivided(parameters: &Parameters, parts: usize, level: usize) -> f64 {
    let special: f64 = parameters.special_primes().iter().map(|&q| (q as f64).log2()).sum();
    let digits = noise::log2_digits(parameters, level);
    noise::undivided_key_switch(parameters.ring(), parts, digits, special).powi(2)
}

/// In coefficients.
fn key_switch(parameters: &Parameters, parts: usize, level: usize) -> Added {
    Added::constant(undivided(parameters, parts, level)).plus(Added::rounding(parameters, 1))
}

/// Evaluates `circuit` on one sample; the outputs in the circuit's order, in virtual slots.
///
/// # Errors
/// What the surroundings refuse, and values that do not fit each other: the node's name, and what was found.
pub fn evaluate(circuit: &Circuit, surroundings: &mut dyn Surroundings) -> Result<Vec<Vec<f64>>, GraphError> {
    let mut run = Run { circuit, width: width(circuit), values: vec![Vec::new(); circuit.len()] };
    let mut uses = circuit.use_counts();
    for (value, node) in circuit.nodes() {
        let wrap =
            |cause| GraphError { origin: node.origin().clone(), op: Ckks::describe(node.op()).0.to_owned(), cause };
        let x = run.node(node, surroundings).map_err(wrap)?;
        let expected = node.ty().length.saturating_mul(run.width);
        if x.len() != expected {
            return Err(wrap(TypeError::new(format!("expected {expected} values, found {}", x.len()))));
        }
        surroundings.computed(value, &x);
        for operand in node.operands() {
            let left = &mut uses[operand.index()];
            *left = left.saturating_sub(1);
            if *left == 0 {
                run.values[operand.index()] = Vec::new();
            }
        }
        if uses[value.index()] > 0 {
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
    width: usize,
    values: Vec<Vec<f64>>,
}

impl Run<'_> {
    fn of(&self, node: &Node<Ckks>, index: usize) -> &[f64] {
        node.operands().get(index).map_or(&[], |operand| &self.values[operand.index()])
    }

    fn node(&self, node: &Node<Ckks>, outside: &mut dyn Surroundings) -> Result<Vec<f64>, TypeError> {
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
            Op::Square => self.of(node, 0).iter().map(|x| x * x).collect(),
            Op::Add => zip(|a, b| a + b),
            Op::Subtract => zip(|a, b| a - b),
            Op::Concat => (0..node.operands().len()).flat_map(|i| self.of(node, i)).copied().collect(),
            Op::Gather(gather) => {
                let vectors = self.of(node, 0).chunks(self.width).collect::<Vec<_>>();
                gather.indices.iter().flat_map(|&i| vectors[i as usize]).copied().collect()
            }
            Op::Relinearize | Op::Rescale | Op::DropLevel(_) => self.of(node, 0).to_vec(),
            Op::Transform(transform) => self.transform(node, transform, outside)?,
            Op::Fold(fold) => self.fold(node, fold, outside)?,
            Op::Blind(at) => {
                let mut y = self.of(node, 0).to_vec();
                let encoding = Added::constant(noise::encoding().powi(2) * mean_square(&y));
                if let Some(factors) = outside.factors(&at.blind) {
                    y.iter_mut().zip(factors).for_each(|(y, factor)| *y *= factor);
                }
                outside.disturb(&mut y, &encoding.in_slots(self.circuit.context(), at.weight_scale.log2()));
                y
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
            matrix.for_each(|row, col, &weight| y[row] += f64::from(weight) * x[col]);
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
        node: &Node<Ckks>,
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
        let operand = self.circuit.ty(node.operands()[0]);
        for (y, added) in y.chunks_mut(self.width).zip(self.added_by(transform, operand, node.ty(), &squares)) {
            outside.disturb(y, &added);
        }
        Ok(y)
    }

    /// What a transform adds to each vector of its result, for operands of these mean squares. The diagonals are rounded where they are
    /// encoded; baby steps are multiplied by the diagonals before they are divided by the special primes, giant steps are not; each giant
    /// step rounds the polynomial that it cuts into digits ([`noise::linear_transform`]).
    fn added_by(&self, transform: &Transform, operand: &Type, result: &Type, squares: &[f64]) -> Vec<Added> {
        let parameters = self.circuit.context();
        let [weights, before, after] = [&transform.weight_scale, &operand.scale, &result.scale].map(|s| s.log2());
        let (level, period) = (operand.level, self.width as f64);
        let kappa = undivided(parameters, 1, level);
        let vectors = transform.map.to().vectors();
        let (mut encoding, mut switched, mut turned) = (vec![0.0; vectors], vec![0.0; vectors], vec![false; vectors]);
        for (&[to, from, step], diagonal) in &transform.map.diagonals().weights {
            encoding[to] += squares[from];
            if step % transform.baby_steps != 0 {
                switched[to] += diagonal.iter().map(|(_, weight)| weight * weight).sum::<f64>() / period;
            }
            turned[to] |= step != 0;
        }
        let mut giants = vec![0.0; vectors];
        transform.stepped()[1].iter().for_each(|(to, _)| giants[*to] += 1.0);
        let rounding = Added::rounding(parameters, 1);
        (0..vectors)
            .map(|to| {
                let own = noise::encoding().powi(2);
                let encoded = Added::constant(own * encoding[to]).in_slots(parameters, weights);
                if !turned[to] {
                    return encoded;
                }
                let babies = Added::constant(kappa * switched[to]).in_slots(parameters, before);
                let mut giant = Added::constant(giants[to] * kappa);
                giant.variances[1] = giants[to] * rounding.variances[1];
                let bias = Added::constant(own);
                encoded.plus(babies).plus(giant.plus(rounding).plus(bias).in_slots(parameters, after))
            })
            .collect()
    }

    fn fold(&self, node: &Node<Ckks>, fold: &Fold, outside: &mut dyn Surroundings) -> Result<Vec<f64>, TypeError> {
        let parameters = self.circuit.context();
        // Samples lie between each other.
        let samples = parameters.slots() / self.width.max(1);
        let added = key_switch(parameters, 1, node.ty().level).in_slots(parameters, node.ty().scale.log2());
        let mut y = self.of(node, 0).to_vec();
        for step in &fold.steps {
            if samples == 0 || step % samples != 0 || step / samples >= self.width {
                return Err(TypeError::new(format!("a rotation by {step} takes slots of one sample to another's")));
            }
            for y in y.chunks_mut(self.width) {
                let mut turned = y.to_vec();
                turned.rotate_left(step / samples);
                outside.disturb(&mut turned, &added);
                y.iter_mut().zip(turned).for_each(|(y, turned)| *y += turned);
            }
        }
        Ok(y)
    }
}

fn mean_square(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>() / x.len().max(1) as f64
}

/// Draws errors.
pub struct Errors<B> {
    bits: B,
    spare: Option<f64>,
    secret: Secret,
}

/// What is assumed of the secret's squares in the slots, over their mean.
enum Secret {
    /// One for each virtual slot.
    Slots(Vec<f64>),
    /// The mean of each power.
    Mean(Parameters),
    /// The same everywhere.
    Everywhere(f64),
}

impl<B: FnMut() -> u64> Errors<B> {
    /// From a source of random bits, for vectors of `width` virtual slots, with a secret that is drawn once.
    pub fn new(parameters: &Parameters, width: usize, bits: B) -> Self {
        let mut errors = Self { bits, spare: None, secret: Secret::Everywhere(1.0) };
        // A slot of the secret is a Gaussian variable: real, or complex.
        let mut square = || match parameters.ring().ring_type {
            RingType::Standard => (errors.normal().powi(2) + errors.normal().powi(2)) / 2.0,
            RingType::ConjugateInvariant => errors.normal().powi(2),
        };
        let slots = (0..width).map(|_| square()).collect();
        errors.secret = Secret::Slots(slots);
        errors
    }

    /// The same, with the deviations that errors have over all secrets.
    pub fn averaged(parameters: &Parameters, bits: B) -> Self {
        Self { bits, spare: None, secret: Secret::Mean(parameters.clone()) }
    }

    /// The same for a secret whose squares are all `z` times their mean.
    pub fn with_secret(z: f64, bits: B) -> Self {
        Self { bits, spare: None, secret: Secret::Everywhere(z) }
    }

    /// Adds an error to each slot of whole vectors.
    pub fn disturb(&mut self, x: &mut [f64], added: &Added) {
        let deviations = match &self.secret {
            Secret::Slots(slots) => slots.iter().map(|&z| added.variance(z).sqrt()).collect(),
            Secret::Mean(parameters) => vec![added.mean_variance(parameters).sqrt()],
            Secret::Everywhere(z) => vec![added.variance(*z).sqrt()],
        };
        for x in x.chunks_mut(deviations.len().max(1)) {
            x.iter_mut().zip(&deviations).for_each(|(x, deviation)| *x += deviation * self.normal());
        }
    }

    /// A Gaussian variable of mean 0 and variance 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        // The logarithm's argument is from 0 excluded to 1.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// A number from 0 to 1 excluded.
    pub fn uniform(&mut self) -> f64 {
        const BITS: u32 = 53;
        ((self.bits)() >> (u64::BITS - BITS)) as f64 / f64::from(BITS).exp2()
    }
}
