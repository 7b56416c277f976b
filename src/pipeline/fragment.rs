//! The fragment stage: a fragment meets the memory of its datagram, and goes on like any packet with the
//! ports of the first; one that comes before its first waits.

use super::stages::{Objection, mode_of};
use super::{Outcome, Pipeline, Reason, Released, Scene};
use crate::flow::fragments::{Answer, Piece, Ports, Release};
use crate::policy::RuleNumber;
use crate::wire::{Facts, Fragment, Ip, Net, Side};

/// A fragment that waits: the place of its frame, and what was read of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    place: Option<u32>,
    side: Side,
    facts: Facts,
}

impl Pipeline {
    /// A fragment of a datagram.
    pub(super) fn fragment(&mut self, scene: &Scene<'_>, facts: &Facts, ip: &Ip, piece: &Piece) -> Outcome {
        let owner = self.owner.of(&piece.datagram.owner_key());
        if owner != self.me {
            return Outcome::HandOver(owner);
        }
        let place = self.shelf.pop();
        let waiting = Waiting { place, side: scene.side, facts: *facts };
        match self.fragments.meet(piece, waiting, scene.tick) {
            Answer::Known(waiting, ports) => {
                self.shelf.extend(waiting.place);
                self.whole(scene, facts, &with_ports(ip, &ports))
            }
            // There are as many places as the memory holds fragments.
            Answer::Held => place.map_or(Outcome::Drop(Reason::FragmentHeldFull), Outcome::Hold),
            Answer::Refused(waiting, why) => {
                self.shelf.extend(waiting.place);
                self.refuse(scene, facts, why.into())
            }
        }
    }

    fn refuse(&mut self, scene: &Scene<'_>, facts: &Facts, reason: Reason) -> Outcome {
        let objection = Objection { reason, mode: mode_of(scene, facts), rule: RuleNumber::NONE };
        self.object(scene, facts, objection)
    }

    /// Whether a fragment waits, or has ended its waiting and was not told yet.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.fragments.held() > 0
    }

    /// Fragments that are kept at most.
    #[must_use]
    pub fn shelf(&self) -> usize {
        self.shelf.capacity()
    }

    /// Ends the waiting of every fragment as if its time were over: at a stop.
    pub fn give_up(&mut self, tick: u32) {
        let later = tick.wrapping_add(self.fragments.timeout());
        self.fragments.sweep(later, u32::MAX);
    }

    /// The next fragment whose waiting has ended. `scene` and `room` are asked for the side it came from:
    /// what is the same for all, and the free places in the other port's TX ring. The caller has opened the
    /// counters.
    pub fn next_released<'a>(
        &mut self,
        scene: impl Fn(Side) -> Scene<'a>,
        room: impl FnOnce(Side) -> usize,
    ) -> Option<Released> {
        let (Waiting { place, side, facts }, release) = self.fragments.next_released()?;
        let place = place?;
        self.shelf.push(place);
        let scene = scene(side);
        self.events_left = self.events_left.max(1);
        let outcome = match (release, &facts.net) {
            (Release::Refused(why), _) => self.refuse(&scene, &facts, why.into()),
            (Release::Known(_), _) if room(side) == 0 => self.refuse(&scene, &facts, Reason::TxRingFull),
            (Release::Known(ports), Net::Ip(ip)) => self.whole(&scene, &facts, &with_ports(ip, &ports)),
            // Nothing else is fragmented.
            (Release::Known(_), Net::Arp(_) | Net::Bpdu | Net::Other) => {
                self.refuse(&scene, &facts, Reason::FragmentNoFirst)
            }
        };
        Some(Released { place, side, outcome })
    }
}

/// A fragment with what its first tells.
fn with_ports(ip: &Ip, ports: &Ports) -> Ip {
    match ip.fragment {
        Fragment::Later { .. } => Ip { protocol: ports.protocol(), l4: ports.l4(), ..*ip },
        Fragment::Whole | Fragment::First { .. } => *ip,
    }
}
