//! What belongs to a connection, and when it ends.

use portcullis::flow::Owner;
use portcullis::pipeline::Reason;
use portcullis::policy::{Mode, RuleNumber};
use portcullis::wire::samples::Ends;
use portcullis::wire::{Side, parse};

use crate::memory::Count::{Dropped, Forwarded, Loose, Would};
use crate::memory::{POLICY, Rig, Shape};
use crate::says::{ACK, CLIENT, FIN, OLD, RST, SECOND, SYN, VAULT_MAC, policy, to_jump, to_vault, web_for};

/// Under simulate a connection is learned in the middle; what cannot be remembered of one crosses and is
/// recorded, and no rule is named: none was what spoke against it.
#[test]
fn what_would_be_no_session_names_no_rule() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_jump(family);
        let event = rig.would(Side::Outside, &link.tcp(1, 24, RST, 9, 0, &[]), Reason::TcpNoSession);
        assert_eq!((event.rule, event.mode), (RuleNumber::NONE, Mode::Simulate));
        // A rule denies this port, and the same without a flag that matters, too.
        let event = rig.would(Side::Outside, &link.tcp(1, 24, 0x08, 9, 0, &[]), Reason::TcpNoSession);
        assert_eq!((event.rule, event.mode), (RuleNumber::NONE, Mode::Simulate));
        assert_eq!(rig.face.gauges.load().flows, 0);
    }
}

#[test]
fn an_answer_without_a_question_is_no_flow() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        let stray = link.reply().tcp(443, 40_000, SYN | ACK, 9, 2, &[]);
        rig.dropped(Side::Inside, &stray, Reason::TcpNoSession);
        rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 9, 2, &[]), Reason::TcpNoSession);
        rig.dropped(Side::Inside, &link.reply().echo_reply(7, 1, b"x"), Reason::IcmpNoFlow);
    }
}

#[test]
fn a_missed_first_packet_is_loose_where_nothing_is_enforced() {
    let mut rig = Rig::under(POLICY);
    let link = Ends::of(CLIENT[0], OLD);
    assert!(rig.crosses(Side::Outside, &link.tcp(5, 22, ACK, 1, 1, &[])));
    assert_eq!(rig.moved(Side::Outside), [(Forwarded, 1), (Loose, 1)]);
    assert_eq!(rig.event(), None);
}

#[test]
fn silence_ends_a_flow() {
    let mut rig = Rig::under(POLICY);
    rig.forwarded(Side::Outside, &to_vault(0).udp(1, 53, b"q"));
    rig.event();
    rig.later(59 * SECOND);
    rig.forwarded(Side::Inside, &to_vault(0).reply().udp(53, 1, b"a"));
    rig.later(181 * SECOND);
    rig.dropped(Side::Inside, &to_vault(0).reply().udp(53, 1, b"late"), Reason::NoRule);
}

#[test]
fn a_closed_connection_meets_the_rules_again() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, RST | ACK, 0, 2, &[]));
    rig.later(SECOND + 1);
    rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 2, 1, &[]), Reason::TcpNoSession);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 7, 0, &[]));
}

#[test]
fn a_new_generation_judges_again_before_the_next_packet() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    let closed = web_for("[\"dns\"]");
    rig.publish(policy(&closed, 2));
    let event = rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 2, 1, &[]), Reason::NoRule);
    assert_eq!(event.generation, 2);
    rig.publish(policy(POLICY, 3));
    rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 2, 1, &[]), Reason::TcpNoSession);
}

#[test]
fn a_denied_opener_does_not_end_a_closing_flow() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 1, 0, &[]));
    rig.event();
    let fin = FIN | ACK;
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, SYN | ACK, 1, 2, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, fin, 2, 2, &[]));
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, fin, 2, 3, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 3, 3, &[]));
    // A SYN the other way, and one from the wrong side: neither is let in, and a FIN whose ACK was lost
    // still finds its answer.
    rig.dropped(Side::Inside, &link.reply().tcp(443, 1, SYN, 9, 0, &[]), Reason::NoRule);
    rig.dropped(Side::Inside, &link.tcp(1, 443, SYN, 9, 0, &[]), Reason::Spoofed);
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, fin, 2, 3, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 3, 3, &[]));
}

#[test]
fn a_borrowed_flow_is_governed_by_every_zone_inside() {
    let mut rig = Rig::under(POLICY);
    let link = to_jump(0);
    rig.would(Side::Outside, &link.udp(7_777, 53, b"q"), Reason::NoRule);
    assert!(
        rig.crosses(Side::Inside, &link.reply().udp(53, 7_777, b"a")),
        "the jump host itself: simulated"
    );
    assert_eq!(rig.moved(Side::Inside), [(Forwarded, 1), (Would(Reason::NoRule), 1)]);
    let other = Ends { src_mac: VAULT_MAC, ..link.reply() };
    rig.dropped(Side::Inside, &other.udp(53, 7_777, b"a"), Reason::NoRule);
}

#[test]
fn only_the_owner_opens_a_flow() {
    let owner = Owner::new(2, (3, 4));
    let mut rig = Rig::shaped(POLICY, Shape { owner: owner.clone(), ..Shape::default() });
    let (mut mine, mut theirs) = (0, 0);
    for port in 1..=40 {
        let frame = to_vault(0).tcp(port, 443, SYN, 1, 0, &[]);
        let (key, _) = parse(&frame).unwrap().key().unwrap();
        let crossed = rig.crosses(Side::Outside, &frame);
        assert_eq!(crossed, owner.of(&key) == 0);
        mine += u32::from(crossed);
        theirs += u32::from(!crossed);
        let name = if crossed { Forwarded } else { Dropped(Reason::HandoverFull) };
        assert_eq!(rig.moved(Side::Outside), [(name, 1)]);
    }
    assert!(mine > 8 && theirs > 8, "{mine} {theirs}");
}
