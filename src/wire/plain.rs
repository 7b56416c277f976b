//! A quick look at the packets that make up nearly all traffic.
//!
//! What it is: one glance at fixed offsets that gives the flow key of a *plain* packet, and only of one: whole TCP of
//! a connection under way (ACK, no SYN, FIN or RST) or that opens one (SYN, none of the others), or whole UDP that is
//! not DHCP, untagged or with one tag, IPv4 without options or IPv6 without extension headers, readable from end to
//! end. What it is not: a second opinion. What is not plain goes to [`parse`](super::parse); a plain packet of no known
//! flow tells its [`Facts`] without being read again. Invariants, held by properties and the fuzz targets: if it
//! answers, `parse` reads the frame too and says the same facts, key and segment, and nothing is odd but in the key
//! (addresses, port 0). Cost: about a fifth of `parse` (callgrind; docs/BENCHMARKS.md).

use super::address;
use super::key::{tags, tail};
use super::protocol::{TCP, UDP};
use super::upper::scale;
use super::{Facts, Fragment, Ip, Key, L4, Mac, Net, Odd, Tcp, TcpFlags, Vlans};

/// What a known flow needs of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The flow key.
    pub key: Key,
    /// The sender is the end `a` of the key.
    pub from_a: bool,
    /// The segment, when the protocol is TCP: ACK is set, SYN, FIN and RST are not; or it opens a connection.
    pub tcp: Option<Tcp>,
    /// The packet ends where its frame does: nothing pads it, and there is no trailer.
    pub fills_frame: bool,
}

const ETHERNET: usize = 14;
const TAG: usize = 4;
const UNTAGGED: u32 = tags(Vlans::UNTAGGED);
/// IPv4 without options and TCP without options; UDP in a padded frame is no shorter.
const V4: usize = 40;
/// IPv6 and TCP without options. UDP is shorter by twelve bytes.
const V6: usize = 60;
const V6_UDP: usize = 48;

impl Plain {
    /// Nothing yet: what a place for one holds.
    pub const BLANK: Self =
        Self { key: Key::from_words([0; 4], 0, false), from_a: false, tcp: None, fills_frame: false };

    /// Looks at a frame and writes what it finds into `self`. False: not plain, and nothing of worth written.
    #[inline]
    #[must_use]
    pub fn read(&mut self, frame: &[u8]) -> bool {
        let Some(head) = frame.first_chunk::<ETHERNET>() else { return false };
        // A source with the group bit is odd.
        if head[6] & 1 != 0 {
            return false;
        }
        let (kind, packet, tags) = match u16::from_be_bytes([head[12], head[13]]) {
            0x8100 | 0x88a8 => match untag(frame) {
                Some(found) => found,
                None => return false,
            },
            kind => (kind, frame.get(ETHERNET..).unwrap_or_default(), UNTAGGED),
        };
        match kind {
            super::ethernet::IPV4 => self.v4(packet, tags),
            super::ethernet::IPV6 => self.v6(packet, tags),
            _ => false,
        }
    }

    /// The facts of the frame that was just read into `self`, as [`parse`](super::parse) tells them.
    #[inline]
    #[must_use]
    pub fn facts(&self, frame: &[u8]) -> Facts {
        // It was read: so much is there.
        let head = frame.first_chunk::<{ ETHERNET + TAG }>().unwrap_or(&[0; ETHERNET + TAG]);
        let packet = match u16::from_be_bytes([head[12], head[13]]) {
            0x8100 | 0x88a8 => ETHERNET + TAG,
            _ => ETHERNET,
        };
        let v6 = self.key.is_v6();
        let (ethertype, hops) = if v6 { (super::ethernet::IPV6, 7) } else { (super::ethernet::IPV4, 8) };
        let ((src, sport), (dst, dport)) = self.key.sender_first(self.from_a);
        let ip = Ip {
            src,
            dst,
            protocol: self.key.protocol(),
            hop_limit: frame.get(packet + hops).copied().unwrap_or(0),
            fragment: Fragment::Whole,
            // What goes to a port of DHCP's is not plain.
            l4: self.tcp.map_or(L4::Udp { sport, dport, dhcp: false }, L4::Tcp),
        };
        let portless = if sport == 0 || dport == 0 { Some(Odd::PortZero) } else { None };
        Facts {
            length: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            dst_mac: Mac(part(head, 0)),
            src_mac: Mac(part(head, 6)),
            vlans: self.key.vlans(),
            ethertype,
            net: Net::Ip(ip),
            odd: address::odd(&ip).or(portless).or_else(|| address::link_local(&ip)),
        }
    }

    #[inline]
    fn v4(&mut self, packet: &[u8], tags: u32) -> bool {
        let Some(head) = packet.first_chunk::<V4>() else { return false };
        // Whole words: byte by byte the compiler never finds them again.
        let first = u64::from_le_bytes(part(head, 0));
        let second = u32::from_le_bytes(part(head, 8));
        let there = u64::from_le_bytes(part(head, 12));
        let [version, _, high, low, ..] = first.to_le_bytes();
        let total = usize::from(u16::from_be_bytes([high, low]));
        // Version 4 with 20 bytes of header; neither more fragments nor an offset.
        let whole = first & u64::from_le_bytes([0, 0, 0, 0, 0, 0, 0x3f, 0xff]) == 0;
        if version != 0x45 || !whole || total > packet.len() {
            return false;
        }
        // The one's complement sum is the same in either byte order (RFC 1071 §2 B), and it is all ones where
        // the plain sum, which is not 0, is a multiple of 2^16 − 1.
        let halves = |word: u64| (word & 0xffff_ffff) + (word >> 32);
        if !(halves(first) + u64::from(second) + halves(there)).is_multiple_of(0xffff) {
            return false;
        }
        let ends = there.swap_bytes();
        self.fills_frame = total == packet.len();
        self.from_a = ends >> 32 < ends & 0xffff_ffff;
        let ends = u64::from_le(if self.from_a { there } else { there.rotate_left(32) });
        let length = total.wrapping_sub(20);
        let Some(tail) = self.upper(last(head), (packet, 20), (head[9], length), tags) else {
            return false;
        };
        self.key = Key::from_words([ends, 0, 0, 0], tail, false);
        true
    }

    #[inline]
    fn v6(&mut self, packet: &[u8], tags: u32) -> bool {
        // Only UDP is shorter, and none of what it lacks is read then.
        let mut padded = [0; V6];
        let head = if let Some(head) = packet.first_chunk::<V6>() {
            head
        } else {
            let Some(short) = packet.first_chunk::<V6_UDP>().filter(|short| short[6] == UDP) else {
                return false;
            };
            padded[..V6_UDP].copy_from_slice(short);
            &padded
        };
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        if head[0] >> 4 != 6 || length > packet.len() - 40 {
            return false;
        }
        self.fills_frame = length == packet.len() - 40;
        let wire = [8, 16, 24, 32].map(|at| u64::from_ne_bytes(part(head, at)));
        let [s0, s1, d0, d1] = wire;
        let number = |high: u64, low: u64| (u64::from_be(high), u64::from_be(low));
        self.from_a = number(s0, s1) < number(d0, d1);
        let ends = if self.from_a { wire } else { [d0, d1, s0, s1] };
        let Some(tail) = self.upper(last(head), (packet, 40), (head[6], length), tags) else {
            return false;
        };
        self.key = Key::from_words(ends, tail, true);
        true
    }

    /// The upper layer, `length` bytes as IP says, and where it begins in the packet. Gives the tail of the key.
    #[expect(clippy::inline_always, reason = "a call costs each packet of a known flow 34 instructions")]
    #[inline(always)]
    fn upper(
        &mut self,
        head: &[u8; 20],
        at: (&[u8], usize),
        (protocol, length): (u8, usize),
        tags: u32,
    ) -> Option<u64> {
        let ports = u32::from_ne_bytes(part(head, 0));
        match protocol {
            UDP => {
                let said = usize::from(u16::from_be_bytes([head[4], head[5]]));
                // The profile may decide DHCP and DHCPv6, either way.
                let dport = u16::from_be_bytes([head[2], head[3]]);
                let dhcp = dport.wrapping_sub(67) < 2 || dport.wrapping_sub(546) < 2;
                if length < 8 || said != length || dhcp {
                    return None;
                }
                self.tcp = None;
            }
            TCP => {
                self.tcp = match segment(head, length, TcpFlags::ACK) {
                    None => Some(opener(head, at, length)?),
                    tcp => tcp,
                }
            }
            _ => return None,
        }
        let ports = if self.from_a { ports } else { ports.rotate_left(16) };
        Some(tail(ports, tags, protocol))
    }
}

/// What a tagged frame carries: ethertype, packet, tags. `None`: not plain.
#[inline(never)]
fn untag(frame: &[u8]) -> Option<(u16, &[u8], u32)> {
    let head = frame.first_chunk::<{ ETHERNET + TAG }>()?;
    let vlans = match u16::from_be_bytes([head[14], head[15]]) & 0x0fff {
        // Reserved.
        Vlans::NONE => return None,
        // A priority and no VLAN.
        0 => Vlans::UNTAGGED,
        outer => Vlans { outer, inner: Vlans::NONE },
    };
    Some((u16::from_be_bytes([head[16], head[17]]), frame.get(ETHERNET + TAG..)?, tags(vlans)))
}

/// Some bytes of a header, in one load.
#[inline]
fn part<const N: usize, const M: usize>(of: &[u8; M], at: usize) -> [u8; N] {
    of.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// The end of an array that is no shorter than that.
#[inline]
fn last<const N: usize, const M: usize>(of: &[u8; N]) -> &[u8; M] {
    const { assert!(M <= N) };
    of.last_chunk().unwrap_or(&[0; M])
}

/// A segment whose flags hold these and no others of those that decide.
#[inline]
fn segment(head: &[u8; 20], length: usize, flags: u8) -> Option<Tcp> {
    const DECIDING: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
    let header = usize::from(head[12] >> 4) * 4;
    // A length that wrapped below zero is beyond 16 bits.
    if header < 20 || header > length || length > 0xffff || head[13] & DECIDING != flags {
        return None;
    }
    Some(Tcp {
        sport: u16::from_be_bytes([head[0], head[1]]),
        dport: u16::from_be_bytes([head[2], head[3]]),
        seq: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
        ack: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        flags: TcpFlags(head[13]),
        window: u16::from_be_bytes([head[14], head[15]]),
        payload: u16::try_from(length - header).ok()?,
        scale: None,
    })
}

/// A segment that opens a connection, with its options.
#[cold]
#[inline(never)]
fn opener(head: &[u8; 20], (packet, at): (&[u8], usize), length: usize) -> Option<Tcp> {
    let tcp = segment(head, length, TcpFlags::SYN)?;
    // IP says that the whole header is there.
    let header = packet.get(at..at + usize::from(head[12] >> 4) * 4)?;
    Some(Tcp { scale: scale(header.get(20..)?), ..tcp })
}
