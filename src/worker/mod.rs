//! A pinned loop per queue.
//!
//! What it is: one thread that owns queue *q* of both ports and a shard of the flow table: receive,
//! judge, send, idle, beat. What it is not: it decides nothing about a packet. It shares nothing that it
//! waits for: counters and gauges are published, the policy is read through a cached pointer.

mod face;
mod run;

pub use face::{Gauges, Policy, WorkerFace};
pub use run::{Orders, Worker};
