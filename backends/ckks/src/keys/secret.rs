use zeroize::{Zeroize, Zeroizing};

use crate::automorphism::permute;
use crate::context::Context;
use crate::error::Error;
use crate::kernels;
use crate::poly::Poly;
use crate::sampling::{Randomness, ternary};

/// A secret key: an element of the ring whose N coefficients are uniform over {-1, 0, 1}.
///
/// Zeroized on drop, cannot be cloned, and its `Debug` shows nothing of it.
pub struct SecretKey {
    coefficients: Zeroizing<Vec<i64>>,
    /// NTT domain, modulo the whole chain and the special primes.
    poly: Zeroizing<Poly>,
    fingerprint: [u8; 32],
}

impl SecretKey {
    /// A fresh secret key.
    pub fn generate(context: &Context, randomness: &mut Randomness) -> Self {
        Self::from_coefficients(context, ternary::sample(&mut randomness.stream(), context.n()))
    }

    /// N coefficients, each -1, 0 or 1.
    pub(crate) fn from_coefficients(context: &Context, coefficients: Zeroizing<Vec<i64>>) -> Self {
        let rows = context.extended(context.max_level());
        let mut poly = Zeroizing::new(context.poly_of_integers(&coefficients, ternary::BOUND, rows));
        context.forward(&mut poly, |row| row);
        Self { coefficients, poly, fingerprint: *context.parameters().fingerprint() }
    }

    pub(crate) fn coefficients(&self) -> &[i64] {
        &self.coefficients
    }

    /// The key modulo the prime of a row, NTT domain.
    pub(crate) fn row(&self, row: usize) -> &[u64] {
        self.poly.limb(row)
    }

    pub(crate) fn poly(&self) -> &Poly {
        &self.poly
    }

    pub(crate) fn check(&self, context: &Context, operation: &'static str) -> Result<(), Error> {
        context.check_fingerprint(operation, &self.fingerprint)
    }

    /// `s^exponent`, NTT domain, all rows.
    pub(crate) fn power(&self, context: &Context, exponent: usize) -> Zeroizing<Poly> {
        let mut power = self.poly.clone();
        for _ in 1..exponent {
            for (row, limb) in power.iter_mut().enumerate() {
                kernels::mul_assign(context.modulus(row), limb, self.row(row));
            }
        }
        power
    }

    /// `s(X^element)`, NTT domain, all rows.
    pub(crate) fn automorphism(&self, context: &Context, element: u64) -> Zeroizing<Poly> {
        let mut image = Zeroizing::new(Poly::zero(context.n(), self.poly.limbs()));
        let table = context.permutation(element);
        image.iter_mut().zip(self.poly.iter()).for_each(|(out, x)| permute(&table, x, out));
        image
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey { .. }")
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.coefficients.zeroize();
        self.poly.zeroize();
    }
}
