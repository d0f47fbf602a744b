//! A circuit's linear maps over the slots with their weights encoded.

use std::collections::BTreeMap;

use hec_ir::Scale;
use hec_ir::ckks::Transform;
use hec_runtime::expand::spread;

use crate::error::Error;
use crate::plaintext::Plaintext;
use crate::{Ciphertext, Context, GaloisKeys, LinearTransform, TransformSettings, evaluate};

/// One transform, for operands of one level and scale.
#[derive(Debug)]
pub(super) struct Prepared {
    transform: Transform,
    level: usize,
    operand_scale: Scale,
    /// For each vector of the result a map for each vector of the operand.
    rows: Vec<Vec<Option<LinearTransform>>>,
    /// For each vector of the result what is added.
    bias: Vec<Option<Plaintext>>,
}

impl Prepared {
    /// Encodes the diagonals and the bias.
    ///
    /// # Errors
    /// As [`LinearTransform::new`] and [`Context::encode`].
    pub(super) fn new(
        context: &Context,
        transform: &Transform,
        level: usize,
        operand_scale: &Scale,
    ) -> Result<Self, Error> {
        let map = &transform.map;
        let (period, slots) = (map.period(), context.parameters().slots());
        let samples = slots / period;
        let diagonals = map.diagonals();
        let settings = TransformSettings {
            level,
            scale: Some(transform.weight_scale.clone()),
            baby_steps: Some(transform.baby_steps * samples),
        };
        let mut rows = Vec::with_capacity(map.to().vectors());
        for to in 0..map.to().vectors() {
            let mut row = Vec::with_capacity(map.from().vectors());
            for from in 0..map.from().vectors() {
                let steps = diagonals.weights.range([to, from, 0]..[to, from, period]);
                let dense = |(key, weights): (&[usize; 3], &Vec<(u32, f64)>)| {
                    ((key[2] * samples) as i64, spread(weights, period, slots))
                };
                let dense: BTreeMap<i64, Vec<f64>> = steps.map(dense).collect();
                row.push(if dense.is_empty() { None } else { Some(LinearTransform::new(context, &dense, &settings)?) });
            }
            if row.iter().all(Option::is_none) {
                // Nothing but a bias: zero times the first operand.
                let zero = BTreeMap::from([(0, vec![0.0; slots])]);
                row[0] = Some(LinearTransform::new(context, &zero, &settings)?);
            }
            rows.push(row);
        }
        let scale = operand_scale.times(&transform.weight_scale);
        let encode = |bias: &Vec<(u32, f64)>| -> Result<Option<Plaintext>, Error> {
            if bias.is_empty() {
                return Ok(None);
            }
            let plaintext = context.encode(&spread(bias, period, slots), level, &scale)?;
            plaintext.transform(context).map(Some)
        };
        let bias = diagonals.bias.iter().map(encode).collect::<Result<_, _>>()?;
        Ok(Self { transform: transform.clone(), level, operand_scale: operand_scale.clone(), rows, bias })
    }

    /// Whether it is `transform` for operands like this one.
    pub(super) fn is_for(&self, transform: &Transform, operand: &Ciphertext) -> bool {
        let same = std::sync::Arc::ptr_eq(&self.transform.map, &transform.map);
        same && self.transform.weight_scale == transform.weight_scale
            && self.transform.baby_steps == transform.baby_steps
            && (self.level, &self.operand_scale) == (operand.level(), operand.scale())
    }

    /// # Errors
    /// As [`evaluate::linear_transform_block`].
    pub(super) fn apply(
        &self,
        context: &Context,
        operands: &[&Ciphertext],
        keys: &GaloisKeys,
    ) -> Result<Vec<Ciphertext>, Error> {
        let rows: Vec<Vec<Option<&LinearTransform>>> =
            self.rows.iter().map(|row| row.iter().map(Option::as_ref).collect()).collect();
        let mut results = evaluate::linear_transform_block(context, operands, &rows, keys)?;
        for (result, bias) in results.iter_mut().zip(&self.bias) {
            if let Some(bias) = bias {
                *result = evaluate::add_plain(context, result, bias)?;
            }
        }
        Ok(results)
    }
}
