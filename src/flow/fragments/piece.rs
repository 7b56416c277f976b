//! A fragment as the memory sees it: whose it is, where it lies, and the ports if it is the first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::pool::Hashed;
use super::spans::Span;
use crate::flow::Source;
use crate::wire::{Facts, Fragment, Ip, Key, L4, Net, Service, Side, Vlans};
use siphasher::sip::SipHasher13;

/// The protocol number that stands for all IPv6 datagrams: the fragment header's.
const ANY_V6: u8 = 44;

/// What makes fragments belong together: VLANs, both addresses, the identification, for IPv4 the
/// protocol (RFC 791 §3.2), and the side they come from, so that nobody on the other side can spoil a
/// datagram.
///
/// An IPv6 datagram is known without its protocol (RFC 8200 §4.5): the next header of a later fragment
/// may differ from the first one's and says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DatagramKey {
    /// IPv4 addresses stand in the first four bytes, the rest is zero.
    src: [u8; 16],
    dst: [u8; 16],
    id: u32,
    vlans: Vlans,
    protocol: u8,
    v6: bool,
    side: Side,
}

impl DatagramKey {
    /// A place in the memory where no datagram stands.
    pub(super) const NOTHING: Self = Self {
        src: [0; 16],
        dst: [0; 16],
        id: 0,
        vlans: Vlans::UNTAGGED,
        protocol: 0,
        v6: false,
        side: Side::Outside,
    };

    /// The key of the datagram that `ip`, a fragment with this identification, belongs to.
    #[must_use]
    pub fn new(ip: &Ip, id: u32, vlans: Vlans, side: Side) -> Self {
        let (v6, protocol) = match ip.src {
            IpAddr::V4(_) => (false, ip.protocol),
            IpAddr::V6(_) => (true, ANY_V6),
        };
        Self { src: octets(ip.src), dst: octets(ip.dst), id, vlans, protocol, v6, side }
    }

    /// The key whose owner remembers the datagram: addresses, VLANs and protocol, without ports; for IPv6
    /// the protocol is the fragment header's. One for all datagrams of two hosts, in both directions.
    #[must_use]
    pub fn owner_key(&self) -> Key {
        Key::new(self.address(self.src), self.address(self.dst), 0, 0, self.protocol, self.vlans).0
    }

    /// Who sends it.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::of(self.address(self.src), self.vlans)
    }

    fn address(&self, octets: [u8; 16]) -> IpAddr {
        if self.v6 {
            return IpAddr::V6(Ipv6Addr::from(octets));
        }
        let [a, b, c, d, ..] = octets;
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(v6) => v6.octets(),
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96).to_be_bytes(),
    }
}

impl Hashed for DatagramKey {
    /// 16 bytes for IPv4, 41 for IPv6: the two lengths keep the families apart.
    fn hashed(&self, sip: &SipHasher13) -> u64 {
        let rest = u64::from(self.id) << 32
            | u64::from(self.vlans.outer & 0xfff) << 20
            | u64::from(self.vlans.inner & 0xfff) << 8;
        if self.v6 {
            let mut block = [0; 41];
            let (src, after) = block.split_at_mut(16);
            let (dst, after) = after.split_at_mut(16);
            let (number, side) = after.split_at_mut(8);
            src.copy_from_slice(&self.src);
            dst.copy_from_slice(&self.dst);
            number.copy_from_slice(&rest.to_ne_bytes());
            side.copy_from_slice(&[self.side as u8]);
            return sip.hash(&block);
        }
        let ([s0, s1, s2, s3, ..], [d0, d1, d2, d3, ..]) = (self.src, self.dst);
        let ends = u64::from_ne_bytes([s0, s1, s2, s3, d0, d1, d2, d3]);
        // An IPv4 identification has 16 bits: the top 16 hold protocol and side.
        let rest = rest ^ u64::from(self.protocol) << 56 ^ u64::from(self.side as u8) << 48;
        sip.hash(&(u128::from(ends) << 64 | u128::from(rest)).to_ne_bytes())
    }
}

/// What a first fragment tells of its datagram: enough to find the flow and to ask the rules, never what
/// they answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Ports {
    /// As in the flow's key; of an ICMP question or answer its identifier stands for them.
    key: [u16; 2],
    /// As the rules see them; ICMP: 0 and type × 256 + code.
    service: [u16; 2],
    protocol: u8,
}

impl Ports {
    /// Nothing known yet.
    pub(super) const NONE: Self = Self { key: [0; 2], service: [0; 2], protocol: 0 };

    /// Those of a packet whose upper layer can be read.
    #[must_use]
    pub fn of(ip: &Ip) -> Self {
        let (sport, dport) = ip.key_ports();
        let service = ip.service();
        Self { key: [sport, dport], service: [service.sport, service.dport], protocol: service.protocol }
    }

    /// The service a rule is asked about.
    #[must_use]
    pub const fn service(&self) -> Service {
        let [sport, dport] = self.service;
        Service { protocol: self.protocol, sport, dport, readable: true }
    }

    /// The upper layer of a later fragment, as far as it is remembered.
    #[must_use]
    pub const fn l4(&self) -> L4 {
        L4::Remembered { key: self.key, service: self.service }
    }

    /// The protocol behind all extension headers.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The key of the flow that a fragment from `src` to `dst` belongs to, and whether `src` is the end
    /// `a`.
    #[must_use]
    pub fn key(&self, src: IpAddr, dst: IpAddr, vlans: Vlans) -> (Key, bool) {
        let [sport, dport] = self.key;
        Key::new(src, dst, sport, dport, self.protocol, vlans)
    }
}

/// Where in its datagram a fragment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At its beginning, with what it tells; more follow.
    First(Ports),
    /// Behind the first.
    Later {
        /// Offset in bytes.
        offset: u16,
        /// More fragments follow.
        more: bool,
    },
}

/// One fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The datagram it belongs to.
    pub datagram: DatagramKey,
    /// Bytes of the datagram in it.
    pub length: u16,
    /// Where they belong.
    pub position: Position,
}

impl Piece {
    /// The fragment that a frame from `side` holds; none if it holds a whole packet or no IP packet.
    #[must_use]
    pub fn of(facts: &Facts, side: Side) -> Option<Self> {
        let Net::Ip(ip) = &facts.net else { return None };
        let (id, length, position) = match ip.fragment {
            Fragment::Whole => return None,
            Fragment::First { id, length } => (id, length, Position::First(Ports::of(ip))),
            Fragment::Later { id, offset, length, more } => (id, length, Position::Later { offset, more }),
        };
        Some(Self { datagram: DatagramKey::new(ip, id, facts.vlans, side), length, position })
    }

    /// Its bytes; none for what cannot be a fragment.
    pub(super) fn span(&self) -> Option<Span> {
        let span = match self.position {
            Position::First(_) => Span::new(0, self.length)?,
            Position::Later { offset: 0, .. } => return None,
            Position::Later { offset, .. } => Span::new(offset, self.length)?,
        };
        (!self.more() || span.end().is_multiple_of(8)).then_some(span)
    }

    /// More fragments follow.
    pub(super) const fn more(&self) -> bool {
        match self.position {
            Position::First(_) => true,
            Position::Later { more, .. } => more,
        }
    }
}
