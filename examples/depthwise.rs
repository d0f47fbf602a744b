//! A depthwise-separable network with MobileNet's channels on small images, with samples: `depthwise FOLDER [SIZE [SQUARES]]` writes
//! `depthwise.onnx`, its card and 2048 images of 3 x SIZE x SIZE (default 8) to FOLDER, the same bytes each time.
//!
//! The layers, channels and strides are those of MobileNet v1 (Howard and others, 2017, table 1) up to the classifier, which has
//! ten classes. Weights are random; each convolution is followed by a batch norm over the first samples, folded into its
//! weights and bias, so that values stay as bounded as in a trained network. Activations are squares, after SQUARES
//! (default 6) of the 13 pointwise convolutions; none follow the first convolution and the depthwise ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the example")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::{Onnx, Random};
use hec::SampleBatch;
use ndarray::Array4;

/// Output channels and stride of each depthwise and pointwise pair.
const PAIRS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];
/// Output channels of the first convolution, which has stride 2.
const FIRST: usize = 32;
const CLASSES: usize = 10;
const SAMPLES: usize = 2048;
/// Mean and deviation of what a batch norm gives, where no activation follows.
const LINEAR: [f64; 2] = [0.0, 1.0];
/// The same before a square, which is then 1 + z / 2 + z^2 / 16 of a normal z: squares of z itself, one after the other, make the
/// largest of thousands of values larger and larger.
const SQUARED: [f64; 2] = [1.0, 0.25];
/// Samples that the batch norms see.
const NORMALISED: usize = 256;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().expect("usage: depthwise FOLDER [SIZE [SQUARES]]"));
    let mut number = |default| arguments.next().map_or(default, |text| text.to_str().unwrap().parse().unwrap());
    let (size, squares) = (number(8usize), number(6));

    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let values: Vec<f32> = (0..SAMPLES * 3 * size * size).map(|_| uniform(&mut random)).collect();
    let samples = values[..NORMALISED * 3 * size * size].iter().map(|&x| f64::from(x)).collect();
    let mut net = Net::new(size, samples, random);
    net.convolution("conv", FIRST, Kernel { size: 3, stride: 2, depthwise: false }, LINEAR);
    for (i, (channels, stride)) in (1..).zip(PAIRS) {
        let squared = i * squares / PAIRS.len() > (i - 1) * squares / PAIRS.len();
        let moments = if squared { SQUARED } else { LINEAR };
        net.convolution(&format!("depthwise{i}"), net.channels, Kernel { size: 3, stride, depthwise: true }, LINEAR);
        net.convolution(&format!("pointwise{i}"), channels, Kernel { size: 1, stride: 1, depthwise: false }, moments);
        if squared {
            net.square(&format!("square{i}"));
        }
    }
    let model = net.classify();

    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("depthwise.onnx"), model.bytes()).unwrap();
    let images = Array4::from_shape_vec((SAMPLES, 3, size, size), values).unwrap();
    ndarray_npy::write_npy(folder.join("depthwise.npy"), &images).unwrap();
    let card = r#"{"name": "depthwise", "input": "depthwise.npy", "calibration": "depthwise.npy"}"#;
    std::fs::write(folder.join("depthwise.json"), card).unwrap();
}

/// Between -1 and 1.
fn uniform(random: &mut Random) -> f32 {
    (random.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

struct Kernel {
    size: usize,
    stride: usize,
    depthwise: bool,
}

/// A model that grows at its end, and the values that the samples have there.
struct Net {
    model: Onnx,
    end: String,
    channels: usize,
    /// Side of the image.
    side: usize,
    samples: Vec<f64>,
    random: Random,
}

impl Net {
    fn new(side: usize, samples: Vec<f64>, random: Random) -> Self {
        let model = Onnx::new().input("image", &[3, side as i64, side as i64]);
        Self { model, end: "image".into(), channels: 3, side, samples, random }
    }

    /// A convolution whose outputs have this mean and deviation in each channel.
    fn convolution(&mut self, name: &str, channels: usize, kernel: Kernel, [mean, deviation]: [f64; 2]) {
        let group = if kernel.depthwise { self.channels } else { 1 };
        let inputs = self.channels / group;
        let each = inputs * kernel.size * kernel.size;
        let mut weights: Vec<f32> = (0..channels * each).map(|_| uniform(&mut self.random)).collect();
        let dims = [channels, inputs, kernel.size, kernel.size].map(|d| d as i64);
        let (stride, pad) = (kernel.stride as i64, (kernel.size / 2) as i64);
        let convolution = |model: Onnx, from: &str, weights: &[f32], bias: &[f32]| {
            let (w, b) = (format!("{name}.weight"), format!("{name}.bias"));
            let model = model.weights(&w, &dims, weights).weights(&b, &[channels as i64], bias);
            model
                .node("Conv", &[from, &w, &b], name)
                .attribute("group", &[group as i64])
                .attribute("strides", &[stride, stride])
                .attribute("pads", &[pad; 4])
        };
        // The layer alone, on the samples: their moments are those of the batch norm.
        let layer = |weights: &[f32], bias: &[f32]| {
            let side = self.side as i64;
            let input = Onnx::new().input("x", &[self.channels as i64, side, side]);
            evaluate(&convolution(input, "x", weights, bias).output(name), "x", &self.samples)
        };
        let outputs = layer(&weights, &vec![0.0; channels]);
        let side = self.side.div_ceil(kernel.stride);
        let mut bias = vec![0.0; channels];
        for channel in 0..channels {
            let of_channel = || outputs.chunks(side * side).skip(channel).step_by(channels).flatten();
            let count = (NORMALISED * side * side) as f64;
            let found = of_channel().sum::<f64>() / count;
            let factor = deviation / (of_channel().map(|y| (y - found).powi(2)).sum::<f64>() / count).sqrt();
            weights[channel * each..][..each].iter_mut().for_each(|w| *w = (f64::from(*w) * factor) as f32);
            bias[channel] = (mean - found * factor) as f32;
        }
        self.samples = layer(&weights, &bias);
        self.model = convolution(std::mem::take(&mut self.model), &self.end, &weights, &bias);
        (self.end, self.channels, self.side) = (name.into(), channels, side);
    }

    fn square(&mut self, name: &str) {
        self.model = std::mem::take(&mut self.model).node("Mul", &[&self.end, &self.end], name);
        self.samples.iter_mut().for_each(|x| *x *= *x);
        self.end = name.into();
    }

    /// The mean of each channel, and a dense layer.
    fn classify(mut self) -> Onnx {
        let scale = (3.0 / self.channels as f32).sqrt();
        let weights: Vec<f32> = (0..self.channels * CLASSES).map(|_| scale * uniform(&mut self.random)).collect();
        self.model
            .weights("dense.weight", &[self.channels as i64, CLASSES as i64], &weights)
            .node("GlobalAveragePool", &[&self.end], "mean")
            .node("Flatten", &["mean"], "flat")
            .node("MatMul", &["flat", "dense.weight"], "classes")
            .output("classes")
    }
}

/// What the model makes of the samples.
fn evaluate(model: &Onnx, input: &str, samples: &[f64]) -> Vec<f64> {
    let graph = hec::import(&model.bytes(), &hec::ImportOptions::default()).unwrap();
    let batch = SampleBatch { values: samples.to_vec(), samples: NORMALISED };
    let outcome = hec::evaluate_samples(&graph, &BTreeMap::from([(input.to_owned(), batch)]), &hec::Silent).unwrap();
    outcome.outputs.into_values().next().unwrap()
}
