//! What the client computes in the middle of a run, and which random factors its function commutes with.

use std::collections::BTreeMap;

use super::{ClientWork, EncryptedOutput, Port};
use crate::Scale;
use crate::graph::{Node, Value};
use crate::slots::Layout;
use crate::tensor::{
    Binary, Composite, Constant, Effort, Op, Reduction, Step, Tensor, TensorGraph, TensorType, Tensors, Unary, tap_list,
};

/// One round with the client: it decrypts the function's inputs, computes the function, and encrypts its outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Its inputs are the operands of the circuit's refreshes of this round, in this order; its outputs their names.
    pub function: TensorGraph,
}

/// What is sent in a round, and how it lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What the client computes.
    pub function: TensorGraph,
    /// What it decrypts: the function's inputs, in this order.
    pub operands: Vec<EncryptedOutput>,
    /// What it encrypts.
    pub results: Vec<Reply>,
}

/// A result of a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The function's output.
    pub port: Port,
    /// How it is packed.
    pub layout: Layout,
    /// The level it is encrypted at.
    pub level: usize,
    /// The scale it is encoded at.
    pub scale: Scale,
}

/// Elements that a function mixes only within groups, and with which it commutes if each group is multiplied by a positive
/// factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// For each input and output of the function, by name, the group of each element.
    pub of: BTreeMap<String, Vec<u32>>,
    /// How many groups there are.
    pub count: usize,
}

impl Round {
    /// What the client gets.
    pub fn operands(&self) -> Vec<Port> {
        Port::inputs_of(&self.function)
    }

    /// What it sends back.
    pub fn results(&self) -> Vec<Port> {
        Port::outputs_of(&self.function)
    }

    /// What it computes, node by node of the model.
    pub fn work(&self) -> Vec<ClientWork> {
        super::work(Some(&self.function))
    }

    /// Whether every element of the result depends on the element of the one operand at its own place alone, by one function: the order
    /// of the elements can then be kept from the client.
    pub fn is_elementwise(&self) -> bool {
        let variable =
            |node: &Node<Tensors>| matches!(node.op(), Op::Input(_) | Op::Unary(_) | Op::Composite(_) | Op::Reshape(_));
        self.operands().len() == 1
            && self.results().len() == 1
            && self.function.nodes().all(|(_, node)| variable(node))
            && self.operands()[0].ty.elements() == self.results()[0].ty.elements()
    }

    /// The groups of elements whose common positive factor goes through the function unchanged; `None` if it has no such: a sigmoid, a
    /// constant that is added.
    pub fn groups(&self) -> Option<Groups> {
        let mut trace = Trace { graph: &self.function, parent: Vec::new(), values: Vec::new() };
        for (_, node) in self.function.nodes() {
            let value = trace.node(node)?;
            trace.values.push(value);
        }
        let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
        let inputs = self.function.inputs().map(|(value, name)| (name.to_owned(), value));
        let outputs = self.function.outputs().iter().map(|output| (output.name.clone(), output.value));
        let mut of = BTreeMap::new();
        for (name, value) in inputs.chain(outputs) {
            let Known::Groups(groups) = &trace.values[value.index()] else { return None };
            let groups: Vec<u32> = groups.iter().map(|&group| root(&trace.parent, group)).collect();
            let mut number = |group: u32| {
                let next = numbers.len() as u32;
                *numbers.entry(group).or_insert(next)
            };
            of.insert(name, groups.into_iter().map(&mut number).collect());
        }
        Some(Groups { of, count: numbers.len() })
    }
}

/// What is known of a value: all of it, or the group of each element.
enum Known {
    Constant(Tensor),
    Groups(Vec<u32>),
}

/// Groups found so far, as disjoint sets.
struct Trace<'a> {
    graph: &'a TensorGraph,
    /// For each group one that it belongs to; itself at the end.
    parent: Vec<u32>,
    values: Vec<Known>,
}

fn root(parent: &[u32], mut of: u32) -> u32 {
    while parent[of as usize] != of {
        of = parent[of as usize];
    }
    of
}

impl Trace<'_> {
    fn fresh(&mut self) -> u32 {
        let next = self.parent.len() as u32;
        self.parent.push(next);
        next
    }

    fn join(&mut self, a: u32, b: u32) -> u32 {
        let (a, b) = (root(&self.parent, a), root(&self.parent, b));
        let (low, high) = (a.min(b), a.max(b));
        self.parent[high as usize] = low;
        low
    }

    /// The groups of an operand's elements; `None` for constants.
    fn groups(&self, node: &Node<Tensors>, operand: usize) -> Option<Vec<u32>> {
        match self.values.get(node.operands().get(operand)?.index())? {
            Known::Groups(groups) => Some(groups.clone()),
            Known::Constant(_) => None,
        }
    }

    /// One group for all elements of the result, and of the operand.
    fn joined(&mut self, node: &Node<Tensors>, ty: &TensorType) -> Option<Vec<u32>> {
        let groups = self.groups(node, 0)?;
        let first = *groups.first()?;
        let all = groups.iter().fold(first, |a, &b| self.join(a, b));
        Some(vec![all; ty.elements()])
    }

    /// `None` if the operation does not commute with factors.
    fn node(&mut self, node: &Node<Tensors>) -> Option<Known> {
        let ty = node.ty().known()?;
        if matches!(node.op(), Op::Input(_)) {
            return Some(Known::Groups((0..ty.elements()).map(|_| self.fresh()).collect()));
        }
        if let Op::Constant(Constant(tensor)) = node.op() {
            return Some(Known::Constant((**tensor).clone()));
        }
        let constant =
            |value: &Value| if let Known::Constant(tensor) = &self.values[value.index()] { Some(tensor) } else { None };
        if let Some(constants) = node.operands().iter().map(constant).collect::<Option<Vec<&Tensor>>>() {
            return node.op().evaluate(&constants).ok().map(Known::Constant);
        }
        if node.op().effort() == Effort::Moves {
            return self.moved(node);
        }
        let groups = match node.op() {
            Op::Unary(unary) if is_homogeneous(&Composite::from(*unary)) => self.groups(node, 0)?,
            Op::Composite(composite) if is_homogeneous(composite) => self.groups(node, 0)?,
            Op::Pool(pool) => {
                let operand = self.graph.ty(node.operands()[0]).known()?;
                let taps = tap_list(&pool.kernel);
                let reads = pool.window.reads(&operand.shape[2..], &ty.shape[2..], &taps);
                let size = operand.shape[2..].iter().product::<usize>().max(1);
                let mut results = Vec::with_capacity(ty.elements());
                for plane in self.groups(node, 0)?.chunks_exact(size) {
                    for window in reads.chunks_exact(taps.len().max(1)) {
                        let mut read = window.iter().filter_map(|at| Some(plane[(*at)?]));
                        let first = read.next()?;
                        results.push(read.fold(first, |a, b| self.join(a, b)));
                    }
                }
                results
            }
            Op::Reduce(reduce) if reduce.reduction != Reduction::Product => self.joined(node, ty)?,
            Op::CumulativeSum(_) => self.joined(node, ty)?,
            Op::Binary(binary) => {
                let (a, b) = (self.groups(node, 0), self.groups(node, 1));
                match (binary, a, b) {
                    (Binary::Mul | Binary::Div, Some(a), None) | (Binary::Mul, None, Some(a)) => a,
                    (Binary::Add | Binary::Sub | Binary::Max | Binary::Min, Some(a), Some(b)) if a.len() == b.len() => {
                        a.into_iter().zip(b).map(|(a, b)| self.join(a, b)).collect()
                    }
                    _mixed => return None,
                }
            }
            Op::Unary(_)
            | Op::Composite(_)
            | Op::Reduce(_)
            | Op::Input(_)
            | Op::Constant(_)
            | Op::Unsupported(_)
            | Op::Conv(_)
            | Op::MatMul(_)
            | Op::Polynomial(_)
            | Op::Chebyshev(_)
            | Op::ArgMax(_)
            | Op::Softmax(_)
            | Op::Cast(_)
            | Op::Where(_)
            | Op::Reshape(_)
            | Op::Transpose(_)
            | Op::Expand(_)
            | Op::Slice(_)
            | Op::Gather(_)
            | Op::Concat(_)
            | Op::Pad(_)
            | Op::Affine(_) => return None,
        };
        (groups.len() == ty.elements()).then_some(Known::Groups(groups))
    }

    /// Groups go where the elements go: their numbers are moved. Of constants only zeros may come in, each a group of its own.
    fn moved(&mut self, node: &Node<Tensors>) -> Option<Known> {
        let mut tensors = Vec::with_capacity(node.operands().len());
        for (at, operand) in node.operands().iter().enumerate() {
            let ty = self.graph.ty(*operand).known()?;
            tensors.push(match &self.values[operand.index()] {
                Known::Constant(tensor) => {
                    let index = matches!(node.op(), Op::Gather(_)) && at == 1;
                    if !index && tensor.values().iter().any(|&v| v != 0.0) {
                        return None;
                    }
                    tensor.clone()
                }
                Known::Groups(groups) => {
                    let numbers = groups.iter().map(|&group| f64::from(group) + 1.0).collect();
                    Tensor::from_values(ty.element, &ty.shape, numbers).ok()?
                }
            });
        }
        let result = node.op().evaluate(&tensors.iter().collect::<Vec<_>>()).ok()?;
        let known = self.parent.len() as f64;
        let mut groups = Vec::with_capacity(result.values().len());
        for &number in result.values() {
            groups.push(match number {
                0.0 => self.fresh(),
                number if number >= 1.0 && number <= known => (number - 1.0) as u32,
                _constant => return None,
            });
        }
        Some(Known::Groups(groups))
    }
}

/// Whether `f(r x) = r f(x)` for every positive `r`, as far as the steps show: each value on the stack is multiplied by a power of `r`.
fn is_homogeneous(function: &Composite) -> bool {
    // A number may be any power of r if it is 0.
    #[derive(Clone, Copy, PartialEq)]
    enum Power {
        Any,
        Of(i32),
    }
    let mut stack: Vec<Power> = Vec::new();
    let alike = |a: Power, b: Power| match (a, b) {
        (Power::Any, other) | (other, Power::Any) => Some(other),
        (a, b) => (a == b).then_some(a),
    };
    for step in function.steps() {
        let mut pop = || stack.pop();
        let result = match step {
            Step::Argument => Some(Power::Of(1)),
            Step::Constant(value) => Some(if *value == 0.0 { Power::Any } else { Power::Of(0) }),
            Step::Unary(unary) => pop().and_then(|x| match (unary, x) {
                (Unary::Neg | Unary::Abs | Unary::Relu | Unary::LeakyRelu { .. }, x) => Some(x),
                (Unary::Sign, _) | (_, Power::Of(0)) => Some(Power::Of(0)),
                (_, Power::Any | Power::Of(_)) => None,
            }),
            Step::Binary(binary) => pop().zip(pop()).and_then(|(b, a)| match binary {
                Binary::Add | Binary::Sub | Binary::Max | Binary::Min => alike(a, b),
                Binary::Equal | Binary::Greater | Binary::Less => alike(a, b).map(|_| Power::Of(0)),
                Binary::Mul => match (a, b) {
                    (Power::Of(a), Power::Of(b)) => Some(Power::Of(a + b)),
                    (Power::Any, _) | (_, Power::Any) => Some(Power::Any),
                },
                Binary::Div | Binary::Mod | Binary::Remainder | Binary::Pow => match (a, b) {
                    (Power::Of(0), Power::Of(0)) => Some(Power::Of(0)),
                    _other => None,
                },
            }),
            Step::Select => match (pop(), pop(), pop()) {
                (Some(no), Some(yes), Some(Power::Of(0))) => alike(yes, no),
                _other => None,
            },
        };
        match result {
            Some(power) => stack.push(power),
            None => return false,
        }
    }
    stack.pop() == Some(Power::Of(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;
    use crate::tensor::{Element, Input, Pool, Pooling, Window};

    #[test]
    fn which_functions_commute_with_factors() {
        for (text, expected) in [
            ("x relu", true),
            ("x leaky_relu(0.1)", true),
            ("x 0 greater x -0.5 x mul select", true),
            ("x neg relu -0.25 mul x relu add", true),
            ("x 0 max", true),
            ("x sigmoid", false),
            ("x clip(0,6)", false),
            ("x 1 greater x 0 select", false),
            ("x x mul", false),
            ("x 3 add", false),
        ] {
            assert_eq!(is_homogeneous(&Composite::parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn windows_that_overlap_are_one_group() {
        let pooled = |stride: usize| {
            let mut b = Builder::<Tensors>::new(());
            let ty = TensorType { element: Element::F32, shape: vec![1, 2, 4, 4] };
            let x = b.push(Input { name: "x".to_owned(), ty }.into(), &[]).unwrap();
            let relu = b.push(Unary::Relu.into(), &[x]).unwrap();
            let window = Window {
                strides: vec![stride; 2],
                pads_begin: vec![0; 2],
                pads_end: vec![0; 2],
                dilations: vec![1; 2],
            };
            let pool = Pool { pooling: Pooling::Max, kernel: vec![2; 2], window };
            let y = b.push(pool.into(), &[relu]).unwrap();
            b.output("y", y);
            Round { function: b.finish() }
        };
        let apart = pooled(2).groups().unwrap();
        assert_eq!(apart.count, 8);
        assert_eq!(apart.of["y"].len(), 8);
        assert_eq!(apart.of["x"][0], apart.of["x"][5]);
        assert_eq!(apart.of["y"][0], apart.of["x"][0]);
        assert_ne!(apart.of["x"][0], apart.of["x"][2]);
        assert_eq!(pooled(1).groups().unwrap().count, 2);
        assert!(!pooled(2).is_elementwise());
    }
}
