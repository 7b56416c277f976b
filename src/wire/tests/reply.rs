//! Replies, read back by etherparse and summed by hand.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Type, Icmpv6Type, LaxNetSlice, LaxSlicedPacket, NetSlice, SlicedPacket, TransportSlice,
};
use proptest::prelude::*;

use super::recipe::frame;
use super::{both, facts, four, packet, six};
use crate::wire::samples::{Ends, dhcp, every_kind, padded};
use crate::wire::{Fragment, L4, Mac, Net, Reply, TcpFlags, Vlans, parse};

const REPLIES: [Reply; 2] = [Reply::Reset, Reply::Unreachable];
const SYN: u8 = TcpFlags::SYN;
const ACK: u8 = TcpFlags::ACK;

/// A reply into a buffer that is full of something else.
fn answer(reply: Reply, frame: &[u8]) -> Option<Vec<u8>> {
    let mut residue = [0xa5; Reply::LONGEST];
    reply.write(frame, &mut residue).map(<[u8]>::to_vec)
}

/// The one's complement sum over bytes (RFC 1071): 0xffff over what includes its own right checksum.
fn sum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap()
}

/// What every reply to a frame must be, whatever it says. Gives the upper layer's bytes.
fn sound(denied: &[u8], reply: &[u8]) -> Vec<u8> {
    let (there, back) = (facts(denied), facts(reply));
    let (Net::Ip(asked), Net::Ip(ip)) = (there.net, back.net) else { panic!("{back:?}") };
    assert_eq!((back.src_mac, back.dst_mac), (there.dst_mac, there.src_mac));
    assert_eq!((back.vlans, back.odd), (there.vlans, None), "{reply:02x?}");
    assert_eq!((ip.src, ip.dst, ip.hop_limit), (asked.dst, asked.src, 64));
    assert_eq!(ip.fragment, Fragment::Whole);
    // etherparse reads it without a complaint, and nothing but zeros follows what IP says is there.
    let sliced = SlicedPacket::from_ethernet(reply).unwrap();
    let (header, length) = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(v4) => (20, usize::from(v4.header().total_len())),
        NetSlice::Ipv6(v6) => (40, 40 + usize::from(v6.header().payload_length())),
        NetSlice::Arp(_) => panic!("no IP"),
    };
    let tags = sliced.link_exts.len() * 4;
    let (packet, padding) = reply[14 + tags..].split_at(length);
    assert!(reply.len() >= 60 && padding.iter().all(|byte| *byte == 0), "{reply:02x?}");
    assert!(padding.is_empty() || reply.len() == 60);
    assert_eq!(reply[12..14 + tags], denied[12..14 + tags], "the tags and the ethertype as they came");
    let upper = &packet[header..];
    let protocol = match (ip.src, ip.dst) {
        (IpAddr::V4(_), _) => {
            assert_eq!(sum(&[&packet[..20]]), 0xffff);
            packet[9]
        }
        (IpAddr::V6(_), _) => packet[6],
    };
    let size = u32::try_from(upper.len()).unwrap().to_be_bytes();
    let pseudo = match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => [&src.octets()[..], &dst.octets()].concat(),
        (IpAddr::V6(src), IpAddr::V6(dst)) => [&src.octets()[..], &dst.octets()].concat(),
        other => panic!("{other:?}"),
    };
    let pseudo = if protocol == 1 { vec![] } else { [&pseudo[..], &size, &[0, 0, 0, protocol]].concat() };
    assert_eq!(sum(&[&pseudo, upper]), 0xffff, "{reply:02x?}");
    upper.to_vec()
}

/// The packet of a frame to the end that its IP header tells.
fn whole(frame: &[u8]) -> Vec<u8> {
    let sliced = LaxSlicedPacket::from_ethernet(frame).unwrap();
    let length = match sliced.net.unwrap() {
        LaxNetSlice::Ipv4(v4) => usize::from(v4.header().total_len()),
        LaxNetSlice::Ipv6(v6) => 40 + usize::from(v6.header().payload_length()),
        LaxNetSlice::Arp(_) => panic!("no IP"),
    };
    frame[14 + sliced.link_exts.len() * 4..][..length].to_vec()
}

/// All that a reply to a frame promises, for both kinds. How many there were.
fn promises(frame: &[u8]) -> usize {
    let mut written = 0;
    for reply in REPLIES {
        let may = parse(frame).is_ok_and(|facts| reply.may_answer(&facts));
        let Some(answer) = answer(reply, frame) else {
            assert!(!may, "{reply:?} {frame:02x?}");
            continue;
        };
        assert!(may);
        written += 1;
        let upper = sound(frame, &answer);
        let (asked, ip) = (packet(frame), packet(&answer));
        match (reply, asked.l4, ip.l4) {
            (Reply::Reset, L4::Tcp(asked), L4::Tcp(tcp)) => {
                assert_eq!((tcp.sport, tcp.dport, tcp.payload), (asked.dport, asked.sport, 0));
                let length = u32::from(asked.payload)
                    + u32::from(asked.flags.has(SYN))
                    + u32::from(asked.flags.has(TcpFlags::FIN));
                let expected = if asked.flags.has(ACK) {
                    (TcpFlags(TcpFlags::RST), asked.ack, 0)
                } else {
                    (TcpFlags(TcpFlags::RST | ACK), 0, asked.seq.wrapping_add(length))
                };
                assert_eq!((tcp.flags, tcp.seq, tcp.ack), expected);
                assert_eq!((upper.len(), tcp.window), (20, 0));
            }
            (Reply::Unreachable, _, L4::Icmp(icmp)) => {
                let (kind, most) =
                    if ip.src.is_ipv4() { ((3, 13), 576 - 28) } else { ((1, 1), 1_280 - 48) };
                assert_eq!((icmp.kind, icmp.code), kind);
                let whole = whole(frame);
                assert_eq!(upper[4..8], [0; 4]);
                assert_eq!(
                    upper[8..],
                    whole[..whole.len().min(most)],
                    "the packet it is about, and no more"
                );
            }
            other => panic!("{other:?}"),
        }
        // It draws no other: nothing answers a reset or an ICMP error.
        assert_eq!(self::answer(Reply::Unreachable, &answer).is_some(), reply == Reply::Reset);
        assert_eq!(self::answer(Reply::Reset, &answer), None);
    }
    written
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_reply_is_read_by_etherparse_with_right_checksums(frame in frame()) {
        promises(&frame);
    }

    /// Nothing panics, and what is answered is answered soundly, whatever the bytes.
    #[test]
    fn a_reply_to_any_bytes_is_sound_or_none(frame in prop::collection::vec(any::<u8>(), 0..200)) {
        promises(&frame);
    }

    #[test]
    fn a_reply_keeps_to_its_bounds_whatever_the_length(
        v6 in any::<bool>(), tags in 0..3_usize, length in 0..3_000_usize, tcp in any::<bool>(),
    ) {
        let vlans = [(Vlans::NONE, Vlans::NONE), (100, Vlans::NONE), (100, 20)][tags];
        let ends = if v6 { six() } else { four() }.on(Vlans { outer: vlans.0, inner: vlans.1 });
        let payload = vec![0x5a; length];
        let frame =
            if tcp { ends.tcp(40_000, 23, ACK, 9, 7, &payload) } else { ends.udp(40_000, 53, &payload) };
        prop_assert_eq!(promises(&frame), 1 + usize::from(tcp));
        let error = answer(Reply::Unreachable, &frame).unwrap();
        let (before, most) = if v6 { (48, 1_280) } else { (28, 576) };
        prop_assert_eq!(error.len(), (14 + 4 * tags + (before + whole(&frame).len()).min(most)).max(60));
    }
}

/// Frames by chance are answered often enough to mean something, extension headers and tags among them.
#[test]
fn samples_of_every_kind_are_answered_or_not() {
    let mut answered = 0;
    for (_, frame) in every_kind() {
        answered += promises(&frame);
        answered += promises(&padded(&frame));
        for end in 0..frame.len() {
            promises(&frame[..end]);
        }
    }
    assert!(answered > 40, "{answered}");
}

#[test]
fn a_syn_is_reset_by_acknowledging_it() {
    for ends in both() {
        let syn = ends.tcp(40_000, 23, SYN, u32::MAX, 0, b"");
        let L4::Tcp(tcp) = packet(&answer(Reply::Reset, &syn).unwrap()).l4 else { panic!("no TCP") };
        assert_eq!((tcp.sport, tcp.dport, tcp.seq, tcp.ack), (23, 40_000, 0, 0), "the number wraps");
        assert_eq!(tcp.flags, TcpFlags(TcpFlags::RST | ACK));
        let data = ends.tcp(40_000, 23, SYN, 7, 0, b"early data");
        let L4::Tcp(tcp) = packet(&answer(Reply::Reset, &data).unwrap()).l4 else { panic!("no TCP") };
        assert_eq!((tcp.seq, tcp.ack), (0, 7 + 1 + 10));
    }
}

#[test]
fn a_segment_with_ack_is_reset_at_the_number_it_acknowledges() {
    for ends in both() {
        let data = ends.tcp(40_000, 23, ACK | TcpFlags::PSH, 9, 4_711, b"data");
        let L4::Tcp(tcp) = packet(&answer(Reply::Reset, &data).unwrap()).l4 else { panic!("no TCP") };
        assert_eq!((tcp.seq, tcp.ack, tcp.flags), (4_711, 0, TcpFlags(TcpFlags::RST)));
    }
}

#[test]
fn what_must_not_be_answered_is_not() {
    let silent = |reply, frame: &[u8]| assert_eq!(answer(reply, frame), None, "{frame:02x?}");
    for ends in both() {
        let v6 = ends.src.is_ipv6();
        silent(Reply::Reset, &ends.tcp(40_000, 23, TcpFlags::RST, 9, 0, b""));
        silent(Reply::Reset, &ends.tcp(40_000, 23, TcpFlags::RST | ACK, 9, 7, b""));
        silent(Reply::Reset, &ends.udp(40_000, 53, b"question"));
        silent(Reply::Reset, &ends.echo(7, 1, b"ping"));
        // Errors and what might be one; redirects.
        let asked = ends.udp(40_000, 53, b"question");
        let errors: &[u8] =
            if v6 { &[1, 2, 3, 4, 0, 100, 127, 137] } else { &[3, 4, 5, 11, 12, 1, 6, 19, 255] };
        for kind in errors {
            silent(Reply::Unreachable, &ends.reply().icmp_error(*kind, 0, [0; 4], &asked));
        }
        let queries: &[u8] =
            if v6 { &[128, 129, 139, 160, 161] } else { &[8, 0, 9, 10, 13, 14, 15, 16, 17, 18, 42, 43] };
        for kind in queries {
            assert!(answer(Reply::Unreachable, &ends.icmp(*kind, 0, [0; 4], &[0; 16])).is_some(), "{kind}");
        }
        // Fragments: only the first tells whom it is about; a segment in pieces has no known length.
        let tcp = &ends.tcp(40_000, 23, SYN, 9, 0, &[0; 12])[if v6 { 54 } else { 34 }..];
        let first = ends.fragment(6, 7, 0, true, tcp);
        silent(Reply::Reset, &first);
        assert!(answer(Reply::Unreachable, &first).is_some());
        silent(Reply::Unreachable, &ends.fragment(17, 7, 1_480, false, &[0; 40]));
        // Frames to a group, whatever their packet says.
        for mac in [Mac([0xff; 6]), Mac([1, 0, 0x5e, 0, 0, 1]), Mac([0x33, 0x33, 0, 0, 0, 1])] {
            silent(Reply::Unreachable, &ends.macs(ends.src_mac, mac).udp(40_000, 53, b"question"));
        }
        silent(
            Reply::Unreachable,
            &ends.macs(Mac([3, 0, 0, 0, 0, 1]), ends.dst_mac).udp(1, 53, b"question"),
        );
    }
    for (src, dst) in [
        ("10.10.0.5", "224.0.0.9"),
        ("10.10.0.5", "255.255.255.255"),
        ("0.0.0.0", "10.20.0.9"),
        ("0.0.0.0", "255.255.255.255"),
        ("224.0.0.9", "10.20.0.9"),
        ("255.255.255.255", "10.20.0.9"),
        ("127.0.0.1", "10.20.0.9"),
        ("240.0.0.1", "10.20.0.9"),
        ("2001:db8::1", "ff0e::9"),
        ("::", "2001:db8::9"),
        ("::", "ff02::1:ff00:9"),
        ("ff0e::9", "2001:db8::9"),
        ("::1", "2001:db8::9"),
    ] {
        let ends = Ends::of(src, dst);
        silent(Reply::Unreachable, &ends.udp(68, 67, &dhcp(1)));
        silent(Reply::Reset, &ends.tcp(40_000, 23, SYN, 9, 0, b""));
    }
    silent(Reply::Unreachable, &Ends::of("fe80::5", "fe80::9").ndp_advertise());
    silent(Reply::Unreachable, &four().arp(1));
    silent(Reply::Unreachable, &four().lldp());
}

#[test]
fn a_priority_tag_goes_back_as_it_came() {
    let mut frame = four().on(Vlans { outer: 0, inner: Vlans::NONE }).tcp(40_000, 23, SYN, 9, 0, b"");
    frame[14] = 0xa0;
    let answer = answer(Reply::Reset, &frame).unwrap();
    assert_eq!(answer[12..18], [0x81, 0, 0xa0, 0, 0x08, 0]);
    sound(&frame, &answer);
}

/// The shortest reply is padded, and neither the buffer's earlier bytes nor the frame's own padding go out.
#[test]
fn no_residue_leaves_with_a_reply() {
    let mut syn = four().tcp(40_000, 23, SYN, 9, 0, b"");
    syn.resize(60, 0xee);
    let reset = answer(Reply::Reset, &syn).unwrap();
    assert_eq!((reset.len(), &reset[54..]), (60, &[0; 6][..]));
    let mut datagram = four().udp(40_000, 53, b"");
    datagram.resize(60, 0xee);
    let error = answer(Reply::Unreachable, &datagram).unwrap();
    // 20 of IP, 8 of ICMP, 28 quoted: the padding of the frame it is about is no part of the packet.
    assert_eq!(error.len(), 14 + 20 + 8 + 28);
    assert!(!error.contains(&0xee) && !error.contains(&0xa5));
    let sliced = SlicedPacket::from_ethernet(&error).unwrap();
    let Some(TransportSlice::Icmpv4(icmp)) = sliced.transport else { panic!("no ICMP") };
    assert!(matches!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(_)));
    let error = answer(Reply::Unreachable, &six().udp(40_000, 53, b"")).unwrap();
    let Some(TransportSlice::Icmpv6(icmp)) = SlicedPacket::from_ethernet(&error).unwrap().transport else {
        panic!("no ICMPv6")
    };
    assert!(matches!(icmp.icmp_type(), Icmpv6Type::DestinationUnreachable(_)));
}
