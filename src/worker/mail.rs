//! Who has passed something on to a worker.
//!
//! What it is: one word a worker, in a line of its own, with a bit for each worker that has put something into a ring
//! of it since the word was read. So a turn to which nothing was passed on reads one line, however many workers there
//! are. What it is not: it says neither what nor how much, and a bit may stand for something that was taken already.
//! Invariant: what was put into a ring before [`Mail::announce`] is seen in the ring after the [`Mail::collect`] that
//! gave its bit; `tests/worker_model.rs` tries every order. Cost: a read-modify-write a batch; a load a turn.

use super::ground::{AtomicU64, Ordering};

/// Bits of workers that have put something into a ring of this one. Of more than 64 some share a bit.
#[derive(Debug)]
pub(super) struct Mail(AtomicU64);

impl Mail {
    /// Of a worker to which nobody has passed anything on.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The bit of a worker.
    pub(super) const fn of(worker: usize) -> u64 {
        1 << (worker % 64)
    }

    /// A worker says that it has put something into a ring.
    pub(super) fn announce(&self, from: usize) {
        self.0.fetch_or(Self::of(from), Ordering::Release);
    }

    /// Who has said so since this was asked last.
    pub(super) fn collect(&self) -> u64 {
        if self.0.load(Ordering::Relaxed) == 0 { 0 } else { self.0.swap(0, Ordering::Acquire) }
    }
}
