//! The loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use hdrhistogram::Histogram;

use super::desk::Copier;
use super::{Gauges, Policy, WorkerFace};
use crate::flow::limits::HalfOpen;
use crate::flow::{Bounds, FlowTable, Owner, Region, tick};
use crate::io::clock::{Clock, Reading, trusted};
use crate::io::{BURST, Frame, Heartbeat, QueuePair};
use crate::pipeline::{Counters, Outcome, Pipeline, Present, Reason, Released, Scene, Unsent};
use crate::wire::{LONGEST_PADDED, Reply, Side, residue, unpadded};

/// Idle turns before the worker sleeps in poll. Spinning longer costs the other core of a small machine
/// its time (pure spin on two busy virtual CPUs: 17 Mbit/s; spin, then poll all: 2.2 Gbit/s).
const SPIN_TURNS: u32 = 64;
/// Slots of the flow table looked at after a busy turn, and after an idle one.
pub(super) const SWEEP_BUSY: usize = 16;
pub(super) const SWEEP_IDLE: usize = 256;
/// The same of the hand that judges flows again after a publish, while there are packets none more: at
/// 0.1 µs a flow a packet that comes meanwhile waits a tenth of a millisecond at most.
const REVIEW_IDLE: usize = 1_024;
/// A worker that was told to stop waits this long for its frames to leave.
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
        // What waits takes frames from the pool of its side: at most a quarter.
        let quarter = queues.census().total() / 8;
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
        })
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
                    let patience = self.patience();
                    self.queues.wait(patience, None);
                } else {
                    std::hint::spin_loop();
                }
            }
        }
        self.finish()
    }

    /// One turn: a burst from each side and a slice of the sweep, one clock read, one policy. True if a packet
    /// came.
    pub fn turn(&mut self, now: &Reading) -> bool {
        self.heartbeat.beat(now.boot);
        let policy = Arc::clone(self.policy.load());
        self.face.generation.store(policy.generation, Ordering::Release);
        self.pipeline.start_empty(tick(now.boot));
        let mut busy = false;
        for side in Side::BOTH {
            let scene = scene(&policy, now, side);
            busy |= self.burst(&scene);
        }
        self.pipeline.sweep(tick(now.boot), if busy { SWEEP_BUSY } else { SWEEP_IDLE });
        if self.pipeline.waits() {
            self.release(&policy, now);
        }
        self.queues.flush();
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

    fn burst(&mut self, scene: &Scene<'_>) -> bool {
        let (side, out) = (scene.side, scene.side.other());
        self.queues.receive(side, &mut self.frames);
        if self.frames.is_empty() {
            return false;
        }
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
            counters.received(side, count(self.frames.len()), octets);
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
            } else {
                let kept = (&mut self.shelf[..], &mut *self.desk);
                keep_back(&mut self.queues, kept, &counters, side, (frame, *outcome));
            }
        }
        self.outcomes.clear();
        counters.forwarded(side, sent, octets);
        counters.end();
        true
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
            let unsent = match outcome {
                Outcome::Forward => {
                    let frame = without_residue(queues, frame);
                    match queues.send(side.other(), frame) {
                        Ok(()) => {
                            counters.forwarded(side, 1, octets);
                            continue;
                        }
                        Err(frame) => {
                            counters.dropped(side, Reason::TxRingFull);
                            frame
                        }
                    }
                }
                Outcome::HandOver(_) => {
                    counters.dropped(side, Reason::HandoverFull);
                    frame
                }
                Outcome::Reject(reason, reply) => {
                    answer(queues, &counters, &mut self.desk, Refused { frame, side, reason, reply });
                    continue;
                }
                Outcome::Drop(_) | Outcome::Hold(_) => frame,
            };
            self.queues.recycle(unsent);
        }
        counters.end();
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
    /// redirected is still taken, judged and sent.
    fn finish(mut self) -> Q {
        self.heartbeat.beat(0);
        let mut quiet = 0;
        let end = self.clock.read().boot.saturating_add(FAREWELL_NANOS);
        // At most a ring of frames is left. A port that is gone never completes what it was given.
        loop {
            let now = self.clock.read();
            let policy = Arc::clone(self.policy.load());
            let mut busy = false;
            for side in Side::BOTH {
                let scene = scene(&policy, &now, side);
                busy |= self.burst(&scene);
            }
            if !busy {
                self.pipeline.give_up(tick(now.boot));
            }
            if self.pipeline.waits() {
                self.release(&policy, &now);
            }
            self.queues.flush();
            quiet = if busy || self.queues.sending() { 0 } else { quiet + 1 };
            if quiet == 3 || now.boot > end {
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

/// Zeros in place of what pads a short frame: it may be what its sender's memory held before.
#[inline(never)]
fn without_residue<Q: QueuePair>(queues: &mut Q, frame: Frame) -> Frame {
    match residue(queues.bytes(&frame)) {
        Some(_) => with_zeros(queues, frame),
        None => frame,
    }
}

#[cold]
fn with_zeros<Q: QueuePair>(queues: &mut Q, frame: Frame) -> Frame {
    let mut desk = [0; LONGEST_PADDED];
    match unpadded(queues.bytes(&frame), &mut desk) {
        // It holds as much as it did.
        Some(bytes) => queues.rewrite(frame, bytes).unwrap_or_else(|frame| frame),
        None => frame,
    }
}

/// Ends a frame that is not forwarded.
#[inline(never)]
fn keep_back<Q: QueuePair>(
    queues: &mut Q,
    (shelf, desk): (&mut [Option<Frame>], &mut [u8; Reply::LONGEST]),
    counters: &Counters,
    side: Side,
    (frame, outcome): (Frame, Outcome),
) {
    match outcome {
        Outcome::Forward | Outcome::Drop(_) => queues.recycle(frame),
        Outcome::Reject(reason, reply) => {
            answer(queues, counters, desk, Refused { frame, side, reason, reply });
        }
        Outcome::Hold(place) => match shelve(shelf, place, frame) {
            None => counters.held(side),
            Some(frame) => {
                // There is a place for each that waits.
                counters.dropped(side, Reason::FragmentHeldFull);
                queues.recycle(frame);
            }
        },
        Outcome::HandOver(_) => {
            // No ring to another worker is built yet: its frames have no way out.
            counters.dropped(side, Reason::HandoverFull);
            queues.recycle(frame);
        }
    }
}

/// A packet that is dropped and answered.
struct Refused {
    frame: Frame,
    side: Side,
    reason: Reason,
    reply: Reply,
}

/// Sends a reply back by the port that a packet came from, in the packet's own frame: no other is needed, and
/// it goes home from there as from the other port. Without a way out the packet is a plain drop.
fn answer<Q: QueuePair>(
    queues: &mut Q,
    counters: &Counters,
    desk: &mut [u8; Reply::LONGEST],
    refused: Refused,
) {
    let Refused { frame, side, reason, reply } = refused;
    let written = reply.write(queues.bytes(&frame), desk);
    let (frame, unsent) = match written {
        None => (frame, Unsent::NotAnswerable),
        Some(bytes) => match queues.rewrite(frame, bytes).and_then(|frame| queues.send(side, frame)) {
            Ok(()) => return counters.rejected(side, reason, count(bytes.len())),
            Err(frame) => (frame, Unsent::NoWayBack),
        },
    };
    counters.dropped(side, reason);
    counters.unsent(side, unsent);
    queues.recycle(frame);
}

/// Keeps the frame of a fragment that waits for its first; gives it back when the place is taken.
fn shelve(shelf: &mut [Option<Frame>], place: u32, frame: Frame) -> Option<Frame> {
    let found = usize::try_from(place).ok().and_then(|place| shelf.get_mut(place));
    match found {
        Some(found @ None) => {
            *found = Some(frame);
            None
        }
        Some(Some(_)) | None => Some(frame),
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
