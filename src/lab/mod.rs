//! A rig of namespaces and veth pairs to try the gate in.
//!
//! What it is: hosts outside and inside, two switches and a place for the gate; traffic between them;
//! the demo. What it is not: no production code comes here, and it touches no interface, namespace or
//! process that it did not make. Invariant: whatever fails, `down` leaves nothing behind.

pub mod demo;
pub mod ground;
pub mod link;
mod name;
pub mod namespace;
pub mod probe;
pub mod process;
mod rig;
mod serve;
pub mod stream;
pub mod topology;

pub use name::{LabName, NotALabName};
pub use rig::{Error, Lab, Removed, Status};
pub use serve::{Error as ServeError, serve};
