use hec_ir::Value;
use hec_ir::tensor::{Binary, CumulativeSum, Reduce, Reduction, Reshape, Softmax, Unary};

use super::Results;
use crate::call::{Call, Problem, axes, axis, invalid};

/// The axes are an attribute before opset `since`.
pub(super) fn reduce(call: &mut Call<'_>, reduction: Reduction, since: i64) -> Results {
    let x = call.operand(0)?;
    reduced(call, x, reduction, since)
}

/// A function of each element, the sum, and a function of that; they are taken even where no axis is summed over.
fn sum_of(
    call: &mut Call<'_>,
    before: impl FnOnce(&mut Call<'_>, Value) -> Result<Value, Problem>,
    after: Option<Unary>,
) -> Results {
    let x = call.operand(0)?;
    let x = before(call, x)?;
    let mut sums = reduced(call, x, Reduction::Sum, 18)?;
    if let Some(after) = after {
        sums[0] = call.push(after, &sums)?;
    }
    Ok(sums)
}

fn squared(call: &mut Call<'_>, x: Value) -> Result<Value, Problem> {
    call.push(Binary::Mul, &[x, x])
}

pub(super) fn sum_of_squares(call: &mut Call<'_>) -> Results {
    sum_of(call, squared, None)
}

/// The sum of magnitudes.
pub(super) fn l1(call: &mut Call<'_>) -> Results {
    sum_of(call, |call, x| call.push(Unary::Abs, &[x]), None)
}

/// The root of the sum of squares.
pub(super) fn l2(call: &mut Call<'_>) -> Results {
    sum_of(call, squared, Some(Unary::Sqrt))
}

pub(super) fn log_sum(call: &mut Call<'_>) -> Results {
    sum_of(call, |_, x| Ok(x), Some(Unary::Log))
}

pub(super) fn log_sum_exp(call: &mut Call<'_>) -> Results {
    sum_of(call, |call, x| call.push(Unary::Exp, &[x]), Some(Unary::Log))
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

pub(super) fn cumulative_sum(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let rank = call.ty(x)?.shape.len();
    let Some(named) = call.number(1, "axis")? else { return invalid("its axis is missing") };
    let axis = axis(named as i64, rank)?;
    let (exclusive, reverse) = (call.flag("exclusive", false)?, call.flag("reverse", false)?);
    Ok(vec![call.push(CumulativeSum { axis, exclusive, reverse }, &[x])?])
}

pub(super) fn softmax(call: &mut Call<'_>) -> Results {
    along_rows(call, |call, x, axis| call.push(Softmax { axis }, &[x]))
}

/// `x - max - log(sum(e^(x - max)))`.
pub(super) fn log_softmax(call: &mut Call<'_>) -> Results {
    along_rows(call, |call, x, axis| {
        let over = |reduction| Reduce { reduction, axes: vec![axis], keep: true };
        let largest = call.push(over(Reduction::Max), &[x])?;
        let shifted = call.push(Binary::Sub, &[x, largest])?;
        let powers = call.push(Unary::Exp, &[shifted])?;
        let sum = call.push(over(Reduction::Sum), &[powers])?;
        let log = call.push(Unary::Log, &[sum])?;
        call.push(Binary::Sub, &[shifted, log])
    })
}

/// Before opset 13, all axes from the named one on are taken together.
fn along_rows(
    call: &mut Call<'_>,
    function: impl FnOnce(&mut Call<'_>, Value, usize) -> Result<Value, Problem>,
) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let rank = ty.shape.len();
    if call.opset() >= 13 {
        let axis = axis(call.int("axis", -1)?, rank)?;
        return Ok(vec![function(call, x, axis)?]);
    }
    let first = axis(call.int("axis", 1)?, rank)?;
    if first + 1 == rank {
        return Ok(vec![function(call, x, first)?]);
    }
    let (rows, row) = (ty.shape[..first].iter().product(), ty.shape[first..].iter().product());
    let flat = call.push(Reshape { shape: vec![rows, row] }, &[x])?;
    let done = function(call, flat, 1)?;
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
    fn running_sums() {
        let sum = |operands: &[&str]| model(14, "CumSum", operands);
        assert_eq!(sum(&["x", "last"]).run(&X), [1.0, 3.0, 6.0, 4.0, 9.0, 15.0]);
        assert_eq!(sum(&["x", "last"]).int("exclusive", 1).run(&X), [0.0, 1.0, 3.0, 0.0, 4.0, 9.0]);
        assert_eq!(sum(&["x", "last"]).int("reverse", 1).run(&X), [6.0, 5.0, 3.0, 15.0, 11.0, 6.0]);
        insta::assert_snapshot!(sum(&["x"]).error(), @r#"node "CumSum_0" (CumSum): its axis is missing"#);
        insta::assert_snapshot!(sum(&["x", "x"]).unsupported(), @"CumSum_0 (CumSum, result 0): its axis must be known, but it depends on the input or on too many elements: export the model with fixed shapes");
    }

    #[test]
    fn softmax_before_and_after_opset_13() {
        let equal = [0.0; 6];
        assert_eq!(model(11, "Softmax", &["x"]).run(&equal), [1.0 / 6.0; 6]);
        assert_eq!(model(11, "Softmax", &["x"]).int("axis", 2).run(&equal), [1.0 / 3.0; 6]);
        assert_eq!(model(13, "Softmax", &["x"]).run(&equal), [1.0 / 3.0; 6]);
        assert_eq!(model(13, "Softmax", &["x"]).int("axis", 1).run(&equal), [1.0 / 2.0; 6]);
    }

    #[test]
    fn norms_products_and_logarithms() {
        let x = [1.0, -2.0, 2.0, 4.0, 0.0, -3.0];
        let run = |op: &str, x: &[f64]| model(18, op, &["x", "last"]).run(x);
        assert_eq!(run("ReduceL1", &x), [5.0, 7.0]);
        assert_eq!(run("ReduceL2", &x), [3.0, 5.0]);
        assert_eq!(run("ReduceProd", &x), [-4.0, 0.0]);
        assert_eq!(run("ReduceMin", &x), [-2.0, -3.0]);
        assert_eq!(run("ReduceLogSum", &X), [6.0_f64.ln(), 15.0_f64.ln()]);
        let log_sum_exp = run("ReduceLogSumExp", &[0.0; 6]);
        assert_eq!(log_sum_exp, [3.0_f64.ln(); 2]);
        assert_eq!(model(18, "ReduceL1", &["x"]).int("noop_with_empty_axes", 1).run(&x), x.map(f64::abs));
    }

    #[test]
    fn log_softmax_of_large_numbers() {
        let y = model(13, "LogSoftmax", &["x"]).run(&[1e4, 1e4, 1e4, 0.0, 0.0, 1e4]);
        assert!((y[0] + 3.0_f64.ln()).abs() < 1e-12 && (y[3] + 1e4).abs() < 1e-9 && y[5].abs() < 1e-9, "{y:?}");
        assert_eq!(model(11, "LogSoftmax", &["x"]).run(&[0.0; 6]), [-(6.0_f64.ln()); 6]);
    }
}
