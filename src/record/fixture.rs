//! A gate built by hand, for the tests of this room and those above it: no root, no NIC, no worker.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use arc_swap::ArcSwap;
use crossbeam::queue::ArrayQueue;

use crate::gateway::{BpfCounts, Gauges, Policy, PortFace, Shared, WorkerFace, XdpMode};
use crate::io::{Census, KernelCounts};
use crate::pipeline::{Counters, Event, EventKind, Reason};
use crate::policy::model::{Gate, Match, Model, Rule, Selector, ServiceSet, Tier, Wire, Workload, Zone};
use crate::policy::read::Loaded;
use crate::policy::source::{Origin, SourceFile, Sources};
use crate::policy::{Mode, Moment, RuleNumber};
use crate::wire::{Mac, Service, Side, Vlans};

/// 2026-11-24 12:00:00 UTC.
pub(crate) const NOON: u64 = 1_795_521_600_000_000_000;

fn origin(line: u32) -> Origin {
    Origin { file: 0, start: 0, end: 0, line }
}

fn workload(name: &str, addresses: &[&str]) -> Workload {
    Workload {
        name: name.into(),
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        labels: [("env".to_owned(), "prod".to_owned())].into(),
        service_account: None,
        macs: Vec::new(),
        owner: None,
        origin: origin(20),
    }
}

fn rule(tier: Tier, id: &str, line: u32) -> Rule {
    let prod =
        || Match { labels: [("env".to_owned(), vec!["prod".to_owned()])].into(), ..Match::default() };
    Rule {
        tier,
        id: id.into(),
        from: Selector::Match(prod()),
        to: Selector::Match(prod()),
        services: ServiceSet { written: vec!["any".into()], any: true, atoms: Vec::new() },
        mode: (tier == Tier::Guardrail).then_some(Mode::Enforce),
        both_ways: false,
        log: false,
        justification: None,
        owner: None,
        ticket: None,
        review_by: None,
        mitigation: None,
        origin: origin(line),
    }
}

/// A small policy as one generation.
pub(crate) fn policy(generation: u32) -> Policy {
    let model = Model {
        gate: Gate::default(),
        wire: Wire {
            name: "cde".into(),
            ports: ["ens1f0".into(), "ens1f1".into()],
            unzoned: Mode::Observe,
            origin: origin(2),
        },
        profile: std::collections::BTreeMap::new(),
        labels: std::collections::BTreeMap::new(),
        owners: std::collections::BTreeMap::new(),
        networks: Vec::new(),
        workloads: vec![
            workload("acquirer", &["198.51.100.0/24"]),
            workload("acquirer-gateway", &["198.51.100.9"]),
            workload("vault-1", &["10.20.0.10", "2001:db8:20::10"]),
        ],
        zones: vec![Zone {
            name: "cde".into(),
            members: Selector::Match(Match { names: vec!["vault-1".into()], ..Match::default() }),
            owner: None,
            data_class: Some("cardholder data".into()),
            mode: Mode::Simulate,
            service_modes: vec![(
                ServiceSet { written: vec!["https".into()], any: false, atoms: Vec::new() },
                Mode::Enforce,
            )],
            origin: origin(10),
        }],
        services: std::collections::BTreeMap::new(),
        rules: vec![
            rule(Tier::Guardrail, "only-prod-reaches-cards", 31),
            rule(Tier::Allow, "payments-to-vault", 41),
        ],
    };
    let table = crate::policy::compile(&model);
    let file = SourceFile { path: "/etc/gate.toml".into(), name: "gate.toml".into(), text: String::new() };
    let sources = Sources { files: vec![file] };
    Policy { generation, loaded: Loaded { model, sources, warnings: Vec::new() }, table }
}

fn port(interface: &str) -> PortFace {
    PortFace { interface: interface.into(), driver: "ice".into(), xdp: XdpMode::Native, zero_copy: true }
}

fn worker(queue: u32) -> Arc<WorkerFace> {
    let kernel = KernelCounts { rx_ring_full: 3, ..KernelCounts::default() };
    Arc::new(WorkerFace {
        queue,
        core: Some(2 + queue as usize),
        counters: Arc::new(Counters::default()),
        events: Arc::new(ArrayQueue::new(8_192)),
        gauges: ArcSwap::from_pointee(Gauges {
            kernel: [kernel, KernelCounts::default()],
            frames: Census { free: 10, receiving: 400, held: 0, sending: 102 },
            flows: 17,
            flow_capacity: 65_536,
            turn_nanos: (1_800, 9_400),
        }),
        generation: AtomicU32::new(1),
    })
}

/// A gate with this many workers, up for a minute at [`NOON`].
pub(crate) fn shared(workers: u32) -> Shared {
    Shared {
        policy: Arc::new(ArcSwap::from_pointee(policy(1))),
        ports: [port("ens1f0"), port("ens1f1")],
        workers: (0..workers).map(worker).collect(),
        started: Moment(NOON - 60_000_000_000),
        took_over: false,
        bpf: Box::new(|| {
            [
                BpfCounts { seen: 1_000, redirected: 990, stale: 7, no_socket: 3 },
                BpfCounts { seen: 800, redirected: 800, stale: 0, no_socket: 0 },
            ]
        }),
    }
}

/// One burst of a busy worker: 5 packets in, 2 out, 2 dropped, 1 forwarded that would be dropped.
pub(crate) fn busy(counters: &Counters) {
    counters.begin();
    counters.received(Side::Outside, 4, 400);
    counters.received(Side::Inside, 1, 60);
    counters.forwarded(Side::Outside, 2, 200);
    counters.forwarded(Side::Inside, 1, 60);
    counters.dropped(Side::Outside, Reason::NoRule);
    counters.dropped(Side::Outside, Reason::Spoofed);
    counters.would_drop(Side::Outside, Reason::NoRule);
    counters.loose(Side::Inside);
    counters.end();
}

/// From the acquirer to the vault's port 22 over IPv4: no rule allows it.
pub(crate) fn no_rule() -> Event {
    Event {
        at: Moment(NOON + 123_456_789),
        kind: EventKind::Drop,
        side: Side::Outside,
        reason: Some(Reason::NoRule),
        rule: RuleNumber::NONE,
        generation: 1,
        mode: Mode::Enforce,
        src_mac: Mac([2, 0, 0, 0, 0, 0xfe]),
        dst_mac: Mac([2, 0, 0, 0x20, 0, 0x10]),
        vlans: Vlans::UNTAGGED,
        ethertype: 0x0800,
        addresses: Some(("198.51.100.7".parse().unwrap(), "10.20.0.10".parse().unwrap())),
        service: Some(Service { protocol: 6, sport: 40_000, dport: 22, readable: true }),
        length: 74,
    }
}

/// An echo request over IPv6 that a guardrail would drop.
pub(crate) fn guarded_ping() -> Event {
    Event {
        at: Moment(NOON + 1_000_000_000),
        kind: EventKind::WouldDrop,
        reason: Some(Reason::Guardrail),
        rule: RuleNumber(0),
        mode: Mode::Simulate,
        ethertype: 0x86dd,
        addresses: Some(("2001:db8:9::7".parse().unwrap(), "2001:db8:20::10".parse().unwrap())),
        service: Some(Service { protocol: 58, sport: 0, dport: 128 << 8, readable: true }),
        length: 118,
        ..no_rule()
    }
}

/// A frame nobody could read.
pub(crate) fn unreadable() -> Event {
    Event {
        at: Moment(NOON + 2_000_000_000),
        side: Side::Inside,
        reason: Some(Reason::Truncated),
        ethertype: 0,
        addresses: None,
        service: None,
        length: 13,
        ..no_rule()
    }
}
