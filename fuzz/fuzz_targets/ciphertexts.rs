//! A file of ciphertexts, read as one is that holds batches of two values in the clear and two ciphertexts.
#![no_main]

use hec_ckks::Ciphertext;
use hec_fuzz::{SCALE_BITS, engine, with_frame_checksums, with_value_checksum};
use hec_ir::Scale;
use hec_protocol::FormatError;
use hec_protocol::ciphertexts::{Declared, Reader, largest};

fn read(context: &hec_ckks::Context, file: &[u8]) -> Result<(), FormatError> {
    let mut reader = Reader::new(file)?;
    let samples = reader.header().samples;
    let scale = Scale::power_of_two(SCALE_BITS);
    let declared = Declared { name: "x".to_owned(), length: 2, level: context.max_level(), scale, degree: 1 };
    for _ in 0..samples.min(4) {
        reader.clear(2)?;
        for index in 0..declared.length {
            declared.read(context, index, &reader.ciphertext(largest(context.parameters()))?)?;
        }
    }
    reader.finish()
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let context = engine();
    let mut file = bytes.to_vec();
    if bytes.starts_with(b"hecC") {
        with_value_checksum(&context, &mut file);
        if let Ok(ciphertext) = Ciphertext::from_bytes(&context, &file) {
            let written = ciphertext.to_bytes(&context).expect("of these parameters");
            let again = Ciphertext::from_bytes(&context, &written).expect("what is written can be read");
            assert!(again.to_bytes(&context).as_ref() == Ok(&written), "a ciphertext changed");
        }
        return;
    }
    with_frame_checksums(&context, &mut file);
    let _ = read(&context, &file);
});
