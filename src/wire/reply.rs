//! Replies to a refused packet: a TCP reset, or an ICMP error that says who forbade it.
//!
//! What it is: which packets may be answered at all, and the frame that goes back, built with etherparse's
//! headers into the caller's buffer. What it is not: it does not decide that a packet is refused, nor how
//! many are answered. Invariants: no allocation, no panic, whatever the bytes; what is written goes from
//! the refused packet's destination to its source with its tags, and holds no byte that is not of that
//! packet's own IP length or zero (padding is written, never left). A reply never draws another: nothing
//! answers a reset, an ICMP error, a group or a later fragment. Cost: a second parse and the checksums.

use std::net::IpAddr;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::icmpv6::DestUnreachableCode;
use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpDscp, IpNumber, Ipv4Header, Ipv6Header, TcpHeader,
};

use super::ethernet::LEAST;
use super::{Facts, Fragment, Icmp, Ip, L4, Net, Query, Tcp, TcpFlags, ethernet, parse};

/// What goes back for a packet that a rule drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    /// A TCP reset.
    Reset,
    /// ICMP: communication administratively prohibited (RFC 1812 §5.2.7.1, RFC 4443 §3.1).
    Unreachable,
}

/// TTL and hop limit of a reply.
const HOPS: u8 = 64;
/// An ICMP error's whole IPv4 datagram (RFC 1812 §4.3.2.3).
const MOST_V4: usize = 576;
/// An ICMPv6 error's whole packet: IPv6's least MTU (RFC 4443 §2.4 (c)).
const MOST_V6: usize = 1_280;
/// The fixed headers in front of a quote: IP and ICMP.
const BEFORE_V4: usize = 20 + 8;
const BEFORE_V6: usize = 40 + 8;

impl Reply {
    /// Bytes of the longest: an ICMPv6 error behind two tags.
    pub const LONGEST: usize = 14 + 2 * 4 + MOST_V6;

    /// The word in policy text.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether a packet with these facts may be answered so (RFC 9293 §3.10.7.1, RFC 1812 §4.3.2.7, RFC 4443
    /// §2.4 (e)): one between two single hosts, at both layers, whose start can be read and is no error itself.
    #[must_use]
    pub fn may_answer(self, facts: &Facts) -> bool {
        let Net::Ip(ip) = &facts.net else { return false };
        let group_frame = facts.dst_mac.0[0] & 1 != 0;
        if facts.odd.is_some() || group_frame || !is_host(ip.src) || !is_host(ip.dst) {
            return false;
        }
        // Housekeeping is the profile's, no rule's.
        if facts.housekeeping().is_some() {
            return false;
        }
        if matches!(ip.fragment, Fragment::Later { .. }) {
            return false;
        }
        match (self, &ip.l4) {
            // What a fragmented segment carries its first fragment does not say.
            (Self::Reset, L4::Tcp(tcp)) => ip.fragment == Fragment::Whole && !tcp.flags.has(TcpFlags::RST),
            (Self::Unreachable, L4::Icmp(icmp)) => is_no_error(icmp, ip.src.is_ipv6()),
            (Self::Unreachable, L4::Tcp(_) | L4::Udp { .. } | L4::Sctp { .. } | L4::Other) => true,
            (
                Self::Reset,
                L4::Udp { .. }
                | L4::Sctp { .. }
                | L4::Icmp(_)
                | L4::Other
                | L4::Absent
                | L4::Remembered { .. },
            )
            | (Self::Unreachable, L4::Absent | L4::Remembered { .. }) => false,
        }
    }

    /// Writes the frame that answers this one; `None` where [`Reply::may_answer`] says no.
    #[must_use]
    pub fn write<'a>(self, frame: &[u8], into: &'a mut [u8; Self::LONGEST]) -> Option<&'a [u8]> {
        let facts = parse(frame).ok().filter(|facts| self.may_answer(facts))?;
        let Net::Ip(ip) = &facts.net else { return None };
        let (_, packet) = ethernet::link(frame).ok()?;
        let link = frame.get(..frame.len() - packet.len())?;
        let mut to = Written { bytes: into, length: 0 };
        to.put(&facts.src_mac.0)?;
        to.put(&facts.dst_mac.0)?;
        // Tags as they came, priority and all, and the ethertype: a reply is of the same family.
        to.put(link.get(12..)?)?;
        match (self, &ip.l4) {
            (Self::Reset, L4::Tcp(tcp)) => reset(ip, tcp, &mut to)?,
            (Self::Unreachable, _) => unreachable(ip, packet, &mut to)?,
            (
                Self::Reset,
                L4::Udp { .. }
                | L4::Sctp { .. }
                | L4::Icmp(_)
                | L4::Other
                | L4::Absent
                | L4::Remembered { .. },
            ) => {
                return None;
            }
        }
        to.put([0; LEAST].get(..LEAST.saturating_sub(to.length))?)?;
        let length = to.length;
        into.get(..length)
    }
}

/// What is written so far.
struct Written<'a> {
    bytes: &'a mut [u8; Reply::LONGEST],
    length: usize,
}

impl Written<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.bytes.get_mut(self.length..end)?.copy_from_slice(bytes);
        self.length = end;
        Some(())
    }

    /// An IPv4 header of this reply.
    fn v4(&mut self, ip: &Ipv4Header) -> Option<()> {
        let header_checksum = ip.calc_header_checksum();
        self.put(&Ipv4Header { header_checksum, ..ip.clone() }.to_bytes())
    }
}

/// RFC 9293 §3.10.7.1: a segment with ACK is answered with the sequence number it acknowledges, one without
/// by acknowledging all of it.
fn reset(ip: &Ip, tcp: &Tcp, to: &mut Written<'_>) -> Option<()> {
    let acknowledges = tcp.flags.has(TcpFlags::ACK);
    let seq = if acknowledges { tcp.ack } else { 0 };
    let mut header = TcpHeader::new(tcp.dport, tcp.sport, seq, 0);
    header.rst = true;
    if !acknowledges {
        let counted = |flag| u32::from(tcp.flags.has(flag));
        let length = u32::from(tcp.payload) + counted(TcpFlags::SYN) + counted(TcpFlags::FIN);
        header.ack = true;
        header.acknowledgment_number = tcp.seq.wrapping_add(length);
    }
    match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (from, back) = (dst.octets(), src.octets());
            header.checksum = header.calc_checksum_ipv4_raw(from, back, &[]).ok()?;
            to.v4(&Ipv4Header::new(header.header_len_u16(), HOPS, IpNumber::TCP, from, back).ok()?)?;
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (from, back) = (dst.octets(), src.octets());
            header.checksum = header.calc_checksum_ipv6_raw(from, back, &[]).ok()?;
            to.put(&v6(header.header_len_u16(), IpNumber::TCP, from, back).to_bytes())?;
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return None,
    }
    to.put(&header.to_bytes())
}

/// Destination unreachable, administratively prohibited: ICMP type 3 code 13, ICMPv6 type 1 code 1. `packet`
/// may be followed by padding; none of it is quoted.
fn unreachable(ip: &Ip, packet: &[u8], to: &mut Written<'_>) -> Option<()> {
    match (ip.src, ip.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (from, back) = (dst.octets(), src.octets());
            let [_, _, l0, l1] = *packet.first_chunk::<4>()?;
            let whole = packet.get(..usize::from(u16::from_be_bytes([l0, l1])))?;
            let quote = whole.get(..MOST_V4 - BEFORE_V4).unwrap_or(whole);
            let says = Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FilterProhibited);
            let header = Icmpv4Header::with_checksum(says, quote);
            let length = u16::try_from(header.header_len() + quote.len()).ok()?;
            let ip = Ipv4Header::new(length, HOPS, IpNumber::ICMP, from, back).ok()?;
            // RFC 1812 §4.3.2.5: internetwork control.
            to.v4(&Ipv4Header { dscp: IpDscp::CS6, ..ip })?;
            to.put(&header.to_bytes())?;
            to.put(quote)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let (from, back) = (dst.octets(), src.octets());
            let [_, _, _, _, l0, l1] = *packet.first_chunk::<6>()?;
            let whole = packet.get(..40 + usize::from(u16::from_be_bytes([l0, l1])))?;
            let quote = whole.get(..MOST_V6 - BEFORE_V6).unwrap_or(whole);
            let says = Icmpv6Type::DestinationUnreachable(DestUnreachableCode::Prohibited);
            let header = Icmpv6Header::with_checksum(says, from, back, quote).ok()?;
            let length = u16::try_from(header.header_len() + quote.len()).ok()?;
            to.put(&v6(length, IpNumber::IPV6_ICMP, from, back).to_bytes())?;
            to.put(&header.to_bytes())?;
            to.put(quote)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

fn v6(payload_length: u16, next_header: IpNumber, source: [u8; 16], destination: [u8; 16]) -> Ipv6Header {
    let blank = Ipv6Header::default();
    Ipv6Header { payload_length, next_header, hop_limit: HOPS, source, destination, ..blank }
}

/// Whether an address may be that of one host.
fn is_host(address: IpAddr) -> bool {
    let broadcast = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}

/// Whether an ICMP message is known to be no error. ICMPv6 has them below 128 (RFC 4443 §2.1); of ICMP the
/// questions and their answers are let through ([`Query`]) and what routers are found by (RFC 1256), since an
/// unknown type might be an error.
fn is_no_error(icmp: &Icmp, v6: bool) -> bool {
    if v6 {
        icmp.kind >= 128 && !icmp.is_redirect(true)
    } else {
        Query::of(icmp.kind, false).is_some() || matches!(icmp.kind, 9 | 10)
    }
}
