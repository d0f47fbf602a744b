//! What is kept of a run's finished batches, so that another run goes on after them.

use std::io;

/// Where finished batches are kept, in order: what is there is of the same program, inputs and settings.
pub trait Checkpoint: Sync {
    /// How many batches are kept, from the first on.
    fn batches(&self) -> usize;

    /// What was kept of batch `batch`.
    ///
    /// # Errors
    /// If it is not there any more, or not as it was.
    fn kept(&self, batch: usize) -> io::Result<Vec<u8>>;

    /// Keeps the next batch. When this returns it is on the disk.
    ///
    /// # Errors
    /// If it cannot be written.
    fn keep(&self, record: &[u8]) -> io::Result<()>;
}
