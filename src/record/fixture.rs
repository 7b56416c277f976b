//! A gate built by hand, for the tests of this room and those above it: no root, no NIC, no worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;

use crate::gateway::{
    BpfCounts, Gauges, Policy, PortFace, PortState, Publishing, Shared, WorkerFace, XdpMode,
};
use crate::io::{Census, KernelCounts};
use crate::pipeline::{Counters, Event, EventKind, Reason};
use crate::policy::read::read_text;
use crate::policy::{Mode, Moment, RuleNumber};
use crate::wire::{Mac, Service, Side, Vlans};

/// 2026-11-24 12:00:00 UTC.
pub(crate) const NOON: u64 = 1_795_521_600_000_000_000;

const GATE: &str = r#"parts = ["rules.toml"]
[label]
env = { values = ["prod", "test"], required = true }
data = {}
[profile]
arp = "forward"
ndp = "forward"
dhcp = "forward"
lldp = "drop"
stp = "drop"
lacp = "drop"
other = "drop"
[owner.security]
authors = ["group:netsec"]
approvers = ["group:netsec-leads"]
[wire.cde]
outside = "ens1f0"
inside = "ens1f1"
fail = "closed"
unzoned = "observe"
[network.inside]
at = "cde.inside"
prefixes = ["10.20.0.0/24", "2001:db8:20::/64"]
[network.outside]
at = "cde.outside"
prefixes = ["0.0.0.0/0", "::/0"]
[zone.cde]
members = { data = "cardholder" }
data_class = "cardholder data"
owner = "security"
mode = "simulate"
service_modes = { https = "enforce" }
[service]
https = ["tcp/443"]
[workload.acquirer]
addresses = ["198.51.100.0/24"]
labels = { env = "prod" }
[workload.acquirer-gateway]
addresses = ["198.51.100.9"]
labels = { env = "prod" }
[workload.vault-1]
addresses = ["10.20.0.10", "2001:db8:20::10"]
labels = { env = "prod", data = "cardholder" }
macs = ["02:00:00:20:00:10"]
"#;

const RULES: &str = r#"[guardrail.only-prod-reaches-cards]
mode = "enforce"
from = { except = [{ env = "prod" }] }
to = { zone = "cde" }
services = ["any"]
owner = "security"
[allow.payments-to-vault]
from = { env = "prod" }
to = { env = "prod", data = "cardholder" }
services = ["https"]
justification = "Every PAN is tokenised before it is stored."
owner = "security"
"#;

/// A small policy as one generation.
pub(crate) fn policy(generation: u32) -> Policy {
    let files = [("gate.toml", GATE), ("rules.toml", RULES)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let loaded = read_text(files.into()).unwrap_or_else(|rejected| {
        panic!("{}", crate::policy::diagnostic::render(&rejected.sources, &rejected.diagnostics, false))
    });
    let table = crate::policy::compile(&loaded.model);
    Policy { generation, loaded, table }
}

fn port(interface: &str) -> PortFace {
    PortFace { interface: interface.into(), driver: "ice".into(), xdp: XdpMode::Native, zero_copy: true }
}

fn worker(queue: u32) -> Arc<WorkerFace> {
    let kernel = KernelCounts { rx_ring_full: 3, ..KernelCounts::default() };
    let face = WorkerFace::new(queue, Some(2 + queue as usize));
    face.gauges.store(Gauges {
        kernel: [kernel, KernelCounts::default()],
        frames: Census { free: 10, receiving: 400, held: 0, sending: 102 },
        flows: 17,
        flow_capacity: 65_536,
        evicted: 3,
        turn_nanos: (1_800, 9_400),
    });
    face.generation.store(1, Ordering::Relaxed);
    face.reviewed.store(1, Ordering::Relaxed);
    Arc::new(face)
}

/// A gate with this many workers, up for a minute at [`NOON`].
pub(crate) fn shared(workers: u32) -> Shared {
    Shared {
        policy: Arc::new(ArcSwap::from_pointee(policy(1))),
        publishing: Publishing::default(),
        ports: [port("ens1f0"), port("ens1f1")],
        workers: (0..workers).map(worker).collect(),
        started: Moment(NOON - 60_000_000_000),
        took_over: false,
        states: Box::new(|| [PortState::Up; 2]),
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
