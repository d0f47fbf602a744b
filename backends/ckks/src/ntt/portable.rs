//! The transform in 64-bit integers, one butterfly at a time.

use std::sync::Arc;

use super::Powers;
use crate::arithmetic::Modulus;

#[derive(Clone, Debug)]
pub(super) struct Twiddles {
    modulus: Modulus,
    /// Twiddle factors with their Shoup companions.
    forward: Arc<[(u64, u64)]>,
    inverse: Arc<[(u64, u64)]>,
    scale: (u64, u64),
}

impl Twiddles {
    pub(super) fn new(modulus: Modulus, powers: &Powers) -> Self {
        let with_companion = |&w: &u64| (w, modulus.shoup(w));
        let list = |powers: &Vec<u64>| powers.iter().map(with_companion).collect::<Arc<[_]>>();
        let forward = list(&powers.forward);
        let inverse = powers.inverse.as_ref().map_or_else(|| forward.clone(), list);
        Self { modulus, forward, inverse, scale: with_companion(&powers.scale) }
    }

    pub(super) fn forward(&self, a: &mut [u64]) {
        let q = self.modulus;
        let mut blocks = 1;
        while blocks < a.len() {
            let half = a.len() / (2 * blocks);
            for (block, &(w, companion)) in a.chunks_exact_mut(2 * half).zip(&self.forward[blocks..]) {
                let (low, high) = block.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    let product = q.mul_shoup(*y, w, companion);
                    *y = q.sub(*x, product);
                    *x = q.add(*x, product);
                }
            }
            blocks *= 2;
        }
    }

    pub(super) fn inverse(&self, a: &mut [u64]) {
        let q = self.modulus;
        let mut blocks = a.len() / 2;
        while blocks > 0 {
            let half = a.len() / (2 * blocks);
            let backwards = self.inverse[blocks..2 * blocks].iter().rev();
            for (block, &(w, companion)) in a.chunks_exact_mut(2 * half).zip(backwards) {
                let (low, high) = block.split_at_mut(half);
                for (x, y) in low.iter_mut().zip(high) {
                    let difference = q.sub(*y, *x);
                    *x = q.add(*x, *y);
                    *y = q.mul_shoup(difference, w, companion);
                }
            }
            blocks /= 2;
        }
        let (w, companion) = self.scale;
        a.iter_mut().for_each(|x| *x = q.mul_shoup(*x, w, companion));
    }
}
