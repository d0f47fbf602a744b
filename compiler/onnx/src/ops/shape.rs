use hec_ir::Value;
use hec_ir::tensor::{Element, Expand, Reshape, Tensor, Transpose, broadcast_shape};

use super::Results;
use crate::call::{Call, Problem, axes, axis, invalid, sizes};

/// Shapes are known, so this is a constant.
pub(super) fn shape(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let shape = call.ty(x)?.shape;
    let rank = shape.len() as i64;
    let mut bound = |name, default| -> Result<usize, Problem> {
        let at = call.int(name, default)?;
        Ok((if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize)
    };
    let (start, end) = (bound("start", 0)?, bound("end", rank)?);
    let part: Vec<f64> = shape[start..end.max(start)].iter().map(|&size| size as f64).collect();
    let tensor = Tensor::from_values(Element::I64, &[part.len()], part);
    Ok(vec![call.literal(tensor.map_err(|e| Problem::Invalid(e.0))?)?])
}

/// The number of elements, which is known too.
pub(super) fn size(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let elements = call.ty(x)?.elements();
    Ok(vec![call.scalar(Element::I64, elements as f64)?])
}

pub(super) fn reshape(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let Some(mut target) = call.integers(1, "shape")? else { return invalid("its shape is missing") };
    let copy_zeros = !call.flag("allowzero", false)?;
    if copy_zeros {
        for (axis, size) in target.iter_mut().enumerate().filter(|(_, size)| **size == 0) {
            let Some(&copied) = ty.shape.get(axis) else {
                return invalid(format!("its shape copies axis {axis}, which {ty} does not have"));
            };
            *size = copied as i64;
        }
    }
    if !call.is_constant(x) {
        without_exported_batch(call, &ty.shape, &mut target);
    }
    let shape = fill(&target, ty.elements())?;
    reshaped(call, x, shape)
}

/// Puts 1 for the batch that the model was exported for, where a target begins with it and fits only then.
fn without_exported_batch(call: &Call<'_>, shape: &[usize], target: &mut [i64]) {
    let Some(batch) = call.exported_batch() else { return };
    let Some((first, rest)) = target.split_first_mut() else { return };
    if *first != batch as i64 {
        return;
    }
    let elements = shape.iter().product::<usize>() as i64;
    let fits_with_one = match rest.iter().try_fold(1_i64, |product, &size| product.checked_mul(size)) {
        // What is left open takes up the batch too, so that everything fits.
        Some(product) if product < 0 => shape.first() == Some(&1),
        Some(product) => product == elements,
        None => false,
    };
    if fits_with_one {
        *first = 1;
    }
}

/// The target with its open axis, if it has one, as long as the elements need.
fn fill(target: &[i64], elements: usize) -> Result<Vec<usize>, Problem> {
    let open: Vec<usize> = (0..target.len()).filter(|&axis| target[axis] == -1).collect();
    let [open] = open[..] else {
        if open.is_empty() {
            return sizes(target, "shape");
        }
        return invalid(format!("its shape {target:?} leaves more than one axis open"));
    };
    let mut closed = target.to_vec();
    closed[open] = 1;
    let mut shape = sizes(&closed, "shape")?;
    match shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size)) {
        Some(product) if product > 0 && elements.is_multiple_of(product) => {
            shape[open] = elements / product;
            Ok(shape)
        }
        _mismatch => invalid(format!("its shape {target:?} does not fit {elements} elements")),
    }
}

/// `x` itself if it has the shape already.
fn reshaped(call: &mut Call<'_>, x: Value, shape: Vec<usize>) -> Results {
    if call.ty(x)?.shape == shape {
        return Ok(vec![x]);
    }
    Ok(vec![call.push(Reshape { shape }, &[x])?])
}

pub(super) fn flatten(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let (named, rank) = (call.int("axis", 1)?, ty.shape.len());
    // Beyond the last axis is allowed too, counted from the beginning.
    let first = if named == rank as i64 { rank } else { axis(named, rank)? };
    let (rows, row) = (ty.shape[..first].iter().product(), ty.shape[first..].iter().product());
    reshaped(call, x, vec![rows, row])
}

pub(super) fn squeeze(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let axes = match call.moved_integers("axes", 13, 1)? {
        Some(named) => axes(&named, ty.shape.len())?,
        None => (0..ty.shape.len()).filter(|&axis| ty.shape[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| ty.shape[axis] != 1) {
        return invalid(format!("axis {axis} of {ty} has not size 1"));
    }
    let left = ty.shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &size)| size);
    reshaped(call, x, left.collect())
}

pub(super) fn unsqueeze(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let Some(named) = call.moved_integers("axes", 13, 1)? else { return invalid("its axes are missing") };
    let axes = axes(&named, ty.shape.len() + named.len())?;
    let mut shape = ty.shape;
    axes.into_iter().for_each(|axis| shape.insert(axis, 1));
    reshaped(call, x, shape)
}

pub(super) fn transpose(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let rank = call.ty(x)?.shape.len();
    let permutation = call.sizes("perm")?.unwrap_or_else(|| (0..rank).rev().collect());
    if permutation.iter().copied().eq(0..rank) {
        return Ok(vec![x]);
    }
    Ok(vec![call.push(Transpose { permutation }, &[x])?])
}

/// The operand and the target broadcast towards each other.
pub(super) fn expand(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let Some(target) = call.integers(1, "shape")? else { return invalid("its shape is missing") };
    let shape = broadcast_shape(&ty.shape, &sizes(&target, "shape")?).map_err(|e| Problem::Invalid(e.0))?;
    if shape == ty.shape {
        return Ok(vec![x]);
    }
    Ok(vec![call.push(Expand { shape }, &[x])?])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    fn reshape(input: &[&str], target: &[i64]) -> Model {
        let model = Model::new(14).input("x", input).integers("target", &[target.len()], target);
        model.node("Reshape", &["x", "target"], &["y"])
    }

    #[test]
    fn reshape_copies_and_fills() {
        assert_eq!(reshape(&["n", "2", "3"], &[0, -1]).shape(), [1, 6]);
        assert_eq!(reshape(&["n", "2", "3"], &[3, 0, 1]).shape(), [3, 2, 1]);
        assert_eq!(reshape(&["n", "2", "3"], &[6]).shape(), [6]);
        assert_eq!(reshape(&["n", "1"], &[]).shape(), []);
        insta::assert_snapshot!(reshape(&["n", "2", "3"], &[-1, -1]).error(), @r#"node "Reshape_0" (Reshape): its shape [-1, -1] leaves more than one axis open"#);
        insta::assert_snapshot!(reshape(&["n", "2", "3"], &[-1, 4]).error(), @r#"node "Reshape_0" (Reshape): its shape [-1, 4] does not fit 6 elements"#);
        insta::assert_snapshot!(reshape(&["n", "2", "3"], &[-2, 3]).error(), @r#"node "Reshape_0" (Reshape): expected sizes as its shape, found [-2, 3]"#);
        insta::assert_snapshot!(reshape(&["n", "6"], &[1, 1, 0]).error(), @r#"node "Reshape_0" (Reshape): its shape copies axis 2, which f32[1, 6] does not have"#);
        insta::assert_snapshot!(reshape(&["n", "2"], &[0, 3]).int("allowzero", 1).error(), @r#"node "Reshape_0" (reshape): 2 elements of shape [1, 2] do not fill shape [0, 3]"#);
        insta::assert_snapshot!(reshape(&["n", "2"], &[3]).error(), @r#"node "Reshape_0" (reshape): 2 elements of shape [1, 2] do not fill shape [3]"#);
        let open = Model::new(14).input("x", &["n", "2"]).input("s", &["n"]).node("Reshape", &["x", "s"], &["y"]);
        insta::assert_snapshot!(open.unsupported(), @"Reshape_0 (Reshape, result 0): its shape must be known, but it depends on the input or on too many elements: export the model with fixed shapes");
    }

    #[test]
    fn reshape_for_a_fixed_batch() {
        assert_eq!(reshape(&["4", "2", "3"], &[4, 6]).shape(), [1, 6]);
        assert_eq!(reshape(&["4", "2", "8"], &[4, -1]).shape(), [1, 16]);
        assert_eq!(reshape(&["4", "2", "8"], &[-1, 16]).shape(), [1, 16]);
        // Fits as it is.
        assert_eq!(reshape(&["4", "2", "8"], &[4, 4]).shape(), [4, 4]);
        insta::assert_snapshot!(reshape(&["4", "2", "8"], &[8, 8]).error(), @r#"node "Reshape_0" (reshape): 16 elements of shape [1, 2, 8] do not fill shape [8, 8]; the model was exported for batches of 4 and is read with a batch of 1: if that is the cause, export it with a batch of 1 or an open one"#);
    }

    #[test]
    fn flatten() {
        let shape = |axis| {
            Model::new(13).input("x", &["n", "2", "3"]).node("Flatten", &["x"], &["y"]).int("axis", axis).shape()
        };
        assert_eq!((shape(0), shape(1), shape(2)), (vec![1, 6], vec![1, 6], vec![2, 3]));
        assert_eq!((shape(3), shape(-1), shape(-3)), (vec![6, 1], vec![2, 3], vec![1, 6]));
    }

    #[test]
    fn squeeze_and_unsqueeze() {
        let old = |op: &str, axes: &[i64]| {
            Model::new(11).input("x", &["n", "2", "1"]).node(op, &["x"], &["y"]).ints("axes", axes)
        };
        let new = |op: &str, axes: &[i64]| {
            let model = Model::new(13).input("x", &["n", "2", "1"]).integers("axes", &[axes.len()], axes);
            model.node(op, &["x", "axes"], &["y"])
        };
        assert_eq!((old("Squeeze", &[2]).shape(), new("Squeeze", &[-1]).shape()), (vec![1, 2], vec![1, 2]));
        assert_eq!(old("Unsqueeze", &[0, -1]).shape(), [1, 1, 2, 1, 1]);
        assert_eq!(new("Unsqueeze", &[1, 3]).shape(), [1, 1, 2, 1, 1]);
        assert_eq!(Model::new(13).input("x", &["n", "2", "1"]).node("Squeeze", &["x"], &["y"]).shape(), [2]);
        insta::assert_snapshot!(new("Squeeze", &[1]).error(), @r#"node "Squeeze_0" (Squeeze): axis 1 of f32[1, 2, 1] has not size 1"#);
        insta::assert_snapshot!(new("Unsqueeze", &[1, 1]).error(), @r#"node "Unsqueeze_0" (Unsqueeze): axes [1, 1] name an axis twice"#);
    }

    #[test]
    fn transpose() {
        let model = Model::new(13).input("x", &["n", "2", "3"]).node("Transpose", &["x"], &["y"]);
        assert_eq!(model.shape(), [3, 2, 1]);
        assert_eq!(model.clone().ints("perm", &[0, 2, 1]).shape(), [1, 3, 2]);
        insta::assert_snapshot!(model.ints("perm", &[0, 2]).error(), @r#"node "Transpose_0" (transpose): [0, 2] is no permutation of the axes of shape [1, 2, 3]"#);
    }

    #[test]
    fn shapes_are_constants() {
        let model = Model::new(15).input("x", &["n", "2", "3"]).node("Shape", &["x"], &["s"]).int("start", 1);
        let model = model.node("Squeeze", &["x"], &["z"]).node("Reshape", &["z", "s"], &["y"]);
        assert_eq!(model.shape(), [2, 3]);
        let end =
            Model::new(15).input("x", &["n", "2", "3"]).node("Shape", &["x"], &["y"]).int("start", -2).int("end", -1);
        assert_eq!(end.run(&[0.0; 6]), [2.0]);
        let none =
            Model::new(15).input("x", &["n", "2", "3"]).node("Shape", &["x"], &["y"]).int("start", 2).int("end", 1);
        assert_eq!(none.shape(), [0]);
    }

    #[test]
    fn expand() {
        let expand = |target: &[i64]| {
            let model = Model::new(13).input("x", &["n", "2", "1"]).integers("t", &[target.len()], target);
            model.node("Expand", &["x", "t"], &["y"])
        };
        assert_eq!(expand(&[2, 3]).run(&[1.0, 2.0]), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        assert_eq!(expand(&[1]).shape(), [1, 2, 1]);
        insta::assert_snapshot!(expand(&[3, 1]).error(), @r#"node "Expand_0" (Expand): shapes [1, 2, 1] and [3, 1] do not broadcast"#);
    }
}
