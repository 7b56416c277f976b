//! Which worker a packet is for, where there are several.
//!
//! What it is: the owner of its flow, or who remembers its datagram, found by what of it was read. What it is not:
//! it passes nothing on; the worker does. Invariants: with a single worker the answer is always nobody, and so it is
//! for what is judged where it arrives: groups, and housekeeping. Cost: a test with one worker, else a hash.

use super::{Pipeline, Scene};
use crate::flow::fragments::{Piece, Ports};
use crate::wire::{Facts, Key, L4, Net, Plain};

impl Pipeline {
    /// The other worker that a plain packet without a flow here is passed on to. What is for a group has no flow
    /// anywhere, and is judged where it arrives.
    #[inline]
    pub(super) fn passed_on(&self, scene: &Scene<'_>, found: &Plain) -> Option<u32> {
        self.owned_elsewhere(&found.key).filter(|_| {
            let (_, (dst, _)) = found.key.sender_first(found.from_a);
            !scene.table.is_group(dst)
        })
    }

    /// The other worker that owns a key, if one does.
    #[inline]
    pub(super) fn owned_elsewhere(&self, key: &Key) -> Option<u32> {
        if self.owner.is_alone() {
            return None;
        }
        let owner = self.owner.of(key);
        (owner != self.me).then_some(owner)
    }

    /// The other worker that decides about a packet, if one does. Asked where this one has no place for it to be
    /// sent from: whoever owns its flow has places of its own. Of a fragment, `told` is what its first tells, if that
    /// is known.
    #[cold]
    #[inline(never)]
    pub(super) fn decided_elsewhere(
        &self,
        scene: &Scene<'_>,
        facts: &Facts,
        told: Option<&Ports>,
    ) -> Option<u32> {
        if self.owner.is_alone() {
            return None;
        }
        let Net::Ip(ip) = &facts.net else { return None };
        if scene.table.is_group(ip.dst) || facts.housekeeping().is_some() {
            return None;
        }
        let key = match (Piece::of(facts, scene.side), told, &ip.l4) {
            (Some(_), Some(ports), _) => ports.key(ip.src, ip.dst, facts.vlans).0,
            (Some(piece), None, _) => piece.datagram.owner_key(),
            (None, _, L4::Icmp(icmp)) if icmp.is_error(ip.src.is_ipv6()) => icmp.quote?.key(facts.vlans).0,
            (None, ..) => facts.key()?.0,
        };
        self.owned_elsewhere(&key)
    }
}
