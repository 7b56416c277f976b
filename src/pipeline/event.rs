//! The fixed-size record of a packet that did not cross, or would not have.

use std::net::IpAddr;

use super::Reason;
use crate::policy::{Mode, Moment, RuleNumber};
use crate::wire::{Mac, Service, Side, Vlans};

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The packet was dropped.
    Drop,
    /// It was dropped, and who sent it was told so.
    Reject,
    /// It was forwarded; under enforcement it would have been dropped.
    WouldDrop,
    /// It was forwarded, and the rule that allowed it says `log`.
    Allow,
    /// A new policy ended a flow that nobody used just then: no packet, both MACs and the length are zero.
    Cut,
}

/// One event: `Copy`, no heap, made on the packet path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, on the gate's clock.
    pub at: Moment,
    /// What happened.
    pub kind: EventKind,
    /// Arriving side.
    pub side: Side,
    /// Why; `None` for [`EventKind::Allow`].
    pub reason: Option<Reason>,
    /// The rule that decided, or [`RuleNumber::NONE`].
    pub rule: RuleNumber,
    /// Generation whose rule numbers these are.
    pub generation: u32,
    /// The mode that governed.
    pub mode: Mode,
    /// Source MAC; zero where it cannot be seen.
    pub src_mac: Mac,
    /// Destination MAC.
    pub dst_mac: Mac,
    /// Tags.
    pub vlans: Vlans,
    /// Ethertype; 0 where it cannot be seen.
    pub ethertype: u16,
    /// Addresses, where there are any.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Protocol and ports, where there are any.
    pub service: Option<Service>,
    /// Frame length.
    pub length: u32,
}
