//! The file of evaluation keys, whose parts get the checksums and parameters that they should have; and each kind of key by itself.
#![no_main]

use hec_ckks::{GaloisKey, KeySwitchKey, PublicKey, RelinearizationKeys, SecretKey};
use hec_fuzz::{engine, with_parameters, with_value_checksum};
use hec_protocol::keys;
use hec_protocol::preamble::EVALUATION;

/// The kinds of values in the engine's format.
const KIND: usize = 6;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let context = engine();
    if bytes.starts_with(b"hecC") {
        let mut file = bytes.to_vec();
        with_value_checksum(&context, &mut file);
        match file.get(KIND) {
            Some(2) => drop(PublicKey::from_bytes(&context, &file)),
            Some(3) => drop(KeySwitchKey::from_bytes(&context, &file)),
            Some(4) => drop(RelinearizationKeys::from_bytes(&context, &file)),
            Some(5) => drop(SecretKey::from_bytes(&context, &file)),
            Some(_) | None => drop(GaloisKey::from_bytes(&context, &file)),
        }
        return;
    }
    let (mut file, before) = with_parameters(EVALUATION, &context, bytes);
    let mut rest = &mut file[before..];
    while let Some((length, after)) = rest.split_first_chunk_mut::<8>() {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX).min(after.len());
        let (value, after) = after.split_at_mut(length);
        with_value_checksum(&context, value);
        rest = after;
    }
    let _ = keys::read(&context, &*file);
});
