//! Etherparse's own verdict on a whole frame beside ours.

use std::net::IpAddr;

use etherparse::{
    Icmpv4Slice, LaxPacketHeaders, NetHeaders, NetSlice, SlicedPacket, TransportHeader, TransportSlice,
    UdpHeader,
};

use super::oracle::checksum_is_right;
use crate::wire::{Facts, Fragment, L4, Net, Quote, Unreadable, Vlans, parse};

/// Holds etherparse's verdict on the whole frame against ours: the fields where both read it, and where
/// only one does, that the frame has exactly the feature that explains it.
pub(super) fn beside_etherparse(frame: &[u8]) {
    match (SlicedPacket::from_ethernet(frame), parse(frame)) {
        (Ok(theirs), Ok(ours)) => agree(&theirs, &ours),
        (Ok(theirs), Err(why)) => {
            assert!(only_we_refuse(frame, &theirs, why), "we alone refuse, {why:?}: {theirs:?}");
        }
        (Err(error), Ok(ours)) => {
            assert!(only_they_refuse(&ours), "they alone refuse, {error:?}: {ours:?}");
        }
        (Err(_), Err(_)) => {}
    }
}

/// What etherparse reads and we don't.
fn only_we_refuse(frame: &[u8], theirs: &SlicedPacket<'_>, why: Unreadable) -> bool {
    let v4 = match &theirs.net {
        Some(NetSlice::Ipv4(v4)) => Some(v4.header()),
        _ => None,
    };
    let v6 = match &theirs.net {
        Some(NetSlice::Ipv6(v6)) => Some(v6),
        _ => None,
    };
    let fragment_header = v6.is_some_and(|v6| {
        v6.extensions()
            .clone()
            .into_iter()
            .any(|e| matches!(e, etherparse::Ipv6ExtensionSlice::Fragment(_)))
    });
    let fragmented = v4.is_some_and(|v4| v4.is_fragmenting_payload())
        || v6.is_some_and(etherparse::Ipv6Slice::is_payload_fragmented);
    // etherparse takes a payload length of 0 for "the rest of the frame".
    let unlimited = v6.is_some_and(|v6| v6.header().payload_length() == 0);
    match why {
        Unreadable::TooManyTags => theirs.link_exts.len() == SlicedPacket::LINK_EXTS_CAP,
        Unreadable::VlanReserved => theirs.vlan_ids().iter().any(|id| id.value() == 4095),
        Unreadable::HeaderLength => v4.is_some_and(|v4| !v4.options().is_empty()),
        Unreadable::HeaderChecksum => v4.is_some_and(|v4| !checksum_is_right(&v4)),
        Unreadable::Jumbogram => v6.is_some_and(|v6| v6.header().next_header().0 == 0),
        Unreadable::ExtensionHeader => v6.is_some_and(|v6| unlimited || !v6.extensions().is_empty()),
        Unreadable::UdpLength => match &theirs.transport {
            Some(TransportSlice::Udp(udp)) => usize::from(udp.length()) != ip_payload(theirs).len(),
            _ => fragmented,
        },
        Unreadable::DataOffset | Unreadable::FragmentInvalid | Unreadable::FragmentTiny => fragmented,
        Unreadable::FragmentNdp => fragment_header,
        Unreadable::Truncated => {
            let length = theirs.ether_payload().is_some_and(|ether| ether.ether_type.0 < 0x600);
            // It has no SCTP.
            let sctp = ip_payload(theirs).len() < 12
                && (v4.is_some_and(|v4| v4.protocol().0 == 132)
                    || v6.is_some_and(|v6| v6.payload().ip_number.0 == 132));
            unlimited || sctp || (length && theirs.net.is_none() && frame.len() >= 14)
        }
        Unreadable::Version | Unreadable::TotalLength => false,
    }
}

fn ip_payload<'a>(packet: &'a SlicedPacket<'_>) -> &'a [u8] {
    match packet.net.as_ref() {
        Some(NetSlice::Ipv4(v4)) => v4.payload().payload,
        Some(NetSlice::Ipv6(v6)) => v6.payload().payload,
        _ => &[],
    }
}

/// What we read and etherparse doesn't: layers we leave alone.
fn only_they_refuse(ours: &Facts) -> bool {
    match ours.net {
        // Its old tag, its MACsec, ARP about something else.
        Net::Other => [0x9100, 0x88e5, 0x0806].contains(&ours.ethertype),
        Net::Ip(ip) => match ip.l4 {
            // IGMP has lengths of its own; so has IPv4's authentication header; the other family's ICMP.
            L4::Other if ip.src.is_ipv4() => [2, 51, 58].contains(&ip.protocol),
            L4::Other => [1, 2].contains(&ip.protocol),
            // Timestamps have a fixed length.
            L4::Icmp(icmp) => ip.src.is_ipv4() && [13, 14].contains(&icmp.kind),
            // It reads on behind a later fragment's header.
            L4::Absent if ip.src.is_ipv4() => ip.protocol == 51,
            L4::Absent | L4::Remembered { .. } => [0, 43, 44, 51, 60].contains(&ip.protocol),
            L4::Tcp(_) | L4::Udp { .. } | L4::Sctp { .. } => false,
        },
        Net::Arp(_) | Net::Bpdu => false,
    }
}

fn agree(theirs: &SlicedPacket<'_>, ours: &Facts) {
    let Some(etherparse::LinkSlice::Ethernet2(link)) = &theirs.link else { panic!("no link") };
    assert_eq!((ours.dst_mac.0, ours.src_mac.0), (link.destination(), link.source()));
    if [0x9100, 0x88e5].contains(&ours.ethertype) {
        assert_eq!(ours.net, Net::Other);
        return;
    }
    let ids: Vec<u16> = theirs.vlan_ids().iter().map(|id| id.value()).collect();
    let listed: Vec<u16> =
        [ours.vlans.outer, ours.vlans.inner].into_iter().filter(|&id| id != Vlans::NONE).collect();
    assert!(listed == ids || (listed.is_empty() && ids == [0]), "{listed:?} {ids:?}");
    match (&theirs.net, ours.net) {
        (None, Net::Other | Net::Bpdu) => {}
        (Some(NetSlice::Arp(arp)), Net::Arp(told)) => {
            assert_eq!(arp.operation().0, told.operation);
            assert_eq!(arp.sender_hw_addr(), told.sender_mac.0);
            assert_eq!(arp.sender_protocol_addr(), told.sender.octets());
            assert_eq!(arp.target_protocol_addr(), told.target.octets());
        }
        (Some(NetSlice::Arp(arp)), Net::Other) => {
            let kind = (arp.hw_addr_type().0, arp.proto_addr_type().0, arp.hw_addr_size());
            assert!(kind != (1, 0x0800, 6) || arp.proto_addr_size() != 4);
        }
        (Some(NetSlice::Ipv4(v4)), Net::Ip(ip)) => {
            let header = v4.header();
            assert_eq!(ip.src, IpAddr::V4(header.source_addr()));
            assert_eq!(ip.dst, IpAddr::V4(header.destination_addr()));
            assert_eq!((ip.protocol, ip.hop_limit), (header.protocol().0, header.ttl()));
            let told = match ip.fragment {
                Fragment::Whole => (0, 0, false, 0),
                Fragment::First { id, length } => (id, 0, true, length),
                Fragment::Later { id, offset, length, more } => (id, offset, more, length),
            };
            let offset = header.fragments_offset().byte_offset();
            let id = u32::from(header.identification());
            let length = header.payload_len().unwrap();
            let theirs = if header.is_fragmenting_payload() {
                (id, offset, header.more_fragments(), length)
            } else {
                (0, 0, false, 0)
            };
            assert_eq!(told, theirs);
        }
        (Some(NetSlice::Ipv6(v6)), Net::Ip(ip)) => {
            let header = v6.header();
            assert_eq!(ip.src, IpAddr::V6(header.source_addr()));
            assert_eq!(ip.dst, IpAddr::V6(header.destination_addr()));
            assert_eq!(ip.hop_limit, header.hop_limit());
            assert_eq!(ip.fragment != Fragment::Whole, v6.is_payload_fragmented());
            if ip.l4 != L4::Absent {
                assert_eq!(ip.protocol, v6.payload().ip_number.0);
            }
        }
        (theirs, ours) => panic!("{theirs:?} is not {ours:?}"),
    }
    let Net::Ip(ip) = ours.net else { return };
    match (&theirs.transport, ip.l4) {
        (Some(TransportSlice::Tcp(tcp)), L4::Tcp(told)) => {
            assert_eq!((told.sport, told.dport), (tcp.source_port(), tcp.destination_port()));
            assert_eq!((told.seq, told.ack), (tcp.sequence_number(), tcp.acknowledgment_number()));
            assert_eq!((told.window, usize::from(told.payload)), (tcp.window_size(), tcp.payload().len()));
            for (bit, theirs) in
                [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()]
                    .into_iter()
                    .enumerate()
            {
                assert_eq!(told.flags.has(1 << bit), theirs, "flag {bit}");
            }
        }
        (Some(TransportSlice::Udp(udp)), L4::Udp { sport, dport, .. }) => {
            assert_eq!((sport, dport), (udp.source_port(), udp.destination_port()));
        }
        (Some(TransportSlice::Icmpv4(theirs)), L4::Icmp(told)) => {
            assert_eq!((told.kind, told.code), (theirs.type_u8(), theirs.code_u8()));
            let [a, b, _, _] = theirs.bytes5to8();
            assert!(told.id.is_none_or(|id| id == u16::from_be_bytes([a, b])));
            if matches!(told.kind, 3 | 11) && told.code < 2 {
                quoted(told.quote, Icmpv4Slice::payload(theirs));
            }
        }
        (Some(TransportSlice::Icmpv6(theirs)), L4::Icmp(told)) => {
            assert_eq!((told.kind, told.code), (theirs.type_u8(), theirs.code_u8()));
            let [a, b, _, _] = theirs.bytes5to8();
            assert!(told.id.is_none_or(|id| id == u16::from_be_bytes([a, b])));
            if told.is_error(true) {
                quoted(told.quote, &theirs.slice()[8..]);
            }
        }
        // A first fragment, whose header etherparse leaves alone.
        (None, L4::Tcp(_) | L4::Udp { .. } | L4::Icmp(_)) => {
            assert!(matches!(ip.fragment, Fragment::First { .. }), "{ip:?}");
        }
        // It has no SCTP.
        (None, L4::Other | L4::Absent | L4::Sctp { .. }) => {}
        // Protocols that we leave alone.
        (Some(_), L4::Other) => {
            let left =
                [2, 51].contains(&ip.protocol) || ip.protocol == if ip.src.is_ipv6() { 1 } else { 58 };
            assert!(left, "{ip:?}");
        }
        (theirs, ours) => panic!("{theirs:?} is not {ours:?}"),
    }
}

/// Holds a quote against etherparse's lenient reader, made for just that.
fn quoted(told: Option<Quote>, bytes: &[u8]) {
    let Some(told) = told else { return };
    let theirs = LaxPacketHeaders::from_ip(bytes).unwrap();
    let (src, dst): (IpAddr, IpAddr) = match theirs.net.unwrap() {
        NetHeaders::Ipv4(header, _) => (header.source.into(), header.destination.into()),
        NetHeaders::Ipv6(header, _) => (header.source.into(), header.destination.into()),
        NetHeaders::Arp(_) => panic!("ARP in IP"),
    };
    assert_eq!((told.src, told.dst), (src, dst));
    match theirs.transport {
        Some(TransportHeader::Udp(UdpHeader { source_port, destination_port, .. }))
            if told.protocol == 17 =>
        {
            assert_eq!((told.sport, told.dport), (source_port, destination_port));
        }
        Some(TransportHeader::Tcp(tcp)) if told.protocol == 6 => {
            assert_eq!((told.sport, told.dport), (tcp.source_port, tcp.destination_port));
            assert_eq!(told.seq, Some(tcp.sequence_number));
        }
        _ => {}
    }
}
