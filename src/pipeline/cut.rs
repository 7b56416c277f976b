//! Flows that a new policy ended, for whoever lists them.
//!
//! Bounded: a worker's ring holds [`RING`] until somebody takes them. Nobody waits for room: what finds the
//! ring full is counted.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;

use super::Reason;
use crate::policy::{Moment, RuleNumber};
use crate::wire::{Service, Side, Vlans};

/// Cuts a worker keeps until they are taken.
const RING: usize = 2_048;

/// One end of a flow: its address, and its port or an echo's identifier.
pub type End = (IpAddr, u16);

/// A flow that a new policy ended: `Copy`, no heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// When, on the gate's clock.
    pub at: Moment,
    /// Who opened it, and to whom.
    pub ends: [End; 2],
    /// What its opener asked for.
    pub service: Service,
    /// Tags of its frames.
    pub vlans: Vlans,
    /// The side its opener lives on.
    pub side: Side,
    /// Generation that had let it live.
    pub was_generation: u32,
    /// The rule that had let it live, or [`RuleNumber::NONE`].
    pub was: RuleNumber,
    /// Generation that ended it.
    pub generation: u32,
    /// Why.
    pub reason: Reason,
    /// The rule that ended it, or [`RuleNumber::NONE`].
    pub rule: RuleNumber,
    /// A packet of it came and was dropped; otherwise nobody touched it.
    pub by_packet: bool,
    /// Packets and bytes its opener sent, and its target.
    pub counts: [(u64, u64); 2],
}

/// The cuts of one worker, pushed by it alone.
#[derive(Debug)]
pub struct Cuts {
    ring: ArrayQueue<Cut>,
    lost: AtomicU64,
}

impl Default for Cuts {
    fn default() -> Self {
        Self::of(RING)
    }
}

impl Cuts {
    /// Room for so many, at least one.
    #[must_use]
    pub fn of(room: usize) -> Self {
        Self { ring: ArrayQueue::new(room.max(1)), lost: AtomicU64::new(0) }
    }

    /// Takes the oldest.
    pub fn take(&self) -> Option<Cut> {
        self.ring.pop()
    }

    /// Cuts that found the ring full: they happened, and nobody can list them.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Nothing waits to be taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Appends one. Only the worker that owns the list does.
    pub fn push(&self, cut: Cut) {
        if self.ring.push(cut).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
