//! One function for each way of spelling an ONNX operator in tensor operations, and one table of them.

mod activation;
mod constant;
mod conv_transpose;
mod elementwise;
mod linear;
mod logic;
mod ml;
mod normalize;
mod pad;
mod pool;
mod reduce;
mod resize;
mod select;
mod shape;
mod space;
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

/// What an operator takes where its operands are encrypted, in the words of `docs/operators.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sums with known weights.
    Linear,
    /// Elements go to other places.
    Moves,
    /// Products of values.
    Product,
    /// A function of each element that is not a polynomial, perhaps beside sums and products.
    Function,
    /// Comparisons of values.
    Choice,
    /// Computed during the import.
    Known,
}

/// An operator: its domain (empty for ONNX's own) and name, how it is spelled, what it takes, and what to know about it.
type Operator = (&'static str, &'static str, Importer, Kind, &'static str);

/// In alphabetical order.
#[rustfmt::skip]
pub(crate) const OPERATORS: &[Operator] = &[
    ("", "Abs", |call| elementwise::unary(call, Unary::Abs), Kind::Function, ""),
    ("", "Add", |call| elementwise::binary(call, Binary::Add), Kind::Linear, ""),
    ("", "And", |call| elementwise::binary(call, Binary::Min), Kind::Choice, ""),
    ("", "ArgMax", |call| select::position(call, false), Kind::Choice, ""),
    ("", "ArgMin", |call| select::position(call, true), Kind::Choice, ""),
    ("", "AveragePool", pool::average, Kind::Linear, ""),
    ("", "BatchNormalization", linear::batch_normalization, Kind::Linear, "with the statistics of training (inference)"),
    ("", "Cast", constant::cast, Kind::Moves, "between floating-point types, integers and truth values; values are not rounded to narrower floats"),
    ("", "CastLike", constant::cast_like, Kind::Moves, "as Cast"),
    ("", "Ceil", |call| elementwise::unary(call, Unary::Ceil), Kind::Function, ""),
    ("", "Celu", activation::celu, Kind::Function, ""),
    ("", "Clip", activation::clip, Kind::Function, ""),
    ("", "Concat", select::concat, Kind::Moves, ""),
    ("", "Constant", constant::constant, Kind::Known, "not text, not sparse"),
    ("", "ConstantOfShape", constant::constant_of_shape, Kind::Known, "the shape must be known"),
    ("", "Conv", linear::conv, Kind::Linear, "1-D, 2-D, 3-D, ..; groups, dilation, auto_pad"),
    ("", "ConvTranspose", conv_transpose::conv_transpose, Kind::Linear, "1-D, 2-D, 3-D, ..; groups, dilation, output_padding, output_shape, auto_pad"),
    ("", "Cos", |call| elementwise::unary(call, Unary::Cos), Kind::Function, ""),
    ("", "CumSum", reduce::cumulative_sum, Kind::Linear, "the axis must be known"),
    ("", "DepthToSpace", space::depth_to_space, Kind::Moves, ""),
    ("", "Div", |call| elementwise::binary(call, Binary::Div), Kind::Function, "linear if the divisor is a constant"),
    ("", "Dropout", constant::dropout, Kind::Moves, "does nothing (inference)"),
    ("", "Elu", activation::elu, Kind::Function, ""),
    ("", "Equal", |call| elementwise::binary(call, Binary::Equal), Kind::Choice, ""),
    ("", "Erf", |call| elementwise::unary(call, Unary::Erf), Kind::Function, ""),
    ("", "Exp", |call| elementwise::unary(call, Unary::Exp), Kind::Function, ""),
    ("", "Expand", shape::expand, Kind::Moves, "the shape must be known"),
    ("", "Flatten", shape::flatten, Kind::Moves, ""),
    ("", "Floor", |call| elementwise::unary(call, Unary::Floor), Kind::Function, ""),
    ("", "Gather", select::gather, Kind::Moves, "indices may depend on the input (then a product with a matrix of zeros and ones)"),
    ("", "Gelu", activation::gelu, Kind::Function, "exact and tanh"),
    ("", "Gemm", linear::gemm, Kind::Linear, ""),
    ("", "GlobalAveragePool", |call| pool::global(call, Reduction::Mean), Kind::Linear, ""),
    ("", "GlobalMaxPool", |call| pool::global(call, Reduction::Max), Kind::Choice, ""),
    ("", "Greater", |call| elementwise::binary(call, Binary::Greater), Kind::Choice, ""),
    ("", "GreaterOrEqual", |call| logic::opposite(call, Binary::Less), Kind::Choice, ""),
    ("", "GroupNormalization", normalize::group, Kind::Function, ""),
    ("", "HardSigmoid", activation::hard_sigmoid, Kind::Function, ""),
    ("", "HardSwish", activation::hard_swish, Kind::Function, ""),
    ("", "Identity", constant::identity, Kind::Moves, ""),
    ("", "InstanceNormalization", normalize::instance, Kind::Function, ""),
    ("", "LayerNormalization", normalize::layer, Kind::Function, ""),
    ("", "LeakyRelu", activation::leaky_relu, Kind::Function, ""),
    ("", "Less", |call| elementwise::binary(call, Binary::Less), Kind::Choice, ""),
    ("", "LessOrEqual", |call| logic::opposite(call, Binary::Greater), Kind::Choice, ""),
    ("", "Log", |call| elementwise::unary(call, Unary::Log), Kind::Function, ""),
    ("", "LogSoftmax", reduce::log_softmax, Kind::Choice, ""),
    ("", "MatMul", linear::matmul, Kind::Linear, "of two values that depend on the input: products"),
    ("", "Max", |call| elementwise::chain(call, Binary::Max), Kind::Choice, ""),
    ("", "MaxPool", pool::max, Kind::Choice, "without its second result, the positions"),
    ("", "Mean", elementwise::mean, Kind::Linear, ""),
    ("", "Min", |call| elementwise::chain(call, Binary::Min), Kind::Choice, ""),
    ("", "Mish", activation::mish, Kind::Function, ""),
    ("", "Mod", elementwise::modulo, Kind::Choice, ""),
    ("", "Mul", |call| elementwise::binary(call, Binary::Mul), Kind::Linear, "of two values that depend on the input: a product"),
    ("", "Neg", |call| elementwise::unary(call, Unary::Neg), Kind::Linear, ""),
    ("", "Not", logic::not, Kind::Choice, ""),
    ("", "Or", |call| elementwise::binary(call, Binary::Max), Kind::Choice, ""),
    ("", "PRelu", activation::p_relu, Kind::Function, ""),
    ("", "Pad", pad::pad, Kind::Moves, "all modes; the paddings must be known"),
    ("", "Pow", |call| elementwise::binary(call, Binary::Pow), Kind::Function, "a polynomial if the exponent is a known small integer"),
    ("", "Range", constant::range, Kind::Known, ""),
    ("", "Reciprocal", |call| elementwise::unary(call, Unary::Reciprocal), Kind::Function, ""),
    ("", "ReduceL1", reduce::l1, Kind::Function, ""),
    ("", "ReduceL2", reduce::l2, Kind::Function, ""),
    ("", "ReduceLogSum", reduce::log_sum, Kind::Function, ""),
    ("", "ReduceLogSumExp", reduce::log_sum_exp, Kind::Function, ""),
    ("", "ReduceMax", |call| reduce::reduce(call, Reduction::Max, 18), Kind::Choice, "not of nothing"),
    ("", "ReduceMean", |call| reduce::reduce(call, Reduction::Mean, 18), Kind::Linear, "not of nothing"),
    ("", "ReduceMin", |call| reduce::reduce(call, Reduction::Min, 18), Kind::Choice, "not of nothing"),
    ("", "ReduceProd", |call| reduce::reduce(call, Reduction::Product, 18), Kind::Product, ""),
    ("", "ReduceSum", |call| reduce::reduce(call, Reduction::Sum, 13), Kind::Linear, ""),
    ("", "ReduceSumSquare", reduce::sum_of_squares, Kind::Product, ""),
    ("", "Relu", |call| elementwise::unary(call, Unary::Relu), Kind::Function, ""),
    ("", "Reshape", shape::reshape, Kind::Moves, "the shape must be known"),
    ("", "Resize", resize::resize, Kind::Moves, "nearest, linear, cubic; not antialias, not tf_crop_and_resize"),
    ("", "Round", |call| elementwise::unary(call, Unary::Round), Kind::Function, ""),
    ("", "Selu", activation::selu, Kind::Function, ""),
    ("", "Shape", shape::shape, Kind::Known, ""),
    ("", "Sigmoid", |call| elementwise::unary(call, Unary::Sigmoid), Kind::Function, ""),
    ("", "Sign", |call| elementwise::unary(call, Unary::Sign), Kind::Function, ""),
    ("", "Sin", |call| elementwise::unary(call, Unary::Sin), Kind::Function, ""),
    ("", "Size", shape::size, Kind::Known, ""),
    ("", "Slice", select::slice, Kind::Moves, "the range must be known"),
    ("", "Softmax", reduce::softmax, Kind::Choice, ""),
    ("", "Softplus", |call| elementwise::unary(call, Unary::Softplus), Kind::Function, ""),
    ("", "Softsign", activation::softsign, Kind::Function, ""),
    ("", "SpaceToDepth", space::space_to_depth, Kind::Moves, ""),
    ("", "Split", select::split, Kind::Moves, "the parts must be known"),
    ("", "Sqrt", |call| elementwise::unary(call, Unary::Sqrt), Kind::Function, ""),
    ("", "Squeeze", shape::squeeze, Kind::Moves, ""),
    ("", "Sub", |call| elementwise::binary(call, Binary::Sub), Kind::Linear, ""),
    ("", "Sum", |call| elementwise::chain(call, Binary::Add), Kind::Linear, ""),
    ("", "Tanh", |call| elementwise::unary(call, Unary::Tanh), Kind::Function, ""),
    ("", "ThresholdedRelu", activation::thresholded_relu, Kind::Function, ""),
    ("", "Tile", space::tile, Kind::Moves, "the repeats must be known"),
    ("", "Transpose", shape::transpose, Kind::Moves, ""),
    ("", "Trilu", select::triangle, Kind::Moves, "the diagonal must be known"),
    ("", "Unsqueeze", shape::unsqueeze, Kind::Moves, ""),
    ("", "Upsample", resize::upsample, Kind::Moves, "nearest, linear"),
    ("", "Where", logic::choose, Kind::Choice, "only moves elements if the condition is known"),
    ("", "Xor", |call| logic::opposite(call, Binary::Equal), Kind::Choice, ""),
    ("ai.onnx.ml", "ArrayFeatureExtractor", ml::array_feature_extractor, Kind::Moves, "indices may depend on the input"),
    ("ai.onnx.ml", "LinearClassifier", ml::linear_classifier, Kind::Choice, "integer labels; text labels only if that output is not asked for"),
    ("ai.onnx.ml", "LinearRegressor", ml::linear_regressor, Kind::Linear, ""),
    ("ai.onnx.ml", "Normalizer", ml::normalizer, Kind::Function, ""),
    ("ai.onnx.ml", "Scaler", ml::scaler, Kind::Linear, ""),
    ("ai.onnx.ml", "ZipMap", ml::zip_map, Kind::Moves, "its result is the scores, in the order of the labels"),
];

/// Domain (empty for ONNX's own) and name of every operator that can be imported, in alphabetical order.
pub fn supported_operators() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS.iter().map(|(domain, operator, ..)| (*domain, *operator))
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
    let known = OPERATORS.iter().find(|(of, name, ..)| *of == domain && *name == node.op_type);
    let results = match known {
        Some((_, _, importer, ..)) => importer(&mut call).and_then(|values| call.finish().map(|()| values)),
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
