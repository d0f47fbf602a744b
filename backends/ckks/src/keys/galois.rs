use std::collections::BTreeMap;

use super::{KeySwitchKey, SecretKey};
use crate::automorphism::{Automorphism, inverse};
use crate::context::Context;
use crate::error::Error;
use crate::sampling::Randomness;

/// A key for one Galois automorphism `X -> X^g`: a rotation by so many steps, or the conjugation.
///
/// It switches from `s(X)` to `s(X^(1/g))`, so that the automorphism comes last and takes a ciphertext back to `s`:
/// digits of a ciphertext are computed once for many automorphisms (Halevi and Shoup, eprint 2018/244).
#[derive(Clone, Debug)]
pub struct GaloisKey {
    pub(crate) element: u64,
    pub(crate) key: KeySwitchKey,
}

impl GaloisKey {
    /// The key for `automorphism`, at `level` and all levels below.
    ///
    /// # Errors
    /// [`Error::NoSpecialPrimes`], [`Error::LevelTooHigh`], [`Error::Parameters`]; [`Error::NoConjugation`] in the
    /// conjugate-invariant ring.
    pub fn generate(
        context: &Context,
        secret: &SecretKey,
        automorphism: Automorphism,
        level: usize,
        randomness: &mut Randomness,
    ) -> Result<Self, Error> {
        secret.check(context, "Galois key")?;
        let element = context.galois_element("Galois key", automorphism)?;
        let image = secret.automorphism(context, inverse(element, context.ring()));
        let key = KeySwitchKey::from_polys(context, secret.poly(), &image, level, randomness)?;
        Ok(Self { element, key })
    }

    /// The exponent `g`: [`Automorphism::galois_element`].
    pub fn galois_element(&self) -> u64 {
        self.element
    }

    /// The highest level that the key serves.
    pub fn level(&self) -> usize {
        self.key.level()
    }
}

/// Keys for the automorphisms that a circuit needs, each at the level where it is needed.
///
/// A set can be generated at once, or grow key by key with [`GaloisKeys::insert`] where memory or transport ask for it.
#[derive(Clone, Debug, Default)]
pub struct GaloisKeys {
    keys: BTreeMap<u64, GaloisKey>,
}

impl GaloisKeys {
    /// No keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keys for each automorphism, at the level beside it and all levels below. Where one is asked for several times
    /// the highest level counts; a rotation by 0 needs no key and gets none.
    ///
    /// # Errors
    /// [`Error::NoSpecialPrimes`], [`Error::LevelTooHigh`], [`Error::Parameters`]; [`Error::NoConjugation`] in the
    /// conjugate-invariant ring.
    pub fn generate(
        context: &Context,
        secret: &SecretKey,
        needs: impl IntoIterator<Item = (Automorphism, usize)>,
        randomness: &mut Randomness,
    ) -> Result<Self, Error> {
        let mut wanted: BTreeMap<u64, (Automorphism, usize)> = BTreeMap::new();
        for (automorphism, level) in needs {
            let entry =
                wanted.entry(context.galois_element("Galois key", automorphism)?).or_insert((automorphism, level));
            entry.1 = entry.1.max(level);
        }
        wanted.remove(&1);
        let mut keys = Self::new();
        for (automorphism, level) in wanted.into_values() {
            keys.insert(GaloisKey::generate(context, secret, automorphism, level, randomness)?);
        }
        Ok(keys)
    }

    /// Adds a key, in place of one for the same automorphism.
    pub fn insert(&mut self, key: GaloisKey) {
        self.keys.insert(key.element, key);
    }

    /// The keys, by ascending Galois element.
    pub fn iter(&self) -> impl Iterator<Item = &GaloisKey> {
        self.keys.values()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key for an automorphism of a ciphertext at `level`, with its Galois element.
    pub(crate) fn find(
        &self,
        context: &Context,
        operation: &'static str,
        automorphism: Automorphism,
        level: usize,
    ) -> Result<&GaloisKey, Error> {
        let element = context.galois_element(operation, automorphism)?;
        let key = self.keys.get(&element).ok_or(Error::MissingGaloisKey { operation, automorphism, element })?;
        key.key.check(context, operation, level)?;
        Ok(key)
    }
}
