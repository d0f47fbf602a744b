//! One function for each way of spelling an ONNX operator in tensor operations, and one table of them.

mod constant;
mod elementwise;
mod linear;
mod pool;
mod reduce;
mod select;
mod shape;
mod window;

use hec_ir::Value;
use hec_ir::tensor::{Binary, Reduction, Unary, Unsupported};
use onnx_protobuf::NodeProto;

use crate::ImportError;
use crate::call::{Call, Problem};
use crate::model::is_own;
use crate::scope::Scope;

/// The values of a node's results, in order. Those that it does not compute may be left out at the end.
type Results = Result<Vec<Value>, Problem>;

/// How an operator is spelled.
type Importer = fn(&mut Call<'_>) -> Results;

/// Domain (empty for ONNX's own), operator, and how it is spelled.
const OPERATORS: &[(&str, &str, Importer)] = &[
    ("", "Abs", |call| elementwise::unary(call, Unary::Abs)),
    ("", "Add", |call| elementwise::binary(call, Binary::Add)),
    ("", "AveragePool", pool::average),
    ("", "BatchNormalization", linear::batch_normalization),
    ("", "Cast", constant::cast),
    ("", "CastLike", constant::cast_like),
    ("", "Clip", elementwise::clip),
    ("", "Concat", select::concat),
    ("", "Constant", constant::constant),
    ("", "ConstantOfShape", constant::constant_of_shape),
    ("", "Conv", linear::conv),
    ("", "Div", |call| elementwise::binary(call, Binary::Div)),
    ("", "Dropout", constant::dropout),
    ("", "Equal", |call| elementwise::binary(call, Binary::Equal)),
    ("", "Exp", |call| elementwise::unary(call, Unary::Exp)),
    ("", "Expand", shape::expand),
    ("", "Flatten", shape::flatten),
    ("", "Gather", select::gather),
    ("", "Gemm", linear::gemm),
    ("", "GlobalAveragePool", |call| pool::global(call, Reduction::Mean)),
    ("", "GlobalMaxPool", |call| pool::global(call, Reduction::Max)),
    ("", "Greater", |call| elementwise::binary(call, Binary::Greater)),
    ("", "Identity", constant::identity),
    ("", "LeakyRelu", elementwise::leaky_relu),
    ("", "Less", |call| elementwise::binary(call, Binary::Less)),
    ("", "Log", |call| elementwise::unary(call, Unary::Log)),
    ("", "MatMul", linear::matmul),
    ("", "Max", |call| elementwise::chain(call, Binary::Max)),
    ("", "MaxPool", pool::max),
    ("", "Mean", elementwise::mean),
    ("", "Min", |call| elementwise::chain(call, Binary::Min)),
    ("", "Mul", |call| elementwise::binary(call, Binary::Mul)),
    ("", "Neg", |call| elementwise::unary(call, Unary::Neg)),
    ("", "Pad", select::pad),
    ("", "Pow", |call| elementwise::binary(call, Binary::Pow)),
    ("", "Range", constant::range),
    ("", "Reciprocal", |call| elementwise::unary(call, Unary::Reciprocal)),
    ("", "ReduceMax", |call| reduce::reduce(call, Reduction::Max, 18)),
    ("", "ReduceMean", |call| reduce::reduce(call, Reduction::Mean, 18)),
    ("", "ReduceSum", |call| reduce::reduce(call, Reduction::Sum, 13)),
    ("", "ReduceSumSquare", reduce::sum_of_squares),
    ("", "Relu", |call| elementwise::unary(call, Unary::Relu)),
    ("", "Reshape", shape::reshape),
    ("", "Shape", shape::shape),
    ("", "Sigmoid", |call| elementwise::unary(call, Unary::Sigmoid)),
    ("", "Slice", select::slice),
    ("", "Softmax", reduce::softmax),
    ("", "Split", select::split),
    ("", "Sqrt", |call| elementwise::unary(call, Unary::Sqrt)),
    ("", "Squeeze", shape::squeeze),
    ("", "Sub", |call| elementwise::binary(call, Binary::Sub)),
    ("", "Sum", |call| elementwise::chain(call, Binary::Add)),
    ("", "Tanh", |call| elementwise::unary(call, Unary::Tanh)),
    ("", "Transpose", shape::transpose),
    ("", "Unsqueeze", shape::unsqueeze),
    ("", "Where", elementwise::choose),
];

/// Domain (empty for ONNX's own) and name of every operator that can be imported, in alphabetical order.
pub fn supported_operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS.iter().map(|(domain, operator, _)| (*domain, *operator))
}

/// What a node is called: its name, or its operator and position if it has none.
pub(crate) fn label(node: &NodeProto, index: usize) -> String {
    if node.name.is_empty() { format!("{}_{index}", node.op_type) } else { node.name.clone() }
}

/// Spells one node.
pub(crate) fn import_node(node: &NodeProto, index: usize, opset: i64, scope: &mut Scope) -> Result<(), ImportError> {
    let label = label(node, index);
    scope.set_origin(&label);
    let operand = |name: &String| match name.as_str() {
        "" => Ok(None),
        name => scope.value(name, &label).map(Some),
    };
    let operands: Vec<Option<Value>> = node.input.iter().map(operand).collect::<Result<_, _>>()?;
    let domain = if is_own(&node.domain) { "" } else { &node.domain };
    let operator = if domain.is_empty() { node.op_type.clone() } else { format!("{domain}.{}", node.op_type) };

    let mut call = Call::new(node, opset, operands.clone(), scope);
    let known = OPERATORS.iter().find(|(of, name, _)| *of == domain && *name == node.op_type);
    let results = match known {
        Some((_, _, importer)) => importer(&mut call).and_then(|values| call.finish().map(|()| values)),
        None if Call::has_subgraphs(node) => Err(Problem::Unsupported(
            "it chooses or repeats graphs within it; only straight graphs are supported".to_owned(),
        )),
        None => Err(Problem::Unsupported("this version does not know the operator".to_owned())),
    };
    let (values, reason) = match results {
        Ok(values) => (values, None),
        Err(Problem::Unsupported(reason)) => (Vec::new(), Some(reason)),
        Err(Problem::Follows) => (Vec::new(), Some(Unsupported::FOLLOWS.to_owned())),
        Err(Problem::Invalid(reason)) => return Err(ImportError::Node { node: label, operator, reason }),
        Err(Problem::Import(error)) => return Err(error),
        Err(Problem::Graph(cause)) => return Err(ImportError::Operands { cause, hint: hint(scope) }),
    };
    let operands: Vec<Value> = operands.into_iter().flatten().collect();
    for (result, name) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let value = match values.get(result) {
            Some(value) => *value,
            None => {
                let reason = reason.clone().unwrap_or_else(|| format!("its result {result} is not supported"));
                let op = Unsupported { operator: operator.clone(), reason, result };
                scope.push(op, &operands).map_err(|cause| ImportError::Operands { cause, hint: String::new() })?
            }
        };
        scope.name(name, value);
    }
    Ok(())
}

fn hint(scope: &Scope) -> String {
    scope.exported_batch().map_or(String::new(), |batch| {
        format!(
            "; the model was exported for batches of {batch} and is read with a batch of 1: if that is the cause, \
             export it with a batch of 1 or an open one"
        )
    })
}
