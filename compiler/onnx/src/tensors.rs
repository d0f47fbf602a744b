//! Constants: initializers and the values of attributes.

use std::sync::Arc;

use hec_ir::tensor::{Constant, Element, Tensor, TensorType, Unsupported};
use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use onnx_protobuf::{GraphProto, TensorProto};
use protobuf::Enum;

use crate::ImportError;
use crate::scope::Scope;

/// Makes the graph's initializers nodes.
pub(crate) fn declare(graph: &GraphProto, scope: &mut Scope) -> Result<(), ImportError> {
    if let Some(sparse) = graph.sparse_initializer.first() {
        let tensor = sparse.values.name.clone();
        let reason = "sparse initializers are not supported: export the weights as dense tensors".to_owned();
        return Err(ImportError::Tensor { tensor, reason });
    }
    for proto in &graph.initializer {
        scope.set_origin(&proto.name);
        let fail = |cause| ImportError::Operands { cause, hint: String::new() };
        let value = if proto.data_type == DataType::STRING.value() {
            // The labels of a classifier, which may not be needed.
            let reason = "its elements are text: leave out what depends on them".to_owned();
            let text = Unsupported { operator: "initializer".to_owned(), reason, result: 0 };
            scope.push(text, &[]).map_err(fail)?
        } else {
            let value = tensor(proto, &proto.name)?;
            scope.push(Constant(Arc::new(value)), &[]).map_err(fail)?
        };
        scope.name(&proto.name, value);
    }
    Ok(())
}

/// The tensor, called `name` in errors.
pub(crate) fn tensor(proto: &TensorProto, name: &str) -> Result<Tensor, ImportError> {
    let fail = |reason: String| ImportError::Tensor { tensor: name.to_owned(), reason };
    let tensor = read(proto).map_err(fail)?;
    finite(&tensor).map_err(fail)?;
    Ok(tensor)
}

/// Whether all elements are numbers.
pub(crate) fn finite(tensor: &Tensor) -> Result<(), String> {
    let Some((index, value)) = tensor.array().indexed_iter().find(|(_, value)| !value.is_finite()) else {
        return Ok(());
    };
    let index = ndarray::Dimension::slice(&index).to_vec();
    Err(format!("the element at {index:?} is {value}; expected finite numbers: check that the training converged"))
}

/// The element type that stands for an ONNX data type.
pub(crate) fn element(data_type: i32) -> Result<Element, String> {
    let unknown = || format!("data type {data_type} is unknown");
    Ok(match DataType::from_i32(data_type).ok_or_else(unknown)? {
        DataType::FLOAT | DataType::FLOAT16 | DataType::BFLOAT16 => Element::F32,
        DataType::DOUBLE => Element::F64,
        DataType::UINT8
        | DataType::INT8
        | DataType::UINT16
        | DataType::INT16
        | DataType::UINT32
        | DataType::INT32
        | DataType::UINT64
        | DataType::INT64 => Element::I64,
        DataType::BOOL => Element::Bool,
        other @ (DataType::UNDEFINED
        | DataType::STRING
        | DataType::COMPLEX64
        | DataType::COMPLEX128
        | DataType::FLOAT8E4M3FN
        | DataType::FLOAT8E4M3FNUZ
        | DataType::FLOAT8E5M2
        | DataType::FLOAT8E5M2FNUZ
        | DataType::UINT4
        | DataType::INT4) => return Err(format!("elements of type {other:?} are not supported")),
    })
}

fn read(proto: &TensorProto) -> Result<Tensor, String> {
    if proto.data_location.enum_value() != Ok(DataLocation::DEFAULT) || !proto.external_data.is_empty() {
        return Err("its data lie in another file, which nobody has read".to_owned());
    }
    if proto.segment.is_some() {
        return Err("it is only a segment of a tensor, which is not supported".to_owned());
    }
    let element = element(proto.data_type)?;
    let negative = |_| format!("its dimensions {:?} are not sizes", proto.dims);
    let shape: Vec<usize> =
        proto.dims.iter().map(|&size| usize::try_from(size)).collect::<Result<_, _>>().map_err(negative)?;
    let ty = TensorType::new(element, shape).bounded().map_err(|e| e.0)?;
    let values = match DataType::from_i32(proto.data_type) {
        Some(DataType::FLOAT) => {
            values(proto, &ty, |b| f32::from_le_bytes(b).into(), &proto.float_data, |v| f64::from(*v))
        }
        Some(DataType::DOUBLE) => values(proto, &ty, f64::from_le_bytes, &proto.double_data, |v| *v),
        Some(DataType::FLOAT16) => {
            values(proto, &ty, |b| half(u16::from_le_bytes(b)), &proto.int32_data, |v| half(*v as u16))
        }
        Some(DataType::BFLOAT16) => {
            values(proto, &ty, |b| brain(u16::from_le_bytes(b)), &proto.int32_data, |v| brain(*v as u16))
        }
        Some(DataType::BOOL) => {
            let truth = |v: bool| f64::from(u8::from(v));
            values(proto, &ty, |[b]| truth(b != 0), &proto.int32_data, |v| truth(*v != 0))
        }
        Some(DataType::UINT8) => values(proto, &ty, |[b]| b.into(), &proto.int32_data, |v| f64::from(*v)),
        Some(DataType::INT8) => {
            values(proto, &ty, |b| i8::from_le_bytes(b).into(), &proto.int32_data, |v| f64::from(*v))
        }
        Some(DataType::UINT16) => {
            values(proto, &ty, |b| u16::from_le_bytes(b).into(), &proto.int32_data, |v| f64::from(*v))
        }
        Some(DataType::INT16) => {
            values(proto, &ty, |b| i16::from_le_bytes(b).into(), &proto.int32_data, |v| f64::from(*v))
        }
        Some(DataType::INT32) => {
            values(proto, &ty, |b| i32::from_le_bytes(b).into(), &proto.int32_data, |v| f64::from(*v))
        }
        Some(DataType::UINT32) => {
            values(proto, &ty, |b| u32::from_le_bytes(b).into(), &proto.uint64_data, |v| *v as f64)
        }
        Some(DataType::INT64) => values(proto, &ty, |b| i64::from_le_bytes(b) as f64, &proto.int64_data, |v| *v as f64),
        Some(DataType::UINT64) => {
            values(proto, &ty, |b| u64::from_le_bytes(b) as f64, &proto.uint64_data, |v| *v as f64)
        }
        // `element` has refused them.
        Some(
            DataType::UNDEFINED
            | DataType::STRING
            | DataType::COMPLEX64
            | DataType::COMPLEX128
            | DataType::FLOAT8E4M3FN
            | DataType::FLOAT8E4M3FNUZ
            | DataType::FLOAT8E5M2
            | DataType::FLOAT8E5M2FNUZ
            | DataType::UINT4
            | DataType::INT4,
        )
        | None => Err("its element type is not supported".to_owned()),
    }?;
    Tensor::from_values(ty.element, &ty.shape, values).map_err(|e| e.0)
}

/// The values, from the raw bytes or else from the typed field. Nothing is allocated before the lengths agree.
fn values<const BYTES: usize, T>(
    proto: &TensorProto,
    ty: &TensorType,
    from_bytes: impl Fn([u8; BYTES]) -> f64,
    typed: &[T],
    from_typed: impl Fn(&T) -> f64,
) -> Result<Vec<f64>, String> {
    let expected = ty.elements();
    let raw = &proto.raw_data;
    if !raw.is_empty() {
        if raw.len() != expected * BYTES {
            let (found, expected) = (raw.len(), expected * BYTES);
            return Err(format!("shape {:?} needs {expected} bytes of data, found {found}", ty.shape));
        }
        let (chunks, _) = raw.as_chunks::<BYTES>();
        return Ok(chunks.iter().map(|chunk| from_bytes(*chunk)).collect());
    }
    if typed.len() != expected {
        return Err(format!("shape {:?} needs {expected} elements of data, found {}", ty.shape, typed.len()));
    }
    Ok(typed.iter().map(from_typed).collect())
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff) / 1024.0);
    let magnitude = match exponent {
        0 => fraction * (-14_f64).exp2(),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _normal => (1.0 + fraction) * f64::from(exponent - 15).exp2(),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

/// The upper half of single precision.
fn brain(bits: u16) -> f64 {
    f32::from_bits(u32::from(bits) << 16).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{Model, tensor as raw};

    fn values(proto: &TensorProto) -> (Element, Vec<f64>) {
        let tensor = tensor(proto, "w").unwrap();
        (tensor.element(), tensor.values().to_vec())
    }

    fn refused(proto: &TensorProto) -> String {
        tensor(proto, "w").unwrap_err().to_string()
    }

    #[test]
    fn raw_data_of_every_type() {
        let two = |data_type: DataType, bytes: &[u8]| values(&raw("w", data_type.value(), &[2], bytes));
        let float = |a: f64, b: f64| (Element::F32, vec![a, b]);
        let integer = |a: f64, b: f64| (Element::I64, vec![a, b]);
        let join = |a: &[u8], b: &[u8]| [a, b].concat();
        assert_eq!(two(DataType::FLOAT, &join(&0.5_f32.to_le_bytes(), &(-2_f32).to_le_bytes())), float(0.5, -2.0));
        let double = two(DataType::DOUBLE, &join(&0.1_f64.to_le_bytes(), &(-2_f64).to_le_bytes()));
        assert_eq!(double, (Element::F64, vec![0.1, -2.0]));
        assert_eq!(two(DataType::FLOAT16, &[0x00, 0x3c, 0x01, 0x80]), float(1.0, -(-24_f64).exp2()));
        assert_eq!(two(DataType::FLOAT16, &[0xff, 0x7b, 0x55, 0x35]), float(65504.0, 0.333251953125));
        assert_eq!(two(DataType::BFLOAT16, &[0x80, 0x3f, 0x20, 0xc0]), float(1.0, -2.5));
        assert_eq!(two(DataType::INT8, &[0xff, 1]), integer(-1.0, 1.0));
        assert_eq!(two(DataType::UINT8, &[0xff, 1]), integer(255.0, 1.0));
        assert_eq!(two(DataType::INT16, &[0xfe, 0xff, 1, 0]), integer(-2.0, 1.0));
        assert_eq!(two(DataType::UINT16, &[0xfe, 0xff, 1, 0]), integer(65534.0, 1.0));
        assert_eq!(two(DataType::INT32, &join(&(-7_i32).to_le_bytes(), &[1, 0, 0, 0])), integer(-7.0, 1.0));
        assert_eq!(two(DataType::UINT32, &join(&[0xff; 4], &[1, 0, 0, 0])), integer(4294967295.0, 1.0));
        assert_eq!(two(DataType::INT64, &join(&(-7_i64).to_le_bytes(), &1_i64.to_le_bytes())), integer(-7.0, 1.0));
        assert_eq!(two(DataType::UINT64, &join(&7_u64.to_le_bytes(), &1_u64.to_le_bytes())), integer(7.0, 1.0));
        assert_eq!(two(DataType::BOOL, &[2, 0]), (Element::Bool, vec![1.0, 0.0]));
    }

    #[test]
    fn typed_fields() {
        let typed = |data_type: DataType| raw("w", data_type.value(), &[1], &[]);
        let integers = |data_type, v| TensorProto { int32_data: vec![v], ..typed(data_type) };
        assert_eq!(values(&TensorProto { float_data: vec![0.5], ..typed(DataType::FLOAT) }).1, [0.5]);
        assert_eq!(values(&TensorProto { double_data: vec![0.1], ..typed(DataType::DOUBLE) }).1, [0.1]);
        assert_eq!(values(&TensorProto { int64_data: vec![-5], ..typed(DataType::INT64) }).1, [-5.0]);
        assert_eq!(values(&TensorProto { uint64_data: vec![5], ..typed(DataType::UINT32) }).1, [5.0]);
        assert_eq!(values(&integers(DataType::INT8, -5)).1, [-5.0]);
        assert_eq!(values(&integers(DataType::BOOL, 5)).1, [1.0]);
        assert_eq!(values(&integers(DataType::FLOAT16, 0x3c00)).1, [1.0]);
        assert_eq!(values(&integers(DataType::BFLOAT16, 0xc020)).1, [-2.5]);
    }

    #[test]
    fn lengths_are_checked_before_anything_is_allocated() {
        insta::assert_snapshot!(refused(&raw("w", 1, &[1 << 15, 1 << 15], &[0; 8])), @r#"tensor "w": shape [32768, 32768] needs 4294967296 bytes of data, found 8"#);
        insta::assert_snapshot!(refused(&raw("w", 1, &[1 << 15, 1 << 15], &[])), @r#"tensor "w": shape [32768, 32768] needs 1073741824 elements of data, found 0"#);
        insta::assert_snapshot!(refused(&raw("w", 1, &[i64::MAX, i64::MAX], &[])), @r#"tensor "w": a tensor of shape [9223372036854775807, 9223372036854775807] is too large"#);
        insta::assert_snapshot!(refused(&raw("w", 1, &[-1], &[])), @r#"tensor "w": its dimensions [-1] are not sizes"#);
        insta::assert_snapshot!(refused(&raw("w", 8, &[1], &[])), @r#"tensor "w": elements of type STRING are not supported"#);
        insta::assert_snapshot!(refused(&raw("w", 99, &[1], &[])), @r#"tensor "w": data type 99 is unknown"#);
        assert_eq!(values(&raw("w", 1, &[3, 0], &[])).1, []);
    }

    #[test]
    fn weights_must_be_finite() {
        let weights = |v: f32| raw("w", 1, &[1, 2], &[0_f32.to_le_bytes(), v.to_le_bytes()].concat());
        insta::assert_snapshot!(refused(&weights(f32::NAN)), @r#"tensor "w": the element at [0, 1] is NaN; expected finite numbers: check that the training converged"#);
        insta::assert_snapshot!(refused(&weights(f32::NEG_INFINITY)), @r#"tensor "w": the element at [0, 1] is -inf; expected finite numbers: check that the training converged"#);
        insta::assert_snapshot!(refused(&raw("w", 10, &[1], &[0x00, 0x7c])), @r#"tensor "w": the element at [0] is inf; expected finite numbers: check that the training converged"#);
    }

    #[test]
    fn sparse_data() {
        let mut model = Model::new(13).input("y", &["n"]);
        let mut sparse = onnx_protobuf::SparseTensorProto::new();
        sparse.values = Some(raw("w", 1, &[1], &[0; 4])).into();
        model.0.graph.mut_or_insert_default().sparse_initializer.push(sparse);
        insta::assert_snapshot!(model.error(), @r#"tensor "w": sparse initializers are not supported: export the weights as dense tensors"#);
    }
}
