use std::sync::Arc;

use hec_ir::Scale;
use hec_ir::ckks::{Circuit, Combine, MAX_DEGREE, Op};
use hec_ir::matrix::{Block, BlockMatrix};

use super::harness::{SCALE_BITS, Setting, TOP, Verdict, input, scale};
use crate::engine::{Client, Engine, EngineError, Evaluator};

/// `result` must be an error that speaks of all `words`.
fn refused<T>(what: &str, result: Result<T, EngineError>, words: &[&str]) -> Verdict {
    let Err(error) = result else { return Err(format!("{what} was not refused").into()) };
    let text = error.to_string();
    match words.iter().find(|word| !text.to_lowercase().contains(**word)) {
        Some(word) => Err(format!("{what}: the error does not speak of \"{word}\": {text}").into()),
        None => Ok(()),
    }
}

/// A circuit that needs no keys.
fn keyless(setting: &Setting) -> Result<Circuit, Box<dyn std::error::Error + Send + Sync>> {
    Ok(setting.builder()?.finish())
}

/// Sums, differences, products and combines of different levels.
///
/// # Errors
/// What was not refused.
pub fn refuses_unequal_levels<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    let a = client.encrypt(&[0.5], TOP, &scale())?;
    let b = client.encrypt(&[0.5], TOP - 1, &scale())?;
    refused("a sum of two levels", evaluator.add(&a, &b), &["level"])?;
    refused("a difference of two levels", evaluator.subtract(&b, &a), &["level"])?;
    refused("a product of two levels", evaluator.multiply(&a, &b), &["level"])?;
    refused("a combine of two levels", evaluator.combine(&[&a, &b], &sum_of_two()?), &[])
}

/// Sums, differences and combines of different scales, also of scales that differ only by a prime near a power of two.
///
/// # Errors
/// What was not refused.
pub fn refuses_unequal_scales<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    let near = Scale::prime(setting.parameters()?.moduli()[TOP]);
    for other in [Scale::power_of_two(SCALE_BITS + 1), near] {
        let a = client.encrypt(&[0.5], TOP, &scale())?;
        let b = client.encrypt(&[0.5], TOP, &other)?;
        refused("a sum of two scales", evaluator.add(&a, &b), &["scale"])?;
        refused("a difference of two scales", evaluator.subtract(&b, &a), &["scale"])?;
        refused("a combine of two scales", evaluator.combine(&[&a, &b], &sum_of_two()?), &[])?;
    }
    Ok(())
}

/// Combines of different degrees.
///
/// # Errors
/// What was not refused.
pub fn refuses_unequal_degrees_in_a_combine<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    let a = client.encrypt(&[0.5], TOP, &Scale::power_of_two(2 * SCALE_BITS))?;
    let b = client.encrypt(&[0.5], TOP, &scale())?;
    let b = evaluator.square(&b)?;
    refused("a combine of two degrees", evaluator.combine(&[&a, &b], &sum_of_two()?), &[])
}

fn sum_of_two() -> Result<Combine, hec_ir::matrix::MatrixError> {
    let block = Block { rows: [0].into(), cols: [0, 1].into(), weights: [1, 1].into() };
    let matrix = Arc::new(BlockMatrix::new(1, 2, vec![block])?);
    Ok(Combine { matrix, weight_scale: Scale::ONE, bias: [0.0].into() })
}

/// A product of degree 5.
///
/// # Errors
/// What was not refused.
pub fn refuses_products_above_the_highest_degree<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    let x = client.encrypt(&[0.5], TOP, &scale())?;
    let square = evaluator.square(&x)?;
    let fourth = evaluator.square(&square)?;
    let found = evaluator.metadata(&fourth).degree;
    if found != MAX_DEGREE {
        return Err(format!("expected degree {MAX_DEGREE}, found {found}").into());
    }
    refused("a product of degree 5", evaluator.multiply(&fourth, &x), &["degree"])?;
    refused("a product of degree 8", evaluator.square(&fourth), &["degree"])
}

/// Rescaling and dropping below level 0.
///
/// # Errors
/// What was not refused.
pub fn refuses_exhausted_levels<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    let bottom = client.encrypt(&[0.5], 0, &scale())?;
    refused("rescaling at level 0", evaluator.rescale(&bottom), &["level"])?;
    refused("dropping below level 0", evaluator.drop_level(&bottom, 1), &["level"])?;
    let x = client.encrypt(&[0.5], 2, &scale())?;
    refused("dropping 3 levels at level 2", evaluator.drop_level(&x, 3), &["level"])?;
    refused("dropping usize::MAX levels", evaluator.drop_level(&x, usize::MAX), &["level"])
}

/// Relinearization with keys for a circuit that needs none.
///
/// # Errors
/// What was not refused.
pub fn refuses_to_relinearize_without_a_key<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    let square = evaluator.square(&client.encrypt(&[0.5], TOP, &scale())?)?;
    refused("relinearization without a key", evaluator.relinearize(&square), &["relinearization", "key"])
}

/// Relinearization at a level or from a degree that the key was not made for.
///
/// # Errors
/// What was not refused.
pub fn refuses_to_relinearize_above_its_key<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 1, TOP - 2, scale())?;
    let y = b.push(Op::Square, &[x])?;
    let y = b.push(Op::Relinearize, &[y])?;
    b.output("y", y);
    let (client, evaluator) = engine.generate(&b.finish())?;
    let at = |level| client.encrypt(&[0.5], level, &scale());
    evaluator.relinearize(&evaluator.square(&at(TOP - 2)?)?)?;
    let above = evaluator.square(&at(TOP - 1)?)?;
    refused("relinearization above the key's level", evaluator.relinearize(&above), &["relinearization", "key"])?;
    let x = at(TOP - 2)?;
    let cube = evaluator.multiply(&evaluator.square(&x)?, &x)?;
    refused("relinearization above the key's degree", evaluator.relinearize(&cube), &["relinearization", "key"])
}

/// Values that are not finite or too large, too many of them, and levels that do not exist.
///
/// # Errors
/// What was not refused.
pub fn refuses_values_that_cannot_be_encoded<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused("a value that is not finite", client.encrypt(&[0.0, value], TOP, &scale()), &[])?;
    }
    let slots = setting.parameters()?.slots();
    refused("a value that does not fit", client.encrypt(&vec![1e9; slots], 0, &scale()), &[])?;
    refused("more values than slots", client.encrypt(&vec![0.0; slots + 1], TOP, &scale()), &[])?;
    refused("a level above the chain", client.encrypt(&[0.0], TOP + 1, &scale()), &["level"])?;
    let x = client.encrypt(&[0.5], 0, &scale())?;
    refused("a constant that is not finite", evaluator.add_constant(&x, f64::NAN), &[])?;
    refused("a constant that does not fit", evaluator.add_constant(&x, 1e9), &[])
}

/// Ciphertexts under other primes.
///
/// # Errors
/// What was not refused.
pub fn refuses_ciphertexts_of_other_parameters<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let (client, evaluator) = engine.generate(&keyless(setting)?)?;
    let other = Setting { log_n: setting.log_n + 1, ..*setting };
    let (other_client, _) = engine.generate(&keyless(&other)?)?;
    let own = client.encrypt(&[0.5], TOP, &scale())?;
    let foreign = other_client.encrypt(&[0.5], TOP, &scale())?;
    refused("a sum with a foreign ciphertext", evaluator.add(&own, &foreign), &["parameters"])?;
    refused("the square of a foreign ciphertext", evaluator.square(&foreign), &["parameters"])?;
    refused("decrypting a foreign ciphertext", client.decrypt(&foreign), &["parameters"])
}

/// Rotations by other steps, and at higher levels, than keys were made for.
///
/// # Errors
/// What was not refused.
pub fn refuses_to_rotate_without_a_key<E: Engine>(engine: &E, setting: &Setting) -> Verdict {
    let mut b = setting.builder()?;
    let x = input(&mut b, "x", 1, TOP - 2, scale())?;
    let y = b.push(Op::Fold(hec_ir::ckks::Fold { steps: vec![2] }), &[x])?;
    b.output("y", y);
    let (client, evaluator) = engine.generate(&b.finish())?;
    let x = client.encrypt(&[0.5], TOP - 2, &scale())?;
    evaluator.rotate(&x, 2)?;
    refused("a rotation without a key", evaluator.rotate(&x, 3), &["key"])?;
    let above = client.encrypt(&[0.5], TOP - 1, &scale())?;
    refused("a rotation above the key's level", evaluator.rotate(&above, 2), &["level"])?;
    refused("a rotation of degree 2", evaluator.rotate(&evaluator.square(&x)?, 2), &["degree"])
}
