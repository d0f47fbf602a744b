//! Byte formats: round trips, damage, and bytes made to harm.

use hec_ir::parameters::RingType;
use proptest::prelude::*;

use super::*;
use crate::{Automorphism, Ciphertext, GaloisKey, GaloisKeys, KeySwitchKey, PublicKey, ReadError, evaluate};

struct Samples {
    context: Context,
    keys: RelinearizationKeys,
    ciphertexts: Vec<Ciphertext>,
    /// Name, bytes, and what reads such bytes and writes them again.
    all: Vec<(&'static str, Vec<u8>, Reader)>,
}

type Reader = fn(&Context, &[u8]) -> Result<Vec<u8>, ReadError>;

macro_rules! reader {
    ($type:ty) => {
        |context, bytes| <$type>::from_bytes(context, bytes).map(|value| value.to_bytes(context).unwrap().to_vec())
    };
}

fn samples(ring: Ring) -> Samples {
    let context = context_of(ring, &[30, 25, 28], &[31, 33]);
    let (secret, keys) = keys(&context, 1);
    let mut randomness = randomness(2);
    let public = PublicKey::generate(&context, &secret, &mut randomness).unwrap();
    let other = SecretKey::generate(&context, &mut randomness);
    let switch = KeySwitchKey::generate(&context, &other, &secret, 1, &mut randomness).unwrap();
    let plaintext = context.encode(&values(ring.slots(), 1), 2, &bits(20)).unwrap();
    let seeded = secret.encrypt(&context, &plaintext, &mut randomness).unwrap();
    let full = public.encrypt(&context, &plaintext, &mut randomness).unwrap();
    let square = evaluate::rescale(&context, &evaluate::square(&context, &full).unwrap()).unwrap();
    let low = evaluate::drop_level(&context, &seeded, 0).unwrap();
    let ciphertexts = vec![seeded, full, square, low];
    let mut all: Vec<(&'static str, Vec<u8>, Reader)> = Vec::new();
    for a in &ciphertexts {
        let bytes = a.to_bytes(&context).unwrap();
        assert_eq!(bytes.len(), a.serialized_len(&context).unwrap());
        assert!(Ciphertext::from_bytes(&context, &bytes).unwrap() == *a);
        all.push(("ciphertext", bytes, reader!(Ciphertext)));
    }
    // The seed takes 34 bytes, the polynomial that it stands for 168.
    assert_eq!(all[1].1.len() - all[0].1.len(), 169 - 34);
    let bytes = public.to_bytes(&context).unwrap();
    assert_eq!(bytes.len(), public.serialized_len(&context).unwrap());
    all.push(("public key", bytes, reader!(PublicKey)));
    let bytes = switch.to_bytes(&context).unwrap();
    assert_eq!(bytes.len(), switch.serialized_len(&context).unwrap());
    all.push(("key-switching key", bytes, reader!(KeySwitchKey)));
    let bytes = keys.to_bytes(&context).unwrap();
    assert_eq!(bytes.len(), keys.serialized_len(&context).unwrap());
    all.push(("relinearization keys", bytes, reader!(RelinearizationKeys)));
    let other = match ring.ring_type {
        RingType::Standard => Automorphism::Conjugation,
        RingType::ConjugateInvariant => Automorphism::Rotation { steps: 2 },
    };
    let needs = [(Automorphism::Rotation { steps: 3 }, 1), (other, 0)];
    let galois = GaloisKeys::generate(&context, &secret, needs, &mut randomness).unwrap();
    let bytes = galois.to_bytes(&context).unwrap();
    assert_eq!(bytes.len(), galois.serialized_len(&context).unwrap());
    all.push(("set of Galois keys", bytes, reader!(GaloisKeys)));
    let one = galois.iter().last().unwrap();
    let bytes = one.to_bytes(&context).unwrap();
    assert_eq!(bytes.len(), one.serialized_len(&context).unwrap());
    all.push(("Galois key", bytes, reader!(GaloisKey)));
    let bytes = secret.to_bytes(&context).unwrap().to_vec();
    assert_eq!(bytes.len(), secret.serialized_len(&context).unwrap());
    all.push(("secret key", bytes, reader!(SecretKey)));
    Samples { context, keys, ciphertexts, all }
}

#[test]
fn every_format_round_trips_and_every_kind_refuses_the_others() {
    for ring in rings(4) {
        let samples = samples(ring);
        for (name, bytes, read) in &samples.all {
            assert_eq!(&read(&samples.context, bytes).unwrap(), bytes, "{name}");
            for (other, _, read) in samples.all.iter().filter(|(other, ..)| other != name) {
                let error = read(&samples.context, bytes).unwrap_err();
                assert!(
                    matches!(error, ReadError::Kind { .. } | ReadError::Length { .. }),
                    "{name} as {other}: {error}"
                );
            }
            let others = context_of(ring, &[30, 25, 28], &[31, 34]);
            assert_eq!(read(&others, bytes), Err(ReadError::Parameters), "{name}");
        }
    }
}

#[test]
fn what_was_read_means_what_was_written() {
    for ring in rings(4) {
        let Samples { context, keys, ciphertexts, .. } = samples(ring);
        let read = RelinearizationKeys::from_bytes(&context, &keys.to_bytes(&context).unwrap()).unwrap();
        let product = evaluate::multiply(&context, &ciphertexts[0], &ciphertexts[1]).unwrap();
        let [a, b] = [&read, &keys].map(|keys| evaluate::relinearize(&context, &product, keys).unwrap());
        assert!(a == b);
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_an_error() {
    let samples = shared();
    for (name, bytes, read) in &samples.all {
        for len in 0..bytes.len() {
            assert!(read(&samples.context, &bytes[..len]).is_err(), "{name} cut to {len} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(read(&samples.context, &longer).is_err(), "{name} with a byte more");
        let mut damaged = bytes.clone();
        for bit in 0..8 * bytes.len() {
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&samples.context, &damaged).is_err(), "{name} with bit {bit} flipped");
            damaged[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// The same bytes with a length and a checksum that fit them, as an attacker would send.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let content = bytes.len() - 32;
    bytes[40..48].copy_from_slice(&((content - 48) as u64).to_le_bytes());
    let checksum = blake3::hash(&bytes[..content]);
    bytes[content..].copy_from_slice(checksum.as_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn forged_bytes_never_panic_and_neither_do_operations_on_what_they_give(
        which in 0usize..10,
        edits in prop::collection::vec((48usize..4000, any::<u8>()), 1..6),
        near in prop::collection::vec((48usize..80, any::<u8>()), 0..4),
        cut in 0usize..12,
    ) {
        let samples = shared();
        let (_, bytes, read) = &samples.all[which];
        let mut forged = bytes.clone();
        let body = 48..forged.len() - 32;
        for (at, value) in edits.into_iter().chain(near) {
            forged[body.start + (at - 48) % body.len()] = value;
        }
        forged.drain(body.start..body.start + cut.saturating_sub(6).min(body.len()));
        let forged = sealed(forged);
        let _ = read(&samples.context, &forged);
        if let Ok(a) = Ciphertext::from_bytes(&samples.context, &forged) {
            let (context, keys) = (&samples.context, &samples.keys);
            let _ = evaluate::add(context, &a, &samples.ciphertexts[0]);
            let _ = evaluate::add_constant(context, &a, 0.5);
            let _ = evaluate::multiply_constant(context, &a, 0.5, a.scale());
            let _ = evaluate::rescale(context, &a);
            let _ = evaluate::drop_level(context, &a, 0);
            let _ = evaluate::relinearize(context, &a, keys);
            let mut power = a.clone();
            while let Ok(next) = evaluate::square(context, &power) {
                power = match evaluate::relinearize(context, &next, keys) { Ok(next) => next, Err(_) => break };
            }
        }
    }
}

fn shared() -> &'static Samples {
    static SHARED: std::sync::OnceLock<Samples> = std::sync::OnceLock::new();
    SHARED.get_or_init(|| samples(Ring::standard(4)))
}
