use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hec_ir::Scale;
use hec_ir::parameters::{Parameters, Ring};

use crate::arithmetic::Modulus;
use crate::automorphism::{self, Automorphism};
use crate::count::{Counters, Work};
use crate::encoding::embedding::Embedding;
use crate::error::Error;
use crate::kernels::BaseConversion;
use crate::ntt::NttTable;
use crate::poly::Poly;
use crate::scratch::{Home, Pool, Scratch};

/// Everything that follows from the parameters: tables for the transforms, constants for rescaling and key switching.
///
/// Cheap to clone; shared by all threads. All operations take it, and refuse ciphertexts and keys that belong to other
/// parameters.
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    parameters: Parameters,
    /// The chain, then the special primes. A *row* is an index into this.
    moduli: Vec<Modulus>,
    tables: Vec<NttTable>,
    embedding: Embedding,
    switches: Vec<OnceLock<Switch>>,
    /// By Galois element.
    permutations: Mutex<BTreeMap<u64, Arc<[u32]>>>,
    pool: Arc<Pool>,
    counters: Counters,
}

/// Constants of key switching at one level.
pub(crate) struct Switch {
    pub(crate) digits: Vec<Digit>,
    /// By `P`.
    pub(crate) special: Division,
    /// By `P q_level`; none at level 0.
    pub(crate) special_and_last: Option<Division>,
}

/// How to divide polynomials over `q_0 ..= q_level, p_0 ..` by the product of their last primes.
pub(crate) struct Division {
    /// From the divisor's primes to the others.
    pub(crate) down: BaseConversion,
    /// The divisor's inverse modulo the primes that remain.
    pub(crate) inverse: Vec<u64>,
}

/// A run of consecutive limbs, and how to extend it to the rest of `q_0 ..= q_level, p_0 ..`.
pub(crate) struct Digit {
    pub(crate) limbs: Range<usize>,
    /// From the digit's primes to all others in order.
    pub(crate) up: BaseConversion,
}

impl Context {
    /// Computes the tables for `parameters`. Constants of key switching are computed when a level first needs them.
    pub fn new(parameters: &Parameters) -> Self {
        let ring = parameters.ring();
        let primes = parameters.moduli().iter().chain(parameters.special_primes());
        let moduli: Vec<Modulus> = primes.map(|&q| Modulus::new(q)).collect();
        let tables = moduli.iter().map(|&q| NttTable::new(q, ring)).collect();
        let switches = parameters.moduli().iter().map(|_| OnceLock::new()).collect();
        let embedding = Embedding::new(ring);
        let permutations = Mutex::default();
        let (pool, counters) = (Arc::default(), Counters::default());
        let parameters = parameters.clone();
        Self(Arc::new(Inner { parameters, moduli, tables, embedding, switches, permutations, pool, counters }))
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.0.parameters
    }

    /// The level of the whole chain, at which fresh ciphertexts may be made.
    pub fn max_level(&self) -> usize {
        self.parameters().max_level()
    }

    pub(crate) fn ring(&self) -> Ring {
        self.parameters().ring()
    }

    pub(crate) fn n(&self) -> usize {
        self.parameters().ring_degree()
    }

    /// A polynomial of unspecified residues to work in; for public values only.
    pub(crate) fn scratch(&self, limbs: usize) -> Scratch<'_> {
        Scratch::new(&self.0.pool, self.n(), limbs)
    }

    /// A polynomial of unspecified residues, for a public value.
    pub(crate) fn public_poly(&self, limbs: usize) -> Poly {
        Poly::unspecified(self.n(), limbs, Home::Pool(self.0.pool.clone()))
    }

    /// Frees the buffers of dropped ciphertexts, which are kept to be used again: at any time, together with those in use, as
    /// much memory as ciphertexts and intermediate values once took together.
    pub fn release_buffers(&self) {
        self.0.pool.clear();
    }

    pub(crate) fn embedding(&self) -> &Embedding {
        &self.0.embedding
    }

    /// The primes `q_0 ..= q_level`.
    pub(crate) fn chain(&self, level: usize) -> &[Modulus] {
        &self.0.moduli[..=level]
    }

    pub(crate) fn special(&self) -> &[Modulus] {
        &self.0.moduli[self.max_level() + 1..]
    }

    /// The rows `q_0 ..= q_level, p_0 ..`.
    pub(crate) fn extended(&self, level: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        (0..=level).chain(self.max_level() + 1..self.0.moduli.len())
    }

    /// The row of limb `i` of a polynomial over `q_0 ..= q_level, p_0 ..`.
    pub(crate) fn row(&self, level: usize, i: usize) -> usize {
        if i <= level { i } else { i + self.max_level() - level }
    }

    pub(crate) fn modulus(&self, row: usize) -> Modulus {
        self.0.moduli[row]
    }

    pub(crate) fn table(&self, row: usize) -> &NttTable {
        &self.0.tables[row]
    }

    /// `P` modulo the prime of a row.
    pub(crate) fn special_product(&self, row: usize) -> u64 {
        let q = self.modulus(row);
        self.special().iter().fold(1, |product, p| q.mul(product, q.reduce(p.value())))
    }

    /// Number of digits of a key-switching key at `level`.
    ///
    /// # Errors
    /// [`Error::NoSpecialPrimes`].
    pub(crate) fn digits(&self, level: usize) -> Result<usize, Error> {
        match self.special().len() {
            0 => Err(Error::NoSpecialPrimes),
            alpha => Ok((level + 1).div_ceil(alpha)),
        }
    }

    /// Constants of key switching at `level`.
    pub(crate) fn switch(&self, level: usize) -> Result<&Switch, Error> {
        let digits = self.digits(level)?;
        Ok(self.0.switches[level].get_or_init(|| self.make_switch(level, digits)))
    }

    fn make_switch(&self, level: usize, digits: usize) -> Switch {
        let alpha = self.special().len();
        let digit = |d: usize| {
            let limbs = d * alpha..((d + 1) * alpha).min(level + 1);
            let rows = self.extended(level).filter(|row| !limbs.contains(row));
            let others: Vec<Modulus> = rows.map(|row| self.modulus(row)).collect();
            Digit { up: BaseConversion::new(&self.chain(level)[limbs.clone()], &others), limbs }
        };
        let division = |kept: &[Modulus], more: &[Modulus]| {
            let divisor = [more, self.special()].concat();
            let inverse = |q: &Modulus| q.inv(divisor.iter().fold(1, |product, p| q.mul(product, q.reduce(p.value()))));
            Division { down: BaseConversion::new(&divisor, kept), inverse: kept.iter().map(inverse).collect() }
        };
        let chain = self.chain(level);
        Switch {
            digits: (0..digits).map(digit).collect(),
            special: division(chain, &[]),
            special_and_last: (level > 0).then(|| division(&chain[..level], &chain[level..])),
        }
    }

    /// The Galois element of an automorphism.
    ///
    /// # Errors
    /// [`Error::NoConjugation`] for conjugation in the conjugate-invariant ring.
    pub(crate) fn galois_element(&self, operation: &'static str, automorphism: Automorphism) -> Result<u64, Error> {
        automorphism.galois_element(self.ring()).ok_or(Error::NoConjugation { operation })
    }

    /// The automorphism of a Galois element as a permutation in the NTT domain. Tables are kept: 4 N bytes for
    /// each element that was ever used.
    pub(crate) fn permutation(&self, element: u64) -> Arc<[u32]> {
        let mut known = self.0.permutations.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || automorphism::permutation(element, self.ring()).into();
        Arc::clone(known.entry(element).or_insert_with(make))
    }

    /// Notes that work was done: counted in tests, nothing otherwise.
    pub(crate) fn count(&self, work: Work, times: usize) {
        self.0.counters.add(work, times);
    }

    #[cfg(test)]
    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// One limb to the NTT domain.
    pub(crate) fn forward_limb(&self, row: usize, limb: &mut [u64]) {
        self.count(Work::Transform, 1);
        self.table(row).forward(limb);
    }

    /// One limb to coefficients.
    pub(crate) fn inverse_limb(&self, row: usize, limb: &mut [u64]) {
        self.count(Work::Transform, 1);
        self.table(row).inverse(limb);
    }

    /// To the NTT domain; limb `i` is that of row `row(i)`.
    pub(crate) fn forward(&self, poly: &mut Poly, row: impl Fn(usize) -> usize + Sync + Send) {
        poly.for_each_limb(|i, limb| self.forward_limb(row(i), limb));
    }

    /// To coefficients; limb `i` is that of row `row(i)`.
    pub(crate) fn inverse(&self, poly: &mut Poly, row: impl Fn(usize) -> usize + Sync + Send) {
        poly.for_each_limb(|i, limb| self.inverse_limb(row(i), limb));
    }

    /// The polynomial with these coefficients, none larger than `bound`, in coefficient form.
    pub(crate) fn poly_of_integers(&self, x: &[i64], bound: u64, rows: impl Iterator<Item = usize> + Clone) -> Poly {
        let mut poly = Poly::zero(self.n(), rows.clone().count());
        for (limb, row) in poly.iter_mut().zip(rows) {
            reduce_integers(limb, x, self.modulus(row), bound);
        }
        poly
    }

    /// Refuses what belongs to other parameters.
    pub(crate) fn check_fingerprint(&self, operation: &'static str, found: &[u8; 32]) -> Result<(), Error> {
        let expected = self.parameters().fingerprint();
        if expected == found {
            return Ok(());
        }
        let text = |bytes: &[u8; 32]| bytes[..4].iter().map(|b| format!("{b:02x}")).collect();
        Err(Error::Parameters { operation, expected: text(expected), found: text(found) })
    }

    /// Refuses levels that the chain does not have.
    pub(crate) fn check_level(&self, operation: &'static str, level: usize) -> Result<(), Error> {
        let allowed = self.max_level();
        if level <= allowed { Ok(()) } else { Err(Error::LevelTooHigh { operation, allowed, found: level }) }
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Context").field(self.parameters()).finish()
    }
}

/// Reduces integers of absolute values up to `bound`. The values may be secret, `bound` is not, and does not follow from them: it
/// decides between an addition of `q` where negative and a full reduction.
pub(crate) fn reduce_integers(out: &mut [u64], x: &[i64], q: Modulus, bound: u64) {
    if bound < q.value() {
        for (out, &v) in out.iter_mut().zip(x) {
            *out = (v as u64).wrapping_add(q.value() & (v >> 63) as u64);
        }
    } else {
        out.iter_mut().zip(x).for_each(|(out, &v)| *out = q.from_i64(v));
    }
}

/// Exponents of a scale, and the number of its factors, are bounded by this, so that no product overflows.
pub(crate) const SCALE_LIMIT: usize = 1 << 12;

/// Refuses scales with huge exponents.
pub(crate) fn check_scale(operation: &'static str, scale: &Scale) -> Result<(), Error> {
    let fits = |exponent: i32| exponent.unsigned_abs() as usize <= SCALE_LIMIT;
    if fits(scale.twos()) && scale.factors().count() <= SCALE_LIMIT && scale.factors().all(|(_, e)| fits(e)) {
        Ok(())
    } else {
        Err(Error::ScaleRange { operation, limit: SCALE_LIMIT })
    }
}
