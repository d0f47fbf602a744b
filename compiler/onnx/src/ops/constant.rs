use hec_ir::tensor::{Cast, Element, Expand, Reshape, Tensor};
use onnx_protobuf::tensor_proto::DataType;
use protobuf::Enum;

use super::Results;
use crate::ImportError;
use crate::call::{Call, Problem, invalid, sizes, unsupported};
use crate::tensors;

pub(super) fn constant(call: &mut Call<'_>) -> Results {
    let name = call.result_name();
    if let Some(proto) = call.tensor("value")? {
        if proto.data_type == DataType::STRING.value() {
            return unsupported("its value is text");
        }
        let tensor = tensors::tensor(proto, name).map_err(Problem::Import)?;
        return Ok(vec![call.literal(tensor)?]);
    }
    let (element, shape, values) = if let Some(values) = call.floats("value_floats")? {
        (Element::F32, vec![values.len()], values)
    } else if let Some(values) = call.ints("value_ints")? {
        (Element::I64, vec![values.len()], values.iter().map(|&v| v as f64).collect())
    } else if call.has_attribute("value_float") {
        (Element::F32, vec![], vec![call.float("value_float", 0.0)?])
    } else if call.has_attribute("value_int") {
        (Element::I64, vec![], vec![call.int("value_int", 0)? as f64])
    } else {
        // Text or sparse, which is reported as an attribute that is not supported.
        call.finish()?;
        return invalid("it has no value");
    };
    let tensor = Tensor::from_values(element, &shape, values).map_err(|e| Problem::Invalid(e.0))?;
    let fail = |reason| Problem::Import(ImportError::Tensor { tensor: name.to_owned(), reason });
    tensors::finite(&tensor).map_err(fail)?;
    Ok(vec![call.literal(tensor)?])
}

/// A number, repeated.
pub(super) fn constant_of_shape(call: &mut Call<'_>) -> Results {
    let Some(shape) = call.integers(0, "shape")? else { return invalid("its shape is missing") };
    let shape = sizes(&shape, "shape")?;
    let mut value = match call.tensor("value")? {
        Some(proto) => {
            let tensor = tensors::tensor(proto, call.origin()).map_err(Problem::Import)?;
            if tensor.values().len() != 1 {
                return invalid(format!("expected a single number as its value, found {}", tensor.ty()));
            }
            call.literal(tensor)?
        }
        None => call.scalar(Element::F32, 0.0)?,
    };
    if !call.ty(value)?.shape.is_empty() {
        value = call.push(Reshape { shape: vec![] }, &[value])?;
    }
    if shape.is_empty() {
        return Ok(vec![value]);
    }
    Ok(vec![call.push(Expand { shape }, &[value])?])
}

pub(super) fn range(call: &mut Call<'_>) -> Results {
    let mut bounds = [0.0; 3];
    for (index, (bound, what)) in bounds.iter_mut().zip(["start", "limit", "delta"]).enumerate() {
        let Some(number) = call.number(index, what)? else { return invalid(format!("its {what} is missing")) };
        *bound = number;
    }
    let [start, limit, delta] = bounds;
    if delta == 0.0 {
        return invalid("its delta is 0");
    }
    let count = ((limit - start) / delta).ceil().max(0.0);
    call.spend(count as usize)?;
    let element = call.element(call.operand(0)?);
    let values: Vec<f64> = (0..count as usize).map(|i| start + i as f64 * delta).collect();
    let tensor = Tensor::from_values(element, &[values.len()], values).map_err(|e| Problem::Invalid(e.0))?;
    Ok(vec![call.literal(tensor)?])
}

pub(super) fn cast(call: &mut Call<'_>) -> Results {
    call.ignore(&["saturate", "round_mode"]);
    let to = call.required_int("to")?;
    let element = i32::try_from(to).map_err(|e| e.to_string()).and_then(tensors::element);
    cast_to(call, element.map_err(Problem::Unsupported)?)
}

pub(super) fn cast_like(call: &mut Call<'_>) -> Results {
    call.ignore(&["saturate", "round_mode"]);
    let element = call.ty(call.operand(1)?)?.element;
    cast_to(call, element)
}

/// Nothing, if the elements are of that type already.
fn cast_to(call: &mut Call<'_>, element: Element) -> Results {
    let x = call.operand(0)?;
    if call.ty(x)?.element == element {
        return Ok(vec![x]);
    }
    Ok(vec![call.push(Cast { element }, &[x])?])
}

pub(super) fn identity(call: &mut Call<'_>) -> Results {
    Ok(vec![call.operand(0)?])
}

/// Drops nothing in inference.
pub(super) fn dropout(call: &mut Call<'_>) -> Results {
    call.ignore(&["ratio", "seed", "is_test"]);
    let training = call.opset() >= 12 && call.number(2, "training_mode")?.is_some_and(|mode| mode != 0.0);
    if training {
        return unsupported("it drops elements at random, as in training: call model.eval() before the export");
    }
    let x = call.operand(0)?;
    if !call.names_result(1) {
        return Ok(vec![x]);
    }
    let kept = call.scalar(Element::Bool, 1.0)?;
    let shape = call.ty(x)?.shape;
    Ok(vec![x, call.push(Expand { shape }, &[kept])?])
}

#[cfg(test)]
mod tests {
    use crate::build::{Model, tensor};

    fn model(opset: i64) -> Model {
        Model::new(opset).input("x", &["n", "2"])
    }

    #[test]
    fn constants_in_every_form() {
        let node = || model(13).node("Constant", &[], &["y"]);
        let value = tensor("", 1, &[2], &[1.5_f32.to_le_bytes(), 2.5_f32.to_le_bytes()].concat());
        assert_eq!(node().tensor("value", value).run(&[0.0; 2]), [1.5, 2.5]);
        assert_eq!(node().float("value_float", 1.5).run(&[0.0; 2]), [1.5]);
        assert_eq!(node().int("value_int", 3).shape(), []);
        assert_eq!(node().ints("value_ints", &[3, 4]).run(&[0.0; 2]), [3.0, 4.0]);
        insta::assert_snapshot!(node().text("value_string", "a").unsupported(), @r#"Constant_0 (Constant, result 0): its attribute "value_string" is not supported"#);
        insta::assert_snapshot!(node().error(), @r#"node "Constant_0" (Constant): it has no value"#);
        insta::assert_snapshot!(node().float("value_float", f32::NAN).error(), @r#"tensor "y": the element at [] is NaN; expected finite numbers: check that the training converged"#);
    }

    #[test]
    fn constant_of_shape_and_range() {
        let model = model(13).integers("two", &[1], &[2]).integers("a", &[], &[7]).integers("b", &[], &[-2]);
        let filled = model.clone().node("ConstantOfShape", &["two"], &["y"]);
        assert_eq!(filled.clone().run(&[0.0; 2]), [0.0, 0.0]);
        let three = tensor("", 7, &[1], &3_i64.to_le_bytes());
        assert_eq!(filled.tensor("value", three).run(&[0.0; 2]), [3.0, 3.0]);
        let range = |operands: [&str; 3]| model.clone().node("Range", &operands, &["y"]);
        assert_eq!(range(["a", "b", "b"]).run(&[0.0; 2]), [7.0, 5.0, 3.0, 1.0, -1.0]);
        assert_eq!(range(["b", "a", "a"]).run(&[0.0; 2]), [-2.0, 5.0]);
        assert_eq!(range(["a", "b", "a"]).shape(), [0]);
    }

    #[test]
    fn huge_constants_are_not_written_out() {
        let huge = Model::new(13).integers("s", &[2], &[1 << 15, 1 << 15]).node("ConstantOfShape", &["s"], &["y"]);
        assert_eq!(huge.shape(), [1 << 15, 1 << 15]);
        let value = tensor("", 7, &[1], &3_i64.to_le_bytes());
        assert_eq!(huge.tensor("value", value).shape(), [1 << 15, 1 << 15]);
        let too_huge = Model::new(13).integers("s", &[2], &[1 << 40, 1 << 40]).node("ConstantOfShape", &["s"], &["y"]);
        insta::assert_snapshot!(too_huge.error(), @r#"node "ConstantOfShape_0" (expand): a tensor of shape [1099511627776, 1099511627776] is too large"#);
        let range = Model::new(13).integers("a", &[], &[0]).integers("b", &[], &[i64::MAX]).integers("c", &[], &[1]);
        insta::assert_snapshot!(range.node("Range", &["a", "b", "c"], &["y"]).unsupported(), @"Range_0 (Range, result 0): it needs 9223372036854775808 elements that are known; that is too many");
    }

    #[test]
    fn casts() {
        let cast = |to: i64| model(13).node("Cast", &["x"], &["y"]).int("to", to);
        assert_eq!(cast(7).run(&[-1.5, 2.5]), [-1.0, 2.0]);
        assert_eq!(cast(9).run(&[0.0, 2.5]), [0.0, 1.0]);
        assert_eq!(cast(10).run(&[0.25, 2.5]), [0.25, 2.5]);
        insta::assert_snapshot!(cast(8).unsupported(), @"Cast_0 (Cast, result 0): elements of type STRING are not supported");
        let like = model(15).integers("i", &[], &[0]).node("CastLike", &["x", "i"], &["y"]);
        assert_eq!(like.run(&[-1.5, 2.5]), [-1.0, 2.0]);
    }

    #[test]
    fn what_does_nothing_in_inference() {
        assert_eq!(model(13).node("Identity", &["x"], &["y"]).run(&[1.0, 2.0]), [1.0, 2.0]);
        assert_eq!(model(7).node("Dropout", &["x"], &["y"]).float("ratio", 0.5).run(&[1.0, 2.0]), [1.0, 2.0]);
        let mask = model(13).node("Dropout", &["x"], &["z", "y"]);
        assert_eq!(mask.run(&[1.0, 2.0]), [1.0, 1.0]);
        let mode = tensor("mode", 9, &[], &[1]);
        let training = model(13).initializer(mode).node("Dropout", &["x", "", "mode"], &["y"]);
        insta::assert_snapshot!(training.unsupported(), @"Dropout_0 (Dropout, result 0): it drops elements at random, as in training: call model.eval() before the export");
    }
}
