//! What a frame that cannot be read still shows of itself, for its record.
//!
//! What it is not: nothing is decided by it. A header is taken for one only where the ethertype and the
//! version agree that it is there; lengths and checksums are not held against anything. Cost: one pass over
//! the headers, for the few dropped frames that are recorded.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use super::{Mac, Service, Vlans, ethernet, ipv6};

/// Tags that are looked behind; a packet may have two.
const MOST_TAGS: usize = 4;
/// Extension headers that are looked behind; a packet may have eight.
const MOST_HEADERS: usize = 16;

/// As much of a frame's identity as can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glimpse {
    /// Source address of the frame; zero where it is cut.
    pub src_mac: Mac,
    /// Destination address of the frame.
    pub dst_mac: Mac,
    /// Its tags.
    pub vlans: Vlans,
    /// The ethertype behind them; 0 where that cannot be seen.
    pub ethertype: u16,
    /// Source and destination of its IP header.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// Protocol, and ports where they can be seen.
    pub service: Option<Service>,
}

/// Looks at a frame.
#[must_use]
pub fn glimpse(frame: &[u8]) -> Glimpse {
    let mac = |at: usize| {
        frame.get(at..).and_then(|rest| rest.first_chunk()).map_or(Mac::default(), |mac| Mac(*mac))
    };
    let mut seen = Glimpse {
        src_mac: mac(6),
        dst_mac: mac(0),
        vlans: Vlans::UNTAGGED,
        ethertype: 0,
        addresses: None,
        service: None,
    };
    let Some((_, rest)) = frame.split_first_chunk::<12>() else { return seen };
    let Some((vlans, ethertype, rest)) = tags(rest) else { return seen };
    (seen.vlans, seen.ethertype) = (vlans, ethertype);
    let packet = match ethertype {
        ethernet::IPV4 => v4(rest),
        ethernet::IPV6 => v6(rest),
        _ => None,
    };
    if let Some((addresses, service)) = packet {
        (seen.addresses, seen.service) = (Some(addresses), Some(service));
    }
    seen
}

/// The outer two tags, the ethertype behind all of them, and what follows.
fn tags(mut rest: &[u8]) -> Option<(Vlans, u16, &[u8])> {
    let mut ids = [Vlans::NONE; MOST_TAGS];
    let mut ids_left = ids.iter_mut();
    loop {
        let (kind, behind) = rest.split_first_chunk::<2>()?;
        let kind = u16::from_be_bytes(*kind);
        let (true, Some(id)) = (ethernet::TAGS.contains(&kind), ids_left.next()) else {
            let [outer, inner, ..] = ids;
            let priority_alone = (outer, inner) == (0, Vlans::NONE);
            let vlans = if priority_alone { Vlans::UNTAGGED } else { Vlans { outer, inner } };
            return Some((vlans, kind, behind));
        };
        let (tag, behind) = behind.split_first_chunk::<2>()?;
        *id = u16::from_be_bytes(*tag) & 0xfff;
        rest = behind;
    }
}

type Packet = ((IpAddr, IpAddr), Service);

fn v4(rest: &[u8]) -> Option<Packet> {
    let fixed = rest.first_chunk::<20>()?;
    let [first, _, _, _, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
    if first >> 4 != 4 {
        return None;
    }
    let src = Ipv4Addr::new(s0, s1, s2, s3).into();
    let dst = Ipv4Addr::new(d0, d1, d2, d3).into();
    let header = usize::from(first & 0x0f) * 4;
    let later = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
    let upper = if header >= 20 && !later { rest.get(header..) } else { None };
    Some(((src, dst), service(protocol, false, upper)))
}

fn v6(rest: &[u8]) -> Option<Packet> {
    let (fixed, rest) = rest.split_first_chunk::<40>()?;
    let ([first, _, _, _, _, _, next, _], addresses) = ipv6::split(fixed);
    if first >> 4 != 6 {
        return None;
    }
    let [src, dst] = addresses.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    Some(((src, dst), behind(next, rest)))
}

/// What stands behind the extension headers, be they in order or not, as far as they can be followed.
fn behind(mut next: u8, mut rest: &[u8]) -> Service {
    for _ in 0..MOST_HEADERS {
        if !ipv6::is_extension(next) {
            return service(next, true, Some(rest));
        }
        let [after, size, o0, o1, ..] = *rest else { break };
        let length = match next {
            ipv6::FRAGMENT => 8,
            ipv6::AUTHENTICATION => (usize::from(size) + 2) * 4,
            _ => (usize::from(size) + 1) * 8,
        };
        let Some(later) = rest.get(length..) else { break };
        if next == ipv6::FRAGMENT && u16::from_be_bytes([o0, o1]) & 0xfff8 != 0 {
            return service(after, true, None);
        }
        (next, rest) = (after, later);
    }
    service(next, true, None)
}

/// The ports that a rule would be asked about, if they are there.
fn service(protocol: u8, v6: bool, upper: Option<&[u8]>) -> Service {
    let hidden = Service { protocol, sport: 0, dport: 0, readable: false };
    let Some([a, b, c, d, ..]) = upper.and_then(|upper| upper.first_chunk::<4>()) else { return hidden };
    match (protocol, v6) {
        (TCP | UDP | SCTP, _) => Service {
            sport: u16::from_be_bytes([*a, *b]),
            dport: u16::from_be_bytes([*c, *d]),
            readable: true,
            ..hidden
        },
        (ICMP, false) | (ICMPV6, true) => {
            Service { dport: u16::from_be_bytes([*a, *b]), readable: true, ..hidden }
        }
        _ => hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;
    use crate::wire::samples::{Ends, every_kind};

    #[test]
    fn of_a_frame_that_can_be_read_it_shows_what_the_parser_does() {
        for (name, frame) in every_kind() {
            let (facts, seen) = (parse(&frame).unwrap(), glimpse(&frame));
            assert_eq!((seen.src_mac, seen.dst_mac), (facts.src_mac, facts.dst_mac), "{name}");
            assert_eq!((seen.vlans, seen.ethertype), (facts.vlans, facts.ethertype), "{name}");
            let crate::wire::Net::Ip(ip) = facts.net else {
                assert_eq!((seen.addresses, seen.service), (None, None), "{name}");
                continue;
            };
            assert_eq!(seen.addresses, Some((ip.src, ip.dst)), "{name}");
            let (told, said) = (seen.service.unwrap(), ip.service());
            assert_eq!(told.protocol, said.protocol, "{name}");
            if told.readable {
                assert_eq!(told, said, "{name}");
            }
        }
    }

    #[test]
    fn of_a_broken_one_it_shows_what_is_there() {
        let v4 = Ends::of("10.10.0.5", "10.20.0.9");
        let mut broken = v4.tcp(40_000, 443, 2, 1, 0, b"");
        broken[24] ^= 1;
        let tcp = Service { protocol: 6, sport: 40_000, dport: 443, readable: true };
        let whole = glimpse(&broken);
        assert_eq!((whole.addresses, whole.service), (Some((v4.src, v4.dst)), Some(tcp)));
        // Cut anywhere it shows less, and never something else.
        for length in 0..broken.len() {
            let seen = glimpse(&broken[..length]);
            let hidden = Service { sport: 0, dport: 0, readable: false, ..tcp };
            let service =
                [None, Some(hidden), Some(tcp)][usize::from(length >= 34) + usize::from(length >= 38)];
            assert_eq!((seen.service, seen.addresses), (service, service.map(|_| (v4.src, v4.dst))));
            assert_eq!(seen.ethertype, if length < 14 { 0 } else { 0x800 });
        }
        // The version says that it is no such header.
        let mut other = broken;
        other[14] = 0x65;
        assert_eq!((glimpse(&other).addresses, glimpse(&other).service), (None, None));
    }

    #[test]
    fn it_looks_behind_tags_and_headers_that_must_not_be() {
        let (v4, v6) = (Ends::of("10.10.0.5", "10.20.0.9"), Ends::of("2001:db8:10::5", "2001:db8:20::9"));
        let udp = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
        let told = |protocol| Service { protocol, sport: 40_000, dport: 53, readable: true };
        let hidden = |protocol| Service { protocol, sport: 0, dport: 0, readable: false };
        let two = Vlans { outer: 100, inner: 20 };
        let third = [&[0, 7, 0x08, 0x00][..], &v4.ip(17, &udp)[14..]].concat();
        let seen = glimpse(&v4.on(two).ethernet(0x8100, &third));
        assert_eq!((seen.vlans, seen.ethertype, seen.service), (two, 0x800, Some(told(17))));
        let routed = [&[17, 0, 0, 1, 0, 0, 0, 0][..], &udp].concat();
        assert_eq!(glimpse(&v6.ipv6(43, &routed)).service, Some(told(17)));
        let late = [&[17, 0, 0, 8, 0, 0, 0, 1][..], &udp].concat();
        assert_eq!(glimpse(&v6.ipv6(44, &late)).service, Some(hidden(17)));
        // One that overruns the packet, and more of them than anybody sends.
        assert_eq!(glimpse(&v6.ipv6(60, &[17, 9, 1, 4, 0, 0, 0, 0])).service, Some(hidden(60)));
        let endless = [60, 0, 1, 4, 0, 0, 0, 0].repeat(40);
        assert_eq!(glimpse(&v6.ipv6(60, &endless)).service, Some(hidden(60)));
        assert_eq!(glimpse(&v6.ipv6(60, &endless)).addresses, Some((v6.src, v6.dst)));
    }
}
