//! A gate built by hand, for the tests of this room and those above it: no root, no NIC, no worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;

use super::cuts::Naming;
use super::{NamedCut, Names};
use crate::flow::limits::HalfOpen;
use crate::flow::tcp::Track;
use crate::flow::{Bounds, First, FlowTable, Judgement, Now, Opening, Progress, Slot};
use crate::gateway::{
    BpfCounts, Gauges, Policy, PortFace, PortState, Publishing, Shared, WorkerFace, XdpMode,
};
use crate::io::region::Backing;
use crate::io::{Census, KernelCounts};
use crate::pipeline::{Counters, Cut, Event, EventKind, Exempt, Reason, Unsent};
use crate::policy::read::read_text;
use crate::policy::{Denial, Mode, Moment, RuleNumber};
use crate::wire::{Key, Mac, Service, Side, Tcp, TcpFlags, Vlans};

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
    let table = crate::policy::compile(&loaded.model, &crate::policy::Exceptions::NONE);
    Policy { generation, loaded, table }
}

fn port(interface: &str) -> PortFace {
    PortFace { interface: interface.into(), driver: "ice".into(), xdp: XdpMode::Native, zero_copy: true }
}

fn worker(queue: u32) -> Arc<WorkerFace> {
    let kernel = KernelCounts { rx_ring_full: 3, ..KernelCounts::default() };
    // A table of 65 536 flows, the end of it in plain pages.
    let pages = Backing { bytes: 9_087_680, huge: 8_388_608 };
    let face = WorkerFace { pages, ..WorkerFace::new(queue, Some(2 + queue as usize)) };
    face.gauges.store(Gauges {
        kernel: [kernel, KernelCounts::default()],
        frames: Census { free: 10, receiving: 400, held: 0, sending: 102, handed: 0 },
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
        bpf_before: <[BpfCounts; 2]>::default(),
        bpf: Box::new(|| {
            [
                BpfCounts { seen: 1_000, redirected: 990, stale: 7, no_socket: 3 },
                BpfCounts { seen: 800, redirected: 800, stale: 0, no_socket: 0 },
            ]
        }),
    }
}

/// One burst of a busy worker: 7 packets in, 3 out, one of which would be dropped, 2 dropped, one of them for
/// want of a reply more, 2 rejected.
pub(crate) fn busy(counters: &Counters) {
    counters.begin();
    counters.received(Side::Outside, 6, 520);
    counters.received(Side::Inside, 1, 60);
    counters.forwarded(Side::Outside, 2, 200);
    counters.forwarded(Side::Inside, 1, 60);
    counters.dropped(Side::Outside, Reason::NoRule);
    counters.dropped(Side::Outside, Reason::Spoofed);
    counters.rejected(Side::Outside, Reason::Denied, 60);
    counters.rejected(Side::Outside, Reason::Denied, 70);
    counters.unsent(Side::Outside, Unsent::SourceLimit);
    counters.exempt(Side::Outside, Exempt::Detection);
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

/// A connection of the acquirer to the vault, opened from a port, that no rule of generation 2 allows.
pub(crate) fn cut(port: u16) -> Cut {
    let event = no_rule();
    let (from, to) = event.addresses.unwrap();
    Cut {
        at: event.at,
        ends: [(from, port), (to, 443)],
        service: Service { protocol: 6, sport: port, dport: 443, readable: true },
        vlans: event.vlans,
        side: event.side,
        was_generation: 1,
        was: RuleNumber(1),
        generation: 2,
        reason: Reason::NoRule,
        rule: RuleNumber::NONE,
        by_packet: false,
        counts: [(3, 300), (2, 1_200)],
    }
}

/// Cuts with their names.
pub(crate) fn named(names: &Names, cuts: impl IntoIterator<Item = Cut>) -> Vec<NamedCut> {
    let mut naming = Naming::new(names);
    cuts.into_iter().map(|cut| naming.name(cut)).collect()
}

/// The tick at which [`flows`] are looked at: 67 seconds after they were opened.
pub(crate) const LOOKED: u32 = 4_000;

/// Three flows as generation 1 judged them, but for the last: a TCP handshake that is allowed, a UDP flow over
/// IPv6 that would be dropped, and an echo of which only the reply was seen, judged by generation 7.
pub(crate) fn flows() -> Vec<Slot> {
    let mut table = FlowTable::new(Bounds::of(64), Arc::new(HalfOpen::new(64, (5, 6))));
    let mut open = |ends: [(&str, u16); 2], protocol, vlans, judgement, unseen, lengths: &[(bool, u32)]| {
        let [(src, sport), (dst, dport)] = ends;
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let (key, by_a) = Key::new(src, dst, sport, dport, protocol, vlans);
        let syn = Tcp {
            sport,
            dport,
            seq: 1,
            ack: 0,
            flags: TcpFlags(TcpFlags::SYN),
            window: 64_000,
            payload: 0,
            scale: None,
        };
        let track = if protocol == 6 { Track::first(&syn, by_a) } else { None };
        let side = Side::Outside;
        let first = if unseen { First::Missed } else { First::Seen };
        let opening = Opening { judgement, by_a, side, mac_true: true, first, track };
        let id = table.insert(&key, &opening, 0).unwrap();
        for (from_opener, length) in lengths {
            let now = Now { tick: LOOKED - 200, generation: 1 };
            table.advance(id, &Progress::Packet, *from_opener == by_a, *length, now);
        }
        *table.entry(id).unwrap()
    };
    let judged = |denial, mode, rule, generation| Judgement { denial, mode, rule, generation, judge_at: 0 };
    let allowed = judged(None, Mode::Enforce, RuleNumber(1), 1);
    let denied = judged(Some(Denial::Guardrail), Mode::Simulate, RuleNumber(0), 1);
    let older = judged(Some(Denial::Rule), Mode::Observe, RuleNumber(4), 7);
    let tagged = Vlans { outer: 100, inner: 20 };
    vec![
        open(
            [("198.51.100.7", 40_000), ("10.20.0.10", 443)],
            6,
            Vlans::UNTAGGED,
            allowed,
            false,
            &[(true, 74), (true, 74)],
        ),
        open(
            [("2001:db8:9::7", 50_000), ("2001:db8:20::10", 53)],
            17,
            tagged,
            denied,
            false,
            &[(true, 90), (false, 1_300)],
        ),
        open([("198.51.100.9", 7), ("10.20.0.99", 6)], 1, Vlans::UNTAGGED, older, true, &[(false, 98)]),
    ]
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
