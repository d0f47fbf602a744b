use crate::arithmetic::Modulus;
use crate::kernels::Simd;

/// Between the conjugate-invariant ring of degree N and `Z_q[X]/(X^N - I)`, `I` a square root of -1: the first stage of the
/// transform of `Z_q[X]/(X^2N + 1) = Z_q[X]/(X^N - I) x Z_q[X]/(X^N + I)`, of which one half says everything.
///
/// `a_0 + sum a_j (X^j + X^-j)` is the polynomial with the coefficients `a_j` and, as `X^-j = -X^(2N-j)`, `-a_(N-j)` at `N + j`.
/// Modulo `X^N - I` it is `b_j = a_j - I a_(N-j)` and `b_0 = a_0`; back, `2 a_j = b_j + I b_(N-j)`.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    modulus: Modulus,
    /// `I`, and its negative.
    roots: [u64; 2],
    simd: Simd,
}

impl Fold {
    pub(super) fn new(modulus: Modulus, root: u64, simd: Simd) -> Self {
        Self { modulus, roots: [root, modulus.neg(root)], simd }
    }

    /// From `a` to `b`.
    pub(super) fn forward(&self, a: &mut [u64]) {
        self.pairs(a, self.roots[1]);
    }

    /// From `b` to `2 a`.
    pub(super) fn inverse_times_two(&self, b: &mut [u64]) {
        self.pairs(b, self.roots[0]);
        if let Some(first) = b.first_mut() {
            *first = self.modulus.add(*first, *first);
        }
    }

    /// `x_j + w x_(N-j)` for `0 < j < N`.
    fn pairs(&self, x: &mut [u64], w: u64) {
        let first = match self.simd {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(avx2) => super::avx2::fold_pairs(avx2, self.modulus, x, w),
            Simd::Portable => 1,
        };
        pairs_from(self.modulus, x, w, first);
    }
}

/// The pairs from `first` to the middle.
fn pairs_from(q: Modulus, x: &mut [u64], w: u64, first: usize) {
    let (n, companion) = (x.len(), q.shoup(w));
    for j in first..=n / 2 {
        let (low, high) = (x[j], x[n - j]);
        x[j] = q.add(low, q.mul_shoup(high, w, companion));
        x[n - j] = q.add(high, q.mul_shoup(low, w, companion));
    }
}
