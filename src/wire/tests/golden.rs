//! The facts of one frame of each kind, in full.

use std::net::Ipv4Addr;

use etherparse::TcpHeader;

use super::{both, facts, four, packet, six};
use crate::wire::samples::{Ends, padded};
use crate::wire::{Arp, Facts, Fragment, Icmp, Ip, L4, Net, Quote, Tcp, TcpFlags, Vlans};

/// Facts between `ends`, with nothing odd.
fn expect(ends: &Ends, length: u32, ethertype: u16, net: Net) -> Facts {
    let Ends { src_mac, dst_mac, vlans, .. } = *ends;
    Facts { length, dst_mac, src_mac, vlans, ethertype, net, odd: None }
}

/// A whole packet between `ends`.
fn whole(ends: &Ends, protocol: u8, l4: L4) -> Net {
    let Ends { src, dst, hop_limit, .. } = *ends;
    Net::Ip(Ip { src, dst, protocol, hop_limit, fragment: Fragment::Whole, l4 })
}

fn quote(ends: &Ends, protocol: u8, ports: (u16, u16), seq: Option<u32>) -> Quote {
    Quote { src: ends.src, dst: ends.dst, protocol, sport: ports.0, dport: ports.1, seq }
}

fn icmp(kind: u8, code: u8, quote: impl Into<Option<Quote>>) -> L4 {
    L4::Icmp(Icmp { kind, code, id: None, quote: quote.into() })
}

#[test]
fn tcp() {
    for (ends, ethertype, length) in [
        (four(), 0x0800, 58),
        (four().on(Vlans { outer: 20, inner: Vlans::NONE }), 0x0800, 62),
        (six().on(Vlans { outer: 100, inner: 20 }), 0x86dd, 86),
    ] {
        let mut expected = Tcp {
            sport: 40_000,
            dport: 443,
            seq: 0x0102_0304,
            ack: 0x0506_0708,
            flags: TcpFlags(TcpFlags::ACK | TcpFlags::PSH),
            window: 65_535,
            payload: 4,
            scale: None,
        };
        let frame = ends.tcp(40_000, 443, 0x18, 0x0102_0304, 0x0506_0708, b"data");
        assert_eq!(facts(&frame), expect(&ends, length, ethertype, whole(&ends, 6, L4::Tcp(expected))));
        // Padding is part of the frame and of nothing else.
        let mut longer = frame.clone();
        longer.extend([0; 10]);
        assert_eq!(
            facts(&longer),
            expect(&ends, length + 10, ethertype, whole(&ends, 6, L4::Tcp(expected)))
        );
        // With options: they are no payload, and only a SYN's scale counts.
        for (syn, scale) in [(false, None), (true, Some(7))] {
            let mut header = TcpHeader::new(40_000, 443, 0x0102_0304, 65_535);
            (header.acknowledgment_number, header.ack, header.syn) = (0x0506_0708, true, syn);
            header.set_options_raw(&[2, 4, 5, 180, 1, 3, 3, 7]).unwrap();
            expected.flags = TcpFlags(if syn { 0x12 } else { 0x10 });
            expected.scale = scale;
            let facts = facts(&ends.tcp_with(header, b"data"));
            assert_eq!(facts.net, whole(&ends, 6, L4::Tcp(expected)));
        }
    }
}

#[test]
fn window_scale() {
    for (options, scale) in [
        (&[][..], None),
        (&[3, 3, 0, 0], Some(0)),
        (&[3, 3, 14, 0], Some(14)),
        (&[3, 3, 15, 0], Some(14)),
        (&[3, 3, 255, 0], Some(14)),
        (&[1, 3, 3, 5], Some(5)),
        (&[0, 3, 3, 5], None),
        (&[3, 3, 5, 3, 3, 6, 0, 0], Some(6)),
        (&[3, 4, 5, 5], None),
        (&[3, 2, 3, 3, 7, 0, 0, 0], Some(7)),
        (&[8, 10, 3, 3, 9, 3, 3, 9, 3, 3, 1, 1], None),
        (&[254, 4, 0, 0, 3, 3, 4, 1], Some(4)),
        (&[3, 3, 4, 254, 9, 0, 0, 0], Some(4)),
        (&[3, 3, 4, 254, 0, 3, 3, 9], Some(4)),
        (&[1, 1, 3, 3], None),
        (&[1, 1, 1, 3], None),
    ] {
        let mut segment = [&super::TCP[..], options].concat();
        segment[12] = u8::try_from(segment.len() / 4 * 16).unwrap();
        segment[13] = TcpFlags::SYN;
        for ends in both() {
            let L4::Tcp(tcp) = packet(&ends.ip(6, &segment)).l4 else { panic!("TCP") };
            assert_eq!((tcp.scale, tcp.payload), (scale, 0), "{options:?}");
        }
    }
}

#[test]
fn udp() {
    for (ends, ethertype, length) in [(four(), 0x0800, 50), (six(), 0x86dd, 70)] {
        let frame = ends.udp(40_000, 53, b"question");
        let l4 = L4::Udp { sport: 40_000, dport: 53, dhcp: false };
        assert_eq!(facts(&frame), expect(&ends, length, ethertype, whole(&ends, 17, l4)));
    }
}

#[test]
fn sctp() {
    for (ends, ethertype, length) in [(four(), 0x0800, 50), (six(), 0x86dd, 70)] {
        let frame = ends.sctp(40_000, 3_868, 0x0102_0304, &[3, 0, 0, 4]);
        let l4 = L4::Sctp { sport: 40_000, dport: 3_868 };
        assert_eq!(facts(&frame), expect(&ends, length, ethertype, whole(&ends, 132, l4)));
    }
}

#[test]
fn echo() {
    for (ends, request, reply) in [(four(), 8, 0), (six(), 128, 129)] {
        let protocol = if ends == four() { 1 } else { 58 };
        let id = Some(0x0708);
        let l4 = L4::Icmp(Icmp { kind: request, code: 0, id, quote: None });
        assert_eq!(facts(&ends.echo(0x0708, 1, b"ping")).net, whole(&ends, protocol, l4));
        let l4 = L4::Icmp(Icmp { kind: reply, code: 0, id, quote: None });
        assert_eq!(facts(&ends.echo_reply(0x0708, 1, b"ping")).net, whole(&ends, protocol, l4));
        // What neither asks nor answers has no identifier that a flow is known by.
        let l4 = icmp(10, 0, None);
        assert_eq!(facts(&ends.icmp(10, 0, [7, 8, 0, 1], &[0; 12])).net, whole(&ends, protocol, l4));
    }
}

#[test]
fn icmp_errors_quote() {
    for (ends, kinds) in [(four(), [3, 4, 11, 12]), (six(), [1, 2, 3, 4])] {
        let protocol = if ends == four() { 1 } else { 58 };
        let back = ends.reply().on(Vlans { outer: 9, inner: Vlans::NONE });
        for kind in kinds {
            let tells = |frame: &[u8], expected: Option<Quote>| {
                let told = facts(&ends.icmp_error(kind, 1, [0, 0, 5, 220], frame));
                assert_eq!(told.net, whole(&ends, protocol, icmp(kind, 1, expected)));
            };
            tells(
                &back.tcp(443, 40_000, 16, 77, 2, b"data"),
                Some(quote(&back, 6, (443, 40_000), Some(77))),
            );
            tells(&back.udp(53, 40_000, b"answer"), Some(quote(&back, 17, (53, 40_000), None)));
            tells(&back.sctp(3_868, 40_000, 7, &[]), Some(quote(&back, 132, (3_868, 40_000), None)));
            tells(&back.echo(9, 1, b""), Some(quote(&back, protocol, (9, 8), None)));
            tells(&back.echo_reply(9, 1, b""), Some(quote(&back, protocol, (8, 9), None)));
            tells(&back.icmp(10, 0, [9; 4], b""), Some(quote(&back, protocol, (0, 0), None)));
            tells(&back.ip(47, &[1, 2, 3, 4]), Some(quote(&back, 47, (0, 0), None)));
            // A first fragment has its ports, a later one does not.
            let first = [1, 187, 156, 64, 0, 99, 0, 0];
            tells(&back.fragment(17, 1, 0, true, &first), Some(quote(&back, 17, (443, 40_000), None)));
            tells(&back.fragment(17, 1, 8, true, &first), None);
            // An error about an error is about no flow.
            tells(&back.icmp_error(kind, 0, [0; 4], &ends.udp(1, 2, b"")), None);
        }
        // Cut within the eight bytes that every router gives, or within the header.
        let segment = back.on(Vlans::UNTAGGED).tcp(443, 40_000, 16, 77, 2, b"data");
        let header = if ends == four() { 20 } else { 40 };
        for length in 0..header + 12 {
            let told = packet(&ends.icmp(kinds[0], 0, [0; 4], &segment[14..14 + length]));
            let expected = (length >= header + 8).then(|| quote(&back, 6, (443, 40_000), Some(77)));
            assert_eq!(told.l4, icmp(kinds[0], 0, expected), "{length} bytes quoted");
        }
        // The other family's packet is no quote.
        let other = if ends == four() { six() } else { four() };
        let told = packet(&ends.icmp_error(kinds[0], 0, [0; 4], &other.udp(1, 2, &[0; 40])));
        assert_eq!(told.l4, icmp(kinds[0], 0, None));
    }
    // Quoted options and extension headers are walked over.
    let mut header = four().ipv4_header(17, 8);
    header.options = [1, 1, 1, 1].into();
    let quoted = four().ipv4(&header, &[0, 5, 0, 6, 0, 8, 0, 0]);
    let told = packet(&four().reply().icmp_error(3, 3, [0; 4], &quoted));
    assert_eq!(told.l4, icmp(3, 3, quote(&four(), 17, (5, 6), None)));
    let quoted = six().ipv6(60, &[17, 0, 1, 4, 0, 0, 0, 0, 0, 5, 0, 6, 0, 8, 0, 0]);
    let told = packet(&six().reply().icmp_error(1, 4, [0; 4], &quoted));
    assert_eq!(told.l4, icmp(1, 4, quote(&six(), 17, (5, 6), None)));
}

#[test]
fn an_icmp_message_of_the_other_family_is_only_a_number() {
    for (ends, protocol) in [(four(), 58), (six(), 1)] {
        let net = whole(&ends, protocol, L4::Other);
        assert_eq!(facts(&ends.ip(protocol, &[8, 0, 0, 0, 0, 7, 0, 1])).net, net);
        assert_eq!(facts(&ends.ip(protocol, &[])).net, net);
    }
}

#[test]
fn fragments() {
    for ends in both() {
        let id = if ends == four() { 0x5678 } else { 0x1234_5678 };
        let ip = |protocol, fragment, l4| {
            let Ends { src, dst, hop_limit, .. } = ends;
            Ip { src, dst, protocol, hop_limit, fragment, l4 }
        };
        let datagram = [0, 9, 0, 53, 0, 99, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(
            packet(&ends.fragment(17, 0x1234_5678, 0, true, &datagram)),
            ip(17, Fragment::First { id, length: 16 }, L4::Udp { sport: 9, dport: 53, dhcp: false })
        );
        assert_eq!(
            packet(&ends.fragment(17, 0x1234_5678, 16, true, &datagram)),
            ip(17, Fragment::Later { id, offset: 16, length: 16, more: true }, L4::Absent)
        );
        assert_eq!(
            packet(&padded(&ends.fragment(6, 0x1234_5678, 65_000, false, &[1, 2, 3]))),
            ip(6, Fragment::Later { id, offset: 65_000, length: 3, more: false }, L4::Absent)
        );
    }
    // Atomic fragments are whole packets.
    let atomic = six().fragment(17, 7, 0, false, &super::UDP);
    assert_eq!(facts(&atomic).net, whole(&six(), 17, L4::Udp { sport: 40_000, dport: 53, dhcp: false }));
    // In IPv6 another extension header may follow; the length is that of the fragmented part.
    let options = [17, 0, 1, 4, 0, 0, 0, 0];
    let first = [&options[..], &[0, 9, 0, 53, 0, 99, 0, 0]].concat();
    let ip = packet(&six().fragment(60, 7, 0, true, &first));
    assert_eq!((ip.protocol, ip.fragment), (17, Fragment::First { id: 7, length: 16 }));
    assert_eq!(ip.l4, L4::Udp { sport: 9, dport: 53, dhcp: false });
    let ip = packet(&six().fragment(60, 7, 8, true, &first));
    assert_eq!((ip.protocol, ip.l4), (60, L4::Absent));
}

#[test]
fn arp() {
    let ends = four().on(Vlans { outer: 20, inner: Vlans::NONE });
    let net = Net::Arp(Arp {
        operation: 2,
        sender_mac: ends.src_mac,
        sender: Ipv4Addr::new(10, 10, 0, 5),
        target: Ipv4Addr::new(10, 20, 0, 9),
    });
    assert_eq!(facts(&padded(&ends.arp(2))), expect(&ends, 60, 0x0806, net));
}

#[test]
fn neither_ip_nor_arp() {
    let net = Net::Other;
    assert_eq!(facts(&four().ethernet(0x88b5, &[])), expect(&four(), 14, 0x88b5, net));
    assert_eq!(facts(&four().ethernet(0x0600, &[])), expect(&four(), 14, 0x0600, net));
    assert_eq!(facts(&four().ethernet(0, &[])), expect(&four(), 14, 0, net));
    let stp = facts(&four().stp());
    assert_eq!((stp.length, stp.ethertype, stp.net), (60, 38, Net::Bpdu));
}

#[test]
fn tags() {
    let vlans = |frame: &[u8]| facts(frame).vlans;
    let tagged = |ethertype, rest: &[u8]| four().ethernet(ethertype, rest);
    for ethertype in [0x8100, 0x88a8] {
        // Priority and DEI bits are no part of the id.
        let one = tagged(ethertype, &[0xf0, 20, 0x88, 0xb5]);
        assert_eq!(vlans(&one), Vlans { outer: 20, inner: Vlans::NONE });
        for inner in [[0x81, 0x00], [0x88, 0xa8]] {
            let two = tagged(ethertype, &[&[0xf0, 100][..], &inner, &[0xf0, 20, 0x88, 0xb5]].concat());
            assert_eq!(vlans(&two), Vlans { outer: 100, inner: 20 });
        }
        // A lone priority tag is no VLAN; beside another it stays.
        assert_eq!(vlans(&tagged(ethertype, &[0xe0, 0, 0x88, 0xb5])), Vlans::UNTAGGED);
    }
    let zero = [0xe0, 0, 0x81, 0x00, 0, 20, 0x88, 0xb5];
    assert_eq!(vlans(&tagged(0x8100, &zero)), Vlans { outer: 0, inner: 20 });
    let zero = [0, 20, 0x81, 0x00, 0xe0, 0, 0x88, 0xb5];
    assert_eq!(vlans(&tagged(0x8100, &zero)), Vlans { outer: 20, inner: 0 });
}
