//! The packet that an ICMP error quotes.
//!
//! Lengths inside the quote are not held against anything: routers cut it where they like, but give at
//! least eight bytes of the upper layer (RFC 792, RFC 4443 §2.4). None when the flow it belongs to can't
//! be known: cut earlier, a later fragment, or itself an ICMP error, which is never answered by one
//! (RFC 1122 §3.2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use super::{Fragment, Icmp, Query, Quote, ipv6};

/// Reads an IPv4 quote.
pub(super) fn v4(bytes: &[u8]) -> Option<Quote> {
    let fixed = bytes.first_chunk::<20>()?;
    let [first, _, _, _, _, _, f0, f1, _, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = *fixed;
    let later = u16::from_be_bytes([f0, f1]) & 0x1fff != 0;
    if first >> 4 != 4 || first & 0x0f < 5 || later {
        return None;
    }
    let rest = bytes.get(usize::from(first & 0x0f) * 4..)?;
    let src = IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3));
    let dst = IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3));
    upper(src, dst, protocol, rest)
}

/// Reads an IPv6 quote.
pub(super) fn v6(bytes: &[u8]) -> Option<Quote> {
    let (fixed, rest) = bytes.split_first_chunk::<40>()?;
    let ([first, _, _, _, _, _, next, _], addresses) = ipv6::split(fixed);
    let chain = ipv6::walk(next, rest).ok()?;
    if first >> 4 != 6 || matches!(chain.fragment, Fragment::Later { .. }) {
        return None;
    }
    let [src, dst] = addresses.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    upper(src, dst, chain.protocol, chain.rest)
}

fn upper(src: IpAddr, dst: IpAddr, protocol: u8, rest: &[u8]) -> Option<Quote> {
    let v6 = src.is_ipv6();
    let mut quote = Quote { src, dst, protocol, sport: 0, dport: 0, seq: None };
    match (protocol, v6) {
        (TCP, _) => {
            let [s0, s1, d0, d1, q0, q1, q2, q3] = *rest.first_chunk::<8>()?;
            quote.sport = u16::from_be_bytes([s0, s1]);
            quote.dport = u16::from_be_bytes([d0, d1]);
            quote.seq = Some(u32::from_be_bytes([q0, q1, q2, q3]));
        }
        (UDP | SCTP, _) => {
            let [s0, s1, d0, d1] = *rest.first_chunk::<4>()?;
            quote.sport = u16::from_be_bytes([s0, s1]);
            quote.dport = u16::from_be_bytes([d0, d1]);
        }
        (ICMP, false) | (ICMPV6, true) => {
            let [kind, code, _, _, i0, i1] = *rest.first_chunk::<6>()?;
            let icmp = Icmp { kind, code, id: None, quote: None };
            if icmp.is_error(v6) {
                return None;
            }
            if let Some((query, asks)) = Query::of(kind, v6) {
                (quote.sport, quote.dport) = query.ports(u16::from_be_bytes([i0, i1]), asks);
            }
        }
        _ => {}
    }
    Some(quote)
}
