//! Functions that a model brings along: every call becomes the nodes of the function.

use std::collections::BTreeMap;

use onnx_protobuf::{AttributeProto, FunctionProto, Message, ModelProto, NodeProto};

use crate::ImportError;
use crate::model::is_own;
use crate::ops::label;

/// Calls within calls.
const MAX_DEPTH: usize = 16;
/// No model may become longer by its functions.
const MAX_NODES: usize = 1 << 18;
/// Nor larger, in bytes.
const MAX_BYTES: u64 = 1 << 28;

type Functions<'a> = BTreeMap<(&'a str, &'a str), &'a FunctionProto>;

/// The nodes of the graph, with the calls written out, and the version of the operator set that each is meant in.
pub(crate) fn expand(model: &mut ModelProto, opset: i64) -> Result<Vec<i64>, ImportError> {
    let functions = std::mem::take(&mut model.functions);
    let Some(graph) = model.graph.as_mut() else { return Ok(Vec::new()) };
    if functions.is_empty() {
        return Ok(vec![opset; graph.node.len()]);
    }
    let functions: Functions<'_> = functions
        .iter()
        .map(|f| ((if is_own(&f.domain) { "" } else { f.domain.as_str() }, f.name.as_str()), f))
        .collect();
    let mut expanded = Expanded { functions, nodes: Vec::new(), opsets: Vec::new(), calls: 0, bytes: 0 };
    for (index, node) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        let name = label(&node, index);
        expanded.push(node, &name, opset, 0)?;
    }
    graph.node = expanded.nodes;
    Ok(expanded.opsets)
}

struct Expanded<'a> {
    functions: Functions<'a>,
    nodes: Vec<NodeProto>,
    opsets: Vec<i64>,
    calls: usize,
    bytes: u64,
}

impl Expanded<'_> {
    fn push(&mut self, node: NodeProto, name: &str, opset: i64, depth: usize) -> Result<(), ImportError> {
        let domain = if is_own(&node.domain) { "" } else { &node.domain };
        let Some(&function) = self.functions.get(&(domain, node.op_type.as_str())) else {
            if self.nodes.len() == MAX_NODES {
                return Err(refused(&node, name, format!("its functions make more than {MAX_NODES} nodes")));
            }
            self.nodes.push(node);
            self.opsets.push(opset);
            return Ok(());
        };
        if depth == MAX_DEPTH || self.calls == MAX_NODES {
            return Err(refused(
                &node,
                name,
                format!("functions call each other deeper than {MAX_DEPTH}, or too often"),
            ));
        }
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            let (takes, gives) = (function.input.len(), function.output.len());
            return Err(refused(&node, name, format!("the function takes {takes} operands and has {gives} results")));
        }
        self.calls += 1;
        let own = |id: &&onnx_protobuf::OperatorSetIdProto| is_own(&id.domain);
        let opset = function.opset_import.iter().find(own).map_or(opset, |id| id.version);
        let call = Inlined { node: &node, function, prefix: format!("{name}#{}/", self.calls) };
        for (index, inner) in function.node.iter().enumerate() {
            let inner = call.node(inner, name, index);
            let name = inner.name.clone();
            self.bytes = self.bytes.saturating_add(inner.compute_size());
            if self.bytes > MAX_BYTES {
                return Err(refused(&inner, &name, format!("its functions make more than {} MiB", MAX_BYTES >> 20)));
            }
            self.push(inner, &name, opset, depth + 1)?;
        }
        Ok(())
    }
}

fn refused(node: &NodeProto, name: &str, reason: String) -> ImportError {
    ImportError::Node { node: name.to_owned(), operator: node.op_type.clone(), reason }
}

/// One call of a function.
struct Inlined<'a> {
    node: &'a NodeProto,
    function: &'a FunctionProto,
    /// Before the names of values that are the function's own.
    prefix: String,
}

impl Inlined<'_> {
    /// A node of the function, with the names that the caller knows.
    fn node(&self, inner: &NodeProto, caller: &str, index: usize) -> NodeProto {
        let mut node = inner.clone();
        node.name = format!("{caller}/{}", label(inner, index));
        node.input.iter_mut().chain(&mut node.output).for_each(|name| *name = self.value(name));
        node.attribute = inner.attribute.iter().filter_map(|attribute| self.attribute(attribute)).collect();
        node
    }

    fn value(&self, name: &str) -> String {
        if name.is_empty() {
            return String::new();
        }
        let given = |formal: &[String], actual: &[String]| {
            let at = formal.iter().position(|formal| formal == name)?;
            Some(actual.get(at).cloned().unwrap_or_default())
        };
        if let Some(operand) = given(&self.function.input, &self.node.input) {
            return operand;
        }
        // A result that the caller does not want keeps a name of its own, as the function may need it.
        let result = given(&self.function.output, &self.node.output).filter(|result| !result.is_empty());
        result.unwrap_or_else(|| format!("{}{name}", self.prefix))
    }

    /// An attribute, or the caller's that it refers to, or the function's default; none if neither is there.
    fn attribute(&self, attribute: &AttributeProto) -> Option<AttributeProto> {
        let wanted = &attribute.ref_attr_name;
        if wanted.is_empty() {
            return Some(attribute.clone());
        }
        let named = |found: &&AttributeProto| found.name == *wanted;
        let given =
            self.node.attribute.iter().find(named).or_else(|| self.function.attribute_proto.iter().find(named))?;
        Some(AttributeProto { name: attribute.name.clone(), ..given.clone() })
    }
}

#[cfg(test)]
mod tests {
    use onnx_protobuf::OperatorSetIdProto;

    use super::*;
    use crate::build::Model;

    /// `Scaled(x, by=2)`: `x * by`, and `relu` of it.
    fn model() -> Model {
        let inner = Model::new(17).node("Constant", &[], &["by"]).last(|node| {
            let reference =
                AttributeProto { name: "value_float".into(), ref_attr_name: "by".into(), ..AttributeProto::new() };
            node.attribute.push(reference);
        });
        let inner = inner.node("Mul", &["a", "by"], &["scaled"]).node("Relu", &["scaled"], &["positive"]);
        let default = AttributeProto { name: "by".into(), f: 2.0, ..AttributeProto::new() };
        let function = FunctionProto {
            name: "Scaled".into(),
            domain: "mine".into(),
            input: vec!["a".into()],
            output: vec!["scaled".into(), "positive".into()],
            node: inner.0.graph.unwrap_or_default().node,
            attribute_proto: vec![default],
            opset_import: vec![OperatorSetIdProto { version: 13, ..OperatorSetIdProto::new() }],
            ..FunctionProto::new()
        };
        let mut model = Model::new(17).input("x", &["n", "2"]);
        model.0.functions.push(function);
        model
    }

    fn call(model: Model, operands: &[&str], results: &[&str]) -> Model {
        model.node("Scaled", operands, results).last(|node| node.domain = "mine".into())
    }

    #[test]
    fn calls_are_written_out() {
        assert_eq!(call(model(), &["x"], &["y"]).run(&[-1.0, 2.0]), [-2.0, 4.0]);
        assert_eq!(call(model(), &["x"], &["", "y"]).run(&[-1.0, 2.0]), [0.0, 4.0]);
        let twice = call(model(), &["x"], &["h"]).float("by", -3.0);
        let twice = call(twice, &["h"], &["y"]);
        assert_eq!(twice.run(&[-1.0, 2.0]), [6.0, -12.0]);
        insta::assert_snapshot!(twice.import(), @r#"
        tensor
          %0 = input {name="x", element="f32", shape=[1, 2]} : f32[1, 2]  // x
          %1 = constant {value=<f32[] 758f693c>} : f32[]  // Scaled_0/Constant_0
          %2 = mul %0, %1 : f32[1, 2]  // Scaled_0/Mul_1
          %3 = constant {value=<f32[] 921d6cbe>} : f32[]  // Scaled_1/Constant_0
          %4 = mul %2, %3 : f32[1, 2]  // Scaled_1/Mul_1
          output y %4
        "#);
    }

    #[test]
    fn calls_that_do_not_fit_or_never_end() {
        insta::assert_snapshot!(call(model(), &["x", "x"], &["y"]).error(), @r#"node "Scaled_0" (Scaled): the function takes 1 operands and has 2 results"#);
        let mut endless = call(model(), &["x"], &["y"]);
        let itself = endless.0.graph.mut_or_insert_default().node[0].clone();
        endless.0.functions[0].node = vec![itself.clone()];
        insta::assert_snapshot!(endless.error(), @r#"node "Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0" (Scaled): functions call each other deeper than 16, or too often"#);
        endless.0.functions[0].node = vec![itself; 100];
        insta::assert_snapshot!(endless.error(), @r#"node "Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0/Scaled_0" (Scaled): functions call each other deeper than 16, or too often"#);
    }
}
