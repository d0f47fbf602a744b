use std::collections::BTreeMap;

use onnx_protobuf::GraphProto;

use crate::ImportError;
use crate::ops::label;

/// Every name stands for one value, and every value is there before it is needed.
pub(crate) fn check(graph: &GraphProto) -> Result<(), ImportError> {
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    for tensor in &graph.initializer {
        declare(&mut known, &tensor.name, || format!("initializer \"{}\"", tensor.name))?;
    }
    // Old models list their initializers among the inputs; no input may be listed twice.
    let mut inputs = BTreeMap::new();
    for input in &graph.input {
        declare(&mut inputs, &input.name, || format!("input \"{}\"", input.name))?;
    }
    known.extend(inputs);

    let mut producers: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, node) in graph.node.iter().enumerate() {
        node.output.iter().for_each(|name| {
            producers.entry(name).or_insert(index);
        });
    }
    let node_name = |index: usize| format!("node \"{}\"", label(&graph.node[index], index));
    let missing = |value: &str, user: String| match producers.get(value) {
        Some(&producer) => ImportError::Order { value: value.to_owned(), user, producer: node_name(producer) },
        None => ImportError::Missing { value: value.to_owned(), user },
    };
    for (index, node) in graph.node.iter().enumerate() {
        let unknown = node.input.iter().find(|name| !name.is_empty() && !known.contains_key(name.as_str()));
        if let Some(name) = unknown {
            return Err(missing(name, node_name(index)));
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            declare(&mut known, name, || node_name(index))?;
        }
    }
    let mut outputs = BTreeMap::new();
    for output in &graph.output {
        let described = || format!("output \"{}\"", output.name);
        declare(&mut outputs, &output.name, described)?;
        if !known.contains_key(output.name.as_str()) {
            return Err(missing(&output.name, described()));
        }
    }
    Ok(())
}

fn declare<'a>(
    known: &mut BTreeMap<&'a str, String>,
    name: &'a str,
    described: impl Fn() -> String,
) -> Result<(), ImportError> {
    match known.insert(name, described()) {
        None => Ok(()),
        Some(first) => Err(ImportError::Duplicate { value: name.to_owned(), first, second: described() }),
    }
}
