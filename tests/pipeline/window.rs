//! TCP is held to its handshake, its windows and its close; each case with exactly one counter.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Side, TcpFlags};

use crate::memory::Count::{Forwarded, Loose};
use crate::memory::{POLICY, Rig};
use crate::says::{ACK, FIN, RST, SECOND, SYN, policy, relaxed, to_vault};

const PSH: u8 = TcpFlags::PSH;

/// A connection from the client's port 1 to the vault, open: the client has sent up to 1 000, the vault up
/// to 5 000.
fn open(rig: &mut Rig, link: &Ends) {
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 999, 0, &[]));
    rig.event();
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, SYN | ACK, 4_999, 1_000, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_000, 5_000, &[]));
}

#[test]
fn a_segment_outside_its_window_is_no_part_of_the_connection() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        open(&mut rig, &link);
        for (seq, ack) in
            [(3_000_000_000, 5_000), (1_000 + 70_000, 5_000), (1_000, 5_001), (1_000, 3_000_000_000)]
        {
            rig.dropped(Side::Outside, &link.tcp(1, 443, ACK | PSH, seq, ack, b"blind"), Reason::TcpWindow);
        }
        rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK | PSH, 1_000, 5_000, b"sound"));
    }
}

#[test]
fn wrong_flags_in_the_handshake_are_refused() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 999, 0, &[]));
        rig.event();
        rig.dropped(Side::Inside, &link.reply().tcp(443, 1, ACK, 4_999, 1_000, &[]), Reason::TcpState);
        rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 1_000, 5_000, &[]), Reason::TcpState);
        rig.dropped(
            Side::Inside,
            &link.reply().tcp(443, 1, SYN | ACK, 4_999, 1_001, &[]),
            Reason::TcpWindow,
        );
        rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, SYN | ACK, 4_999, 1_000, &[]));
    }
}

#[test]
fn a_reset_out_of_window_is_dropped_and_one_in_it_ends_the_flow_only_where_it_is_exact() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        open(&mut rig, &link);
        rig.dropped(Side::Outside, &link.tcp(1, 443, RST, 900_000, 0, &[]), Reason::TcpWindow);
        // In the window and not exact: the receiver answers it (RFC 5961), so the connection goes on.
        rig.forwarded(Side::Outside, &link.tcp(1, 443, RST, 1_001, 0, &[]));
        rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, ACK, 5_000, 1_000, &[]));
        rig.later(20 * SECOND);
        rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, ACK | PSH, 5_000, 1_000, b"still here"));
        rig.forwarded(Side::Outside, &link.tcp(1, 443, RST, 1_000, 0, &[]));
        rig.dropped(Side::Inside, &link.reply().tcp(443, 1, ACK, 5_010, 1_000, &[]), Reason::TcpNoSession);
    }
}

#[test]
fn a_syn_on_a_live_connection_passes_once_a_second_and_the_connection_goes_on() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    open(&mut rig, &link);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 77, 0, &[]));
    rig.dropped(Side::Outside, &link.tcp(1, 443, SYN, 78, 0, &[]), Reason::TcpState);
    rig.later(2 * SECOND);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 79, 0, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_000, 5_000, b"data"));
}

#[test]
fn after_its_close_only_the_repeat_of_a_fin_and_its_ack_pass() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        open(&mut rig, &link);
        let fin = FIN | ACK;
        rig.forwarded(Side::Outside, &link.tcp(1, 443, fin, 1_000, 5_000, &[]));
        rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, fin, 5_000, 1_001, &[]));
        rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_001, 5_001, &[]));
        rig.dropped(
            Side::Outside,
            &link.tcp(1, 443, ACK | PSH, 1_001, 5_001, b"late"),
            Reason::TcpNoSession,
        );
        rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, fin, 5_000, 1_001, &[]));
        rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_001, 5_001, &[]));
        rig.later(2 * SECOND);
        rig.dropped(Side::Outside, &link.tcp(1, 443, ACK, 1_001, 5_001, &[]), Reason::TcpNoSession);
        rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 9_000, 0, &[]));
    }
}

#[test]
fn out_of_window_under_observe_is_forwarded_recorded_and_the_windows_follow() {
    let mut rig = Rig::under(&relaxed());
    let link = to_vault(0);
    open(&mut rig, &link);
    rig.would(Side::Outside, &link.tcp(1, 443, ACK, 9_000_000, 5_000, b"jump"), Reason::TcpWindow);
    // Both ends are taken as they come next: no cascade of would-drops.
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 9_000_004, 5_000, b"jump"));
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, ACK, 5_000, 9_000_008, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 9_000_008, 5_000, b"jump"));
}

/// POLICY.md §6: on entering `enforce` an unseen flow lives only if a rule allows exactly one direction and
/// the window check passed both ways.
#[test]
fn an_unseen_flow_enters_enforce_only_when_checked_both_ways_and_allowed_one_way() {
    let link = to_vault(0);
    let both = POLICY.replace("[deny.telnet]", "[allow.back]\nfrom = { app = \"vault\" }\nto = { app = \"client\" }\nservices = [\"tcp/1-60000\"]\n[deny.telnet]");
    for (strict, checked, lives) in
        [(POLICY, true, true), (POLICY, false, false), (both.as_str(), true, false)]
    {
        let mut rig = Rig::under(&relaxed());
        assert!(rig.crosses(Side::Inside, &link.reply().tcp(443, 1, ACK, 5_000, 1_000, b"mid")));
        assert_eq!(rig.moved(Side::Inside), [(Forwarded, 1), (Loose, 1)]);
        if checked {
            rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_000, 5_003, b"way"));
            rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, ACK, 5_003, 1_003, b"on"));
            rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_003, 5_005, &[]));
        }
        rig.publish(policy(strict, 2));
        let next = link.reply().tcp(443, 1, ACK, 5_005, if checked { 1_003 } else { 1_000 }, b"next");
        if lives {
            rig.forwarded(Side::Inside, &next);
            rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_003, 5_009, &[]));
        } else {
            rig.dropped(Side::Inside, &next, Reason::TcpNoSession);
        }
    }
}

/// RFC 5927 §4: an error that quotes a segment which its sender can't have sent is nobody's.
#[test]
fn an_icmp_error_quotes_a_segment_in_window() {
    for (family, unreachable) in [(0, 3), (1, 1)] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        open(&mut rig, &link);
        let quote = |seq| link.tcp(1, 443, ACK, seq, 5_000, &[]);
        let error = |seq| link.reply().icmp_error(unreachable, 0, [0; 4], &quote(seq));
        rig.forwarded(Side::Inside, &error(1_000));
        rig.dropped(Side::Inside, &error(500_000), Reason::IcmpNoFlow);
    }
}
