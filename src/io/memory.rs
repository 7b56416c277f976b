//! Ports in memory, for tests and for measurements without a kernel.
//!
//! The same UMEM, pools and ring bounds as the real port; frames are injected and taken by the caller.
//! Invariant: a frame is in exactly one place, [`Census::total`] never changes.

use std::collections::VecDeque;
use std::time::Duration;

use super::{BURST, Census, Frame, KernelCounts, QueuePair};
use crate::wire::Side;

/// Bytes of one frame, as on the real port.
pub const FRAME_SIZE: usize = 4096;

/// What becomes of a frame once it was flushed out of a TX ring, or recycled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    /// It waits until [`MemoryQueuePair::take_sent`] takes it; recycled ones go to their pool.
    Keep,
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
}

/// Queue 0 of both ports, in memory.
#[derive(Debug)]
pub struct MemoryQueuePair {
    umem: Vec<u8>,
    ports: [Port; 2],
    tx_ring: usize,
    drain: Drain,
}

impl MemoryQueuePair {
    /// A pair whose sides have `pool` frames each and TX rings of `tx_ring` places.
    #[must_use]
    pub fn new(pool: u32, tx_ring: usize, drain: Drain) -> Self {
        let mut ports = [Port::default(), Port::default()];
        for (side, port) in Side::BOTH.into_iter().zip(&mut ports) {
            let first = pool * u32::from(side as u8);
            let places = usize::try_from(pool).unwrap_or(0);
            port.rx.reserve(places);
            port.ready.reserve(places);
            port.sent.reserve(places * 2);
            port.staged.reserve(places * 2);
            port.pool = (first..first + pool).map(|number| Frame::new(number, 0, side)).collect();
        }
        let bytes = usize::try_from(pool).unwrap_or(0) * 2 * FRAME_SIZE;
        Self { umem: vec![0; bytes], ports, tx_ring, drain }
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
        let Some(frame) = self.port(side).pool.pop() else {
            self.port(side).refused += 1;
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
            Drain::Keep => port.pool.push(frame),
            Drain::Cycle => port.rx.push(frame),
        }
    }
}

/// Where a frame's bytes begin.
#[inline]
fn start(frame: &Frame) -> usize {
    frame.number().saturating_mul(FRAME_SIZE)
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
    fn bytes(&self, frame: &Frame) -> &[u8] {
        let start = start(frame);
        let length = usize::try_from(frame.length()).unwrap_or(usize::MAX);
        self.umem.get(start..).and_then(|rest| rest.get(..length)).unwrap_or(&[])
    }

    fn rewrite(&mut self, frame: Frame, bytes: &[u8]) -> Result<Frame, Frame> {
        let room = self.umem.get_mut(start(&frame)..).and_then(|rest| rest.get_mut(..FRAME_SIZE));
        let room = room.and_then(|room| room.get_mut(..bytes.len()));
        if let (Some(room), Ok(length)) = (room, u16::try_from(bytes.len())) {
            room.copy_from_slice(bytes);
            Ok(frame.of_length(length))
        } else {
            Err(frame)
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
            Drain::Keep => self.port(side).staged.push(frame),
            Drain::Cycle => home.rx.push(frame),
        }
        Ok(())
    }

    #[inline]
    fn recycle(&mut self, frame: Frame) {
        self.port(frame.home()).held -= 1;
        self.end(frame);
    }

    fn flush(&mut self) {
        for port in &mut self.ports {
            port.sent.extend(port.staged.drain(..));
            port.taken = port.sent.len();
        }
    }

    fn sending(&self) -> bool {
        self.ports.iter().any(|port| !port.staged.is_empty() || !port.sent.is_empty())
    }

    fn wait(&mut self, _timeout: Duration) {
        std::thread::yield_now();
    }

    fn census(&mut self) -> Census {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.ports.iter().fold(Census::default(), |sum, port| Census {
            free: sum.free + count(port.pool.len()),
            receiving: sum.receiving + count(port.rx.len() + port.ready.len()),
            held: sum.held + port.held,
            sending: sum.sending + count(port.staged.len() + port.sent.len()),
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
        assert_eq!(pair.census(), Census { free: 4, receiving: 0, held: 4, sending: 0 });
        let mut back = 0;
        for frame in burst {
            if let Err(frame) = pair.send(Side::Inside, frame) {
                pair.recycle(frame);
                back += 1;
            }
        }
        pair.flush();
        assert_eq!(back, 2, "two places in the ring, two frames come back");
        assert_eq!(pair.census(), Census { free: 6, receiving: 0, held: 0, sending: 2 });
        assert_eq!(pair.take_sent(Side::Inside), Some(vec![0; 60]));
        assert_eq!(pair.take_sent(Side::Inside), Some(vec![1; 60]));
        assert_eq!(pair.take_sent(Side::Inside), None);
        assert_eq!(pair.census(), Census { free: 8, receiving: 0, held: 0, sending: 0 });
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
        assert_eq!(pair.census(), Census { free: 2, receiving: 0, held: 0, sending: 0 });
    }

    #[test]
    fn a_frame_too_long_is_never_truncated() {
        let mut pair = MemoryQueuePair::new(1, 1, Drain::Keep);
        assert!(!pair.inject(Side::Inside, &vec![0; FRAME_SIZE + 1]));
        assert_eq!(pair.census(), Census { free: 2, receiving: 0, held: 0, sending: 0 });
    }
}
