//! Building the tiled circuit.

use std::collections::BTreeMap;
use std::sync::Arc;

use hec_ir::ckks::{Circuit, Ckks, Combine, Op};
use hec_ir::graph::{Builder, GraphError, TypeError, Value};
use hec_ir::matrix::{Block, BlockMatrix};
use hec_ir::slots::Gather;

use super::Tiling;
use super::segment::{Needed, Reads, Segment};

/// `circuit` with the segments of `tilings`, which are in order, computed tile by tile.
pub(super) fn tiled(reads: &Reads<'_>, tilings: &[Tiling]) -> Result<Circuit, GraphError> {
    let circuit = reads.circuit;
    let mut emit = Emit { reads, circuit, builder: Builder::new(circuit.context().clone()), values: BTreeMap::new() };
    let mut tilings = tilings.iter().peekable();
    for (value, node) in circuit.nodes() {
        if let Some(tiling) = tilings.peek().filter(|tiling| tiling.segment.start < value) {
            if value == tiling.segment.end {
                let result = emit.segment(tiling)?;
                emit.values.insert(value, result);
                tilings.next();
            }
            continue;
        }
        let operands: Vec<Value> = node.operands().iter().map(|operand| emit.values[operand]).collect();
        emit.builder.set_origin(node.origin().clone());
        let result = emit.builder.push(node.op().clone(), &operands)?;
        emit.values.insert(value, result);
    }
    for output in circuit.outputs() {
        emit.builder.output(&output.name, emit.values[&output.value]);
    }
    Ok(emit.builder.finish().without_dead_nodes())
}

struct Emit<'a> {
    reads: &'a Reads<'a>,
    circuit: &'a Circuit,
    builder: Builder<Ckks>,
    /// What has become of the circuit's values.
    values: BTreeMap<Value, Value>,
}

/// Weights, and the rows and columns of them that are kept.
type PartOfWeights = (*const i32, Vec<u32>, Vec<u32>);

/// Elements of a value, ascending, and the array that holds them in this order.
struct Part<'a> {
    elements: &'a [u32],
    array: Value,
}

impl Emit<'_> {
    fn segment(&mut self, tiling: &Tiling) -> Result<Value, GraphError> {
        let Tiling { segment, split, tiles } = tiling;
        match (split, segment.summed(self.circuit)) {
            (split, Some(operand)) if split.by_columns() => self.columns(segment, operand, tiles),
            _ => self.rows(segment, tiles),
        }
    }

    fn rows(&mut self, segment: &Segment, tiles: &[Vec<u32>]) -> Result<Value, GraphError> {
        let mut parts = Vec::new();
        for tile in tiles {
            let needed = segment.needed(self.reads, segment.end, tile);
            parts.push(self.tile(segment, &needed, segment.end)?);
        }
        self.builder.set_origin(self.circuit.node(segment.end).origin().clone());
        let all = self.builder.push(Op::Concat, &parts)?;
        let mut places = vec![0; tiles.iter().map(Vec::len).sum()];
        tiles.iter().flatten().enumerate().for_each(|(place, &row)| places[row as usize] = place as u32);
        self.gather(all, places)
    }

    fn columns(&mut self, segment: &Segment, operand: Value, tiles: &[Vec<u32>]) -> Result<Value, GraphError> {
        let end = self.circuit.node(segment.end);
        let Op::Combine(combine) = end.op() else {
            return Err(self.wrong("a segment cut by columns ends in a combine"));
        };
        let rows: Vec<u32> = (0..combine.matrix.rows() as u32).collect();
        let mut sum = None;
        for tile in tiles {
            let needed = segment.needed(self.reads, operand, tile);
            let part = self.tile(segment, &needed, operand)?;
            self.builder.set_origin(end.origin().clone());
            let matrix = self.part_of(&combine.matrix, &rows, tile)?;
            let bias = if sum.is_none() { combine.bias.clone() } else { vec![0.0; rows.len()].into() };
            let partial = Combine { matrix: Arc::new(matrix), weight_scale: combine.weight_scale.clone(), bias };
            let partial = self.builder.push(Op::Combine(partial), &[part])?;
            sum = Some(match sum {
                Some(sum) => self.builder.push(Op::Add, &[sum, partial])?,
                None => partial,
            });
        }
        sum.ok_or_else(|| self.wrong("a segment has a tile"))
    }

    /// The elements that are needed of `last`, from those of the segment's start.
    fn tile(&mut self, segment: &Segment, needed: &Needed, last: Value) -> Result<Value, GraphError> {
        let start = self.values[&segment.start];
        let first = self.gather(start, needed.0[0].clone())?;
        let mut arrays: Vec<Option<Value>> = vec![None; segment.nodes.len() + 1];
        arrays[0] = Some(first);
        for &node in segment.nodes.iter().filter(|node| node.index() <= last.index()) {
            let rows = &needed.0[segment.place(node)];
            if rows.is_empty() {
                continue;
            }
            let source = self.circuit.node(node);
            self.builder.set_origin(source.origin().clone());
            let part = |emit: &Self, operand: Value| {
                let place = segment.place(operand);
                let array = arrays[place].ok_or_else(|| emit.wrong("an operand is missing"))?;
                Ok::<_, GraphError>(Part { elements: &needed.0[place], array })
            };
            let result = match source.op() {
                Op::Input(_) => return Err(self.wrong("an input inside a segment")),
                Op::Combine(combine) => {
                    let x = part(self, source.operands()[0])?;
                    let columns = self.reads.columns(node, &combine.matrix, rows);
                    let operand = self.subset(&x, &columns)?;
                    let matrix = self.part_of(&combine.matrix, rows, &columns)?;
                    let bias = rows.iter().map(|&row| combine.bias[row as usize]).collect();
                    let weight_scale = combine.weight_scale.clone();
                    self.builder
                        .push(Op::Combine(Combine { matrix: Arc::new(matrix), weight_scale, bias }), &[operand])?
                }
                Op::Gather(gather) => {
                    let x = part(self, source.operands()[0])?;
                    let sources: Vec<u32> = rows.iter().map(|&row| gather.indices[row as usize]).collect();
                    self.subset(&x, &sources)?
                }
                Op::Concat => {
                    let mut operands = Vec::new();
                    let mut offset = 0;
                    for &operand in source.operands() {
                        let length = self.circuit.ty(operand).length as u32;
                        let range = offset..offset + length;
                        let own: Vec<u32> = rows.iter().filter(|r| range.contains(r)).map(|r| r - offset).collect();
                        if !own.is_empty() {
                            let x = part(self, operand)?;
                            operands.push(self.subset(&x, &own)?);
                        }
                        offset += length;
                    }
                    self.builder.push(Op::Concat, &operands)?
                }
                // The elements of packed arrays are not apart: their circuits are not cut into tiles.
                Op::Transform(_) => return Err(self.wrong("a transform inside a segment")),
                // Nor are those with rounds.
                Op::Refresh(_) | Op::Blind(_) => return Err(self.wrong("a round with the client inside a segment")),
                Op::Multiply
                | Op::Fold(_)
                | Op::Square
                | Op::Add
                | Op::Subtract
                | Op::Relinearize
                | Op::Rescale
                | Op::DropLevel(_) => {
                    let mut operands = Vec::new();
                    for &operand in source.operands() {
                        let x = part(self, operand)?;
                        operands.push(self.subset(&x, rows)?);
                    }
                    self.builder.push(source.op().clone(), &operands)?
                }
            };
            arrays[segment.place(node)] = Some(result);
        }
        arrays[segment.place(last)].ok_or_else(|| self.wrong("a tile has a result"))
    }

    /// Some elements of a part, in any order.
    fn subset(&mut self, part: &Part<'_>, elements: &[u32]) -> Result<Value, GraphError> {
        let place = |element: &u32| part.elements.binary_search(element).map(|place| place as u32).ok();
        let places: Option<Vec<u32>> = elements.iter().map(place).collect();
        let places = places.ok_or_else(|| self.wrong("an element is missing"))?;
        self.gather(part.array, places)
    }

    /// `x[places]`; `x` itself if that is all of it in order.
    fn gather(&mut self, x: Value, places: Vec<u32>) -> Result<Value, GraphError> {
        let whole =
            places.len() == self.builder.ty(x).length && places.iter().enumerate().all(|(i, &p)| i == p as usize);
        if whole {
            return Ok(x);
        }
        self.builder.push(Op::Gather(Gather { indices: places.into() }), &[x])
    }

    /// The rows and columns of a matrix, both ascending. Blocks that shared their weights still do.
    fn part_of(
        &self,
        matrix: &BlockMatrix<i32>,
        rows: &[u32],
        columns: &[u32],
    ) -> Result<BlockMatrix<i32>, GraphError> {
        let mut shared: BTreeMap<PartOfWeights, Arc<[i32]>> = BTreeMap::new();
        let mut blocks = Vec::new();
        for block in matrix.blocks() {
            let own_rows = kept(&block.rows, rows);
            let own_columns = kept(&block.cols, columns);
            if own_rows.is_empty() || own_columns.is_empty() {
                continue;
            }
            let width = block.cols.len();
            let places = |kept: &[(u32, u32)]| kept.iter().map(|&(at, _)| at).collect::<Vec<_>>();
            let key = (block.weights.as_ptr(), places(&own_rows), places(&own_columns));
            let weights = shared.entry(key).or_insert_with(|| {
                let row = |&(r, _): &(u32, u32)| {
                    own_columns.iter().map(move |&(c, _)| block.weights[r as usize * width + c as usize])
                };
                own_rows.iter().flat_map(row).collect()
            });
            let places = |kept: &[(u32, u32)]| kept.iter().map(|&(_, place)| place).collect();
            blocks.push(Block { rows: places(&own_rows), cols: places(&own_columns), weights: weights.clone() });
        }
        BlockMatrix::new(rows.len(), columns.len(), blocks).map_err(|cause| self.wrong(&cause.to_string()))
    }

    fn wrong(&self, what: &str) -> GraphError {
        let cause = TypeError::new(format!("tiling: {what}"));
        GraphError { origin: self.builder.origin().clone(), op: "tile".to_owned(), cause }
    }
}

/// Of a block's indices those that are wanted: their places in the block, and among the wanted, which ascend.
fn kept(indices: &[u32], wanted: &[u32]) -> Vec<(u32, u32)> {
    let place = |(at, index): (usize, &u32)| Some((at as u32, wanted.binary_search(index).ok()? as u32));
    indices.iter().enumerate().filter_map(place).collect()
}
