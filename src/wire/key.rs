//! The flow key: one for both directions of a connection, and the service a rule is asked about.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};

use super::{Facts, Ip, L4, Net, Query, Quote, Vlans};

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
///
/// Its words are the bytes of a flow's entry (FLOWS.md §1): addresses and ports as on the wire, VLAN ids
/// and protocol as one number of 12 + 12 + 8 bits in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// IPv4: a, b in the first word, the others 0. IPv6: a in two words, b in two.
    ends: [u64; 4],
    /// Port of a, port of b, VLAN ids and protocol.
    tail: u64,
    v6: bool,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, rest @ ..] = self.ends;
        state.write_u64(first);
        state.write_u64(self.tail);
        if self.v6 {
            for word in rest {
                state.write_u64(word);
            }
        }
    }
}

/// VLAN ids in their place before a protocol number.
#[inline]
pub(super) const fn tags(vlans: Vlans) -> u32 {
    (vlans.outer as u32 & 0xfff) << 20 | (vlans.inner as u32 & 0xfff) << 8
}

/// The last word of a key. `ports` as they lie on the wire, a's first; tags as [`tags`] has them.
#[inline]
pub(super) const fn tail(ports: u32, tags: u32, protocol: u8) -> u64 {
    let (ports, tags) = (ports as u64, tags as u64 | protocol as u64);
    if cfg!(target_endian = "little") { ports | tags << 32 } else { ports << 32 | tags }
}

impl Key {
    /// The key of a packet from `src` to `dst`, and whether `src` is the end `a`. For an ICMP question or
    /// answer its identifier stands for the ports; 0 where there are none.
    #[must_use]
    #[inline]
    pub fn new(
        src: IpAddr,
        dst: IpAddr,
        sport: u16,
        dport: u16,
        protocol: u8,
        vlans: Vlans,
    ) -> (Self, bool) {
        let from_a = match (src, dst) {
            // One comparison of numbers: the derived order costs 35 instructions more.
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let end =
                    |address: Ipv4Addr, port: u16| u64::from(address.to_bits()) << 16 | u64::from(port);
                end(src, sport) <= end(dst, dport)
            }
            (src, dst) => (src, sport) <= (dst, dport),
        };
        let (a, b, port_a, port_b) =
            if from_a { (src, dst, sport, dport) } else { (dst, src, dport, sport) };
        let ([a0, a1], [b0, b1]) = (port_a.to_be_bytes(), port_b.to_be_bytes());
        let tail = tail(u32::from_ne_bytes([a0, a1, b0, b1]), tags(vlans), protocol);
        let (ends, v6) = match (a, b) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a.octets(), b.octets());
                ([u64::from_ne_bytes([a0, a1, a2, a3, b0, b1, b2, b3]), 0, 0, 0], false)
            }
            // An end of the other family does not occur in a packet; it would stand as a mapped address.
            (a, b) => {
                let ([a0, a1], [b0, b1]) = (halves(a), halves(b));
                ([a0, a1, b0, b1], true)
            }
        };
        (Self { ends, tail, v6 }, from_a)
    }

    /// The key with these words, as [`Self::words`] gives them.
    #[must_use]
    #[inline]
    pub const fn from_words(ends: [u64; 4], tail: u64, v6: bool) -> Self {
        Self { ends, tail, v6 }
    }

    /// Addresses (IPv4: the first word alone), and ports with tags and protocol.
    #[must_use]
    #[inline]
    pub const fn words(&self) -> ([u64; 4], u64) {
        (self.ends, self.tail)
    }

    /// IPv6.
    #[must_use]
    #[inline]
    pub const fn is_v6(&self) -> bool {
        self.v6
    }

    /// Protocol number.
    #[must_use]
    #[inline]
    pub const fn protocol(&self) -> u8 {
        let [protocol, ..] = self.tags().to_le_bytes();
        protocol
    }

    /// Tags of the frame.
    #[must_use]
    pub fn vlans(&self) -> Vlans {
        let id = |shift: u32| u16::try_from(self.tags() >> shift & 0xfff).unwrap_or(Vlans::NONE);
        Vlans { outer: id(20), inner: id(8) }
    }

    const fn tags(&self) -> u32 {
        let [_, _, _, _, t0, t1, t2, t3] = self.tail.to_ne_bytes();
        u32::from_ne_bytes([t0, t1, t2, t3])
    }

    /// Address and port of both ends, `a` first.
    #[must_use]
    pub fn ends(&self) -> [(IpAddr, u16); 2] {
        let (a, b) = self.sender_first(true);
        [a, b]
    }

    /// Address and port of who sends and who receives, where `a` sends or the other end does.
    #[inline]
    #[must_use]
    pub fn sender_first(&self, from_a: bool) -> ((IpAddr, u16), (IpAddr, u16)) {
        // Turned as words: an address is moved byte by byte once it is one.
        let [a0, a1, b0, b1, ..] = self.tail.to_ne_bytes();
        let ports = u32::from_be_bytes([a0, a1, b0, b1]);
        let [s0, s1, d0, d1] = (if from_a { ports } else { ports.rotate_left(16) }).to_be_bytes();
        let (sport, dport) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        let [w0, w1, w2, w3] = self.ends;
        if self.v6 {
            let [s0, s1, d0, d1] = if from_a { [w0, w1, w2, w3] } else { [w2, w3, w0, w1] };
            let join = |high: u64, low: u64| {
                let octets: [u8; 16] = zerocopy::transmute!([high, low]);
                IpAddr::V6(octets.into())
            };
            ((join(s0, s1), sport), (join(d0, d1), dport))
        } else {
            let [s0, s1, s2, s3, d0, d1, d2, d3] =
                (if from_a { w0 } else { w0.rotate_left(32) }).to_ne_bytes();
            ((Ipv4Addr::new(s0, s1, s2, s3).into(), sport), (Ipv4Addr::new(d0, d1, d2, d3).into(), dport))
        }
    }

    /// Of the address of `a` or of the other end what a source is known by, the address or its first half as they
    /// lie on the wire, and the VLAN ids in their place before a protocol number.
    #[must_use]
    #[inline]
    pub const fn source_words(&self, is_a: bool) -> (u64, u32) {
        let [w0, _, w2, _] = self.ends;
        let [a0, a1, a2, a3, b0, b1, b2, b3] = w0.to_ne_bytes();
        let first = match (self.v6, is_a) {
            (true, true) => w0,
            (true, false) => w2,
            (false, true) => u32::from_ne_bytes([a0, a1, a2, a3]) as u64,
            (false, false) => u32::from_ne_bytes([b0, b1, b2, b3]) as u64,
        };
        (first, self.tags() & !0xff)
    }
}

/// An address as two words of a key.
fn halves(address: IpAddr) -> [u64; 2] {
    let address = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    zerocopy::transmute!(address.octets())
}

impl Ip {
    /// Ports for the flow key. An ICMP question or answer has what stands for them.
    #[must_use]
    pub const fn key_ports(&self) -> (u16, u16) {
        match self.l4 {
            L4::Tcp(tcp) => (tcp.sport, tcp.dport),
            L4::Udp { sport, dport, .. } | L4::Sctp { sport, dport } => (sport, dport),
            L4::Icmp(icmp) => match (icmp.id, Query::of(icmp.kind, self.src.is_ipv6())) {
                (Some(id), Some((query, asks))) => query.ports(id, asks),
                (Some(_) | None, _) => (0, 0),
            },
            L4::Remembered { key: [source, target], .. } => (source, target),
            L4::Other | L4::Absent => (0, 0),
        }
    }

    /// The service a rule is asked about.
    #[must_use]
    pub const fn service(&self) -> Service {
        let (sport, dport) = match self.l4 {
            L4::Tcp(tcp) => (tcp.sport, tcp.dport),
            L4::Udp { sport, dport, .. } | L4::Sctp { sport, dport } => (sport, dport),
            L4::Icmp(icmp) => (0, u16::from_be_bytes([icmp.kind, icmp.code])),
            L4::Remembered { service: [source, target], .. } => (source, target),
            L4::Other | L4::Absent => (0, 0),
        };
        Service { protocol: self.protocol, sport, dport, readable: !matches!(self.l4, L4::Absent) }
    }
}

impl Facts {
    /// The flow key and whether the sender is the end `a`; none without IP addresses.
    #[must_use]
    #[inline]
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
