use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

use super::fill_words;

/// The largest magnitude of a value.
pub(crate) const BOUND: u64 = 1;

/// `n` independent values, uniform over {-1, 0, 1}.
///
/// The upper half of `3 * word` for a 64-bit word is 0, 1 or 2, each with probability within 2^-63 of 1/3: no
/// rejection, no branch.
pub(crate) fn sample(stream: &mut ChaCha20Rng, n: usize) -> Zeroizing<Vec<i64>> {
    let mut words = Zeroizing::new(vec![0; n]);
    fill_words(stream, &mut words);
    Zeroizing::new(words.iter().map(|&word| ((u128::from(word) * 3) >> 64) as i64 - 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Randomness;

    #[test]
    fn the_three_values_are_equally_frequent() {
        let n = 3 << 18;
        let x = sample(&mut Randomness::from_seed([1; 32]).stream(), n);
        let expected = n as f64 / 3.0;
        let chi: f64 =
            (-1..=1).map(|v| (x.iter().filter(|&&y| y == v).count() as f64 - expected).powi(2) / expected).sum();
        assert!(chi < 20.0, "chi-square {chi} with 2 degrees of freedom");
        let correlation: i64 = x.windows(2).map(|w| w[0] * w[1]).sum();
        assert!((correlation as f64).abs() < 5.0 * (n as f64).sqrt());
    }
}
