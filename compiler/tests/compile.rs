//! Whole compilations, checked as text and as numbers.

mod common;

use hec_compiler::{Options, compile};

#[test]
fn cryptonets_is_squashed_and_managed() {
    let model = common::cryptonets();
    let compiled = compile(&model, &Options::default()).expect("compiles");
    println!("{}\n{}\n{}\n{}", compiled.tensor, compiled.slots, compiled.program.circuit(), compiled.decisions);
}
