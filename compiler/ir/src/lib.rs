//! The intermediate representation of `hec`: one graph type, three dialects, their text, and the program file.
//!
//! # The contract
//!
//! A [`Graph<D>`](graph::Graph) is a list of nodes in static single assignment form. Each node has one result, whose
//! operands stand before it; nodes are never changed or removed, a pass rebuilds the graph
//! ([`Graph::translate`](graph::Graph::translate)). A node is only made by [`Builder::push`](graph::Builder::push), which asks
//! the dialect for the type of the result; a graph that exists is therefore well typed. Every node carries the name of
//! the ONNX node that it comes from, which stands first in every error and last in every line of text.
//!
//! | dialect | says | a value is |
//! |---|---|---|
//! | [`tensor`] | *what* is computed; no word of encryption | one tensor of one sample (a batch of one) |
//! | [`slots`] | *where* in the slots each element lies | an array of slot vectors |
//! | [`ckks`] | *at which* level, scale and degree | an array of ciphertexts |
//!
//! The types of [`ckks`] carry level, scale and degree, so a forgotten rescale does not compile.
//!
//! Lowering goes one way: `tensor -> slots -> ckks`; each arrow is one function of the compiler. This crate does no IO, reads
//! no clock and draws no randomness.

pub mod attribute;
pub mod ckks;
pub mod graph;
pub mod matrix;
pub mod parameters;
pub mod program;
mod scale;
pub mod slots;
pub mod tensor;

pub use graph::{Builder, Graph, Node, Origin, Value};
pub use program::Program;
pub use scale::Scale;
