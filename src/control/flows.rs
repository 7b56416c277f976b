//! Flows and cuts → lines with names.
//!
//! What it is not: no table is read here; [`Shared::look`](crate::gateway::Shared::look) shows what the workers
//! copied. Invariants: a flow bears the names of the generation that judged it; a page holds [`PAGE`] lines at
//! most, and what does not match is counted nowhere and kept nowhere, so an answer's memory does not grow with
//! the tables. Order: worker by worker, slot by slot, which means nothing but never changes while a flow lives.
//! Cost: about a microsecond a flow looked at, on a thread beside the API's, five seconds at most a page.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;

use super::answers::{CutLine, Cuts, FlowCounts, FlowEnd, FlowLine, Flows, RuleLine};
use super::instant;
use super::lines::words_of;
use super::view::View;
use crate::flow::{Phase, Slot};
use crate::gateway::{Cursor, LookError, Policy};
use crate::pipeline::Reason;
use crate::policy::model::Atom;
use crate::policy::read::{did_you_mean_name, nearest_name, service_atoms};
use crate::policy::table::Place;
use crate::record::{CutPage, CutTally, Generation, NamedCut, RuleName};
use crate::wire::protocol::{has_ports, icmp_of};
use crate::wire::{self, Service};

/// Flows or cuts that a page holds at most.
pub(super) const PAGE: usize = 4_096;
/// The longest search for one page, nanoseconds; the rest is asked for again.
const PATIENCE: u64 = 5_000_000_000;
/// Nanoseconds of a tick, as a shift.
const TICK: u32 = 24;

/// `GET /v1/flows`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Where the page before ended.
    after: Option<String>,
    /// Lines at most.
    pub(super) limit: Option<usize>,
    /// At either end: a workload's name, or an address.
    workload: Option<String>,
    /// At either end.
    zone: Option<String>,
    /// A service's name, or `tcp/443`.
    service: Option<String>,
    /// As [`Wanted::state`] reads it.
    state: Option<String>,
    /// Only count.
    #[serde(default)]
    count: bool,
}

/// Why flows are not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoFlows {
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("there is no {what} \"{name}\" in the policy in force{}", did_you_mean_name(.like.as_deref()))]
    Unknown { what: &'static str, name: String, like: Option<String> },
    #[error("{0}")]
    Service(String),
    #[error("\"{0}\" is no state of a flow")]
    State(String),
    #[error("\"{0}\" is not where a page ended")]
    Cursor(String),
}

impl NoFlows {
    fn unknown<'n>(what: &'static str, name: &str, names: impl Iterator<Item = &'n String>) -> Self {
        let like = nearest_name(name, names.map(String::as_str)).map(str::to_owned);
        Self::Unknown { what, name: name.to_owned(), like }
    }

    /// What to do about it.
    pub(super) const fn remedy(&self) -> &'static str {
        match self {
            Self::Look(_) => "try again; `portcullis status` shows the workers",
            Self::Unknown { .. } | Self::Service(_) => {
                "`portcullis rules` and the inventory list what there is"
            }
            Self::State(_) => {
                "states are opening, established, half_closed, closing, doubted, closed; beside them unseen and \
                 would_drop"
            }
            Self::Cursor(_) => "send what `next` said",
        }
    }
}

/// One page.
pub(super) fn page(view: &View, query: &Query) -> Result<Flows, NoFlows> {
    let policy = view.shared.policy.load_full();
    let wanted = Wanted::of(query, &policy)?;
    let from = match &query.after {
        None => Cursor::default(),
        Some(text) => cursor(text).ok_or_else(|| NoFlows::Cursor(text.clone()))?,
    };
    let mut found = Found::new(wanted, query);
    let next =
        view.shared.look(from, PATIENCE, |slot, tick| found.take(slot, tick, |of| view.names_of(of)))?;
    Ok(Flows {
        flows: found.flows,
        counts: found.counts,
        next: next.map(|next| format!("{}.{}", next.worker, next.slot)),
        live: view.shared.workers.iter().map(|worker| worker.gauges.load().flows).sum(),
        generation: policy.generation,
    })
}

/// What becomes a page.
struct Found {
    wanted: Wanted,
    only_count: bool,
    limit: usize,
    flows: Vec<FlowLine>,
    counts: FlowCounts,
    /// The generation of the flow before, and its names: mostly that of the next, too.
    known: Option<(u32, Option<Generation>)>,
}

impl Found {
    fn new(wanted: Wanted, query: &Query) -> Self {
        Self {
            wanted,
            only_count: query.count,
            limit: query.limit.unwrap_or(PAGE),
            flows: Vec::new(),
            counts: FlowCounts::default(),
            known: None,
        }
    }

    /// Takes a flow in if it is asked for. False: there is no room for another.
    fn take(&mut self, slot: &Slot, tick: u32, names: impl Fn(u32) -> Option<Generation>) -> bool {
        let generation = slot.generation();
        let known = match &mut self.known {
            Some((of, known)) if *of == generation => known,
            known => &mut known.insert((generation, names(generation))).1,
        };
        if let Some(seen) = self.wanted.find(slot, known.as_ref()) {
            seen.count(&mut self.counts);
            if !self.only_count {
                self.flows.push(seen.line(tick));
            }
        }
        self.flows.len() < self.limit
    }
}

fn cursor(text: &str) -> Option<Cursor> {
    let (worker, slot) = text.split_once('.')?;
    Some(Cursor { worker: worker.parse().ok()?, slot: slot.parse().ok()? })
}

/// The flows that are asked for.
#[derive(Debug)]
struct Wanted {
    workload: Option<Who>,
    zone: Option<String>,
    service: Option<Vec<Atom>>,
    state: Option<State>,
}

#[derive(Debug)]
enum Who {
    Name(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Phase(Phase),
    Unseen,
    WouldDrop,
}

impl Wanted {
    /// A name must be one of the policy's, or a slip would look like no flow.
    fn of(query: &Query, policy: &Policy) -> Result<Self, NoFlows> {
        let model = &policy.loaded.model;
        let workload = query.workload.as_deref().map(|text| match text.parse() {
            Ok(address) => Ok(Who::Address(address)),
            Err(_) if model.workloads.iter().any(|workload| workload.name == text) => {
                Ok(Who::Name(text.to_owned()))
            }
            Err(_) => Err(NoFlows::unknown("workload", text, model.workloads.iter().map(|w| &w.name))),
        });
        let zone = query.zone.as_deref().map(|text| {
            let known = model.zones.iter().any(|zone| zone.name == text);
            if known {
                return Ok(text.to_owned());
            }
            Err(NoFlows::unknown("zone", text, model.zones.iter().map(|zone| &zone.name)))
        });
        let service = query.service.as_deref().map(|text| service_atoms(text, &model.services));
        Ok(Self {
            workload: workload.transpose()?,
            zone: zone.transpose()?,
            service: service.transpose().map_err(NoFlows::Service)?,
            state: query.state.as_deref().map(Self::state).transpose()?,
        })
    }

    fn state(text: &str) -> Result<State, NoFlows> {
        match text {
            "unseen" => Ok(State::Unseen),
            "would_drop" => Ok(State::WouldDrop),
            text => Phase::ALL
                .into_iter()
                .find(|phase| phase.name() == text)
                .map(State::Phase)
                .ok_or_else(|| NoFlows::State(text.to_owned())),
        }
    }

    /// The flow in a slot, if it is asked for. What costs least is asked first.
    fn find<'s>(&self, slot: &'s Slot, known: Option<&'s Generation>) -> Option<Seen<'s>> {
        let state = self.state.is_none_or(|state| match state {
            State::Phase(phase) => slot.phase() == phase,
            State::Unseen => slot.is_unseen(),
            State::WouldDrop => slot.denial().is_some(),
        });
        let service = slot.opened_service();
        if !state || !self.service.as_ref().is_none_or(|atoms| atoms.iter().any(|a| a.contains(service))) {
            return None;
        }
        let ends = slot.ends();
        if let Some(Who::Address(wanted)) = self.workload
            && ends.iter().all(|(address, _)| *address != wanted)
        {
            return None;
        }
        let places = ends.map(|(address, _)| known.map(|known| known.locate(address)));
        let places_known = || places.iter().flatten();
        let named = match &self.workload {
            Some(Who::Name(name)) => places_known().any(|place| place.workload == Some(name)),
            Some(Who::Address(_)) | None => true,
        };
        let zone = |zone: &String| places_known().any(|place| place.zones.contains(&zone.as_str()));
        let found = named && self.zone.as_ref().is_none_or(zone);
        found.then_some(Seen { slot, known, ends, places, service })
    }
}

/// A flow with what is known of its ends.
struct Seen<'s> {
    slot: &'s Slot,
    known: Option<&'s Generation>,
    ends: [(IpAddr, u16); 2],
    places: [Option<Place<'s>>; 2],
    service: Service,
}

impl Seen<'_> {
    fn zones(&self) -> BTreeSet<&str> {
        self.places.iter().flatten().flat_map(|place| place.zones.iter().copied()).collect()
    }

    fn count(&self, counts: &mut FlowCounts) {
        let add = |counts: &mut BTreeMap<String, u64>, name: &str| match counts.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(counts.insert(name.to_owned(), 1)),
        };
        counts.flows += 1;
        add(&mut counts.states, self.slot.phase().name());
        counts.unseen += u64::from(self.slot.is_unseen());
        counts.would_drop += u64::from(self.slot.denial().is_some());
        let zones = self.zones();
        counts.unzoned += u64::from(zones.is_empty());
        for zone in zones {
            add(&mut counts.zones, zone);
        }
    }

    fn line(&self, tick: u32) -> FlowLine {
        let Self { slot, service, ends, places, .. } = self;
        let [sent, answered] = slot.traffic();
        let [from, to] = ends;
        let name = |place: &Option<Place<'_>>| place.as_ref()?.workload.map(str::to_owned);
        let [from_name, to_name] = places.each_ref().map(name);
        let reason = slot.denial().map(Reason::from);
        let seconds = |since: u32| (u64::from(tick.wrapping_sub(since)) << TICK) / 1_000_000_000;
        let rule = RuleName::of(slot.rule(), slot.generation(), self.known);
        FlowLine {
            from: end(*from, from_name, *service, sent),
            to: end(*to, to_name, *service, answered),
            protocol: service.protocol,
            service: words(*from, *service),
            echo: echo([*from, *to], *service),
            vlans: slot.key().vlans().to_string(),
            side: slot.side_of(slot.opened_by_a()).name().into(),
            zones: self.zones().into_iter().map(str::to_owned).collect(),
            state: slot.phase().name().into(),
            unseen: slot.is_unseen(),
            mode: slot.mode().name().into(),
            verdict: if reason.is_none() { "allow" } else { "would_drop" }.into(),
            reason: reason.map(|reason| reason.name().into()),
            words: reason.map(|reason| reason.words().into()),
            rule: rule.as_ref().map(RuleLine::from),
            generation: slot.generation(),
            age_seconds: seconds(slot.started()),
            idle_seconds: seconds(slot.seen()),
        }
    }
}

impl From<&RuleName> for RuleLine {
    fn from(name: &RuleName) -> Self {
        let RuleName { id, place, owner } = name.clone();
        Self { id, place, owner }
    }
}

fn end(
    (address, port): (IpAddr, u16),
    name: Option<String>,
    service: Service,
    (packets, bytes): (u64, u64),
) -> FlowEnd {
    FlowEnd { address, port: has_ports(service.protocol).then_some(port), name, packets, bytes }
}

/// The identifier of an ICMP question stands where the asker's port would.
fn echo([(address, from), (_, to)]: [(IpAddr, u16); 2], service: Service) -> Option<u16> {
    // Who only answered, of one whose question was not seen, is taken for its opener.
    let asker = if wire::Query::between(from, to).is_some() { from } else { to };
    is_icmp(address, service).then_some(asker)
}

fn words((address, _): (IpAddr, u16), service: Service) -> String {
    words_of(service.protocol, is_icmp(address, service), service.dport)
}

fn is_icmp(address: IpAddr, service: Service) -> bool {
    service.protocol == icmp_of(address.is_ipv6())
}

/// The latest flows that a new policy ended.
pub(super) fn cuts(view: &View, limit: usize) -> Cuts {
    cuts_of(&view.cuts.last(limit), view.shared.policy.load().generation)
}

/// A page of the list, under the generation in force.
pub(super) fn cuts_of(page: &CutPage, generation: u32) -> Cuts {
    // The list follows the workers within the recorder's pause.
    let latest = if page.latest.generation == generation { page.latest } else { CutTally::default() };
    let (forgotten_in_all, lost_in_all) = page.gone;
    Cuts {
        generation,
        swept: latest.swept,
        complete: latest.swept && latest.lost == 0 && latest.forgotten == 0 && latest.waiting == 0,
        waiting: latest.waiting,
        ended: latest.ended,
        forgotten: latest.forgotten,
        lost: latest.lost,
        forgotten_in_all,
        lost_in_all,
        kept: u64::try_from(page.kept).unwrap_or(u64::MAX),
        cuts: page.cuts.iter().map(cut_line).collect(),
    }
}

fn cut_line(named: &NamedCut) -> CutLine {
    let NamedCut { cut, workloads, rule, was } = named;
    let ([from, to], [sent, answered]) = (cut.ends, cut.counts);
    let [from_name, to_name] = workloads.clone();
    CutLine {
        at: instant(cut.at),
        from: end(from, from_name, cut.service, sent),
        to: end(to, to_name, cut.service, answered),
        protocol: cut.service.protocol,
        service: words(from, cut.service),
        echo: echo(cut.ends, cut.service),
        vlans: cut.vlans.to_string(),
        side: cut.side.name().into(),
        reason: cut.reason.name().into(),
        words: cut.reason.words().into(),
        by: if cut.by_packet { "packet" } else { "hand" }.into(),
        rule: rule.as_deref().map(RuleLine::from),
        was: was.as_deref().map(RuleLine::from),
        was_generation: cut.was_generation,
        generation: cut.generation,
    }
}

/// What would be told of these flows.
#[cfg(test)]
pub(super) fn told(slots: &[Slot], tick: u32, names: &crate::record::Names) -> Flows {
    let everything = Wanted { workload: None, zone: None, service: None, state: None };
    let mut found = Found::new(everything, &Query::default());
    for slot in slots {
        found.take(slot, tick, |of| names.of(of));
    }
    Flows { flows: found.flows, counts: found.counts, ..Flows::default() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::flow::limits::HalfOpen;
    use crate::flow::{Bounds, First, FlowTable, Judgement, Opening};
    use crate::policy::{Mode, RuleNumber};
    use crate::record::{Names, fixture};
    use crate::wire::{Key, Side, Vlans};

    fn names() -> Names {
        let names = Names::default();
        names.learn(&Arc::new(fixture::policy(1)));
        names
    }

    /// The services of the fixture's flows that are found, and what is counted.
    fn found(query: serde_json::Value) -> Result<(Vec<String>, FlowCounts), NoFlows> {
        let query: Query = serde_json::from_value(query).unwrap();
        let wanted = Wanted::of(&query, &fixture::policy(1))?;
        let (mut found, names) = (Found::new(wanted, &query), names());
        for slot in &fixture::flows() {
            if !found.take(slot, fixture::LOOKED, |of| names.of(of)) {
                break;
            }
        }
        Ok((found.flows.into_iter().map(|flow| flow.service).collect(), found.counts))
    }

    fn end(address: &str, port: Option<u16>, name: &str, (packets, bytes): (u64, u64)) -> FlowEnd {
        let name = (!name.is_empty()).then(|| name.to_owned());
        FlowEnd { address: address.parse().unwrap(), port, name, packets, bytes }
    }

    fn rule(id: &str, place: Option<&str>) -> RuleLine {
        let owner = place.map(|_| "security".to_owned());
        RuleLine { id: id.into(), place: place.map(str::to_owned), owner }
    }

    #[test]
    fn every_field_of_a_flow_is_told() {
        let flows = told(&fixture::flows(), fixture::LOOKED, &names()).flows;
        let [first, second, third] = <[FlowLine; 3]>::try_from(flows).unwrap();
        let text = |text: &str| Some(text.to_owned());
        let expected = FlowLine {
            from: end("198.51.100.7", Some(40_000), "acquirer", (2, 148)),
            to: end("10.20.0.10", Some(443), "vault-1", (0, 0)),
            protocol: 6,
            service: "tcp/443".into(),
            echo: None,
            vlans: "untagged".into(),
            side: "outside".into(),
            zones: vec!["cde".into()],
            state: "opening".into(),
            unseen: false,
            mode: "enforce".into(),
            verdict: "allow".into(),
            reason: None,
            words: None,
            rule: Some(rule("allow.payments-to-vault", Some("rules.toml:7"))),
            generation: 1,
            age_seconds: 67,
            idle_seconds: 3,
        };
        assert_eq!(first, expected);
        assert_eq!(
            second,
            FlowLine {
                from: end("2001:db8:9::7", Some(50_000), "", (1, 90)),
                to: end("2001:db8:20::10", Some(53), "vault-1", (1, 1_300)),
                protocol: 17,
                service: "udp/53".into(),
                vlans: "100.20".into(),
                state: "established".into(),
                mode: "simulate".into(),
                verdict: "would_drop".into(),
                reason: text("guardrail"),
                words: text("a guardrail forbids it"),
                rule: Some(rule("guardrail.only-prod-reaches-cards", Some("rules.toml:1"))),
                ..expected.clone()
            }
        );
        // A generation that nobody knows any more leaves no names.
        assert_eq!(
            third,
            FlowLine {
                from: end("198.51.100.9", None, "", (0, 0)),
                to: end("10.20.0.99", None, "", (1, 98)),
                protocol: 1,
                service: "icmp/echo-request".into(),
                echo: Some(7),
                zones: vec![],
                state: "established".into(),
                unseen: true,
                mode: "observe".into(),
                verdict: "would_drop".into(),
                reason: text("denied"),
                words: text("a deny rule forbids it"),
                rule: Some(rule("rule 4 of generation 7", None)),
                generation: 7,
                ..expected
            }
        );
    }

    #[test]
    fn an_association_has_its_ports_and_the_service_that_rules_name() {
        let service = Service { protocol: 132, sport: 40_000, dport: 3_868, readable: true };
        let there = "2001:db8:9::7".parse().unwrap();
        assert_eq!(super::end((there, 40_000), None, service, (1, 90)).port, Some(40_000));
        assert_eq!(super::words((there, 40_000), service), "ip/132");
    }

    /// The identifier is the asker's, whoever was seen first.
    #[test]
    fn an_echo_of_which_only_the_reply_was_seen_is_a_reply() {
        for (asker, answerer, protocol, words, asked) in [
            ("198.51.100.9", "10.20.0.99", 1, "icmp/0.0", "icmp/echo-request"),
            ("2001:db8:9::7", "2001:db8:20::10", 58, "icmpv6/129.0", "icmpv6/echo-request"),
        ] {
            let [asker, answerer] = [asker, answerer].map(|address| address.parse::<IpAddr>().unwrap());
            let mut table = FlowTable::new(Bounds::of(64), Arc::new(HalfOpen::new(64, (5, 6))));
            let (key, by_a) = Key::new(answerer, asker, 6, 7, protocol, Vlans::UNTAGGED);
            let opening = Opening {
                judgement: Judgement {
                    denial: None,
                    mode: Mode::Observe,
                    rule: RuleNumber::NONE,
                    generation: 1,
                    judge_at: 0,
                },
                by_a,
                side: Side::Inside,
                mac_true: true,
                first: First::Answered,
                track: None,
            };
            let id = table.insert(&key, &opening, 0).unwrap();
            let line = |table: &FlowTable| told(&[*table.entry(id).unwrap()], 0, &names()).flows.remove(0);
            let reply = line(&table);
            assert_eq!(
                (reply.from.address, reply.service.as_str(), reply.echo),
                (answerer, words, Some(7))
            );
            // Once who asked is taken for its opener, it is a request.
            table.turn(id);
            let request = line(&table);
            assert_eq!(
                (request.from.address, request.service.as_str(), request.echo),
                (asker, asked, Some(7))
            );
        }
    }

    #[test]
    fn each_filter_leaves_what_it_says() {
        let (tcp, udp, echo) = ("tcp/443", "udp/53", "icmp/echo-request");
        for (asked, expected) in [
            (json!({}), vec![tcp, udp, echo]),
            (json!({ "workload": "vault-1" }), vec![tcp, udp]),
            (json!({ "workload": "acquirer" }), vec![tcp]),
            (json!({ "workload": "198.51.100.9" }), vec![echo]),
            (json!({ "workload": "2001:db8:20::10" }), vec![udp]),
            (json!({ "zone": "cde" }), vec![tcp, udp]),
            (json!({ "service": "https" }), vec![tcp]),
            (json!({ "service": "udp/50-60" }), vec![udp]),
            (json!({ "service": "icmp/echo-request" }), vec![echo]),
            (json!({ "state": "opening" }), vec![tcp]),
            (json!({ "state": "established" }), vec![udp, echo]),
            (json!({ "state": "unseen" }), vec![echo]),
            (json!({ "state": "would_drop" }), vec![udp, echo]),
            (json!({ "state": "would_drop", "zone": "cde" }), vec![udp]),
            (json!({ "state": "closed" }), vec![]),
            (json!({ "limit": 2 }), vec![tcp, udp]),
            (json!({ "count": true, "limit": 1 }), vec![]),
        ] {
            assert_eq!(found(asked.clone()).unwrap().0, expected, "{asked}");
        }
    }

    #[test]
    fn counts_are_of_what_matches_only() {
        let counts = |asked| found(asked).unwrap().1;
        let count = |name: &str, n| (name.to_owned(), n);
        let all = FlowCounts {
            flows: 3,
            states: [count("opening", 1), count("established", 2)].into(),
            unseen: 1,
            would_drop: 2,
            zones: [count("cde", 2)].into(),
            unzoned: 1,
        };
        assert_eq!(counts(json!({ "count": true })), all);
        assert_eq!(counts(json!({})), all);
        let udp = FlowCounts {
            flows: 1,
            states: [count("established", 1)].into(),
            unseen: 0,
            would_drop: 1,
            zones: [count("cde", 1)].into(),
            unzoned: 0,
        };
        assert_eq!(counts(json!({ "service": "udp/53" })), udp);
        let mut sum = Flows { counts: all, live: 1, next: Some("0.1".into()), ..Flows::default() };
        sum.add(Flows { counts: udp, live: 9, generation: 4, ..Flows::default() });
        let expected = FlowCounts {
            flows: 4,
            states: [count("opening", 1), count("established", 3)].into(),
            unseen: 1,
            would_drop: 3,
            zones: [count("cde", 3)].into(),
            unzoned: 1,
        };
        assert_eq!(sum, Flows { counts: expected, live: 9, generation: 4, ..Flows::default() });
    }

    #[test]
    fn what_is_unknown_is_refused_by_name() {
        let refused = |asked| found(asked).unwrap_err().to_string();
        let unknown = |what: &str| format!("there is no {what} in the policy in force");
        assert_eq!(refused(json!({ "workload": "switch" })), unknown("workload \"switch\""));
        assert_eq!(refused(json!({ "zone": "dmz" })), unknown("zone \"dmz\""));
        assert!(refused(json!({ "zone": "cdee" })).ends_with("; did you mean \"cde\"?"));
        assert!(refused(json!({ "workload": "vault-2" })).ends_with("; did you mean \"vault-1\"?"));
        assert_eq!(refused(json!({ "state": "open" })), "\"open\" is no state of a flow");
        assert!(refused(json!({ "service": "htps" })).contains("did you mean \"https\"?"));
        assert!(refused(json!({ "service": "tcp/0-" })).contains("tcp/0-"));
        assert_eq!(cursor("3.17"), Some(Cursor { worker: 3, slot: 17 }));
        for text in ["", "3", "3.", ".3", "-1.2", "0.4294967296"] {
            assert_eq!(cursor(text), None, "{text}");
        }
    }
}
