//! What a polynomial costs on ciphertexts: depth, and products.

use std::collections::BTreeSet;

/// Levels that a polynomial of this degree takes: `ceil(log2(degree + 1))`, the product with its constants among them.
///
/// ```
/// # use hec_approximation::cost::depth;
/// assert_eq!([0, 1, 3, 4, 7, 8, 15, 27, 31].map(depth), [0, 1, 2, 3, 3, 4, 4, 5, 5]);
/// ```
pub fn depth(degree: usize) -> usize {
    (degree + 1).next_power_of_two().trailing_zeros() as usize
}

/// Products of ciphertexts that the polynomial with these Chebyshev coefficients takes at least depth, by the method of Paterson
/// and Stockmeyer ("On the number of nonscalar multiplications necessary to evaluate polynomials", SIAM J. Comput. 2, 1973)
/// in its recursive form (Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT 2021, eprint 2020/1203, section 3): split
/// at the largest power of two until few coefficients are left, at the threshold with the fewest products. Coefficients
/// that are 0 are not computed, so that odd and even polynomials take fewer.
///
/// ```
/// # use hec_approximation::cost::products;
/// assert_eq!(products(&[1.0, 1.0]), 0);
/// assert_eq!(products(&[1.0, 1.0, 1.0]), 1);
/// // T_2, and T_3 of it.
/// assert_eq!(products(&[0.0, 1.0, 0.0, 1.0]), 2);
/// ```
pub fn products(coefficients: &[f64]) -> usize {
    let degree = coefficients.iter().rposition(|&c| c != 0.0).unwrap_or(0);
    let depth = depth(degree);
    let count = |log_leaf: usize| {
        let mut needed = BTreeSet::new();
        let products = split(&coefficients[..=degree], depth, 1 << log_leaf, &mut needed);
        products + powers(needed)
    };
    if degree == 0 { 0 } else { (1..=depth).map(count).min().unwrap_or(0) }
}

/// Products to put a polynomial together from its powers, which are noted, at no more than `depth` levels.
fn split(coefficients: &[f64], depth: usize, leaf: usize, needed: &mut BTreeSet<usize>) -> usize {
    let (mut products, mut rest) = (0, coefficients.to_vec());
    loop {
        let degree = rest.iter().rposition(|&c| c != 0.0).unwrap_or(0);
        rest.truncate(degree + 1);
        // Constants take one level more than their powers.
        let exists = |(i, &c): (usize, &f64)| i == 0 || c == 0.0 || self::depth(i - 1) < depth;
        if degree == 0 || degree < leaf && rest.iter().enumerate().all(exists) {
            needed.extend(rest.iter().enumerate().skip(1).filter(|&(_, &c)| c != 0.0).map(|(i, _)| i));
            return products;
        }
        let at = (degree + 1).next_power_of_two() / 2;
        let mut quotient = rest.split_off(at);
        for (i, c) in quotient.iter_mut().enumerate().skip(1) {
            rest[at - i] -= *c;
            *c *= 2.0;
        }
        needed.insert(at);
        if quotient.len() > 1 {
            products += 1 + split(&quotient, depth.saturating_sub(1), leaf, needed);
        }
    }
}

/// Products to compute these powers and all that they are made of, by `T_(a+b) = 2 T_a T_b - T_|a-b|`.
fn powers(mut needed: BTreeSet<usize>) -> usize {
    for index in (2..=needed.last().copied().unwrap_or(0)).rev() {
        if needed.contains(&index) {
            let below = index.next_power_of_two() / 2;
            let [a, b] = if index.is_power_of_two() { [index / 2, index / 2] } else { [below - 1, index + 1 - below] };
            needed.extend([a, b, a.abs_diff(b)]);
        }
    }
    needed.range(2..).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_polynomials_take_no_more_products_than_full_ones() {
        let odd = |degree: usize| (0..=degree).map(|i| (i % 2) as f64 / (1 + i * i) as f64).collect::<Vec<_>>();
        let full = |degree: usize| (0..=degree).map(|i| 1.0 / (1 + i * i) as f64).collect::<Vec<_>>();
        assert_eq!([3, 5, 7, 15, 31].map(|d| products(&odd(d))), [2, 4, 5, 8, 12], "odd");
        assert_eq!([3, 5, 7, 15, 31].map(|d| products(&full(d))), [2, 4, 5, 8, 13], "full");
    }
}
