//! A policy into a running wire: start, stop, take over, release.
//!
//! What it is not: it knows nothing of the API or of records; upper rooms read [`Shared`].

mod shared;

pub use shared::{BpfCounts, PortFace, Shared, XdpMode};

pub use crate::worker::{Gauges, Policy, WorkerFace};
