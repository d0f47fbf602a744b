//! Times this engine on what `tests/peers/tenseal_times.py` times with TenSEAL (Microsoft SEAL) and `lattigo_times.py` with Lattigo.
//!
//! First with their numbers of limbs, then with the same total modulus cut into fewer limbs that fill the word: fewer levels,
//! each of a larger scale, and several special primes. One thread, processor time, the least of the runs: run it with
//! `RAYON_NUM_THREADS=1`. With an argument it prints wall times at 2^15 instead, which show what threads give.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "an example")]

use std::collections::BTreeMap;
use std::time::Instant;

use hec_ckks::{
    Automorphism, Ciphertext, Context, Error, GaloisKeys, LinearTransform, PublicKey, Randomness, RelinearizationKeys,
    SecretKey, TransformSettings, evaluate,
};
use hec_ir::Scale;
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, RingType, Security};
use rustix::time::{ClockId, clock_gettime};

/// Name, log2 of the ring degree, sizes of the chain and of the special primes, log2 of the scale.
type Set = (&'static str, u32, Vec<u32>, Vec<u32>, i32);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chain = |base: u32, limbs: usize| std::iter::once(base).chain(std::iter::repeat_n(40, limbs)).collect();
    let sets: [Set; 6] = [
        ("2^13, 7 x 30 bits", 13, vec![30; 6], vec![30], 30),
        ("2^14, 419 bits", 14, chain(50, 8), vec![49], 40),
        ("2^15, 866 bits", 15, chain(50, 18), vec![48; 2], 40),
        ("2^13, 4 x 50 bits", 13, vec![50; 3], vec![50], 45),
        ("2^14, 8 x 50 bits", 14, vec![50; 6], vec![50; 2], 45),
        ("2^15, 17 x 50 bits", 15, vec![50; 13], vec![50; 4], 45),
    ];
    let wall = std::env::args().len() > 1;
    for set in sets {
        if !wall || set.1 == 15 {
            measure(set, if wall { wall_time } else { processor_time })?;
        }
    }
    Ok(())
}

fn measure((name, log_n, moduli, special, scale): Set, clock: fn() -> f64) -> Result<(), Box<dyn std::error::Error>> {
    let mut primes = PrimeSearch::new(log_n);
    let mut take = |sizes: Vec<u32>| sizes.into_iter().map(|bits| primes.take(bits).expect("a prime")).collect();
    let literal = Literal {
        ring_type: RingType::Standard,
        log_n,
        moduli: take(moduli),
        special_primes: take(special),
        security: Security::Bits128,
    };
    let parameters = Parameters::new(literal)?;
    let context = Context::new(&parameters);
    let mut randomness = Randomness::from_os()?;
    let secret = SecretKey::generate(&context, &mut randomness);
    let public = PublicKey::generate(&context, &secret, &mut randomness)?;
    let level = parameters.max_level();
    let keys = RelinearizationKeys::generate(&context, &secret, level, 2, &mut randomness)?;
    let steps = [1, 2, 3, 4, 5, 6, 7, 8];
    let rotations = steps.map(|steps| (Automorphism::Rotation { steps }, level));
    let galois = GaloisKeys::generate(&context, &secret, rotations, &mut randomness)?;

    let scale = Scale::power_of_two(scale);
    let values: Vec<f64> = (0..parameters.slots()).map(|i| (i as f64 * 0.7).sin()).collect();
    let mut encrypt = || -> Result<Ciphertext, Error> {
        public.encrypt(&context, &context.encode(&values, level, &scale)?, &mut randomness)
    };
    let (a, b) = (encrypt()?, encrypt()?);
    let product = || evaluate::multiply_relinearize_rescale(&context, &a, &b, &keys);
    let found = context.decode(&secret.decrypt(&context, &product()?)?)?;
    let error = found.iter().zip(&values).map(|(x, v)| (x - v * v).abs()).fold(0.0, f64::max);
    let diagonals: BTreeMap<i64, Vec<f64>> = steps.iter().map(|&step| (step, vec![0.5; values.len()])).collect();
    let settings = TransformSettings { baby_steps: Some(16), ..TransformSettings::at_level(level) };
    let transform = LinearTransform::new(&context, &diagonals, &settings)?;
    let fastest = |work: &mut dyn FnMut() -> Result<(), Error>| fastest(clock, work);
    println!(
        "{name:20} multiply + relinearize + rescale {:7.2} ms   encrypt {:6.2} ms   decrypt {:6.2} ms   rotate {:7.2} ms   \
         8 hoisted {:7.2} ms   map of 8 diagonals {:7.2} ms   precision {:5.1} bits",
        fastest(&mut || product().map(drop))?,
        fastest(&mut || encrypt().map(drop))?,
        fastest(&mut || context.decode(&secret.decrypt(&context, &a)?).map(drop))?,
        fastest(&mut || evaluate::rotate(&context, &a, 1, &galois).map(drop))?,
        fastest(&mut || evaluate::rotate_many(&context, &a, &steps, &galois).map(drop))?,
        fastest(&mut || evaluate::linear_transform(&context, &a, &transform, &galois).map(drop))?,
        -error.log2()
    );
    Ok(())
}

/// Milliseconds of the fastest of 15 runs.
fn fastest(clock: fn() -> f64, work: &mut dyn FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let mut least = f64::INFINITY;
    for _ in 0..15 {
        let start = clock();
        work()?;
        least = least.min(clock() - start);
    }
    Ok(least)
}

/// Milliseconds that all threads of the process have computed.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    1e3 * time.tv_sec as f64 + 1e-6 * time.tv_nsec as f64
}

/// Milliseconds since the first call.
fn wall_time() -> f64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    1e3 * START.get_or_init(Instant::now).elapsed().as_secs_f64()
}
