//! The secret key's file, with the checksum and the parameters that its preamble and its value should have.
#![no_main]

use hec_client::{ClientError, Key};
use hec_fuzz::{Scratch, engine, with_parameters, with_value_checksum};
use hec_protocol::preamble::SECRET;
use zeroize::Zeroizing;

/// What a file may ask of Argon2 is bounded by a gibibyte and a minute: too slow here, and no concern of the reader.
fn make_cheap(costs: &mut [u8]) {
    for (cost, most) in costs.chunks_exact_mut(4).zip([64_u32, 2, 4]) {
        if let Ok(word) = <[u8; 4]>::try_from(&*cost) {
            let asked = u32::from_le_bytes(word);
            if asked < 1 << 21 {
                cost.copy_from_slice(&(asked % most).to_le_bytes());
            }
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let context = engine();
    let (mut file, before) = with_parameters(SECRET, &context, bytes);
    match file[before..].split_first_mut() {
        Some((0, value)) => with_value_checksum(&context, value),
        Some((_, settings)) if settings.len() >= 12 => make_cheap(&mut settings[..12]),
        Some(_) | None => {}
    }
    let scratch = Scratch::private("heckey", &file);
    let passphrase = || Ok(Zeroizing::new("passphrase".to_owned()));
    let _ = Key::read::<ClientError>(scratch.path(), context.parameters(), passphrase);
});
