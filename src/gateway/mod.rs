//! A policy into a running wire: start, stop, take over, release.
//!
//! What it is not: it knows nothing of the API or of records; upper rooms read [`Shared`].

mod shared;

pub use shared::{BpfCounts, Gauges, Policy, PortFace, Shared, WorkerFace, XdpMode};
