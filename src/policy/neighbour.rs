//! What ARP, neighbour discovery and DHCP say, held against the inventory (POLICY.md §2, §6).
//!
//! What it is: whether who speaks for an address may do so from where it stands, and the mode that governs
//! who may not. What it is not: it reads no frame and drops nothing. Invariant: it shares
//! [`Table::binding`] with everything else that asks where an address belongs. Cost: two lookups a claim,
//! two judgements for a mode; no allocation.
//!
//! Link-local addresses of IPv6 have no side but what their workload or the MAC in them tells (`link`): each
//! link has all of them, and a wire is one link. Only a workload that claims one has it for itself. Where no MAC is written for a workload, or nobody claims the
//! address, any MAC may speak for it, from its side and VLANs.

use std::net::{IpAddr, Ipv6Addr};

use super::table::Table;
use super::verdict::{Mode, Moment, Sender, SenderMac};
use crate::wire::discovery::{
    NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION, is_sound,
};
use crate::wire::{Mac, Service, Side, Vlans, is_link_local};

/// Somebody speaks for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// The MAC that it is said to have.
    pub mac: Mac,
    /// The MAC that the frame comes from.
    pub source: Mac,
}

/// How a claim contradicts the inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mismatch {
    /// The address does not belong to this side, or its network does not list the VLAN.
    Side,
    /// The MAC is not one of those written for the address.
    Mac,
    /// The frame comes from another MAC than the one it names, and they are not both written for the
    /// address, as those of two routers that share one are (RFC 9568 §8.1.2).
    Source,
}

/// What speaks against neighbour discovery or DHCP that says nothing but who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misspoken {
    /// Discovery for an address of the other side or another VLAN.
    WrongSide,
    /// With a MAC that is not written for it.
    WrongMac,
    /// A router advertisement of none of this side's routers.
    NoRouter,
    /// Discovery that its receivers must ignore.
    Malformed,
    /// It asks for an address of another VLAN.
    WrongVlan,
    /// It comes from the gate's own address.
    GateAddress,
    /// DHCP from an address of the other side or another VLAN.
    Spoofed,
}

impl Misspoken {
    /// As counters and events have it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WrongSide => "ndp_wrong_side",
            Self::WrongMac => "ndp_wrong_mac",
            Self::NoRouter => "ndp_no_router",
            Self::Malformed => "ndp_malformed",
            Self::WrongVlan => "wrong_vlan",
            Self::GateAddress => "gate_address",
            Self::Spoofed => "spoofed",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::WrongSide | Self::Spoofed => "its source does not belong to this side or VLAN",
            Self::GateAddress => "its source is an address of the gate itself",
            Self::WrongMac => "its MAC is not written for its source",
            Self::NoRouter => "its MAC is not one of this side's routers",
            Self::Malformed => "no host may take it, sent between these addresses",
            Self::WrongVlan => "its VLAN is not one of the network it asks about",
        }
    }
}

impl Table {
    /// What speaks against neighbour discovery of this type that speaks for its own source and names no other
    /// MAC than its frame's.
    pub(super) fn misspoken(&self, kind: u8, sender: Sender, dst: IpAddr, side: Side) -> Option<Misspoken> {
        let Sender { address, mac, vlans } = sender;
        if !is_sound(kind, address, dst) {
            return Some(Misspoken::Malformed);
        }
        let mac = match mac {
            SenderMac::Seen(mac) => Some(mac),
            SenderMac::Assumed | SenderMac::Stranger => None,
        };
        if !matches!(kind, ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT) || address.is_unspecified() {
            return None;
        }
        let claim = |mac| self.contradicts(&Claim { address, mac, source: mac }, vlans, side);
        let routes = |mac| kind != ROUTER_ADVERTISEMENT || self.is_router(mac, vlans, side) != Some(false);
        match mac.and_then(claim) {
            Some(Mismatch::Side) => Some(Misspoken::WrongSide),
            Some(Mismatch::Mac | Mismatch::Source) => Some(Misspoken::WrongMac),
            None if !self.belongs(address, vlans, side) => Some(Misspoken::WrongSide),
            None if !mac.is_none_or(routes) => Some(Misspoken::NoRouter),
            None if kind == NEIGHBOUR_SOLICITATION && !self.lists(dst, vlans) => Some(Misspoken::WrongVlan),
            None => None,
        }
    }

    /// What is wrong with a claim that arrives here.
    #[must_use]
    pub fn contradicts(&self, claim: &Claim, vlans: Vlans, side: Side) -> Option<Mismatch> {
        if !self.belongs(claim.address, vlans, side) {
            return Some(Mismatch::Side);
        }
        let binding = self.binding(claim.address)?;
        if binding.knows(claim.mac) == Some(false) {
            return Some(Mismatch::Mac);
        }
        let both = || binding.writes(claim.mac) && binding.writes(claim.source);
        (claim.mac != claim.source && !both()).then_some(Mismatch::Source)
    }

    /// Whether an address belongs where a frame with these tags arrived.
    #[must_use]
    pub fn belongs(&self, address: IpAddr, vlans: Vlans, side: Side) -> bool {
        if everywhere(address) {
            return self.link.side(address).is_none_or(|home| home == side);
        }
        self.binding(address).is_some_and(|binding| binding.side == side && binding.vlans.contains(&vlans))
    }

    /// Whether frames with these tags may ask for an address.
    #[must_use]
    pub fn lists(&self, address: IpAddr, vlans: Vlans) -> bool {
        everywhere(address) || self.binding(address).is_none_or(|binding| binding.vlans.contains(&vlans))
    }

    /// Whether the MAC is one of the routers written for the networks of this side and VLAN; `None` where
    /// none is written.
    #[must_use]
    pub fn is_router(&self, mac: Mac, vlans: Vlans, side: Side) -> Option<bool> {
        let here = self.networks.iter().filter(|n| n.side == side && n.vlans.contains(&vlans));
        let mut routers = here.flat_map(|network| &network.via).peekable();
        routers.peek()?;
        Some(routers.any(|via| *via == mac))
    }

    /// The mode that governs housekeeping with IP addresses: as of any packet, and as of one from the
    /// address that it speaks for. A link-local destination may be any host of the far side.
    #[must_use]
    pub fn mode_of_claim(
        &self,
        sender: Sender,
        claimed: IpAddr,
        dst: IpAddr,
        service: Service,
        side: Side,
        now: Moment,
    ) -> Mode {
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let dst = if everywhere(dst) { ALL_NODES.into() } else { dst };
        let of = |address| self.judge(Sender { address, ..sender }, dst, service, side, now).mode;
        of(sender.address).max(of(claimed))
    }
}

/// Link-local addresses of IPv6.
fn everywhere(address: IpAddr) -> bool {
    address.is_ipv6() && is_link_local(address)
}
