//! ONNX `TensorProto`, as the test data sets of ONNX models hold.
//! Source: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>, message `TensorProto`.

use prost::Message;

use super::source::Source;
use super::stream::{Encoding, Stream, half};
use super::{DataError, Samples, Wanted, shape};

const FORMAT: &str = "ONNX tensor";
/// Protocol buffers end at 2 GiB by definition.
const LARGEST: u64 = 1 << 31;

/// The fields of `TensorProto` that hold numbers, or say that they are elsewhere.
#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(float, repeated, tag = "4")]
    float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    int64_data: Vec<i64>,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    double_data: Vec<f64>,
    #[prost(uint64, repeated, tag = "11")]
    uint64_data: Vec<u64>,
    /// 1: the numbers are in another file.
    #[prost(int32, tag = "14")]
    data_location: i32,
}

pub(super) fn read(source: Source, wanted: &Wanted) -> Result<Samples, DataError> {
    let path = source.path;
    let bytes = source.read_all(FORMAT, LARGEST)?;
    let damaged = |expected: &str, found: String| DataError::Damaged {
        path: path.to_owned(),
        format: FORMAT,
        expected: expected.into(),
        found,
    };
    let tensor = TensorProto::decode(bytes.as_slice()).map_err(|error| damaged("a TensorProto", error.to_string()))?;
    drop(bytes);
    let unsupported = |expected: &str, found: String, advice: &str| DataError::Unsupported {
        path: path.to_owned(),
        expected: expected.into(),
        found,
        advice: advice.into(),
    };
    let encoding = encoding(tensor.data_type).ok_or_else(|| {
        let found = format!("data type {}", tensor.data_type);
        unsupported("a tensor of bool, integers, float16, float or double", found, "convert it to float")
    })?;
    if tensor.data_location != 0 {
        let found = "a tensor whose numbers are in another file".into();
        return Err(unsupported("the numbers in the file itself", found, "save the tensor without external data"));
    }
    let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| damaged("dimensions of 0 or more", format!("{:?}", tensor.dims)))?;
    let plan = shape::plan(path, &dims, wanted, false)?;
    if !tensor.raw_data.is_empty() {
        let stream = Stream {
            path,
            format: FORMAT,
            reader: &mut tensor.raw_data.as_slice(),
            encoding,
            big_endian: false,
            fortran: false,
            left: Some(tensor.raw_data.len() as u64),
        };
        return Samples::collect(path, wanted, stream.read(&plan)?, encoding.element());
    }
    let keep = plan.take.saturating_mul(plan.size);
    let (there, values) = typed(&tensor, encoding, keep);
    if plan.declared.checked_mul(plan.size) != Some(there) {
        let expected = format!("{} x {} numbers, as its dimensions say", plan.declared, plan.size);
        return Err(damaged(&expected, there.to_string()));
    }
    Samples::collect(path, wanted, values, encoding.element())
}

/// The names of `TensorProto.DataType`, as numbers.
fn encoding(data_type: i32) -> Option<Encoding> {
    Some(match data_type {
        1 => Encoding::F32,
        2 => Encoding::U8,
        3 => Encoding::I8,
        4 => Encoding::U16,
        5 => Encoding::I16,
        6 => Encoding::I32,
        7 => Encoding::I64,
        9 => Encoding::Bool,
        10 => Encoding::F16,
        11 => Encoding::F64,
        12 => Encoding::U32,
        13 => Encoding::U64,
        _ => return None,
    })
}

/// How many numbers the field for this type holds, and the first `keep` of them.
fn typed(tensor: &TensorProto, encoding: Encoding, keep: usize) -> (usize, Vec<f64>) {
    fn first<T: Copy>(field: &[T], keep: usize, value: impl Fn(T) -> f64) -> (usize, Vec<f64>) {
        (field.len(), field.iter().take(keep).map(|&one| value(one)).collect())
    }
    match encoding {
        Encoding::F32 => first(&tensor.float_data, keep, f64::from),
        Encoding::F64 => first(&tensor.double_data, keep, |value| value),
        Encoding::I64 => first(&tensor.int64_data, keep, |value| value as f64),
        Encoding::U32 | Encoding::U64 => first(&tensor.uint64_data, keep, |value| value as f64),
        Encoding::F16 => first(&tensor.int32_data, keep, |bits| half(bits as u16)),
        Encoding::Bool => first(&tensor.int32_data, keep, |value| f64::from(u8::from(value != 0))),
        Encoding::U8 | Encoding::I8 | Encoding::U16 | Encoding::I16 | Encoding::I32 => {
            first(&tensor.int32_data, keep, f64::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tests_dir;
    use super::super::{Element, read_labels, read_samples};
    use super::*;

    #[test]
    fn raw_and_typed_fields() {
        let path = tests_dir("pb").join("input_0.pb");
        let base = |data_type: i32| TensorProto { dims: vec![2, 1, 2], data_type, ..TensorProto::default() };
        let raw = |data_type, raw_data| TensorProto { raw_data, ..base(data_type) };
        let whole = vec![1, 2, 3, 4];
        for (tensor, element) in [
            (raw(1, [1_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect()), Element::Float),
            (raw(11, [1_f64, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect()), Element::Float),
            (
                raw(10, [0x3c00_u16, 0x4000, 0x4200, 0x4400].iter().flat_map(|v| v.to_le_bytes()).collect()),
                Element::Float,
            ),
            (raw(2, vec![1, 2, 3, 4]), Element::U8),
            (TensorProto { float_data: vec![1.0, 2.0, 3.0, 4.0], ..base(1) }, Element::Float),
            (TensorProto { double_data: vec![1.0, 2.0, 3.0, 4.0], ..base(11) }, Element::Float),
            (TensorProto { int64_data: vec![1, 2, 3, 4], ..base(7) }, Element::Int),
            (TensorProto { int32_data: whole.clone(), ..base(6) }, Element::Int),
            (TensorProto { int32_data: whole, ..base(2) }, Element::U8),
            (TensorProto { int32_data: vec![0x3c00, 0x4000, 0x4200, 0x4400], ..base(10) }, Element::Float),
        ] {
            let bytes = tensor.encode_to_vec();
            std::fs::write(&path, &bytes).unwrap();
            let samples = read_samples(&path, None, &[1, 2], None).unwrap();
            assert_eq!((samples.values, samples.element), (vec![1.0, 2.0, 3.0, 4.0], element));
            assert_eq!(read_samples(&path, None, &[2], Some(1)).unwrap().values, [1.0, 2.0]);
            for end in 0..bytes.len() {
                std::fs::write(&path, &bytes[..end]).unwrap();
                assert!(read_samples(&path, None, &[1, 2], None).is_err(), "{end}");
            }
        }
    }

    #[test]
    fn labels_and_errors() {
        let path = tests_dir("pb-errors").join("a.pb");
        let tensor = TensorProto { dims: vec![2], data_type: 7, int64_data: vec![4, -1], ..TensorProto::default() };
        std::fs::write(&path, tensor.encode_to_vec()).unwrap();
        assert_eq!(read_labels(&path, Some(1)).unwrap(), [4]);
        assert!(read_labels(&path, None).is_err());
        for tensor in [
            TensorProto { dims: vec![-2], ..tensor.clone() },
            TensorProto { dims: vec![i64::MAX], ..tensor.clone() },
            TensorProto { data_type: 8, ..tensor.clone() },
            TensorProto { data_location: 1, ..tensor.clone() },
            TensorProto { int64_data: vec![4; 3], ..tensor },
        ] {
            std::fs::write(&path, tensor.encode_to_vec()).unwrap();
            assert!(read_labels(&path, None).is_err());
        }
        std::fs::write(&path, b"\xffgarbage").unwrap();
        assert!(read_labels(&path, None).unwrap_err().to_string().contains("TensorProto"));
    }
}
