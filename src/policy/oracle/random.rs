//! Random policies and probes: table and oracle answer alike, in every field.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::Oracle;
use crate::policy::compile::divided;
use crate::policy::exception::{Exception, Exceptions, Party};
use crate::policy::model::{
    Atom, Gate, Group, Labels, Match, Model, Network, Reply, Rule, Selector, ServiceSet, Tier, Workload,
    Zone,
};
use crate::policy::prefix::Prefix;
use crate::policy::sample;
use crate::policy::source::Origin;
use crate::policy::wide::LINES;
use crate::policy::{
    Action, Connection, Met, Mode, Moment, RuleNumber, Sender, SenderMac, Verdict, compile,
};
use crate::wire::{Mac, Service, Side, Vlans};

const KEYS: [&str; 3] = ["app", "env", "rack"];
/// No selector names the last key: it tells nobody apart.
const NAMED: usize = 2;
const VALUES: [&str; 3] = ["x", "y", "z"];
const ACCOUNTS: [&str; 2] = ["acct-1", "acct-2"];
const NETWORKS: [&str; 5] = ["n0", "n1", "n2", "n3", "n4"];
const WORKLOADS: [&str; 12] = ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "wa", "wb"];
const GROUPS: [&str; 3] = ["g0", "g1", "g2"];
const ZONES: [&str; 3] = ["z0", "z1", "z2"];
const PROTOCOLS: [u8; 5] = [6, 17, 1, 58, 50];
const PORTS: [u16; 9] = [0, 1, 80, 81, 443, 2048, 2050, 2303, 65_535];

/// Leases end before it, one nanosecond apart.
const LAST: u64 = 6;

/// One probe.
pub(in crate::policy) type Probe = (Sender, IpAddr, Service, Side, Moment);

// A small space, so that prefixes nest, meet and cover one another.
fn address() -> impl Strategy<Value = IpAddr> {
    let part = || 0..4_u8;
    prop_oneof![
        4 => (part(), part()).prop_map(|(a, b)| Ipv4Addr::new(10, 0, a, b).into()),
        3 => (0..4_u16, 0..4_u16).prop_map(|(a, b)| Ipv6Addr::new(0x2001, 0xdb8, a, 0, 0, 0, 0, b).into()),
        1 => (select(vec![0xfd00, 0xfc00, 0xfe80]), 0..2_u16, 0..2_u16)
            .prop_map(|(top, a, b)| Ipv6Addr::new(top, a, 0, 0, 0, 0, 0, b).into()),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let v4 = [0, 8, 16, 22, 23, 24, 28, 30, 31, 32, 32, 32];
    let v6 = [0, 7, 16, 32, 46, 47, 48, 64, 126, 127, 128, 128];
    (address(), 0..12_usize).prop_map(move |(address, i)| {
        Prefix::containing(address, if address.is_ipv4() { v4[i] } else { v6[i] })
    })
}

fn mac() -> impl Strategy<Value = Mac> {
    (0..4_u8).prop_map(|n| Mac([2, 0, 0, 0, 0, n]))
}

fn vlans() -> impl Strategy<Value = Vlans> {
    select(vec![
        Vlans::UNTAGGED,
        Vlans::UNTAGGED,
        Vlans { outer: 100, inner: Vlans::NONE },
        Vlans { outer: 100, inner: 20 },
    ])
}

fn labels() -> impl Strategy<Value = Labels> {
    vec((select(&KEYS[..]), select(&VALUES[..])), 0..3)
        .prop_map(|pairs| pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
}

fn mode() -> impl Strategy<Value = Mode> {
    select(vec![Mode::Observe, Mode::Simulate, Mode::Enforce])
}

fn side() -> impl Strategy<Value = Side> {
    select(Side::BOTH.to_vec())
}

fn network() -> impl Strategy<Value = Network> {
    let everything = vec![sample::prefix("0.0.0.0/0"), sample::prefix("::/0")];
    let prefixes = prop_oneof![1 => Just(everything), 3 => vec(prefix(), 1..4)];
    (side(), prefixes, vec(vlans(), 1..3), vec(mac(), 0..2), labels()).prop_map(
        |(side, prefixes, vlans, via, labels)| Network {
            name: String::new(),
            side,
            prefixes,
            vlans,
            via,
            labels,
            origin: Origin::default(),
        },
    )
}

fn workload() -> impl Strategy<Value = Workload> {
    let account = option::of(select(&ACCOUNTS[..]));
    let until = option::of((1..LAST).prop_map(Moment));
    let heard = option::weighted(0.2, (0..LAST).prop_map(Moment));
    (vec(prefix(), 1..4), labels(), account, vec(mac(), 0..3), until, heard).prop_map(
        |(addresses, labels, account, macs, valid_until, heard)| Workload {
            name: String::new(),
            addresses,
            labels,
            service_account: account.map(str::to_owned),
            macs,
            owner: None,
            valid_until,
            heard,
            origin: Origin::default(),
        },
    )
}

fn some(names: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        5 => Just(Vec::new()),
        1 => subsequence(names, 1..=2).prop_map(|l| l.into_iter().map(str::to_owned).collect()),
    ]
}

fn values() -> impl Strategy<Value = BTreeMap<String, Vec<String>>> {
    let list = subsequence(&VALUES[..], 1..=2);
    vec((select(&KEYS[..NAMED]), list), 0..2).prop_map(|pairs| {
        let owned = |l: Vec<&str>| l.into_iter().map(str::to_owned).collect();
        pairs.into_iter().map(|(k, l)| (k.to_owned(), owned(l))).collect()
    })
}

fn keys(zones: bool) -> impl Strategy<Value = Match> {
    let not = prop_oneof![4 => Just(BTreeMap::new()), 1 => values()];
    let unknown = prop::bool::weighted(0.15);
    (values(), not, some(&WORKLOADS), some(&ZONES), some(&NETWORKS), some(&ACCOUNTS), unknown).prop_map(
        move |(labels, not, names, in_zones, networks, accounts, unknown)| Match {
            labels,
            not,
            names,
            zones: if zones { in_zones } else { Vec::new() },
            networks,
            groups: Vec::new(),
            accounts,
            unknown,
            same: Vec::new(),
            differs: Vec::new(),
        },
    )
}

/// Keys that look at both ends, alone or beside others.
fn pair() -> impl Strategy<Value = Match> {
    let keys_of = || subsequence(&KEYS[..], 1..=2).prop_map(|l| l.into_iter().map(str::to_owned).collect());
    let joined = prop_oneof![
        2 => keys_of().prop_map(|same: Vec<String>| (same, Vec::new())),
        2 => keys_of().prop_map(|differs: Vec<String>| (Vec::new(), differs)),
        1 => (keys_of(), keys_of()),
    ];
    let beside = prop_oneof![1 => Just(Match::default()), 2 => keys(true)];
    (beside, joined).prop_map(|(beside, (same, differs))| Match { same, differs, ..beside })
}

pub(super) fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        2 => Just(Selector::Any),
        7 => keys(true).prop_map(Selector::Match),
        2 => vec(keys(true), 1..3).prop_map(Selector::Except),
    ]
}

/// Names of groups, alone as the reader has it.
fn named_groups() -> impl Strategy<Value = Match> {
    subsequence(&GROUPS[..], 1..=2).prop_map(|list| Match {
        groups: list.into_iter().map(str::to_owned).collect(),
        ..Match::default()
    })
}

pub(super) fn destination() -> impl Strategy<Value = Selector> {
    prop_oneof![
        6 => selector(),
        3 => pair().prop_map(Selector::Match),
        2 => named_groups().prop_map(Selector::Match),
        1 => (named_groups(), vec(keys(true), 0..2))
            .prop_map(|(groups, more)| Selector::Except(std::iter::once(groups).chain(more).collect())),
    ]
}

fn group() -> impl Strategy<Value = Group> {
    let listed = select(vec![
        "224.0.0.18",
        "224.0.0.0/24",
        "224.0.0.0/4",
        "255.255.255.255",
        "ff02::1",
        "ff00::/8",
        "10.0.1.3",
        "10.0.0.1",
    ]);
    vec(listed.prop_map(sample::prefix), 1..4).prop_map(|addresses| Group {
        name: String::new(),
        addresses,
        origin: Origin::default(),
    })
}

fn range() -> impl Strategy<Value = (u16, u16)> {
    prop_oneof![
        2 => Just((0, 65_535)),
        3 => select(&PORTS[..]).prop_map(|p| (p, p)),
        2 => (select(&PORTS[..]), select(&PORTS[..])).prop_map(|(a, b)| (a.min(b), a.max(b))),
    ]
}

pub(super) fn services() -> impl Strategy<Value = ServiceSet> {
    let from = prop_oneof![4 => Just((0, 65_535)), 1 => range()];
    let atom = (select(&PROTOCOLS[..]), range(), from).prop_map(|(protocol, to, from)| Atom {
        protocol,
        to,
        from,
    });
    (prop::bool::weighted(0.3), vec(atom, 1..4)).prop_map(|(any, atoms)| ServiceSet {
        written: Vec::new(),
        any,
        atoms: if any { Vec::new() } else { atoms },
    })
}

fn zone() -> impl Strategy<Value = Zone> {
    let members = prop_oneof![
        1 => Just(Selector::Any),
        6 => keys(false).prop_map(Selector::Match),
        1 => vec(keys(false), 1..3).prop_map(Selector::Except),
    ];
    (members, mode(), vec((services(), mode()), 0..3)).prop_map(|(members, mode, service_modes)| Zone {
        name: String::new(),
        members,
        owner: None,
        data_class: None,
        mode,
        service_modes,
        origin: Origin::default(),
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let tier = select(vec![Tier::Guardrail, Tier::Deny, Tier::Deny, Tier::Allow, Tier::Allow, Tier::Allow]);
    (tier, selector(), destination(), services(), mode(), prop::bool::weighted(0.2)).prop_map(
        |(tier, from, to, services, mode, both_ways)| Rule {
            mode: (tier == Tier::Guardrail).then_some(mode),
            both_ways,
            ..sample::rule(tier, "", from, to, services)
        },
    )
}

fn reply() -> impl Strategy<Value = Option<Reply>> {
    option::of(select(vec![Reply::Reset, Reply::Unreachable]))
}

fn spoken() -> impl Strategy<Value = Rule> {
    let words = || option::of(select(vec!["a", "a, b", "or", "\"a\", logged", "CHG-1", "2027-05-31"]));
    let said = (words(), words(), words(), words(), words(), any::<bool>(), reply());
    let written = subsequence(vec!["any", "https", "tcp/443", "udp/67 from 68", "or"], 1..4);
    (rule(), said, written).prop_map(|(rule, (why, owner, ticket, day, how, log, reply), written)| Rule {
        id: "r".into(),
        services: ServiceSet {
            written: written.into_iter().map(str::to_owned).collect(),
            any: false,
            atoms: Vec::new(),
        },
        justification: why.map(str::to_owned),
        owner: owner.map(str::to_owned),
        ticket: ticket.map(str::to_owned),
        review_by: day.map(str::to_owned),
        mitigation: how.map(str::to_owned),
        reply,
        log,
        ..rule
    })
}

/// Two rules that differ in few keys, or in none.
pub(in crate::policy) fn rules() -> impl Strategy<Value = (Rule, Rule)> {
    (spoken(), spoken(), 0..14_u8).prop_map(|(one, other, key)| {
        let mut two = one.clone();
        match key {
            0 => two.from = other.from,
            1 => two.to = other.to,
            2 => two.services = other.services,
            3 => (two.tier, two.mode) = (other.tier, other.mode),
            4 => two.both_ways = other.both_ways,
            5 => two.log = other.log,
            6 => two.justification = other.justification,
            7 => two.owner = other.owner,
            8 => two.ticket = other.ticket,
            9 => two.review_by = other.review_by,
            10 => two.mitigation = other.mitigation,
            11 => two.id = "s".into(),
            12 => two.reply = other.reply,
            _ => two = other,
        }
        (one, two)
    })
}

pub(super) fn model() -> impl Strategy<Value = Model> {
    let groups = prop_oneof![1 => Just(Vec::new()), 1 => vec(group(), 1..=3)];
    let forbidden = (prop_oneof![2 => Just(Vec::new()), 1 => vec(address(), 1..3)], any::<bool>());
    let gate = (forbidden, 1..LAST).prop_map(|((management, forward), inventory_limit)| Gate {
        management,
        inventory_limit,
        link_local: if forward { Action::Forward } else { Action::Drop },
        ..Gate::default()
    });
    let inventory = (vec(network(), 1..=5), vec(workload(), 0..=12), groups);
    let rules = prop_oneof![3 => vec(rule(), 0..10), 1 => vec(rule(), 10..32)];
    (gate, inventory, vec(zone(), 0..=3), rules, mode()).prop_map(
        |(gate, (mut networks, mut workloads, mut groups), mut zones, mut rules, unzoned)| {
            // As the reader leaves it: names, no prefix twice, rules by tier and id.
            let mut seen = BTreeSet::new();
            for network in &mut networks {
                network.prefixes.retain(|p| seen.insert(*p));
            }
            let mut seen = BTreeSet::new();
            for group in &mut groups {
                group.addresses.retain(|p| seen.insert(*p));
            }
            for workload in &mut workloads {
                workload.addresses.retain(|p| seen.insert(*p));
            }
            networks.iter_mut().zip(NETWORKS).for_each(|(n, name)| name.clone_into(&mut n.name));
            workloads.iter_mut().zip(WORKLOADS).for_each(|(w, name)| name.clone_into(&mut w.name));
            groups.iter_mut().zip(GROUPS).for_each(|(g, name)| name.clone_into(&mut g.name));
            zones.iter_mut().zip(ZONES).for_each(|(z, name)| name.clone_into(&mut z.name));
            rules.sort_by_key(|r| r.tier);
            rules.iter_mut().enumerate().for_each(|(i, r)| r.id = format!("r{}", (i * 7) % 32));
            let mut model = sample::empty();
            model.wire.unzoned = unzoned;
            Model { gate, networks, workloads, groups, zones, rules, ..model }
        },
    )
}

pub(super) fn probe() -> impl Strategy<Value = Probe> {
    let group = select(vec!["255.255.255.255", "224.0.0.18", "ff02::1", "192.0.2.1", "2001:db8:ffff::1"]);
    let dst = prop_oneof![
        9 => address(),
        1 => group.prop_map(|a| a.parse().unwrap()),
    ];
    let mac = prop_oneof![3 => mac().prop_map(SenderMac::Seen), 1 => Just(SenderMac::Assumed), 1 => Just(SenderMac::Stranger)];
    let port = || prop_oneof![select(&PORTS[..]), select(&PORTS[..]).prop_map(|p| p.wrapping_add(1))];
    let protocol = prop_oneof![9 => select(&PROTOCOLS[..]), 1 => Just(132)];
    let service = (protocol, port(), port(), prop::bool::weighted(0.9))
        .prop_map(|(protocol, sport, dport, readable)| Service { protocol, sport, dport, readable });
    let now = prop_oneof![19 => (0..=LAST + 1).prop_map(Moment), 1 => Just(Moment::NEVER)];
    (address(), mac, vlans(), dst, service, side(), now).prop_map(
        |(address, mac, vlans, dst, service, side, now)| {
            (Sender { address, mac, vlans }, dst, service, side, now)
        },
    )
}

/// Policies as the reader leaves them.
pub(in crate::policy) fn models() -> impl Strategy<Value = Model> {
    model()
}

fn party() -> impl Strategy<Value = Party> {
    let accounts = prop_oneof![
        3 => Just(Vec::new()),
        1 => subsequence(&ACCOUNTS[..], 1..=2),
    ];
    // Mostly wide: two ends of a probe are seldom claimed, and what meets rules must be met often.
    let workloads = prop_oneof![
        1 => subsequence(&WORKLOADS[..], 1..=4),
        3 => subsequence(&WORKLOADS[..], 8..=12),
    ];
    (workloads, accounts).prop_map(|(workloads, accounts)| {
        let [workloads, accounts] =
            [workloads, accounts].map(|list| list.into_iter().map(str::to_owned).collect());
        Party { workloads, accounts }
    })
}

/// They overlap, meet, have ended before the first probe or begin after the last.
fn exception() -> impl Strategy<Value = Exception> {
    let services = services().prop_map(|set| {
        let whole = PROTOCOLS.map(|protocol| Atom { protocol, to: (0, 65_535), from: (0, 65_535) });
        let atoms = if set.any { whole.to_vec() } else { set.atoms };
        ServiceSet { any: false, atoms, ..set }
    });
    let time = (0..LAST, 1..=LAST).prop_map(|(start, length)| (Moment(start), Moment(start + length)));
    (party(), party(), services, prop::bool::weighted(0.3), time).prop_map(
        |(from, to, services, both_ways, (start, end))| {
            sample::exception("", from, to, services, (start, end), both_ways)
        },
    )
}

pub(super) fn exceptions() -> impl Strategy<Value = Exceptions> {
    let all = prop_oneof![1 => Just(Vec::new()), 2 => vec(exception(), 1..4), 1 => vec(exception(), 4..12)];
    all.prop_map(|mut all| {
        all.iter_mut().enumerate().for_each(|(i, e)| e.id = format!("E{}", (i * 7) % 12));
        Exceptions::new(all).expect("bounded")
    })
}

/// Questions to ask of them.
pub(in crate::policy) fn probes() -> impl Strategy<Value = Vec<Probe>> {
    vec(probe(), 64)
}

pub(super) fn cases() -> u32 {
    let asked = std::env::var("PORTCULLIS_ORACLE_CASES").ok();
    asked.map_or(800, |n| n.parse().expect("PORTCULLIS_ORACLE_CASES is a number of policies"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    /// POLICY.md §9: the compiled table and the naive evaluator are one evaluator, wherever the line between
    /// wide rules and narrow ones lies.
    #[test]
    fn table_answers_as_the_oracle_does(
        model in model(),
        exceptions in exceptions(),
        line in select(&LINES[..]),
        probes in vec(probe(), 64),
    ) {
        let tables = [compile(&model, &exceptions), divided(&model, &exceptions, &[line])];
        let oracle = Oracle::new(&model, &exceptions);
        for (src, dst, service, side, now) in &probes {
            let verdict = oracle.judge(*src, *dst, *service, *side, *now);
            for table in &tables {
                prop_assert_eq!(
                    table.judge(*src, *dst, *service, *side, *now),
                    verdict,
                    "{:?} → {} {:?} from {} at {:?}", src, dst, service, side, now
                );
            }
            // POLICY.md §8: nothing changes before `judge_at`.
            let last = verdict.judge_at.0.saturating_sub(1).min(now.0.saturating_add(2 * LAST));
            if last > now.0 {
                let later = oracle.judge(*src, *dst, *service, *side, Moment(last));
                prop_assert_eq!(later, verdict, "{:?} → {} {:?} from {} at {:?} and {}", src, dst, service, side, now, last);
            }
        }
        // Without the names of others that match, alone and as a burst of one side.
        for step in probes.chunks(8) {
            for (side, now) in step.iter().map(|(.., side, now)| (*side, *now)).take(1) {
                let all: Vec<Connection> =
                    step.iter().map(|(from, to, service, ..)| Connection { from: *from, to: *to, service: *service }).collect();
                let mut met = [Met::BLANK; 8];
                for table in &tables {
                    table.meet_all(&all, side, now, &mut met);
                    for (Connection { from, to, service }, met) in all.iter().zip(&met) {
                        let opener = table.judge_opener(*from, *to, *service, side, now);
                        let verdict = table.judge(*from, *to, *service, side, now);
                        let brief = Verdict { also: [RuleNumber::NONE; 4], ..verdict };
                        prop_assert_eq!(opener, (brief, table.is_true(*from, side)));
                        prop_assert_eq!(table.decide(met, *service, side), opener);
                    }
                }
            }
        }
    }
}
