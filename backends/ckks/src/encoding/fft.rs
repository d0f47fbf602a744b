use std::f64::consts::TAU;

/// The transform between the slots and the coefficients of a real polynomial of degree below N.
///
/// Slot `j` is the value at `zeta^(5^j)`, zeta a primitive 2N-th root of unity in C. With `n = N/2` complex numbers
/// `c_i + sqrt(-1) c_(i+n)` for the coefficients, the map is an FFT of `log2 n` stages whose twiddle factors are powers of 5
/// (Cheon, Kim, Kim, Song, eprint 2016/421, section 3.2; the algorithm is that of their HEAAN). Real and imaginary
/// parts lie in separate arrays; the coefficient side is in bit-reversed order.
pub(crate) struct SpecialFft {
    /// For each stage of half length h, at `h - 1 ..`: `exp(2 pi i 5^j / 8h)` for `j < h`.
    roots_re: Vec<f64>,
    roots_im: Vec<f64>,
    bits: u32,
}

impl SpecialFft {
    /// Tables for `2^bits` slots.
    pub(crate) fn new(bits: u32) -> Self {
        let n = 1usize << bits;
        let (mut roots_re, mut roots_im) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for stage in 0..bits {
            let order = 8usize << stage;
            let mut power = 1;
            for _ in 0..1usize << stage {
                let (im, re) = sin_cos_turn(power, order);
                roots_re.push(re);
                roots_im.push(im);
                power = power * 5 % order;
            }
        }
        Self { roots_re, roots_im, bits }
    }

    pub(crate) fn slots(&self) -> usize {
        1 << self.bits
    }

    /// Where coefficient `i` (and with it `i + n`) lies.
    pub(crate) fn position(&self, i: usize) -> usize {
        if self.bits == 0 { 0 } else { i.reverse_bits() >> (usize::BITS - self.bits) }
    }

    fn roots(&self, half: usize) -> (&[f64], &[f64]) {
        (&self.roots_re[half - 1..2 * half - 1], &self.roots_im[half - 1..2 * half - 1])
    }

    /// Coefficients (bit-reversed) to slots.
    pub(crate) fn to_slots(&self, re: &mut [f64], im: &mut [f64]) {
        for stage in 0..self.bits {
            let half = 1 << stage;
            let (wr, wi) = self.roots(half);
            for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
                let (ar, br) = re.split_at_mut(half);
                let (ai, bi) = im.split_at_mut(half);
                let (ai, bi, wr, wi) = (&mut ai[..half], &mut bi[..half], &wr[..half], &wi[..half]);
                for j in 0..half {
                    let vr = br[j] * wr[j] - bi[j] * wi[j];
                    let vi = br[j] * wi[j] + bi[j] * wr[j];
                    (ar[j], br[j]) = (ar[j] + vr, ar[j] - vr);
                    (ai[j], bi[j]) = (ai[j] + vi, ai[j] - vi);
                }
            }
        }
    }

    /// Slots to coefficients (bit-reversed), times n: the caller divides, with its own scale.
    pub(crate) fn to_coefficients_times_n(&self, re: &mut [f64], im: &mut [f64]) {
        for stage in (0..self.bits).rev() {
            let half = 1 << stage;
            let (wr, wi) = self.roots(half);
            for (re, im) in re.chunks_exact_mut(2 * half).zip(im.chunks_exact_mut(2 * half)) {
                let (ar, br) = re.split_at_mut(half);
                let (ai, bi) = im.split_at_mut(half);
                let (ai, bi, wr, wi) = (&mut ai[..half], &mut bi[..half], &wr[..half], &wi[..half]);
                for j in 0..half {
                    let (vr, vi) = (ar[j] - br[j], ai[j] - bi[j]);
                    (ar[j], ai[j]) = (ar[j] + br[j], ai[j] + bi[j]);
                    br[j] = vr * wr[j] + vi * wi[j];
                    bi[j] = vi * wr[j] - vr * wi[j];
                }
            }
        }
    }
}

/// Sine and cosine of `power / order` turns, reduced to an eighth of a turn first so that both are right to an ulp.
fn sin_cos_turn(power: usize, order: usize) -> (f64, f64) {
    let eighths = power * 8 / order;
    let rest = |p: usize| (p as f64 / order as f64 * TAU).sin_cos();
    let quarter = order / 4;
    match eighths {
        0 => rest(power),
        1 => {
            let (s, c) = rest(quarter - power);
            (c, s)
        }
        _ => {
            let (s, c) = sin_cos_turn(power - quarter, order);
            (c, -s)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_the_values_at_powers_of_five() {
        for bits in 0..7 {
            let fft = SpecialFft::new(bits);
            let n = fft.slots();
            let order = 4 * n;
            let coefficients: Vec<f64> = (0..2 * n).map(|i| ((i * i + 3) % 17) as f64 - 8.0).collect();
            let (mut re, mut im) = (vec![0.0; n], vec![0.0; n]);
            for i in 0..n {
                re[fft.position(i)] = coefficients[i];
                im[fft.position(i)] = coefficients[i + n];
            }
            let loaded = (re.clone(), im.clone());
            fft.to_slots(&mut re, &mut im);
            let mut power = 1;
            for j in 0..n {
                let (mut wr, mut wi) = (0.0, 0.0);
                for (i, c) in coefficients.iter().enumerate() {
                    let (s, k) = (TAU * (power * i % order) as f64 / order as f64).sin_cos();
                    wr += c * k;
                    wi += c * s;
                }
                assert!((re[j] - wr).abs() < 1e-11 && (im[j] - wi).abs() < 1e-11, "{bits} {j}");
                power = power * 5 % order;
            }
            fft.to_coefficients_times_n(&mut re, &mut im);
            for (found, wanted) in re.iter().chain(&im).zip(loaded.0.iter().chain(&loaded.1)) {
                assert!((found / n as f64 - wanted).abs() < 1e-12);
            }
        }
    }
}
