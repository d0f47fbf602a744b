use super::*;
use crate::arithmetic::tests::{primes, random};
use proptest::prelude::*;
use std::sync::Arc;

/// The sums in 128-bit integers, one weight at a time.
fn reference(q: Modulus, matrix: &BlockMatrix<i32>, inputs: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let len = inputs.first().map_or(0, Vec::len);
    let mut sums = vec![vec![0i128; len]; matrix.rows()];
    matrix.for_each(|row, col, &weight| {
        for (sum, &x) in sums[row].iter_mut().zip(&inputs[col]) {
            *sum += i128::from(weight) * i128::from(x);
        }
    });
    let residue = |sum: &i128| sum.rem_euclid(i128::from(q.value())) as u64;
    sums.iter().map(|row| row.iter().map(residue).collect()).collect()
}

/// Every layout that the matrix can have on this machine.
fn layouts(matrix: &BlockMatrix<i32>) -> Vec<Layout> {
    let mut layouts = vec![Layout::new(matrix, Simd::Portable)];
    #[cfg(target_arch = "x86_64")]
    if let Simd::Avx2(token) = Simd::detected() {
        layouts.push(Layout::Float(token, FloatMatrix::new(matrix)));
        let mut weights = matrix.blocks().iter().flat_map(|block| &*block.weights);
        if weights.all(|w| w.unsigned_abs() < 1 << 15) {
            layouts.push(Layout::Digits(token, DigitMatrix::new(matrix)));
        }
    }
    layouts
}

fn check(q: Modulus, matrix: &BlockMatrix<i32>, inputs: &[Vec<u64>], range: Range<usize>) {
    let expected = reference(q, matrix, inputs);
    let expected: Vec<_> = expected.iter().map(|row| &row[range.clone()]).collect();
    let inputs: Vec<&[u64]> = inputs.iter().map(|x| &x[..]).collect();
    for layout in layouts(matrix) {
        let prepared = PreparedMatrix { rows: matrix.rows(), cols: matrix.cols(), layout };
        let mut out = vec![vec![99; range.len()]; matrix.rows()];
        let mut slices: Vec<&mut [u64]> = out.iter_mut().map(|x| &mut x[..]).collect();
        prepared.product_range(q, &inputs, range.clone(), &mut slices);
        let kind = match prepared.layout {
            Layout::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Layout::Float(..) => "float",
            #[cfg(target_arch = "x86_64")]
            Layout::Digits(..) => "digits",
        };
        assert!(out == expected, "{kind}, q {}", q.value());
        if prepared.works_in_place() {
            let unused = vec![99; range.len()];
            let mut vectors: Vec<_> = inputs.iter().map(|x| x[range.clone()].to_vec()).collect();
            vectors.resize(matrix.rows().max(matrix.cols()) + 1, unused.clone());
            prepared.product_in_place(q, &mut vectors.iter_mut().map(|x| &mut x[..]).collect::<Vec<_>>());
            assert!(vectors[..matrix.rows()] == expected, "{kind} in place, q {}", q.value());
            assert!(vectors.last() == Some(&unused));
        }
    }
}

fn dense(rows: usize, cols: usize, weight: impl Fn(usize) -> i32) -> Block<i32> {
    let all = |n: usize| (0..n as u32).collect();
    Block { rows: all(rows), cols: all(cols), weights: (0..rows * cols).map(weight).collect() }
}

/// A cheap sequence of weights of up to `bits` bits and either sign.
fn weight(bits: u32) -> impl Fn(usize) -> i32 {
    move |i| {
        let x = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (x as i32) >> (32 - bits)
    }
}

#[test]
fn odd_sizes() {
    for (which, q) in primes(13).into_iter().enumerate() {
        for rows in 1..=13 {
            for cols in (1..=70).step_by(1 + which * 3) {
                let matrix = BlockMatrix::new(rows, cols, vec![dense(rows, cols, weight(12))]).unwrap();
                let inputs: Vec<_> = (0..cols).map(|k| random(q, 21, k as u64)).collect();
                check(q, &matrix, &inputs, 0..21);
                check(q, &matrix, &inputs, 3..14);
            }
        }
    }
}

#[test]
fn the_largest_weights_and_residues_of_one_sign() {
    for q in primes(13) {
        for magnitude in [1, 127, 4095, 4096, 16384, 32767, 32768, MAX_WEIGHT - 1, MAX_WEIGHT] {
            for sign in [1, -1] {
                let matrix = BlockMatrix::new(7, 600, vec![dense(7, 600, |_| sign * magnitude)]).unwrap();
                let inputs = vec![vec![q.value() - 1, q.value() / 2, q.value() / 2 + 1, 0, 1]; 600];
                check(q, &matrix, &inputs, 0..5);
            }
        }
    }
}

#[test]
fn more_columns_than_are_packed_at_a_time() {
    for q in primes(13) {
        for bits in [10, 24] {
            let matrix = BlockMatrix::new(8, 2500, vec![dense(8, 2500, weight(bits))]).unwrap();
            let inputs: Vec<_> = (0..2500).map(|k| random(q, 6, k as u64)).collect();
            check(q, &matrix, &inputs, 0..6);
        }
    }
}

#[test]
fn a_convolution_shares_weights_and_overlaps() {
    let weights: Arc<[i32]> = (0..5 * 25).map(weight(11)).collect();
    for q in primes(13) {
        for cols in [130, 1500] {
            let block = |i: u32| {
                let rows = (i * 3..i * 3 + 5).collect();
                let columns = (0..25).map(|k| (i * 7 + k * 37) % cols).collect();
                Block { rows, cols: columns, weights: weights.clone() }
            };
            let matrix = BlockMatrix::new(70, cols as usize, (0..20).map(block).collect()).unwrap();
            let inputs: Vec<_> = (0..cols).map(|k| random(q, 33, u64::from(k))).collect();
            check(q, &matrix, &inputs, 0..33);
        }
    }
}

#[test]
fn nothing_gives_zero() {
    let q = primes(13)[1];
    let empty = Block { rows: [1u32, 2].into(), cols: [].into(), weights: [].into() };
    let no_rows = Block { rows: [].into(), cols: [0u32].into(), weights: [].into() };
    let matrix = BlockMatrix::new(4, 1, vec![empty, no_rows]).unwrap();
    check(q, &matrix, &[random(q, 9, 1)], 0..9);
    check(q, &matrix, &[random(q, 9, 1)], 4..4);
    check(q, &BlockMatrix::new(2, 0, vec![]).unwrap(), &[], 0..0);
}

#[test]
fn weights_beyond_the_limit_are_refused() {
    let matrix = |w| BlockMatrix::new(1, 1, vec![dense(1, 1, |_| w)]).unwrap();
    assert!(PreparedMatrix::new(&matrix(-MAX_WEIGHT)).is_ok());
    for w in [MAX_WEIGHT + 1, -MAX_WEIGHT - 1, i32::MIN] {
        assert_eq!(PreparedMatrix::new(&matrix(w)).unwrap_err(), WeightError { block: 0, weight: w });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_blocks(
        which in 0usize..4,
        bits in 1u32..=24,
        shapes in prop::collection::vec((0u32..20, 1u32..10, 0u32..30, 1u32..40), 1..6),
        len in 1usize..70,
        seed: u64,
    ) {
        let q = primes(13)[which];
        let blocks = shapes.iter().map(|&(row, rows, col, cols)| Block {
            rows: (row..row + rows).collect(),
            cols: (col..col + cols).rev().collect(),
            weights: (0..(rows * cols) as usize).map(|i| weight(bits)(i + row as usize)).collect(),
        });
        let matrix = BlockMatrix::new(30, 70, blocks.collect()).unwrap();
        let inputs: Vec<_> = (0..70).map(|k| random(q, len, seed.wrapping_add(k))).collect();
        check(q, &matrix, &inputs, len / 3..len);
    }
}
