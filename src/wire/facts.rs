//! What the parser says about a frame. Fixed size, `Copy`, no borrow of the frame.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six two-digit hexadecimal bytes joined by colons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an Ethernet address is six bytes like 02:00:00:20:00:10")]
pub struct NotAMac;

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or(NotAMac)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotAMac)?;
        }
        if parts.next().is_some() {
            return Err(NotAMac);
        }
        Ok(Self(bytes))
    }
}

/// The VLAN ids of a frame, outermost first. [`Vlans::NONE`] in a place means no tag there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vlans {
    /// Id of the first tag after the addresses.
    pub outer: u16,
    /// Id of the second tag.
    pub inner: u16,
}

impl Vlans {
    /// No tag in this place (0xFFF is reserved by IEEE 802.1Q).
    pub const NONE: u16 = 0xFFF;
    /// A frame without a tag.
    pub const UNTAGGED: Self = Self { outer: Self::NONE, inner: Self::NONE };
}

impl fmt::Display for Vlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outer, self.inner) {
            (Self::NONE, _) => f.write_str("untagged"),
            (outer, Self::NONE) => write!(f, "{outer}"),
            (outer, inner) => write!(f, "{outer}.{inner}"),
        }
    }
}

/// The facts of one readable frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the whole frame, padding included.
    pub length: u32,
    /// Destination address of the frame.
    pub dst_mac: Mac,
    /// Source address of the frame.
    pub src_mac: Mac,
    /// Its tags. A lone tag with id 0 carries a priority only: untagged.
    pub vlans: Vlans,
    /// The ethertype behind the tags; below 0x600 an 802.3 length.
    pub ethertype: u16,
    /// The network layer.
    pub net: Net,
    /// What is wrong with it although it can be read: the first such thing found.
    pub odd: Option<Odd>,
}

/// The network layer of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {
    /// ARP for IPv4 over Ethernet (RFC 826).
    Arp(Arp),
    /// IPv4 or IPv6.
    Ip(Ip),
    /// A spanning-tree message: 802.3 with LLC 42 to the bridges' group, or Cisco's per-VLAN one.
    Bpdu,
    /// Anything else: only the ethertype is known. ARP that is not about IPv4 over Ethernet is here too.
    Other,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    /// Sender hardware address.
    pub sender_mac: Mac,
    /// Sender protocol address.
    pub sender: std::net::Ipv4Addr,
    /// Target protocol address.
    pub target: std::net::Ipv4Addr,
}

impl Arp {
    const REQUEST: u16 = 1;
    const REPLY: u16 = 2;

    /// Whether a host may take it: a question or an answer (RFC 826) of who may be one host, or a probe of an
    /// address that may be one host's.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        match self.operation {
            Self::REQUEST if self.sender.is_unspecified() => is_one_host(self.target),
            Self::REQUEST | Self::REPLY => is_one_host(self.sender),
            _ => false,
        }
    }

    /// A question of a sender without an address: is this one free? It teaches nobody anything (RFC 5227).
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.operation == Self::REQUEST && self.sender.is_unspecified()
    }
}

/// Neither reserved, loopback, a group nor broadcast.
const fn is_one_host(address: std::net::Ipv4Addr) -> bool {
    matches!(address.octets(), [1..=126 | 128..=223, ..])
}

/// An IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Source address.
    pub src: IpAddr,
    /// Destination address; the same family as `src`.
    pub dst: IpAddr,
    /// Protocol number of the upper layer, behind all extension headers. Of a later IPv6 fragment: what
    /// follows its fragment header, which may be another extension header; only the first tells.
    pub protocol: u8,
    /// IPv4 TTL or IPv6 hop limit.
    pub hop_limit: u8,
    /// Whether the packet is whole.
    pub fragment: Fragment,
    /// The upper layer.
    pub l4: L4,
}

/// Where in its datagram a packet lies. An IPv6 atomic fragment (RFC 6946) is `Whole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// Not fragmented.
    Whole,
    /// The first of several; it holds the whole upper-layer header.
    First {
        /// Identification field.
        id: u32,
        /// Payload bytes.
        length: u16,
    },
    /// A later one: the upper layer can't be read.
    Later {
        /// Identification field.
        id: u32,
        /// Offset in bytes.
        offset: u16,
        /// Payload bytes.
        length: u16,
        /// More fragments follow.
        more: bool,
    },
}

/// The upper layer of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4 {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// It is a whole packet between DHCP's ports, in the form of a message of DHCP or DHCPv6.
        dhcp: bool,
    },
    /// SCTP: only its common header is read.
    Sctp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// ICMP over IPv4, or ICMPv6 over IPv6.
    Icmp(Icmp),
    /// Another protocol; only its number is known.
    Other,
    /// A later fragment.
    Absent,
    /// A later fragment of a datagram whose first one is remembered. The parser never says this.
    Remembered {
        /// Ports as in the flow key.
        key: [u16; 2],
        /// Ports as rules see them; ICMP: 0 and type × 256 + code.
        service: [u16; 2],
    },
}

/// The facts of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; meaningful with ACK.
    pub ack: u32,
    /// Flag bits.
    pub flags: TcpFlags,
    /// Window as sent, unscaled.
    pub window: u16,
    /// Payload bytes in this packet.
    pub payload: u16,
    /// Window scale option of a SYN, at most 14 (RFC 7323); elsewhere it means nothing.
    pub scale: Option<u8>,
}

/// The low eight flag bits of a TCP header: CWR ECE URG ACK PSH RST SYN FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
    /// URG.
    pub const URG: u8 = 0x20;

    /// Whether any bit of `mask` is set.
    #[must_use]
    pub const fn has(self, mask: u8) -> bool {
        self.0 & mask != 0
    }

    /// SYN without ACK: the segment that opens a connection.
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST | Self::FIN) == Self::SYN
    }
}

/// The facts of an ICMP or ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Identifier of a question or an answer.
    pub id: Option<u16>,
    /// The packet an error message quotes, as far as it can be read.
    pub quote: Option<Quote>,
}

impl Icmp {
    /// A redirect (type 5, ICMPv6 137).
    #[must_use]
    pub const fn is_redirect(&self, v6: bool) -> bool {
        self.kind == if v6 { 137 } else { 5 }
    }

    /// A message that quotes the packet it is about (RFC 792, RFC 4443).
    #[must_use]
    pub const fn is_error(&self, v6: bool) -> bool {
        if v6 { self.kind >= 1 && self.kind <= 4 } else { matches!(self.kind, 3 | 4 | 11 | 12) }
    }
}

/// The packet quoted in an ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Its source.
    pub src: IpAddr,
    /// Its destination.
    pub dst: IpAddr,
    /// Its protocol.
    pub protocol: u8,
    /// Its source port; of an ICMP question or answer as in the flow key; 0 for portless protocols.
    pub sport: u16,
    /// Its destination port; likewise.
    pub dport: u16,
    /// Sequence number of a quoted TCP segment.
    pub seq: Option<u32>,
}

/// Housekeeping frames that the `[profile]` decides, not the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Housekeeping {
    /// ARP for IPv4 over Ethernet.
    Arp,
    /// Neighbour discovery with hop limit 255 (ICMPv6 133–136), and MLD with hop limit 1 (130–132, 143)
    /// from a link-local address or `::`; never with another code than 0.
    Ndp,
    /// LLDP (ethertype 0x88cc).
    Lldp,
    /// Spanning tree: 802.3 with LLC 42 to 01:80:c2:00:00:00, or Cisco's per-VLAN one.
    Stp,
    /// Slow protocols (ethertype 0x8809).
    Lacp,
    /// DHCP (UDP 67/68) and DHCPv6 (UDP 546/547) in the form of their messages, unfragmented.
    Dhcp,
    /// Every other ethertype, and ARP that is not about IPv4 over Ethernet.
    Other,
}

impl Housekeeping {
    /// All of them, in the order of the `[profile]` section.
    pub const ALL: [Self; 7] =
        [Self::Arp, Self::Ndp, Self::Lldp, Self::Stp, Self::Lacp, Self::Dhcp, Self::Other];

    /// The key in `[profile]`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Ndp => "ndp",
            Self::Lldp => "lldp",
            Self::Stp => "stp",
            Self::Lacp => "lacp",
            Self::Dhcp => "dhcp",
            Self::Other => "other",
        }
    }
}

/// Why a frame can't be read. Such a frame is dropped in every mode (POLICY.md §6); the rows are
/// those of FIREWALL-REQUIREMENTS F1.6a and the readable part of F1.6i.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Unreadable {
    /// Shorter than its own headers say.
    Truncated,
    /// A third VLAN tag.
    TooManyTags,
    /// A VLAN tag with id 4095, reserved by IEEE 802.1Q.
    VlanReserved,
    /// IP version differs from the ethertype.
    Version,
    /// IPv4 header length below 20 or beyond the packet, or an option beyond the header.
    HeaderLength,
    /// IPv4 total length or IPv6 payload length beyond the frame, or IPv4 total length below 20.
    TotalLength,
    /// IPv4 header checksum.
    HeaderChecksum,
    /// IPv6 jumbogram (RFC 2675).
    Jumbogram,
    /// More than eight extension headers, hop-by-hop not first or with more than 16 options, two
    /// fragment headers, a routing header of type 0 (RFC 5095), or a broken extension.
    ExtensionHeader,
    /// TCP data offset below 5 or beyond the packet.
    DataOffset,
    /// UDP length differs from what IP carries.
    UdpLength,
    /// A datagram beyond 65 535 bytes when reassembled, a length not a multiple of eight with more to
    /// follow, a later fragment without a byte, DF together with MF or an offset.
    FragmentInvalid,
    /// A first fragment without the whole upper-layer header (RFC 1858, 7112), or a later one where a
    /// TCP header must be (RFC 3128).
    FragmentTiny,
    /// Neighbour discovery with a fragment header, be it an atomic one (RFC 6980).
    FragmentNdp,
}

/// What is wrong with a frame that can be read. Such a drop obeys the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Odd {
    /// Source is broadcast or multicast, at layer 2 or 3.
    SourceNotUnicast,
    /// Source or destination is loopback.
    Loopback,
    /// Source or destination unspecified or reserved: 0.0.0.0/8, 240.0.0.0/4, `::`, IPv6 unicast that is
    /// neither global (`2000::/3`), unique local (`fc00::/7`) nor link-local. Not DHCP, duplicate address
    /// detection or MLD; not the broadcast address as a destination.
    Reserved,
    /// Source equals destination (LAND).
    Land,
    /// IPv4 option LSRR, SSRR or RR; an IPv6 routing header with segments left.
    SourceRoute,
    /// SYN with FIN or RST, FIN without ACK (so FIN PSH URG too), or no flag at all.
    TcpFlags,
    /// Port 0 of TCP, UDP or SCTP.
    PortZero,
    /// ICMP or ICMPv6 redirect.
    Redirect,
    /// Source or destination is link-local, beyond neighbour discovery, MLD and DHCPv6.
    LinkLocal,
}
