//! The flow key: one for both directions of a connection, and the service a rule is asked about.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use super::{Facts, Ip, L4, Net, Quote, Vlans};

/// The service of a packet as a rule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Protocol number.
    pub protocol: u8,
    /// Source port; 0 where there is none.
    pub sport: u16,
    /// Destination port; ICMP: type × 256 + code; 0 where there is none.
    pub dport: u16,
    /// False when the ports can't be read (a later fragment): modes then take the strictest.
    pub readable: bool,
}

/// The key of a flow: the smaller (address, port) is `a`, so both directions give the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Smaller end: the address as a number, most significant byte first on the wire. IPv4 addresses stand
    /// in the top four bytes, the rest is zero.
    pub a: u128,
    /// Larger end.
    pub b: u128,
    /// Port of `a`; ICMP echo: the identifier if `a` asks, else its complement; 0 where there is none.
    pub port_a: u16,
    /// Port of `b`.
    pub port_b: u16,
    /// Tags of the frame.
    pub vlans: Vlans,
    /// Protocol number.
    pub protocol: u8,
    /// IPv6.
    pub v6: bool,
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V6(v6) => u128::from(v6),
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
    }
}

impl Hash for Key {
    /// Writes one block: 16 bytes for IPv4, 40 for IPv6. A keyed hash over it is what a table wants; the
    /// two lengths keep the families apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let rest = u64::from(self.port_a) << 48
            | u64::from(self.port_b) << 32
            | u64::from(self.vlans.outer & 0xfff) << 20
            | u64::from(self.vlans.inner & 0xfff) << 8
            | u64::from(self.protocol);
        if self.v6 {
            let mut block = [0; 40];
            let (a, bc) = block.split_at_mut(16);
            let (b, c) = bc.split_at_mut(16);
            a.copy_from_slice(&self.a.to_ne_bytes());
            b.copy_from_slice(&self.b.to_ne_bytes());
            c.copy_from_slice(&rest.to_ne_bytes());
            state.write(&block);
        } else {
            let ends = (self.a >> 64) | (self.b >> 96);
            state.write(&(ends << 64 | u128::from(rest)).to_ne_bytes());
        }
    }
}

impl Key {
    /// The key of a packet from `src` to `dst`, and whether `src` is the end `a`.
    #[must_use]
    pub fn new(
        src: IpAddr,
        dst: IpAddr,
        sport: u16,
        dport: u16,
        protocol: u8,
        vlans: Vlans,
    ) -> (Self, bool) {
        let (s, d) = (number(src), number(dst));
        let from_a = (s, sport) <= (d, dport);
        let v6 = src.is_ipv6();
        let key = if from_a {
            Self { a: s, b: d, port_a: sport, port_b: dport, vlans, protocol, v6 }
        } else {
            Self { a: d, b: s, port_a: dport, port_b: sport, vlans, protocol, v6 }
        };
        (key, from_a)
    }
}

/// What stands for the ports of an ICMP echo: the asker's is the identifier, the answerer's its
/// complement. Two hosts that ping each other with the same identifier have two flows (docs/adr/0004).
pub(super) const fn echo_ports(id: u16, request: bool) -> (u16, u16) {
    if request { (id, !id) } else { (!id, id) }
}

impl Ip {
    /// Ports for the flow key. An echo has its identifier at the asker and the complement at the answerer.
    #[must_use]
    pub const fn key_ports(&self) -> (u16, u16) {
        match self.l4 {
            L4::Tcp(tcp) => (tcp.sport, tcp.dport),
            L4::Udp { sport, dport } => (sport, dport),
            L4::Icmp(icmp) => match icmp.id {
                Some(id) => echo_ports(id, icmp.is_echo_request(self.src.is_ipv6())),
                None => (0, 0),
            },
            L4::Other | L4::Absent => (0, 0),
        }
    }

    /// The service a rule is asked about.
    #[must_use]
    pub const fn service(&self) -> Service {
        let (sport, dport) = match self.l4 {
            L4::Tcp(tcp) => (tcp.sport, tcp.dport),
            L4::Udp { sport, dport } => (sport, dport),
            L4::Icmp(icmp) => (0, u16::from_be_bytes([icmp.kind, icmp.code])),
            L4::Other | L4::Absent => (0, 0),
        };
        Service { protocol: self.protocol, sport, dport, readable: !matches!(self.l4, L4::Absent) }
    }
}

impl Facts {
    /// The flow key and whether the sender is the end `a`; none without IP addresses.
    #[must_use]
    pub fn key(&self) -> Option<(Key, bool)> {
        let Net::Ip(ip) = &self.net else { return None };
        let (sport, dport) = ip.key_ports();
        Some(Key::new(ip.src, ip.dst, sport, dport, ip.protocol, self.vlans))
    }
}

impl Quote {
    /// The key of the flow that the quoted packet belongs to, and whether its sender is the end `a`.
    #[must_use]
    pub fn key(&self, vlans: Vlans) -> (Key, bool) {
        Key::new(self.src, self.dst, self.sport, self.dport, self.protocol, vlans)
    }
}
