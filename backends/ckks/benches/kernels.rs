//! Times of the kernels: `cargo bench -p hec-ckks --bench kernels`.

use divan::Bencher;
use hec_ckks::arithmetic::Modulus;
use hec_ckks::kernels::Simd;
use hec_ckks::ntt::NttTable;
use hec_ir::parameters::PrimeSearch;

fn main() {
    divan::main();
}

fn prime(log_n: u32, bits: u32) -> Modulus {
    Modulus::new(PrimeSearch::new(log_n).take(bits).expect("a prime of that size"))
}

fn residues(q: Modulus, n: usize) -> Vec<u64> {
    (0..n as u64).map(|i| q.reduce(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

#[divan::bench(args = [12, 13, 14, 15, 16])]
fn ntt_forward(bencher: Bencher, log_n: u32) {
    let q = prime(log_n, 50);
    let table = NttTable::new(q, log_n);
    let mut a = residues(q, 1 << log_n);
    bencher.bench_local(|| table.forward(&mut a));
}

#[divan::bench(args = [12, 13, 14, 15, 16])]
fn ntt_inverse(bencher: Bencher, log_n: u32) {
    let q = prime(log_n, 50);
    let table = NttTable::new(q, log_n);
    let mut a = residues(q, 1 << log_n);
    bencher.bench_local(|| table.inverse(&mut a));
}

#[divan::bench(args = [13, 14])]
fn ntt_forward_portable(bencher: Bencher, log_n: u32) {
    let q = prime(log_n, 50);
    let table = NttTable::with_simd(q, log_n, Simd::Portable);
    let mut a = residues(q, 1 << log_n);
    bencher.bench_local(|| table.forward(&mut a));
}
