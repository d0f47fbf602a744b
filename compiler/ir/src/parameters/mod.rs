//! CKKS parameters: an unchecked [`Literal`] becomes checked [`Parameters`] once.
//!
//! A parameter set is a ring of degree `N = 2^log_n` ([`Ring`]), a modulus chain `q_0 .. q_L` (level `l` uses the limbs
//! `q_0 ..= q_l`; rescaling divides by the last one), special primes `P` for key switching, and the security level
//! that it is held to. Distributions are fixed: a dense ternary secret, errors of standard deviation
//! [`ERROR_STD`].

mod estimates;
mod primes;
mod ring;
mod security;
mod statement;

pub use estimates::{ATTACK_COST_MODEL, ESTIMATOR, Estimate, estimates};
pub use primes::{PrimeSearch, is_prime, ntt_primes};
pub use ring::{Ring, RingType};
pub use security::{ERROR_STD, MAX_LOG_N, MIN_LOG_N, Security, TABLE_NAME, max_log_qp};
pub use statement::{SECRET, Statement};

use std::fmt;
use std::sync::Arc;

/// Limbs are primes below `2^MAX_PRIME_BITS`: residues are then exact in f64 arithmetic with fused multiply-add.
pub const MAX_PRIME_BITS: u32 = 50;

/// An unchecked parameter set. [`Parameters::new`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The ring of the polynomials.
    pub ring_type: RingType,
    /// log2 of the ring degree N.
    pub log_n: u32,
    /// The modulus chain `q_0 .. q_L`. The last is divided away first.
    pub moduli: Vec<u64>,
    /// Special primes for key switching. May be empty if no key is ever switched.
    pub special_primes: Vec<u64>,
    /// The level that log2(QP) is held to.
    pub security: Security,
}

/// A checked parameter set: primes are prime, distinct, 1 modulo the ring's order, below `2^50`, and log2(QP) is within the table of
/// the stated security level. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameters(Arc<Checked>);

#[derive(PartialEq, Eq)]
struct Checked {
    literal: Literal,
    insecure: bool,
    fingerprint: [u8; 32],
}

/// Why a [`Literal`] is not a parameter set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// The ring degree is outside the supported range.
    #[error("ring degree 2^{found} is not supported: expected 2^{MIN_LOG_N} to 2^{MAX_LOG_N}")]
    RingDegree {
        /// log2 of the degree asked for.
        found: u32,
    },
    /// The chain has no primes, or too many.
    #[error("a modulus chain of {found} primes is not supported: expected 1 to {max}", max = MAX_LIMBS)]
    ChainLength {
        /// Number of primes found in the chain and the special primes.
        found: usize,
    },
    /// One of the moduli cannot be used.
    #[error("modulus {modulus} cannot be used: {reason}")]
    Modulus {
        /// The modulus.
        modulus: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The modulus is too large for the security level.
    #[error(
        "log2(QP) = {found:.1} bits is too large for {wanted} bits of security at ring degree 2^{log_n}: the table \
         ({TABLE_NAME}) allows {allowed} bits; use a larger ring degree or a smaller modulus"
    )]
    Insecure {
        /// log2 of the ring degree.
        log_n: u32,
        /// log2 of the product of the chain and the special primes.
        found: f64,
        /// What the table allows; 0 where it has no entry.
        allowed: u32,
        /// The security level in bits.
        wanted: u32,
    },
}

/// The most primes that a chain and its special primes may have together.
pub const MAX_LIMBS: usize = 128;

impl Parameters {
    /// Checks `literal`.
    ///
    /// # Errors
    /// [`ParameterError`] with the offending number.
    pub fn new(literal: Literal) -> Result<Self, ParameterError> {
        check_arithmetic(&literal)?;
        let found = log2_product(literal.moduli.iter().chain(&literal.special_primes));
        let allowed = max_log_qp(literal.security, literal.log_n).unwrap_or(0);
        if found > f64::from(allowed) {
            let wanted = literal.security.bits();
            return Err(ParameterError::Insecure { log_n: literal.log_n, found, allowed, wanted });
        }
        Ok(Self::seal(literal, false))
    }

    /// Parameters whose arithmetic is sound but whose security is **not** checked: for tests on small rings only.
    /// Nothing made with them is accepted by the program file reader.
    ///
    /// # Errors
    /// As [`Parameters::new`], except [`ParameterError::Insecure`].
    pub fn insecure_for_tests(literal: Literal) -> Result<Self, ParameterError> {
        check_arithmetic(&literal)?;
        Ok(Self::seal(literal, true))
    }

    fn seal(literal: Literal, insecure: bool) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("hec 2026 CKKS parameters v2");
        hash.update(literal.ring_type.name().as_bytes());
        hash.update(&literal.log_n.to_le_bytes());
        hash.update(&literal.security.bits().to_le_bytes());
        hash.update(&[u8::from(insecure)]);
        for chain in [&literal.moduli, &literal.special_primes] {
            hash.update(&(chain.len() as u64).to_le_bytes());
            chain.iter().for_each(|q| {
                hash.update(&q.to_le_bytes());
            });
        }
        let fingerprint = *hash.finalize().as_bytes();
        Self(Arc::new(Checked { literal, insecure, fingerprint }))
    }

    /// The literal that these parameters were made from.
    pub fn literal(&self) -> &Literal {
        &self.0.literal
    }

    /// The ring.
    pub fn ring(&self) -> Ring {
        Ring { ring_type: self.0.literal.ring_type, log_n: self.0.literal.log_n }
    }

    /// log2 of the ring degree.
    pub fn log_n(&self) -> u32 {
        self.0.literal.log_n
    }

    /// The ring degree N.
    pub fn ring_degree(&self) -> usize {
        1 << self.log_n()
    }

    /// Number of slots: N/2 complex ones, or N real ones in the conjugate-invariant ring.
    pub fn slots(&self) -> usize {
        self.ring().slots()
    }

    /// The modulus chain `q_0 .. q_L`.
    pub fn moduli(&self) -> &[u64] {
        &self.0.literal.moduli
    }

    /// The special primes.
    pub fn special_primes(&self) -> &[u64] {
        &self.0.literal.special_primes
    }

    /// The level of a fresh ciphertext: `moduli().len() - 1`.
    pub fn max_level(&self) -> usize {
        self.moduli().len() - 1
    }

    /// log2 of the modulus at `level`, the product of `q_0 ..= q_level`.
    pub fn log_q(&self, level: usize) -> f64 {
        log2_product(&self.moduli()[..=level])
    }

    /// log2 of the whole modulus QP: what the security table bounds.
    pub fn log_qp(&self) -> f64 {
        log2_product(self.moduli().iter().chain(self.special_primes()))
    }

    /// The security level that these parameters are within; `None` for [`Parameters::insecure_for_tests`].
    pub fn security(&self) -> Option<Security> {
        (!self.0.insecure).then_some(self.0.literal.security)
    }

    /// BLAKE3 of everything above: ciphertexts and keys carry it, so that they are never mixed.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.0.fingerprint
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.literal.fmt(f)
    }
}

fn log2_product<'a>(primes: impl IntoIterator<Item = &'a u64>) -> f64 {
    primes.into_iter().map(|&q| (q as f64).log2()).sum()
}

fn check_arithmetic(literal: &Literal) -> Result<(), ParameterError> {
    if !(MIN_LOG_N_FOR_TESTS..=MAX_LOG_N).contains(&literal.log_n) {
        return Err(ParameterError::RingDegree { found: literal.log_n });
    }
    let found = literal.moduli.len() + literal.special_primes.len();
    if literal.moduli.is_empty() || found > MAX_LIMBS {
        return Err(ParameterError::ChainLength { found });
    }
    let ring = Ring { ring_type: literal.ring_type, log_n: literal.log_n };
    let mut seen = std::collections::BTreeSet::new();
    for &modulus in literal.moduli.iter().chain(&literal.special_primes) {
        let reason = if modulus >> MAX_PRIME_BITS != 0 {
            "it is not below 2^50"
        } else if modulus % ring.order() != 1 {
            match ring.ring_type {
                RingType::Standard => "it is not 1 modulo 2N",
                RingType::ConjugateInvariant => "it is not 1 modulo 4N, as the conjugate-invariant ring needs",
            }
        } else if !is_prime(modulus) {
            "it is not prime"
        } else if !seen.insert(modulus) {
            "it occurs twice"
        } else {
            continue;
        };
        return Err(ParameterError::Modulus { modulus, reason });
    }
    Ok(())
}

/// Exact checks against big integers run on rings down to this size; the security table starts at [`MIN_LOG_N`].
const MIN_LOG_N_FOR_TESTS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(log_n: u32, bits: &[u32], special: &[u32]) -> Literal {
        let mut search = PrimeSearch::new(log_n);
        let mut take = |sizes: &[u32]| sizes.iter().map(|&b| search.take(b).expect("a prime")).collect::<Vec<_>>();
        let moduli = take(bits);
        let special_primes = take(special);
        Literal { ring_type: RingType::Standard, log_n, moduli, special_primes, security: Security::Bits128 }
    }

    #[test]
    fn accepts_what_the_table_allows_and_refuses_one_prime_more() {
        let fits = Parameters::new(literal(13, &[49, 40, 40, 40], &[44])).expect("213 bits fit");
        assert_eq!((fits.max_level(), fits.slots()), (3, 4096));
        let error = Parameters::new(literal(13, &[49, 40, 40, 40], &[49])).expect_err("218 bits do not");
        assert!(error.to_string().contains("allows 214 bits"), "{error}");
        assert!(matches!(error, ParameterError::Insecure { wanted: 128, allowed: 214, .. }));
    }

    #[test]
    fn the_conjugate_invariant_ring_has_n_slots_and_stands_under_row_n() {
        let mut search = PrimeSearch::for_ring(Ring::conjugate_invariant(13));
        let mut take = |bits: &[u32]| bits.iter().map(|&b| search.take(b).expect("a prime")).collect::<Vec<_>>();
        let ring_type = RingType::ConjugateInvariant;
        let (moduli, special_primes) = (take(&[49, 40, 40, 40]), take(&[44]));
        let fits = Literal { ring_type, log_n: 13, moduli, special_primes, security: Security::Bits128 };
        let too_large = Literal { special_primes: take(&[49]), ..fits.clone() };
        let parameters = Parameters::new(fits).expect("213 bits fit");
        assert_eq!((parameters.slots(), parameters.ring_degree()), (8192, 8192));
        assert!(matches!(Parameters::new(too_large), Err(ParameterError::Insecure { allowed: 214, .. })));

        let modulus = 3 * (2 << 13) + 1;
        let odd = Literal { moduli: vec![modulus], special_primes: vec![], ..parameters.literal().clone() };
        let reason = "it is not 1 modulo 4N, as the conjugate-invariant ring needs";
        assert_eq!(Parameters::new(odd), Err(ParameterError::Modulus { modulus, reason }));
    }

    #[test]
    fn statements_are_recomputed_from_the_table() {
        let parameters = Parameters::new(literal(13, &[49, 40, 40], &[])).expect("129 bits fit");
        let statement = Statement::of(&parameters).expect("it holds");
        assert_eq!((statement.security, statement.allowed), (Security::Bits128, 214));
        // 129 bits are within the 147 of 192 bits of security, not within the 114 of 256.
        assert_eq!((statement.reached, statement.allowed_at_half), (Security::Bits192, Some(106)));
        assert_eq!(statement.attacks.first().map(|attack| (attack.attack, attack.log2_cost)), Some(("bdd", 193.3)));
        let unchecked = Parameters::insecure_for_tests(literal(12, &[49, 40, 40], &[])).expect("sound");
        assert!(matches!(Statement::of(&unchecked), Err(ParameterError::Insecure { allowed: 106, .. })));
    }

    #[test]
    fn refuses_bad_moduli() {
        let good = literal(12, &[40, 40], &[]);
        let with = |q| Literal { moduli: vec![q, good.moduli[1]], ..good.clone() };
        for (q, reason) in [
            (good.moduli[1], "it occurs twice"),
            (8192 * 3 + 1, "it is not prime"),
            (97, "it is not 1 modulo 2N"),
            (1 << 50, "it is not below 2^50"),
        ] {
            assert_eq!(Parameters::new(with(q)), Err(ParameterError::Modulus { modulus: q, reason }));
        }
        assert_eq!(
            Parameters::new(Literal { moduli: vec![], ..good.clone() }),
            Err(ParameterError::ChainLength { found: 0 })
        );
        assert_eq!(Parameters::new(Literal { log_n: 30, ..good }), Err(ParameterError::RingDegree { found: 30 }));
    }

    #[test]
    fn fingerprints_differ_when_anything_does() {
        let a = literal(13, &[40, 30], &[40]);
        let b = Literal { security: Security::Bits192, ..a.clone() };
        let print = |l: Literal| *Parameters::insecure_for_tests(l).expect("sound").fingerprint();
        assert_ne!(print(a.clone()), print(b));
        let invariant = |l: &Literal| Literal { ring_type: RingType::ConjugateInvariant, ..l.clone() };
        let mut search = PrimeSearch::for_ring(Ring::conjugate_invariant(13));
        let moduli = vec![search.take(40).expect("a prime")];
        let both = Literal { moduli, special_primes: vec![], ..a.clone() };
        assert_ne!(print(invariant(&both)), print(both));
        assert_ne!(print(a.clone()), *Parameters::new(a).expect("secure").fingerprint());
    }
}
