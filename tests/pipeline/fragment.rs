//! Fragments go by the ports of their first; each that does not is dropped by name.

use portcullis::pipeline::Reason;
use portcullis::wire::Side;
use portcullis::wire::samples::Ends;

use crate::memory::Count::{Dropped, Forwarded, Would};
use crate::memory::{POLICY, Rig, Shape};
use crate::says::{ACK, FIN, SECOND, SYN, relaxed, to_vault};

/// The first 24 bytes of a question from port 5 000 to this port, of a datagram of 40 bytes.
fn first(link: &Ends, id: u32, dport: u16) -> Vec<u8> {
    let [d0, d1] = dport.to_be_bytes();
    let mut bytes = vec![0x13, 0x88, d0, d1, 0, 40, 0, 0];
    bytes.resize(24, 7);
    link.fragment(17, id, 0, true, &bytes)
}

/// Its last 16 bytes.
fn last(link: &Ends, id: u32) -> Vec<u8> {
    link.fragment(17, id, 24, false, &[8; 16])
}

#[test]
fn a_datagram_crosses_in_pieces_by_the_ports_of_its_first() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        rig.forwarded(Side::Outside, &first(&link, 7, 53));
        rig.event();
        rig.forwarded(Side::Outside, &last(&link, 7));
        // The next datagram of that flow, and its answer.
        rig.forwarded(Side::Outside, &first(&link, 8, 53));
        rig.forwarded(Side::Outside, &last(&link, 8));
        rig.forwarded(Side::Inside, &link.reply().udp(53, 5_000, b"answer"));
    }
}

#[test]
fn a_denied_datagram_is_denied_in_every_piece() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        rig.dropped(Side::Outside, &first(&link, 7, 54), Reason::NoRule);
        rig.dropped(Side::Outside, &last(&link, 7), Reason::NoRule);
    }
}

#[test]
fn what_comes_before_its_first_waits_for_it_and_follows_it() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        assert!(!rig.crosses(Side::Outside, &last(&link, 7)));
        assert_eq!(rig.moved(Side::Outside), []);
        rig.later(SECOND);
        assert!(rig.offer(Side::Outside, &first(&link, 7, 53)));
        rig.turn();
        assert_eq!(rig.take(Side::Inside), Some(first(&link, 7, 53)));
        assert_eq!(rig.take(Side::Inside), Some(last(&link, 7)));
        assert_eq!(rig.moved(Side::Outside), [(Forwarded, 2)]);
    }
}

/// As every packet: no place in the ring, and nothing is remembered of it.
#[test]
fn what_no_longer_waits_needs_a_place_in_the_ring_before_it_is_judged() {
    let mut rig = Rig::shaped(POLICY, Shape { tx_ring: 1, ..Shape::default() });
    let link = to_vault(0);
    assert!(!rig.crosses(Side::Outside, &last(&link, 7)));
    assert!(rig.offer(Side::Outside, &first(&link, 7, 53)));
    rig.turn();
    assert_eq!(rig.take(Side::Inside), Some(first(&link, 7, 53)));
    assert_eq!(rig.moved(Side::Outside), [(Forwarded, 1), (Dropped(Reason::TxRingFull), 1)]);
    rig.event();
    assert_eq!(rig.event().and_then(|event| event.reason), Some(Reason::TxRingFull));
}

#[test]
fn what_waits_for_a_first_that_is_denied_is_denied_with_it() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    assert!(!rig.crosses(Side::Outside, &last(&link, 7)));
    assert!(!rig.crosses(Side::Outside, &first(&link, 7, 54)));
    assert_eq!(rig.moved(Side::Outside), [(Dropped(Reason::NoRule), 2)]);
    assert!(rig.event().is_some() && rig.event().is_some(), "one event each");
}

#[test]
fn without_a_first_the_waiting_ends_as_the_mode_says() {
    for family in [0, 1] {
        let link = to_vault(family);
        for (text, crosses) in [(POLICY.to_owned(), false), (relaxed(), true)] {
            let mut rig = Rig::under(&text);
            assert!(!rig.crosses(Side::Outside, &last(&link, 7)));
            rig.later(31 * SECOND);
            // The hand passes all places within some turns.
            for _ in 0..40 {
                rig.turn();
            }
            if crosses {
                assert_eq!(rig.take(Side::Inside), Some(last(&link, 7)));
                let moved = [(Forwarded, 1), (Would(Reason::FragmentNoFirst), 1)];
                assert_eq!(rig.moved(Side::Outside), moved);
            } else {
                assert_eq!(rig.take(Side::Inside), None);
                assert_eq!(rig.moved(Side::Outside), [(Dropped(Reason::FragmentNoFirst), 1)]);
            }
            assert_eq!(rig.event().and_then(|event| event.reason), Some(Reason::FragmentNoFirst));
        }
    }
}

#[test]
fn fragments_that_contradict_each_other_are_dropped_by_name() {
    for family in [0, 1] {
        let link = to_vault(family);
        let piece = |offset, more, size: usize| link.fragment(17, 7, offset, more, &vec![9; size]);
        for (second, reason) in [
            (piece(16, false, 24), Reason::FragmentOverlap),
            (first(&link, 7, 53), Reason::FragmentRepeat),
            (first(&link, 7, 54), Reason::FragmentRepeat),
        ] {
            let mut rig = Rig::under(POLICY);
            rig.forwarded(Side::Outside, &first(&link, 7, 53));
            rig.event();
            rig.dropped(Side::Outside, &second, reason);
            if reason == Reason::FragmentOverlap {
                rig.dropped(Side::Outside, &last(&link, 7), Reason::FragmentPoisoned);
                rig.forwarded(Side::Outside, &first(&link, 8, 53));
            }
        }
        let mut rig = Rig::under(POLICY);
        rig.forwarded(Side::Outside, &first(&link, 7, 53));
        rig.event();
        rig.forwarded(Side::Outside, &piece(64, false, 16));
        rig.dropped(Side::Outside, &piece(80, true, 16), Reason::FragmentBeyondEnd);
        let mut rig = Rig::under(POLICY);
        rig.forwarded(Side::Outside, &first(&link, 7, 53));
        rig.event();
        rig.forwarded(Side::Outside, &piece(64, false, 16));
        rig.dropped(Side::Outside, &piece(32, false, 16), Reason::FragmentTwoEnds);
    }
}

#[test]
fn a_datagram_in_too_many_separate_pieces_is_scattered() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &first(&link, 7, 53));
    rig.event();
    for n in 1..12 {
        rig.forwarded(Side::Outside, &link.fragment(17, 7, 24 + n * 16, true, &[9; 8]));
    }
    let one_more = link.fragment(17, 7, 24 + 12 * 16, true, &[9; 8]);
    rig.dropped(Side::Outside, &one_more, Reason::FragmentScattered);
}

#[test]
fn held_fragments_have_a_bound_and_a_full_shelf_leaves_room_for_traffic() {
    let mut rig = Rig::shaped(POLICY, Shape { pool: 64, ..Shape::default() });
    let link = to_vault(0);
    for id in 0..16 {
        assert!(!rig.crosses(Side::Outside, &last(&link, id)));
    }
    assert_eq!(rig.moved(Side::Outside), [], "a quarter of the pool waits");
    rig.dropped(Side::Outside, &last(&link, 16), Reason::FragmentHeldQuota);
    let other = Ends { src: "10.10.0.6".parse().unwrap(), ..link };
    rig.dropped(Side::Outside, &last(&other, 16), Reason::FragmentHeldFull);
    rig.forwarded(Side::Outside, &link.udp(5_000, 53, b"question"));
}

/// The rest of a segment does not open a connection, and its length is in no header: the windows follow.
#[test]
fn a_fragmented_segment_crosses_with_its_connection() {
    let mut rig = Rig::under(POLICY);
    let link = to_vault(0);
    rig.forwarded(Side::Outside, &link.tcp(1, 443, SYN, 999, 0, &[]));
    rig.event();
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, SYN | ACK, 4_999, 1_000, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK, 1_000, 5_000, &[]));
    let whole = link.tcp(1, 443, ACK, 1_000, 5_000, &[5; 60]);
    let segment = &whole[34..];
    rig.forwarded(Side::Outside, &link.fragment(6, 9, 0, true, &segment[..40]));
    rig.forwarded(Side::Outside, &link.fragment(6, 9, 40, false, &segment[40..]));
    rig.forwarded(Side::Inside, &link.reply().tcp(443, 1, ACK, 5_000, 1_060, &[]));
    rig.forwarded(Side::Outside, &link.tcp(1, 443, ACK | FIN, 1_060, 5_000, &[]));
    // Of a connection that nobody opened it is no flow.
    let other = link.tcp(2, 443, ACK, 1_000, 5_000, &[5; 60]);
    rig.dropped(Side::Outside, &link.fragment(6, 10, 0, true, &other[34..74]), Reason::TcpNoSession);
    rig.dropped(Side::Outside, &link.fragment(6, 10, 40, false, &other[74..]), Reason::TcpNoSession);
}

#[test]
fn a_fragmented_ping_crosses_with_its_reply() {
    for family in [0, 1] {
        let mut rig = Rig::under(POLICY);
        let link = to_vault(family);
        let head = if family == 0 { 34 } else { 54 };
        let protocol = if family == 0 { 1 } else { 58 };
        let request = link.echo(7, 1, &[1; 40]);
        let reply = link.reply().echo_reply(7, 1, &[1; 40]);
        for (side, ends, whole) in [(Side::Outside, link, request), (Side::Inside, link.reply(), reply)] {
            let message = &whole[head..];
            rig.forwarded(side, &ends.fragment(protocol, 3, 0, true, &message[..24]));
            rig.event();
            rig.forwarded(side, &ends.fragment(protocol, 3, 24, false, &message[24..]));
        }
    }
}
