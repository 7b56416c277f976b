//! A pinned loop per queue.
//!
//! What it is: one thread that owns queue *q* of both ports and a shard of the flow table: receive,
//! judge, pass on what another worker owns, send, idle, beat. What it is not: it decides nothing about a packet.
//! It shares nothing that it waits for: counters and gauges are published, the policy is read through a cached pointer. [`Replay`] is
//! the same over captures, with their own time.

mod datapath;
mod desk;
mod ending;
mod face;
mod lanes;
mod mail;
mod replay;
mod run;
mod settle;
mod sides;
mod sleep;

pub use desk::{Copied, Desk, Reached, Sitting};
pub use face::{Gauges, Policy, WorkerFace};
pub use lanes::Lanes;
pub use replay::{End, Replay, Replayed};
pub use run::{Orders, Worker};
pub use sides::Sides;

/// What the protocols between workers stand on, so that a model checker can put its own there.
mod ground {
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
}
