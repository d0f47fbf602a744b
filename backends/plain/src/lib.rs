//! The reference backend: tensor graphs with ONNX meaning, and compiled programs in the clear.
