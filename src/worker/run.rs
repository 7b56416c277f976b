//! The loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use hdrhistogram::Histogram;

use super::datapath::Datapath;
use super::desk::Copier;
use super::{Gauges, Lanes, Policy, WorkerFace};
use crate::flow::limits::HalfOpen;
use crate::flow::{Bounds, FlowTable, Owner, Region, tick};
use crate::io::clock::{Clock, Reading, trusted};
use crate::io::{Heartbeat, QueuePair};
use crate::pipeline::{Pipeline, Present};

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
    datapath: Datapath<Q>,
    heartbeat: H,
    clock: Clock,
    /// Apart from what is done under it: a turn borrows it, for a count of owners is one line that all workers write.
    policy: Cache<Arc<ArcSwap<Policy>>, Arc<Policy>>,
    orders: Orders,
    face: Arc<WorkerFace>,
    turns: Histogram<u64>,
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
        Ok(Self {
            datapath: Datapath::new(queues, pipeline, Arc::clone(&face.counters)),
            heartbeat,
            clock,
            policy: Cache::new(Arc::clone(&orders.policy)),
            orders,
            face,
            turns: Histogram::new_with_bounds(1, LONGEST_TURN, 2)?,
            published: 0,
            copier: Copier::default(),
        })
    }

    /// The same with its ends of the rings to other workers. Without any, what another one owns has no way out.
    #[must_use]
    pub fn among(self, lanes: Option<Lanes>) -> Self {
        Self { datapath: self.datapath.among(lanes), ..self }
    }

    /// The queues it owns.
    pub fn queues(&mut self) -> &mut Q {
        &mut self.datapath.queues
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
        let (policy, datapath) = (self.policy.load(), &mut self.datapath);
        self.face.generation.store(policy.generation, Ordering::Release);
        datapath.pipeline.start_empty(tick(now.boot));
        let busy = datapath.bursts(policy, now);
        datapath.pipeline.sweep(tick(now.boot), if busy { SWEEP_BUSY } else { SWEEP_IDLE });
        if datapath.pipeline.waits() {
            datapath.release(policy, now);
        }
        datapath.flush();
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
        let (policy, pipeline) = (self.policy.load(), &mut self.datapath.pipeline);
        let Policy { table, generation, .. } = &**policy;
        let asked = trusted(now.now);
        let present = Present { table, generation: *generation, now: now.now, asked, tick };
        let through = pipeline.review(&present, reviewed);
        if through {
            self.face.waiting.store(pipeline.waiting(), Ordering::Relaxed);
            self.face.reviewed.store(*generation, Ordering::Release);
        }
        let (_, capacity) = pipeline.flows();
        let flow = |slot| pipeline.flow(slot, tick);
        let copied = self.copier.go_on(&self.face.desk, tick, slots, capacity, flow);
        through && copied
    }

    /// Sleeps until something comes, by a port or from another worker. Frames that are lent need no hurry: what
    /// circulates is as much without them.
    fn sleep(&mut self) {
        let patience = self.patience();
        let Datapath { queues, lanes, .. } = &mut self.datapath;
        match lanes {
            None => queues.wait(patience, None),
            // It is there already; what it waits for is a frame that was sent.
            Some(lanes) if lanes.is_blocked() => queues.wait(patience.min(Duration::from_millis(1)), None),
            Some(lanes) => lanes.sleep(|bell| queues.wait(patience, Some(bell))),
        }
    }

    /// How long to sleep: a quiet wire must not look dead, and neither a frame in a TX ring nor who asks for
    /// flows must wait.
    fn patience(&mut self) -> Duration {
        let attentive = self.copier.is_attentive();
        if self.datapath.queues.sending() || attentive {
            Duration::from_millis(1)
        } else {
            Duration::from_nanos(self.orders.heartbeat / 4).min(Duration::from_millis(100))
        }
    }

    fn publish(&mut self) {
        let Datapath { queues, pipeline, .. } = &mut self.datapath;
        let (flows, capacity) = pipeline.flows();
        // An empty histogram would be searched to its end.
        let turns = |share| if self.turns.is_empty() { 0 } else { self.turns.value_at_quantile(share) };
        self.face.gauges.store(Gauges {
            kernel: queues.kernel(),
            frames: queues.census(),
            flows: count(flows),
            flow_capacity: count(capacity),
            evicted: pipeline.evicted(),
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
            let (policy, datapath) = (self.policy.load(), &mut self.datapath);
            let busy = datapath.bursts(policy, &now);
            if !busy {
                datapath.pipeline.give_up(tick(now.boot));
            }
            if datapath.pipeline.waits() {
                datapath.release(policy, &now);
            }
            datapath.flush();
            quiet = if busy || datapath.queues.sending() { 0 } else { quiet + 1 };
            let done = quiet >= 3 && datapath.lanes.as_mut().is_none_or(|lanes| lanes.may_leave());
            if done || now.boot > end {
                break;
            }
            if !busy {
                datapath.queues.wait(Duration::from_millis(1), None);
            }
        }
        self.publish();
        self.datapath.queues
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
