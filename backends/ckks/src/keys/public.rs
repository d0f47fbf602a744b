use super::SecretKey;
use crate::context::Context;
use crate::error::Error;
use crate::kernels;
use crate::poly::Poly;
use crate::sampling::uniform::{Expansion, Purpose};
use crate::sampling::{Randomness, Seed, gaussian};

/// A public encryption key: `(b, a)` modulo the whole chain with `b = -a s + e`, and `a` expanded from a seed.
#[derive(Clone)]
pub struct PublicKey {
    pub(crate) b: Poly,
    pub(crate) a: Poly,
    pub(crate) seed: Seed,
    pub(crate) fingerprint: [u8; 32],
}

impl PublicKey {
    /// The public key of `secret`.
    ///
    /// # Errors
    /// [`Error::Parameters`] if `secret` belongs to other parameters.
    pub fn generate(context: &Context, secret: &SecretKey, randomness: &mut Randomness) -> Result<Self, Error> {
        secret.check(context, "public key")?;
        let seed = *randomness.next_seed();
        let level = context.max_level();
        let a = expand(context, &seed, Purpose::PublicKey, level);
        let errors = gaussian::sample(&mut randomness.stream(), context.n());
        let mut b = context.poly_of_integers(&errors, gaussian::BOUND, 0..=level);
        b.for_each_limb(|row, limb| {
            context.table(row).forward(limb);
            mask(context, row, limb, a.limb(row), secret.row(row));
        });
        Ok(Self::from_parts(context, b, a, seed))
    }

    pub(crate) fn from_seeded(context: &Context, b: Poly, seed: Seed) -> Self {
        let a = expand(context, &seed, Purpose::PublicKey, context.max_level());
        Self::from_parts(context, b, a, seed)
    }

    fn from_parts(context: &Context, b: Poly, a: Poly, seed: Seed) -> Self {
        Self { b, a, seed, fingerprint: *context.parameters().fingerprint() }
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PublicKey { .. }")
    }
}

/// The uniform polynomial of a seed at `level`, NTT domain.
pub(crate) fn expand(context: &Context, seed: &Seed, purpose: Purpose, level: usize) -> Poly {
    let expansion = Expansion::new(seed, purpose);
    let mut a = context.public_poly(level + 1);
    a.for_each_limb(|row, limb| expansion.fill(0, row as u64, context.modulus(row).value(), limb));
    a
}

/// `x = -(x + a * s)`, one limb. `x` starts as an error, whose distribution is symmetric: its sign does not matter.
pub(crate) fn mask(context: &Context, row: usize, x: &mut [u64], a: &[u64], s: &[u64]) {
    let q = context.modulus(row);
    kernels::mul_add_assign(q, x, a, s);
    kernels::neg_assign(q, x);
}
