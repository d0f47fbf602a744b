//! Which weight of a linear map lies on which diagonal.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::{Diagonals, Fold, LinearMap};
use crate::matrix::Block;

/// Ways to place all weights that are compared; beyond this the first of a weight is taken.
pub(super) const MAX_CHOICES: usize = 1 << 27;

/// Numbers for a vector of the result, a vector of the operand and a step.
#[derive(Clone, Copy)]
pub(super) struct Ids {
    pub(super) operands: usize,
    pub(super) period: usize,
}

impl Ids {
    fn id(self, [to, from, step]: [usize; 3]) -> u32 {
        ((to * self.operands + from) * self.period + step) as u32
    }

    pub(super) fn count(self, map: &LinearMap) -> usize {
        map.to.vectors() * self.operands * self.period
    }

    pub(super) fn key(self, id: u32) -> [usize; 3] {
        let id = id as usize;
        [id / self.period / self.operands, id / self.period % self.operands, id % self.period]
    }
}

/// For each weight and each slot in which its row needs a sum of its own, the diagonal that the weight lies on.
pub(super) struct Assignment {
    ids: Ids,
    pub(super) chosen: Vec<u32>,
    lists: Lists,
}

/// Slots of elements.
pub(super) struct Lists {
    /// Slots that hold each element of the operand.
    sources: Slots,
    /// For each element of the result, the slots that need a sum of their own: with a full fold, those of the first period.
    targets: Slots,
}

impl Lists {
    fn new(map: &LinearMap) -> Self {
        let mut sources = Slots::new(map.from.elements(), &map.from.table(), |_| true);
        if let Fold::Full { period: h } = map.fold {
            // Slots that agree modulo the fold's period serve the same diagonals.
            sources.thin_out(|slot| (slot as usize / map.period(), slot as usize % h));
        }
        Self { sources, targets: Self::targets(map) }
    }

    pub(super) fn targets(map: &LinearMap) -> Slots {
        let period = map.period();
        let own = |slot: usize| match map.fold {
            Fold::Full { period: h } => slot % period < h,
            Fold::None | Fold::Window { .. } => true,
        };
        Slots::new(map.to.elements(), &map.to.table(), own)
    }

    /// Calls `visit(weight, source slots, target slot)` for every weight other than 0 and every target of its row.
    fn for_each(&self, map: &LinearMap, mut visit: impl FnMut(f64, &[u32], usize)) {
        map.matrix.for_each(|row, col, &weight| {
            if weight != 0.0 {
                let sources = self.sources.of(col);
                self.targets.of(row).iter().for_each(|&target| visit(weight, sources, target as usize));
            }
        });
    }
}

impl Assignment {
    pub(super) fn new(map: &LinearMap) -> Self {
        let period = map.period();
        let ids = Ids { operands: map.from.vectors(), period };
        let lists = Lists::new(map);
        let mut starts: Vec<u32> = vec![0];
        let mut choices: Vec<u32> = Vec::new();
        let mut several = false;
        let mut own: Vec<u32> = Vec::new();
        lists.for_each(map, |_, sources, target| {
            if let [source] = *sources {
                choices.push(ids.id(key(map.fold, period, source as usize, target)));
                starts.push(choices.len() as u32);
                return;
            }
            own.clear();
            own.extend(sources.iter().map(|&source| ids.id(key(map.fold, period, source as usize, target))));
            if own.len() > 1 {
                own.sort_unstable();
                own.dedup();
                several |= own.len() > 1;
            }
            if choices.len() + own.len() <= MAX_CHOICES {
                choices.extend(&own);
            } else {
                choices.extend(own.first());
            }
            starts.push(choices.len() as u32);
        });
        let chosen = if several { cover(&starts, &choices, &[], ids.count(map)) } else { choices };
        Self { ids, chosen, lists }
    }

    pub(super) fn diagonals(self, map: &LinearMap) -> Diagonals {
        let period = map.period();
        let Self { ids, chosen, lists } = self;
        let mut weights: BTreeMap<[usize; 3], Vec<(u32, f64)>> = BTreeMap::new();
        let mut chosen = chosen.into_iter();
        lists.for_each(map, |weight, sources, target| {
            let id = chosen.next().unwrap_or_default();
            let found = sources.iter().find(|&&source| ids.id(key(map.fold, period, source as usize, target)) == id);
            let Some(&source) = found else { return };
            let key = ids.key(id);
            let slot = (source as usize % period + period - key[2]) % period;
            weights.entry(key).or_default().push((slot as u32, weight));
        });
        for entries in weights.values_mut() {
            entries.sort_by_key(|&(slot, _)| slot);
            entries.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 += next.1;
                }
                same
            });
        }
        let mut bias = vec![Vec::new(); map.to.vectors()];
        for (row, &value) in map.bias.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            for &target in lists.targets.of(row) {
                bias[target as usize / period].push(((target as usize % period) as u32, value));
            }
        }
        bias.iter_mut().for_each(|entries| entries.sort_by_key(|&(slot, _)| slot));
        Diagonals { weights, bias }
    }
}

/// The diagonal on which a weight lies that takes what is at `source` to the sum at `target`: with a fold there are several, of which
/// the one with a step below the fold's period, or the one with a step that is a multiple of the window.
fn key(fold: Fold, period: usize, source: usize, target: usize) -> [usize; 3] {
    let step = (source % period + period - target % period) % period;
    let step = match fold {
        Fold::None => step,
        Fold::Full { period: h } => step % h,
        Fold::Window { width } => step - step % width,
    };
    [target / period, source / period, step]
}

/// As the choices of [`Assignment::new`], each that is made at least once. A convolution's blocks do the same at every place: those whose
/// slots lie alike but for a rotation have the same choices, and one of them speaks for all. `None` if there are more than `limit`, or numbers that tell blocks apart.
pub(super) fn distinct_choices(map: &LinearMap, ids: Ids, limit: usize) -> Option<Vec<u32>> {
    let period = map.period();
    let lists = Lists::new(map);
    let mut classes: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
    let mut first: Vec<(usize, u32)> = Vec::new();
    let mut kept = 0usize;
    for (at, block) in map.matrix.blocks().iter().enumerate() {
        // A file can name many slots in few bytes: what is kept of all blocks is bounded as the choices are.
        if kept.saturating_add(signature_len(block, &lists)) > limit {
            return None;
        }
        let Some(signature) = signature(block, &lists, period) else { continue };
        let length = signature.len();
        let next = first.len();
        let class = *classes.entry(signature).or_insert(next);
        match class == next {
            true => {
                kept += length;
                first.push((at, 1));
            }
            false => first[class].1 += 1,
        }
    }
    let (mut starts, mut choices, mut times, mut own) = (vec![0u32], Vec::new(), Vec::new(), Vec::new());
    let (mut several, mut total) = (false, 0usize);
    for &(at, count) in &first {
        let block = &map.matrix.blocks()[at];
        let cols = block.cols.len().max(1);
        for (&row, weights) in block.rows.iter().zip(block.weights.chunks(cols)) {
            for (&col, _) in block.cols.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
                for &target in lists.targets.of(row as usize) {
                    own.clear();
                    let sources = lists.sources.of(col as usize).iter();
                    own.extend(sources.map(|&source| ids.id(key(map.fold, period, source as usize, target as usize))));
                    if own.len() > 1 {
                        own.sort_unstable();
                        own.dedup();
                    }
                    several |= own.len() > 1;
                    total = total.saturating_add(own.len().saturating_mul(count as usize));
                    if total > limit {
                        return None;
                    }
                    choices.extend(&own);
                    starts.push(choices.len() as u32);
                    times.push(count);
                }
            }
        }
    }
    Some(if several { cover(&starts, &choices, &times, ids.count(map)) } else { choices })
}

/// The numbers of [`signature`] at most.
fn signature_len(block: &Block<f64>, lists: &Lists) -> usize {
    const FIXED: usize = 5;
    let slots = |elements: &[u32], slots: &Slots| -> usize {
        elements.iter().map(|&element| slots.of(element as usize).len() + 1).fold(0, usize::saturating_add)
    };
    FIXED.saturating_add(slots(&block.rows, &lists.targets)).saturating_add(slots(&block.cols, &lists.sources))
}

/// What a block's choices follow from but for a rotation: two blocks with the same have the same. `None` if it has no target.
fn signature(block: &Block<f64>, lists: &Lists, period: usize) -> Option<Vec<u32>> {
    let origin = *block.rows.iter().flat_map(|&row| lists.targets.of(row as usize)).next()?;
    let relative = |&slot: &u32| {
        let (vector, slot) = (slot as usize / period, slot as usize % period);
        (vector * period + (slot + period - origin as usize % period) % period) as u32
    };
    // The place of each zero matters as well, and where one list of slots ends.
    let mut signature: Vec<u32> = Vec::with_capacity(signature_len(block, lists));
    let pointer = Arc::as_ptr(&block.weights).cast::<f64>() as usize;
    signature.extend([block.rows.len() as u32, block.cols.len() as u32]);
    match block.weights.iter().all(|&weight| weight != 0.0) {
        true => signature.push(0),
        false => signature.extend([1, pointer as u32, (pointer as u64 >> 32) as u32]),
    }
    for (elements, lists) in [(&block.rows, &lists.targets), (&block.cols, &lists.sources)] {
        for &element in elements.iter() {
            let slots = lists.of(element as usize);
            signature.push(slots.len() as u32);
            signature.extend(slots.iter().map(relative));
        }
    }
    Some(signature)
}

/// Chooses for each item (a range of `choices`, by `starts`) one of its choices such that few different ones are taken: greedily
/// the one that serves most items that are left, the least among equals. An item stands for as many as `times` says, for one without.
fn cover(starts: &[u32], choices: &[u32], times: &[u32], count: usize) -> Vec<u32> {
    let items = starts.len() - 1;
    let range = |item: usize| starts[item] as usize..starts[item + 1] as usize;
    let mut counts = vec![0u32; count];
    choices.iter().for_each(|&id| counts[id as usize] += 1);
    let mut offsets = vec![0u32; count + 1];
    (0..count).for_each(|id| offsets[id + 1] = offsets[id] + counts[id]);
    let times = |item: usize| times.get(item).copied().unwrap_or(1);
    counts.fill(0);
    (0..items).for_each(|item| choices[range(item)].iter().for_each(|&id| counts[id as usize] += times(item)));
    let mut fill = offsets.clone();
    let mut users = vec![0u32; choices.len()];
    for item in 0..items {
        for &id in &choices[range(item)] {
            users[fill[id as usize] as usize] = item as u32;
            fill[id as usize] += 1;
        }
    }
    let mut heap: BinaryHeap<(u32, Reverse<u32>)> =
        (0..count as u32).filter(|&id| counts[id as usize] > 0).map(|id| (counts[id as usize], Reverse(id))).collect();
    let mut chosen = vec![u32::MAX; items];
    while let Some((seen, Reverse(id))) = heap.pop() {
        let now = counts[id as usize];
        if now == 0 {
            continue;
        }
        if now < seen {
            heap.push((now, Reverse(id)));
            continue;
        }
        for &item in &users[offsets[id as usize] as usize..offsets[id as usize + 1] as usize] {
            let item = item as usize;
            if chosen[item] == u32::MAX {
                chosen[item] = id;
                choices[range(item)].iter().for_each(|&other| counts[other as usize] -= times(item));
            }
        }
    }
    chosen
}

/// The slots of each element, ascending.
pub(super) struct Slots {
    starts: Vec<u32>,
    slots: Vec<u32>,
}

impl Slots {
    fn new(elements: usize, table: &[u32], keep: impl Fn(usize) -> bool) -> Self {
        let entries = || table.iter().enumerate().filter(|&(slot, &entry)| entry != 0 && keep(slot));
        let mut starts = vec![0u32; elements + 1];
        entries().for_each(|(_, &entry)| starts[entry as usize] += 1);
        (0..elements).for_each(|element| starts[element + 1] += starts[element]);
        let mut fill = starts.clone();
        let mut slots = vec![0; entries().count()];
        for (slot, &entry) in entries() {
            let at = &mut fill[entry as usize - 1];
            slots[*at as usize] = slot as u32;
            *at += 1;
        }
        Self { starts, slots }
    }

    /// Keeps of each element's slots the first of those with one key.
    fn thin_out(&mut self, key: impl Fn(u32) -> (usize, usize)) {
        let mut kept: Vec<u32> = Vec::with_capacity(self.slots.len());
        let mut starts = vec![0];
        for element in 0..self.starts.len() - 1 {
            let first = kept.len();
            for &slot in self.of(element) {
                if !kept[first..].iter().any(|&other| key(other) == key(slot)) {
                    kept.push(slot);
                }
            }
            starts.push(kept.len() as u32);
        }
        (self.slots, self.starts) = (kept, starts);
    }

    /// Of the element that has most.
    pub(super) fn most(&self) -> usize {
        self.starts.windows(2).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0)
    }

    fn of(&self, element: usize) -> &[u32] {
        &self.slots[self.starts[element] as usize..self.starts[element + 1] as usize]
    }
}
