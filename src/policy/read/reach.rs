//! Findings that take the whole policy: what selectors mean among the addresses there are now.
//!
//! What it is: warnings, and the two errors that depend on who is a member of a zone. What it is not:
//! an evaluator. It looks at addresses, not at packets, and knows neither tiers nor modes. Addresses that
//! nobody claims count: denies and guardrails match them, and on the inside every zone there has them. Cost:
//! claims, and for each selector the *examples* that have the rarest of its keys: addresses with the same
//! labels in the same networks stand for each other, however many there are.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::super::code::Code;
use super::super::diagnostic::Diagnostic;
use super::super::hash::Quick;
use super::super::model::{Labels, Network, Selector, Tier, Workload, Zone};
use super::super::postings::Postings;
use super::super::selector::{Reading, Subject};
use super::super::source::Origin;
use super::findings::{Findings, listing};
use super::holdings::{Example, Holding, examples, holdings};
use super::overridden::overridden;
use super::rule::Placed;
use crate::wire::Side;

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
    fn of<'e>(examples: impl Iterator<Item = &'e Example<'m>>) -> Self
    where
        'm: 'e,
    {
        let mut meant = Self { nobody: true, ..Self::default() };
        for example in examples {
            let side = example.side();
            meant.side = if meant.nobody { side } else { meant.side.filter(|one| side == Some(*one)) };
            meant.nobody = false;
            meant.zone = meant.zone.or_else(|| example.zones.first().copied());
            if !meant.sides.contains(&side)
                && let Some(free) = meant.sides.iter_mut().find(|free| free.is_none())
            {
                *free = side;
            }
        }
        meant
    }
}

/// Zones with a member at each side, by [`Side::index`], in the order of the first of each.
type ZonesAt<'m> = [Vec<&'m str>; 2];

/// Those of one side.
fn at<'z, 'm>([outside, inside]: &'z ZonesAt<'m>, side: Side) -> &'z [&'m str] {
    match side {
        Side::Outside => outside,
        Side::Inside => inside,
    }
}

/// Whether a rule means a multicast or broadcast destination that no group lists, sent from a side.
fn reaches_multicast(to: &Selector, reading: Reading, sender: Side, zones: &ZonesAt<'_>) -> bool {
    let labels = Labels::new();
    let subject = Subject {
        workload: None,
        account: None,
        held: false,
        labels: &labels,
        networks: &[],
        zones: at(zones, sender.other()),
        group: None,
        lapsed: None,
    };
    to.matches(&subject, reading)
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
    let holdings = holdings(networks, workloads);
    // What an error took out of the model would show as missing: no warnings then.
    let complete = !findings.has_errors();
    if complete {
        without_mac(&holdings, findings);
        never_held(&holdings, findings);
        overridden(&holdings, findings);
    }
    let mut examples = examples(&holdings, named);
    for example in &mut examples {
        let member = |zone: &&Zone| zone.members.matches(&example.subject(), Reading::ByAddress);
        let zones = zones.iter().filter(member).map(|zone| zone.name.as_str()).collect();
        example.zones = zones;
    }
    let claimed = examples.iter().filter(|example| example.workload.is_some());
    let peopled: BTreeSet<&str> = claimed.flat_map(|example| &example.zones).copied().collect();
    for zone in zones.iter().filter(|zone| complete && !peopled.contains(zone.name.as_str())) {
        let message = format!("zone {} has no members now", zone.name);
        findings.say_with(Code::EmptyZone, zone.origin, message, Code::EmptyZone.remedy());
    }
    let zones_at: ZonesAt<'_> = Side::BOTH.map(|side| {
        let mut here = Vec::new();
        for zone in examples.iter().filter(|example| example.side() == Some(side)).flat_map(|e| &e.zones) {
            if !here.contains(zone) {
                here.push(*zone);
            }
        }
        here
    });
    for example in examples.iter_mut().filter(|example| example.workload.is_none()) {
        let inside = at(&zones_at, Side::Inside).iter().filter(|_| example.side() == Some(Side::Inside));
        let more: Vec<&str> = inside.filter(|zone| !example.zones.contains(zone)).copied().collect();
        example.zones.extend(more);
    }
    let postings = Postings::of(examples.iter().map(Example::subject));
    let mut known: HashMap<(&Selector, Reading), Meant<'_>, Quick> = HashMap::default();
    for placed in rules {
        let reading = match placed.rule.tier {
            Tier::Guardrail | Tier::Deny => Reading::ByAddress,
            Tier::Exception | Tier::Allow => Reading::Assumed,
        };
        let [from, to] = [&placed.rule.from, &placed.rule.to].map(|selector| {
            *known.entry((selector, reading)).or_insert_with(|| {
                let candidates = postings.candidates(selector);
                let examples = candidates
                    .iter()
                    .filter_map(|n| usize::try_from(*n).ok().and_then(|n| examples.get(n)));
                Meant::of(examples.filter(|example| selector.matches(&example.subject(), reading)))
            })
        });
        if placed.rule.tier == Tier::Allow {
            allow(placed, &from, &to, &zones_at, findings);
        }
        if !complete {
            continue;
        }
        let rule = &placed.rule;
        for (end, selector, at, meant) in
            [("from", &rule.from, placed.from, &from), ("to", &rule.to, placed.to, &to)]
        {
            let multicast = |side| reaches_multicast(selector, reading, side, &zones_at);
            if !Side::BOTH.into_iter().any(multicast) {
                empty(placed, selector, at, meant, end, findings);
            }
        }
        one_side(placed, reading, (&from, &to), &zones_at, findings);
    }
}

/// Without a MAC a claim from the inside can't be told from a forgery.
fn without_mac(holdings: &[Holding<'_>], findings: &mut Findings) {
    let bare = |holding: &&Holding<'_>| holding.side() == Some(Side::Inside) && is_bare(holding);
    let named = told_once(holdings.iter().filter(bare));
    let Some(first) = first_written(&named) else { return };
    let names = listing(named.iter().map(|workload| workload.name.as_str()));
    let message = if named.len() == 1 {
        format!("workload {names} is inside and has no MAC written")
    } else {
        format!("{} workloads are inside and have no MAC written: {names}", named.len())
    };
    let help = "write `macs`, or `via` of their network: without, every zone inside governs their frames";
    findings.say_with(Code::NoMac, first.origin, message, help);
}

/// An account is held by a MAC that is written: without one no allow that names it in `from` ever matches.
/// Inside, [`without_mac`] says more.
fn never_held(holdings: &[Holding<'_>], findings: &mut Findings) {
    let bare = |holding: &&Holding<'_>| {
        let declares = holding.workload.is_some_and(|workload| workload.service_account.is_some());
        holding.side() == Some(Side::Outside) && holding.host && declares && is_bare(holding)
    };
    let named = told_once(holdings.iter().filter(bare));
    let Some(first) = first_written(&named) else { return };
    let names = listing(named.iter().map(|workload| workload.name.as_str()));
    let message = if named.len() == 1 {
        format!("workload {names} can never hold its service account: no MAC is written for it")
    } else {
        format!(
            "{} workloads can never hold their service accounts: no MAC is written for them: {names}",
            named.len()
        )
    };
    findings.say_with(Code::NeverHeld, first.origin, message, Code::NeverHeld.remedy());
}

/// Claimed, and with a MAC neither of its own nor of a router's in front of it.
fn is_bare(holding: &Holding<'_>) -> bool {
    holding.is_direct() && holding.workload.is_some_and(|workload| workload.macs.is_empty())
}

fn told_once<'h, 'm: 'h>(holdings: impl Iterator<Item = &'h Holding<'m>>) -> Vec<&'m Workload> {
    let mut named: Vec<&Workload> = holdings.filter_map(|holding| holding.workload).collect();
    named.dedup_by_key(|workload| &workload.name);
    named
}

fn first_written<'m>(workloads: &[&'m Workload]) -> Option<&'m Workload> {
    workloads.iter().min_by_key(|w| (w.origin.file, w.origin.start)).copied()
}

fn allow(
    placed: &Placed,
    from: &Meant<'_>,
    to: &Meant<'_>,
    zones_at: &ZonesAt<'_>,
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
    let zone = |selector: &Selector, meant: &Meant<'_>| {
        names_zone(selector).or_else(|| meant.zone.map(str::to_owned))
    };
    // A group touches the zones that have members beyond its senders.
    let touched = || {
        let far = |sender: Side| at(zones_at, sender.other()).first().copied();
        from.sides.into_iter().flatten().find_map(far).map(str::to_owned)
    };
    let into = if rule.to.groups().is_empty() { zone(&rule.to, to) } else { touched() };
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
    if meant.nobody && matched.groups.is_empty() {
        let message = format!("{} has no effect: empty", placed.rule.full_id());
        let whom = if matched.unknown { "unclaimed address" } else { "workload" };
        let report = Diagnostic::new(Code::NoEffect, Some(at), message)
            .label(format!("no {whom} matches `{end}` now"));
        findings.push(report);
    }
}

fn one_side(
    placed: &Placed,
    reading: Reading,
    (from, to): (&Meant<'_>, &Meant<'_>),
    zones_at: &ZonesAt<'_>,
    findings: &mut Findings,
) {
    let side = |selector: &Selector, meant: &Meant<'_>| match selector {
        Selector::Match(_) => meant.side,
        Selector::Any | Selector::Except(_) => None,
    };
    let rule = &placed.rule;
    let (Some(one), Some(two)) = (side(&rule.from, from), side(&rule.to, to)) else { return };
    let multicast = |selector| reaches_multicast(selector, reading, one, zones_at);
    if one == two && !multicast(&rule.to) && !(rule.both_ways && multicast(&rule.from)) {
        let message = format!("{}: both ends lie {one}, so this gate never sees it", rule.full_id());
        findings.say_with(Code::OneSide, rule.origin, message, Code::OneSide.remedy());
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use std::ops::ControlFlow;

    use proptest::prelude::*;
    use toml::de::DeTable;

    use super::super::super::diagnostic::Diagnostic;
    use super::super::super::ground::Ground;
    use super::super::super::model::{Gate, Rule};
    use super::super::super::oracle::models;
    use super::super::super::{Exceptions, compile};
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
        let count = examples(&holdings(&networks, &workloads), |name| name == "w3").len();
        (count, fast.into_sorted(), slow.into_sorted())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

        /// What is called empty, or of one side, has no pair that this gate sees.
        #[test]
        fn what_is_called_empty_or_of_one_side_means_no_pair(model in models()) {
            let placed = |rule: &Rule| {
                let nowhere = Origin::default();
                Placed { rule: rule.clone(), from: nowhere, to: nowhere, services: nowhere }
            };
            let rules: Vec<Placed> = model.rules.iter().map(placed).collect();
            let mut findings = Findings::new();
            check(&model.networks, &model.workloads, &model.zones, &rules, &mut findings);
            let table = compile(&model, &Exceptions::NONE);
            let ground = Ground::new(&model, &table).with_strangers(&model);
            let told = findings.into_sorted().into_iter();
            for found in told.filter(|found| [Code::NoEffect, Code::OneSide].contains(&found.code)) {
                let id = found.message.split([' ', ':']).next().unwrap_or_default();
                let rule = model.rules.iter().find(|rule| rule.full_id() == id).expect("the rule");
                let reading = match rule.tier {
                    Tier::Exception | Tier::Allow => Reading::Granted,
                    Tier::Deny | Tier::Guardrail => Reading::ByAddress,
                };
                let mut ways = vec![(&rule.from, &rule.to)];
                ways.extend(rule.both_ways.then_some((&rule.to, &rule.from)));
                for ends in ways {
                    let pair = ground.pairs(ends, &rule.to, reading, |from, to| {
                        ControlFlow::Break((from.address, to.address))
                    });
                    prop_assert!(pair.is_continue(), "{} {:?}: {:?}", found.message, rule, pair);
                }
            }
        }
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
        assert_eq!(
            kinds, 10,
            "labelled, not or nobody's in each of three networks, and the one that is named"
        );
        assert_eq!(fast, slow);
        let found = |code: Code| fast.iter().filter(|found| found.code == code).count();
        assert!(
            found(Code::NoEffect) > 50 && found(Code::OneSide) > 50,
            "the comparison has something to compare"
        );
        assert_eq!((found(Code::EmptyZone), found(Code::NoMac)), (1, 1));
    }
}
