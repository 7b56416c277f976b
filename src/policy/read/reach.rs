//! Findings that take the whole policy: what selectors mean among the workloads there are now.
//!
//! What it is: warnings, and the two errors that depend on who is a member of a zone. What it is not:
//! an evaluator. It looks at claims, not at packets, and knows neither tiers nor modes. Cost: claims, and for
//! each selector the *kinds* of claims that have the rarest of its keys: claims with the same labels in the
//! same networks stand for each other, however many there are.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::hash::Quick;
use super::super::model::{Labels, Network, Selector, Tier, Workload, Zone};
use super::super::postings::Postings;
use super::super::prefix::Prefix;
use super::super::selector::{Reading, Subject};
use super::super::source::Origin;
use super::findings::{Findings, listing};
use super::rule::Placed;
use crate::wire::Side;

/// Addresses of one claim that lie in the same networks.
struct Place<'m> {
    workload: &'m Workload,
    /// Narrowest first; all of them on its side.
    networks: Vec<&'m Network>,
    /// One address, so it can hold an account.
    host: bool,
}

/// The same, as selectors see it.
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

/// What selectors can tell apart: claims with the same are selected together, or not at all.
#[derive(PartialEq, Eq, Hash)]
struct Kind<'m> {
    /// Only where a selector names it.
    name: Option<&'m str>,
    account: Option<&'m str>,
    host: bool,
    networks: Vec<&'m str>,
    /// Its workload's own; the rest is its networks'.
    labels: &'m Labels,
}

/// The first claim of each kind. `named` tells the workloads that selectors name.
fn kinds<'m>(places: &[Place<'m>], named: impl Fn(&str) -> bool) -> Vec<Spot<'m>> {
    let mut seen: HashSet<Kind<'m>, Quick> = HashSet::default();
    let first = places.iter().filter(|place| {
        let name = place.workload.name.as_str();
        seen.insert(Kind {
            name: named(name).then_some(name),
            account: place.workload.service_account.as_deref(),
            host: place.host,
            networks: place.networks.iter().map(|network| network.name.as_str()).collect(),
            labels: &place.workload.labels,
        })
    });
    first.map(Spot::new).collect()
}

impl Place<'_> {
    fn side(&self) -> Option<Side> {
        self.networks.first().map(|network| network.side)
    }
}

impl<'m> Spot<'m> {
    fn new(place: &Place<'m>) -> Self {
        let Place { workload, networks, host } = place;
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
            host: *host,
        }
    }

    fn side(&self) -> Option<Side> {
        self.network.map(|network| network.side)
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            workload: Some(&self.workload.name),
            account: self.workload.service_account.as_deref(),
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

/// What is to be known of those whom a selector means.
#[derive(Clone, Copy, Default)]
struct Meant<'m> {
    nobody: bool,
    /// The first zone of the first that is in one.
    zone: Option<&'m str>,
    /// Their sides, in the order of the first of each.
    sides: [Option<Side>; 2],
    /// The one side that all of them lie at.
    side: Option<Side>,
}

impl<'m> Meant<'m> {
    fn of<'s>(spots: impl Iterator<Item = &'s Spot<'m>>) -> Self
    where
        'm: 's,
    {
        let mut meant = Self { nobody: true, ..Self::default() };
        for spot in spots {
            let side = spot.side();
            meant.side = if meant.nobody { side } else { meant.side.filter(|one| side == Some(*one)) };
            meant.nobody = false;
            meant.zone = meant.zone.or_else(|| spot.zones.first().copied());
            if !meant.sides.contains(&side)
                && let Some(free) = meant.sides.iter_mut().find(|free| free.is_none())
            {
                *free = side;
            }
        }
        meant
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
    let selectors = rules.iter().flat_map(|placed| [&placed.rule.from, &placed.rule.to]);
    let selectors = selectors.chain(zones.iter().map(|zone| &zone.members));
    let names: HashSet<&str> =
        selectors.flat_map(Selector::parts).flat_map(|keys| &keys.names).map(String::as_str).collect();
    by_kind(networks, workloads, zones, rules, |name| names.contains(name), findings);
}

fn by_kind(
    networks: &[Network],
    workloads: &[Workload],
    zones: &[Zone],
    rules: &[Placed],
    named: impl Fn(&str) -> bool,
    findings: &mut Findings,
) {
    let places = places(networks, workloads);
    // What an error took out of the model would show as missing: no warnings then.
    let complete = !findings.has_errors();
    if complete {
        without_mac(&places, findings);
    }
    let mut spots = kinds(&places, named);
    for spot in &mut spots {
        let member = |zone: &&Zone| zone.members.matches(&spot.subject(), Reading::ByAddress);
        let zones = zones.iter().filter(member).map(|zone| zone.name.as_str()).collect();
        spot.zones = zones;
    }
    let peopled: BTreeSet<&str> = spots.iter().flat_map(|spot| &spot.zones).copied().collect();
    for zone in zones.iter().filter(|zone| complete && !peopled.contains(zone.name.as_str())) {
        let message = format!("zone {} has no members now", zone.name);
        findings.say_with(Code::EmptyZone, zone.origin, message, Code::EmptyZone.remedy());
    }
    let zone_at = Side::BOTH.map(|side| {
        let mut here = spots.iter().filter(|spot| spot.side() == Some(side));
        here.find_map(|spot| spot.zones.first().copied())
    });
    let postings = Postings::of(spots.iter().map(Spot::subject));
    let mut known: HashMap<(&Selector, Reading), Meant<'_>, Quick> = HashMap::default();
    for placed in rules {
        let reading = match placed.rule.tier {
            Tier::Guardrail | Tier::Deny => Reading::ByAddress,
            Tier::Exception | Tier::Allow => Reading::Assumed,
        };
        let [from, to] = [&placed.rule.from, &placed.rule.to].map(|selector| {
            *known.entry((selector, reading)).or_insert_with(|| {
                let candidates = postings.candidates(selector);
                let spots =
                    candidates.iter().filter_map(|n| usize::try_from(*n).ok().and_then(|n| spots.get(n)));
                Meant::of(spots.filter(|spot| selector.matches(&spot.subject(), reading)))
            })
        });
        if placed.rule.tier == Tier::Allow {
            allow(placed, &from, &to, zone_at, findings);
        }
        if !complete {
            continue;
        }
        empty(placed, &placed.rule.from, placed.from, &from, "from", findings);
        empty(placed, &placed.rule.to, placed.to, &to, "to", findings);
        one_side(placed, &from, &to, findings);
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

/// Each claim, and each network within one.
fn places<'m>(networks: &'m [Network], workloads: &'m [Workload]) -> Vec<Place<'m>> {
    let nested = nest(networks);
    let mut places = Vec::new();
    let mut place = |workload, inner: Prefix| {
        let before = nested.partition_point(|one| one.prefix <= inner).checked_sub(1);
        let mut next = before;
        let mut around = Vec::new();
        while let Some(one) = next.and_then(|place| nested.get(place)) {
            if one.prefix.contains(inner.address) {
                around.push(one.network);
            }
            next = one.around;
        }
        // The narrowest gives the side; a wider one on the other side is not its network.
        let side = around.first().map(|network| network.side);
        around.retain(|network| Some(network.side) == side);
        places.push(Place { workload, networks: around, host: inner.is_host() });
    };
    for workload in workloads {
        for claim in &workload.addresses {
            place(workload, *claim);
            let after = nested.partition_point(|one| one.prefix <= *claim);
            let after = nested.get(after..).unwrap_or_default().iter();
            let mut within: Vec<&Nested<'_>> =
                after.take_while(|one| claim.contains(one.prefix.address)).collect();
            within.sort_by_key(|one| (Reverse(one.prefix.length), one.number));
            for inner in within {
                place(workload, inner.prefix);
            }
        }
    }
    places
}

/// Without a MAC a claim from the inside can't be told from a forgery.
fn without_mac(places: &[Place<'_>], findings: &mut Findings) {
    let bare = |place: &&Place<'_>| {
        place.side() == Some(Side::Inside)
            && place.workload.macs.is_empty()
            && place.networks.first().is_some_and(|network| network.via.is_empty())
    };
    let mut named: Vec<&Workload> = places.iter().filter(bare).map(|place| place.workload).collect();
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
    from: &Meant<'_>,
    to: &Meant<'_>,
    zone_at: [Option<&str>; 2],
    findings: &mut Findings,
) {
    let rule = &placed.rule;
    let [zone_outside, zone_inside] = zone_at;
    let unknown = |selector: &Selector| match selector {
        Selector::Any | Selector::Except(_) => false,
        Selector::Match(matched) => matched.unknown,
    };
    let names_zone = |selector: &Selector| match selector {
        Selector::Any | Selector::Except(_) => None,
        Selector::Match(matched) => matched.zones.first().cloned(),
    };
    // Unknown addresses inside are members of every zone that has members there.
    let zone = |selector: &Selector, meant: &Meant<'_>| {
        names_zone(selector)
            .or_else(|| meant.zone.map(str::to_owned))
            .or_else(|| zone_inside.filter(|_| unknown(selector)).map(str::to_owned))
    };
    let far = |sender: Side| match sender {
        Side::Outside => zone_inside,
        Side::Inside => zone_outside,
    };
    // A group touches the zones that have members beyond its senders.
    let touched = || {
        let known = from.sides.into_iter().flatten().find_map(far);
        known.or_else(|| if unknown(&rule.from) { zone_inside.or(zone_outside) } else { None })
    };
    let into = if rule.to.groups().is_empty() { zone(&rule.to, to) } else { touched().map(str::to_owned) };
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
    meant: &Meant<'_>,
    end: &str,
    findings: &mut Findings,
) {
    let Selector::Match(matched) = selector else { return };
    if meant.nobody && !matched.unknown && matched.groups.is_empty() {
        let message = format!("{} has no effect: empty", placed.rule.full_id());
        let report = Diagnostic::new(Code::NoEffect, Some(at), message)
            .label(format!("no workload matches `{end}` now"));
        findings.push(report);
    }
}

fn one_side(placed: &Placed, from: &Meant<'_>, to: &Meant<'_>, findings: &mut Findings) {
    let side = |selector: &Selector, meant: &Meant<'_>| match selector {
        Selector::Match(matched) if !matched.unknown => meant.side,
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

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use toml::de::DeTable;

    use super::super::super::diagnostic::Diagnostic;
    use super::super::super::model::Gate;
    use super::super::names::Names;
    use super::super::sections::Sections;
    use super::super::service::Services;
    use super::super::{label, network, rule, workload, zone};
    use super::*;

    /// Kinds of claims, and what is found with them and with every workload taken for itself.
    fn compared(text: &str) -> (usize, Vec<Diagnostic>, Vec<Diagnostic>) {
        let documents = [DeTable::parse(text).expect("TOML").into_inner()];
        let mut findings = Findings::new();
        let sections = Sections::gather(&documents, &mut findings);
        let mut names = Names::new(&sections, label::declarations(&sections, &mut findings));
        network::wire(&sections, &mut findings);
        let networks = network::networks(&sections, &names, &mut findings);
        let workloads = workload::workloads(&sections, &Gate::default(), &mut names, &mut findings);
        let (services, _) = Services::read(&sections, &mut findings);
        let zones = zone::zones(&sections, &names, &services, &mut findings);
        let rules = rule::rules(&sections, &names, &services, &mut findings);
        assert!(!findings.has_errors());
        let (mut fast, mut slow) = (Findings::new(), Findings::new());
        check(&networks, &workloads, &zones, &rules, &mut fast);
        by_kind(&networks, &workloads, &zones, &rules, |_| true, &mut slow);
        let count = kinds(&places(&networks, &workloads), |name| name == "w3").len();
        (count, fast.into_sorted(), slow.into_sorted())
    }

    #[test]
    fn claims_that_no_selector_tells_apart_are_looked_at_once() {
        let mut text = String::from(
            "[label]\napp = {}\n[service]\nhttps = [\"tcp/443\"]\n[wire.w]\noutside = \"a\"\ninside = \"b\"\n\
             fail = \"closed\"\nunzoned = \"observe\"\n[network.in]\nat = \"w.inside\"\n\
             prefixes = [\"10.0.0.0/8\"]\n[network.dmz]\nat = \"w.inside\"\nprefixes = [\"10.1.0.0/16\"]\n\
             labels = { app = \"dmz\" }\n[network.out]\nat = \"w.outside\"\n\
             prefixes = [\"0.0.0.0/0\", \"::/0\"]\n[zone.z]\nmembers = { app = \"a1\" }\nmode = \"observe\"\n\
             [zone.none]\nmembers = { app = \"a9\" }\nmode = \"observe\"\n",
        );
        for number in 0..400 {
            let (net, low) = (number % 3, number / 3);
            let app =
                if number % 2 == 0 { String::new() } else { format!("labels = {{ app = \"a{net}\" }}\n") };
            let address = ["10.0.0", "10.1.0", "192.0.2"][net];
            let _ = write!(text, "[workload.w{number}]\naddresses = [\"{address}.{low}\"]\n{app}");
        }
        let ends = [
            "{ app = \"a0\" }",
            "{ app = \"a1\" }",
            "{ app = \"a2\" }",
            "{ app = \"a7\" }",
            "{ app = \"dmz\" }",
            "{ name = \"w3\" }",
            "{ name = \"w3\", app = \"a1\" }",
            "{ network = \"in\" }",
            "{ zone = \"z\" }",
            "{ zone = \"none\" }",
            "{ app = { not = \"a0\" } }",
            "{ any = true }",
        ];
        for (f, from) in ends.iter().enumerate() {
            for (t, to) in ends.iter().enumerate() {
                let _ = write!(
                    text,
                    "[deny.d{f}x{t}]\nfrom = {from}\nto = {to}\nservices = [\"https\"]\n\
                     [allow.a{f}x{t}]\nfrom = {from}\nto = {to}\nservices = [\"https\"]\n"
                );
            }
        }
        let (kinds, fast, slow) = compared(&text);
        assert_eq!(kinds, 7, "labelled or not in each of three networks, and the one that is named");
        assert_eq!(fast, slow);
        let found = |code: Code| fast.iter().filter(|found| found.code == code).count();
        assert!(
            found(Code::NoEffect) > 50 && found(Code::OneSide) > 50,
            "the comparison has something to compare"
        );
        assert_eq!((found(Code::EmptyZone), found(Code::NoMac)), (1, 1));
    }
}
