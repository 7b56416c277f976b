//! Packets that are dropped and answered: to whom, with what, how many.

use portcullis::io::QueuePair;
use portcullis::pipeline::{Event, EventKind, Reason, Unsent};
use portcullis::wire::samples::Ends;
use portcullis::wire::{Icmp, L4, Mac, Net, Reply, Side, TcpFlags, Vlans, parse};

use crate::memory::Count::{Dropped, EventLost, Forwarded, Rejected, Reply as Sent, Unsent as Silent};
use crate::memory::{POLICY, Rig, Shape};
use crate::says::{ACK, SECOND, SYN, VAULT, policy, relaxed, to_jump, to_vault};

impl Rig {
    /// It does not cross, and exactly one frame goes back; an event says so.
    fn rejected(&mut self, side: Side, frame: &[u8], reason: Reason) -> (Vec<u8>, Event) {
        assert!(self.offer(side, frame));
        self.turn();
        let back = self.take(side).expect("a reply");
        assert_eq!((self.take(side), self.take(side.other())), (None, None));
        assert_eq!(self.moved(side), [(Sent, 1), (Rejected(reason), 1)]);
        let event = self.event().expect("an event");
        assert_eq!((event.kind, event.reason, event.side), (EventKind::Reject, Some(reason), side));
        assert_eq!(self.event(), None);
        (back, event)
    }

    /// It is dropped without the reply that its rule wants, for this reason.
    fn unanswered(&mut self, side: Side, frame: &[u8], reason: Reason, why: Unsent) {
        assert!(!self.crosses(side, frame));
        assert_eq!(self.moved(side), [(Silent(why), 1), (Dropped(reason), 1)]);
        assert_eq!(self.event().map(|event| event.kind), Some(EventKind::Drop));
    }
}

/// What a frame says above IP.
fn upper(frame: &[u8]) -> L4 {
    let Net::Ip(ip) = parse(frame).unwrap().net else { panic!("no IP: {frame:02x?}") };
    ip.l4
}

#[test]
fn tcp_of_no_flow_is_reset_soon_after_a_start_where_a_rule_allows_its_connection() {
    let text = format!("{POLICY}[gate]\ncold_start_reset = \"2s\"\n");
    for family in [0, 1] {
        let mut rig = Rig::under(&text);
        let there = to_vault(family);
        let back = there.reply();
        let data = there.tcp(40_000, 443, ACK, 7, 70, b"data");
        let answer = back.tcp(443, 40_000, ACK, 70, 11, b"data");
        let (reset, event) = rig.rejected(Side::Outside, &data, Reason::TcpNoSession);
        assert_eq!(reset, written(Reply::Reset, &data));
        let L4::Tcp(tcp) = upper(&reset) else { panic!("no TCP") };
        assert_eq!((tcp.flags, tcp.seq), (TcpFlags(TcpFlags::RST), 70), "exact to who sent it");
        assert_eq!(event.rule, portcullis::policy::RuleNumber::NONE);
        let (reset, _) = rig.rejected(Side::Inside, &answer, Reason::TcpNoSession);
        assert_eq!(reset, written(Reply::Reset, &answer));
        let over = there.tcp(40_000, 443, TcpFlags::RST, 7, 0, &[]);
        rig.unanswered(Side::Outside, &over, Reason::TcpNoSession, Unsent::NotAnswerable);
        // No rule allows it either way: it was no connection through this gate.
        rig.dropped(Side::Outside, &there.tcp(40_000, 9_999, ACK, 7, 70, &[]), Reason::TcpNoSession);
        rig.dropped(Side::Inside, &back.echo_reply(1, 1, b""), Reason::IcmpNoFlow);
        rig.later(2 * SECOND);
        rig.dropped(Side::Outside, &data, Reason::TcpNoSession);
        rig.dropped(Side::Inside, &answer, Reason::TcpNoSession);
        // Ticks come round again; a start does not.
        rig.later((1 << 56) - SECOND);
        rig.dropped(Side::Outside, &data, Reason::TcpNoSession);
    }
    let mut rig = Rig::under(POLICY);
    rig.dropped(Side::Outside, &to_vault(0).tcp(40_000, 443, ACK, 7, 70, &[]), Reason::TcpNoSession);
}

#[test]
fn who_opens_what_a_rule_forbids_gets_the_reply_that_it_says() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let there = to_vault(family);
        let syn = there.tcp(40_000, 24, SYN, 7, 0, &[]);
        let (back, event) = rig.rejected(Side::Outside, &syn, Reason::Denied);
        assert_eq!(back, written(Reply::Reset, &syn));
        let L4::Tcp(tcp) = upper(&back) else { panic!("no TCP") };
        assert_eq!((tcp.flags, tcp.seq, tcp.ack), (TcpFlags(TcpFlags::RST | ACK), 0, 8));
        assert_eq!(event.service.map(|service| (service.sport, service.dport)), Some((40_000, 24)));
        // A guardrail, too, though its own mode is milder: its zone is enforced. TCP gets what the rule says.
        let asks = if family == 0 { there.icmp(17, 0, [0; 4], &[0; 12]) } else { there.udp(1, 514, b"") };
        for frame in [there.udp(40_000, 514, b"a line"), there.tcp(1, 25, SYN, 7, 0, &[]), asks] {
            let (back, _) = rig.rejected(Side::Outside, &frame, Reason::Guardrail);
            assert_eq!(back, written(Reply::Unreachable, &frame));
            let L4::Icmp(Icmp { kind, code, .. }) = upper(&back) else { panic!("no ICMP") };
            assert_eq!((kind, code), [(3, 13), (1, 1)][family]);
        }
        // A rule that says nothing of a reply, and none at all: dropped.
        rig.dropped(Side::Outside, &there.tcp(40_000, 23, SYN, 7, 0, &[]), Reason::Denied);
        rig.dropped(Side::Outside, &there.tcp(40_000, 5_432, SYN, 7, 0, &[]), Reason::NoRule);
        // What belongs to no connection is no opener of one.
        rig.dropped(Side::Outside, &there.tcp(40_000, 24, ACK, 7, 7, &[]), Reason::TcpNoSession);
    }
}

/// The reply that is due to a frame.
fn written(reply: Reply, frame: &[u8]) -> Vec<u8> {
    reply.write(frame, &mut [0; Reply::LONGEST]).expect("a reply is due").to_vec()
}

#[test]
fn nothing_is_answered_where_nothing_is_dropped() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let there = to_jump(family);
        rig.would(Side::Outside, &there.tcp(40_000, 24, SYN, 7, 0, &[]), Reason::Denied);
        rig.would(Side::Outside, &there.udp(40_000, 514, b"a line"), Reason::Guardrail);
        let mut rig = Rig::under(&relaxed());
        let there = to_vault(family);
        rig.would(Side::Outside, &there.tcp(40_000, 24, SYN, 7, 0, &[]), Reason::Denied);
        rig.would(Side::Outside, &there.udp(40_000, 514, b"a line"), Reason::Guardrail);
    }
}

#[test]
fn a_reply_goes_back_on_the_vlans_it_came_on() {
    let text = POLICY.replace("vlans = [\"untagged\"]", "vlans = [\"untagged\", \"20\", \"30.20\"]");
    assert_ne!(text, POLICY);
    for vlans in [Vlans { outer: 20, inner: Vlans::NONE }, Vlans { outer: 30, inner: 20 }] {
        let mut rig = Rig::under(&text);
        let syn = to_vault(0).on(vlans).tcp(40_000, 24, SYN, 7, 0, &[]);
        let (back, event) = rig.rejected(Side::Outside, &syn, Reason::Denied);
        assert_eq!((parse(&back).unwrap().vlans, event.vlans), (vlans, vlans));
    }
}

#[test]
fn what_nobody_answers_is_dropped_without_a_reply() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let (there, why) = (to_vault(family), Unsent::NotAnswerable);
        for mac in [Mac([0xff; 6]), Mac([1, 0, 0x5e, 0, 0, 9])] {
            let shouted = there.macs(there.src_mac, mac).udp(40_000, 514, b"to all");
            rig.unanswered(Side::Outside, &shouted, Reason::Guardrail, why);
        }
        // The first fragment tells whom it is about, the others do not.
        let whole = there.udp(40_000, 514, &[7; 40]);
        let (first, rest) = whole[if family == 0 { 34 } else { 54 }..].split_at(24);
        let first = there.fragment(17, 9, 0, true, first);
        let (back, _) = rig.rejected(Side::Outside, &first, Reason::Guardrail);
        assert_eq!(back, written(Reply::Unreachable, &first));
        rig.unanswered(Side::Outside, &there.fragment(17, 9, 24, false, rest), Reason::Guardrail, why);
    }
}

/// The policy with clients by the thousand.
fn crowd() -> String {
    POLICY.replace("[\"10.10.0.5\", \"2001:db8:10::5\"]", "[\"10.10.0.0/16\", \"2001:db8:10::/48\"]")
}

/// The counts that moved, but what the bound on events left out.
fn counted(rig: &mut Rig) -> Vec<(crate::memory::Count, u64)> {
    let mut moved = rig.moved(Side::Outside);
    moved.retain(|(count, _)| *count != EventLost);
    while rig.event().is_some() {}
    moved
}

/// Offers so many from each, takes the replies out, and gives their number.
fn storm(rig: &mut Rig, sources: &[Ends], times: u16) -> u64 {
    let mut replies = 0;
    for n in 0..times {
        for ends in sources {
            assert!(rig.offer(Side::Outside, &ends.tcp(1_000 + n, 24, SYN, 7, 0, &[])));
        }
        rig.turn();
        while rig.take(Side::Outside).is_some() {
            replies += 1;
        }
        assert_eq!(rig.take(Side::Inside), None);
    }
    replies
}

#[test]
fn replies_to_one_source_and_to_all_have_their_rate_and_the_rest_is_dropped() {
    let one = |family: usize, n: u16| match family {
        0 => Ends::of(&format!("10.10.1.{n}"), VAULT[0]),
        _ => Ends::of(&format!("2001:db8:10:{n:x}::5"), VAULT[1]),
    };
    for family in [0, 1] {
        let mut rig = Rig::under(&crowd());
        // Twenty at once to one, and another is none the worse.
        let (many, few) = ([one(family, 1)], [one(family, 2)]);
        assert_eq!(storm(&mut rig, &many, 25), 20);
        let refused = [
            (Sent, 20),
            (Rejected(Reason::Denied), 20),
            (Silent(Unsent::SourceLimit), 5),
            (Dropped(Reason::Denied), 5),
        ];
        assert_eq!(counted(&mut rig), refused);
        assert_eq!(storm(&mut rig, &few, 1), 1);
        counted(&mut rig);
        // Half a second is ten of twenty a second, in whole ticks of 16.8 ms.
        rig.later(SECOND / 2);
        assert_eq!(storm(&mut rig, &many, 25), 10);
        counted(&mut rig);

        // A thousand at once to all together.
        let mut rig = Rig::under(&crowd());
        let all: Vec<Ends> = (1..=60).map(|n| one(family, n)).collect();
        assert_eq!(storm(&mut rig, &all, 20), 1_000);
        let refused = [
            (Sent, 1_000),
            (Rejected(Reason::Denied), 1_000),
            (Silent(Unsent::Limit), 200),
            (Dropped(Reason::Denied), 200),
        ];
        assert_eq!(counted(&mut rig), refused);
        // What was refused for all cost no source its own.
        rig.later(10 * SECOND);
        assert_eq!(storm(&mut rig, &all, 16), 960);
    }
}

#[test]
fn a_full_way_back_makes_a_plain_drop_of_it() {
    let mut rig = Rig::shaped(POLICY, Shape { tx_ring: 2, ..Shape::default() });
    for n in 0..3 {
        assert!(rig.offer(Side::Outside, &to_vault(0).tcp(1_000 + n, 24, SYN, 7, 0, &[])));
    }
    // What crosses has a place of its own.
    assert!(rig.offer(Side::Outside, &to_vault(0).udp(1, 53, b"question")));
    rig.turn();
    let census = rig.worker.queues().census();
    assert_eq!((census.sending, census.held, census.total()), (3, 0, 128));
    let events = [EventKind::Reject, EventKind::Reject, EventKind::Drop, EventKind::Allow];
    assert_eq!(events.map(|_| rig.event().map(|event| event.kind)), events.map(Some));
    assert_eq!(
        rig.moved(Side::Outside),
        [
            (Forwarded, 1),
            (Sent, 2),
            (Rejected(Reason::Denied), 2),
            (Silent(Unsent::NoWayBack), 1),
            (Dropped(Reason::Denied), 1)
        ]
    );
    // The frames come home: the next one is answered again.
    while rig.take(Side::Outside).or_else(|| rig.take(Side::Inside)).is_some() {}
    rig.rejected(Side::Outside, &to_vault(0).tcp(9, 24, SYN, 7, 0, &[]), Reason::Denied);
}

/// A connection that a new policy ends: who opened it is reset at the number that it expects, who answered it
/// hears nothing.
#[test]
fn a_connection_that_is_cut_is_reset_towards_its_opener_only() {
    let open = POLICY.replace("services = [\"tcp/24\"]", "services = [\"tcp/26\"]");
    let open = open.replace("[\"https\", \"dns\", \"ping\"]", "[\"tcp/24\"]");
    for family in [0, 1] {
        for opener in [true, false] {
            let mut rig = Rig::under(&open);
            let (there, back) = (to_vault(family), to_vault(family).reply());
            rig.forwarded(Side::Outside, &there.tcp(40_000, 24, SYN, 99, 0, &[]));
            rig.forwarded(Side::Inside, &back.tcp(24, 40_000, SYN | ACK, 499, 100, &[]));
            rig.forwarded(Side::Outside, &there.tcp(40_000, 24, ACK, 100, 500, &[]));
            rig.event();
            rig.publish(policy(POLICY, 2));
            if opener {
                let next = there.tcp(40_000, 24, ACK, 100, 500, b"more");
                let (reset, _) = rig.rejected(Side::Outside, &next, Reason::Denied);
                let L4::Tcp(tcp) = upper(&reset) else { panic!("no TCP") };
                assert_eq!((tcp.flags, tcp.seq), (TcpFlags(TcpFlags::RST), 500));
            } else {
                rig.dropped(Side::Inside, &back.tcp(24, 40_000, ACK, 500, 100, b"data"), Reason::Denied);
            }
        }
    }
}
