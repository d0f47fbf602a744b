//! Runs every operation on secrets under valgrind's memory checker, with the secrets marked as undefined, and prints what it reports
//! for each. `constant-time/run` starts it.

use std::error::Error;
use std::process::ExitCode;

use hec_ckks::arithmetic::Modulus;
use hec_ckks::kernels::Simd;
use hec_ckks::ntt::NttTable;
use hec_ckks::{Automorphism, Context, GaloisKeys, PublicKey, Randomness, RelinearizationKeys, SecretKey};
use hec_constant_time::memcheck::{errors, is_running, mark_public, mark_secret};
use hec_constant_time::{context, leaky_branch, leaky_index, leaky_sampler, secret_randomness};
use hec_ir::Scale;
use hec_ir::parameters::Ring;

/// Whether an operation is to be free of reports.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    Clean,
    /// A control: the check is worth nothing if it finds nothing here.
    Reported,
    /// Not promised: shown so that the list is complete.
    Open,
}

#[derive(Default)]
struct Check {
    failed: usize,
}

impl Check {
    fn run<T>(&mut self, name: &str, expected: Expected, work: impl FnOnce() -> T) -> T {
        let before = errors();
        let result = work();
        let found = errors() - before;
        let verdict = match (expected, found) {
            (Expected::Clean, 0) => "no secret-dependent branch or address",
            (Expected::Reported, 1..) => "reported, as it has to be (control)",
            (Expected::Open, 0) => "nothing reported (not promised)",
            (Expected::Open, _) => "reported; not promised",
            (Expected::Clean, _) => "LEAKS",
            (Expected::Reported, 0) => "NOT REPORTED: the check does not work",
        };
        self.failed += usize::from(verdict.chars().next().is_some_and(char::is_uppercase));
        println!("{name:<78} {found:>7}  {verdict}");
        result
    }
}

fn main() -> ExitCode {
    if !is_running() {
        eprintln!("error: this checks nothing unless valgrind runs it: constant-time/run");
        return ExitCode::FAILURE;
    }
    match all() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("error: {failed} checks failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<usize, Box<dyn Error>> {
    let mut check = Check::default();
    println!("{:<78} {:>7}  verdict", "operation", "reports");
    controls(&mut check);
    for ring in [Ring::standard(11), Ring::conjugate_invariant(11)] {
        arithmetic(&mut check, ring)?;
        scheme(&mut check, ring)?;
    }
    Ok(check.failed)
}

fn controls(check: &mut Check) {
    let mut words: Vec<u64> = (0..64u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    mark_secret(&mut words);
    let table = std::array::from_fn(|i| i as u64);
    let cumulative: Vec<u64> = (1..30u64).map(|i| u64::MAX / 30 * i).collect();
    for result in [
        check.run("control: branch on a secret bit", Expected::Reported, || leaky_branch(&words)),
        check.run("control: table index from a secret byte", Expected::Reported, || leaky_index(&words, &table)),
        check.run("control: sampler with an early exit", Expected::Reported, || leaky_sampler(&words, &cumulative)),
    ] {
        std::hint::black_box(result);
    }
}

/// Modular arithmetic and transforms in portable integers and in vectors.
fn arithmetic(check: &mut Check, ring: Ring) -> Result<(), Box<dyn Error>> {
    let context = context(ring, &[26], &[])?;
    let q = Modulus::new(context.parameters().moduli()[0]);
    let mut x: Vec<u64> = (0..ring.degree() as u64).map(|i| q.reduce(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    mark_secret(&mut x);
    check.run(&format!("{ring}: arithmetic modulo a prime"), Expected::Clean, || {
        for i in 0..x.len() - 1 {
            let (a, b) = (x[i], x[i + 1]);
            let sum = q.add(q.sub(q.neg(a), b), q.mul_add(a, b, q.mul(a, b)));
            x[i] = q.from_i64(q.centered(q.mul_shoup(q.reduce(sum), 12345, q.shoup(12345))));
        }
    });
    for (name, simd) in [("portable", Simd::Portable), ("vectors", Simd::detected())] {
        let table = NttTable::with_simd(q, ring, simd);
        check.run(&format!("{ring}: NTT and its inverse, {name}"), Expected::Clean, || {
            table.forward(&mut x);
            table.inverse(&mut x);
        });
    }
    std::hint::black_box(x);
    Ok(())
}

/// Everything that a client does with its key.
fn scheme(check: &mut Check, ring: Ring) -> Result<(), Box<dyn Error>> {
    let flat = context(ring, &[50], &[])?;
    let deep = context(Ring { log_n: 13, ..ring }, &[40, 40, 40], &[45, 45])?;
    let mut source = secret_randomness(3);
    let secret = check.run(&format!("{ring}: secret key, ternary sampler"), Expected::Clean, || {
        SecretKey::generate(&flat, &mut source)
    });
    let other = SecretKey::generate(&deep, &mut source);
    evaluation_keys(check, ring, &deep, &other, &mut source)?;

    let mut message: Vec<f64> = (0..flat.parameters().slots()).map(|i| i as f64 / 4096.0).collect();
    let plaintext = flat.encode(&message, 0, &Scale::power_of_two(30))?;
    let ciphertext =
        check.run(&format!("{ring}: encryption with the secret key, Gaussian sampler"), Expected::Clean, || {
            secret.encrypt(&flat, &plaintext, &mut source)
        })?;
    let public = check
        .run(&format!("{ring}: public key"), Expected::Clean, || PublicKey::generate(&flat, &secret, &mut source))?;
    check.run(&format!("{ring}: encryption with the public key"), Expected::Clean, || {
        public.encrypt(&flat, &plaintext, &mut source)
    })?;
    let mut decrypted = check
        .run(&format!("{ring}: decryption to a polynomial"), Expected::Clean, || secret.decrypt(&flat, &ciphertext))?;
    check.run(&format!("{ring}: flooding, wide Gaussian sampler"), Expected::Clean, || {
        flat.flood(&mut decrypted, 1e-4, &mut source)
    })?;
    let deep_message = deep.encode(&message, 2, &Scale::power_of_two(30))?;
    let deep_ciphertext = other.encrypt(&deep, &deep_message, &mut source)?;
    let square = hec_ckks::evaluate::square(&deep, &deep_ciphertext)?;
    check.run(&format!("{ring}: decryption at degree 2, three primes"), Expected::Clean, || {
        other.decrypt(&deep, &square)
    })?;

    let bytes = check.run(&format!("{ring}: secret key to bytes"), Expected::Clean, || secret.to_bytes(&flat))?;
    check
        .run(&format!("{ring}: secret key from bytes"), Expected::Open, || SecretKey::from_bytes(&flat, &bytes))
        .map_err(|e| e.to_string())?;
    check.run(&format!("{ring}: decoding"), Expected::Open, || flat.decode(&decrypted))?;
    mark_secret(&mut message);
    check.run(&format!("{ring}: encoding"), Expected::Open, || flat.encode(&message, 0, &Scale::power_of_two(30)))?;
    mark_public(&message);
    check.run(&format!("{ring}: keys wiped and freed"), Expected::Clean, || drop((secret, other)));
    Ok(())
}

fn evaluation_keys(
    check: &mut Check,
    ring: Ring,
    context: &Context,
    secret: &SecretKey,
    source: &mut Randomness,
) -> Result<(), Box<dyn Error>> {
    let top = context.max_level();
    check.run(&format!("{ring}: relinearization keys, powers of the secret"), Expected::Clean, || {
        RelinearizationKeys::generate(context, secret, top, 4, source)
    })?;
    let rotations = [(Automorphism::Rotation { steps: 3 }, top)];
    check.run(&format!("{ring}: rotation keys, automorphisms of the secret"), Expected::Clean, || {
        GaloisKeys::generate(context, secret, rotations, source)
    })?;
    Ok(())
}
