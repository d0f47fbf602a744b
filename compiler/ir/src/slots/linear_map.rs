//! Linear maps over the slots of packed tensors, and the diagonals that follow from them.

mod assignment;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use self::assignment::{Assignment, Ids, Lists, MAX_CHOICES, distinct_choices};
use super::Packed;
use crate::attribute::{AttributeError, Attributes};
use crate::graph::TypeError;
use crate::matrix::BlockMatrix;

/// Weights, each for every slot that needs it: beyond this a map takes too much memory.
const MAX_WEIGHTS: usize = 1 << 26;
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
                let chosen = distinct_choices(self, ids, MAX_CHOICES).unwrap_or_else(|| Assignment::new(self).chosen);
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

#[cfg(test)]
mod tests;
