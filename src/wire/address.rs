//! Addresses that have no business on a wire (FIREWALL-REQUIREMENTS F1.6c–g, F1.7b).
//!
//! What F1.6g means here: IPv6 unicast outside `2000::/3` is [`Odd::Reserved`], except unique local
//! addresses (`fc00::/7`; which belong to this wire its networks say: `policy`) and link-local ones,
//! which have a reason of their own. Exempt as housekeeping: neighbour and router discovery with hop limit
//! 255 and MLD with hop limit 1, from `::` too; DHCPv6. In IPv4, DHCP from 0.0.0.0 to the broadcast
//! address. The broadcast address as a destination is a group, not a reserved address (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Housekeeping, Ip, L4, Odd};

/// What is odd about the addresses, link-local ones aside.
#[inline]
pub(super) fn odd(ip: &Ip) -> Option<Odd> {
    match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let ([s, ..], [d, ..]) = (src.octets(), dst.octets());
            let plain = |octet| matches!(octet, 1..=126 | 128..=223);
            if plain(s) && plain(d) {
                return if src == dst { Some(Odd::Land) } else { None };
            }
            v4(ip, src, dst)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let ([s, ..], [d, ..]) = (src.octets(), dst.octets());
            if s & 0xe0 == 0x20 && d & 0xe0 == 0x20 {
                return if src == dst { Some(Odd::Land) } else { None };
            }
            v6(ip, src, dst)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

#[inline(never)]
fn v4(ip: &Ip, src: Ipv4Addr, dst: Ipv4Addr) -> Option<Odd> {
    let reserved = |address: Ipv4Addr| matches!(address.octets(), [0 | 240.., ..]);
    if src.is_multicast() || src.is_broadcast() {
        Some(Odd::SourceNotUnicast)
    } else if src.is_loopback() || dst.is_loopback() {
        Some(Odd::Loopback)
    } else if dst.is_broadcast() {
        // A server answers from an address of its own (RFC 2131 §4.1).
        let to_server = matches!(ip.l4, L4::Udp { dport: 67, .. });
        let asks = src.is_unspecified() && to_server && ip.housekeeping() == Some(Housekeeping::Dhcp);
        if reserved(src) && !asks { Some(Odd::Reserved) } else { None }
    } else if reserved(src) || reserved(dst) {
        Some(Odd::Reserved)
    } else {
        // A multicast destination; the source is unicast, so they differ.
        None
    }
}

#[inline(never)]
fn v6(ip: &Ip, src: Ipv6Addr, dst: Ipv6Addr) -> Option<Odd> {
    let reserved = |address: Ipv6Addr| {
        let [a, b, ..] = address.octets();
        let known = a & 0xe0 == 0x20 || a & 0xfe == 0xfc || (a == 0xfe && b & 0xc0 == 0x80) || a == 0xff;
        !known
    };
    if src.is_multicast() {
        Some(Odd::SourceNotUnicast)
    } else if src.is_loopback() || dst.is_loopback() {
        Some(Odd::Loopback)
    } else if src.is_unspecified() && dst.is_multicast() && ip.housekeeping() == Some(Housekeeping::Ndp) {
        None
    } else if reserved(src) || reserved(dst) {
        Some(Odd::Reserved)
    } else if src == dst {
        Some(Odd::Land)
    } else {
        None
    }
}

/// Whether a link-local address is used beyond housekeeping.
#[inline]
pub(super) fn link_local(ip: &Ip) -> Option<Odd> {
    let local = is_link_local(ip.src) || is_link_local(ip.dst);
    if local && ip.housekeeping().is_none() { Some(Odd::LinkLocal) } else { None }
}

/// A link-local address: of one link only, and so of no side of a wire (RFC 3927, RFC 4291 §2.5.6).
#[inline]
#[must_use]
pub const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [169, 254, ..]),
        IpAddr::V6(v6) => matches!(v6.octets(), [0xfe, 0x80..=0xbf, ..]),
    }
}
