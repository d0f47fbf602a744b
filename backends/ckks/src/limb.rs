//! The memory of one limb.

use std::ops::{Deref, DerefMut};

use zeroize::Zeroize;

/// The residues of a polynomial modulo one prime.
///
/// Kernels read the same coefficients of hundreds of limbs at a time. Were limbs a power of two bytes apart, as an allocator
/// lays them out, these would all fall into the same few sets of the caches and push each other out: so limbs are kept
/// at odd distances ("cache colouring", Bershad, Lee, Romer and Chen, ASPLOS 1994).
#[derive(Clone)]
pub(crate) struct Limb {
    words: Vec<u64>,
    start: usize,
}

/// Words from one colour to the next: seventeen cache lines.
const COLOUR: usize = 136;
const COLOURS: usize = 8;
/// Larger allocations begin at a page of their own, wherever the one before ended.
const OWN_PAGES: usize = 1 << 14;
/// Below that, the share of a limb that is left unused after it.
const SPACING: usize = 40;

impl Limb {
    /// Zeros; `index` counts the limbs that were made before.
    pub(crate) fn zero(n: usize, index: usize) -> Self {
        if n >= OWN_PAGES {
            return Self { words: vec![0; n + COLOUR * COLOURS], start: index % COLOURS * COLOUR }.cut(n);
        }
        let mut words = Vec::with_capacity(n + n / SPACING);
        words.resize(n, 0);
        Self { words, start: 0 }
    }

    fn cut(mut self, n: usize) -> Self {
        self.words.truncate(self.start + n);
        self
    }
}

impl Deref for Limb {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.words[self.start..]
    }
}

impl DerefMut for Limb {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.words[self.start..]
    }
}

impl PartialEq for Limb {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Zeroize for Limb {
    fn zeroize(&mut self) {
        self.words.as_mut_slice().zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limb_has_its_words_wherever_it_starts() {
        for (n, index) in [(16, 0), (16, 3), (1 << 14, 0), (1 << 14, 7), (1 << 14, 8)] {
            let mut limb = Limb::zero(n, index);
            assert_eq!((limb.len(), limb.iter().sum::<u64>()), (n, 0));
            limb.fill(1);
            assert!(limb.clone() == limb);
            limb.zeroize();
            assert!(limb == Limb::zero(n, index + 1));
        }
    }
}
