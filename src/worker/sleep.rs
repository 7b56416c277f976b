//! A worker that sleeps, and those that have something for it.
//!
//! What it is: the protocol by which no wake-up is lost. Who wants to sleep says so and then looks at all its
//! rings once more; who has put something into a ring then looks whether the other sleeps. Between the two halves
//! of each stands a full fence, so one of them sees the other. What it is not: it neither waits nor wakes, the
//! caller does. `tests/worker_model.rs` tries every order. Cost: a fence and a load a batch; a store, a fence and
//! a load a sleep.

use super::ground::{AtomicBool, Ordering, fence};

/// Whether one worker sleeps, or is about to.
#[derive(Debug)]
pub(super) struct Sleep {
    asleep: AtomicBool,
}

impl Sleep {
    /// Of a worker that is awake.
    pub(super) fn new() -> Self {
        Self { asleep: AtomicBool::new(false) }
    }

    /// The worker wants to sleep. True: it may, and calls [`Sleep::over`] afterwards. `something` looks at all its
    /// rings.
    pub(super) fn begin(&self, something: impl FnOnce() -> bool) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may = !something();
        if !may {
            self.asleep.store(false, Ordering::Relaxed);
        }
        may
    }

    /// The worker sleeps no longer.
    pub(super) fn over(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Something was put into a ring of the worker. True: it must be woken, by this caller and nobody else.
    pub(super) fn wakes(&self) -> bool {
        fence(Ordering::SeqCst);
        let claim =
            || self.asleep.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        self.asleep.load(Ordering::Relaxed) && claim()
    }
}
