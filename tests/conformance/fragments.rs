//! F1.6a, F1.6b: fragments that are impossible, contradict each other, or never become whole.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Side, Vlans};

use crate::bytes::{TCP, UDP, icmp};
use crate::ground::Ground;
use crate::policy::{client_to_server, everything};
use crate::rig;

/// The first 24 bytes of a UDP datagram of 40, and its last 16.
fn halves(ends: &Ends, id: u32) -> [Vec<u8>; 2] {
    let mut first = [0x13, 0x88, 0, 53, 0, 40, 0, 0].to_vec();
    first.resize(24, 7);
    [ends.fragment(17, id, 0, true, &first), ends.fragment(17, id, 24, false, &[8; 16])]
}

#[test]
fn every_impossible_fragment_is_dropped_by_name() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6a", &ends);
        let invalid = Some(Reason::FragmentInvalid);
        let tiny = Some(Reason::FragmentTiny);
        let before = if ends.src.is_ipv4() { 20 } else { 0 };
        let room = 65_535 - before - 65_488;
        let piece = |protocol, offset, more, bytes: &[u8]| ends.fragment(protocol, 1, offset, more, bytes);
        let mut rows = vec![
            ("the first half of a datagram", halves(&ends, 2)[0].clone(), None),
            ("its second", halves(&ends, 2)[1].clone(), None),
            ("the first of a datagram of 65 535", ends.fragment(17, 3, 0, true, &jumbo()), None),
            ("its last, up to there", ends.fragment(17, 3, 65_488, false, &vec![0; room]), None),
            ("offset and length beyond 65 535", piece(17, 65_488, false, &vec![0; room + 1]), invalid),
            ("the farthest offset", piece(17, 65_528, false, &[0; 16]), invalid),
            ("a first of 17 bytes", piece(17, 0, true, &[0; 17]), invalid),
            ("a middle of 20 bytes", piece(17, 64, true, &[0; 20]), invalid),
            ("a middle without a byte", piece(17, 64, true, &[]), invalid),
            ("a last without a byte", piece(17, 64, false, &[]), invalid),
            ("a first without a byte, TCP", piece(6, 0, true, &[]), tiny),
            ("a first of 8 bytes, TCP", piece(6, 0, true, &TCP[..8]), tiny),
            ("a first of 16 bytes, TCP", piece(6, 0, true, &TCP[..16]), tiny),
            ("a first without TCP's options", piece(6, 0, true, &options_of_eight()[..24]), tiny),
            ("a first with TCP's options", ends.fragment(6, 4, 0, true, &options_of_eight()), None),
            ("a first without a byte, UDP", piece(17, 0, true, &[]), tiny),
            ("a first without a byte, ICMP", piece(icmp(&ends), 0, true, &[]), tiny),
            ("a first without a byte, GRE", piece(47, 0, true, &[]), tiny),
            ("a TCP fragment at 8", piece(6, 8, true, &[0; 8]), tiny),
            ("a TCP fragment at 16, the last", piece(6, 16, false, &[0; 3]), tiny),
        ];
        if ends.src.is_ipv4() {
            for (what, more, offset, dont, reason) in [
                ("DF with MF", true, 0, true, invalid),
                ("DF with an offset", false, 24, true, invalid),
                ("DF with MF and an offset", true, 24, true, invalid),
                ("MF without DF", true, 0, false, None),
                ("an offset without DF", false, 24, false, None),
                ("DF alone", false, 0, true, None),
            ] {
                let mut header = ends.ipv4_header(47, 24);
                (header.identification, header.more_fragments, header.dont_fragment) = (5, more, dont);
                header.fragment_offset = (offset / 8).try_into().unwrap();
                header.header_checksum = header.calc_header_checksum();
                rows.push((what, ends.ipv4(&header, &[0; 24]), reason));
            }
        } else {
            let atomic = |id, protocol, bytes: &[u8]| ends.fragment(protocol, id, 0, false, bytes);
            let cut = [&[60, 0, 0, 1, 0, 0, 0, 6][..], &[6, 1, 1, 12, 0, 0, 0, 0]].concat();
            let whole = [&cut[..], &[0; 8], &TCP, &[0; 4]].concat();
            rows.extend([
                ("the chain of headers beyond the first", ends.ipv6(44, &cut), tiny),
                ("the chain of headers within the first", ends.ipv6(44, &whole), None),
                ("an atomic fragment is whole", atomic(7, 17, &UDP), None),
                ("and so is another with its identification", atomic(7, 17, &UDP), None),
                ("beside the fragments of a datagram with it", halves(&ends, 7)[0].clone(), None),
                ("which goes on undisturbed", halves(&ends, 7)[1].clone(), None),
            ]);
        }
        ground.table(side, &rows);
    }
}

/// RFC 6980: all five messages of neighbour discovery, and certification path solicitation.
#[test]
fn neighbour_discovery_in_fragments_is_dropped_by_name() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    let link = Ends::of("fe80::5", "fe80::9");
    let [_, global] = client_to_server();
    for (side, ends) in [
        (Side::Outside, link),
        (Side::Inside, link.reply()),
        (Side::Outside, global),
        (Side::Inside, global.reply()),
    ] {
        ground.about("F1.6a", &ends);
        let link = ends.hops(255);
        let ndp = Some(Reason::FragmentNdp);
        for kind in [133, 134, 135, 136, 137, 148] {
            let message = [kind, 0, 0, 0, 0, 0, 0, 0];
            ground.table(
                side,
                &[
                    ("a first fragment", link.fragment(58, 1, 0, true, &message), ndp),
                    ("an atomic one", link.fragment(58, 1, 0, false, &message), ndp),
                    ("one with a hop limit of 64", link.hops(64).fragment(58, 1, 0, true, &message), ndp),
                ],
            );
        }
        ground.table(side, &[("in one piece", link.ndp_advertise(), None)]);
    }
}

/// Tags are part of what tells datagrams apart.
#[test]
fn a_fragment_belongs_to_the_datagram_of_its_own_vlans() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    let tag = Vlans { outer: 100, inner: Vlans::NONE };
    let tags = Vlans { outer: 100, inner: 20 };
    for (side, ends) in both_ways() {
        ground.about("F1.6b", &ends);
        let pieces = [Vlans::UNTAGGED, tag, tags].map(|vlans| halves(&ends.on(vlans), 1));
        let [untagged, tagged, twice] = &pieces;
        ground.crosses("a first fragment without a tag", side, &untagged[0]);
        ground.waits("a last one with a tag", side, &tagged[1]);
        ground.waits("a last one with two", side, &twice[1]);
        ground.releases("the first with a tag", side, &tagged[0], &tagged[1]);
        ground.releases("the first with two", side, &twice[0], &twice[1]);
        ground.crosses("the last without", side, &untagged[1]);
        for [first, last] in &pieces {
            ground.crosses("a new datagram of the same number", side, first);
            ground.crosses("and its last", side, last);
        }
    }
}

#[test]
fn fragments_that_overlap_are_dropped_and_so_is_what_follows() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6a", &ends);
        let mut id = 100;
        let mut trial = |what: &str, then: &dyn Fn(u32) -> Vec<u8>, reason, poisons: bool| {
            id += 1;
            let [first, last] = halves(&ends, id);
            let rows = [("a first fragment", first, None), (what, then(id), Some(reason))];
            ground.table(side, &rows);
            let rest = poisons.then_some(Reason::FragmentPoisoned);
            ground.table(side, &[("what is left of the datagram", last, rest)]);
        };
        let piece =
            |offset, more, size: usize| move |id| ends.fragment(17, id, offset, more, &vec![9; size]);
        trial("an overlap of its end", &piece(16, false, 24), Reason::FragmentOverlap, true);
        trial("one byte group of it", &piece(8, true, 8), Reason::FragmentOverlap, true);
        trial("all of it and more", &piece(0, true, 40), Reason::FragmentOverlap, true);
        trial("less of its beginning", &piece(0, true, 16), Reason::FragmentOverlap, true);
        trial("its exact repeat", &|id| halves(&ends, id)[0].clone(), Reason::FragmentRepeat, false);
        trial("its repeat with other bytes", &piece(0, true, 24), Reason::FragmentRepeat, false);

        let mut later = |what: &str, offset, more, size: usize, reason| {
            id += 1;
            let [first, _] = halves(&ends, id);
            let far = ends.fragment(17, id, 64, false, &[9; 16]);
            let wrong = ends.fragment(17, id, offset, more, &vec![9; size]);
            let rows = [
                ("a first fragment", first, None),
                ("its last, from 64 to 80", far, None),
                (what, wrong, Some(reason)),
            ];
            ground.table(side, &rows);
        };
        later("an overlap of the last", 56, true, 16, Reason::FragmentOverlap);
        later("one beyond the end", 80, true, 16, Reason::FragmentBeyondEnd);
        later("another end", 32, false, 16, Reason::FragmentTwoEnds);
    }
}

/// The first fragment never comes, or the last.
#[test]
fn a_datagram_that_stays_incomplete_is_given_up_in_time() {
    let Some(mut ground) = Ground::under(&everything(r#"timeouts = { fragment = "2s" }"#)) else { return };
    let mut waiting = Vec::new();
    for (side, ends) in both_ways() {
        ground.about("F1.6b", &ends);
        let [_, last] = halves(&ends, 1);
        ground.waits("a last fragment without its first", side, &last);
        ground.crosses("a first fragment, whose last does not come", side, &halves(&ends, 2)[0]);
        waiting.push((side, last));
    }
    ground.time_out("time passes", &waiting, Reason::FragmentNoFirst);
    waiting.clear();
    for (side, ends) in both_ways() {
        ground.about("F1.6b", &ends);
        let [first, last] = halves(&ends, 1);
        ground.crosses("the first fragment, too late, is the first of a new datagram", side, &first);
        ground.crosses("whose last may come", side, &last);
        let [_, late] = halves(&ends, 2);
        ground.waits("a last fragment that comes too late", side, &late);
        waiting.push((side, late));
    }
    ground.time_out("and time passes", &waiting, Reason::FragmentNoFirst);
}

#[test]
fn incomplete_datagrams_are_bounded_for_a_source_and_for_all() {
    let limits = "limits = { datagrams = 16, datagrams_per_source = 6, held_fragments = 8, held_fragments_per_source = 4 }";
    if rig::queues() > 1 {
        eprintln!("left out: workers share these bounds, and a secret hash says whose a datagram is");
        return;
    }
    let Some(mut ground) = Ground::under(&everything(limits)) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6b", &ends);
        let from = |n: u8| {
            let src = match ends.src {
                std::net::IpAddr::V4(v4) => {
                    std::net::Ipv4Addr::from_bits(v4.to_bits() ^ u32::from(n) << 8).into()
                }
                std::net::IpAddr::V6(v6) => {
                    std::net::Ipv6Addr::from_bits(v6.to_bits() ^ u128::from(n) << 64).into()
                }
            };
            Ends { src, ..ends }
        };
        for id in 0..4 {
            ground.waits("a last fragment of this source", side, &halves(&from(1), id)[1]);
        }
        let more = halves(&from(1), 4)[1].clone();
        ground.drops("one more of it", side, &more, Reason::FragmentHeldQuota);
        for id in 0..4 {
            ground.waits("a last fragment of another", side, &halves(&from(2), id)[1]);
        }
        ground.drops("one of a third", side, &halves(&from(3), 0)[1], Reason::FragmentHeldFull);
        for id in 4..6 {
            ground.crosses("a first fragment of the first source", side, &halves(&from(1), id)[0]);
        }
        let more = halves(&from(1), 6)[0].clone();
        ground.drops("its seventh datagram", side, &more, Reason::FragmentSourceQuota);
        for id in 0..6 {
            ground.crosses("a first fragment of a fourth source", side, &halves(&from(4), id)[0]);
        }
        ground.drops("the seventeenth datagram", side, &halves(&from(5), 0)[0], Reason::FragmentTableFull);
        ground.crosses("what is in one piece", side, &from(1).udp(5_000, 53, b"question"));
        for source in [1, 2] {
            for id in 0..4 {
                let [first, last] = halves(&from(source), id);
                ground.releases("what waited follows its first", side, &first, &last);
            }
        }
        for (source, ids) in [(1, 4..6), (4, 0..6)] {
            for id in ids {
                ground.crosses("the last of a datagram", side, &halves(&from(source), id)[1]);
            }
        }
    }
}

/// Both directions of both families.
pub(crate) fn both_ways() -> impl Iterator<Item = (Side, Ends)> {
    let there = client_to_server();
    let back = there.map(Ends::reply);
    let there = there.into_iter().map(|ends| (Side::Outside, ends));
    there.chain(back.into_iter().map(|ends| (Side::Inside, ends)))
}

/// The beginning of a UDP datagram that says it is as long as may be.
fn jumbo() -> Vec<u8> {
    let mut first = [0x13, 0x88, 0, 53, 0xff, 0xeb, 0, 0].to_vec();
    first.resize(64, 7);
    first
}

/// A TCP header of 28 bytes with four more.
fn options_of_eight() -> Vec<u8> {
    let mut bytes = [&TCP[..], &[1; 12]].concat();
    bytes[12] = 0x70;
    bytes
}
