//! The dot product of an encrypted vector with public weights, and of two encrypted vectors, for 4096 pairs at a time.
//!
//! `cargo run --release -p hec-ckks --example encrypted_dot`
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::error::Error;
use std::time::Instant;

use hec_ckks::{Ciphertext, Context, PreparedMatrix, Randomness, RelinearizationKeys, SecretKey, evaluate};
use hec_ir::Scale;
use hec_ir::matrix::BlockMatrix;
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, RingType, Security};

/// Length of the vectors. One ciphertext holds one element of all of them, a vector in each slot.
const LENGTH: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let mut search = PrimeSearch::new(13);
    let mut take = |bits| search.take(bits).ok_or("no such prime");
    let (moduli, special_primes) = (vec![take(50)?, take(40)?, take(40)?], vec![take(50)?]);
    let literal =
        Literal { ring_type: RingType::Standard, log_n: 13, moduli, special_primes, security: Security::Bits128 };
    let parameters = Parameters::new(literal)?;
    let context = Context::new(&parameters);
    let (slots, top, scale) = (parameters.slots(), context.max_level(), Scale::power_of_two(40));

    // The client: keys, and two encrypted vectors in each slot.
    let mut randomness = Randomness::from_os()?;
    let secret = SecretKey::generate(&context, &mut randomness);
    let keys = RelinearizationKeys::generate(&context, &secret, top, 2, &mut randomness)?;
    let element = |seed: usize, i: usize, slot: usize| ((slot * (i + seed)) % 201) as f64 / 100.0 - 1.0;
    let mut encrypt = |seed| -> Result<Vec<Ciphertext>, hec_ckks::Error> {
        (0..LENGTH)
            .map(|i| {
                let values: Vec<f64> = (0..slots).map(|slot| element(seed, i, slot)).collect();
                secret.encrypt(&context, &context.encode(&values, top, &scale)?, &mut randomness)
            })
            .collect()
    };
    let (x, y) = (encrypt(1)?, encrypt(50)?);
    println!("{} ciphertexts of {} bytes", x.len() + y.len(), x[0].serialized_len(&context)?);

    // The server: public weights, as integers at scale 2^10, and then the product with the other vector.
    let start = Instant::now();
    let weights: Vec<f64> = (0..LENGTH).map(|i| i as f64 / 8.0 - 1.0).collect();
    let matrix = BlockMatrix::dense(1, LENGTH, weights.as_slice().into())?.map(|w| (w * 1024.0).round() as i32);
    let matrix = PreparedMatrix::new(&matrix)?;
    let weighted = evaluate::scalar_matrix(&context, &matrix, &x.iter().collect::<Vec<_>>(), &Scale::power_of_two(10))?;
    let mut dot = evaluate::multiply(&context, &x[0], &y[0])?;
    for (x, y) in x.iter().zip(&y).skip(1) {
        evaluate::add_assign(&context, &mut dot, &evaluate::multiply(&context, x, y)?)?;
    }
    // One relinearization for all products.
    let dot = evaluate::rescale(&context, &evaluate::relinearize(&context, &dot, &keys)?)?;
    println!("{slots} weighted sums and {slots} dot products in {:.1?}", start.elapsed());

    // The client again.
    let open = |a: &Ciphertext| context.decode(&secret.decrypt(&context, a)?);
    let (weighted, dot) = (open(&weighted[0])?, open(&dot)?);
    let mut worst = [0.0_f64; 2];
    for slot in 0..slots {
        let expected: f64 = (0..LENGTH).map(|i| weights[i] * element(1, i, slot)).sum();
        worst[0] = worst[0].max((weighted[slot] - expected).abs());
        let expected: f64 = (0..LENGTH).map(|i| element(1, i, slot) * element(50, i, slot)).sum();
        worst[1] = worst[1].max((dot[slot] - expected).abs());
    }
    println!("largest errors: {:.1e} and {:.1e}", worst[0], worst[1]);
    Ok(())
}
