//! Fragments → the ports of their datagram. No reassembly.
//!
//! What it is: a bounded, timed memory of what the first fragment of a datagram tells (its ports, never a
//! verdict) and of which bytes were seen, so that a later fragment is judged like any packet with those
//! ports and one that contradicts the others is refused by name. What it is not: it holds no payload and no
//! frame (a token stands for it), asks no policy and reads no clock.
//!
//! Invariants: the fragments of one datagram that pass never overlap and never reach beyond its end
//! (RFC 5722, applied to IPv4 too). After a contradiction nothing more of that datagram passes until its
//! time is over. A token that was taken comes back exactly once. Nothing is allocated after creation.
//!
//! Cost: 128 bytes a datagram and 28 for its source; a fragment in order takes two hashes to open its
//! datagram and one after that.
//!
//! Bounds, each with its own [`FragmentRefusal`]: datagrams, datagrams a source, held fragments, held ones
//! a source, twelve separate spans a datagram, time. A full memory refuses rather than forgets: a datagram
//! pushed out by a flood would forget what contradicts it.

mod datagram;
mod held;
mod memory;
mod piece;
mod pool;
mod refusal;
mod spans;
#[cfg(test)]
mod tests;

pub use held::Release;
pub use memory::{Answer, FragmentCounts, FragmentMemory};
pub use piece::{DatagramKey, Piece, Ports, Position};
pub use refusal::FragmentRefusal;

/// The bounds of a memory of fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Incomplete datagrams.
    pub datagrams: u32,
    /// Incomplete datagrams of one source.
    pub datagrams_a_source: u32,
    /// Fragments that wait for their first.
    pub held: u32,
    /// Fragments of one source that wait for their first.
    pub held_a_source: u32,
    /// Ticks from a datagram's first seen fragment to its end; below 2³¹.
    pub timeout: u32,
}

impl FragmentLimits {
    /// Room for what a 10 Gbit/s wire with some loss leaves incomplete, 1 MiB; 30 s, which lies between the
    /// 15 s that RFC 791 §3.2 suggests and the 60 s a receiver waits (RFC 1122 §3.3.2, RFC 8200 §4.5): what
    /// the receiver could still complete afterwards is refused here, never the other way round.
    pub const DEFAULT: Self = Self {
        datagrams: 8_192,
        datagrams_a_source: 1_024,
        held: 256,
        held_a_source: 64,
        // 30 s in ticks of 2²⁴ ns, rounded up.
        timeout: 1_789,
    };
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
