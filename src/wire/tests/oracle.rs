//! The slow twin: the same answer, every length and field read by etherparse's layers, every rule
//! written a second time and the plain way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::checksum::Sum16BitWords;
use etherparse::err::ip_auth::HeaderSliceError as AuthError;
use etherparse::err::ipv4::{HeaderError, HeaderSliceError};
use etherparse::err::tcp::HeaderSliceError as TcpError;
use etherparse::{
    Ethernet2Slice, IpAuthHeaderSlice, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, SingleVlanSlice, TcpOptionElement, TcpSlice, UdpHeaderSlice,
};

use crate::wire::{
    Arp, Facts, Fragment, Icmp, Ip, L4, Mac, Net, Odd, Quote, Tcp, TcpFlags, Unreadable, Vlans,
};

/// What [`crate::wire::parse`] must say.
pub(super) fn twin(frame: &[u8]) -> Result<Facts, Unreadable> {
    let link = Ethernet2Slice::from_slice_without_fcs(frame).map_err(|_| Unreadable::Truncated)?;
    let (mut ethertype, mut rest) = (link.ether_type().0, link.payload_slice());
    let mut ids = Vec::new();
    while ethertype == 0x8100 || ethertype == 0x88a8 {
        if ids.len() == 2 {
            return Err(Unreadable::TooManyTags);
        }
        let tag = SingleVlanSlice::from_slice(rest).map_err(|_| Unreadable::Truncated)?;
        if tag.vlan_identifier().value() == 4095 {
            return Err(Unreadable::VlanReserved);
        }
        ids.push(tag.vlan_identifier().value());
        (ethertype, rest) = (tag.ether_type().0, tag.payload_slice());
    }
    let vlans = match ids[..] {
        [] | [0] => Vlans::UNTAGGED,
        [outer] => Vlans { outer, inner: Vlans::NONE },
        [outer, inner, ..] => Vlans { outer, inner },
    };
    let mut odds = Vec::new();
    if link.source()[0] & 1 == 1 {
        odds.push(Odd::SourceNotUnicast);
    }
    let net = match ethertype {
        0x0800 => Net::Ip(four(rest, &mut odds)?),
        0x86dd => Net::Ip(six(rest, &mut odds)?),
        0x0806 => arp(rest)?,
        length @ 0..0x600 if usize::from(length) > rest.len() => return Err(Unreadable::Truncated),
        length @ 0..0x600 => {
            let llc = &rest[..usize::from(length)];
            let ieee = link.destination() == [1, 0x80, 0xc2, 0, 0, 0] && llc.starts_with(b"\x42\x42\x03");
            let cisco = link.destination() == [1, 0, 0x0c, 0xcc, 0xcc, 0xcd]
                && llc.starts_with(b"\xaa\xaa\x03\0\0\x0c\x01\x0b");
            if ieee || cisco { Net::Bpdu } else { Net::Other }
        }
        0x600.. => Net::Other,
    };
    Ok(Facts {
        length: u32::try_from(frame.len()).unwrap(),
        dst_mac: Mac(link.destination()),
        src_mac: Mac(link.source()),
        vlans,
        ethertype,
        net,
        odd: odds.first().copied(),
    })
}

fn arp(rest: &[u8]) -> Result<Net, Unreadable> {
    if rest.len() < 8 {
        return Err(Unreadable::Truncated);
    }
    if rest[..6] != [0, 1, 8, 0, 6, 4] {
        return Ok(Net::Other);
    }
    let packet = etherparse::ArpPacketSlice::from_slice(rest).map_err(|_| Unreadable::Truncated)?;
    let address = |bytes: &[u8]| Ipv4Addr::from(<[u8; 4]>::try_from(bytes).unwrap());
    Ok(Net::Arp(Arp {
        operation: packet.operation().0,
        sender_mac: Mac(packet.sender_hw_addr().try_into().unwrap()),
        sender: address(packet.sender_protocol_addr()),
        target: address(packet.target_protocol_addr()),
    }))
}

fn four(rest: &[u8], odds: &mut Vec<Odd>) -> Result<Ip, Unreadable> {
    let total = |rest: &[u8]| usize::from(u16::from_be_bytes([rest[2], rest[3]]));
    let header = Ipv4HeaderSlice::from_slice(rest).map_err(|error| match error {
        HeaderSliceError::Content(HeaderError::UnexpectedVersion { .. }) => Unreadable::Version,
        HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { .. }) => {
            Unreadable::HeaderLength
        }
        HeaderSliceError::Len(_) if rest.len() < 20 => Unreadable::Truncated,
        HeaderSliceError::Len(_) if total(rest) < 20 || total(rest) > rest.len() => Unreadable::TotalLength,
        HeaderSliceError::Len(_) => Unreadable::HeaderLength,
    })?;
    let total = total(rest);
    if total < 20 || total > rest.len() {
        return Err(Unreadable::TotalLength);
    }
    if total < header.slice().len() {
        return Err(Unreadable::HeaderLength);
    }
    if !checksum_is_right(&header) {
        return Err(Unreadable::HeaderChecksum);
    }
    let options = header.options();
    let (mut at, mut routed) = (0, false);
    while at < options.len() && options[at] != 0 {
        if options[at] == 1 {
            at += 1;
            continue;
        }
        routed |= [7, 131, 137].contains(&options[at]);
        match options.get(at + 1) {
            Some(&length) if length >= 2 && at + usize::from(length) <= options.len() => {
                at += usize::from(length);
            }
            _ => return Err(Unreadable::HeaderLength),
        }
    }
    let payload = &rest[header.slice().len()..total];
    let offset = header.fragments_offset().byte_offset();
    if (header.more_fragments() || offset != 0) && header.dont_fragment() {
        return Err(Unreadable::FragmentInvalid);
    }
    let id = u32::from(header.identification());
    let before = header.slice().len();
    let fragment = piece(id, offset, header.more_fragments(), payload.len(), before)?;
    let mut ip = Ip {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        protocol: header.protocol().0,
        hop_limit: header.ttl(),
        fragment,
        l4: L4::Absent,
    };
    let mut upper_odds = Vec::new();
    ip.l4 = upper(&ip, payload, &mut upper_odds)?;
    odds.extend(addresses(&ip));
    odds.extend(routed.then_some(Odd::SourceRoute));
    odds.extend(upper_odds);
    odds.extend(link_local(&ip));
    Ok(ip)
}

/// Over the bytes: a decoded header forgets the reserved flag bit (and has one zero where one's
/// complement has two).
pub(super) fn checksum_is_right(header: &Ipv4HeaderSlice<'_>) -> bool {
    Sum16BitWords::new().add_slice(header.slice()).ones_complement() == 0
}

fn piece(id: u32, offset: u16, more: bool, length: usize, before: usize) -> Result<Fragment, Unreadable> {
    if offset == 0 && !more {
        return Ok(Fragment::Whole);
    }
    let beyond = before + usize::from(offset) + length > 65_535;
    if beyond || (more && !length.is_multiple_of(8)) || (offset > 0 && length == 0) {
        return Err(Unreadable::FragmentInvalid);
    }
    let length = u16::try_from(length).unwrap();
    if offset == 0 {
        Ok(Fragment::First { id, length })
    } else {
        Ok(Fragment::Later { id, offset, length, more })
    }
}

fn six(rest: &[u8], odds: &mut Vec<Odd>) -> Result<Ip, Unreadable> {
    if rest.len() < 40 {
        return Err(Unreadable::Truncated);
    }
    let header = Ipv6HeaderSlice::from_slice(rest).map_err(|_| Unreadable::Version)?;
    let length = usize::from(header.payload_length());
    if length == 0 && header.next_header().0 == 0 {
        return Err(Unreadable::Jumbogram);
    }
    let payload = rest.get(40..40 + length).ok_or(Unreadable::TotalLength)?;
    let chain = chain(header.next_header().0, payload)?;
    let mut ip = Ip {
        src: header.source_addr().into(),
        dst: header.destination_addr().into(),
        protocol: chain.protocol,
        hop_limit: header.hop_limit(),
        fragment: chain.fragment,
        l4: L4::Absent,
    };
    let mut upper_odds = Vec::new();
    ip.l4 = upper(&ip, chain.rest, &mut upper_odds)?;
    if let (true, L4::Icmp(icmp)) = (chain.fragmented, ip.l4)
        && [133, 134, 135, 136, 137, 148].contains(&icmp.kind)
    {
        return Err(Unreadable::FragmentNdp);
    }
    odds.extend(addresses(&ip));
    odds.extend(chain.routed.then_some(Odd::SourceRoute));
    odds.extend(upper_odds);
    odds.extend(link_local(&ip));
    Ok(ip)
}

struct Chain<'a> {
    protocol: u8,
    rest: &'a [u8],
    fragment: Fragment,
    fragmented: bool,
    routed: bool,
}

fn chain(first: u8, payload: &[u8]) -> Result<Chain<'_>, Unreadable> {
    let (fragment, fragmented, routed) = (Fragment::Whole, false, false);
    let mut chain = Chain { protocol: first, rest: payload, fragment, fragmented, routed };
    let mut seen = 0;
    while [0, 43, 44, 51, 60].contains(&chain.protocol) && !matches!(chain.fragment, Fragment::Later { .. })
    {
        let overrun = match chain.fragment {
            Fragment::First { .. } => Unreadable::FragmentTiny,
            Fragment::Whole | Fragment::Later { .. } => Unreadable::ExtensionHeader,
        };
        if seen == 8 || (chain.protocol == 0 && seen > 0) {
            return Err(Unreadable::ExtensionHeader);
        }
        seen += 1;
        let (length, next) = match chain.protocol {
            44 => {
                let header = Ipv6FragmentHeaderSlice::from_slice(chain.rest).map_err(|_| overrun)?;
                if chain.fragmented {
                    return Err(Unreadable::ExtensionHeader);
                }
                chain.fragmented = true;
                chain.fragment = piece(
                    header.identification(),
                    header.fragment_offset().byte_offset(),
                    header.more_fragments(),
                    chain.rest.len() - 8,
                    payload.len() - chain.rest.len(),
                )?;
                (8, header.next_header().0)
            }
            51 => {
                let header = IpAuthHeaderSlice::from_slice(chain.rest).map_err(|error| match error {
                    AuthError::Len(_) => overrun,
                    AuthError::Content(_) => Unreadable::ExtensionHeader,
                })?;
                (header.slice().len(), header.next_header().0)
            }
            kind => {
                let header = Ipv6RawExtHeaderSlice::from_slice(chain.rest).map_err(|_| overrun)?;
                if kind == 0 {
                    hop_by_hop(header.payload())?;
                }
                if kind == 43 && header.payload()[0] == 0 {
                    return Err(Unreadable::ExtensionHeader);
                }
                chain.routed |= kind == 43 && header.payload()[1] > 0;
                (header.slice().len(), header.next_header().0)
            }
        };
        (chain.protocol, chain.rest) = (next, &chain.rest[length..]);
    }
    Ok(chain)
}

fn hop_by_hop(options: &[u8]) -> Result<(), Unreadable> {
    let (mut at, mut count) = (0, 0);
    while at < options.len() {
        if count == 16 {
            return Err(Unreadable::ExtensionHeader);
        }
        count += 1;
        at += match (options[at], options.get(at + 1)) {
            (0, _) => 1,
            (0xc2, _) => return Err(Unreadable::Jumbogram),
            (_, Some(&length)) if at + 2 + usize::from(length) <= options.len() => 2 + usize::from(length),
            _ => return Err(Unreadable::ExtensionHeader),
        };
    }
    Ok(())
}

fn upper(ip: &Ip, bytes: &[u8], odds: &mut Vec<Odd>) -> Result<L4, Unreadable> {
    let first = match ip.fragment {
        Fragment::Whole => false,
        Fragment::First { .. } => true,
        Fragment::Later { offset, .. } if ip.protocol == 6 && offset < 24 => {
            return Err(Unreadable::FragmentTiny);
        }
        Fragment::Later { .. } => return Ok(L4::Absent),
    };
    let short = if first { Unreadable::FragmentTiny } else { Unreadable::Truncated };
    let v6 = ip.src.is_ipv6();
    match ip.protocol {
        6 => {
            let tcp = TcpSlice::from_slice(bytes).map_err(|error| match error {
                TcpError::Len(_) if bytes.len() < 20 || first => short,
                TcpError::Content(_) | TcpError::Len(_) => Unreadable::DataOffset,
            })?;
            let bits = tcp.header_slice()[13];
            let [fin, syn, rst, ack] = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.ack()];
            let none = !(fin || syn || rst || ack || tcp.psh() || tcp.urg());
            if none || (syn && fin) || (syn && rst) || (fin && !ack) {
                odds.push(Odd::TcpFlags);
            }
            if tcp.source_port() == 0 || tcp.destination_port() == 0 {
                odds.push(Odd::PortZero);
            }
            Ok(L4::Tcp(Tcp {
                sport: tcp.source_port(),
                dport: tcp.destination_port(),
                seq: tcp.sequence_number(),
                ack: tcp.acknowledgment_number(),
                flags: TcpFlags(bits),
                window: tcp.window_size(),
                payload: u16::try_from(tcp.payload().len()).unwrap(),
                scale: if syn { scale(tcp.options()) } else { None },
            }))
        }
        17 => {
            let udp = UdpHeaderSlice::from_slice(bytes).map_err(|_| short)?;
            let length = usize::from(udp.length());
            if (first && length <= bytes.len()) || (!first && length != bytes.len()) {
                return Err(Unreadable::UdpLength);
            }
            if udp.source_port() == 0 || udp.destination_port() == 0 {
                odds.push(Odd::PortZero);
            }
            let (sport, dport) = (udp.source_port(), udp.destination_port());
            Ok(L4::Udp { sport, dport, dhcp: !first && dhcp(v6, (sport, dport), &bytes[8..]) })
        }
        // etherparse has no SCTP. RFC 9260 §3.1: ports, verification tag, checksum.
        132 => {
            if bytes.len() < 12 {
                return Err(short);
            }
            let port = |at: usize| u16::from(bytes[at]) * 256 + u16::from(bytes[at + 1]);
            if port(0) == 0 || port(2) == 0 {
                odds.push(Odd::PortZero);
            }
            Ok(L4::Sctp { sport: port(0), dport: port(2) })
        }
        protocol if protocol == if v6 { 58 } else { 1 } => {
            if bytes.len() < 8 {
                return Err(short);
            }
            let (kind, code) = (bytes[0], bytes[1]);
            let asks: &[u8] =
                if v6 { &[128, 129, 160, 161] } else { &[0, 8, 13, 14, 15, 16, 17, 18, 42, 43] };
            let errors: &[u8] = if v6 { &[1, 2, 3, 4] } else { &[3, 4, 11, 12] };
            let id = asks.contains(&kind).then(|| u16::from_be_bytes([bytes[4], bytes[5]]));
            let quote = if errors.contains(&kind) { quote(v6, &bytes[8..]) } else { None };
            odds.extend((kind == if v6 { 137 } else { 5 }).then_some(Odd::Redirect));
            Ok(L4::Icmp(Icmp { kind, code, id, quote }))
        }
        _ if first && bytes.is_empty() => Err(Unreadable::FragmentTiny),
        _ => Ok(L4::Other),
    }
}

/// The last window scale before the end or a broken option.
fn scale(options: &[u8]) -> Option<u8> {
    let (mut at, mut scale) = (0, None);
    while at < options.len() && options[at] != 0 {
        if options[at] == 1 {
            at += 1;
            continue;
        }
        let Some(&length) = options.get(at + 1) else { break };
        let end = at + usize::from(length);
        if length < 2 || end > options.len() {
            break;
        }
        if options[at] == 3 && length == 3 {
            scale = Some(options[at + 2].min(14));
        }
        at = end;
    }
    // Where etherparse knows every option, it must see the same.
    let theirs: Result<Vec<_>, _> = etherparse::TcpOptionsIterator::from_slice(options).collect();
    if let Ok(theirs) = theirs {
        let last = theirs.iter().rev().find_map(|option| match option {
            TcpOptionElement::WindowScale(shift) => Some(*shift.min(&14)),
            _ => None,
        });
        assert_eq!(scale, last);
    }
    scale
}

fn quote(v6: bool, bytes: &[u8]) -> Option<Quote> {
    let (src, dst, protocol, rest): (IpAddr, IpAddr, u8, &[u8]) = if v6 {
        let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
        let chain = chain(header.next_header().0, &bytes[40..]).ok()?;
        if matches!(chain.fragment, Fragment::Later { .. }) {
            return None;
        }
        (header.source_addr().into(), header.destination_addr().into(), chain.protocol, chain.rest)
    } else {
        let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
        if header.fragments_offset().value() != 0 {
            return None;
        }
        let rest = &bytes[header.slice().len()..];
        (header.source_addr().into(), header.destination_addr().into(), header.protocol().0, rest)
    };
    let word = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    let bare = Quote { src, dst, protocol, sport: 0, dport: 0, seq: None };
    Some(match protocol {
        6 => {
            let seq = u32::from(word(4)?) << 16 | u32::from(word(6)?);
            Quote { sport: word(0)?, dport: word(2)?, seq: Some(seq), ..bare }
        }
        17 | 132 => Quote { sport: word(0)?, dport: word(2)?, ..bare },
        protocol if protocol == if v6 { 58 } else { 1 } => {
            let (id, kind) = (word(4)?, u16::from(rest[0]));
            let less = |number| id.wrapping_sub(number);
            match (v6, kind) {
                (true, 1..=4) | (false, 3 | 4 | 11 | 12) => return None,
                (true, 128) | (false, 8) => Quote { sport: id, dport: less(1), ..bare },
                (true, 129) | (false, 0) => Quote { sport: less(1), dport: id, ..bare },
                (false, 13 | 15 | 17) => Quote { sport: id, dport: less((kind - 9) / 2), ..bare },
                (false, 14 | 16 | 18) => Quote { sport: less((kind - 10) / 2), dport: id, ..bare },
                (true, 160) | (false, 42) => Quote { sport: id, dport: less(5), ..bare },
                (true, 161) | (false, 43) => Quote { sport: less(5), dport: id, ..bare },
                _ => bare,
            }
        }
        _ => bare,
    })
}

/// F1.6c–g and LAND by the standard library's predicates.
fn addresses(ip: &Ip) -> Option<Odd> {
    let group = match ip.src {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    };
    let reserved = [(ip.src, true), (ip.dst, false)].into_iter().any(|(address, source)| match address {
        IpAddr::V4(v4) if source && v4.is_unspecified() => !asks(ip),
        IpAddr::V4(v4) => v4.octets()[0] == 0 || (v4.octets()[0] >= 240 && !v4.is_broadcast()),
        IpAddr::V6(v6) if source && v6.is_unspecified() => !discovers(ip),
        IpAddr::V6(v6) => {
            !(global(v6) || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast())
        }
    });
    if group {
        Some(Odd::SourceNotUnicast)
    } else if ip.src.is_loopback() || ip.dst.is_loopback() {
        Some(Odd::Loopback)
    } else if reserved {
        Some(Odd::Reserved)
    } else if ip.src == ip.dst {
        Some(Odd::Land)
    } else {
        None
    }
}

fn global(v6: Ipv6Addr) -> bool {
    (0x2000..0x4000).contains(&v6.segments()[0])
}

/// DHCP by the letter: its bytes, then all its options in order.
fn dhcp(v6: bool, ports: (u16, u16), message: &[u8]) -> bool {
    let word = |at: usize| usize::from(message[at]) * 256 + usize::from(message[at + 1]);
    if v6 {
        let (types, mut at): (&[u8], usize) = match ports {
            (546, 547) => (&[1, 3, 4, 5, 6, 8, 9, 11], 4),
            (547, 546) => (&[2, 7, 10], 4),
            (547, 547) => (&[12, 13], 34),
            _ => return false,
        };
        let mut options = Vec::new();
        while at + 4 <= message.len() {
            options.push(word(at));
            at += 4 + word(at + 2);
        }
        return at == message.len()
            && types.contains(&message[0])
            && (1..=64).contains(&options.len())
            && (ports != (547, 547) || options.contains(&9));
    }
    let (asks, answers) = ([1, 3, 4, 7, 8, 10], [2, 5, 6, 9, 11, 12, 13]);
    let (up, down) = match ports {
        (68, 67) => (true, false),
        (67, 68) => (false, true),
        (67, 67) => (true, true),
        _ => return false,
    };
    if message.len() < 243 || message[236..240] != [99, 130, 83, 99] {
        return false;
    }
    let hardware = match (message[1], message[2]) {
        (0, _) => false,
        (1, length) => length == 6,
        (_, length) => length <= 16,
    };
    let mut at = 240;
    for _ in 0..64 {
        match message.get(at) {
            Some(0) => at += 1,
            Some(53) => {
                let [Some(1), Some(kind)] = [message.get(at + 1), message.get(at + 2)] else {
                    return false;
                };
                let way = match message[0] {
                    1 => up && asks.contains(kind),
                    2 => down && answers.contains(kind),
                    _ => false,
                };
                return hardware && way;
            }
            None | Some(255) => return false,
            Some(_) => match message.get(at + 1) {
                Some(length) => at += 2 + usize::from(*length),
                None => return false,
            },
        }
    }
    false
}

/// A client without an address asks everyone for one.
fn asks(ip: &Ip) -> bool {
    ip.dst == IpAddr::V4(Ipv4Addr::BROADCAST)
        && ip.fragment == Fragment::Whole
        && matches!(ip.l4, L4::Udp { dhcp: true, .. })
}

/// Duplicate address detection, router solicitation and MLD, to a group.
fn discovers(ip: &Ip) -> bool {
    let L4::Icmp(Icmp { kind, code: 0, .. }) = ip.l4 else { return false };
    let neighbour = (133..=136).contains(&kind) && ip.hop_limit == 255;
    let listener = [130, 131, 132, 143].contains(&kind) && ip.hop_limit == 1;
    ip.dst.is_multicast() && ip.fragment == Fragment::Whole && (neighbour || listener)
}

fn link_local(ip: &Ip) -> Option<Odd> {
    let local = |address| match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let housekeeping = match (ip.l4, ip.src, ip.fragment) {
        (L4::Udp { dhcp, .. }, _, Fragment::Whole) => dhcp,
        (L4::Icmp(Icmp { kind, code: 0, .. }), IpAddr::V6(src), Fragment::Whole) => {
            let own = src.is_unspecified() || src.is_unicast_link_local();
            ((133..=136).contains(&kind) && ip.hop_limit == 255)
                || ([130, 131, 132, 143].contains(&kind)
                    && ip.hop_limit == 1
                    && own
                    && ip.dst.is_multicast())
        }
        _ => false,
    };
    ((local(ip.src) || local(ip.dst)) && !housekeeping).then_some(Odd::LinkLocal)
}
