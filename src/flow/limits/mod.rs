//! Limits on what one party may take: half-open connections of a destination, new flows and table space of
//! a source; replies to a party.
//!
//! What it is: four bounded counters, each with its own refusal. What it is not: it knows no flow and no
//! TCP; the caller says when something opens and closes, reads the clock and hands in the limits, so a new
//! policy may change them at any time. Invariants: what was counted once is uncounted once; nothing is
//! allocated after creation.
//!
//! [`HalfOpen`] is shared by all workers of a wire, the others belong to one worker each.

mod half_open;
mod rate;
mod replies;
mod share;
#[cfg(test)]
mod tests;

pub use half_open::{Destination, HalfOpen, HalfOpenSlot};
pub use rate::{NewFlows, Rate};
pub use replies::{Replies, ReplyLimits, ReplyRefusal};
pub use share::{ShareLimits, Shares};

/// The atomics that [`HalfOpen`] is built from, and its bounds: named here so that a model checker can put
/// its own in their place.
mod ground {
    pub(super) use std::hint::spin_loop;
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};

    /// Places in which a destination may stand.
    pub(super) const WAYS: usize = 8;
    /// Lost races after which an attempt is refused.
    pub(super) const ATTEMPTS: u32 = 64;
}

/// Why a limit turns a new flow away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum LimitRefusal {
    /// The destination has as many half-open connections as it may.
    HalfOpen,
    /// No place to count another destination's half-open connections.
    HalfOpenTableFull,
    /// Other workers were counting all the time.
    HalfOpenContended,
    /// The source opens flows too fast.
    SourceRate,
    /// The source has its share of the flow table.
    SourceShare,
    /// Flows opened from outside have their share of the flow table.
    OutsideShare,
}

impl LimitRefusal {
    /// All of them, in counter order.
    pub const ALL: [Self; 6] = [
        Self::HalfOpen,
        Self::HalfOpenTableFull,
        Self::HalfOpenContended,
        Self::SourceRate,
        Self::SourceShare,
        Self::OutsideShare,
    ];

    /// The name in counters, events and tests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HalfOpen => "half_open_limit",
            Self::HalfOpenTableFull => "half_open_table_full",
            Self::HalfOpenContended => "half_open_contended",
            Self::SourceRate => "source_rate",
            Self::SourceShare => "source_share",
            Self::OutsideShare => "outside_share",
        }
    }

    /// In words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::HalfOpen => "the destination has as many half-open connections as it may",
            Self::HalfOpenTableFull => "no place to count half-open connections of another destination",
            Self::HalfOpenContended => {
                "half-open connections could not be counted for other workers' haste"
            }
            Self::SourceRate => "the source opens new flows too fast",
            Self::SourceShare => "the source has its share of the flow table",
            Self::OutsideShare => "flows opened from outside have their share of the flow table",
        }
    }
}
