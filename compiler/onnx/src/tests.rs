//! Models as a whole: names, order, versions, what is unsupported.

use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::{GraphProto, OperatorSetIdProto};

use crate::build::{Model, tensor};
use crate::{ImportOptions, import, supported_operators};

fn refused(bytes: &[u8]) -> String {
    import(bytes, &ImportOptions::default()).unwrap_err().to_string()
}

fn relu() -> Model {
    Model::new(17).input("x", &["n", "2"]).node("Relu", &["x"], &["y"])
}

#[test]
fn what_is_not_a_model() {
    insta::assert_snapshot!(refused(b""), @"not an ONNX model: the file is empty");
    insta::assert_snapshot!(refused(b"import torch\n"), @"not an ONNX model: 99 bytes are announced, but 2 are left at byte 11");
    insta::assert_snapshot!(refused(&[0x08, 0x08]), @"not an ONNX model: it has no graph");
    insta::assert_snapshot!(refused(&[0x08, 0x08, 0x42, 0x02, 0x10, 0x11]), @"not an ONNX model: it has no graph");
    insta::assert_snapshot!(refused(&[0x12, 0x01, 0xff]), @"not an ONNX model: Invalid UTF-8 sequence");
    let mut no_outputs = relu();
    no_outputs.0.graph.mut_or_insert_default();
    let mut bytes = no_outputs.clone();
    bytes.0.graph.mut_or_insert_default().node.clear();
    let bytes = onnx_protobuf::Message::write_to_bytes(&bytes.0).unwrap();
    insta::assert_snapshot!(refused(&bytes), @"not an ONNX model: its graph has no outputs");
}

#[test]
fn the_operator_set_has_a_version() {
    let with = |sets: &[(&str, i64)]| {
        let mut model = relu();
        model.0.opset_import = sets
            .iter()
            .map(|(domain, version)| OperatorSetIdProto {
                domain: (*domain).into(),
                version: *version,
                ..OperatorSetIdProto::new()
            })
            .collect();
        model
    };
    insta::assert_snapshot!(with(&[]).error(), @"the model does not say which version of the operator set (opset_import) it uses; expected one from 6 to 23: export the model with such an opset");
    insta::assert_snapshot!(with(&[("ai.onnx.ml", 3)]).error(), @"the model does not say which version of the operator set (opset_import) it uses; expected one from 6 to 23: export the model with such an opset");
    insta::assert_snapshot!(with(&[("", 5)]).error(), @"the model uses version 5 of the operator set; expected one from 6 to 23: export the model with such an opset");
    insta::assert_snapshot!(with(&[("", 24)]).error(), @"the model uses version 24 of the operator set; expected one from 6 to 23: export the model with such an opset");
    assert_eq!(with(&[("ai.onnx.ml", 3), ("ai.onnx", 23)]).run(&[-1.0, 1.0]), [0.0, 1.0]);
}

#[test]
fn text_matters_only_where_it_is_needed() {
    let names = onnx_protobuf::TensorProto { string_data: vec![b"a".to_vec()], ..tensor("names", 8, &[1], &[]) };
    let model = relu().initializer(names).node("Identity", &["names"], &["label"]);
    assert_eq!(model.clone().output("y").run(&[-1.0, 1.0]), [0.0, 1.0]);
    insta::assert_snapshot!(model.output("label").unsupported(), @"names (initializer, result 0): its elements are text: leave out what depends on them");
}

#[test]
fn models_of_other_domains_only_need_no_version_of_the_own() {
    let mut model = Model::new(17).input("x", &["n", "2"]).node("ZipMap", &["x"], &["y"]);
    model = model.last(|node| node.domain = "ai.onnx.ml".into());
    model.0.opset_import[0].domain = "ai.onnx.ml".into();
    assert_eq!(model.run(&[1.0, 2.0]), [1.0, 2.0]);
}

#[test]
fn only_the_outputs_that_are_wanted() {
    let model = relu().node("Einsum", &["x"], &["z"]).output("y").output("z").bytes();
    let wanted = |name: &str| ImportOptions { outputs: Some([name.to_owned()].into()), ..ImportOptions::default() };
    let graph = import(&model, &wanted("y")).unwrap();
    assert_eq!((graph.len(), graph.outputs().len()), (2, 1));
    insta::assert_snapshot!(import(&model, &wanted("w")).unwrap_err(), @r#"the list of outputs needs "w", which no input, initializer or node provides"#);
}

#[test]
fn every_name_stands_for_one_value_that_is_there() {
    let model = || Model::new(17).input("x", &["n", "2"]).floats("w", &[], &[1.0]);
    insta::assert_snapshot!(model().node("Relu", &["z"], &["y"]).error(), @r#"node "Relu_0" needs "z", which no input, initializer or node provides"#);
    insta::assert_snapshot!(model().node("Relu", &["y"], &["y"]).error(), @r#"node "Relu_0" needs "y", but node "Relu_0" that computes it does not stand before: nodes must be in order, without cycles"#);
    let reversed =
        model().node("Relu", &["a"], &["y"]).node("Relu", &["x"], &["a"]).last(|node| node.name = "first".into());
    insta::assert_snapshot!(reversed.error(), @r#"node "Relu_0" needs "a", but node "first" that computes it does not stand before: nodes must be in order, without cycles"#);
    insta::assert_snapshot!(model().node("Relu", &["x"], &["w"]).error(), @r#"node "Relu_0" has the name "w", which already names initializer "w": names must be unique"#);
    insta::assert_snapshot!(model().node("Relu", &["x"], &["x"]).error(), @r#"node "Relu_0" has the name "x", which already names input "x": names must be unique"#);
    insta::assert_snapshot!(model().node("Relu", &["x"], &["y"]).node("Relu", &["x"], &["y"]).error(), @r#"node "Relu_1" has the name "y", which already names node "Relu_0": names must be unique"#);
    insta::assert_snapshot!(model().floats("w", &[], &[1.0]).node("Relu", &["x"], &["y"]).error(), @r#"initializer "w" has the name "w", which already names initializer "w": names must be unique"#);
    insta::assert_snapshot!(model().input("x", &["n"]).node("Relu", &["x"], &["y"]).error(), @r#"input "x" has the name "x", which already names input "x": names must be unique"#);
    insta::assert_snapshot!(model().node("Relu", &["x"], &["z"]).error(), @r#"output "y" needs "y", which no input, initializer or node provides"#);
    insta::assert_snapshot!(model().node("Relu", &["x"], &["z"]).output("z").output("z").error(), @r#"output "z" has the name "z", which already names output "z": names must be unique"#);
}

#[test]
fn inputs_that_are_initializers_are_constants() {
    let old = Model::new(9).input("x", &["n", "2"]).input("w", &["2"]).floats("w", &[2], &[3.0, 4.0]);
    let model = old.node("Mul", &["x", "w"], &["y"]);
    assert_eq!(model.import().inputs().count(), 1);
    assert_eq!(model.run(&[1.0, 2.0]), [3.0, 8.0]);
}

#[test]
fn inputs_must_be_tensors_of_numbers() {
    let text = Model::new(13).typed_input("x", 8, &["n"]).node("Identity", &["x"], &["y"]);
    insta::assert_snapshot!(text.error(), @r#"input "x": elements of type STRING are not supported"#);
    let mut untyped = relu();
    untyped.0.graph.mut_or_insert_default().input[0].type_ = None.into();
    insta::assert_snapshot!(untyped.error(), @r#"input "x": expected a tensor, found another type or none"#);
}

#[test]
fn the_graph_tells_where_each_node_comes_from() {
    let model =
        Model::new(13).input("image", &["batch", "2"]).floats("w", &[2, 1], &[1.0, 2.0]).floats("unused", &[], &[0.0]);
    let model = model.node("Gemm", &["image", "w"], &["h"]).last(|node| node.name = "/fc/Gemm".into());
    let model = model.node("Relu", &["h"], &["logits"]).output("logits").output("h");
    insta::assert_snapshot!(model.import(), @r#"
    tensor
      %0 = input {name="image", element="f32", shape=[1, 2]} : f32[1, 2]  // image
      %1 = constant {value=<f32[2, 1] 89031991>} : f32[2, 1]  // w
      %2 = matmul %0, %1 : f32[1, 1]  // /fc/Gemm
      %3 = relu %2 : f32[1, 1]  // Relu_1
      output logits %3
      output h %2
    "#);
}

#[test]
fn unsupported_nodes_are_all_kept() {
    let model = Model::new(17).input("x", &["n", "2"]).node("Einsum", &["x"], &["a"]);
    let model = model.node("TreeEnsemble", &["x"], &["b", "", "unused"]).last(|node| node.domain = "ai.onnx.ml".into());
    let model = model.node("Flatten", &["a"], &["c"]).node("Relu", &["c"], &["d"]).node("Add", &["d", "b"], &["y"]);
    insta::assert_snapshot!(model.import(), @r#"
    tensor
      %0 = input {name="x", element="f32", shape=[1, 2]} : f32[1, 2]  // x
      %1 = unsupported %0 {operator="Einsum", reason="this version does not know the operator", result=0} : unknown  // Einsum_0
      %2 = unsupported %0 {operator="ai.onnx.ml.TreeEnsemble", reason="this version does not know the operator", result=0} : unknown  // TreeEnsemble_1
      %3 = unsupported %1 {operator="Flatten", reason="it follows an unsupported operator, so the shape of its operand is unknown", result=0} : unknown  // Flatten_2
      %4 = relu %3 : unknown  // Relu_3
      %5 = add %4, %2 : unknown  // Add_4
      output y %5
    "#);
    let branch = Model::new(17).input("x", &["n", "2"]).node("If", &["x"], &["y"]);
    let branch = branch.attribute("then_branch", AttributeType::GRAPH, |a| a.g = Some(GraphProto::new()).into());
    insta::assert_snapshot!(branch.unsupported(), @"If_0 (If, result 0): it chooses or repeats graphs within it; only straight graphs are supported");
}

#[test]
fn a_wrong_attribute_type_is_an_error() {
    insta::assert_snapshot!(relu().node("Softmax", &["y"], &["z"]).float("axis", 1.0).output("z").error(), @r#"node "Softmax_1" (Softmax): expected attribute "axis" to be of type INT, found FLOAT"#);
    insta::assert_snapshot!(relu().int("alpha", 1).unsupported(), @r#"Relu_0 (Relu, result 0): its attribute "alpha" is not supported"#);
}

#[test]
fn operands_that_do_not_fit_are_named() {
    let model = |batch| {
        let model = Model::new(17).input("x", &[batch, "2"]).floats("w", &[3], &[0.0; 3]);
        model.node("Add", &["x", "w"], &["y"]).error()
    };
    insta::assert_snapshot!(model("n"), @r#"node "Add_0" (add): shapes [1, 2] and [3] do not broadcast"#);
    insta::assert_snapshot!(model("4"), @r#"node "Add_0" (add): shapes [1, 2] and [3] do not broadcast; the model was exported for batches of 4 and is read with a batch of 1: if that is the cause, export it with a batch of 1 or an open one"#);
}

/// Keras writes a flattening as arithmetic on the shape, some of it in floating point.
#[test]
fn shapes_are_computed_on_the_way() {
    let scalar = |name, value: i64| tensor(name, 7, &[], &value.to_le_bytes());
    let model =
        Model::new(15).input("x", &["n", "2", "3"]).initializer(scalar("zero", 0)).integers("open", &[1], &[-1]);
    let model = model.floats("half", &[], &[0.5]).integers("first", &[1], &[0]);
    let model = model.node("Shape", &["x"], &["s"]).node("Gather", &["s", "zero"], &["batch"]);
    let model = model.node("Unsqueeze", &["batch", "first"], &["batches"]);
    let model = model.node("Cast", &["batches"], &["f"]).int("to", 1).node("Add", &["f", "half"], &["g"]);
    let model = model.node("Cast", &["g"], &["size"]).int("to", 7);
    let model = model.node("Concat", &["size", "open"], &["target"]).int("axis", 0);
    let model = model.node("Reshape", &["x", "target"], &["y"]);
    insta::assert_snapshot!(model.import(), @r#"
    tensor
      %0 = input {name="x", element="f32", shape=[1, 2, 3]} : f32[1, 2, 3]  // x
      %1 = reshape %0 {shape=[1, 6]} : f32[1, 6]  // Reshape_7
      output y %1
    "#);
}

#[test]
fn folding_is_bounded() {
    // A million integers, a hundred times over: only the first few are computed.
    let mut model = Model::new(13).integers("s", &[1], &[1 << 20]).node("ConstantOfShape", &["s"], &["v0"]);
    model = model.tensor("value", tensor("", 7, &[1], &1_i64.to_le_bytes()));
    for i in 0..100 {
        model = model.node("Add", &[&format!("v{i}"), &format!("v{i}")], &[&format!("v{}", i + 1)]);
    }
    let graph = model.output("v100").import();
    assert!((80..100).contains(&graph.len()), "{}", graph.len());

    let mut model = Model::new(13).input("y", &["n"]).integers("a", &[], &[0]).integers("b", &[], &[1 << 20]);
    model = model.integers("c", &[], &[1]);
    for i in 0..100 {
        model = model.node("Range", &["a", "b", "c"], &[&format!("v{i}")]).output(&format!("v{i}"));
    }
    assert!(model.unsupported().lines().count() > 80);
}

#[test]
fn nobody_needs_so_many_axes() {
    let axes: Vec<i64> = (0..64).collect();
    let model = Model::new(11).input("x", &["n"]).node("Unsqueeze", &["x"], &["y"]).ints("axes", &axes);
    insta::assert_snapshot!(model.error(), @r#"node "Unsqueeze_0" (reshape): a tensor with 65 axes; at most 64 are supported"#);
}

#[test]
fn the_table_of_operators_is_sorted() {
    let operators: Vec<_> = supported_operators().collect();
    assert!(operators.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(operators.contains(&("", "Conv")));
}
