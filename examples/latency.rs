//! Four networks for single images, with samples: `latency FOLDER` writes `mlp`, `lola`, `cryptonets` and `lenet`, each as `NAME.onnx` with a
//! card, and 64 images to FOLDER, the same bytes each time. They are what Orion (Ebel, Garimella, Reagen, ASPLOS 2025) has in its
//! examples for MNIST, with squares as activations:
//!
//! | name | layers |
//! |---|---|
//! | `mlp` | dense 784-128-128-10 |
//! | `lola` | convolution of 5 channels, 2x2, stride 2; dense 980-100-10 |
//! | `cryptonets` | convolution of 5 channels, 5x5, stride 2, a border of 1; dense 845-100-10 |
//! | `lenet` | convolutions of 32 and 64 channels, 5x5, stride 2, a border of 2; dense 3136-512-10 |
//!
//! Weights are random, such that values before each square have mean 0 and deviation 1. Time and precision are what `hec bench` and `hec
//! run` say of them with `--layout packed`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the example")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

use common::{Onnx, Random};
use ndarray::Array4;

const SIDE: usize = 28;
const SAMPLES: usize = 64;
/// Mean square of a pixel, which is uniform between 0 and 1, and of the square of a normal value.
const PIXEL: f64 = 1.0 / 3.0;
const SQUARE: f64 = 3.0;

fn main() {
    let folder = PathBuf::from(std::env::args_os().nth(1).expect("usage: latency FOLDER"));
    std::fs::create_dir_all(&folder).unwrap();
    let convolution = |channels, size, border| Convolution { channels, size, border };
    let nets = [
        ("mlp", vec![], vec![128, 128, 10]),
        ("lola", vec![convolution(5, 2, 0)], vec![100, 10]),
        ("cryptonets", vec![convolution(5, 5, 1)], vec![100, 10]),
        ("lenet", vec![convolution(32, 5, 2), convolution(64, 5, 2)], vec![512, 10]),
    ];
    for (name, convolutions, dense) in nets {
        let mut net = Net::new();
        convolutions.iter().for_each(|layer| net.convolution(layer));
        net.flatten();
        dense.iter().enumerate().for_each(|(i, &width)| net.dense(width, i + 1 < dense.len()));
        std::fs::write(folder.join(name).with_extension("onnx"), net.model.output(&net.end).bytes()).unwrap();
        let card = format!(r#"{{"name": "{name}", "input": "images.npy", "calibration": "images.npy"}}"#);
        std::fs::write(folder.join(name).with_extension("json"), card).unwrap();
    }
    let mut random = Random(0x6a09_e667_f3bc_c908);
    let pixels = (0..SAMPLES * SIDE * SIDE).map(|_| (uniform(&mut random) + 1.0) / 2.0).collect();
    let images = Array4::from_shape_vec((SAMPLES, 1, SIDE, SIDE), pixels).unwrap();
    ndarray_npy::write_npy(folder.join("images.npy"), &images).unwrap();
}

/// Between -1 and 1.
fn uniform(random: &mut Random) -> f32 {
    (random.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// A convolution of stride 2 with a square kernel.
struct Convolution {
    channels: usize,
    size: usize,
    border: usize,
}

/// A model that grows at its end.
struct Net {
    model: Onnx,
    end: String,
    channels: usize,
    side: usize,
    /// Mean square of the values at the end.
    square: f64,
    random: Random,
    layers: usize,
}

impl Net {
    fn new() -> Self {
        let model = Onnx::new().input("image", &[1, SIDE as i64, SIDE as i64]);
        let random = Random(0x9e37_79b9_7f4a_7c15);
        Self { model, end: "image".into(), channels: 1, side: SIDE, square: PIXEL, random, layers: 0 }
    }

    /// Random weights for sums of `terms` values.
    fn weights(&mut self, count: usize, terms: usize) -> Vec<f32> {
        let deviation = (1.0 / (terms as f64 * self.square)).sqrt();
        (0..count).map(|_| (f64::from(uniform(&mut self.random)) * 3f64.sqrt() * deviation) as f32).collect()
    }

    fn convolution(&mut self, layer: &Convolution) {
        let &Convolution { channels, size, border } = layer;
        let (name, terms) = (self.name("conv"), self.channels * size * size);
        let values = self.weights(channels * terms, terms);
        let dims = [channels, self.channels, size, size].map(|d| d as i64);
        let model = std::mem::take(&mut self.model).weights(&format!("{name}.weight"), &dims, &values);
        self.model = model
            .node("Conv", &[&self.end, &format!("{name}.weight")], &name)
            .attribute("strides", &[2, 2])
            .attribute("pads", &[border as i64; 4]);
        (self.end, self.channels) = (name, channels);
        self.side = (self.side + 2 * border - size) / 2 + 1;
        self.activate();
    }

    fn flatten(&mut self) {
        self.model = std::mem::take(&mut self.model).node("Flatten", &[&self.end], "flat");
        (self.end, self.channels, self.side) = ("flat".into(), self.channels * self.side * self.side, 1);
    }

    fn dense(&mut self, width: usize, activated: bool) {
        let (name, terms) = (self.name("dense"), self.channels);
        let values = self.weights(terms * width, terms);
        let dims = [terms as i64, width as i64];
        let model = std::mem::take(&mut self.model).weights(&format!("{name}.weight"), &dims, &values);
        self.model = model.node("MatMul", &[&self.end, &format!("{name}.weight")], &name);
        (self.end, self.channels, self.square) = (name, width, 1.0);
        if activated {
            self.activate();
        }
    }

    fn activate(&mut self) {
        let name = self.name("square");
        self.model = std::mem::take(&mut self.model).node("Mul", &[&self.end, &self.end], &name);
        (self.end, self.square) = (name, SQUARE);
    }

    fn name(&mut self, kind: &str) -> String {
        self.layers += 1;
        format!("{kind}{}", self.layers)
    }
}
