use hec_ir::parameters::{Ring, RingType};

use super::fft::SpecialFft;

/// The canonical embedding of a ring: between the coefficients of an element and its slots.
///
/// In the standard ring, `n = N/2` complex slots belong to the n complex numbers `c_i + sqrt(-1) c_(i+n)`; see [`SpecialFft`].
/// An element of the conjugate-invariant ring is one of the standard ring of degree 2N, with the coefficients `a_i` and, at
/// `N + i`, `-a_(N-i)`; 0 at N. So its `n = N` slots, which are real, belong to the numbers `a_i - sqrt(-1) a_(N-i)`, and to `a_0`.
pub(crate) struct Embedding {
    ring_type: RingType,
    fft: SpecialFft,
}

impl Embedding {
    pub(crate) fn new(ring: Ring) -> Self {
        Self { ring_type: ring.ring_type, fft: SpecialFft::new(ring.slots().trailing_zeros()) }
    }

    pub(crate) fn slots(&self) -> usize {
        self.fft.slots()
    }

    /// Whether slots are complex numbers; else they are real.
    pub(crate) fn is_complex(&self) -> bool {
        self.ring_type == RingType::Standard
    }

    /// Where, in real parts followed by imaginary parts, coefficient `i` is found after [`Embedding::to_coefficients_times_n`].
    pub(crate) fn position(&self, i: usize) -> usize {
        let n = self.slots();
        if i < n { self.fft.position(i) } else { n + self.fft.position(i - n) }
    }

    /// Slots to coefficients, times the number of slots: the caller divides, with its own scale.
    pub(crate) fn to_coefficients_times_n(&self, re: &mut [f64], im: &mut [f64]) {
        self.fft.to_coefficients_times_n(re, im);
    }

    /// Coefficients, each times `factor`, to the real and imaginary parts of the slots.
    pub(crate) fn to_slots(&self, coefficients: &[f64], factor: f64) -> (Vec<f64>, Vec<f64>) {
        let n = self.slots();
        let (mut re, mut im) = (vec![0.0; n], vec![0.0; n]);
        for i in 0..n {
            let to = self.fft.position(i);
            re[to] = coefficients[i] * factor;
            im[to] = match self.ring_type {
                RingType::Standard => coefficients[n + i] * factor,
                RingType::ConjugateInvariant if i == 0 => 0.0,
                RingType::ConjugateInvariant => -coefficients[n - i] * factor,
            };
        }
        self.fft.to_slots(&mut re, &mut im);
        (re, im)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    #[test]
    fn slots_of_the_conjugate_invariant_ring_are_sums_of_cosines() {
        for log_n in 1..8 {
            let ring = Ring::conjugate_invariant(log_n);
            let (embedding, n) = (Embedding::new(ring), ring.degree());
            let a: Vec<f64> = (0..n).map(|i| ((i * i + 3) % 17) as f64 - 8.0).collect();
            let (mut re, mut im) = embedding.to_slots(&a, 1.0);
            let mut power = 1;
            for j in 0..n {
                let angle = |i: usize| (i * power % (4 * n)) as f64 / (4 * n) as f64 * TAU;
                let wanted = a[0] + (1..n).map(|i| 2.0 * a[i] * angle(i).cos()).sum::<f64>();
                assert!((re[j] - wanted).abs() < 1e-11 && im[j].abs() < 1e-11, "2^{log_n}, slot {j}");
                power = power * 5 % (4 * n);
            }
            im.fill(0.0);
            embedding.to_coefficients_times_n(&mut re, &mut im);
            for (i, a) in a.iter().enumerate() {
                assert!((re[embedding.position(i)] / n as f64 - a).abs() < 1e-12);
            }
        }
    }
}
