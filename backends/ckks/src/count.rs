//! Counts of the evaluator's work, so that tests can hold it to exact numbers. Outside tests nothing is counted.

#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A transform of one limb, in either direction.
    Transform,
    /// A polynomial cut into digits that are extended to QP.
    Decomposition,
    /// The digits of a polynomial times one key.
    KeyProduct,
    /// A polynomial divided by the special primes, and perhaps a prime of the chain.
    ModDown,
    /// A product of ciphertexts.
    Product,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    #[cfg(test)]
    counts: [AtomicUsize; 5],
}

impl Counters {
    #[cfg(not(test))]
    pub(crate) fn add(&self, _: Work, _: usize) {}

    #[cfg(test)]
    pub(crate) fn add(&self, work: Work, times: usize) {
        self.counts[work as usize].fetch_add(times, Ordering::Relaxed);
    }

    /// Starts all counts at 0.
    #[cfg(test)]
    pub(crate) fn reset(&self) {
        self.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// The count since it was last taken.
    #[cfg(test)]
    pub(crate) fn take(&self, work: Work) -> usize {
        self.counts[work as usize].swap(0, Ordering::Relaxed)
    }
}
