use hec_ir::Value;
use hec_ir::tensor::{Binary, LeakyRelu, Unary, Where};

use super::Results;
use crate::call::{Call, Problem};

pub(super) fn unary(call: &mut Call<'_>, function: Unary) -> Results {
    let x = call.operand(0)?;
    Ok(vec![call.push(function, &[x])?])
}

pub(super) fn leaky_relu(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let alpha = call.float("alpha", 0.01)?;
    Ok(vec![call.push(LeakyRelu { alpha }, &[x])?])
}

pub(super) fn binary(call: &mut Call<'_>, function: Binary) -> Results {
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    Ok(vec![call.push(function, &[a, b])?])
}

pub(super) fn choose(call: &mut Call<'_>) -> Results {
    let (condition, a, b) = (call.operand(0)?, call.operand(1)?, call.operand(2)?);
    Ok(vec![call.push(Where, &[condition, a, b])?])
}

/// A function of any number of operands.
pub(super) fn chain(call: &mut Call<'_>, function: Binary) -> Results {
    Ok(vec![chained(call, function)?])
}

pub(super) fn mean(call: &mut Call<'_>) -> Results {
    let count = call.all_operands()?.len();
    let sum = chained(call, Binary::Add)?;
    if count == 1 {
        return Ok(vec![sum]);
    }
    let element = call.element(sum);
    let share = call.scalar(element, 1.0 / count as f64)?;
    Ok(vec![call.push(Binary::Mul, &[sum, share])?])
}

fn chained(call: &mut Call<'_>, function: Binary) -> Result<Value, Problem> {
    let operands = call.all_operands()?;
    operands[1..].iter().try_fold(operands[0], |result, &operand| call.push(function, &[result, operand]))
}

/// The bounds are attributes before opset 11.
pub(super) fn clip(call: &mut Call<'_>) -> Results {
    let mut x = call.operand(0)?;
    for (index, name, function) in [(1, "min", Binary::Max), (2, "max", Binary::Min)] {
        let bound = if call.opset() >= 11 {
            call.optional(index)
        } else if call.has_attribute(name) {
            let (bound, element) = (call.float(name, 0.0)?, call.element(x));
            Some(call.scalar(element, bound)?)
        } else {
            None
        };
        if let Some(bound) = bound {
            x = call.push(function, &[x, bound])?;
        }
    }
    Ok(vec![x])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    #[test]
    fn functions() {
        let run = |op: &str| Model::new(17).input("x", &["n", "2"]).node(op, &["x"], &["y"]).run(&[-1.0, 4.0]);
        assert_eq!(run("Neg"), [1.0, -4.0]);
        assert_eq!(run("Abs"), [1.0, 4.0]);
        assert_eq!(run("Relu"), [0.0, 4.0]);
        assert_eq!(run("Reciprocal"), [-1.0, 0.25]);
        assert_eq!(run("Exp"), [(-1.0_f64).exp(), 4.0_f64.exp()]);
        assert_eq!(run("Sqrt")[1], 2.0);
        assert_eq!(run("Log")[1], 4.0_f64.ln());
        assert_eq!(run("Tanh"), [(-1.0_f64).tanh(), 4.0_f64.tanh()]);
        assert_eq!(run("Sigmoid")[0], 1.0 / (1.0 + 1.0_f64.exp()));
    }

    #[test]
    fn leaky_relu_takes_its_slope_as_an_attribute() {
        let model = || Model::new(16).input("x", &["n", "2"]).node("LeakyRelu", &["x"], &["y"]);
        assert_eq!(model().run(&[-1.0, 4.0]), [-0.01, 4.0]);
        assert_eq!(model().float("alpha", 0.25).run(&[-1.0, 4.0]), [-0.25, 4.0]);
        insta::assert_snapshot!(model().float("alpha", f32::NAN).error(), @r#"node "LeakyRelu_0" (leaky_relu): expected a finite alpha, found NaN"#);
    }

    #[test]
    fn functions_of_two() {
        let run = |op: &str| {
            let model = Model::new(17).input("x", &["n", "2"]).floats("c", &[], &[2.0]);
            model.node(op, &["x", "c"], &["y"]).run(&[-1.0, 4.0])
        };
        assert_eq!(run("Add"), [1.0, 6.0]);
        assert_eq!(run("Sub"), [-3.0, 2.0]);
        assert_eq!(run("Mul"), [-2.0, 8.0]);
        assert_eq!(run("Div"), [-0.5, 2.0]);
        assert_eq!(run("Pow"), [1.0, 16.0]);
        assert_eq!(run("Max"), [2.0, 4.0]);
        assert_eq!(run("Min"), [-1.0, 2.0]);
        assert_eq!(run("Greater"), [0.0, 1.0]);
        assert_eq!(run("Less"), [1.0, 0.0]);
        assert_eq!(run("Equal"), [0.0, 0.0]);
        assert_eq!(run("Sum"), [1.0, 6.0]);
        assert_eq!(run("Mean"), [0.5, 3.0]);
    }

    #[test]
    fn any_number_of_operands() {
        let model = |op: &str, operands: &[&str]| {
            let model = Model::new(8).input("x", &["n", "2"]).floats("c", &[2], &[1.0, 2.0]);
            model.node(op, operands, &["y"])
        };
        assert_eq!(model("Mean", &["x", "c", "x"]).run(&[4.0, 8.0]), [3.0, 6.0]);
        assert_eq!(model("Sum", &["x"]).run(&[4.0, 8.0]), [4.0, 8.0]);
        insta::assert_snapshot!(model("Max", &[]).error(), @r#"node "Max_0" (Max): operand 0 is missing; 0 are given"#);
        insta::assert_snapshot!(model("Add", &["x"]).error(), @r#"node "Add_0" (Add): operand 1 is missing; 1 are given"#);
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
    fn where_chooses() {
        let model = Model::new(16).input("x", &["n", "2"]).floats("zero", &[], &[0.0]);
        let model = model.node("Greater", &["x", "zero"], &["positive"]);
        assert_eq!(model.node("Where", &["positive", "x", "zero"], &["y"]).run(&[-1.0, 4.0]), [0.0, 4.0]);
    }
}
