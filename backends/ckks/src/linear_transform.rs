//! Linear maps of the slots, prepared from their diagonals.

use std::collections::{BTreeMap, BTreeSet};

use hec_ir::Scale;
use rayon::prelude::*;

use crate::automorphism::Automorphism;
use crate::context::Context;
use crate::encoding::Complex;
use crate::error::Error;
use crate::poly::Poly;

/// How a [`LinearTransform`] is prepared.
#[derive(Clone, Debug, PartialEq)]
pub struct TransformSettings {
    /// The level of the ciphertexts that it is applied to.
    pub level: usize,
    /// The scale of the matrix. By default the prime `q_level`: the rescaling after the transform divides by just that,
    /// so that the operand's scale comes back exactly.
    pub scale: Option<Scale>,
    /// The number of baby steps, a power of two of at most the number of slots. By default the one of least [`TransformCost::weight`].
    /// Transforms of one ciphertext share the rotations of their baby steps: equal numbers need fewest.
    pub baby_steps: Option<usize>,
}

impl TransformSettings {
    /// The defaults at `level`.
    pub fn at_level(level: usize) -> Self {
        Self { level, scale: None, baby_steps: None }
    }
}

/// What applying a transform to a ciphertext takes, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransformCost {
    /// Polynomials cut into digits.
    pub decompositions: usize,
    /// Digits of a polynomial times a key: one for each baby step and each giant step, except the steps of 0.
    pub key_products: usize,
    /// Divisions of a polynomial by the special primes.
    pub mod_downs: usize,
    /// Products of both halves of a ciphertext with a diagonal.
    pub plain_products: usize,
    /// Transforms of one limb between coefficients and the NTT domain.
    pub transforms: usize,
}

impl TransformCost {
    fn new(context: &Context, level: usize, babies: usize, giants: usize, diagonals: usize) -> Result<Self, Error> {
        if babies + giants == 0 {
            let none =
                Self { decompositions: 0, key_products: 0, mod_downs: 0, plain_products: diagonals, transforms: 0 };
            return Ok(none);
        }
        let extended = level + 1 + context.special().len();
        let (decompositions, mod_downs) = (giants + usize::from(babies > 0), giants + 2);
        let transforms = (decompositions * context.digits(level)? + mod_downs) * extended;
        Ok(Self { decompositions, key_products: babies + giants, mod_downs, plain_products: diagonals, transforms })
    }

    /// An estimate of the time, in multiply-adds of N residues: a transform of a limb counts as its `log2(N)/2` rows of
    /// butterflies, a product with a key as two for each digit and limb, and as many as two digits for the
    /// automorphism. A model for comparing numbers of baby steps, not a measurement.
    pub fn weight(&self, context: &Context, level: usize) -> f64 {
        let extended = (level + 1 + context.special().len()) as f64;
        let digits = context.digits(level).unwrap_or(0) as f64;
        self.transforms as f64 * f64::from(context.parameters().log_n()) / 2.0
            + self.key_products as f64 * 2.0 * extended * (digits + 1.0)
            + self.plain_products as f64 * 2.0 * extended
    }
}

/// A linear map of the slots, with its diagonals encoded for ciphertexts of one level.
///
/// The map is the sum over steps `k` of `d_k * rotate(x, k)`, slot by slot: entry `(r, r + k)` of its matrix, modulo the number of slots, is
/// slot `r` of the *generalised diagonal* `d_k`. With `k = i + j`, `i` the remainder by the number of baby steps, it is
/// `sum_j rotate(sum_i rotate(d_(i+j), -j) * rotate(x, i), j)`: rotations by the baby steps `i` of the operand, whose
/// digits are computed once, and by the giant steps `j` of the inner sums (Halevi and Shoup, eprint 2018/244).
/// Everything stays modulo `Q P` until the end: baby steps are not divided by `P`, giant steps divide the one
/// polynomial that they cut into digits (*double hoisting*: Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT
/// 2021, eprint 2020/1203, section 4). So the diagonals are encoded modulo `Q P`, and take
/// `8 N (level + 1 + special primes)` bytes each.
#[derive(Clone)]
pub struct LinearTransform {
    pub(crate) level: usize,
    pub(crate) scale: Scale,
    pub(crate) baby_steps: usize,
    /// By giant step, then by baby step: rotated to the right by the giant step, modulo `Q P`, NTT domain.
    pub(crate) giants: BTreeMap<usize, BTreeMap<usize, Poly>>,
    cost: TransformCost,
    fingerprint: [u8; 32],
}

impl LinearTransform {
    /// Encodes the diagonals: for each step a vector of real or complex values, whose length divides the number of
    /// slots and which repeats. Steps count modulo the number of slots; diagonals that then coincide are added.
    ///
    /// # Errors
    /// [`Error::NoDiagonals`], [`Error::DiagonalLength`], [`Error::BabySteps`], [`Error::LevelTooHigh`]; as
    /// [`Context::encode_complex`]; [`Error::NoSpecialPrimes`], unless step 0 is all there is.
    pub fn new<V: Copy + Into<Complex> + Sync>(
        context: &Context,
        diagonals: &BTreeMap<i64, Vec<V>>,
        settings: &TransformSettings,
    ) -> Result<Self, Error> {
        let level = settings.level;
        context.check_level("linear transform", level)?;
        let slots = context.parameters().slots();
        let mut by_step: BTreeMap<usize, Vec<&[V]>> = BTreeMap::new();
        for (&step, values) in diagonals {
            if values.is_empty() || !slots.is_multiple_of(values.len()) {
                return Err(Error::DiagonalLength { step, slots, found: values.len() });
            }
            by_step.entry(step.rem_euclid(slots as i64) as usize).or_default().push(values);
        }
        if by_step.is_empty() {
            return Err(Error::NoDiagonals);
        }
        let steps: Vec<usize> = by_step.keys().copied().collect();
        let baby_steps = match settings.baby_steps {
            Some(found) if !found.is_power_of_two() || found > slots => return Err(Error::BabySteps { slots, found }),
            Some(given) => given,
            None => cheapest(context, level, &steps)?,
        };
        let scale = settings.scale.clone().unwrap_or_else(|| Scale::prime(context.modulus(level).value()));
        let encode = |(step, terms): (usize, Vec<&[V]>)| {
            Ok((step, encoded(context, level, &scale, step - step % baby_steps, &terms)?))
        };
        let encoded = by_step.into_par_iter().map(encode).collect::<Result<Vec<_>, Error>>()?;
        Self::from_encoded(context, encoded, level, scale, baby_steps)
    }

    /// Of diagonals that are encoded already, each with its step: rotated to the right by its giant step.
    ///
    /// # Errors
    /// [`Error::NoSpecialPrimes`], unless step 0 is all there is.
    pub(crate) fn from_encoded(
        context: &Context,
        diagonals: Vec<(usize, Poly)>,
        level: usize,
        scale: Scale,
        baby_steps: usize,
    ) -> Result<Self, Error> {
        let steps: Vec<usize> = diagonals.iter().map(|(step, _)| *step).collect();
        let mut giants: BTreeMap<usize, BTreeMap<usize, Poly>> = BTreeMap::new();
        for (step, poly) in diagonals {
            let baby = step % baby_steps;
            giants.entry(step - baby).or_default().insert(baby, poly);
        }
        let cost = cost(context, level, &steps, baby_steps)?;
        Ok(Self { level, scale, baby_steps, giants, cost, fingerprint: *context.parameters().fingerprint() })
    }

    /// The encoded diagonal of a step.
    pub(crate) fn diagonal(&self, step: usize) -> Option<&Poly> {
        let baby = step % self.baby_steps;
        self.giants.get(&(step - baby))?.get(&baby)
    }

    /// The level of the ciphertexts that the transform is for.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The scale of the diagonals, by which the transform multiplies that of a ciphertext.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// The number of baby steps.
    pub fn baby_steps(&self) -> usize {
        self.baby_steps
    }

    /// What applying it takes.
    pub fn cost(&self) -> TransformCost {
        self.cost
    }

    /// Whether it only scales slots, without any rotation.
    pub(crate) fn is_diagonal(&self) -> bool {
        self.cost.key_products == 0
    }

    /// The rotations whose keys it needs, at its level.
    pub fn required_rotations(&self) -> BTreeSet<Automorphism> {
        let babies = self.giants.values().flat_map(BTreeMap::keys);
        let steps: BTreeSet<usize> = babies.chain(self.giants.keys()).copied().filter(|&step| step != 0).collect();
        steps.into_iter().map(|step| Automorphism::Rotation { steps: step as i64 }).collect()
    }

    /// Bytes that the diagonals take in memory.
    pub fn memory(&self) -> usize {
        self.giants.values().flat_map(BTreeMap::values).map(Poly::memory).sum()
    }

    pub(crate) fn check(&self, context: &Context, operation: &'static str, level: usize) -> Result<(), Error> {
        context.check_fingerprint(operation, &self.fingerprint)?;
        if level == self.level { Ok(()) } else { Err(Error::Level { operation, expected: self.level, found: level }) }
    }
}

impl std::fmt::Debug for LinearTransform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinearTransform")
            .field("level", &self.level)
            .field("scale", &self.scale)
            .field("baby_steps", &self.baby_steps)
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// Linear maps of several ciphertexts of one level whose diagonals are made while they are applied.
pub(crate) struct StreamedTransform<'a> {
    /// The operands' level.
    pub(crate) level: usize,
    /// The scale of the diagonals.
    pub(crate) scale: &'a Scale,
    /// The number of baby steps, a power of two.
    pub(crate) baby_steps: usize,
    /// By result, then by operand: rotations of slots, each by less than their number.
    pub(crate) steps: &'a [Vec<BTreeSet<usize>>],
    /// Makes the diagonal of a result, an operand and a step as [`encoded`] does.
    pub(crate) diagonal: &'a (dyn Fn([usize; 3]) -> Result<Poly, Error> + Sync),
}

/// The sum of some values that repeat, rotated to the right by a giant step and encoded modulo `Q P`.
pub(crate) fn encoded<V: Copy + Into<Complex>>(
    context: &Context,
    level: usize,
    scale: &Scale,
    giant: usize,
    terms: &[&[V]],
) -> Result<Poly, Error> {
    let slots = context.parameters().slots();
    context.encode_extended(level, scale, |slot| {
        let from = slot + slots - giant;
        terms.iter().fold(Complex::default(), |sum, values| {
            let value: Complex = values[from % values.len()].into();
            Complex { re: sum.re + value.re, im: sum.im + value.im }
        })
    })
}

/// The cost of a transform with these steps and number of baby steps.
fn cost(context: &Context, level: usize, steps: &[usize], baby_steps: usize) -> Result<TransformCost, Error> {
    let count = |part: &dyn Fn(usize) -> usize| {
        steps.iter().map(|&step| part(step)).filter(|&part| part != 0).collect::<BTreeSet<_>>().len()
    };
    let (babies, giants) = (count(&|step| step % baby_steps), count(&|step| step / baby_steps));
    TransformCost::new(context, level, babies, giants, steps.len())
}

/// The number of baby steps of least weight; the smallest among equals.
fn cheapest(context: &Context, level: usize, steps: &[usize]) -> Result<usize, Error> {
    let mut best = (f64::INFINITY, 1);
    for log in 0..=context.parameters().slots().trailing_zeros() {
        let weight = cost(context, level, steps, 1 << log)?.weight(context, level);
        if weight < best.0 {
            best = (weight, 1 << log);
        }
    }
    Ok(best.1)
}
