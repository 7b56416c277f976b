//! The flag bits of an entry (FLOWS.md §1).

/// A set of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(pub(super) u16);

impl Flags {
    /// Its bits, or none.
    #[inline]
    pub(super) const fn when(self, on: bool) -> u16 {
        if on { self.0 } else { 0 }
    }

    /// Holds a flow. Cleared first and set last.
    pub(super) const LIVE: Self = Self(1);
    /// IPv6.
    pub(super) const V6: Self = Self(1 << 1);
    /// The end `a` lives outside.
    pub(super) const A_OUTSIDE: Self = Self(1 << 2);
    /// The end `a` opened it.
    pub(super) const A_OPENED: Self = Self(1 << 3);
    /// Enforcement would drop its packets; the rule's word says why.
    pub(super) const WOULD_DROP: Self = Self(1 << 4);
    /// Mode in force: neither bit is observe.
    pub(super) const SIMULATE: Self = Self(1 << 5);
    /// Mode in force.
    pub(super) const ENFORCE: Self = Self(1 << 6);
    /// TCP: the handshake is complete. Others: seen both ways.
    pub(super) const CONFIRMED: Self = Self(1 << 7);
    /// Its SYN counts among its destination's half-open connections.
    pub(super) const HALF_OPEN: Self = Self(1 << 8);
    /// The next segment of `a` is taken as it is.
    pub(super) const RESYNC_A: Self = Self(1 << 9);
    /// The next segment of `b` is taken as it is.
    pub(super) const RESYNC_B: Self = Self(1 << 10);
    /// Its first packet was not seen: the opener is a guess.
    pub(super) const UNSEEN: Self = Self(1 << 11);
    /// The MAC of its opening frame was one of those written for its source.
    pub(super) const MAC_TRUE: Self = Self(1 << 15);
}
