use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use crate::poly::Poly;

/// Buffers of the evaluator that are used again: fresh memory costs a page fault for each 4 KiB, which for a key switch is as
/// much as its arithmetic. Never holds anything secret.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Vec<u64>>>);

/// The most buffers that are kept for each thread: what a key switch uses.
const KEPT: usize = 8;

impl Pool {
    /// A polynomial with unspecified residues, whose buffer returns to the pool.
    pub(crate) fn take(&self, n: usize, limbs: usize) -> Scratch<'_> {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffer.resize(n * limbs, 0);
        Scratch { pool: self, poly: Poly::from_buffer(n, buffer) }
    }
}

/// A borrowed polynomial.
pub(crate) struct Scratch<'a> {
    pool: &'a Pool,
    poly: Poly,
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

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        let mut kept = self.pool.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT * rayon::current_num_threads() {
            kept.push(self.poly.take_buffer());
        }
    }
}
