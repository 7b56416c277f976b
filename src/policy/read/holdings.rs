//! Whose addresses there are, as selectors see them.
//!
//! What it is: each claim, and what is left of each network for nobody, with the networks around it; then one
//! *example* of all that selectors can't tell apart. What it is not: it knows no rule, and zones only as its
//! user fills them in. Invariant: every address of a wire is in exactly one holding or is a group's. Cost: one
//! sort of all prefixes, and a walk up the networks for each claim.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use super::super::hash::Quick;
use super::super::model::{Labels, Network, Workload};
use super::super::prefix::Prefix;
use super::super::selector::Subject;
use crate::wire::Side;

/// Addresses of one claim, or of nobody, that lie in the same networks.
pub(super) struct Holding<'m> {
    /// `None`: no workload claims them.
    pub(super) workload: Option<&'m Workload>,
    /// Narrowest first; all of them on its side.
    pub(super) networks: Vec<&'m Network>,
    /// Its claim is one address, so it can hold an account.
    pub(super) host: bool,
}

/// One holding for all that selectors do not tell from it, as they see it.
pub(super) struct Example<'m> {
    pub(super) workload: Option<&'m Workload>,
    /// The narrowest of its networks.
    network: Option<&'m Network>,
    networks: Vec<&'m str>,
    /// Its workload's, then those of its networks, narrowest first.
    labels: Labels,
    /// Zones it is a member of.
    pub(super) zones: Vec<&'m str>,
    /// Its claim is one address, so it can hold an account.
    host: bool,
}

/// What selectors can tell apart: holdings with the same are selected together, or not at all.
#[derive(PartialEq, Eq, Hash)]
struct Alike<'m> {
    claimed: bool,
    /// Only where a selector names it.
    name: Option<&'m str>,
    account: Option<&'m str>,
    host: bool,
    networks: Vec<&'m str>,
    /// Its workload's own; the rest is its networks'.
    labels: Option<&'m Labels>,
}

/// The first holding of each kind. `named` tells the workloads that selectors name.
pub(super) fn examples<'m>(holdings: &[Holding<'m>], named: impl Fn(&str) -> bool) -> Vec<Example<'m>> {
    let mut seen: HashSet<Alike<'m>, Quick> = HashSet::default();
    let first = holdings.iter().filter(|holding| {
        let workload = holding.workload;
        let name = workload.map(|workload| workload.name.as_str());
        seen.insert(Alike {
            claimed: workload.is_some(),
            name: name.filter(|name| named(name)),
            account: workload.and_then(|workload| workload.service_account.as_deref()),
            host: holding.host,
            networks: holding.networks.iter().map(|network| network.name.as_str()).collect(),
            labels: workload.map(|workload| &workload.labels),
        })
    });
    first.map(Example::new).collect()
}

impl Holding<'_> {
    pub(super) fn side(&self) -> Option<Side> {
        self.networks.first().map(|network| network.side)
    }

    /// No router's MAC is written in front of it.
    pub(super) fn is_direct(&self) -> bool {
        self.networks.first().is_some_and(|network| network.via.is_empty())
    }
}

impl<'m> Example<'m> {
    fn new(holding: &Holding<'m>) -> Self {
        let Holding { workload, networks, host } = holding;
        let mut labels = workload.map_or_else(Labels::new, |workload| workload.labels.clone());
        for (key, value) in networks.iter().flat_map(|network| &network.labels) {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Self {
            workload: *workload,
            network: networks.first().copied(),
            networks: networks.iter().map(|network| network.name.as_str()).collect(),
            labels,
            zones: Vec::new(),
            host: *host,
        }
    }

    pub(super) fn side(&self) -> Option<Side> {
        self.network.map(|network| network.side)
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            workload: self.workload.map(|workload| workload.name.as_str()),
            account: self.workload.and_then(|workload| workload.service_account.as_deref()),
            held: self.host,
            labels: &self.labels,
            networks: &self.networks,
            zones: &self.zones,
            group: None,
            // A lease may be renewed: what the policy means does not hang on it.
            lapsed: None,
        }
    }
}

/// A prefix of a network, and the prefix around it.
struct Nested<'m> {
    prefix: Prefix,
    /// Its place in the order of the networks.
    number: usize,
    network: &'m Network,
    around: Option<usize>,
}

/// All prefixes of networks, each after those that hold it.
fn nest(networks: &[Network]) -> Vec<Nested<'_>> {
    let prefixes = networks.iter().flat_map(|network| network.prefixes.iter().map(move |p| (*p, network)));
    let mut nested: Vec<Nested<'_>> = prefixes
        .enumerate()
        .map(|(number, (prefix, network))| Nested { prefix, number, network, around: None })
        .collect();
    nested.sort_by_key(|one| (one.prefix, Reverse(one.number)));
    let mut path: Vec<(usize, Prefix)> = Vec::new();
    for (place, one) in nested.iter_mut().enumerate() {
        while path.pop_if(|(_, outer)| !outer.contains(one.prefix.address)).is_some() {}
        one.around = path.last().map(|(outer, _)| *outer);
        path.push((place, one.prefix));
    }
    nested
}

/// Each claim, and each network within one; then what of each network nobody claims.
pub(super) fn holdings<'m>(networks: &'m [Network], workloads: &'m [Workload]) -> Vec<Holding<'m>> {
    let nested = nest(networks);
    let mut holdings = Vec::new();
    let mut hold = |workload: Option<&'m Workload>, host, held: Prefix| {
        let before = nested.partition_point(|one| one.prefix <= held).checked_sub(1);
        let mut next = before;
        let mut around = Vec::new();
        while let Some(one) = next.and_then(|place| nested.get(place)) {
            if one.prefix.contains(held.address) {
                around.push(one.network);
            }
            next = one.around;
        }
        // The narrowest gives the side; a wider one on the other side is not its network.
        let side = around.first().map(|network| network.side);
        around.retain(|network| Some(network.side) == side);
        holdings.push(Holding { workload, networks: around, host });
    };
    for workload in workloads {
        for claim in &workload.addresses {
            // What a claim of many addresses has in a network of one is no host's.
            let host = claim.is_host();
            hold(Some(workload), host, *claim);
            let after = nested.partition_point(|one| one.prefix <= *claim);
            let after = nested.get(after..).unwrap_or_default().iter();
            let mut within: Vec<&Nested<'_>> =
                after.take_while(|one| claim.contains(one.prefix.address)).collect();
            within.sort_by_key(|one| (Reverse(one.prefix.length), one.number));
            for inner in within {
                hold(Some(workload), host, inner.prefix);
            }
        }
    }
    for prefix in unclaimed(networks, workloads) {
        hold(None, false, prefix);
    }
    holdings
}

/// A prefix on the way down to the current one.
struct Open {
    prefix: Prefix,
    /// By itself or by one around it.
    claimed: bool,
    /// Addresses of the prefixes directly inside it, modulo 2^128.
    filled: u128,
    /// There are some.
    parted: bool,
}

impl Open {
    fn is_free(&self) -> bool {
        !(self.claimed || self.parted && self.filled == self.prefix.size())
    }
}

/// Prefixes of networks with an address that neither a claim nor a narrower network has.
fn unclaimed(networks: &[Network], workloads: &[Workload]) -> Vec<Prefix> {
    let own = networks.iter().flat_map(|network| &network.prefixes).map(|prefix| (*prefix, false));
    let claims = workloads.iter().flat_map(|workload| &workload.addresses).map(|claim| (*claim, true));
    let all: BTreeMap<Prefix, bool> = own.chain(claims).collect();
    let (mut path, mut free): (Vec<Open>, Vec<Prefix>) = (Vec::new(), Vec::new());
    // By family, address and length: a prefix follows those that hold it.
    for (prefix, claim) in all {
        while let Some(done) = path.pop_if(|open| !open.prefix.contains(prefix.address)) {
            free.extend(done.is_free().then_some(done.prefix));
        }
        let mut claimed = claim;
        if let Some(around) = path.last_mut() {
            around.filled = around.filled.wrapping_add(prefix.size());
            around.parted = true;
            claimed |= around.claimed;
        }
        path.push(Open { prefix, claimed, filled: 0, parted: false });
    }
    free.extend(path.into_iter().rev().filter(Open::is_free).map(|done| done.prefix));
    free
}

#[cfg(test)]
mod tests {
    use super::super::super::sample;
    use super::super::super::source::Origin;
    use super::*;
    use crate::wire::Vlans;

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| sample::prefix(text)).collect()
    }

    fn network(name: &str, side: Side, texts: &[&str]) -> Network {
        Network {
            name: name.into(),
            side,
            prefixes: prefixes(texts),
            vlans: vec![Vlans::UNTAGGED],
            via: Vec::new(),
            labels: Labels::new(),
            origin: Origin::default(),
        }
    }

    fn workload(texts: &[&str]) -> Workload {
        Workload {
            name: "w".into(),
            addresses: prefixes(texts),
            labels: Labels::new(),
            service_account: None,
            macs: Vec::new(),
            owner: None,
            valid_until: None,
            heard: None,
            origin: Origin::default(),
        }
    }

    #[test]
    fn what_of_a_network_nobody_claims_is_a_holding_of_its_own() {
        let networks = [
            network("all", Side::Outside, &["0.0.0.0/0", "::/0"]),
            network("full", Side::Inside, &["10.0.0.0/30", "2001:db8::/127"]),
            network("half", Side::Inside, &["10.0.1.0/24"]),
            network("part", Side::Inside, &["10.0.1.128/25"]),
            network("within", Side::Inside, &["10.9.0.0/24"]),
        ];
        let workloads = [workload(&[
            "10.0.0.0",
            "10.0.0.1",
            "10.0.0.2/31",
            "10.0.1.0/25",
            "10.9.0.0/16",
            "2001:db8::",
        ])];
        let free = unclaimed(&networks, &workloads);
        assert_eq!(free, prefixes(&["10.0.1.128/25", "0.0.0.0/0", "2001:db8::/127", "::/0"]));
        let all = holdings(&networks, &workloads);
        let nobodys = all.iter().filter(|holding| holding.workload.is_none());
        let around: Vec<Vec<&str>> =
            nobodys.map(|holding| holding.networks.iter().map(|n| n.name.as_str()).collect()).collect();
        assert_eq!(around, [vec!["part", "half"], vec!["all"], vec!["full"], vec!["all"]]);
        assert_eq!(all.len(), 4 + workloads[0].addresses.len() + 1, "and a network within a claim");
    }

    #[test]
    fn one_address_of_a_claim_of_many_holds_no_account() {
        let networks = [
            network("all", Side::Outside, &["0.0.0.0/0"]),
            network("one", Side::Outside, &["10.0.0.7", "10.0.1.7"]),
        ];
        let workloads = [workload(&["10.0.0.0/24", "10.0.1.7"])];
        let claimed: Vec<(usize, bool)> = holdings(&networks, &workloads)
            .iter()
            .filter(|holding| holding.workload.is_some())
            .map(|holding| (holding.networks.len(), holding.host))
            .collect();
        assert_eq!(claimed, [(1, false), (2, false), (2, true)]);
    }
}
