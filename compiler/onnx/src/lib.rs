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
mod external;
mod functions;
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
pub use external::{ExternalData, ReadExternal};
pub use inputs::ImportOptions;
pub use model::OPSETS;
pub use operators::operators_page;
pub use ops::supported_operators;

use hec_ir::tensor::TensorGraph;

/// Reads an ONNX model that lies in one file.
///
/// # Errors
/// [`ImportError`], if the bytes are not a model, or one that is not well formed. Operators that cannot be computed are not
/// errors, they become [`Unsupported`](hec_ir::tensor::Unsupported).
pub fn import(bytes: &[u8], options: &ImportOptions) -> Result<TensorGraph, ImportError> {
    import_with(bytes, options, &mut |data| {
        let location = &data.location;
        Err(format!(
            "its data lie in another file, \"{location}\", which cannot be read here: save the model as a single file"
        ))
    })
}

/// Reads an ONNX model; `read` fetches what lies in other files.
///
/// # Errors
/// As [`import`], and if `read` answers an error or not as many bytes as it was asked for.
pub fn import_with(bytes: &[u8], options: &ImportOptions, read: ReadExternal<'_>) -> Result<TensorGraph, ImportError> {
    wire::check(bytes)?;
    let mut model = model::parse(bytes)?;
    let opset = model::opset(&model)?;
    model::graph(&model)?;
    external::resolve(&mut model, read)?;
    let opsets = functions::expand(&mut model, opset)?;
    let graph = model::graph(&model)?;
    order::check(graph)?;

    let mut scope = scope::Scope::new();
    inputs::declare(graph, options, &mut scope)?;
    tensors::declare(graph, &mut scope)?;
    for (index, (node, opset)) in graph.node.iter().zip(opsets).enumerate() {
        ops::import_node(node, index, opset, &mut scope)?;
    }
    let wanted = |name: &String| options.outputs.as_ref().is_none_or(|outputs| outputs.contains(name));
    if let Some(missing) = options.outputs.iter().flatten().find(|name| graph.output.iter().all(|o| o.name != **name)) {
        return Err(ImportError::Missing { value: missing.clone(), user: "the list of outputs".to_owned() });
    }
    for output in graph.output.iter().filter(|output| wanted(&output.name)) {
        scope.output(&output.name)?;
    }
    Ok(scope.finish().without_dead_nodes())
}
