//! Where link-local addresses of IPv6 live, as far as the inventory tells.
//!
//! What it is: each link has all of them and a wire is one link, so no network says the side of one. Two
//! things do: the workload that claims it, if all its other addresses lie on one side; and the MAC in an
//! identifier that was made of one (RFC 4291 appendix A), if it is written, for workloads or routers of one
//! side only. What it is not: it learns nothing from traffic. Invariant: what nothing tells may live anywhere.
//! Cost: at most two lookups in hash tables.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

use super::model::Model;
use crate::wire::{Mac, Side, is_link_local};

/// What a table knows of such addresses.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// `None`: on both sides.
    claimed: HashMap<IpAddr, Option<Side>>,
    macs: HashMap<Mac, Option<Side>>,
}

impl Link {
    /// `side` tells where any other address lies.
    pub(super) fn new(model: &Model, side: impl Fn(IpAddr) -> Option<Side>) -> Self {
        let mut link = Self::default();
        for network in &model.networks {
            for mac in &network.via {
                note(&mut link.macs, *mac, network.side);
            }
        }
        for workload in &model.workloads {
            let routed = workload.addresses.iter().filter(|prefix| !is_link_local(prefix.address));
            // Both sides are soon known, however many addresses there are.
            let mut sides: Vec<Side> = Vec::new();
            for side in routed.filter_map(|prefix| side(prefix.address)) {
                if !sides.contains(&side) {
                    sides.push(side);
                }
            }
            let local = || workload.addresses.iter().filter(|p| p.is_host() && is_local_host(p.address));
            for side in sides {
                for mac in &workload.macs {
                    note(&mut link.macs, *mac, side);
                }
                for prefix in local() {
                    note(&mut link.claimed, prefix.address, side);
                }
            }
        }
        link
    }

    /// The side that a link-local address lives on, where something tells.
    pub(super) fn side(&self, address: IpAddr) -> Option<Side> {
        let IpAddr::V6(v6) = address else { return None };
        let claimed = self.claimed.get(&address).copied();
        claimed.or_else(|| self.macs.get(&mac_of(v6)?).copied()).flatten()
    }
}

fn note<T: Eq + Hash>(known: &mut HashMap<T, Option<Side>>, what: T, side: Side) {
    let noted = known.entry(what).or_insert(Some(side));
    if *noted != Some(side) {
        *noted = None;
    }
}

fn is_local_host(address: IpAddr) -> bool {
    address.is_ipv6() && is_link_local(address)
}

/// The MAC that an identifier was made of.
fn mac_of(address: Ipv6Addr) -> Option<Mac> {
    let [.., first, m1, m2, 0xff, 0xfe, m3, m4, m5] = address.octets() else { return None };
    Some(Mac([first ^ 2, m1, m2, m3, m4, m5]))
}
