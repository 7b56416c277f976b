//! How a packet ends, as the worker is told.

use super::Reason;
use crate::wire::{Reply, Side};

/// What the worker does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send it by the other port; a place there was reserved before it was judged.
    Forward,
    /// Recycle it.
    Drop(Reason),
    /// Write this over it and send it back by the port it came from; there is a place for it. Without one it is
    /// recycled: a drop for the same reason.
    Reject(Reason, Reply),
    /// Keep it in this place until [`Released`] tells its end: a fragment that came before its first.
    Hold(u32),
    /// Pass it to another worker: the one that owns its flow, or the one that remembers its datagram.
    HandOver(Pass),
}

/// To whom a frame is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The worker.
    pub worker: u16,
    /// Where [`Pipeline::told_with`](super::Pipeline::told_with) finds what goes along with a fragment, plus 1; 0:
    /// nothing does.
    pub(super) piece: u16,
}

impl Pass {
    /// To a worker that asks all there is to ask.
    pub(super) fn to(worker: u32) -> Self {
        // There are far fewer; nobody has this number.
        Self { worker: u16::try_from(worker).unwrap_or(u16::MAX), piece: 0 }
    }
}

/// How the waiting of a held frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// The place it is kept in.
    pub place: u32,
    /// The side it came from.
    pub side: Side,
    /// What becomes of it.
    pub outcome: Outcome,
}
