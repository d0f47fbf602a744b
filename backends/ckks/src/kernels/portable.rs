//! The pointwise kernels in 64-bit integers; [`super`] documents them.

use crate::arithmetic::Modulus;

pub(super) fn add_assign(q: Modulus, x: &mut [u64], y: &[u64]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x = q.add(*x, y));
}

pub(super) fn sub_assign(q: Modulus, x: &mut [u64], y: &[u64]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x = q.sub(*x, y));
}

pub(super) fn neg_assign(q: Modulus, x: &mut [u64]) {
    x.iter_mut().for_each(|x| *x = q.neg(*x));
}

pub(super) fn mul(q: Modulus, out: &mut [u64], a: &[u64], b: &[u64]) {
    out.iter_mut().zip(a).zip(b).for_each(|((out, &a), &b)| *out = q.mul(a, b));
}

pub(super) fn mul_assign(q: Modulus, x: &mut [u64], y: &[u64]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x = q.mul(*x, y));
}

pub(super) fn mul_add_assign(q: Modulus, acc: &mut [u64], a: &[u64], b: &[u64]) {
    acc.iter_mut().zip(a).zip(b).for_each(|((acc, &a), &b)| *acc = q.mul_add(a, b, *acc));
}

/// Residues are below `2^50`, so that a double word holds `2^28` products.
pub(super) fn mul_add_many<const H: usize>(q: Modulus, acc: [&mut [u64]; H], terms: &[(&[u64], [&[u64]; H])]) {
    let len = shortest(&acc, terms);
    for (half, acc) in acc.into_iter().enumerate() {
        for (i, acc) in acc[..len].iter_mut().enumerate() {
            let start = u128::from(*acc);
            let sum = terms.iter().fold(start, |sum, (x, y)| sum + u128::from(x[i]) * u128::from(y[half][i]));
            *acc = q.reduce_u128(sum);
        }
    }
}

/// The length of the shortest slice.
pub(super) fn shortest<const H: usize>(acc: &[&mut [u64]; H], terms: &[(&[u64], [&[u64]; H])]) -> usize {
    let factors = terms.iter().flat_map(|(x, y)| std::iter::once(x).chain(y));
    acc.iter().map(|acc| acc.len()).chain(factors.map(|x| x.len())).min().unwrap_or(0)
}

pub(super) fn mul_scalar_assign(q: Modulus, x: &mut [u64], scalar: u64) {
    let companion = q.shoup(scalar);
    x.iter_mut().for_each(|x| *x = q.mul_shoup(*x, scalar, companion));
}

pub(super) fn mul_scalar_add_assign(q: Modulus, acc: &mut [u64], x: &[u64], scalar: u64) {
    let companion = q.shoup(scalar);
    acc.iter_mut().zip(x).for_each(|(acc, &x)| *acc = q.add(*acc, q.mul_shoup(x, scalar, companion)));
}

pub(super) fn add_scalar_assign(q: Modulus, x: &mut [u64], scalar: u64) {
    x.iter_mut().for_each(|x| *x = q.add(*x, scalar));
}

pub(super) fn sub_mul_scalar_assign(q: Modulus, x: &mut [u64], y: &[u64], scalar: u64) {
    let companion = q.shoup(scalar);
    x.iter_mut().zip(y).for_each(|(x, &y)| *x = q.mul_shoup(q.sub(*x, y), scalar, companion));
}

pub(super) fn mul_scalar_sub_assign(q: Modulus, x: &mut [u64], y: &[u64], scalar: u64) {
    let companion = q.shoup(scalar);
    x.iter_mut().zip(y).for_each(|(x, &y)| *x = q.mul_shoup(q.sub(y, *x), scalar, companion));
}

pub(super) fn reduce_centered(out: &mut [u64], modulus_out: Modulus, x: &[u64], modulus_in: Modulus) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = modulus_out.from_i64(modulus_in.centered(x)));
}

pub(super) fn tensor_product(q: Modulus, out: [&mut [u64]; 3], a: [&[u64]; 2], b: [&[u64]; 2]) {
    let [d0, d1, d2] = out;
    mul(q, d0, a[0], b[0]);
    mul(q, d1, a[0], b[1]);
    mul_add_assign(q, d1, a[1], b[0]);
    mul(q, d2, a[1], b[1]);
}

pub(super) fn tensor_square(q: Modulus, out: [&mut [u64]; 3], a: [&[u64]; 2]) {
    let [d0, d1, d2] = out;
    mul(q, d0, a[0], a[0]);
    d1.iter_mut().zip(a[0]).zip(a[1]).for_each(|((d1, &x), &y)| *d1 = q.mul(x, q.add(y, y)));
    mul(q, d2, a[1], a[1]);
}
