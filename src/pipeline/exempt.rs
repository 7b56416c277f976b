//! What IPv6 and DHCP live on although the letter of the drop cases speaks against its addresses
//! (FIREWALL-REQUIREMENTS F1.6f, F1.6g): each exemption has a name and a counter.
//!
//! What it is: the name of the exemption that a packet crosses by. What it is not: a verdict; it is asked about
//! packets that cross. Of a connection its first packet is counted, of everything else each. Cost: nothing for
//! a packet of a known flow, a look at both addresses for one that opens a flow.

use std::net::IpAddr;

use crate::wire::{Housekeeping, Ip, L4, is_link_local};

/// Why a packet crosses with an unspecified address, or IPv6 unicast outside `2000::/3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exempt {
    /// Neighbour or router discovery with hop limit 255.
    Discovery,
    /// The same from `::`: duplicate address detection.
    Detection,
    /// Multicast listener discovery with hop limit 1.
    Listener,
    /// DHCP from 0.0.0.0, DHCPv6 between link-local addresses.
    Dhcp,
    /// A unique local address that a network of the wire lists.
    UniqueLocal,
    /// A link-local address, where `[gate] link_local` forwards it.
    LinkLocal,
}

impl Exempt {
    /// All of them, in counter order.
    pub const ALL: [Self; 6] =
        [Self::Discovery, Self::Detection, Self::Listener, Self::Dhcp, Self::UniqueLocal, Self::LinkLocal];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovery => "ndp",
            Self::Detection => "dad",
            Self::Listener => "mld",
            Self::Dhcp => "dhcp",
            Self::UniqueLocal => "unique_local",
            Self::LinkLocal => "link_local",
        }
    }

    /// In words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Discovery => "neighbour or router discovery with a link-local address or none",
            Self::Detection => "duplicate address detection",
            Self::Listener => "multicast listener discovery",
            Self::Dhcp => "DHCP with a link-local address or none",
            Self::UniqueLocal => "a flow of a unique local address that a network lists",
            Self::LinkLocal => "a flow of a link-local address",
        }
    }

    /// Index into a counter array.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The exemption that a packet of a connection, or one that is judged by itself, crosses by, if it needs one.
    #[must_use]
    pub fn of_connection(ip: &Ip) -> Option<Self> {
        if is_ordinary(ip) {
            return None;
        }
        let link_local = is_link_local(ip.src) || is_link_local(ip.dst);
        Some(if link_local { Self::LinkLocal } else { Self::UniqueLocal })
    }

    /// The same of housekeeping of this class.
    #[must_use]
    pub fn of_housekeeping(ip: &Ip, class: Housekeeping) -> Option<Self> {
        if is_ordinary(ip) {
            return None;
        }
        match (class, ip.l4) {
            (Housekeeping::Ndp, L4::Icmp(icmp)) if matches!(icmp.kind, 133..=136) => {
                let detects = icmp.kind == 135 && ip.src.is_unspecified();
                Some(if detects { Self::Detection } else { Self::Discovery })
            }
            (Housekeeping::Ndp, _) => Some(Self::Listener),
            (Housekeeping::Dhcp, _) => Some(Self::Dhcp),
            // None of these has IP addresses.
            (
                Housekeeping::Arp
                | Housekeeping::Lldp
                | Housekeeping::Stp
                | Housekeeping::Lacp
                | Housekeeping::Other,
                _,
            ) => None,
        }
    }
}

/// Nothing is said by the letter against either end: a group, IPv4 but 0.0.0.0, IPv6 within `2000::/3`.
fn is_ordinary(ip: &Ip) -> bool {
    let ordinary = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !is_link_local(*address),
        IpAddr::V6(v6) => matches!(v6.octets(), [0x20..=0x3f | 0xff, ..]),
    };
    ordinary(&ip.src) && ordinary(&ip.dst)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{Ends, dhcp, dhcp_v6};
    use crate::wire::{Net, parse};

    #[test]
    fn every_exemption_has_its_name() {
        let of = |frame: &[u8]| match parse(frame).expect("readable").net {
            Net::Ip(ip) => match ip.housekeeping() {
                Some(class) => Exempt::of_housekeeping(&ip, class),
                None => Exempt::of_connection(&ip),
            }
            .map(Exempt::name),
            Net::Arp(_) | Net::Bpdu | Net::Other => None,
        };
        let ends = Ends::of;
        for (frame, expected) in [
            (ends("2001:db8:10::5", "2001:db8:20::9").ndp_solicit(), None),
            (ends("fe80::5", "2001:db8:20::9").ndp_solicit(), Some("ndp")),
            (ends("fe80::5", "ff02::2").hops(255).icmp(133, 0, [0; 4], &[]), Some("ndp")),
            (ends("::", "ff02::2").hops(255).icmp(133, 0, [0; 4], &[]), Some("ndp")),
            (ends("::", "fe80::9").ndp_solicit(), Some("dad")),
            (ends("::", "ff02::16").hops(1).icmp(143, 0, [0; 4], &[]), Some("mld")),
            (ends("fe80::5", "ff02::16").hops(1).icmp(131, 0, [0; 4], &[]), Some("mld")),
            (ends("0.0.0.0", "255.255.255.255").udp(68, 67, &dhcp(1)), Some("dhcp")),
            (ends("10.10.0.5", "10.20.0.9").udp(68, 67, &dhcp(3)), None),
            (ends("fe80::5", "ff02::1:2").udp(546, 547, &dhcp_v6(1)), Some("dhcp")),
            (ends("fd00:10::5", "2001:db8:20::9").udp(1, 2, b"x"), Some("unique_local")),
            (ends("2001:db8:20::9", "fd00:10::5").udp(1, 2, b"x"), Some("unique_local")),
            (ends("fe80::5", "fd00:10::5").udp(1, 2, b"x"), Some("link_local")),
            (ends("169.254.0.1", "10.20.0.9").udp(1, 2, b"x"), Some("link_local")),
            (ends("10.10.0.5", "224.0.0.5").udp(1, 2, b"x"), None),
            (ends("2001:db8:10::5", "ff0e::5").udp(1, 2, b"x"), None),
        ] {
            assert_eq!(of(&frame), expected, "{frame:02x?}");
        }
    }
}
