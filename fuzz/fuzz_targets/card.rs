//! Model cards, and values as their preprocessing changes them.
#![no_main]

use std::path::Path;

use hec_fuzz::data::Card;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(card) = Card::parse(text, Path::new("models/card.json")) else { return };
    let summary = card.summary();
    let again = Card::parse(&summary, Path::new("")).expect("a card's summary is a card");
    assert!(again.summary() == summary);
});
