//! When workers that were told to stop may leave.
//!
//! What it is: a count of those that are about to: nothing waits for them, and they have lent nothing. Who has lent
//! something is not among them, so when all are, all that was passed on by one that had not settled is on its way to
//! nobody but those that it was passed on to by others; each looks for that once more before it leaves. What it is
//! not: it sets no bound of time; the loop does. Cost: nothing before a stop. `tests/worker_model.rs` tries every
//! order.

use super::ground::{AtomicU32, Ordering};

/// Workers that are about to leave and have lent nothing.
#[derive(Debug)]
pub(super) struct Settled(AtomicU32);

impl Settled {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Whether a worker that receives nothing more may leave: nothing waits here, nothing is lent, and all `workers`
    /// are as far, so nothing comes by a ring any more either. `said` is whether it has said that of itself.
    pub(super) fn may_leave(&self, said: &mut bool, workers: usize, is_quiet: impl Fn() -> bool) -> bool {
        if !is_quiet() {
            return false;
        }
        if !std::mem::replace(said, true) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
        let all = usize::try_from(self.0.load(Ordering::Acquire)).is_ok_and(|n| n >= workers);
        // Looked at after that: what somebody passed on before it settled is there.
        all && is_quiet()
    }
}
