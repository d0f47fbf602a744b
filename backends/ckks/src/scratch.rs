//! Buffers of polynomials that are used again. Fresh memory costs a page fault for each 4 KiB, which for a key switch or a
//! product is as much as its arithmetic.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limb::Limb;
use crate::poly::Poly;

/// Keeps the limbs of dropped polynomials for the next ones, for all threads.
///
/// Limbs in use and limbs kept are together never more than were in use at once: keeping them does not raise the peak of
/// memory. Nothing secret comes in; what is in a limb that comes out is unspecified. All limbs have one length.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Limbs>);

#[derive(Default)]
struct Limbs {
    kept: Vec<Limb>,
    /// How many are in use.
    used: usize,
    /// How many have been made.
    made: usize,
}

impl Pool {
    /// That many limbs of `n` words, whose contents are unspecified.
    pub(crate) fn take(&self, n: usize, count: usize) -> Vec<Limb> {
        let mut limbs = self.lock();
        limbs.used += count;
        let from = limbs.kept.len().saturating_sub(count);
        let mut taken = limbs.kept.split_off(from);
        let missing = count - taken.len();
        let made = limbs.made;
        limbs.made += missing;
        drop(limbs);
        taken.extend((made..made + missing).map(|index| Limb::zero(n, index)));
        taken
    }

    /// Takes limbs back.
    pub(crate) fn give(&self, mut returned: Vec<Limb>) {
        if cfg!(debug_assertions) {
            // No residue is as large: who reads one that he has not written gets caught.
            returned.iter_mut().for_each(|limb| limb.fill(u64::MAX));
        }
        let mut limbs = self.lock();
        limbs.used -= returned.len();
        limbs.kept.append(&mut returned);
    }

    /// Frees the limbs that are kept.
    pub(crate) fn clear(&self) {
        let mut limbs = self.lock();
        let freed = std::mem::take(&mut limbs.kept);
        drop(limbs);
        drop(freed);
    }

    fn lock(&self) -> MutexGuard<'_, Limbs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A polynomial to work in, while the context is borrowed.
pub(crate) struct Scratch<'a> {
    poly: Poly,
    context: PhantomData<&'a Pool>,
}

impl<'a> Scratch<'a> {
    /// With unspecified residues.
    pub(crate) fn new(pool: &'a Arc<Pool>, n: usize, limbs: usize) -> Self {
        Self { poly: Poly::unspecified(n, limbs, Home::Pool(Arc::clone(pool))), context: PhantomData }
    }
}

impl Deref for Scratch<'_> {
    type Target = Poly;

    fn deref(&self) -> &Poly {
        &self.poly
    }
}

impl DerefMut for Scratch<'_> {
    fn deref_mut(&mut self) -> &mut Poly {
        &mut self.poly
    }
}

/// Where a polynomial's limbs come from and go to.
#[derive(Clone, Default)]
pub(crate) enum Home {
    /// The heap.
    #[default]
    Heap,
    /// Other polynomials of the same parameters: for public values only.
    Pool(Arc<Pool>),
}

impl Home {
    pub(crate) fn give(&self, limbs: Vec<Limb>) {
        match self {
            Self::Pool(pool) if !limbs.is_empty() => pool.give(limbs),
            Self::Pool(_) | Self::Heap => drop(limbs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pool: &Pool) -> (usize, usize) {
        let limbs = pool.lock();
        (limbs.used, limbs.kept.len())
    }

    #[test]
    fn used_and_kept_limbs_are_never_more_than_were_used_at_once() {
        let pool = Pool::default();
        let mut used = Vec::new();
        let (mut state, mut peak) = (1u32, 0);
        for step in 0..4000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let random = (state >> 16) as usize;
            // Grows for a while, then shrinks for a while.
            if random % 10 < if step / 500 % 2 == 0 { 6 } else { 4 } {
                used.push(pool.take(16, random % 7));
            } else if !used.is_empty() {
                pool.give(used.swap_remove(random % used.len()));
            }
            let expected = used.iter().map(Vec::len).sum::<usize>();
            peak = peak.max(expected);
            let (now, kept) = counts(&pool);
            assert_eq!(now, expected);
            assert!(now + kept <= peak);
            assert!(used.iter().flatten().all(|limb| limb.len() == 16));
        }
        pool.clear();
        assert_eq!(counts(&pool).1, 0);
    }

    #[test]
    fn limbs_return_with_their_polynomials() {
        let pool = Arc::new(Pool::default());
        let mut a = Poly::unspecified(8, 3, Home::Pool(Arc::clone(&pool)));
        a.iter_mut().for_each(|limb| limb.fill(7));
        let (copy, heap) = (a.clone(), a.to_heap());
        assert!(copy == a && heap == a);
        assert_eq!(counts(&pool), (6, 0));
        a.truncate(1);
        assert_eq!(counts(&pool), (4, 2));
        drop((a, copy, heap));
        assert_eq!(counts(&pool), (0, 6));
        let zero = Poly::zero(8, 6);
        assert!(zero.iter().flatten().all(|&x| x == 0));
        assert_eq!(counts(&pool), (0, 6), "what may become secret has no share in the pool");
    }
}
