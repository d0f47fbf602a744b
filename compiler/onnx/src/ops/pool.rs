use hec_ir::Value;
use hec_ir::tensor::{Pool, Pooling, Reduce, Reduction, TensorType, Window};

use super::{Results, window};
use crate::call::{Call, Problem, invalid};

/// The padding counts if `count_include_pad` says so; what `ceil_mode` adds beyond it never does.
pub(super) fn average(call: &mut Call<'_>) -> Results {
    let Sliding { x, kernel, window, counted_end } = sliding(call)?;
    let pooling = if call.flag("count_include_pad", false)? {
        Pooling::Average { counted_begin: window.pads_begin.clone(), counted_end }
    } else {
        Pooling::Average { counted_begin: vec![0; kernel.len()], counted_end: vec![0; kernel.len()] }
    };
    Ok(vec![call.push(Pool { pooling, kernel, window }, &[x])?])
}

/// Its second result, the positions of the largest elements, is not computed.
pub(super) fn max(call: &mut Call<'_>) -> Results {
    let Sliding { x, kernel, window, counted_end: _ } = sliding(call)?;
    call.ignore(&["storage_order"]);
    Ok(vec![call.push(Pool { pooling: Pooling::Max, kernel, window }, &[x])?])
}

/// All spatial axes at once.
pub(super) fn global(call: &mut Call<'_>, reduction: Reduction) -> Results {
    let (x, ty) = spatial_operand(call)?;
    Ok(vec![call.push(Reduce { reduction, axes: (2..ty.shape.len()).collect(), keep: true }, &[x])?])
}

struct Sliding {
    x: Value,
    kernel: Vec<usize>,
    window: Window,
    /// The padding at the end without what `ceil_mode` adds.
    counted_end: Vec<usize>,
}

fn sliding(call: &mut Call<'_>) -> Result<Sliding, Problem> {
    let (x, ty) = spatial_operand(call)?;
    let Some(kernel) = call.sizes("kernel_shape")? else { return invalid("attribute \"kernel_shape\" is missing") };
    let input = &ty.shape[2..];
    let (mut window, explicit) = window::read(call, input, &kernel)?;
    let counted_end = window.pads_end.clone();
    if call.flag("ceil_mode", false)? && explicit {
        (0..input.len()).for_each(|axis| round_up(&mut window, axis, input[axis], kernel[axis]));
    }
    Ok(Sliding { x, kernel, window, counted_end })
}

/// Pads the end so that the elements left over at the end of an axis get a kernel position too, unless it would begin in
/// the padding at the end.
fn round_up(window: &mut Window, axis: usize, input: usize, kernel: usize) {
    let (begin, end, stride) = (window.pads_begin[axis], window.pads_end[axis], window.strides[axis]);
    let extent = (kernel - 1).saturating_mul(window.dilations[axis]).saturating_add(1);
    let Some(room) = input.saturating_add(begin).saturating_add(end).checked_sub(extent) else { return };
    let last = room.div_ceil(stride).saturating_mul(stride);
    if room % stride != 0 && last < input.saturating_add(begin) {
        window.pads_end[axis] += last - room;
    }
}

fn spatial_operand(call: &mut Call<'_>) -> Result<(Value, TensorType), Problem> {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    if ty.shape.len() < 3 {
        return invalid(format!("expected [batch, channels, spatial..], found {ty}"));
    }
    Ok((x, ty))
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    const X: [f64; 6] = [3.0, 6.0, 9.0, 12.0, 15.0, 18.0];

    fn pool(op: &str, kernel: i64) -> Model {
        Model::new(19).input("x", &["n", "1", "6"]).node(op, &["x"], &["y"]).ints("kernel_shape", &[kernel])
    }

    #[test]
    fn average() {
        let model = pool("AveragePool", 3);
        assert_eq!(model.clone().run(&X), [6.0, 9.0, 12.0, 15.0]);
        let padded = model.clone().ints("strides", &[2]).ints("pads", &[1, 0]);
        assert_eq!(padded.clone().run(&X), [4.5, 9.0, 15.0]);
        assert_eq!(padded.int("count_include_pad", 1).run(&X), [3.0, 9.0, 15.0]);
        assert_eq!(model.clone().ints("dilations", &[2]).run(&X), [9.0, 12.0]);
        assert_eq!(model.clone().text("auto_pad", "SAME_UPPER").ints("strides", &[4]).run(&X), [6.0, 16.5]);
    }

    #[test]
    fn ceil_mode_adds_a_position_that_does_not_count() {
        let model = pool("AveragePool", 3).ints("strides", &[2]).int("ceil_mode", 1);
        assert_eq!(model.clone().run(&X), [6.0, 12.0, 16.5]);
        // The padding at the end counts, what lies beyond does not.
        let padded = model.clone().ints("pads", &[0, 1]).int("count_include_pad", 1);
        assert_eq!(padded.run(&X), [6.0, 12.0, 11.0]);
        let wide = pool("AveragePool", 4).ints("strides", &[3]).int("ceil_mode", 1).ints("pads", &[0, 1]);
        assert_eq!(wide.clone().run(&X), [7.5, 15.0]);
        assert_eq!(wide.int("count_include_pad", 1).run(&X), [7.5, 11.25]);
        let beyond = pool("AveragePool", 4).ints("strides", &[4]).int("ceil_mode", 1).int("count_include_pad", 1);
        assert_eq!(beyond.clone().run(&X), [7.5, 16.5]);
        assert_eq!(beyond.ints("pads", &[0, 1]).run(&X), [7.5, 11.0]);
        // A position that would begin in the padding is dropped.
        let dropped = pool("MaxPool", 1).ints("strides", &[3]).int("ceil_mode", 1);
        assert_eq!(dropped.run(&X), [3.0, 12.0]);
    }

    #[test]
    fn max() {
        let model = pool("MaxPool", 2).ints("strides", &[2]);
        assert_eq!(model.clone().run(&X.map(|v| -v)), [-3.0, -9.0, -15.0]);
        assert_eq!(model.clone().ints("pads", &[1, 1]).run(&X.map(|v| -v)), [-3.0, -6.0, -12.0, -18.0]);
        assert_eq!(model.clone().int("storage_order", 0).run(&X), [6.0, 12.0, 18.0]);
        let positions = Model::new(12).input("x", &["n", "1", "6"]).node("MaxPool", &["x"], &["m", "y"]);
        insta::assert_snapshot!(positions.ints("kernel_shape", &[2]).unsupported(), @"MaxPool_0 (MaxPool, result 1): its result 1 is not supported");
        insta::assert_snapshot!(model.clone().int("new_attribute", 1).unsupported(), @r#"MaxPool_0 (MaxPool, result 0): its attribute "new_attribute" is not supported"#);
        insta::assert_snapshot!(pool("MaxPool", 7).error(), @r#"node "MaxPool_0" (max_pool): a kernel of 7 taps (dilation 1) does not fit axis 0 of size 6 with padding 0+0"#);
        insta::assert_snapshot!(pool("MaxPool", 0).error(), @r#"node "MaxPool_0" (MaxPool): expected a kernel of 1 positive sizes, found [0]"#);
        insta::assert_snapshot!(model.clone().text("auto_pad", "SAME").error(), @r#"node "MaxPool_0" (MaxPool): attribute "auto_pad" cannot be "SAME""#);
        insta::assert_snapshot!(Model::new(12).input("x", &["n", "1", "6"]).node("MaxPool", &["x"], &["y"]).error(), @r#"node "MaxPool_0" (MaxPool): attribute "kernel_shape" is missing"#);
    }

    #[test]
    fn global() {
        let run = |op: &str| Model::new(12).input("x", &["n", "2", "3", "1"]).node(op, &["x"], &["y"]).run(&X);
        assert_eq!(run("GlobalAveragePool"), [6.0, 15.0]);
        assert_eq!(run("GlobalMaxPool"), [9.0, 18.0]);
    }
}
