use hec_ir::tensor::{Concat, Gather, Pad, Slice};

use super::Results;
use crate::call::{Call, axes, axis, invalid, sizes, unsupported};

pub(super) fn concat(call: &mut Call<'_>) -> Results {
    let operands = call.all_operands()?;
    let named = call.required_int("axis")?;
    let axis = axis(named, call.ty(operands[0])?.shape.len())?;
    if let [x] = operands[..] {
        return Ok(vec![x]);
    }
    Ok(vec![call.push(Concat { axis }, &operands)?])
}

/// Everything but the tensor is an attribute before opset 10.
pub(super) fn slice(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let shape = call.ty(x)?.shape;
    let rank = shape.len();
    let (Some(starts), Some(ends)) = (call.moved_integers("starts", 10, 1)?, call.moved_integers("ends", 10, 2)?)
    else {
        return invalid("its starts or ends are missing");
    };
    let named = call.moved_integers("axes", 10, 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = if call.opset() < 10 { None } else { call.integers(4, "steps")? };
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), named.len(), steps.len()] != [starts.len(); 3] {
        return invalid(format!("starts {starts:?}, ends {ends:?}, axes {named:?} and steps {steps:?} do not match"));
    }
    axes(&named, rank)?;
    let mut slice = Slice::contiguous(&vec![0; rank], &shape);
    for (i, &named) in named.iter().enumerate() {
        let axis = axis(named, rank)?;
        let Some((start, size)) = span(starts[i], ends[i], steps[i], shape[axis] as i64) else {
            return invalid("a step is 0");
        };
        (slice.starts[axis], slice.steps[axis], slice.sizes[axis]) = (start, steps[i], size);
    }
    if slice == Slice::contiguous(&vec![0; rank], &shape) {
        return Ok(vec![x]);
    }
    Ok(vec![call.push(slice, &[x])?])
}

/// The first element and the number of elements of `start..end`, both of which may count from the end or lie outside.
fn span(start: i64, end: i64, step: i64, size: i64) -> Option<(usize, usize)> {
    let counted = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (start, end) = (counted(start), counted(end));
    let (start, distance) = match step {
        0 => return None,
        1.. => {
            let start = start.clamp(0, size);
            (start, end.clamp(0, size) - start)
        }
        ..0 => {
            let start = start.clamp(-1, size - 1);
            (start, start - end.clamp(-1, size - 1))
        }
    };
    if distance <= 0 {
        return Some((0, 0));
    }
    Some((start as usize, (distance as u64).div_ceil(step.unsigned_abs()) as usize))
}

/// The sizes are an attribute before opset 13; without sizes, the parts are equal, but the last may be smaller.
pub(super) fn split(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let named = call.int("axis", 0)?;
    let axis = axis(named, ty.shape.len())?;
    let (size, count) = (ty.shape[axis], call.results());
    if call.opset() >= 18 {
        let declared = call.int("num_outputs", count as i64)?;
        if declared != count as i64 {
            return invalid(format!("attribute \"num_outputs\" is {declared}, but the node has {count} results"));
        }
    }
    let parts = match call.moved_integers("split", 13, 1)? {
        Some(parts) => sizes(&parts, "split")?,
        None => {
            let part = size.div_ceil(count.max(1));
            (0..count).map(|i| part.min(size.saturating_sub(i * part))).collect()
        }
    };
    let total = parts.iter().try_fold(0_usize, |total, &part| total.checked_add(part));
    if parts.len() != count || total != Some(size) {
        return invalid(format!("parts {parts:?} do not split axis {axis} of {ty} into {count} results"));
    }
    let mut start = 0;
    let mut results = Vec::with_capacity(count);
    for part in parts {
        let mut slice = Slice::contiguous(&vec![0; ty.shape.len()], &ty.shape);
        (slice.starts[axis], slice.sizes[axis]) = (start, part);
        results.push(call.push(slice, &[x])?);
        start += part;
    }
    Ok(results)
}

/// Negative padding crops. Everything but the tensor is an attribute before opset 11.
pub(super) fn pad(call: &mut Call<'_>) -> Results {
    let mut x = call.operand(0)?;
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
    if pads.iter().all(|&pad| pad == 0) {
        return Ok(vec![x]);
    }
    if mode != "constant" {
        return unsupported(format!("its mode is \"{mode}\"; only \"constant\" is supported"));
    }
    let mut pad = Pad { begin: vec![0; rank], end: vec![0; rank], value };
    let mut crop = Slice::contiguous(&vec![0; rank], &shape);
    for (i, &named_axis) in named.iter().enumerate() {
        let axis = axis(named_axis, rank)?;
        let (begin, end) = (pads[i], pads[i + named.len()]);
        (pad.begin[axis], pad.end[axis]) = (begin.max(0) as usize, end.max(0) as usize);
        let cropped = |pad: i64| if pad < 0 { pad.unsigned_abs() as usize } else { 0 };
        let left = shape[axis].checked_sub(cropped(begin)).and_then(|left| left.checked_sub(cropped(end)));
        let Some(left) = left else {
            return invalid(format!("paddings {begin} and {end} leave nothing of axis {axis} of size {}", shape[axis]));
        };
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

/// The indices must be known.
pub(super) fn gather(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let axis = axis(call.int("axis", 0)?, ty.shape.len())?;
    let Some(indices) = call.constant(1, "indices")? else { return invalid("its indices are missing") };
    let size = ty.shape[axis] as f64;
    if let Some(index) = indices.values().iter().find(|&&index| index < -size || index >= size) {
        return invalid(format!("index {index} lies outside axis {axis} of {ty}"));
    }
    let counted = |&index: &f64| (if index < 0.0 { index + size } else { index }) as u32;
    let shape = indices.shape().to_vec();
    call.spend(indices.values().len())?;
    let indices = indices.values().iter().map(counted).collect();
    Ok(vec![call.push(Gather { axis, indices, shape }, &[x])?])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    const X: [f64; 6] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];

    fn model(opset: i64) -> Model {
        Model::new(opset).input("x", &["n", "6"])
    }

    fn slice(start: i64, end: i64, step: i64) -> Vec<f64> {
        let model = model(13).integers("start", &[1], &[start]).integers("end", &[1], &[end]);
        let model = model.integers("axis", &[1], &[-1]).integers("step", &[1], &[step]);
        model.node("Slice", &["x", "start", "end", "axis", "step"], &["y"]).run(&X)
    }

    #[test]
    fn slices() {
        assert_eq!(slice(1, 4, 2), [2.0, 4.0]);
        assert_eq!(slice(-2, i64::MAX, 1), [5.0, 6.0]);
        assert_eq!(slice(0, 100, 4), [1.0, 5.0]);
        assert_eq!(slice(-1, i64::MIN, -2), [6.0, 4.0, 2.0]);
        assert_eq!(slice(100, 0, -3), [6.0, 3.0]);
        assert_eq!(slice(4, 4, 1), []);
        assert_eq!(slice(-100, -5, 1), [1.0]);
        assert_eq!(slice(0, i64::MAX, i64::MAX), [1.0]);
        let old = model(9).node("Slice", &["x"], &["y"]).ints("starts", &[0, 1]).ints("ends", &[1, 3]);
        assert_eq!(old.clone().run(&X), [2.0, 3.0]);
        insta::assert_snapshot!(old.ints("axes", &[1, 1]).error(), @r#"node "Slice_0" (Slice): axes [1, 1] name an axis twice"#);
        let zero = model(13).integers("a", &[1], &[0]).node("Slice", &["x", "a", "a", "a", "a"], &["y"]);
        insta::assert_snapshot!(zero.error(), @r#"node "Slice_0" (Slice): a step is 0"#);
        insta::assert_snapshot!(model(13).node("Slice", &["x"], &["y"]).error(), @r#"node "Slice_0" (Slice): its starts or ends are missing"#);
    }

    #[test]
    fn split() {
        let named = |model: Model| model.node("Concat", &["b", "a"], &["y"]).int("axis", 1).run(&X);
        let old = model(11).node("Split", &["x"], &["a", "b"]).int("axis", 1);
        assert_eq!(named(old.clone()), [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
        assert_eq!(named(old.ints("split", &[1, 5])), [2.0, 3.0, 4.0, 5.0, 6.0, 1.0]);
        let new = model(18).integers("parts", &[2], &[5, 1]).node("Split", &["x", "parts"], &["a", "b"]);
        assert_eq!(named(new.int("axis", 1)), [6.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let uneven = model(18).node("Split", &["x"], &["a", "b", "c", "y"]).int("num_outputs", 4).int("axis", 1);
        assert_eq!(uneven.shape(), [1, 0]);
        let wrong = model(18).integers("parts", &[2], &[5, 5]).node("Split", &["x", "parts"], &["a", "y"]);
        insta::assert_snapshot!(wrong.int("axis", 1).error(), @r#"node "Split_0" (Split): parts [5, 5] do not split axis 1 of f32[1, 6] into 2 results"#);
    }

    #[test]
    fn pad() {
        let old = model(10).node("Pad", &["x"], &["y"]).ints("pads", &[0, 1, 0, -4]).float("value", 9.0);
        assert_eq!(old.clone().run(&X), [9.0, 1.0, 2.0]);
        insta::assert_snapshot!(old.text("mode", "reflect").unsupported(), @r#"Pad_0 (Pad, result 0): its mode is "reflect"; only "constant" is supported"#);
        let new = model(18).integers("pads", &[2], &[-3, 1]).integers("axis", &[1], &[1]).floats("v", &[], &[7.0]);
        assert_eq!(new.node("Pad", &["x", "pads", "v", "axis"], &["y"]).run(&X), [4.0, 5.0, 6.0, 7.0]);
        let nothing = model(13).integers("pads", &[4], &[0; 4]).node("Pad", &["x", "pads"], &["y"]);
        assert_eq!(nothing.text("mode", "edge").run(&X), X);
        let all = model(13).integers("pads", &[4], &[0, -4, 0, -3]).node("Pad", &["x", "pads"], &["y"]);
        insta::assert_snapshot!(all.error(), @r#"node "Pad_0" (Pad): paddings -4 and -3 leave nothing of axis 1 of size 6"#);
    }

    #[test]
    fn gather() {
        let gather =
            |index: i64| model(13).integers("i", &[], &[index]).node("Gather", &["x", "i"], &["y"]).int("axis", 1);
        assert_eq!((gather(-2).run(&X), gather(-2).shape()), (vec![5.0], vec![1]));
        insta::assert_snapshot!(gather(6).error(), @r#"node "Gather_0" (Gather): index 6 lies outside axis 1 of f32[1, 6]"#);
    }

    #[test]
    fn concat() {
        let model = model(13).node("Concat", &["x", "x"], &["y"]);
        assert_eq!(model.clone().int("axis", -1).shape(), [1, 12]);
        insta::assert_snapshot!(model.clone().error(), @r#"node "Concat_0" (Concat): attribute "axis" is missing"#);
        insta::assert_snapshot!(model.int("axis", 2).error(), @r#"node "Concat_0" (Concat): axis 2 does not exist in a tensor with 2 axes"#);
    }
}
