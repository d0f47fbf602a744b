//! The CKKS dialect: *at which* level, scale and degree each ciphertext stands.
//!
//! Those three are the type. An operation whose operands do not fit (two scales that differ, a level that is
//! used up, a scale larger than the modulus) cannot be built: the error names the model's node.
//! The rules are those of RNS-CKKS (Cheon, Han, Kim, Kim and Song, eprint 2018/931); only the compiler's management emits
//! [`Op::Rescale`], [`Op::Relinearize`] and [`Op::DropLevel`], no engine does on its own.

pub mod clear;
pub mod errors;
mod layouts;
mod memory;
mod needs;
pub mod noise;
pub mod precision;

pub use layouts::layouts;
pub use memory::{
    BABY_STEPS_AT_ONCE, ciphertext_bytes, encoded_weight_bytes, evaluation_key_bytes, just_in_time_bytes,
    peak_bytes_by_node, peak_ciphertext_bytes, rotation_key_bytes, sent_bytes, switch_key_bytes, weight_bytes,
};
pub use needs::{KeyNeeds, OpCounts, Relinearization, counts, counts_of, key_needs, multiplicative_depth};

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::Scale;
use crate::attribute::{AttributeError, Attributes};
use crate::graph::{Dialect, Graph, TypeError};
use crate::matrix::BlockMatrix;
use crate::parameters::Parameters;
use crate::slots::{
    Blind, Gather, Layout, LinearMap, baby_and_giant_steps, combined_length, gathered_length, some_operands,
    transformed_length,
};
use crate::tensor::expect_operands;

/// The largest degree (in the secret) that a ciphertext may reach before it is relinearised or decrypted.
pub const MAX_DEGREE: usize = 4;

/// Integer weights of a [`Combine`] are at most `2^MAX_WEIGHT_BITS` in absolute value.
pub const MAX_WEIGHT_BITS: u32 = 24;

/// An array has at most this many ciphertexts: concatenating a value with itself again and again would double it each time.
pub const MAX_LENGTH: usize = 1 << 24;

/// A fold has at most this many rotations.
const MAX_FOLDS: usize = 64;

/// Exponents in an exact scale stay below this, so that the arithmetic of scales cannot overflow.
const MAX_SCALE_EXPONENT: u32 = 1 << 28;

/// An operation on arrays of ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Freshly encrypted input, or one in the clear that the evaluator encodes.
    Input(Input),
    /// Integer-weighted sums across the array, and a bias.
    Combine(Combine),
    /// Elementwise product. The degree is the sum of the degrees, the scale the product of the scales.
    Multiply,
    /// Elementwise square.
    Square,
    /// Elementwise sum of equal level and scale.
    Add,
    /// Elementwise difference of equal level and scale.
    Subtract,
    /// The operands' arrays one after the other, of equal level, scale and degree.
    Concat,
    /// Re-indexing of the array.
    Gather(Gather),
    /// Back to degree 1, by key switching.
    Relinearize,
    /// Division by the last prime of the level: one level down, the scale over that prime.
    Rescale,
    /// Forgets the last primes; the scale stays.
    DropLevel(DropLevel),
    /// The diagonals of a linear map over the slots, and its bias. Its fold is an operation of its own.
    Transform(Transform),
    /// Adds to each ciphertext its own rotations, one after the other.
    Fold(Fold),
    /// What the client makes of the operands: it decrypts them, computes a function in the clear, and encrypts the result.
    Refresh(Refresh),
    /// Products with factors that only the evaluator knows, or with their reciprocals, encoded at a scale.
    Blind(BlindAt),
}

/// A result of a round with the client: fresh ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub struct Refresh {
    /// Which round, from 0. All refreshes of a round have the same operands: the inputs of its function.
    pub round: usize,
    /// Which output of the round's function.
    pub name: String,
    /// How the client packs it.
    pub layout: Layout,
    /// The level it is encrypted at.
    pub level: usize,
    /// The scale it is encoded at.
    pub scale: Scale,
}

/// Random factors at a scale.
#[derive(Clone, Debug, PartialEq)]
pub struct BlindAt {
    /// Which factors.
    pub blind: Blind,
    /// The scale that they are encoded at: the result's scale is the operand's times this.
    pub weight_scale: Scale,
}

/// A fresh ciphertext array.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The input's name in the model.
    pub name: String,
    /// How a sample lies in the slots.
    pub layout: Layout,
    /// The level it is encrypted at.
    pub level: usize,
    /// The scale it is encoded at.
    pub scale: Scale,
    /// Whether the server may see it: the evaluator then encodes it, and nobody encrypts it.
    pub public: bool,
}

/// `y[r] = sum_c M[r, c] x[c] / weight_scale + bias[r]`, in every slot alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Combine {
    /// Weights times `weight_scale`, rounded.
    pub matrix: Arc<BlockMatrix<i32>>,
    /// The scale of the weights: the result's scale is the operand's times this.
    pub weight_scale: Scale,
    /// One real number for each row; added at the scale of the result.
    pub bias: Arc<[f64]>,
}

/// `y_o = sum over i, k of d_(o, i, k) rotate(x_i, k) / weight_scale + bias_o`, slot by slot, with the diagonals of the map.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// Layouts and weights.
    pub map: Arc<LinearMap>,
    /// The scale that diagonals are encoded at: the result's scale is the operand's times this.
    pub weight_scale: Scale,
    /// The number of baby steps of its rotations, in virtual slots: a power of two.
    pub baby_steps: usize,
    /// Whether its diagonals are encoded each time that they are used, to save memory; else once, when the program is loaded.
    pub just_in_time: bool,
}

impl Transform {
    /// Baby steps and giant steps other than 0 of the rotations of virtual slots: each baby step once for a vector of the operand,
    /// each giant step once for a vector of the result.
    pub fn rotations(&self) -> [Vec<usize>; 2] {
        self.stepped().map(|steps| steps.into_iter().map(|(_, step)| step).collect())
    }

    /// As [`Transform::rotations`], each with its vector: baby steps with that of the operand, giant steps with that of the result.
    pub fn stepped(&self) -> [BTreeSet<(usize, usize)>; 2] {
        baby_and_giant_steps(self.map.steps(), self.baby_steps)
    }
}

/// Rotations of slots to the left, each by less than the number of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// None of them 0.
    pub steps: Vec<usize>,
}

/// How many levels to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropLevel {
    /// At least 1.
    pub levels: usize,
}

/// An array of ciphertexts: `ct[845]<L3, 2^40, degree 1>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Number of ciphertexts.
    pub length: usize,
    /// Index of the last prime of the modulus.
    pub level: usize,
    /// Factor between messages and their encodings.
    pub scale: Scale,
    /// Degree in the secret; a ciphertext has one polynomial more.
    pub degree: usize,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ct[{}]<L{}, {}, degree {}>", self.length, self.level, self.scale, self.degree)
    }
}

/// The dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Ckks;

/// A circuit: a graph of operations on arrays of ciphertexts, under its parameters.
pub type Circuit = Graph<Ckks>;

impl Dialect for Ckks {
    const NAME: &'static str = "ckks";
    type Op = Op;
    type Type = Type;
    type Context = Parameters;

    fn infer(parameters: &Parameters, op: &Op, operands: &[&Type]) -> Result<Type, TypeError> {
        let ty = match op {
            Op::Input(input) => {
                expect_operands::<_, 0>(operands)?;
                let Input { layout, level, scale, .. } = input;
                if let Layout::Packed(packed) = layout {
                    fits_slots(parameters, packed.period())?;
                }
                Type { length: layout.array_length(), level: *level, scale: scale.clone(), degree: 1 }
            }
            Op::Combine(combine) => infer_combine(combine, expect_operands::<_, 1>(operands)?[0])?,
            Op::Square => {
                let [x] = expect_operands(operands)?;
                infer_product(x, x)?
            }
            Op::Multiply => {
                let [a, b] = expect_operands(operands)?;
                infer_product(a, b)?
            }
            Op::Add | Op::Subtract => {
                let [a, b] = expect_operands(operands)?;
                same_length(a, b)?;
                same_level_and_scale(a, b)?;
                Type { degree: a.degree.max(b.degree), ..(*a).clone() }
            }
            Op::Concat => infer_concat(operands)?,
            Op::Gather(gather) => {
                let [x] = expect_operands(operands)?;
                Type { length: gathered_length(x.length, &gather.indices)?, ..x.clone() }
            }
            Op::Relinearize => infer_relinearize(parameters, expect_operands::<_, 1>(operands)?[0])?,
            Op::Rescale => {
                let [x] = expect_operands(operands)?;
                let level = lower(x, 1)?;
                let prime = parameters.moduli().get(x.level).copied();
                let prime = prime.ok_or_else(|| TypeError::new(format!("there is no level {}", x.level)))?;
                Type { level, scale: x.scale.over(&Scale::prime(prime)), ..x.clone() }
            }
            Op::DropLevel(drop) => {
                let [x] = expect_operands(operands)?;
                Type { level: lower(x, drop.levels)?, ..x.clone() }
            }
            Op::Transform(transform) => infer_transform(parameters, transform, expect_operands::<_, 1>(operands)?[0])?,
            Op::Fold(fold) => {
                let [x] = expect_operands(operands)?;
                rotatable(parameters, x)?;
                let slots = parameters.slots();
                if let Some(step) = fold.steps.iter().find(|&&step| step == 0 || step >= slots) {
                    return Err(TypeError::new(format!("a rotation of {slots} slots by {step}")));
                }
                if fold.steps.is_empty() || fold.steps.len() > MAX_FOLDS {
                    let found = fold.steps.len();
                    return Err(TypeError::new(format!("a fold of {found} rotations: expected 1 to {MAX_FOLDS}")));
                }
                x.clone()
            }
            Op::Refresh(Refresh { layout, level, scale, .. }) => {
                some_operands(operands.len())?;
                if let Layout::Packed(packed) = layout {
                    fits_slots(parameters, packed.period())?;
                }
                Type { length: layout.array_length(), level: *level, scale: scale.clone(), degree: 1 }
            }
            Op::Blind(BlindAt { blind, weight_scale }) => {
                let [x] = expect_operands(operands)?;
                blind.fits(x.length)?;
                Type { scale: x.scale.times(weight_scale), ..x.clone() }
            }
        };
        fits_modulus(parameters, ty)
    }

    fn describe(op: &Op) -> (&'static str, Attributes) {
        let none = Attributes::new();
        match op {
            Op::Input(input) => {
                let named = input.layout.attributes(none.with_text("name", input.name.as_str()));
                let encoded = named.with_int("level", input.level as i64).with_scale("scale", input.scale.clone());
                ("input", encoded.with_mark("public", input.public))
            }
            Op::Combine(combine) => (
                "combine",
                none.with_int_matrix("matrix", combine.matrix.clone())
                    .with_scale("weight_scale", combine.weight_scale.clone())
                    .with_floats("bias", combine.bias.clone()),
            ),
            Op::Multiply => ("multiply", none),
            Op::Square => ("square", none),
            Op::Add => ("add", none),
            Op::Subtract => ("subtract", none),
            Op::Concat => ("concat", none),
            Op::Gather(gather) => ("gather", none.with_indices("indices", gather.indices.clone())),
            Op::Relinearize => ("relinearize", none),
            Op::Rescale => ("rescale", none),
            Op::DropLevel(drop) => ("drop_level", none.with_int("levels", drop.levels as i64)),
            Op::Transform(transform) => {
                let map = transform.map.attributes(none).with_scale("weight_scale", transform.weight_scale.clone());
                let map = map.with_int("baby_steps", transform.baby_steps as i64);
                ("transform", map.with_flag("just_in_time", transform.just_in_time))
            }
            Op::Fold(fold) => ("fold", none.with_sizes("steps", &fold.steps)),
            Op::Refresh(Refresh { round, name, layout, level, scale }) => {
                let named = none.with_int("round", *round as i64).with_text("name", name.as_str());
                let encoded = layout.attributes(named).with_int("level", *level as i64);
                ("refresh", encoded.with_scale("scale", scale.clone()))
            }
            Op::Blind(BlindAt { blind, weight_scale }) => {
                ("blind", blind.attributes(none).with_scale("weight_scale", weight_scale.clone()))
            }
        }
    }

    fn rebuild(name: &str, mut attributes: Attributes) -> Result<Op, AttributeError> {
        let a = &mut attributes;
        let op = match name {
            "input" => Op::Input(Input {
                name: a.text("name")?,
                layout: Layout::from_attributes(a)?,
                level: a.size("level")?,
                scale: a.scale("scale")?,
                public: a.mark("public")?,
            }),
            "combine" => Op::Combine(Combine {
                matrix: a.int_matrix("matrix")?,
                weight_scale: a.scale("weight_scale")?,
                bias: a.floats("bias")?,
            }),
            "multiply" => Op::Multiply,
            "square" => Op::Square,
            "add" => Op::Add,
            "subtract" => Op::Subtract,
            "concat" => Op::Concat,
            "gather" => Op::Gather(Gather { indices: a.indices("indices")? }),
            "relinearize" => Op::Relinearize,
            "rescale" => Op::Rescale,
            "drop_level" => Op::DropLevel(DropLevel { levels: a.size("levels")? }),
            "transform" => Op::Transform(Transform {
                map: Arc::new(LinearMap::from_attributes(a)?),
                weight_scale: a.scale("weight_scale")?,
                baby_steps: a.size("baby_steps")?,
                just_in_time: a.flag("just_in_time")?,
            }),
            "fold" => Op::Fold(Fold { steps: a.sizes("steps")? }),
            "refresh" => Op::Refresh(Refresh {
                round: a.size("round")?,
                name: a.text("name")?,
                layout: Layout::from_attributes(a)?,
                level: a.size("level")?,
                scale: a.scale("scale")?,
            }),
            "blind" => {
                let blind = Blind::from_attributes(a)?;
                Op::Blind(BlindAt { blind, weight_scale: a.scale("weight_scale")? })
            }
            other => return Err(AttributeError::UnknownOperation(other.to_owned())),
        };
        attributes.finish()?;
        Ok(op)
    }

    fn input_name(op: &Op) -> Option<&str> {
        if let Op::Input(input) = op { Some(&input.name) } else { None }
    }
}

fn infer_combine(combine: &Combine, x: &Type) -> Result<Type, TypeError> {
    let Combine { matrix, weight_scale, bias } = combine;
    let length = combined_length(x.length, matrix.rows(), matrix.cols(), bias.len())?;
    let mut largest = 0;
    matrix.blocks().iter().for_each(|b| largest = b.weights.iter().map(|w| w.unsigned_abs()).fold(largest, u32::max));
    if largest > 1 << MAX_WEIGHT_BITS {
        return Err(TypeError::new(format!("a weight of {largest} is larger than 2^{MAX_WEIGHT_BITS}")));
    }
    if !bias.iter().all(|b| b.is_finite()) {
        return Err(TypeError::new("a bias is not finite"));
    }
    Ok(Type { length, scale: x.scale.times(weight_scale), ..x.clone() })
}

fn infer_transform(parameters: &Parameters, transform: &Transform, x: &Type) -> Result<Type, TypeError> {
    let Transform { map, weight_scale, baby_steps, just_in_time: _ } = transform;
    let length = transformed_length(x.length, map)?;
    rotatable(parameters, x)?;
    let period = map.period();
    fits_slots(parameters, period)?;
    if !baby_steps.is_power_of_two() || *baby_steps > period {
        return Err(TypeError::new(format!("{baby_steps} baby steps are not a power of two of at most {period}")));
    }
    Ok(Type { length, scale: x.scale.times(weight_scale), ..x.clone() })
}

fn fits_slots(parameters: &Parameters, period: usize) -> Result<(), TypeError> {
    let slots = parameters.slots();
    if period > slots {
        return Err(TypeError::new(format!("{period} virtual slots do not fit vectors of {slots} slots")));
    }
    Ok(())
}

/// That slots of `x` can be rotated.
fn rotatable(parameters: &Parameters, x: &Type) -> Result<(), TypeError> {
    if parameters.special_primes().is_empty() {
        return Err(TypeError::new("the parameters have no special primes, so no key can be switched"));
    }
    if x.degree != 1 {
        return Err(TypeError::new(format!("a ciphertext of degree {} has to be relinearised before", x.degree)));
    }
    Ok(())
}

fn infer_product(a: &Type, b: &Type) -> Result<Type, TypeError> {
    same_length(a, b)?;
    if a.level != b.level {
        return Err(TypeError::new(format!("levels {} and {} differ", a.level, b.level)));
    }
    let degree = a.degree + b.degree;
    if degree > MAX_DEGREE {
        return Err(TypeError::new(format!("degree {degree} is above {MAX_DEGREE}: relinearize before the product")));
    }
    Ok(Type { degree, scale: a.scale.times(&b.scale), ..a.clone() })
}

fn infer_concat(operands: &[&Type]) -> Result<Type, TypeError> {
    let Some((first, rest)) = operands.split_first() else {
        return Err(TypeError::new("expected at least 1 operand, found 0"));
    };
    for other in rest {
        same_level_and_scale(first, other)?;
        if first.degree != other.degree {
            return Err(TypeError::new(format!("degrees {} and {} differ", first.degree, other.degree)));
        }
    }
    let length = operands.iter().fold(0usize, |sum, ty| sum.saturating_add(ty.length));
    Ok(Type { length, ..(*first).clone() })
}

fn infer_relinearize(parameters: &Parameters, x: &Type) -> Result<Type, TypeError> {
    if parameters.special_primes().is_empty() {
        return Err(TypeError::new("the parameters have no special primes, so no key can be switched"));
    }
    if x.degree < 2 {
        return Err(TypeError::new(format!("a ciphertext of degree {} needs no relinearization", x.degree)));
    }
    Ok(Type { degree: 1, ..x.clone() })
}

fn same_length(a: &Type, b: &Type) -> Result<(), TypeError> {
    if a.length == b.length {
        return Ok(());
    }
    Err(TypeError::new(format!("arrays of {} and {} do not match", a.length, b.length)))
}

fn same_level_and_scale(a: &Type, b: &Type) -> Result<(), TypeError> {
    if a.level != b.level {
        return Err(TypeError::new(format!("levels {} and {} differ", a.level, b.level)));
    }
    if a.scale != b.scale {
        return Err(TypeError::new(format!(
            "scales {} and {} differ ({:?} and {:?})",
            a.scale, b.scale, a.scale, b.scale
        )));
    }
    Ok(())
}

fn lower(x: &Type, levels: usize) -> Result<usize, TypeError> {
    match x.level.checked_sub(levels) {
        Some(level) if levels > 0 => Ok(level),
        Some(_) => Err(TypeError::new("dropping no levels does nothing")),
        None => Err(TypeError::new(format!("the level is exhausted: {levels} levels below level {}", x.level))),
    }
}

pub(crate) fn fits_modulus(parameters: &Parameters, ty: Type) -> Result<Type, TypeError> {
    if ty.length > MAX_LENGTH {
        return Err(TypeError::new(format!(
            "an array of {} ciphertexts; at most {MAX_LENGTH} are supported",
            ty.length
        )));
    }
    if ty.level > parameters.max_level() {
        let max = parameters.max_level();
        return Err(TypeError::new(format!("level {} is above the chain's last level {max}", ty.level)));
    }
    if ty.scale.largest_exponent().max(ty.scale.twos().unsigned_abs()) > MAX_SCALE_EXPONENT {
        return Err(TypeError::new("the scale is a quotient of too many primes"));
    }
    let (scale, modulus) = (ty.scale.log2(), parameters.log_q(ty.level));
    if scale >= modulus {
        let level = ty.level;
        return Err(TypeError::new(format!(
            "scale 2^{scale:.1} does not fit the modulus 2^{modulus:.1} of level {level}"
        )));
    }
    if scale < 0.0 {
        return Err(TypeError::new(format!("scale 2^{scale:.1} is below 1: nothing of the message is left")));
    }
    Ok(ty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;
    use crate::parameters::{Literal, PrimeSearch, RingType, Security};

    #[test]
    fn packed_inputs_fit_the_slots_and_joined_ones_the_memory() {
        let mut search = PrimeSearch::new(11);
        let moduli = vec![search.take(40).unwrap()];
        let (security, ring_type) = (Security::Bits128, RingType::Standard);
        let literal = Literal { ring_type, log_n: 11, moduli, special_primes: Vec::new(), security };
        let mut builder = Builder::<Ckks>::new(Parameters::new(literal).unwrap());
        let mut input = |period: usize| {
            let layout = Layout::Packed(crate::slots::Packed::dense(&[4], period).unwrap().into());
            let scale = Scale::power_of_two(20);
            builder.push(Op::Input(Input { name: "x".into(), layout, level: 0, scale, public: false }), &[])
        };
        let error = input(2048).unwrap_err().to_string();
        assert!(error.contains("2048 virtual slots do not fit vectors of 1024 slots"), "{error}");
        let x = input(1024).unwrap();
        // 2^14 slots each: the layouts of the first 4096 are known, and no memory is taken for the others.
        let joined: Vec<_> = (0..5000).map(|_| builder.push(Op::Concat, &[x; 16]).unwrap()).collect();
        let layouts = layouts(&builder.finish());
        assert_eq!(layouts[joined[0].index()].as_ref().map(|layout| layout.elements()), Some(64));
        assert!(layouts[joined[4095].index()].is_some() && layouts[joined[4096].index()].is_none());
    }

    #[test]
    fn arrays_that_double_and_double_are_refused() {
        let mut search = PrimeSearch::new(11);
        let moduli = vec![search.take(40).unwrap()];
        let (security, ring_type) = (Security::Bits128, RingType::Standard);
        let literal = Literal { ring_type, log_n: 11, moduli, special_primes: Vec::new(), security };
        let mut builder = Builder::<Ckks>::new(Parameters::new(literal).unwrap());
        let input = |length: usize| Input {
            name: "x".into(),
            layout: Layout::Batch { shape: vec![1, length] },
            level: 0,
            scale: Scale::power_of_two(20),
            public: false,
        };
        let mut x = builder.push(Op::Input(input(1)), &[]).unwrap();
        for _ in 0..24 {
            x = builder.push(Op::Concat, &[x, x]).unwrap();
        }
        let error = builder.push(Op::Concat, &[x, x]).unwrap_err().to_string();
        assert!(error.contains("at most 16777216 are supported"), "{error}");
        assert!(builder.push(Op::Input(input(MAX_LENGTH + 1)), &[]).is_err());
    }
}
