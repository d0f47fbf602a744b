//! Random factors that hide from the client how large values are that it computes on.
//!
//! A factor is drawn for each sample and each group of elements that the round's function mixes
//! ([`hec_ir::program::Round::groups`]): evenly by its logarithm, between 1 and 2 to the power [`Blind::BITS`]. The client sees signs and
//! zeros, ratios within a group, and sizes up to that factor. Draws are fresh for every batch.

use std::collections::BTreeMap;

use hec_ir::Program;
use hec_ir::program::Groups;
use hec_ir::slots::{Blind, Layout};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::engine::EngineError;

/// The factors of one run of a circuit.
pub struct Blinding {
    rounds: BTreeMap<usize, Factors>,
    samples: usize,
    /// For rounds with a function of each element, in the batch layout, the order in which its ciphertexts are sent.
    orders: BTreeMap<usize, Vec<usize>>,
}

struct Factors {
    groups: Groups,
    /// Sample by sample, a factor for each group.
    values: Vec<f64>,
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
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed)
            .map_err(|cause| EngineError(format!("the operating system gives no randomness: {cause}")))?;
        let mut random = ChaCha20Rng::from_seed(seed);
        seed.fill(0);
        for number in blinded {
            let groups = program.rounds().get(number).and_then(hec_ir::program::Round::groups);
            let groups = groups
                .ok_or_else(|| EngineError(format!("the function of round {number} does not commute with factors")))?;
            let draw = |_| {
                let uniform = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                (uniform * f64::from(Blind::BITS)).exp2()
            };
            let values = (0..samples * groups.count).map(draw).collect();
            rounds.insert(number, Factors { groups, values });
        }
        let mut orders = BTreeMap::new();
        for (number, (exchange, round)) in program.exchanges().iter().zip(program.rounds()).enumerate() {
            let lengths = exchange.operands.iter().map(|operand| &operand.layout);
            let layouts: Vec<&Layout> = lengths.chain(exchange.results.iter().map(|reply| &reply.layout)).collect();
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
    /// If none were drawn for the round, or the port is not one of its.
    pub(crate) fn factors(&self, blind: &Blind, slots: usize) -> Result<Vec<Vec<f64>>, EngineError> {
        let Blind { round, port, layout, inverse } = blind;
        let missing = || EngineError(format!("there are no factors for \"{}\" in round {round}", port.escape_debug()));
        let factors = self.rounds.get(round).ok_or_else(missing)?;
        let groups = factors.groups.of.get(port).ok_or_else(missing)?;
        let mut values = Vec::with_capacity(self.samples * groups.len());
        for sample in factors.values.chunks_exact(factors.groups.count.max(1)) {
            values.extend(groups.iter().map(|&group| {
                let factor = sample[group as usize];
                if *inverse { factor.recip() } else { factor }
            }));
        }
        layout.pack(&values, self.samples, slots).map_err(EngineError::new)
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
