//! Tensors whose data lie in files beside the model.

use hec_ir::tensor::TensorType;
use onnx_protobuf::tensor_proto::{DataLocation, DataType};
use onnx_protobuf::{ModelProto, TensorProto};
use protobuf::{Enum, EnumOrUnknown};

use crate::ImportError;
use crate::tensors::element;

/// Bytes of a file beside the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalData {
    /// Its path, relative to the folder of the model, with `/` between its parts. It does not lead out of that folder by its
    /// text; whether a link does is for the reader to see.
    pub location: String,
    /// The first byte.
    pub offset: u64,
    /// How many bytes: as many as the tensor's shape and type need.
    pub length: u64,
}

/// Reads bytes beside the model, or says why it cannot. It should look at the file's length before it allocates.
pub type ReadExternal<'a> = &'a mut dyn FnMut(&ExternalData) -> Result<Vec<u8>, String>;

/// No model may refer to more bytes in all.
const MAX_BYTES: u64 = 1 << 34;

/// Fetches the data of initializers and constants that lie elsewhere.
pub(crate) fn resolve(model: &mut ModelProto, read: ReadExternal<'_>) -> Result<(), ImportError> {
    let Some(graph) = model.graph.as_mut() else { return Ok(()) };
    let functions = model.functions.iter_mut().flat_map(|function| &mut function.node);
    let attributes = graph.node.iter_mut().chain(functions).flat_map(|node| {
        let name = node.output.first().cloned().unwrap_or_default();
        node.attribute.iter_mut().filter_map(move |attribute| Some((name.clone(), attribute.t.as_mut()?)))
    });
    let initializers = graph.initializer.iter_mut().map(|tensor| (tensor.name.clone(), tensor));
    let mut left = MAX_BYTES;
    for (name, tensor) in initializers.chain(attributes).filter(|(_, tensor)| is_external(tensor)) {
        fetch(tensor, read, &mut left).map_err(|reason| ImportError::Tensor { tensor: name, reason })?;
    }
    Ok(())
}

pub(crate) fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location.enum_value() == Ok(DataLocation::EXTERNAL)
}

fn fetch(tensor: &mut TensorProto, read: ReadExternal<'_>, left: &mut u64) -> Result<(), String> {
    let data = described(tensor)?;
    *left = left.checked_sub(data.length).ok_or("the model's data in other files are larger than 16 GiB")?;
    let bytes = if data.length == 0 { Vec::new() } else { read(&data)? };
    if bytes.len() as u64 != data.length {
        return Err(format!("expected {} bytes of \"{}\", found {}", data.length, data.location, bytes.len()));
    }
    tensor.raw_data = bytes;
    tensor.data_location = EnumOrUnknown::new(DataLocation::DEFAULT);
    tensor.external_data.clear();
    Ok(())
}

/// Where the data lie, checked against the tensor's type and shape.
fn described(tensor: &TensorProto) -> Result<ExternalData, String> {
    let entry =
        |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
    let number = |key: &str| {
        let parsed =
            |text: &str| text.parse::<u64>().map_err(|_| format!("its {key} \"{text}\" is no number of bytes"));
        entry(key).map(parsed).transpose()
    };
    let negative = |_| format!("its dimensions {:?} are not sizes", tensor.dims);
    let shape: Vec<usize> =
        tensor.dims.iter().map(|&size| usize::try_from(size)).collect::<Result<_, _>>().map_err(negative)?;
    let ty = TensorType::new(element(tensor.data_type)?, shape).bounded().map_err(|e| e.0)?;
    let length = (ty.elements() * width(tensor.data_type)) as u64;
    if let Some(declared) = number("length")?.filter(|&declared| declared != length) {
        return Err(format!("shape {:?} needs {length} bytes of data, but {declared} are announced", ty.shape));
    }
    let location = entry("location").ok_or("its data lie in another file, whose name is missing")?;
    let offset = number("offset")?.unwrap_or(0);
    if offset.checked_add(length).is_none() {
        return Err(format!("its offset {offset} is too large"));
    }
    Ok(ExternalData { location: confined(location)?, offset, length })
}

/// Bytes of an element.
fn width(data_type: i32) -> usize {
    match DataType::from_i32(data_type) {
        Some(DataType::DOUBLE | DataType::INT64 | DataType::UINT64) => 8,
        Some(DataType::FLOAT | DataType::INT32 | DataType::UINT32) => 4,
        Some(DataType::FLOAT16 | DataType::BFLOAT16 | DataType::INT16 | DataType::UINT16) => 2,
        _bytes => 1,
    }
}

/// A path that stays in the model's folder, by its text.
fn confined(location: &str) -> Result<String, String> {
    let parts: Vec<&str> = location.split('/').filter(|part| *part != ".").collect();
    let inside = |part: &&str| !part.is_empty() && *part != ".." && !part.contains(['\\', ':', '\0']);
    match parts.iter().all(inside) && !parts.is_empty() {
        true => Ok(parts.join("/")),
        false => Err(format!("its data lie in \"{location}\", which is no file in the folder of the model")),
    }
}

#[cfg(test)]
mod tests {
    use onnx_protobuf::StringStringEntryProto;

    use super::*;
    use crate::build::{Model, tensor};
    use crate::{ImportOptions, import, import_with};

    fn external(entries: &[(&str, &str)]) -> TensorProto {
        let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
            key: key.into(),
            value: value.into(),
            ..StringStringEntryProto::new()
        };
        let external_data = entries.iter().map(entry).collect();
        TensorProto { external_data, data_location: DataLocation::EXTERNAL.into(), ..tensor("w", 1, &[2], &[]) }
    }

    fn model(weights: TensorProto) -> Vec<u8> {
        Model::new(17).input("x", &["n", "2"]).initializer(weights).node("Mul", &["x", "w"], &["y"]).bytes()
    }

    fn refused(entries: &[(&str, &str)]) -> String {
        let mut read = |data: &ExternalData| Ok(vec![0; data.length as usize - 1]);
        let model = model(external(entries));
        import_with(&model, &ImportOptions::default(), &mut read).unwrap_err().to_string()
    }

    #[test]
    fn data_beside_the_model() {
        let entries = [("location", "./weights/w.bin"), ("offset", "4"), ("length", "8"), ("checksum", "x")];
        let mut asked = Vec::new();
        let mut read = |data: &ExternalData| {
            asked.push(data.clone());
            Ok([1.5_f32.to_le_bytes(), 2.5_f32.to_le_bytes()].concat())
        };
        let graph = import_with(&model(external(&entries)), &ImportOptions::default(), &mut read).unwrap();
        assert!(graph.to_string().contains("constant"), "{graph}");
        // Constants too.
        let node = Model::new(17).input("y", &["n"]).node("Constant", &[], &["c"]).tensor("value", external(&entries));
        assert!(import_with(&node.output("c").bytes(), &ImportOptions::default(), &mut read).is_ok());
        let data = ExternalData { location: "weights/w.bin".to_owned(), offset: 4, length: 8 };
        assert_eq!(asked, [data.clone(), data]);
    }

    #[test]
    fn what_cannot_be_fetched() {
        insta::assert_snapshot!(import(&model(external(&[("location", "w")])), &ImportOptions::default()).unwrap_err(), @r#"tensor "w": its data lie in another file, "w", which cannot be read here: save the model as a single file"#);
        insta::assert_snapshot!(refused(&[]), @r#"tensor "w": its data lie in another file, whose name is missing"#);
        insta::assert_snapshot!(refused(&[("location", "w"), ("length", "4")]), @r#"tensor "w": shape [2] needs 8 bytes of data, but 4 are announced"#);
        insta::assert_snapshot!(refused(&[("location", "w"), ("length", "-8")]), @r#"tensor "w": its length "-8" is no number of bytes"#);
        insta::assert_snapshot!(refused(&[("location", "w"), ("offset", "18446744073709551615")]), @r#"tensor "w": its offset 18446744073709551615 is too large"#);
        insta::assert_snapshot!(refused(&[("location", "w")]), @r#"tensor "w": expected 8 bytes of "w", found 7"#);
        for outside in ["/etc/passwd", "../w", "a/../../w", "", "a//w", "c:w", "..\\w", "."] {
            let error = refused(&[("location", outside)]);
            assert!(error.contains("no file in the folder of the model"), "{outside}: {error}");
        }
    }

    #[test]
    fn nobody_reads_without_end() {
        let mut model = Model::new(17).input("y", &["n"]);
        for i in 0..3 {
            let name = format!("w{i}");
            let weights = external(&[("location", "w")]);
            model = model.initializer(TensorProto { name, dims: vec![1 << 31], ..weights });
        }
        let mut read = |_: &ExternalData| Err("not there".to_owned());
        let mut parsed = model.0.clone();
        let error = resolve(&mut parsed, &mut read).unwrap_err().to_string();
        assert_eq!(error, "tensor \"w0\": not there");
        let mut left = 1 << 33;
        let weights = &mut parsed.graph.mut_or_insert_default().initializer;
        assert_eq!(fetch(&mut weights[0], &mut read, &mut left).unwrap_err(), "not there");
        assert!(fetch(&mut weights[1], &mut read, &mut left).unwrap_err().contains("larger than 16 GiB"));
    }
}
