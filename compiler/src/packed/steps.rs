//! A tensor graph as linear maps and elementwise operations on flat tensors.

use std::sync::Arc;

use hec_ir::graph::{Node, Origin};
use hec_ir::matrix::BlockMatrix;
use hec_ir::tensor::{self, Binary, Expand, Op, Polynomial, TensorGraph, TensorType, Tensors};

use crate::affine::{self, AffineMap, Operand, Source};
use crate::encrypted_product::EncryptedProduct;
use crate::error::{CompileError, Obstacle};
use crate::pack::{constant, why_not};

/// The steps, operands before users.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) list: Vec<Step>,
    /// Names and steps.
    pub(super) outputs: Vec<(String, usize)>,
}

/// One operation whose result lies in vectors.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) operation: Operation,
    pub(super) shape: Vec<usize>,
    pub(super) origin: Origin,
    /// For a convolution of an input: what each output position reads.
    pub(super) patches: Option<Arc<Patches>>,
}

/// What a convolution reads: for each output position the elements under the kernel, `None` in the padding.
#[derive(Clone, Debug)]
pub(super) struct Patches {
    pub(super) positions: usize,
    /// Elements under the kernel, all channels of the input together.
    pub(super) taps: usize,
    /// `taps` for each position.
    pub(super) reads: Vec<Option<u32>>,
}

/// Operands are positions of steps.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Input(String),
    /// The sum of matrices times operands, and a bias.
    Linear {
        terms: Vec<(usize, Arc<BlockMatrix<f64>>)>,
        bias: Arc<[f64]>,
    },
    Polynomial(usize, Polynomial),
    Chebyshev(usize, Arc<[f64]>),
    Multiply(usize, usize),
    Add(usize, usize),
    Subtract(usize, usize),
}

impl Operation {
    /// The operands that lie as the result does.
    pub(super) fn alike(&self) -> Vec<usize> {
        match self {
            Self::Input(_) | Self::Linear { .. } => Vec::new(),
            Self::Polynomial(x, _) | Self::Chebyshev(x, _) => vec![*x],
            Self::Multiply(a, b) | Self::Add(a, b) | Self::Subtract(a, b) => vec![*a, *b],
        }
    }

    /// Whether partial sums beside the elements stay harmless: their products grow no faster than those of the elements.
    pub(super) fn bears_partial_sums(&self) -> bool {
        match self {
            Self::Polynomial(_, polynomial) => polynomial.degree() <= 2,
            Self::Chebyshev(..) => false,
            Self::Input(_) | Self::Linear { .. } | Self::Multiply(..) | Self::Add(..) | Self::Subtract(..) => true,
        }
    }
}

impl Steps {
    pub(super) fn depth(&self) -> usize {
        let mut depths: Vec<usize> = Vec::with_capacity(self.list.len());
        for step in &self.list {
            let depth = match &step.operation {
                Operation::Input(_) => 0,
                Operation::Linear { terms, .. } => 1 + terms.iter().map(|(x, _)| depths[*x]).max().unwrap_or(0),
                Operation::Polynomial(x, polynomial) => depths[*x] + ceil_log2(polynomial.degree() + 1),
                Operation::Chebyshev(x, coefficients) => depths[*x] + ceil_log2(coefficients.len()),
                Operation::Multiply(a, b) => 1 + depths[*a].max(depths[*b]),
                Operation::Add(a, b) | Operation::Subtract(a, b) => depths[*a].max(depths[*b]),
            };
            depths.push(depth);
        }
        self.outputs.iter().map(|(_, index)| depths[*index]).max().unwrap_or(0)
    }
}

fn ceil_log2(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

/// # Errors
/// [`CompileError::Unsupported`] with all nodes that cannot be computed, or a node that does not fit.
pub(super) fn read(graph: &TensorGraph) -> Result<Steps, CompileError> {
    let mut reader = Reader {
        graph,
        uses: graph.use_counts(),
        steps: Vec::new(),
        forms: Vec::with_capacity(graph.len()),
        obstacles: Vec::new(),
    };
    for (_, node) in graph.nodes() {
        let form = reader.node(node)?;
        reader.forms.push(form);
    }
    if !reader.obstacles.is_empty() {
        return Err(CompileError::Unsupported { nodes: reader.obstacles });
    }
    let mut outputs = Vec::new();
    for output in graph.outputs() {
        let node = graph.node(output.value);
        let form = reader.forms[output.value.index()].clone();
        let (Some(form), Some(ty)) = (form, node.ty().known()) else {
            return Err(CompileError::ConstantOutput { name: output.name.clone() });
        };
        outputs.push((output.name.clone(), reader.settled(form, ty, node.origin())?));
    }
    Ok(Steps { list: reader.steps, outputs })
}

/// What a tensor is: a step's result, or a map of some that is not made yet.
#[derive(Clone, Debug)]
enum Form {
    Made(usize),
    Moved(Moved),
}

/// A sum of maps that only move elements and add constants.
#[derive(Clone, Debug)]
struct Moved {
    terms: Vec<(usize, AffineMap)>,
}

struct Reader<'a> {
    graph: &'a TensorGraph,
    uses: Vec<u32>,
    steps: Vec<Step>,
    /// `None` for constants and for what could not be read.
    forms: Vec<Option<Form>>,
    obstacles: Vec<Obstacle>,
}

impl Reader<'_> {
    fn node(&mut self, node: &Node<Tensors>) -> Result<Option<Form>, CompileError> {
        if matches!(node.op(), Op::Unsupported(_)) {
            self.obstacles.extend(Obstacle::unsupported(node));
            return Ok(None);
        }
        let Some(ty) = node.ty().known() else { return Ok(None) };
        if let Op::Input(input) = node.op() {
            return Ok(Some(self.made(Operation::Input(input.name.clone()), ty, node.origin())));
        }
        if matches!(node.op(), Op::Constant(_)) {
            return Ok(None);
        }
        let Some(operands) = self.operands(node) else { return Ok(None) };
        let wrap = |cause| CompileError::node(node.origin(), node.op().name(), cause);
        let variables: Vec<(usize, Form)> =
            node.operands().iter().filter_map(|v| Some((v.index(), self.forms[v.index()].clone()?))).collect();
        if let Some(map) = affine::of_operation(node.op(), &operands).map_err(wrap)? {
            let [(operand, x)] = &variables[..] else {
                return Err(CompileError::ConstantOutput { name: node.origin().as_str().to_owned() });
            };
            return self.linear(node, map, *operand, x.clone(), ty).map(Some);
        }
        match (node.op(), &variables[..]) {
            (Op::Polynomial(polynomial), [(at, x)]) => {
                let x = self.settled_at(*at, x.clone())?;
                let operation = match *polynomial == Polynomial::square() {
                    true => Operation::Multiply(x, x),
                    false => Operation::Polynomial(x, polynomial.clone()),
                };
                Ok(Some(self.made(operation, ty, node.origin())))
            }
            (Op::Chebyshev(series), [(at, x)]) => {
                let x = self.settled_at(*at, x.clone())?;
                Ok(Some(self.made(Operation::Chebyshev(x, series.coefficients.clone()), ty, node.origin())))
            }
            (Op::Binary(binary), [_, _]) => self.binary(node, *binary, ty),
            (Op::MatMul(_), [(at, a), (bt, b)]) => {
                let types = [operands[0].ty(), operands[1].ty()];
                let product = EncryptedProduct::new(&types[0].shape, &types[1].shape).map_err(wrap)?;
                let (a, b) = (self.settled_at(*at, a.clone())?, self.settled_at(*bt, b.clone())?);
                self.matrix_product(a, b, &product, ty, node).map(Some)
            }
            (op, _) if affine::moves(op, &operands) => {
                let affine::Moved(sources) = affine::moved(op, &operands).map_err(wrap)?;
                let mut made = Vec::new();
                for (at, x) in variables {
                    made.push(self.settled_at(at, x)?);
                }
                self.joined(&made, &sources, node).map(Some)
            }
            (op, _) => {
                let reason = format!("{} {}", op.name(), why_not(op));
                Ok(Some(self.obstacle(node, reason, ty)))
            }
        }
    }

    /// Notes a node that cannot be packed, and stands an input in for its result, so that what follows is checked as well.
    fn obstacle(&mut self, node: &Node<Tensors>, reason: String, ty: &TensorType) -> Form {
        self.obstacles.push(Obstacle { origin: node.origin().clone(), reason });
        self.made(Operation::Input(node.origin().as_str().to_owned()), ty, node.origin())
    }

    /// `None` if an operand could not be read itself: that was said already.
    fn operands(&self, node: &Node<Tensors>) -> Option<Vec<Operand<'_>>> {
        let of = |&value: &hec_ir::graph::Value| match constant(self.graph, value) {
            Some(tensor) => Some(Operand::Constant(tensor)),
            None => {
                self.forms[value.index()].as_ref()?;
                Some(Operand::Variable(self.graph.node(value).ty().known()?))
            }
        };
        node.operands().iter().map(of).collect()
    }

    fn made(&mut self, operation: Operation, ty: &TensorType, origin: &Origin) -> Form {
        Form::Made(self.push(operation, &ty.shape, origin))
    }

    fn push(&mut self, operation: Operation, shape: &[usize], origin: &Origin) -> usize {
        self.steps.push(Step { operation, shape: shape.to_vec(), origin: origin.clone(), patches: None });
        self.steps.len() - 1
    }

    fn linear(
        &mut self,
        node: &Node<Tensors>,
        map: AffineMap,
        operand: usize,
        x: Form,
        ty: &TensorType,
    ) -> Result<Form, CompileError> {
        if let (Form::Made(x), true) = (&x, is_identity(&map)) {
            if map.bias.iter().all(|&b| b == 0.0) {
                return Ok(Form::Made(*x));
            }
            // A shift right after a map is that map's bias.
            if let (1, Operation::Linear { bias, .. }) = (self.uses[operand], &mut self.steps[*x].operation) {
                *bias = bias.iter().zip(&map.bias).map(|(a, b)| a + b).collect();
                return Ok(Form::Made(*x));
            }
        }
        let terms = match x {
            Form::Made(x) => vec![(x, map.clone())],
            Form::Moved(moved) => composed(moved, &map),
        };
        if map.free {
            return Ok(Form::Moved(Moved { terms }));
        }
        let patches = self.patches(node, &terms);
        let step = self.settled(Form::Moved(Moved { terms }), ty, node.origin())?;
        self.steps[step].patches = patches.map(Arc::new);
        Ok(Form::Made(step))
    }

    /// What a convolution of a whole input reads.
    fn patches(&self, node: &Node<Tensors>, terms: &[(usize, AffineMap)]) -> Option<Patches> {
        let (Op::Conv(conv), [(x, map)]) = (node.op(), terms) else { return None };
        let read = self.graph.ty(node.operands()[0]).known()?;
        let (weights, out) = (constant(self.graph, node.operands()[1])?, node.ty().known()?);
        let whole = matches!(self.steps[*x].operation, Operation::Input(_)) && map.matrix.cols() == read.elements();
        if !whole || conv.groups != 1 || read.shape[0] != 1 || self.steps[*x].shape != read.shape {
            return None;
        }
        let (space, kernel, positions) = (&read.shape[2..], &weights.shape()[2..], &out.shape[2..]);
        let found = conv.window.reads(space, positions, &tensor::tap_list(kernel));
        let (size, taps) = (space.iter().product::<usize>(), kernel.iter().product::<usize>());
        let mut reads = Vec::with_capacity(found.len() * read.shape[1]);
        for position in found.chunks_exact(taps.max(1)) {
            for channel in 0..read.shape[1] {
                reads.extend(position.iter().map(|tap| tap.map(|at| (channel * size + at) as u32)));
            }
        }
        Some(Patches { positions: positions.iter().product(), taps: taps * read.shape[1], reads })
    }

    fn settled_at(&mut self, at: usize, form: Form) -> Result<usize, CompileError> {
        if let Form::Made(step) = form {
            return Ok(step);
        }
        let graph = self.graph;
        let node = graph.nodes().nth(at).map(|(_, node)| node);
        let known = node.and_then(|node| Some((node.ty().known()?, node.origin())));
        let (ty, origin) = known.ok_or_else(|| CompileError::internal("an operand has no type"))?;
        let step = self.settled(form, ty, origin)?;
        self.forms[at] = Some(Form::Made(step));
        Ok(step)
    }

    /// The step of a form.
    fn settled(&mut self, form: Form, ty: &TensorType, origin: &Origin) -> Result<usize, CompileError> {
        match form {
            Form::Made(step) => Ok(step),
            Form::Moved(Moved { terms }) => {
                let mut bias = vec![0.0; ty.elements()];
                for (_, map) in &terms {
                    bias.iter_mut().zip(&map.bias).for_each(|(sum, b)| *sum += b);
                }
                let terms = terms.into_iter().map(|(x, map)| (x, Arc::new(map.matrix))).collect();
                Ok(self.push(Operation::Linear { terms, bias: bias.into() }, &ty.shape, origin))
            }
        }
    }

    fn binary(&mut self, node: &Node<Tensors>, binary: Binary, ty: &TensorType) -> Result<Option<Form>, CompileError> {
        let operation: fn(usize, usize) -> Operation = match binary {
            Binary::Add => Operation::Add,
            Binary::Sub => Operation::Subtract,
            Binary::Mul => Operation::Multiply,
            Binary::Div
            | Binary::Mod
            | Binary::Remainder
            | Binary::Pow
            | Binary::Max
            | Binary::Min
            | Binary::Equal
            | Binary::Greater
            | Binary::Less => {
                let reason = format!("{} of two encrypted values is not a polynomial", node.op().name());
                return Ok(Some(self.obstacle(node, reason, ty)));
            }
        };
        let mut spread = [0; 2];
        for (i, spread) in spread.iter_mut().enumerate() {
            let value = node.operands()[i];
            let Some(form) = self.forms[value.index()].clone() else { return Ok(None) };
            let made = self.settled_at(value.index(), form)?;
            let from = self.graph.ty(value).known();
            *spread = match from.filter(|from| from.shape != ty.shape) {
                Some(from) => {
                    let expand = Op::from(Expand { shape: ty.shape.clone() });
                    let wrap = |cause| CompileError::node(node.origin(), "expand", cause);
                    let affine::Moved(sources) = affine::moved(&expand, &[Operand::Variable(from)]).map_err(wrap)?;
                    let form = self.joined(&[made], &sources, node)?;
                    self.settled(form, ty, node.origin())?
                }
                None => made,
            };
        }
        Ok(Some(self.made(operation(spread[0], spread[1]), ty, node.origin())))
    }

    /// Elements of several steps, one map for each.
    fn joined(&mut self, operands: &[usize], sources: &[Source], node: &Node<Tensors>) -> Result<Form, CompileError> {
        let mut terms = Vec::new();
        let mut first = 0u32;
        for (i, &operand) in operands.iter().enumerate() {
            let count = self.steps[operand].shape.iter().product::<usize>();
            let own = sources.iter().map(|source| match source {
                Source::Element(at) if (first..first + count as u32).contains(at) => Source::Element(at - first),
                Source::Element(_) => Source::Constant(0.0),
                Source::Constant(value) => Source::Constant(if i == 0 { *value } else { 0.0 }),
            });
            let map = affine::Moved(own.collect()).into_map(count);
            let map = map.ok_or_else(|| CompileError::internal("an element is out of range"))?;
            first += count as u32;
            if let ([_], true, true) = (operands, is_identity(&map), map.bias.iter().all(|&b| b == 0.0)) {
                return Ok(Form::Made(operand));
            }
            terms.push((operand, map));
        }
        if terms.is_empty() {
            return Err(CompileError::ConstantOutput { name: node.origin().as_str().to_owned() });
        }
        Ok(Form::Moved(Moved { terms }))
    }

    /// All products of an element of `a` and one of `b`, and their sums.
    fn matrix_product(
        &mut self,
        a: usize,
        b: usize,
        product: &EncryptedProduct,
        ty: &TensorType,
        node: &Node<Tensors>,
    ) -> Result<Form, CompileError> {
        let elements = |indices: &[u32]| indices.iter().map(|&index| Source::Element(index)).collect::<Vec<_>>();
        let all = TensorType::new(ty.element, [product.left.len()]);
        let mut sides = [0; 2];
        for (side, (operand, indices)) in sides.iter_mut().zip([(a, &product.left), (b, &product.right)]) {
            let form = self.joined(&[operand], &elements(indices), node)?;
            *side = self.settled(form, &all, node.origin())?;
        }
        let products = self.push(Operation::Multiply(sides[0], sides[1]), &all.shape, node.origin());
        let sums = product.sums()?;
        let bias = vec![0.0; sums.rows()].into();
        let operation = Operation::Linear { terms: vec![(products, Arc::new(sums))], bias };
        Ok(self.made(operation, ty, node.origin()))
    }
}

fn is_identity(map: &AffineMap) -> bool {
    let mut identity = map.free && map.matrix.rows() == map.matrix.cols();
    let mut weights = 0;
    map.matrix.for_each(|row, col, &weight| {
        identity &= row == col && weight == 1.0;
        weights += 1;
    });
    identity && weights == map.matrix.rows()
}

/// `outer` after a sum of maps; its bias goes to the first.
fn composed(moved: Moved, outer: &AffineMap) -> Vec<(usize, AffineMap)> {
    let unbiased = AffineMap { bias: vec![0.0; outer.bias.len()], ..outer.clone() };
    let each = |(i, (x, map)): (usize, (usize, AffineMap))| (x, map.then(if i == 0 { outer } else { &unbiased }));
    moved.terms.into_iter().enumerate().map(each).collect()
}
