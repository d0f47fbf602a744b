//! A circuit's linear maps over the slots with their weights encoded, or ready to be.

use std::collections::{BTreeMap, BTreeSet};

use hec_ir::Scale;
use hec_ir::ckks::Transform;
use hec_runtime::expand::spread;
use rayon::prelude::*;

use super::weight_cache::Stored;
use crate::error::Error;
use crate::linear_transform::{StreamedTransform, encoded};
use crate::plaintext::Plaintext;
use crate::poly::Poly;
use crate::{Ciphertext, Context, GaloisKeys, LinearTransform, evaluate};

/// One transform, for operands of one level and scale.
#[derive(Debug)]
pub(super) struct Prepared {
    transform: Transform,
    level: usize,
    operand_scale: Scale,
    weights: Weights,
    /// For each vector of the result what is added.
    bias: Vec<Option<Plaintext>>,
}

#[derive(Debug)]
enum Weights {
    /// For each vector of the result a map for each vector of the operand.
    Encoded(Vec<Vec<Option<LinearTransform>>>),
    /// Their steps, in slots; they are encoded, or read from a file, each time they are used.
    JustInTime(Vec<Vec<BTreeSet<usize>>>, Option<Stored>),
}

/// The virtual steps of a map's diagonals, by vector of the result, then by vector of the operand. A vector to which no weight goes is
/// zero times the first operand.
pub(super) fn steps(transform: &Transform) -> Vec<Vec<BTreeSet<usize>>> {
    let (map, own) = (&transform.map, transform.map.steps());
    let mut row = |to: usize| -> Vec<BTreeSet<usize>> {
        let mut row: Vec<_> =
            (0..map.from().vectors()).map(|from| own.get(&[to, from]).cloned().unwrap_or_default()).collect();
        if row.iter().all(BTreeSet::is_empty) {
            row[0].insert(0);
        }
        row
    };
    (0..map.to().vectors()).map(&mut row).collect()
}

/// The diagonals of [`steps`] in their order: vectors of the result and of the operand, and virtual steps.
pub(super) fn places(steps: &[Vec<BTreeSet<usize>>]) -> impl Iterator<Item = [usize; 3]> + '_ {
    let row = |(to, row): (usize, &Vec<BTreeSet<usize>>)| {
        let own =
            |(from, steps): (usize, &BTreeSet<usize>)| steps.iter().map(|&step| [to, from, step]).collect::<Vec<_>>();
        row.iter().enumerate().flat_map(own).collect::<Vec<_>>()
    };
    steps.iter().enumerate().flat_map(row)
}

/// Encodes the diagonal of a vector of the result, one of the operand, and a virtual step.
///
/// # Errors
/// As [`Context::encode`].
pub(super) fn diagonal(
    context: &Context,
    transform: &Transform,
    level: usize,
    place: [usize; 3],
) -> Result<Poly, Error> {
    let (period, slots) = (transform.map.period(), context.parameters().slots());
    let diagonals = transform.map.diagonals();
    let values = diagonals.weights.get(&place).map_or_else(|| vec![0.0; period], |own| spread(own, period, slots));
    let giant = place[2] - place[2] % transform.baby_steps;
    encoded(context, level, &transform.weight_scale, giant * (slots / period), &[&values[..]])
}

impl Prepared {
    /// Encodes the diagonals, if they are not to be encoded just in time, and the bias. `source` says where diagonals come from.
    ///
    /// # Errors
    /// As [`Context::encode`]; [`Error::NoSpecialPrimes`].
    pub(super) fn new(
        context: &Context,
        transform: &Transform,
        level: usize,
        operand_scale: &Scale,
        source: Source,
    ) -> Result<Self, Error> {
        let map = &transform.map;
        let (period, slots) = (map.period(), context.parameters().slots());
        let samples = slots / period;
        let steps = steps(transform);
        let in_slots = |steps: &BTreeSet<usize>| steps.iter().map(|step| step * samples).collect();
        let weights = if transform.just_in_time {
            let stored = match source {
                Source::Stored(stored) => Some(stored),
                Source::Encode | Source::Made(_) => None,
            };
            Weights::JustInTime(steps.iter().map(|row| row.iter().map(in_slots).collect()).collect(), stored)
        } else {
            let mut polys: BTreeMap<[usize; 3], Poly> = match source {
                Source::Made(polys) => polys,
                Source::Encode | Source::Stored(_) => {
                    let all: Vec<[usize; 3]> = places(&steps).collect();
                    let encode = |place| Ok((place, diagonal(context, transform, level, place)?));
                    all.into_par_iter().map(encode).collect::<Result<_, Error>>()?
                }
            };
            let mut rows = Vec::with_capacity(steps.len());
            for (to, row) in steps.iter().enumerate() {
                let mut maps = Vec::with_capacity(row.len());
                for (from, steps) in row.iter().enumerate() {
                    let own = steps.iter().filter_map(|&step| Some((step * samples, polys.remove(&[to, from, step])?)));
                    let (own, scale): (Vec<_>, _) = (own.collect(), transform.weight_scale.clone());
                    maps.push(if own.is_empty() {
                        None
                    } else {
                        Some(LinearTransform::from_encoded(context, own, level, scale, transform.baby_steps * samples)?)
                    });
                }
                rows.push(maps);
            }
            Weights::Encoded(rows)
        };
        let scale = operand_scale.times(&transform.weight_scale);
        let encode = |bias: &Vec<(u32, f64)>| -> Result<Option<Plaintext>, Error> {
            if bias.is_empty() {
                return Ok(None);
            }
            let plaintext = context.encode(&spread(bias, period, slots), level, &scale)?;
            plaintext.transform(context).map(Some)
        };
        let bias = map.diagonals().bias.iter().map(encode).collect::<Result<_, _>>()?;
        Ok(Self { transform: transform.clone(), level, operand_scale: operand_scale.clone(), weights, bias })
    }

    /// Whether it is `transform` for operands like this one.
    pub(super) fn is_for(&self, transform: &Transform, operand: &Ciphertext) -> bool {
        let same = std::sync::Arc::ptr_eq(&self.transform.map, &transform.map);
        same && self.transform.weight_scale == transform.weight_scale
            && self.transform.baby_steps == transform.baby_steps
            && self.transform.just_in_time == transform.just_in_time
            && (self.level, &self.operand_scale) == (operand.level(), operand.scale())
    }

    /// An encoded diagonal, by its place; `None` for one that is encoded just in time.
    pub(super) fn encoded(&self, context: &Context, [to, from, step]: [usize; 3]) -> Option<&Poly> {
        let samples = context.parameters().slots() / self.transform.map.period();
        match &self.weights {
            Weights::Encoded(rows) => rows.get(to)?.get(from)?.as_ref()?.diagonal(step * samples),
            Weights::JustInTime(..) => None,
        }
    }

    /// # Errors
    /// As [`evaluate::linear_transform_block`].
    pub(super) fn apply(
        &self,
        context: &Context,
        operands: &[&Ciphertext],
        keys: &GaloisKeys,
    ) -> Result<Vec<Ciphertext>, Error> {
        let samples = context.parameters().slots() / self.transform.map.period();
        let mut results = match &self.weights {
            Weights::Encoded(rows) => {
                let rows: Vec<Vec<Option<&LinearTransform>>> =
                    rows.iter().map(|row| row.iter().map(Option::as_ref).collect()).collect();
                evaluate::linear_transform_block(context, operands, &rows, keys)?
            }
            Weights::JustInTime(steps, stored) => {
                let made = |[to, from, step]: [usize; 3]| {
                    let place = [to, from, step / samples];
                    // What cannot be read any more is encoded.
                    match stored.as_ref().and_then(|stored| stored.read(context, self.level, place)) {
                        Some(poly) => Ok(poly),
                        None => diagonal(context, &self.transform, self.level, place),
                    }
                };
                let streamed = StreamedTransform {
                    level: self.level,
                    scale: &self.transform.weight_scale,
                    baby_steps: self.transform.baby_steps * samples,
                    steps,
                    diagonal: &made,
                };
                evaluate::linear_transform_streamed(context, operands, &streamed, keys)?
            }
        };
        for (result, bias) in results.iter_mut().zip(&self.bias) {
            if let Some(bias) = bias {
                *result = evaluate::add_plain(context, result, bias)?;
            }
        }
        Ok(results)
    }
}

/// Where the diagonals of a transform come from.
pub(super) enum Source {
    /// They are encoded.
    Encode,
    /// They were read from a file.
    Made(BTreeMap<[usize; 3], Poly>),
    /// They are read from a file when they are needed.
    Stored(Stored),
}
