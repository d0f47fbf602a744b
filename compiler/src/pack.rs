//! Packing: where in the slots each tensor element lies.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::graph::{Builder, Node, Value};
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::slots::{self, Layout, SlotGraph, Slots};
use hec_ir::tensor::{Binary, Op, Polynomial, Reduce, Reduction, Tensor, TensorGraph, TensorType, Tensors};

use crate::affine::{self, AffineMap, Operand, Source};
use crate::encrypted_product::EncryptedProduct;
use crate::error::{CompileError, Obstacle};
use crate::series;

/// Lowers `graph` to the batch layout: one slot vector for each tensor element.
///
/// # Errors
/// [`CompileError::Unsupported`] with *all* nodes that cannot be computed on encrypted data, or a node that does not fit.
pub fn batch(graph: &TensorGraph) -> Result<SlotGraph, CompileError> {
    let mut pack = Pack {
        graph,
        uses: graph.use_counts(),
        builder: Builder::new(()),
        packed: vec![None; graph.len()],
        obstacles: Vec::new(),
    };
    for (value, node) in graph.nodes() {
        pack.builder.set_origin(node.origin().clone());
        pack.packed[value.index()] = pack.node(node)?;
    }
    if !pack.obstacles.is_empty() {
        return Err(CompileError::Unsupported { nodes: pack.obstacles });
    }
    for output in graph.outputs() {
        match pack.packed[output.value.index()] {
            Some(value) => pack.builder.output(&output.name, value),
            None => return Err(CompileError::ConstantOutput { name: output.name.clone() }),
        }
    }
    Ok(pack.builder.finish().without_dead_nodes())
}

struct Pack<'a> {
    graph: &'a TensorGraph,
    uses: Vec<u32>,
    builder: Builder<Slots>,
    /// `None` for constants and for what could not be packed.
    packed: Vec<Option<Value>>,
    obstacles: Vec<Obstacle>,
}

impl Pack<'_> {
    fn node(&mut self, node: &Node<Tensors>) -> Result<Option<Value>, CompileError> {
        if matches!(node.op(), Op::Unsupported(_)) {
            self.obstacles.extend(Obstacle::unsupported(node));
            return Ok(None);
        }
        let Some(ty) = node.ty().known() else { return Ok(None) };
        if let Op::Input(input) = node.op() {
            let layout = Layout::Batch { shape: input.ty.shape.clone() };
            let input = slots::Input { name: input.name.clone(), layout, public: false };
            return self.push(slots::Op::Input(input), &[]).map(Some);
        }
        if matches!(node.op(), Op::Constant(_)) {
            return Ok(None);
        }
        let Some(operands) = self.operands(node) else { return Ok(None) };
        let wrap = |cause| CompileError::node(node.origin(), node.op().name(), cause);
        if let Some(map) = affine::of_operation(node.op(), &operands).map_err(wrap)? {
            return self.affine(node, map).map(Some);
        }
        let variables: Vec<Value> = node.operands().iter().filter_map(|v| self.packed[v.index()]).collect();
        match (node.op(), &variables[..]) {
            (Op::Polynomial(polynomial), [x]) => self.polynomial(*x, polynomial).map(Some),
            (Op::Chebyshev(series), [x]) => series::push(&mut self.builder, *x, &series.coefficients).map(Some),
            (Op::Binary(binary), [a, b]) => self.binary(node, *binary, [*a, *b], ty),
            (Op::MatMul(_), [a, b]) => {
                let types = [operands[0].ty(), operands[1].ty()];
                let product = EncryptedProduct::new(&types[0].shape, &types[1].shape).map_err(wrap)?;
                self.matrix_product(*a, *b, &product).map(Some)
            }
            (op, _) if affine::moves(op, &operands) => {
                let sources = affine::moved(op, &operands).map_err(wrap)?;
                self.rearranged(&variables, sources.0).map(Some)
            }
            (op, _) => self.obstacle(node, format!("{} {}", op.name(), why_not(op)), ty).map(Some),
        }
    }

    /// Notes a node that cannot be packed, and stands an input in for its result, so that what follows is checked as well.
    fn obstacle(&mut self, node: &Node<Tensors>, reason: String, ty: &TensorType) -> Result<Value, CompileError> {
        self.obstacles.push(Obstacle { origin: node.origin().clone(), reason });
        let layout = Layout::Batch { shape: ty.shape.clone() };
        let name = node.origin().as_str().to_owned();
        self.push(slots::Op::Input(slots::Input { name, layout, public: false }), &[])
    }

    fn push(&mut self, op: slots::Op, operands: &[Value]) -> Result<Value, CompileError> {
        Ok(self.builder.push(op, operands)?)
    }

    /// `None` if an operand could not be packed itself: that was said already.
    fn operands(&self, node: &Node<Tensors>) -> Option<Vec<Operand<'_>>> {
        let of = |&value: &Value| {
            let operand = self.graph.node(value);
            match constant(self.graph, value) {
                Some(tensor) => Some(Operand::Constant(tensor)),
                None => Some(Operand::Variable(self.packed[value.index()].and(operand.ty().known())?)),
            }
        };
        node.operands().iter().map(of).collect()
    }

    fn affine(&mut self, node: &Node<Tensors>, map: AffineMap) -> Result<Value, CompileError> {
        let variable = node.operands().iter().find(|v| self.packed[v.index()].is_some());
        let Some((operand, x)) = variable.and_then(|v| Some((*v, self.packed[v.index()]?))) else {
            return Err(CompileError::ConstantOutput { name: node.origin().as_str().to_owned() });
        };
        let unbiased = map.bias.iter().all(|&b| b == 0.0);
        if map.free
            && let Some(indices) = selection(&map.matrix)
        {
            let identity =
                indices.len() == map.matrix.cols() && indices.iter().enumerate().all(|(i, &c)| i == c as usize);
            if identity && unbiased {
                return Ok(x);
            }
            if unbiased {
                return self.push(slots::Op::Gather(slots::Gather { indices }), &[x]);
            }
            // A shift right after a combine is that combine's bias.
            let producer = self.builder.node(x);
            if let (true, 1, slots::Op::Combine(combine)) = (identity, self.uses[operand.index()], producer.op()) {
                let bias = combine.bias.iter().zip(&map.bias).map(|(a, b)| a + b).collect();
                let merged = slots::Combine { matrix: combine.matrix.clone(), bias };
                let before = producer.operands().to_vec();
                return self.push(slots::Op::Combine(merged), &before);
            }
        }
        let combine = slots::Combine { matrix: Arc::new(map.matrix), bias: map.bias.into() };
        self.push(slots::Op::Combine(combine), &[x])
    }

    fn binary(
        &mut self,
        node: &Node<Tensors>,
        binary: Binary,
        operands: [Value; 2],
        ty: &TensorType,
    ) -> Result<Option<Value>, CompileError> {
        let op = match binary {
            Binary::Add => slots::Op::Add,
            Binary::Sub => slots::Op::Subtract,
            Binary::Mul => slots::Op::Multiply,
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
                return self.obstacle(node, reason, ty).map(Some);
            }
        };
        let mut spread = [operands[0]; 2];
        for (i, spread) in spread.iter_mut().enumerate() {
            let from = self.graph.ty(node.operands()[i]).known();
            *spread = match from.filter(|from| from.shape != ty.shape) {
                Some(from) => {
                    let expand = Op::from(hec_ir::tensor::Expand { shape: ty.shape.clone() });
                    let wrap = |cause| CompileError::node(node.origin(), "expand", cause);
                    let sources = affine::moved(&expand, &[Operand::Variable(from)]).map_err(wrap)?;
                    self.rearranged(&[operands[i]], sources.0)?
                }
                None => operands[i],
            };
        }
        if op == slots::Op::Multiply && spread[0] == spread[1] {
            return self.push(slots::Op::Square, &spread[..1]).map(Some);
        }
        self.push(op, &spread).map(Some)
    }

    /// All products of an element of `a` and one of `b`, and their sums.
    fn matrix_product(&mut self, a: Value, b: Value, product: &EncryptedProduct) -> Result<Value, CompileError> {
        let elements = |indices: &[u32]| indices.iter().map(|&index| Source::Element(index)).collect();
        let left = self.rearranged(&[a], elements(&product.left))?;
        let right = self.rearranged(&[b], elements(&product.right))?;
        let products = match left == right {
            true => self.push(slots::Op::Square, &[left])?,
            false => self.push(slots::Op::Multiply, &[left, right])?,
        };
        if product.depth == 1 {
            return Ok(products);
        }
        let matrix = Arc::new(product.sums()?);
        let bias = vec![0.0; matrix.rows()].into();
        self.push(slots::Op::Combine(slots::Combine { matrix, bias }), &[products])
    }

    /// Elements of several arrays, and constants, in a new order.
    fn rearranged(&mut self, operands: &[Value], sources: Vec<Source>) -> Result<Value, CompileError> {
        let all = match operands {
            [one] => *one,
            many => self.push(slots::Op::Concat, many)?,
        };
        let length = self.builder.ty(all).length;
        let indices: Option<Vec<u32>> =
            sources.iter().map(|s| if let Source::Element(i) = s { Some(*i) } else { None }).collect();
        match indices {
            Some(indices) if indices.iter().enumerate().all(|(i, &at)| i == at as usize) && indices.len() == length => {
                Ok(all)
            }
            Some(indices) => self.push(slots::Op::Gather(slots::Gather { indices: indices.into() }), &[all]),
            None => {
                let map = affine::Moved(sources).into_map(length);
                let map = map.ok_or_else(|| CompileError::internal("an element is out of range"))?;
                let combine = slots::Combine { matrix: Arc::new(map.matrix), bias: map.bias.into() };
                self.push(slots::Op::Combine(combine), &[all])
            }
        }
    }

    /// A square is one operation; other polynomials are weighted sums of powers, each the product of two halves.
    fn polynomial(&mut self, x: Value, polynomial: &Polynomial) -> Result<Value, CompileError> {
        if *polynomial == Polynomial::square() {
            return self.push(slots::Op::Square, &[x]);
        }
        let length = self.builder.ty(x).length;
        let wanted: Vec<usize> = (1..=polynomial.degree()).filter(|&k| polynomial.coefficients[k] != 0.0).collect();
        let mut powers = BTreeMap::from([(1, x)]);
        let mut terms = Vec::new();
        for &k in &wanted {
            terms.push(self.power(&mut powers, k)?);
        }
        let all = if terms.len() == 1 { terms[0] } else { self.push(slots::Op::Concat, &terms)? };
        let weights: Arc<[f64]> = wanted.iter().map(|&k| polynomial.coefficients[k]).collect();
        let block = |i: usize| Block {
            rows: [i as u32].into(),
            cols: (0..wanted.len()).map(|k| (k * length + i) as u32).collect(),
            weights: weights.clone(),
        };
        let matrix = BlockMatrix::new(length, length * wanted.len(), (0..length).map(block).collect());
        let matrix = matrix.map_err(|e| CompileError::internal(&e.to_string()))?;
        let bias = vec![polynomial.coefficients[0]; length].into();
        self.push(slots::Op::Combine(slots::Combine { matrix: Arc::new(matrix), bias }), &[all])
    }

    fn power(&mut self, powers: &mut BTreeMap<usize, Value>, k: usize) -> Result<Value, CompileError> {
        if let Some(&power) = powers.get(&k) {
            return Ok(power);
        }
        let half = k / 2;
        let low = self.power(powers, half)?;
        let high = self.power(powers, k - half)?;
        let power = if low == high {
            self.push(slots::Op::Square, &[low])?
        } else {
            self.push(slots::Op::Multiply, &[low, high])?
        };
        powers.insert(k, power);
        Ok(power)
    }
}

/// The column of each row, if every row is one column with weight 1.
fn selection(matrix: &BlockMatrix<f64>) -> Option<Arc<[u32]>> {
    let mut columns = vec![None; matrix.rows()];
    let mut plain = true;
    matrix.for_each(|row, col, &weight| {
        plain &= weight == 1.0 && columns[row].is_none();
        columns[row] = Some(col as u32);
    });
    plain.then(|| columns.into_iter().collect::<Option<Arc<[u32]>>>()).flatten()
}

const COMPARES: &str = "compares values, which encrypted arithmetic cannot: give calibration samples with --calibrate, and a \
                        polynomial takes its place; or train again with a polynomial activation (such as a square) or \
                        average pooling; or run the model with --backend plain";
const NO_POLYNOMIAL: &str = "is not a polynomial: give calibration samples with --calibrate, and one takes its place; or train \
                             again with one; or run the model with --backend plain";

pub(crate) fn why_not(op: &Op) -> &'static str {
    match op {
        Op::Unary(unary) if unary.compares() => COMPARES,
        Op::Composite(composite) if composite.compares() => COMPARES,
        Op::Reduce(Reduce { reduction: Reduction::Product, .. }) => {
            "multiplies more values than is supported: make it a chain of products, or run the model with --backend plain"
        }
        Op::Pool(_) => COMPARES,
        Op::Unary(_) | Op::Composite(_) => NO_POLYNOMIAL,
        Op::Reduce(_) | Op::Where(_) => {
            "compares values, which encrypted arithmetic cannot: train again without it, or run the model with --backend plain"
        }
        Op::Softmax(_) | Op::Binary(_) => {
            "is not a polynomial: leave it to the client if it is the last operation, or run the model with --backend plain"
        }
        Op::ArgMax(_) => {
            "compares values, which encrypted arithmetic cannot: move it behind the last layer, where the client computes it \
             after decryption, or run the model with --backend plain"
        }
        Op::Cast(_) => {
            "rounds values or compares them with 0, which encrypted arithmetic cannot: move it behind the last layer, where the \
             client computes it after decryption, or run the model with --backend plain"
        }
        Op::CumulativeSum(_) => "has too many terms: take a shorter axis, or run the model with --backend plain",
        Op::Conv(_) => "of two encrypted values is not supported: make one operand a constant",
        Op::Input(_)
        | Op::Constant(_)
        | Op::Unsupported(_)
        | Op::Polynomial(_)
        | Op::Chebyshev(_)
        | Op::Affine(_)
        | Op::MatMul(_)
        | Op::Reshape(_)
        | Op::Transpose(_)
        | Op::Slice(_)
        | Op::Concat(_)
        | Op::Pad(_)
        | Op::Gather(_)
        | Op::Expand(_) => "cannot be packed with these operands",
    }
}

/// The tensor of a constant node.
pub(crate) fn constant(graph: &TensorGraph, value: Value) -> Option<&Arc<Tensor>> {
    if let Op::Constant(constant) = graph.node(value).op() { Some(&constant.0) } else { None }
}
