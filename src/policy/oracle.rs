//! The naive evaluator over the model: the compiled table's slow twin.
//!
//! It shares nothing with the compiler but the model: every question scans every claim, network and rule,
//! and what needs "some address that …" tries one address of every run that the policy's prefixes cut.

mod batch;
mod diff;
mod proof;
mod random;
mod reach;

pub(super) use random::{models, probes, rules};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::exception::{Exception, Exceptions, Party};
use super::model::{Group, Match, Model, Network, Rule, Selector, ServiceSet, Tier, Workload, Zone};
use super::prefix::Prefix;
use super::verdict::{Action, Denial, Mode, Moment, RuleNumber, Sender, SenderMac, Verdict};
use crate::wire::{Service, Side};

/// A model, with what would be too slow to find anew for each question.
pub(super) struct Oracle<'m> {
    model: &'m Model,
    exceptions: &'m Exceptions,
    /// One address at least of every run of addresses.
    witnesses: Vec<IpAddr>,
    /// Zones with a member at a side.
    peopled: [Vec<&'m Zone>; 2],
    /// Somebody inside is in no zone.
    loose: bool,
    /// Specificity of each rule, then of each exception.
    products: Vec<u64>,
}

/// An end of a flow.
#[derive(Clone)]
struct End<'m> {
    workload: Option<&'m Workload>,
    group: Option<&'m Group>,
    held: bool,
    lapsed: bool,
    networks: Vec<&'m Network>,
    labels: BTreeMap<&'m str, &'m str>,
    zones: Vec<&'m Zone>,
}

impl<'m> Oracle<'m> {
    pub(super) fn new(model: &'m Model, exceptions: &'m Exceptions) -> Self {
        let (witnesses, products) = (Vec::new(), Vec::new());
        let peopled = [Vec::new(), Vec::new()];
        let mut oracle = Self { model, exceptions, witnesses, peopled, loose: false, products };
        let claims = model.workloads.iter().flat_map(|w| &w.addresses);
        let networks = model.networks.iter().flat_map(|n| &n.prefixes);
        let groups = model.groups.iter().flat_map(|g| &g.addresses);
        let witnesses: BTreeSet<IpAddr> = claims
            .chain(networks)
            .chain(groups)
            .flat_map(|p| [Some(p.address), past(*p)])
            .flatten()
            .collect();
        oracle.witnesses = witnesses.into_iter().collect();
        for side in Side::BOTH {
            oracle.peopled[side.index()] = model
                .zones
                .iter()
                .filter(|zone| {
                    oracle.witnesses.iter().any(|address| {
                        let end = oracle.bare(*address, true);
                        side_of(&end) == Some(side) && restricts(&zone.members, &end)
                    })
                })
                .collect();
        }
        oracle.loose = oracle.witnesses.iter().any(|address| {
            let end = oracle.end(*address, true, Moment(0));
            side_of(&end) == Some(Side::Inside) && end.zones.is_empty()
        });
        let rules = model.rules.iter().map(|rule| oracle.product(rule));
        let exceptions = exceptions.iter().map(|exception| oracle.product_of(exception));
        oracle.products = rules.chain(exceptions).collect();
        oracle
    }

    pub(super) fn judge(
        &self,
        src: Sender,
        dst: IpAddr,
        service: Service,
        side: Side,
        now: Moment,
    ) -> Verdict {
        let genuine = self.genuine(src, side);
        let from = self.end(src.address, genuine, now);
        let (to, group) = self.receiver(dst, side, now);

        let mut modes: Vec<Mode> = to.zones.iter().map(|zone| mode_to(zone, service)).collect();
        modes.extend(from.zones.iter().map(|zone| zone.mode));
        if side == Side::Inside && !genuine {
            modes.extend(self.peopled[Side::Inside.index()].iter().map(|zone| zone.mode));
            modes.extend(Some(self.model.wire.unzoned).filter(|_| self.loose && to.zones.is_empty()));
        }
        if modes.is_empty() {
            modes.push(self.model.wire.unzoned);
        }

        let mut matching: Vec<(Tier, &str, usize)> = Vec::new();
        let mut would = false;
        for (number, rule) in self.model.rules.iter().enumerate() {
            if !in_services(&rule.services, rule.tier, service) {
                continue;
            }
            let mut ways = vec![(&rule.from, &rule.to)];
            if rule.both_ways {
                ways.push((&rule.to, &rule.from));
            }
            let both_known = [&from, &to].iter().all(|end| end.workload.is_some() || end.group.is_some());
            let open = both_known || to.zones.is_empty();
            let paired = together(&rule.to, &from, &to);
            let matches = ways.iter().any(|(f, t)| match rule.tier {
                Tier::Allow | Tier::Exception => open && grants(f, &from) && grants(t, &to),
                Tier::Deny | Tier::Guardrail => restricts(f, &from) && restricts(t, &to),
            });
            if !paired {
                continue;
            }
            if matches {
                matching.push((rule.tier, &rule.id, number));
                modes.extend(if rule.tier == Tier::Guardrail { rule.mode } else { None });
            } else if rule.tier == Tier::Allow {
                // Holding an account takes a fresh binding, so who names one imagines that as well.
                let would_grant = |selector: &Selector, end: &End<'m>| {
                    let named = matches!(selector, Selector::Match(m) if !m.accounts.is_empty());
                    let lapsed = end.lapsed && !named;
                    grants(selector, &End { held: true, lapsed, ..end.clone() })
                };
                would |= open && ways.iter().any(|(f, t)| would_grant(f, &from) && would_grant(t, &to));
            }
        }
        let mut turns: Vec<Moment> = Vec::new();
        for (number, exception) in (self.model.rules.len()..).zip(self.exceptions.iter()) {
            let [matches, imagined] =
                [false, true].map(|imagined| excepts(exception, &from, &to, imagined));
            if !(matches || imagined) || !in_services(&exception.services, Tier::Exception, service) {
                continue;
            }
            turns.extend([exception.start, exception.end]);
            if now < exception.start || exception.end <= now {
                continue;
            }
            would |= imagined;
            if matches {
                matching.push((Tier::Exception, &exception.id, number));
            }
        }
        matching.sort_by_key(|(tier, id, number)| (*tier, self.products[*number], *id));
        let numbers: Vec<RuleNumber> =
            matching.iter().map(|(.., number)| RuleNumber(u32::try_from(*number).unwrap())).collect();
        let denial = match matching.first().map(|(tier, ..)| *tier) {
            Some(Tier::Guardrail) => Some(Denial::Guardrail),
            Some(Tier::Deny) => Some(Denial::Rule),
            Some(Tier::Allow | Tier::Exception) => None,
            None if would => Some(Denial::AccountNotHeld),
            None => Some(Denial::NoRule),
        };
        let nth = |n: usize| numbers.get(n).copied().unwrap_or(RuleNumber::NONE);
        let mut verdict = Verdict {
            denial,
            mode: *modes.iter().max().unwrap(),
            rule: nth(0),
            also: [nth(1), nth(2), nth(3), nth(4)],
            judge_at: Moment::NEVER,
        };
        for end in [&from, &to] {
            for end in end.workload.into_iter().flat_map(|w| self.ends(w)).filter(|_| !end.lapsed) {
                verdict.judge_at = verdict.judge_at.min(end);
            }
        }

        let failed = self.misplaced(src, dst, side, (&from, &to, group));
        if failed.is_none() {
            let next = turns.into_iter().filter(|turn| now < *turn).min();
            verdict.judge_at = next.unwrap_or(Moment::NEVER).min(verdict.judge_at);
        } else {
            verdict.denial = failed;
            verdict.rule = RuleNumber::NONE;
            verdict.also = [RuleNumber::NONE; 4];
        }
        verdict
    }

    /// The end that something is sent to, and whether it is no host.
    fn receiver(&self, dst: IpAddr, side: Side, now: Moment) -> (End<'m>, bool) {
        let listed = self.listed(dst);
        let group = listed.is_some()
            || match dst {
                IpAddr::V4(v4) => v4.octets()[0] >> 4 == 14 || v4.octets() == [255; 4],
                IpAddr::V6(v6) => v6.octets()[0] == 255,
            };
        if !group {
            return (self.end(dst, true, now), false);
        }
        let (networks, labels) = (Vec::new(), BTreeMap::new());
        let zones = self.peopled[side.other().index()].clone();
        (End { workload: None, group: listed, held: false, lapsed: false, networks, labels, zones }, true)
    }

    fn misplaced(
        &self,
        src: Sender,
        dst: IpAddr,
        side: Side,
        (from, to, group): (&End<'_>, &End<'_>, bool),
    ) -> Option<Denial> {
        let listed = |end: &End<'_>| end.networks.first().is_some_and(|n| n.vlans.contains(&src.vlans));
        let gate = &self.model.gate;
        let unique = |address: IpAddr| match address {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => [0xfc, 0xfd].contains(&v6.octets()[0]),
        };
        let stray = |address: IpAddr| {
            let own = |p: &&Prefix| p.contains(address) && p.length >= 7 && unique(p.address);
            unique(address) && !self.model.networks.iter().flat_map(|n| &n.prefixes).any(|p| own(&p))
        };
        let local = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let ends = [src.address, dst];
        if ends.iter().any(|end| gate.management.contains(end)) {
            Some(Denial::GateAddress)
        } else if gate.link_local == Action::Drop && ends.into_iter().any(local) {
            Some(Denial::LinkLocal)
        } else if ends.into_iter().any(stray) {
            Some(Denial::UniqueLocal)
        } else if side_of(from) != Some(side) || !listed(from) {
            Some(Denial::Spoofed)
        } else if !group && !listed(to) {
            Some(Denial::WrongVlan)
        } else if !group && side_of(to) == Some(side) {
            Some(Denial::SameSide)
        } else {
            None
        }
    }

    fn claim(&self, address: IpAddr) -> Option<(&'m Workload, Prefix)> {
        let claims = self.model.workloads.iter().flat_map(|w| w.addresses.iter().map(move |p| (w, *p)));
        claims.filter(|(_, p)| p.contains(address)).max_by_key(|(_, p)| p.length)
    }

    /// The group with the longest prefix that holds an address.
    fn listed(&self, address: IpAddr) -> Option<&'m Group> {
        let all = self.model.groups.iter().flat_map(|g| g.addresses.iter().map(move |p| (g, p)));
        all.filter(|(_, p)| p.contains(address)).max_by_key(|(_, p)| p.length).map(|(g, _)| g)
    }

    fn genuine(&self, src: Sender, side: Side) -> bool {
        let mac = match src.mac {
            SenderMac::Seen(mac) => mac,
            SenderMac::Assumed => return true,
            SenderMac::Stranger => return false,
        };
        let end = self.bare(src.address, false);
        side_of(&end) == Some(side)
            && (end.networks[0].via.contains(&mac) || end.workload.is_some_and(|w| w.macs.contains(&mac)))
    }

    /// An end without its zones.
    fn bare(&self, address: IpAddr, genuine: bool) -> End<'m> {
        let group = self.listed(address);
        if group.is_some() {
            let (networks, labels, zones) = (Vec::new(), BTreeMap::new(), Vec::new());
            return End { workload: None, group, held: false, lapsed: false, networks, labels, zones };
        }
        let claim = self.claim(address);
        let mut networks: Vec<(Reverse<u8>, &Network)> = self
            .model
            .networks
            .iter()
            .filter_map(|n| {
                let holding = n.prefixes.iter().filter(|p| p.contains(address));
                holding.map(|p| p.length).max().map(|length| (Reverse(length), n))
            })
            .collect();
        networks.sort_by_key(|(length, _)| *length);
        let side = networks.first().map(|(_, n)| n.side);
        let networks: Vec<&Network> =
            networks.into_iter().map(|(_, n)| n).filter(|n| Some(n.side) == side).collect();
        let workload = claim.map(|(w, _)| w);
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        for layer in networks.iter().rev().map(|n| &n.labels).chain(workload.map(|w| &w.labels)) {
            labels.extend(layer.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        }
        let held = genuine && claim.is_some_and(|(w, p)| p.is_host() && w.service_account.is_some());
        End { workload, group, held, lapsed: false, networks, labels, zones: Vec::new() }
    }

    fn end(&self, address: IpAddr, genuine: bool, now: Moment) -> End<'m> {
        let mut end = self.bare(address, genuine);
        end.lapsed = end.workload.is_some_and(|w| self.ends(w).iter().any(|until| now >= *until));
        end.held &= !end.lapsed;
        end.zones = self
            .model
            .zones
            .iter()
            .filter(|zone| {
                let stray = end.workload.is_none() && side_of(&end) == Some(Side::Inside);
                restricts(&zone.members, &self.bare(address, true))
                    || (stray && self.peopled[Side::Inside.index()].iter().any(|z| z.name == zone.name))
            })
            .collect();
        end
    }

    /// All moments at which a binding would lapse.
    fn ends(&self, workload: &Workload) -> Vec<Moment> {
        let limit = self.model.gate.inventory_limit;
        let silent = workload.heard.map(|heard| Moment(heard.0.saturating_add(limit)));
        [workload.valid_until, silent].into_iter().flatten().collect()
    }

    fn product(&self, rule: &Rule) -> u64 {
        let matched = |selector: &Selector| {
            let names: BTreeSet<&str> = self
                .witnesses
                .iter()
                .filter_map(|address| {
                    let end = self.end(*address, true, Moment(0));
                    let matches = match rule.tier {
                        Tier::Allow | Tier::Exception => grants(selector, &end),
                        Tier::Deny | Tier::Guardrail => restricts(selector, &end),
                    };
                    end.workload.filter(|_| matches).map(|w| w.name.as_str())
                })
                .collect();
            u64::try_from(names.len()).unwrap().max(1)
        };
        matched(&rule.from) * matched(&rule.to) * width(&rule.services)
    }

    fn product_of(&self, exception: &Exception) -> u64 {
        let matched = |party: &Party| {
            let here = |address: &&IpAddr| named(party, &self.end(**address, true, Moment(0)), false);
            let claims = self.witnesses.iter().filter(here).filter_map(|address| self.claim(*address));
            let names: BTreeSet<&str> = claims.map(|(w, _)| w.name.as_str()).collect();
            u64::try_from(names.len()).unwrap().max(1)
        };
        matched(&exception.from) * matched(&exception.to) * width(&exception.services)
    }
}

/// Whether an end is one of those that an exception names; `imagined`: if every account were held.
fn named(party: &Party, end: &End<'_>, imagined: bool) -> bool {
    let Some(workload) = end.workload.filter(|w| party.workloads.contains(&w.name)) else { return false };
    if party.accounts.is_empty() {
        return !end.lapsed;
    }
    let account = workload.service_account.as_ref();
    account.is_some_and(|account| party.accounts.contains(account)) && (imagined || end.held)
}

fn excepts(exception: &Exception, from: &End<'_>, to: &End<'_>, imagined: bool) -> bool {
    let there = named(&exception.from, from, imagined) && named(&exception.to, to, imagined);
    let back = || named(&exception.to, from, imagined) && named(&exception.from, to, imagined);
    there || (exception.both_ways && back())
}

fn side_of(end: &End<'_>) -> Option<Side> {
    end.networks.first().map(|n| n.side)
}

/// The address after a prefix's last.
fn past(prefix: Prefix) -> Option<IpAddr> {
    let host = u32::from(prefix.width() - prefix.length);
    match prefix.address {
        IpAddr::V4(v4) => {
            let past = u64::from(v4.to_bits()) + (1 << host);
            u32::try_from(past).ok().map(|bits| IpAddr::V4(bits.into()))
        }
        IpAddr::V6(v6) => {
            let past = v6.to_bits().checked_add(1_u128.checked_shl(host)?);
            past.map(|bits| IpAddr::V6(bits.into()))
        }
    }
}

/// POLICY.md §5: ports and ICMP types named, 65 536 at most.
fn width(set: &ServiceSet) -> u64 {
    if set.any {
        return 65_536;
    }
    let mut named: BTreeMap<u8, Vec<bool>> = BTreeMap::new();
    for atom in &set.atoms {
        let ports = named.entry(atom.protocol).or_insert_with(|| vec![false; 65_536]);
        let typed = [1, 58].contains(&atom.protocol) && atom.to != (0, 65_535);
        for port in atom.to.0..=atom.to.1 {
            ports[usize::from(if typed { port / 256 } else { port })] = true;
        }
    }
    named.values().map(|ports| ports.iter().filter(|p| **p).count() as u64).sum::<u64>().min(65_536)
}

fn in_services(set: &ServiceSet, tier: Tier, service: Service) -> bool {
    let mut atoms = set.atoms.iter().filter(|a| a.protocol == service.protocol);
    if set.any {
        true
    } else if service.readable {
        atoms.any(|a| {
            (a.to.0..=a.to.1).contains(&service.dport) && (a.from.0..=a.from.1).contains(&service.sport)
        })
    } else if matches!(tier, Tier::Allow | Tier::Exception) {
        let mut ports = vec![false; 65_536];
        for atom in atoms.filter(|a| a.from == (0, 65_535)) {
            ports[usize::from(atom.to.0)..=usize::from(atom.to.1)].fill(true);
        }
        !ports.contains(&false)
    } else {
        atoms.next().is_some()
    }
}

fn mode_to(zone: &Zone, service: Service) -> Mode {
    let named = zone.service_modes.iter().filter(|(set, _)| {
        set.any
            || set.atoms.iter().any(|a| {
                a.protocol == service.protocol
                    && (a.to.0..=a.to.1).contains(&service.dport)
                    && (a.from.0..=a.from.1).contains(&service.sport)
            })
    });
    if service.readable {
        named.map(|(_, mode)| *mode).max().unwrap_or(zone.mode)
    } else {
        zone.service_modes.iter().map(|(_, mode)| *mode).chain([zone.mode]).max().unwrap()
    }
}

/// As denies, guardrails and zones read a selector.
fn restricts(selector: &Selector, end: &End<'_>) -> bool {
    match selector {
        Selector::Any => end.workload.is_some(),
        Selector::Match(m) => keys(m, end, false),
        Selector::Except(list) => list.iter().all(|m| !keys(m, end, true)),
    }
}

/// As allows read it.
fn grants(selector: &Selector, end: &End<'_>) -> bool {
    match selector {
        Selector::Any => end.workload.is_some() && !end.lapsed,
        Selector::Match(m) => keys(m, end, true),
        Selector::Except(list) => {
            end.workload.is_some() && !end.lapsed && list.iter().all(|m| !keys(m, end, false))
        }
    }
}

/// `same` and `differs`, written in `to`, of any two ends.
fn together(to: &Selector, one: &End<'_>, other: &End<'_>) -> bool {
    let Selector::Match(m) = to else { return true };
    let equal = |key: &String| {
        let values = [one, other].map(|end| end.labels.get(key.as_str()));
        values[0].is_some() && values[0] == values[1]
    };
    let fresh = [one, other].iter().all(|end| end.workload.is_some() && !end.lapsed);
    let differ = m.differs.is_empty() || !(fresh && m.differs.iter().all(equal));
    m.same.iter().all(equal) && differ
}

fn keys(m: &Match, end: &End<'_>, granting: bool) -> bool {
    let has = |list: &[String], name: &str| list.iter().any(|l| l == name);
    let name = end.workload.map(|w| w.name.as_str());
    let account = end.workload.and_then(|w| w.service_account.as_deref());
    let wanted = [
        (!m.names.is_empty()).then(|| name.is_some_and(|n| has(&m.names, n))),
        (!m.zones.is_empty()).then(|| end.zones.iter().any(|z| has(&m.zones, &z.name))),
        (!m.networks.is_empty()).then(|| end.networks.iter().any(|n| has(&m.networks, &n.name))),
        (!m.accounts.is_empty())
            .then(|| account.is_some_and(|a| has(&m.accounts, a)) && (end.held || !granting)),
        (!m.groups.is_empty()).then(|| end.group.is_some_and(|g| has(&m.groups, &g.name))),
        m.unknown.then(|| name.is_none() && end.group.is_none()),
    ];
    let labels = m.labels.iter().map(|(k, v)| end.labels.get(k.as_str()).is_some_and(|x| has(v, x)));
    let own = |k: &str| end.lapsed && end.workload.is_some_and(|w| w.labels.contains_key(k));
    let refused =
        m.not.iter().map(|(k, v)| end.labels.get(k.as_str()).is_some_and(|x| own(k) || !has(v, x)));
    let all: Vec<bool> = wanted.into_iter().flatten().chain(labels).chain(refused).collect();
    let known = match end.group {
        Some(_) => !m.groups.is_empty(),
        None => name.is_some() || m.unknown,
    };
    let helped = !granting || (known && !end.lapsed);
    let written = !all.is_empty() || !m.same.is_empty() || !m.differs.is_empty();
    written && all.iter().all(|k| *k) && helped
}
