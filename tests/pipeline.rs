//! The whole packet path over memory ports: every case asserts what arrived and that only the named
//! counters moved.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that can't go on fails"
)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use portcullis::flow::Owner;
use portcullis::io::clock::{Clock, Reading};
use portcullis::io::memory::{Drain, MemoryQueuePair};
use portcullis::io::{Heartbeat, QueuePair};
use portcullis::pipeline::{Event, EventKind, Reason, Snapshot};
use portcullis::policy::{Moment, compile, read};
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, Side, TcpFlags};
use portcullis::worker::{Orders, Policy, Worker, WorkerFace};

const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;
const SECOND: u64 = 1_000_000_000;

const POLICY: &str = r#"
[wire.w]
outside = "o"
inside = "i"
fail = "closed"
unzoned = "observe"
[profile]
arp = "forward"
ndp = "forward"
lldp = "drop"
stp = "drop"
lacp = "drop"
dhcp = "drop"
other = "drop"
[network.inside]
at = "w.inside"
prefixes = ["10.20.0.0/16", "2001:db8:20::/64"]
vlans = ["untagged"]
[network.outside]
at = "w.outside"
prefixes = ["0.0.0.0/0", "::/0"]
vlans = ["untagged"]
[label]
app = {}
[workload.client]
addresses = ["10.10.0.7", "2001:db8:10::7"]
labels = { app = "client" }
macs = ["02:00:00:10:00:07"]
service_account = "client-prod"
[workload.vault]
addresses = ["10.20.0.10", "2001:db8:20::10"]
labels = { app = "vault" }
macs = ["02:00:00:20:00:10"]
[workload.jump]
addresses = ["10.20.1.30", "2001:db8:20::30"]
labels = { app = "jump" }
macs = ["02:00:00:20:00:30"]
[workload.old]
addresses = ["10.20.2.40"]
labels = { app = "old" }
macs = ["02:00:00:20:00:40"]
[zone.cde]
members = { app = "vault" }
mode = "enforce"
[zone.ops]
members = { app = "jump" }
mode = "simulate"
[zone.attic]
members = { app = "old" }
mode = "observe"
[service]
https = ["tcp/443"]
dns = ["udp/53"]
ping = ["icmp/echo-request", "icmpv6/echo-request"]
[allow.web]
from = { app = "client" }
to = { app = "vault" }
services = ["https", "dns", "ping"]
log = true
[allow.account]
from = { app = "client", service_account = "client-prod" }
to = { app = "vault" }
services = ["tcp/8443"]
[deny.telnet]
from = { app = "client" }
to = { app = "vault" }
services = ["tcp/23"]
"#;

struct Silent;
impl Heartbeat for Silent {
    fn beat(&self, _boot_nanos: u64) {}
}

/// One worker over memory ports, its time in the test's hands.
struct Rig {
    worker: Worker<MemoryQueuePair, Silent>,
    face: Arc<WorkerFace>,
    now: u64,
    before: Snapshot,
}

impl Rig {
    fn new(policy: &str) -> Self {
        Self::sized(policy, 64, 64, 1_000, Owner::new(1, (1, 2)))
    }

    fn sized(policy: &str, pool: u32, tx_ring: usize, flows: u32, owner: Owner) -> Self {
        let loaded =
            read::read_text(vec![("gate.toml".into(), policy.into())]).unwrap_or_else(|rejected| {
                panic!("{:#?}", rejected.diagnostics);
            });
        let table = compile(&loaded.model);
        let face = Arc::new(WorkerFace::new(0, None));
        let orders = Orders {
            policy: Arc::new(ArcSwap::from_pointee(Policy { generation: 1, loaded, table })),
            stop: Arc::new(AtomicBool::new(false)),
            heartbeat: 500_000_000,
        };
        let pair = MemoryQueuePair::new(pool, tx_ring, Drain::Keep);
        let worker =
            Worker::new(pair, Silent, Clock::start(), (owner, 0, flows), Arc::clone(&face), orders)
                .unwrap();
        let before = face.counters.snapshot();
        Self { worker, face, now: 1_800_000_000 * SECOND, before }
    }

    fn turn(&mut self) {
        self.now += 1_000;
        self.worker.turn(&Reading { boot: self.now, now: Moment(self.now) });
        let total = self.worker.queues().census();
        assert_eq!(total.held, 0, "no frame is held between turns");
    }

    /// Sends one frame through; true if it left by the other port, unchanged.
    fn crosses(&mut self, side: Side, frame: &[u8]) -> bool {
        assert!(self.worker.queues().inject(side, frame));
        self.turn();
        let out = self.worker.queues().take_sent(side.other());
        assert_eq!(self.worker.queues().take_sent(side), None, "nothing goes back");
        out.is_some_and(|bytes| {
            assert_eq!(bytes, frame, "no byte of a forwarded frame changes");
            true
        })
    }

    /// What moved since the last look: forwarded, dropped and would-drops of one side, by name.
    fn moved(&mut self, side: Side) -> Vec<(String, u64)> {
        let now = self.face.counters.snapshot();
        for side in &now.sides {
            assert!(side.balances(), "{side:?}");
        }
        let (old, new) = (&self.before.sides[side.index()], &now.sides[side.index()]);
        let mut moved = vec![("forwarded".to_owned(), new.forwarded_packets - old.forwarded_packets)];
        moved.push(("loose".to_owned(), new.loose - old.loose));
        for reason in Reason::ALL {
            let i = reason.index();
            moved.push((reason.name().to_owned(), new.dropped[i] - old.dropped[i]));
            moved.push((format!("would {}", reason.name()), new.would_drop[i] - old.would_drop[i]));
        }
        moved.retain(|(_, n)| *n > 0);
        let other = side.other().index();
        assert_eq!(now.sides[other], self.before.sides[other], "nothing moved on the other side");
        self.before = now;
        moved
    }

    fn event(&mut self) -> Option<Event> {
        self.face.events.pop()
    }

    /// The packet is dropped for exactly this reason, and an event says so.
    fn dropped(&mut self, side: Side, frame: &[u8], reason: Reason) -> Event {
        assert!(!self.crosses(side, frame), "it must not cross");
        assert_eq!(self.moved(side), [(reason.name().to_owned(), 1)]);
        let event = self.event().expect("an event");
        assert_eq!((event.kind, event.reason, event.side), (EventKind::Drop, Some(reason), side));
        assert_eq!(self.event(), None);
        event
    }

    fn forwarded(&mut self, side: Side, frame: &[u8]) {
        assert!(self.crosses(side, frame), "it must cross");
        assert_eq!(self.moved(side), [("forwarded".to_owned(), 1)]);
    }

    /// It crosses, and one event says what enforcement would have done.
    fn would(&mut self, side: Side, frame: &[u8], reason: Reason) -> Event {
        assert!(self.crosses(side, frame), "it must cross");
        let would = format!("would {}", reason.name());
        assert_eq!(self.moved(side), [("forwarded".to_owned(), 1), (would, 1)]);
        let event = self.event().expect("an event");
        assert_eq!((event.kind, event.reason), (EventKind::WouldDrop, Some(reason)));
        event
    }
}

const CLIENT: [&str; 2] = ["10.10.0.7", "2001:db8:10::7"];
const VAULT: [&str; 2] = ["10.20.0.10", "2001:db8:20::10"];
const JUMP: [&str; 2] = ["10.20.1.30", "2001:db8:20::30"];

fn to_vault(family: usize) -> Ends {
    Ends {
        src_mac: Mac([2, 0, 0, 0x10, 0, 7]),
        dst_mac: Mac([2, 0, 0, 0x20, 0, 0x10]),
        ..Ends::of(CLIENT[family], VAULT[family])
    }
}

fn back(link: &Ends) -> Ends {
    link.reply()
}

#[test]
fn an_allowed_connection_crosses_both_ways_and_its_answer_needs_no_rule() {
    for family in [0, 1] {
        let mut rig = Rig::new(POLICY);
        let there = to_vault(family);
        rig.forwarded(Side::Outside, &there.tcp(40_000, 443, SYN, 1, 0, &[]));
        let logged = rig.event().expect("allow.web says log");
        assert_eq!((logged.kind, logged.reason), (EventKind::Allow, None));
        rig.forwarded(Side::Inside, &back(&there).tcp(443, 40_000, SYN | ACK, 9, 2, &[]));
        rig.forwarded(Side::Outside, &there.tcp(40_000, 443, ACK, 2, 10, b"hello"));
        assert_eq!(rig.event(), None, "only the first packet of a flow is recorded");
    }
}

#[test]
fn what_no_rule_allows_is_dropped_and_named() {
    for family in [0, 1] {
        let mut rig = Rig::new(POLICY);
        let event =
            rig.dropped(Side::Outside, &to_vault(family).tcp(40_001, 5432, SYN, 1, 0, &[]), Reason::NoRule);
        let service = event.service.unwrap();
        assert_eq!((service.protocol, service.sport, service.dport), (6, 40_001, 5432));
        assert_eq!(event.src_mac.0, [2, 0, 0, 0x10, 0, 7]);
        let denied = to_vault(family).tcp(40_001, 23, SYN, 1, 0, &[]);
        let event = rig.dropped(Side::Outside, &denied, Reason::Denied);
        assert_ne!(event.rule, portcullis::policy::RuleNumber::NONE);
    }
}

#[test]
fn an_answer_without_a_question_is_no_flow() {
    for family in [0, 1] {
        let mut rig = Rig::new(POLICY);
        let link = to_vault(family);
        let stray = back(&link).tcp(443, 40_000, SYN | ACK, 9, 2, &[]);
        rig.dropped(Side::Inside, &stray, Reason::TcpNoSession);
        rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 9, 2, &[]), Reason::TcpNoSession);
        rig.dropped(Side::Inside, &back(&link).echo_reply(7, 1, b"x"), Reason::IcmpNoFlow);
    }
}

#[test]
fn a_ping_crosses_and_so_does_its_reply() {
    for family in [0, 1] {
        let mut rig = Rig::new(POLICY);
        let link = to_vault(family);
        rig.forwarded(Side::Outside, &link.echo(7, 1, b"x"));
        rig.event();
        rig.forwarded(Side::Inside, &back(&link).echo_reply(7, 1, b"x"));
        rig.dropped(Side::Inside, &back(&link).echo_reply(8, 1, b"x"), Reason::IcmpNoFlow);
        rig.dropped(Side::Inside, &back(&link).echo(7, 1, b"x"), Reason::NoRule);
    }
}

#[test]
fn an_account_is_held_by_its_mac_only() {
    let mut rig = Rig::new(POLICY);
    let own = to_vault(0);
    rig.forwarded(Side::Outside, &own.tcp(1_000, 8443, SYN, 1, 0, &[]));
    let thief = Ends { src_mac: Mac([2, 0, 0, 0x66, 0, 1]), ..own };
    rig.dropped(Side::Outside, &thief.tcp(1_001, 8443, SYN, 1, 0, &[]), Reason::AccountNotHeld);
    rig.forwarded(Side::Outside, &thief.tcp(1_002, 443, SYN, 1, 0, &[]));
}

#[test]
fn a_source_of_the_other_side_is_spoofed() {
    for family in [0, 1] {
        let mut rig = Rig::new(POLICY);
        let forged = Ends::of(JUMP[family], VAULT[family]);
        rig.dropped(Side::Outside, &forged.tcp(1, 443, SYN, 1, 0, &[]), Reason::Spoofed);
        let link = to_vault(family);
        rig.forwarded(Side::Outside, &link.tcp(2, 443, SYN, 1, 0, &[]));
        rig.event();
        // The flow lives; a packet of it from the wrong port is not part of it.
        rig.dropped(Side::Inside, &link.tcp(2, 443, ACK, 2, 1, &[]), Reason::Spoofed);
    }
}

#[test]
fn simulate_forwards_and_names_what_enforcement_would_do() {
    for family in [0, 1] {
        let mut rig = Rig::new(POLICY);
        let macs = (Mac([2, 0, 0, 0x10, 0, 7]), Mac([2, 0, 0, 0x20, 0, 0x30]));
        let link = Ends { src_mac: macs.0, dst_mac: macs.1, ..Ends::of(CLIENT[family], JUMP[family]) };
        rig.would(Side::Outside, &link.tcp(5, 22, SYN, 1, 0, &[]), Reason::NoRule);
        assert!(rig.crosses(Side::Inside, &back(&link).tcp(22, 5, SYN | ACK, 1, 2, &[])));
        assert_eq!(
            rig.moved(Side::Inside),
            [("forwarded".to_owned(), 1), ("would no_rule".to_owned(), 1)],
            "the answer of a would-drop flow counts as one too"
        );
        assert_eq!(rig.event(), None, "and is no second event");
    }
}

#[test]
fn a_missed_first_packet_is_loose_where_nothing_is_enforced() {
    let mut rig = Rig::new(POLICY);
    let link = Ends { src_mac: Mac([2, 0, 0, 0x10, 0, 7]), ..Ends::of(CLIENT[0], "10.20.2.40") };
    assert!(rig.crosses(Side::Outside, &link.tcp(5, 22, ACK, 1, 1, &[])));
    assert_eq!(rig.moved(Side::Outside), [("forwarded".to_owned(), 1), ("loose".to_owned(), 1)]);
    assert_eq!(rig.event(), None);
}

#[test]
fn an_icmp_error_goes_with_the_flow_it_quotes() {
    for family in [0, 1] {
        let mut rig = Rig::new(POLICY);
        let link = to_vault(family);
        let query = link.udp(5_000, 53, b"question");
        let (kind, code) = if family == 0 { (3, 3) } else { (1, 4) };
        let error = back(&link).icmp_error(kind, code, [0; 4], &query);
        rig.dropped(Side::Inside, &error, Reason::IcmpNoFlow);
        rig.forwarded(Side::Outside, &query);
        rig.event();
        rig.forwarded(Side::Inside, &error);
        let elsewhere = back(&link).icmp_error(kind, code, [0; 4], &link.udp(5_001, 53, b"other"));
        rig.dropped(Side::Inside, &elsewhere, Reason::IcmpNoFlow);
        // Towards the wrong end: the quoted packet's receiver is told of its own packet.
        let wrong = link.icmp_error(kind, code, [0; 4], &query);
        rig.dropped(Side::Outside, &wrong, Reason::IcmpNoFlow);
    }
}

#[test]
fn housekeeping_goes_by_the_profile() {
    let mut rig = Rig::new(POLICY);
    rig.forwarded(Side::Outside, &to_vault(0).arp(1));
    rig.forwarded(Side::Outside, &to_vault(1).ndp_solicit());
    rig.forwarded(Side::Inside, &to_vault(1).ndp_advertise());
    rig.dropped(Side::Outside, &to_vault(0).lldp(), Reason::Profile);
    rig.dropped(Side::Outside, &to_vault(0).stp(), Reason::Profile);
    rig.dropped(Side::Outside, &to_vault(0).ethernet(0x88b5, &[0; 46]), Reason::Profile);
}

#[test]
fn what_cannot_be_read_is_dropped_in_every_mode() {
    let relaxed = POLICY.replace("mode = \"enforce\"", "mode = \"observe\"").replace("simulate", "observe");
    for policy in [POLICY, relaxed.as_str()] {
        let mut rig = Rig::new(policy);
        let mut frame = to_vault(0).tcp(1, 443, SYN, 1, 0, &[]);
        frame[24] ^= 0xff;
        rig.dropped(Side::Outside, &frame, Reason::IpHeaderChecksum);
        rig.dropped(Side::Outside, &[0; 13], Reason::Truncated);
    }
}

#[test]
fn what_makes_no_sense_obeys_the_mode() {
    let mut rig = Rig::new(POLICY);
    let both = SYN | TcpFlags::FIN;
    rig.dropped(Side::Outside, &to_vault(0).tcp(1, 443, both, 1, 0, &[]), Reason::TcpFlags);
    let relaxed = Ends { src_mac: Mac([2, 0, 0, 0x10, 0, 7]), ..Ends::of(CLIENT[0], JUMP[0]) };
    rig.would(Side::Outside, &relaxed.tcp(1, 443, both, 1, 0, &[]), Reason::TcpFlags);
}

#[test]
fn a_later_fragment_has_no_ports_to_judge() {
    let mut rig = Rig::new(POLICY);
    let fragment = to_vault(0).fragment(17, 77, 1_480, false, &[0; 64]);
    assert!(!rig.crosses(Side::Outside, &fragment));
    let moved = rig.moved(Side::Outside);
    assert!(
        moved == [("no_rule".to_owned(), 1)] || moved == [("fragment_no_first".to_owned(), 1)],
        "{moved:?}"
    );
}

#[test]
fn same_side_has_a_list_of_its_own() {
    let mut rig = Rig::new(POLICY);
    let local = Ends { src_mac: Mac([2, 0, 0, 0x20, 0, 0x40]), ..Ends::of("10.20.2.40", "10.20.2.41") };
    let relaxed = POLICY.replace("mode = \"enforce\"", "mode = \"observe\"").replace("simulate", "observe");
    rig.dropped(Side::Inside, &local.udp(1, 53, b"x"), Reason::SameSide);
    let mut rig = Rig::new(&relaxed);
    assert!(rig.crosses(Side::Inside, &local.udp(1, 53, b"x")));
    assert_eq!(rig.moved(Side::Inside), [("forwarded".to_owned(), 1), ("would same_side".to_owned(), 1)]);
    assert_eq!(rig.event(), None, "never a would-drop");
}

#[test]
fn a_full_flow_table_drops_under_enforce_and_forwards_unlearned_elsewhere() {
    let mut rig = Rig::sized(POLICY, 64, 64, 1, Owner::new(1, (1, 2)));
    rig.forwarded(Side::Outside, &to_vault(0).tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    rig.dropped(Side::Outside, &to_vault(0).tcp(2, 443, SYN, 1, 0, &[]), Reason::FlowTableFull);
    let jump = Ends { src_mac: Mac([2, 0, 0, 0x10, 0, 7]), ..Ends::of(CLIENT[0], JUMP[0]) };
    rig.would(Side::Outside, &jump.tcp(1, 22, SYN, 1, 0, &[]), Reason::FlowTableFull);
    rig.forwarded(Side::Outside, &to_vault(0).tcp(1, 443, ACK, 2, 0, &[]));
}

#[test]
fn a_full_ring_drops_before_anything_is_remembered() {
    let mut rig = Rig::sized(POLICY, 64, 2, 1_000, Owner::new(1, (1, 2)));
    for port in 1..=5 {
        assert!(rig.worker.queues().inject(Side::Outside, &to_vault(0).tcp(port, 443, SYN, 1, 0, &[])));
    }
    rig.turn();
    assert_eq!(rig.moved(Side::Outside), [("forwarded".to_owned(), 2), ("tx_ring_full".to_owned(), 3)]);
    while rig.worker.queues().take_sent(Side::Inside).is_some() {}
    assert_eq!(rig.worker.queues().census().total(), 128);
    while rig.event().is_some() {}
    // The three that were not sent left no flow: their next packets know of none.
    rig.forwarded(Side::Outside, &to_vault(0).tcp(2, 443, ACK, 2, 0, &[]));
    rig.dropped(Side::Outside, &to_vault(0).tcp(3, 443, ACK, 2, 0, &[]), Reason::TcpNoSession);
}

#[test]
fn silence_ends_a_flow() {
    let mut rig = Rig::new(POLICY);
    rig.forwarded(Side::Outside, &to_vault(0).udp(1, 53, b"q"));
    rig.event();
    rig.now += 59 * SECOND;
    rig.forwarded(Side::Inside, &back(&to_vault(0)).udp(53, 1, b"a"));
    rig.now += 181 * SECOND;
    rig.dropped(Side::Inside, &back(&to_vault(0)).udp(53, 1, b"late"), Reason::NoRule);
}

#[test]
fn a_closed_connection_meets_the_rules_again() {
    let mut rig = Rig::new(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    rig.forwarded(Side::Inside, &back(&link).tcp(443, 1, TcpFlags::RST | ACK, 0, 2, &[]));
    rig.now += SECOND + 1;
    rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 2, 1, &[]), Reason::TcpNoSession);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 7, 0, &[]));
}

#[test]
fn a_new_generation_judges_again_before_the_next_packet() {
    let mut rig = Rig::new(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    let closed = POLICY.replace("services = [\"https\", \"dns\", \"ping\"]", "services = [\"dns\"]");
    rig.publish(&closed, 2);
    let event = rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 2, 1, &[]), Reason::NoRule);
    assert_eq!(event.generation, 2);
    rig.publish(POLICY, 3);
    rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 2, 1, &[]), Reason::TcpNoSession);
}

impl Rig {
    fn publish(&mut self, policy: &str, generation: u32) {
        let loaded = read::read_text(vec![("gate.toml".into(), policy.into())]).unwrap();
        let table = compile(&loaded.model);
        self.worker.orders().policy.store(Arc::new(Policy { generation, loaded, table }));
    }
}

#[test]
fn only_the_owner_opens_a_flow() {
    let owner = Owner::new(2, (3, 4));
    let mut rig = Rig::sized(POLICY, 64, 64, 1_000, owner);
    let (mut mine, mut theirs) = (0, 0);
    for port in 1..=40 {
        let frame = to_vault(0).tcp(port, 443, SYN, 1, 0, &[]);
        let (key, _) = portcullis::wire::parse(&frame).unwrap().key().unwrap();
        let crossed = rig.crosses(Side::Outside, &frame);
        assert_eq!(crossed, owner.of(&key) == 0);
        mine += u32::from(crossed);
        theirs += u32::from(!crossed);
        let name = if crossed { "forwarded" } else { "handover_full" };
        assert_eq!(rig.moved(Side::Outside), [(name.to_owned(), 1)]);
    }
    assert!(mine > 8 && theirs > 8, "{mine} {theirs}");
}

#[test]
fn events_beyond_the_ring_are_counted_never_waited_for() {
    let mut rig = Rig::new(POLICY);
    let frame = to_vault(0).tcp(1, 5432, SYN, 1, 0, &[]);
    for _ in 0..64 {
        assert!(rig.worker.queues().inject(Side::Outside, &frame));
    }
    rig.turn();
    let snapshot = rig.face.counters.snapshot();
    assert_eq!(snapshot.sides[0].dropped[Reason::NoRule.index()], 64);
    assert_eq!(snapshot.events_lost, 48, "sixteen a burst are kept");
    assert_eq!(rig.face.events.len(), 16);
}

#[test]
fn icmp_without_an_identifier_is_judged_packet_by_packet() {
    let policy = POLICY.replace("services = [\"https\", \"dns\", \"ping\"]", "services = [\"icmp/13\"]");
    let mut rig = Rig::new(&policy);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.icmp(13, 0, [0; 4], &[0; 12]));
    for kind in [10, 15, 253] {
        rig.dropped(Side::Outside, &link.icmp(kind, 0, [0; 4], &[0; 12]), Reason::NoRule);
        rig.dropped(Side::Inside, &back(&link).icmp(kind, 0, [0; 4], &[0; 12]), Reason::NoRule);
    }
}

#[test]
fn an_echo_with_another_code_is_no_part_of_a_ping() {
    let mut rig = Rig::new(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.echo(7, 1, b"x"));
    rig.event();
    // Its replies have code 0; what has another is judged by itself.
    rig.dropped(Side::Inside, &back(&link).icmp(0, 9, [0, 7, 0, 1], b"x"), Reason::NoRule);
    rig.dropped(Side::Inside, &back(&link).icmp(8, 9, [0, 7, 0, 1], b"x"), Reason::NoRule);
    rig.forwarded(Side::Inside, &back(&link).echo_reply(7, 1, b"x"));
}

#[test]
fn a_denied_opener_does_not_end_a_closing_flow() {
    let mut rig = Rig::new(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    let fin = TcpFlags::FIN | ACK;
    rig.forwarded(Side::Inside, &back(&link).tcp(443, 1, SYN | ACK, 1, 2, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, fin, 2, 2, &[]));
    rig.forwarded(Side::Inside, &back(&link).tcp(443, 1, fin, 2, 3, &[]));
    // A SYN the other way, and one from the wrong side: neither is let in, and the last ACK still crosses.
    rig.dropped(Side::Inside, &back(&link).tcp(443, 1, SYN, 9, 0, &[]), Reason::NoRule);
    rig.dropped(Side::Inside, &link.tcp(1, 443, SYN, 9, 0, &[]), Reason::Spoofed);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 3, 3, &[]));
}

#[test]
fn a_borrowed_flow_is_governed_by_every_zone_inside() {
    let mut rig = Rig::new(POLICY);
    let link = Ends { src_mac: Mac([2, 0, 0, 0x10, 0, 7]), ..Ends::of(CLIENT[0], JUMP[0]) };
    let link = Ends { dst_mac: Mac([2, 0, 0, 0x20, 0, 0x30]), ..link };
    rig.would(Side::Outside, &link.udp(7_777, 53, b"q"), Reason::NoRule);
    assert!(
        rig.crosses(Side::Inside, &back(&link).udp(53, 7_777, b"a")),
        "the jump host itself: simulated"
    );
    assert_eq!(rig.moved(Side::Inside), [("forwarded".to_owned(), 1), ("would no_rule".to_owned(), 1)]);
    let other = Ends { src_mac: Mac([2, 0, 0, 0x20, 0, 0x10]), ..back(&link) };
    rig.dropped(Side::Inside, &other.udp(53, 7_777, b"a"), Reason::NoRule);
}
