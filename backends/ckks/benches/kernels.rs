//! Times of the kernels: `cargo bench -p hec-ckks --bench kernels`. Items are coefficients, products or multiply-adds.

#![allow(clippy::expect_used, reason = "a benchmark may stop when its own input is wrong")]

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use hec_ckks::arithmetic::Modulus;
use hec_ckks::kernels::{self, BaseConversion, PreparedMatrix, Simd};
use hec_ckks::ntt::NttTable;
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::parameters::{PrimeSearch, Ring};

fn main() {
    divan::main();
}

fn prime(log_n: u32, bits: u32) -> Modulus {
    moduli(log_n, &[bits])[0]
}

fn moduli(log_n: u32, bits: &[u32]) -> Vec<Modulus> {
    let mut search = PrimeSearch::new(log_n);
    bits.iter().map(|&bits| Modulus::new(search.take(bits).expect("a prime of that size"))).collect()
}

fn residues(q: Modulus, n: usize, seed: usize) -> Vec<u64> {
    (0..n).map(|i| q.reduce(((i + seed * n) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

fn many(q: Modulus, n: usize, count: usize) -> Vec<Vec<u64>> {
    (0..count).map(|seed| residues(q, n, seed)).collect()
}

fn slices(all: &[Vec<u64>]) -> Vec<&[u64]> {
    all.iter().map(|x| &x[..]).collect()
}

#[divan::bench(args = [12, 13, 14, 15, 16])]
fn ntt_forward(bencher: Bencher, log_n: u32) {
    let q = prime(log_n, 50);
    let table = NttTable::new(q, Ring::standard(log_n));
    let mut a = residues(q, 1 << log_n, 0);
    bencher.bench_local(|| table.forward(&mut a));
}

#[divan::bench(args = [12, 13, 14, 15, 16])]
fn ntt_inverse(bencher: Bencher, log_n: u32) {
    let q = prime(log_n, 50);
    let table = NttTable::new(q, Ring::standard(log_n));
    let mut a = residues(q, 1 << log_n, 0);
    bencher.bench_local(|| table.inverse(&mut a));
}

#[divan::bench(args = [12, 13, 14, 15, 16])]
fn ntt_forward_conjugate_invariant(bencher: Bencher, log_n: u32) {
    let q = prime(log_n + 1, 50);
    let table = NttTable::new(q, Ring::conjugate_invariant(log_n));
    let mut a = residues(q, 1 << log_n, 0);
    bencher.bench_local(|| table.forward(&mut a));
}

#[divan::bench(args = [12, 13, 14, 15, 16])]
fn ntt_inverse_conjugate_invariant(bencher: Bencher, log_n: u32) {
    let q = prime(log_n + 1, 50);
    let table = NttTable::new(q, Ring::conjugate_invariant(log_n));
    let mut a = residues(q, 1 << log_n, 0);
    bencher.bench_local(|| table.inverse(&mut a));
}

#[divan::bench(args = [13, 14])]
fn ntt_forward_portable(bencher: Bencher, log_n: u32) {
    let q = prime(log_n, 50);
    let table = NttTable::with_simd(q, Ring::standard(log_n), Simd::Portable);
    let mut a = residues(q, 1 << log_n, 0);
    bencher.bench_local(|| table.forward(&mut a));
}

mod pointwise {
    use super::*;

    const N: usize = 1 << 13;

    #[divan::bench]
    fn add_assign(bencher: Bencher) {
        let q = prime(13, 50);
        let (mut x, y) = (residues(q, N, 0), residues(q, N, 1));
        bencher.counter(ItemsCount::new(N)).bench_local(|| kernels::add_assign(q, &mut x, &y));
    }

    #[divan::bench]
    fn mul_assign(bencher: Bencher) {
        let q = prime(13, 50);
        let (mut x, y) = (residues(q, N, 0), residues(q, N, 1));
        bencher.counter(ItemsCount::new(N)).bench_local(|| kernels::mul_assign(q, &mut x, &y));
    }

    #[divan::bench]
    fn sub_mul_scalar_assign(bencher: Bencher) {
        let q = prime(13, 50);
        let (mut x, y) = (residues(q, N, 0), residues(q, N, 1));
        bencher.counter(ItemsCount::new(N)).bench_local(|| kernels::sub_mul_scalar_assign(q, &mut x, &y, 12345));
    }

    #[divan::bench]
    fn reduce_centered(bencher: Bencher) {
        let q = moduli(13, &[50, 40]);
        let (x, mut y) = (residues(q[0], N, 0), residues(q[1], N, 1));
        bencher.counter(ItemsCount::new(N)).bench_local(|| kernels::reduce_centered(&mut y, q[1], &x, q[0]));
    }

    #[divan::bench(args = [1, 3, 9])]
    fn mul_add_many(bencher: Bencher, count: usize) {
        let q = prime(13, 50);
        let [x, b, a] = [(); 3].map(|()| many(q, N, count));
        let halves = slices(&b).into_iter().zip(slices(&a)).map(|(b, a)| [b, a]);
        let terms: Vec<_> = slices(&x).into_iter().zip(halves).collect();
        let mut acc = [residues(q, N, 0), residues(q, N, 1)];
        let items = ItemsCount::new(2 * N * count);
        bencher.counter(items).bench_local(|| kernels::mul_add_many(q, acc.each_mut().map(|x| &mut x[..]), &terms));
    }

    #[divan::bench]
    fn tensor_square(bencher: Bencher) {
        let q = prime(13, 50);
        let (a, b) = (residues(q, N, 0), residues(q, N, 1));
        let mut out = many(q, N, 3);
        let [d0, d1, d2] = &mut out[..] else { return };
        bencher.counter(ItemsCount::new(3 * N)).bench_local(|| kernels::tensor_square(q, [d0, d1, d2], [&a, &b]));
    }
}

/// From a digit of `from` primes to nine others, N = 2^14. Items are source times target residues.
#[divan::bench(args = [1, 3, 5])]
fn base_conversion(bencher: Bencher, from: usize) {
    const N: usize = 1 << 14;
    let all = moduli(14, &[50; 14][..from + 9]);
    let (from, to) = all.split_at(from);
    let conversion = BaseConversion::new(from, to);
    let input: Vec<_> = from.iter().map(|&q| residues(q, N, 0)).collect();
    let mut out = many(to[0], N, to.len());
    let mut out: Vec<&mut [u64]> = out.iter_mut().map(|x| &mut x[..]).collect();
    let products = ItemsCount::new(N * from.len() * to.len());
    bencher.counter(products).bench_local(|| conversion.convert(&slices(&input), &mut out));
}

mod scalar_matrix {
    use super::*;

    const N: usize = 1 << 13;

    fn weights(count: usize, bits: u32) -> Arc<[i32]> {
        let signed = |i: u32| (i.wrapping_mul(0x9e37_79b9) as i32) >> (32 - bits);
        (1..=count as u32).map(signed).collect()
    }

    fn run(bencher: Bencher, q: Modulus, matrix: &BlockMatrix<i32>) {
        let prepared = PreparedMatrix::new(matrix).expect("weights are small");
        let inputs = many(q, N, matrix.cols());
        let inputs = slices(&inputs);
        let mut out = many(q, N, matrix.rows());
        let mut out: Vec<&mut [u64]> = out.iter_mut().map(|x| &mut x[..]).collect();
        let multiply_adds = ItemsCount::new(matrix.multiply_adds() * N);
        bencher.counter(multiply_adds).bench_local(|| prepared.product(q, &inputs, &mut out));
    }

    /// The first dense layer of CryptoNets: (bits of the prime, bits of the weights).
    #[divan::bench(args = [(50, 21), (50, 16), (50, 12), (50, 8), (40, 12), (30, 12)], sample_count = 10)]
    fn dense_100x845(bencher: Bencher, (prime_bits, weight_bits): (u32, u32)) {
        let all = |n: u32| (0..n).collect();
        let block = Block { rows: all(100), cols: all(845), weights: weights(100 * 845, weight_bits) };
        run(bencher, prime(13, prime_bits), &BlockMatrix::new(100, 845, vec![block]).expect("one block"));
    }

    /// The convolution of CryptoNets: 28 x 28 padded, kernel 5 x 5, stride 2, five channels.
    #[divan::bench(args = [(50, 16), (50, 12), (30, 12)], sample_count = 10)]
    fn convolution_169x5x25(bencher: Bencher, (prime_bits, weight_bits): (u32, u32)) {
        let weights = weights(5 * 25, weight_bits);
        let block = |i: u32| {
            let corner = 2 * (i / 13) * 29 + 2 * (i % 13);
            Block {
                rows: (5 * i..5 * i + 5).collect(),
                cols: (0..25).map(|k| corner + k / 5 * 29 + k % 5).collect(),
                weights: weights.clone(),
            }
        };
        let matrix = BlockMatrix::new(845, 29 * 29, (0..169).map(block).collect()).expect("disjoint blocks");
        run(bencher, prime(13, prime_bits), &matrix);
    }
}
