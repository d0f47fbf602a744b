//! Functions of one number that are composed of others, or have parameters.

use hec_ir::Value;
use hec_ir::tensor::{Binary, Composite, Element, Reshape, Step, Unary};

use super::Results;
use crate::call::{Call, Problem, invalid};

const X: Step = Step::Argument;
const ADD: Step = Step::Binary(Binary::Add);
const MUL: Step = Step::Binary(Binary::Mul);
const DIV: Step = Step::Binary(Binary::Div);

/// A function whose parameters are attributes.
fn with_parameters(call: &mut Call<'_>, read: impl FnOnce(&mut Call<'_>) -> Result<Unary, Problem>) -> Results {
    let x = call.operand(0)?;
    let function = read(call)?;
    Ok(vec![call.push(function, &[x])?])
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Results {
    with_parameters(call, |call| Ok(Unary::LeakyRelu { alpha: call.float("alpha", 0.01)? }))
}

pub(super) fn elu(call: &mut Call<'_>) -> Results {
    with_parameters(call, |call| Ok(Unary::Elu { alpha: call.float("alpha", 1.0)? }))
}

pub(super) fn celu(call: &mut Call<'_>) -> Results {
    with_parameters(call, |call| Ok(Unary::Celu { alpha: call.float("alpha", 1.0)? }))
}

pub(super) fn thresholded_relu(call: &mut Call<'_>) -> Results {
    with_parameters(call, |call| Ok(Unary::ThresholdedRelu { alpha: call.float("alpha", 1.0)? }))
}

pub(super) fn selu(call: &mut Call<'_>) -> Results {
    with_parameters(call, |call| {
        let alpha = call.float("alpha", 1.673_263_2_f32.into())?;
        Ok(Unary::Selu { alpha, gamma: call.float("gamma", 1.050_701_f32.into())? })
    })
}

pub(super) fn hard_sigmoid(call: &mut Call<'_>) -> Results {
    with_parameters(call, |call| {
        Ok(Unary::HardSigmoid { alpha: call.float("alpha", 0.2)?, beta: call.float("beta", 0.5)? })
    })
}

fn composed(call: &mut Call<'_>, steps: &[Step]) -> Results {
    let x = call.operand(0)?;
    let function = Composite::new(steps).map_err(|e| Problem::Invalid(e.0))?;
    Ok(vec![call.push(function, &[x])?])
}

/// `x * hard_sigmoid(x)`, with a slope of 1/6.
pub(super) fn hard_swish(call: &mut Call<'_>) -> Results {
    composed(call, &[X, X, Step::Unary(Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }), MUL])
}

/// `x * tanh(softplus(x))`.
pub(super) fn mish(call: &mut Call<'_>) -> Results {
    composed(call, &[X, X, Step::Unary(Unary::Softplus), Step::Unary(Unary::Tanh), MUL])
}

/// `x / (1 + |x|)`.
pub(super) fn softsign(call: &mut Call<'_>) -> Results {
    composed(call, &[X, Step::Constant(1.0), X, Step::Unary(Unary::Abs), ADD, DIV])
}

/// `x/2 * (1 + erf(x / sqrt(2)))`, or its approximation by `tanh`.
pub(super) fn gelu(call: &mut Call<'_>) -> Results {
    let number = Step::Constant;
    let head = [X, number(0.5), MUL];
    let tail = [number(1.0), ADD, MUL];
    let middle = match call.text("approximate", "none")?.as_str() {
        "none" => vec![X, number(std::f64::consts::FRAC_1_SQRT_2), MUL, Step::Unary(Unary::Erf)],
        "tanh" => {
            let scale = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
            let cube = [X, X, X, MUL, X, MUL, number(0.044_715), MUL, ADD];
            [&cube[..], &[number(scale), MUL, Step::Unary(Unary::Tanh)]].concat()
        }
        other => return invalid(format!("attribute \"approximate\" cannot be {other:?}")),
    };
    composed(call, &[&head[..], &middle, &tail].concat())
}

/// The bounds are attributes before opset 11. Bounds that are not known are compared with.
pub(super) fn clip(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    if call.opset() < 11 {
        let (least, most) = (call.float("min", f64::NEG_INFINITY)?, call.float("max", f64::INFINITY)?);
        return clipped(call, x, least, most);
    }
    let bounds = [call.optional(1), call.optional(2)];
    if bounds.iter().flatten().all(|&bound| call.is_constant(bound)) {
        let least = call.number(1, "lower bound")?.unwrap_or(f64::NEG_INFINITY);
        let most = call.number(2, "upper bound")?.unwrap_or(f64::INFINITY);
        return clipped(call, x, least, most);
    }
    let functions = [Binary::Max, Binary::Min];
    let mut bounded = bounds.into_iter().zip(functions).filter_map(|(bound, function)| Some((bound?, function)));
    let y = bounded.try_fold(x, |x, (bound, function)| call.push(function, &[x, bound]))?;
    Ok(vec![y])
}

fn clipped(call: &mut Call<'_>, x: Value, least: f64, most: f64) -> Results {
    if least == f64::NEG_INFINITY && most == f64::INFINITY {
        return Ok(vec![x]);
    }
    let relu = least == 0.0 && most == f64::INFINITY;
    let function = if relu { Unary::Relu } else { Unary::Clip { least, most } };
    Ok(vec![call.push(function, &[x])?])
}

/// One slope, or `slope * x + (1 - slope) * relu(x)` where there are several. Before opset 7 several are one for each channel.
pub(super) fn p_relu(call: &mut Call<'_>) -> Results {
    let (x, mut slope) = (call.operand(0)?, call.operand(1)?);
    let (x_ty, slope_ty) = (call.ty(x)?, call.ty(slope)?);
    if slope_ty.elements() == 1 && call.is_constant(slope) && slope_ty.shape.len() <= x_ty.shape.len() {
        let alpha = call.number(1, "slope")?.unwrap_or(0.0);
        return Ok(vec![call.push(Unary::LeakyRelu { alpha }, &[x])?]);
    }
    if let (6, [channels]) = (call.opset(), &slope_ty.shape[..]) {
        let mut shape = vec![1; x_ty.shape.len().saturating_sub(1).max(1)];
        shape[0] = *channels;
        slope = call.push(Reshape { shape }, &[slope])?;
    }
    let one = call.scalar(Element::F32, 1.0)?;
    let positive = call.push(Unary::Relu, &[x])?;
    let rest = call.push(Binary::Sub, &[one, slope])?;
    let (always, more) = (call.push(Binary::Mul, &[x, slope])?, call.push(Binary::Mul, &[positive, rest])?);
    let y = call.push(Binary::Add, &[always, more])?;
    if call.ty(y)?.shape != x_ty.shape {
        return invalid(format!("a slope {slope_ty} does not broadcast to {x_ty}"));
    }
    Ok(vec![y])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    #[test]
    fn leaky_relu_takes_its_slope_as_an_attribute() {
        let model = || Model::new(16).input("x", &["n", "2"]).node("LeakyRelu", &["x"], &["y"]);
        assert_eq!(model().run(&[-1.0, 4.0]), [-0.01, 4.0]);
        assert_eq!(model().float("alpha", 0.25).run(&[-1.0, 4.0]), [-0.25, 4.0]);
        insta::assert_snapshot!(model().float("alpha", f32::NAN).error(), @r#"node "LeakyRelu_0" (leaky_relu): expected a finite alpha, found NaN"#);
    }

    #[test]
    fn parameters_are_attributes() {
        let model = |op: &str| Model::new(22).input("x", &["n", "2"]).node(op, &["x"], &["y"]);
        let run =
            |model: Model| model.run(&[-1.0, 2.0]).into_iter().map(|y| (y * 1e4).round() / 1e4).collect::<Vec<_>>();
        assert_eq!(run(model("Elu").float("alpha", 2.0)), [-1.2642, 2.0]);
        assert_eq!(run(model("Selu")), [-1.1113, 2.1014]);
        assert_eq!(run(model("Celu").float("alpha", 0.5)), [-0.4323, 2.0]);
        assert_eq!(run(model("ThresholdedRelu").float("alpha", 2.5)), [0.0, 0.0]);
        assert_eq!(run(model("HardSigmoid")), [0.3, 0.9]);
    }

    #[test]
    fn compositions_are_one_function() {
        let model = |op: &str| Model::new(22).input("x", &["n", "2"]).node(op, &["x"], &["y"]);
        let run = |model: Model| {
            assert_eq!(model.import().len(), 2);
            model.run(&[-1.0, 2.0]).into_iter().map(|y| (y * 1e4).round() / 1e4).collect::<Vec<_>>()
        };
        assert_eq!(run(model("HardSwish")), [-0.3333, 1.6667]);
        assert_eq!(run(model("Mish")), [-0.3034, 1.944]);
        assert_eq!(run(model("Softsign")), [-0.5, 0.6667]);
        assert_eq!(run(model("Gelu")), [-0.1587, 1.9545]);
        assert_eq!(run(model("Gelu").text("approximate", "tanh")), [-0.1588, 1.9546]);
        insta::assert_snapshot!(model("Gelu").text("approximate", "exp").error(), @r#"node "Gelu_0" (Gelu): attribute "approximate" cannot be "exp""#);
    }

    #[test]
    fn clip_takes_its_bounds_either_way() {
        let x = [-1.0, 4.0, 9.0];
        let old =
            Model::new(7).input("x", &["n", "3"]).node("Clip", &["x"], &["y"]).float("min", 0.0).float("max", 6.0);
        assert_eq!(old.run(&x), [0.0, 4.0, 6.0]);
        let new = Model::new(13).input("x", &["n", "3"]).floats("six", &[], &[6.0]);
        assert_eq!(new.node("Clip", &["x", "", "six"], &["y"]).run(&x), [-1.0, 4.0, 6.0]);
    }

    #[test]
    fn bounds_may_depend_on_the_input() {
        let model = Model::new(13).input("x", &["n", "3"]).input("least", &[]).node("Clip", &["x", "least"], &["y"]);
        insta::assert_snapshot!(model.import(), @r#"
        tensor
          %0 = input {name="x", element="f32", shape=[1, 3]} : f32[1, 3]  // x
          %1 = input {name="least", element="f32", shape=[]} : f32[]  // least
          %2 = max %0, %1 : f32[1, 3]  // Clip_0
          output y %2
        "#);
    }

    #[test]
    fn slopes_one_or_many() {
        let model = |opset| Model::new(opset).input("x", &["n", "2", "2"]).floats("one", &[1], &[0.5]);
        let x = [-1.0, 2.0, -4.0, 8.0];
        assert_eq!(model(16).node("PRelu", &["x", "one"], &["y"]).run(&x), [-0.5, 2.0, -2.0, 8.0]);
        let many = model(16).floats("slopes", &[2, 1], &[0.5, 0.25]).node("PRelu", &["x", "slopes"], &["y"]);
        assert_eq!(many.run(&x), [-0.5, 2.0, -1.0, 8.0]);
        let old = model(6).floats("slopes", &[2], &[0.5, 0.25]).node("PRelu", &["x", "slopes"], &["y"]);
        assert_eq!(old.run(&x), [-0.5, 2.0, -1.0, 8.0]);
        let wide = model(16).floats("slopes", &[3, 2, 1], &[0.5; 6]).node("PRelu", &["x", "slopes"], &["y"]);
        insta::assert_snapshot!(wide.error(), @r#"node "PRelu_0" (PRelu): a slope f32[3, 2, 1] does not broadcast to f32[1, 2, 2]"#);
    }
}
