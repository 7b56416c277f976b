//! The upper layers: TCP (RFC 9293), UDP (RFC 768), SCTP (RFC 9260), ICMP (RFC 792) and ICMPv6 (RFC 4443).
//!
//! ICMP is read over IPv4 and ICMPv6 over IPv6 only; the other way round they are unknown protocols.
//! Checksums are not verified: a sender on the same machine leaves them to the NIC, and the receiver
//! verifies them anyway.

use super::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};
use super::{Fragment, Icmp, L4, Odd, Query, Tcp, TcpFlags, Unreadable, dhcp, quote};

/// A first fragment holds the whole TCP header, at least 20 bytes, and ends at a multiple of eight.
const FIRST_LATER_TCP: u16 = 24;

/// Reads the upper layer of a packet; `bytes` is exactly what IP carries.
#[inline]
pub(super) fn read(
    protocol: u8,
    v6: bool,
    fragment: Fragment,
    bytes: &[u8],
) -> Result<(L4, Option<Odd>), Unreadable> {
    let first = match fragment {
        Fragment::Whole => false,
        Fragment::First { .. } => true,
        // It would overwrite the flags of the first (RFC 3128).
        Fragment::Later { offset, .. } if protocol == TCP && offset < FIRST_LATER_TCP => {
            return Err(Unreadable::FragmentTiny);
        }
        Fragment::Later { .. } => return Ok((L4::Absent, None)),
    };
    match (protocol, v6) {
        (TCP, _) => tcp(first, bytes),
        (UDP, _) => udp(v6, first, bytes),
        (SCTP, _) => sctp(first, bytes),
        (ICMP, false) | (ICMPV6, true) => icmp(v6, first, bytes),
        _ if first && bytes.is_empty() => Err(Unreadable::FragmentTiny),
        _ => Ok((L4::Other, None)),
    }
}

/// The error for a header that isn't all there.
#[inline]
const fn short(first: bool) -> Unreadable {
    if first { Unreadable::FragmentTiny } else { Unreadable::Truncated }
}

#[inline]
fn tcp(first: bool, bytes: &[u8]) -> Result<(L4, Option<Odd>), Unreadable> {
    let (fixed, rest) = bytes.split_first_chunk::<20>().ok_or(short(first))?;
    let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, _, _, _, _] = *fixed;
    let options = (usize::from(offset >> 4) * 4).checked_sub(20).ok_or(Unreadable::DataOffset)?;
    let beyond = if first { Unreadable::FragmentTiny } else { Unreadable::DataOffset };
    let (options, payload) = rest.split_at_checked(options).ok_or(beyond)?;
    let tcp = Tcp {
        sport: u16::from_be_bytes([s0, s1]),
        dport: u16::from_be_bytes([d0, d1]),
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        flags: TcpFlags(flags),
        window: u16::from_be_bytes([w0, w1]),
        // What IP carries fits 16 bits.
        payload: u16::try_from(payload.len()).unwrap_or(u16::MAX),
        scale: if flags & TcpFlags::SYN != 0 { scale(options) } else { None },
    };
    let odd = if impossible(tcp.flags) {
        Some(Odd::TcpFlags)
    } else if tcp.sport == 0 || tcp.dport == 0 {
        Some(Odd::PortZero)
    } else {
        None
    };
    Ok((L4::Tcp(tcp), odd))
}

/// SYN with FIN or RST, FIN without ACK (Xmas is one of these), or none of the six flags of RFC 793.
#[inline]
const fn impossible(flags: TcpFlags) -> bool {
    const SYN_FIN: u8 = TcpFlags::SYN | TcpFlags::FIN;
    const SYN_RST: u8 = TcpFlags::SYN | TcpFlags::RST;
    const FIN_ACK: u8 = TcpFlags::FIN | TcpFlags::ACK;
    let TcpFlags(bits) = flags;
    !flags.has(0x3f)
        || bits & SYN_FIN == SYN_FIN
        || bits & SYN_RST == SYN_RST
        || bits & FIN_ACK == TcpFlags::FIN
}

/// The window scale among a SYN's options: the last one, as Linux takes it, and at most 14, which is what
/// a receiver uses for more (RFC 7323 §2.3). What follows a broken option is not read.
pub(super) fn scale(mut options: &[u8]) -> Option<u8> {
    let mut scale = None;
    loop {
        options = match *options {
            [1, ref rest @ ..] => rest,
            [3, 3, shift, ref rest @ ..] => {
                scale = Some(shift.min(14));
                rest
            }
            [] | [0, ..] | [_] | [_, 0 | 1, ..] => return scale,
            [_, length, ..] => match options.get(usize::from(length)..) {
                Some(rest) => rest,
                None => return scale,
            },
        };
    }
}

#[inline]
fn udp(v6: bool, first: bool, bytes: &[u8]) -> Result<(L4, Option<Odd>), Unreadable> {
    let (head, payload) = bytes.split_first_chunk::<8>().ok_or(short(first))?;
    let [s0, s1, d0, d1, l0, l1, _, _] = *head;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    // Of a first fragment only this much is known: at least a byte follows.
    if if first { length <= bytes.len() } else { length != bytes.len() } {
        return Err(Unreadable::UdpLength);
    }
    let (sport, dport) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let odd = if sport == 0 || dport == 0 { Some(Odd::PortZero) } else { None };
    // No fragment passes under DHCP's name.
    let dhcp = !first && dhcp::is_message(v6, sport, dport, payload);
    Ok((L4::Udp { sport, dport, dhcp }, odd))
}

/// The common header alone (RFC 9260 §3.1): what chunks say moves no flow.
fn sctp(first: bool, bytes: &[u8]) -> Result<(L4, Option<Odd>), Unreadable> {
    let [s0, s1, d0, d1, ..] = *bytes.first_chunk::<12>().ok_or(short(first))?;
    let (sport, dport) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let odd = if sport == 0 || dport == 0 { Some(Odd::PortZero) } else { None };
    Ok((L4::Sctp { sport, dport }, odd))
}

fn icmp(v6: bool, first: bool, bytes: &[u8]) -> Result<(L4, Option<Odd>), Unreadable> {
    let (head, body) = bytes.split_first_chunk::<8>().ok_or(short(first))?;
    let [kind, code, _, _, i0, i1, _, _] = *head;
    let mut icmp = Icmp { kind, code, id: None, quote: None };
    if Query::of(kind, v6).is_some() {
        icmp.id = Some(u16::from_be_bytes([i0, i1]));
    } else if icmp.is_error(v6) {
        icmp.quote = if v6 { quote::v6(body) } else { quote::v4(body) };
    }
    let odd = if icmp.is_redirect(v6) { Some(Odd::Redirect) } else { None };
    Ok((L4::Icmp(icmp), odd))
}

/// A message that must not come with a fragment header, not even an atomic one (RFC 6980 §5): router and
/// neighbour discovery, redirect, certification path solicitation.
pub(super) const fn is_discovery(l4: &L4) -> bool {
    match l4 {
        L4::Icmp(icmp) => matches!(icmp.kind, 133..=137 | 148),
        L4::Tcp(_) | L4::Udp { .. } | L4::Sctp { .. } | L4::Other | L4::Absent | L4::Remembered { .. } => {
            false
        }
    }
}
