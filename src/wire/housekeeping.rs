//! Frames that the `[profile]` decides, not the rules.

use std::net::IpAddr;

use super::address::is_link_local;
use super::{Facts, Fragment, Housekeeping, Ip, L4, Net, ethernet};

impl Facts {
    /// Whether the `[profile]` decides this frame, and under which name. `None`: the rules do.
    #[must_use]
    #[inline]
    pub fn housekeeping(&self) -> Option<Housekeeping> {
        match self.net {
            Net::Ip(ip) => ip.housekeeping(),
            Net::Arp(_) => Some(Housekeeping::Arp),
            Net::Bpdu => Some(Housekeeping::Stp),
            Net::Other => Some(match self.ethertype {
                ethernet::LLDP => Housekeeping::Lldp,
                ethernet::LACP => Housekeeping::Lacp,
                _ => Housekeeping::Other,
            }),
        }
    }
}

impl Ip {
    /// Neighbour discovery, MLD and DHCP. Each is judged as a whole packet only, so that no fragment
    /// passes under its name.
    ///
    /// Discovery: code 0 and hop limit 255, so it was not routed (RFC 4861 §7.1). MLD: hop limit 1, from a
    /// link-local address or from `::`, to a group (RFC 3810 §5.1.14, §5.1.15, §5.2.13, §5.2.14): to one host it
    /// would carry anything past the rules. DHCP: a message in its form ([`super::dhcp`]), client to server,
    /// server to client, relay to server or back; rules are asked about anything else between these ports.
    #[must_use]
    #[inline]
    pub fn housekeeping(&self) -> Option<Housekeeping> {
        match (self.l4, self.src) {
            (L4::Udp { dhcp: true, .. }, _) => Some(Housekeeping::Dhcp),
            (L4::Icmp(icmp), IpAddr::V6(src)) if self.fragment == Fragment::Whole => {
                let to_group = self.dst.is_multicast();
                match (icmp.kind, icmp.code, self.hop_limit) {
                    (133..=136, 0, 255) => Some(Housekeeping::Ndp),
                    (130..=132 | 143, 0, 1)
                        if to_group && (src.is_unspecified() || is_link_local(self.src)) =>
                    {
                        Some(Housekeeping::Ndp)
                    }
                    _ => None,
                }
            }
            (
                L4::Tcp(_)
                | L4::Udp { .. }
                | L4::Sctp { .. }
                | L4::Icmp(_)
                | L4::Other
                | L4::Absent
                | L4::Remembered { .. },
                _,
            ) => None,
        }
    }
}
