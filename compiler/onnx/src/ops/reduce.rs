use hec_ir::Value;
use hec_ir::tensor::{Binary, Reduce, Reduction, Reshape, Softmax};

use super::Results;
use crate::call::{Call, axes, axis};

/// The axes are an attribute before opset `since`.
pub(super) fn reduce(call: &mut Call<'_>, reduction: Reduction, since: i64) -> Results {
    let x = call.operand(0)?;
    reduced(call, x, reduction, since)
}

/// The squares are taken even where no axis is summed over.
pub(super) fn sum_of_squares(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let squares = call.push(Binary::Mul, &[x, x])?;
    reduced(call, squares, Reduction::Sum, 18)
}

fn reduced(call: &mut Call<'_>, x: Value, reduction: Reduction, since: i64) -> Results {
    let ty = call.ty(x)?;
    let named = call.moved_integers("axes", since, 1)?.unwrap_or_default();
    let keep = call.flag("keepdims", true)?;
    if named.is_empty() && call.flag("noop_with_empty_axes", false)? {
        return Ok(vec![x]);
    }
    call.ignore(&["noop_with_empty_axes"]);
    let rank = ty.shape.len();
    let axes = if named.is_empty() { (0..rank).collect() } else { axes(&named, rank)? };
    Ok(vec![call.push(Reduce { reduction, axes, keep }, &[x])?])
}

/// Before opset 13, all axes from the named one on are taken together.
pub(super) fn softmax(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let rank = ty.shape.len();
    if call.opset() >= 13 {
        let axis = axis(call.int("axis", -1)?, rank)?;
        return Ok(vec![call.push(Softmax { axis }, &[x])?]);
    }
    let first = axis(call.int("axis", 1)?, rank)?;
    if first + 1 == rank {
        return Ok(vec![call.push(Softmax { axis: first }, &[x])?]);
    }
    let (rows, row) = (ty.shape[..first].iter().product(), ty.shape[first..].iter().product());
    let flat = call.push(Reshape { shape: vec![rows, row] }, &[x])?;
    let done = call.push(Softmax { axis: 1 }, &[flat])?;
    Ok(vec![call.push(Reshape { shape: ty.shape }, &[done])?])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    const X: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    fn model(opset: i64, op: &str, operands: &[&str]) -> Model {
        Model::new(opset).input("x", &["n", "2", "3"]).integers("last", &[1], &[-1]).node(op, operands, &["y"])
    }

    #[test]
    fn axes_as_attribute_and_as_operand() {
        assert_eq!(model(13, "ReduceMean", &["x"]).ints("axes", &[1]).run(&X), [2.5, 3.5, 4.5]);
        assert_eq!(model(18, "ReduceMean", &["x", "last"]).run(&X), [2.0, 5.0]);
        assert_eq!(model(11, "ReduceSum", &["x"]).ints("axes", &[-1]).run(&X), [6.0, 15.0]);
        assert_eq!(model(13, "ReduceSum", &["x", "last"]).run(&X), [6.0, 15.0]);
        assert_eq!(model(20, "ReduceMax", &["x"]).run(&X), [6.0]);
        assert_eq!(model(20, "ReduceMax", &["x"]).int("noop_with_empty_axes", 1).run(&X), X);
        let shape = |keep| model(18, "ReduceMean", &["x", "last"]).int("keepdims", keep).shape();
        assert_eq!((shape(1), shape(0)), (vec![1, 2, 1], vec![1, 2]));
        insta::assert_snapshot!(model(13, "ReduceMean", &["x"]).ints("axes", &[3]).error(), @r#"node "ReduceMean_0" (ReduceMean): axis 3 does not exist in a tensor with 3 axes"#);
        insta::assert_snapshot!(model(13, "ReduceMean", &["x"]).ints("axes", &[1, -2]).error(), @r#"node "ReduceMean_0" (ReduceMean): axes [1, -2] name an axis twice"#);
        insta::assert_snapshot!(model(18, "ReduceMean", &["x", "x"]).unsupported(), @"ReduceMean_0 (ReduceMean, result 0): its axes must be known, but it depends on the input or on too many elements: export the model with fixed shapes");
    }

    #[test]
    fn squares_are_summed_or_only_taken() {
        assert_eq!(model(13, "ReduceSumSquare", &["x"]).ints("axes", &[1]).run(&X), [17.0, 29.0, 45.0]);
        assert_eq!(model(18, "ReduceSumSquare", &["x", "last"]).run(&X), [14.0, 77.0]);
        let squares = model(18, "ReduceSumSquare", &["x"]).int("noop_with_empty_axes", 1);
        assert_eq!(squares.run(&X), X.map(|x| x * x));
    }

    #[test]
    fn softmax_before_and_after_opset_13() {
        let equal = [0.0; 6];
        assert_eq!(model(11, "Softmax", &["x"]).run(&equal), [1.0 / 6.0; 6]);
        assert_eq!(model(11, "Softmax", &["x"]).int("axis", 2).run(&equal), [1.0 / 3.0; 6]);
        assert_eq!(model(13, "Softmax", &["x"]).run(&equal), [1.0 / 3.0; 6]);
        assert_eq!(model(13, "Softmax", &["x"]).int("axis", 1).run(&equal), [1.0 / 2.0; 6]);
    }
}
