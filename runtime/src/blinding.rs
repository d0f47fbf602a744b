//! Random factors that hide from the client how large values are that it computes on.
//!
//! A factor is drawn for each sample and each group of elements that the round's function mixes
//! ([`hec_ir::program::Round::groups`]): evenly by its logarithm, between 1 and 2 to the power [`Blind::BITS`]. The client sees signs and
//! zeros, ratios within a group, and sizes up to that factor. Draws are fresh for every batch.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hec_ir::Program;
use hec_ir::program::Groups;
use hec_ir::slots::{Blind, Layout};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zeroize::Zeroizing;

use crate::engine::EngineError;

/// The factors of one run of a circuit. They are drawn where they are needed, from a key for each round: no more of them are in memory than
/// there are ciphertexts that are multiplied at a time.
pub struct Blinding {
    rounds: BTreeMap<usize, Factors>,
    samples: usize,
    /// For blinded rounds with a function of each element, in the batch layout, the order in which its ciphertexts are sent.
    orders: BTreeMap<usize, Vec<usize>>,
}

/// A key of ChaCha20, zeroized on drop.
type Key = Zeroizing<[u8; 32]>;

pub(crate) struct Factors {
    groups: Groups,
    /// Stream `g` of this key holds the factors of group `g`, sample by sample.
    key: Key,
}

impl Factors {
    /// Gives the factors of a group, or their reciprocals, for one sample after the other.
    fn of_group(&self, group: u32, inverse: bool) -> impl Iterator<Item = f64> + use<> {
        let mut random = ChaCha20Rng::from_seed(*self.key);
        random.set_stream(u64::from(group));
        std::iter::repeat_with(move || {
            let uniform = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            Blind::factor(uniform, inverse)
        })
    }
}

/// The factors of one port, as they lie in the slots.
pub(crate) enum Drawn<'b> {
    /// One element for each vector: drawn when they are asked for.
    Elements { factors: &'b Factors, groups: &'b [u32], samples: usize, inverse: bool },
    /// As many as there are slots in the array of ciphertexts.
    Packed(Vec<Vec<f64>>),
}

impl Drawn<'_> {
    /// How many vectors there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Elements { groups, .. } => groups.len(),
            Self::Packed(vectors) => vectors.len(),
        }
    }

    /// The factors in the slots of one ciphertext.
    pub(crate) fn vector(&self, index: usize) -> Cow<'_, [f64]> {
        match self {
            Self::Elements { factors, groups, samples, inverse } => {
                let group = groups.get(index).copied();
                let values = group.map(|group| factors.of_group(group, *inverse).take(*samples).collect::<Vec<_>>());
                Cow::Owned(values.unwrap_or_default())
            }
            Self::Packed(vectors) => Cow::Borrowed(vectors.get(index).map_or(&[], Vec::as_slice)),
        }
    }
}

/// A fresh key from the operating system.
fn fresh_key() -> Result<Key, EngineError> {
    let mut key = Key::default();
    getrandom::fill(&mut *key)
        .map_err(|cause| EngineError(format!("the operating system gives no randomness: {cause}")))?;
    Ok(key)
}

impl Blinding {
    /// For circuits without.
    pub fn none() -> Self {
        Self { rounds: BTreeMap::new(), samples: 0, orders: BTreeMap::new() }
    }

    /// Fresh factors for a batch of `program`, from the operating system's randomness.
    ///
    /// # Errors
    /// If there is none.
    pub fn fresh(program: &Program) -> Result<Self, EngineError> {
        let mut rounds = BTreeMap::new();
        let samples = program.capacity();
        let blinded = program.blinded_rounds();
        if blinded.is_empty() {
            // The user has asked for no blinding, or there is nothing to blind.
            return Ok(Self::none());
        }
        for number in blinded {
            let groups = program.rounds().get(number).and_then(hec_ir::program::Round::groups);
            let groups = groups
                .ok_or_else(|| EngineError(format!("the function of round {number} does not commute with factors")))?;
            rounds.insert(number, Factors { groups, key: fresh_key()? });
        }
        let mut orders = BTreeMap::new();
        let mut random = ChaCha20Rng::from_seed(*fresh_key()?);
        for (number, (exchange, round)) in program.exchanges().iter().zip(program.rounds()).enumerate() {
            let operands = exchange.operands.iter().map(|operand| &operand.layout);
            let layouts: Vec<&Layout> = operands.chain(exchange.results.iter().map(|reply| &reply.layout)).collect();
            if round.is_elementwise()
                && let [Layout::Batch { .. }, Layout::Batch { .. }] = layouts[..]
                && rounds.contains_key(&number)
            {
                orders.insert(number, shuffled(layouts[0].array_length(), &mut random));
            }
        }
        Ok(Self { rounds, samples, orders })
    }

    /// The array as it is sent in round `round`.
    pub(crate) fn shuffle<T>(&self, round: usize, array: Vec<T>) -> Vec<T> {
        let Some(order) = self.orders.get(&round).filter(|order| order.len() == array.len()) else { return array };
        let mut array: Vec<Option<T>> = array.into_iter().map(Some).collect();
        order.iter().filter_map(|&at| array[at].take()).collect()
    }

    /// The inverse of [`Blinding::shuffle`].
    pub(crate) fn unshuffle<T>(&self, round: usize, array: Vec<T>) -> Vec<T> {
        let Some(order) = self.orders.get(&round).filter(|order| order.len() == array.len()) else { return array };
        let mut sorted: Vec<(usize, T)> = order.iter().copied().zip(array).collect();
        sorted.sort_by_key(|(at, _)| *at);
        sorted.into_iter().map(|(_, value)| value).collect()
    }

    /// The factors (or their reciprocals) as they lie in the slots: one vector for each ciphertext, 0 where no element lies.
    ///
    /// # Errors
    /// If there is no key for the round, or the port is not one of its.
    pub(crate) fn factors(&self, blind: &Blind, slots: usize) -> Result<Drawn<'_>, EngineError> {
        let Blind { round, port, layout, inverse } = blind;
        let missing = || EngineError(format!("there are no factors for \"{}\" in round {round}", port.escape_debug()));
        let factors = self.rounds.get(round).ok_or_else(missing)?;
        let groups = factors.groups.of.get(port).ok_or_else(missing)?;
        let (samples, inverse) = (self.samples, *inverse);
        match layout {
            Layout::Batch { .. } => Ok(Drawn::Elements { factors, groups, samples, inverse }),
            Layout::Packed(_) => {
                // Sample by sample, and a stream for each group: all that are needed are as many as there are slots.
                let mut streams: BTreeMap<u32, _> =
                    groups.iter().map(|&group| (group, factors.of_group(group, inverse))).collect();
                let mut values = Vec::with_capacity(samples * groups.len());
                for _ in 0..samples {
                    let sample: BTreeMap<u32, f64> =
                        streams.iter_mut().filter_map(|(&group, stream)| Some((group, stream.next()?))).collect();
                    values.extend(groups.iter().map(|group| sample.get(group).copied().unwrap_or_default()));
                }
                Ok(Drawn::Packed(layout.pack(&values, samples, slots).map_err(EngineError::new)?))
            }
        }
    }
}

/// The numbers below `length` in a random order (Fisher and Yates).
fn shuffled(length: usize, random: &mut ChaCha20Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..length).collect();
    for last in (1..length).rev() {
        // The remainder of 64 random bits is as good as even for arrays of this size.
        let other = (random.next_u64() % (last as u64 + 1)) as usize;
        order.swap(last, other);
    }
    order
}

#[cfg(test)]
mod tests {
    use hec_ir::slots::{Packed, Place};

    use super::*;

    const SAMPLES: usize = 4;

    /// Four elements in three groups.
    fn blinding() -> Blinding {
        let of = BTreeMap::from([("x".to_owned(), vec![0, 1, 1, 2])]);
        let factors = Factors { groups: Groups { of, count: 3 }, key: Key::new([7; 32]) };
        Blinding { rounds: BTreeMap::from([(0, factors)]), samples: SAMPLES, orders: BTreeMap::new() }
    }

    fn blind(layout: Layout, inverse: bool) -> Blind {
        Blind { round: 0, port: "x".to_owned(), layout, inverse }
    }

    fn batch() -> Layout {
        Layout::Batch { shape: vec![4] }
    }

    #[test]
    fn factors_are_those_of_the_groups_in_every_layout() {
        let blinding = blinding();
        let drawn = blinding.factors(&blind(batch(), false), 8).unwrap();
        let vectors: Vec<Vec<f64>> = (0..drawn.len()).map(|index| drawn.vector(index).into_owned()).collect();
        assert_eq!(vectors.len(), 4);
        assert!(vectors.iter().flatten().all(|factor| (1.0..=64.0).contains(factor)), "{vectors:?}");
        assert_eq!(vectors[1], vectors[2]);
        let different: std::collections::BTreeSet<u64> = vectors.iter().flatten().map(|f| f.to_bits()).collect();
        assert_eq!(different.len(), 3 * SAMPLES, "a factor for each group and sample");

        let inverse = blinding.factors(&blind(batch(), true), 8).unwrap();
        for (index, factors) in vectors.iter().enumerate() {
            let products = factors.iter().zip(&*inverse.vector(index)).map(|(a, b)| a * b).collect::<Vec<_>>();
            assert!(products.iter().all(|product| (product - 1.0).abs() < 1e-12), "{products:?}");
        }

        let place = Place::Table([4, 3, 2, 1].into());
        let layout = Layout::Packed(Packed::new(vec![4], 4, 1, [4, 0], place).unwrap().into());
        let packed = blinding.factors(&blind(layout.clone(), false), 16).unwrap();
        assert_eq!(packed.len(), 1);
        assert_eq!(layout.unpack(&[packed.vector(0).into_owned()], SAMPLES), batch().unpack(&vectors, SAMPLES));
    }

    /// What is drawn is no more than what is asked for: samples times groups would be beyond any memory.
    #[test]
    fn a_batch_of_any_size_takes_no_memory_before_it_is_multiplied() {
        let (elements, samples) = (1 << 20, 1 << 17);
        let of = BTreeMap::from([("x".to_owned(), (0..elements).collect())]);
        let factors = Factors { groups: Groups { of, count: elements as usize }, key: Key::new([9; 32]) };
        let blinding = Blinding { rounds: BTreeMap::from([(0, factors)]), samples, orders: BTreeMap::new() };
        let layout = Layout::Batch { shape: vec![elements as usize] };
        let drawn = blinding.factors(&blind(layout, false), samples).unwrap();
        assert_eq!((drawn.len(), drawn.vector(elements as usize - 1).len()), (elements as usize, samples));
        assert_ne!(drawn.vector(0)[..8], drawn.vector(1)[..8]);
    }

    #[test]
    fn rounds_and_ports_without_factors_are_refused() {
        let other = Blind { round: 1, ..blind(batch(), false) };
        let unknown = Blind { port: "y".to_owned(), ..blind(batch(), false) };
        for blind in [other, unknown] {
            assert!(blinding().factors(&blind, 8).is_err_and(|e| e.0.contains("there are no factors")));
        }
    }
}
