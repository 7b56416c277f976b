//! Housekeeping that may cross, held against the inventory.
//!
//! What it is: who an ARP message, a neighbour discovery message or a DHCP packet speaks for, and the reason
//! why it may not. What it is not: the inventory ([`Table::contradicts`]), nor the profile. Every reason here
//! obeys the mode: of ARP the strictest on the wire, of what has IP addresses its own (POLICY.md §6). Cost:
//! two lookups a claim, and none of it for a packet of a flow.

use std::net::{IpAddr, Ipv4Addr};

use super::stages::{Objection, on_the_wire, sender};
use super::{Exempt, Outcome, Pipeline, Reason, Scene};
use crate::policy::{Claim, Mismatch, RuleNumber, Table};
use crate::wire::discovery::{
    Discovery, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
};
use crate::wire::{Arp, Facts, Housekeeping, Ip, L4, Mac, Net, Side, Vlans, is_link_local};

/// Where a frame came from.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    table: &'a Table,
    source: Mac,
    vlans: Vlans,
    side: Side,
}

/// What speaks against who asks whether an address is free.
enum Astray {
    Vlan,
    Mac,
    Source,
}

impl Pipeline {
    /// A frame that the profile forwards.
    #[inline(never)]
    pub(super) fn housekept(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        class: Housekeeping,
        frame: &[u8],
    ) -> Outcome {
        let here =
            Arrival { table: scene.table, source: facts.src_mac, vlans: facts.vlans, side: scene.side };
        let objection = match &facts.net {
            Net::Arp(arp) => here.arp(arp).map(|reason| on_the_wire(scene, reason)),
            Net::Ip(ip) => here.packet(ip, frame).map(|(reason, claimed)| Objection {
                reason,
                mode: scene.table.mode_of_claim(
                    sender(facts, ip),
                    claimed,
                    ip.dst,
                    ip.service(),
                    scene.side,
                    scene.asked,
                ),
                rule: RuleNumber::NONE,
            }),
            Net::Bpdu | Net::Other => None,
        };
        if let Some(objection) = objection {
            return self.object(scene, facts, objection);
        }
        if let Net::Ip(ip) = &facts.net {
            self.exempt(scene, Exempt::of_housekeeping(ip, class));
        }
        Outcome::Forward
    }
}

impl Arrival<'_> {
    /// Who sends ARP says that the sender's address has the sender's MAC; who probes an address (RFC 5227)
    /// is about to.
    fn arp(&self, arp: &Arp) -> Option<Reason> {
        if self.table.is_own(arp.sender.into()) {
            return Some(Reason::GateAddress);
        }
        if !arp.is_sound() {
            return Some(Reason::ArpMalformed);
        }
        if arp.is_probe() {
            return self.probe(arp.target.into(), arp.sender_mac).map(|wrong| match wrong {
                Astray::Vlan => Reason::WrongVlan,
                Astray::Mac => Reason::ArpWrongMac,
                Astray::Source => Reason::ArpWrongSource,
            });
        }
        let claim = Claim { address: arp.sender.into(), mac: arp.sender_mac, source: self.source };
        let mismatch =
            self.table.contradicts(&claim, self.vlans, self.side).map(|mismatch| match mismatch {
                Mismatch::Side => Reason::ArpWrongSide,
                Mismatch::Mac => Reason::ArpWrongMac,
                Mismatch::Source => Reason::ArpWrongSource,
            });
        let named = arp.target != Ipv4Addr::UNSPECIFIED;
        mismatch.or_else(|| {
            (named && !self.table.lists(arp.target.into(), self.vlans)).then_some(Reason::WrongVlan)
        })
    }

    /// What speaks against a packet, and the address that it speaks for.
    fn packet(&self, ip: &Ip, frame: &[u8]) -> Option<(Reason, IpAddr)> {
        if self.table.is_own(ip.src) {
            return Some((Reason::GateAddress, ip.src));
        }
        match ip.l4 {
            L4::Icmp(icmp) => match icmp.kind {
                ROUTER_SOLICITATION..=NEIGHBOUR_ADVERTISEMENT => self.discovery(icmp.kind, ip, frame),
                // MLD: from a link-local address, or from none.
                _ => None,
            },
            // DHCP: from a link-local address, from none, or from one that belongs here.
            L4::Tcp(_)
            | L4::Udp { .. }
            | L4::Sctp { .. }
            | L4::Other
            | L4::Absent
            | L4::Remembered { .. } => {
                let belongs = ip.src.is_unspecified()
                    || is_link_local(ip.src)
                    || self.table.belongs(ip.src, self.vlans, self.side);
                (!belongs).then_some((Reason::Spoofed, ip.src))
            }
        }
    }

    fn discovery(&self, kind: u8, ip: &Ip, frame: &[u8]) -> Option<(Reason, IpAddr)> {
        let Some(Discovery { target, mac }) = Discovery::read(frame) else {
            return Some((Reason::NdpMalformed, ip.src));
        };
        let target = target.map(IpAddr::V6);
        let named = mac.unwrap_or(self.source);
        let known = !ip.src.is_unspecified();
        let sent = |mac| if known { self.claim(ip.src, mac) } else { None };
        match kind {
            NEIGHBOUR_ADVERTISEMENT => {
                sent(self.source).or_else(|| target.and_then(|target| self.claim(target, named)))
            }
            // Duplicate address detection: the sender is about to take the target for its own.
            NEIGHBOUR_SOLICITATION if !known => target.and_then(|target| {
                let reason = match self.probe(target, named)? {
                    Astray::Vlan => Reason::WrongVlan,
                    Astray::Mac => Reason::NdpWrongMac,
                    Astray::Source => Reason::NdpWrongSource,
                };
                Some((reason, target))
            }),
            NEIGHBOUR_SOLICITATION => sent(named).or_else(|| {
                let target = target.filter(|target| !self.table.lists(*target, self.vlans))?;
                Some((Reason::WrongVlan, target))
            }),
            ROUTER_ADVERTISEMENT => sent(named).or_else(|| {
                let other = |mac| self.table.is_router(mac, self.vlans, self.side) == Some(false);
                (other(self.source) || other(named)).then_some((Reason::NdpNoRouter, ip.src))
            }),
            _ => sent(named),
        }
    }

    /// What speaks against asking whether an address is free. Whoever asks on the other side than its holder's
    /// must be heard by the holder, who alone defends it (RFC 5227 §2.1.1, RFC 4862 §5.4.3); nobody learns
    /// anything from the question. On the holder's own side only its own MACs may take it.
    fn probe(&self, address: IpAddr, mac: Mac) -> Option<Astray> {
        let claim = Claim { address, mac, source: self.source };
        match self.table.contradicts(&claim, self.vlans, self.side)? {
            Mismatch::Mac => Some(Astray::Mac),
            Mismatch::Source => Some(Astray::Source),
            Mismatch::Side if !self.table.lists(address, self.vlans) => Some(Astray::Vlan),
            Mismatch::Side if mac != self.source => Some(Astray::Source),
            Mismatch::Side => None,
        }
    }

    fn claim(&self, address: IpAddr, mac: Mac) -> Option<(Reason, IpAddr)> {
        if self.table.is_own(address) {
            return Some((Reason::GateAddress, address));
        }
        let claim = Claim { address, mac, source: self.source };
        let reason = match self.table.contradicts(&claim, self.vlans, self.side)? {
            Mismatch::Side => Reason::NdpWrongSide,
            Mismatch::Mac => Reason::NdpWrongMac,
            Mismatch::Source => Reason::NdpWrongSource,
        };
        Some((reason, address))
    }
}
