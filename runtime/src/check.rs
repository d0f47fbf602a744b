//! The certificate beside what is measured, layer by layer: a debugging mode, in which the client decrypts values in the middle of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use hec_ir::ckks::clear;
use hec_ir::ckks::precision::{Certificate, Promise};
use hec_ir::{Program, Value};
use rayon::prelude::*;

use crate::batch::SampleBatch;
use crate::engine::{Client, EngineError};
use crate::error::RunError;
use crate::executor::{Array, Observer};
use crate::simulate::Evaluation;

/// What was promised of a value, and what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The model's node, or the name of an output.
    pub name: String,
    /// Whether it is an output.
    pub output: bool,
    /// The promise.
    pub promise: Promise,
    /// Root mean square of the errors, relative to the same circuit in the clear.
    pub error: f64,
    /// The largest of them.
    pub largest: f64,
    /// How many there were.
    pub count: usize,
}

impl Checked {
    /// Whether no error was above the bound.
    pub fn holds(&self) -> bool {
        self.largest <= self.promise.bound
    }

    /// Bits by which the measured error is smaller than was expected; below 0 where it is larger.
    pub fn spare_bits(&self) -> f64 {
        (self.promise.error / self.error).log2()
    }
}

/// What was found in two batches.
pub(crate) fn merged(mut all: Vec<Checked>, more: Vec<Checked>) -> Vec<Checked> {
    if all.is_empty() {
        return more;
    }
    for (own, other) in all.iter_mut().zip(more) {
        let squares = |checked: &Checked| checked.error * checked.error * checked.count as f64;
        let count = own.count + other.count;
        own.error = ((squares(own) + squares(&other)) / count.max(1) as f64).sqrt();
        (own.largest, own.count) = (own.largest.max(other.largest), count);
    }
    all
}

/// Samples of a batch that values are compared for.
const SAMPLES: usize = 64;

/// Decrypts values at the ends of layers, and compares them with exact ones.
pub(crate) struct Checker<'a, C> {
    client: &'a C,
    certificate: &'a Certificate,
    width: usize,
    /// Samples of the batch; they are repeated over all slots.
    batch: usize,
    /// By value, the exact slots of each sample that is compared.
    exact: BTreeMap<usize, Vec<Vec<f64>>>,
    found: Mutex<BTreeMap<usize, Errors>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Errors {
    squares: f64,
    largest: f64,
    count: usize,
}

impl Errors {
    fn with(self, error: f64) -> Self {
        // What is no number is larger than any bound.
        let error = if error.is_nan() { f64::INFINITY } else { error.abs() };
        let (squares, largest) = (self.squares + error * error, self.largest.max(error));
        Self { squares, largest, count: self.count + 1 }
    }

    fn and(self, other: Self) -> Self {
        let (squares, largest) = (self.squares + other.squares, self.largest.max(other.largest));
        Self { squares, largest, count: self.count + other.count }
    }
}

impl<'a, C: Client<Ciphertext: Send + Sync>> Checker<'a, C> {
    /// For the samples `range` of `inputs`.
    pub(crate) fn new(
        client: &'a C,
        program: &Program,
        certificate: &'a Certificate,
        inputs: &BTreeMap<String, SampleBatch>,
        range: &Range<usize>,
        samples: usize,
    ) -> Result<Self, RunError> {
        let evaluation = Evaluation::new(program, inputs, samples)?;
        let compared = range.start..range.end.min(range.start + SAMPLES);
        let layers = certificate.layers.iter().map(|(_, own)| own);
        let outputs = certificate.outputs.iter().map(|(_, own)| own);
        let promised: BTreeSet<usize> = layers.chain(outputs).map(|own| own.value.index()).collect();
        let run = |sample| {
            let mut own: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
            evaluation.sample::<fn() -> u64>(sample, None, &mut |value, x| {
                if promised.contains(&value.index()) {
                    own.insert(value.index(), x.to_vec());
                }
            })?;
            Ok(own)
        };
        let mut exact: BTreeMap<usize, Vec<Vec<f64>>> = BTreeMap::new();
        for own in compared.into_par_iter().map(run).collect::<Result<Vec<_>, RunError>>()? {
            own.into_iter().for_each(|(value, x)| exact.entry(value).or_default().push(x));
        }
        let width = clear::width(program.circuit()).max(1);
        let (batch, found) = (range.len().max(1), Mutex::default());
        Ok(Self { client, certificate, width, batch, exact, found })
    }

    /// What was found, in the order of the circuit, outputs last.
    pub(crate) fn finish(self) -> Vec<Checked> {
        let found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let checked = |(name, output, promise): (String, bool, Promise)| {
            let errors = found.get(&promise.value.index())?;
            let error = (errors.squares / errors.count.max(1) as f64).sqrt();
            Some(Checked { name, output, promise, error, largest: errors.largest, count: errors.count })
        };
        let layers = self.certificate.layers.iter().map(|(origin, own)| (origin.as_str().to_owned(), false, *own));
        let outputs = self.certificate.outputs.iter().map(|(name, own)| (name.clone(), true, *own));
        layers.chain(outputs).filter_map(checked).collect()
    }

    fn errors(&self, slots: &[f64], vector: usize, exact: &[Vec<f64>]) -> Errors {
        let capacity = (slots.len() / self.width).max(1);
        let apart = |(slot, value): (usize, &f64)| {
            // Samples lie between each other, and fill all slots again and again.
            let (place, sample) = (slot / capacity, slot % capacity % self.batch);
            Some(value - exact.get(sample)?.get(vector * self.width + place)?)
        };
        slots.iter().enumerate().filter_map(apart).fold(Errors::default(), Errors::with)
    }
}

impl<C: Client<Ciphertext: Send + Sync>> Observer<C::Ciphertext> for Checker<'_, C> {
    fn computed(&self, value: Value, array: &Array<C::Ciphertext>) -> Result<(), EngineError> {
        let Some(exact) = self.exact.get(&value.index()) else { return Ok(()) };
        let each = |(vector, ciphertext): (usize, &std::sync::Arc<C::Ciphertext>)| {
            Ok(self.errors(&self.client.decrypt(ciphertext)?, vector, exact))
        };
        let all: Vec<Errors> = array.par_iter().enumerate().map(each).collect::<Result<_, EngineError>>()?;
        let total = all.into_iter().fold(Errors::default(), Errors::and);
        self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(value.index(), total);
        Ok(())
    }
}
