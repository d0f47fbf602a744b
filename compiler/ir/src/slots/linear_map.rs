//! Linear maps over the slots of packed tensors, and the diagonals that follow from them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::Packed;
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;
use crate::matrix::BlockMatrix;

/// Weights, each for every slot that needs it: beyond this a map takes too much memory.
const MAX_WEIGHTS: usize = 1 << 26;
/// Ways to place all weights that are compared; beyond this the first of a weight is taken.
const MAX_CHOICES: usize = 1 << 27;
/// Diagonals that there could be.
const MAX_DIAGONALS: usize = 1 << 26;

/// `y = M x + b` from one packed tensor to another.
///
/// In slots it is a sum over steps of diagonals times rotations of the operand, and a [`Fold`] of the sums. Which weight lies on
/// which diagonal follows from the two layouts and the fold by [`LinearMap::diagonals`], and from nothing else.
pub struct LinearMap {
    matrix: Arc<BlockMatrix<f64>>,
    bias: Arc<[f64]>,
    from: Arc<Packed>,
    to: Arc<Packed>,
    fold: Fold,
    diagonals: OnceLock<Arc<Diagonals>>,
    steps: OnceLock<Arc<Steps>>,
}

/// Sums over slots after the diagonals, each by as many rotations as the number of terms has bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// None.
    None,
    /// Slot `s` becomes the sum of all slots that equal it modulo `period`: the result repeats after so many slots, and every slot holds
    /// a whole sum (the *hybrid embedding* of Orion and GAZELLE).
    Full {
        /// A power of two.
        period: usize,
    },
    /// Slot `s` becomes the sum of the slots `s .. s + width`: whole at multiples of `width`, partial sums elsewhere.
    Window {
        /// A power of two.
        width: usize,
    },
}

impl Fold {
    /// The rotations (of virtual slots, to the left) whose results are added, one after the other.
    pub fn steps(self, period: usize) -> Vec<usize> {
        let doubling = |from: usize, to: usize| {
            std::iter::successors(Some(from), |step| Some(2 * step)).take_while(|&step| step < to).collect::<Vec<_>>()
        };
        match self {
            Self::None => Vec::new(),
            Self::Full { period: h } => doubling(h, period),
            Self::Window { width } => doubling(1, width),
        }
    }

    /// Whether each slot of a folded vector holds a whole sum or 0.
    pub fn is_whole(self) -> bool {
        !matches!(self, Self::Window { .. })
    }
}

impl fmt::Display for Fold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Full { period } => write!(f, "full {period}"),
            Self::Window { width } => write!(f, "window {width}"),
        }
    }
}

/// The diagonals of a [`LinearMap`] before its fold: `y_o[t] = sum over i, k of d_(o, i, k)[t] x_i[t + k]`, for vectors `o` of the
/// result and `i` of the operand, with virtual slots counted modulo the period.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagonals {
    /// Weights other than 0 by vector of the result, vector of the operand and step: their slots `t`, ascending, and values.
    pub weights: BTreeMap<[usize; 3], Vec<(u32, f64)>>,
    /// For each vector of the result the values other than 0 that are added: slots, ascending, and values.
    pub bias: Vec<Vec<(u32, f64)>>,
}

impl LinearMap {
    /// Checks that the pieces fit.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn new(
        matrix: Arc<BlockMatrix<f64>>,
        bias: Arc<[f64]>,
        from: Arc<Packed>,
        to: Arc<Packed>,
        fold: Fold,
    ) -> Result<Self, TypeError> {
        let (rows, cols, biases) = (matrix.rows(), matrix.cols(), bias.len());
        if rows != to.elements() || biases != rows || cols != from.elements() {
            let (expected, found) = (from.elements(), to.elements());
            return Err(TypeError::new(format!(
                "a {rows}x{cols} matrix with {biases} biases does not map {expected} elements to {found}"
            )));
        }
        if from.period() != to.period() {
            return Err(TypeError::new(format!("vectors of {} and {} virtual slots", from.period(), to.period())));
        }
        if !bias.iter().all(|b| b.is_finite()) {
            return Err(TypeError::new("a bias is not finite"));
        }
        let period = from.period();
        let diagonals = to.vectors().checked_mul(from.vectors()).and_then(|n| n.checked_mul(period));
        if diagonals.is_none_or(|n| n > MAX_DIAGONALS) {
            let (expected, found) = (from.vectors(), to.vectors());
            return Err(TypeError::new(format!("a map from {expected} to {found} vectors has too many diagonals")));
        }
        let (size, mut table) = match fold {
            Fold::None => (1, Vec::new().into_iter()),
            Fold::Full { period } => (period, to.table().into_iter()),
            Fold::Window { width } => (width, to.table().into_iter()),
        };
        if !size.is_power_of_two() || size > period {
            return Err(TypeError::new(format!("fold {fold} of vectors of {period} virtual slots")));
        }
        let placed = match fold {
            Fold::None => true,
            Fold::Full { .. } => {
                let table: Vec<u32> = table.collect();
                table.chunks(period).all(|vector| (size..period).all(|slot| vector[slot] == vector[slot - size]))
            }
            Fold::Window { width } => {
                let mut slot = 0;
                table.all(|entry| {
                    slot += 1;
                    entry == 0 || (slot - 1) % width == 0
                })
            }
        };
        if !placed {
            return Err(TypeError::new(format!("fold {fold} does not leave its sums where {to} has its elements")));
        }
        let map = Self { matrix, bias, from, to, fold, diagonals: OnceLock::new(), steps: OnceLock::new() };
        let copies = Lists::targets(&map).most();
        if map.matrix.multiply_adds().checked_mul(copies.max(1)).is_none_or(|n| n > MAX_WEIGHTS) {
            let found = map.matrix.multiply_adds();
            return Err(TypeError::new(format!(
                "{found} weights for {copies} slots each: at most {MAX_WEIGHTS} in all"
            )));
        }
        Ok(map)
    }

    /// Rows: elements of the result. Columns: elements of the operand.
    pub fn matrix(&self) -> &Arc<BlockMatrix<f64>> {
        &self.matrix
    }

    /// One for each row.
    pub fn bias(&self) -> &Arc<[f64]> {
        &self.bias
    }

    /// How the operand lies.
    pub fn from(&self) -> &Arc<Packed> {
        &self.from
    }

    /// How the result lies.
    pub fn to(&self) -> &Arc<Packed> {
        &self.to
    }

    /// What is summed up after the diagonals.
    pub fn fold(&self) -> Fold {
        self.fold
    }

    /// Virtual slots of a vector.
    pub fn period(&self) -> usize {
        self.from.period()
    }

    /// The diagonals. Computed once, and the same on every machine: a weight may lie wherever the operand's element does and
    /// the fold takes it to its row; steps are taken greedily, the one that serves most weights first, then the least.
    pub fn diagonals(&self) -> &Arc<Diagonals> {
        self.diagonals.get_or_init(|| Arc::new(Assignment::new(self).diagonals(self)))
    }

    /// The steps of the diagonals by vector of the result and of the operand, without their weights.
    pub fn steps(&self) -> &Arc<Steps> {
        self.steps.get_or_init(|| Arc::new(self.count_steps()))
    }

    fn count_steps(&self) -> Steps {
        let keys: Vec<[usize; 3]> = match self.diagonals.get() {
            Some(diagonals) => diagonals.weights.keys().copied().collect(),
            None => {
                let ids = Ids { operands: self.from.vectors(), period: self.period() };
                let chosen = distinct_choices(self, ids).unwrap_or_else(|| Assignment::new(self).chosen);
                let mut used = vec![false; ids.count(self)];
                chosen.iter().for_each(|&id| used[id as usize] = true);
                (0..used.len()).filter(|&id| used[id]).map(|id| ids.key(id as u32)).collect()
            }
        };
        let mut steps = Steps::new();
        for [to, from, step] in keys {
            steps.entry([to, from]).or_default().insert(step);
        }
        steps
    }

    /// The result in virtual slots, for an operand in virtual slots, vector by vector: what the map means.
    pub fn apply(&self, x: &[f64]) -> Vec<f64> {
        if !matches!(self.fold, Fold::Window { .. }) {
            // Every sum is whole: what lies where follows from the layouts alone.
            let elements: Vec<f64> = self
                .from
                .slots_of_elements()
                .iter()
                .map(|&slot| x.get(slot as usize).copied().unwrap_or(0.0))
                .collect();
            let mut sums = self.matrix.apply(&elements);
            sums.iter_mut().zip(&*self.bias).for_each(|(sum, bias)| *sum += bias);
            return self.to.spread(&sums);
        }
        self.apply_folded(x)
    }

    /// The same, diagonal by diagonal: as the engine computes it.
    pub fn apply_folded(&self, x: &[f64]) -> Vec<f64> {
        let period = self.period();
        let mut y = self.apply_unfolded(x);
        for y in y.chunks_mut(period) {
            for step in self.fold.steps(period) {
                let before = y.to_vec();
                (0..period).for_each(|slot| y[slot] += before[(slot + step) % period]);
            }
        }
        y
    }

    /// [`LinearMap::apply`] without the fold.
    pub fn apply_unfolded(&self, x: &[f64]) -> Vec<f64> {
        let period = self.period();
        let diagonals = self.diagonals();
        let mut y = vec![0.0; self.to.vectors() * period];
        for (&[to, from, step], weights) in &diagonals.weights {
            let (y, x) = (&mut y[to * period..][..period], &x[from * period..][..period]);
            // A step is below the period: no division.
            for &(slot, weight) in weights {
                let (slot, from) = (slot as usize, slot as usize + step);
                y[slot] += weight * x[if from < period { from } else { from - period }];
            }
        }
        for (y, bias) in y.chunks_mut(period).zip(&diagonals.bias) {
            bias.iter().for_each(|&(slot, value)| y[slot as usize] += value);
        }
        y
    }
}

impl LinearMap {
    pub(crate) fn attributes(&self, attributes: Attributes) -> Attributes {
        let (name, size) = match self.fold {
            Fold::None => ("none", 1),
            Fold::Full { period } => ("full", period),
            Fold::Window { width } => ("window", width),
        };
        let map = attributes.with_matrix("matrix", self.matrix.clone()).with_floats("bias", self.bias.clone());
        let placed = map.with_packed("from", self.from.clone()).with_packed("to", self.to.clone());
        placed.with_text("fold", name).with_int("fold_size", size as i64)
    }

    pub(crate) fn from_attributes(attributes: &mut Attributes) -> Result<Self, AttributeError> {
        let (matrix, bias) = (attributes.matrix("matrix")?, attributes.floats("bias")?);
        let (from, to) = (attributes.packed("from")?, attributes.packed("to")?);
        let (name, size) = (attributes.text("fold")?, attributes.size("fold_size")?);
        let fold = match name.as_str() {
            "none" => Fold::None,
            "full" => Fold::Full { period: size },
            "window" => Fold::Window { width: size },
            other => return Err(AttributeError::Value { name: "fold", reason: format!("unknown fold \"{other}\"") }),
        };
        let refuse = |cause: TypeError| AttributeError::Value { name: "matrix", reason: cause.0 };
        Self::new(matrix, bias, from, to, fold).map_err(refuse)
    }
}

impl PartialEq for LinearMap {
    fn eq(&self, other: &Self) -> bool {
        (&self.matrix, &self.bias, &self.from, &self.to, self.fold)
            == (&other.matrix, &other.bias, &other.from, &other.to, other.fold)
    }
}

impl fmt::Debug for LinearMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, cols) = (self.matrix.rows(), self.matrix.cols());
        write!(f, "LinearMap {{ {rows}x{cols}, {} -> {}, fold {} }}", self.from, self.to, self.fold)
    }
}

/// The steps of diagonals, by vector of the result and of the operand.
pub type Steps = BTreeMap<[usize; 2], BTreeSet<usize>>;

/// The steps of diagonals (by vector of the result and of the operand) cut into baby steps, the remainders by `baby_steps`, and giant
/// steps, each with its vector: baby steps with that of the operand, giant steps with that of the result. Steps of 0 are left out.
pub fn baby_and_giant_steps(steps: &Steps, baby_steps: usize) -> [BTreeSet<(usize, usize)>; 2] {
    let (mut babies, mut giants) = (BTreeSet::new(), BTreeSet::new());
    for ([to, from], steps) in steps {
        babies.extend(steps.iter().map(|step| (*from, step % baby_steps)));
        giants.extend(steps.iter().map(|step| (*to, step - step % baby_steps)));
    }
    [babies, giants].map(|steps| steps.into_iter().filter(|(_, step)| *step != 0).collect())
}

/// Numbers for a vector of the result, a vector of the operand and a step.
#[derive(Clone, Copy)]
struct Ids {
    operands: usize,
    period: usize,
}

impl Ids {
    fn id(self, [to, from, step]: [usize; 3]) -> u32 {
        ((to * self.operands + from) * self.period + step) as u32
    }

    fn count(self, map: &LinearMap) -> usize {
        map.to.vectors() * self.operands * self.period
    }

    fn key(self, id: u32) -> [usize; 3] {
        let id = id as usize;
        [id / self.period / self.operands, id / self.period % self.operands, id % self.period]
    }
}

/// For each weight and each slot in which its row needs a sum of its own, the diagonal that the weight lies on.
struct Assignment {
    ids: Ids,
    chosen: Vec<u32>,
    lists: Lists,
}

/// Slots of elements.
struct Lists {
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

    fn targets(map: &LinearMap) -> Slots {
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
    fn new(map: &LinearMap) -> Self {
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

    fn diagonals(self, map: &LinearMap) -> Diagonals {
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
/// slots lie alike but for a rotation have the same choices, and one of them speaks for all. `None` if there are too many to be sure.
fn distinct_choices(map: &LinearMap, ids: Ids) -> Option<Vec<u32>> {
    let period = map.period();
    let lists = Lists::new(map);
    let mut classes: BTreeMap<Vec<u32>, usize> = BTreeMap::new();
    let mut first: Vec<(usize, u32)> = Vec::new();
    for (at, block) in map.matrix.blocks().iter().enumerate() {
        let of_rows = block.rows.iter().flat_map(|&row| lists.targets.of(row as usize));
        let Some(&origin) = of_rows.clone().next() else { continue };
        let relative = |&slot: &u32| {
            let (vector, slot) = (slot as usize / period, slot as usize % period);
            (vector * period + (slot + period - origin as usize % period) % period) as u32
        };
        // The place of each zero matters as well, and where one list of slots ends.
        let mut signature: Vec<u32> = Vec::new();
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
        let next = first.len();
        let class = *classes.entry(signature).or_insert(next);
        match class == next {
            true => first.push((at, 1)),
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
                    if total > MAX_CHOICES {
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
struct Slots {
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
    fn most(&self) -> usize {
        self.starts.windows(2).map(|w| (w[1] - w[0]) as usize).max().unwrap_or(0)
    }

    fn of(&self, element: usize) -> &[u32] {
        &self.slots[self.starts[element] as usize..self.starts[element + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::Block;
    use crate::slots::{Digit, Place};

    fn dense(rows: usize, cols: usize) -> (Arc<BlockMatrix<f64>>, Arc<[f64]>) {
        let weights = (0..rows * cols).map(|i| 1.0 + (i * 37 % 19) as f64).collect();
        let bias = (0..rows).map(|row| row as f64).collect();
        (Arc::new(BlockMatrix::dense(rows, cols, weights).unwrap()), bias)
    }

    fn line(elements: usize, period: usize, stride: usize, repetition: [usize; 2]) -> Arc<Packed> {
        let place = Place::Strided(vec![Digit { size: elements, stride }]);
        Arc::new(Packed::new(vec![elements], period, 1, repetition, place).unwrap())
    }

    /// The map on a sample, read where the result lies; and the number of its diagonals.
    fn checked(map: &LinearMap) -> usize {
        let x: Vec<f64> = (0..map.from.elements()).map(|i| (i as f64).sin()).collect();
        let steps: usize = map.steps().values().map(BTreeSet::len).sum();
        let spread = map.from.spread(&x);
        let (y, directly) = (map.apply_folded(&spread), map.apply(&spread));
        assert!(y.iter().zip(&directly).all(|(a, b)| (a - b).abs() < 1e-9), "{map:?}");
        let expected = map.matrix.apply(&x);
        for (slot, entry) in map.to.table().into_iter().enumerate().filter(|(_, entry)| *entry > 0) {
            let row = entry as usize - 1;
            assert!((y[slot] - expected[row] - map.bias[row]).abs() < 1e-9, "slot {slot} of {map:?}");
        }
        let keys = map.diagonals().weights.keys().copied();
        assert!(
            keys.eq(map.steps().iter().flat_map(|([to, from], steps)| steps.iter().map(|step| [*to, *from, *step])))
        );
        steps
    }

    #[test]
    fn blocks_that_do_the_same_elsewhere_are_looked_at_once() {
        // A convolution of one row of 16 elements, padded, two channels in and three out: a block for each place.
        let weights: Arc<[f64]> = (0..3 * 2 * 3).map(|i| f64::from(i % 5)).collect();
        let edge: Arc<[f64]> = (0..3 * 2 * 2).map(|i| f64::from(i % 3) + 1.0).collect();
        let block = |at: u32| {
            let taps: Vec<u32> = (at.saturating_sub(1)..=(at + 1).min(15)).collect();
            let cols: Vec<u32> = (0..2).flat_map(|channel| taps.iter().map(move |tap| channel * 16 + tap)).collect();
            let weights = if taps.len() == 3 { weights.clone() } else { edge.clone() };
            Block { rows: (0..3).map(|channel| channel * 16 + at).collect(), cols: cols.into(), weights }
        };
        let matrix = Arc::new(BlockMatrix::new(48, 32, (0..16).map(block).collect()).unwrap());
        let bias: Arc<[f64]> = vec![0.5; 48].into();
        for (from, to, fold) in [
            (line(32, 128, 1, [128, 0]), line(48, 128, 1, [128, 0]), Fold::None),
            (line(32, 128, 1, [32, 0]), line(48, 128, 1, [128, 0]), Fold::None),
            (line(32, 128, 1, [32, 4]), line(48, 128, 1, [64, 0]), Fold::Full { period: 64 }),
            (line(32, 128, 1, [32, 0]), line(48, 128, 2, [128, 0]), Fold::Window { width: 2 }),
        ] {
            checked(&LinearMap::new(matrix.clone(), bias.clone(), from, to, fold).unwrap());
        }
    }

    #[test]
    fn folds_and_copies_save_diagonals() {
        let (matrix, bias) = dense(16, 100);
        let map = |from: &Arc<Packed>, to: &Arc<Packed>, fold| {
            checked(&LinearMap::new(matrix.clone(), bias.clone(), from.clone(), to.clone(), fold).unwrap())
        };
        let (once, copies) = (line(100, 1024, 1, [1024, 0]), line(100, 1024, 1, [128, 0]));
        let turned = line(100, 1024, 1, [128, 2]);
        let (repeated, apart) = (line(16, 1024, 1, [16, 0]), line(16, 1024, 64, [1024, 0]));
        assert_eq!(map(&once, &line(16, 1024, 1, [1024, 0]), Fold::None), 115);
        assert_eq!(map(&once, &repeated, Fold::Full { period: 16 }), 16);
        assert_eq!(map(&copies, &repeated, Fold::Full { period: 16 }), 16);
        assert_eq!(map(&turned, &repeated, Fold::Full { period: 16 }), 2);
        assert_eq!(map(&copies, &apart, Fold::Window { width: 64 }), 2);
        let (matrix, bias) = dense(10, 16);
        let last = LinearMap::new(matrix, bias, apart, line(10, 1024, 1, [16, 0]), Fold::Full { period: 16 }).unwrap();
        assert_eq!(checked(&last), 10);
    }

    #[test]
    fn folds_take_as_many_rotations_as_their_terms_have_bits() {
        assert_eq!(Fold::Full { period: 16 }.steps(128), [16, 32, 64]);
        assert_eq!(Fold::Window { width: 8 }.steps(128), [1, 2, 4]);
        assert_eq!(Fold::Full { period: 128 }.steps(128), [0; 0]);
        assert_eq!(Fold::None.steps(128), [0; 0]);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let (matrix, bias) = dense(4, 8);
        let new = |from: Arc<Packed>, to: Arc<Packed>, fold| {
            LinearMap::new(matrix.clone(), bias.clone(), from, to, fold).unwrap_err().0
        };
        let (from, to) = (line(8, 32, 1, [8, 0]), line(4, 32, 1, [4, 0]));
        let refused = [
            (new(to.clone(), from.clone(), Fold::None), "a 4x8 matrix with 4 biases does not map 4 elements to 8"),
            (new(from.clone(), line(4, 64, 1, [4, 0]), Fold::None), "vectors of 32 and 64 virtual slots"),
            (new(from.clone(), to.clone(), Fold::Full { period: 3 }), "fold full 3 of vectors of 32 virtual slots"),
            (new(from.clone(), to.clone(), Fold::Full { period: 64 }), "fold full 64"),
            (new(from.clone(), to.clone(), Fold::Full { period: 2 }), "does not leave its sums where"),
            (new(from.clone(), to, Fold::Window { width: 2 }), "does not leave its sums where"),
        ];
        for (found, expected) in refused {
            assert!(found.contains(expected), "{found}\n{expected}");
        }
        let infinite = LinearMap::new(matrix.clone(), [f64::NAN; 4].into(), from.clone(), from.clone(), Fold::None);
        assert!(infinite.is_err());
        // Many weights for many slots each, in few bytes of a file.
        let weights: Arc<[f64]> = vec![1.0; 1 << 12].into();
        let all = |n: u32| -> Arc<[u32]> { (0..n).collect() };
        let block = |_| Block { rows: all(1), cols: all(1 << 12), weights: weights.clone() };
        let huge = Arc::new(BlockMatrix::new(1, 1 << 12, (0..16).map(block).collect()).unwrap());
        let everywhere = Packed::new(vec![1], 1 << 17, 1, [1, 0], Place::Strided(Vec::new())).unwrap();
        let from = line(1 << 12, 1 << 17, 1, [1 << 12, 0]);
        let error = LinearMap::new(huge, [0.0].into(), from, Arc::new(everywhere), Fold::None).unwrap_err().0;
        assert!(error.contains("weights for 131072 slots each"), "{error}");
    }
}
