//! IPv4 (RFC 791): the fixed header, its options, its fragments.
//!
//! An authentication header (protocol 51) is an upper layer of its own here, as everywhere in IPv4;
//! in IPv6 it is an extension header.

use std::net::{IpAddr, Ipv4Addr};

use super::fragment::{Piece, fragment};
use super::parse::Packet;
use super::{Fragment, Ip, Unreadable, upper};

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Reads a packet. `rest` may be longer: Ethernet pads short frames.
#[inline]
pub(super) fn packet(rest: &[u8]) -> Result<Packet, Unreadable> {
    let fixed = rest.first_chunk::<20>().ok_or(Unreadable::Truncated)?;
    let [first, _, l0, l1, i0, i1, f0, f1, hop_limit, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        *fixed;
    if first >> 4 != 4 {
        return Err(Unreadable::Version);
    }
    let header = usize::from(first & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([l0, l1]));
    if header < 20 {
        return Err(Unreadable::HeaderLength);
    }
    if total < 20 {
        return Err(Unreadable::TotalLength);
    }
    let whole = rest.get(..total).ok_or(Unreadable::TotalLength)?;
    let (header, payload) = whole.split_at_checked(header).ok_or(Unreadable::HeaderLength)?;
    if checksum(fixed, header.get(20..).unwrap_or_default()) != 0xffff {
        return Err(Unreadable::HeaderChecksum);
    }
    let routed = header.len() > 20 && names_a_route(header.get(20..).unwrap_or_default())?;

    let flags = u16::from_be_bytes([f0, f1]);
    let fragment = if flags & (MORE_FRAGMENTS | OFFSET) == 0 {
        Fragment::Whole
    } else {
        if flags & DONT_FRAGMENT != 0 {
            return Err(Unreadable::FragmentInvalid);
        }
        fragment(Piece {
            id: u32::from(u16::from_be_bytes([i0, i1])),
            offset: (flags & OFFSET) * 8,
            more: flags & MORE_FRAGMENTS != 0,
            length: payload.len(),
            before: header.len(),
        })?
    };
    let (l4, upper) = upper::read(protocol, false, fragment, payload)?;
    let src = IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3));
    let dst = IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3));
    Ok(Packet { ip: Ip { src, dst, protocol, hop_limit, fragment, l4 }, routed, upper })
}

/// The one's complement sum of a header, its own checksum field included: 0xffff when right (RFC 1071).
/// Adding 32 bits at a time and folding once gives the same sum. Without options no loop is left.
#[inline]
fn checksum(fixed: &[u8; 20], options: &[u8]) -> u64 {
    let add =
        |words: &[[u8; 4]]| words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum::<u64>();
    let sum = add(fixed.as_chunks().0);
    let sum = if options.is_empty() { sum } else { sum + add(options.as_chunks().0) };
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}

/// Whether the options hold LSRR, SSRR or RR (RFC 7126 §4.3–4.5). An option that overruns the header
/// makes the header unreadable: what hides behind it can't be known.
#[cold]
fn names_a_route(mut options: &[u8]) -> Result<bool, Unreadable> {
    let mut found = false;
    loop {
        match *options {
            [] | [0, ..] => return Ok(found),
            [1, ref rest @ ..] => options = rest,
            [_] | [_, 0 | 1, ..] => return Err(Unreadable::HeaderLength),
            [kind, length, ..] => {
                found |= matches!(kind, 131 | 137 | 7);
                options = options.get(usize::from(length)..).ok_or(Unreadable::HeaderLength)?;
            }
        }
    }
}
