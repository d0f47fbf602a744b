//! ONNX bytes to a tensor graph.
