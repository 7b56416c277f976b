//! Ports in memory, for tests and for measurements without a kernel.
//!
//! The same UMEM, pools and ring bounds as the real port; frames are injected and taken by the caller. The pairs
//! of several workers share one memory and may each be in a thread of its own.
//! Invariants: a frame is in exactly one place, [`Census::total`] never changes; a frame stays among the pairs that
//! were made together, for its bytes are found by its number alone.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::arena::Arena;
use super::{BURST, Census, Frame, KernelCounts, Pools, QueuePair};
use crate::wire::Side;

/// Bytes of one frame, as on the real port.
pub const FRAME_SIZE: usize = 4096;

/// What becomes of a frame once it was flushed out of a TX ring, or recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It waits until [`MemoryQueuePair::take_sent`] takes it; recycled ones go to their pool.
    Keep,
    /// It goes to its pool at once: a device that is never behind.
    Discard,
    /// It is received again at its own side, bytes unchanged: an endless load written once. It counts against
    /// the TX ring until the next flush.
    Cycle,
}

#[derive(Debug, Default)]
struct Port {
    /// Free frames of this side's pool.
    pool: Vec<Frame>,
    /// Arrived, the oldest first.
    rx: Vec<Frame>,
    /// Arrived before those, the oldest last, and taken from there: two stacks are a queue without a ring's
    /// arithmetic.
    ready: Vec<Frame>,
    staged: Vec<Frame>,
    sent: VecDeque<Frame>,
    /// Places of its TX ring that are taken: by what is staged or sent, and until the next flush by what was
    /// sent and is received again already.
    taken: usize,
    refused: u64,
    held: u32,
    handed: u32,
}

/// A queue of both ports, in memory.
#[derive(Debug)]
pub struct MemoryQueuePair {
    arena: Arc<Arena>,
    ports: [Port; 2],
    reserve: u32,
    tx_ring: usize,
    drain: Drain,
}

impl MemoryQueuePair {
    /// A pair whose sides have `pool` frames each and TX rings of `tx_ring` places.
    #[must_use]
    pub fn new(pool: u32, tx_ring: usize, drain: Drain) -> Self {
        let pools = Pools::new(1, pool);
        Self::over(Arc::new(Arena::new(pools.total())), (pools, 0), tx_ring, drain)
    }

    /// A pair for each worker of these pools, over one memory.
    #[must_use]
    pub fn among(pools: Pools, tx_ring: usize, drain: Drain) -> Vec<Self> {
        let arena = Arc::new(Arena::new(pools.total()));
        (0..pools.workers())
            .map(|worker| Self::over(Arc::clone(&arena), (pools, worker), tx_ring, drain))
            .collect()
    }

    fn over(arena: Arc<Arena>, (pools, worker): (Pools, u32), tx_ring: usize, drain: Drain) -> Self {
        let mut ports = [Port::default(), Port::default()];
        for (side, port) in Side::BOTH.into_iter().zip(&mut ports) {
            let first = pools.first(worker, side);
            let places = usize::try_from(pools.pool()).unwrap_or(0);
            port.rx.reserve(places);
            port.ready.reserve(places);
            port.sent.reserve(places * 2);
            port.staged.reserve(places * 2);
            port.pool = (first..first + pools.pool()).map(|number| Frame::new(number, 0, side)).collect();
        }
        Self { arena, ports, reserve: pools.reserve(), tx_ring, drain }
    }

    #[inline]
    fn port(&mut self, side: Side) -> &mut Port {
        let [outside, inside] = &mut self.ports;
        match side {
            Side::Outside => outside,
            Side::Inside => inside,
        }
    }

    /// Lets a frame arrive. False, and counted as an empty fill ring, when the pool is dry.
    pub fn inject(&mut self, side: Side, bytes: &[u8]) -> bool {
        let reserve = self.reserve;
        let port = self.port(side);
        // What is kept to be exchanged is not there to be received into.
        let kept = usize::try_from(reserve.saturating_sub(port.handed)).unwrap_or(usize::MAX);
        let frame = if port.pool.len() > kept { port.pool.pop() } else { None };
        let Some(frame) = frame else {
            port.refused += 1;
            return false;
        };
        match self.rewrite(frame, bytes) {
            Ok(frame) => {
                self.port(side).rx.push(frame);
                true
            }
            Err(frame) => {
                self.port(side).pool.push(frame);
                false
            }
        }
    }

    /// Takes the oldest frame that left by a side, and gives its place back to its pool.
    pub fn take_sent(&mut self, side: Side) -> Option<Vec<u8>> {
        let port = self.port(side);
        let frame = port.sent.pop_front()?;
        port.taken = port.taken.saturating_sub(1);
        let bytes = self.bytes(&frame).to_vec();
        self.port(frame.home()).pool.push(frame);
        Some(bytes)
    }

    /// Changes what becomes of frames from now on: a load is prepared with [`Drain::Keep`] and then cycles.
    pub fn set_drain(&mut self, drain: Drain) {
        self.drain = drain;
    }

    #[inline]
    fn end(&mut self, frame: Frame) {
        let drain = self.drain;
        let port = self.port(frame.home());
        match drain {
            Drain::Keep | Drain::Discard => port.pool.push(frame),
            Drain::Cycle => port.rx.push(frame),
        }
    }
}

impl QueuePair for MemoryQueuePair {
    #[inline]
    fn receive(&mut self, side: Side, into: &mut Vec<Frame>) {
        let port = self.port(side);
        while into.len() < BURST {
            if let Some(frame) = port.ready.pop() {
                into.push(frame);
            } else if port.rx.is_empty() {
                break;
            } else {
                std::mem::swap(&mut port.ready, &mut port.rx);
                port.ready.reverse();
            }
        }
        port.held += u32::try_from(into.len()).unwrap_or(0);
    }

    #[inline]
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        self.arena.bytes(frame)
    }

    fn rewrite(&mut self, frame: Frame, bytes: &[u8]) -> Result<Frame, Frame> {
        let mut frame = frame;
        match u16::try_from(bytes.len()) {
            Ok(length) if self.arena.write(&mut frame, bytes) => Ok(frame.of_length(length)),
            Ok(_) | Err(_) => Err(frame),
        }
    }

    #[inline]
    fn room(&mut self, side: Side) -> usize {
        let tx_ring = self.tx_ring;
        tx_ring.saturating_sub(self.port(side).taken)
    }

    #[inline]
    fn send(&mut self, side: Side, frame: Frame) -> Result<(), Frame> {
        if self.room(side) == 0 {
            return Err(frame);
        }
        self.port(side).taken += 1;
        let drain = self.drain;
        let home = self.port(frame.home());
        home.held -= 1;
        match drain {
            Drain::Keep | Drain::Discard => self.port(side).staged.push(frame),
            Drain::Cycle => home.rx.push(frame),
        }
        Ok(())
    }

    #[inline]
    fn recycle(&mut self, frame: Frame) {
        self.port(frame.home()).held -= 1;
        self.end(frame);
    }

    fn hand_over(&mut self, frame: Frame) -> Frame {
        let port = self.port(frame.home());
        port.held -= 1;
        port.handed += 1;
        frame
    }

    fn take_over(&mut self, frame: &Frame) -> Option<Frame> {
        let port = self.port(frame.home());
        let free = port.pool.pop()?;
        port.held += 1;
        Some(free)
    }

    fn regain(&mut self, frame: Frame) {
        let port = self.port(frame.home());
        port.handed -= 1;
        port.pool.push(frame);
    }

    fn flush(&mut self) {
        for port in &mut self.ports {
            port.sent.extend(port.staged.drain(..));
            port.taken = port.sent.len();
        }
        if self.drain == Drain::Discard {
            for side in Side::BOTH {
                while let Some(frame) = self.port(side).sent.pop_front() {
                    self.port(frame.home()).pool.push(frame);
                }
                self.port(side).taken = 0;
            }
        }
    }

    fn sending(&self) -> bool {
        self.ports.iter().any(|port| !port.staged.is_empty() || !port.sent.is_empty())
    }

    /// No frame comes while the caller sleeps: only a bell is worth waiting for.
    fn wait(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>) {
        let Some(bell) = bell else {
            std::thread::yield_now();
            return;
        };
        let limit = Timespec::try_from(timeout).ok();
        // A signal ends the sleep early, which a caller must expect anyway.
        let _ = poll(&mut [PollFd::from_borrowed_fd(bell, PollFlags::IN)], limit.as_ref());
    }

    fn reserve(&self) -> u32 {
        self.reserve
    }

    fn census(&mut self) -> Census {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.ports.iter().fold(Census::default(), |sum, port| Census {
            free: sum.free + count(port.pool.len()),
            receiving: sum.receiving + count(port.rx.len() + port.ready.len()),
            held: sum.held + port.held,
            sending: sum.sending + count(port.staged.len() + port.sent.len()),
            handed: sum.handed + port.handed,
        })
    }

    fn kernel(&self) -> [KernelCounts; 2] {
        let counts =
            |port: &Port| KernelCounts { fill_ring_empty: port.refused, ..KernelCounts::default() };
        let [outside, inside] = &self.ports;
        [counts(outside), counts(inside)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_conserved_and_bytes_arrive_as_they_left() {
        let mut pair = MemoryQueuePair::new(4, 2, Drain::Keep);
        for n in 0..4u8 {
            assert!(pair.inject(Side::Outside, &[n; 60]));
        }
        assert!(!pair.inject(Side::Outside, &[9; 60]), "the pool is dry");
        assert_eq!(pair.kernel()[0].fill_ring_empty, 1);
        let mut burst = Vec::new();
        pair.receive(Side::Outside, &mut burst);
        assert_eq!(burst.len(), 4);
        assert_eq!(pair.census(), Census { free: 4, receiving: 0, held: 4, sending: 0, handed: 0 });
        let mut back = 0;
        for frame in burst {
            if let Err(frame) = pair.send(Side::Inside, frame) {
                pair.recycle(frame);
                back += 1;
            }
        }
        pair.flush();
        assert_eq!(back, 2, "two places in the ring, two frames come back");
        assert_eq!(pair.census(), Census { free: 6, receiving: 0, held: 0, sending: 2, handed: 0 });
        assert_eq!(pair.take_sent(Side::Inside), Some(vec![0; 60]));
        assert_eq!(pair.take_sent(Side::Inside), Some(vec![1; 60]));
        assert_eq!(pair.take_sent(Side::Inside), None);
        assert_eq!(pair.census(), Census { free: 8, receiving: 0, held: 0, sending: 0, handed: 0 });
    }

    #[test]
    fn a_cycling_pair_offers_the_same_frames_again() {
        let mut pair = MemoryQueuePair::new(1, 1, Drain::Cycle);
        assert!(pair.inject(Side::Inside, b"once"));
        for _ in 0..3 {
            let mut burst = Vec::new();
            pair.receive(Side::Inside, &mut burst);
            let frame = burst.pop().unwrap();
            assert_eq!(pair.bytes(&frame), b"once");
            assert!(pair.send(Side::Outside, frame).is_ok());
            pair.flush();
        }
        assert_eq!(pair.census().total(), 2);
    }

    #[test]
    fn a_frame_that_is_written_over_leaves_by_either_port_as_what_was_written() {
        let mut pair = MemoryQueuePair::new(1, 1, Drain::Keep);
        let mut burst = Vec::new();
        assert!(pair.inject(Side::Outside, b"what came in"));
        pair.receive(Side::Outside, &mut burst);
        let frame = pair.rewrite(burst.pop().unwrap(), &[0; FRAME_SIZE + 1]).unwrap_err();
        assert_eq!(pair.bytes(&frame), b"what came in");
        let frame = pair.rewrite(frame, b"no").unwrap();
        assert_eq!((frame.length(), pair.bytes(&frame)), (2, &b"no"[..]));
        let frame = pair.rewrite(frame, &[7; FRAME_SIZE]).unwrap();
        assert!(pair.send(Side::Outside, frame).is_ok());
        pair.flush();
        assert_eq!(pair.take_sent(Side::Outside), Some(vec![7; FRAME_SIZE]));
        assert_eq!(pair.census(), Census { free: 2, receiving: 0, held: 0, sending: 0, handed: 0 });
    }

    #[test]
    fn a_frame_changes_pairs_for_a_free_one_of_its_side_and_both_pools_keep_their_size() {
        let pools = Pools::lending(2, 2, 1);
        let mut pairs = MemoryQueuePair::among(pools, 4, Drain::Keep);
        let [here, there] = pairs.as_mut_slice() else { panic!("a pair a worker") };
        for n in 0..2 {
            assert!(here.inject(Side::Outside, &[n; 60]));
        }
        assert!(!here.inject(Side::Outside, &[9; 60]), "two circulate, two are kept");
        let mut burst = Vec::new();
        here.receive(Side::Outside, &mut burst);
        let frame = here.hand_over(burst.remove(0));
        assert_eq!(here.census(), Census { free: 6, receiving: 0, held: 1, sending: 0, handed: 1 });
        let free = there.take_over(&frame).unwrap();
        assert_eq!(there.census(), Census { free: 7, receiving: 0, held: 1, sending: 0, handed: 0 });
        assert_eq!(there.bytes(&frame), [0; 60]);
        assert_eq!((frame.home(), free.home()), (Side::Outside, Side::Outside));
        here.regain(free);
        assert_eq!(here.census(), Census { free: 7, receiving: 0, held: 1, sending: 0, handed: 0 });
        // Only as many as are free.
        for n in 4..7 {
            assert!(there.take_over(&Frame::new(n, 0, Side::Outside)).is_some());
        }
        assert!(there.take_over(&Frame::new(1, 0, Side::Outside)).is_none());
        assert!(there.take_over(&Frame::new(9, 0, Side::Inside)).is_some(), "each side for itself");
        assert!(there.send(Side::Inside, frame).is_ok());
        there.flush();
        assert_eq!(there.take_sent(Side::Inside), Some(vec![0; 60]));
    }

    #[test]
    fn a_frame_too_long_is_never_truncated() {
        let mut pair = MemoryQueuePair::new(1, 1, Drain::Keep);
        assert!(!pair.inject(Side::Inside, &vec![0; FRAME_SIZE + 1]));
        assert_eq!(pair.census(), Census { free: 2, receiving: 0, held: 0, sending: 0, handed: 0 });
    }
}
