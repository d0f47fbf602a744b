//! Noise that hides a ciphertext's own error when its decryption is shown to others.

use hec_ir::parameters::RingType;

use crate::context::Context;
use crate::error::Error;
use crate::plaintext::{Form, Plaintext};
use crate::sampling::Randomness;
use crate::sampling::wide::Wide;

impl Context {
    /// Adds noise to a plaintext: a discrete Gaussian on each coefficient, so wide that the real part of every slot gets a standard
    /// deviation of at least `deviation`, in units of the message. Returns the deviation that it got.
    ///
    /// It is added to integers, before anything is decoded, so all that is made of the plaintext afterwards is a function of the noisy
    /// one. How wide it has to be is the caller's to know: Li, Micciancio, Schultz and Sorrell, "Securing approximate homomorphic
    /// encryption using differential privacy", CRYPTO 2022 (eprint 2022/816).
    ///
    /// # Errors
    /// [`Error::Parameters`]; [`Error::NotFinite`] if `deviation` is no positive number; [`Error::Overflow`] where the noise would
    /// not fit half the modulus.
    pub fn flood(&self, plaintext: &mut Plaintext, deviation: f64, randomness: &mut Randomness) -> Result<f64, Error> {
        const OPERATION: &str = "flood";
        self.check_fingerprint(OPERATION, &plaintext.fingerprint)?;
        let scale = plaintext.scale.to_f64();
        let spread = self.ring().real_slot_norm().sqrt();
        let wanted = deviation * scale / spread;
        if !(wanted.is_finite() && deviation > 0.0) {
            return Err(Error::NotFinite { operation: OPERATION, index: 0 });
        }
        let (found, allowed) = (wanted.log2(), self.parameters().log_q(plaintext.level) - 1.0);
        if found >= allowed {
            return Err(Error::Overflow { operation: OPERATION, found, allowed });
        }
        let noise = Wide::at_least(wanted);
        let found = noise.bound().log2() + 1.0;
        if found >= allowed {
            return Err(Error::Overflow { operation: OPERATION, found, allowed });
        }
        if plaintext.form == Form::Ntt {
            self.inverse(&mut plaintext.poly, |row| row);
            plaintext.form = Form::Coefficients;
        }
        let moduli = self.chain(plaintext.level);
        noise.add_to(&mut plaintext.poly, self.n(), moduli, randomness);
        if self.ring().ring_type == RingType::ConjugateInvariant {
            // Its first basis vector has half the squared norm of the others: with twice the variance there, the noise is the same in every
            // direction of the slots.
            noise.add_to(&mut plaintext.poly, 1, moduli, randomness);
        }
        Ok(noise.deviation() * spread / scale)
    }
}
