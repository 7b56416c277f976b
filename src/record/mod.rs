//! Events off the workers: a bounded log in memory.
//!
//! What it is: one thread that empties the workers' event rings into a log of the latest events, and
//! the names that make them readable. What it is not: nothing is written to disk, and nothing here can
//! hold a worker up: a ring that is not emptied in time loses events, which its worker counts.

mod collector;
mod cuts;
mod events;
#[cfg(test)]
pub(crate) mod fixture;
mod names;

pub use collector::Recorder;
pub use cuts::{CutList, CutPage, CutTally, NamedCut, RuleName, Taken};
pub use events::{Log, Page};
pub use names::{Generation, Names};
