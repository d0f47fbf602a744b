//! Elements of other axes or from nearby: depth and space, repetition, another size.

use hec_ir::Value;
use hec_ir::tensor::{Expand, Reshape, TensorType, Transpose};

use super::Results;
use crate::call::{Call, Problem, invalid, sizes};

/// `[n, c, h, w]` and the block size.
fn blocks(call: &mut Call<'_>) -> Result<(Value, [usize; 4], usize), Problem> {
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let [n, c, h, w] = ty.shape[..] else {
        return invalid(format!("expected [batch, channels, height, width], found {ty}"));
    };
    let block = call.required_int("blocksize")?;
    match usize::try_from(block) {
        Ok(block) if block > 0 && block < 1 << 16 => Ok((x, [n, c, h, w], block)),
        _other => invalid(format!("there are no blocks of size {block}")),
    }
}

fn rearranged(call: &mut Call<'_>, x: Value, split: Vec<usize>, permutation: Vec<usize>, shape: Vec<usize>) -> Results {
    let split = call.push(Reshape { shape: split }, &[x])?;
    let moved = call.push(Transpose { permutation }, &[split])?;
    Ok(vec![call.push(Reshape { shape }, &[moved])?])
}

pub(super) fn depth_to_space(call: &mut Call<'_>) -> Results {
    let (x, [n, c, h, w], block) = blocks(call)?;
    if !c.is_multiple_of(block * block) {
        return invalid(format!("{c} channels do not make blocks of {block}x{block}"));
    }
    let depth = c / (block * block);
    let shape = vec![n, depth, h * block, w * block];
    match call.text("mode", "DCR")?.as_str() {
        "DCR" => rearranged(call, x, vec![n, block, block, depth, h, w], vec![0, 3, 4, 1, 5, 2], shape),
        "CRD" => rearranged(call, x, vec![n, depth, block, block, h, w], vec![0, 1, 4, 2, 5, 3], shape),
        other => invalid(format!("attribute \"mode\" cannot be {other:?}")),
    }
}

pub(super) fn space_to_depth(call: &mut Call<'_>) -> Results {
    let (x, [n, c, h, w], block) = blocks(call)?;
    if !h.is_multiple_of(block) || !w.is_multiple_of(block) {
        return invalid(format!("a plane of {h}x{w} does not consist of blocks of {block}x{block}"));
    }
    let split = vec![n, c, h / block, block, w / block, block];
    rearranged(call, x, split, vec![0, 3, 5, 1, 2, 4], vec![n, c * block * block, h / block, w / block])
}

/// `[a, b]` becomes `[1, a, 1, b]`, is expanded, and becomes `[r * a, s * b]`.
pub(super) fn tile(call: &mut Call<'_>) -> Results {
    let x = call.operand(0)?;
    let TensorType { shape, .. } = call.ty(x)?;
    let Some(repeats) = call.integers(1, "repeats")? else { return invalid("its repeats are missing") };
    let repeats = sizes(&repeats, "repeats")?;
    if repeats.len() != shape.len() {
        return invalid(format!("expected {} repeats, found {repeats:?}", shape.len()));
    }
    if repeats.iter().all(|&repeat| repeat == 1) {
        return Ok(vec![x]);
    }
    let (mut split, mut repeated, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (&size, &repeat) in shape.iter().zip(&repeats) {
        if repeat != 1 {
            split.push(1);
            repeated.push(repeat);
        }
        split.push(size);
        repeated.push(size);
        whole.push(size.saturating_mul(repeat));
    }
    let split = call.push(Reshape { shape: split }, &[x])?;
    let repeated = call.push(Expand { shape: repeated }, &[split])?;
    Ok(vec![call.push(Reshape { shape: whole }, &[repeated])?])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    #[test]
    fn depth_and_space() {
        let x: Vec<f64> = (0..16).map(f64::from).collect();
        let deep = |mode: &str| {
            let model = Model::new(13).input("x", &["n", "8", "1", "2"]).node("DepthToSpace", &["x"], &["y"]);
            model.int("blocksize", 2).text("mode", mode)
        };
        let dcr = [0., 4., 1., 5., 8., 12., 9., 13., 2., 6., 3., 7., 10., 14., 11., 15.];
        assert_eq!((deep("DCR").run(&x), deep("DCR").shape()), (dcr.to_vec(), vec![1, 2, 2, 4]));
        let crd = [0., 2., 1., 3., 4., 6., 5., 7., 8., 10., 9., 11., 12., 14., 13., 15.];
        assert_eq!(deep("CRD").run(&x), crd);
        let wide = Model::new(13).input("x", &["n", "2", "2", "4"]).node("SpaceToDepth", &["x"], &["y"]);
        assert_eq!(wide.clone().int("blocksize", 2).run(&dcr), x);
        insta::assert_snapshot!(deep("XYZ").error(), @r#"node "DepthToSpace_0" (DepthToSpace): attribute "mode" cannot be "XYZ""#);
        insta::assert_snapshot!(wide.clone().int("blocksize", 3).error(), @r#"node "SpaceToDepth_0" (SpaceToDepth): a plane of 2x4 does not consist of blocks of 3x3"#);
        insta::assert_snapshot!(wide.int("blocksize", 0).error(), @r#"node "SpaceToDepth_0" (SpaceToDepth): there are no blocks of size 0"#);
    }

    #[test]
    fn tile_repeats_the_whole() {
        let model = |repeats: &[i64]| {
            let model = Model::new(13).input("x", &["n", "2"]).integers("r", &[repeats.len()], repeats);
            model.node("Tile", &["x", "r"], &["y"])
        };
        assert_eq!((model(&[2, 2]).run(&[1.0, 2.0]), model(&[2, 2]).shape()), ([1.0, 2.0].repeat(4), vec![2, 4]));
        assert_eq!(model(&[1, 1]).run(&[1.0, 2.0]), [1.0, 2.0]);
        assert_eq!(model(&[1, 0]).shape(), [1, 0]);
        insta::assert_snapshot!(model(&[1]).error(), @r#"node "Tile_0" (Tile): expected 2 repeats, found [1]"#);
        insta::assert_snapshot!(model(&[i64::MAX, i64::MAX]).error(), @r#"node "Tile_0" (expand): a tensor of shape [9223372036854775807, 1, 9223372036854775807, 2] is too large"#);
    }
}
