//! The flows of a running gate, worker by worker, slot by slot.
//!
//! What it is not: no table is read here; the workers copy flows for whoever asks ([`crate::worker::Desk`]),
//! and nothing is kept. Invariants: from one [`Cursor`] to the next, a flow that lives all the while is shown
//! exactly once and none is shown twice. Flows that come or go meanwhile may be shown or not, and each is
//! shown as it was when its turn came. Bounded in time: who wants the rest asks again from where this ended.

use std::time::Duration;

use super::shared::Shared;
use crate::flow::Slot;
use crate::io::clock::boot_nanos;
use crate::worker::{Reached, Sitting, WorkerFace};

/// Between two looks at an empty ring.
const PAUSE: Duration = Duration::from_micros(200);

/// A place among the flows of a gate: the worker's place in [`Shared::workers`], and a slot of its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The worker.
    pub worker: usize,
    /// The first slot not yet seen.
    pub slot: u32,
}

/// The flows can't be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// Others look, all the time.
    #[error("others are looking at the flows")]
    Busy,
    /// A worker does not answer.
    #[error("the worker of queue {0} does not answer")]
    Silent(u32),
}

/// Where a look at one worker ended.
enum Ended {
    /// At its last slot.
    Through,
    /// Before this slot.
    At(u32),
}

impl Shared {
    /// Shows each live flow from a place on, with the tick of its copy, until `each` says false, the time is
    /// over or all are seen. Where to go on; `None`: all are seen.
    ///
    /// # Errors
    /// [`LookError`], once the time is over.
    pub fn look(
        &self,
        from: Cursor,
        nanos: u64,
        mut each: impl FnMut(&Slot, u32) -> bool,
    ) -> Result<Option<Cursor>, LookError> {
        let end = boot_nanos().saturating_add(nanos);
        let mut first = from.slot;
        for (place, worker) in self.workers.iter().enumerate().skip(from.worker) {
            match look_at(worker, first, end, &mut each)? {
                Ended::Through => first = 0,
                Ended::At(slot) => return Ok(Some(Cursor { worker: place, slot })),
            }
        }
        Ok(None)
    }
}

fn look_at(
    worker: &WorkerFace,
    first: u32,
    end: u64,
    each: &mut impl FnMut(&Slot, u32) -> bool,
) -> Result<Ended, LookError> {
    let asker = sit(worker, first, end)?;
    let mut next = first;
    loop {
        let over = boot_nanos() >= end;
        // Before the ring: what was reached by now is in it.
        let reached = asker.reached();
        while let Some(copied) = asker.take() {
            next = copied.slot.saturating_add(1);
            if !each(&copied.flow, copied.tick) || boot_nanos() >= end {
                return Ok(Ended::At(next));
            }
        }
        match reached {
            Reached::End => return Ok(Ended::Through),
            Reached::Slot(slot) if over => return Ok(Ended::At(next.max(slot))),
            Reached::Nothing if over => return Err(LookError::Silent(worker.queue)),
            Reached::Slot(_) | Reached::Nothing => std::thread::sleep(PAUSE),
        }
    }
}

fn sit(worker: &WorkerFace, first: u32, end: u64) -> Result<Sitting<'_>, LookError> {
    loop {
        if let Some(asker) = worker.desk.sit(first) {
            return Ok(asker);
        }
        if boot_nanos() >= end {
            return Err(LookError::Busy);
        }
        std::thread::sleep(PAUSE);
    }
}
