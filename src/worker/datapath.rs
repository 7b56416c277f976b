//! What a worker does with frames.
//!
//! What it is: its queues, its pipeline, its ends of the rings to other workers, and all that lies between them while
//! a burst is judged: frames are taken, judged and sent, put aside or passed on. What it is not: it does not know when
//! (the loop does), and it decides nothing about a packet (the pipeline does). Invariants: every frame that was taken
//! is accounted for when a burst has been judged; but for the lanes, where something was passed on, a turn writes
//! nothing that another worker reads, and no count of owners, whose line all would fetch from one another.

use std::sync::Arc;

use super::ending::{Aside, pass_on, set_aside, without_residue};
use super::lanes::Parcel;
use super::mail::Mail;
use super::{Lanes, Policy};
use crate::flow::fragments::Ports;
use crate::flow::tick;
use crate::io::clock::{Reading, trusted};
use crate::io::{BURST, Frame, QueuePair};
use crate::pipeline::{Counters, Outcome, Pipeline, Reason, Released, Scene};
use crate::wire::{Reply, Side};

/// A bit of what the pipeline says of a burst stands for each of its frames.
const _: () = assert!(BURST == crate::pipeline::BURST && BURST == 64);

/// Queues, pipeline and lanes of one worker.
pub(super) struct Datapath<Q> {
    pub(super) queues: Q,
    pub(super) pipeline: Pipeline,
    /// The rings to other workers, if there are any.
    pub(super) lanes: Option<Box<Lanes>>,
    counters: Arc<Counters>,
    frames: Vec<Frame>,
    outcomes: Vec<Outcome>,
    /// Frames of fragments that wait, by place.
    shelf: Vec<Option<Frame>>,
    /// Where a reply is written before it takes the place of what it answers.
    draft: Box<[u8; Reply::LONGEST]>,
    /// Taken over and not yet judged; empty between turns.
    parcels: Vec<Parcel>,
}

/// How a burst came to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// From its own RX ring.
    Received,
    /// From another worker.
    Passed,
    /// From another worker, with what the first fragment of its datagram tells.
    Told,
}

impl Came {
    /// Whether such a frame may be passed on. At most twice: to who remembers a datagram, and from there to who
    /// owns the flow. That follows from how a frame is judged; here it is held to it.
    const fn may_go_on(self, with: Option<&Ports>) -> bool {
        match self {
            Self::Received => true,
            Self::Passed => with.is_some(),
            Self::Told => false,
        }
    }
}

impl<Q: QueuePair> Datapath<Q> {
    /// From these queues through this pipeline, which counts there, and by no lane.
    pub(super) fn new(queues: Q, pipeline: Pipeline, counters: Arc<Counters>) -> Self {
        let shelf = std::iter::repeat_with(|| None).take(pipeline.shelf()).collect();
        Self {
            queues,
            pipeline,
            lanes: None,
            counters,
            frames: Vec::with_capacity(BURST),
            outcomes: Vec::with_capacity(BURST),
            shelf,
            draft: Box::new([0; Reply::LONGEST]),
            parcels: Vec::new(),
        }
    }

    /// The same with its ends of the rings to other workers.
    pub(super) fn among(self, lanes: Option<Lanes>) -> Self {
        let parcels = Vec::with_capacity(if lanes.is_some() { BURST } else { 0 });
        Self { lanes: lanes.map(Box::new), parcels, ..self }
    }

    /// A burst from each RX ring, then one from each ring of another worker. True if a packet came.
    pub(super) fn bursts(&mut self, policy: &Policy, now: &Reading) -> bool {
        if let Some(lanes) = &mut self.lanes {
            lanes.regain(&mut self.queues);
        }
        let mut busy = false;
        for side in Side::BOTH {
            let scene = scene(policy, now, side);
            self.queues.receive(side, &mut self.frames);
            if !self.frames.is_empty() {
                self.burst(&scene, Came::Received);
                busy = true;
            }
        }
        let senders = self.lanes.as_mut().map_or(0, |lanes| lanes.senders());
        if senders != 0 {
            busy |= self.take_over(senders, policy, now);
        }
        busy
    }

    /// What these others have passed on, by the ring it came through.
    #[inline(never)]
    fn take_over(&mut self, senders: u64, policy: &Policy, now: &Reading) -> bool {
        let others = self.lanes.as_ref().map_or(0, |lanes| lanes.workers());
        let mut busy = false;
        let mut parcels = std::mem::take(&mut self.parcels);
        let others = (0..others).filter(|other| senders & Mail::of(*other) != 0);
        for (other, side) in others.flat_map(|other| Side::BOTH.map(|side| (other, side))) {
            let Some(lanes) = &mut self.lanes else { continue };
            lanes.take(&mut self.queues, (other, side), &mut parcels);
            if parcels.is_empty() {
                continue;
            }
            busy = true;
            let scene = scene(policy, now, side);
            for Parcel { frame, ports } in parcels.drain(..) {
                if ports.is_some() && !self.frames.is_empty() {
                    self.burst(&scene, Came::Passed);
                }
                self.frames.push(frame);
                if ports.is_some() {
                    self.pipeline.tell_ports(ports);
                    self.burst(&scene, Came::Told);
                    self.pipeline.tell_ports(None);
                }
            }
            if !self.frames.is_empty() {
                self.burst(&scene, Came::Passed);
            }
        }
        self.parcels = parcels;
        busy
    }

    /// What was passed on goes before what is sent: a neighbour may sleep.
    pub(super) fn flush(&mut self) {
        if let Some(lanes) = &mut self.lanes {
            lanes.flush();
        }
        self.queues.flush();
    }

    /// Judges the frames at hand and ends them.
    fn burst(&mut self, scene: &Scene<'_>, came: Came) {
        let (side, out) = (scene.side, scene.side.other());
        let room = self.queues.room(out);
        self.pipeline.let_reply(self.queues.room(side));
        let counters = &self.counters;
        counters.begin();
        let mut tails = {
            let mut bytes: [&[u8]; BURST] = [&[]; BURST];
            let mut octets = 0;
            for (place, frame) in bytes.iter_mut().zip(&self.frames) {
                *place = self.queues.bytes(frame);
                octets += u64::from(frame.length());
            }
            match came {
                Came::Received => counters.received(side, count(self.frames.len()), octets),
                Came::Passed | Came::Told => counters.took_over(side, count(self.frames.len())),
            }
            let taken = bytes.get(..self.frames.len()).unwrap_or(&[]);
            self.pipeline.burst(scene, taken, room, &mut self.outcomes)
        };
        let (mut sent, mut octets) = (0, 0);
        for (frame, outcome) in self.frames.drain(..).zip(&self.outcomes) {
            let length = frame.length();
            let tail = tails & 1 == 1;
            tails >>= 1;
            // Nearly all; the rest is another function's.
            if *outcome == Outcome::Forward {
                let frame = if tail { without_residue(&mut self.queues, frame) } else { frame };
                match self.queues.send(out, frame) {
                    Ok(()) => {
                        sent += 1;
                        octets += u64::from(length);
                    }
                    Err(frame) => {
                        counters.dropped(side, Reason::TxRingFull);
                        self.queues.recycle(frame);
                    }
                }
            } else if let Outcome::HandOver(pass) = *outcome {
                // With several workers most of what one receives, where cards spread without regard to direction.
                let with = self.pipeline.told_with(outcome);
                let lanes = self.lanes.as_deref_mut().filter(|_| came.may_go_on(with.as_ref()));
                pass_on(&mut self.queues, lanes, counters, side, (frame, pass, with));
            } else {
                let aside = Aside { shelf: &mut self.shelf, draft: &mut self.draft, lanes: None };
                set_aside(&mut self.queues, aside, counters, side, (frame, outcome, None));
            }
        }
        self.outcomes.clear();
        counters.forwarded(side, sent, octets);
        counters.end();
    }

    /// Sends or recycles the frames of fragments that wait no longer.
    pub(super) fn release(&mut self, policy: &Policy, now: &Reading) {
        let counters = &self.counters;
        counters.begin();
        loop {
            let queues = &mut self.queues;
            let released = self
                .pipeline
                .next_released(|side| scene(policy, now, side), |side| queues.room(side.other()));
            let Some(Released { place, side, outcome }) = released else { break };
            let kept = usize::try_from(place).ok().and_then(|place| self.shelf.get_mut(place));
            let Some(frame) = kept.and_then(Option::take) else { continue };
            counters.released(side);
            let octets = u64::from(frame.length());
            if outcome == Outcome::Forward {
                let frame = without_residue(queues, frame);
                match queues.send(side.other(), frame) {
                    Ok(()) => counters.forwarded(side, 1, octets),
                    Err(frame) => {
                        counters.dropped(side, Reason::TxRingFull);
                        queues.recycle(frame);
                    }
                }
            } else {
                let with = self.pipeline.told_with(&outcome);
                let lanes = self.lanes.as_deref_mut();
                let aside = Aside { shelf: &mut self.shelf, draft: &mut self.draft, lanes };
                set_aside(queues, aside, counters, side, (frame, &outcome, with));
            }
        }
        counters.end();
    }
}

fn scene<'a>(policy: &'a Policy, now: &Reading, side: Side) -> Scene<'a> {
    let Policy { table, generation, .. } = policy;
    let asked = trusted(now.now);
    Scene { table, generation: *generation, now: now.now, asked, tick: tick(now.boot), side }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
