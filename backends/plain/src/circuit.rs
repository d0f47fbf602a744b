use std::sync::Arc;

use hec_ir::Scale;
use hec_ir::ckks::{Circuit, Ckks, Combine, DropLevel, Fold, KeyNeeds, Op, Relinearization, Type, key_needs};
use hec_ir::graph::Dialect;
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::parameters::Parameters;
use hec_runtime::expand::combinable;
use hec_runtime::{Client, Engine, EngineError, Evaluator, Metadata};
use rayon::prelude::*;

/// An engine whose ciphertexts are clear slot vectors with a level, a scale and a degree.
///
/// It follows CKKS's rules: it refuses what the `ckks` dialect refuses, weights are the circuit's integers, biases are rounded
/// at the result's scale, a relinearization needs its key, and a value that might not fit the modulus where that
/// matters (encryption, rescaling, decryption) is an error. It adds no noise and does not round inputs.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClearEngine;

/// What stands for a ciphertext.
#[derive(Clone, Debug, PartialEq)]
pub struct Clear {
    slots: Vec<f64>,
    ty: Type,
    parameters: Parameters,
}

/// Both directions of no encryption.
#[derive(Clone, Debug)]
pub struct ClearClient {
    parameters: Parameters,
}

/// Computes slot by slot.
#[derive(Clone, Debug)]
pub struct ClearEvaluator {
    parameters: Parameters,
    keys: KeyNeeds,
}

impl Engine for ClearEngine {
    type Ciphertext = Clear;
    type Client = ClearClient;
    type Evaluator = ClearEvaluator;

    fn generate(&self, circuit: &Circuit) -> Result<(ClearClient, ClearEvaluator), EngineError> {
        let parameters = circuit.context().clone();
        Ok((ClearClient { parameters: parameters.clone() }, ClearEvaluator { parameters, keys: key_needs(circuit) }))
    }
}

impl Client for ClearClient {
    type Ciphertext = Clear;

    fn encrypt(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Clear, EngineError> {
        fresh(&self.parameters, slots, level, scale)
    }

    fn decrypt(&self, ciphertext: &Clear) -> Result<Vec<f64>, EngineError> {
        same_parameters(&self.parameters, ciphertext)?;
        fits_modulus(ciphertext)?;
        Ok(ciphertext.slots.clone())
    }

    fn ciphertext_bytes(&self, ciphertext: &Clear) -> u64 {
        size_of_val(&ciphertext.slots[..]) as u64
    }
}

impl Evaluator for ClearEvaluator {
    type Ciphertext = Clear;

    fn metadata(&self, ciphertext: &Clear) -> Metadata {
        Metadata::from(&ciphertext.ty)
    }

    fn key_bytes(&self) -> u64 {
        0
    }

    fn encode(&self, slots: &[f64], level: usize, scale: &Scale) -> Result<Clear, EngineError> {
        fresh(&self.parameters, slots, level, scale)
    }

    fn add(&self, a: &Clear, b: &Clear) -> Result<Clear, EngineError> {
        self.zip(&Op::Add, a, b, |a, b| a + b)
    }

    fn subtract(&self, a: &Clear, b: &Clear) -> Result<Clear, EngineError> {
        self.zip(&Op::Subtract, a, b, |a, b| a - b)
    }

    fn add_constant(&self, a: &Clear, value: f64) -> Result<Clear, EngineError> {
        same_parameters(&self.parameters, a)?;
        let value = rounded(value, &a.ty, &self.parameters)?;
        Ok(a.with(a.ty.clone(), a.slots.iter().map(|slot| slot + value).collect()))
    }

    fn multiply_integer(&self, a: &Clear, weight: i32, weight_scale: &Scale) -> Result<Clear, EngineError> {
        let index: Arc<[u32]> = [0].into();
        let block = Block { rows: index.clone(), cols: index, weights: [weight].into() };
        let matrix = Arc::new(BlockMatrix::new(1, 1, vec![block]).map_err(EngineError::new)?);
        let op = Op::Combine(Combine { matrix, weight_scale: weight_scale.clone(), bias: [0.0].into() });
        let factor = f64::from(weight) / weight_scale.to_f64();
        self.map(&op, a, |slot| slot * factor)
    }

    fn multiply(&self, a: &Clear, b: &Clear) -> Result<Clear, EngineError> {
        self.zip(&Op::Multiply, a, b, |a, b| a * b)
    }

    fn relinearize(&self, a: &Clear) -> Result<Clear, EngineError> {
        let result = self.map(&Op::Relinearize, a, |slot| slot)?;
        let Type { level, degree, .. } = a.ty;
        match self.keys.relinearization {
            Some(key) if key.level >= level && key.degree >= degree => Ok(result),
            Some(Relinearization { level: l, degree: d }) => Err(EngineError(format!(
                "no relinearization key for degree {degree} at level {level}: there is one for degree {d} at level {l}"
            ))),
            None => Err(EngineError(format!("there is no relinearization key (degree {degree} at level {level})"))),
        }
    }

    fn rescale(&self, a: &Clear) -> Result<Clear, EngineError> {
        fits_modulus(a)?;
        self.map(&Op::Rescale, a, |slot| slot)
    }

    fn drop_level(&self, a: &Clear, levels: usize) -> Result<Clear, EngineError> {
        self.map(&Op::DropLevel(DropLevel { levels }), a, |slot| slot)
    }

    fn slots(&self) -> usize {
        self.parameters.slots()
    }

    fn rotate(&self, a: &Clear, steps: usize) -> Result<Clear, EngineError> {
        same_parameters(&self.parameters, a)?;
        let ty = Ckks::infer(&self.parameters, &Op::Fold(Fold { steps: vec![steps] }), &[&a.ty])
            .map_err(EngineError::new)?;
        let level = a.ty.level;
        match self.keys.rotations.get(&steps) {
            Some(&key) if key >= level => {}
            Some(key) => {
                return Err(EngineError(format!("the key for rotations by {steps} is for level {key}, not {level}")));
            }
            None => return Err(EngineError(format!("there is no key for rotations by {steps} (level {level})"))),
        }
        let mut slots = a.slots.clone();
        slots.rotate_left(steps);
        Ok(a.with(ty, slots))
    }

    fn multiply_plain(&self, a: &Clear, weights: &[f64], weight_scale: &Scale) -> Result<Clear, EngineError> {
        same_parameters(&self.parameters, a)?;
        self.one_for_each_slot(weights)?;
        let weighted = Clear {
            ty: Type { scale: weight_scale.clone(), ..a.ty.clone() },
            ..a.with(a.ty.clone(), weights.to_vec())
        };
        fits_modulus(&weighted)?;
        let ty = Type { scale: a.ty.scale.times(weight_scale), ..a.ty.clone() };
        Ok(a.with(ty, a.slots.iter().zip(weights).map(|(slot, weight)| slot * weight).collect()))
    }

    fn add_plain(&self, a: &Clear, values: &[f64]) -> Result<Clear, EngineError> {
        same_parameters(&self.parameters, a)?;
        self.one_for_each_slot(values)?;
        fits_modulus(&a.with(a.ty.clone(), values.to_vec()))?;
        Ok(a.with(a.ty.clone(), a.slots.iter().zip(values).map(|(slot, value)| slot + value).collect()))
    }

    fn combine(&self, operands: &[&Clear], combine: &Combine) -> Result<Vec<Clear>, EngineError> {
        let Combine { matrix, weight_scale, bias } = combine;
        let first = combinable(self, operands, combine)?;
        for operand in operands {
            same_parameters(&self.parameters, operand)?;
        }
        let array = Type { length: operands.len(), ..first.ty.clone() };
        let ty = Ckks::infer(&self.parameters, &Op::Combine(combine.clone()), &[&array]).map_err(EngineError::new)?;
        let ty = Type { length: 1, ..ty };

        let mut terms: Vec<Vec<(usize, f64)>> = vec![Vec::new(); matrix.rows()];
        matrix.for_each(|row, col, &weight| terms[row].push((col, f64::from(weight))));
        let row = |(terms, &bias): (&Vec<(usize, f64)>, &f64)| {
            let mut sums = vec![0.0; self.parameters.slots()];
            for &(col, weight) in terms {
                sums.iter_mut().zip(&operands[col].slots).for_each(|(sum, slot)| *sum += weight * slot);
            }
            let (divisor, bias) = (weight_scale.to_f64(), rounded(bias, &ty, &self.parameters)?);
            sums.iter_mut().for_each(|sum| *sum = *sum / divisor + bias);
            Ok(first.with(ty.clone(), sums))
        };
        terms.par_iter().zip(&bias[..]).map(row).collect()
    }
}

impl ClearEvaluator {
    fn one_for_each_slot(&self, values: &[f64]) -> Result<(), EngineError> {
        let slots = self.parameters.slots();
        if values.len() != slots {
            return Err(EngineError(format!("expected {slots} values, found {}", values.len())));
        }
        match values.iter().find(|value| !value.is_finite()) {
            Some(value) => Err(EngineError(format!("the value {value} is not finite"))),
            None => Ok(()),
        }
    }

    fn map(&self, op: &Op, a: &Clear, f: impl Fn(f64) -> f64) -> Result<Clear, EngineError> {
        same_parameters(&self.parameters, a)?;
        let ty = Ckks::infer(&self.parameters, op, &[&a.ty]).map_err(EngineError::new)?;
        Ok(a.with(ty, a.slots.iter().map(|&slot| f(slot)).collect()))
    }

    fn zip(&self, op: &Op, a: &Clear, b: &Clear, f: impl Fn(f64, f64) -> f64) -> Result<Clear, EngineError> {
        same_parameters(&self.parameters, a)?;
        same_parameters(&self.parameters, b)?;
        let ty = Ckks::infer(&self.parameters, op, &[&a.ty, &b.ty]).map_err(EngineError::new)?;
        Ok(a.with(ty, a.slots.iter().zip(&b.slots).map(|(&a, &b)| f(a, b)).collect()))
    }
}

impl Clear {
    fn with(&self, ty: Type, slots: Vec<f64>) -> Self {
        Self { slots, ty, parameters: self.parameters.clone() }
    }
}

/// An input, which is encoded and encrypted alike.
fn fresh(parameters: &Parameters, slots: &[f64], level: usize, scale: &Scale) -> Result<Clear, EngineError> {
    let available = parameters.slots();
    if slots.len() > available {
        return Err(EngineError(format!("{} values do not fit {available} slots", slots.len())));
    }
    if let Some(value) = slots.iter().find(|value| !value.is_finite()) {
        return Err(EngineError(format!("the value {value} is not finite")));
    }
    let input = hec_ir::ckks::Input {
        name: String::new(),
        layout: hec_ir::slots::Layout::Batch { shape: vec![1] },
        level,
        scale: scale.clone(),
        public: false,
    };
    let ty = Ckks::infer(parameters, &Op::Input(input), &[]).map_err(EngineError::new)?;
    let mut slots = slots.to_vec();
    slots.resize(available, 0.0);
    let fresh = Clear { slots, ty, parameters: parameters.clone() };
    fits_modulus(&fresh)?;
    Ok(fresh)
}

fn same_parameters(expected: &Parameters, ciphertext: &Clear) -> Result<(), EngineError> {
    if ciphertext.parameters.fingerprint() == expected.fingerprint() {
        return Ok(());
    }
    Err(EngineError::new("the ciphertext belongs to other parameters"))
}

/// `value` as an integer encoding holds it beside a ciphertext of type `ty`.
fn rounded(value: f64, ty: &Type, parameters: &Parameters) -> Result<f64, EngineError> {
    if !value.is_finite() {
        return Err(EngineError(format!("the constant {value} is not finite")));
    }
    fits("constant", value.abs(), ty, parameters)?;
    let scale = ty.scale.to_f64();
    Ok((value * scale).round() / scale)
}

/// The coefficients of an encoding are at most its largest slot: if that fits, nothing wraps.
fn fits_modulus(ciphertext: &Clear) -> Result<(), EngineError> {
    let largest = ciphertext.slots.iter().fold(0.0f64, |largest, slot| largest.max(slot.abs()));
    fits("slot", largest, &ciphertext.ty, &ciphertext.parameters)
}

fn fits(what: &str, largest: f64, ty: &Type, parameters: &Parameters) -> Result<(), EngineError> {
    let Type { level, scale, .. } = ty;
    let modulus = parameters.log_q(*level);
    if largest.log2() + scale.log2() < modulus - 1.0 {
        return Ok(());
    }
    Err(EngineError(format!(
        "a {what} of {largest:.3e} at scale {scale} does not fit the modulus 2^{modulus:.1} of level {level}"
    )))
}

#[cfg(test)]
mod tests {
    use hec_ir::Builder;
    use hec_ir::parameters::{Literal, PrimeSearch, RingType, Security};

    use super::*;

    fn parameters() -> Parameters {
        let mut search = PrimeSearch::new(10);
        let moduli = [49, 40, 40].map(|bits| search.take(bits).unwrap()).to_vec();
        Parameters::insecure_for_tests(Literal {
            ring_type: RingType::Standard,
            log_n: 10,
            moduli,
            special_primes: vec![],
            security: Security::Bits128,
        })
        .unwrap()
    }

    #[test]
    fn biases_are_rounded_at_their_scale_and_weights_are_quantised() {
        let circuit = Builder::<Ckks>::new(parameters()).finish();
        let (client, evaluator) = ClearEngine.generate(&circuit).unwrap();
        let x = client.encrypt(&[0.5], 1, &Scale::power_of_two(3)).unwrap();
        let y = evaluator.add_constant(&x, 0.3).unwrap();
        assert_eq!(client.decrypt(&y).unwrap()[..2], [0.75, 0.25]);
        let z = evaluator.multiply_integer(&x, 3, &Scale::power_of_two(2)).unwrap();
        assert_eq!((client.decrypt(&z).unwrap()[0], z.ty.scale), (0.375, Scale::power_of_two(5)));
    }

    #[test]
    fn a_value_that_outgrows_the_modulus_is_an_error_where_it_would_wrap() {
        let circuit = Builder::<Ckks>::new(parameters()).finish();
        let (client, evaluator) = ClearEngine.generate(&circuit).unwrap();
        let x = client.encrypt(&[200.0], 0, &Scale::power_of_two(40)).unwrap();
        let y = evaluator.add(&x, &x).unwrap();
        let error = client.decrypt(&y).unwrap_err().to_string();
        assert_eq!(error, "a slot of 4.000e2 at scale 2^40 does not fit the modulus 2^49.0 of level 0");
        assert!(client.decrypt(&evaluator.subtract(&y, &x).unwrap()).is_ok());
    }
}
