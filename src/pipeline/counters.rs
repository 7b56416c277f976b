//! The counters of one worker: written by it alone, read by anyone.
//!
//! A writer brackets each burst with [`Counters::begin`] and [`Counters::end`] (a sequence lock), so a
//! snapshot shows whole bursts only and FLOWS.md's equation holds in every one of them.

use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::{Exempt, Reason, Unsent};
use crate::wire::Side;

#[derive(Debug)]
struct SideCounters {
    rx_packets: AtomicU64,
    rx_bytes: AtomicU64,
    forwarded_packets: AtomicU64,
    forwarded_bytes: AtomicU64,
    held: AtomicU64,
    taken_over: AtomicU64,
    handed_over: AtomicU64,
    loose: AtomicU64,
    dropped: [AtomicU64; Reason::COUNT],
    would_drop: [AtomicU64; Reason::COUNT],
    rejected: [AtomicU64; Reason::COUNT],
    replies: AtomicU64,
    reply_bytes: AtomicU64,
    unsent: [AtomicU64; Unsent::COUNT],
    exempt: [AtomicU64; Exempt::COUNT],
}

/// Counters of one worker, both sides. In lines of their own, two at a time as processors fetch them: a neighbour's
/// writes would take them away.
#[derive(Debug)]
#[repr(align(128))]
pub struct Counters {
    epoch: AtomicU64,
    sides: [SideCounters; 2],
    events_lost: AtomicU64,
    bursts: AtomicU64,
}

/// The counters of packets that arrived on one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideSnapshot {
    /// Taken from the RX ring.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Put into the other port's TX ring.
    pub forwarded_packets: u64,
    /// Their bytes.
    pub forwarded_bytes: u64,
    /// Fragments that wait for their first now.
    pub held: u64,
    /// Taken over from other workers, who received them on this side.
    pub taken_over: u64,
    /// Passed on to other workers.
    pub handed_over: u64,
    /// Forwarded as the start of a flow whose first packet was not seen.
    pub loose: u64,
    /// Dropped, by [`Reason::index`].
    pub dropped: [u64; Reason::COUNT],
    /// Forwarded, but enforcement would have dropped them, by [`Reason::index`].
    pub would_drop: [u64; Reason::COUNT],
    /// Dropped and answered, by [`Reason::index`].
    pub rejected: [u64; Reason::COUNT],
    /// Replies put into this side's own TX ring.
    pub replies: u64,
    /// Their bytes.
    pub reply_bytes: u64,
    /// Dropped without the reply that a rule wanted, by [`Unsent::index`].
    pub unsent: [u64; Unsent::COUNT],
    /// Crossed by an exemption from what is said of addresses, by [`Exempt::index`]: of a flow its first packet,
    /// of everything else each.
    pub exempt: [u64; Exempt::COUNT],
}

/// A consistent copy of a worker's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// By [`Side::index`].
    pub sides: [SideSnapshot; 2],
    /// Events that found their ring full.
    pub events_lost: u64,
    /// Bursts that held at least one packet.
    pub bursts: u64,
}

impl SideSnapshot {
    /// `rx + taken over = forwarded + Σ dropped + Σ rejected + handed over + held`: nothing unaccounted for
    /// (FLOWS.md §5).
    #[must_use]
    pub fn balances(&self) -> bool {
        let ended = self.dropped.iter().chain(&self.rejected).sum::<u64>();
        self.rx_packets + self.taken_over == self.forwarded_packets + ended + self.handed_over + self.held
    }
}

// One writer: a plain load and store are enough and cost no lock prefix.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl Default for Counters {
    fn default() -> Self {
        fn zeros() -> [AtomicU64; Reason::COUNT] {
            [const { AtomicU64::new(0) }; Reason::COUNT]
        }
        fn side() -> SideCounters {
            SideCounters {
                rx_packets: AtomicU64::new(0),
                rx_bytes: AtomicU64::new(0),
                forwarded_packets: AtomicU64::new(0),
                forwarded_bytes: AtomicU64::new(0),
                held: AtomicU64::new(0),
                taken_over: AtomicU64::new(0),
                handed_over: AtomicU64::new(0),
                loose: AtomicU64::new(0),
                dropped: zeros(),
                would_drop: zeros(),
                rejected: zeros(),
                replies: AtomicU64::new(0),
                reply_bytes: AtomicU64::new(0),
                unsent: [const { AtomicU64::new(0) }; Unsent::COUNT],
                exempt: [const { AtomicU64::new(0) }; Exempt::COUNT],
            }
        }
        Self {
            epoch: AtomicU64::new(0),
            sides: [side(), side()],
            events_lost: AtomicU64::new(0),
            bursts: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// Opens a burst. Only the worker that owns the counters calls the writing methods.
    pub fn begin(&self) {
        add(&self.epoch, 1);
        fence(Ordering::Release);
    }

    /// Closes a burst.
    pub fn end(&self) {
        let epoch = self.epoch.load(Ordering::Relaxed);
        self.epoch.store(epoch.wrapping_add(1), Ordering::Release);
    }

    fn side(&self, side: Side) -> &SideCounters {
        let [outside, inside] = &self.sides;
        match side {
            Side::Outside => outside,
            Side::Inside => inside,
        }
    }

    /// A burst came from the RX ring.
    pub fn received(&self, side: Side, packets: u64, bytes: u64) {
        add(&self.bursts, 1);
        let c = self.side(side);
        add(&c.rx_packets, packets);
        add(&c.rx_bytes, bytes);
    }

    /// A burst came from another worker, who received it on this side.
    pub fn took_over(&self, side: Side, packets: u64) {
        add(&self.bursts, 1);
        add(&self.side(side).taken_over, packets);
    }

    /// A packet was passed on to another worker.
    pub fn handed_over(&self, side: Side) {
        add(&self.side(side).handed_over, 1);
    }

    /// A packet went into the other port's TX ring.
    pub fn forwarded(&self, side: Side, packets: u64, bytes: u64) {
        let c = self.side(side);
        add(&c.forwarded_packets, packets);
        add(&c.forwarded_bytes, bytes);
    }

    /// A packet was dropped.
    pub fn dropped(&self, side: Side, reason: Reason) {
        if let Some(c) = self.side(side).dropped.get(reason.index()) {
            add(c, 1);
        }
    }

    /// A packet was dropped, and a reply of so many bytes was put into its own side's TX ring.
    pub fn rejected(&self, side: Side, reason: Reason, bytes: u64) {
        let c = self.side(side);
        if let Some(rejected) = c.rejected.get(reason.index()) {
            add(rejected, 1);
        }
        add(&c.replies, 1);
        add(&c.reply_bytes, bytes);
    }

    /// A packet is dropped without the reply that a rule wanted.
    pub fn unsent(&self, side: Side, why: Unsent) {
        if let Some(c) = self.side(side).unsent.get(why.index()) {
            add(c, 1);
        }
    }

    /// A packet crosses by an exemption.
    pub fn exempt(&self, side: Side, by: Exempt) {
        if let Some(c) = self.side(side).exempt.get(by.index()) {
            add(c, 1);
        }
    }

    /// A fragment began to wait for its first.
    pub fn held(&self, side: Side) {
        add(&self.side(side).held, 1);
    }

    /// A fragment waits no longer.
    pub fn released(&self, side: Side) {
        let held = &self.side(side).held;
        held.store(held.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// A packet was forwarded that enforcement would have dropped.
    pub fn would_drop(&self, side: Side, reason: Reason) {
        if let Some(c) = self.side(side).would_drop.get(reason.index()) {
            add(c, 1);
        }
    }

    /// A packet started a flow whose first packet was not seen.
    pub fn loose(&self, side: Side) {
        add(&self.side(side).loose, 1);
    }

    /// An event found its ring full.
    pub fn event_lost(&self) {
        add(&self.events_lost, 1);
    }

    /// A consistent copy. Retries while the worker is inside a burst.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        loop {
            let before = self.epoch.load(Ordering::Acquire);
            let copy = self.copy();
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.epoch.load(Ordering::Relaxed) == before {
                return copy;
            }
            std::thread::yield_now();
        }
    }

    fn copy(&self) -> Snapshot {
        let by_reason = |counts: &[AtomicU64; Reason::COUNT]| {
            std::array::from_fn(|i| counts.get(i).map_or(0, |c| c.load(Ordering::Relaxed)))
        };
        let side = |s: &SideCounters| SideSnapshot {
            rx_packets: s.rx_packets.load(Ordering::Relaxed),
            rx_bytes: s.rx_bytes.load(Ordering::Relaxed),
            forwarded_packets: s.forwarded_packets.load(Ordering::Relaxed),
            forwarded_bytes: s.forwarded_bytes.load(Ordering::Relaxed),
            held: s.held.load(Ordering::Relaxed),
            taken_over: s.taken_over.load(Ordering::Relaxed),
            handed_over: s.handed_over.load(Ordering::Relaxed),
            loose: s.loose.load(Ordering::Relaxed),
            dropped: by_reason(&s.dropped),
            would_drop: by_reason(&s.would_drop),
            rejected: by_reason(&s.rejected),
            replies: s.replies.load(Ordering::Relaxed),
            reply_bytes: s.reply_bytes.load(Ordering::Relaxed),
            unsent: std::array::from_fn(|i| s.unsent.get(i).map_or(0, |c| c.load(Ordering::Relaxed))),
            exempt: std::array::from_fn(|i| s.exempt.get(i).map_or(0, |c| c.load(Ordering::Relaxed))),
        };
        let [outside, inside] = &self.sides;
        Snapshot {
            sides: [side(outside), side(inside)],
            events_lost: self.events_lost.load(Ordering::Relaxed),
            bursts: self.bursts.load(Ordering::Relaxed),
        }
    }
}
