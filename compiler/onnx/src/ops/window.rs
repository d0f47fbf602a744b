use hec_ir::tensor::Window;

use crate::call::{Call, Problem, invalid};

/// The attributes of a kernel that slides over axes of sizes `input`, with `auto_pad` resolved, and whether the padding
/// was given explicitly.
pub(super) fn read(call: &mut Call<'_>, input: &[usize], kernel: &[usize]) -> Result<(Window, bool), Problem> {
    let axes = input.len();
    let mut window = Window::unit(axes);
    for (name, field) in [("strides", &mut window.strides), ("dilations", &mut window.dilations)] {
        if let Some(values) = call.sizes(name)? {
            if values.len() != axes || values.contains(&0) {
                return invalid(format!("expected {axes} positive numbers as \"{name}\", found {values:?}"));
            }
            *field = values;
        }
    }
    if kernel.len() != axes || kernel.contains(&0) {
        return invalid(format!("expected a kernel of {axes} positive sizes, found {kernel:?}"));
    }
    let pads = call.sizes("pads")?;
    let auto_pad = call.text("auto_pad", "NOTSET")?;
    let more_at_the_beginning = match auto_pad.as_str() {
        "NOTSET" => {
            if let Some(pads) = pads {
                if pads.len() != 2 * axes {
                    return invalid(format!("expected {} numbers as \"pads\", found {pads:?}", 2 * axes));
                }
                window.pads_begin.copy_from_slice(&pads[..axes]);
                window.pads_end.copy_from_slice(&pads[axes..]);
            }
            return Ok((window, true));
        }
        "VALID" => return Ok((window, false)),
        "SAME_UPPER" => false,
        "SAME_LOWER" => true,
        other => return invalid(format!("attribute \"auto_pad\" cannot be {other:?}")),
    };
    for axis in 0..axes {
        let stride = window.strides[axis];
        let extent = (kernel[axis] - 1).saturating_mul(window.dilations[axis]).saturating_add(1);
        let last = (input[axis].div_ceil(stride).saturating_sub(1)).saturating_mul(stride);
        let total = last.saturating_add(extent).saturating_sub(input[axis]);
        window.pads_begin[axis] = if more_at_the_beginning { total.div_ceil(2) } else { total / 2 };
        window.pads_end[axis] = total - window.pads_begin[axis];
    }
    Ok((window, false))
}
