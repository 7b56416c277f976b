//! The policy digest: BLAKE3 over a canonical form of the model; and the table digest, over that and the exceptions.
//!
//! Invariant: what a policy means and says gives its digest; where it stands in which file does not. Every
//! field is taken apart by name, so that a new one does not compile until it is placed here.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::ops::Range;

use super::exception::{Exception, Exceptions, Party};
use super::model::{
    Atom, Gate, Group, LabelKey, Limits, Match, Model, NamedService, Network, Owner, Rule, Selector,
    ServiceSet, Test, Timeouts, Wire, Workload, Zone,
};

/// Version of the canonical form.
const FORM: &str = "portcullis policy 4";
/// The same of a policy with exceptions.
const EXCEPTED: &str = "portcullis table 1";

/// The digest of a policy.
pub(super) fn of(model: &Model) -> [u8; 32] {
    let Model {
        gate,
        wire,
        profile,
        labels,
        owners,
        networks,
        workloads,
        groups,
        zones,
        services,
        rules,
        tests,
    } = model;
    let mut canon = Canon::default();
    canon.text(FORM);
    canon.gate(gate);
    canon.wire(wire);
    canon.list(profile, |c, (class, action)| c.text(class.name()).text(&format!("{action:?}")));
    canon.list(labels, |c, (key, LabelKey { values, required })| {
        c.text(key).flag(values.is_some()).set(values.iter().flatten()).flag(*required)
    });
    canon.list(owners, |c, (name, Owner { authors, approvers })| c.text(name).set(authors).set(approvers));
    canon.sorted(networks, |n| &n.name, Canon::network);
    canon.sorted(workloads, |w| &w.name, Canon::workload);
    canon.sorted(
        groups,
        |g| &g.name,
        |c, Group { name, addresses, origin: _ }| c.text(name).set(addresses),
    );
    canon.sorted(zones, |z| &z.name, Canon::zone);
    canon.list(services, |c, (name, NamedService { atoms, origin: _ })| c.text(name).atoms(atoms));
    canon.sorted(rules, |r| (r.tier, &r.id), Canon::rule);
    canon.sorted(tests, |t| &t.name, Canon::test);
    canon.finish()
}

/// The digest of a table: that of its policy, and with exceptions one of both.
pub(super) fn with(policy: [u8; 32], exceptions: &Exceptions) -> [u8; 32] {
    if exceptions.is_empty() {
        return policy;
    }
    let mut canon = Canon::default();
    canon.text(EXCEPTED);
    canon.block.extend_from_slice(&policy);
    canon.list(exceptions.iter(), Canon::exception);
    canon.finish()
}

/// The digest of one rule: two rules with the same say the same.
pub(super) fn of_rule(rule: &Rule) -> [u8; 32] {
    let mut canon = Canon::default();
    canon.rule(rule);
    canon.finish()
}

/// The same of a zone.
pub(super) fn of_zone(zone: &Zone) -> [u8; 32] {
    let mut canon = Canon::default();
    canon.zone(zone);
    canon.finish()
}

/// The same of a network.
pub(super) fn of_network(network: &Network) -> [u8; 32] {
    let mut canon = Canon::default();
    canon.network(network);
    canon.finish()
}

/// Bytes gathered before they are hashed: an update for each field would cost more than the fields.
const BLOCK: usize = 64 << 10;

/// Writes length-prefixed fields into the hash.
#[derive(Default)]
struct Canon {
    hasher: blake3::Hasher,
    block: Vec<u8>,
    /// The items of one set, and where each begins and ends.
    items: String,
    places: Vec<Range<usize>>,
}

impl Canon {
    fn text(&mut self, text: &str) -> &mut Self {
        self.number(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.block.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        if self.block.len() >= BLOCK {
            self.hasher.update(&self.block);
            self.block.clear();
        }
        self.block.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.block);
        *self.hasher.finalize().as_bytes()
    }

    fn number_of(&mut self, number: impl Into<u64>) -> &mut Self {
        self.number(number.into())
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.number(u64::from(flag))
    }

    fn maybe(&mut self, text: Option<&String>) -> &mut Self {
        self.list(text, |c, text| c.text(text))
    }

    /// Items in the order given.
    fn list<I: IntoIterator>(
        &mut self,
        items: I,
        each: impl for<'c> Fn(&'c mut Self, I::Item) -> &'c mut Self,
    ) -> &mut Self {
        let items: Vec<I::Item> = items.into_iter().collect();
        self.number(u64::try_from(items.len()).unwrap_or(u64::MAX));
        for item in items {
            each(self, item);
        }
        self
    }

    fn sorted<'a, T, K: Ord>(
        &mut self,
        items: &'a [T],
        key: impl Fn(&'a T) -> K,
        each: impl for<'c> Fn(&'c mut Self, &'a T) -> &'c mut Self,
    ) -> &mut Self {
        let mut items: Vec<&T> = items.iter().collect();
        items.sort_by_key(|item| key(item));
        self.list(items, each)
    }

    /// Items whose order means nothing.
    fn set<T: Display>(&mut self, items: impl IntoIterator<Item = T>) -> &mut Self {
        let (mut text, mut places) = (std::mem::take(&mut self.items), std::mem::take(&mut self.places));
        text.clear();
        places.clear();
        for item in items {
            let start = text.len();
            // Writing to a String cannot fail.
            let _ = write!(text, "{item}");
            places.push(start..text.len());
        }
        let item = |place: &Range<usize>| text.get(place.clone()).unwrap_or_default();
        places.sort_unstable_by(|one, other| item(one).cmp(item(other)));
        places.dedup_by(|one, other| item(one) == item(other));
        self.list(&places, |c, place| c.text(item(place)));
        (self.items, self.places) = (text, places);
        self
    }

    fn gate(&mut self, gate: &Gate) -> &mut Self {
        let Gate {
            socket,
            rings,
            queues,
            symmetric_rss,
            flows,
            heartbeat,
            management,
            link_local,
            cold_start_reset,
            inventory_limit,
            timeouts,
            limits,
        } = gate;
        self.text(&socket.to_string_lossy())
            .number(u64::from(*rings))
            .number(u64::from(*flows))
            .number(*heartbeat)
            .set(management)
            .text(&format!("{link_local:?}"))
            .number(*cold_start_reset)
            .silence((!gate.is_usual_silence()).then_some(*inventory_limit))
            .queues(*queues)
            .symmetric_rss(*symmetric_rss)
            .timeouts(*timeouts)
            .limits(*limits)
    }

    /// Nothing where none are written, as below.
    fn queues(&mut self, queues: Option<u32>) -> &mut Self {
        match queues {
            Some(queues) => self.text("queues").number(u64::from(queues)),
            None => self,
        }
    }

    /// Nothing where it is asked for, as below.
    fn symmetric_rss(&mut self, asked: bool) -> &mut Self {
        if asked { self } else { self.text("symmetric_rss").text("off") }
    }

    /// Nothing where the usual one holds: a policy that was approved before the key was there is the same one. No
    /// list of timeouts begins as the name does.
    fn silence(&mut self, limit: Option<u64>) -> &mut Self {
        match limit {
            Some(limit) => self.text("inventory_limit").number(limit),
            None => self,
        }
    }

    fn timeouts(&mut self, timeouts: Timeouts) -> &mut Self {
        let Timeouts {
            tcp_opening,
            tcp_established,
            tcp_half_closed,
            tcp_closing,
            tcp_closed,
            udp_one_way,
            udp,
            icmp,
            other,
            fragment,
        } = timeouts;
        let tcp = [tcp_opening, tcp_established, tcp_half_closed, tcp_closing, tcp_closed];
        let rest = [udp_one_way, udp, icmp, other, fragment];
        self.list(tcp, Self::number_of).list(rest, Self::number_of)
    }

    fn limits(&mut self, limits: Limits) -> &mut Self {
        let Limits {
            half_open,
            new_flows_per_source,
            new_flows_burst,
            flows_per_source,
            flows_from_outside,
            datagrams,
            datagrams_per_source,
            held_fragments,
            held_fragments_per_source,
            replies,
            replies_per_source,
        } = limits;
        let flows =
            [half_open, new_flows_per_source, new_flows_burst, flows_per_source, flows_from_outside];
        let fragments = [datagrams, datagrams_per_source, held_fragments, held_fragments_per_source];
        self.list(flows, Self::number_of)
            .list(fragments, Self::number_of)
            .list([replies, replies_per_source], Self::number_of)
    }

    fn wire(&mut self, wire: &Wire) -> &mut Self {
        let Wire { name, ports: [outside, inside], unzoned, origin: _ } = wire;
        self.text(name).text(outside).text(inside).text(unzoned.name())
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>) -> &mut Self {
        self.list(labels, |c, (key, value)| c.text(key).text(value))
    }

    fn network(&mut self, network: &Network) -> &mut Self {
        let Network { name, side, prefixes, vlans, via, labels, origin: _ } = network;
        self.text(name).text(side.name()).set(prefixes).set(vlans).set(via).labels(labels)
    }

    fn workload(&mut self, workload: &Workload) -> &mut Self {
        // When its source was heard is no part of what it says: approvals outlive it.
        let Workload {
            name,
            addresses,
            labels,
            service_account,
            macs,
            owner,
            valid_until,
            heard: _,
            origin: _,
        } = workload;
        self.text(name)
            .set(addresses)
            .labels(labels)
            .maybe(service_account.as_ref())
            .set(macs)
            .maybe(owner.as_ref())
            .list(valid_until, |c, until| c.number(until.0))
    }

    fn zone(&mut self, zone: &Zone) -> &mut Self {
        let Zone { name, members, owner, data_class, mode, service_modes, origin: _ } = zone;
        let mut services: Vec<&(ServiceSet, super::Mode)> = service_modes.iter().collect();
        services.sort_by_key(|(set, mode)| (&set.written, *mode));
        self.text(name)
            .selector(members)
            .maybe(owner.as_ref())
            .maybe(data_class.as_ref())
            .text(mode.name())
            .list(services, |c, (set, mode)| c.services(set).text(mode.name()))
    }

    fn atoms(&mut self, atoms: &[Atom]) -> &mut Self {
        self.set(atoms.iter().map(|a| {
            let Atom { protocol, to, from } = a;
            format!("{protocol} {}-{} {}-{}", to.0, to.1, from.0, from.1)
        }))
    }

    fn services(&mut self, services: &ServiceSet) -> &mut Self {
        let ServiceSet { written, any, atoms } = services;
        self.set(written).flag(*any).atoms(atoms)
    }

    fn selector(&mut self, selector: &Selector) -> &mut Self {
        match selector {
            Selector::Any => self.text("any"),
            Selector::Except(list) => self.text("except").list(list, Self::keys),
            Selector::Match(keys) => self.text("match").keys(keys),
        }
    }

    fn keys(&mut self, keys: &Match) -> &mut Self {
        let Match { labels, not, names, zones, networks, groups, accounts, unknown, same, differs } = keys;
        self.list(labels, |c, (key, values)| c.text(key).set(values))
            .list(not, |c, (key, values)| c.text(key).set(values))
            .set(names)
            .set(zones)
            .set(networks)
            .set(groups)
            .set(accounts)
            .flag(*unknown)
            .set(same)
            .set(differs)
    }

    fn exception(&mut self, exception: &Exception) -> &mut Self {
        let Exception {
            id,
            from,
            to,
            services,
            both_ways,
            start,
            end,
            owner,
            requester,
            approver,
            reason,
            ticket,
        } = exception;
        self.text(id)
            .party(from)
            .party(to)
            .services(services)
            .flag(*both_ways)
            .number(start.0)
            .number(end.0)
            .list([owner, requester, approver, reason, ticket], |c, text| c.maybe(text.as_ref()))
    }

    fn party(&mut self, party: &Party) -> &mut Self {
        let Party { workloads, accounts } = party;
        self.set(workloads).set(accounts)
    }

    fn test(&mut self, test: &Test) -> &mut Self {
        let Test { name, from, to, services, expect, origin: _ } = test;
        self.text(name).selector(from).selector(to).services(services).text(expect.name())
    }

    fn rule(&mut self, rule: &Rule) -> &mut Self {
        let Rule {
            tier,
            id,
            from,
            to,
            services,
            mode,
            reply,
            both_ways,
            log,
            justification,
            owner,
            ticket,
            review_by,
            mitigation,
            origin: _,
        } = rule;
        self.text(tier.name())
            .text(id)
            .selector(from)
            .selector(to)
            .services(services)
            .list(mode, |c, mode| c.text(mode.name()))
            .list(reply, |c, reply| c.text(reply.name()))
            .flag(*both_ways)
            .flag(*log)
            .maybe(justification.as_ref())
            .maybe(owner.as_ref())
            .maybe(ticket.as_ref())
            .maybe(review_by.as_ref())
            .maybe(mitigation.as_ref())
    }
}
