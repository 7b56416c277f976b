//! Several workers over memory ports: what a hand-over costs, and what a second worker brings.
//!
//! What it is: [`Passing`] drives two workers turn by turn in one thread, with packets that arrive where their
//! flows are owned or at the other one; the difference is the hand-over, there and back. [`Together`] runs one
//! worker or two, each pinned to a core of its own and with flows of its own, beside as many copies of the
//! random-line loop. What it is not: no kernel and no device.

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::thread;

use portcullis::flow::Owner;
use portcullis::io::clock::{Reading, boot_nanos};
use portcullis::io::memory::Drain;
use portcullis::io::region;
use portcullis::policy::Moment;
use portcullis::wire::{Side, parse};
use portcullis::worker::Policy;

use crate::calibration::{Lines, each};
use crate::memory::{Rig, START, Shape};
use crate::stage::{Family, Meets, StageError, Templates, policy};
use crate::statistics::SplitMix;

/// Frames of a burst.
const BURST: u32 = 64;
/// Flows whose packets are passed on.
const FLOWS: usize = 256;
/// Frames a worker lends another, as the product with the default ring depth.
const LENT: u32 = 128;

/// Where packets arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// At the owner of their flow.
    Owner,
    /// At the other worker.
    Other,
}

/// Two workers in one thread.
pub(crate) struct Passing {
    rigs: Vec<Rig>,
    frames: Vec<Vec<u8>>,
    at: At,
    next: usize,
    passed: u64,
}

impl Passing {
    pub(crate) fn raise(at: At) -> Result<Self, StageError> {
        let owner = Owner::new(2, (3, 4));
        let shape = Shape { pool: 256, tx_ring: 512, owner: owner.clone(), ..Shape::default() };
        let mut rigs = Rig::among(Arc::new(policy()?), &shape, 2, LENT);
        for rig in &mut rigs {
            rig.worker.queues().set_drain(Drain::Discard);
        }
        let templates = templates();
        let frame = |flow| {
            let mut frame = Vec::new();
            templates.write(flow, 0, &mut frame);
            frame
        };
        let frames = owned(owner, 1).take(FLOWS).map(frame).collect();
        let mut passing = Self { rigs, frames, at: At::Owner, next: 0, passed: 0 };
        for _ in 0..FLOWS / 64 {
            passing.burst();
        }
        passing.at = at;
        Ok(passing)
    }

    /// A burst arrives, both take a turn; nanoseconds of the turns.
    pub(crate) fn burst(&mut self) -> u64 {
        let Self { rigs, frames, at, next, passed } = self;
        let [other, owner] = rigs.as_mut_slice() else { return 0 };
        for _ in 0..BURST {
            let rig = if *at == At::Owner { &mut *owner } else { &mut *other };
            if let Some(frame) = frames.get(*next) {
                rig.worker.queues().inject(Side::Outside, frame);
            }
            *next = (*next + 1) % FLOWS;
        }
        *passed += u64::from(BURST);
        let time = Reading { boot: START, now: Moment(START) };
        let start = boot_nanos();
        black_box(other.worker.turn(black_box(&time)));
        black_box(owner.worker.turn(black_box(&time)));
        let nanos = boot_nanos() - start;
        while owner.event().is_some() {}
        nanos
    }

    /// Whether every packet so far crossed, and was passed on where it should have been.
    pub(crate) fn is_right(&self) -> bool {
        let sides = self.rigs.iter().map(|rig| rig.face.counters.snapshot().sides);
        let sums = sides.flatten().fold([0; 2], |[crossed, handed], side| {
            [crossed + side.forwarded_packets, handed + side.handed_over]
        });
        let handed = if self.at == At::Other { self.passed - FLOWS as u64 } else { 0 };
        sums == [self.passed, handed]
    }
}

/// What worker threads do in one go of a block.
const GO_NANOS: u64 = 300_000_000;

/// Millions a second of all threads together: packets of known flows, and fetches of random lines.
pub(crate) struct Together {
    flows: u32,
    policy: Arc<Policy>,
}

impl Together {
    pub(crate) fn over(flows: u32) -> Result<Self, StageError> {
        Ok(Self { flows, policy: Arc::new(policy()?) })
    }

    /// So many workers, each with this many flows of its own at random.
    pub(crate) fn workers(&self, workers: u32) -> f64 {
        let owner = Owner::new(workers, (3, 4));
        let flows = self.flows;
        let shape = Shape {
            pool: 256,
            tx_ring: 512,
            // Flows opened outside have three quarters of a table.
            flows: flows + flows / 2,
            region: |flows| region::flows(flows).0,
            owner: owner.clone(),
            ..Shape::default()
        };
        let rigs = Rig::among(Arc::clone(&self.policy), &shape, workers, LENT);
        let workers: Vec<_> = rigs
            .into_iter()
            .zip(0..)
            .map(|(rig, me)| {
                let many = usize::try_from(flows).unwrap_or(0);
                let mut one = One {
                    rig,
                    templates: templates(),
                    flows: owned(owner.clone(), me).take(many).collect(),
                    random: SplitMix(u64::from(me) + 7),
                    buffer: Vec::new(),
                };
                one.open();
                one
            })
            .collect();
        at_once(workers, One::burst)
    }

    /// So many random-line loops.
    pub(crate) fn lines(threads: u32) -> f64 {
        let lines: Vec<_> = (0..threads).map(|_| Lines::of_bytes(256 << 20)).collect();
        at_once(lines, |lines| (262_144, nanos_of(lines.fetch() * 262_144.0)))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fetch takes below a second")]
fn nanos_of(nanos: f64) -> u64 {
    nanos as u64
}

/// One worker that owns what arrives at it.
struct One {
    rig: Rig,
    templates: Templates,
    flows: Vec<u32>,
    random: SplitMix,
    buffer: Vec<u8>,
}

impl One {
    fn offer(&mut self, place: usize) -> bool {
        let flow = self.flows.get(place).copied().unwrap_or(0);
        self.templates.write(flow, 0, &mut self.buffer);
        self.rig.worker.queues().inject(Side::Outside, &self.buffer)
    }

    fn open(&mut self) {
        self.rig.worker.queues().set_drain(Drain::Discard);
        for place in 0..self.flows.len() {
            self.offer(place);
            if place % 64 == 63 {
                self.turn();
                while self.rig.event().is_some() {}
            }
        }
        self.turn();
    }

    fn turn(&mut self) {
        let time = Reading { boot: START, now: Moment(START) };
        black_box(self.rig.worker.turn(black_box(&time)));
    }

    /// Packets and the nanoseconds of their turns: frames are written before the clock is read.
    fn burst(&mut self) -> (u64, u64) {
        let (mut packets, mut nanos) = (0, 0);
        for _ in 0..16 {
            for _ in 0..BURST {
                let place = self.random.below(self.flows.len());
                packets += u64::from(self.offer(place));
            }
            let start = boot_nanos();
            self.turn();
            nanos += boot_nanos() - start;
        }
        (packets, nanos)
    }
}

/// Does a thing in a thread for each, pinned to a core of its own, all of them at the same time. Millions a
/// second, summed over the threads: what each did in its own time for it.
fn at_once<T: Send>(all: Vec<T>, thing: impl Fn(&mut T) -> (u64, u64) + Sync) -> f64 {
    let (barrier, thing) = (Barrier::new(all.len()), &thing);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    thread::scope(|scope| {
        let threads = all.into_iter().enumerate().map(|(n, mut one)| {
            let (barrier, core) = (&barrier, cores.iter().rev().nth(n).copied());
            scope.spawn(move || {
                if let Some(core) = core {
                    core_affinity::set_for_current(core);
                }
                thing(&mut one);
                barrier.wait();
                let begun = boot_nanos();
                let (mut count, mut nanos) = (0, 0);
                while boot_nanos() - begun < GO_NANOS {
                    let (more, took) = thing(&mut one);
                    count += more;
                    nanos += took;
                }
                1e3 / each(nanos, count)
            })
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    })
}

/// The flows that a worker owns, from the first on.
fn owned(owner: Owner, me: u32) -> impl Iterator<Item = u32> {
    let (templates, mut frame) = (templates(), Vec::new());
    (0..u32::MAX).filter(move |flow| {
        templates.write(*flow, 0, &mut frame);
        parse(&frame).ok().and_then(|facts| facts.key()).is_some_and(|(key, _)| owner.of(&key) == me)
    })
}

fn templates() -> Templates {
    Templates::new(Family::V4, Meets::Flow(0))
}
