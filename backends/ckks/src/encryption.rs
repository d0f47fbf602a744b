//! Encryption and decryption.

use crate::ciphertext::Ciphertext;
use crate::context::{Context, reduce_integers};
use crate::error::Error;
use crate::kernels;
use crate::keys::{PublicKey, SecretKey, expand, mask};
use crate::plaintext::{Form, Plaintext};
use crate::poly::Poly;
use crate::sampling::uniform::Purpose;
use crate::sampling::{Randomness, gaussian, ternary};

impl SecretKey {
    /// Encrypts: `c_0 = -c_1 s + e + m`, `c_1` expanded from a fresh seed. The result has the plaintext's level and scale,
    /// and is written in half the bytes of other ciphertexts.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn encrypt(
        &self,
        context: &Context,
        plaintext: &Plaintext,
        randomness: &mut Randomness,
    ) -> Result<Ciphertext, Error> {
        self.check(context, "encrypt")?;
        let mut c0 = masked_message(context, plaintext, randomness, kernels::sub_assign)?;
        let seed = *randomness.next_seed();
        let c1 = expand(context, &seed, Purpose::Ciphertext, plaintext.level);
        c0.iter_mut().enumerate().for_each(|(row, x)| mask(context, row, x, c1.limb(row), self.row(row)));
        let mut ciphertext = Ciphertext::new(context, vec![c0, c1], plaintext.scale.clone());
        ciphertext.seed = Some(seed);
        Ok(ciphertext)
    }

    /// Decrypts a ciphertext of any degree: `c_0 + s (c_1 + s (c_2 + ..))`.
    ///
    /// The result contains the ciphertext's error, which is a function of the key. Who passes decrypted values on to
    /// others who also know the ciphertexts helps them to find the key (Li and Micciancio, eprint 2020/1533).
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn decrypt(&self, context: &Context, ciphertext: &Ciphertext) -> Result<Plaintext, Error> {
        self.check(context, "decrypt")?;
        ciphertext.check(context, "decrypt")?;
        let (last, rest) = match ciphertext.polys.split_last() {
            Some((last, rest)) => (last, rest),
            None => return Err(Error::DegreeRange { operation: "decrypt", min: 1, max: usize::MAX, found: 0 }),
        };
        let mut sum = last.to_heap();
        sum.for_each_limb(|row, limb| {
            let q = context.modulus(row);
            for poly in rest.iter().rev() {
                kernels::mul_assign(q, limb, self.row(row));
                kernels::add_assign(q, limb, poly.limb(row));
            }
            context.table(row).inverse(limb);
        });
        Ok(Plaintext::new(context, sum, ciphertext.scale.clone(), Form::Coefficients))
    }
}

impl PublicKey {
    /// Encrypts: `(b v + e_0 + m, a v + e_1)` with `v` uniform over {-1, 0, 1}. The result has the plaintext's level and
    /// scale. Noisier and slower than [`SecretKey::encrypt`], and without a seed.
    ///
    /// # Errors
    /// [`Error::Parameters`].
    pub fn encrypt(
        &self,
        context: &Context,
        plaintext: &Plaintext,
        randomness: &mut Randomness,
    ) -> Result<Ciphertext, Error> {
        context.check_fingerprint("encrypt", &self.fingerprint)?;
        let rows = 0..=plaintext.level;
        let mut c0 = masked_message(context, plaintext, randomness, kernels::add_assign)?;
        let errors = gaussian::sample(&mut randomness.stream(), context.n());
        let mut c1 = context.poly_of_integers(&errors, gaussian::BOUND, rows.clone());
        context.forward(&mut c1, |row| row);
        let mask = ternary::sample(&mut randomness.stream(), context.n());
        let mut v = zeroize::Zeroizing::new(context.poly_of_integers(&mask, ternary::BOUND, rows));
        context.forward(&mut v, |row| row);
        for (c, key) in [(&mut c0, &self.b), (&mut c1, &self.a)] {
            for (row, limb) in c.iter_mut().enumerate() {
                kernels::mul_add_assign(context.modulus(row), limb, key.limb(row), v.limb(row));
            }
        }
        Ok(Ciphertext::new(context, vec![c0, c1], plaintext.scale.clone()))
    }
}

/// An error plus or minus (as `combine` says) the message, in the NTT domain: one transform for both where possible. The caller
/// hides it before it lets go of it.
fn masked_message(
    context: &Context,
    plaintext: &Plaintext,
    randomness: &mut Randomness,
    combine: impl Fn(crate::arithmetic::Modulus, &mut [u64], &[u64]) + Sync + Send,
) -> Result<Poly, Error> {
    context.check_fingerprint("encrypt", &plaintext.fingerprint)?;
    let errors = gaussian::sample(&mut randomness.stream(), context.n());
    let mut poly = context.public_poly(plaintext.level + 1);
    poly.for_each_limb(|row, limb| {
        let (q, message) = (context.modulus(row), plaintext.poly.limb(row));
        reduce_integers(limb, &errors, q, gaussian::BOUND);
        match plaintext.form {
            Form::Coefficients => {
                combine(q, limb, message);
                context.table(row).forward(limb);
            }
            Form::Ntt => {
                context.table(row).forward(limb);
                combine(q, limb, message);
            }
        }
    });
    Ok(poly)
}
