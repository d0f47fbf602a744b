//! Compiles trained neural networks (ONNX) to run on encrypted data.
