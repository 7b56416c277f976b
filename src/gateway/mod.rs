//! A policy into a running wire: start, publish, stop, take over, release.
//!
//! What it is not: it knows nothing of the API or of records; upper rooms read [`Shared`]. Invariant: no
//! frame is passed on before a worker with a compiled policy beats its heart, and a start that fails
//! leaves nothing behind.

mod look;
mod past;
mod place;
#[cfg(feature = "xdp")]
mod placement;
mod publish;
mod release;
mod shared;
mod start;
mod stray;

pub use look::{Cursor, LookError};
pub use place::{Place, PlaceError};
pub use publish::{Fixed, PublishError, Published, Publishing, Took, Tried};
pub use release::{ReleaseError, Released, abandon, release};
pub use shared::{BpfCounts, PortFace, PortState, Shared, XdpMode};
#[cfg(feature = "xdp")]
pub use start::foresee;
pub use start::{Running, StartError, permitted, start};
pub use stray::{Holder, Stray};

pub use crate::worker::{Gauges, Policy, WorkerFace};
