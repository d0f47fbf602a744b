//! The file of evaluation keys.
//!
//! It begins as [`preamble`](crate::preamble) says. Its own fields are 32 random bytes, the number of sets of relinearization keys (u32,
//! 0 or 1) and of rotation keys (u32). After the preamble comes each of these with its length (u64) before it, in the engine's format:
//! seeded, and with a checksum of its own. Numbers are little-endian. The BLAKE3 digest of the whole file is the *fingerprint of the
//! key*: the secret key's file and all ciphertexts carry it, and a server finds the keys by it. The random bytes make it another for each
//! key, even where a program needs no evaluation keys at all.

use std::io::{self, Read, Write};

use hec_ckks::adapter::EvaluationKeys;
use hec_ckks::{Context, GaloisKey, RelinearizationKeys};
use hec_ir::parameters::Parameters;

use crate::error::FormatError;
use crate::fingerprint::{Fingerprint, Hashing};
use crate::preamble::EVALUATION;
use crate::read::{bounded, take};

/// Random bytes in the header.
const NONCE: usize = 32;

/// Writes `keys`, with what is stated about their security, and returns their fingerprint.
///
/// # Errors
/// If the writer refuses, there is no randomness, the statement is too long, or the keys are not of these parameters.
pub fn write(
    context: &Context,
    keys: &EvaluationKeys,
    statement: &str,
    out: impl Write,
) -> Result<Fingerprint, FormatError> {
    let mut out = Hashing::new(out);
    let counts = [u32::from(keys.relinearization.is_some()), keys.rotations.len() as u32];
    let mut fields = [0; NONCE + 8];
    getrandom::fill(&mut fields[..NONCE]).map_err(|error| io::Error::other(error.to_string()))?;
    fields[NONCE..].copy_from_slice(counts.map(u32::to_le_bytes).as_flattened());
    out.write_all(&EVALUATION.bytes(context.parameters(), &fields, statement)?)?;
    let mut part = |bytes: Vec<u8>| {
        out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        out.write_all(&bytes)
    };
    if let Some(keys) = &keys.relinearization {
        part(keys.to_bytes(context).map_err(io::Error::other)?)?;
    }
    for key in keys.rotations.iter() {
        part(key.to_bytes(context).map_err(io::Error::other)?)?;
    }
    out.flush()?;
    Ok(out.fingerprint())
}

/// Reads keys, one after the other, and their fingerprint.
///
/// # Errors
/// [`FormatError`]: damaged, a secret key, of other parameters, or more than keys.
pub fn read(context: &Context, from: impl Read) -> Result<(EvaluationKeys, Fingerprint), FormatError> {
    let mut from = Hashing::new(from);
    let (fields, preamble) = EVALUATION.read(&mut from)?;
    preamble.check(context.parameters())?;
    let mut counts = &fields[NONCE..];
    let [relinearization, rotations] = [take(&mut counts)?, take(&mut counts)?].map(u32::from_le_bytes);
    if relinearization > 1 {
        return Err(FormatError::damaged("at most one set of relinearization keys", relinearization));
    }
    let limit = part_limit(context.parameters());
    let mut part = |what: &str| -> Result<Vec<u8>, FormatError> {
        let length = u64::from_le_bytes(take(&mut from)?);
        bounded(&mut from, what, length, limit)
    };
    let mut keys = EvaluationKeys::default();
    let value = |what: &str| {
        let what = what.to_owned();
        move |cause| FormatError::Value { what, cause }
    };
    if relinearization == 1 {
        let bytes = part("a set of relinearization keys")?;
        let read = RelinearizationKeys::from_bytes(context, &bytes).map_err(value("relinearization keys"))?;
        keys.relinearization = Some(read);
    }
    for _ in 0..rotations {
        let bytes = part("a rotation key")?;
        keys.rotations.insert(GaloisKey::from_bytes(context, &bytes).map_err(value("rotation key"))?);
    }
    if from.read(&mut [0])? != 0 {
        return Err(FormatError::damaged("the end of the file", "more bytes"));
    }
    let fingerprint = from.fingerprint();
    Ok((keys, fingerprint))
}

/// No key of these parameters takes more bytes: up to three polynomials for each digit, residues of up to 50 bits.
fn part_limit(parameters: &Parameters) -> u64 {
    let limbs = (parameters.moduli().len() + parameters.special_primes().len()) as u64;
    (1 << 16) + 3 * 7 * limbs * limbs * parameters.ring_degree() as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what fails here fails the test")]
mod tests {
    use hec_ckks::adapter::CkksClient;
    use hec_ir::ckks::{KeyNeeds, Relinearization};
    use hec_ir::parameters::{Literal, PrimeSearch, RingType, Security};

    use super::*;

    fn client(first: u32) -> CkksClient {
        let mut search = PrimeSearch::new(4);
        let mut take = |bits| search.take(bits).unwrap();
        let (ring_type, security) = (RingType::Standard, Security::Bits128);
        let literal = Literal {
            ring_type,
            log_n: 4,
            moduli: vec![take(first), take(25)],
            special_primes: vec![take(32)],
            security,
        };
        CkksClient::generate(&Parameters::insecure_for_tests(literal).unwrap()).unwrap()
    }

    #[test]
    fn written_and_read() {
        let own = client(30);
        let relinearization = Some(Relinearization { level: 1, degree: 3 });
        let some = KeyNeeds { relinearization, rotations: [(0, 1), (1, 1), (3, 0)].into() };
        for needs in [some, KeyNeeds::default()] {
            let mut file = Vec::new();
            let made = own.evaluation_keys(&needs).unwrap();
            let written = write(own.context(), &made, "stated", &mut file).unwrap();
            let (keys, fingerprint) = read(own.context(), &*file).unwrap();
            keys.serve(own.context(), &needs).unwrap();
            assert_eq!((keys.rotations.len(), fingerprint), (made.rotations.len(), written));
            assert_eq!(fingerprint.0, *blake3::hash(&file).as_bytes());
            assert_eq!(EVALUATION.read(&mut &*file).unwrap().1.statement, "stated");
            assert!(matches!(read(client(31).context(), &*file), Err(FormatError::Parameters { .. })));
            for end in [EVALUATION.header() - 1, EVALUATION.header() + 5, file.len() - 1] {
                assert!(matches!(read(own.context(), &file[..end]), Err(FormatError::Damaged { .. })), "{end}");
            }
            file.push(0);
            assert!(matches!(read(own.context(), &*file), Err(FormatError::Damaged { .. })));
        }
        let long = "x".repeat(crate::preamble::LONGEST);
        let nowhere = write(own.context(), &EvaluationKeys::default(), &long, std::io::sink());
        assert!(matches!(nowhere, Err(FormatError::Preamble(_))));
    }
}
