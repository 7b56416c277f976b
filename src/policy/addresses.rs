//! Addresses that may not be an end of a connection, whatever rules say (FIREWALL-REQUIREMENTS F1.6g, F1.7).
//!
//! What it is: the gate's own, link-local ones unless `[gate] link_local` forwards them, and unique local ones
//! of no network of the wire. What it is not: what a parser finds odd by itself. Invariant: it is part of
//! [`super::Table::judge`], so what a new policy forbids ends flows that live. Cost: a look at the first
//! bytes of both addresses; more only for the addresses it is about.

use std::net::IpAddr;

use super::model::{Model, Network};
use super::prefix::Prefix;
use super::verdict::{Action, Denial};
use crate::wire::is_link_local;

/// What a table knows of such addresses.
#[derive(Debug)]
pub(super) struct Addresses {
    own: Vec<IpAddr>,
    link_local: Action,
    /// First and last of each run of unique local addresses that networks list; sorted, apart.
    unique_local: Vec<(u128, u128)>,
}

impl Addresses {
    pub(super) fn new(model: &Model) -> Self {
        let mut listed: Vec<(u128, u128)> =
            model.networks.iter().flat_map(|network: &Network| &network.prefixes).filter_map(run).collect();
        listed.sort_unstable();
        let mut unique_local: Vec<(u128, u128)> = Vec::new();
        for (first, last) in listed {
            match unique_local.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                Some(_) | None => unique_local.push((first, last)),
            }
        }
        Self { own: model.gate.management.clone(), link_local: model.gate.link_local, unique_local }
    }

    /// What speaks against a connection between these addresses.
    #[inline]
    pub(super) fn denial(&self, src: IpAddr, dst: IpAddr) -> Option<Denial> {
        if !self.own.is_empty() && (self.is_own(src) || self.is_own(dst)) {
            Some(Denial::GateAddress)
        } else if self.link_local == Action::Drop && (is_link_local(src) || is_link_local(dst)) {
            Some(Denial::LinkLocal)
        } else if self.is_stray(src) || self.is_stray(dst) {
            Some(Denial::UniqueLocal)
        } else {
            None
        }
    }

    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    pub(super) fn forwards_link_local(&self) -> bool {
        self.link_local == Action::Forward
    }

    /// A unique local address that no network lists.
    #[inline]
    fn is_stray(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V6(v6) if v6.is_unique_local() => {
                let bits = v6.to_bits();
                let before = self.unique_local.partition_point(|(first, _)| *first <= bits);
                let run = before.checked_sub(1).and_then(|run| self.unique_local.get(run));
                run.is_none_or(|(_, last)| *last < bits)
            }
            IpAddr::V4(_) | IpAddr::V6(_) => false,
        }
    }
}

/// The addresses of a prefix, if all of them are unique local ones: one that says only "everything else" lists
/// none.
fn run(prefix: &Prefix) -> Option<(u128, u128)> {
    match prefix.address {
        IpAddr::V6(first) if first.is_unique_local() && prefix.length >= 7 => {
            let hosts = u128::MAX.checked_shr(u32::from(prefix.length)).unwrap_or(0);
            Some((first.to_bits(), first.to_bits() | hosts))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
