//! Every answer and every refusal by its name.

use super::*;
use crate::flow::fragments::{FragmentCounts, FragmentRefusal as Why};
use crate::wire::{Facts, Icmp, Mac, Net};

fn refused(token: u32, why: Why) -> Answer<u32> {
    Answer::Refused(token, why)
}

#[test]
fn a_datagram_in_order_passes_and_its_memory_ends_with_it() {
    let mut memory = memory();
    assert_eq!(memory.meet(&first(1, 1480), 0, 0), known(0));
    assert_eq!(memory.meet(&later(1, 1480, 1480, true), 1, 0), known(1));
    assert_eq!((memory.len(), memory.sources()), (1, 1));
    assert_eq!(memory.meet(&later(1, 2960, 100, false), 2, 0), known(2));
    assert_eq!((memory.len(), memory.sources(), memory.held()), (0, 0, 0));
    let counts = FragmentCounts { opened: 1, complete: 1, ..FragmentCounts::default() };
    assert_eq!((memory.counts(), drain(&mut memory)), (counts, vec![]));
    // What comes again afterwards is a new datagram without a first.
    assert_eq!(memory.meet(&later(1, 1480, 1480, true), 3, 1), Answer::Held);
}

#[test]
fn what_came_before_its_first_is_released_by_it_in_order_of_arrival() {
    let mut memory = memory();
    assert_eq!(memory.meet(&later(1, 16, 8, false), 0, 0), Answer::Held);
    assert_eq!(memory.meet(&later(1, 8, 8, true), 1, 0), Answer::Held);
    assert_eq!(memory.meet(&later(2, 8, 8, true), 2, 0), Answer::Held);
    assert_eq!((memory.held(), drain(&mut memory)), (3, vec![]));
    assert_eq!(memory.meet(&first(1, 8), 3, 5), known(3));
    let release = Release::Known(ports(1000));
    assert_eq!(drain(&mut memory), [(0, release), (1, release)]);
    assert_eq!((memory.held(), memory.len()), (1, 1), "the other datagram still waits");
}

#[test]
fn an_overlap_spoils_its_datagram_and_no_other() {
    for (offset, length) in [(8, 16), (24, 16), (8, 8), (16, 8), (8, 80)] {
        let mut memory = memory();
        assert_eq!(memory.meet(&first(1, 8), 0, 0), known(0));
        assert_eq!(memory.meet(&first(2, 8), 1, 0), known(1));
        assert_eq!(memory.meet(&later(1, 8, 24, true), 2, 0), known(2));
        assert_eq!(memory.meet(&later(1, offset, length, true), 3, 0), refused(3, Why::Overlap));
        assert_eq!(memory.meet(&later(1, 32, 8, true), 4, 99), refused(4, Why::Poisoned));
        assert_eq!(memory.meet(&first(1, 8), 5, 99), refused(5, Why::Poisoned));
        assert_eq!(memory.meet(&later(2, 8, 8, false), 6, 99), known(6));
        // Until its time is over.
        assert_eq!(memory.meet(&first(1, 8), 7, 100), known(7));
        let ended = FragmentCounts { opened: 3, complete: 1, poisoned: 1, ..Default::default() };
        assert_eq!(memory.counts(), ended);
    }
}

#[test]
fn an_overlap_ends_the_waiting_of_what_it_overlaps() {
    let mut memory = memory();
    assert_eq!(memory.meet(&later(1, 8, 16, true), 0, 0), Answer::Held);
    assert_eq!(memory.meet(&later(1, 24, 16, true), 1, 0), Answer::Held);
    // Also the first is measured against what waits.
    assert_eq!(memory.meet(&first(1, 16), 2, 0), refused(2, Why::Overlap));
    let spoilt = Release::Refused(Why::Poisoned);
    assert_eq!(drain(&mut memory), [(0, spoilt), (1, spoilt)]);
    assert_eq!((memory.held(), memory.len()), (0, 1));
}

#[test]
fn an_exact_repeat_is_dropped_and_spoils_nothing() {
    let mut memory = memory();
    assert_eq!(memory.meet(&later(1, 8, 8, true), 0, 0), Answer::Held);
    assert_eq!(memory.meet(&later(1, 8, 8, true), 1, 0), refused(1, Why::Repeat));
    assert_eq!(memory.meet(&first(1, 8), 2, 0), known(2));
    assert_eq!(memory.meet(&first(1, 8), 3, 0), refused(3, Why::Repeat));
    assert_eq!(memory.meet(&later(1, 24, 5, false), 4, 0), known(4));
    assert_eq!(memory.meet(&later(1, 24, 5, false), 5, 0), refused(5, Why::Repeat));
    assert_eq!(memory.meet(&later(1, 16, 8, true), 6, 0), known(6));
    assert_eq!(memory.len(), 0);
}

#[test]
fn a_repeat_with_another_word_about_the_end_is_no_repeat() {
    let mut memory = memory();
    assert_eq!(memory.meet(&first(1, 8), 0, 0), known(0));
    assert_eq!(memory.meet(&later(1, 16, 8, true), 1, 0), known(1));
    assert_eq!(memory.meet(&later(1, 16, 8, false), 2, 0), refused(2, Why::BeyondEnd));
    assert_eq!(memory.meet(&first(2, 8), 3, 0), known(3));
    assert_eq!(memory.meet(&later(2, 16, 8, false), 4, 0), known(4));
    assert_eq!(memory.meet(&later(2, 16, 8, true), 5, 0), refused(5, Why::BeyondEnd));
    assert_eq!(memory.meet(&later(2, 8, 8, true), 6, 0), refused(6, Why::Poisoned));
}

#[test]
fn nothing_passes_beyond_the_end() {
    let mut memory = memory();
    assert_eq!(memory.meet(&first(1, 8), 0, 0), known(0));
    assert_eq!(memory.meet(&later(1, 16, 4, false), 1, 0), known(1));
    assert_eq!(memory.meet(&later(1, 24, 8, true), 2, 0), refused(2, Why::BeyondEnd));
    assert_eq!(memory.meet(&later(1, 8, 8, true), 3, 0), refused(3, Why::Poisoned));
    // The other way round: a last fragment that ends before what was seen.
    assert_eq!(memory.meet(&later(2, 32, 8, true), 4, 0), Answer::Held);
    assert_eq!(memory.meet(&later(2, 8, 8, false), 5, 0), refused(5, Why::BeyondEnd));
    assert_eq!(drain(&mut memory), [(4, Release::Refused(Why::Poisoned))]);
}

#[test]
fn a_datagram_has_one_end() {
    for end in [7, 24] {
        let mut memory = memory();
        assert_eq!(memory.meet(&first(1, 8), 0, 0), known(0));
        assert_eq!(memory.meet(&later(1, 64, 8, false), 1, 0), known(1));
        assert_eq!(memory.meet(&later(1, 24, end, false), 2, 0), refused(2, Why::TwoEnds));
        assert_eq!(memory.meet(&later(1, 8, 8, true), 3, 0), refused(3, Why::Poisoned));
    }
    let mut memory = memory();
    assert_eq!(memory.meet(&later(1, 64, 8, false), 0, 0), Answer::Held);
    assert_eq!(memory.meet(&later(1, 72, 8, false), 1, 0), refused(1, Why::TwoEnds));
}

#[test]
fn what_the_parser_refuses_is_refused_here_too_and_leaves_no_trace() {
    let mut memory = memory();
    let impossible = [
        later(1, 65_528, 8, false),
        later(1, 8, 0, false),
        later(1, 8, 9, true),
        later(1, 9, 8, true),
        later(1, 0, 8, true),
        first(1, 0),
        first(1, 9),
    ];
    for (token, piece) in (0..).zip(&impossible) {
        assert_eq!(memory.meet(piece, token, 0), refused(token, Why::Impossible), "{piece:?}");
    }
    assert_eq!((memory.len(), memory.counts()), (0, FragmentCounts::default()));
    assert_eq!(memory.meet(&later(1, 65_528, 7, false), 9, 0), Answer::Held, "the very last byte");
}

#[test]
fn more_than_twelve_separate_pieces_are_scattered() {
    let mut memory = memory();
    assert_eq!(memory.meet(&first(1, 8), 0, 0), known(0));
    for n in 1..12u16 {
        assert_eq!(memory.meet(&later(1, n * 16, 8, true), u32::from(n), 0), known(u32::from(n)));
    }
    assert_eq!(memory.meet(&later(1, 200, 8, true), 12, 0), refused(12, Why::Scattered));
    assert_eq!(memory.meet(&later(1, 8, 8, true), 13, 0), refused(13, Why::Poisoned));
}

#[test]
fn a_source_has_its_quota_of_datagrams() {
    let mut memory = memory();
    for id in 0..4 {
        assert_eq!(memory.meet(&first(id, 8), id, 0), known(id));
    }
    assert_eq!(memory.meet(&first(4, 8), 4, 0), refused(4, Why::SourceQuota));
    assert_eq!(memory.meet(&later(5, 8, 8, true), 5, 0), refused(5, Why::SourceQuota));
    assert_eq!(memory.meet(&first_of(key("10.0.0.2", 4), 8, 1000), 6, 0), known(6));
    assert_eq!(memory.meet(&later(0, 8, 8, false), 7, 0), known(7), "one is complete");
    assert_eq!(memory.meet(&first(4, 8), 8, 0), known(8));
    assert_eq!((memory.len(), memory.sources(), memory.held()), (5, 2, 0));
}

#[test]
fn a_v6_source_is_its_64() {
    let mut memory = memory();
    for id in 0..4 {
        let piece = first_of(key(&format!("2001:db8::{id}"), 7), 8, 1000);
        assert_eq!(memory.meet(&piece, id, 0), known(id));
    }
    let fifth = first_of(key("2001:db8::5", 7), 8, 1000);
    assert_eq!(memory.meet(&fifth, 4, 0), refused(4, Why::SourceQuota));
    assert_eq!(memory.meet(&first_of(key("2001:db8:0:1::5", 7), 8, 1000), 5, 0), known(5));
}

#[test]
fn a_full_memory_refuses_until_something_in_it_ends() {
    let mut memory = memory();
    for n in 0..6u32 {
        let datagram = key(&format!("10.0.1.{n}"), n);
        assert_eq!(memory.meet(&first_of(datagram, 8, 1000), n, n), known(n));
    }
    assert_eq!(memory.meet(&first(9, 8), 9, 99), refused(9, Why::TableFull));
    // Nobody swept: the first one's time is over, and its place is found.
    assert_eq!(memory.meet(&first(9, 8), 10, 100), known(10));
    assert_eq!((memory.len(), memory.counts().incomplete), (6, 1));
}

#[test]
fn held_fragments_are_bounded_for_a_source_and_for_all() {
    let mut memory = memory();
    for n in 1..=3u16 {
        assert_eq!(memory.meet(&later(1, n * 8, 8, true), u32::from(n), 0), Answer::Held);
    }
    assert_eq!(memory.meet(&later(1, 80, 8, true), 4, 0), refused(4, Why::HeldQuota));
    assert_eq!(memory.meet(&later(2, 8, 8, true), 5, 0), refused(5, Why::HeldQuota));
    assert_eq!(memory.len(), 1, "what cannot be held opens nothing");
    let other = key("10.0.0.2", 1);
    assert_eq!(memory.meet(&later_of(other, 8, 8, true), 6, 0), Answer::Held);
    assert_eq!(memory.meet(&later_of(other, 16, 8, true), 7, 0), Answer::Held);
    assert_eq!(memory.meet(&later_of(other, 24, 8, true), 8, 0), refused(8, Why::HeldFull));
    // What was refused was not seen: it may come again once there is room.
    assert_eq!(memory.meet(&first(1, 8), 9, 0), known(9));
    assert_eq!(memory.meet(&later_of(other, 24, 8, true), 10, 0), refused(10, Why::HeldFull));
    assert_eq!(drain(&mut memory).len(), 3, "released ones keep their place until they are fetched");
    assert_eq!(memory.meet(&later_of(other, 24, 8, true), 11, 0), Answer::Held);
    assert_eq!(memory.meet(&later(2, 8, 8, true), 12, 0), Answer::Held, "its source owes nothing");
}

#[test]
fn without_a_first_the_waiting_ends_in_time() {
    let mut memory = memory();
    assert_eq!(memory.meet(&later(1, 8, 8, true), 0, 50), Answer::Held);
    assert_eq!(memory.meet(&later(1, 16, 8, true), 1, 149), Answer::Held);
    memory.sweep(149, 6);
    assert_eq!(drain(&mut memory), []);
    memory.sweep(150, 6);
    let late = Release::Refused(Why::NoFirst);
    assert_eq!(drain(&mut memory), [(0, late), (1, late)]);
    let counts = FragmentCounts { opened: 1, no_first: 1, ..FragmentCounts::default() };
    assert_eq!((memory.len(), memory.sources(), memory.counts()), (0, 0, counts));
}

#[test]
fn without_its_last_a_datagram_ends_in_time_and_its_ports_with_it() {
    let mut memory = memory();
    assert_eq!(memory.meet(&first(1, 8), 0, 0), known(0));
    assert_eq!(memory.meet(&later(1, 8, 8, true), 1, 99), known(1));
    // Nobody swept: a fragment that comes too late finds nothing.
    assert_eq!(memory.meet(&later(1, 16, 8, true), 2, 100), Answer::Held);
    let counts = FragmentCounts { opened: 2, incomplete: 1, ..FragmentCounts::default() };
    assert_eq!((memory.len(), memory.counts()), (1, counts));
}

#[test]
fn time_may_wrap() {
    let mut memory = memory();
    assert_eq!(memory.meet(&first(1, 8), 0, u32::MAX - 9), known(0));
    assert_eq!(memory.meet(&later(1, 8, 8, true), 1, 89), known(1));
    assert_eq!(memory.meet(&later(1, 16, 8, true), 2, 90), Answer::Held);
}

#[test]
fn the_hand_passes_no_more_slots_than_it_may() {
    let mut memory = memory();
    for n in 0..6u32 {
        let datagram = key(&format!("10.0.1.{n}"), n);
        assert_eq!(memory.meet(&first_of(datagram, 8, 1000), n, 0), known(n));
    }
    for left in [4, 2, 0, 0] {
        memory.sweep(100, 2);
        assert_eq!(memory.len(), left);
    }
    memory.sweep(100, u32::MAX);
    assert_eq!(memory.counts().incomplete, 6);
}

#[test]
fn a_datagram_is_its_addresses_id_protocol_vlans_and_side() {
    let ip = packet(HOST, 0);
    let key = |ip: &Ip, id, vlans, side| DatagramKey::new(ip, id, vlans, side);
    let tag = Vlans { outer: 7, inner: Vlans::NONE };
    let one = key(&ip, 1, Vlans::UNTAGGED, Side::Outside);
    let mut memory = FragmentMemory::new(FragmentLimits { datagrams_a_source: 9, ..LIMITS }, (3, 5));
    assert_eq!(memory.meet(&first_of(one, 8, 1000), 0, 0), known(0));
    let others = [
        key(&ip, 2, Vlans::UNTAGGED, Side::Outside),
        key(&ip, 1, tag, Side::Outside),
        key(&ip, 1, Vlans::UNTAGGED, Side::Inside),
        key(&Ip { protocol: 6, ..ip }, 1, Vlans::UNTAGGED, Side::Outside),
        key(&Ip { src: ip.dst, dst: ip.src, ..ip }, 1, Vlans::UNTAGGED, Side::Outside),
    ];
    for (token, other) in (1..).zip(others) {
        let answer = memory.meet(&first_of(other, 8, 1000), token, 0);
        assert_eq!(answer, known(token), "{other:?}");
    }
}

#[test]
fn a_v6_datagram_is_known_without_its_protocol_which_the_first_tells() {
    let ip = packet("2001:db8::1", 1000);
    let options = Ip { protocol: 60, l4: L4::Absent, ..ip };
    let facts = |ip| Facts {
        length: 100,
        dst_mac: Mac::default(),
        src_mac: Mac::default(),
        vlans: Vlans::UNTAGGED,
        ethertype: 0x86dd,
        net: Net::Ip(ip),
        odd: None,
    };
    let first = facts(Ip { fragment: Fragment::First { id: 70_000, length: 8 }, ..ip });
    let later = Fragment::Later { id: 70_000, offset: 8, length: 3, more: false };
    let later = facts(Ip { fragment: later, ..options });
    let (first, later) = (Piece::of(&first, Side::Inside), Piece::of(&later, Side::Inside));
    let mut memory = memory();
    let Answer::Known(0, told) = memory.meet(&first.unwrap(), 0, 0) else { panic!("not known") };
    assert_eq!(memory.meet(&later.unwrap(), 1, 0), Answer::Known(1, told));
    assert_eq!((told.service(), memory.len()), (ip.service(), 0));
    assert_eq!(first.unwrap().datagram.owner_key(), later.unwrap().datagram.owner_key());
    assert_eq!(Piece::of(&facts(ip), Side::Inside), None, "a whole packet is no fragment");
    assert_eq!(Piece::of(&Facts { net: Net::Other, ..facts(ip) }, Side::Inside), None);
}

#[test]
fn ports_are_those_of_the_flow_and_of_the_rules() {
    let icmp = Icmp { kind: 8, code: 0, id: Some(77), quote: None };
    for ip in [packet(HOST, 4000), Ip { protocol: 1, l4: L4::Icmp(icmp), ..packet(HOST, 0) }] {
        let ports = Ports::of(&ip);
        let (sport, dport) = ip.key_ports();
        let key = crate::wire::Key::new(ip.src, ip.dst, sport, dport, ip.protocol, Vlans::UNTAGGED);
        assert_eq!(ports.service(), ip.service());
        assert_eq!(ports.key(ip.src, ip.dst, Vlans::UNTAGGED), key);
    }
}

#[test]
fn both_directions_of_two_hosts_have_one_owner() {
    let ip = packet(HOST, 0);
    let back = Ip { src: ip.dst, dst: ip.src, ..ip };
    let there = DatagramKey::new(&ip, 1, Vlans::UNTAGGED, Side::Outside);
    let back = DatagramKey::new(&back, 2, Vlans::UNTAGGED, Side::Inside);
    assert_eq!(there.owner_key(), back.owner_key());
    assert_eq!(there.owner_key().protocol(), 17);
}

#[test]
fn refusals_have_names_of_their_own() {
    let mut names: Vec<_> = Why::ALL.iter().map(|why| why.name()).collect();
    assert!(names.iter().all(|name| name.starts_with("fragment_")));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 12);
    let poison: Vec<_> = Why::ALL.iter().filter(|why| why.poisons()).collect();
    assert_eq!(poison, [&Why::Overlap, &Why::BeyondEnd, &Why::TwoEnds, &Why::Scattered]);
}
