use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::{Seed, fill_words};

/// What a seed is expanded for. The same seed gives unrelated polynomials for different purposes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    /// The second half of a ciphertext.
    Ciphertext,
    /// The second half of a public key.
    PublicKey,
    /// The second halves of a key-switching key, one for each digit.
    KeySwitch,
}

impl Purpose {
    fn context(self) -> &'static str {
        match self {
            Self::Ciphertext => "hec 2026 CKKS uniform expansion v1: ciphertext",
            Self::PublicKey => "hec 2026 CKKS uniform expansion v1: public key",
            Self::KeySwitch => "hec 2026 CKKS uniform expansion v1: key switch",
        }
    }
}

/// A seed, ready to be expanded.
///
/// The expansion, exactly. Let `K` be BLAKE3's derive-key function applied to the 32 bytes of the seed, with the
/// purpose's text as context. The residues modulo one prime of the polynomial of index `part` (the digit of a
/// key-switching key; 0 elsewhere) come from the ChaCha20 key stream of the key `K` with the 64-bit stream number
/// `part * 2^32 + limb`, counter from 0, where `limb` is `i` for the prime `q_i` of the chain and `2^31 + i` for the
/// special prime `p_i`. Read the stream as little-endian 64-bit words. A word `w` is skipped if `w * q mod 2^64 <
/// 2^64 mod q` (probability below 2^-14), else it gives the next residue `floor(w * q / 2^64)` (D. Lemire, "Fast random
/// integer generation in an interval", 2019): exactly uniform. Residues are those of the NTT domain, in the order
/// of the tables.
///
/// A limb does not depend on the level: dropping levels of a seeded ciphertext keeps its seed. All of this is
/// public, so that the skipping need not be hidden.
pub(crate) struct Expansion {
    key: [u8; 32],
}

/// The stream number of special prime `i` is that of limb `SPECIAL + i`.
pub(crate) const SPECIAL: u64 = 1 << 31;

const CHUNK: usize = 256;

impl Expansion {
    pub(crate) fn new(seed: &Seed, purpose: Purpose) -> Self {
        Self { key: blake3::derive_key(purpose.context(), seed) }
    }

    /// Fills `out` with uniform residues modulo `q`.
    pub(crate) fn fill(&self, part: usize, limb: u64, q: u64, out: &mut [u64]) {
        let mut stream = ChaCha20Rng::from_seed(self.key);
        stream.set_stream(((part as u64) << 32) | limb);
        let skip_below = (u64::MAX % q + 1) % q;
        let mut words = [0; CHUNK];
        let mut done = 0;
        while done < out.len() {
            let words = &mut words[..CHUNK.min(out.len() - done)];
            fill_words(&mut stream, words);
            for &word in &*words {
                let product = u128::from(word) * u128::from(q);
                out[done] = (product >> 64) as u64;
                done += usize::from(product as u64 >= skip_below);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMES: [u64; 4] = [97, (1 << 30) - 35, 1_099_511_480_321, 1_125_899_906_826_241];

    #[test]
    fn residues_are_uniform_modulo_each_prime() {
        let expansion = Expansion::new(&[5; 32], Purpose::Ciphertext);
        for q in PRIMES {
            let n = 1 << 18;
            let mut x = vec![0; n];
            expansion.fill(0, 0, q, &mut x);
            assert!(x.iter().all(|&v| v < q));
            let bins = q.min(256) as usize;
            let mut count = vec![0.0; bins];
            x.iter().for_each(|&v| count[(u128::from(v) * bins as u128 / u128::from(q)) as usize] += 1.0);
            let expected = n as f64 / bins as f64;
            let chi: f64 = count.iter().map(|c: &f64| (c - expected).powi(2) / expected).sum();
            let freedom = (bins - 1) as f64;
            assert!((chi - freedom).abs() < 5.0 * (2.0 * freedom).sqrt(), "{q}: chi-square {chi}, {freedom} degrees");
        }
    }

    #[test]
    fn purposes_parts_limbs_and_seeds_are_unrelated_and_prefixes_agree() {
        let draw = |seed: u8, purpose, part, limb, n| {
            let mut x = vec![0; n];
            Expansion::new(&[seed; 32], purpose).fill(part, limb, PRIMES[2], &mut x);
            x
        };
        let base = draw(1, Purpose::Ciphertext, 0, 0, 600);
        for other in [
            draw(2, Purpose::Ciphertext, 0, 0, 600),
            draw(1, Purpose::KeySwitch, 0, 0, 600),
            draw(1, Purpose::PublicKey, 0, 0, 600),
            draw(1, Purpose::Ciphertext, 1, 0, 600),
            draw(1, Purpose::Ciphertext, 0, 1, 600),
            draw(1, Purpose::Ciphertext, 0, SPECIAL, 600),
        ] {
            assert!(base.iter().zip(&other).all(|(a, b)| a != b));
        }
        assert_eq!(base[..100], draw(1, Purpose::Ciphertext, 0, 0, 100));
    }

    /// The expansion is part of the byte format: a change of it makes old ciphertexts unreadable.
    #[test]
    fn the_expansion_is_frozen() {
        let mut x = [0; 3];
        Expansion::new(&[0; 32], Purpose::KeySwitch).fill(2, SPECIAL + 1, PRIMES[3], &mut x);
        assert_eq!(x, FROZEN);
    }
    const FROZEN: [u64; 3] = [197_190_257_471_717, 924_500_368_396_259, 303_059_507_984_834];
}
