//! `[group.G]`: multicast and broadcast destinations.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Group, Network, Workload};
use super::super::prefix::Prefix;
use super::super::source::Origin;
use super::document::{Fields, Keys, Text};
use super::findings::Findings;
use super::network::{prefix, some};
use super::sections::{Entry, Sections};

pub(super) const KEYS: Keys = Keys { known: &["addresses"], later: &[] };

/// Reads all groups, sorted by name. Networks tell broadcast addresses, workloads who else claims one.
pub(super) fn groups(
    sections: &Sections<'_>,
    networks: &[Network],
    workloads: &[Workload],
    findings: &mut Findings,
) -> Vec<Group> {
    let mut seen = BTreeMap::new();
    let mut groups = Vec::new();
    for entry in sections.as_written("group") {
        groups.extend(group(entry, networks, workloads, &mut seen, findings));
    }
    groups.sort_by(|one, two| one.name.cmp(&two.name));
    groups
}

fn group(
    entry: Entry<'_>,
    networks: &[Network],
    workloads: &[Workload],
    seen: &mut BTreeMap<Prefix, (Origin, String)>,
    findings: &mut Findings,
) -> Option<Group> {
    let name = entry.name.text;
    let fields = Fields::open(format!("group {name}"), entry.value, KEYS, findings)?;
    let list = fields.need("addresses", "addresses = [\"224.0.0.18\", \"ff02::12\"]", findings)?;
    let mut addresses = Vec::new();
    for text in some(list, findings) {
        let Some(found) = prefix(text, findings) else { continue };
        if !is_multicast(found) && !is_broadcast(found, networks) {
            let message = format!("{found} is no multicast or broadcast address");
            findings.say_with(Code::GroupAddress, text.origin, message, Code::GroupAddress.remedy());
            continue;
        }
        if once(found, text, name, workloads, seen, findings) {
            addresses.push(found);
        }
    }
    Some(Group { name: name.to_owned(), addresses, origin: entry.value.origin })
}

fn is_multicast(prefix: Prefix) -> bool {
    let shortest = if prefix.address.is_ipv4() { 4 } else { 8 };
    prefix.address.is_multicast() && prefix.length >= shortest
}

/// The limited broadcast, and the last address of a network that has one: of 31 bits or more there is none
/// (RFC 3021).
fn is_broadcast(prefix: Prefix, networks: &[Network]) -> bool {
    let IpAddr::V4(address) = prefix.address else { return false };
    let last = |network: &Prefix| match network.address {
        IpAddr::V4(first) => {
            let hosts = u32::MAX.checked_shr(u32::from(network.length)).unwrap_or(0);
            (1..31).contains(&network.length) && first.to_bits() | hosts == address.to_bits()
        }
        IpAddr::V6(_) => false,
    };
    prefix.is_host()
        && (address == Ipv4Addr::BROADCAST || networks.iter().flat_map(|n| &n.prefixes).any(last))
}

/// Enters an address, if no group and no workload has it.
fn once(
    prefix: Prefix,
    text: Text<'_>,
    name: &str,
    workloads: &[Workload],
    seen: &mut BTreeMap<Prefix, (Origin, String)>,
    findings: &mut Findings,
) -> bool {
    let report = if let Some((first, other)) = seen.get(&prefix) {
        let message = format!("{prefix} stands in group {name} and in group {other}");
        Diagnostic::new(Code::ClaimTwice, Some(text.origin), message)
            .related(*first, "first written here")
            .help("leave it to one of them; of different prefixes the most specific one wins")
    } else if let Some(workload) = workloads.iter().find(|w| w.addresses.contains(&prefix)) {
        let message = format!("{prefix} stands in group {name} and is claimed by {}", workload.name);
        Diagnostic::new(Code::ClaimTwice, Some(text.origin), message)
            .related(workload.origin, "claimed here")
            .help("no host has a broadcast address: leave it to one of them")
    } else {
        seen.insert(prefix, (text.origin, name.to_owned()));
        return true;
    };
    findings.push(report);
    false
}
