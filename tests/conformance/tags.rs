//! What must be dropped is dropped inside one tag and inside two, for the same reason.

use portcullis::pipeline::Reason;
use portcullis::wire::samples::Ends;
use portcullis::wire::{Mac, Side, Vlans};

use crate::bytes::{FIN, NET, SYN, TCP, UDP, chain, icmp, options, with};
use crate::fragments::both_ways;
use crate::ground::Ground;
use crate::policy::everything;

/// The frame with these tags.
fn tagged(frame: &[u8], vlans: Vlans) -> Vec<u8> {
    let mac = |at: usize| Mac(*frame[at..].first_chunk().unwrap());
    let kind = u16::from_be_bytes([frame[12], frame[13]]);
    Ends::of("0.0.0.0", "0.0.0.0").macs(mac(6), mac(0)).on(vlans).ethernet(kind, &frame[NET..])
}

/// A frame for each reason, of these ends where it matters.
fn wrong(side: Side, ends: &Ends) -> Vec<(&'static str, Vec<u8>, Reason)> {
    let v4 = ends.src.is_ipv4();
    let ask = |ends: &Ends| ends.udp(40_000, 53, b"question");
    let from = |v4_address: &str, v6_address: &str| {
        ask(&Ends { src: if v4 { v4_address } else { v6_address }.parse().unwrap(), ..*ends })
    };
    let frame = ask(ends);
    let [near, far] =
        if v4 { ["10.20.0.77", "198.51.100.7"] } else { ["2001:db8:20::77", "2001:db8:ff::7"] };
    let stranger = if side == Side::Outside { near } else { far };
    let segment = [&TCP[..12], &[0x40], &TCP[13..], &[0; 8]].concat();
    let datagram = [&UDP[..4], &[0, 15], &UDP[6..]].concat();
    let mut rows = vec![
        ("another version", with(&frame, NET, &[if v4 { 0x65 } else { 0x40 }]), Reason::IpVersion),
        (
            "a length beyond the frame",
            with(&frame, NET + if v4 { 2 } else { 4 }, &[1, 0]),
            Reason::IpTotalLength,
        ),
        ("its own source", ask(&Ends { dst: ends.src, ..*ends }), Reason::Land),
        ("SYN and FIN", ends.tcp(40_000, 443, SYN | FIN, 1, 0, b""), Reason::TcpFlags),
        ("port 0", ends.udp(40_000, 0, b"question"), Reason::PortZero),
        ("a data offset of 4", ends.ip(6, &segment), Reason::TcpDataOffset),
        ("UDP that says a byte less", ends.ip(17, &datagram), Reason::UdpLength),
        ("TCP cut in its header", ends.ip(6, &TCP[..19]), Reason::Truncated),
        ("a redirect", ends.icmp(if v4 { 5 } else { 137 }, 1, [0; 4], &[0; 32]), Reason::IcmpRedirect),
        ("a middle of 20 bytes", ends.fragment(17, 1, 64, true, &[0; 20]), Reason::FragmentInvalid),
        ("a first of 8 bytes, TCP", ends.fragment(6, 1, 0, true, &TCP[..8]), Reason::FragmentTiny),
        ("a group's source", from("224.0.0.1", "ff0e::1"), Reason::SourceNotUnicast),
        ("a loopback source", from("127.0.0.1", "::1"), Reason::Loopback),
        ("a reserved source", from("240.0.0.1", "4000::1"), Reason::ReservedAddress),
        ("a link-local source", from("169.254.0.1", "fe80::1"), Reason::LinkLocal),
        ("a source of the other side", from(stranger, stranger), Reason::Spoofed),
        (
            "an error that quotes nothing",
            ends.icmp(if v4 { 3 } else { 1 }, 1, [0; 4], &[]),
            Reason::IcmpNoFlow,
        ),
        ("an echo's reply to nothing", ends.echo_reply(9, 1, b"ping"), Reason::IcmpNoFlow),
        ("a segment of no connection", ends.tcp(41_000, 443, 0x10, 1, 1, b"data"), Reason::TcpNoSession),
        ("an unknown ethertype", ends.ethernet(0x88b5, &[1; 46]), Reason::Profile),
    ];
    if v4 {
        rows.extend([
            ("a header of 16 bytes", with(&frame, NET, &[0x44]), Reason::IpHeaderLength),
            (
                "a wrong header checksum",
                {
                    let mut frame = frame.clone();
                    frame[NET + 8] ^= 1;
                    frame
                },
                Reason::IpHeaderChecksum,
            ),
            ("a source route", options(ends, &[131, 7, 4, 10, 0, 0, 1, 0]), Reason::SourceRoute),
            ("ARP of another operation", ends.arp(3), Reason::ArpMalformed),
            ("ARP of the other side", ends.reply().arp(2), Reason::ArpWrongSide),
        ]);
    } else {
        let routed = |kind| ends.ipv6(43, &[&[17, 2, kind, 1, 0, 0, 0, 0][..], &[0; 16], &UDP].concat());
        let jumbo = ends.ipv6(0, &[&[17, 0, 0xc2, 4, 0, 1, 0, 0][..], &UDP].concat());
        rows.extend([
            ("routing type 0", routed(0), Reason::ExtensionHeader),
            ("a route", routed(4), Reason::SourceRoute),
            ("nine headers", chain(ends, &[60; 9]), Reason::ExtensionHeader),
            ("a jumbogram", jumbo, Reason::Jumbogram),
            (
                "neighbour discovery in fragments",
                ends.hops(255).fragment(icmp(ends), 1, 0, true, &[135, 0, 0, 0, 0, 0, 0, 0]),
                Reason::FragmentNdp,
            ),
            ("an advertisement of the other side", ends.reply().ndp_advertise(), Reason::NdpWrongSide),
        ]);
    }
    rows
}

#[test]
fn what_is_dropped_without_a_tag_is_dropped_inside_one_and_inside_two() {
    let Some(mut ground) = Ground::under(&everything("")) else { return };
    for vlans in
        [Vlans::UNTAGGED, Vlans { outer: 100, inner: Vlans::NONE }, Vlans { outer: 100, inner: 20 }]
    {
        for (side, ends) in both_ways() {
            ground.about(&format!("F1.6, F1.7 on VLAN {vlans}"), &ends);
            ground.crosses("what is right", side, &ends.on(vlans).udp(40_000, 53, b"question"));
            for (what, frame, reason) in wrong(side, &ends) {
                ground.drops(what, side, &tagged(&frame, vlans), reason);
            }
        }
    }
}
