//! Truth values: 0 and 1.

use hec_ir::Value;
use hec_ir::tensor::{Binary, Element, Where};

use super::Results;
use crate::call::{Call, Problem};

pub(super) fn choose(call: &mut Call<'_>) -> Results {
    let (condition, a, b) = (call.operand(0)?, call.operand(1)?, call.operand(2)?);
    Ok(vec![call.push(Where, &[condition, a, b])?])
}

fn negated(call: &mut Call<'_>, x: Value) -> Result<Value, Problem> {
    let no = call.scalar(Element::Bool, 0.0)?;
    call.push(Binary::Equal, &[x, no])
}

pub(super) fn not(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    Ok(vec![negated(call, x)?])
}

/// The opposite of a comparison: `>=` of `<`, `<=` of `>`, exclusive or of `=`.
pub(super) fn opposite(call: &mut Call<'_>, comparison: Binary) -> Results {
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    let compared = call.push(comparison, &[a, b])?;
    Ok(vec![negated(call, compared)?])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    #[test]
    fn where_chooses() {
        let model = Model::new(16).input("x", &["n", "2"]).floats("zero", &[], &[0.0]);
        let model = model.node("Greater", &["x", "zero"], &["positive"]);
        assert_eq!(model.node("Where", &["positive", "x", "zero"], &["y"]).run(&[-1.0, 4.0]), [0.0, 4.0]);
    }

    #[test]
    fn comparisons_and_what_follows_from_them() {
        let model = |op: &str| {
            let model = Model::new(16).input("x", &["n", "3"]).floats("c", &[3], &[2.0, 2.0, 2.0]);
            model.node(op, &["x", "c"], &["y"]).run(&[1.0, 2.0, 3.0])
        };
        assert_eq!(model("GreaterOrEqual"), [0.0, 1.0, 1.0]);
        assert_eq!(model("LessOrEqual"), [1.0, 1.0, 0.0]);
        let two = |op: &str| {
            let model = Model::new(16).typed_input("x", 9, &["n", "2"]).node("Not", &["x"], &["no"]);
            model.node(op, &["x", "no"], &["y"]).run(&[1.0, 0.0])
        };
        assert_eq!((two("And"), two("Or"), two("Xor")), (vec![0.0; 2], vec![1.0; 2], vec![1.0; 2]));
    }
}
