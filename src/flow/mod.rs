//! Packets → connections, one table a worker.
//!
//! What it is: who opened a connection, what was judged of it, how it stands. What it is not: it asks no
//! policy and reads no clock; verdicts and time are handed in. Bounded: the table never grows past its
//! capacity and never allocates after it was made. All state is reached through [`Owner::of`].

mod bounds;
mod bucket;
mod entry;
mod flags;
pub mod fragments;
mod hash;
pub mod limits;
mod owner;
mod region;
pub mod rss;
mod slot;
mod source;
mod table;
pub mod tcp;
#[cfg(test)]
mod tests;
mod timeouts;

use flags::Flags;

pub use bounds::Bounds;
pub use entry::{First, Judgement, Now, Opening, Progress, tick, ticks_in};
pub use hash::{BATCH, random_secret};
pub use owner::Owner;
pub use region::Region;
pub use slot::{MOST_RULES, Slot};
pub use source::{Party, Source, SourceHash};
pub use table::{Batch, FlowId, FlowTable, Hint};
pub use tcp::Phase;
pub use timeouts::Timeouts;

/// Why the flow table turns a packet away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No place left.
    TableFull,
    /// A party has taken what it may.
    Limit(limits::LimitRefusal),
    /// TCP without a SYN, and no flow it belongs to.
    TcpNoSession,
    /// An ICMP answer or error, and no flow it belongs to.
    IcmpNoFlow,
    /// The packet of a flow arrives on the side its sender does not live on.
    WrongSide,
}
