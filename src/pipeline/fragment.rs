//! The fragment stage: a fragment meets the memory of its datagram, and goes on like any packet with the
//! ports of the first; one that comes before its first waits. Where there are several workers, one of them
//! remembers the datagram, and another may own its flow: the ports go along.

use super::stages::{Objection, mode_of};
use super::{BURST, Outcome, Pass, Pipeline, Reason, Released, Scene};
use crate::flow::Owner;
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

/// What goes along with fragments between workers.
#[derive(Debug)]
pub(super) struct Pieces {
    /// With those that this burst passes on.
    leaving: Vec<Ports>,
    /// With the one whose turn it is, which was passed on to this worker.
    told: Option<Ports>,
}

impl Pieces {
    /// Room for those of a burst, where there is somebody to pass them on to.
    pub(super) fn among(owner: &Owner) -> Self {
        Self { leaving: Vec::with_capacity(if owner.is_alone() { 0 } else { BURST }), told: None }
    }

    /// What came along with the fragment whose turn it is.
    pub(super) const fn told(&self) -> Option<&Ports> {
        self.told.as_ref()
    }

    /// A burst begins.
    #[inline]
    pub(super) fn forget(&mut self) {
        if !self.leaving.is_empty() {
            self.leaving.clear();
        }
    }
}

impl Pipeline {
    /// What follows is a burst of a single fragment that another worker passed on, with what the first of its
    /// datagram tells; or no longer.
    pub const fn tell_ports(&mut self, ports: Option<Ports>) {
        self.pieces.told = ports;
    }

    /// What goes along with a frame of the latest burst, if it is passed on.
    #[must_use]
    pub fn told_with(&self, outcome: &Outcome) -> Option<Ports> {
        let Outcome::HandOver(pass) = outcome else { return None };
        let at = usize::from(pass.piece).checked_sub(1)?;
        self.pieces.leaving.get(at).copied()
    }

    /// A fragment whose datagram's ports are known.
    fn piece(&mut self, scene: &Scene<'_>, facts: &Facts, ip: &Ip, ports: &Ports) -> Outcome {
        match self.whole(scene, facts, &with_ports(ip, ports)) {
            Outcome::HandOver(pass) => Outcome::HandOver(self.along(pass, ports)),
            end @ (Outcome::Forward | Outcome::Drop(_) | Outcome::Reject(..) | Outcome::Hold(_)) => end,
        }
    }

    /// The same pass, with these ports.
    fn along(&mut self, pass: Pass, ports: &Ports) -> Pass {
        self.pieces.leaving.push(*ports);
        Pass { piece: u16::try_from(self.pieces.leaving.len()).unwrap_or(0), ..pass }
    }

    /// A fragment of a datagram.
    pub(super) fn fragment(&mut self, scene: &Scene<'_>, facts: &Facts, ip: &Ip, piece: &Piece) -> Outcome {
        if let Some(ports) = self.pieces.told {
            return self.piece(scene, facts, ip, &ports);
        }
        if let Some(owner) = self.owned_elsewhere(&piece.datagram.owner_key()) {
            return Outcome::HandOver(Pass::to(owner));
        }
        let place = self.shelf.pop();
        let waiting = Waiting { place, side: scene.side, facts: *facts };
        match self.fragments.meet(piece, waiting, scene.tick) {
            Answer::Known(waiting, ports) => {
                self.shelf.extend(waiting.place);
                self.piece(scene, facts, ip, &ports)
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
        self.pieces.forget();
        let outcome = match (release, &facts.net) {
            (Release::Refused(why), _) => self.refuse(&scene, &facts, why.into()),
            (Release::Known(ports), _) if room(side) == 0 => {
                match self.decided_elsewhere(&scene, &facts, Some(&ports)) {
                    Some(worker) => Outcome::HandOver(self.along(Pass::to(worker), &ports)),
                    None => self.refuse(&scene, &facts, Reason::TxRingFull),
                }
            }
            (Release::Known(ports), Net::Ip(ip)) => self.piece(&scene, &facts, ip, &ports),
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
