use std::collections::BTreeMap;
use std::error::Error;

use hec_ir::ckks::{Circuit, Ckks, Input, Op};
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, Ring, RingType, Security};
use hec_ir::slots::Layout;
use hec_ir::{Builder, Scale, Value};

use super::meaning::{Vectors, meaning};
use crate::engine::{Client, Engine, Evaluator};
use crate::executor::execute;
use crate::progress::Silent;

/// What a case answers: nothing, or what went wrong.
pub type Verdict = Result<(), Box<dyn Error + Send + Sync>>;

/// Under which parameters and how exactly an engine is tested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// The ring.
    pub ring_type: RingType,
    /// log2 of the ring degree; at least 10.
    pub log_n: u32,
    /// Number of special primes, at least 1.
    pub special_primes: usize,
    /// Each slot may be off by this much times the larger of 1 and its magnitude.
    pub tolerance: f64,
}

/// The highest level of the test parameters.
pub(super) const TOP: usize = 6;

/// The bits of the primes above the first, and of the usual scale.
pub(super) const SCALE_BITS: i32 = 40;

/// 2^40.
pub(super) fn scale() -> Scale {
    Scale::power_of_two(SCALE_BITS)
}

impl Setting {
    /// A chain of seven primes of 49 and 40 bits, and special primes of 50 bits. Sound, but not secure.
    ///
    /// # Errors
    /// If the ring degree is not supported.
    pub fn parameters(&self) -> Result<Parameters, Box<dyn Error + Send + Sync>> {
        let mut search = PrimeSearch::for_ring(Ring { ring_type: self.ring_type, log_n: self.log_n });
        let mut take = |bits| search.take(bits).ok_or("there are not enough primes");
        let special_primes = (0..self.special_primes).map(|_| take(50)).collect::<Result<_, _>>()?;
        let mut moduli = vec![take(49)?];
        for _ in 0..TOP {
            moduli.push(take(40)?);
        }
        let literal = Literal {
            ring_type: self.ring_type,
            log_n: self.log_n,
            moduli,
            special_primes,
            security: Security::Bits128,
        };
        Ok(Parameters::insecure_for_tests(literal)?)
    }

    pub(super) fn builder(&self) -> Result<Builder<Ckks>, Box<dyn Error + Send + Sync>> {
        let mut builder = Builder::new(self.parameters()?);
        builder.set_origin("case");
        Ok(builder)
    }

    /// Runs `circuit` on random inputs in [-1, 1) and compares every slot of every output with [`meaning`].
    pub(super) fn check<E: Engine>(&self, engine: &E, circuit: &Circuit) -> Verdict {
        let inputs = random_inputs(circuit);
        let expected = meaning(circuit, &inputs);
        let found = run(engine, circuit, &inputs)?;
        self.compare(&expected, &found).map_err(|reason| format!("{reason}, in\n{circuit}").into())
    }

    pub(super) fn compare(&self, expected: &[(String, Vectors)], found: &[(String, Vectors)]) -> Verdict {
        let names = |of: &[(String, Vectors)]| of.iter().map(|(name, x)| (name.clone(), x.len())).collect::<Vec<_>>();
        if names(expected) != names(found) {
            return Err(format!("expected the outputs {:?}, found {:?}", names(expected), names(found)).into());
        }
        for ((name, expected), (_, found)) in expected.iter().zip(found) {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                if expected.len() != found.len() {
                    let (e, f) = (expected.len(), found.len());
                    return Err(format!("{name}[{index}]: expected {e} slots, found {f}").into());
                }
                for (slot, (&e, &f)) in expected.iter().zip(found).enumerate() {
                    let allowed = self.tolerance * e.abs().max(1.0);
                    let off = (e - f).abs();
                    // Written so that NaN fails.
                    if !matches!(off.partial_cmp(&allowed), Some(std::cmp::Ordering::Less)) {
                        let text = format!("{name}[{index}], slot {slot}: expected {e}, found {f}");
                        return Err(format!("{text} (off by {off:.3e}, allowed {allowed:.3e})").into());
                    }
                }
            }
        }
        Ok(())
    }
}

/// An input of `length` vectors at `level` and `scale`.
pub(super) fn input(
    builder: &mut Builder<Ckks>,
    name: &str,
    length: usize,
    level: usize,
    scale: Scale,
) -> Result<Value, hec_ir::graph::GraphError> {
    push_input(builder, name, length, (level, scale), false)
}

/// The same in the clear.
pub(super) fn public_input(
    builder: &mut Builder<Ckks>,
    name: &str,
    length: usize,
    level: usize,
    scale: Scale,
) -> Result<Value, hec_ir::graph::GraphError> {
    push_input(builder, name, length, (level, scale), true)
}

fn push_input(
    builder: &mut Builder<Ckks>,
    name: &str,
    length: usize,
    (level, scale): (usize, Scale),
    public: bool,
) -> Result<Value, hec_ir::graph::GraphError> {
    let layout = Layout::Batch { shape: vec![length] };
    builder.push(Op::Input(Input { name: name.to_owned(), layout, level, scale, public }), &[])
}

/// Encrypts (or encodes what is public), executes and decrypts.
pub(super) fn run<E: Engine>(
    engine: &E,
    circuit: &Circuit,
    inputs: &BTreeMap<String, Vectors>,
) -> Result<Vec<(String, Vectors)>, Box<dyn Error + Send + Sync>> {
    let (client, evaluator) = engine.generate(circuit)?;
    let mut encrypted = BTreeMap::new();
    for (_, node) in circuit.nodes() {
        let Op::Input(Input { name, level, scale, public, .. }) = node.op() else { continue };
        let vectors = inputs.get(name).into_iter().flatten();
        let each = |vector: &Vec<f64>| match public {
            true => evaluator.encode(vector, *level, scale),
            false => client.encrypt(vector, *level, scale),
        };
        encrypted.insert(name.clone(), vectors.map(each).collect::<Result<_, _>>()?);
    }
    let outputs = execute(circuit, &evaluator, encrypted, &Silent)?;
    let mut decrypted = Vec::new();
    for (name, array) in outputs {
        decrypted.push((name, array.iter().map(|c| client.decrypt(c)).collect::<Result<_, _>>()?));
    }
    Ok(decrypted)
}

fn random_inputs(circuit: &Circuit) -> BTreeMap<String, Vectors> {
    let (slots, mut random) = (circuit.context().slots(), Random::new(1));
    let input = |(value, name): (Value, &str)| {
        let vectors = (0..circuit.ty(value).length).map(|_| random.reals(slots)).collect();
        (name.to_owned(), vectors)
    };
    circuit.inputs().map(input).collect()
}

/// Numbers that are the same in every run (splitmix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    pub(super) fn real(&mut self) -> f64 {
        (self.next() >> 11) as f64 / f64::from(52).exp2() - 1.0
    }

    pub(super) fn reals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.real()).collect()
    }

    /// Between `-limit` and `limit`.
    pub(super) fn weight(&mut self, limit: i32) -> i32 {
        (self.real() * f64::from(limit)).round() as i32
    }
}
