//! The side of a packet in a capture that mixes both.
//!
//! What it is: a guess from the packet itself, in this order: what the caller says of MACs and addresses;
//! the side of the source address's network; the side on which the source's MAC is known, from the policy
//! or from an earlier packet; the other side of the destination's; outside. What the caller says takes the
//! policy's place. What it is not: a spoofed source
//! can't be told this way, unless the caller names the MACs inside.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::policy::prefix::Prefix;
use crate::policy::{Model, Table};
use crate::wire::{Facts, Mac, Net, Side};

/// What is known of who lives where.
#[derive(Debug, Default)]
pub struct Sides {
    inside_macs: Vec<Mac>,
    inside_nets: Vec<Prefix>,
    macs: HashMap<Mac, Side>,
}

impl Sides {
    /// By the networks and MACs of a policy; by these MACs and prefixes inside alone, where any are given.
    #[must_use]
    pub fn new(model: &Model, table: &Table, inside_macs: Vec<Mac>, inside_nets: Vec<Prefix>) -> Self {
        let mut macs = HashMap::new();
        if inside_macs.is_empty() && inside_nets.is_empty() {
            for network in &model.networks {
                macs.extend(network.via.iter().map(|mac| (*mac, network.side)));
            }
            for workload in &model.workloads {
                let side = workload.addresses.first().and_then(|prefix| table.network_side(prefix.address));
                macs.extend(workload.macs.iter().filter_map(|mac| Some((*mac, side?))));
            }
        }
        Self { inside_macs, inside_nets, macs }
    }

    /// The side that a frame came from.
    pub fn of(&mut self, table: &Table, frame: &[u8], facts: Option<&Facts>) -> Side {
        let source = facts.and_then(sender).filter(|address| tells(*address));
        let src = mac(frame, 6);
        let told = !self.inside_macs.is_empty() || !self.inside_nets.is_empty();
        let side = if told {
            let listed = src.is_some_and(|mac| self.inside_macs.contains(&mac));
            match source.filter(|_| !self.inside_nets.is_empty()) {
                _ if listed => Some(Side::Inside),
                Some(address) => Some(self.lies(address)),
                // MACs are all that is given: what is not listed is outside.
                None if self.inside_nets.is_empty() => Some(Side::Outside),
                None => None,
            }
        } else {
            source.and_then(|address| table.network_side(address))
        };
        if let (Some(side), Some(mac)) = (side, src) {
            self.macs.entry(mac).or_insert(side);
        }
        side.or_else(|| self.known(src))
            .or_else(|| self.known(mac(frame, 0)).map(Side::other))
            .unwrap_or(Side::Outside)
    }

    fn lies(&self, address: IpAddr) -> Side {
        let inside = self.inside_nets.iter().any(|prefix| prefix.contains(address));
        if inside { Side::Inside } else { Side::Outside }
    }

    fn known(&self, mac: Option<Mac>) -> Option<Side> {
        self.macs.get(&mac?).copied()
    }
}

fn mac(frame: &[u8], at: usize) -> Option<Mac> {
    frame.get(at..)?.first_chunk().map(|bytes| Mac(*bytes))
}

fn sender(facts: &Facts) -> Option<IpAddr> {
    match &facts.net {
        Net::Ip(ip) => Some(ip.src),
        Net::Arp(arp) => Some(arp.sender.into()),
        Net::Bpdu | Net::Other => None,
    }
}

/// Whether an address says where its owner lives: those that every network has, or nobody, do not.
fn tells(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast())
        }
        IpAddr::V6(v6) => {
            !(v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast())
        }
    }
}
