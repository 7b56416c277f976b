//! The loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use hdrhistogram::Histogram;

use super::{Gauges, Policy, WorkerFace};
use crate::flow::{FlowTable, Owner, tick};
use crate::io::clock::{Clock, Reading};
use crate::io::{BURST, Frame, Heartbeat, QueuePair};
use crate::pipeline::{Outcome, Pipeline, Reason, Scene};
use crate::wire::Side;

/// Idle turns before the worker sleeps in poll. Spinning longer costs the other core of a small machine
/// its time (pure spin on two busy virtual CPUs: 17 Mbit/s; spin, then poll all: 2.2 Gbit/s).
const SPIN_TURNS: u32 = 64;
/// Slots of the flow table looked at after a busy turn, and after an idle one.
const SWEEP_BUSY: usize = 16;
const SWEEP_IDLE: usize = 256;
/// A worker that was told to stop waits this long for its frames to leave.
const FAREWELL_NANOS: u64 = 500_000_000;
/// Gauges are published this often.
const GAUGES_NANOS: u64 = 100_000_000;
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
    published: u64,
}

impl<Q: QueuePair, H: Heartbeat> Worker<Q, H> {
    /// A worker over its queues. It is index `me` of those that `owner` divides flows among.
    ///
    /// # Errors
    /// The histogram's bounds, which are constants.
    pub fn new(
        queues: Q,
        heartbeat: H,
        clock: Clock,
        (owner, me, flows): (Owner, u32, u32),
        face: Arc<WorkerFace>,
        orders: Orders,
    ) -> Result<Self, hdrhistogram::CreationError> {
        let pipeline = Pipeline::new(
            FlowTable::new(flows),
            owner,
            me,
            Arc::clone(&face.counters),
            Arc::clone(&face.events),
        );
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
            published: 0,
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
            if self.turn(&now) {
                idle = 0;
                busy_since = Some(now.boot);
                self.pipeline.sweep(tick(now.boot), SWEEP_BUSY);
            } else {
                idle += 1;
                self.pipeline.sweep(tick(now.boot), SWEEP_IDLE);
                if idle > SPIN_TURNS {
                    self.queues.wait(self.patience());
                } else {
                    std::hint::spin_loop();
                }
            }
        }
        self.finish()
    }

    /// One turn: a burst from each side, one clock read, one policy. True if a packet came.
    pub fn turn(&mut self, now: &Reading) -> bool {
        self.heartbeat.beat(now.boot);
        let policy = Arc::clone(self.policy.load());
        self.face.generation.store(policy.generation, Ordering::Release);
        let mut busy = false;
        for side in Side::BOTH {
            let scene = scene(&policy, now, side);
            busy |= self.burst(&scene);
        }
        self.queues.flush();
        if now.boot.saturating_sub(self.published) >= GAUGES_NANOS {
            self.published = now.boot;
            self.publish();
        }
        busy
    }

    fn burst(&mut self, scene: &Scene<'_>) -> bool {
        let (side, out) = (scene.side, scene.side.other());
        self.queues.receive(side, &mut self.frames);
        if self.frames.is_empty() {
            return false;
        }
        let room = self.queues.room(out);
        let counters = Arc::clone(&self.face.counters);
        counters.begin();
        {
            let mut bytes: [&[u8]; BURST] = [&[]; BURST];
            let mut octets = 0;
            for (place, frame) in bytes.iter_mut().zip(&self.frames) {
                *place = self.queues.bytes(frame);
                octets += u64::from(frame.length());
            }
            counters.received(side, count(self.frames.len()), octets);
            let taken = bytes.get(..self.frames.len()).unwrap_or(&[]);
            self.pipeline.burst(scene, taken, room, &mut self.outcomes);
        }
        let (mut sent, mut octets) = (0, 0);
        for (frame, outcome) in self.frames.drain(..).zip(self.outcomes.drain(..)) {
            let length = frame.length();
            match outcome {
                Outcome::Forward => match self.queues.send(out, frame) {
                    Ok(()) => {
                        sent += 1;
                        octets += u64::from(length);
                    }
                    Err(frame) => {
                        counters.dropped(side, Reason::TxRingFull);
                        self.queues.recycle(frame);
                    }
                },
                Outcome::Drop(_) => self.queues.recycle(frame),
                Outcome::HandOver(_) => {
                    // No ring to another worker is built yet: its frames have no way out.
                    counters.dropped(side, Reason::HandoverFull);
                    self.queues.recycle(frame);
                }
            }
        }
        counters.forwarded(side, sent, octets);
        counters.end();
        true
    }

    /// How long to sleep: a quiet wire must not look dead, and a frame in a TX ring must not wait.
    fn patience(&self) -> Duration {
        if self.queues.sending() {
            Duration::from_millis(1)
        } else {
            Duration::from_nanos(self.orders.heartbeat / 4).min(Duration::from_millis(100))
        }
    }

    fn publish(&mut self) {
        let (flows, capacity) = self.pipeline.flows();
        self.face.gauges.store(Gauges {
            kernel: self.queues.kernel(),
            frames: self.queues.census(),
            flows: count(flows),
            flow_capacity: count(capacity),
            turn_nanos: (self.turns.value_at_quantile(0.5), self.turns.value_at_quantile(0.99)),
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
            self.queues.flush();
            quiet = if busy || self.queues.sending() { 0 } else { quiet + 1 };
            if quiet == 3 || now.boot > end {
                break;
            }
            if !busy {
                self.queues.wait(Duration::from_millis(1));
            }
        }
        self.publish();
        self.queues
    }
}

fn scene<'a>(policy: &'a Policy, now: &Reading, side: Side) -> Scene<'a> {
    let Policy { table, generation, .. } = policy;
    Scene { table, generation: *generation, now: now.now, tick: tick(now.boot), side }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
