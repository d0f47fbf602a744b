//! `ai.onnx.ml`: what scikit-learn's converter writes for linear models and their preprocessing.

use hec_ir::Value;
use hec_ir::tensor::{
    ArgMax, Binary, Cast, Concat, Element, MatMul, Reduce, Reduction, Softmax, Tensor, TensorType, Unary, Unsupported,
    Where,
};

use super::{Results, select};
use crate::call::{Call, Problem, invalid, unsupported};

/// The operand as floating-point numbers, and its last axis.
fn features(call: &mut Call<'_>) -> Result<(Value, TensorType, usize), Problem> {
    let mut x = call.operand(0)?;
    let ty = call.ty(x)?;
    let Some(&features) = ty.shape.last() else { return invalid(format!("expected features, found {ty}")) };
    // The results are single precision.
    if ty.element != Element::F32 {
        x = call.push(Cast { element: Element::F32 }, &[x])?;
    }
    Ok((x, ty, features))
}

fn list(call: &mut Call<'_>, values: Vec<f64>) -> Result<Value, Problem> {
    matrix(call, &[values.len()], values)
}

fn matrix(call: &mut Call<'_>, shape: &[usize], values: Vec<f64>) -> Result<Value, Problem> {
    let tensor = Tensor::from_values(Element::F32, shape, values).map_err(|e| Problem::Invalid(e.0))?;
    crate::tensors::finite(&tensor).map_err(Problem::Invalid)?;
    call.literal(tensor)
}

/// `(x - offset) * scale`, with one number or one for each feature.
pub(super) fn scaler(call: &mut Call<'_>) -> Results {
    let (mut x, _, features) = features(call)?;
    for (name, function) in [("offset", Binary::Sub), ("scale", Binary::Mul)] {
        let Some(values) = call.floats(name)? else { continue };
        if values.len() != 1 && values.len() != features {
            return invalid(format!("expected 1 or {features} numbers as \"{name}\", found {}", values.len()));
        }
        let values = list(call, values)?;
        x = call.push(function, &[x, values])?;
    }
    Ok(vec![x])
}

/// Divides each row by its norm, unless that is 0.
pub(super) fn normalizer(call: &mut Call<'_>) -> Results {
    let (x, ty, _) = features(call)?;
    let over = |reduction| Reduce { reduction, axes: vec![ty.shape.len() - 1], keep: true };
    let norm = match call.text("norm", "MAX")?.as_str() {
        "MAX" => call.push(over(Reduction::Max), &[x])?,
        "L1" => {
            let magnitudes = call.push(Unary::Abs, &[x])?;
            call.push(over(Reduction::Sum), &[magnitudes])?
        }
        "L2" => {
            let squares = call.push(Binary::Mul, &[x, x])?;
            let sum = call.push(over(Reduction::Sum), &[squares])?;
            call.push(Unary::Sqrt, &[sum])?
        }
        other => return invalid(format!("attribute \"norm\" cannot be {other:?}")),
    };
    let (zero, one) = (call.scalar(Element::F32, 0.0)?, call.scalar(Element::F32, 1.0)?);
    let nothing = call.push(Binary::Equal, &[norm, zero])?;
    let norm = call.push(Where, &[nothing, one, norm])?;
    Ok(vec![call.push(Binary::Div, &[x, norm])?])
}

/// `x W + b` for rows of coefficients, one for each of `rows` results.
fn linear(call: &mut Call<'_>, rows: usize) -> Result<Value, Problem> {
    let (x, _, features) = features(call)?;
    let Some(coefficients) = call.floats("coefficients")? else { return invalid("its coefficients are missing") };
    if rows.checked_mul(features) != Some(coefficients.len()) || rows == 0 {
        let found = coefficients.len();
        return invalid(format!("expected {rows} times {features} coefficients, found {found}"));
    }
    let transposed = (0..features).flat_map(|col| (0..rows).map(move |row| row * features + col));
    let weights = transposed.map(|at| coefficients[at]).collect();
    let weights = matrix(call, &[features, rows], weights)?;
    let y = call.push(MatMul, &[x, weights])?;
    let Some(intercepts) = call.floats("intercepts")? else { return Ok(y) };
    if intercepts.len() != rows {
        return invalid(format!("expected {rows} intercepts, found {}", intercepts.len()));
    }
    let intercepts = list(call, intercepts)?;
    call.push(Binary::Add, &[y, intercepts])
}

/// The functions that scores may go through.
fn transformed(call: &mut Call<'_>, scores: Value) -> Result<Value, Problem> {
    let axis = call.ty(scores)?.shape.len() - 1;
    match call.text("post_transform", "NONE")?.as_str() {
        "NONE" => Ok(scores),
        "LOGISTIC" => call.push(Unary::Sigmoid, &[scores]),
        "SOFTMAX" => call.push(Softmax { axis }, &[scores]),
        other => unsupported(format!("its post_transform is {other}; NONE, LOGISTIC and SOFTMAX are supported")),
    }
}

pub(super) fn linear_regressor(call: &mut Call<'_>) -> Results {
    let targets = call.int("targets", 1)?;
    let Ok(targets) = usize::try_from(targets) else { return invalid(format!("there cannot be {targets} targets")) };
    let scores = linear(call, targets)?;
    Ok(vec![transformed(call, scores)?])
}

/// The label of the largest score, and the scores. One row of coefficients for two classes gives the second one's score.
pub(super) fn linear_classifier(call: &mut Call<'_>) -> Results {
    call.ignore(&["multi_class"]);
    let labels = call.ints("classlabels_ints")?;
    let names = call.texts("classlabels_strings")?;
    let classes = labels.as_ref().map_or(names, Vec::len);
    let rows = call.floats("intercepts")?.map_or(classes, |intercepts| intercepts.len());
    if classes == 0 || rows != classes && (rows, classes) != (1, 2) {
        return invalid(format!("{rows} rows of coefficients do not fit {classes} classes"));
    }
    let scores = linear(call, rows)?;
    let last = call.ty(scores)?.shape.len() - 1;
    let single = rows < classes;
    let (chosen, scores) = if single {
        let zero = call.scalar(Element::F32, 0.0)?;
        let positive = call.push(Binary::Greater, &[scores, zero])?;
        let chosen = call.push(Reduce { reduction: Reduction::Max, axes: vec![last], keep: false }, &[positive])?;
        let chosen = call.push(Cast { element: Element::I64 }, &[chosen])?;
        // There is nothing that the only score could be compared with.
        let alone = call.text("post_transform", "NONE")? == "SOFTMAX";
        let second = if alone { scores } else { transformed(call, scores)? };
        let one = call.scalar(Element::F32, 1.0)?;
        let first = call.push(Binary::Sub, &[one, second])?;
        (chosen, call.push(Concat { axis: last }, &[first, second])?)
    } else {
        let chosen = call.push(ArgMax { axis: last, keep: false, last: false }, &[scores])?;
        (chosen, transformed(call, scores)?)
    };
    let label = match labels {
        Some(labels) if labels.iter().copied().eq(0..classes as i64) => chosen,
        Some(labels) => {
            let labels = labels.iter().map(|&label| label as f64).collect();
            let labels = Tensor::from_values(Element::I64, &[classes], labels).map_err(|e| Problem::Invalid(e.0))?;
            let labels = call.literal(labels)?;
            select::looked_up(call, labels, chosen, 0)?
        }
        None => {
            let reason = "its labels are text: leave this output out, and name the largest of the scores afterwards";
            let operator = "ai.onnx.ml.LinearClassifier".to_owned();
            call.push(Unsupported { operator, reason: reason.to_owned(), result: 0 }, &[chosen])?
        }
    };
    Ok(vec![label, scores])
}

/// Elements of the last axis by indices, which may depend on the input. The result has a first axis, even where the
/// operand has only one.
pub(super) fn array_feature_extractor(call: &mut Call<'_>) -> Results {
    let (x, mut indices) = (call.operand(0)?, call.operand(1)?);
    let ty = call.ty(x)?;
    let Some(last) = ty.shape.len().checked_sub(1) else { return invalid(format!("expected features, found {ty}")) };
    let count = call.ty(indices)?.elements();
    indices = call.push(hec_ir::tensor::Reshape { shape: vec![count] }, &[indices])?;
    let y = select::looked_up(call, x, indices, last)?;
    if last > 0 {
        return Ok(vec![y]);
    }
    Ok(vec![call.push(hec_ir::tensor::Reshape { shape: vec![1, count] }, &[y])?])
}

/// Its maps from labels to scores are the scores, in the order of the labels.
pub(super) fn zip_map(call: &mut Call<'_>) -> Results {
    call.ignore(&["classlabels_int64s", "classlabels_strings"]);
    Ok(vec![call.operand(0)?])
}

#[cfg(test)]
mod tests {
    use onnx_protobuf::attribute_proto::AttributeType;

    use crate::build::Model;

    fn node(op: &str, results: &[&str]) -> Model {
        let model = Model::new(17).input("x", &["n", "2"]).node(op, &["x"], results);
        model.last(|node| node.domain = "ai.onnx.ml".into())
    }

    fn floats(model: Model, name: &str, values: &[f32]) -> Model {
        model.attribute(name, AttributeType::FLOATS, |a| a.floats = values.to_vec())
    }

    #[test]
    fn scaler() {
        let model = floats(node("Scaler", &["y"]), "offset", &[1.0, 2.0]);
        assert_eq!(floats(model.clone(), "scale", &[0.5]).run(&[3.0, 6.0]), [1.0, 2.0]);
        insta::assert_snapshot!(floats(model.clone(), "scale", &[0.5; 3]).error(), @r#"node "Scaler_0" (ai.onnx.ml.Scaler): expected 1 or 2 numbers as "scale", found 3"#);
        insta::assert_snapshot!(floats(model, "scale", &[f32::NAN]).error(), @r#"node "Scaler_0" (ai.onnx.ml.Scaler): the element at [0] is NaN; expected finite numbers: check that the training converged"#);
    }

    #[test]
    fn normalizer() {
        let norm = |norm: &str, x: &[f64]| node("Normalizer", &["y"]).text("norm", norm).run(x);
        assert_eq!(norm("L1", &[-3.0, 1.0]), [-0.75, 0.25]);
        assert_eq!(norm("L2", &[-3.0, 4.0]), [-0.6, 0.8]);
        assert_eq!(norm("MAX", &[1.0, 4.0]), [0.25, 1.0]);
        assert_eq!(norm("L2", &[0.0, 0.0]), [0.0, 0.0]);
        insta::assert_snapshot!(node("Normalizer", &["y"]).text("norm", "L3").error(), @r#"node "Normalizer_0" (ai.onnx.ml.Normalizer): attribute "norm" cannot be "L3""#);
    }

    #[test]
    fn regressor() {
        let model = floats(node("LinearRegressor", &["y"]), "coefficients", &[1.0, 2.0, 3.0, 4.0]);
        let model = floats(model, "intercepts", &[0.5, -0.5]);
        assert_eq!(model.clone().int("targets", 2).run(&[1.0, 10.0]), [21.5, 42.5]);
        insta::assert_snapshot!(model.clone().int("targets", 3).error(), @r#"node "LinearRegressor_0" (ai.onnx.ml.LinearRegressor): expected 3 times 2 coefficients, found 4"#);
        insta::assert_snapshot!(model.int("targets", 2).text("post_transform", "PROBIT").unsupported(), @"LinearRegressor_0 (ai.onnx.ml.LinearRegressor, result 0): its post_transform is PROBIT; NONE, LOGISTIC and SOFTMAX are supported");
    }

    #[test]
    fn classifier() {
        let model = |labels: &[i64]| {
            let model = floats(node("LinearClassifier", &["y", "scores"]), "coefficients", &[1.0, 2.0, 3.0, -4.0]);
            floats(model, "intercepts", &[0.0, 1.0]).ints("classlabels_ints", labels)
        };
        assert_eq!((model(&[0, 1]).run(&[1.0, 1.0]), model(&[7, -5]).run(&[1.0, -1.0])), (vec![0.0], vec![-5.0]));
        assert_eq!(model(&[0, 1]).output("scores").run(&[1.0, 1.0]), [3.0, 0.0]);
        insta::assert_snapshot!(model(&[0, 1, 2]).error(), @r#"node "LinearClassifier_0" (ai.onnx.ml.LinearClassifier): 2 rows of coefficients do not fit 3 classes"#);
        let single = floats(node("LinearClassifier", &["y", "scores"]), "coefficients", &[1.0, -1.0]);
        let single =
            floats(single, "intercepts", &[0.0]).ints("classlabels_ints", &[3, 4]).text("post_transform", "LOGISTIC");
        assert_eq!((single.run(&[1.0, 2.0]), single.run(&[2.0, 1.0])), (vec![3.0], vec![4.0]));
        assert_eq!(single.output("scores").run(&[1.0, 1.0]), [0.5, 0.5]);
        let named = floats(node("LinearClassifier", &["y", "scores"]), "coefficients", &[1.0, 2.0, 3.0, -4.0]);
        let names = vec![b"a".to_vec(), b"b".to_vec()];
        let named = named.attribute("classlabels_strings", AttributeType::STRINGS, |a| a.strings = names);
        insta::assert_snapshot!(named.unsupported(), @"LinearClassifier_0 (ai.onnx.ml.LinearClassifier, result 0): its labels are text: leave this output out, and name the largest of the scores afterwards");
        assert_eq!(named.output("scores").run(&[1.0, 1.0]), [3.0, -1.0]);
    }

    #[test]
    fn features_by_index() {
        let model = Model::new(17).input("x", &["n", "2"]).integers("i", &[3], &[1, 0, 1]);
        let model =
            model.node("ArrayFeatureExtractor", &["x", "i"], &["y"]).last(|node| node.domain = "ai.onnx.ml".into());
        assert_eq!((model.run(&[5.0, 6.0]), model.shape()), (vec![6.0, 5.0, 6.0], vec![1, 3]));
        let classes = Model::new(17).typed_input("x", 7, &["n"]).floats("c", &[2], &[5.0, 6.0]);
        let classes =
            classes.node("ArrayFeatureExtractor", &["c", "x"], &["y"]).last(|node| node.domain = "ai.onnx.ml".into());
        assert_eq!((classes.run(&[1.0]), classes.shape()), (vec![6.0], vec![1, 1]));
    }
}
