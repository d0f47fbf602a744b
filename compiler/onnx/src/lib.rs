//! ONNX bytes to a tensor graph.
//!
//! [`import`] reads a model as exporters write it and spells every node in the operations of the tensor dialect
//! ([`hec_ir::tensor`]). It decides nothing: what cannot be computed becomes
//! [`Unsupported`](hec_ir::tensor::Unsupported), so that the compiler can report all of it at once. Only what is not a
//! well-formed model is an error.
//!
//! # The batch
//!
//! The graph describes one sample. The first axis of every graph input is the batch and has size 1 here, whether the
//! model leaves its size open or fixes it. A model that was exported for a fixed batch B > 1 may have B in constants: a
//! `Reshape` target that begins with B is adapted, if it fits only with 1 in its place.
//!
//! # Shapes
//!
//! Shapes are known, so `Shape` is a constant, and operations on integers that are constants are done here. Shapes,
//! axes and indices must be known in this way; floating-point constants are left for the compiler to fold, unless a
//! shape depends on them.

mod call;
mod error;
mod inputs;
mod model;
mod operators;
mod ops;
mod order;
mod scope;
mod tensors;
mod wire;

#[cfg(test)]
mod build;
#[cfg(test)]
mod tests;

pub use error::ImportError;
pub use inputs::ImportOptions;
pub use model::OPSETS;
pub use operators::operators_page;
pub use ops::supported_operators;

use hec_ir::tensor::TensorGraph;

/// Reads an ONNX model.
///
/// # Errors
/// [`ImportError`], if the bytes are not a model, or one that is not well formed. Operators that cannot be computed are not
/// errors, they become [`Unsupported`](hec_ir::tensor::Unsupported).
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<TensorGraph, ImportError> {
    wire::check(bytes)?;
    let model = model::parse(bytes)?;
    let opset = model::opset(&model)?;
    let graph = model::graph(&model)?;
    order::check(graph)?;

    let mut scope = scope::Scope::new();
    inputs::declare(graph, options, &mut scope)?;
    tensors::declare(graph, &mut scope)?;
    for (index, node) in graph.node.iter().enumerate() {
        ops::import_node(node, index, opset, &mut scope)?;
    }
    for output in &graph.output {
        scope.output(&output.name)?;
    }
    Ok(scope.finish().without_dead_nodes())
}
