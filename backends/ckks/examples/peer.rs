//! Times this engine on what `tests/peers/tenseal_times.py` times with TenSEAL (Microsoft SEAL): same ring degrees, same number
//! of levels, same scales. One thread: run it with `RAYON_NUM_THREADS=1`.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "an example")]

use std::time::Instant;

use hec_ckks::{Ciphertext, Context, PublicKey, Randomness, RelinearizationKeys, SecretKey, evaluate};
use hec_ir::Scale;
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, Security};

/// Name, log2 of the ring degree, sizes of the chain and of the special primes, log2 of the scale.
type Set = (&'static str, u32, Vec<u32>, Vec<u32>, i32);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chain = |base: u32, limbs: usize| std::iter::once(base).chain(std::iter::repeat_n(40, limbs)).collect();
    let sets: [Set; 3] = [
        ("2^13, 7 x 30 bits", 13, vec![30; 6], vec![30], 30),
        ("2^14, 419 bits", 14, chain(50, 8), vec![49], 40),
        ("2^15, 866 bits", 15, chain(50, 18), vec![48; 2], 40),
    ];
    for set in sets {
        measure(set)?;
    }
    Ok(())
}

fn measure((name, log_n, moduli, special, scale): Set) -> Result<(), Box<dyn std::error::Error>> {
    let mut primes = PrimeSearch::new(log_n);
    let mut take = |sizes: Vec<u32>| sizes.into_iter().map(|bits| primes.take(bits).expect("a prime")).collect();
    let literal = Literal { log_n, moduli: take(moduli), special_primes: take(special), security: Security::Bits128 };
    let parameters = Parameters::new(literal)?;
    let context = Context::new(&parameters);
    let mut randomness = Randomness::from_os()?;
    let secret = SecretKey::generate(&context, &mut randomness);
    let public = PublicKey::generate(&context, &secret, &mut randomness)?;
    let level = parameters.max_level();
    let keys = RelinearizationKeys::generate(&context, &secret, level, 2, &mut randomness)?;

    let scale = Scale::power_of_two(scale);
    let values: Vec<f64> = (0..parameters.slots()).map(|i| (i as f64 * 0.7).sin()).collect();
    let mut encrypt = || -> Result<Ciphertext, hec_ckks::Error> {
        public.encrypt(&context, &context.encode(&values, level, &scale)?, &mut randomness)
    };
    let (a, b) = (encrypt()?, encrypt()?);
    let product =
        || -> Result<Ciphertext, hec_ckks::Error> { evaluate::multiply_relinearize_rescale(&context, &a, &b, &keys) };
    let found = context.decode(&secret.decrypt(&context, &product()?)?)?;
    let error = found.iter().zip(&values).map(|(x, v)| (x - v * v).abs()).fold(0.0, f64::max);
    println!(
        "{name:20} multiply + relinearize + rescale {:8.2} ms   encrypt {:8.2} ms   decrypt {:8.2} ms   precision {:5.1} bits",
        median(|| product().map(drop))?,
        median(|| encrypt().map(drop))?,
        median(|| context.decode(&secret.decrypt(&context, &a)?).map(drop))?,
        -error.log2()
    );
    Ok(())
}

/// Median milliseconds of 15 runs.
fn median(mut work: impl FnMut() -> Result<(), hec_ckks::Error>) -> Result<f64, hec_ckks::Error> {
    let mut times = Vec::new();
    for _ in 0..15 {
        let start = Instant::now();
        work()?;
        times.push(1000.0 * start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
