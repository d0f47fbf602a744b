//! Buffers that are used again show nothing of what was in them, and operations in place do what the others do. Buffers are
//! filled with words that are no residues when they return, in builds with debug assertions.

use std::sync::Arc;

use hec_ir::matrix::{Block, BlockMatrix};
use rayon::prelude::*;

use super::*;
use crate::{Ciphertext, PreparedMatrix, evaluate};

/// Sums of overlapping groups of three, with more or fewer rows than columns.
fn matrix(rows: u32, cols: u32) -> PreparedMatrix {
    let weights: Arc<[i32]> = [5, -70, 1 << 14].into();
    let block = |row: u32| {
        let first = row % (cols - 2);
        Block { rows: [row].into(), cols: (first..first + 3).collect(), weights: weights.clone() }
    };
    let blocks = (0..rows).filter(|row| row % 5 != 3).map(block).collect();
    PreparedMatrix::new(&BlockMatrix::new(rows as usize, cols as usize, blocks).unwrap()).unwrap()
}

/// A little of everything. Ciphertexts of several sizes are dropped on the way.
fn circuit(context: &Context, seed: u64) -> Vec<Ciphertext> {
    let (secret, keys) = keys(context, seed);
    let mut randomness = randomness(seed + 1);
    let encrypt = |i: usize| {
        let plaintext = context.encode(&values(64, i), context.max_level(), &bits(30)).unwrap();
        secret.encrypt(context, &plaintext, &mut randomness).unwrap()
    };
    let inputs: Vec<Ciphertext> = (0..7).map(encrypt).collect();
    let borrowed: Vec<&Ciphertext> = inputs.iter().collect();
    let sums = evaluate::affine(context, &matrix(9, 7), &borrowed, &bits(10), &[0.25; 9]).unwrap();
    let squares = sums.iter().map(|sum| evaluate::square(context, &evaluate::rescale(context, sum).unwrap()).unwrap());
    let squares: Vec<Ciphertext> = squares.collect();
    let borrowed: Vec<&Ciphertext> = squares.iter().collect();
    let mut results = evaluate::scalar_matrix(context, &matrix(4, 9), &borrowed, &bits(10)).unwrap();
    results.push(evaluate::multiply(context, &squares[0], &squares[1]).unwrap());
    results.push(evaluate::relinearize(context, &results[4], &keys).unwrap());
    results.push(evaluate::drop_level(context, &results[5], 0).unwrap());
    results
}

fn small() -> Context {
    context(7, &[50, 40, 30], &[50])
}

#[test]
fn used_buffers_show_nothing_of_what_was_in_them() {
    let used = small();
    (0..3).for_each(|seed| drop(circuit(&used, seed)));
    assert!(circuit(&used, 9) == circuit(&small(), 9));
    used.release_buffers();
    assert!(circuit(&used, 9) == circuit(&small(), 9));
}

#[test]
fn threads_share_buffers_without_seeing_each_other() {
    let shared = small();
    let expected: Vec<_> = (0..16).map(|seed| circuit(&small(), seed)).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for _ in 0..3 {
        let found: Vec<_> = pool.install(|| (0..16).into_par_iter().map(|seed| circuit(&shared, seed)).collect());
        assert!(found == expected);
    }
}

#[test]
fn operations_in_place_give_equal_bits() {
    let context = small();
    let (secret, _) = keys(&context, 1);
    let mut randomness = randomness(2);
    let plaintext = context.encode(&values(64, 3), 2, &bits(30)).unwrap();
    let fresh: Vec<Ciphertext> =
        (0..8).map(|_| secret.encrypt(&context, &plaintext, &mut randomness).unwrap()).collect();
    let squares: Vec<Ciphertext> = fresh.iter().map(|a| evaluate::square(&context, a).unwrap()).collect();
    for operands in [fresh, squares] {
        let a = &operands[0];
        let mut b = a.clone();
        evaluate::rescale_assign(&context, &mut b).unwrap();
        assert!(b == evaluate::rescale(&context, a).unwrap());
        evaluate::drop_level_assign(&context, &mut b, 0).unwrap();
        assert!(b == evaluate::drop_level(&context, &evaluate::rescale(&context, a).unwrap(), 0).unwrap());
        let mut b = a.clone();
        evaluate::drop_level_assign(&context, &mut b, 1).unwrap();
        assert!(b == evaluate::drop_level(&context, a, 1).unwrap());
        assert!(evaluate::drop_level_assign(&context, &mut b, 2).is_err());
        let mut b = a.clone();
        evaluate::add_constant_assign(&context, &mut b, -1.5).unwrap();
        assert!(b == evaluate::add_constant(&context, a, -1.5).unwrap());

        for rows in [3, 8, 11] {
            let (matrix, bias) = (matrix(rows, 8), (0..rows).map(|i| f64::from(i) - 2.0).collect::<Vec<_>>());
            let borrowed: Vec<&Ciphertext> = operands.iter().collect();
            let sums = evaluate::scalar_matrix(&context, &matrix, &borrowed, &bits(5)).unwrap();
            let added = |(sum, &bias)| evaluate::add_constant(&context, sum, bias).unwrap();
            let expected: Vec<Ciphertext> = sums.iter().zip(&bias).map(added).collect();
            assert!(evaluate::affine(&context, &matrix, &borrowed, &bits(5), &bias).unwrap() == expected);
            let owned = evaluate::affine_owned(&context, &matrix, operands.clone(), &bits(5), &bias).unwrap();
            assert!(owned == expected);
        }
    }
}

#[test]
fn a_number_for_each_row_is_wanted() {
    let context = small();
    let (secret, _) = keys(&context, 1);
    let plaintext = context.encode(&[1.0], 2, &bits(30)).unwrap();
    let a = secret.encrypt(&context, &plaintext, &mut randomness(2)).unwrap();
    let refused = evaluate::affine_owned(&context, &matrix(3, 4), vec![a; 4], &bits(5), &[1.0, 2.0]);
    assert_eq!(refused.unwrap_err().to_string(), "scalar_matrix: the matrix has 3 rows, found 2 numbers to add");
}
