//! Graphs as pictures.

use hec_ir::graph::{Dialect, Graph};
use petgraph::dot::{Config, Dot};
use petgraph::graph::DiGraph;

/// `graph` in Graphviz's DOT language: one box a node, with its operation, type and origin.
pub fn dot<D: Dialect>(graph: &Graph<D>) -> String {
    let mut picture: DiGraph<String, ()> = DiGraph::new();
    let mut boxes = Vec::with_capacity(graph.len());
    for (value, node) in graph.nodes() {
        let label = format!("{value} {}\n{}\n{}", D::describe(node.op()).0, node.ty(), node.origin());
        let at = picture.add_node(label);
        for operand in node.operands() {
            picture.add_edge(boxes[operand.index()], at, ());
        }
        boxes.push(at);
    }
    for output in graph.outputs() {
        let at = picture.add_node(format!("output {}", output.name));
        picture.add_edge(boxes[output.value.index()], at, ());
    }
    let attributes = |_: &_, (_, label): (_, &String)| format!("label=\"{}\" shape=box", escaped(label));
    let config = [Config::EdgeNoLabel, Config::NodeNoLabel];
    format!("{:?}", Dot::with_attr_getters(&picture, &config, &|_, _| String::new(), &attributes))
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
