//! A policy into a running wire: start, stop, take over, release.
//!
//! What it is not: it knows nothing of the API or of records; upper rooms read [`Shared`]. Invariant: no
//! frame is passed on before a worker with a compiled policy beats its heart, and a start that fails
//! leaves nothing behind.

mod place;
mod shared;
mod start;

pub use place::{Place, PlaceError};
pub use shared::{BpfCounts, PortFace, PortState, Shared, XdpMode};
pub use start::{ReleaseError, Released, Running, StartError, permitted, release, start};

pub use crate::worker::{Gauges, Policy, WorkerFace};
