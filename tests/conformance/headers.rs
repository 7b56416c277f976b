//! F1.6h, F1.6i: options and headers that make no sense or cannot be read.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::{Ends, padded};
use portcullis::wire::{TcpFlags, Vlans};

use crate::bytes::{ACK, FIN, NET, RST, SYN, TCP, UDP, chain, options, with};
use crate::fragments::both_ways;
use crate::ground::Ground;
use crate::policy::everything;

type Row = (&'static str, Vec<u8>, Option<Reason>);

#[test]
fn a_packet_that_names_its_route_is_dropped() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6h", &ends);
        let odd = Some(Reason::SourceRoute);
        let rows: Vec<Row> = if ends.src.is_ipv4() {
            vec![
                ("loose source route", options(&ends, &[131, 7, 4, 10, 0, 0, 1, 0]), odd),
                ("strict source route", options(&ends, &[137, 7, 4, 10, 0, 0, 1, 0]), odd),
                ("record route", options(&ends, &[7, 7, 4, 0, 0, 0, 0, 0]), odd),
                ("behind a router alert", options(&ends, &[148, 4, 0, 0, 131, 3, 4, 0]), odd),
                ("behind padding, the last", options(&ends, &[1, 7, 3, 4]), odd),
                ("a router alert alone", options(&ends, &[148, 4, 0, 0]), None),
                ("a time stamp", options(&ends, &[68, 8, 5, 0, 0, 0, 0, 0]), None),
            ]
        } else {
            let routed = |kind, left| {
                let header = [17, 2, kind, left, 0, 0, 0, 0];
                ends.ipv6(43, &[&header[..], &[0; 16], &UDP].concat())
            };
            vec![
                ("a routing header with a segment left", routed(4, 1), odd),
                ("the mobile one, with a segment left", routed(2, 1), odd),
                ("one that has arrived", routed(4, 0), None),
            ]
        };
        ground.table(side, &rows);
    }
}

#[test]
fn an_ipv4_header_that_cannot_be_is_dropped_by_name() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways().filter(|(_, ends)| ends.src.is_ipv4()) {
        ground.about("F1.6i", &ends);
        let frame = padded(&ends.udp(40_000, 53, b"question"));
        let length = Some(Reason::IpHeaderLength);
        let total = Some(Reason::IpTotalLength);
        let bare = ends.udp(40_000, 53, &[0; 40]);
        let mut rows: Vec<Row> = vec![
            ("as it should be", frame.clone(), None),
            ("a header of 16 bytes", with(&frame, NET, &[0x44]), length),
            ("a header of no byte", with(&frame, NET, &[0x40]), length),
            ("a header beyond the packet", with(&frame, NET, &[0x4f]), length),
            ("an option beyond the header", options(&ends, &[148, 5, 0, 0]), length),
            ("an option without a length", options(&ends, &[1, 1, 1, 148]), length),
            ("an option of no byte", options(&ends, &[148, 0, 0, 0]), length),
            ("a total of 19 bytes", with(&frame, NET + 2, &[0, 19]), total),
            ("a total of no byte", with(&frame, NET + 2, &[0, 0]), total),
            ("a total a byte beyond the frame", with(&bare, NET + 2, &[0, 69]), total),
            ("a total far beyond it", with(&bare, NET + 2, &[0xff, 0xff]), total),
        ];
        for (what, at) in [("TTL", 8), ("protocol", 9), ("checksum", 10), ("source", 14), ("target", 19)] {
            let mut broken = frame.clone();
            broken[NET + at] ^= 1;
            rows.push((what, broken, Some(Reason::IpHeaderChecksum)));
        }
        ground.table(side, &rows);
    }
}

#[test]
fn a_version_that_its_ethertype_denies_is_dropped() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6i", &ends);
        let frame = ends.udp(40_000, 53, &[0; 40]);
        let own: u8 = if ends.src.is_ipv4() { 4 } else { 6 };
        for version in (0..16).filter(|version| *version != own) {
            let other = with(&frame, NET, &[version << 4 | frame[NET] & 0x0f]);
            ground.drops(&format!("version {version}"), side, &other, Reason::IpVersion);
        }
        // The other family's packet under this one's type.
        let swapped = with(&frame, 12, if own == 4 { &[0x86, 0xdd] } else { &[0x08, 0x00] });
        ground.drops("the other ethertype", side, &swapped, Reason::IpVersion);
        ground.crosses("as it should be", side, &frame);
    }
}

#[test]
fn a_packet_to_its_own_sender_is_dropped() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6i", &ends);
        let own = Ends { dst: ends.src, ..ends };
        let land = Some(Reason::Land);
        ground.table(
            side,
            &[
                ("TCP, the ports equal too", own.tcp(139, 139, TcpFlags::SYN, 1, 0, b""), land),
                ("TCP", own.tcp(40_000, 443, TcpFlags::SYN, 1, 0, b""), land),
                ("UDP", own.udp(40_000, 53, b"question"), land),
                ("echo", own.echo(7, 1, b"ping"), land),
                ("equal ports of two hosts", ends.tcp(139, 139, TcpFlags::SYN, 1, 0, b""), None),
            ],
        );
    }
}

#[test]
fn tcp_flags_that_mean_nothing_are_dropped() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6i", &ends);
        let odd = Some(Reason::TcpFlags);
        let flags = |flags: u8| ends.tcp(40_000, 443, flags, 1, 1, b"");
        ground.table(
            side,
            &[
                ("SYN and FIN", flags(SYN | FIN), odd),
                ("SYN, FIN and ACK", flags(SYN | FIN | ACK), odd),
                ("SYN and RST", flags(SYN | RST), odd),
                ("SYN, RST and ACK", flags(SYN | RST | ACK), odd),
                ("FIN without ACK", flags(FIN), odd),
                ("FIN and RST without ACK", flags(FIN | RST), odd),
                ("none", flags(0), odd),
                ("none but those of congestion", flags(0xc0), odd),
                ("Xmas: FIN, PSH, URG", flags(0x29), odd),
                ("all of them", flags(0xff), odd),
                ("a SYN", flags(SYN), None),
                (
                    "a SYN that asks for congestion marks",
                    ends.tcp(40_001, 443, SYN | 0xc0, 1, 0, b""),
                    None,
                ),
            ],
        );
    }
}

#[test]
fn a_tcp_udp_or_sctp_header_that_cannot_be_is_dropped_by_name() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6i", &ends);
        let zero = Some(Reason::PortZero);
        let offset = Some(Reason::TcpDataOffset);
        let wrong = Some(Reason::UdpLength);
        let words = |words: u8, more: usize| {
            let mut segment = [&TCP[..], &vec![1; more]].concat();
            segment[12] = words << 4;
            ends.ip(6, &segment)
        };
        let says = |length: u16| {
            let mut datagram = UDP;
            datagram[4..6].copy_from_slice(&length.to_be_bytes());
            ends.ip(17, &datagram)
        };
        let first = |length: u16| {
            let mut datagram = UDP;
            datagram[4..6].copy_from_slice(&length.to_be_bytes());
            ends.fragment(17, 9, 0, true, &datagram)
        };
        let (short, tiny) = (Some(Reason::Truncated), Some(Reason::FragmentTiny));
        ground.table(
            side,
            &[
                ("TCP from port 0", ends.tcp(0, 443, TcpFlags::SYN, 1, 0, b""), zero),
                ("TCP to port 0", ends.tcp(40_000, 0, TcpFlags::SYN, 1, 0, b""), zero),
                ("UDP from port 0", ends.udp(0, 53, b"question"), zero),
                ("UDP to port 0", ends.udp(40_000, 0, b"question"), zero),
                ("SCTP from port 0", ends.sctp(0, 3_868, 0, b""), zero),
                ("SCTP to port 0", ends.sctp(40_000, 0, 0, b""), zero),
                ("SCTP to the highest", ends.sctp(40_000, u16::MAX, 0, b""), None),
                ("SCTP cut in its header", ends.ip(132, &[9; 11]), short),
                ("SCTP cut in its first fragment", ends.fragment(132, 9, 0, true, &[9; 8]), tiny),
                ("UDP to the highest", ends.udp(40_000, u16::MAX, b"question"), None),
                ("a data offset of 0", words(0, 8), offset),
                ("a data offset of 4", words(4, 8), offset),
                ("a data offset beyond the packet", words(8, 8), offset),
                ("the largest", words(15, 8), offset),
                ("a data offset of 7 with 28 bytes", words(7, 8), None),
                ("UDP that says 0", says(0), wrong),
                ("UDP that says 7", says(7), wrong),
                ("UDP that says a byte less", says(15), wrong),
                ("UDP that says a byte more", says(17), wrong),
                ("UDP that says 65 535", says(u16::MAX), wrong),
                ("UDP that says what it has", says(16), None),
                ("a first fragment that says it is whole", first(16), wrong),
                ("TCP cut in its header", ends.ip(6, &TCP[..19]), short),
                ("UDP cut in its header", ends.ip(17, &UDP[..7]), short),
            ],
        );
    }
}

#[test]
fn a_redirect_never_crosses() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6i", &ends);
        let quoted = ends.reply().udp(40_000, 53, b"question");
        // Of a live flow, too.
        ground.crosses("a flow for it to quote", side.other(), &quoted);
        let kind = if ends.src.is_ipv4() { 5 } else { 137 };
        let odd = Reason::IcmpRedirect;
        for code in [0, 1, 3] {
            let redirect = ends.icmp_error(kind, code, [10, 20, 0, 1], &quoted);
            ground.drops("a redirect", side, &redirect, odd);
            ground.drops(
                "with hop limit 255",
                side,
                &ends.hops(255).icmp(kind, code, [0; 4], &[0; 32]),
                odd,
            );
        }
    }
}

#[test]
fn ipv6_extension_headers_that_must_not_be_are_dropped_by_name() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways().filter(|(_, ends)| ends.src.is_ipv6()) {
        ground.about("F1.6i", &ends);
        let odd = Some(Reason::ExtensionHeader);
        let jumbogram = Some(Reason::Jumbogram);
        let routed = |left| ends.ipv6(43, &[&[17, 0, 0, left, 0, 0, 0, 0][..], &UDP].concat());
        let atomic = |next| [next, 0, 0, 0, 0, 0, 0, 1];
        let jumbo = ends.ipv6(0, &[&[17, 0, 0xc2, 4, 0, 1, 0, 0][..], &UDP].concat());
        let mut unsaid = jumbo.clone();
        unsaid[NET + 4..NET + 6].fill(0);
        ground.table(
            side,
            &[
                ("routing type 0 with a segment left", routed(1), odd),
                ("routing type 0 that has arrived", routed(0), odd),
                ("eight headers", chain(&ends, &[60; 8]), None),
                ("nine headers", chain(&ends, &[60; 9]), odd),
                ("hop-by-hop first", chain(&ends, &[0, 60]), None),
                ("hop-by-hop second", chain(&ends, &[60, 0]), odd),
                ("hop-by-hop twice", chain(&ends, &[0, 0]), odd),
                (
                    "two fragment headers",
                    ends.ipv6(44, &[&atomic(44)[..], &atomic(17), &UDP].concat()),
                    odd,
                ),
                ("a header beyond the packet", ends.ipv6(60, &[17, 9, 1, 4, 0, 0, 0, 0]), odd),
                ("a jumbogram", jumbo, jumbogram),
                ("a jumbogram that says no length", unsaid, jumbogram),
                (
                    "a length beyond the frame",
                    with(&chain(&ends, &[]), NET + 4, &[0, 17]),
                    Some(Reason::IpTotalLength),
                ),
            ],
        );
    }
}

#[test]
fn an_unknown_ethertype_and_a_third_tag_are_dropped() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for (side, ends) in both_ways() {
        ground.about("F1.6i", &ends);
        let one = Vlans { outer: 100, inner: Vlans::NONE };
        let two = Vlans { outer: 100, inner: 20 };
        let profile = Some(Reason::Profile);
        let tags = Some(Reason::TooManyTags);
        let packet = ends.udp(40_000, 53, b"question")[12..].to_vec();
        let third = |kind: [u8; 2]| {
            let frame = ends.on(two).ethernet(u16::from_be_bytes(kind), &[&[0, 7][..], &packet].concat());
            padded(&frame)
        };
        let reserved = ends.ethernet(0x8100, &[&[0x0f, 0xff][..], &packet].concat());
        ground.table(
            side,
            &[
                ("local experimental", padded(&ends.ethernet(0x88b5, &[1, 2, 3])), profile),
                ("MPLS", padded(&ends.ethernet(0x8847, &packet)), profile),
                ("PPPoE", padded(&ends.ethernet(0x8864, &packet)), profile),
                ("an old provider's tag", padded(&ends.ethernet(0x9100, &packet)), profile),
                (
                    "an experimental one inside VLAN 100",
                    padded(&ends.on(one).ethernet(0x88b5, &[1])),
                    profile,
                ),
                ("LLDP", ends.lldp(), profile),
                ("spanning tree", ends.stp(), profile),
                ("802.3 of another kind", padded(&ends.ethernet(3, &[0xe0, 0xe0, 3])), profile),
                ("no tag", ends.udp(40_000, 53, b"question"), None),
                ("one tag", ends.on(one).udp(40_000, 53, b"question"), None),
                ("two tags", ends.on(two).udp(40_000, 53, b"question"), None),
                ("three tags", third([0x81, 0x00]), tags),
                ("three tags, the last a provider's", third([0x88, 0xa8]), tags),
                ("VLAN 4095", reserved, Some(Reason::VlanReserved)),
            ],
        );
    }
}
