//! A quick look at the packets that make up nearly all traffic.
//!
//! What it is: one glance at fixed offsets that gives the flow key of a *plain* packet, and only of one:
//! whole TCP with ACK and without SYN, FIN or RST, or whole UDP that is not DHCP, untagged or with one tag,
//! IPv4 without options or IPv6 without extension headers, readable from end to end. What it is not: a
//! second opinion. What is not plain goes to [`parse`](super::parse), and so does a plain packet of no known
//! flow: what can be odd about it is in its key then (addresses, port 0), and a packet with such a key never
//! makes a flow. Invariants, held by properties and the fuzz targets: if it answers, `parse` reads the frame
//! too, finds the same key and segment, and nothing odd but in the key. Cost: about a fifth of `parse`
//! (callgrind; docs/BENCHMARKS.md).

use super::key::tail;
use super::protocol::{TCP, UDP};
use super::{Key, Tcp, TcpFlags, Vlans};

/// What a known flow needs of a plain packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain {
    /// The flow key.
    pub key: Key,
    /// The sender is the end `a` of the key.
    pub from_a: bool,
    /// The segment, when the protocol is TCP: ACK is set, SYN, FIN and RST are not.
    pub tcp: Option<Tcp>,
}

const ETHERNET: usize = 14;
const TAG: usize = 4;
/// IPv4 without options and TCP without options; UDP in a padded frame is no shorter.
const V4: usize = 40;
/// IPv6 and TCP without options. UDP is shorter by twelve bytes.
const V6: usize = 60;
const V6_UDP: usize = 48;

impl Plain {
    /// Nothing yet: what a place for one holds.
    pub const BLANK: Self = Self { key: Key::from_words([0; 4], 0, false), from_a: false, tcp: None };

    /// Looks at a frame and writes what it finds into `self`. False: not plain, and nothing of worth written.
    #[inline]
    #[must_use]
    pub fn read(&mut self, frame: &[u8]) -> bool {
        let Some(head) = frame.first_chunk::<{ ETHERNET + V4 }>() else { return false };
        // A source with the group bit is odd.
        if head[6] & 1 != 0 {
            return false;
        }
        let carried = frame.len() - ETHERNET;
        match u16::from_be_bytes([head[12], head[13]]) {
            super::ethernet::IPV4 => self.v4(last(head), carried, Vlans::UNTAGGED),
            super::ethernet::IPV6 => self.v6(frame.get(ETHERNET..).unwrap_or_default(), Vlans::UNTAGGED),
            0x8100 | 0x88a8 => self.tagged(frame),
            _ => false,
        }
    }

    #[inline(never)]
    fn tagged(&mut self, frame: &[u8]) -> bool {
        let Some(head) = frame.first_chunk::<{ ETHERNET + TAG + V4 }>() else { return false };
        let vlans = match u16::from_be_bytes([head[14], head[15]]) & 0x0fff {
            // Reserved.
            Vlans::NONE => return false,
            // A priority and no VLAN.
            0 => Vlans::UNTAGGED,
            outer => Vlans { outer, inner: Vlans::NONE },
        };
        let carried = frame.len() - ETHERNET - TAG;
        match u16::from_be_bytes([head[16], head[17]]) {
            super::ethernet::IPV4 => self.v4(last(head), carried, vlans),
            super::ethernet::IPV6 => self.v6(frame.get(ETHERNET + TAG..).unwrap_or_default(), vlans),
            _ => false,
        }
    }

    /// `head` is followed by what makes up `carried` bytes.
    #[inline]
    fn v4(&mut self, head: &[u8; V4], carried: usize, vlans: Vlans) -> bool {
        let total = usize::from(u16::from_be_bytes([head[2], head[3]]));
        // Version 4 with 20 bytes of header; neither more fragments nor an offset.
        let whole = u16::from_ne_bytes([head[6], head[7]]) & u16::from_be(0x3fff) == 0;
        if head[0] != 0x45 || !whole || total > carried {
            return false;
        }
        // The one's complement sum is the same in either byte order (RFC 1071 §2 B).
        let [h0, h1, h2, h3, h4, ..] = head.as_chunks::<4>().0 else { return false };
        let word = |bytes: &[u8; 4]| u64::from(u32::from_ne_bytes(*bytes));
        let sum = word(h0) + word(h1) + word(h2) + word(h3) + word(h4);
        let sum = (sum & 0xffff_ffff) + (sum >> 32);
        let sum = (sum & 0xffff) + (sum >> 16);
        if (sum & 0xffff) + (sum >> 16) != 0xffff {
            return false;
        }
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (*h3, *h4);
        let there = u64::from_ne_bytes([s0, s1, s2, s3, d0, d1, d2, d3]);
        let ends = u64::from_be(there);
        self.from_a = ends >> 32 < ends & 0xffff_ffff;
        let ends = if self.from_a { there } else { there.rotate_left(32) };
        let Some(tail) = self.upper(last(head), head[9], total.wrapping_sub(20), vlans) else {
            return false;
        };
        self.key = Key::from_words([ends, 0, 0, 0], tail, false);
        true
    }

    #[inline]
    fn v6(&mut self, packet: &[u8], vlans: Vlans) -> bool {
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
        let [_, s0, s1, d0, d1, ..] = head.as_chunks::<8>().0 else { return false };
        let wire = [s0, s1, d0, d1].map(|bytes| u64::from_ne_bytes(*bytes));
        let [s0, s1, d0, d1] = wire;
        let number = |high: u64, low: u64| (u64::from_be(high), u64::from_be(low));
        self.from_a = number(s0, s1) < number(d0, d1);
        let ends = if self.from_a { wire } else { [d0, d1, s0, s1] };
        let Some(tail) = self.upper(last(head), head[6], length, vlans) else { return false };
        self.key = Key::from_words(ends, tail, true);
        true
    }

    /// The upper layer, `length` bytes as IP says. Gives the tail of the key.
    #[inline]
    fn upper(&mut self, head: &[u8; 20], protocol: u8, length: usize, vlans: Vlans) -> Option<u64> {
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
            TCP => self.tcp = Some(segment(head, length)?),
            _ => return None,
        }
        let ports = if self.from_a {
            [head[0], head[1], head[2], head[3]]
        } else {
            [head[2], head[3], head[0], head[1]]
        };
        Some(tail(ports, vlans, protocol))
    }
}

/// The end of an array that is no shorter than that.
#[inline]
fn last<const N: usize, const M: usize>(of: &[u8; N]) -> &[u8; M] {
    const { assert!(M <= N) };
    of.last_chunk().unwrap_or(&[0; M])
}

#[inline]
fn segment(head: &[u8; 20], length: usize) -> Option<Tcp> {
    const DECIDING: u8 = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
    let header = usize::from(head[12] >> 4) * 4;
    // A length that wrapped below zero is beyond 16 bits.
    if header < 20 || header > length || length > 0xffff || head[13] & DECIDING != TcpFlags::ACK {
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
