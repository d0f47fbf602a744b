use hec_ir::graph::GraphError;

/// Why bytes could not be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The bytes have not the form of a model.
    #[error("not an ONNX model: {reason} at byte {offset}")]
    Bytes {
        /// What is wrong.
        reason: String,
        /// Where.
        offset: usize,
    },
    /// The bytes have the form, but not the contents.
    #[error("not an ONNX model: {reason}")]
    Model {
        /// What is wrong.
        reason: String,
    },
    /// The version of the operator set is missing or out of range.
    #[error("{reason}")]
    Opset {
        /// What was expected and found, and what to do.
        reason: String,
    },
    /// A graph input that cannot be.
    #[error("input \"{input}\": {reason}")]
    Input {
        /// Its name.
        input: String,
        /// What was expected and found, and what to do.
        reason: String,
    },
    /// A constant that cannot be read.
    #[error("tensor \"{tensor}\": {reason}")]
    Tensor {
        /// Its name.
        tensor: String,
        /// What was expected and found, and what to do.
        reason: String,
    },
    /// A name that stands for two values.
    #[error("{second} has the name \"{value}\", which already names {first}: names must be unique")]
    Duplicate {
        /// The name.
        value: String,
        /// What had it first.
        first: String,
        /// What has it too.
        second: String,
    },
    /// A name that stands for nothing.
    #[error("{user} needs \"{value}\", which no input, initializer or node provides")]
    Missing {
        /// The name.
        value: String,
        /// What needs it.
        user: String,
    },
    /// A node that stands before one that it needs, or needs itself.
    #[error(
        "{user} needs \"{value}\", but {producer} that computes it does not stand before: nodes must be in order, without cycles"
    )]
    Order {
        /// The name.
        value: String,
        /// What needs it.
        user: String,
        /// What computes it.
        producer: String,
    },
    /// A node that breaks ONNX's rules.
    #[error("node \"{node}\" ({operator}): {reason}")]
    Node {
        /// Its name, or its operator and position.
        node: String,
        /// Its operator.
        operator: String,
        /// What was expected and found.
        reason: String,
    },
    /// A node whose operands do not fit.
    #[error("{cause}{hint}")]
    Operands {
        /// The node, what was expected and found.
        cause: GraphError,
        /// What to do, if that is known.
        hint: String,
    },
}
