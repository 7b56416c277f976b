//! One frame an oddity, in both families where both apply; what must not be odd; which one is told.

use super::{TCP, both, facts, four, packet, six};
use crate::wire::samples::{Ends, dhcp, dhcp_v6};
use crate::wire::{Housekeeping, Mac, Odd, TcpFlags, Vlans};

#[track_caller]
fn odd(frame: &[u8], what: impl Into<Option<Odd>>) {
    assert_eq!(facts(frame).odd, what.into(), "{frame:02x?}");
}

/// What a TCP SYN between these addresses is.
#[track_caller]
fn between(src: &str, dst: &str, what: impl Into<Option<Odd>>) {
    odd(&Ends::of(src, dst).tcp(40_000, 443, TcpFlags::SYN, 1, 0, b""), what);
}

#[test]
fn source_not_unicast() {
    for source in [Mac([0xff; 6]), Mac([1, 0, 0x5e, 0, 0, 1]), Mac([0x33, 0x33, 0, 0, 0, 1])] {
        for ends in both() {
            odd(&ends.macs(source, ends.dst_mac).udp(1, 2, b""), Odd::SourceNotUnicast);
        }
        odd(&four().macs(source, four().dst_mac).ethernet(0x88b5, &[]), Odd::SourceNotUnicast);
        odd(&four().macs(source, four().dst_mac).arp(1), Odd::SourceNotUnicast);
    }
    between("224.0.0.1", "10.0.0.1", Odd::SourceNotUnicast);
    between("239.255.255.255", "10.0.0.1", Odd::SourceNotUnicast);
    between("255.255.255.255", "10.0.0.1", Odd::SourceNotUnicast);
    between("ff02::1", "2001:db8::1", Odd::SourceNotUnicast);
    between("ff0e::1", "2001:db8::1", Odd::SourceNotUnicast);
    // A group as the destination is fine, in the frame and in the packet.
    odd(&four().macs(four().src_mac, Mac([0xff; 6])).udp(1, 2, b""), None);
    between("10.0.0.1", "224.0.0.251", None);
    between("10.0.0.1", "255.255.255.255", None);
    between("2001:db8::1", "ff0e::1", None);
}

#[test]
fn loopback() {
    between("127.0.0.1", "10.0.0.1", Odd::Loopback);
    between("10.0.0.1", "127.255.255.255", Odd::Loopback);
    between("::1", "2001:db8::1", Odd::Loopback);
    between("2001:db8::1", "::1", Odd::Loopback);
    between("126.255.255.255", "128.0.0.0", None);
}

#[test]
fn reserved() {
    for address in ["0.0.0.0", "0.1.2.3", "240.0.0.0", "255.255.255.254"] {
        between(address, "10.0.0.1", Odd::Reserved);
        between("10.0.0.1", address, Odd::Reserved);
    }
    between("0.0.0.0", "255.255.255.255", Odd::Reserved);
    between("1.0.0.0", "223.255.255.255", None);
    for address in
        ["::", "::2", "::ffff:10.0.0.1", "64:ff9b::1", "1fff::1", "4000::1", "fec0::1", "f800::1"]
    {
        between(address, "2001:db8::1", Odd::Reserved);
        between("2001:db8::1", address, Odd::Reserved);
    }
    // Unique local is for the wire's networks to judge.
    between("fd00:1::1", "2001:db8::1", None);
    between("2001:db8::1", "fc00::1", None);
    between("2000::1", "3fff:ffff::1", None);
}

#[test]
fn what_has_no_address_yet_may_ask_for_one() {
    let asks = Ends::of("0.0.0.0", "255.255.255.255");
    odd(&asks.udp(68, 67, &dhcp(1)), None);
    odd(&asks.udp(68, 67, b"discover"), Odd::Reserved);
    odd(&asks.udp(68, 68, &dhcp(1)), Odd::Reserved);
    odd(&asks.udp(67, 68, &dhcp(2)), Odd::Reserved);
    odd(&asks.udp(40_000, 67, b""), Odd::Reserved);
    odd(&Ends::of("0.0.0.0", "10.0.0.1").udp(68, 67, &dhcp(1)), Odd::Reserved);
    odd(&Ends::of("240.0.0.1", "255.255.255.255").udp(68, 67, &dhcp(1)), Odd::Reserved);
    let first = [0, 68, 0, 67, 0, 32, 0, 0];
    odd(&asks.fragment(17, 1, 0, true, &first), Odd::Reserved);

    let dad = Ends::of("::", "fe80::9");
    odd(&dad.ndp_solicit(), None);
    odd(&Ends::of("::", "2001:db8::9").ndp_solicit(), None);
    // Routed once, it is not neighbour discovery.
    odd(&Ends::of("::", "ff02::1:ff00:9").hops(254).icmp(135, 0, [0; 4], &[0; 16]), Odd::Reserved);
    odd(&Ends::of("::", "fe80::9").hops(255).icmp(135, 0, [0; 4], &[0; 16]), Odd::Reserved);
    let mld = Ends::of("::", "ff02::16");
    odd(&mld.hops(1).icmp(143, 0, [0; 4], &[]), None);
    odd(&mld.hops(2).icmp(143, 0, [0; 4], &[]), Odd::Reserved);
}

#[test]
fn land() {
    between("10.0.0.1", "10.0.0.1", Odd::Land);
    between("2001:db8::1", "2001:db8::1", Odd::Land);
    between("fd00::1", "fd00::1", Odd::Land);
    odd(&Ends::of("10.0.0.1", "10.0.0.1").echo(1, 1, b""), Odd::Land);
    between("10.0.0.1", "10.0.0.2", None);
}

#[test]
fn source_route() {
    let routed = |options: &[u8], what: Option<Odd>| {
        let mut header = four().ipv4_header(17, 8);
        header.options = options.try_into().unwrap();
        header.set_payload_len(8).unwrap();
        header.header_checksum = header.calc_header_checksum();
        odd(&four().ipv4(&header, &[0, 1, 0, 2, 0, 8, 0, 0]), what);
    };
    for kind in [131, 137, 7] {
        routed(&[kind, 3, 4, 0], Some(Odd::SourceRoute));
        // Behind others; the last of the header.
        routed(&[1, 148, 4, 0, 0, kind, 7, 4, 9, 9, 9, 9], Some(Odd::SourceRoute));
        // Behind the end of the list, and inside another option, it is none.
        routed(&[1, 0, kind, 3], None);
        routed(&[148, 4, kind, 3], None);
    }
    routed(&[68, 8, 5, 0, 0, 0, 0, 0], None);
    for (left, what) in [(0, None), (1, Some(Odd::SourceRoute))] {
        let routing = [6, 2, 4, left, 0, 0, 0, 0];
        odd(&six().ipv6(43, &[&routing[..], &[0; 16], &TCP].concat()), what);
    }
}

#[test]
fn tcp_flags() {
    // RFC 793's six bits, exhaustively; the two of RFC 3168 change nothing.
    for ends in both() {
        for bits in 0..=u8::MAX {
            let [fin, syn, rst, _, ack, _] = [0, 1, 2, 3, 4, 5].map(|bit| bits >> bit & 1 == 1);
            let none = bits.trailing_zeros() >= 6;
            let impossible = none || (syn && (fin || rst)) || (fin && !ack);
            let what = impossible.then_some(Odd::TcpFlags);
            odd(&ends.tcp(40_000, 443, bits, 1, 0, b""), what);
        }
        // Xmas and null by name.
        odd(&ends.tcp(40_000, 443, 0x29, 1, 0, b""), Odd::TcpFlags);
        odd(&ends.tcp(40_000, 443, 0, 1, 0, b""), Odd::TcpFlags);
    }
}

#[test]
fn port_zero() {
    for ends in both() {
        for (sport, dport) in [(0, 443), (443, 0), (0, 0)] {
            odd(&ends.tcp(sport, dport, TcpFlags::SYN, 1, 0, b""), Odd::PortZero);
            odd(&ends.udp(sport, dport, b""), Odd::PortZero);
            odd(&ends.sctp(sport, dport, 7, &[]), Odd::PortZero);
        }
        odd(&ends.udp(1, u16::MAX, b""), None);
        odd(&ends.sctp(1, u16::MAX, 7, &[]), None);
        odd(&ends.ip(253, &[0; 12]), None);
    }
}

#[test]
fn redirect() {
    odd(&four().icmp(5, 1, [10, 0, 0, 1], &[0; 28]), Odd::Redirect);
    odd(&six().icmp(137, 0, [0; 4], &[0; 32]), Odd::Redirect);
    odd(&Ends::of("fe80::1", "fe80::2").hops(255).icmp(137, 0, [0; 4], &[0; 32]), Odd::Redirect);
    // The numbers mean other things in the other family.
    odd(&four().icmp(137, 0, [0; 4], &[]), None);
    odd(&six().icmp(5, 0, [0; 4], &[]), None);
}

#[test]
fn link_local() {
    between("169.254.0.1", "10.0.0.1", Odd::LinkLocal);
    between("10.0.0.1", "169.254.255.255", Odd::LinkLocal);
    between("fe80::1", "2001:db8::1", Odd::LinkLocal);
    between("2001:db8::1", "febf::1", Odd::LinkLocal);
    between("fe80::1", "fe80::2", Odd::LinkLocal);
    let link = Ends::of("fe80::1", "fe80::2");
    odd(&link.echo(1, 1, b""), Odd::LinkLocal);
    odd(&link.hops(255).echo(1, 1, b""), Odd::LinkLocal);
    odd(&link.ndp_solicit(), None);
    odd(&link.ndp_advertise(), None);
    odd(&link.hops(64).icmp(136, 0, [0; 4], &[0; 16]), Odd::LinkLocal);
    odd(&Ends::of("fe80::1", "ff02::1").hops(255).icmp(134, 0, [0; 4], &[0; 8]), None);
    odd(&Ends::of("fe80::1", "ff02::16").hops(1).icmp(143, 0, [0; 4], &[]), None);
    odd(&Ends::of("fe80::1", "ff02::1:2").udp(546, 547, &dhcp_v6(1)), None);
    odd(&Ends::of("fe80::1", "ff02::1:2").udp(546, 547, b"anything"), Odd::LinkLocal);
    odd(&Ends::of("fe80::1", "ff02::fb").udp(5353, 5353, b""), Odd::LinkLocal);
    // A later fragment may be anything.
    odd(&link.hops(255).fragment(58, 1, 8, false, &[0; 8]), Odd::LinkLocal);
}

#[test]
fn the_outermost_is_told() {
    let group = Mac([1, 0, 0, 0, 0, 1]);
    let zero = |ends: Ends| ends.tcp(0, 0, 0, 0, 0, b"");
    odd(&zero(Ends::of("127.0.0.1", "0.0.0.0").macs(group, group)), Odd::SourceNotUnicast);
    odd(&zero(Ends::of("224.0.0.1", "127.0.0.1")), Odd::SourceNotUnicast);
    odd(&zero(Ends::of("127.0.0.1", "127.0.0.1")), Odd::Loopback);
    odd(&zero(Ends::of("0.0.0.0", "0.0.0.0")), Odd::Reserved);
    odd(&zero(Ends::of("10.0.0.1", "10.0.0.1")), Odd::Land);
    odd(&zero(Ends::of("fe80::1", "fe80::1")), Odd::Land);
    odd(&zero(Ends::of("fe80::1", "fe80::2")), Odd::TcpFlags);
    odd(&Ends::of("fe80::1", "fe80::2").tcp(0, 0, TcpFlags::SYN, 0, 0, b""), Odd::PortZero);
    let routed = [6, 0, 4, 1, 0, 0, 0, 0];
    let mut null = TCP;
    null[13] = 0;
    odd(&six().ipv6(43, &[&routed[..], &null].concat()), Odd::SourceRoute);
}

#[track_caller]
fn kept(frame: &[u8], class: impl Into<Option<Housekeeping>>) {
    assert_eq!(facts(frame).housekeeping(), class.into(), "{frame:02x?}");
}

#[test]
fn housekeeping() {
    let bridges = Mac([1, 0x80, 0xc2, 0, 0, 0]);
    let one = Vlans { outer: 7, inner: Vlans::NONE };
    kept(&four().arp(1), Housekeeping::Arp);
    kept(&four().on(one).arp(2), Housekeeping::Arp);
    kept(&four().lldp(), Housekeeping::Lldp);
    kept(&four().stp(), Housekeeping::Stp);
    kept(&four().on(one).stp(), Housekeeping::Stp);
    kept(&four().ethernet(0x8809, &[1]), Housekeeping::Lacp);
    kept(&four().ethernet(0x88b5, &[]), Housekeeping::Other);
    kept(&four().ethernet(0x9100, &[0, 1, 8, 0]), Housekeeping::Other);
    // ARP about something else can't be held against the inventory.
    for (at, value) in [(1, 6), (2, 0x86), (3, 1), (4, 8), (5, 16)] {
        let mut arp = four().arp(1);
        arp[14 + at] = value;
        kept(&arp, Housekeeping::Other);
    }
    // 802.3 that is no spanning tree: another SAP, another group; Cisco's per-VLAN tree is.
    kept(&four().macs(four().src_mac, bridges).ethernet(3, &[0x42, 0x43, 0x03]), Housekeeping::Other);
    kept(&four().ethernet(3, &[0x42, 0x42, 0x03]), Housekeeping::Other);
    let cisco = Mac([1, 0, 0x0c, 0xcc, 0xcc, 0xcd]);
    let snap = [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x01, 0x0b];
    kept(&four().macs(four().src_mac, cisco).ethernet(8, &snap), Housekeeping::Stp);
    // The LLC bytes must lie within the length.
    kept(&four().macs(four().src_mac, bridges).ethernet(2, &[0x42, 0x42, 0x03]), Housekeeping::Other);
}

#[test]
fn housekeeping_in_packets() {
    for (sport, dport, class) in [
        (68, 67, Some(Housekeeping::Dhcp)),
        (67, 68, Some(Housekeeping::Dhcp)),
        (67, 67, Some(Housekeeping::Dhcp)),
        (68, 68, None),
        (67, 53, None),
        (546, 547, None),
    ] {
        let kind = if dport == 68 { 2 } else { 1 };
        kept(&four().udp(sport, dport, &dhcp(kind)), class);
        kept(&four().udp(sport, dport, b"anything else"), None);
    }
    for (sport, dport, class) in [
        (546, 547, Some(Housekeeping::Dhcp)),
        (547, 546, Some(Housekeeping::Dhcp)),
        (547, 547, Some(Housekeeping::Dhcp)),
        (546, 546, None),
        (68, 67, None),
    ] {
        let kind = if dport == 546 { 2 } else { [1, 12][usize::from(sport == 547)] };
        kept(&six().udp(sport, dport, &dhcp_v6(kind)), class);
        kept(&six().udp(sport, dport, b"anything else"), None);
    }
    // Never a fragment, though it shows the ports.
    for (ends, ports) in [(four(), [0, 68, 0, 67]), (six(), [2, 34, 2, 35])] {
        let first = [&ports[..], &[0, 32, 0, 0]].concat();
        kept(&ends.fragment(17, 1, 0, true, &first), None);
    }
    for kind in 0..=u8::MAX {
        let ndp = (133..=136).contains(&kind).then_some(Housekeeping::Ndp);
        let mld = matches!(kind, 130..=132 | 143).then_some(Housekeeping::Ndp);
        let link = Ends::of("fe80::1", "ff02::1");
        kept(&six().hops(255).icmp(kind, 0, [0; 4], &[]), ndp);
        kept(&six().hops(254).icmp(kind, 0, [0; 4], &[]), None);
        kept(&six().hops(1).icmp(kind, 0, [0; 4], &[]), None);
        kept(&link.hops(1).icmp(kind, 0, [0; 4], &[]), mld);
        let host = Ends::of("fe80::1", "2001:db8::2");
        kept(&host.hops(1).icmp(kind, 0, [0; 4], &[]), None);
        kept(&link.hops(255).icmp(kind, 0, [0; 4], &[]), ndp);
        kept(&link.hops(255).icmp(kind, 1, [0; 4], &[]), None);
        kept(&four().hops(255).icmp(kind, 0, [0; 4], &[]), None);
    }
    // IGMP and everything else is the rules' business.
    kept(&Ends::of("10.0.0.1", "224.0.0.22").hops(1).ip(2, &[0x22, 0, 0, 0, 0, 0, 0, 0]), None);
    kept(&four().tcp(68, 67, TcpFlags::SYN, 0, 0, b""), None);
    assert_eq!(packet(&six().echo(1, 1, b"")).housekeeping(), None);
}
