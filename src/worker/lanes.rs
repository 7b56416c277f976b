//! The rings between workers: a frame goes to the worker that owns its flow, and a free one comes back.
//!
//! What it is: one ring for each ordered pair of workers and each side, and one for the free frames that come back
//! by it. Each has one writer and one reader (`rtrb`), and whoever writes publishes a batch at once at the end of
//! its turn. What it is not: it judges nothing. Invariants: a worker has lent another at most
//! [`Pools::lent`] frames of a side, so neither ring of a pair is ever too full for what is in it, nor can a
//! neighbour that hangs keep more; what comes by one side never waits behind what comes by the other. Cost: 24
//! bytes of a ring there, 8 back; docs/adr/0018.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};

use super::mail::Mail;
use super::settle::Settled;
use super::sleep::Sleep;
use crate::flow::fragments::Ports;
use crate::io::{BURST, Frame, Pools, QueuePair};
use crate::wire::Side;

/// A frame on its way to another worker.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) frame: Frame,
    /// What the first fragment of its datagram tells, where it was asked already.
    pub(super) ports: Option<Ports>,
}

/// What tells a worker that something was passed on to it, and wakes it for that; in lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Bell {
    mail: Mail,
    sleep: Sleep,
    fd: OwnedFd,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { mail: Mail::new(), sleep: Sleep::new(), fd })
    }

    /// A worker has put something into a ring of this bell's worker.
    fn ring(&self, from: usize) {
        self.mail.announce(from);
        if self.sleep.wakes() {
            // A counter that is full is readable as well.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}

/// To one other worker, of one side's frames.
#[derive(Debug)]
struct Outlet {
    to: Producer<Parcel>,
    back: Consumer<Frame>,
    /// Given and not regained, staged ones among them.
    lent: u32,
    staged: Vec<Parcel>,
}

/// From one other worker.
#[derive(Debug)]
struct Inlet {
    from: Consumer<Parcel>,
    back: Producer<Frame>,
    /// Free frames that go back at the end of the turn.
    given: Vec<Frame>,
}

/// The ends of all rings that one worker has.
#[derive(Debug)]
pub struct Lanes {
    me: usize,
    limit: u32,
    /// By worker and side; its own are never used.
    outlets: Vec<[Outlet; 2]>,
    inlets: Vec<[Inlet; 2]>,
    bells: Arc<[Bell]>,
    settled: Arc<Settled>,
    is_settled: bool,
    /// Something came that could not be taken over: no frame was free.
    blocked: bool,
    /// This turn gave or took something, which [`Lanes::flush`] has yet to publish.
    is_dirty: bool,
    /// Frames given and not regained, over all outlets.
    lent: u32,
    /// Who may have something in a ring here, by [`Mail::of`].
    senders: u64,
}

impl Lanes {
    /// The lanes of each of these workers; a single one has none.
    ///
    /// # Errors
    /// The system's, where it has no more file descriptors.
    pub fn among(pools: &Pools) -> io::Result<Vec<Option<Self>>> {
        let workers = usize::try_from(pools.workers()).unwrap_or(1);
        if workers < 2 {
            return Ok(vec![None]);
        }
        let depth = usize::try_from(pools.lent()).unwrap_or(0);
        let bells = (0..workers).map(|_| Bell::new()).collect::<io::Result<Arc<[Bell]>>>()?;
        let settled = Arc::new(Settled::new());
        let mut outlets: Vec<Vec<[Outlet; 2]>> = (0..workers).map(|_| Vec::new()).collect();
        let mut inlets: Vec<Vec<[Inlet; 2]>> = (0..workers).map(|_| Vec::new()).collect();
        for from in &mut outlets {
            for to in &mut inlets {
                let [(outside_out, outside_in), (inside_out, inside_in)] = [ring(depth), ring(depth)];
                from.push([outside_out, inside_out]);
                to.push([outside_in, inside_in]);
            }
        }
        let ends = outlets.into_iter().zip(inlets).enumerate();
        let lanes = ends.map(|(me, (outlets, inlets))| {
            Some(Self {
                me,
                limit: pools.lent(),
                outlets,
                inlets,
                bells: Arc::clone(&bells),
                settled: Arc::clone(&settled),
                is_settled: false,
                blocked: false,
                is_dirty: false,
                lent: 0,
                senders: 0,
            })
        });
        Ok(lanes.collect())
    }

    /// Passes a frame on to another worker, at the end of the turn.
    ///
    /// # Errors
    /// The frame: that worker has as many as may be lent to it.
    pub(super) fn give<Q: QueuePair>(
        &mut self,
        queues: &mut Q,
        worker: u32,
        frame: Frame,
        ports: Option<Ports>,
    ) -> Result<(), Frame> {
        let outlets = usize::try_from(worker).ok().and_then(|worker| self.outlets.get_mut(worker));
        let Some(outlet) = outlets.map(|outlets| of(outlets, frame.home())) else { return Err(frame) };
        if outlet.lent >= self.limit {
            return Err(frame);
        }
        self.is_dirty = true;
        self.lent += 1;
        outlet.lent += 1;
        outlet.staged.push(Parcel { frame: queues.hand_over(frame), ports });
        Ok(())
    }

    /// Takes back the free frames that came for those given.
    pub(super) fn regain<Q: QueuePair>(&mut self, queues: &mut Q) {
        self.blocked = false;
        if self.lent == 0 {
            return;
        }
        for outlet in self.outlets.iter_mut().flatten() {
            if outlet.lent == 0 {
                continue;
            }
            let came = outlet.back.slots();
            let Ok(frames) = outlet.back.read_chunk(came) else { continue };
            for frame in frames {
                outlet.lent = outlet.lent.saturating_sub(1);
                self.lent = self.lent.saturating_sub(1);
                queues.regain(frame);
            }
        }
    }

    /// Workers that have put something into a ring here since it was asked last, or of which something is left there,
    /// by [`Mail::of`].
    pub(super) fn senders(&mut self) -> u64 {
        let came = self.bells.get(self.me).map_or(0, |bell| bell.mail.collect());
        std::mem::take(&mut self.senders) | came
    }

    /// Takes over up to a burst that another worker passed on, of one side, and gives a free frame for each.
    /// `into` is empty and has room.
    pub(super) fn take<Q: QueuePair>(
        &mut self,
        queues: &mut Q,
        (worker, side): (usize, Side),
        into: &mut Vec<Parcel>,
    ) {
        let Some(inlet) = self.inlets.get_mut(worker).map(|inlets| of(inlets, side)) else { return };
        let waits = inlet.from.slots();
        let Ok(parcels) = inlet.from.read_chunk(waits.min(BURST)) else { return };
        let (first, second) = parcels.as_slices();
        let mut takes = 0;
        for parcel in first.iter().chain(second) {
            let Some(free) = queues.take_over(&parcel.frame) else {
                self.blocked = true;
                break;
            };
            inlet.given.push(free);
            takes += 1;
        }
        self.is_dirty |= takes > 0;
        if takes < waits {
            self.senders |= Mail::of(worker);
        }
        into.extend(parcels.into_iter().take(takes));
    }

    /// Publishes what this turn gave, wakes who sleeps over it, and gives the free frames for what it took. In
    /// this order: whoever sees its frame come back sees where it went on.
    pub(super) fn flush(&mut self) {
        if std::mem::take(&mut self.is_dirty) {
            self.publish();
        }
    }

    fn publish(&mut self) {
        for (worker, outlets) in self.outlets.iter_mut().enumerate() {
            let mut gave = false;
            for outlet in outlets {
                if outlet.staged.is_empty() {
                    continue;
                }
                let Ok(room) = outlet.to.write_chunk_uninit(outlet.staged.len()) else {
                    self.is_dirty = true;
                    continue;
                };
                gave |= room.fill_from_iter(outlet.staged.drain(..)) > 0;
            }
            if gave && let Some(bell) = self.bells.get(worker) {
                bell.ring(self.me);
            }
        }
        for inlet in self.inlets.iter_mut().flatten() {
            if inlet.given.is_empty() {
                continue;
            }
            let Ok(room) = inlet.back.write_chunk_uninit(inlet.given.len()) else {
                self.is_dirty = true;
                continue;
            };
            room.fill_from_iter(inlet.given.drain(..));
        }
    }

    /// How many workers there are.
    pub(super) const fn workers(&self) -> usize {
        self.outlets.len()
    }

    /// Something waits that could not be taken over when it was looked at last.
    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Sleeps by `wait`, which is given what to wait for beside its own, unless something is there.
    pub(super) fn sleep(&self, wait: impl FnOnce(BorrowedFd<'_>)) {
        let Some(bell) = self.bells.get(self.me) else { return };
        if !bell.sleep.begin(|| !self.is_empty()) {
            return;
        }
        wait(bell.fd.as_fd());
        bell.sleep.over();
        // Always: a bell may have been rung for a sleep before this one, or be about to, which makes one sleep short.
        // Left readable it would end every one.
        let _ = rustix::io::read(&bell.fd, &mut [0_u8; 8]);
    }

    /// Nothing waits to be taken over.
    fn is_empty(&self) -> bool {
        self.inlets.iter().flatten().all(|inlet| inlet.from.is_empty())
    }

    /// Nothing waits, and nothing is lent.
    fn is_quiet(&self) -> bool {
        self.lent == 0 && self.is_empty()
    }

    /// Whether a worker that receives nothing more may leave.
    pub(super) fn may_leave(&mut self) -> bool {
        let mut said = self.is_settled;
        let may = self.settled.may_leave(&mut said, self.workers(), || self.is_quiet());
        self.is_settled = said;
        may
    }
}

fn ring(depth: usize) -> (Outlet, Inlet) {
    let (to, from) = RingBuffer::new(depth);
    let (give, back) = RingBuffer::new(depth);
    let outlet = Outlet { to, back, lent: 0, staged: Vec::with_capacity(depth) };
    (outlet, Inlet { from, back: give, given: Vec::with_capacity(BURST.max(depth)) })
}

const fn of<T>([outside, inside]: &mut [T; 2], side: Side) -> &mut T {
    match side {
        Side::Outside => outside,
        Side::Inside => inside,
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::io::memory::{Drain, MemoryQueuePair};

    #[test]
    fn nobody_leaves_before_all_have_lent_nothing_nor_while_something_waits() {
        let pools = Pools::lending(3, 4, 2);
        let mut pairs = MemoryQueuePair::among(pools, 4, Drain::Keep);
        let mut lanes: Vec<_> = Lanes::among(&pools).unwrap().into_iter().flatten().collect();
        let may_leave = |lanes: &mut [Lanes]| lanes.iter_mut().map(Lanes::may_leave).collect::<Vec<_>>();
        let mut frames = Vec::new();
        assert!(pairs[1].inject(Side::Outside, b"on its way"));
        pairs[1].receive(Side::Outside, &mut frames);
        lanes[1].give(&mut pairs[1], 2, frames.pop().unwrap(), None).unwrap();
        assert_eq!(may_leave(&mut lanes), [false; 3], "the second one has lent a frame");
        lanes[1].flush();
        // It goes on by the third one, which was as far before it came.
        let mut parcels = Vec::new();
        lanes[2].take(&mut pairs[2], (1, Side::Outside), &mut parcels);
        lanes[2].give(&mut pairs[2], 0, parcels.pop().unwrap().frame, None).unwrap();
        lanes[2].flush();
        lanes[1].regain(&mut pairs[1]);
        assert_eq!(may_leave(&mut lanes), [false, true, false], "it waits for the first one");
        lanes[0].take(&mut pairs[0], (2, Side::Outside), &mut parcels);
        lanes[0].flush();
        lanes[2].regain(&mut pairs[2]);
        assert_eq!((parcels.len(), may_leave(&mut lanes)), (1, vec![true; 3]));
    }

    #[test]
    fn a_bell_rung_for_an_earlier_sleep_ends_one_sleep_and_no_more() {
        let lanes = Lanes::among(&Pools::new(2, 64)).unwrap().remove(0).unwrap();
        let bell = &lanes.bells[0];
        let is_rung = || {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut [PollFd::new(&bell.fd, PollFlags::IN)], Some(&now)).unwrap() == 1
        };
        // Claimed by its neighbour, which rings only after this one has seen what came and did not sleep.
        rustix::io::write(&bell.fd, &1_u64.to_ne_bytes()).unwrap();
        let mut ended_at_once = Vec::new();
        for _ in 0..3 {
            lanes.sleep(|_| ended_at_once.push(is_rung()));
        }
        assert_eq!(ended_at_once, [true, false, false]);
    }
}
