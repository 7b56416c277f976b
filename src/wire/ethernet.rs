//! The link layer: Ethernet II and 802.3, up to two VLAN tags, ARP, spanning tree.
//!
//! **Priority tags.** A lone tag with id 0 carries a priority and no VLAN (IEEE 802.1Q §6.9.1): bridges
//! and hosts take the frame for an untagged one, so it is [`Vlans::UNTAGGED`] here too. Told apart, one
//! host's packets would have two flow keys and two fragment memories while the receiver has one: replies
//! would miss their flow, and fragments could overlap unseen. The frame itself is not changed. Beside a
//! second tag the id 0 stays as it is: equipment disagrees on what such a frame is, no network lists
//! `0.20` or `20.0`, so it belongs to none.
//!
//! An id of 4095 is reserved by the same standard and equals [`Vlans::NONE`]; such a frame must never
//! pass for an untagged one, so it can't be read at all.

use std::net::Ipv4Addr;

use super::{Arp, Mac, Net, Odd, Unreadable, Vlans};

/// Bytes of the least frame without its checksum (IEEE 802.3 §3.2.8).
pub(super) const LEAST: usize = 60;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const LACP: u16 = 0x8809;
pub(super) const LLDP: u16 = 0x88cc;
/// Tags of customers and of providers. 0x9100, which some equipment used before 802.1ad, is an ethertype
/// like any unknown one.
pub(super) const TAGS: [u16; 2] = [0x8100, 0x88a8];
/// From here on the field is a type, below it is the length of an 802.3 frame.
pub(super) const FIRST_TYPE: u16 = 0x600;

const BRIDGES: Mac = Mac([0x01, 0x80, 0xc2, 0, 0, 0]);
const CISCO_BRIDGES: Mac = Mac([0x01, 0, 0x0c, 0xcc, 0xcc, 0xcd]);

/// What precedes the network layer.
pub(super) struct Link {
    pub(super) dst_mac: Mac,
    pub(super) src_mac: Mac,
    pub(super) vlans: Vlans,
    pub(super) ethertype: u16,
    pub(super) odd: Option<Odd>,
}

/// Reads addresses and tags; gives what follows the ethertype.
#[inline]
pub(super) fn link(frame: &[u8]) -> Result<(Link, &[u8]), Unreadable> {
    let (head, mut rest) = frame.split_first_chunk::<14>().ok_or(Unreadable::Truncated)?;
    // Each address is copied as one: byte by byte they cost fifty instructions.
    let ([dst, src], &[t0, t1]) = head.as_chunks::<6>() else { return Err(Unreadable::Truncated) };
    let mut ethertype = u16::from_be_bytes([t0, t1]);
    let mut vlans = Vlans::UNTAGGED;
    if TAGS.contains(&ethertype) {
        (vlans.outer, ethertype, rest) = tag(rest)?;
        if TAGS.contains(&ethertype) {
            (vlans.inner, ethertype, rest) = tag(rest)?;
            if TAGS.contains(&ethertype) {
                return Err(Unreadable::TooManyTags);
            }
        } else if vlans.outer == 0 {
            vlans = Vlans::UNTAGGED;
        }
    }
    let link = Link {
        dst_mac: Mac(*dst),
        src_mac: Mac(*src),
        vlans,
        ethertype,
        // The group bit; broadcast has it as well.
        odd: if src[0] & 1 == 0 { None } else { Some(Odd::SourceNotUnicast) },
    };
    Ok((link, rest))
}

/// One tag: its id, the ethertype behind it, and what follows.
#[inline]
fn tag(rest: &[u8]) -> Result<(u16, u16, &[u8]), Unreadable> {
    let (tag, rest) = rest.split_first_chunk::<4>().ok_or(Unreadable::Truncated)?;
    let [c0, c1, t0, t1] = *tag;
    let id = u16::from_be_bytes([c0, c1]) & 0x0fff;
    if id == Vlans::NONE {
        return Err(Unreadable::VlanReserved);
    }
    Ok((id, u16::from_be_bytes([t0, t1]), rest))
}

/// Everything that is not IP.
pub(super) fn other(link: &Link, rest: &[u8]) -> Result<Net, Unreadable> {
    if link.ethertype == ARP {
        return arp(rest);
    }
    if link.ethertype >= FIRST_TYPE {
        return Ok(Net::Other);
    }
    let llc = rest.get(..usize::from(link.ethertype)).ok_or(Unreadable::Truncated)?;
    Ok(match llc {
        [0x42, 0x42, 0x03, ..] if link.dst_mac == BRIDGES => Net::Bpdu,
        [0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x01, 0x0b, ..] if link.dst_mac == CISCO_BRIDGES => Net::Bpdu,
        _ => Net::Other,
    })
}

/// Reads an ARP message. One that is not about IPv4 over Ethernet is [`Net::Other`]: it can't be held
/// against the inventory, so it must not pass as ARP.
fn arp(rest: &[u8]) -> Result<Net, Unreadable> {
    let (head, rest) = rest.split_first_chunk::<8>().ok_or(Unreadable::Truncated)?;
    let [0, 1, 0x08, 0, 6, 4, o0, o1] = *head else { return Ok(Net::Other) };
    let body = rest.first_chunk::<20>().ok_or(Unreadable::Truncated)?;
    let [m0, m1, m2, m3, m4, m5, s0, s1, s2, s3, _, _, _, _, _, _, t0, t1, t2, t3] = *body;
    Ok(Net::Arp(Arp {
        operation: u16::from_be_bytes([o0, o1]),
        sender_mac: Mac([m0, m1, m2, m3, m4, m5]),
        sender: Ipv4Addr::new(s0, s1, s2, s3),
        target: Ipv4Addr::new(t0, t1, t2, t3),
    }))
}
