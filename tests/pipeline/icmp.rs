//! Pings, errors and what has no identifier.

use portcullis::pipeline::{EventKind, Reason};
use portcullis::wire::Side;

use crate::memory::{POLICY, Rig};
use crate::says::{to_vault, web_for};

#[test]
fn a_ping_crosses_and_so_does_its_reply() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        rig.forwarded(Side::Outside, &link.echo(7, 1, b"x"));
        rig.event();
        rig.forwarded(Side::Inside, &link.reply().echo_reply(7, 1, b"x"));
        rig.dropped(Side::Inside, &link.reply().echo_reply(8, 1, b"x"), Reason::IcmpNoFlow);
        rig.dropped(Side::Inside, &link.reply().echo(7, 1, b"x"), Reason::NoRule);
    }
}

#[test]
fn an_icmp_error_goes_with_the_flow_it_quotes() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        let query = link.udp(5_000, 53, b"question");
        let (kind, code) = if family == 0 { (3, 3) } else { (1, 4) };
        let error = link.reply().icmp_error(kind, code, [0; 4], &query);
        rig.dropped(Side::Inside, &error, Reason::IcmpNoFlow);
        rig.forwarded(Side::Outside, &query);
        rig.event();
        rig.forwarded(Side::Inside, &error);
        let elsewhere = link.reply().icmp_error(kind, code, [0; 4], &link.udp(5_001, 53, b"other"));
        rig.dropped(Side::Inside, &elsewhere, Reason::IcmpNoFlow);
        // Towards the wrong end: the quoted packet's receiver is told of its own packet.
        let wrong = link.icmp_error(kind, code, [0; 4], &query);
        rig.dropped(Side::Outside, &wrong, Reason::IcmpNoFlow);
    }
}

/// The answerer knows the identifier, and may choose any of its own: no question of its own has the key of
/// the one that it was asked.
#[test]
fn who_is_asked_asks_nothing_by_the_flow_of_the_question() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        rig.forwarded(Side::Outside, &link.echo(7, 1, b"x"));
        rig.event();
        for id in [7, !7, 6, 8] {
            rig.dropped(Side::Inside, &link.reply().echo(id, 1, b"x"), Reason::NoRule);
        }
        for id in 0..=u16::MAX {
            let key = |frame: &[u8]| portcullis::wire::parse(frame).unwrap().key().unwrap().0;
            let (asked, asks) = (link.echo(7, 1, b"x"), link.reply().echo(id, 1, b"x"));
            assert_ne!(key(&asked), key(&asks), "{id}");
        }
    }
}

#[test]
fn an_icmp_question_and_its_answers_are_one_flow_for_ten_seconds() {
    let policy = web_for("[\"icmp/13\", \"icmp/17\"]");
    let mut rig = Rig::under(&policy);
    let link = to_vault(0);
    let (ask, answer) = ([0, 7, 0, 1], link.reply());
    rig.forwarded(Side::Outside, &link.icmp(13, 0, ask, &[0; 12]));
    assert_eq!(rig.event().expect("allow.web says log").kind, EventKind::Allow);
    rig.forwarded(Side::Outside, &link.icmp(13, 0, [0, 7, 0, 2], &[0; 12]));
    assert_eq!(rig.event(), None, "the same flow");
    rig.forwarded(Side::Inside, &answer.icmp(14, 0, ask, &[0; 12]));
    assert_eq!(rig.event(), None, "its answer is none of its own");
    rig.dropped(Side::Inside, &answer.icmp(18, 0, ask, &[0; 4]), Reason::IcmpNoFlow);
    rig.dropped(Side::Inside, &answer.icmp(0, 0, ask, &[0; 4]), Reason::IcmpNoFlow);
    rig.dropped(Side::Inside, &answer.icmp(14, 1, ask, &[0; 12]), Reason::NoRule);
}

#[test]
fn icmp_without_an_identifier_is_judged_packet_by_packet() {
    let policy = web_for("[\"icmp/10\"]");
    let mut rig = Rig::under(&policy);
    let link = to_vault(0);
    for _ in 0..2 {
        rig.forwarded(Side::Outside, &link.icmp(10, 0, [0; 4], &[]));
        assert_eq!(rig.event().expect("allow.web says log").kind, EventKind::Allow);
    }
    for kind in [9, 13, 15, 253] {
        rig.dropped(Side::Outside, &link.icmp(kind, 0, [0; 4], &[0; 12]), Reason::NoRule);
        rig.dropped(Side::Inside, &link.reply().icmp(kind, 0, [0; 4], &[0; 12]), Reason::NoRule);
    }
}

#[test]
fn an_echo_with_another_code_is_no_part_of_a_ping() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.echo(7, 1, b"x"));
    rig.event();
    // Its replies have code 0; what has another is judged by itself.
    rig.dropped(Side::Inside, &link.reply().icmp(0, 9, [0, 7, 0, 1], b"x"), Reason::NoRule);
    rig.dropped(Side::Inside, &link.reply().icmp(8, 9, [0, 7, 0, 1], b"x"), Reason::NoRule);
    rig.forwarded(Side::Inside, &link.reply().echo_reply(7, 1, b"x"));
}
