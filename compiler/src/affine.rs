//! Affine maps between flattened tensors: reading them off tensor operations, and composing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::graph::TypeError;
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::tensor::{
    self, Binary, CumulativeSum, Effort, Op, Operation, Pool, Pooling, Reduce, Reduction, Tensor, TensorType, Unary,
};

/// `y = M x + b` on row-major flattened tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct AffineMap {
    /// `M`.
    pub matrix: BlockMatrix<f64>,
    /// `b`.
    pub bias: Vec<f64>,
    /// Whether it only moves elements and adds constants: no product, no level.
    pub free: bool,
}

/// One operand of an operation, as far as it is known at compile time.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// Known now.
    Constant(&'a Tensor),
    /// Known when the program runs.
    Variable(&'a TensorType),
}

impl Operand<'_> {
    /// Its type.
    pub fn ty(&self) -> TensorType {
        match self {
            Operand::Constant(tensor) => tensor.ty(),
            Operand::Variable(ty) => (*ty).clone(),
        }
    }
}

/// The affine map that `op` is in its only variable operand; `None` if it is not affine, or has another number of
/// variable operands.
///
/// # Errors
/// If the operation does not accept its operands.
pub fn of_operation(op: &Op, operands: &[Operand]) -> Result<Option<AffineMap>, TypeError> {
    let mut variable = operands.iter().filter_map(|o| if let Operand::Variable(ty) = o { Some(*ty) } else { None });
    let (Some(x), None) = (variable.next(), variable.next()) else {
        return Ok(None);
    };
    Ok(match (op, operands) {
        (Op::Affine(affine), _) => {
            Some(AffineMap { matrix: (*affine.matrix).clone(), bias: affine.bias.to_vec(), free: false })
        }
        (Op::Conv(conv), [Operand::Variable(x), Operand::Constant(w), bias @ ..]) => match bias {
            [] => Some(convolution(conv, x, w, None)?),
            [Operand::Constant(bias)] => Some(convolution(conv, x, w, Some(bias))?),
            [..] => None,
        },
        (Op::MatMul(_), [a, b]) => Some(matrix_product(*a, *b)?),
        (Op::Pool(pool), _) if matches!(pool.pooling, Pooling::Average { .. }) => Some(average_pool(pool, x)?),
        (Op::Reduce(reduce), _) if matches!(reduce.reduction, Reduction::Sum | Reduction::Mean) => {
            Some(sum_or_mean(reduce, x)?)
        }
        (Op::CumulativeSum(sum), _) => cumulative_sum(sum, x)?,
        (Op::Unary(Unary::Neg), _) => Some(scaled(x, |_| -1.0, |_| 0.0)),
        (Op::Binary(binary), [a, b]) => elementwise(*binary, *a, *b)?,
        (op, operands) if moves(op, operands) => Some(
            moved(op, operands)?.into_map(x.elements()).ok_or_else(|| TypeError::new("an index is out of range"))?,
        ),
        (_, _) => None,
    })
}

/// Whether the operation only moves elements of its variable operands and constants. A choice does where what it depends on
/// is known.
pub fn moves(op: &Op, operands: &[Operand]) -> bool {
    let known_choice = matches!((op, operands), (Op::Where(_), [Operand::Constant(_), ..]));
    known_choice || op.effort() == Effort::Moves
}

/// Where each element of a result comes from.
pub enum Source {
    /// An element of the variable operands, counted through all of them in order.
    Element(u32),
    /// A constant.
    Constant(f64),
}

/// The result of an operation that moves elements.
pub struct Moved(pub Vec<Source>);

/// Finds where a moving operation takes each element from, by running it on element numbers.
///
/// # Errors
/// If the operation does not accept its operands.
pub fn moved(op: &Op, operands: &[Operand]) -> Result<Moved, TypeError> {
    let mut elements = 0;
    let mut constants: Vec<f64> = vec![0.0];
    let mut probes = Vec::with_capacity(operands.len());
    for (index, operand) in operands.iter().enumerate() {
        let ty = operand.ty();
        let values = match operand {
            // What a choice depends on is not moved.
            Operand::Constant(tensor) if index == 0 && matches!(op, Op::Where(_)) => tensor.values().to_vec(),
            Operand::Variable(_) => (0..ty.elements()).map(|i| (elements + i + 1) as f64).collect(),
            Operand::Constant(tensor) => {
                let first = constants.len();
                constants.extend(tensor.values());
                (first..constants.len()).map(|i| -(i as f64)).collect()
            }
        };
        if matches!(operand, Operand::Variable(_)) {
            elements += ty.elements();
        }
        probes.push(Tensor::from_values(ty.element, &ty.shape, values)?);
    }
    let fill = if let Op::Pad(pad) = op { pad.value } else { 0.0 };
    // A padding value is no element's number.
    let faithful = if let Op::Pad(pad) = op { Op::from(tensor::Pad { value: 0.0, ..pad.clone() }) } else { op.clone() };
    let result = faithful.evaluate(&probes.iter().collect::<Vec<_>>())?;
    let source = |&number: &f64| {
        if number > 0.0 {
            Source::Element(number as u32 - 1)
        } else if number == 0.0 {
            Source::Constant(fill)
        } else {
            Source::Constant(constants[-number as usize])
        }
    };
    Ok(Moved(result.values().iter().map(source).collect()))
}

impl Moved {
    /// As a selection of `cols` elements plus constants; `None` if an element is out of range.
    pub fn into_map(self, cols: usize) -> Option<AffineMap> {
        let one: Arc<[f64]> = [1.0].into();
        let mut blocks = Vec::new();
        let mut bias = vec![0.0; self.0.len()];
        for (row, source) in self.0.iter().enumerate() {
            match source {
                Source::Element(col) => {
                    blocks.push(Block { rows: [row as u32].into(), cols: [*col].into(), weights: one.clone() });
                }
                Source::Constant(value) => bias[row] = *value,
            }
        }
        Some(AffineMap { matrix: BlockMatrix::new(bias.len(), cols, blocks).ok()?, bias, free: true })
    }
}

impl AffineMap {
    /// `outer` after `self`.
    pub fn then(&self, outer: &Self) -> Self {
        let (inner_rows, outer_rows) = (rows_of(&self.matrix), rows_of(&outer.matrix));
        let mut dense = vec![0.0; self.matrix.cols()];
        let mut touched: Vec<u32> = Vec::new();
        let mut rows = Vec::with_capacity(outer_rows.len());
        let mut bias = outer.bias.clone();
        for (row, bias) in outer_rows.iter().zip(&mut bias) {
            for &(middle, weight) in row {
                *bias += weight * self.bias[middle as usize];
                for &(col, inner) in &inner_rows[middle as usize] {
                    if dense[col as usize] == 0.0 {
                        touched.push(col);
                    }
                    dense[col as usize] += weight * inner;
                }
            }
            touched.sort_unstable();
            touched.dedup();
            let sparse = touched.drain(..).map(|col| (col, std::mem::take(&mut dense[col as usize])));
            rows.push(sparse.filter(|(_, weight)| *weight != 0.0).collect::<Vec<_>>());
        }
        let free = self.free && outer.free;
        Self { matrix: from_rows(rows, self.matrix.cols()), bias, free }
    }

    /// Upper bound on the multiply-adds that [`AffineMap::then`] takes.
    pub fn composition_effort(&self, outer: &Self) -> f64 {
        let mut sizes = vec![0usize; self.matrix.rows()];
        self.matrix.blocks().iter().for_each(|b| b.rows.iter().for_each(|&r| sizes[r as usize] += b.cols.len()));
        let mut total = 0.0;
        for block in outer.matrix.blocks() {
            let per_row: usize = block.cols.iter().map(|&c| sizes[c as usize]).sum();
            total += per_row as f64 * block.rows.len() as f64;
        }
        total
    }
}

type SparseRow = Vec<(u32, f64)>;

fn rows_of(matrix: &BlockMatrix<f64>) -> Vec<SparseRow> {
    let mut rows = vec![SparseRow::new(); matrix.rows()];
    matrix.for_each(|row, col, &weight| {
        if weight != 0.0 {
            rows[row].push((col as u32, weight));
        }
    });
    rows
}

/// Groups rows that read the same columns into one block.
fn from_rows(rows: Vec<SparseRow>, cols: usize) -> BlockMatrix<f64> {
    let mut groups: BTreeMap<Vec<u32>, Vec<u32>> = BTreeMap::new();
    for (row, entries) in rows.iter().enumerate().filter(|(_, entries)| !entries.is_empty()) {
        groups.entry(entries.iter().map(|(col, _)| *col).collect()).or_default().push(row as u32);
    }
    let block = |(cols, members): (Vec<u32>, Vec<u32>)| Block {
        weights: members.iter().flat_map(|&row| rows[row as usize].iter().map(|(_, weight)| *weight)).collect(),
        rows: members.into(),
        cols: cols.into(),
    };
    let blocks = groups.into_iter().map(block).collect();
    #[expect(clippy::expect_used, reason = "rows ascend within a group, columns come from a matrix of as many columns")]
    BlockMatrix::new(rows.len(), cols, blocks).expect("blocks are well formed")
}

fn checked(rows: usize, cols: usize, blocks: Vec<Block<f64>>) -> Result<BlockMatrix<f64>, TypeError> {
    BlockMatrix::new(rows, cols, blocks).map_err(|e| TypeError::new(e.to_string()))
}

/// One block for each output position and group; positions that read the same taps share their weights.
fn convolution(conv: &tensor::Conv, x: &TensorType, w: &Tensor, bias: Option<&Tensor>) -> Result<AffineMap, TypeError> {
    let out = conv.infer(&[x, &w.ty()])?;
    let (space, kernel, positions) = (&x.shape[2..], &w.shape()[2..], &out.shape[2..]);
    let (in_size, out_size) = (space.iter().product::<usize>(), positions.iter().product::<usize>());
    let (in_channels, out_channels) = (x.shape[1], out.shape[1]);
    let (group_in, group_out) = (w.shape()[1], out_channels / conv.groups);
    let taps: usize = kernel.iter().product();
    let reads = conv.window.reads(space, positions, &tensor::tap_list(kernel));
    let mut shared: BTreeMap<(usize, Vec<usize>), Arc<[f64]>> = BTreeMap::new();
    let mut blocks = Vec::new();
    for n in 0..out.shape[0] {
        for group in 0..conv.groups {
            for (position, read) in reads.chunks_exact(taps.max(1)).enumerate() {
                let inside: Vec<usize> = (0..taps).filter(|&tap| read[tap].is_some()).collect();
                let channel_base = |c: usize| (n * in_channels + group * group_in + c) * in_size;
                let cols = (0..group_in)
                    .flat_map(|c| inside.iter().filter_map(move |&tap| Some((channel_base(c) + read[tap]?) as u32)));
                let cols: Arc<[u32]> = cols.collect();
                let first = group * group_out;
                let rows = (first..first + group_out).map(|m| ((n * out_channels + m) * out_size + position) as u32);
                let weights = shared.entry((group, inside)).or_insert_with_key(|(_, inside)| {
                    let weight = |m: usize, c: usize, tap: usize| w.values()[(m * group_in + c) * taps + tap];
                    let per_row =
                        |m: usize| (0..group_in).flat_map(move |c| inside.iter().map(move |&t| weight(m, c, t)));
                    (first..first + group_out).flat_map(per_row).collect()
                });
                blocks.push(Block { rows: rows.collect(), cols, weights: weights.clone() });
            }
        }
    }
    let channel_bias = |c: usize| bias.map_or(0.0, |bias| bias.values()[c]);
    let bias = (0..out.elements()).map(|i| channel_bias(i / out_size % out_channels)).collect();
    Ok(AffineMap { matrix: checked(out.elements(), x.elements(), blocks)?, bias, free: false })
}

fn average_pool(pool: &Pool, x: &TensorType) -> Result<AffineMap, TypeError> {
    let out = pool.infer(&[x])?;
    let (space, positions) = (&x.shape[2..], &out.shape[2..]);
    let in_size = space.iter().product::<usize>();
    let taps = tensor::tap_list(&pool.kernel);
    let reads = pool.window.reads(space, positions, &taps);
    let divisors = pool.divisors(space, positions);
    let mut rows = Vec::with_capacity(out.elements());
    for plane in 0..x.shape[0] * x.shape[1] {
        for (read, divisor) in reads.chunks_exact(taps.len().max(1)).zip(&divisors) {
            let cols = read.iter().flatten().map(|at| (plane * in_size + at) as u32).collect();
            rows.push((cols, divisor.recip()));
        }
    }
    sums(rows, x.elements())
}

/// Sums over axes: elements that agree on the kept axes go to one row.
fn sum_or_mean(reduce: &Reduce, x: &TensorType) -> Result<AffineMap, TypeError> {
    let out = reduce.infer(&[x])?;
    let mut columns: Vec<Vec<u32>> = vec![Vec::new(); out.elements()];
    for (col, index) in ndarray::indices(ndarray::IxDyn(&x.shape)).into_iter().enumerate() {
        let kept = (0..x.shape.len()).filter(|axis| !reduce.axes.contains(axis));
        let row = kept.fold(0, |row, axis| row * x.shape[axis] + ndarray::Dimension::slice(&index)[axis]);
        columns[row].push(col as u32);
    }
    let row = |cols: Vec<u32>| {
        let weight = if reduce.reduction == Reduction::Mean { 1.0 / cols.len() as f64 } else { 1.0 };
        (cols, weight)
    };
    sums(columns.into_iter().map(row).collect(), x.elements())
}

/// Terms of running sums that are written out. An axis of `n` elements has `n (n + 1) / 2` for each lane.
const MAX_TERMS: usize = 1 << 24;

/// Running sums: an element's row reads what lies between it and one end of the axis. `None` if there are too many terms.
fn cumulative_sum(sum: &CumulativeSum, x: &TensorType) -> Result<Option<AffineMap>, TypeError> {
    sum.infer(&[x])?;
    let (elements, size) = (x.elements(), x.shape[sum.axis]);
    if elements.checked_mul(size + 1).is_none_or(|twice| twice / 2 > MAX_TERMS) {
        return Ok(None);
    }
    let stride: usize = x.shape[sum.axis + 1..].iter().product();
    let row = |element: usize| {
        let at = element / stride % size;
        let read = match sum.reverse {
            false => 0..at + usize::from(!sum.exclusive),
            true => at + usize::from(sum.exclusive)..size,
        };
        let first = element - at * stride;
        (read.map(|at| (first + at * stride) as u32).collect(), 1.0)
    };
    sums((0..elements).map(row).collect(), elements).map(Some)
}

/// Rows that are sums of columns, each times one weight. Rows of as many columns and the same weight share their weights.
fn sums(rows: Vec<(Vec<u32>, f64)>, cols: usize) -> Result<AffineMap, TypeError> {
    let bias = vec![0.0; rows.len()];
    let mut shared: BTreeMap<(usize, u64), Arc<[f64]>> = BTreeMap::new();
    let block = |(row, (cols, weight)): (usize, (Vec<u32>, f64))| {
        let weights = shared.entry((cols.len(), weight.to_bits())).or_insert_with(|| vec![weight; cols.len()].into());
        Block { rows: [row as u32].into(), weights: weights.clone(), cols: cols.into() }
    };
    let blocks = rows.into_iter().enumerate().filter(|(_, (cols, _))| !cols.is_empty()).map(block).collect();
    Ok(AffineMap { matrix: checked(bias.len(), cols, blocks)?, bias, free: false })
}

/// `x * scale(i) + shift(i)` for each element `i`.
fn scaled(x: &TensorType, scale: impl Fn(usize) -> f64, shift: impl Fn(usize) -> f64) -> AffineMap {
    let n = x.elements();
    let mut weights: BTreeMap<u64, Arc<[f64]>> = BTreeMap::new();
    let mut block = |i: usize| {
        let weight = scale(i);
        let shared = weights.entry(weight.to_bits()).or_insert_with(|| [weight].into());
        Block { rows: [i as u32].into(), cols: [i as u32].into(), weights: shared.clone() }
    };
    let blocks = (0..n).map(&mut block).collect();
    #[expect(clippy::expect_used, reason = "a diagonal")]
    let matrix = BlockMatrix::new(n, n, blocks).expect("a diagonal is well formed");
    AffineMap { matrix, bias: (0..n).map(shift).collect(), free: (0..n).all(|i| scale(i) == 1.0) }
}

fn elementwise(binary: Binary, a: Operand, b: Operand) -> Result<Option<AffineMap>, TypeError> {
    let out = binary.infer(&[&a.ty(), &b.ty()])?;
    let spread = |tensor: &Tensor| -> Result<Vec<f64>, TypeError> {
        let view = tensor.array().broadcast(ndarray::IxDyn(&out.shape));
        Ok(view.ok_or_else(|| TypeError::new("operands do not broadcast"))?.iter().copied().collect())
    };
    let (x, constant, swapped) = match (a, b) {
        (Operand::Variable(x), Operand::Constant(c)) => (x, spread(c)?, false),
        (Operand::Constant(c), Operand::Variable(x)) => (x, spread(c)?, true),
        (_, _) => return Ok(None),
    };
    let map = match (binary, swapped) {
        (Binary::Add, _) => scaled(&out, |_| 1.0, |i| constant[i]),
        (Binary::Sub, false) => scaled(&out, |_| 1.0, |i| -constant[i]),
        (Binary::Sub, true) => scaled(&out, |_| -1.0, |i| constant[i]),
        (Binary::Mul, _) => scaled(&out, |i| constant[i], |_| 0.0),
        (Binary::Div, false) => scaled(&out, |i| constant[i].recip(), |_| 0.0),
        (_, _) => return Ok(None),
    };
    if x.shape == out.shape {
        return Ok(Some(map));
    }
    let expand = Op::from(tensor::Expand { shape: out.shape.clone() });
    let spread = moved(&expand, &[Operand::Variable(x)])?.into_map(x.elements());
    Ok(spread.map(|spread| spread.then(&map)))
}

/// Rows of the variable operand times a constant, or the other way round; leading axes broadcast.
fn matrix_product(a: Operand, b: Operand) -> Result<AffineMap, TypeError> {
    let out = tensor::MatMul.infer(&[&a.ty(), &b.ty()])?;
    let (variable, constant, on_left) = match (a, b) {
        (Operand::Variable(x), Operand::Constant(w)) => (x, w, true),
        (Operand::Constant(w), Operand::Variable(x)) => (x, w, false),
        (_, _) => return Err(TypeError::new("expected one constant and one variable operand")),
    };
    let matrix = |shape: &[usize], left: bool| match shape {
        [n] if left => vec![1, *n],
        [n] => vec![*n, 1],
        other => other.to_vec(),
    };
    let (va, ca) = (matrix(&variable.shape, on_left), matrix(constant.shape(), !on_left));
    let rank = va.len().max(ca.len());
    let lead: Vec<usize> = tensor::broadcast_shape(&va[..va.len() - 2], &ca[..ca.len() - 2])?;
    let offset = |shape: &[usize], index: &[usize]| {
        let skip = rank - shape.len();
        let axes = shape[..shape.len() - 2].iter().zip(&index[skip..]);
        axes.fold(0, |flat, (&size, &at)| flat * size + if size == 1 { 0 } else { at })
    };
    let [(v_rows, v_cols), (c_rows, c_cols)] = [&va, &ca].map(|s| (s[s.len() - 2], s[s.len() - 1]));
    let mut blocks = Vec::new();
    let mut shared: BTreeMap<usize, Arc<[f64]>> = BTreeMap::new();
    for (n, index) in ndarray::indices(ndarray::IxDyn(&lead)).into_iter().enumerate() {
        let index = ndarray::Dimension::slice(&index);
        let (v_base, c_at) = (offset(&va, index) * v_rows * v_cols, offset(&ca, index));
        let values = &constant.values()[c_at * c_rows * c_cols..][..c_rows * c_cols];
        let weights = shared.entry(c_at).or_insert_with(|| {
            if on_left {
                (0..c_cols).flat_map(|j| (0..c_rows).map(move |k| values[k * c_cols + j])).collect()
            } else {
                values.into()
            }
        });
        let (lines, width) = if on_left { (v_rows, c_cols) } else { (v_cols, c_rows) };
        let size = lines * width;
        for line in 0..lines {
            let (rows, cols): (Arc<[u32]>, Arc<[u32]>) = if on_left {
                let rows = (0..width).map(|j| (n * size + line * width + j) as u32).collect();
                (rows, (0..v_cols).map(|k| (v_base + line * v_cols + k) as u32).collect())
            } else {
                let rows = (0..width).map(|i| (n * size + i * lines + line) as u32).collect();
                (rows, (0..v_rows).map(|k| (v_base + k * v_cols + line) as u32).collect())
            };
            blocks.push(Block { rows, cols, weights: weights.clone() });
        }
    }
    let rows = out.elements();
    Ok(AffineMap { matrix: checked(rows, variable.elements(), blocks)?, bias: vec![0.0; rows], free: false })
}
