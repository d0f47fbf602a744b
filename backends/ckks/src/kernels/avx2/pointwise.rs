//! The pointwise kernels; [`crate::kernels`] documents them. What does not fill a vector is left to the portable ones.

use std::arch::x86_64::*;

use crate::arithmetic::Modulus;
use crate::kernels::lanes::{Lanes, Wide, WideLanes, to_float};
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
kernel!(mul_scalar_sub_assign, [x], [y], [s], |f| {
    let difference = _mm256_sub_pd(to_float(y), to_float(x));
    [f.to_residue(f.mul(difference, s))]
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

/// Coefficients whose sums are held as floats in the first cache while the factors stream by.
const TILE: usize = 256;

pub(in crate::kernels) fn mul_add_many<const H: usize>(
    _: Avx2,
    q: Modulus,
    mut acc: [&mut [u64]; H],
    terms: &[(&[u64], [&[u64]; H])],
) {
    let len = portable::shortest(&acc, terms);
    let whole = len / 4 * 4;
    // SAFETY: the token proves AVX2 and FMA; `whole` is a multiple of four and at most the length of every slice.
    unsafe { add_products(q, acc.each_mut().map(|acc| acc.as_mut_ptr()), terms, whole) };
    if whole < len {
        let rest: Vec<_> = terms.iter().map(|(x, y)| (&x[whole..len], y.map(|y| &y[whole..len]))).collect();
        portable::mul_add_many(q, acc.map(|acc| &mut acc[whole..len]), &rest);
    }
}

/// Of two terms at a time, so that the sums are loaded and stored half as often.
#[target_feature(enable = "avx2,fma")]
unsafe fn add_products<const H: usize>(q: Modulus, acc: [*mut u64; H], terms: &[(&[u64], [&[u64]; H])], len: usize) {
    let f = WideLanes::new(q, q.as_f64() * q.as_f64(), terms.len());
    let mut tile = [[[_mm256_setzero_pd(); 2]; H]; TILE / 4];
    for start in (0..len).step_by(TILE) {
        let sums = &mut tile[..TILE.min(len - start) / 4];
        // SAFETY: every slice has `len` words, and the vectors of `sums` are those from `start` on, up to `len`.
        unsafe {
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = acc.map(|acc| f.with_low(to_float(_mm256_loadu_si256(acc.add(start + 4 * i).cast()))));
            }
            let mut room = f.terms;
            for pair in terms.chunks(2) {
                if room < pair.len() {
                    sums.iter_mut().for_each(|sum| *sum = sum.map(|sum| f.with_low(f.reduce(sum))));
                    room = f.terms;
                }
                room -= pair.len();
                match pair {
                    [first, second] => add_terms(f, sums, start, [first, second]),
                    _ => pair.iter().for_each(|term| add_terms(f, sums, start, [term])),
                }
            }
            for (i, sum) in sums.iter().enumerate() {
                for (acc, sum) in acc.iter().zip(sum) {
                    let residues = f.lanes.to_residue(f.reduce(*sum));
                    _mm256_storeu_si256(acc.add(start + 4 * i).cast(), residues);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn add_terms<const K: usize, const H: usize>(
    f: WideLanes,
    sums: &mut [[Wide; H]],
    start: usize,
    terms: [&(&[u64], [&[u64]; H]); K],
) {
    let terms = terms.map(|(x, y)| (x.as_ptr(), y.map(|y| y.as_ptr())));
    for (i, sum) in sums.iter_mut().enumerate() {
        let mut now = *sum;
        for (x, y) in &terms {
            // SAFETY: the caller's slices reach to the last vector of `sums`.
            unsafe {
                let load = |x: *const u64| to_float(_mm256_loadu_si256(x.add(start + 4 * i).cast()));
                let x = load(*x);
                for half in 0..H {
                    now[half] = f.mul_add(now[half], x, load(y[half]));
                }
            }
        }
        *sum = now;
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
