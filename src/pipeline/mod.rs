//! What happens to a burst.
//!
//! What it is: the list of stages, the outcome of every packet, drop reasons, counters and events.
//! What it is not: it takes bytes and gives outcomes; rings, clocks and descriptors are the worker's.
//! Nothing here allocates, locks, logs or formats once a [`Pipeline`] is made.

mod account;
mod again;
mod connection;
mod counters;
mod cut;
mod event;
mod exempt;
mod fragment;
mod neighbour;
mod openers;
mod outcome;
mod owners;
mod reason;
mod reply;
mod review;
mod stages;
#[cfg(test)]
mod twin;

pub use account::{Account, Answer, Standing};
pub use counters::{Counters, SideSnapshot, Snapshot};
pub use cut::{Cut, Cuts, End};
pub use event::{Event, EventKind};
pub use exempt::Exempt;
pub use outcome::{Outcome, Pass, Released};
pub use reason::{Kind, Reason};
pub use reply::Unsent;
pub use review::Present;
pub use stages::{BURST, Pipeline, Scene};
