use std::ops::RangeInclusive;

use onnx_protobuf::{GraphProto, Message, ModelProto};

use crate::ImportError;

/// The versions of ONNX's own operator set that are read.
pub const OPSETS: RangeInclusive<i64> = 6..=23;

/// The model, from bytes that [`crate::wire::check`] has seen.
pub(crate) fn parse(bytes: &[u8]) -> Result<ModelProto, ImportError> {
    ModelProto::parse_from_bytes(bytes).map_err(|e| ImportError::Model { reason: e.to_string() })
}

/// The version of ONNX's own operator set that the model's nodes mean.
pub(crate) fn opset(model: &ModelProto) -> Result<i64, ImportError> {
    let (first, last) = (OPSETS.start(), OPSETS.end());
    let fail = |found: String| ImportError::Opset {
        reason: format!("{found}; expected one from {first} to {last}: export the model with such an opset"),
    };
    let own = |id: &&onnx_protobuf::OperatorSetIdProto| is_own(&id.domain);
    let nodes = || model.graph.iter().flat_map(|graph| &graph.node);
    match model.opset_import.iter().find(own).map(|id| id.version) {
        None if model.graph.is_none() => Err(no_graph()),
        // Nothing but other domains.
        None if !model.opset_import.is_empty() && nodes().all(|node| !is_own(&node.domain)) => Ok(*last),
        None => Err(fail("the model does not say which version of the operator set (opset_import) it uses".to_owned())),
        Some(version) if OPSETS.contains(&version) => Ok(version),
        Some(version) => Err(fail(format!("the model uses version {version} of the operator set"))),
    }
}

/// The model's graph.
pub(crate) fn graph(model: &ModelProto) -> Result<&GraphProto, ImportError> {
    let graph = model.graph.as_ref().ok_or_else(no_graph)?;
    if graph.output.is_empty() {
        return Err(ImportError::Model { reason: "its graph has no outputs".to_owned() });
    }
    Ok(graph)
}

/// Whether a domain is that of ONNX itself, which has two names.
pub(crate) fn is_own(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn no_graph() -> ImportError {
    ImportError::Model { reason: "it has no graph".to_owned() }
}
