//! The number of threads changes no bit.

use super::*;
use crate::{Ciphertext, PreparedMatrix, evaluate};

fn circuit() -> Vec<Vec<u8>> {
    let context = context(13, &[50, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40, 40], &[50, 50, 50, 50]);
    let mut randomness = randomness(1);
    let secret = SecretKey::generate(&context, &mut randomness);
    let keys = RelinearizationKeys::generate(&context, &secret, context.max_level(), 2, &mut randomness).unwrap();
    let plaintext = context.encode(&values(4096, 1), context.max_level(), &bits(40)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
    let weights: std::sync::Arc<[f64]> = (0..6).map(f64::from).collect();
    let matrix = hec_ir::matrix::BlockMatrix::dense(3, 2, weights).unwrap().map(|&w| w as i32 - 2);
    let matrix = PreparedMatrix::new(&matrix).unwrap();
    let product = evaluate::square(&context, &a).unwrap();
    let product = evaluate::rescale(&context, &evaluate::relinearize(&context, &product, &keys).unwrap()).unwrap();
    let low = evaluate::drop_level(&context, &a, product.level()).unwrap();
    let square = evaluate::square(&context, &low).unwrap();
    let mut results: Vec<Ciphertext> =
        evaluate::scalar_matrix(&context, &matrix, &[&square, &square], &bits(3)).unwrap();
    results.push(product);
    let mut bytes: Vec<Vec<u8>> = results.iter().map(|c| c.to_bytes(&context).unwrap()).collect();
    bytes.push(keys.to_bytes(&context).unwrap());
    bytes
}

#[test]
fn one_thread_and_many_give_equal_bits() {
    let [one, many] =
        [1, 5].map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(circuit));
    assert!(one == many);
}
