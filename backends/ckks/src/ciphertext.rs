use hec_ir::Scale;
pub use hec_ir::ckks::MAX_DEGREE;

use crate::context::Context;
use crate::error::Error;
use crate::plaintext::Plaintext;
use crate::poly::Poly;
use crate::sampling::Seed;

/// A ciphertext of any degree: polynomials `c_0 .. c_d` in the NTT domain with `sum c_i s^i = scale * message + error`
/// modulo `q_0 ... q_level`.
#[derive(Clone, PartialEq, Eq)]
pub struct Ciphertext {
    /// Two to `MAX_DEGREE + 1`, all at `level`.
    pub(crate) polys: Vec<Poly>,
    pub(crate) level: usize,
    pub(crate) scale: Scale,
    /// Where the second of two polynomials is the expansion of a seed: that seed. It halves the size in bytes.
    pub(crate) seed: Option<Seed>,
    pub(crate) fingerprint: [u8; 32],
}

impl Ciphertext {
    pub(crate) fn new(context: &Context, polys: Vec<Poly>, scale: Scale) -> Self {
        let level = polys.first().map_or(0, |poly| poly.limbs() - 1);
        Self { polys, level, scale, seed: None, fingerprint: *context.parameters().fingerprint() }
    }

    /// `plaintext` in the form of a ciphertext, `c_0 = m` and `c_1 = 0`: it hides nothing, and needs no key. For what is public
    /// and meets encrypted values.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn trivial(context: &Context, plaintext: Plaintext) -> Result<Self, Error> {
        let plaintext = plaintext.transform(context)?;
        let zero = Poly::zero(context.n(), plaintext.level + 1);
        Ok(Self::new(context, vec![plaintext.poly, zero], plaintext.scale))
    }

    /// Number of polynomials minus one: 1 when fresh, more after products without relinearization.
    pub fn degree(&self) -> usize {
        self.polys.len() - 1
    }

    /// The level: limbs of each polynomial, minus one.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The exact scale.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// Whether the second half is still the expansion of a seed, as after encryption with the secret key: such a
    /// ciphertext is written in half the bytes.
    pub fn is_seeded(&self) -> bool {
        self.seed.is_some()
    }

    /// Bytes that the polynomials take in memory.
    pub fn memory(&self) -> usize {
        self.polys.iter().map(Poly::memory).sum()
    }

    pub(crate) fn check(&self, context: &Context, operation: &'static str) -> Result<(), Error> {
        context.check_fingerprint(operation, &self.fingerprint)
    }
}

impl std::fmt::Debug for Ciphertext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ciphertext")
            .field("degree", &self.degree())
            .field("level", &self.level)
            .field("scale", &self.scale)
            .field("seeded", &self.is_seeded())
            .finish_non_exhaustive()
    }
}
