//! What the rules say of a first packet, and what each mode makes of it.

use portcullis::pipeline::{EventKind, Reason};
use portcullis::policy::RuleNumber;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, Side};

use crate::memory::Count::{Forwarded, Would};
use crate::memory::{POLICY, Rig};
use crate::says::{ACK, JUMP, OLD, OLD_MAC, SYN, VAULT, relaxed, to_jump, to_vault};

#[test]
fn an_allowed_connection_crosses_both_ways_and_its_answer_needs_no_rule() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let there = to_vault(family);
        rig.forwarded(Side::Outside, &there.tcp(40_000, 443, SYN, 1, 0, &[]));
        let logged = rig.event().expect("allow.web says log");
        assert_eq!((logged.kind, logged.reason), (EventKind::Allow, None));
        rig.forwarded(Side::Inside, &there.reply().tcp(443, 40_000, SYN | ACK, 9, 2, &[]));
        rig.forwarded(Side::Outside, &there.tcp(40_000, 443, ACK, 2, 10, b"hello"));
        assert_eq!(rig.event(), None, "only the first packet of a flow is recorded");
    }
}

#[test]
fn what_no_rule_allows_is_dropped_and_named() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let event =
            rig.dropped(Side::Outside, &to_vault(family).tcp(40_001, 5432, SYN, 1, 0, &[]), Reason::NoRule);
        let service = event.service.unwrap();
        assert_eq!((service.protocol, service.sport, service.dport), (6, 40_001, 5432));
        assert_eq!(event.src_mac, Mac([2, 0, 0, 0x10, 0, 1]));
        let denied = to_vault(family).tcp(40_001, 23, SYN, 1, 0, &[]);
        let event = rig.dropped(Side::Outside, &denied, Reason::Denied);
        assert_ne!(event.rule, RuleNumber::NONE);
    }
}

#[test]
fn an_account_is_held_by_its_mac_only() {
    let mut rig = Rig::under(POLICY);
    let own = to_vault(0);
    rig.forwarded(Side::Outside, &own.tcp(1_000, 8443, SYN, 1, 0, &[]));
    let thief = Ends { src_mac: Mac([2, 0, 0, 0x66, 0, 1]), ..own };
    rig.dropped(Side::Outside, &thief.tcp(1_001, 8443, SYN, 1, 0, &[]), Reason::AccountNotHeld);
    rig.forwarded(Side::Outside, &thief.tcp(1_002, 443, SYN, 1, 0, &[]));
}

#[test]
fn a_source_of_the_other_side_is_spoofed() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
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
        let mut rig = Rig::under(POLICY);
        let link = to_jump(family);
        rig.would(Side::Outside, &link.tcp(5, 22, SYN, 1, 0, &[]), Reason::NoRule);
        assert!(rig.crosses(Side::Inside, &link.reply().tcp(22, 5, SYN | ACK, 1, 2, &[])));
        assert_eq!(
            rig.moved(Side::Inside),
            [(Forwarded, 1), (Would(Reason::NoRule), 1)],
            "the answer of a would-drop flow counts as one too"
        );
        assert_eq!(rig.event(), None, "and is no second event");
    }
}

#[test]
fn same_side_has_a_list_of_its_own() {
    let mut rig = Rig::under(POLICY);
    let local = Ends { src_mac: OLD_MAC, ..Ends::of(OLD, "10.20.2.41") };
    rig.dropped(Side::Inside, &local.udp(1, 53, b"x"), Reason::SameSide);
    let mut rig = Rig::under(&relaxed());
    assert!(rig.crosses(Side::Inside, &local.udp(1, 53, b"x")));
    assert_eq!(rig.moved(Side::Inside), [(Forwarded, 1), (Would(Reason::SameSide), 1)]);
    assert_eq!(rig.event(), None, "never a would-drop");
}
