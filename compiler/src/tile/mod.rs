//! Tiles: the same circuit, computed part by part so that fewer ciphertexts are alive at once.
//!
//! In the batch layout an array's elements are ciphertexts of their own, and an element needs only those elements of the
//! operands that its row reads. A *segment* of the circuit between two values through which everything passes is cut into
//! tiles of its result's rows, and each tile is computed depth first, from the segment's first value to its last
//! (as the tiles of fused layers in Alwani, Chen, Ferdman and Milder, MICRO 2016). What several tiles need is computed
//! again for each. A segment that ends in a dense layer, which reads everything, is cut by that layer's columns instead, and
//! partial sums are added up.
//!
//! Nothing is rounded differently: a tiled circuit gives the same ciphertexts.

mod emit;
mod segment;

use std::collections::BTreeMap;

use hec_ir::ckks::{Circuit, ciphertext_bytes, peak_ciphertext_bytes};
use hec_ir::graph::{GraphError, Value};

use segment::{Cut, Reads, Segment, Split};

/// No way was found to stay below a budget.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the ciphertexts do not fit {budget} bytes: the least that was found is {found} bytes, and the inputs alone take {inputs}; \
     allow more with --memory, or ask for less --precision"
)]
pub struct Unfit {
    /// What was asked for.
    pub budget: u64,
    /// The best that was found.
    pub found: u64,
    /// What the encrypted inputs take.
    pub inputs: u64,
}

/// Why there is no tiled circuit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TileError {
    /// The budget is too small.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A tile does not fit the rules of the circuit.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The most tiles of a segment.
const MAX_TILES: usize = 512;

/// A circuit with the results of `circuit` whose ciphertexts never take more than `budget` bytes, with the least work that is
/// done twice; `circuit` itself if it fits.
///
/// # Errors
/// [`TileError`].
pub fn to_budget(circuit: &Circuit, budget: u64) -> Result<Circuit, TileError> {
    let mut best = peak_ciphertext_bytes(circuit);
    if best <= budget {
        return Ok(circuit.clone());
    }
    let reads = Reads::new(circuit);
    let mut planner = Planner { reads: &reads, cuts: segment::cuts(circuit), known: BTreeMap::new() };
    // What the plan assumes is a little above or below what a circuit takes: aim lower until it fits.
    for share in [1.0, 0.9, 0.8, 0.65, 0.5] {
        let tiled = emit::tiled(&reads, &planner.plan((budget as f64 * share) as u64))?;
        let peak = peak_ciphertext_bytes(&tiled);
        if peak <= budget {
            return Ok(tiled);
        }
        best = best.min(peak);
    }
    let inputs = circuit.inputs().map(|(value, _)| array_bytes(circuit, value)).sum();
    Err(Unfit { budget, found: best, inputs }.into())
}

/// A segment and how it is cut.
struct Tiling {
    segment: Segment,
    split: Split,
    /// The rows (or the columns of the last combine) of each tile.
    tiles: Vec<Vec<u32>>,
}

fn array_bytes(circuit: &Circuit, value: Value) -> u64 {
    ciphertext_bytes(circuit, circuit.ty(value)) * circuit.ty(value).length as u64
}

/// Looks for tilings.
struct Planner<'a> {
    reads: &'a Reads<'a>,
    cuts: Vec<Cut>,
    /// Between two cuts, for a split: the orders, and the bytes and the work done again for each number of tiles.
    known: BTreeMap<(usize, usize, usize), Option<Known>>,
}

/// What is known of a segment and a way to cut it.
struct Known {
    order: Vec<u32>,
    costs: BTreeMap<usize, (u64, f64)>,
}

/// The best way to a cut: bytes above the budget, work done again, and the last tiling with the cut it starts from.
struct Way {
    excess: u64,
    work: f64,
    from: usize,
    tiling: Option<Tiling>,
}

impl Planner<'_> {
    /// The cheapest sequence of tiled and untiled segments whose bytes stay below `budget`, or the one that exceeds it least.
    fn plan(&mut self, budget: u64) -> Vec<Tiling> {
        let circuit = self.reads.circuit;
        let mut ways: Vec<Option<Way>> = Vec::new();
        for j in 0..self.cuts.len() {
            let mut best: Option<Way> =
                if j == 0 { Some(Way { excess: 0, work: 0.0, from: 0, tiling: None }) } else { None };
            for i in (0..j).rev() {
                let Some((excess, work)) = ways[i].as_ref().map(|way| (way.excess, way.work)) else { continue };
                let segment = Segment::between(circuit, self.cuts[i], self.cuts[j]);
                let ends = segment.ends(circuit);
                // Tiles cannot take less than the segment's ends, nor less than no work again.
                let least = (excess.max(ends.saturating_sub(budget)), work);
                if best.as_ref().is_some_and(|b| (b.excess, b.work) <= least) {
                    continue;
                }
                let whole = segment.bytes_whole(circuit);
                let mut offer = |more: u64, extra: f64, tiling: Option<Tiling>| {
                    let way = Way { excess: excess.max(more), work: work + extra, from: i, tiling };
                    if best.as_ref().is_none_or(|b| (way.excess, way.work) < (b.excess, b.work)) {
                        best = Some(way);
                    }
                };
                if whole <= budget || i + 1 == j {
                    offer(whole.saturating_sub(budget), 0.0, None);
                }
                if whole > budget && ends < whole {
                    for (tiling, bytes, extra) in self.cheapest_tilings((i, j), &segment, budget) {
                        offer(bytes.saturating_sub(budget), extra, Some(tiling));
                    }
                }
            }
            ways.push(best);
        }
        let mut tilings = Vec::new();
        let mut at = ways.len().saturating_sub(1);
        while at > 0 {
            let Some(way) = ways[at].take() else { break };
            tilings.extend(way.tiling);
            at = way.from;
        }
        tilings.reverse();
        tilings
    }

    /// For each way to cut the segment between two cuts, the fewest tiles that fit, with their bytes and the work done again.
    fn cheapest_tilings(&mut self, (i, j): (usize, usize), segment: &Segment, budget: u64) -> Vec<(Tiling, u64, f64)> {
        let mut found = Vec::new();
        for (index, split) in Split::ALL.into_iter().enumerate() {
            let known = self
                .known
                .entry((i, j, index))
                .or_insert_with(|| Some(Known { order: segment.order(self.reads, split)?, costs: BTreeMap::new() }));
            let Some(Known { order, costs }) = known else { continue };
            let mut count = 2;
            let mut last: Option<(usize, u64, f64)> = None;
            while count <= MAX_TILES.min(order.len()) {
                let cost = costs.entry(count);
                let &mut (bytes, work) = cost.or_insert_with(|| segment.cost(self.reads, split, &chunks(order, count)));
                if last.is_none_or(|(_, least, _)| bytes < least) {
                    last = Some((count, bytes, work));
                }
                if bytes <= budget {
                    break;
                }
                count *= 2;
            }
            if let Some((count, bytes, work)) = last {
                let tiling = Tiling { segment: segment.clone(), split, tiles: chunks(order, count) };
                found.push((tiling, bytes, work));
            }
        }
        found
    }
}

/// `count` parts of about one length, each in ascending order.
fn chunks(order: &[u32], count: usize) -> Vec<Vec<u32>> {
    let bound = |i: usize| order.len() * i / count;
    let part = |i: usize| {
        let mut part = order[bound(i)..bound(i + 1)].to_vec();
        part.sort_unstable();
        part
    };
    (0..count).map(part).filter(|part| !part.is_empty()).collect()
}
