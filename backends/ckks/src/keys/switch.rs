use super::SecretKey;
use super::public::mask;
use crate::ciphertext::MAX_DEGREE;
use crate::context::Context;
use crate::error::Error;
use crate::kernels;
use crate::poly::Poly;
use crate::sampling::uniform::{Expansion, Purpose, SPECIAL};
use crate::sampling::{Randomness, Seed, gaussian};

/// A key that turns a factor `s'` into a factor `s` (hybrid key switching; Han and Ki, eprint 2019/688).
///
/// The limbs `q_0 ..= q_level` are cut into digits of as many consecutive limbs as there are special primes. For digit `d`,
/// let `g_d` be 1 modulo the primes of the digit and 0 modulo the other primes of the chain; the key holds
/// `(b_d, a_d)` modulo `q_0 ..= q_level, P` with `b_d = -a_d s + e_d + P g_d s'`. With `c = sum_d [c]_d g_d` it follows that
/// `sum_d [c]_d (b_d + a_d s) = P c s' + sum_d [c]_d e_d`, and dividing by `P` leaves `c s'` and a small error. The same key serves
/// every level up to its own. The `a_d` are expanded from one seed, which is all that is stored of them.
#[derive(Clone)]
pub struct KeySwitchKey {
    pub(crate) parts: SwitchParts,
    pub(crate) level: usize,
    pub(crate) fingerprint: [u8; 32],
}

/// The polynomials of a key-switching key, by digit; NTT domain, over `q_0 ..= q_level, p_0 ..`.
#[derive(Clone)]
pub(crate) struct SwitchParts {
    pub(crate) b: Vec<Poly>,
    pub(crate) a: Vec<Poly>,
    pub(crate) seed: Seed,
}

impl KeySwitchKey {
    /// The key that turns ciphertexts under `from` into ciphertexts under `to`, at `level` and all levels below.
    ///
    /// # Errors
    /// [`Error::NoSpecialPrimes`], [`Error::LevelTooHigh`], [`Error::Parameters`].
    pub fn generate(
        context: &Context,
        from: &SecretKey,
        to: &SecretKey,
        level: usize,
        randomness: &mut Randomness,
    ) -> Result<Self, Error> {
        from.check(context, "key-switching key")?;
        to.check(context, "key-switching key")?;
        Self::from_polys(context, from.poly(), to.poly(), level, randomness)
    }

    /// The key that turns the factor `from` into the factor `to`, both in the NTT domain over all rows.
    pub(crate) fn from_polys(
        context: &Context,
        from: &Poly,
        to: &Poly,
        level: usize,
        randomness: &mut Randomness,
    ) -> Result<Self, Error> {
        context.check_level("key-switching key", level)?;
        let digits = context.digits(level)?;
        let seed = *randomness.next_seed();
        let a = expand(context, &seed, level, digits);
        let alpha = context.special().len();
        let mut b = Vec::with_capacity(digits);
        for (d, a) in a.iter().enumerate() {
            let errors = gaussian::sample(&mut randomness.stream(), context.n());
            let mut part = context.poly_of_integers(&errors, gaussian::BOUND, context.extended(level));
            part.for_each_limb(|i, limb| {
                let row = context.row(level, i);
                context.table(row).forward(limb);
                mask(context, row, limb, a.limb(i), to.limb(row));
                if row <= level && row / alpha == d {
                    let q = context.modulus(row);
                    kernels::mul_scalar_add_assign(q, limb, from.limb(row), context.special_product(row));
                }
            });
            b.push(part);
        }
        Ok(Self::from_parts(context, SwitchParts { b, a, seed }, level))
    }

    pub(crate) fn from_seeded(context: &Context, b: Vec<Poly>, seed: Seed, level: usize) -> Self {
        let a = expand(context, &seed, level, b.len());
        Self::from_parts(context, SwitchParts { b, a, seed }, level)
    }

    fn from_parts(context: &Context, parts: SwitchParts, level: usize) -> Self {
        Self { parts, level, fingerprint: *context.parameters().fingerprint() }
    }

    /// The highest level that the key serves.
    pub fn level(&self) -> usize {
        self.level
    }

    /// Limb `i` of a polynomial at `level`, extended by the special primes, is this limb of the key's polynomials.
    pub(crate) fn limb(&self, level: usize, i: usize) -> usize {
        if i <= level { i } else { i + self.level - level }
    }

    /// This limb of both halves, for each digit.
    pub(crate) fn halves(&self, limb: usize) -> impl Iterator<Item = [&[u64]; 2]> {
        self.parts.b.iter().zip(&self.parts.a).map(move |(b, a)| [b.limb(limb), a.limb(limb)])
    }

    pub(crate) fn check(&self, context: &Context, operation: &'static str, level: usize) -> Result<(), Error> {
        context.check_fingerprint(operation, &self.fingerprint)?;
        if level <= self.level {
            Ok(())
        } else {
            Err(Error::LevelTooHigh { operation, allowed: self.level, found: level })
        }
    }
}

impl std::fmt::Debug for KeySwitchKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySwitchKey").field("level", &self.level).finish_non_exhaustive()
    }
}

fn expand(context: &Context, seed: &Seed, level: usize, digits: usize) -> Vec<Poly> {
    let expansion = Expansion::new(seed, Purpose::KeySwitch);
    let top = context.max_level();
    let digit = |d| {
        let mut a = Poly::zero(context.n(), level + 1 + context.special().len());
        a.for_each_limb(|i, limb| {
            let row = context.row(level, i);
            let stream = if row <= top { row as u64 } else { SPECIAL + (row - top - 1) as u64 };
            expansion.fill(d, stream, context.modulus(row).value(), limb);
        });
        a
    };
    (0..digits).map(digit).collect()
}

/// Keys that turn `s^2`, `s^3`, .. into `s`, so that ciphertexts of higher degree become degree 1 again.
#[derive(Clone, Debug)]
pub struct RelinearizationKeys {
    /// For `s^2` first.
    pub(crate) keys: Vec<KeySwitchKey>,
}

impl RelinearizationKeys {
    /// Keys for ciphertexts of degrees 2 to `max_degree`, at `level` and all levels below.
    ///
    /// # Errors
    /// [`Error::DegreeRange`] unless `max_degree` is 2, 3 or 4; [`Error::NoSpecialPrimes`], [`Error::LevelTooHigh`],
    /// [`Error::Parameters`].
    pub fn generate(
        context: &Context,
        secret: &SecretKey,
        level: usize,
        max_degree: usize,
        randomness: &mut Randomness,
    ) -> Result<Self, Error> {
        if !(2..=MAX_DEGREE).contains(&max_degree) {
            let operation = "relinearization keys";
            return Err(Error::DegreeRange { operation, min: 2, max: MAX_DEGREE, found: max_degree });
        }
        secret.check(context, "relinearization keys")?;
        let key = |exponent| {
            let power = secret.power(context, exponent);
            KeySwitchKey::from_polys(context, &power, secret.poly(), level, randomness)
        };
        Ok(Self { keys: (2..=max_degree).map(key).collect::<Result<_, _>>()? })
    }

    /// The highest level that all keys serve.
    pub fn level(&self) -> usize {
        self.keys.iter().map(KeySwitchKey::level).min().unwrap_or(0)
    }

    /// The highest degree that can be relinearised.
    pub fn max_degree(&self) -> usize {
        self.keys.len() + 1
    }
}
