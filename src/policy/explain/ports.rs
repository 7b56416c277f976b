//! The service of a question, and the one port of it that is shown.

use super::ends::{Decision, Way};
use super::{NotExplained, Query};
use crate::policy::model::Atom;
use crate::policy::read::{Loaded, service_atoms};
use crate::policy::services::ALL;
use crate::policy::stage::{Stage, has_dhcp};
use crate::policy::table::Table;
use crate::wire::protocol::{ICMP, ICMPV6, TCP, UDP, has_ports};
use crate::wire::{Housekeeping, Service, is_extension};

/// The first dynamic port (RFC 6335): a client's, where no rule says which.
pub(super) const DYNAMIC: u16 = 49_152;

/// The parts of the service that this family can have.
pub(super) fn atoms(policy: &Loaded, query: &Query, v4: bool) -> Result<Vec<Atom>, NotExplained> {
    let mut atoms = service_atoms(&query.service, &policy.model.services).map_err(NotExplained::Service)?;
    let (strange, family) = if v4 { (ICMPV6, "IPv4") } else { (ICMP, "IPv6") };
    atoms.retain(|atom| atom.protocol != strange);
    if atoms.is_empty() {
        return Err(NotExplained::ServiceFamily { service: query.service.clone(), family });
    }
    atoms.retain(|atom| v4 || !is_extension(atom.protocol));
    if atoms.is_empty() {
        return Err(NotExplained::Header(query.service.clone()));
    }
    Ok(atoms)
}

/// A packet of this port.
pub(super) fn probe(atom: Atom, port: u16) -> Service {
    let ported = has_ports(atom.protocol);
    let sport = match (ported, atom.from) {
        (false, _) => 0,
        (true, ALL) => DYNAMIC,
        (true, (first, _)) => first,
    };
    let dport = if ported { port.max(1) } else { port };
    Service { protocol: atom.protocol, sport, dport, readable: true }
}

/// `tcp/443`, `icmp/8`, `icmp/3.4`, `ip/50`.
pub(in crate::policy) fn text(service: Service) -> String {
    let [kind, code] = service.dport.to_be_bytes();
    match (service.protocol, code) {
        (TCP, _) => format!("tcp/{}", service.dport),
        (UDP, _) => format!("udp/{}", service.dport),
        (ICMP, 0) => format!("icmp/{kind}"),
        (ICMP, _) => format!("icmp/{kind}.{code}"),
        (ICMPV6, 0) => format!("icmpv6/{kind}"),
        (ICMPV6, _) => format!("icmpv6/{kind}.{code}"),
        (protocol, _) => format!("ip/{protocol}"),
    }
}

/// A decision in a word.
fn word(decision: &Decision) -> &'static str {
    match (decision.reason, decision.stage) {
        (Some(reason), _) => reason,
        (None, Stage::Profile(_)) => "forwarded by the profile",
        (None, Stage::Odd(_) | Stage::Inventory(_) | Stage::Quoted | Stage::Requested | Stage::Rules) => {
            "allow"
        }
    }
}

/// Where some of the service is DHCP and what is shown is not.
pub(super) fn dhcp(
    table: &Table,
    way: &Way<'_>,
    query: &Query,
    atoms: &[Atom],
    shown: Stage,
) -> Option<String> {
    let class = Housekeeping::Dhcp;
    let itself = matches!(shown, Stage::Inventory(_)) || shown == Stage::Profile(class);
    if itself || !atoms.iter().any(|atom| has_dhcp(way.from, way.to, *atom)) {
        return None;
    }
    let ports = if way.v4() { "67 and 68" } else { "546 and 547" };
    let says = super::says(table, class);
    Some(format!(
        "of {} what goes between ports {ports} in DHCP's form, [profile] decides: {says}",
        query.service
    ))
}

/// Whether the port that is shown stands for the whole service.
pub(super) fn note(
    table: &Table,
    way: &Way<'_>,
    query: &Query,
    atoms: &[Atom],
    shown: Decision,
) -> Option<String> {
    let ported = |atom: &Atom| [TCP, UDP, ICMP, ICMPV6].contains(&atom.protocol);
    // Runs of ports with one other answer: first, last, answer.
    let mut others: Vec<(Service, Service, &str)> = Vec::new();
    let mut several = atoms.len() > 1;
    for atom in atoms {
        let last = if ported(atom) { atom.to.1 } else { atom.to.0 };
        let icmp = atom.protocol == ICMP || atom.protocol == ICMPV6;
        several |= if icmp { atom.to.0 >> 8 != last >> 8 } else { atom.to.0 != last };
        let mut run = false;
        for port in atom.to.0..=last {
            let service = probe(*atom, port);
            let decision = way.decide(table, service, query.now);
            let other = decision.answer() != shown.answer();
            let word = word(&decision);
            match others.last_mut() {
                Some((_, end, before)) if run && other && *before == word => *end = service,
                Some(_) | None if other => others.push((service, service, word)),
                Some(_) | None => {}
            }
            run = other;
        }
    }
    if !several && others.is_empty() {
        return None;
    }
    let name = &query.service;
    let shown = text(probe(*atoms.first()?, atoms.first()?.to.0));
    if others.is_empty() {
        return Some(format!("{shown} stands for all of {name}: the rest gets the same answer"));
    }
    let words = others.iter().take(8).map(|(first, last, word)| {
        let ports =
            if first == last { text(*first) } else { format!("{} to {}", text(*first), text(*last)) };
        format!("{ports} {word}")
    });
    let words: Vec<String> = words.collect();
    let more = if others.len() > 8 { ", …" } else { "" };
    Some(format!("{shown} is shown; other answers within {name}: {}{more}", words.join(", ")))
}
