use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

use super::fill_words;

/// `round(2^63 * P(|X| <= k))` for `k = 0, 1, ..` and X the discrete Gaussian over the integers with standard deviation
/// parameter 3.19, as far as that is below 2^63. Beyond the last entry lies less than 2^-62 of the mass, and the table
/// as a whole is within statistical distance 2^-58 of the true distribution. A test recomputes it.
const CUMULATIVE: [u64; 29] = [
    0x1001_f9a1_b2ca_9468,
    0x2e7c_f3ef_0783_6cb6,
    0x48ca_7e85_d834_a57a,
    0x5d5d_5177_8f76_0881,
    0x6bf3_5598_5504_21b0,
    0x7552_dc90_807b_bed6,
    0x7ac8_8205_61a4_c975,
    0x7daa_6596_524b_7ffd,
    0x7f0b_8114_bba4_ecb9,
    0x7fa4_a9fc_5ea5_74e9,
    0x7fe0_e107_7aef_391a,
    0x7ff6_563f_810f_15d0,
    0x7ffd_4490_999b_c595,
    0x7fff_4c08_04cd_386e,
    0x7fff_d5e1_8e7f_da18,
    0x7fff_f709_c679_c2ee,
    0x7fff_fe44_5c79_0f6c,
    0x7fff_ffb2_0f7a_a54a,
    0x7fff_fff3_903d_235d,
    0x7fff_fffe_32b0_6d1d,
    0x7fff_ffff_c351_25cc,
    0x7fff_ffff_f8c1_1765,
    0x7fff_ffff_ff36_fe33,
    0x7fff_ffff_ffec_3bf8,
    0x7fff_ffff_fffe_3c8b,
    0x7fff_ffff_ffff_db75,
    0x7fff_ffff_ffff_fd51,
    0x7fff_ffff_ffff_ffd2,
    0x7fff_ffff_ffff_fffd,
];

/// The largest magnitude of an error.
pub(crate) const BOUND: u64 = CUMULATIVE.len() as u64;

const BLOCK: usize = 64;

/// `n` independent errors: discrete Gaussian over the integers, standard deviation 3.19.
///
/// Each takes one 64-bit word: 63 bits are compared with every entry of the cumulative table, and the remaining bit is
/// the sign. No branch and no address depends on the word (the comparison is a subtraction and a shift), so the time is
/// the same for every sample.
pub(crate) fn sample(stream: &mut ChaCha20Rng, n: usize) -> Zeroizing<Vec<i64>> {
    let mut out = Zeroizing::new(vec![0; n]);
    let mut words = Zeroizing::new([0; BLOCK]);
    for block in out.chunks_mut(BLOCK) {
        let words = &mut words[..block.len()];
        fill_words(stream, words);
        from_words(words, block);
    }
    out
}

fn from_words(words: &[u64], out: &mut [i64]) {
    for entry in CUMULATIVE {
        for (x, &word) in out.iter_mut().zip(words) {
            *x += (entry.wrapping_sub(1).wrapping_sub(word >> 1) >> 63) as i64;
        }
    }
    for (x, &word) in out.iter_mut().zip(words) {
        let sign = -((word & 1) as i64);
        *x = (*x ^ sign) - sign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Randomness;
    use hec_ir::parameters::ERROR_STD;

    /// Double precision decides the upper bits of each entry; the complements decide those of the tail.
    #[test]
    fn the_table_is_the_gaussian_of_the_parameters() {
        let rho = |k: usize| (-((k * k) as f64) / (2.0 * ERROR_STD * ERROR_STD)).exp();
        let mass: f64 = rho(0) + 2.0 * (1..60).map(rho).sum::<f64>();
        for (k, &entry) in CUMULATIVE.iter().enumerate() {
            let tail = 2.0 * ((k + 1)..60).rev().map(rho).sum::<f64>() / mass;
            let found = ((1u64 << 63) - entry) as f64;
            let wanted = tail * 63f64.exp2();
            assert!((found - wanted).abs() <= 0.5 + 1e-13 * wanted, "{k}: {found} {wanted}");
        }
    }

    #[test]
    fn words_at_the_table_s_edges_give_the_value_on_either_side() {
        for (k, &entry) in CUMULATIVE.iter().enumerate() {
            let mut out = [0; 4];
            from_words(&[(entry - 1) << 1, entry << 1, ((entry - 1) << 1) | 1, (entry << 1) | 1], &mut out);
            let k = k as i64;
            assert_eq!(out, [k, k + 1, -k, -(k + 1)]);
        }
        let mut out = [0; 2];
        from_words(&[0, u64::MAX], &mut out);
        assert_eq!(out, [0, -(CUMULATIVE.len() as i64)]);
    }

    #[test]
    fn moments_and_frequencies_are_gaussian() {
        let n = 1 << 20;
        let x = sample(&mut Randomness::from_seed([7; 32]).stream(), n);
        let moment = |p: i32| x.iter().map(|&v| (v as f64).powi(p)).sum::<f64>() / n as f64;
        let variance = ERROR_STD * ERROR_STD;
        assert!(moment(1).abs() < 5.0 * ERROR_STD / (n as f64).sqrt());
        assert!((moment(2) / variance - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt());
        assert!((moment(4) / (3.0 * variance * variance) - 1.0).abs() < 5.0 * (32.0 / 3.0 / n as f64).sqrt());

        let rho = |k: i64| (-((k * k) as f64) / (2.0 * variance)).exp();
        let mass: f64 = (-40..=40).map(rho).sum();
        let mut chi = 0.0;
        for k in -12..=12 {
            let expected = n as f64 * rho(k) / mass;
            let found = x.iter().filter(|&&v| v == k).count() as f64;
            chi += (found - expected).powi(2) / expected;
        }
        assert!(chi < 25.0 + 5.0 * 50f64.sqrt(), "chi-square {chi} with 25 degrees of freedom");
    }
}
