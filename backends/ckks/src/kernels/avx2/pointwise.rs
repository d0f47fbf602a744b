//! The pointwise kernels; [`crate::kernels`] documents them. What does not fill a vector is left to the portable ones.

use std::arch::x86_64::*;

use crate::arithmetic::Modulus;
use crate::kernels::lanes::{Lanes, to_float};
use crate::kernels::{Avx2, portable};

/// Defines a kernel from its action on vectors of words.
macro_rules! kernel {
    ($name:ident, [$($out:ident),+], [$($input:ident),*], [$($scalar:ident)?], |$lanes:ident| $body:expr) => {
        pub(in crate::kernels) fn $name(
            _: Avx2, q: Modulus, $($out: &mut [u64],)+ $($input: &[u64],)* $($scalar: u64)?
        ) {
            #[target_feature(enable = "avx2,fma")]
            fn vectors(q: Modulus, $($out: &mut [u64],)+ $($input: &[u64],)* $($scalar: u64)?) -> usize {
                let $lanes = Lanes::new(q);
                $(let $scalar = _mm256_set1_pd(q.centered($scalar) as f64);)?
                each([$($out),+], [$($input),*], |[$($out),+], [$($input),*]| $body)
            }
            // SAFETY: the token proves AVX2 and FMA.
            let done = unsafe { vectors(q, $($out,)+ $($input,)* $($scalar)?) };
            portable::$name(q, $(&mut $out[done..],)+ $(&$input[done..],)* $($scalar)?);
        }
    };
}

kernel!(add_assign, [x], [y], [], |f| [f.add_words(x, y)]);
kernel!(sub_assign, [x], [y], [], |f| [f.sub_words(x, y)]);
kernel!(neg_assign, [x], [], [], |f| [f.sub_words(_mm256_setzero_si256(), x)]);
kernel!(mul_assign, [x], [y], [], |f| [f.to_residue(f.mul(to_float(x), to_float(y)))]);
kernel!(mul_scalar_assign, [x], [], [s], |f| [f.to_residue(f.mul(to_float(x), s))]);
kernel!(mul_add_assign, [acc], [a, b], [], |f| {
    let product = f.mul(to_float(a), to_float(b));
    [f.to_residue(f.reduce(_mm256_add_pd(product, to_float(acc))))]
});
kernel!(mul_scalar_add_assign, [acc], [x], [s], |f| {
    let product = f.mul(to_float(x), s);
    [f.to_residue(f.reduce(_mm256_add_pd(product, to_float(acc))))]
});
kernel!(sub_mul_scalar_assign, [x], [y], [s], |f| {
    let difference = _mm256_sub_pd(to_float(x), to_float(y));
    [f.to_residue(f.mul(difference, s))]
});

pub(in crate::kernels) fn mul(_: Avx2, q: Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    #[target_feature(enable = "avx2,fma")]
    fn vectors(q: Modulus, out: &mut [u64], a: &[u64], b: &[u64]) -> usize {
        let f = Lanes::new(q);
        each([out], [a, b], |_, [a, b]| [f.to_residue(f.mul(to_float(a), to_float(b)))])
    }
    // SAFETY: the token proves AVX2 and FMA.
    let done = unsafe { vectors(q, out, a, b) };
    portable::mul(q, &mut out[done..], &a[done..], &b[done..]);
}

pub(in crate::kernels) fn add_scalar_assign(_: Avx2, q: Modulus, x: &mut [u64], scalar: u64) {
    #[target_feature(enable = "avx2,fma")]
    fn vectors(q: Modulus, x: &mut [u64], scalar: u64) -> usize {
        let (f, scalar) = (Lanes::new(q), _mm256_set1_epi64x(scalar as i64));
        each([x], [], |[x], []| [f.add_words(x, scalar)])
    }
    // SAFETY: the token proves AVX2 and FMA.
    let done = unsafe { vectors(q, x, scalar) };
    portable::add_scalar_assign(q, &mut x[done..], scalar);
}

pub(in crate::kernels) fn reduce_centered(_: Avx2, out: &mut [u64], q_out: Modulus, x: &[u64], q_in: Modulus) {
    #[target_feature(enable = "avx2,fma")]
    fn vectors(out: &mut [u64], q_out: Modulus, x: &[u64], q_in: Modulus) -> usize {
        let (f, q) = (Lanes::new(q_out), Lanes::new(q_in).q);
        let half = _mm256_set1_pd((q_in.value() / 2) as f64);
        each([out], [x], |_, [x]| {
            let x = to_float(x);
            let above = _mm256_cmp_pd::<_CMP_GT_OQ>(x, half);
            [f.to_residue(f.reduce(_mm256_sub_pd(x, _mm256_and_pd(above, q))))]
        })
    }
    // SAFETY: the token proves AVX2 and FMA.
    let done = unsafe { vectors(out, q_out, x, q_in) };
    portable::reduce_centered(&mut out[done..], q_out, &x[done..], q_in);
}

pub(in crate::kernels) fn tensor_product(
    _: Avx2,
    q: Modulus,
    out: [&mut [u64]; 3],
    [a0, a1]: [&[u64]; 2],
    [b0, b1]: [&[u64]; 2],
) {
    #[target_feature(enable = "avx2,fma")]
    fn vectors(q: Modulus, out: [&mut [u64]; 3], inputs: [&[u64]; 4]) -> usize {
        let f = Lanes::new(q);
        each(out, inputs, |_, inputs| {
            let [a0, a1, b0, b1] = inputs.map(|x| to_float(x));
            let cross = _mm256_add_pd(f.mul(a0, b1), f.mul(a1, b0));
            [f.to_residue(f.mul(a0, b0)), f.to_residue(f.reduce(cross)), f.to_residue(f.mul(a1, b1))]
        })
    }
    let [d0, d1, d2] = out;
    // SAFETY: the token proves AVX2 and FMA.
    let done = unsafe { vectors(q, [d0, d1, d2], [a0, a1, b0, b1]) };
    let rest = [&mut d0[done..], &mut d1[done..], &mut d2[done..]];
    portable::tensor_product(q, rest, [&a0[done..], &a1[done..]], [&b0[done..], &b1[done..]]);
}

pub(in crate::kernels) fn tensor_square(_: Avx2, q: Modulus, out: [&mut [u64]; 3], [a0, a1]: [&[u64]; 2]) {
    #[target_feature(enable = "avx2,fma")]
    fn vectors(q: Modulus, out: [&mut [u64]; 3], inputs: [&[u64]; 2]) -> usize {
        let f = Lanes::new(q);
        each(out, inputs, |_, inputs| {
            let [a0, a1] = inputs.map(|x| to_float(x));
            let cross = f.mul(a0, a1);
            let twice = f.reduce(_mm256_add_pd(cross, cross));
            [f.to_residue(f.mul(a0, a0)), f.to_residue(twice), f.to_residue(f.mul(a1, a1))]
        })
    }
    let [d0, d1, d2] = out;
    // SAFETY: the token proves AVX2 and FMA.
    let done = unsafe { vectors(q, [d0, d1, d2], [a0, a1]) };
    let rest = [&mut d0[done..], &mut d1[done..], &mut d2[done..]];
    portable::tensor_square(q, rest, [&a0[done..], &a1[done..]]);
}

/// Coefficients whose sums are held as floats in the first cache while the pairs stream by.
const SUMS: usize = 512;

pub(in crate::kernels) fn mul_add_many(_: Avx2, q: Modulus, acc: &mut [u64], pairs: &[(&[u64], &[u64])]) {
    #[target_feature(enable = "avx2,fma")]
    fn vectors(q: Modulus, acc: &mut [u64], pairs: &[(&[u64], &[u64])], len: usize) {
        let f = Lanes::new(q);
        let mut sums = [_mm256_setzero_pd(); SUMS / 4];
        for start in (0..len).step_by(SUMS) {
            let part = start..len.min(start + SUMS);
            let sums = &mut sums[..part.len() / 4];
            for (sum, acc) in sums.iter_mut().zip(acc[part.clone()].chunks_exact(4)) {
                *sum = to_float(load(acc));
            }
            for (i, (a, b)) in pairs.iter().enumerate() {
                // A product is at most 3/4 q, and eight of them and a reduced sum less than 8q < 2^53.
                if i % 8 == 7 {
                    sums.iter_mut().for_each(|sum| *sum = f.reduce(*sum));
                }
                let vectors = a[part.clone()].chunks_exact(4).zip(b[part.clone()].chunks_exact(4));
                for (sum, (a, b)) in sums.iter_mut().zip(vectors) {
                    *sum = _mm256_add_pd(*sum, f.mul(to_float(load(a)), to_float(load(b))));
                }
            }
            for (sum, acc) in sums.iter().zip(acc[part].chunks_exact_mut(4)) {
                store(acc, f.to_residue(f.reduce(*sum)));
            }
        }
    }
    let len = pairs.iter().fold(acc.len(), |len, (a, b)| len.min(a.len()).min(b.len()));
    let whole = len / 4 * 4;
    // SAFETY: the token proves AVX2 and FMA.
    unsafe { vectors(q, acc, pairs, whole) };
    if whole < len {
        let rest: Vec<_> = pairs.iter().map(|(a, b)| (&a[whole..len], &b[whole..len])).collect();
        portable::mul_add_many(q, &mut acc[whole..len], &rest);
    }
}

/// Replaces the outputs, four words of each at a time, by `f` of themselves and the inputs, up to the shortest length rounded
/// down to a multiple of four; returns that length.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn each<const OUT: usize, const IN: usize>(
    mut out: [&mut [u64]; OUT],
    inputs: [&[u64]; IN],
    f: impl Fn([__m256i; OUT], [__m256i; IN]) -> [__m256i; OUT],
) -> usize {
    let lengths = out.iter().map(|x| x.len()).chain(inputs.iter().map(|x| x.len()));
    let len = lengths.min().unwrap_or(0) / 4 * 4;
    let out = out.each_mut().map(|x| x.as_mut_ptr());
    let inputs = inputs.map(|x| x.as_ptr());
    for i in (0..len).step_by(4) {
        // SAFETY: i + 4 is at most the length of every slice.
        unsafe {
            let old = out.map(|x| _mm256_loadu_si256(x.add(i).cast()));
            let new = f(old, inputs.map(|x| _mm256_loadu_si256(x.add(i).cast())));
            for (out, new) in out.into_iter().zip(new) {
                _mm256_storeu_si256(out.add(i).cast(), new);
            }
        }
    }
    len
}

/// The first four words of a slice.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn load(x: &[u64]) -> __m256i {
    let x = &x[..4];
    // SAFETY: four words.
    unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
}

/// To the first four words of a slice.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn store(x: &mut [u64], value: __m256i) {
    let x = &mut x[..4];
    // SAFETY: four words.
    unsafe { _mm256_storeu_si256(x.as_mut_ptr().cast(), value) }
}
