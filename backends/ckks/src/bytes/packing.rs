use crate::arithmetic::Modulus;
use crate::poly::Poly;

/// Bytes of `n` residues (`n` a multiple of 8) modulo each of `moduli`.
pub(super) fn packed_len(n: usize, moduli: &[Modulus]) -> usize {
    moduli.iter().map(|q| n / 8 * q.bits() as usize).sum()
}

/// Appends the residues of `poly`, limb after limb, each with as many bits as its modulus.
pub(super) fn pack(poly: &Poly, moduli: &[Modulus]) -> Vec<u8> {
    let mut out = Vec::with_capacity(packed_len(poly.degree_bound(), moduli));
    for (limb, q) in poly.iter().zip(moduli) {
        let (mut pending, mut filled) = (0u128, 0);
        for &residue in limb {
            pending |= u128::from(residue) << filled;
            filled += q.bits();
            if filled >= 64 {
                out.extend((pending as u64).to_le_bytes());
                pending >>= 64;
                filled -= 64;
            }
        }
        out.extend(&pending.to_le_bytes()[..filled as usize / 8]);
    }
    out
}

/// The polynomial in `bytes`; `None` if their number is wrong or a residue is not below its modulus.
pub(super) fn unpack(n: usize, moduli: &[Modulus], bytes: &[u8]) -> Option<Poly> {
    if bytes.len() != packed_len(n, moduli) {
        return None;
    }
    let mut poly = Poly::zero(n, moduli.len());
    let mut rest = bytes;
    let mut largest_fits = true;
    for (limb, q) in poly.iter_mut().zip(moduli) {
        let (mut words, after) = rest.split_at(n / 8 * q.bits() as usize);
        rest = after;
        let (mut pending, mut filled) = (0u128, 0);
        let mask = (1 << q.bits()) - 1;
        for residue in limb {
            if filled < q.bits() {
                let take = words.len().min(8);
                let mut word = [0; 8];
                word[..take].copy_from_slice(&words[..take]);
                words = &words[take..];
                pending |= u128::from(u64::from_le_bytes(word)) << filled;
                filled += 64;
            }
            *residue = pending as u64 & mask;
            largest_fits &= *residue < q.value();
            pending >>= q.bits();
            filled -= q.bits();
        }
    }
    largest_fits.then_some(poly)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residues_of_every_width_round_trip_and_are_checked() {
        for n in [8, 16, 64] {
            let moduli: Vec<Modulus> =
                [17, 97, 12289, (1 << 33) - 9, (1 << 40) + 15, (1 << 50) - 27].map(Modulus::new).to_vec();
            let mut poly = Poly::zero(n, moduli.len());
            for (k, (limb, q)) in poly.iter_mut().zip(&moduli).enumerate() {
                for (i, x) in limb.iter_mut().enumerate() {
                    *x = if i % 3 == 0 { q.value() - 1 } else { (i * 999_983 + k) as u64 * 7_777_777_777 % q.value() };
                }
            }
            let bytes = pack(&poly, &moduli);
            assert_eq!(bytes.len(), packed_len(n, &moduli));
            assert!(unpack(n, &moduli, &bytes) == Some(poly));
            assert!(unpack(n, &moduli, &bytes[1..]).is_none());
            assert!(unpack(n, &moduli, &vec![0xff; bytes.len()]).is_none());
        }
    }
}
