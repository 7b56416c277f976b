//! The loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use hdrhistogram::Histogram;

use super::desk::Copier;
use super::ending::{Aside, pass_on, set_aside, without_residue};
use super::lanes::Parcel;
use super::{Gauges, Lanes, Policy, WorkerFace};
use crate::flow::fragments::Ports;
use crate::flow::limits::HalfOpen;
use crate::flow::{Bounds, FlowTable, Owner, Region, tick};
use crate::io::clock::{Clock, Reading, trusted};
use crate::io::{BURST, Frame, Heartbeat, QueuePair};
use crate::pipeline::{Outcome, Pipeline, Present, Reason, Released, Scene};
use crate::wire::{Reply, Side};

/// Idle turns before the worker sleeps in poll. Spinning longer costs the other core of a small machine
/// its time (pure spin on two busy virtual CPUs: 17 Mbit/s; spin, then poll all: 2.2 Gbit/s).
const SPIN_TURNS: u32 = 64;
/// Slots of the flow table looked at after a busy turn, and after an idle one.
pub(super) const SWEEP_BUSY: usize = 16;
pub(super) const SWEEP_IDLE: usize = 256;
/// The same of the hand that judges flows again after a publish, while there are packets none more: at
/// 0.1 µs a flow a packet that comes meanwhile waits a tenth of a millisecond at most.
const REVIEW_IDLE: usize = 1_024;
/// A worker that was told to stop waits this long for its frames to leave, and for the others to be as far. Each counts
/// from when it hears of the stop, which is at most a longest sleep (100 ms) after another: what it then still
/// receives or passes on has time to go on, long before the first of them would leave without having seen it.
const FAREWELL_NANOS: u64 = 500_000_000;
/// Gauges are published this often.
const GAUGES_NANOS: u64 = 100_000_000;
/// A bit of what the pipeline says of a burst stands for each of its frames.
const _: () = assert!(BURST == crate::pipeline::BURST && BURST == 64);
/// A turn longer than this counts as this in the histogram.
const LONGEST_TURN: u64 = 1_000_000_000;

/// What a worker obeys.
#[derive(Debug, Clone)]
pub struct Orders {
    /// The policy in force.
    pub policy: Arc<ArcSwap<Policy>>,
    /// Set to stop.
    pub stop: Arc<AtomicBool>,
    /// Nanoseconds after which a heartbeat is stale.
    pub heartbeat: u64,
}

/// One worker with all it owns.
pub struct Worker<Q, H> {
    queues: Q,
    heartbeat: H,
    clock: Clock,
    pipeline: Pipeline,
    policy: Cache<Arc<ArcSwap<Policy>>, Arc<Policy>>,
    orders: Orders,
    face: Arc<WorkerFace>,
    turns: Histogram<u64>,
    frames: Vec<Frame>,
    outcomes: Vec<Outcome>,
    /// Frames of fragments that wait, by place.
    shelf: Vec<Option<Frame>>,
    /// Where a reply is written before it takes the place of what it answers.
    desk: Box<[u8; Reply::LONGEST]>,
    published: u64,
    copier: Copier,
    /// The rings to other workers, if there are any.
    lanes: Option<Box<Lanes>>,
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

impl<Q: QueuePair, H: Heartbeat> Worker<Q, H> {
    /// A worker over its queues, with a flow table over `region`. It is index `me` of those that `owner` divides flows among.
    ///
    /// # Errors
    /// The histogram's bounds, which are constants.
    pub fn new(
        mut queues: Q,
        heartbeat: H,
        clock: Clock,
        (owner, me): (Owner, u32),
        (region, bounds, half_open): (Region, Bounds, Arc<HalfOpen>),
        face: Arc<WorkerFace>,
        orders: Orders,
    ) -> Result<Self, hdrhistogram::CreationError> {
        // What waits takes frames from those that circulate on its side: at most a quarter.
        let quarter = (queues.census().total() / 2).saturating_sub(queues.reserve()) / 4;
        let mut bounds = bounds;
        bounds.fragments.held = bounds.fragments.held.min(quarter);
        bounds.fragments.held_a_source = bounds.fragments.held_a_source.min(quarter);
        let pipeline = Pipeline::new(
            FlowTable::over(region, bounds, half_open),
            owner,
            me,
            Arc::clone(&face.counters),
            Arc::clone(&face.events),
        )
        .telling(Arc::clone(&face.cuts));
        let shelf = std::iter::repeat_with(|| None).take(pipeline.shelf()).collect();
        Ok(Self {
            queues,
            heartbeat,
            clock,
            pipeline,
            policy: Cache::new(Arc::clone(&orders.policy)),
            orders,
            face,
            turns: Histogram::new_with_bounds(1, LONGEST_TURN, 2)?,
            frames: Vec::with_capacity(BURST),
            outcomes: Vec::with_capacity(BURST),
            shelf,
            desk: Box::new([0; Reply::LONGEST]),
            published: 0,
            copier: Copier::default(),
            lanes: None,
            parcels: Vec::new(),
        })
    }

    /// The same with its ends of the rings to other workers. Without any, what another one owns has no way out.
    #[must_use]
    pub fn among(self, lanes: Option<Lanes>) -> Self {
        let parcels = Vec::with_capacity(if lanes.is_some() { BURST } else { 0 });
        Self { lanes: lanes.map(Box::new), parcels, ..self }
    }

    /// The queues it owns.
    pub fn queues(&mut self) -> &mut Q {
        &mut self.queues
    }

    /// What it obeys.
    #[must_use]
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// Works until told to stop, then leaves no frame it has taken unaccounted for and gives the queues
    /// back.
    pub fn run(mut self) -> Q {
        let mut idle = 0;
        let mut busy_since = None;
        while !self.orders.stop.load(Ordering::Relaxed) {
            let now = self.clock.read();
            if let Some(begun) = busy_since.take() {
                self.turns.saturating_record(now.boot.saturating_sub(begun).max(1));
            }
            let busy = self.turn(&now);
            let settled = self.sweep(&now, busy);
            if busy {
                idle = 0;
                busy_since = Some(now.boot);
            } else {
                idle += 1;
                if settled && idle > SPIN_TURNS {
                    self.sleep();
                } else {
                    std::hint::spin_loop();
                }
            }
        }
        self.finish()
    }

    /// One turn: a burst from each side and from each ring of another worker, and a slice of the sweep; one clock
    /// read, one policy. True if a packet came.
    pub fn turn(&mut self, now: &Reading) -> bool {
        self.heartbeat.beat(now.boot);
        let policy = Arc::clone(self.policy.load());
        self.face.generation.store(policy.generation, Ordering::Release);
        self.pipeline.start_empty(tick(now.boot));
        let busy = self.bursts(&policy, now);
        self.pipeline.sweep(tick(now.boot), if busy { SWEEP_BUSY } else { SWEEP_IDLE });
        if self.pipeline.waits() {
            self.release(&policy, now);
        }
        self.flush();
        if now.boot.saturating_sub(self.published) >= GAUGES_NANOS {
            self.published = now.boot;
            self.publish();
        }
        busy
    }

    /// What is done after each turn, whose own sweep ends flows: the hand that judges again goes on over the flow
    /// table, and flows are copied for whoever asks. True: nothing is left to do at once.
    pub fn sweep(&mut self, now: &Reading, busy: bool) -> bool {
        let tick = tick(now.boot);
        let (slots, reviewed) = if busy { (SWEEP_BUSY, SWEEP_BUSY) } else { (SWEEP_IDLE, REVIEW_IDLE) };
        let policy = Arc::clone(self.policy.load());
        let Policy { table, generation, .. } = &*policy;
        let asked = trusted(now.now);
        let present = Present { table, generation: *generation, now: now.now, asked, tick };
        let through = self.pipeline.review(&present, reviewed);
        if through {
            self.face.waiting.store(self.pipeline.waiting(), Ordering::Relaxed);
            self.face.reviewed.store(*generation, Ordering::Release);
        }
        let pipeline = &self.pipeline;
        let (_, capacity) = pipeline.flows();
        let flow = |slot| pipeline.flow(slot, tick);
        let copied = self.copier.go_on(&self.face.desk, tick, slots, capacity, flow);
        through && copied
    }

    /// A burst from each RX ring, then one from each ring of another worker.
    fn bursts(&mut self, policy: &Policy, now: &Reading) -> bool {
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
        if self.lanes.is_some() {
            busy |= self.take_over(policy, now);
        }
        busy
    }

    /// What others have passed on, by the ring it came through.
    #[inline(never)]
    fn take_over(&mut self, policy: &Policy, now: &Reading) -> bool {
        let others = self.lanes.as_ref().map_or(0, |lanes| lanes.workers());
        let mut busy = false;
        let mut parcels = std::mem::take(&mut self.parcels);
        for (other, side) in (0..others).flat_map(|other| Side::BOTH.map(|side| (other, side))) {
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
    fn flush(&mut self) {
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
        let counters = Arc::clone(&self.face.counters);
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
                pass_on(&mut self.queues, lanes, &counters, side, (frame, pass, with));
            } else {
                let aside = Aside { shelf: &mut self.shelf, desk: &mut self.desk, lanes: None };
                set_aside(&mut self.queues, aside, &counters, side, (frame, outcome, None));
            }
        }
        self.outcomes.clear();
        counters.forwarded(side, sent, octets);
        counters.end();
    }

    /// Sends or recycles the frames of fragments that wait no longer.
    fn release(&mut self, policy: &Policy, now: &Reading) {
        let counters = Arc::clone(&self.face.counters);
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
                let aside = Aside { shelf: &mut self.shelf, desk: &mut self.desk, lanes };
                set_aside(queues, aside, &counters, side, (frame, &outcome, with));
            }
        }
        counters.end();
    }

    /// Sleeps until something comes, by a port or from another worker. Frames that are lent need no hurry: what
    /// circulates is as much without them.
    fn sleep(&mut self) {
        let patience = self.patience();
        match &self.lanes {
            None => self.queues.wait(patience, None),
            // It is there already; what it waits for is a frame that was sent.
            Some(lanes) if lanes.is_blocked() => {
                self.queues.wait(patience.min(Duration::from_millis(1)), None);
            }
            Some(lanes) => lanes.sleep(|bell| self.queues.wait(patience, Some(bell))),
        }
    }

    /// How long to sleep: a quiet wire must not look dead, and neither a frame in a TX ring nor who asks for
    /// flows must wait.
    fn patience(&mut self) -> Duration {
        let attentive = self.copier.is_attentive();
        if self.queues.sending() || attentive {
            Duration::from_millis(1)
        } else {
            Duration::from_nanos(self.orders.heartbeat / 4).min(Duration::from_millis(100))
        }
    }

    fn publish(&mut self) {
        let (flows, capacity) = self.pipeline.flows();
        // An empty histogram would be searched to its end.
        let turns = |share| if self.turns.is_empty() { 0 } else { self.turns.value_at_quantile(share) };
        self.face.gauges.store(Gauges {
            kernel: self.queues.kernel(),
            frames: self.queues.census(),
            flows: count(flows),
            flow_capacity: count(capacity),
            evicted: self.pipeline.evicted(),
            turn_nanos: (turns(0.5), turns(0.99)),
        });
    }

    /// The heartbeat goes first: from here on the kernel program drops and counts. What it had already
    /// redirected is still taken, judged and sent, and what others pass on until they are as far.
    fn finish(mut self) -> Q {
        self.heartbeat.beat(0);
        let mut quiet = 0;
        let end = self.clock.read().boot.saturating_add(FAREWELL_NANOS);
        // At most a ring of frames is left. A port that is gone never completes what it was given.
        loop {
            let now = self.clock.read();
            let policy = Arc::clone(self.policy.load());
            let busy = self.bursts(&policy, &now);
            if !busy {
                self.pipeline.give_up(tick(now.boot));
            }
            if self.pipeline.waits() {
                self.release(&policy, &now);
            }
            self.flush();
            quiet = if busy || self.queues.sending() { 0 } else { quiet + 1 };
            let done = quiet >= 3 && self.lanes.as_mut().is_none_or(|lanes| lanes.may_leave());
            if done || now.boot > end {
                break;
            }
            if !busy {
                self.queues.wait(Duration::from_millis(1), None);
            }
        }
        self.publish();
        self.queues
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
