//! Normalisation by statistics of the sample itself.

use hec_ir::Value;
use hec_ir::tensor::{Binary, Reduce, Reduction, Reshape, TensorType, Unary};

use super::Results;
use crate::call::{Call, Problem, axis, invalid};

/// What is left of a tensor without its mean, that mean, and the inverse of its standard deviation.
struct Normalized {
    value: Value,
    mean: Value,
    inverse_deviation: Value,
}

/// `(x - mean) / sqrt(variance + epsilon)` over `axes`.
fn normalized(call: &mut Call<'_>, x: Value, axes: Vec<usize>, epsilon: f64) -> Result<Normalized, Problem> {
    let reduce = Reduce { reduction: Reduction::Mean, axes, keep: true };
    let mean = call.push(reduce.clone(), &[x])?;
    let centred = call.push(Binary::Sub, &[x, mean])?;
    let squares = call.push(Binary::Mul, &[centred, centred])?;
    let variance = call.push(reduce, &[squares])?;
    let epsilon = call.scalar(call.element(x), epsilon)?;
    let variance = call.push(Binary::Add, &[variance, epsilon])?;
    let deviation = call.push(Unary::Sqrt, &[variance])?;
    let inverse_deviation = call.push(Unary::Reciprocal, &[deviation])?;
    let value = call.push(Binary::Mul, &[centred, inverse_deviation])?;
    Ok(Normalized { value, mean, inverse_deviation })
}

/// `[batch, channels, spatial..]`.
fn channelled(call: &Call<'_>) -> Result<(Value, TensorType), Problem> {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    if ty.shape.len() < 3 {
        return invalid(format!("expected [batch, channels, spatial..], found {ty}"));
    }
    Ok((x, ty))
}

/// `x * scale + bias`, with operands 1 and 2 along axis 1 of `rank`.
fn scaled_and_shifted(call: &mut Call<'_>, x: Value, channels: usize, rank: usize) -> Result<Value, Problem> {
    let mut y = x;
    for (index, function) in [(1, Binary::Mul), (2, Binary::Add)] {
        let operand = call.operand(index)?;
        let ty = call.ty(operand)?;
        if ty.shape != [channels] {
            return invalid(format!("expected {channels} values as operand {index}, found {ty}"));
        }
        let mut shape = vec![1; rank - 1];
        shape[0] = channels;
        let operand = call.push(Reshape { shape }, &[operand])?;
        y = call.push(function, &[y, operand])?;
    }
    Ok(y)
}

/// Each channel by itself.
pub(super) fn instance(call: &mut Call<'_>) -> Results {
    let (x, ty) = channelled(call)?;
    let epsilon = call.float("epsilon", 1e-5)?;
    let y = normalized(call, x, (2..ty.shape.len()).collect(), epsilon)?.value;
    Ok(vec![scaled_and_shifted(call, y, ty.shape[1], ty.shape.len())?])
}

/// Groups of channels. Before opset 21 there is one scale for each group, then for each channel.
pub(super) fn group(call: &mut Call<'_>) -> Results {
    let (x, ty) = channelled(call)?;
    let groups = call.required_int("num_groups")?;
    let epsilon = call.float("epsilon", 1e-5)?;
    call.ignore(&["stash_type"]);
    let (batch, channels) = (ty.shape[0], ty.shape[1]);
    let Some(groups) = usize::try_from(groups).ok().filter(|&g| g > 0 && channels.is_multiple_of(g)) else {
        return invalid(format!("{channels} channels do not make {groups} groups"));
    };
    let of_each: usize = ty.shape[1..].iter().product::<usize>() / groups;
    let grouped = call.push(Reshape { shape: vec![batch, groups, of_each] }, &[x])?;
    let mut y = normalized(call, grouped, vec![2], epsilon)?.value;
    if call.opset() < 21 {
        y = scaled_and_shifted(call, y, groups, 3)?;
        return Ok(vec![call.push(Reshape { shape: ty.shape }, &[y])?]);
    }
    y = call.push(Reshape { shape: ty.shape.clone() }, &[y])?;
    Ok(vec![scaled_and_shifted(call, y, channels, ty.shape.len())?])
}

/// All axes from the named one on.
pub(super) fn layer(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let first = axis(call.int("axis", -1)?, ty.shape.len())?;
    let epsilon = call.float("epsilon", 1e-5)?;
    call.ignore(&["stash_type"]);
    let Normalized { value, mean, inverse_deviation } =
        normalized(call, x, (first..ty.shape.len()).collect(), epsilon)?;
    let scale = call.operand(1)?;
    let mut y = call.push(Binary::Mul, &[value, scale])?;
    if let Some(bias) = call.optional(2) {
        y = call.push(Binary::Add, &[y, bias])?;
    }
    if call.ty(y)?.shape != ty.shape {
        return invalid(format!("its scale or bias does not broadcast to {ty}"));
    }
    Ok(vec![y, mean, inverse_deviation])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    const X: [f64; 8] = [1.0, 3.0, 2.0, 2.0, 5.0, 1.0, 0.0, 4.0];

    fn model(opset: i64, op: &str, operands: &[&str]) -> Model {
        let model = Model::new(opset).input("x", &["n", "4", "2"]).floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]);
        let model = model.floats("b", &[4], &[0.0, 1.0, 0.0, 0.0]).floats("two", &[2], &[2.0, 4.0]);
        model.node(op, operands, &["y"]).float("epsilon", 1e-30)
    }

    #[test]
    fn over_a_channel() {
        let y = model(6, "InstanceNormalization", &["x", "s", "b"]).run(&X);
        assert_eq!([&y[..2], &y[4..]].concat(), [-1.0, 1.0, 2.0, -2.0, -2.0, 2.0]);
        insta::assert_snapshot!(model(6, "InstanceNormalization", &["x", "two", "b"]).error(), @r#"node "InstanceNormalization_0" (InstanceNormalization): expected 4 values as operand 1, found f32[2]"#);
    }

    #[test]
    fn over_an_axis() {
        let y = model(17, "LayerNormalization", &["x", "two"]).run(&X);
        assert_eq!(y[..4], [-2.0, 4.0, 0.0, 0.0]);
        insta::assert_snapshot!(model(17, "LayerNormalization", &["x", "s"]).error(), @r#"node "LayerNormalization_0" (mul): shapes [1, 4, 2] and [4] do not broadcast"#);
    }

    #[test]
    fn over_groups() {
        let x = [1.0, 3.0, 3.0, 1.0, 5.0, 1.0, 1.0, 5.0];
        let model = |opset, scale| model(opset, "GroupNormalization", &["x", scale, scale]);
        assert_eq!(model(18, "two").int("num_groups", 2).run(&x), [0.0, 4.0, 4.0, 0.0, 8.0, 0.0, 0.0, 8.0]);
        assert_eq!(model(21, "s").int("num_groups", 2).run(&x), [0.0, 2.0, 2.0, 0.0, 4.0, 0.0, 0.0, 4.0]);
        insta::assert_snapshot!(model(21, "s").int("num_groups", 3).error(), @r#"node "GroupNormalization_0" (GroupNormalization): 4 channels do not make 3 groups"#);
    }
}
