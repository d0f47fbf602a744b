//! Randomness and the distributions of the scheme.
//!
//! | what | distribution | secret | how |
//! |---|---|---|---|
//! | `a` halves of keys and ciphertexts | uniform modulo each prime | no | [`uniform`], expanded from a public seed |
//! | secret key, public-key encryption mask | uniform over {-1, 0, 1} | yes | [`ternary`], branch-free |
//! | errors | discrete Gaussian, standard deviation 3.19 | yes | [`gaussian`], constant-time table scan |
//! | what hides the errors of shared decryptions | discrete Gaussian, as wide as asked | yes | [`wide`], sums of the former |
//!
//! Each is drawn coefficient by coefficient, N of them: in the conjugate-invariant ring, those of the basis `1, X^i + X^-i`.
//! That basis is orthogonal in the canonical embedding, its vectors of squared norms N and, all others, 2N, as the basis `X^i` of
//! the standard ring is, with N. So errors are spherical Gaussian there in both rings (but for the first coefficient, which
//! counts half), with `sigma sqrt(2N)` on each of the N real coordinates against `sigma sqrt(N)`; and beside the lattice of the
//! ring's integers, whose determinant grows by just that factor for each coordinate, they are as wide as in the standard ring.

pub(crate) mod gaussian;
pub(crate) mod ternary;
pub(crate) mod uniform;
pub(crate) mod wide;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use zeroize::Zeroizing;

use crate::error::Error;

/// Bytes of a seed: a ChaCha20 key.
pub const SEED_BYTES: usize = 32;

/// A public seed from which the uniform half of a key or a ciphertext is expanded.
pub type Seed = [u8; SEED_BYTES];

/// A source of secret randomness: a ChaCha20 key that is replaced at every use.
///
/// Each request runs ChaCha20 on the current key; the first 32 bytes of its output become the next key and the next
/// 32 bytes are handed out as the key of a new stream ("fast key erasure", D. J. Bernstein, 2017). Streams are therefore
/// independent, and what was drawn before cannot be recomputed from the present state. Zeroized on drop.
///
/// ```
/// use hec_ckks::Randomness;
/// let mut randomness = Randomness::from_os()?;
/// # Ok::<(), hec_ckks::Error>(())
/// ```
pub struct Randomness {
    key: Zeroizing<[u8; SEED_BYTES]>,
}

impl Randomness {
    /// A source keyed with 32 bytes of the operating system's entropy.
    ///
    /// # Errors
    /// [`Error::Entropy`] if the operating system has none to give.
    pub fn from_os() -> Result<Self, Error> {
        let mut key = Zeroizing::new([0; SEED_BYTES]);
        getrandom::fill(&mut *key).map_err(|error| Error::Entropy { reason: error.to_string() })?;
        Ok(Self { key })
    }

    /// A source whose whole output follows from `seed`: for tests that must be repeatable, and nothing else.
    #[cfg(any(test, feature = "seeded-for-tests"))]
    pub fn from_seed(seed: [u8; SEED_BYTES]) -> Self {
        Self { key: Zeroizing::new(seed) }
    }

    /// A fresh seed.
    pub(crate) fn next_seed(&mut self) -> Zeroizing<Seed> {
        let mut block = Zeroizing::new([0; 2 * SEED_BYTES]);
        ChaCha20Rng::from_seed(*self.key).fill_bytes(&mut *block);
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        self.key.copy_from_slice(&block[..SEED_BYTES]);
        seed.copy_from_slice(&block[SEED_BYTES..]);
        seed
    }

    /// A fresh stream of secret bytes.
    pub(crate) fn stream(&mut self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(*self.next_seed())
    }
}

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randomness { .. }")
    }
}

/// Fills `words` with the stream's next bytes, eight to a word, little-endian.
fn fill_words(stream: &mut ChaCha20Rng, words: &mut [u64]) {
    words.iter_mut().for_each(|word| *word = stream.next_u64());
}
