//! Tests of the scheme as a whole.

mod buffers;
mod bytes;
mod conjugate_invariant;
mod exact;
mod exact_switches;
mod flooding;
mod large;
mod noise;
mod polynomials;
mod refusals;
mod rotations;
mod smoke;
mod threads;
mod transforms;

use hec_ir::Scale;
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, Ring, Security};

use crate::sampling::Randomness;
use crate::{Context, RelinearizationKeys, SecretKey};

/// Parameters with primes of these sizes, of no particular security.
pub(crate) fn parameters(ring: Ring, chain: &[u32], special: &[u32]) -> Parameters {
    let mut search = PrimeSearch::for_ring(ring);
    let mut take = |bits: &[u32]| bits.iter().map(|&b| search.take(b).expect("a prime")).collect::<Vec<_>>();
    let (moduli, special_primes) = (take(chain), take(special));
    let Ring { ring_type, log_n } = ring;
    let literal = Literal { ring_type, log_n, moduli, special_primes, security: Security::Bits128 };
    Parameters::insecure_for_tests(literal).unwrap()
}

/// A standard ring.
pub(crate) fn context(log_n: u32, chain: &[u32], special: &[u32]) -> Context {
    context_of(Ring::standard(log_n), chain, special)
}

pub(crate) fn context_of(ring: Ring, chain: &[u32], special: &[u32]) -> Context {
    Context::new(&parameters(ring, chain, special))
}

/// Both rings of a degree.
pub(crate) fn rings(log_n: u32) -> [Ring; 2] {
    [Ring::standard(log_n), Ring::conjugate_invariant(log_n)]
}

pub(crate) fn randomness(seed: u64) -> Randomness {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    Randomness::from_seed(key)
}

pub(crate) fn bits(bits: i32) -> Scale {
    Scale::power_of_two(bits)
}

/// `n` values between -1 and 1.
pub(crate) fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729 + 13) % 2003) as f64 / 1001.0 - 1.0).collect()
}

/// A secret key with keys for all degrees at the highest level.
pub(crate) fn keys(context: &Context, seed: u64) -> (SecretKey, RelinearizationKeys) {
    let mut randomness = randomness(seed);
    let secret = SecretKey::generate(context, &mut randomness);
    let keys = RelinearizationKeys::generate(context, &secret, context.max_level(), 4, &mut randomness).unwrap();
    (secret, keys)
}

pub(crate) fn assert_close(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (i, (a, b)) in found.iter().zip(wanted).enumerate() {
        assert!((a - b).abs() <= tolerance, "slot {i}: found {a}, expected {b}, apart by {:e}", (a - b).abs());
    }
}
