use hec_ir::Value;
use hec_ir::tensor::{Conv, Pad, Reshape, Slice, TensorType, Transpose, Window};

use super::Results;
use crate::call::{Call, Problem, invalid};

/// A convolution with the mirrored kernel over the operand with `stride - 1` zeros after each element.
pub(super) fn conv_transpose(call: &mut Call<'_>) -> Results {
    let (x, w) = (call.operand(0)?, call.operand(1)?);
    let (x_ty, w_ty) = (call.ty(x)?, call.ty(w)?);
    let groups = call.int("group", 1)?;
    let fits = |groups: usize| {
        x_ty.shape.len() >= 3
            && w_ty.shape.len() == x_ty.shape.len()
            && groups > 0
            && w_ty.shape[0] == x_ty.shape[1]
            && w_ty.shape[0].is_multiple_of(groups)
            && !w_ty.shape.contains(&0)
    };
    let Some(groups) = usize::try_from(groups).ok().filter(|&groups| fits(groups)) else {
        return invalid(format!("a kernel {w_ty} in {groups} groups does not fit an input {x_ty}"));
    };
    let kernel = &w_ty.shape[2..];
    if let Some(declared) = call.sizes("kernel_shape")?
        && declared != kernel
    {
        return invalid(format!("attribute \"kernel_shape\" is {declared:?}, but the kernel is {w_ty}"));
    }
    let spread = Spread::read(call, &x_ty.shape[2..], kernel)?;
    let x = spread.operand(call, x, &x_ty)?;
    let w = mirrored(call, w, &w_ty, groups)?;
    let operands: Vec<_> = [Some(x), Some(w), call.optional(2)].into_iter().flatten().collect();
    let window = Window { dilations: spread.dilations, ..Window::unit(kernel.len()) };
    Ok(vec![call.push(Conv { window, groups }, &operands)?])
}

/// What is done to each spatial axis of the operand.
struct Spread {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Zeros before and after an axis whose elements lie `stride` apart; negative ones crop.
    begin: Vec<i64>,
    end: Vec<i64>,
}

impl Spread {
    fn read(call: &mut Call<'_>, input: &[usize], kernel: &[usize]) -> Result<Self, Problem> {
        let axes = input.len();
        let mut list = |name: &'static str, length: usize, default: usize| match call.sizes(name)? {
            None => Ok(vec![default; length]),
            // Large enough for anything, small enough to be added up.
            Some(values) if values.len() == length && values.iter().all(|&v| v < 1 << 24) => Ok(values),
            Some(values) => invalid(format!("expected {length} numbers as \"{name}\", found {values:?}")),
        };
        let (strides, dilations) = (list("strides", axes, 1)?, list("dilations", axes, 1)?);
        let (more, pads) = (list("output_padding", axes, 0)?, list("pads", 2 * axes, 0)?);
        if strides.contains(&0) || dilations.contains(&0) {
            return invalid("strides and dilations must be at least 1");
        }
        let wanted = call.sizes("output_shape")?;
        let auto_pad = call.text("auto_pad", "NOTSET")?;
        if !["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"].contains(&auto_pad.as_str()) {
            return invalid(format!("attribute \"auto_pad\" cannot be {auto_pad:?}"));
        }
        let (mut begin, mut end) = (Vec::with_capacity(axes), Vec::with_capacity(axes));
        for axis in 0..axes {
            let (stride, reach) = (strides[axis] as i64, (kernel[axis] as i64 - 1) * dilations[axis] as i64);
            let (size, more) = (input[axis] as i64, more[axis] as i64);
            let (mut before, mut after) = (pads[axis] as i64, pads[axes + axis] as i64);
            let same = auto_pad.starts_with("SAME");
            let output = match &wanted {
                // Some exporters write the batch and the channels too.
                Some(wanted) if wanted.len() >= axes => Some(wanted[wanted.len() - axes + axis].min(1 << 40) as i64),
                Some(wanted) => return invalid(format!("expected {axes} sizes as \"output_shape\", found {wanted:?}")),
                None => same.then_some(size * stride),
            };
            if let Some(output) = output {
                let total = stride * (size - 1) + more + reach + 1 - output;
                // SAME_UPPER pads more at the end; everything else at the beginning.
                before = if auto_pad == "SAME_UPPER" { total.div_euclid(2) } else { total - total.div_euclid(2) };
                after = total - before;
            } else if auto_pad == "VALID" {
                (before, after) = (0, 0);
            }
            begin.push(reach - before);
            // Spreading leaves `stride - 1` zeros after the last element.
            end.push(reach - after + more - (stride - 1));
        }
        Ok(Self { strides, dilations, begin, end })
    }

    /// The operand, spread, padded and cropped.
    fn operand(&self, call: &mut Call<'_>, x: Value, ty: &TensorType) -> Result<Value, Problem> {
        let mut x = x;
        let mut shape = ty.shape.clone();
        if self.strides.iter().any(|&stride| stride > 1) {
            // [.., size, ..] becomes [.., size, 1, ..], [.., size, stride, ..], [.., size * stride, ..].
            let (mut split, mut zeros) = (shape[..2].to_vec(), vec![0; 2]);
            for (size, stride) in shape[2..].iter().zip(&self.strides) {
                split.extend([*size, 1]);
                zeros.extend([0, stride - 1]);
            }
            x = call.push(Reshape { shape: split.clone() }, &[x])?;
            x = call.push(Pad { begin: vec![0; split.len()], end: zeros, value: 0.0 }, &[x])?;
            shape.iter_mut().skip(2).zip(&self.strides).for_each(|(size, stride)| *size *= stride);
            x = call.push(Reshape { shape: shape.clone() }, &[x])?;
        }
        let pad = |pads: &[i64]| [0, 0].into_iter().chain(pads.iter().map(|&pad| pad.max(0) as usize)).collect();
        let pad = Pad { begin: pad(&self.begin), end: pad(&self.end), value: 0.0 };
        if pad.begin.iter().chain(&pad.end).any(|&pad| pad > 0) {
            x = call.push(pad, &[x])?;
        }
        let padded = call.ty(x)?.shape;
        let mut crop = Slice::contiguous(&vec![0; padded.len()], &padded);
        for (axis, (&begin, &end)) in self.begin.iter().zip(&self.end).enumerate() {
            let (begin, end) = (begin.min(0).unsigned_abs() as usize, end.min(0).unsigned_abs() as usize);
            let size = &mut crop.sizes[axis + 2];
            match size.checked_sub(begin).and_then(|left| left.checked_sub(end)) {
                Some(left) if left > 0 => *size = left,
                _nothing => return invalid(format!("its padding leaves nothing of axis {} of {ty}", axis + 2)),
            }
            crop.starts[axis + 2] = begin;
        }
        if crop.sizes == padded { Ok(x) } else { call.push(crop, &[x]) }
    }
}

/// `[in, out / groups, kernel..]` as the kernel of a convolution, `[out, in / groups, kernel..]`, walked backwards.
fn mirrored(call: &mut Call<'_>, w: Value, ty: &TensorType, groups: usize) -> Result<Value, Problem> {
    let rank = ty.shape.len();
    let (group_in, group_out, kernel) = (ty.shape[0] / groups, ty.shape[1], &ty.shape[2..]);
    let grouped = [&[groups, group_in, group_out], kernel].concat();
    let mut w = call.push(Reshape { shape: grouped }, &[w])?;
    let permutation = [0, 2, 1].into_iter().chain(3..rank + 1).collect();
    w = call.push(Transpose { permutation }, &[w])?;
    let shape = [&[groups * group_out, group_in], kernel].concat();
    w = call.push(Reshape { shape: shape.clone() }, &[w])?;
    let starts = [0, 0].into_iter().chain(kernel.iter().map(|size| size - 1)).collect();
    let steps = [1, 1].into_iter().chain(kernel.iter().map(|_| -1)).collect();
    call.push(Slice { starts, steps, sizes: shape }, &[w])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    fn model() -> Model {
        let model = Model::new(17).input("x", &["n", "1", "3"]).floats("w", &[1, 1, 2], &[1.0, 10.0]);
        model.floats("b", &[1], &[0.5]).node("ConvTranspose", &["x", "w", "b"], &["y"])
    }

    #[test]
    fn every_element_is_spread_over_the_kernel() {
        let x = [1.0, 2.0, 3.0];
        assert_eq!(model().run(&x), [1.5, 12.5, 23.5, 30.5]);
        assert_eq!(model().ints("strides", &[3]).run(&x), [1.5, 10.5, 0.5, 2.5, 20.5, 0.5, 3.5, 30.5]);
        assert_eq!(model().ints("pads", &[1, 1]).run(&x), [12.5, 23.5]);
        assert_eq!(model().ints("pads", &[2, 0]).run(&x), [23.5, 30.5]);
        assert_eq!(model().ints("dilations", &[2]).run(&x), [1.5, 2.5, 13.5, 20.5, 30.5]);
        assert_eq!(model().ints("strides", &[2]).ints("output_padding", &[1]).run(&x)[5..], [30.5, 0.5]);
        assert_eq!(model().ints("output_shape", &[3]).run(&x), [12.5, 23.5, 30.5]);
        assert_eq!(model().text("auto_pad", "SAME_UPPER").run(&x), [1.5, 12.5, 23.5]);
        assert_eq!(model().text("auto_pad", "SAME_LOWER").run(&x), [12.5, 23.5, 30.5]);
    }

    #[test]
    fn groups_keep_to_themselves() {
        let model = Model::new(17).input("x", &["n", "2", "2"]).floats("w", &[2, 1, 1], &[2.0, 3.0]);
        let model = model.node("ConvTranspose", &["x", "w"], &["y"]);
        assert_eq!(model.clone().int("group", 2).run(&[1.0, 2.0, 3.0, 4.0]), [2.0, 4.0, 9.0, 12.0]);
        assert_eq!(model.clone().run(&[1.0, 2.0, 3.0, 4.0]), [11.0, 16.0]);
        insta::assert_snapshot!(model.int("group", 3).error(), @r#"node "ConvTranspose_0" (ConvTranspose): a kernel f32[2, 1, 1] in 3 groups does not fit an input f32[1, 2, 2]"#);
    }

    #[test]
    fn what_does_not_fit() {
        insta::assert_snapshot!(model().ints("pads", &[9, 9]).error(), @r#"node "ConvTranspose_0" (ConvTranspose): its padding leaves nothing of axis 2 of f32[1, 1, 3]"#);
        insta::assert_snapshot!(model().ints("strides", &[0]).error(), @r#"node "ConvTranspose_0" (ConvTranspose): strides and dilations must be at least 1"#);
        insta::assert_snapshot!(model().ints("strides", &[1, 2]).error(), @r#"node "ConvTranspose_0" (ConvTranspose): expected 1 numbers as "strides", found [1, 2]"#);
        insta::assert_snapshot!(model().ints("strides", &[1 << 40]).error(), @r#"node "ConvTranspose_0" (ConvTranspose): expected 1 numbers as "strides", found [1099511627776]"#);
        insta::assert_snapshot!(model().ints("output_shape", &[]).error(), @r#"node "ConvTranspose_0" (ConvTranspose): expected 1 sizes as "output_shape", found []"#);
        insta::assert_snapshot!(model().text("auto_pad", "SAME").error(), @r#"node "ConvTranspose_0" (ConvTranspose): attribute "auto_pad" cannot be "SAME""#);
        insta::assert_snapshot!(model().ints("kernel_shape", &[3]).error(), @r#"node "ConvTranspose_0" (ConvTranspose): attribute "kernel_shape" is [3], but the kernel is f32[1, 1, 2]"#);
    }
}
