use std::collections::BTreeSet;

use super::{MAX_PRIME_BITS, Ring};

/// Whether `n` is prime: Miller-Rabin with the first twelve primes as bases, which decides every 64-bit number
/// (Sorenson and Webster, "Strong pseudoprimes to twelve prime bases", 2015).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    if let Some(&p) = BASES.iter().find(|&&p| n.is_multiple_of(p)) {
        return n == p;
    }
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    BASES.iter().all(|&base| {
        let mut x = pow_mod(base, odd, n);
        if x == 1 || x == n - 1 {
            return true;
        }
        for _ in 1..twos {
            x = mul_mod(x, x, n);
            if x == n - 1 {
                return true;
            }
        }
        false
    })
}

fn mul_mod(a: u64, b: u64, n: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(n)) as u64
}

fn pow_mod(mut base: u64, mut exponent: u64, n: u64) -> u64 {
    let mut result = 1;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = mul_mod(result, base, n);
        }
        base = mul_mod(base, base, n);
        exponent >>= 1;
    }
    result
}

/// Primes that are 1 modulo the ring's order, closest to `2^bits` and below `2^50`, nearest first. Deterministic.
pub fn ntt_primes(ring: Ring, bits: f64) -> impl Iterator<Item = u64> {
    let step = ring.order();
    let limit = 1u64 << MAX_PRIME_BITS;
    let target = bits.exp2();
    let centre = (target as u64) / step * step + 1;
    let mut below = Some(centre);
    let mut above = centre.checked_add(step);
    std::iter::from_fn(move || {
        loop {
            above = above.filter(|&q| q < limit);
            let candidate = match (below, above) {
                (None, None) => return None,
                (Some(b), Some(a)) if (target - b as f64) <= (a as f64 - target) => take_below(&mut below, b, step),
                (Some(b), None) => take_below(&mut below, b, step),
                (_, Some(a)) => {
                    above = a.checked_add(step);
                    a
                }
            };
            if candidate < limit && is_prime(candidate) {
                return Some(candidate);
            }
        }
    })
}

fn take_below(below: &mut Option<u64>, value: u64, step: u64) -> u64 {
    *below = value.checked_sub(step);
    value
}

/// Hands out distinct primes for one ring.
#[derive(Clone, Debug)]
pub struct PrimeSearch {
    ring: Ring,
    used: BTreeSet<u64>,
}

impl PrimeSearch {
    /// A search for primes of the standard ring of degree `2^log_n`: `= 1 mod 2N`.
    pub fn new(log_n: u32) -> Self {
        Self::for_ring(Ring::standard(log_n))
    }

    /// A search for primes of `ring`: 1 modulo its order.
    pub fn for_ring(ring: Ring) -> Self {
        Self { ring, used: BTreeSet::new() }
    }

    /// The unused prime below `2^bits` that is closest to it; `None` if there is none above `2^(bits - 1)`.
    pub fn take(&mut self, bits: u32) -> Option<u64> {
        let ceiling = 1u64.checked_shl(bits)?;
        self.take_where(f64::from(bits), |q| q < ceiling && q > ceiling / 2)
    }

    /// The unused prime that is closest to `2^bits`, within half a bit.
    pub fn take_near(&mut self, bits: f64) -> Option<u64> {
        self.take_where(bits, |q| ((q as f64).log2() - bits).abs() < 0.5)
    }

    fn take_where(&mut self, bits: f64, accept: impl Fn(u64) -> bool) -> Option<u64> {
        let in_reach = |q: &u64| ((*q as f64).log2() - bits).abs() <= 1.0;
        let found = ntt_primes(self.ring, bits).take_while(in_reach).find(|&q| accept(q) && !self.used.contains(&q))?;
        self.used.insert(found);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primality_agrees_with_trial_division() {
        for n in 0..20_000u64 {
            let naive = n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0);
            assert_eq!(is_prime(n), naive, "{n}");
        }
        assert!(
            is_prime((1 << 61) - 1) && !is_prime(3_825_123_056_546_413_051) && is_prime(18_446_744_073_709_551_557)
        );
    }

    #[test]
    fn nearest_primes_come_first_and_fit_the_ring() {
        let found: Vec<u64> = ntt_primes(Ring::standard(13), 40.0).take(20).collect();
        let away = |q: &u64| ((1u64 << 40) as i64 - *q as i64).abs();
        assert!(found.windows(2).all(|w| away(&w[0]) <= away(&w[1])));
        assert!(found.iter().all(|q| q % (1 << 14) == 1 && is_prime(*q)));
    }

    #[test]
    fn a_search_never_repeats_and_ends() {
        let mut search = PrimeSearch::new(12);
        let all: Vec<u64> = std::iter::from_fn(|| search.take(20)).collect();
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
        let every = (1u64 << 19..1 << 20).filter(|q| q % (1 << 13) == 1 && is_prime(*q)).count();
        assert_eq!(all.len(), every);
    }
}
