//! One frame a reason, in both families where both apply, beside a control that differs in that alone.

use super::{TCP, UDP, both, facts, four, six};
use crate::wire::samples::Ends;
use crate::wire::{Fragment, L4, Net, TcpFlags, Unreadable, Vlans, parse};

/// Where the network layer of an untagged frame begins.
const NET: usize = 14;

#[track_caller]
fn refused(frame: &[u8], why: Unreadable) {
    assert_eq!(parse(frame), Err(why), "{frame:02x?}");
}

/// The frame with one byte changed, and the IPv4 header checksum made right again.
fn with(frame: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at] = value;
    rechecksum(&mut frame);
    frame
}

/// Makes the IPv4 header checksum of an untagged frame right.
fn rechecksum(frame: &mut [u8]) {
    if frame[12..14] != [0x08, 0x00] {
        return;
    }
    let header = usize::from(frame[NET] & 0xf) * 4;
    frame[NET + 10..NET + 12].fill(0);
    let sum: u32 = frame[NET..NET + header]
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    frame[NET + 10..NET + 12].copy_from_slice(&(!sum).to_be_bytes());
}

#[test]
fn truncated() {
    for ends in both() {
        let whole = ends.udp(40_000, 53, b"question");
        for length in 0..NET {
            refused(&whole[..length], Unreadable::Truncated);
        }
        let fixed = if ends == four() { 20 } else { 40 };
        for length in NET..NET + fixed {
            refused(&whole[..length], Unreadable::Truncated);
        }
        // The upper layer's own header.
        for (protocol, least) in [(6, 20), (17, 8), (132, 12), (if ends == four() { 1 } else { 58 }, 8)] {
            for length in 0..least {
                refused(&ends.ip(protocol, &[0; 20][..length]), Unreadable::Truncated);
            }
        }
        facts(&ends.ip(if ends == four() { 1 } else { 58 }, &[0; 8]));
    }
    // Tags.
    let tagged = four().on(Vlans { outer: 100, inner: 20 }).udp(1, 2, b"");
    for length in 14..22 {
        refused(&tagged[..length], Unreadable::Truncated);
    }
    // ARP and 802.3.
    let arp = four().arp(1);
    assert_eq!(arp.len(), 42);
    for length in 14..42 {
        refused(&arp[..length], Unreadable::Truncated);
    }
    refused(&four().ethernet(39, &[0; 38]), Unreadable::Truncated);
    assert_eq!(facts(&four().ethernet(38, &[0; 38])).net, Net::Other);
}

#[test]
fn too_many_tags() {
    for tags in [[0x81, 0x00], [0x88, 0xa8]] {
        let inner = [&tags[..], &[0, 3], &[0x08, 0x00]].concat();
        let frame = four().on(Vlans { outer: 1, inner: 2 }).ethernet(0x8100, &inner[2..]);
        refused(&frame, Unreadable::TooManyTags);
    }
    assert_eq!(facts(&four().on(Vlans { outer: 1, inner: 2 }).tcp(1, 2, 16, 0, 0, b"")).vlans.inner, 2);
}

#[test]
fn vlan_reserved() {
    // 0xfff stands for "no tag" in `Vlans`, so the tags are written by hand.
    let one = four().ethernet(0x8100, &[0x0f, 0xff, 0x88, 0xb5]);
    refused(&one, Unreadable::VlanReserved);
    let priority = four().ethernet(0x8100, &[0xff, 0xff, 0x88, 0xb5]);
    refused(&priority, Unreadable::VlanReserved);
    let inner = four().ethernet(0x88a8, &[0, 20, 0x81, 0x00, 0x0f, 0xff, 0x88, 0xb5]);
    refused(&inner, Unreadable::VlanReserved);
    let control = facts(&four().ethernet(0x8100, &[0x0f, 0xfe, 0x88, 0xb5]));
    assert_eq!((control.vlans.outer, control.ethertype), (0xffe, 0x88b5));
}

#[test]
fn version() {
    for ends in both() {
        let frame = ends.udp(1, 2, b"");
        for version in (0..16).filter(|&v| v != if ends == four() { 4 } else { 6 }) {
            let length = frame[NET] & 0x0f;
            refused(&with(&frame, NET, version << 4 | length), Unreadable::Version);
        }
    }
}

#[test]
fn header_length() {
    let frame = four().udp(40_000, 53, b"");
    for words in 0..5 {
        refused(&with(&frame, NET, 0x40 | words), Unreadable::HeaderLength);
    }
    // 28 bytes of packet: seven words fit it, eight do not.
    let padded = crate::wire::samples::padded(&frame);
    refused(&with(&padded, NET, 0x48), Unreadable::HeaderLength);
    // An option that overruns the header, one without a length, one too short to hold its own.
    for options in [[148, 5, 0, 0], [1, 1, 1, 148], [148, 1, 0, 0], [148, 0, 0, 0]] {
        let mut header = four().ipv4_header(17, 8);
        header.options = options.into();
        header.set_payload_len(8).unwrap();
        header.header_checksum = header.calc_header_checksum();
        refused(&four().ipv4(&header, &[0, 1, 0, 2, 0, 8, 0, 0]), Unreadable::HeaderLength);
    }
}

#[test]
fn total_length() {
    let frame = four().udp(40_000, 53, b"");
    assert_eq!(frame.len(), NET + 28);
    refused(&with(&frame, NET + 3, 29), Unreadable::TotalLength);
    for total in 0..20 {
        refused(&with(&frame, NET + 3, total), Unreadable::TotalLength);
    }
    let frame = six().udp(40_000, 53, b"");
    refused(&with(&frame, NET + 5, 9), Unreadable::TotalLength);
    // Padding behind the packet is Ethernet's.
    for ends in both() {
        let frame = ends.ip(47, &[0]);
        let padded = crate::wire::samples::padded(&frame);
        assert_eq!(facts(&padded).net, facts(&frame).net);
    }
}

#[test]
fn header_checksum() {
    let frame = four().tcp(40_000, 443, TcpFlags::SYN, 1, 0, b"payload");
    for bit in 0..8 {
        for at in NET + 8..NET + 20 {
            let mut broken = frame.clone();
            broken[at] ^= 1 << bit;
            refused(&broken, Unreadable::HeaderChecksum);
        }
    }
    // Only the header's: the upper layer's is left to its receiver.
    let mut frame = frame;
    frame[NET + 20 + 16] ^= 1;
    facts(&frame);
}

#[test]
fn jumbogram() {
    let jumbo = [17, 0, 0xc2, 4, 0, 1, 0, 0];
    // As RFC 2675 writes it, with payload length 0; and with a length, which it forbids.
    let mut frame = six().ipv6(0, &[&jumbo[..], &UDP].concat());
    refused(&frame, Unreadable::Jumbogram);
    frame[NET + 4..NET + 6].fill(0);
    refused(&frame, Unreadable::Jumbogram);
    // Router alert in its place is fine; payload length 0 alone is an empty packet.
    let alert = [17, 0, 5, 2, 0, 0, 1, 0];
    assert_eq!(packet_protocol(&six().ipv6(0, &[&alert[..], &UDP].concat())), 17);
    assert_eq!(packet_protocol(&six().ipv6(59, &[])), 59);
}

fn packet_protocol(frame: &[u8]) -> u8 {
    super::packet(frame).protocol
}

/// A chain of headers, each eight bytes with padding options, that ends in UDP.
fn chain(headers: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for place in 0..headers.len() {
        let next = headers.get(place + 1).copied().unwrap_or(17);
        bytes.extend([next, 0, 1, 4, 0, 0, 0, 0]);
    }
    six().ipv6(headers.first().copied().unwrap_or(17), &[&bytes[..], &UDP].concat())
}

#[test]
fn extension_header() {
    // Eight are walked, nine are not.
    assert_eq!(super::packet(&chain(&[60; 8])).l4, L4::Udp { sport: 40_000, dport: 53, dhcp: false });
    refused(&chain(&[60; 9]), Unreadable::ExtensionHeader);
    // Hop-by-hop stands first.
    assert_eq!(packet_protocol(&chain(&[0, 60])), 17);
    refused(&chain(&[60, 0]), Unreadable::ExtensionHeader);
    refused(&chain(&[0, 0]), Unreadable::ExtensionHeader);
    // Routing type 0, whatever its segments.
    for left in [0, 1] {
        let rh0 = [17, 0, 0, left, 0, 0, 0, 0];
        refused(&six().ipv6(43, &[&rh0[..], &UDP].concat()), Unreadable::ExtensionHeader);
    }
    assert_eq!(packet_protocol(&six().ipv6(43, &[&[17, 0, 2, 0, 0, 0, 0, 0][..], &UDP].concat())), 17);
    // Two fragment headers, though both are atomic.
    let atomic = |next| [next, 0, 0, 0, 0, 0, 0, 1];
    assert_eq!(packet_protocol(&six().ipv6(44, &[&atomic(17)[..], &UDP].concat())), 17);
    let twice = [&atomic(44)[..], &atomic(17), &UDP].concat();
    refused(&six().ipv6(44, &twice), Unreadable::ExtensionHeader);
    // A header that overruns the packet, or is not there.
    for next in [0, 43, 44, 51, 60] {
        refused(&six().ipv6(next, &[17, 9, 1, 4, 0, 0, 0][..]), Unreadable::ExtensionHeader);
        refused(&six().ipv6(60, &[next, 0, 1, 4, 0, 0, 0, 0]), Unreadable::ExtensionHeader);
    }
    // Authentication shorter than its fixed part; as long as it must be, it is walked over.
    refused(&six().ipv6(51, &[&[17, 0][..], &[0; 30]].concat()), Unreadable::ExtensionHeader);
    let auth = [17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9];
    assert_eq!(packet_protocol(&six().ipv6(51, &[&auth[..], &UDP].concat())), 17);
    // Hop-by-hop options: one that overruns, one without a length, more than sixteen.
    for options in [[5, 9, 0, 0, 0, 0], [1, 3, 0, 0, 0, 5], [1, 5, 0, 0, 0, 0]] {
        let header = [&[17, 0][..], &options].concat();
        refused(&six().ipv6(0, &[&header[..], &UDP].concat()), Unreadable::ExtensionHeader);
    }
    let pads = |singles: usize| {
        let rest = 22 - singles - 2;
        let tail = [&[1, u8::try_from(rest).unwrap()][..], &vec![0; rest]].concat();
        six().ipv6(0, &[&[17, 2][..], &vec![0; singles], &tail, &UDP].concat())
    };
    assert_eq!(packet_protocol(&pads(15)), 17);
    refused(&pads(16), Unreadable::ExtensionHeader);
}

#[test]
fn what_ends_the_chain() {
    for last in [50, 59, 135, 139, 140, 253] {
        let ip = super::packet(&six().ipv6(60, &[last, 0, 1, 4, 0, 0, 0, 0, 7, 7, 7, 7]));
        assert_eq!((ip.protocol, ip.l4, ip.fragment), (last, L4::Other, Fragment::Whole));
    }
}

#[test]
fn data_offset() {
    for ends in both() {
        for words in 0..16_u8 {
            let mut segment = [&TCP[..], &[1; 8]].concat();
            segment[12] = words << 4;
            let frame = ends.ip(6, &segment);
            if (5..=7).contains(&words) {
                facts(&frame);
            } else {
                refused(&frame, Unreadable::DataOffset);
            }
        }
    }
}

#[test]
fn udp_length() {
    for ends in both() {
        for length in 0..32 {
            let mut datagram = UDP;
            datagram[5] = length;
            let frame = ends.ip(17, &datagram);
            if length == 16 {
                facts(&frame);
            } else {
                refused(&frame, Unreadable::UdpLength);
            }
        }
        // A first fragment must promise more than it holds.
        let mut first = UDP;
        refused(&ends.fragment(17, 1, 0, true, &first), Unreadable::UdpLength);
        first[5] = 17;
        facts(&ends.fragment(17, 1, 0, true, &first));
    }
}

#[test]
fn fragment_invalid() {
    for ends in both() {
        let invalid = |offset, more, length: usize| {
            refused(&ends.fragment(17, 1, offset, more, &vec![0; length]), Unreadable::FragmentInvalid);
        };
        // Not a multiple of eight with more to follow, at the start and later.
        for length in 1..8 {
            invalid(0, true, 16 + length);
            invalid(64, true, 16 + length);
            facts(&ends.fragment(17, 1, 64, false, &vec![0; 16 + length]));
        }
        // A later one without a byte.
        invalid(64, true, 0);
        invalid(64, false, 0);
        // Beyond 65 535: IPv4 counts its header.
        let room = if ends == four() { 65_535 - 20 - 65_488 } else { 65_535 - 65_488 };
        facts(&ends.fragment(17, 1, 65_488, false, &vec![0; room]));
        invalid(65_488, false, room + 1);
    }
    // IPv6 counts the extension headers before the fragment header.
    let last = |room: usize| {
        let options = [44, 0, 1, 4, 0, 0, 0, 0];
        let fragment = [17, 0, 0xff, 0xd0, 0, 0, 0, 1];
        six().ipv6(60, &[&options[..], &fragment, &vec![0; room]].concat())
    };
    facts(&last(39));
    refused(&last(40), Unreadable::FragmentInvalid);
    // DF with MF, DF with an offset; MF alone is a fragment, DF alone is not.
    for (more, offset) in [(true, 0), (false, 8), (true, 8)] {
        let mut header = four().ipv4_header(47, 16);
        header.more_fragments = more;
        header.fragment_offset = offset.try_into().unwrap();
        for dont in [true, false] {
            header.dont_fragment = dont;
            header.header_checksum = header.calc_header_checksum();
            let frame = four().ipv4(&header, &[0; 16]);
            if dont {
                refused(&frame, Unreadable::FragmentInvalid);
            } else {
                assert_ne!(super::packet(&frame).fragment, Fragment::Whole);
            }
        }
    }
    let header = four().ipv4_header(47, 16);
    assert!(header.dont_fragment);
    assert_eq!(super::packet(&four().ipv4(&header, &[0; 16])).fragment, Fragment::Whole);
}

#[test]
fn fragment_tiny() {
    for ends in both() {
        let icmp = if ends == four() { 1 } else { 58 };
        let tiny = |protocol, payload: &[u8]| {
            refused(&ends.fragment(protocol, 1, 0, true, payload), Unreadable::FragmentTiny);
        };
        tiny(6, &[]);
        tiny(6, &TCP[..8]);
        tiny(6, &TCP[..16]);
        tiny(17, &[]);
        tiny(icmp, &[]);
        tiny(132, &[]);
        tiny(132, &[9; 8]);
        facts(&ends.fragment(132, 1, 0, true, &[9; 16]));
        facts(&ends.fragment(132, 1, 8, true, &[9; 8]));
        tiny(47, &[]);
        // Options of a TCP header count: 24 bytes of a header of 28.
        let mut options = [&TCP[..], &[1; 12]].concat();
        options[12] = 0x70;
        tiny(6, &options[..24]);
        facts(&ends.fragment(6, 1, 0, true, &options));
        // RFC 3128: a later fragment may not lie where a TCP header must be.
        for offset in [8, 16] {
            refused(&ends.fragment(6, 1, offset, true, &[0; 8]), Unreadable::FragmentTiny);
            refused(&ends.fragment(6, 1, offset, false, &[0; 3]), Unreadable::FragmentTiny);
            facts(&ends.fragment(17, 1, offset, false, &[0; 3]));
        }
        facts(&ends.fragment(6, 1, 24, false, &[0; 3]));
    }
    // RFC 7112: the chain of extension headers does not end in the first fragment.
    let fragment = [60, 0, 0, 1, 0, 0, 0, 1];
    let cut = [&fragment[..], &[6, 1, 1, 12, 0, 0, 0, 0]].concat();
    refused(&six().ipv6(44, &cut), Unreadable::FragmentTiny);
    let whole = [&cut[..], &[0; 8], &TCP, &[0; 4]].concat();
    assert_eq!(super::packet(&six().ipv6(44, &whole)).fragment, Fragment::First { id: 1, length: 40 });
}

#[test]
fn fragment_ndp() {
    let link = Ends::of("fe80::5", "fe80::9").hops(255);
    for kind in [133, 134, 135, 136, 137, 148] {
        let message = [kind, 0, 0, 0, 0, 0, 0, 0];
        refused(&link.fragment(58, 1, 0, true, &message), Unreadable::FragmentNdp);
        // RFC 6980 names the header, so an atomic fragment is refused as well.
        refused(&link.fragment(58, 1, 0, false, &message), Unreadable::FragmentNdp);
        facts(&link.ip(58, &message));
    }
    facts(&six().fragment(58, 1, 0, true, &[128, 0, 0, 0, 0, 7, 0, 1]));
    // 133–137 mean other things in IPv4.
    facts(&four().fragment(1, 1, 0, true, &[135, 0, 0, 0, 0, 0, 0, 0]));
}
