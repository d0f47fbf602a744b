use std::fmt;

use hec_ir::graph::{GraphError, Node, Origin, TypeError};
use hec_ir::parameters::ParameterError;
use hec_ir::program::ProgramError;
use hec_ir::tensor::{Op, Tensors};

use crate::approximate::Summary;
use crate::management::SearchError;
use crate::tile::{TileError, Unfit};

/// Why a model does not compile. Every error names the model's node where there is one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// Operations that cannot be computed on encrypted data: all of them at once.
    #[error("{} of the model's nodes cannot be computed on encrypted data:{}", nodes.len(), list(nodes))]
    Unsupported {
        /// The nodes, in order.
        nodes: Vec<Obstacle>,
    },
    /// An output does not depend on any input.
    #[error("output \"{name}\" does not depend on any input: there is nothing to compute on encrypted data")]
    ConstantOutput {
        /// The output.
        name: String,
    },
    /// A node does not fit its operands.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// No parameter set carries the model.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// Explicit parameters are refused.
    #[error("the parameters are refused: {0}")]
    Parameters(#[from] ParameterError),
    /// The compiled circuit does not match the model.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Polynomials in place of activations change too many answers.
    #[error(
        "the answers do not stay within --max-accuracy-drop: allow more, give more calibration samples, try --maxpool tournament, \
         or train again with polynomial activations\n{summary}"
    )]
    Accuracy {
        /// What was tried.
        summary: Box<Summary>,
    },
    /// The memory that the user allows is too little.
    #[error(transparent)]
    Memory(#[from] Unfit),
    /// An option's value is out of range.
    #[error("option {name}: {reason}")]
    Option {
        /// The option.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<TileError> for CompileError {
    fn from(error: TileError) -> Self {
        match error {
            TileError::Unfit(unfit) => Self::Memory(unfit),
            TileError::Graph(error) => Self::Graph(error),
        }
    }
}

impl CompileError {
    pub(crate) fn node(origin: &Origin, op: &str, cause: TypeError) -> Self {
        Self::Graph(GraphError { origin: origin.clone(), op: op.to_owned(), cause })
    }

    pub(crate) fn internal(text: &str) -> Self {
        Self::node(&Origin::from(""), "compiler", TypeError::new(text))
    }
}

/// A node that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The model's node.
    pub origin: Origin,
    /// Why, and what to do.
    pub reason: String,
}

impl Obstacle {
    /// Why an operator that is not supported stands in the way; `None` for what only follows from another.
    pub(crate) fn unsupported(node: &Node<Tensors>) -> Option<Self> {
        let Op::Unsupported(op) = node.op() else { return None };
        let reason = format!("operator {}: {}", op.operator, op.reason);
        (!op.is_consequence()).then(|| Self { origin: node.origin().clone(), reason })
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node \"{}\": {}", self.origin, self.reason)
    }
}

fn list(nodes: &[Obstacle]) -> String {
    nodes.iter().map(|node| format!("\n  {node}")).collect()
}
