//! What two tables make of one pair of ends, for all services at once.
//!
//! What it is: the services cut where either table may answer otherwise, one packet of each piece asked of both,
//! and equal pieces joined. What it is not: it knows no address; a [`Posed`] is all that a pair of ends comes to
//! in one table. Invariant: every service that can be between ends of a family lies in one piece, and all of a
//! piece get the same effect from each table. Cost: both tables' pieces, once for each kind of pair.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::rc::Rc;

use super::both::Both;
use super::numbers::{at, at_mut};
use crate::policy::ground::{DYNAMIC, exists};
use crate::policy::hash::Quick;
use crate::policy::programs::Cuts;
use crate::policy::relevance::Numbered;
use crate::policy::services::{ALL, UNREADABLE, blank, place, service_at};
use crate::policy::table::{Column, Table};
use crate::policy::verdict::{Denial, Mode, RuleNumber};
use crate::wire::Service;
use crate::wire::protocol::{SCTP, TCP, UDP, has_ports};

/// What one table is asked of a pair of ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Posed {
    /// What speaks against it before rules.
    pub(super) misplaced: Option<Denial>,
    /// The program of its row and column.
    pub(super) program: u32,
    /// How the destination's zones govern.
    pub(super) modes: (u32, Option<Mode>),
    /// Strictest mode of everything else that governs it, beside a zone of the destination.
    pub(super) beside: Option<Mode>,
    /// Its mode where the destination is in no zone.
    pub(super) alone: Mode,
}

/// What becomes of a packet under one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Effect {
    pub(in crate::policy) denial: Option<Denial>,
    /// By the numbers of both policies' rules together.
    pub(in crate::policy) rule: u32,
    pub(in crate::policy) mode: Mode,
}

/// No rule decides.
pub(in crate::policy) const NO_RULE: u32 = u32::MAX;

impl Effect {
    /// Whether it crosses.
    pub(in crate::policy) fn crosses(self) -> bool {
        self.denial.is_none() || self.mode < Mode::Enforce
    }
}

/// What becomes of it under both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Effects {
    pub(in crate::policy) of: Both<Effect>,
    /// It opens, and a zone of the destination has the service in enforce, before or after.
    pub(in crate::policy) enforced: bool,
}

/// Services: places of destination ports, from some source ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::policy) struct Run {
    pub(in crate::policy) from: (u16, u16),
    pub(in crate::policy) first: u32,
    pub(in crate::policy) last: u32,
}

impl Run {
    /// Whether it has a service.
    pub(in crate::policy) fn contains(&self, service: Service) -> bool {
        let Service { protocol, sport, dport, readable } = service;
        let at = if readable { place(protocol, dport) } else { blank(protocol) };
        let ports = !readable || (self.from.0..=self.from.1).contains(&sport);
        ports && (self.first..=self.last).contains(&at)
    }

    /// Its first packet.
    fn sample(&self) -> Service {
        service_at(self.first, source_port(self.from))
    }

    /// One packet of it that can be between ends of this family.
    pub(super) fn packet(&self, v4: bool) -> Option<Service> {
        let mut spans = spans(v4).into_iter();
        let (first, _) = spans.find(|(first, last)| *first <= self.last && self.first <= *last)?;
        let service = service_at(self.first.max(first), source_port(self.from));
        Some(if has_ports(service.protocol) { service } else { Service { sport: self.from.0, ..service } })
    }

    /// Takes in what can't be beside it, so that a whole protocol, or everything, is called so in both
    /// families.
    fn round(&mut self, spans: &[(u32, u32)]) {
        let readable = || spans.iter().filter(|(first, _)| *first < UNREADABLE);
        let blanks = || spans.iter().filter(|(first, _)| *first >= UNREADABLE);
        for protocol in [TCP, UDP, SCTP] {
            if self.first == place(protocol, 1) && self.last >= place(protocol, u16::MAX) {
                self.first = place(protocol, 0);
            }
        }
        if readable().next().is_some_and(|(first, _)| *first == self.first) {
            self.first = 0;
        }
        if readable().next_back().is_some_and(|(_, last)| *last == self.last) {
            self.last = UNREADABLE - 1;
        }
        if blanks().next().is_some_and(|(first, _)| *first == self.first) {
            self.first = UNREADABLE;
        }
        if blanks().next_back().is_some_and(|(_, last)| *last == self.last) {
            self.last = UNREADABLE + 255;
        }
    }
}

/// What people take for a client's port, where it is among them.
fn source_port((first, last): (u16, u16)) -> u16 {
    if (first..=last).contains(&DYNAMIC) { DYNAMIC } else { first.max(1).min(last) }
}

/// Places of services that can be between ends of a family; sorted, apart.
fn spans(v4: bool) -> Vec<(u32, u32)> {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    let mut add = |first: u32, last: u32| match spans.last_mut() {
        Some((_, end)) if *end + 1 == first && first != UNREADABLE => *end = last,
        Some(_) | None => spans.push((first, last)),
    };
    let all = || (0..=u8::MAX).filter(move |protocol| exists(*protocol, v4));
    for protocol in all() {
        // Port 0 is nobody's.
        let least = u16::from(has_ports(protocol));
        add(place(protocol, least), place(protocol, u16::MAX));
    }
    for protocol in all() {
        add(blank(protocol), blank(protocol));
    }
    spans
}

/// Numbers of effects, each with that of its services.
pub(super) type Differences = Rc<[(u32, u32)]>;

/// What two tables make of pairs.
#[derive(Debug)]
pub(in crate::policy) struct Judged<'a> {
    tables: Both<&'a Table>,
    /// By the numbers of each policy's rules.
    rules: Both<Vec<u32>>,
    /// Of each rule, its number in each policy that has it.
    pub(in crate::policy) numbers: Vec<Both<Option<RuleNumber>>>,
    pub(in crate::policy) effects: Vec<Effects>,
    effect_numbers: Numbered<Effects>,
    pub(in crate::policy) services: Vec<Vec<Run>>,
    service_numbers: Numbered<Vec<Run>>,
    /// By family: whether it is IPv4.
    known: HashMap<(bool, Both<Posed>), Differences, Quick>,
    alike: HashMap<(u32, u32), bool, Quick>,
    /// By family: IPv4 first.
    spans: [Vec<(u32, u32)>; 2],
}

impl<'a> Judged<'a> {
    pub(super) fn new(tables: Both<&'a Table>) -> Self {
        let mut known: BTreeMap<&str, u32> = BTreeMap::new();
        let mut numbers: Vec<Both<Option<RuleNumber>>> = Vec::new();
        let mut joint = |table: &'a Table, new: bool| {
            let each = (0..).zip(table.rules()).map(|(number, face)| {
                let next = u32::try_from(numbers.len()).unwrap_or(NO_RULE);
                let rule = *known.entry(face.id.as_str()).or_insert_with(|| {
                    numbers.push(Both::default());
                    next
                });
                if let Some(here) = at_mut(&mut numbers, rule) {
                    *(if new { &mut here.new } else { &mut here.old }) = Some(RuleNumber(number));
                }
                rule
            });
            each.collect::<Vec<u32>>()
        };
        let rules = Both { old: joint(tables.old, false), new: joint(tables.new, true) };
        Self {
            tables,
            rules,
            numbers,
            effects: Vec::new(),
            effect_numbers: Numbered::default(),
            services: Vec::new(),
            service_numbers: Numbered::default(),
            known: HashMap::default(),
            alike: HashMap::default(),
            spans: [spans(true), spans(false)],
        }
    }

    /// Whether two programs answer alike, whatever the service.
    pub(super) fn alike(&mut self, old: u32, new: u32) -> bool {
        if let Some(alike) = self.alike.get(&(old, new)) {
            return *alike;
        }
        let mut cuts = Cuts::default();
        self.tables.old.cut(old, Column::ALIKE, &mut cuts);
        self.tables.new.cut(new, Column::ALIKE, &mut cuts);
        let says = |table: &Table, rules: &[u32], program, service| {
            let answer = table.answer_by(program, service);
            (answer.denial, joint(rules, answer.rule), answer.guardrails)
        };
        let alike = runs(&EVERYTHING, &cuts).into_iter().all(|run| {
            let service = run.sample();
            says(self.tables.old, &self.rules.old, old, service)
                == says(self.tables.new, &self.rules.new, new, service)
        });
        self.alike.insert((old, new), alike);
        alike
    }

    /// Whether zones govern two columns alike, whatever the service.
    pub(super) fn governs_alike(&self, modes: Both<(u32, Option<Mode>)>) -> bool {
        let Both { old, new } = modes;
        if old.0 == Column::ALIKE && new.0 == Column::ALIKE {
            return old.1 == new.1;
        }
        let mut cuts = Cuts::default();
        self.tables.old.cut(Column::ALIKE, old.0, &mut cuts);
        self.tables.new.cut(Column::ALIKE, new.0, &mut cuts);
        runs(&EVERYTHING, &cuts).into_iter().all(|run| {
            let service = run.sample();
            self.tables.old.mode_by(old, service) == self.tables.new.mode_by(new, service)
        })
    }

    /// Where two tables differ on a pair of a family: effects and services, by number.
    pub(super) fn differences(&mut self, v4: bool, posed: Both<Posed>) -> Differences {
        if let Some(known) = self.known.get(&(v4, posed)) {
            return Rc::clone(known);
        }
        let mut cuts = Cuts::default();
        for (table, posed) in self.tables.zip(posed).each() {
            table.cut(posed.program, posed.modes.0, &mut cuts);
        }
        let [four, six] = &self.spans;
        let spans = if v4 { four } else { six };
        let mut by_effects: BTreeMap<Effects, Vec<Run>> = BTreeMap::new();
        for run in runs(spans, &cuts) {
            if let Some(effects) = self.effects_of(posed, run.sample()) {
                by_effects.entry(effects).or_default().push(run);
            }
        }
        let mut numbered = Vec::with_capacity(by_effects.len());
        for (effects, runs) in by_effects {
            let runs = joined(runs, spans);
            let (effect, new) = self.effect_numbers.number(effects);
            if new {
                self.effects.push(effects);
            }
            let (services, new) = self.service_numbers.number(runs.clone());
            if new {
                self.services.push(runs);
            }
            numbered.push((effect, services));
        }
        let numbered: Differences = numbered.into();
        self.known.insert((v4, posed), Rc::clone(&numbered));
        numbered
    }

    /// What becomes of one packet under both, where that differs.
    fn effects_of(&self, posed: Both<Posed>, service: Service) -> Option<Effects> {
        let (old, zones_old) = effect(self.tables.old, &self.rules.old, &posed.old, service);
        let (new, zones_new) = effect(self.tables.new, &self.rules.new, &posed.new, service);
        let opens = !old.crosses() && new.crosses();
        let enforced = opens && zones_old.max(zones_new) == Some(Mode::Enforce);
        (old != new).then_some(Effects { of: Both { old, new }, enforced })
    }
}

/// As [`Table::judge`] has it, and the mode of the destination's own zones.
fn effect(table: &Table, rules: &[u32], posed: &Posed, service: Service) -> (Effect, Option<Mode>) {
    let answer = table.answer_by(posed.program, service);
    let zones = table.mode_by(posed.modes, service);
    let mode = if zones.is_some() { zones.max(posed.beside).unwrap_or(posed.alone) } else { posed.alone };
    let mode = answer.guardrails.map_or(mode, |guardrails| guardrails.max(mode));
    let effect = match posed.misplaced {
        Some(denial) => Effect { denial: Some(denial), rule: NO_RULE, mode },
        None => Effect { denial: answer.denial, rule: joint(rules, answer.rule), mode },
    };
    (effect, zones)
}

fn joint(rules: &[u32], rule: RuleNumber) -> u32 {
    at(rules, rule.0).copied().unwrap_or(NO_RULE)
}

/// All places, whatever can be.
const EVERYTHING: [(u32, u32); 2] = [(0, UNREADABLE - 1), (UNREADABLE, UNREADABLE + 255)];

/// The places of spans in pieces in which nothing is cut.
fn runs(spans: &[(u32, u32)], cuts: &Cuts) -> Vec<Run> {
    // Protocols of which some source ports count.
    let sourced: BTreeSet<u8> =
        cuts.sources.iter().filter_map(|cut| u8::try_from(cut >> 16).ok()).collect();
    let mut edges = cuts.destinations.clone();
    for protocol in &sourced {
        let first = place(*protocol, 0);
        edges.extend([first, first + (1 << 16)]);
    }
    let mut all = Vec::new();
    for (first, last) in spans.iter().flat_map(|span| pieces(*span, &edges)) {
        match u8::try_from(first >> 16).ok().filter(|protocol| sourced.contains(protocol)) {
            None => all.push(Run { from: ALL, first, last }),
            Some(protocol) => {
                let from = sources(protocol, cuts).into_iter();
                all.extend(from.map(|from| Run { from, first, last }));
            }
        }
    }
    all
}

/// A span in pieces that begin at the edges.
fn pieces((start, end): (u32, u32), edges: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let inner = edges.range((Bound::Excluded(start), Bound::Included(end))).copied();
    let firsts = std::iter::once(start).chain(inner.clone());
    firsts.zip(inner.map(|edge| edge - 1).chain([end])).collect()
}

/// Source ports of a protocol, where they are cut.
fn sources(protocol: u8, cuts: &Cuts) -> Vec<(u16, u16)> {
    let all = pieces((place(protocol, 0), place(protocol, u16::MAX)), &cuts.sources).into_iter();
    let port = |place: u32| u16::try_from(place & 0xffff).unwrap_or(u16::MAX);
    let ports = all.map(|(first, last)| (port(first), port(last)));
    // Port 0 is nobody's.
    ports.filter(|range| !has_ports(protocol) || *range != (0, 0)).collect()
}

/// Fewer runs of the same services.
fn joined(mut runs: Vec<Run>, spans: &[(u32, u32)]) -> Vec<Run> {
    runs.sort_unstable_by_key(|run| (run.first, run.last, run.from));
    runs.dedup_by(|next, last| {
        let meet = (next.first, next.last) == (last.first, last.last)
            && last.from.1.checked_add(1) == Some(next.from.0);
        if meet {
            last.from.1 = next.from.1;
        }
        meet
    });
    for run in &mut runs {
        let ported = has_ports(service_at(run.first, 0).protocol);
        if ported && run.from == (1, u16::MAX) {
            run.from = ALL;
        }
    }
    runs.sort_unstable();
    runs.dedup_by(|next, last| {
        let meet = next.from == last.from && after(last.last, spans) == Some(next.first);
        if meet {
            last.last = next.last;
        }
        meet
    });
    for run in &mut runs {
        run.round(spans);
    }
    runs
}

/// The place that follows another; none follows across what can be read.
fn after(place: u32, spans: &[(u32, u32)]) -> Option<u32> {
    let next = place + 1;
    let span = spans.partition_point(|(_, last)| *last < next);
    let next = spans.get(span).map(|(first, _)| next.max(*first))?;
    (place >= UNREADABLE || next < UNREADABLE).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meets_is_one_run_and_what_cannot_be_parts_nothing() {
        let run = |from, first, last| Run { from, first, last };
        for v4 in [true, false] {
            let spans = spans(v4);
            let mut cuts = Cuts::default();
            cuts.destinations.extend([
                place(TCP, 80),
                place(TCP, 81),
                UNREADABLE,
                blank(TCP),
                blank(TCP) + 1,
            ]);
            cuts.sources.extend([place(UDP, 0), place(UDP, 68), place(UDP, 69), place(UDP, u16::MAX) + 1]);
            let all = runs(&spans, &cuts);
            assert_eq!(
                joined(all.clone(), &spans),
                [run(ALL, 0, UNREADABLE - 1), run(ALL, UNREADABLE, UNREADABLE + 255)]
            );
            let some = all.iter().filter(|run| run.first == place(TCP, 80) || run.first == blank(TCP));
            assert_eq!(
                joined(some.copied().collect(), &spans),
                [run(ALL, place(TCP, 80), place(TCP, 80)), run(ALL, blank(TCP), blank(TCP))]
            );
            let some = all.iter().filter(|run| run.from == (68, 68));
            assert_eq!(
                joined(some.copied().collect(), &spans),
                [run((68, 68), place(UDP, 0), place(UDP, u16::MAX))]
            );
            // Each service that can be lies in exactly one piece.
            for protocol in (0..=u8::MAX).filter(|protocol| exists(*protocol, v4)) {
                for (sport, dport) in [(1, 1), (67, 80), (68, 81), (69, 443), (u16::MAX, u16::MAX)] {
                    for readable in [true, false] {
                        let service = Service { protocol, sport, dport, readable };
                        assert_eq!(
                            all.iter().filter(|run| run.contains(service)).count(),
                            1,
                            "{service:?}"
                        );
                    }
                }
            }
        }
    }
}
