//! The secret key's file, with the checksum and the parameters that its header and its value should have.
#![no_main]

use hec_client::{ClientError, Key};
use hec_fuzz::{SECRET_HEADER, Scratch, engine, with_value_checksum};
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
    let mut file = bytes.to_vec();
    if let Some(parameters) = file.get_mut(12..44) {
        parameters.copy_from_slice(context.parameters().fingerprint());
    }
    match file.get(SECRET_HEADER - 1) {
        Some(0) => with_value_checksum(&context, &mut file[SECRET_HEADER..]),
        Some(_) if file.len() >= SECRET_HEADER + 12 => make_cheap(&mut file[SECRET_HEADER..SECRET_HEADER + 12]),
        Some(_) | None => {}
    }
    let scratch = Scratch::private("heckey", &file);
    let passphrase = || Ok(Zeroizing::new("passphrase".to_owned()));
    let _ = Key::read::<ClientError>(scratch.path(), context.parameters(), passphrase);
});
