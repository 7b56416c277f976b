//! Replies: who opens what a rule forbids is told so, where the rule says how.
//!
//! What it is: the choice between dropping a packet and rejecting it, which is dropping and answering. What it
//! is not: it writes no frame; the worker does, over the refused one, and counts what it sent. Invariants:
//! only what is really dropped is answered, and only who opened it; a packet that gets no reply is a plain
//! drop with the same reason, and why there is none is counted. Cost: none for a packet that crosses.

use super::stages::Objection;
use super::{EventKind, Outcome, Pipeline, Scene};
use crate::flow::limits::{Replies, ReplyRefusal};
use crate::flow::{Bounds, Source, random_secret};
use crate::policy::Mode;
use crate::wire::{Facts, Net, Reply};

/// Parties whose replies are counted, at most, one worker.
const PARTIES: usize = 1_024;

/// Why a packet that a rule wanted answered was dropped without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Unsent {
    /// Nobody answers such a packet: an error, a reset, a group's, a later fragment.
    NotAnswerable,
    /// All together have got as many replies as they may.
    Limit,
    /// Its source has.
    SourceLimit,
    /// The port that it came from takes no more.
    NoWayBack,
}

impl Unsent {
    /// All of them, in counter order.
    pub const ALL: [Self; 4] = [Self::NotAnswerable, Self::Limit, Self::SourceLimit, Self::NoWayBack];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAnswerable => "not_answerable",
            Self::Limit => "reply_limit",
            Self::SourceLimit => "reply_source_limit",
            Self::NoWayBack => "no_way_back",
        }
    }

    /// In words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotAnswerable => "an error, a reset, a group or a later fragment, which nobody answers",
            Self::Limit => "as many replies went out as may",
            Self::SourceLimit => "as many replies went to its source as may",
            Self::NoWayBack => "the port that it came from takes no more",
        }
    }

    /// Index into a counter array.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl From<ReplyRefusal> for Unsent {
    fn from(refusal: ReplyRefusal) -> Self {
        match refusal {
            ReplyRefusal::All => Self::Limit,
            ReplyRefusal::Each => Self::SourceLimit,
        }
    }
}

/// What may be answered still.
#[derive(Debug)]
pub(super) struct Answering {
    limits: Replies,
    /// Replies that the TX ring of the burst's own side takes.
    room: usize,
    /// Ticks after a start in which TCP of no flow is answered.
    cold: u32,
    /// The tick of the start.
    started: Option<u32>,
}

impl Answering {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let limits = Replies::new(PARTIES, bounds.replies, random_secret());
        Self { limits, room: 0, cold: bounds.cold, started: None }
    }

    /// Whether the start was so lately that connections are asked about which nobody here can know.
    fn is_cold(&mut self, tick: u32) -> bool {
        let Some(started) = self.started else { return false };
        let cold = tick.wrapping_sub(started) < self.cold;
        if !cold {
            // Ticks come round again.
            self.cold = 0;
        }
        cold
    }

    /// Takes the place and the tokens of one reply.
    fn take(&mut self, facts: &Facts, tick: u32) -> Result<(), Unsent> {
        let Net::Ip(ip) = &facts.net else { return Err(Unsent::NotAnswerable) };
        let left = self.room.checked_sub(1).ok_or(Unsent::NoWayBack)?;
        self.limits.admit(Source::of(ip.src, facts.vlans), tick)?;
        self.room = left;
        Ok(())
    }
}

impl Pipeline {
    /// So many replies fit into the TX ring of the side that the next burst arrives on.
    pub const fn let_reply(&mut self, room: usize) {
        self.answering.room = room;
    }

    /// The flow table is empty from here on: for as long as the policy says, TCP of no flow is answered. Said
    /// again it means nothing.
    pub const fn start_empty(&mut self, tick: u32) {
        if self.answering.started.is_none() {
            self.answering.started = Some(tick);
        }
    }

    /// Ends TCP that belongs to no flow. Soon after a start its connection may have been an allowed one: then
    /// its sender is told by a reset that it is over, if the policy says so (FLOWS.md §3).
    pub(super) fn object_to_stranger(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        why: Objection,
        allowed: bool,
    ) -> Outcome {
        if allowed && self.answering.is_cold(scene.tick) {
            self.reject_or_object(scene, facts, why, Reply::Reset)
        } else {
            self.object(scene, facts, why)
        }
    }

    /// Ends a packet of who opens what something speaks against: as [`Pipeline::object`] does, but what is
    /// dropped by a rule that says so is answered.
    pub(super) fn object_to_opener(&mut self, scene: &Scene<'_>, facts: &Facts, why: Objection) -> Outcome {
        let reply = scene.table.rule(why.rule).and_then(|rule| rule.reply);
        match reply {
            Some(reply) => self.reject_or_object(scene, facts, why, reply),
            None => self.object(scene, facts, why),
        }
    }

    fn reject_or_object(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        why: Objection,
        reply: Reply,
    ) -> Outcome {
        match self.try_reject(scene, facts, why, reply) {
            Some(Ok(())) => {
                self.account.against(why.reason, Some(why.mode), why.rule);
                self.record(scene, EventKind::Reject, facts, Some(why.reason), why.rule, why.mode);
                Outcome::Reject(why.reason, reply)
            }
            Some(Err(unsent)) => {
                self.counters.unsent(scene.side, unsent);
                self.object(scene, facts, why)
            }
            None => self.object(scene, facts, why),
        }
    }

    /// `None`: its mode lets the packet cross.
    fn try_reject(
        &mut self,
        scene: &Scene<'_>,
        facts: &Facts,
        why: Objection,
        reply: Reply,
    ) -> Option<Result<(), Unsent>> {
        let may = reply.may_answer(facts);
        self.account.reply = may.then_some(reply);
        if why.mode != Mode::Enforce {
            return None;
        }
        Some(if may { self.answering.take(facts, scene.tick) } else { Err(Unsent::NotAnswerable) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_cold_for_its_time_whoever_asks_before_it() {
        let mut answering = Answering::new(&Bounds { cold: 10, ..Bounds::of(64) });
        assert!(!answering.is_cold(100), "there was no start");
        answering.started = Some(100);
        assert!(answering.is_cold(100) && answering.is_cold(109));
        assert!(!answering.is_cold(110));
        assert!(!answering.is_cold(105), "ticks come round, and it stays over");
    }
}
