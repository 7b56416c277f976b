//! Packets of captures → the pipeline, with the captures' own time.
//!
//! What it is: what a worker does with a burst, for one packet after another: the clock is the packet's
//! time, silence lets flows end, the same [`Pipeline`] judges. What it is not: it reads and writes no file.
//! Invariants: the clock never goes back (a packet that is stamped earlier than one before it is judged at
//! the time of that one); packets come out in the order they came in, each with the end it came to. Cost: a
//! judgement, and 256 slots of the flow table a tick of silence.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::run::{SWEEP_BUSY, SWEEP_IDLE};
use crate::flow::limits::HalfOpen;
use crate::flow::{Bounds, FlowTable, Owner, random_secret, tick};
use crate::io::LONGEST;
use crate::io::pcap::Packet;
use crate::pipeline::{Account, Counters, Outcome, Pipeline, Scene, Snapshot};
use crate::policy::model::Gate;
use crate::policy::{Moment, Table};
use crate::wire::{Facts, Reply, Side, parse};

/// Beyond so much silence at once every flow has ended; ticks of twice this could not be told apart.
const LONG_AGO: u32 = 1 << 30;
/// What takes the place of bytes that a capture left out. If the facts of a frame are the same with each of
/// them, the bytes left out play no part: nothing behind the headers does. 3 reads as a window scale among
/// TCP options, 0 ends them, 255 is longer than they are.
const FILLS: [u8; 3] = [0, 3, 255];
/// Destinations whose half-open connections are counted.
const DESTINATIONS: usize = 16_384;
/// Bytes that are filled in at most, whatever a file says that a packet had: tcpdump's own limit.
const MOST: u32 = 262_144;

/// How a packet of a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The pipeline judged it.
    Judged(Account),
    /// The capture holds too little of it to judge.
    CutShort,
    /// It is longer than a frame of the gate: it could not have come off a wire like this.
    TooLong,
}

impl End {
    /// Whether it crosses.
    #[must_use]
    pub const fn crosses(&self) -> bool {
        match self {
            Self::Judged(account) => matches!(account.outcome, Outcome::Forward),
            Self::CutShort | Self::TooLong => false,
        }
    }
}

/// A packet with its end.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The packet, as it was captured.
    pub packet: Packet,
    /// Index of its file.
    pub file: usize,
    /// The side it arrived on.
    pub side: Side,
    /// What could be read of it.
    pub facts: Option<Facts>,
    /// It was judged later than its own time, because a packet before it was stamped later.
    pub late: bool,
    /// How it ended.
    pub end: End,
}

/// A worker over captures.
#[derive(Debug)]
pub struct Replay<'a> {
    table: &'a Table,
    generation: u32,
    pipeline: Pipeline,
    counters: Arc<Counters>,
    /// The latest time of a packet, nanoseconds since the Unix epoch.
    now: u64,
    begun: bool,
    ended: Vec<Outcome>,
    /// Packets in order, those that wait for their end and those behind them.
    packets: VecDeque<Pending>,
    /// How many have left the front of `packets`.
    gone: u64,
    /// Which packet waits in each place of the pipeline, counted from the first of all.
    shelf: HashMap<u32, u64>,
}

/// A packet whose end may not be known yet.
#[derive(Debug)]
struct Pending {
    packet: Packet,
    file: usize,
    side: Side,
    facts: Option<Facts>,
    late: bool,
    end: Option<End>,
}

/// A packet as it will be judged, its missing bytes filled in.
struct Whole {
    bytes: Vec<u8>,
    facts: Option<Facts>,
}

impl<'a> Replay<'a> {
    /// A worker with an empty flow table, under this generation of a policy and its `[gate]`.
    #[must_use]
    pub fn new(table: &'a Table, generation: u32, gate: &Gate) -> Self {
        let counters = Arc::new(Counters::default());
        let owner = Owner::new(1, random_secret());
        let mut bounds = Bounds::under(gate, 1);
        // As a worker does: what waits takes at most a quarter of the frames.
        bounds.fragments.held = bounds.fragments.held.min(gate.rings / 4);
        bounds.fragments.held_a_source = bounds.fragments.held_a_source.min(gate.rings / 4);
        let half_open = Arc::new(HalfOpen::new(DESTINATIONS, random_secret()));
        // Accounts tell what events tell and more: one place is enough to let them go.
        let events = Arc::new(ArrayQueue::new(1));
        let flows = FlowTable::new(bounds, half_open);
        let pipeline = Pipeline::new(flows, owner, 0, Arc::clone(&counters), events);
        Self {
            table,
            generation,
            pipeline,
            counters,
            now: 0,
            begun: false,
            ended: Vec::with_capacity(1),
            packets: VecDeque::new(),
            gone: 0,
            shelf: HashMap::new(),
        }
    }

    /// What could be read of a packet, its missing bytes left out of account.
    #[must_use]
    pub fn facts(packet: &Packet) -> Option<Facts> {
        whole(packet).and_then(|whole| whole.facts)
    }

    /// Takes a packet that arrived on this side.
    pub fn take(&mut self, file: usize, packet: Packet, side: Side) {
        let late = self.begun && packet.nanos < self.now;
        self.pass_time(packet.nanos);
        let (facts, end) = if packet.length > LONGEST {
            (None, Some(End::TooLong))
        } else {
            match whole(&packet) {
                None => (None, Some(End::CutShort)),
                Some(Whole { bytes, facts }) => (facts, self.judge(&bytes, side)),
            }
        };
        self.packets.push_back(Pending { packet, file, side, facts, late, end });
        self.sweep(tick(self.now), SWEEP_BUSY);
    }

    /// Judges a frame. `None`: it waits, and so does its row.
    fn judge(&mut self, bytes: &[u8], side: Side) -> Option<End> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.counters.begin();
        self.counters.received(side, 1, length);
        let scene = self.scene(side);
        self.pipeline.start_empty(scene.tick);
        self.pipeline.let_reply(1);
        let account = self.pipeline.judge_one(&scene, bytes, 1, &mut self.ended);
        let end = match account.outcome {
            Outcome::Forward => {
                self.counters.forwarded(side, 1, length);
                Some(End::Judged(account))
            }
            Outcome::Reject(reason, reply) => {
                let mut draft = [0; Reply::LONGEST];
                let reply = reply.write(bytes, &mut draft).map_or(0, <[u8]>::len);
                self.counters.rejected(side, reason, u64::try_from(reply).unwrap_or(u64::MAX));
                Some(End::Judged(account))
            }
            Outcome::Hold(place) => {
                self.counters.held(side);
                let number = self.gone + u64::try_from(self.packets.len()).unwrap_or(u64::MAX);
                self.shelf.insert(place, number);
                None
            }
            Outcome::Drop(_) | Outcome::HandOver(_) => Some(End::Judged(account)),
        };
        self.counters.end();
        end
    }

    fn scene(&self, side: Side) -> Scene<'a> {
        Scene {
            table: self.table,
            generation: self.generation,
            now: Moment(self.now),
            asked: Moment(self.now),
            tick: tick(self.now),
            side,
        }
    }

    /// The next packet whose end is known, in the order they came: behind one that waits, all wait.
    pub fn next_done(&mut self) -> Option<Replayed> {
        let end = self.packets.front()?.end?;
        let Pending { packet, file, side, facts, late, .. } = self.packets.pop_front()?;
        self.gone += 1;
        Some(Replayed { packet, file, side, facts, late, end })
    }

    /// The captures are at their end: what waits, waits in vain.
    pub fn finish(&mut self) {
        self.pipeline.give_up(tick(self.now));
        self.release();
    }

    /// Lets what has ended go, and gives those that waited their end.
    fn sweep(&mut self, tick: u32, slots: usize) {
        self.pipeline.sweep(tick, slots);
        self.release();
    }

    fn release(&mut self) {
        if !self.pipeline.waits() {
            return;
        }
        self.counters.begin();
        let here = self.scene(Side::Outside);
        let scene = |side| Scene { side, ..here };
        while let Some((released, account)) = self.pipeline.release_one(scene) {
            self.counters.released(released.side);
            let number = self.shelf.remove(&released.place);
            let place = number.and_then(|number| usize::try_from(number.checked_sub(self.gone)?).ok());
            let Some(pending) = place.and_then(|place| self.packets.get_mut(place)) else { continue };
            if account.outcome == Outcome::Forward {
                self.counters.forwarded(released.side, 1, pending.packet.length.into());
            }
            pending.end = Some(End::Judged(account));
        }
        self.counters.end();
    }

    /// What the gate would have counted. A packet that could not be judged is in no count.
    #[must_use]
    pub fn counters(&self) -> Snapshot {
        self.counters.snapshot()
    }

    /// Moves the clock, and lets what ends in the meantime end.
    fn pass_time(&mut self, to: u64) {
        let before = tick(self.now);
        let to = to.max(self.now);
        if self.begun {
            let ticks = (to >> 24) - (self.now >> 24);
            if ticks >= u64::from(LONG_AGO) {
                self.sweep(before.wrapping_add(LONG_AGO), usize::MAX);
            }
            let slots = usize::try_from(ticks).unwrap_or(usize::MAX).saturating_mul(SWEEP_IDLE);
            self.now = to;
            self.sweep(tick(to), slots);
        }
        self.now = to;
        self.begun = true;
    }
}

/// A packet with what the capture left out of it filled in; `None` where that would have a say.
fn whole(packet: &Packet) -> Option<Whole> {
    if !packet.is_cut() {
        return Some(Whole { facts: parse(&packet.bytes).ok(), bytes: packet.bytes.clone() });
    }
    let length = usize::try_from(packet.length.min(MOST)).ok()?;
    let filled = |fill| {
        let mut bytes = packet.bytes.clone();
        bytes.resize(length, fill);
        bytes
    };
    let [first, second, third] = FILLS.map(|fill| parse(&filled(fill)).ok());
    let facts = first.filter(|_| first == second && second == third)?;
    Some(Whole { bytes: filled(0), facts: Some(facts) })
}
