//! Segments of a circuit, and what their tiles need.

use hec_ir::ckks::{Circuit, Op, ciphertext_bytes};
use hec_ir::graph::Value;
use hec_ir::matrix::BlockMatrix;

use super::array_bytes;

/// A value through which everything passes: what comes after it depends on nothing else that comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut(pub(super) Value);

/// The cuts at which arrays are smaller than around them, with the first and the last.
pub(super) fn cuts(circuit: &Circuit) -> Vec<Cut> {
    let mut last_use = vec![0; circuit.len()];
    for (value, node) in circuit.nodes() {
        node.operands().iter().for_each(|operand| last_use[operand.index()] = value.index());
    }
    circuit.outputs().iter().for_each(|output| last_use[output.value.index()] = circuit.len());
    let first = circuit.inputs().map(|(value, _)| value.index()).max().unwrap_or(0);
    let mut reach = 0;
    let mut all = Vec::new();
    for (value, _) in circuit.nodes() {
        // `reach` is the last use of anything before this value.
        if value.index() >= first && reach <= value.index() {
            all.push(value);
        }
        reach = reach.max(last_use[value.index()]);
    }
    let bytes: Vec<u64> = all.iter().map(|&value| array_bytes(circuit, value)).collect();
    let minimum = |i: usize| {
        let before = i.checked_sub(1).is_none_or(|before| bytes[before] > bytes[i]);
        let after = bytes.get(i + 1).is_none_or(|&after| after >= bytes[i]);
        before && after
    };
    let chosen =
        |&i: &usize| i == 0 || i + 1 == all.len() || minimum(i) || matches!(circuit.node(all[i]).op(), Op::Combine(_));
    (0..all.len()).filter(chosen).map(|i| Cut(all[i])).collect()
}

/// How a segment is cut into tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// By rows of the result in their order: channel by channel.
    Rows,
    /// By rows of the result in the order of what they read first: place by place.
    Places,
    /// By the columns of the combine that ends the segment, in their order.
    Columns,
    /// By the columns of the combine that ends the segment, in the order of what they need first.
    ColumnPlaces,
}

impl Split {
    pub(super) const ALL: [Self; 4] = [Self::Rows, Self::Places, Self::Columns, Self::ColumnPlaces];

    /// Whether tiles are parts of the last combine's columns.
    pub(super) fn by_columns(self) -> bool {
        matches!(self, Self::Columns | Self::ColumnPlaces)
    }
}

/// The operations after `start` up to `end`.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) start: Value,
    pub(super) end: Value,
    /// In order; the last is `end`.
    pub(super) nodes: Vec<Value>,
}

/// A circuit, and which blocks of its combines each row reads.
pub(super) struct Reads<'a> {
    pub(super) circuit: &'a Circuit,
    /// For each node that is a combine: where the blocks of a row start in `blocks`, for one row more than there are.
    starts: Vec<Vec<u32>>,
    blocks: Vec<Vec<u32>>,
}

impl<'a> Reads<'a> {
    pub(super) fn new(circuit: &'a Circuit) -> Self {
        let mut reads = Self { circuit, starts: Vec::new(), blocks: Vec::new() };
        for (_, node) in circuit.nodes() {
            let (mut starts, mut all) = (Vec::new(), Vec::new());
            if let Op::Combine(combine) = node.op() {
                let matrix = &combine.matrix;
                starts = vec![0u32; matrix.rows() + 1];
                let rows = || matrix.blocks().iter().enumerate().flat_map(|(i, b)| b.rows.iter().map(move |&r| (i, r)));
                rows().for_each(|(_, row)| starts[row as usize + 1] += 1);
                (1..starts.len()).for_each(|row| starts[row] += starts[row - 1]);
                let mut next = starts.clone();
                all = vec![0; starts.last().map_or(0, |&end| end as usize)];
                for (block, row) in rows() {
                    all[next[row as usize] as usize] = block as u32;
                    next[row as usize] += 1;
                }
            }
            reads.starts.push(starts);
            reads.blocks.push(all);
        }
        reads
    }

    /// The blocks that some rows of a combine read, ascending.
    fn blocks(&self, combine: Value, rows: &[u32]) -> Vec<u32> {
        let (starts, blocks) = (&self.starts[combine.index()], &self.blocks[combine.index()]);
        let of = |&row: &u32| &blocks[starts[row as usize] as usize..starts[row as usize + 1] as usize];
        let mut all: Vec<u32> = rows.iter().flat_map(of).copied().collect();
        sort(&mut all);
        all
    }

    /// The columns that some rows of a combine read, ascending.
    pub(super) fn columns(&self, combine: Value, matrix: &BlockMatrix<i32>, rows: &[u32]) -> Vec<u32> {
        let of = |block: u32| matrix.blocks()[block as usize].cols.iter().copied();
        let mut columns: Vec<u32> = self.blocks(combine, rows).into_iter().flat_map(of).collect();
        sort(&mut columns);
        columns
    }
}

/// Ascending, each once.
fn sort(elements: &mut Vec<u32>) {
    if !elements.is_sorted_by(|a, b| a < b) {
        elements.sort_unstable();
        elements.dedup();
    }
}

/// For the start and then each node of a segment, the elements that are needed, ascending.
pub(super) struct Needed(pub(super) Vec<Vec<u32>>);

impl Segment {
    pub(super) fn between(circuit: &Circuit, start: Cut, end: Cut) -> Self {
        let inside = |value: &Value| (start.0.index() + 1..=end.0.index()).contains(&value.index());
        let nodes = circuit.nodes().map(|(value, _)| value).filter(inside).collect();
        Self { start: start.0, end: end.0, nodes }
    }

    /// The place of a value in [`Needed`].
    pub(super) fn place(&self, value: Value) -> usize {
        value.index() - self.start.index()
    }

    /// What its first and its last array take.
    pub(super) fn ends(&self, circuit: &Circuit) -> u64 {
        array_bytes(circuit, self.start) + array_bytes(circuit, self.end)
    }

    /// Rows or columns in the order in which tiles take them; `None` if the segment cannot be cut so.
    pub(super) fn order(&self, reads: &Reads<'_>, split: Split) -> Option<Vec<u32>> {
        let circuit = reads.circuit;
        let value = if split.by_columns() { self.summed(circuit)? } else { self.end };
        let all = 0..circuit.ty(value).length as u32;
        if matches!(split, Split::Rows | Split::Columns) {
            return Some(all.collect());
        }
        let first = |row: u32| self.needed(reads, value, &[row]).0[0].first().copied().unwrap_or(0);
        let mut keyed: Vec<(u32, u32)> = all.map(|row| (first(row), row)).collect();
        keyed.sort_unstable();
        Some(keyed.into_iter().map(|(_, row)| row).collect())
    }

    /// The operand of the combine that ends the segment, if it is inside.
    pub(super) fn summed(&self, circuit: &Circuit) -> Option<Value> {
        let end = circuit.node(self.end);
        let operand = *end.operands().first()?;
        (matches!(end.op(), Op::Combine(_)) && operand != self.start).then_some(operand)
    }

    /// What the elements `rows` of `value` need.
    pub(super) fn needed(&self, reads: &Reads<'_>, value: Value, rows: &[u32]) -> Needed {
        let circuit = reads.circuit;
        let mut needed: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len() + 1];
        needed[self.place(value)] = rows.to_vec();
        for &node in self.nodes.iter().rev() {
            // All that use this value were seen: what they need is complete.
            let mut rows = std::mem::take(&mut needed[self.place(node)]);
            sort(&mut rows);
            let operands = circuit.node(node).operands();
            if !rows.is_empty() {
                match circuit.node(node).op() {
                    Op::Input(_) => {}
                    Op::Combine(combine) => {
                        let blocks = combine.matrix.blocks();
                        let columns = &mut needed[self.place(operands[0])];
                        for block in reads.blocks(node, &rows) {
                            columns.extend(blocks[block as usize].cols.iter());
                        }
                    }
                    Op::Gather(gather) => {
                        let sources = rows.iter().map(|&row| gather.indices[row as usize]);
                        needed[self.place(operands[0])].extend(sources);
                    }
                    Op::Concat => {
                        let mut offset = 0;
                        for &operand in operands {
                            let length = circuit.ty(operand).length as u32;
                            let from = rows.partition_point(|&row| row < offset);
                            let to = rows.partition_point(|&row| row < offset + length);
                            needed[self.place(operand)].extend(rows[from..to].iter().map(|&row| row - offset));
                            offset += length;
                        }
                    }
                    Op::Transform(transform) => {
                        needed[self.place(operands[0])].extend(0..transform.map.from().vectors() as u32);
                    }
                    Op::Multiply
                    | Op::Fold(_)
                    | Op::Square
                    | Op::Add
                    | Op::Subtract
                    | Op::Relinearize
                    | Op::Rescale
                    | Op::DropLevel(_)
                    | Op::Refresh(_)
                    | Op::Blind(_) => {
                        operands.iter().for_each(|&operand| needed[self.place(operand)].extend(&rows));
                    }
                }
            }
            needed[self.place(node)] = rows;
        }
        sort(&mut needed[0]);
        Needed(needed)
    }

    /// Bytes at most while the segment is computed whole.
    pub(super) fn bytes_whole(&self, circuit: &Circuit) -> u64 {
        let all = |value: Value| (0..circuit.ty(value).length as u32).collect();
        let needed = std::iter::once(self.start).chain(self.nodes.iter().copied()).map(all).collect();
        self.live(circuit, &Needed(needed), self.end, true)
    }

    /// Bytes at most while the tiles are computed, and the work that is done more than once.
    pub(super) fn cost(&self, reads: &Reads<'_>, split: Split, tiles: &[Vec<u32>]) -> (u64, f64) {
        let circuit = reads.circuit;
        let from = if split.by_columns() { self.summed(circuit).unwrap_or(self.end) } else { self.end };
        let (mut live, mut work) = (0, 0.0);
        for tile in tiles {
            let needed = self.needed(reads, from, tile);
            live = live.max(self.live(circuit, &needed, from, false));
            work += self.work(circuit, |node| needed.0[self.place(node)].len());
        }
        let whole = self.work(circuit, |node| if node.index() <= from.index() { circuit.ty(node).length } else { 0 });
        let result = array_bytes(circuit, self.end) * if split.by_columns() { 2 } else { 1 };
        (array_bytes(circuit, self.start) + result + live, (work - whole).max(0.0))
    }

    /// Bytes of what is needed inside the segment, at most: with its start, if that is used up on the way.
    fn live(&self, circuit: &Circuit, needed: &Needed, last: Value, with_start: bool) -> u64 {
        let bytes =
            |value: Value| ciphertext_bytes(circuit, circuit.ty(value)) * needed.0[self.place(value)].len() as u64;
        let inside = self.nodes.iter().filter(|node| node.index() <= last.index());
        let mut uses = vec![0u32; self.nodes.len() + 1];
        let operands = inside.clone().flat_map(|&node| circuit.node(node).operands());
        operands.for_each(|&operand| uses[self.place(operand)] += 1);
        let moves = |value: Value| matches!(circuit.node(value).op(), Op::Gather(_) | Op::Concat);
        let mut live = if with_start { bytes(self.start) } else { 0 };
        let mut peak = live;
        for &node in inside {
            let made = if moves(node) { 0 } else { bytes(node) };
            let mut freed = 0;
            for &operand in circuit.node(node).operands() {
                uses[self.place(operand)] -= 1;
                // What a gather or concat holds on to is its operand's, which is then counted until the segment's end.
                let owned = !moves(operand) && (with_start || operand != self.start);
                if uses[self.place(operand)] == 0 && owned && !moves(node) {
                    freed += bytes(operand);
                }
            }
            let apart = matches!(circuit.node(node).op(), Op::Combine(combine)
                if !combine.matrix.shape().works_in_place(combine.matrix.is_narrow()));
            let reused = if apart { 0 } else { freed };
            peak = peak.max(live + made.saturating_sub(reused));
            live = live + made - freed;
            peak = peak.max(live);
        }
        peak
    }

    /// A rough measure of work: residues read.
    fn work(&self, circuit: &Circuit, elements: impl Fn(Value) -> usize) -> f64 {
        let of = |&node: &Value| {
            let ty = circuit.ty(node);
            let each = match circuit.node(node).op() {
                Op::Combine(combine) => 0.1 * combine.matrix.multiply_adds() as f64 / ty.length.max(1) as f64,
                Op::Relinearize | Op::Transform(_) | Op::Fold(_) => 100.0 * ty.level as f64,
                Op::Rescale => 20.0,
                Op::Multiply | Op::Square => 4.0,
                Op::Add | Op::Subtract | Op::DropLevel(_) => 1.0,
                Op::Blind(_) => 20.0,
                Op::Input(_) | Op::Gather(_) | Op::Concat | Op::Refresh(_) => 0.0,
            };
            each * elements(node) as f64 * (ty.level + 1) as f64 * (ty.degree + 1) as f64
        };
        self.nodes.iter().map(of).sum()
    }
}
