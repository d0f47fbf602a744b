//! What programs and contracts say of rounds with the client.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use hec_ir::ckks::{self, Ckks, Refresh};
use hec_ir::parameters::{Literal, Parameters, PrimeSearch, Ring, RingType, Security};
use hec_ir::program::{Contract, Program, ProgramError, Round};
use hec_ir::slots::{Layout, Packed};
use hec_ir::tensor::{Binary, Element, Input, TensorGraph, TensorType, Tensors, Unary};
use hec_ir::{Builder, Scale, Value};

const LOG_N: u32 = 12;
/// Elements of each input.
const ELEMENTS: usize = 2;

fn parameters() -> Parameters {
    let ring = Ring::standard(LOG_N);
    let moduli = vec![PrimeSearch::for_ring(ring).take(40).unwrap()];
    let literal = Literal {
        ring_type: RingType::Standard,
        log_n: LOG_N,
        moduli,
        special_primes: Vec::new(),
        security: Security::Bits128,
    };
    Parameters::new(literal).unwrap()
}

fn tensor_input(b: &mut Builder<Tensors>, name: &str) -> Value {
    let ty = TensorType { element: Element::F32, shape: vec![1, ELEMENTS] };
    b.push(Input { name: name.to_owned(), ty }.into(), &[]).unwrap()
}

/// Two inputs `a` and `b`; `y = relu(a)` and `z = relu(b)`.
fn source() -> TensorGraph {
    let mut builder = Builder::<Tensors>::new(());
    for (input, output) in [("a", "y"), ("b", "z")] {
        let x = tensor_input(&mut builder, input);
        let relu = builder.push(Unary::Relu.into(), &[x]).unwrap();
        builder.output(output, relu);
    }
    builder.finish()
}

/// What the client computes of one operand: both outputs.
fn function() -> TensorGraph {
    let mut builder = Builder::<Tensors>::new(());
    let x = tensor_input(&mut builder, "x");
    let y = builder.push(Unary::Relu.into(), &[x]).unwrap();
    let z = builder.push(Binary::Add.into(), &[y, y]).unwrap();
    builder.output("y", y);
    builder.output("z", z);
    builder.finish()
}

fn batch() -> Layout {
    Layout::Batch { shape: vec![1, ELEMENTS] }
}

/// Two results of one round: the first of input `a`, the second of input number `second`.
fn program(second: usize, layout: &Layout) -> Result<Program, ProgramError> {
    let mut builder = Builder::<Ckks>::new(parameters());
    let scale = Scale::power_of_two(30);
    let inputs = ["a", "b"].map(|name| {
        let input =
            ckks::Input { name: name.to_owned(), layout: batch(), level: 0, scale: scale.clone(), public: false };
        builder.push(ckks::Op::Input(input), &[]).unwrap()
    });
    for (name, operand) in [("y", inputs[0]), ("z", inputs[second])] {
        builder.set_origin(format!("node of {name}"));
        let refresh =
            Refresh { round: 0, name: name.to_owned(), layout: layout.clone(), level: 0, scale: scale.clone() };
        let value = builder.push(ckks::Op::Refresh(refresh), &[operand]).unwrap();
        builder.output(name, value);
    }
    Program::new(source(), builder.finish())?.with_rounds(vec![Round { function: function() }])
}

/// The client is asked once for all results of a round: what it is shown must be the operands of each.
#[test]
fn results_of_a_round_have_the_same_operands() {
    let sound = program(0, &batch()).unwrap();
    assert_eq!(sound.exchanges()[0].results.len(), 2);
    let error = program(1, &batch()).unwrap_err().to_string();
    for part in ["node of z", "\"z\"", "round 0"] {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
    // The reader refuses as the builder does: it goes the same way.
    assert!(Program::from_bytes(&sound.to_bytes()).is_ok());
}

/// A batch has room in every layout, and a contract that says more is refused.
#[test]
fn a_batch_is_as_large_as_the_smallest_layout_allows() {
    const PERIOD: usize = 16;
    let slots = parameters().slots();
    let contract = program(0, &batch()).unwrap().contract();
    assert_eq!(contract.capacity(), slots);
    let packed = Layout::Packed(Arc::new(Packed::dense(&[1, ELEMENTS], PERIOD).unwrap()));
    let contract = program(0, &packed).unwrap().contract();
    assert_eq!(contract.capacity(), slots / PERIOD);
    assert!(Contract::from_bytes(&contract.to_bytes()).unwrap() == contract);
    let error = Contract::from_bytes(&with_capacity(&contract.to_bytes(), slots)).unwrap_err().to_string();
    assert!(error.contains(&format!("expected 1 to {}", slots / PERIOD)), "{error}");
}

/// The same file with another capacity (field 13, of which protobuf takes the last), and a digest that fits.
fn with_capacity(bytes: &[u8], capacity: usize) -> Vec<u8> {
    const HEADER: usize = 44;
    let mut body = bytes[HEADER..].to_vec();
    body.push(13 << 3);
    let mut number = capacity;
    while number >= 0x80 {
        body.push(number as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
    [&bytes[..12], blake3::hash(&body).as_bytes(), &body].concat()
}
