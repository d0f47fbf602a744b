//! Whether the time of an operation depends on its secret: the test of Reparaz, Balasch and Verbauwhede, "Dude, is my code constant
//! time?" (DATE 2017). Times with one fixed secret and times with random ones, taken in random order, are compared by Welch's t-test, whole
//! and without their slowest parts. Above 10 the times surely differ, below 4.5 there is no evidence that they do.
//! `constant-time/run dudect [MEASUREMENTS]` starts it. It is for a quiet machine, and no gate: noise can only hide a leak.

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use hec_ckks::arithmetic::Modulus;
use hec_ckks::ntt::NttTable;
use hec_ckks::{Context, Randomness, SecretKey};
use hec_constant_time::{context, leaky_sampler};
use hec_ir::Scale;
use hec_ir::parameters::Ring;

/// Measurements of each operation, where the command line does not say.
const MEASUREMENTS: usize = 100_000;
/// Random keys.
const POOL: usize = 16;
/// Above it the times differ for sure (the paper's threshold, with room for what else runs on a machine).
const LEAK: f64 = 10.0;
/// Below it there is no evidence.
const NOTHING: f64 = 4.5;

fn main() -> ExitCode {
    let measurements = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(MEASUREMENTS);
    match all(measurements) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all(measurements: usize) -> Result<bool, Box<dyn Error>> {
    println!("{:<62} {:>8} {:>10} {:>8}  verdict", "operation", "samples", "median ns", "max |t|");
    let mut good = control(measurements);
    for ring in [Ring::standard(11), Ring::conjugate_invariant(11)] {
        let context = context(ring, &[50], &[])?;
        good &= samplers(&context, ring, measurements)?;
        good &= transform(&context, ring, measurements);
        good &= decryption(&context, ring, measurements)?;
    }
    Ok(good)
}

/// Pseudo-random numbers for the order of the classes and for test data: splitmix64.
struct Splitmix(u64);

impl Splitmix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn key(&mut self) -> [u8; 32] {
        let mut key = [0; 32];
        key.as_chunks_mut::<8>().0.iter_mut().for_each(|part| *part = self.next().to_le_bytes());
        key
    }
}

/// Times `work` on what `prepare` makes for each class (0 fixed, 1 random), prints the line and says whether it is as expected.
fn test<T>(
    name: &str,
    measurements: usize,
    leaks: bool,
    mut prepare: impl FnMut(usize, &mut Splitmix) -> T,
    mut work: impl FnMut(T),
) -> bool {
    let mut order = Splitmix(42);
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    // The first ones fill caches.
    for round in 0..measurements + measurements / 10 {
        let class = (order.next() >> 40 & 1) as usize;
        let prepared = prepare(class, &mut order);
        let start = Instant::now();
        work(prepared);
        let time = start.elapsed().as_nanos() as f64;
        if round >= measurements / 10 {
            times[class].push(time);
        }
    }
    let mut all: Vec<f64> = times.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    // Whole, and up to percentiles that come closer and closer to the fastest, as in the paper's code.
    let crops =
        (0..20).map(|i| all[((1.0 - 0.5f64.powf(10.0 * f64::from(i + 1) / 20.0)) * (all.len() - 1) as f64) as usize]);
    let cut =
        |limit: f64| times.each_ref().map(|class| class.iter().copied().filter(|&t| t <= limit).collect::<Vec<_>>());
    let found = crops.chain([f64::INFINITY]).map(|limit| welch(cut(limit)).abs()).fold(0.0, f64::max);
    let verdict = match (leaks, found) {
        (true, t) if t > LEAK => "leaks, as it has to (control)",
        (true, _) => "CONTROL NOT FOUND: the machine is too noisy",
        (false, t) if t > LEAK => "LEAKS",
        (false, t) if t > NOTHING => "no clear answer: repeat with more",
        (false, _) => "no evidence of a leak",
    };
    println!("{name:<62} {:>8} {:>10.0} {found:>8.2}  {verdict}", all.len(), all[all.len() / 2]);
    !verdict.chars().next().is_some_and(char::is_uppercase)
}

/// Welch's t; 0 where there is too little to say anything.
fn welch(classes: [Vec<f64>; 2]) -> f64 {
    const LEAST: usize = 100;
    if classes.iter().any(|class| class.len() < LEAST) {
        return 0.0;
    }
    let [(mean_a, part_a), (mean_b, part_b)] = classes.map(|class| {
        let n = class.len() as f64;
        let mean = class.iter().sum::<f64>() / n;
        let variance = class.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, variance / n)
    });
    if part_a + part_b == 0.0 { 0.0 } else { (mean_a - mean_b) / (part_a + part_b).sqrt() }
}

fn control(measurements: usize) -> bool {
    let cumulative: Vec<u64> = (1..30u64).map(|i| u64::MAX / 30 * i).collect();
    let prepare = |class: usize, source: &mut Splitmix| -> Vec<u64> {
        (0..256).map(|_| source.next()).map(|word| if class == 0 { 1 << 62 } else { word }).collect()
    };
    test("control: sampler with an early exit", measurements, true, prepare, |words| {
        black_box(leaky_sampler(&words, &cumulative));
    })
}

/// What is drawn from a fixed seed, or from random ones.
fn samplers(context: &Context, ring: Ring, measurements: usize) -> Result<bool, Box<dyn Error>> {
    let seed = |class: usize, source: &mut Splitmix| {
        let random = source.key();
        Randomness::from_seed(if class == 0 { [7; 32] } else { random })
    };
    let mut good =
        test(&format!("{ring}: secret key (ternary, NTT)"), measurements / 4, false, seed, |mut randomness| {
            black_box(SecretKey::generate(context, &mut randomness));
        });
    // All else is the same for both: only what is drawn differs. The expansion of the public seed is left out.
    let scale = Scale::power_of_two(30);
    good &= test(
        &format!("{ring}: flooding (Gaussian)"),
        measurements / 4,
        false,
        |class, source| (seed(class, source), context.encode(&[0.0], 0, &scale)),
        |(mut randomness, plaintext)| {
            if let Ok(mut plaintext) = plaintext {
                let _ = black_box(context.flood(&mut plaintext, 1e-5, &mut randomness));
            }
        },
    );
    Ok(good)
}

/// One polynomial of random residues, or others; and zeros, or others.
fn transform(context: &Context, ring: Ring, measurements: usize) -> bool {
    let q = Modulus::new(context.parameters().moduli()[0]);
    let table = NttTable::new(q, ring);
    let mut source = Splitmix(11);
    let fixed: Vec<u64> = (0..ring.degree()).map(|_| q.reduce(source.next())).collect();
    let buffer = std::cell::RefCell::new(vec![0; ring.degree()]);
    let compare = |name: &str, fixed: &[u64]| {
        let prepare = |class: usize, source: &mut Splitmix| {
            // By a mask: a branch would leave the processor in another state for each class, and that is what would be measured.
            let own = black_box(class as u64).wrapping_sub(1);
            for (x, &fixed) in buffer.borrow_mut().iter_mut().zip(fixed) {
                *x = (fixed & own) | (q.reduce(source.next()) & !own);
            }
        };
        test(&format!("{ring}: {name}"), measurements, false, prepare, |()| {
            let mut x = buffer.borrow_mut();
            table.forward(&mut x);
            table.inverse(&mut x);
            black_box(&x);
        })
    };
    compare("NTT and its inverse", &fixed) & compare("NTT and its inverse, of zeros", &vec![0; ring.degree()])
}

/// One ciphertext under one key, or under others. The key is read into the same memory each time: keys side by side differ in how caches
/// map their addresses, which looks like a leak.
fn decryption(context: &Context, ring: Ring, measurements: usize) -> Result<bool, Box<dyn Error>> {
    let mut randomness = Randomness::from_seed([1; 32]);
    let fixed = SecretKey::generate(context, &mut randomness);
    let plaintext = context.encode(&[0.5, -0.25], 0, &Scale::power_of_two(30))?;
    let ciphertext = fixed.encrypt(context, &plaintext, &mut randomness)?;
    let fixed = fixed.to_bytes(context)?;
    let mut others = Vec::with_capacity(POOL);
    let mut source = Splitmix(9);
    for _ in 0..POOL {
        others.push(SecretKey::generate(context, &mut Randomness::from_seed(source.key())).to_bytes(context)?);
    }
    let prepare = |class: usize, source: &mut Splitmix| {
        let other = &others[source.next() as usize % POOL];
        SecretKey::from_bytes(context, if class == 0 { &fixed } else { other })
    };
    Ok(test(&format!("{ring}: decryption to a polynomial"), measurements, false, prepare, |key| {
        if let Ok(key) = key {
            let _ = black_box(key.decrypt(context, &ciphertext));
        }
    }))
}
