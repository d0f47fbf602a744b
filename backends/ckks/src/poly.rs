use rayon::prelude::*;
use zeroize::Zeroize;

/// From this many residues on, work of a transform for each limb is spread over threads; below it the caller's
/// parallelism over ciphertexts does better.
const PARALLEL_FROM: usize = 1 << 17;

/// An element of `Z_q0[X]/(X^N + 1) x Z_q1[X]/(X^N + 1) x ..`: canonical residues, limb after limb.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Poly {
    n: usize,
    data: Vec<u64>,
}

impl Poly {
    pub(crate) fn zero(n: usize, limbs: usize) -> Self {
        Self { n, data: vec![0; n * limbs] }
    }

    /// A polynomial of what is in `buffer`, whose length is a multiple of `n`.
    pub(crate) fn from_buffer(n: usize, buffer: Vec<u64>) -> Self {
        Self { n, data: buffer }
    }

    /// Takes the buffer out.
    pub(crate) fn take_buffer(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.data)
    }

    pub(crate) fn limbs(&self) -> usize {
        self.data.len() / self.n
    }

    pub(crate) fn degree_bound(&self) -> usize {
        self.n
    }

    pub(crate) fn limb(&self, i: usize) -> &[u64] {
        &self.data[i * self.n..][..self.n]
    }

    pub(crate) fn limb_mut(&mut self, i: usize) -> &mut [u64] {
        &mut self.data[i * self.n..][..self.n]
    }

    /// Limbs in order.
    pub(crate) fn iter(&self) -> std::slice::ChunksExact<'_, u64> {
        self.data.chunks_exact(self.n)
    }

    /// Limbs in order.
    pub(crate) fn iter_mut(&mut self) -> std::slice::ChunksExactMut<'_, u64> {
        self.data.chunks_exact_mut(self.n)
    }

    /// Calls `work(i, limb i)` for each limb, on several threads if there is enough to do.
    pub(crate) fn for_each_limb(&mut self, work: impl Fn(usize, &mut [u64]) + Sync + Send) {
        if self.is_large() {
            self.data.par_chunks_exact_mut(self.n).enumerate().for_each(|(i, limb)| work(i, limb));
        } else {
            self.iter_mut().enumerate().for_each(|(i, limb)| work(i, limb));
        }
    }

    /// Whether work for each limb is worth several threads.
    pub(crate) fn is_large(&self) -> bool {
        self.data.len() >= PARALLEL_FROM
    }

    /// Overwrites with the first limbs of `other`, as many as there are.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        let len = self.data.len();
        self.data.copy_from_slice(&other.data[..len]);
    }

    /// A copy of the first `limbs` limbs.
    pub(crate) fn prefix(&self, limbs: usize) -> Self {
        Self { n: self.n, data: self.data[..limbs * self.n].to_vec() }
    }

    /// All residues, limb after limb.
    pub(crate) fn residues(&self) -> &[u64] {
        &self.data
    }

    /// A limb to write and all limbs after it.
    pub(crate) fn split_after(&mut self, i: usize) -> (&mut [u64], &mut [u64]) {
        let (head, tail) = self.data.split_at_mut((i + 1) * self.n);
        (&mut head[i * self.n..], tail)
    }
}

impl Zeroize for Poly {
    fn zeroize(&mut self) {
        self.data.zeroize();
    }
}
