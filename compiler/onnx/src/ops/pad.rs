use hec_ir::Value;
use hec_ir::tensor::{Gather, Pad, Slice};

use super::Results;
use crate::call::{Call, Problem, axes, axis, invalid};

/// Negative padding crops. Everything but the tensor is an attribute before opset 11.
pub(super) fn pad(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let shape = call.ty(x)?.shape;
    let rank = shape.len();
    let mode = call.text("mode", "constant")?;
    let Some(pads) = call.moved_integers("pads", 11, 1)? else { return invalid("its paddings are missing") };
    let value = if call.opset() < 11 { call.float("value", 0.0)? } else { call.number(2, "value")?.unwrap_or(0.0) };
    let named = if call.opset() < 18 { None } else { call.integers(3, "axes")? };
    let named = named.unwrap_or_else(|| (0..rank as i64).collect());
    if pads.len() != 2 * named.len() {
        return invalid(format!("expected {} paddings, found {pads:?}", 2 * named.len()));
    }
    axes(&named, rank)?;
    let mut padding = vec![(0, 0); rank];
    for (i, &named_axis) in named.iter().enumerate() {
        padding[axis(named_axis, rank)?] = (pads[i], pads[i + named.len()]);
    }
    if padding.iter().all(|&pads| pads == (0, 0)) {
        return Ok(vec![x]);
    }
    let repeated: fn(i64, i64) -> i64 = match mode.as_str() {
        "constant" => return constant(call, x, &shape, &padding, value),
        "edge" => |at, size| at.clamp(0, size - 1),
        "wrap" => |at, size| at.rem_euclid(size),
        // 0 1 2 1 0 1 2 ..
        "reflect" => |at, size| {
            let there_and_back = (2 * (size - 1)).max(1);
            let at = at.rem_euclid(there_and_back);
            at.min(there_and_back - at)
        },
        other => return invalid(format!("attribute \"mode\" cannot be {other:?}")),
    };
    let mut padded = x;
    for (axis, &(begin, end)) in padding.iter().enumerate().filter(|(_, pads)| **pads != (0, 0)) {
        let size = shape[axis] as i64;
        let length = size.checked_add(begin).and_then(|size| size.checked_add(end)).filter(|&length| length >= 0);
        let Some(length) = length.filter(|&length| size > 0 || length == 0) else {
            return invalid(format!("paddings {begin} and {end} do not fit axis {axis} of size {size}"));
        };
        call.spend(length as usize)?;
        let indices = (0..length).map(|at| repeated(at - begin, size) as u32).collect();
        padded = call.push(Gather { axis, indices, shape: vec![length as usize] }, &[padded])?;
    }
    Ok(vec![padded])
}

fn constant(call: &mut Call<'_>, x: Value, shape: &[usize], padding: &[(i64, i64)], value: f64) -> Results {
    let mut x = x;
    let wider = |pad: i64| pad.max(0) as usize;
    let begin = padding.iter().map(|&(begin, _)| wider(begin)).collect();
    let pad = Pad { begin, end: padding.iter().map(|&(_, end)| wider(end)).collect(), value };
    let mut crop = Slice::contiguous(&vec![0; shape.len()], shape);
    for (axis, &(begin, end)) in padding.iter().enumerate() {
        let cropped = |pad: i64| if pad < 0 { pad.unsigned_abs() as usize } else { 0 };
        let left = shape[axis].checked_sub(cropped(begin)).and_then(|left| left.checked_sub(cropped(end)));
        let left = left.ok_or_else(|| {
            let size = shape[axis];
            Problem::Invalid(format!("paddings {begin} and {end} leave nothing of axis {axis} of size {size}"))
        })?;
        (crop.starts[axis], crop.sizes[axis]) = (cropped(begin), left);
    }
    if crop.sizes != shape {
        x = call.push(crop, &[x])?;
    }
    if pad.begin.iter().chain(&pad.end).any(|&pad| pad > 0) {
        x = call.push(pad, &[x])?;
    }
    Ok(vec![x])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    const X: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    fn model(opset: i64) -> Model {
        Model::new(opset).input("x", &["n", "6"])
    }

    #[test]
    fn constants() {
        let old = model(10).node("Pad", &["x"], &["y"]).ints("pads", &[0, 1, 0, -4]).float("value", 9.0);
        assert_eq!(old.clone().run(&X), [9.0, 1.0, 2.0]);
        assert_eq!(old.text("mode", "reflect").run(&X), [2.0, 1.0, 2.0]);
        let new = model(18).integers("pads", &[2], &[-3, 1]).integers("axis", &[1], &[1]).floats("v", &[], &[7.0]);
        assert_eq!(new.node("Pad", &["x", "pads", "v", "axis"], &["y"]).run(&X), [4.0, 5.0, 6.0, 7.0]);
        let nothing = model(13).integers("pads", &[4], &[0; 4]).node("Pad", &["x", "pads"], &["y"]);
        assert_eq!(nothing.text("mode", "edge").run(&X), X);
        let all = model(13).integers("pads", &[4], &[0, -4, 0, -3]).node("Pad", &["x", "pads"], &["y"]);
        insta::assert_snapshot!(all.error(), @r#"node "Pad_0" (Pad): paddings -4 and -3 leave nothing of axis 1 of size 6"#);
    }

    #[test]
    fn other_modes_repeat_elements() {
        let run = |mode: &str, pads: [i64; 2]| {
            let model = model(19).integers("pads", &[4], &[0, pads[0], 0, pads[1]]).node("Pad", &["x", "pads"], &["y"]);
            model.text("mode", mode).run(&X)
        };
        assert_eq!(run("edge", [2, 1]), [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0]);
        assert_eq!(run("reflect", [2, 1]), [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 5.0]);
        assert_eq!(run("wrap", [2, 1]), [5.0, 6.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0]);
        assert_eq!(run("reflect", [-1, -4]), [2.0]);
        let huge = model(19).integers("pads", &[4], &[0, i64::MAX, 0, 1]).node("Pad", &["x", "pads"], &["y"]);
        insta::assert_snapshot!(huge.clone().text("mode", "edge").error(), @r#"node "Pad_0" (Pad): paddings 9223372036854775807 and 1 do not fit axis 1 of size 6"#);
        insta::assert_snapshot!(huge.text("mode", "mirror").error(), @r#"node "Pad_0" (Pad): attribute "mode" cannot be "mirror""#);
        let large = model(19).integers("pads", &[4], &[0, 1 << 40, 0, 1]).node("Pad", &["x", "pads"], &["y"]);
        insta::assert_snapshot!(large.text("mode", "edge").unsupported(), @"Pad_0 (Pad, result 0): it needs 1099511627783 elements that are known; that is too many");
    }
}
