use hec_ir::Value;
use hec_ir::tensor::{
    ArgMax, Binary, Cast, Concat, Element, Gather, MatMul, Reshape, Slice, Tensor, TensorType, Transpose, Unary, Where,
};

use super::Results;
use crate::call::{Call, Problem, axes, axis, invalid, sizes};

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

pub(super) fn gather(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let axis = axis(call.int("axis", 0)?, ty.shape.len())?;
    let indices = call.operand(1)?;
    if !call.is_constant(indices) {
        return Ok(vec![looked_up(call, x, indices, axis)?]);
    }
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

/// Indices that depend on the input: each becomes a row of zeros and a one, and rows times a matrix choose from it. An index
/// that lies outside chooses zeros.
pub(super) fn looked_up(call: &mut Call<'_>, x: Value, indices: Value, axis: usize) -> Result<Value, Problem> {
    let (ty, indices_ty) = (call.ty(x)?, call.ty(indices)?);
    let size = ty.shape[axis];
    if indices_ty.element != Element::I64 {
        return invalid(format!("expected integers as its indices, found {indices_ty}"));
    }
    call.spend(size)?;
    let numbers = Tensor::from_values(Element::I64, &[size], (0..size).map(|i| i as f64).collect());
    let numbers = call.literal(numbers.map_err(|e| Problem::Invalid(e.0))?)?;
    let (zero, length) = (call.scalar(Element::I64, 0.0)?, call.scalar(Element::I64, size as f64)?);
    let negative = call.push(Binary::Less, &[indices, zero])?;
    let from_the_end = call.push(Binary::Add, &[indices, length])?;
    let counted = call.push(Where, &[negative, from_the_end, indices])?;
    let rows = call.push(Reshape { shape: vec![indices_ty.elements(), 1] }, &[counted])?;
    let chosen = call.push(Binary::Equal, &[rows, numbers])?;
    let chosen = call.push(Cast { element: ty.element }, &[chosen])?;

    // The axis first, as rows of a matrix, and back again.
    let rank = ty.shape.len();
    let rest = |from: &[usize]| -> Vec<usize> { (0..rank).filter(|&i| i != axis).map(|i| from[i]).collect() };
    let all: Vec<usize> = (0..rank).collect();
    let mut table = x;
    if axis > 0 {
        table = call.push(Transpose { permutation: [vec![axis], rest(&all)].concat() }, &[table])?;
    }
    let row = rest(&ty.shape).iter().product();
    table = call.push(Reshape { shape: vec![size, row] }, &[table])?;
    let mut y = call.push(MatMul, &[chosen, table])?;
    y = call.push(Reshape { shape: [&indices_ty.shape[..], &rest(&ty.shape)].concat() }, &[y])?;
    if axis > 0 {
        let first = indices_ty.shape.len();
        let permutation = (first..first + axis).chain(0..first).chain(first + axis..first + rank - 1).collect();
        y = call.push(Transpose { permutation }, &[y])?;
    }
    Ok(y)
}

/// The position of the largest element, or of the smallest.
pub(super) fn position(call: &mut Call<'_>, smallest: bool) -> Results {
    let mut x = call.operand(0)?;
    let TensorType { shape, .. } = call.ty(x)?;
    let axis = axis(call.int("axis", 0)?, shape.len())?;
    let (keep, last) = (call.flag("keepdims", true)?, call.flag("select_last_index", false)?);
    if smallest {
        x = call.push(Unary::Neg, &[x])?;
    }
    Ok(vec![call.push(ArgMax { axis, keep, last }, &[x])?])
}

/// The upper or the lower triangle of matrices. The rest becomes 0, even where it is no number.
pub(super) fn triangle(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let [.., rows, cols] = ty.shape[..] else { return invalid(format!("expected matrices, found {ty}")) };
    let (upper, diagonal) = (call.flag("upper", true)?, call.number(1, "diagonal")?.unwrap_or(0.0));
    let count = rows.saturating_mul(cols);
    call.spend(count)?;
    let kept = |at: usize| {
        let above = (at % cols) as f64 - (at / cols) as f64;
        f64::from(if upper { above >= diagonal } else { above <= diagonal })
    };
    let mask = Tensor::from_values(Element::Bool, &[rows, cols], (0..count).map(kept).collect());
    let mask = call.literal(mask.map_err(|e| Problem::Invalid(e.0))?)?;
    let zero = call.scalar(ty.element, 0.0)?;
    Ok(vec![call.push(Where, &[mask, x, zero])?])
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

    #[test]
    fn indices_may_depend_on_the_input() {
        let model =
            Model::new(13).typed_input("x", 7, &["n", "2"]).floats("table", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let rows = model.clone().node("Gather", &["table", "x"], &["y"]);
        assert_eq!((rows.shape(), rows.run(&[2.0, -3.0])), (vec![1, 2, 2], vec![5.0, 6.0, 1.0, 2.0]));
        let columns = model.node("Gather", &["table", "x"], &["y"]).int("axis", -1);
        assert_eq!((columns.shape(), columns.run(&[1.0, 0.0])), (vec![3, 1, 2], vec![2.0, 1.0, 4.0, 3.0, 6.0, 5.0]));
        let real = Model::new(13).input("x", &["n", "2"]).floats("t", &[1], &[1.0]).node("Gather", &["t", "x"], &["y"]);
        insta::assert_snapshot!(real.error(), @r#"node "Gather_0" (Gather): expected integers as its indices, found f32[1, 2]"#);
    }

    #[test]
    fn triangles() {
        let model = |operands: &[&str]| {
            let model = Model::new(14).input("x", &["n", "2", "3"]).integers("k", &[], &[-1]);
            model.node("Trilu", operands, &["y"])
        };
        assert_eq!(model(&["x"]).run(&X), [1.0, 2.0, 3.0, 0.0, 5.0, 6.0]);
        assert_eq!(model(&["x"]).int("upper", 0).run(&X), [1.0, 0.0, 0.0, 4.0, 5.0, 0.0]);
        assert_eq!(model(&["x", "k"]).run(&X), X);
        assert_eq!(model(&["x", "k"]).int("upper", 0).run(&X), [0.0, 0.0, 0.0, 4.0, 0.0, 0.0]);
        let infinite = [1.0, 2.0, 3.0, f64::INFINITY, 5.0, 6.0];
        assert_eq!(model(&["x"]).run(&infinite), [1.0, 2.0, 3.0, 0.0, 5.0, 6.0]);
        let vector = Model::new(14).input("x", &["n"]).node("Trilu", &["x"], &["y"]);
        insta::assert_snapshot!(vector.error(), @r#"node "Trilu_0" (Trilu): expected matrices, found f32[1]"#);
    }

    #[test]
    fn positions() {
        let of = model;
        let model = |op: &str| of(13).node(op, &["x"], &["y"]).int("axis", 1);
        let x = [2.0, 7.0, 7.0, 1.0, 1.0, 3.0];
        assert_eq!((model("ArgMax").run(&x), model("ArgMax").shape()), (vec![1.0], vec![1, 1]));
        assert_eq!(model("ArgMax").int("select_last_index", 1).int("keepdims", 0).run(&x), [2.0]);
        assert_eq!(
            (model("ArgMin").run(&x), model("ArgMin").int("select_last_index", 1).run(&x)),
            (vec![3.0], vec![4.0])
        );
        insta::assert_snapshot!(of(13).node("ArgMax", &["x"], &["y"]).int("axis", 2).error(), @r#"node "ArgMax_0" (ArgMax): axis 2 does not exist in a tensor with 2 axes"#);
    }
}
