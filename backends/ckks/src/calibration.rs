//! What the kernels cost on this machine: the constants of a compiler's cost model, measured.
//!
//! Every constant is the time of one inner step in nanoseconds on one core. Steps that only occur
//! together are measured in two shapes and separated.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use hec_ir::Scale;
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::parameters::{Literal, ParameterError, Parameters, PrimeSearch, RingType, Security};

use crate::arithmetic::Modulus;
use crate::automorphism::{Automorphism, permutation, permute};
use crate::context::Context;
use crate::error::Error;
use crate::kernels::{self, BaseConversion, PreparedMatrix};
use crate::limb::Limb;
use crate::ntt::NttTable;
use crate::sampling::Randomness;
use crate::sampling::gaussian;
use crate::sampling::uniform::{Expansion, Purpose};

/// A named constant in nanoseconds.
pub type Constant = (&'static str, f64);

const LOG_N: u32 = 13;
const N: usize = 1 << LOG_N;
/// Size of the primes in bits: two below the largest.
const PRIME_BITS: u32 = 48;
const COLUMNS: usize = 845;
const ROWS: usize = 96;
const FEW_ROWS: usize = 30;
/// Coefficients of the matrix products: all columns together do not fit a cache, as they do not in a run.
const COEFFICIENTS: usize = 1024;
const RUNS: usize = 25;

/// Why nothing could be measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// The engine refused: there is no randomness.
    #[error(transparent)]
    Engine(#[from] Error),
    /// The parameters of the measurement are refused.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
}

/// Measures every constant. Takes a few seconds.
///
/// # Errors
/// [`CalibrationError`].
pub fn measure() -> Result<Vec<Constant>, CalibrationError> {
    let mut search = PrimeSearch::new(LOG_N);
    let moduli = (0..3).filter_map(|_| search.take(PRIME_BITS)).collect();
    let literal = Literal {
        log_n: LOG_N,
        ring_type: RingType::Standard,
        moduli,
        special_primes: Vec::new(),
        security: Security::Bits128,
    };
    let parameters = Parameters::new(literal)?;
    let q = Modulus::new(parameters.moduli()[0]);
    let mut constants = matrices(q);
    let table = NttTable::new(q, parameters.ring());
    let mut x = residues(q, 1);
    let y = residues(q, 2);
    let butterflies = N as f64 / 2.0 * f64::from(LOG_N);
    let mut z = y.clone();
    let transforms = time(|| table.forward(&mut x)).midpoint(time(|| table.inverse(&mut z)));
    constants.push(("butterfly", transforms / butterflies));
    let mut out = vec![0; N];
    constants.push(("pointwise", time(|| kernels::mul(q, &mut out, &x, &y)) / N as f64));
    let (from, mut to) = (vec![1u64; 1 << 23], vec![0u64; 1 << 23]);
    constants.push(("pass", time(|| black_box(&mut to[..]).copy_from_slice(black_box(&from))) / (2 << 23) as f64));
    constants.extend(rotations(&parameters)?);
    let mut randomness = Randomness::from_os()?;
    let expansion = Expansion::new(&randomness.next_seed(), Purpose::Ciphertext);
    constants.push(("uniform", time(|| expansion.fill(0, 0, q.value(), &mut out)) / N as f64));
    let mut stream = randomness.stream();
    constants.push(("gaussian", time(|| drop(black_box(gaussian::sample(&mut stream, N)))) / N as f64));
    let context = Context::new(&parameters);
    let values: Vec<f64> = (0..parameters.slots()).map(|i| (i % 100) as f64 / 100.0).collect();
    let encode = time(|| drop(black_box(context.encode(&values, 0, &Scale::power_of_two(30)))));
    let transform = time(|| table.forward(&mut x));
    let complex = (N / 2) as f64 / 2.0 * f64::from(LOG_N - 1);
    constants.push(("complex_butterfly", (encode - transform).max(0.0) / complex));
    Ok(constants)
}

/// The constants of rotations and of linear maps over the slots. What a program has many of, keys and encoded diagonals, is read from an
/// array that no cache holds.
fn rotations(parameters: &Parameters) -> Result<Vec<Constant>, CalibrationError> {
    /// Digits of a polynomial, and baby steps at once.
    const TERMS: [usize; 2] = [3, 4];
    let moduli: Vec<Modulus> = parameters.moduli().iter().map(|&q| Modulus::new(q)).collect();
    let (q, missing) = (moduli[0], Error::NoSpecialPrimes);
    let large: Vec<u64> = (0..1 << 23).map(|i: u64| q.reduce(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let limbs: Vec<&[u64]> = large.chunks_exact(N).collect();
    let (x, mut sums) = ([1, 2, 3, 4].map(|seed| residues(q, seed)), [residues(q, 5), residues(q, 6)]);
    let [digits, babies] = TERMS;
    let keys = time(|| {
        for keys in limbs.chunks_exact(2 * digits) {
            let terms = x.iter().zip(keys.chunks_exact(2)).map(|(x, key)| (&x[..], [key[0], key[1]]));
            kernels::mul_add_many(q, sums.each_mut().map(|sum| &mut sum[..]), &terms.collect::<Vec<_>>());
        }
    });
    let key_products = limbs.len() / (2 * digits) * 2 * digits;
    let diagonals = time(|| {
        for diagonals in limbs.chunks_exact(babies) {
            for sum in &mut sums {
                let terms = x.iter().zip(diagonals).map(|(x, &diagonal)| (&x[..], [diagonal]));
                kernels::mul_add_many(q, [&mut sum[..]], &terms.collect::<Vec<_>>());
            }
        }
    });
    let products = 2 * limbs.len();
    let ring = parameters.ring();
    let element = Automorphism::Rotation { steps: 3 }.galois_element(ring).ok_or(missing)?;
    let table = permutation(element, ring);
    let moved = time(|| {
        for limb in &limbs {
            permute(&table, limb, &mut sums[0]);
        }
    });
    let conversion = BaseConversion::new(&moduli[..2], &moduli[2..]);
    let scaled = [&x[0][..], &x[1][..]];
    let base = time(|| conversion.combine(0, &scaled, &vec![1; N], &mut sums[0]));
    let per = |nanoseconds: f64, count: usize| nanoseconds / (count * N) as f64;
    Ok(vec![
        ("key_product", per(keys, key_products)),
        ("diagonal", per(diagonals, products)),
        ("permute", per(moved, limbs.len())),
        ("base_change", per(base, scaled.len() + 1)),
    ])
}

/// The constants of matrix products.
fn matrices(q: Modulus) -> Vec<Constant> {
    let inputs: Vec<Limb> = (0..COLUMNS).map(|k| residues(q, k)).collect();
    // Between two numbers of rows lie multiply-adds and nothing else.
    let each = |bits| {
        let (few, many) = (product(q, &inputs, FEW_ROWS, bits), product(q, &inputs, ROWS, bits));
        let each = (many - few).max(0.0) / ((ROWS - FEW_ROWS) * COLUMNS) as f64;
        (each, (few / COLUMNS as f64 - FEW_ROWS as f64 * each).max(0.0))
    };
    let (float, pack) = each(20);
    let store = ((product(q, &inputs[..8], ROWS, 20) - 8.0 * pack) / ROWS as f64 - 8.0 * float).max(0.0);
    // Four digits of 13 bits; sums of 32 bits take 2^(32 - 13 - b) weights of b bits.
    let (long, short) = (each(11).0 / 4.0, each(14).0 / 4.0);
    let carry = ((short - long) / (1.0 / 32.0 - 1.0 / 256.0)).max(0.0);
    vec![
        ("float_multiply_add", float),
        ("digit_multiply_add", (long - carry / 256.0).max(0.0)),
        ("digit_carry", carry),
        ("pack", pack),
        ("store", store),
    ]
}

/// Nanoseconds for each coefficient of the product of a dense matrix of `bits`-bit weights with `inputs`.
fn product(q: Modulus, inputs: &[Limb], rows: usize, bits: u32) -> f64 {
    let weight = |i: usize| (((i as i32).wrapping_mul(0x2545_f491) >> 4) % (1 << bits)) | 1;
    let weights: Arc<[i32]> = (0..rows * inputs.len()).map(weight).collect();
    let all = |n: usize| (0..n as u32).collect();
    let block = Block { rows: all(rows), cols: all(inputs.len()), weights };
    let matrix = BlockMatrix::new(rows, inputs.len(), vec![block]).ok().and_then(|m| PreparedMatrix::new(&m).ok());
    let Some(matrix) = matrix else { return f64::NAN };
    let inputs: Vec<&[u64]> = inputs.iter().map(|x| &x[..]).collect();
    let mut outputs = vec![vec![0u64; COEFFICIENTS]; rows];
    let mut outputs: Vec<&mut [u64]> = outputs.iter_mut().map(|y| &mut y[..]).collect();
    let parts = N / COEFFICIENTS;
    let nanoseconds = time(|| {
        for part in 0..parts {
            let start = part * COEFFICIENTS;
            matrix.product_range(q, &inputs, start..start + COEFFICIENTS, &mut outputs);
        }
    });
    nanoseconds / N as f64
}

fn residues(q: Modulus, seed: usize) -> Limb {
    let mut limb = Limb::zero(N, seed);
    let residue = |i: usize| q.reduce(((i + seed * N) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    limb.iter_mut().enumerate().for_each(|(i, x)| *x = residue(i));
    limb
}

/// Nanoseconds of the fastest of several runs: what others do on the machine only ever adds to a time.
fn time(mut run: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64() * 1e9
    };
    once();
    (0..RUNS).map(|_| once()).fold(f64::INFINITY, f64::min)
}
