//! Passes over the tensor graph: after them few kinds of operation are left.

mod fold_batch_norm;
mod fold_constants;
mod functions;
mod polynomials;
mod squash;

use hec_ir::graph::GraphError;
use hec_ir::tensor::TensorGraph;

/// A rewriting of the tensor graph that keeps its meaning.
pub struct Pass {
    /// Its name, as `hec inspect` and the report print it.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    run: fn(&TensorGraph) -> Result<TensorGraph, GraphError>,
}

impl Pass {
    /// Runs this pass alone, and removes what is dead after it.
    ///
    /// # Errors
    /// If a rewritten node does not fit its operands.
    pub fn run(&self, graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
        Ok((self.run)(graph)?.without_dead_nodes())
    }
}

/// All passes in the order in which they run.
pub const PASSES: &[Pass] = &[
    Pass { name: "fold-constants", description: "operations on constants are computed now", run: fold_constants::run },
    Pass {
        name: "recognise-polynomials",
        description: "products and powers of one value become a polynomial of it",
        run: polynomials::recognise,
    },
    Pass {
        name: "recognise-functions",
        description: "what is a function of one value, and no polynomial, becomes one node",
        run: functions::recognise,
    },
    Pass {
        name: REWRITES,
        description: "a x^2 + b x + c becomes one squaring between two affine maps",
        run: polynomials::complete_squares,
    },
    Pass {
        name: "fold-batch-norm",
        description: "scales and shifts of channels go into the convolution before them",
        run: fold_batch_norm::run,
    },
    Pass {
        name: "squash-linear-runs",
        description: "runs of linear operations become one map where that is cheaper",
        run: squash::run,
    },
];

/// Runs those passes that find out what a model computes, before any that rewrites it for encrypted arithmetic.
///
/// # Errors
/// If a rewritten node does not fit its operands.
pub fn recognise(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    let mut passes = PASSES.iter().take_while(|pass| pass.name != REWRITES);
    passes.try_fold(graph.clone(), |graph, pass| pass.run(&graph))
}

/// The first pass that rewrites for encrypted arithmetic.
const REWRITES: &str = "complete-squares";

/// Runs all passes.
///
/// # Errors
/// If a rewritten node does not fit its operands.
pub fn run(graph: &TensorGraph) -> Result<TensorGraph, GraphError> {
    PASSES.iter().try_fold(graph.clone(), |graph, pass| pass.run(&graph))
}
