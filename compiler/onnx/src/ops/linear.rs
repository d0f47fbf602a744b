use hec_ir::tensor::{Binary, Conv, MatMul, Reshape, Transpose, Unary};

use super::{Results, window};
use crate::call::{Call, invalid, unsupported};

pub(super) fn conv(call: &mut Call<'_>) -> Results {
    let (x, w) = (call.operand(0)?, call.operand(1)?);
    let (x_ty, w_ty) = (call.ty(x)?, call.ty(w)?);
    if x_ty.shape.len() < 3 || w_ty.shape.len() != x_ty.shape.len() {
        return invalid(format!("a kernel {w_ty} does not fit an input {x_ty}"));
    }
    let kernel = &w_ty.shape[2..];
    if let Some(declared) = call.sizes("kernel_shape")?
        && declared != kernel
    {
        return invalid(format!("attribute \"kernel_shape\" is {declared:?}, but the kernel is {w_ty}"));
    }
    let (window, _) = window::read(call, &x_ty.shape[2..], kernel)?;
    let groups = call.int("group", 1)?;
    let Ok(groups) = usize::try_from(groups) else { return invalid(format!("there cannot be {groups} groups")) };
    let operands: Vec<_> = [Some(x), Some(w), call.optional(2)].into_iter().flatten().collect();
    Ok(vec![call.push(Conv { window, groups }, &operands)?])
}

pub(super) fn matmul(call: &mut Call<'_>) -> Results {
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    Ok(vec![call.push(MatMul, &[a, b])?])
}

/// `alpha * A' B' + beta * C`, where A and B may be transposed.
pub(super) fn gemm(call: &mut Call<'_>) -> Results {
    let (a, b) = (call.operand(0)?, call.operand(1)?);
    let element = call.element(a);
    if call.opset() < 7 {
        call.ignore(&["broadcast"]);
    }
    let mut factors = [a, b];
    for (factor, name) in factors.iter_mut().zip(["transA", "transB"]) {
        let ty = call.ty(*factor)?;
        if ty.shape.len() != 2 {
            return invalid(format!("expected a matrix, found {ty}"));
        }
        if call.flag(name, false)? {
            *factor = call.push(Transpose { permutation: vec![1, 0] }, &[*factor])?;
        }
    }
    let mut y = call.push(MatMul, &factors)?;
    let (alpha, beta) = (call.float("alpha", 1.0)?, call.float("beta", 1.0)?);
    if alpha != 1.0 {
        let alpha = call.scalar(element, alpha)?;
        y = call.push(Binary::Mul, &[y, alpha])?;
    }
    if let Some(mut c) = call.optional(2) {
        if beta != 1.0 {
            let beta = call.scalar(element, beta)?;
            c = call.push(Binary::Mul, &[c, beta])?;
        }
        let (y_ty, c_ty) = (call.ty(y)?, call.ty(c)?);
        y = call.push(Binary::Add, &[y, c])?;
        if call.ty(y)? != y_ty {
            return invalid(format!("the summand {c_ty} does not fit the product {y_ty}"));
        }
    }
    Ok(vec![y])
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` on each channel, as one factor and one summand a channel.
pub(super) fn batch_normalization(call: &mut Call<'_>) -> Results {
    let training = if call.opset() >= 14 {
        call.flag("training_mode", false)?
    } else {
        call.ignore(&["is_test"]);
        (1..5).any(|result| call.names_result(result))
    };
    if training {
        return unsupported(
            "it normalises by the statistics of the batch, as in training: call model.eval() before the export, \
             and export with training=TrainingMode.EVAL",
        );
    }
    if !call.flag("spatial", true)? {
        return unsupported("it has statistics for each element (spatial=0) instead of each channel");
    }
    call.ignore(&["momentum"]);
    let epsilon = call.float("epsilon", 1e-5)?;
    let x = call.operand(0)?;
    let ty = call.ty(x)?;
    let Some(&channels) = ty.shape.get(1) else {
        return invalid(format!("expected [batch, channels, ..], found {ty}"));
    };
    let mut parameters = [x; 4];
    for (index, parameter) in parameters.iter_mut().enumerate() {
        *parameter = call.operand(index + 1)?;
        let found = call.ty(*parameter)?;
        if found.shape != [channels] {
            return invalid(format!(
                "expected {channels} values, one for each channel, as operand {}, found {found}",
                index + 1
            ));
        }
    }
    let [scale, bias, mean, variance] = parameters;
    let epsilon = call.scalar(ty.element, epsilon)?;
    let variance = call.push(Binary::Add, &[variance, epsilon])?;
    let deviation = call.push(Unary::Sqrt, &[variance])?;
    let mut factor = call.push(Binary::Div, &[scale, deviation])?;
    let shift = call.push(Binary::Mul, &[mean, factor])?;
    let mut summand = call.push(Binary::Sub, &[bias, shift])?;
    if ty.shape.len() > 2 {
        let mut shape = vec![1; ty.shape.len() - 1];
        shape[0] = channels;
        factor = call.push(Reshape { shape: shape.clone() }, &[factor])?;
        summand = call.push(Reshape { shape }, &[summand])?;
    }
    let scaled = call.push(Binary::Mul, &[x, factor])?;
    Ok(vec![call.push(Binary::Add, &[scaled, summand])?])
}

#[cfg(test)]
mod tests {
    use crate::build::Model;

    #[test]
    fn conv_with_the_attributes_exporters_write() {
        let x: Vec<f64> = (0..5).map(f64::from).collect();
        let model = Model::new(17).input("x", &["n", "1", "5"]).floats("w", &[1, 1, 2], &[1.0, 10.0]);
        let model = model.floats("b", &[1], &[100.0]).node("Conv", &["x", "w", "b"], &["y"]);
        assert_eq!(model.clone().run(&x), [110.0, 121.0, 132.0, 143.0]);
        let strided = model.clone().ints("strides", &[2]).ints("pads", &[1, 0]).ints("kernel_shape", &[2]);
        assert_eq!(strided.run(&x), [100.0, 121.0, 143.0]);
        assert_eq!(model.clone().text("auto_pad", "SAME_UPPER").run(&x)[4], 104.0);
        assert_eq!(model.clone().text("auto_pad", "SAME_LOWER").run(&x)[0], 100.0);
        assert_eq!(model.clone().text("auto_pad", "VALID").ints("dilations", &[3]).run(&x), [130.0, 141.0]);
        insta::assert_snapshot!(model.clone().ints("kernel_shape", &[3]).error(), @r#"node "Conv_0" (Conv): attribute "kernel_shape" is [3], but the kernel is f32[1, 1, 2]"#);
        insta::assert_snapshot!(model.clone().int("group", 2).error(), @r#"node "Conv_0" (conv): a kernel of shape [1, 1, 2] in 2 groups does not fit an input of shape [1, 1, 5]"#);
        insta::assert_snapshot!(model.clone().int("group", -1).error(), @r#"node "Conv_0" (Conv): there cannot be -1 groups"#);
        insta::assert_snapshot!(model.clone().ints("strides", &[-1]).error(), @r#"node "Conv_0" (Conv): expected sizes as its strides, found [-1]"#);
        insta::assert_snapshot!(model.ints("strides", &[1, 1]).error(), @r#"node "Conv_0" (Conv): expected 1 positive numbers as "strides", found [1, 1]"#);
    }

    #[test]
    fn gemm_in_all_its_parts() {
        let model = |opset| {
            let model = Model::new(opset).input("x", &["n", "2"]).floats("b", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
            model.floats("c", &[3], &[10.0, 20.0, 30.0])
        };
        let full = model(13).node("Gemm", &["x", "b", "c"], &["y"]).int("transB", 1);
        assert_eq!(full.clone().run(&[1.0, -1.0]), [9.0, 19.0, 29.0]);
        assert_eq!(full.clone().float("alpha", 2.0).float("beta", 0.5).run(&[1.0, -1.0]), [3.0, 8.0, 13.0]);
        assert_eq!(model(11).node("Gemm", &["x", "b"], &["y"]).int("transB", 1).run(&[1.0, -1.0]), [-1.0; 3]);
        insta::assert_snapshot!(model(13).node("Gemm", &["x", "b", "c"], &["y"]).error(), @r#"node "Gemm_0" (matmul): shapes [1, 2] and [3, 2] do not multiply"#);
        insta::assert_snapshot!(full.int("transA", 1).error(), @r#"node "Gemm_0" (matmul): shapes [2, 1] and [2, 3] do not multiply"#);
        let column = model(13).floats("d", &[2, 3], &[0.0; 6]).node("Gemm", &["x", "b", "d"], &["y"]).int("transB", 1);
        insta::assert_snapshot!(column.error(), @r#"node "Gemm_0" (Gemm): the summand f32[2, 3] does not fit the product f32[1, 3]"#);
    }

    #[test]
    fn batch_normalization_of_inference() {
        let model = |opset, results: &[&str]| {
            let model = Model::new(opset).input("x", &["n", "2", "2"]);
            let model = model.floats("scale", &[2], &[1.0, 2.0]).floats("bias", &[2], &[0.0, 5.0]);
            let model = model.floats("mean", &[2], &[1.0, -1.0]).floats("var", &[2], &[3.75, 0.0]);
            let model = model.node("BatchNormalization", &["x", "scale", "bias", "mean", "var"], results);
            model.float("epsilon", 0.25).float("momentum", 0.9)
        };
        let x = [3.0, 5.0, -1.0, 0.0];
        for opset in [7, 9, 14, 17] {
            assert_eq!(model(opset, &["y"]).run(&x), [1.0, 2.0, 5.0, 9.0]);
        }
        assert_eq!(model(15, &["y"]).int("training_mode", 0).run(&x), [1.0, 2.0, 5.0, 9.0]);
        insta::assert_snapshot!(model(15, &["y", "m", "v"]).int("training_mode", 1).unsupported(), @"BatchNormalization_0 (BatchNormalization, result 0): it normalises by the statistics of the batch, as in training: call model.eval() before the export, and export with training=TrainingMode.EVAL");
        insta::assert_snapshot!(model(9, &["y", "m", "v", "sm", "sv"]).unsupported(), @"BatchNormalization_0 (BatchNormalization, result 0): it normalises by the statistics of the batch, as in training: call model.eval() before the export, and export with training=TrainingMode.EVAL");
        insta::assert_snapshot!(model(7, &["y"]).int("spatial", 0).unsupported(), @"BatchNormalization_0 (BatchNormalization, result 0): it has statistics for each element (spatial=0) instead of each channel");
        let short = Model::new(9).input("x", &["n", "2"]).floats("s", &[1], &[1.0]);
        insta::assert_snapshot!(short.node("BatchNormalization", &["x", "s", "s", "s", "s"], &["y"]).error(), @r#"node "BatchNormalization_0" (BatchNormalization): expected 2 values, one for each channel, as operand 1, found f32[1]"#);
    }
}
