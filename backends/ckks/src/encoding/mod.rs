//! Encoding: from slots of complex or real numbers to integer polynomials, and back. In the conjugate-invariant ring slots are
//! real.

mod compose;
pub(crate) mod embedding;
mod fft;

use hec_ir::Scale;
use zeroize::Zeroize;

use crate::arithmetic::Modulus;
use crate::context::{Context, check_scale, reduce_integers};
use crate::error::Error;
use crate::plaintext::{Form, Plaintext};
use crate::poly::Poly;

/// A complex number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex {
    /// Real part.
    pub re: f64,
    /// Imaginary part.
    pub im: f64,
}

impl From<f64> for Complex {
    fn from(re: f64) -> Self {
        Self { re, im: 0.0 }
    }
}

impl Context {
    /// Encodes real numbers: slot `j` holds `values[j]`, slots beyond the last value hold 0.
    ///
    /// The coefficients are those of the polynomial with these values at `zeta^(5^j)`, zeta a root of unity of the ring's
    /// order, times the scale, rounded to the nearest integers. The relative error of a coefficient before rounding is that of f64
    /// arithmetic over log2 N stages, some 2^-50 of the largest; the rounding adds at most 1/2.
    ///
    /// # Errors
    /// [`Error::Slots`] for more values than slots, [`Error::NotFinite`], [`Error::Overflow`] where a coefficient would
    /// reach half the modulus of `level`, [`Error::LevelTooHigh`], [`Error::ScaleRange`].
    pub fn encode(&self, values: &[f64], level: usize, scale: &Scale) -> Result<Plaintext, Error> {
        self.encode_with(values.len(), level, scale, |re, _| re[..values.len()].copy_from_slice(values))
    }

    /// Encodes complex numbers; see [`Context::encode`].
    ///
    /// # Errors
    /// As [`Context::encode`]; [`Error::NotReal`] for a number that is not real in the conjugate-invariant ring.
    pub fn encode_complex(&self, values: &[Complex], level: usize, scale: &Scale) -> Result<Plaintext, Error> {
        self.encode_with(values.len(), level, scale, |re, im| {
            for ((re, im), value) in re.iter_mut().zip(im).zip(values) {
                (*re, *im) = (value.re, value.im);
            }
        })
    }

    /// Encodes one real number into all slots: the constant polynomial `round(value * scale)`. No transform.
    ///
    /// # Errors
    /// As [`Context::encode`].
    pub fn encode_constant(&self, value: f64, level: usize, scale: &Scale) -> Result<Plaintext, Error> {
        let residues = self.constant("encode_constant", value, level, scale)?;
        let mut poly = Poly::zero(self.n(), level + 1);
        poly.iter_mut().zip(residues).for_each(|(limb, residue)| limb[0] = residue);
        Ok(Plaintext::new(self, poly, scale.clone(), Form::Coefficients))
    }

    /// The residues of `round(value * scale)`.
    pub(crate) fn constant(
        &self,
        operation: &'static str,
        value: f64,
        level: usize,
        scale: &Scale,
    ) -> Result<Vec<u64>, Error> {
        self.check_level(operation, level)?;
        check_scale(operation, scale)?;
        if !value.is_finite() {
            return Err(Error::NotFinite { operation, index: 0 });
        }
        let scaled = value * scale.to_f64();
        self.check_range(operation, scaled.abs(), level)?;
        let rounded = scaled.round_ties_even();
        Ok(self.chain(level).iter().map(|q| q.from_f64(rounded)).collect())
    }

    /// Decodes to complex numbers, one for each slot.
    ///
    /// The integer coefficients are recovered from their residues in a mixed-radix form with digits centred around 0, whose
    /// sum loses no more than a few units in the last place of f64 (see the source of `compose`).
    ///
    /// # Errors
    /// [`Error::Parameters`]; [`Error::NotFinite`] where a coefficient over the scale exceeds what f64 can hold.
    pub fn decode_complex(&self, plaintext: &Plaintext) -> Result<Vec<Complex>, Error> {
        let (mut re, mut im) = self.decode_with(plaintext)?;
        let values = re.iter().zip(&im).map(|(&re, &im)| Complex { re, im }).collect();
        re.zeroize();
        im.zeroize();
        Ok(values)
    }

    /// Decodes to real numbers, one for each slot: the real parts of [`Context::decode_complex`].
    ///
    /// # Errors
    /// As [`Context::decode_complex`].
    pub fn decode(&self, plaintext: &Plaintext) -> Result<Vec<f64>, Error> {
        let (re, mut im) = self.decode_with(plaintext)?;
        im.zeroize();
        Ok(re)
    }

    fn encode_with(
        &self,
        count: usize,
        level: usize,
        scale: &Scale,
        load: impl FnOnce(&mut [f64], &mut [f64]),
    ) -> Result<Plaintext, Error> {
        let slots = self.embedding().slots();
        if count > slots {
            return Err(Error::Slots { slots, found: count });
        }
        self.check_level("encode", level)?;
        let poly = self.encode_modulo(self.chain(level), level, scale, load)?;
        Ok(Plaintext::new(self, poly, scale.clone(), Form::Coefficients))
    }

    /// The polynomial, modulo `q_0 ..= q_level, p_0 ..` and in the NTT domain, whose slot `j` is `slot(j)` times the scale.
    pub(crate) fn encode_extended(
        &self,
        level: usize,
        scale: &Scale,
        slot: impl Fn(usize) -> Complex,
    ) -> Result<Poly, Error> {
        let moduli = [self.chain(level), self.special()].concat();
        let mut poly = self.encode_modulo(&moduli, level, scale, |re, im| {
            for (j, (re, im)) in re.iter_mut().zip(im).enumerate() {
                (*re, *im) = (slot(j).re, slot(j).im);
            }
        })?;
        self.forward(&mut poly, |i| self.row(level, i));
        Ok(poly)
    }

    /// Rounded coefficients modulo any primes; they must fit the modulus of `level`.
    fn encode_modulo(
        &self,
        moduli: &[Modulus],
        level: usize,
        scale: &Scale,
        load: impl FnOnce(&mut [f64], &mut [f64]),
    ) -> Result<Poly, Error> {
        check_scale("encode", scale)?;
        let slots = self.embedding().slots();
        let mut buffer = vec![0.0; 2 * slots];
        let (re, im) = buffer.split_at_mut(slots);
        load(re, im);
        // A sum that is finite shows that all terms are, except where finite terms overflow: then look at each.
        if !re.iter().chain(&*im).map(|v| v.abs()).sum::<f64>().is_finite()
            && let Some(index) = re.iter().zip(&*im).position(|(a, b)| !(a.is_finite() && b.is_finite()))
        {
            return Err(Error::NotFinite { operation: "encode", index });
        }
        if !self.embedding().is_complex()
            && let Some(index) = im.iter().position(|&v| v != 0.0)
        {
            return Err(Error::NotReal { operation: "encode", index });
        }
        self.embedding().to_coefficients_times_n(re, im);
        let factor = scale.to_f64() / slots as f64;
        buffer.iter_mut().for_each(|v| *v *= factor);
        let largest = buffer.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        // `max` passes over NaN, a sum does not.
        let sum = buffer.iter().map(|v| v.abs()).sum::<f64>();
        let largest = if sum.is_finite() { largest } else { f64::INFINITY };
        self.check_range("encode", largest, level)?;
        let poly = self.round(&buffer, largest, moduli);
        buffer.zeroize();
        Ok(poly)
    }

    /// Refuses coefficients of absolute value `largest` that do not lie strictly within half the modulus.
    fn check_range(&self, operation: &'static str, largest: f64, level: usize) -> Result<(), Error> {
        let (found, allowed) = (largest.log2(), self.parameters().log_q(level) - 1.0);
        // The comparison errs on the side of refusing: both logarithms are right to some 1e-13.
        if found < allowed - 1e-9 { Ok(()) } else { Err(Error::Overflow { operation, found, allowed }) }
    }

    /// Rounds coefficients, which lie where the embedding leaves them, to the nearest integers and reduces them.
    fn round(&self, buffer: &[f64], largest: f64, moduli: &[Modulus]) -> Poly {
        /// Adding this to a number below 2^51 leaves the number, rounded, in the lower bits of the sum.
        const ROUND: f64 = (3u64 << 51) as f64;
        let embedding = self.embedding();
        let mut poly = Poly::zero(self.n(), moduli.len());
        if largest < 51f64.exp2() {
            let mut integers = vec![0; self.n()];
            for (i, integer) in integers.iter_mut().enumerate() {
                let value = buffer[embedding.position(i)];
                *integer = (value + ROUND).to_bits() as i64 - ROUND.to_bits() as i64;
            }
            for (limb, &q) in poly.iter_mut().zip(moduli) {
                reduce_integers(limb, &integers, q, largest as u64 + 1);
            }
            integers.zeroize();
        } else {
            for (limb, q) in poly.iter_mut().zip(moduli) {
                for (i, residue) in limb.iter_mut().enumerate() {
                    *residue = q.from_f64(buffer[embedding.position(i)].round_ties_even());
                }
            }
        }
        poly
    }

    fn decode_with(&self, plaintext: &Plaintext) -> Result<(Vec<f64>, Vec<f64>), Error> {
        self.check_fingerprint("decode", &plaintext.fingerprint)?;
        let mut poly = plaintext.poly.clone();
        match plaintext.form {
            Form::Ntt => self.inverse(&mut poly, |row| row),
            Form::Coefficients => (),
        }
        let mut coefficients = compose::to_f64(self.chain(plaintext.level), &mut poly);
        poly.zeroize();
        let factor = 1.0 / plaintext.scale.to_f64();
        let (re, im) = self.embedding().to_slots(&coefficients, factor);
        coefficients.zeroize();
        let finite = re.iter().chain(&im).all(|v| v.is_finite());
        if finite { Ok((re, im)) } else { Err(Error::NotFinite { operation: "decode", index: 0 }) }
    }
}
