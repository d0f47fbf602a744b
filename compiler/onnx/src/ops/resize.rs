//! Planes of another size: each axis by itself.

use hec_ir::Value;
use hec_ir::tensor::{Gather, MatMul, Reshape, Tensor};

use super::Results;
use crate::call::{Call, Problem, axes, axis, invalid, sizes, unsupported};

/// Scales only, and the oldest of all ways to place the elements.
pub(super) fn upsample(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let shape = call.ty(x)?.shape;
    let scales = if call.opset() < 9 {
        call.floats("scales")?
    } else {
        call.constant(1, "scales")?.map(|scales| scales.values().to_vec())
    };
    let Some(scales) = scales else { return invalid("its scales are missing") };
    let method = match call.text("mode", "nearest")?.as_str() {
        "nearest" => Method::Nearest(Rounding::Floor),
        "linear" | "bilinear" => Method::Linear,
        other => return invalid(format!("attribute \"mode\" cannot be {other:?}")),
    };
    let all: Vec<usize> = (0..shape.len()).collect();
    let targets = scaled(&shape, &all, &scales)?;
    resized(call, x, &targets, &method, Placing::Asymmetric)
}

/// Between opset 10 and 11 it learned much.
pub(super) fn resize(call: &mut Call<'_>) -> Results {
    if call.opset() < 11 {
        return upsample(call);
    }
    if call.flag("antialias", false)? {
        return unsupported("it filters before it shrinks (antialias)");
    }
    let x = call.operand(0)?;
    let shape = call.ty(x)?.shape;
    let named = if call.opset() < 18 { None } else { call.ints("axes")? };
    let named = match named {
        Some(named) => {
            axes(&named, shape.len())?;
            named.iter().map(|&named| axis(named, shape.len())).collect::<Result<Vec<_>, _>>()?
        }
        None => (0..shape.len()).collect(),
    };
    // Empty is as good as missing.
    let scales = call.constant(2, "scales")?.map(|scales| scales.values().to_vec()).filter(|list| !list.is_empty());
    let wanted = call.integers(3, "sizes")?.filter(|list| !list.is_empty());
    let policy = call.text("keep_aspect_ratio_policy", "stretch")?;
    let targets = match (scales, wanted) {
        (Some(scales), None) => scaled(&shape, &named, &scales)?,
        (None, Some(wanted)) => sized(&shape, &named, &sizes(&wanted, "sizes")?, &policy)?,
        _both_or_neither => return invalid("expected either scales or sizes"),
    };
    let placing = match call.text("coordinate_transformation_mode", "half_pixel")?.as_str() {
        "half_pixel" => Placing::HalfPixel,
        "half_pixel_symmetric" => Placing::HalfPixelSymmetric,
        "pytorch_half_pixel" => Placing::PytorchHalfPixel,
        "align_corners" => Placing::AlignCorners,
        "asymmetric" => Placing::Asymmetric,
        "tf_crop_and_resize" | "tf_half_pixel_for_nn" => {
            return unsupported("its coordinate_transformation_mode is one of TensorFlow's");
        }
        other => return invalid(format!("attribute \"coordinate_transformation_mode\" cannot be {other:?}")),
    };
    let rounding = match call.text("nearest_mode", "round_prefer_floor")?.as_str() {
        "round_prefer_floor" => Rounding::PreferFloor,
        "round_prefer_ceil" => Rounding::PreferCeil,
        "floor" => Rounding::Floor,
        "ceil" => Rounding::Ceil,
        other => return invalid(format!("attribute \"nearest_mode\" cannot be {other:?}")),
    };
    let (a, exclude_outside) = (call.float("cubic_coeff_a", -0.75)?, call.flag("exclude_outside", false)?);
    call.ignore(&["extrapolation_value"]);
    let method = match call.text("mode", "nearest")?.as_str() {
        "nearest" => Method::Nearest(rounding),
        "linear" => Method::Linear,
        "cubic" => Method::Cubic { a, exclude_outside },
        other => return invalid(format!("attribute \"mode\" cannot be {other:?}")),
    };
    resized(call, x, &targets, &method, placing)
}

enum Rounding {
    PreferFloor,
    PreferCeil,
    Floor,
    Ceil,
}

enum Method {
    Nearest(Rounding),
    Linear,
    Cubic { a: f64, exclude_outside: bool },
}

/// Where in the operand an element of the result lies.
#[derive(Clone, Copy)]
enum Placing {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
}

/// One axis: its size before and after, and the scale, which need not be their ratio.
struct Target {
    axis: usize,
    from: usize,
    to: usize,
    scale: f64,
}

fn scaled(shape: &[usize], axes: &[usize], scales: &[f64]) -> Result<Vec<Target>, Problem> {
    let positive = |&scale: &f64| scale.is_finite() && scale > 0.0;
    if scales.len() != axes.len() || !scales.iter().all(positive) {
        return invalid(format!("expected {} positive scales, found {scales:?}", axes.len()));
    }
    let target = |(&axis, &scale): (&usize, &f64)| {
        let from = shape[axis];
        Target { axis, from, to: (from as f64 * scale).floor() as usize, scale }
    };
    Ok(axes.iter().zip(scales).map(target).collect())
}

fn sized(shape: &[usize], axes: &[usize], sizes: &[usize], policy: &str) -> Result<Vec<Target>, Problem> {
    if sizes.len() != axes.len() {
        return invalid(format!("expected {} sizes, found {sizes:?}", axes.len()));
    }
    let scales = || axes.iter().zip(sizes).map(|(&axis, &to)| to as f64 / shape[axis] as f64);
    let common = match policy {
        "stretch" => None,
        "not_larger" => Some(scales().fold(f64::INFINITY, f64::min)),
        "not_smaller" => Some(scales().fold(0.0, f64::max)),
        other => return invalid(format!("attribute \"keep_aspect_ratio_policy\" cannot be {other:?}")),
    };
    let target = |(&axis, &to): (&usize, &usize)| {
        let from = shape[axis];
        match common {
            Some(scale) => Target { axis, from, to: (from as f64 * scale).round() as usize, scale },
            None => Target { axis, from, to, scale: to as f64 / from as f64 },
        }
    };
    Ok(axes.iter().zip(sizes).map(target).collect())
}

fn resized(call: &mut Call<'_>, x: Value, targets: &[Target], method: &Method, placing: Placing) -> Results {
    let mut y = x;
    for target in targets.iter().filter(|target| target.to != target.from || target.scale != 1.0) {
        if target.from == 0 || target.to == 0 {
            return invalid(format!("axis {} of size {} cannot become {}", target.axis, target.from, target.to));
        }
        call.spend(target.to)?;
        y = match method {
            Method::Nearest(rounding) => {
                let indices = (0..target.to).map(|at| target.nearest(at, placing, rounding)).collect();
                call.push(Gather { axis: target.axis, indices, shape: vec![target.to] }, &[y])?
            }
            Method::Linear | Method::Cubic { .. } => target.interpolated(call, y, method, placing)?,
        };
    }
    Ok(vec![y])
}

impl Target {
    fn source(&self, at: usize, placing: Placing) -> f64 {
        let (at, from, to, scale) = (at as f64, self.from as f64, self.to as f64, self.scale);
        let half_pixel = (at + 0.5) / scale - 0.5;
        match placing {
            Placing::HalfPixel => half_pixel,
            Placing::HalfPixelSymmetric => from / 2.0 * (1.0 - to / (scale * from)) + half_pixel,
            Placing::PytorchHalfPixel if self.to > 1 => half_pixel,
            Placing::AlignCorners if self.to > 1 => at * (from - 1.0) / (to - 1.0),
            Placing::PytorchHalfPixel | Placing::AlignCorners => 0.0,
            Placing::Asymmetric => at / scale,
        }
    }

    fn nearest(&self, at: usize, placing: Placing, rounding: &Rounding) -> u32 {
        let source = self.source(at, placing);
        let rounded = match rounding {
            Rounding::PreferFloor => (source - 0.5).ceil(),
            Rounding::PreferCeil => (source + 0.5).floor(),
            Rounding::Floor => source.floor(),
            Rounding::Ceil => source.ceil(),
        };
        rounded.clamp(0.0, (self.from - 1) as f64) as u32
    }

    /// `[before, axis, after]`, from the left by a matrix of weights.
    fn interpolated(&self, call: &mut Call<'_>, x: Value, method: &Method, placing: Placing) -> Result<Value, Problem> {
        let ty = call.ty(x)?;
        call.spend(self.to.saturating_mul(self.from))?;
        let mut weights = vec![0.0; self.to * self.from];
        for (at, row) in weights.chunks_exact_mut(self.from).enumerate() {
            self.weigh(row, self.source(at, placing), method);
        }
        let weights = Tensor::from_values(ty.element, &[self.to, self.from], weights);
        let weights = call.literal(weights.map_err(|e| Problem::Invalid(e.0))?)?;
        let (before, after) = (&ty.shape[..self.axis], &ty.shape[self.axis + 1..]);
        let flat = vec![before.iter().product(), self.from, after.iter().product()];
        let flat = call.push(Reshape { shape: flat }, &[x])?;
        let y = call.push(MatMul, &[weights, flat])?;
        call.push(Reshape { shape: [before, &[self.to], after].concat() }, &[y])
    }

    /// The weights of all elements for one that lies at `source`. Outside, the outermost elements are repeated.
    fn weigh(&self, row: &mut [f64], source: f64, method: &Method) {
        let first = source.floor();
        let past = source - first;
        let (offsets, taps, exclude_outside): (i64, Vec<f64>, bool) = match method {
            Method::Cubic { a, exclude_outside } => {
                let near = |t: f64| ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
                let far = |t: f64| ((a * t - 5.0 * a) * t + 8.0 * a) * t - 4.0 * a;
                (-1, vec![far(past + 1.0), near(past), near(1.0 - past), far(2.0 - past)], *exclude_outside)
            }
            Method::Linear | Method::Nearest(_) => (0, vec![1.0 - past, past], false),
        };
        for (at, weight) in (first as i64 + offsets..).zip(taps) {
            let inside = at.clamp(0, self.from as i64 - 1);
            if inside == at || !exclude_outside {
                row[inside as usize] += weight;
            }
        }
        if exclude_outside {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    fn model(opset: i64) -> Model {
        let model = Model::new(opset).input("x", &["1", "1", "1", "4"]).floats("none", &[0], &[]);
        let model = model.floats("double", &[4], &[1.0, 1.0, 2.0, 2.0]).floats("half", &[4], &[1.0, 1.0, 1.0, 0.5]);
        model.integers("sizes", &[4], &[1, 1, 1, 3])
    }

    const X: [f64; 4] = [1.0, 2.0, 3.0, 4.0];

    #[test]
    fn upsample() {
        let new = model(9).node("Upsample", &["x", "double"], &["y"]);
        let doubled = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0].repeat(2);
        assert_eq!(new.run(&X), doubled);
        let old = model(7).node("Upsample", &["x"], &["y"]);
        let scales = onnx_protobuf::attribute_proto::AttributeType::FLOATS;
        assert_eq!(old.clone().attribute("scales", scales, |a| a.floats = vec![1.0, 1.0, 2.0, 2.0]).run(&X), doubled);
        assert_eq!(new.text("mode", "linear").run(&X)[..8], [1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.0]);
        insta::assert_snapshot!(old.error(), @r#"node "Upsample_0" (Upsample): its scales are missing"#);
    }

    #[test]
    fn resize() {
        assert_eq!(model(10).node("Resize", &["x", "half"], &["y"]).run(&X), [1.0, 3.0]);
        let scaled = |scales| model(13).node("Resize", &["x", "", scales], &["y"]);
        assert_eq!(scaled("half").run(&X), [1.0, 3.0]);
        assert_eq!(scaled("half").text("nearest_mode", "round_prefer_ceil").run(&X), [2.0, 4.0]);
        assert_eq!(scaled("half").text("mode", "linear").run(&X), [1.5, 3.5]);
        let sized = model(13).node("Resize", &["x", "none", "none", "sizes"], &["y"]);
        let corners = sized.clone().text("coordinate_transformation_mode", "align_corners");
        assert_eq!(corners.clone().text("mode", "linear").run(&X), [1.0, 2.5, 4.0]);
        assert_eq!(corners.text("mode", "cubic").run(&X), [1.0, 2.5, 4.0]);
        insta::assert_snapshot!(scaled("none").error(), @r#"node "Resize_0" (Resize): expected either scales or sizes"#);
        insta::assert_snapshot!(scaled("sizes").text("mode", "best").error(), @r#"node "Resize_0" (Resize): attribute "mode" cannot be "best""#);
        insta::assert_snapshot!(sized.text("coordinate_transformation_mode", "tf_crop_and_resize").unsupported(), @"Resize_0 (Resize, result 0): its coordinate_transformation_mode is one of TensorFlow's");
    }
}
