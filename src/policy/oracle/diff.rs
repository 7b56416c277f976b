//! Random pairs of policies: where they differ, no probe of the naive evaluator lies outside what is told.

use std::collections::BTreeSet;
use std::net::IpAddr;

use proptest::collection::vec;
use proptest::prelude::*;

use super::Oracle;
use super::random::{Probe, cases, model, probe};
use crate::policy::diff::both::Both;
use crate::policy::diff::cross::{Crossed, Entry, Key, Kind};
use crate::policy::diff::effect::{Effect, Effects, NO_RULE};
use crate::policy::diff::example::packet;
use crate::policy::model::{Model, Rule};
use crate::policy::prefix::Prefix;
use crate::policy::stage::odd_source;
use crate::policy::witness::prefixes;
use crate::policy::{Exceptions, Moment, RuleNumber, SenderMac, Table, Verdict, compile};
use crate::wire::{Odd, Service, is_extension};

/// Another policy made of one, with parts of a third.
fn mutated(old: &Model, donor: &Model, changes: &[(u8, usize)]) -> Model {
    fn other<T: Clone>(list: &[T], donor: &[T], at: usize, put: impl Fn(&mut T, &T)) -> Vec<T> {
        let mut list = list.to_vec();
        if let (Some(from), false) = (donor.get(at % donor.len().max(1)), list.is_empty()) {
            let at = at % list.len();
            put(&mut list[at], from);
        }
        list
    }
    fn without<T: Clone>(list: &[T], at: usize) -> Vec<T> {
        let mut list = list.to_vec();
        if !list.is_empty() {
            list.remove(at % list.len());
        }
        list
    }
    let mut new = old.clone();
    for (what, at) in changes.iter().copied() {
        match what {
            0 => new.rules = without(&new.rules, at),
            1 => {
                let rule = donor.rules.get(at % donor.rules.len().max(1));
                new.rules.extend(rule.map(|rule| Rule { id: format!("new{at}"), ..rule.clone() }));
            }
            2 => {
                new.rules = other(&new.rules, &donor.rules, at, |rule, from| match at % 3 {
                    0 => rule.services = from.services.clone(),
                    1 => rule.from = from.from.clone(),
                    _ => rule.to = from.to.clone(),
                });
            }
            3 => new.workloads = without(&new.workloads, at),
            4 => {
                new.workloads =
                    other(&new.workloads, &donor.workloads, at, |workload, from| match at % 5 {
                        0 => workload.labels = from.labels.clone(),
                        1 => workload.addresses = from.addresses.clone(),
                        2 => workload.macs = from.macs.clone(),
                        3 => workload.service_account = from.service_account.clone(),
                        _ => workload.valid_until = from.valid_until,
                    });
            }
            5 => {
                new.zones = other(&new.zones, &donor.zones, at, |zone, from| match at % 3 {
                    0 => zone.mode = from.mode,
                    1 => zone.service_modes = from.service_modes.clone(),
                    _ => zone.members = from.members.clone(),
                });
            }
            6 => {
                new.networks = other(&new.networks, &donor.networks, at, |network, from| match at % 5 {
                    0 => network.prefixes = from.prefixes.clone(),
                    1 => network.vlans = from.vlans.clone(),
                    2 => network.via = from.via.clone(),
                    3 => network.side = from.side,
                    _ => network.labels = from.labels.clone(),
                });
            }
            7 => new.groups = donor.groups.clone(),
            8 => new.gate = donor.gate.clone(),
            9 => new.wire.unzoned = donor.wire.unzoned,
            _ => {
                new.rules = other(&new.rules, &donor.rules, at, |rule, from| {
                    rule.tier = from.tier;
                    rule.mode = from.mode;
                });
            }
        }
    }
    // As the reader leaves it: no prefix twice, rules by tier, no id twice.
    let mut seen = BTreeSet::new();
    new.networks.iter_mut().for_each(|n| n.prefixes.retain(|p| seen.insert(*p)));
    let mut seen = BTreeSet::new();
    new.workloads.iter_mut().for_each(|w| w.addresses.retain(|p| seen.insert(*p)));
    let mut seen = BTreeSet::new();
    new.rules.retain(|rule| seen.insert(rule.full_id()));
    new.rules.sort_by_key(|rule| rule.tier);
    new
}

/// What a verdict comes to, in the numbers of both policies' rules.
fn effect(crossed: &Crossed<'_>, verdict: Verdict, new: bool) -> Effect {
    let named = |numbers: &Both<Option<RuleNumber>>| if new { numbers.new } else { numbers.old };
    let rule = crossed.judged.numbers.iter().position(|numbers| named(numbers) == Some(verdict.rule));
    let rule = rule.map_or(NO_RULE, |rule| u32::try_from(rule).unwrap());
    Effect { denial: verdict.denial, rule, mode: verdict.mode }
}

/// Whether rules can be asked of such a packet at all.
fn possible((src, dst, service, ..): &Probe) -> bool {
    let host = |address: IpAddr| Prefix::containing(address, if address.is_ipv4() { 32 } else { 128 });
    let Service { protocol, sport, dport, readable } = *service;
    let v4 = src.address.is_ipv4();
    let exists = match protocol {
        1 => v4,
        58 => !v4,
        6 | 17 => !readable || (sport > 0 && dport > 0),
        other => v4 || !is_extension(other),
    };
    let odd = |address| odd_source(host(address)).is_some_and(|odd| odd != Odd::LinkLocal);
    v4 == dst.is_ipv4() && exists && !odd(src.address) && matches!(src.mac, SenderMac::Seen(_))
}

/// The runs of addresses that both policies' prefixes cut, by trying each prefix.
struct Runs {
    prefixes: Vec<Prefix>,
    known: Vec<Vec<bool>>,
}

impl Runs {
    fn new(models: [&Model; 2], crossed: &Crossed<'_>) -> Self {
        let prefixes = prefixes(&models);
        let mut runs = Self { prefixes, known: Vec::new() };
        runs.known = crossed.ends.addresses.iter().map(|address| runs.around(*address)).collect();
        runs
    }

    fn around(&self, address: IpAddr) -> Vec<bool> {
        let family = std::iter::once(address.is_ipv4());
        family.chain(self.prefixes.iter().map(|prefix| prefix.contains(address))).collect()
    }

    fn of(&self, address: IpAddr) -> u32 {
        let around = self.around(address);
        let run = self.known.iter().position(|known| *known == around).expect("a run of every address");
        u32::try_from(run).unwrap()
    }
}

/// Whether an entry tells of a packet.
fn tells(
    crossed: &Crossed<'_>,
    entry: &Entry,
    effects: Both<Effect>,
    (from, to): (u32, u32),
    (src, _, service, side, _): &Probe,
    tables: [&Table; 2],
) -> bool {
    let at = |n: u32| usize::try_from(n).unwrap();
    let Key { side: arrives, macs, effects: number, services } = entry.key;
    let [old, new] = tables.map(|table| table.is_true(*src, *side));
    let bit = 1 << (u8::from(old) | u8::from(new) << 1);
    let told: &Effects = &crossed.judged.effects[at(number)];
    arrives == *side
        && (macs == Key::ANY || macs & bit != 0)
        && told.of == effects
        && crossed.judged.services[at(services)].iter().any(|run| run.contains(*service))
        && entry.senders.iter().any(|class| crossed.ends.senders[at(*class)].members.contains(&from))
        && entry.receivers.iter().any(|class| crossed.ends.receivers[at(*class)].members.contains(&to))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases() / 2, failure_persistence: None, ..ProptestConfig::default() })]

    /// POLICY.md §7: what differs between two policies is told, and nothing else is.
    #[test]
    fn what_differs_is_told_and_what_is_told_differs(
        old in model(),
        donor in model(),
        changes in vec((0..11_u8, 0..64_usize), 1..4),
        probes in vec(probe(), 128),
        now in (0..=6_u64).prop_map(Moment),
    ) {
        let new = mutated(&old, &donor, &changes);
        let tables = [&old, &new].map(|model| compile(model, &Exceptions::NONE));
        let [old_table, new_table] = &tables;
        let none = Exceptions::NONE;
        let oracles = [Oracle::new(&old, &none), Oracle::new(&new, &none)];
        let models = Both { old: &old, new: &new };
        let mut crossed = Crossed::new(models, Both { old: old_table, new: new_table }, now);
        prop_assert!(crossed.left_out.is_empty());
        let runs = Runs::new([&old, &new], &crossed);
        let judge = |crossed: &Crossed<'_>, (src, dst, service, side, _): Probe| {
            let [old, new] = &oracles;
            Both {
                old: effect(crossed, old.judge(src, dst, service, side, now), false),
                new: effect(crossed, new.judge(src, dst, service, side, now), true),
            }
        };
        for probe in probes.into_iter().filter(possible) {
            let effects = judge(&crossed, probe);
            if effects.old == effects.new {
                continue;
            }
            let ends = (runs.of(probe.0.address), runs.of(probe.1));
            let told = crossed.entries.iter().any(|entry| {
                tells(&crossed, entry, effects, ends, &probe, [old_table, new_table])
            });
            prop_assert!(told, "{:?}: {:?} at {:?}, not told", probe, effects, now);
            prop_assert!(crossed.opens || effects.old.crosses() || !effects.new.crosses(), "{:?}", probe);
        }
        let entries = std::mem::take(&mut crossed.entries);
        let mut opens = false;
        for entry in &entries {
            let told = crossed.judged.effects[usize::try_from(entry.key.effects).unwrap()];
            // Any sender of it with any receiver: the first, the last.
            let (first, last) = (entry.senders[0], entry.senders[entry.senders.len() - 1]);
            let (near, far) = (entry.receivers[0], entry.receivers[entry.receivers.len() - 1]);
            for (sender, receiver) in [(first, near), (last, far)] {
                let one = Entry {
                    key: entry.key,
                    senders: [sender].into(),
                    receivers: [receiver].into(),
                };
                let example = packet(&mut crossed, &one);
                prop_assert!(example.is_some(), "{:?} of {:?} has no packet", entry.key, told);
                let (src, dst, service, side) = example.unwrap();
                let effects = judge(&crossed, (src, dst, service, side, now));
                prop_assert_eq!(effects, told.of, "{:?} → {} {:?} {} at {:?}", src, dst, service, side, now);
            }
            opens |= Kind::of(&told) == Kind::Opens;
        }
        prop_assert_eq!(opens, crossed.opens);
    }

    /// A policy differs in nothing from itself.
    #[test]
    fn a_policy_differs_in_nothing_from_itself(model in model(), now in (0..=6_u64).prop_map(Moment)) {
        let tables = [&model, &model].map(|model| compile(model, &Exceptions::NONE));
        let [old, new] = &tables;
        let crossed = Crossed::new(Both { old: &model, new: &model }, Both { old, new }, now);
        prop_assert!(crossed.entries.is_empty() && !crossed.opens);
    }
}
