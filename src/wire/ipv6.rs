//! IPv6 (RFC 8200): the fixed header and the chain of extension headers.
//!
//! Walked: hop-by-hop options (first only), destination options, routing, fragment, authentication; at
//! most eight, and at most one fragment header. ESP, no-next-header, mobility and everything unknown end
//! the chain and are the upper layer.

use std::net::{IpAddr, Ipv6Addr};

use super::fragment::{Piece, fragment};
use super::parse::Packet;
use super::{Fragment, Ip, Unreadable, upper};

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub(super) const FRAGMENT: u8 = 44;
pub(super) const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Extension headers a packet may have.
const MOST_HEADERS: usize = 8;
/// Hop-by-hop options a packet may have, padding included: a header of 2 048 single pad bytes would
/// otherwise cost as much as a hundred packets (RFC 9673 §5.2.1 lets a node bound them).
const MOST_OPTIONS: usize = 16;

/// Reads a packet. `rest` may be longer: Ethernet pads short frames.
#[inline]
pub(super) fn packet(rest: &[u8]) -> Result<Packet, Unreadable> {
    let (fixed, rest) = rest.split_first_chunk::<40>().ok_or(Unreadable::Truncated)?;
    let ([first, _, _, _, l0, l1, next, hop_limit], addresses) = split(fixed);
    if first >> 4 != 6 {
        return Err(Unreadable::Version);
    }
    let length = u16::from_be_bytes([l0, l1]);
    // A jumbogram says 0 here and its length in a hop-by-hop option (RFC 2675).
    if length == 0 && next == HOP_BY_HOP {
        return Err(Unreadable::Jumbogram);
    }
    let payload = rest.get(..usize::from(length)).ok_or(Unreadable::TotalLength)?;
    let chain = if is_extension(next) { walk(next, payload)? } else { Chain::ended(next, payload) };
    let Chain { protocol, rest, fragment, fragmented, routed } = chain;
    let (l4, upper) = upper::read(protocol, true, fragment, rest)?;
    if fragmented && upper::is_discovery(&l4) {
        return Err(Unreadable::FragmentNdp);
    }
    let [src, dst] = addresses.map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    Ok(Packet { ip: Ip { src, dst, protocol, hop_limit, fragment, l4 }, routed, upper })
}

/// The eight bytes before the addresses, and the two addresses.
#[inline]
pub(super) fn split(fixed: &[u8; 40]) -> ([u8; 8], [[u8; 16]; 2]) {
    let ([head, a, b, c, d], _) = fixed.as_chunks::<8>() else { return ([0; 8], [[0; 16]; 2]) };
    let join = |high: &[u8; 8], low: &[u8; 8]| {
        (u128::from(u64::from_be_bytes(*high)) << 64 | u128::from(u64::from_be_bytes(*low))).to_be_bytes()
    };
    (*head, [join(a, b), join(c, d)])
}

/// What the chain of extension headers says.
pub(super) struct Chain<'a> {
    /// The header that ends it.
    pub(super) protocol: u8,
    /// That header and what follows.
    pub(super) rest: &'a [u8],
    pub(super) fragment: Fragment,
    /// It has a fragment header, be it an atomic one.
    pub(super) fragmented: bool,
    /// A routing header still has segments to visit.
    pub(super) routed: bool,
}

impl<'a> Chain<'a> {
    /// Without extension headers.
    #[inline]
    pub(super) const fn ended(protocol: u8, rest: &'a [u8]) -> Self {
        Self { protocol, rest, fragment: Fragment::Whole, fragmented: false, routed: false }
    }

    /// The error for a header that overruns the packet: in a first fragment the chain is not complete
    /// (RFC 7112), elsewhere the header is broken.
    const fn overrun(&self) -> Unreadable {
        match self.fragment {
            Fragment::First { .. } => Unreadable::FragmentTiny,
            Fragment::Whole | Fragment::Later { .. } => Unreadable::ExtensionHeader,
        }
    }
}

/// Whether this header is walked over: what follows it is the packet's protocol.
#[inline]
#[must_use]
pub const fn is_extension(header: u8) -> bool {
    matches!(header, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// Walks the chain that begins with `next` in `payload`. A later fragment ends it.
pub(super) fn walk(next: u8, payload: &[u8]) -> Result<Chain<'_>, Unreadable> {
    let mut chain = Chain::ended(next, payload);
    for place in 0.. {
        if !is_extension(chain.protocol) {
            break;
        }
        if place == MOST_HEADERS || (chain.protocol == HOP_BY_HOP && place != 0) {
            return Err(Unreadable::ExtensionHeader);
        }
        let [after, size, kind, left, ..] = *chain.rest else { return Err(chain.overrun()) };
        let length = match chain.protocol {
            FRAGMENT => 8,
            // RFC 4302 §2: twelve fixed bytes; a size below that is refused once they are there.
            AUTHENTICATION => ((usize::from(size) + 2) * 4).max(12),
            _ => (usize::from(size) + 1) * 8,
        };
        let (header, rest) = chain.rest.split_at_checked(length).ok_or(chain.overrun())?;
        match chain.protocol {
            HOP_BY_HOP => hop_by_hop(header.get(2..).unwrap_or_default())?,
            ROUTING if kind == 0 => return Err(Unreadable::ExtensionHeader),
            ROUTING => chain.routed |= left != 0,
            AUTHENTICATION if size == 0 => return Err(Unreadable::ExtensionHeader),
            FRAGMENT if chain.fragmented => return Err(Unreadable::ExtensionHeader),
            FRAGMENT => {
                let [_, _, o0, o1, i0, i1, i2, i3, ..] = *header else { return Err(chain.overrun()) };
                let offset = u16::from_be_bytes([o0, o1]);
                chain.fragmented = true;
                chain.fragment = fragment(Piece {
                    id: u32::from_be_bytes([i0, i1, i2, i3]),
                    offset: offset & 0xfff8,
                    more: offset & 1 != 0,
                    length: rest.len(),
                    before: payload.len() - chain.rest.len(),
                })?;
            }
            _ => {}
        }
        (chain.protocol, chain.rest) = (after, rest);
        if matches!(chain.fragment, Fragment::Later { .. }) {
            break;
        }
    }
    Ok(chain)
}

/// Reads hop-by-hop options, for the jumbo payload option alone: with a payload length it is an error of
/// its own (RFC 2675 §3), so it is a jumbogram either way.
fn hop_by_hop(mut options: &[u8]) -> Result<(), Unreadable> {
    for _ in 0..MOST_OPTIONS {
        options = match *options {
            [] => return Ok(()),
            [0, ref rest @ ..] => rest,
            [0xc2, ..] => return Err(Unreadable::Jumbogram),
            [_, length, ref rest @ ..] => {
                rest.get(usize::from(length)..).ok_or(Unreadable::ExtensionHeader)?
            }
            [_] => return Err(Unreadable::ExtensionHeader),
        };
    }
    if options.is_empty() { Ok(()) } else { Err(Unreadable::ExtensionHeader) }
}
