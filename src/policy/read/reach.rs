//! Findings that take the whole policy: what selectors mean among the workloads there are now.
//!
//! What it is: warnings, and the two errors that depend on who is a member of a zone. What it is not:
//! an evaluator. It looks at claims, not at packets, and knows neither tiers nor modes.

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::model::{Labels, Network, Selector, Tier, Workload, Zone};
use super::super::prefix::Prefix;
use super::super::selector::{Reading, Subject};
use super::super::source::Origin;
use super::findings::{Findings, listing};
use super::rule::Placed;
use crate::wire::Side;

/// Addresses of one claim that lie in the same networks.
struct Spot<'m> {
    workload: &'m Workload,
    /// The narrowest of its networks.
    network: Option<&'m Network>,
    networks: Vec<&'m str>,
    /// Its workload's, then those of its networks, narrowest first.
    labels: Labels,
    /// Zones it is a member of.
    zones: Vec<&'m str>,
    /// One address, so it can hold an account.
    host: bool,
}

impl<'m> Spot<'m> {
    /// The networks come narrowest first.
    fn new(workload: &'m Workload, prefix: Prefix, networks: &[&'m Network]) -> Self {
        let mut labels = workload.labels.clone();
        for (key, value) in networks.iter().flat_map(|network| &network.labels) {
            labels.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Self {
            workload,
            network: networks.first().copied(),
            networks: networks.iter().map(|network| network.name.as_str()).collect(),
            labels,
            zones: Vec::new(),
            host: prefix.is_host(),
        }
    }

    fn side(&self) -> Option<Side> {
        self.network.map(|network| network.side)
    }

    fn is_selected(&self, selector: &Selector, reading: Reading) -> bool {
        let subject = Subject {
            workload: Some(&self.workload.name),
            account: self.workload.service_account.as_deref(),
            held: self.host,
            labels: &self.labels,
            networks: &self.networks,
            zones: &self.zones,
        };
        selector.matches(&subject, reading)
    }
}

/// Reports what only the whole policy shows.
pub(super) fn check(
    networks: &[Network],
    workloads: &[Workload],
    zones: &[Zone],
    rules: &[Placed],
    findings: &mut Findings,
) {
    let mut spots = spots(networks, workloads);
    for spot in &mut spots {
        let member = |zone: &&Zone| spot.is_selected(&zone.members, Reading::ByAddress);
        let zones = zones.iter().filter(member).map(|zone| zone.name.as_str()).collect();
        spot.zones = zones;
    }
    // What an error took out of the model would show as missing: no warnings then.
    let complete = !findings.has_errors();
    for zone in zones.iter().filter(|_| complete) {
        if !spots.iter().any(|spot| spot.zones.contains(&zone.name.as_str())) {
            let message = format!("zone {} has no members now", zone.name);
            findings.say_with(Code::EmptyZone, zone.origin, message, Code::EmptyZone.remedy());
        }
    }
    if complete {
        without_mac(&spots, findings);
    }
    let mut inside = spots.iter().filter(|spot| spot.side() == Some(Side::Inside));
    let zone_inside = inside.find_map(|spot| spot.zones.first().copied());
    for placed in rules {
        let reading = match placed.rule.tier {
            Tier::Guardrail | Tier::Deny => Reading::ByAddress,
            Tier::Allow => Reading::Assumed,
        };
        let selected = |selector: &Selector| -> Vec<&Spot<'_>> {
            spots.iter().filter(|spot| spot.is_selected(selector, reading)).collect()
        };
        let (from, to) = (selected(&placed.rule.from), selected(&placed.rule.to));
        if placed.rule.tier == Tier::Allow {
            allow(placed, &from, &to, zone_inside, findings);
        }
        if !complete {
            continue;
        }
        empty(placed, &placed.rule.from, placed.from, &from, "from", findings);
        empty(placed, &placed.rule.to, placed.to, &to, "to", findings);
        one_side(placed, &from, &to, findings);
    }
}

/// Each claim, and each network within one.
fn spots<'m>(networks: &'m [Network], workloads: &'m [Workload]) -> Vec<Spot<'m>> {
    let mut prefixes: Vec<(Prefix, &Network)> = networks
        .iter()
        .flat_map(|network| network.prefixes.iter().map(move |prefix| (*prefix, network)))
        .collect();
    prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.length));
    let mut spots = Vec::new();
    let mut place = |workload, inner: Prefix| {
        let holds = |(outer, _): &&(Prefix, &Network)| {
            outer.length <= inner.length && outer.contains(inner.address)
        };
        let mut around: Vec<_> = prefixes.iter().filter(holds).map(|(_, network)| *network).collect();
        // The narrowest gives the side; a wider one on the other side is not its network.
        let side = around.first().map(|network| network.side);
        around.retain(|network| Some(network.side) == side);
        spots.push(Spot::new(workload, inner, &around));
    };
    for workload in workloads {
        for claim in &workload.addresses {
            place(workload, *claim);
            let within =
                |(inner, _): &&(Prefix, _)| inner.length > claim.length && claim.contains(inner.address);
            prefixes.iter().filter(within).for_each(|(inner, _)| place(workload, *inner));
        }
    }
    spots
}

/// Without a MAC a claim from the inside can't be told from a forgery.
fn without_mac(spots: &[Spot<'_>], findings: &mut Findings) {
    let bare = |spot: &&Spot<'_>| {
        spot.side() == Some(Side::Inside)
            && spot.workload.macs.is_empty()
            && spot.network.is_some_and(|network| network.via.is_empty())
    };
    let mut named: Vec<&Workload> = spots.iter().filter(bare).map(|spot| spot.workload).collect();
    named.dedup_by_key(|workload| &workload.name);
    let Some(first) = named.iter().min_by_key(|w| (w.origin.file, w.origin.start)) else { return };
    let names = listing(named.iter().map(|workload| workload.name.as_str()));
    let message = if named.len() == 1 {
        format!("workload {names} is inside and has no MAC written")
    } else {
        format!("{} workloads are inside and have no MAC written: {names}", named.len())
    };
    let help = "write `macs`, or `via` of their network: without, every zone inside governs their frames";
    findings.say_with(Code::NoMac, first.origin, message, help);
}

fn allow(
    placed: &Placed,
    from: &[&Spot<'_>],
    to: &[&Spot<'_>],
    zone_inside: Option<&str>,
    findings: &mut Findings,
) {
    let rule = &placed.rule;
    let unknown = |selector: &Selector| match selector {
        Selector::Any | Selector::Except(_) => false,
        Selector::Match(matched) => matched.unknown,
    };
    let names_zone = |selector: &Selector| match selector {
        Selector::Any | Selector::Except(_) => None,
        Selector::Match(matched) => matched.zones.first().cloned(),
    };
    // Unknown addresses inside are members of every zone that has members there.
    let zone = |selector: &Selector, spots: &[&Spot<'_>]| {
        names_zone(selector)
            .or_else(|| spots.iter().find_map(|spot| spot.zones.first().map(|zone| (*zone).to_owned())))
            .or_else(|| zone_inside.filter(|_| unknown(selector)).map(str::to_owned))
    };
    let into = zone(&rule.to, to);
    if rule.services.any
        && let Some(zone) = into.clone().or_else(|| zone(&rule.from, from))
    {
        let message = format!("{} allows any service and touches zone {zone}", rule.full_id());
        let help = "name the services: an allow that touches a zone can't say any";
        findings.say_with(Code::AnyIntoZone, placed.services, message, help);
    }
    let wide = unknown(&rule.from) || unknown(&rule.to);
    if let Some(zone) = into.filter(|_| wide) {
        let at = if unknown(&rule.from) { placed.from } else { placed.to };
        let message = format!("{} lets unknown addresses into zone {zone}", rule.full_id());
        findings.say_with(Code::UnknownIntoZone, at, message, Code::UnknownIntoZone.remedy());
    }
}

fn empty(
    placed: &Placed,
    selector: &Selector,
    at: Origin,
    spots: &[&Spot<'_>],
    end: &str,
    findings: &mut Findings,
) {
    let Selector::Match(matched) = selector else { return };
    if spots.is_empty() && !matched.unknown {
        let message = format!("{} has no effect: empty", placed.rule.full_id());
        let report = Diagnostic::new(Code::NoEffect, Some(at), message)
            .label(format!("no workload matches `{end}` now"));
        findings.push(report);
    }
}

fn one_side(placed: &Placed, from: &[&Spot<'_>], to: &[&Spot<'_>], findings: &mut Findings) {
    let side = |selector: &Selector, spots: &[&Spot<'_>]| match selector {
        Selector::Match(matched) if !matched.unknown => {
            let first = spots.first()?.side()?;
            spots.iter().all(|spot| spot.side() == Some(first)).then_some(first)
        }
        Selector::Any | Selector::Except(_) | Selector::Match(_) => None,
    };
    let rule = &placed.rule;
    if let (Some(one), Some(two)) = (side(&rule.from, from), side(&rule.to, to))
        && one == two
    {
        let message = format!("{}: both ends lie {one}, so this gate never sees it", rule.full_id());
        findings.say_with(Code::OneSide, rule.origin, message, Code::OneSide.remedy());
    }
}
