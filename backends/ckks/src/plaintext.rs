use hec_ir::Scale;

use crate::context::Context;
use crate::error::Error;
use crate::poly::Poly;

/// An encoded, unencrypted polynomial.
///
/// It comes from an encoder or from decryption in coefficient form. Operations transform it when they need to; where
/// the same plaintext is used often, [`Plaintext::transform`] it once.
#[derive(Clone, PartialEq, Eq)]
pub struct Plaintext {
    pub(crate) poly: Poly,
    pub(crate) level: usize,
    pub(crate) scale: Scale,
    pub(crate) form: Form,
    pub(crate) fingerprint: [u8; 32],
}

/// How the residues of a plaintext are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Coefficients,
    Ntt,
}

impl Plaintext {
    pub(crate) fn new(context: &Context, poly: Poly, scale: Scale, form: Form) -> Self {
        let level = poly.limbs() - 1;
        Self { poly, level, scale, form, fingerprint: *context.parameters().fingerprint() }
    }

    /// The level: limbs minus one.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The scale.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// The same plaintext in the NTT domain.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn transform(mut self, context: &Context) -> Result<Self, Error> {
        context.check_fingerprint("transform", &self.fingerprint)?;
        match self.form {
            Form::Coefficients => context.forward(&mut self.poly, |row| row),
            Form::Ntt => (),
        }
        self.form = Form::Ntt;
        Ok(self)
    }
}

impl std::fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plaintext").field("level", &self.level).field("scale", &self.scale).finish_non_exhaustive()
    }
}
