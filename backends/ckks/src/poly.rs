use rayon::prelude::*;
use zeroize::Zeroize;

use crate::limb::Limb;
use crate::scratch::Home;

/// From this many residues on, work of a transform for each limb is spread over threads; below it the caller's
/// parallelism over ciphertexts does better.
const PARALLEL_FROM: usize = 1 << 17;

/// An element of the ring modulo `q_0`, `q_1`, ..: N canonical residues, limb after limb.
///
/// Its limbs come from the heap, or from a pool to which they return: see [`Home`]. A clone lives where the original does.
pub(crate) struct Poly {
    n: usize,
    limbs: Vec<Limb>,
    home: Home,
}

impl Poly {
    /// Zero, on the heap.
    pub(crate) fn zero(n: usize, limbs: usize) -> Self {
        Self { n, limbs: (0..limbs).map(|i| Limb::zero(n, i)).collect(), home: Home::Heap }
    }

    /// A polynomial of unspecified residues, all of which are to be written.
    pub(crate) fn unspecified(n: usize, limbs: usize, home: Home) -> Self {
        match &home {
            Home::Heap => Self::zero(n, limbs),
            Home::Pool(pool) => Self { n, limbs: pool.take(n, limbs), home },
        }
    }

    pub(crate) fn limbs(&self) -> usize {
        self.limbs.len()
    }

    pub(crate) fn degree_bound(&self) -> usize {
        self.n
    }

    /// Bytes that the residues take.
    pub(crate) fn memory(&self) -> usize {
        self.limbs.len() * self.n * size_of::<u64>()
    }

    pub(crate) fn limb(&self, i: usize) -> &[u64] {
        &self.limbs[i]
    }

    pub(crate) fn limb_mut(&mut self, i: usize) -> &mut [u64] {
        &mut self.limbs[i]
    }

    /// Limbs in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &[u64]> + DoubleEndedIterator + Clone {
        self.limbs.iter().map(|limb| &**limb)
    }

    /// Limbs in order.
    pub(crate) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u64]> {
        self.limbs.iter_mut().map(|limb| &mut **limb)
    }

    /// Calls `work(i, limb i)` for each limb, on several threads if there is enough to do.
    pub(crate) fn for_each_limb(&mut self, work: impl Fn(usize, &mut [u64]) + Sync + Send) {
        if self.is_large() {
            self.limbs.par_iter_mut().enumerate().for_each(|(i, limb)| work(i, limb));
        } else {
            self.iter_mut().enumerate().for_each(|(i, limb)| work(i, limb));
        }
    }

    /// Whether work for each limb is worth several threads.
    pub(crate) fn is_large(&self) -> bool {
        self.limbs.len() * self.n >= PARALLEL_FROM
    }

    /// Overwrites with the first limbs of `other`, as many as there are.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.limbs.iter_mut().zip(&other.limbs).for_each(|(x, y)| x.copy_from_slice(y));
    }

    /// A copy of the first `limbs` limbs.
    pub(crate) fn prefix(&self, limbs: usize) -> Self {
        let mut prefix = Self::unspecified(self.n, limbs, self.home.clone());
        prefix.copy_from(self);
        prefix
    }

    /// A copy on the heap, whatever the home of the original: for what is to become secret.
    pub(crate) fn to_heap(&self) -> Self {
        Self { n: self.n, limbs: self.limbs.clone(), home: Home::Heap }
    }

    /// Leaves out all limbs but the first `limbs`.
    pub(crate) fn truncate(&mut self, limbs: usize) {
        let dropped = self.limbs.split_off(limbs.min(self.limbs.len()));
        self.home.give(dropped);
    }

    /// A limb to write and all limbs after it.
    pub(crate) fn split_after(&mut self, i: usize) -> (&mut [u64], impl Iterator<Item = &mut [u64]>) {
        let (head, tail) = self.limbs.split_at_mut(i + 1);
        (&mut head[i], tail.iter_mut().map(|limb| &mut **limb))
    }
}

impl Clone for Poly {
    fn clone(&self) -> Self {
        self.prefix(self.limbs())
    }
}

impl PartialEq for Poly {
    fn eq(&self, other: &Self) -> bool {
        self.limbs == other.limbs
    }
}

impl Eq for Poly {}

impl Drop for Poly {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.limbs));
    }
}

impl Zeroize for Poly {
    /// All residues become 0.
    fn zeroize(&mut self) {
        self.limbs.iter_mut().for_each(Zeroize::zeroize);
    }
}
