//! Programs of small models, compiled when they are needed.

use std::path::{Path, PathBuf};

use hec::{Activations, LayoutChoice, Options, Program};

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The ONNX bytes of a model in `models/`.
pub fn onnx(name: &str) -> Vec<u8> {
    let path = repository().join("models").join(name).with_extension("onnx");
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// How the models of the corpora are compiled.
pub fn options(layout: LayoutChoice, activations: Activations) -> Options {
    Options { layout, activations, input_range: (-4.0, 4.0), ..Options::default() }
}

/// The program of an ONNX model, calibrated on values that are the same in every run.
pub fn program(model: &[u8], options: &Options) -> Program {
    const SAMPLES: usize = 64;
    let graph = hec::import(model, &hec::ImportOptions::default()).expect("a model");
    let mut options = options.clone();
    for port in hec::Port::inputs_of(&graph) {
        let values = (0..SAMPLES * port.ty.elements()).map(|i| (i * 37 % 101) as f64 / 25.0 - 2.0).collect();
        options.calibration.insert(port.name, values);
    }
    hec::compile(&graph, &options).expect("a program").program
}

/// `x -> w2 f(w1 x)`, from four numbers to two, as ONNX bytes.
pub fn small(function: &str) -> Vec<u8> {
    let weights = |name: &str, rows: u64, columns: u64| {
        let raw: Vec<u8> = (0..rows * columns).flat_map(|i| ((i % 5) as f32 * 0.25 - 0.5).to_le_bytes()).collect();
        Proto::new().number(1, rows).number(1, columns).number(2, 1).bytes(8, name.as_bytes()).bytes(9, &raw)
    };
    let node = |operator: &str, operands: [&str; 2], result: &str| {
        let used = operands.iter().filter(|name| !name.is_empty());
        let node = used.fold(Proto::new(), |node, name| node.bytes(1, name.as_bytes()));
        node.bytes(2, result.as_bytes()).bytes(3, result.as_bytes()).bytes(4, operator.as_bytes())
    };
    let value = |name: &str, elements: u64| {
        let batch = Proto::new().bytes(2, b"batch");
        let shape = Proto::new().message(1, batch).message(1, Proto::new().number(1, elements));
        let tensor = Proto::new().number(1, 1).message(2, shape);
        Proto::new().bytes(1, name.as_bytes()).message(2, Proto::new().message(1, tensor))
    };
    let second = if function == "Mul" { "hidden" } else { "" };
    let graph = Proto::new()
        .message(1, node("MatMul", ["x", "w1"], "hidden"))
        .message(1, node(function, ["hidden", second], "middle"))
        .message(1, node("MatMul", ["middle", "w2"], "y"))
        .bytes(2, b"small")
        .message(5, weights("w1", 4, 3))
        .message(5, weights("w2", 3, 2))
        .message(11, value("x", 4))
        .message(12, value("y", 2));
    Proto::new().number(1, 8).message(7, graph).message(8, Proto::new().number(2, 17)).0
}

/// A protobuf message, field after field.
struct Proto(Vec<u8>);

impl Proto {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, value: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
        self
    }

    fn message(self, field: u64, value: Proto) -> Self {
        self.bytes(field, &value.0)
    }
}
