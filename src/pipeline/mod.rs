//! What happens to a burst.
//!
//! What it is: the list of stages, the outcome of every packet, drop reasons, counters and events.
//! What it is not: it takes bytes and gives outcomes; rings, clocks and descriptors are the worker's.

mod counters;
mod event;
mod reason;

pub use counters::{Counters, SideSnapshot, Snapshot};
pub use event::{Event, EventKind};
pub use reason::{Kind, Reason};
