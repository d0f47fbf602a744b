use std::collections::{BTreeMap, BTreeSet};

use hec_ir::tensor::{Input, TensorType};
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{GraphProto, ValueInfoProto, type_proto};

use crate::ImportError;
use crate::scope::Scope;
use crate::tensors::element;

/// What the model does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Sizes of dimensions that the model leaves open, by the name that it gives them; one without a name is called
    /// `input:axis`, as in `image:2`. The batch needs none: it is 1.
    pub dimensions: BTreeMap<String, usize>,
    /// Takes the first axis of each input for an axis like the others, instead of the batch.
    pub keep_first_axis: bool,
    /// The outputs that are wanted, by name; all of them if it is not said. What only others need is left out.
    pub outputs: Option<BTreeSet<String>>,
}

/// Makes the graph's inputs nodes. Those that are initializers too (as old models have it) are left to them.
pub(crate) fn declare(graph: &GraphProto, options: &ImportOptions, scope: &mut Scope) -> Result<(), ImportError> {
    let initializers: BTreeSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for input in graph.input.iter().filter(|input| !initializers.contains(input.name.as_str())) {
        let fail = |reason: String| ImportError::Input { input: input.name.clone(), reason };
        let (ty, exported_batch) = input_type(input, options).map_err(fail)?;
        exported_batch.into_iter().for_each(|batch| scope.set_exported_batch(batch));
        scope.set_origin(&input.name);
        let value = scope.push(Input { name: input.name.clone(), ty }, &[]).map_err(|e| fail(e.cause.0))?;
        scope.name(&input.name, value);
    }
    Ok(())
}

/// The type with a batch of one, and the batch that it replaces if that was fixed and not 1.
fn input_type(input: &ValueInfoProto, options: &ImportOptions) -> Result<(TensorType, Option<usize>), String> {
    let Some(type_proto::Value::TensorType(tensor)) = input.type_.as_ref().and_then(|ty| ty.value.as_ref()) else {
        return Err("expected a tensor, found another type or none".to_owned());
    };
    let element = element(tensor.elem_type)?;
    let shape = tensor.shape.as_ref().ok_or("the model does not say its shape: export it with one")?;
    let mut exported_batch = None;
    let mut sizes = Vec::with_capacity(shape.dim.len());
    for (axis, dimension) in shape.dim.iter().enumerate() {
        let size = match size(dimension) {
            Ok(size) => size,
            Err(name) => {
                let name = if name.is_empty() { format!("{}:{axis}", input.name) } else { name.to_owned() };
                match options.dimensions.get(&name) {
                    Some(&size) => size,
                    None if axis == 0 && !options.keep_first_axis => 1,
                    None => {
                        return Err(format!(
                            "axis {axis} (\"{name}\") has no fixed size; only the batch, the first axis, may be left \
                             open: export the model with a fixed size, or give the dimension \"{name}\" one"
                        ));
                    }
                }
            }
        };
        if axis == 0 && !options.keep_first_axis && size != 1 {
            exported_batch = Some(size);
            sizes.push(1);
        } else {
            sizes.push(size);
        }
    }
    Ok((TensorType::new(element, sizes), exported_batch))
}

/// A dimension's size, or its name, which may be empty. Some exporters write -1 or 0 for what is open.
fn size(dimension: &Dimension) -> Result<usize, &str> {
    match &dimension.value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(*size).ok().filter(|&size| size > 0).ok_or(""),
        Some(dimension::Value::DimParam(name)) => Err(name),
        _open => Err(""),
    }
}

#[cfg(test)]
mod tests {
    use crate::build::Model;
    use crate::{ImportOptions, import};

    fn relu(dims: &[&str]) -> Vec<u8> {
        Model::new(17).input("x", dims).node("Relu", &["x"], &["y"]).output("y").bytes()
    }

    fn shape(bytes: &[u8], options: &ImportOptions) -> Result<String, String> {
        let graph = import(bytes, options).map_err(|e| e.to_string())?;
        Ok(graph.ty(graph.outputs()[0].value).to_string())
    }

    #[test]
    fn the_first_axis_is_the_batch() {
        let options = ImportOptions::default();
        for batch in ["batch", "", "1", "4", "-1"] {
            assert_eq!(shape(&relu(&[batch, "3"]), &options).unwrap(), "f32[1, 3]");
        }
        assert_eq!(shape(&relu(&[]), &options).unwrap(), "f32[]");
        let options = ImportOptions { keep_first_axis: true, ..ImportOptions::default() };
        assert_eq!(shape(&relu(&["4", "3"]), &options).unwrap(), "f32[4, 3]");
    }

    #[test]
    fn other_axes_need_a_size() {
        let options = ImportOptions::default();
        insta::assert_snapshot!(shape(&relu(&["n", "width"]), &options).unwrap_err(), @r#"input "x": axis 1 ("width") has no fixed size; only the batch, the first axis, may be left open: export the model with a fixed size, or give the dimension "width" one"#);
        insta::assert_snapshot!(shape(&relu(&["n", ""]), &options).unwrap_err(), @r#"input "x": axis 1 ("x:1") has no fixed size; only the batch, the first axis, may be left open: export the model with a fixed size, or give the dimension "x:1" one"#);
        let dimensions = [("width".to_owned(), 5), ("x:2".to_owned(), 6)].into();
        let options = ImportOptions { dimensions, ..ImportOptions::default() };
        assert_eq!(shape(&relu(&["n", "width", ""]), &options).unwrap(), "f32[1, 5, 6]");
    }
}
