//! One frame, from its first byte inwards.
//!
//! What it is: the order in which the layers are read, and which of several oddities is told. What it is
//! not: the layers themselves. Invariants: no index, no allocation, no panic; every length is held
//! against what is really there before it is used. Cost: one pass over the headers.

use super::{Facts, Ip, L4, Net, Odd, Tcp, Unreadable, address, ethernet, ipv4, ipv6};

/// Reads one frame.
///
/// Of several things that make a frame odd, the outermost is told: the frame's source, then the
/// packet's addresses, then a route in the IP header, then the upper layer; link-local comes last,
/// because the upper layer says whether it is housekeeping.
///
/// # Errors
/// Why it can't be read: the first such thing from the outside inwards.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Facts, Unreadable> {
    let (link, rest) = ethernet::link(frame)?;
    let mut odd = link.odd;
    let net = match link.ethertype {
        ethernet::IPV4 => {
            let packet = ipv4::packet(rest)?;
            odd = odd.or_else(|| judge(&packet));
            Net::Ip(packet.ip)
        }
        ethernet::IPV6 => {
            let packet = ipv6::packet(rest)?;
            odd = odd.or_else(|| judge(&packet));
            Net::Ip(packet.ip)
        }
        _ => ethernet::other(&link, rest)?,
    };
    Ok(Facts {
        length: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        dst_mac: link.dst_mac,
        src_mac: link.src_mac,
        vlans: link.vlans,
        ethertype: link.ethertype,
        net,
        odd,
    })
}

/// The first oddity of a packet, in their order.
#[inline]
fn judge(packet: &Packet) -> Option<Odd> {
    let Packet { ip, routed, upper } = packet;
    address::odd(ip).or(routed.then_some(Odd::SourceRoute)).or(*upper).or_else(|| address::link_local(ip))
}

impl Ip {
    /// What is odd about a packet with these facts, as [`parse`] tells it of one without a route in its
    /// header or impossible TCP flags.
    #[must_use]
    pub fn odd(&self) -> Option<Odd> {
        let upper = match self.l4 {
            L4::Icmp(icmp) => icmp.is_redirect(self.src.is_ipv6()).then_some(Odd::Redirect),
            L4::Tcp(Tcp { sport, dport, .. })
            | L4::Udp { sport, dport, .. }
            | L4::Sctp { sport, dport } => (sport == 0 || dport == 0).then_some(Odd::PortZero),
            L4::Other | L4::Absent | L4::Remembered { .. } => None,
        };
        address::odd(self).or(upper).or_else(|| address::link_local(self))
    }
}

/// What the IP layers hand back.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    /// The facts.
    pub(super) ip: Ip,
    /// The header names a route.
    pub(super) routed: bool,
    /// What is odd about the upper layer.
    pub(super) upper: Option<Odd>,
}
