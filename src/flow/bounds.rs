//! What a worker may remember, and how much of it one party may take.

use std::sync::Arc;

use super::fragments::FragmentLimits;
use super::limits::{
    Destination, HalfOpen, HalfOpenSlot, LimitRefusal, NewFlows, Rate, ReplyLimits, ShareLimits, Shares,
};
use super::{Opening, Party, Phase, Source, SourceHash, Timeouts, random_secret, ticks_in};
use crate::policy::model::{Gate, Limits};
use crate::wire::{Key, Side};

/// Sources whose new flows are counted, at most, one worker.
const SOURCES: u32 = 4_096;

/// The bounds of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Flows.
    pub flows: u32,
    /// How long they are remembered in silence.
    pub timeouts: Timeouts,
    /// Fragmented datagrams.
    pub fragments: FragmentLimits,
    /// Half-open TCP connections of a destination, all workers together.
    pub half_open: u32,
    /// How fast a source may open flows.
    pub new_flows: Rate,
    /// How much of the flow table a source and all that is outside may take.
    pub shares: ShareLimits,
    /// How many replies may go out.
    pub replies: ReplyLimits,
    /// Ticks after a start in which TCP of no flow is answered by a reset.
    pub cold: u32,
}

impl Bounds {
    /// One worker's part of what the policy's `[gate]` says: timeouts and half-open connections are the same
    /// for all, of everything else each has its share.
    #[must_use]
    pub fn under(gate: &Gate, workers: u32) -> Self {
        let limits = &gate.limits;
        let part = |all: u32| (all / workers.max(1)).max(1);
        let second = |all: u32| Rate { per_second: part(all), burst: part(all) };
        Self {
            flows: part(gate.flows),
            timeouts: Timeouts::from(&gate.timeouts),
            fragments: FragmentLimits {
                datagrams: part(limits.datagrams),
                datagrams_a_source: part(limits.datagrams_per_source),
                held: part(limits.held_fragments),
                held_a_source: part(limits.held_fragments_per_source),
                timeout: ticks_in(gate.timeouts.fragment).saturating_add(1),
            },
            half_open: limits.half_open,
            new_flows: Rate {
                per_second: part(limits.new_flows_per_source),
                burst: part(limits.new_flows_burst),
            },
            shares: ShareLimits {
                source: part(limits.flows_per_source),
                outside: part(limits.flows_from_outside),
            },
            replies: ReplyLimits { all: second(limits.replies), each: second(limits.replies_per_source) },
            cold: ticks_in(gate.cold_start_reset),
        }
    }

    /// The usual bounds around a table of so many flows, one worker; below 64 flows without shares.
    #[must_use]
    pub fn of(flows: u32) -> Self {
        let usual = Self::under(&Gate { flows, limits: Limits::of(flows), ..Gate::default() }, 1);
        let ShareLimits { source, outside } = usual.shares;
        Self { shares: ShareLimits { source: source.max(64), outside: outside.max(64) }, ..usual }
    }

    /// The same table with no limit on what a party may take of it.
    #[must_use]
    pub fn without_limits(self) -> Self {
        let all = u32::MAX;
        Self {
            half_open: all,
            new_flows: Rate { per_second: all, burst: all },
            shares: ShareLimits { source: all, outside: all },
            ..self
        }
    }
}

/// What is counted of the parties of one worker's flows. What was counted when a flow began is taken off
/// once when it ends.
#[derive(Debug)]
pub(super) struct Tallies {
    half_open: Arc<HalfOpen>,
    hash: SourceHash,
    new_flows: NewFlows,
    shares: Shares,
}

impl Tallies {
    pub(super) fn new(bounds: &Bounds, half_open: Arc<HalfOpen>) -> Self {
        Self {
            half_open,
            hash: SourceHash::new(random_secret()),
            new_flows: NewFlows::new(usize::try_from(SOURCES.min(bounds.flows)).unwrap_or(1)),
            // A source is counted too high by what others have in both its places: some sixteen flows. However
            // small the table, two sources out of a few do not meet in both.
            shares: Shares::new((bounds.flows / 16).max(4_096)),
        }
    }

    /// The source at the end `a` of a key, or at the other one.
    #[inline]
    fn source(&self, is_a: bool, key: &Key) -> Party {
        self.hash.of(Source::of_key(key, is_a))
    }

    /// Counts a flow that begins. The place of its SYN among the half-open, if it has one.
    pub(super) fn begin(
        &mut self,
        bounds: &Bounds,
        key: &Key,
        opening: &Opening,
        tick: u32,
    ) -> Result<Option<HalfOpenSlot>, LimitRefusal> {
        let source = self.source(opening.by_a, key);
        // What was under way before the gate looked opens nothing.
        if !opening.first.is_unseen() {
            self.new_flows.admit(&source, bounds.new_flows, tick)?;
        }
        let syn = !opening.first.is_unseen()
            && opening.track.is_some_and(|track| track.phase() == Phase::Opening);
        let place = if syn {
            let [(a, _), (b, _)] = key.ends();
            let target = if opening.by_a { b } else { a };
            Some(self.half_open.open(&Destination::of(target, key.vlans()), bounds.half_open)?)
        } else {
            None
        };
        if let Err(why) = self.shares.open(&source, opening.side, bounds.shares) {
            if let Some(place) = place {
                self.half_open.close(place);
            }
            return Err(why);
        }
        Ok(place)
    }

    /// Takes a flow off that has ended.
    pub(super) fn end(&mut self, (by_a, side): (bool, Side), key: &Key, place: Option<HalfOpenSlot>) {
        self.shares.close(&self.source(by_a, key), side);
        if let Some(place) = place {
            self.half_open.close(place);
        }
    }

    /// The other end is taken for a flow's opener from now on.
    pub(super) fn turn(&mut self, key: &Key, before: (bool, Side), after: (bool, Side)) {
        self.shares.close(&self.source(before.0, key), before.1);
        // It exists already: no share can refuse it.
        let all = ShareLimits { source: u32::MAX, outside: u32::MAX };
        let _ = self.shares.open(&self.source(after.0, key), after.1, all);
    }

    /// A connection is half-open no more.
    pub(super) fn complete(&self, place: HalfOpenSlot) {
        self.half_open.close(place);
    }

    /// Its destination has more than half of what it may.
    pub(super) fn is_pressed(&self, place: HalfOpenSlot, bounds: &Bounds) -> bool {
        self.half_open.is_above_half(place, bounds.half_open)
    }
}
