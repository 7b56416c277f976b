//! Several workers over memory ports: what a hand-over costs, and what a second worker brings.
//!
//! What it is: [`Passing`] drives two workers turn by turn in one thread, with packets that arrive where their
//! flows are owned or at the other one; the difference is the hand-over, there and back. [`Together`] runs one
//! worker or two, each pinned to a core of its own and with flows of its own, beside as many copies of the
//! random-line loop. What it is not: no kernel and no device.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;

use portcullis::flow::Owner;
use portcullis::io::clock::{Reading, boot_nanos};
use portcullis::io::memory::Drain;
use portcullis::io::region;
use portcullis::io::topology::{Processor, processors};
use portcullis::policy::Moment;
use portcullis::wire::{Side, parse};
use portcullis::worker::Policy;

use crate::calibration::{Lines, each, integer_steps};
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
    seats: Vec<Processor>,
    alone: Vec<One>,
    pair: Vec<One>,
}

impl Together {
    pub(crate) fn over(flows: u32) -> Result<Self, StageError> {
        let allowed: Vec<_> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        let seats = seats(processors(Path::new("/"), &allowed));
        let policy = Arc::new(policy()?);
        Ok(Self { flows, policy, seats, alone: Vec::new(), pair: Vec::new() })
    }

    /// Puts workers with tables of their own in place of those that were measured so far: what is slow because of
    /// where its memory lies is so for some blocks. A flow table is for the life of a process, so this keeps the old
    /// ones' memory.
    pub(crate) fn renew(&mut self) {
        self.alone = self.raised(1);
        self.pair = self.raised(2);
    }

    /// Which processors two threads are pinned to, and whether they are two cores.
    pub(crate) fn places(&self) -> String {
        match self.seats.as_slice() {
            [one, two, ..] if one.core == two.core => format!(
                "threads on processors {} and {}, which are HYPERTHREADS OF ONE CORE",
                one.number, two.number
            ),
            [one, two, ..] => {
                format!("threads on processors {} and {}, a core each", one.number, two.number)
            }
            [one] => format!("BOTH THREADS ON PROCESSOR {}, the only one", one.number),
            [] => "threads on ANY PROCESSOR: which there are is not known".to_owned(),
        }
    }

    /// So many workers, each with this many flows of its own at random, all open.
    fn raised(&self, workers: u32) -> Vec<One> {
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
        let many = usize::try_from(flows).unwrap_or(0);
        let raise = |(rig, me): (Rig, u32)| {
            let mut one = One {
                rig,
                templates: templates(),
                flows: owned(owner.clone(), me).take(many).collect(),
                random: SplitMix(u64::from(me) + 7),
                buffer: Vec::new(),
                sent: 0,
            };
            one.open();
            one
        };
        Rig::among(Arc::clone(&self.policy), &shape, workers, LENT)
            .into_iter()
            .zip(0..)
            .map(raise)
            .collect()
    }

    /// One worker, which owns everything.
    pub(crate) fn alone(&mut self) -> Result<f64, StageError> {
        let Self { alone, seats, .. } = self;
        packets(alone, seats)
    }

    /// Two workers, of which so many get packets.
    pub(crate) fn of_two(&mut self, busy: usize) -> Result<f64, StageError> {
        let Self { pair, seats, .. } = self;
        packets(pair.get_mut(..busy).unwrap_or_default(), seats)
    }

    /// So many random-line loops.
    pub(crate) fn lines(&self, threads: u32) -> Result<f64, StageError> {
        let mut lines: Vec<_> = (0..threads).map(|_| Lines::of_bytes(256 << 20)).collect();
        at_once(&mut lines, &self.seats, Lines::fetches)
    }

    /// So many loops that only compute.
    pub(crate) fn steps(&self, threads: usize) -> Result<f64, StageError> {
        at_once(&mut vec![(); threads], &self.seats, |()| integer_steps())
    }
}

fn packets(workers: &mut [One], seats: &[Processor]) -> Result<f64, StageError> {
    let rate = at_once(workers, seats, One::burst)?;
    for (worker, one) in (0..).zip(&*workers) {
        one.check(worker)?;
    }
    Ok(rate)
}

/// One worker that owns what arrives at it; in lines of its own, as a gate's is on its thread.
#[repr(align(128))]
struct One {
    rig: Rig,
    templates: Templates,
    flows: Vec<u32>,
    random: SplitMix,
    buffer: Vec<u8>,
    /// Packets given to it, those that opened flows among them.
    sent: u64,
}

impl One {
    fn offer(&mut self, place: usize) -> bool {
        let flow = self.flows.get(place).copied().unwrap_or(0);
        self.templates.write(flow, 0, &mut self.buffer);
        let taken = self.rig.worker.queues().inject(Side::Outside, &self.buffer);
        self.sent += u64::from(taken);
        taken
    }

    /// Whether everything that it was given crossed.
    fn check(&self, worker: u32) -> Result<(), StageError> {
        let [outside, _] = self.rig.face.counters.snapshot().sides;
        let (sent, crossed) = (self.sent, outside.forwarded_packets);
        if sent == crossed { Ok(()) } else { Err(StageError::NotCrossed { worker, sent, crossed }) }
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

/// Does a thing in a thread for each, pinned to these processors in turn, all of them at the same time. Millions a
/// second, summed over the threads: what each did in its own time for it.
fn at_once<T: Send>(
    all: &mut [T],
    seats: &[Processor],
    thing: impl Fn(&mut T) -> (u64, u64) + Sync,
) -> Result<f64, StageError> {
    let (barrier, thing) = (Barrier::new(all.len()), &thing);
    let seats = seats.iter().cycle().map(|seat| Some(seat.number)).chain(std::iter::repeat(None));
    thread::scope(|scope| {
        let threads = all.iter_mut().zip(seats).map(|(one, seat)| {
            let barrier = &barrier;
            scope.spawn(move || {
                if let Some(id) = seat {
                    core_affinity::set_for_current(core_affinity::CoreId { id });
                }
                // Whatever becomes of it, the others wait for this thread.
                let first = catch_unwind(AssertUnwindSafe(|| thing(one)));
                barrier.wait();
                first.ok()?;
                let begun = boot_nanos();
                let (mut count, mut nanos) = (0, 0);
                while boot_nanos() - begun < GO_NANOS {
                    let (more, took) = thing(one);
                    count += more;
                    nanos += took;
                }
                Some(1e3 / each(nanos, count))
            })
        });
        let threads: Vec<_> = threads.collect();
        let rates = threads.into_iter().map(|thread| thread.join().ok().flatten());
        rates.sum::<Option<f64>>().ok_or(StageError::Panicked)
    })
}

/// Processors in the order in which threads get them: the last first, for the rest of the machine is at work on the
/// first ones; one of each core before a second of any.
fn seats(processors: Vec<Processor>) -> Vec<Processor> {
    let mut cores = BTreeSet::new();
    let (mut first, second): (Vec<_>, Vec<_>) =
        processors.into_iter().rev().partition(|one| cores.insert((one.node, one.core)));
    first.extend(second);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_a_core_each_before_two_share_one() {
        let four = [0, 1, 2, 3].map(|number| Processor { number, core: number / 2 * 2, node: 0 });
        let numbers = seats(four.to_vec()).into_iter().map(|one| one.number);
        assert_eq!(numbers.collect::<Vec<_>>(), [3, 1, 2, 0]);
    }

    #[test]
    fn a_thread_that_panics_fails_the_run() {
        let thing = |one: &mut u64| {
            assert!(*one != 1, "on purpose");
            (1, 1)
        };
        assert!(at_once(&mut [0, 2], &[], thing).is_ok());
        assert!(matches!(at_once(&mut [0, 1], &[], thing), Err(StageError::Panicked)));
    }
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
