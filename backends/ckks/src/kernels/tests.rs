use super::*;
use crate::arithmetic::tests::{primes, random};

/// Residues at the ends of the range, in all pairs, and random ones; the length does not fill vectors.
fn samples(q: Modulus) -> [Vec<u64>; 4] {
    let top = q.value() - 1;
    let ends = [0, 1, top / 2, top / 2 + 1, top - 1, top];
    let with_random = |mut x: Vec<u64>, seed| {
        x.extend(random(q, 1200, seed));
        x.truncate(1203);
        x
    };
    let left = ends.iter().flat_map(|&x| ends.map(|_| x)).collect();
    let right = ends.iter().flat_map(|_| ends).collect();
    [with_random(left, 1), with_random(right, 2), with_random(vec![top; 300], 3), with_random(vec![top; 300], 4)]
}

/// Runs the dispatched and the portable kernel on copies of the outputs, and both against `expected` at every index.
macro_rules! check {
    ($q:ident, $kernel:ident, [$($out:ident),+] $(, $argument:expr)*; |$i:ident| $expected:expr) => {{
        $(let mut $out = ($out.clone(), $out.clone());)+
        super::$kernel($q, $(&mut $out.0,)+ $($argument),*);
        portable::$kernel($q, $(&mut $out.1,)+ $($argument),*);
        $(assert_eq!($out.0, $out.1, "{}, q {}", stringify!($kernel), $q.value());)+
        #[allow(unused_variables, reason = "some expectations use no index")]
        for $i in 0..1203 {
            let n = u128::from($q.value());
            assert_eq!(($(u128::from($out.0[$i])),+), $expected(n, $i), "{}, q {}", stringify!($kernel), $q.value());
        }
    }};
}

fn wide(x: &[u64], i: usize) -> u128 {
    u128::from(x[i])
}

#[test]
fn pointwise_kernels_agree_with_wide_integers() {
    for q in primes(13) {
        let [a, b, c, _] = &samples(q);
        let x = c.clone();
        check!(q, add_assign, [x], a; |i| |n, i| (wide(c, i) + wide(a, i)) % n);
        let x = a.clone();
        check!(q, sub_assign, [x], b; |i| |n, i| (wide(a, i) + n - wide(b, i)) % n);
        check!(q, neg_assign, [x]; |i| |n, i| (n - wide(a, i)) % n);
        check!(q, mul, [x], a, b; |i| |n, i| wide(a, i) * wide(b, i) % n);
        check!(q, mul_assign, [x], b; |i| |n, i| wide(a, i) * wide(b, i) % n);
        let x = c.clone();
        check!(q, mul_add_assign, [x], a, b; |i| |n, i| (wide(c, i) + wide(a, i) * wide(b, i)) % n);
    }
}

#[test]
fn scalar_kernels_agree_with_wide_integers() {
    for q in primes(13) {
        let [a, b, c, _] = &samples(q);
        for scalar in [0, 1, 2, q.value() / 2, q.value() / 2 + 1, q.value() - 1] {
            let s = u128::from(scalar);
            let x = a.clone();
            check!(q, mul_scalar_assign, [x], scalar; |i| |n, i| wide(a, i) * s % n);
            check!(q, add_scalar_assign, [x], scalar; |i| |n, i| (wide(a, i) + s) % n);
            check!(q, sub_mul_scalar_assign, [x], b, scalar; |i| |n, i| (wide(a, i) + n - wide(b, i)) * s % n);
            let x = a.clone();
            check!(q, mul_scalar_sub_assign, [x], b, scalar; |i| |n, i| (wide(b, i) + n - wide(a, i)) * s % n);
            let x = c.clone();
            check!(q, mul_scalar_add_assign, [x], a, scalar; |i| |n, i| (wide(c, i) + wide(a, i) * s) % n);
        }
    }
}

#[test]
fn sums_of_many_products_are_exact() {
    for q in primes(13) {
        let [a, b, c, d] = &samples(q);
        for count in [0, 1, 6, 7, 8, 15, 16, 33] {
            let some = [(a, [b, c]), (c, [d, a]), (d, [c, c]), (c, [c, d]), (b, [d, b])];
            let some = some.into_iter().cycle().take(count);
            let terms: Vec<(&[u64], [&[u64]; 2])> = some.map(|(x, y)| (&**x, y.map(|y| &**y))).collect();
            let starts = [c, d];
            let [mut fast, mut slow] = [(); 2].map(|()| starts.map(Clone::clone));
            super::mul_add_many(q, fast.each_mut().map(|x| &mut x[..]), &terms);
            portable::mul_add_many(q, slow.each_mut().map(|x| &mut x[..]), &terms);
            assert_eq!(fast, slow, "{count} terms, q {}", q.value());
            for (h, (found, start)) in fast.iter().zip(starts).enumerate() {
                for i in 0..1203 {
                    let sum = terms.iter().fold(wide(start, i), |sum, (x, y)| sum + wide(x, i) * wide(y[h], i));
                    assert_eq!(wide(found, i), sum % u128::from(q.value()));
                }
            }
        }
    }
}

#[test]
fn tensor_products_are_those_of_linear_polynomials() {
    for q in primes(13) {
        let [a0, a1, b0, b1] = &samples(q);
        let zero = || [(); 3].map(|()| vec![7; 1203]);
        let (mut fast, mut slow) = (zero(), zero());
        super::tensor_product(q, fast.each_mut().map(|x| &mut x[..]), [a0, a1], [b0, b1]);
        portable::tensor_product(q, slow.each_mut().map(|x| &mut x[..]), [a0, a1], [b0, b1]);
        assert_eq!(fast, slow);
        let n = u128::from(q.value());
        for i in 0..1203 {
            let [x0, x1, y0, y1] = [a0, a1, b0, b1].map(|x| wide(x, i));
            let expected = [x0 * y0 % n, (x0 * y1 + x1 * y0) % n, x1 * y1 % n];
            assert_eq!(fast.each_ref().map(|d| wide(d, i)), expected);
        }
        super::tensor_product(q, fast.each_mut().map(|x| &mut x[..]), [a0, a1], [a0, a1]);
        super::tensor_square(q, slow.each_mut().map(|x| &mut x[..]), [a0, a1]);
        assert_eq!(fast, slow);
        portable::tensor_square(q, slow.each_mut().map(|x| &mut x[..]), [a0, a1]);
        assert_eq!(fast, slow);
    }
}

#[test]
fn centred_lifts_keep_the_sign() {
    for q_in in primes(13) {
        for q_out in primes(13) {
            for x in samples(q_in) {
                let (mut fast, mut slow) = (vec![0; x.len()], vec![0; x.len()]);
                super::reduce_centered(&mut fast, q_out, &x, q_in);
                portable::reduce_centered(&mut slow, q_out, &x, q_in);
                assert_eq!(fast, slow);
                for (&y, &x) in fast.iter().zip(&x) {
                    let signed = if x > q_in.value() / 2 { x as i64 - q_in.value() as i64 } else { x as i64 };
                    assert_eq!(y as i64, signed.rem_euclid(q_out.value() as i64));
                }
            }
        }
    }
}
