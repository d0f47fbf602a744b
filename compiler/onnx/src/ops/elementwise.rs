use hec_ir::Value;
use hec_ir::tensor::{Binary, Reshape, Unary};

use super::Results;
use crate::call::{Call, Problem, axis};

pub(super) fn unary(call: &mut Call<'_>, function: Unary) -> Results {
    let x = call.operand(0)?;
    Ok(vec![call.push(function, &[x])?])
}

pub(super) fn binary(call: &mut Call<'_>, function: Binary) -> Results {
    let (a, mut b) = (call.operand(0)?, call.operand(1)?);
    // Before opset 7, the second operand begins at an axis of the first, and may only then be smaller.
    if call.opset() < 7 && call.flag("broadcast", false)? && call.has_attribute("axis") {
        let (whole, mut part) = (call.ty(a)?.shape.len(), call.ty(b)?.shape);
        let first = axis(call.int("axis", 0)?, whole)?;
        let end = first + part.len();
        part.resize(part.len() + whole.saturating_sub(end), 1);
        b = call.push(Reshape { shape: part }, &[b])?;
    }
    Ok(vec![call.push(function, &[a, b])?])
}

/// The sign is that of the divisor, or with `fmod` that of the dividend.
pub(super) fn modulo(call: &mut Call<'_>) -> Results {
    let function = if call.flag("fmod", false)? { Binary::Remainder } else { Binary::Mod };
    binary(call, function)
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
        assert_eq!(run("Mod"), [1.0, 0.0]);
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
    fn operands_begin_at_an_axis_before_opset_7() {
        let model = Model::new(6).input("x", &["1", "2", "2"]).floats("c", &[2], &[10.0, 20.0]);
        let model = model.node("Add", &["x", "c"], &["y"]).int("broadcast", 1);
        assert_eq!(model.clone().run(&[1.0, 2.0, 3.0, 4.0]), [11.0, 22.0, 13.0, 24.0]);
        assert_eq!(model.int("axis", 1).run(&[1.0, 2.0, 3.0, 4.0]), [11.0, 12.0, 23.0, 24.0]);
    }
}
