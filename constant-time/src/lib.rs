//! What both checks share: parameters, and code that is known to leak.

pub mod memcheck;

use hec_ckks::{Context, Randomness};
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, Ring, Security};

/// Parameters that the security table accepts, with two special primes; small, because memcheck is slow.
pub fn context(ring: Ring, chain: &[u32], special: &[u32]) -> Result<Context, Box<dyn std::error::Error>> {
    let mut search = PrimeSearch::for_ring(ring);
    let mut take = |bits: &[u32]| -> Result<Vec<u64>, String> {
        bits.iter().map(|&b| search.take(b).ok_or_else(|| format!("there is no prime of {b} bits"))).collect()
    };
    let (moduli, special_primes) = (take(chain)?, take(special)?);
    let Ring { ring_type, log_n } = ring;
    let literal = Literal { ring_type, log_n, moduli, special_primes, security: Security::Bits128 };
    Ok(Context::new(&Parameters::new(literal)?))
}

/// Randomness whose seed, and so all that is drawn from it, is secret.
pub fn secret_randomness(seed: u8) -> Randomness {
    let mut key = [seed; 32];
    memcheck::mark_secret(&mut key);
    Randomness::from_seed(key)
}

/// A branch that a secret decides: what both checks have to find.
#[inline(never)]
pub fn leaky_branch(secret: &[u64]) -> u64 {
    let mut sum = 0u64;
    for &word in secret {
        if word & 1 == 1 {
            sum = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7) ^ std::hint::black_box(word);
        }
    }
    sum
}

/// An address that a secret decides.
#[inline(never)]
pub fn leaky_index(secret: &[u64], table: &[u64; 256]) -> u64 {
    secret.iter().fold(0, |sum, &word| sum ^ table[(word & 255) as usize])
}

/// A sampler that stops as soon as it knows its value: the usual way to leak one.
#[inline(never)]
pub fn leaky_sampler(words: &[u64], cumulative: &[u64]) -> u64 {
    words
        .iter()
        .map(|&word| cumulative.iter().take_while(|&&entry| word >= std::hint::black_box(entry)).count() as u64)
        .sum()
}
