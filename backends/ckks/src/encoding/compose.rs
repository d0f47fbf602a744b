use crate::arithmetic::Modulus;
use crate::kernels;
use crate::poly::Poly;

/// The integers with these residues, between -Q/2 and Q/2, as f64. Overwrites the residues.
///
/// Garner's algorithm with centred digits: `x = d_0 + q_0 (d_1 + q_1 (d_2 + ..))` with `|d_i| < q_i / 2`, which is unique
/// since all primes are odd. Each digit is exact, and the sum is evaluated from the top in f64. Because the digits are
/// centred, the partial sum of digits `i..` is at least half its leading term in absolute value: nothing cancels, each of
/// the steps loses at most a few units in the last place, and a number that is small beside Q has zeros as upper digits
/// and costs no precision at all.
pub(super) fn to_f64(chain: &[Modulus], poly: &mut Poly) -> Vec<f64> {
    let mut reduced = vec![0; poly.degree_bound()];
    for (i, &q) in chain.iter().enumerate() {
        let (digit, rest) = poly.split_after(i);
        for (limb, &p) in rest.zip(&chain[i + 1..]) {
            kernels::reduce_centered(&mut reduced, p, digit, q);
            kernels::sub_mul_scalar_assign(p, limb, &reduced, p.inv(p.reduce(q.value())));
        }
    }
    let mut sum = vec![0.0; reduced.len()];
    for (digit, &q) in poly.iter().zip(chain).rev() {
        let factor = q.value() as f64;
        sum.iter_mut().zip(digit).for_each(|(sum, &d)| *sum = *sum * factor + q.centered(d) as f64);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use hec_ir::parameters::PrimeSearch;
    use num_bigint::BigInt;
    use num_traits::ToPrimitive;

    #[test]
    fn composed_values_keep_fifty_bits() {
        let mut search = PrimeSearch::new(4);
        let chain: Vec<Modulus> =
            [50, 40, 30, 50, 50, 45].iter().map(|&b| Modulus::new(search.take(b).unwrap())).collect();
        let q: BigInt = chain.iter().map(|q| BigInt::from(q.value())).product();
        let half: BigInt = &q / 2;
        let mut values = vec![BigInt::from(0), half.clone(), -half.clone(), BigInt::from(1), BigInt::from(-1)];
        for i in 0..59u32 {
            values.push((&half >> (4 * i)) * if i % 2 == 0 { 1 } else { -1 } + i);
        }
        let mut poly = Poly::zero(64, chain.len());
        for (limb, q) in poly.iter_mut().zip(&chain) {
            for (x, v) in limb.iter_mut().zip(&values) {
                let modulus = BigInt::from(q.value());
                *x = (((v % &modulus) + &modulus) % &modulus).to_u64().unwrap();
            }
        }
        for (found, wanted) in to_f64(&chain, &mut poly).iter().zip(&values) {
            let wanted = wanted.to_f64().unwrap();
            assert!((found - wanted).abs() <= 50f64.exp2().recip() * wanted.abs(), "{found} {wanted}");
        }
    }
}
