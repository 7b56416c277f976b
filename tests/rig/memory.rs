//! A whole worker over memory ports, its time in the caller's hands: the pipeline's tests, the fuzz target
//! `burst` and the bench without a kernel run this one.
//!
//! Frames are offered at a side, one turn takes them all, what left is taken by the port it left by. Every
//! [`Rig::turn`] balances the books (nothing is received, forwarded or dropped that was not offered, no frame
//! is held or lost to its pool); [`Rig::moved`] names every counter that moved since the last look. Who
//! measures calls `worker.turn` itself: the books take snapshots, the worker allocates nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use portcullis::flow::fragments::FragmentLimits;
use portcullis::flow::limits::HalfOpen;
use portcullis::flow::{Bounds, Owner, Region};
use portcullis::io::clock::{Clock, Reading};
use portcullis::io::memory::{Drain, MemoryQueuePair};
use portcullis::io::{Pools, QueuePair, Unwatched};
use portcullis::pipeline::{Event, Exempt, Reason, SideSnapshot, Snapshot, Unsent};
use portcullis::policy::read::{Rejected, read_text};
use portcullis::policy::{Exceptions, Moment, compile};
use portcullis::wire::Side;
use portcullis::worker::{Lanes, Orders, Policy, Worker, WorkerFace};

/// A client outside; inside a vault under enforce, a jump host under simulate, an old server under observe.
pub(crate) const POLICY: &str = include_str!("memory.toml");

/// Some moment; only differences matter.
pub(crate) const START: u64 = 1_800_000_000_000_000_000;

/// A policy from text, as generation `generation`.
///
/// # Errors
/// Every finding, with the text.
pub(crate) fn policy(text: &str, generation: u32) -> Result<Policy, Rejected> {
    let loaded = read_text(vec![("gate.toml".to_owned(), text.to_owned())])?;
    let table = compile(&loaded.model, &Exceptions::NONE);
    Ok(Policy { generation, loaded, table })
}

/// How much there is of everything.
#[derive(Clone)]
pub(crate) struct Shape {
    /// Frames of each side. More than a burst are not taken by one turn.
    pub(crate) pool: u32,
    /// Places in each TX ring.
    pub(crate) tx_ring: usize,
    /// What becomes of a frame that left.
    pub(crate) drain: Drain,
    /// Flows the table holds.
    pub(crate) flows: u32,
    /// Where the table stands.
    pub(crate) region: fn(u32) -> Region,
    /// Fragmented datagrams, where not the usual bounds.
    pub(crate) fragments: Option<FragmentLimits>,
    /// Destinations whose half-open connections are counted.
    pub(crate) destinations: usize,
    /// Who opens a flow; the worker is the first of them.
    pub(crate) owner: Owner,
}

/// A burst a side, room for all of them, a thousand flows, one worker.
impl Default for Shape {
    fn default() -> Self {
        Self {
            pool: 64,
            tx_ring: 64,
            drain: Drain::Keep,
            flows: 1_000,
            region: Region::plain,
            fragments: None,
            destinations: 1_024,
            owner: Owner::new(1, (1, 2)),
        }
    }
}

fn orders(policy: Arc<Policy>) -> Orders {
    Orders {
        policy: Arc::new(ArcSwap::new(policy)),
        stop: Arc::new(AtomicBool::new(false)),
        heartbeat: 500_000_000,
    }
}

/// A counter, as a test names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Put into the other port's TX ring.
    Forwarded,
    /// Forwarded as the start of a flow whose first packet was not seen.
    Loose,
    /// Taken over from another worker.
    TakenOver,
    /// Passed on to another worker.
    HandedOver,
    /// Dropped for this reason.
    Dropped(Reason),
    /// Dropped for this reason, and answered.
    Rejected(Reason),
    /// A reply went back by the port of arrival.
    Reply,
    /// Dropped without the reply that a rule wanted.
    Unsent(Unsent),
    /// Forwarded by an exemption from what is said of addresses.
    Exempt(Exempt),
    /// Forwarded, and enforcement would have dropped it for this reason.
    Would(Reason),
    /// An event found its ring full.
    EventLost,
}

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    packets: u64,
    bytes: u64,
}

impl Load {
    fn add(&mut self, frame: &[u8]) {
        self.packets += 1;
        self.bytes += frame.len() as u64;
    }
}

/// One worker over memory ports.
pub(crate) struct Rig {
    pub(crate) worker: Worker<MemoryQueuePair, Unwatched>,
    pub(crate) face: Arc<WorkerFace>,
    /// What the worker's clocks read.
    pub(crate) time: Reading,
    /// Half-open connections.
    #[allow(dead_code, reason = "the fuzz target counts them")]
    pub(crate) half_open: Arc<HalfOpen>,
    frames: u32,
    /// Offered so far, by the side of arrival.
    offered: [Load; 2],
    /// Taken out so far, by the port it left by.
    left: [Load; 2],
    /// The counters at the last look.
    before: Snapshot,
}

impl Rig {
    pub(crate) fn new(policy: Policy, shape: Shape) -> Self {
        Self::over(Arc::new(policy), shape, WorkerFace::new(0, None))
    }

    /// The same over a policy and a face that exist.
    pub(crate) fn over(policy: Arc<Policy>, shape: Shape, face: WorkerFace) -> Self {
        let place = (MemoryQueuePair::new(shape.pool, shape.tx_ring, shape.drain), 0, None);
        let half_open = Arc::new(HalfOpen::new(shape.destinations, (5, 6)));
        Self::at(place, &orders(policy), shape, face, &half_open)
    }

    /// Workers that pass frames on to each other, each with this shape; to each other they lend up to `lent` frames
    /// a side.
    #[allow(dead_code, reason = "not all who share this have several")]
    pub(crate) fn among(policy: Arc<Policy>, shape: &Shape, workers: u32, lent: u32) -> Vec<Self> {
        let faces = (0..workers).map(|me| WorkerFace::new(me, None)).collect();
        Self::among_over(policy, shape, lent, faces)
    }

    /// The same over faces that exist, one a worker.
    #[allow(dead_code, reason = "not all who share this have several")]
    pub(crate) fn among_over(
        policy: Arc<Policy>,
        shape: &Shape,
        lent: u32,
        faces: Vec<WorkerFace>,
    ) -> Vec<Self> {
        Self::among_each(policy, shape, lent, faces.into_iter().map(|face| (shape.owner.clone(), face)))
    }

    /// The same, where each is told by itself who owns which flow.
    #[allow(dead_code, reason = "not all who share this have several")]
    pub(crate) fn among_each(
        policy: Arc<Policy>,
        shape: &Shape,
        lent: u32,
        each: impl ExactSizeIterator<Item = (Owner, WorkerFace)>,
    ) -> Vec<Self> {
        let pools = Pools::lending(u32::try_from(each.len()).unwrap_or(1), shape.pool, lent);
        let orders = orders(policy);
        let half_open = Arc::new(HalfOpen::new(shape.destinations, (5, 6)));
        let pairs = MemoryQueuePair::among(pools, shape.tx_ring, shape.drain);
        let lanes = Lanes::among(&pools).expect("file descriptors");
        let places = (0..).zip(pairs.into_iter().zip(lanes)).zip(each);
        places
            .map(|((me, (pair, lanes)), (owner, face))| {
                Self::at((pair, me, lanes), &orders, Shape { owner, ..shape.clone() }, face, &half_open)
            })
            .collect()
    }

    fn at(
        (pair, me, lanes): (MemoryQueuePair, u32, Option<Lanes>),
        orders: &Orders,
        shape: Shape,
        face: WorkerFace,
        half_open: &Arc<HalfOpen>,
    ) -> Self {
        let face = Arc::new(face);
        let cold = Bounds::under(&orders.policy.load().loaded.model.gate, 1).cold;
        let mut pair = pair;
        let frames = pair.census().total();
        let orders = orders.clone();
        let half_open = Arc::clone(half_open);
        let usual = Bounds::of(shape.flows);
        let bounds = Bounds { fragments: shape.fragments.unwrap_or(usual.fragments), cold, ..usual };
        let bounds = ((shape.region)(shape.flows), bounds, Arc::clone(&half_open));
        let place = (shape.owner, me);
        let worker = Worker::new(pair, Unwatched, Clock::start(), place, bounds, Arc::clone(&face), orders)
            .expect("the histogram's bounds are constants")
            .among(lanes);
        Self {
            worker,
            time: Reading { boot: START, now: Moment(START) },
            half_open,
            frames,
            offered: [Load::default(); 2],
            left: [Load::default(); 2],
            before: face.counters.snapshot(),
            face,
        }
    }

    /// Puts another policy in force, from the next turn on.
    pub(crate) fn publish(&self, policy: Policy) {
        self.worker.orders().policy.store(Arc::new(policy));
    }

    /// Lets time pass.
    pub(crate) fn later(&mut self, nanos: u64) {
        self.time.boot += nanos;
        self.time.now.0 += nanos;
    }

    /// Lets a frame arrive; false when the side has no free frame for it.
    pub(crate) fn offer(&mut self, side: Side, frame: &[u8]) -> bool {
        let taken = self.worker.queues().inject(side, frame);
        if taken {
            of(&mut self.offered, side).add(frame);
        }
        taken
    }

    /// One turn of the worker, a microsecond later; then the books are balanced.
    pub(crate) fn turn(&mut self) {
        self.later(1_000);
        self.turn_now();
    }

    /// The same without letting time pass.
    pub(crate) fn turn_now(&mut self) {
        self.worker.turn(&self.time);
        let census = self.worker.queues().census();
        assert_eq!(census.receiving, 0, "all that was offered was taken");
        assert_eq!(census.total(), self.frames, "no frame is lost to its pool");
        let Snapshot { sides, .. } = self.face.counters.snapshot();
        let waiting: u64 = sides.iter().map(|side| side.held).sum();
        assert_eq!(u64::from(census.held), waiting, "what is held waits for its first fragment");
        let mut sent = 0;
        for (side, offered) in sides.iter().zip(&self.offered) {
            assert!(side.balances(), "{side:?}");
            let received = Load { packets: side.rx_packets, bytes: side.rx_bytes };
            assert_eq!(received, *offered, "every frame is taken once");
            assert_eq!(
                side.replies,
                side.rejected.iter().sum::<u64>(),
                "what is rejected is answered once"
            );
            sent += side.forwarded_packets + side.replies;
        }
        let left: u64 = self.left.iter().map(|load| load.packets).sum();
        assert_eq!(sent, left + u64::from(census.sending), "what counts as sent left");
    }

    /// Takes the oldest frame that left by a port.
    pub(crate) fn take(&mut self, side: Side) -> Option<Vec<u8>> {
        let frame = self.worker.queues().take_sent(side)?;
        of(&mut self.left, side).add(&frame);
        Some(frame)
    }

    /// Every counter that moved since the last look, of the packets that arrived on one side. Those of the
    /// other side stood still, and with nothing on its way the bytes sent are those that left.
    pub(crate) fn moved(&mut self, side: Side) -> Vec<(Count, u64)> {
        let now = self.face.counters.snapshot();
        let old = std::mem::replace(&mut self.before, now.clone());
        if !self.worker.queues().sending() {
            let [outside, inside] = &now.sides;
            for (left, (across, back)) in self.left.iter().zip([(inside, outside), (outside, inside)]) {
                let sent = Load {
                    packets: across.forwarded_packets + back.replies,
                    bytes: across.forwarded_bytes + back.reply_bytes,
                };
                assert_eq!(sent, *left, "what counts as sent left");
            }
        }
        let mut moved = Vec::new();
        for (at, (old, new)) in Side::BOTH.into_iter().zip(old.sides.iter().zip(&now.sides)) {
            if at == side {
                let pairs = counts(old).into_iter().zip(counts(new));
                moved.extend(pairs.map(|((_, old), (name, new))| (name, new - old)));
            } else {
                assert_eq!(old, new, "nothing moved on the other side");
            }
        }
        moved.push((Count::EventLost, now.events_lost - old.events_lost));
        moved.retain(|(_, n)| *n > 0);
        moved
    }

    /// The same of both sides, where several workers are looked at.
    #[allow(dead_code, reason = "not all who share this have several")]
    pub(crate) fn moved_by_side(&mut self) -> [Vec<(Count, u64)>; 2] {
        let now = self.face.counters.snapshot();
        let old = std::mem::replace(&mut self.before, now.clone());
        let [outside, inside] = now.sides;
        let [old_outside, old_inside] = old.sides;
        [(old_outside, outside), (old_inside, inside)].map(|(old, new)| {
            let pairs = counts(&old).into_iter().zip(counts(&new));
            let grown = pairs.map(|((_, old), (name, new))| (name, new - old));
            grown.filter(|(_, n)| *n > 0).collect()
        })
    }

    /// The oldest event that nobody looked at yet.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.face.events.pop()
    }
}

/// All counters of a side by name, but those of what arrived: the books hold these.
fn counts(side: &SideSnapshot) -> Vec<(Count, u64)> {
    // In full, so that a new counter is one that a test sees move.
    let SideSnapshot {
        rx_packets: _,
        rx_bytes: _,
        forwarded_packets,
        forwarded_bytes: _,
        held: _,
        taken_over,
        handed_over,
        loose,
        dropped,
        would_drop,
        rejected,
        replies,
        reply_bytes: _,
        unsent,
        exempt,
    } = side;
    let mut counts =
        vec![(Count::Forwarded, *forwarded_packets), (Count::Loose, *loose), (Count::Reply, *replies)];
    counts.extend([(Count::TakenOver, *taken_over), (Count::HandedOver, *handed_over)]);
    counts.extend(Reason::ALL.iter().zip(rejected).map(|(reason, n)| (Count::Rejected(*reason), *n)));
    counts.extend(Unsent::ALL.iter().zip(unsent).map(|(why, n)| (Count::Unsent(*why), *n)));
    counts.extend(Exempt::ALL.iter().zip(exempt).map(|(by, n)| (Count::Exempt(*by), *n)));
    for (reason, (dropped, would)) in Reason::ALL.iter().zip(dropped.iter().zip(would_drop)) {
        counts.extend([(Count::Dropped(*reason), *dropped), (Count::Would(*reason), *would)]);
    }
    counts
}

fn of<T>([outside, inside]: &mut [T; 2], side: Side) -> &mut T {
    match side {
        Side::Outside => outside,
        Side::Inside => inside,
    }
}
