//! Queue *q* of both ports: eight rings, and the frames that circulate between them.
//!
//! What it is not: it judges nothing and owns no thread. Invariants: a frame is in exactly one place and
//! [`AfXdpQueuePair::census`] adds up to both pools; a frame goes back to the fill ring of the port whose
//! pool it is of, wherever it was sent. Cost: in copy mode one system call a flush and port while its TX
//! ring holds something, none otherwise; 97 % of a busy worker's time is inside that call.
#![allow(unsafe_code, reason = "descriptors are the kernel's to read: xsk-rs asks for a promise on each")]

use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, TxQueue, Umem};

use super::FRAME_SIZE;
use crate::io::{BURST, Census, Frame, KernelCounts, QueuePair};
use crate::wire::Side;

/// Kicks a flush gives a port that answers `EAGAIN` and gets on. One kick carries up to 256 frames.
const KICKS: u32 = 8;

/// The rings of one socket, and the pool that is at home there.
pub(super) struct Port {
    pub(super) rx: RxQueue,
    pub(super) tx: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
    /// TX ring size.
    pub(super) places: u32,
    /// Frames of this pool that are nowhere, latest last.
    pub(super) free: Vec<FrameDesc>,
    /// Frames to transmit here, of either pool.
    staged: Vec<FrameDesc>,
    /// In the fill or RX ring, or with the kernel between the two.
    receiving: u32,
    /// In the TX or completion ring, or with the kernel between the two.
    sending: u32,
    /// Free places of the TX ring when they were last counted; there are no fewer now.
    room: usize,
}

impl Port {
    pub(super) fn new(
        (tx, rx, fill, completion): (TxQueue, RxQueue, FillQueue, CompQueue),
        places: u32,
        free: Vec<FrameDesc>,
    ) -> Self {
        let staged = Vec::with_capacity(usize::try_from(places).unwrap_or(usize::MAX).min(1 << 16));
        Self { rx, tx, fill, completion, places, free, staged, receiving: 0, sending: 0, room: 0 }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the queue holds the socket open, and the result lives no longer than this borrow of it.
        unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) }
    }

    /// Puts all free frames into the fill ring, the one freed last first.
    pub(super) fn refill(&mut self) {
        if self.free.is_empty() {
            return;
        }
        self.free.reverse();
        // SAFETY: each descriptor is of this UMEM (the pool was cut from it) and was free, so nobody else
        // has it.
        let taken = unsafe { self.fill.produce(&self.free) };
        // All or nothing; the ring holds the whole pool, so it is never nothing.
        if taken == self.free.len() {
            self.receiving += count(taken);
            self.free.clear();
        } else {
            self.free.reverse();
        }
        if self.fill.needs_wakeup() {
            self.wake_receive();
        }
    }

    /// Makes the driver look at the fill ring. Copy mode needs it never.
    pub(super) fn wake_receive(&self) {
        // What it answers changes nothing: the next flush asks again.
        let _ = rustix::net::recv(self.fd(), &mut [0_u8; 0], RecvFlags::DONTWAIT);
    }

    /// Moves what was staged into the TX ring, as much as fits, and has the kernel send.
    fn transmit(&mut self) {
        if !self.staged.is_empty() {
            // All or nothing: staging counted the places, so it is all.
            // SAFETY: each descriptor is of this UMEM, and staging took it out of every other place.
            let taken = unsafe { self.tx.produce(&self.staged) };
            self.sending += count(taken);
            self.room = self.room.saturating_sub(taken);
            self.staged.drain(..taken);
        }
        if self.sending > 0 {
            self.kick();
        }
    }

    fn kick(&mut self) {
        let mut waiting = self.places.saturating_sub(self.tx.nb_free_exact());
        for _ in 0..KICKS {
            if waiting == 0 || !self.tx.needs_wakeup() {
                return;
            }
            let answer = rustix::net::send(self.fd(), &[], SendFlags::DONTWAIT);
            let left = self.places.saturating_sub(self.tx.nb_free_exact());
            let got_on = left < waiting;
            waiting = left;
            // EAGAIN: the budget of one call is used up, the driver's queue is full, or the send buffer is.
            // EBUSY: the device dropped that frame, which completes all the same; the rest waits. ENOBUFS: no
            // memory for a packet right now.
            let again = matches!(answer, Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS | Errno::INTR));
            if !again || !got_on {
                // All sent, or nothing moves, or the link is down: the rest stays in the ring for the next
                // flush.
                return;
            }
        }
    }

    fn statistics(&self) -> KernelCounts {
        self.rx.fd().xdp_statistics().map_or_else(
            |_| KernelCounts::default(),
            |found| KernelCounts {
                rx_dropped: found.rx_dropped(),
                rx_invalid: found.rx_invalid_descs(),
                tx_invalid: found.tx_invalid_descs(),
                rx_ring_full: found.rx_ring_full(),
                fill_ring_empty: found.rx_fill_ring_empty_descs(),
                tx_ring_empty: found.tx_ring_empty_descs(),
            },
        )
    }
}

/// A [`QueuePair`] on two `AF_XDP` sockets over one UMEM.
pub struct AfXdpQueuePair {
    outside: Port,
    inside: Port,
    umem: Umem,
    /// As last seen in an RX ring, by number in this pair: the outside pool, then the inside pool.
    descriptors: Vec<FrameDesc>,
    /// Number of this pair's first frame in the UMEM.
    first: usize,
    /// Frames of one pool.
    pool: usize,
    /// Taken from RX and not yet ended.
    held: u32,
    scratch: [FrameDesc; BURST],
    /// Completed and not yet given to its pool. Empty between calls.
    reaped: Vec<FrameDesc>,
}

impl AfXdpQueuePair {
    pub(super) fn new(umem: Umem, queue: u32, pool: u32, outside: Port, inside: Port) -> Self {
        let pool = usize::try_from(pool).unwrap_or(usize::MAX);
        let first = usize::try_from(queue).unwrap_or(usize::MAX).saturating_mul(2).saturating_mul(pool);
        let descriptors = outside.free.iter().chain(&inside.free).copied().collect();
        let scratch = [FrameDesc::default(); BURST];
        let reaped = Vec::with_capacity(pool.saturating_mul(2));
        Self { outside, inside, umem, descriptors, first, pool, held: 0, scratch, reaped }
    }

    pub(super) const fn port(&self, side: Side) -> &Port {
        match side {
            Side::Outside => &self.outside,
            Side::Inside => &self.inside,
        }
    }

    pub(super) const fn port_mut(&mut self, side: Side) -> &mut Port {
        match side {
            Side::Outside => &mut self.outside,
            Side::Inside => &mut self.inside,
        }
    }

    /// The socket at a side, for the map of sockets.
    pub(super) fn socket(&self, side: Side) -> BorrowedFd<'_> {
        self.port(side).fd()
    }

    /// A frame's number in this pair and the side whose pool it is of.
    fn place(&self, address: usize) -> Option<(usize, Side)> {
        let number = (address / FRAME_SIZE).checked_sub(self.first)?;
        if number < self.pool {
            Some((number, Side::Outside))
        } else if number < self.pool.saturating_mul(2) {
            Some((number, Side::Inside))
        } else {
            None
        }
    }

    /// A frame's descriptor as it was last seen in an RX ring.
    fn descriptor(&self, frame: &Frame) -> Option<&FrameDesc> {
        self.descriptors.get(frame.number())
    }

    fn reap(&mut self, side: Side) {
        let port = match side {
            Side::Outside => &mut self.outside,
            Side::Inside => &mut self.inside,
        };
        while port.sending > 0 {
            // SAFETY: the ring is this UMEM's; the descriptors it fills are used for nothing else.
            let got = unsafe { port.completion.consume(&mut self.scratch) };
            port.sending = port.sending.saturating_sub(count(got));
            self.reaped.extend(self.scratch.iter().take(got));
            if got < BURST {
                break;
            }
        }
        while let Some(descriptor) = self.reaped.pop() {
            if let Some((_, home)) = self.place(descriptor.addr()) {
                self.port_mut(home).free.push(descriptor);
            }
        }
    }
}

impl QueuePair for AfXdpQueuePair {
    fn receive(&mut self, side: Side, into: &mut Vec<Frame>) {
        let port = match side {
            Side::Outside => &mut self.outside,
            Side::Inside => &mut self.inside,
        };
        // SAFETY: the ring is this UMEM's; the descriptors it fills are used for nothing else.
        let got = unsafe { port.rx.consume(&mut self.scratch) };
        port.receiving = port.receiving.saturating_sub(count(got));
        self.held += count(got);
        for descriptor in self.scratch.iter().take(got) {
            let Some((number, home)) = self.place(descriptor.addr()) else { continue };
            if let Some(slot) = self.descriptors.get_mut(number) {
                *slot = *descriptor;
            }
            // A frame holds 4 KiB.
            let length = u16::try_from(descriptor.lengths().data()).unwrap_or(u16::MAX);
            into.push(Frame::new(count(number), length, home));
        }
    }

    fn bytes(&self, frame: &Frame) -> &[u8] {
        let Some(descriptor) = self.descriptor(frame) else { return &[] };
        // SAFETY: the descriptor is of this UMEM, as the kernel wrote it. Whoever has the `Frame` has the
        // only claim to its bytes: it left the RX ring and is in no other, and to put it into one the
        // frame must be given up, which ends this borrow.
        unsafe { self.umem.data(descriptor) }.contents()
    }

    fn rewrite(&mut self, frame: Frame, bytes: &[u8]) -> Result<Frame, Frame> {
        let Some(descriptor) = self.descriptors.get_mut(frame.number()) else { return Err(frame) };
        let Ok(length) = u16::try_from(bytes.len()) else { return Err(frame) };
        // SAFETY: as in `bytes`: whoever has the `Frame` has the only claim to its bytes, here exclusively.
        let mut data = unsafe { self.umem.data_mut(descriptor) };
        let mut cursor = data.cursor();
        if cursor.buf_len() < bytes.len() {
            return Err(frame);
        }
        cursor.set_pos(0);
        // There is room for all of it.
        let _ = cursor.write_all(bytes);
        Ok(frame.of_length(length))
    }

    fn room(&mut self, side: Side) -> usize {
        let port = self.port_mut(side);
        // Counting reads memory that the kernel writes: once a burst, not once a frame.
        if port.room < port.staged.len() + BURST {
            port.room = usize::try_from(port.tx.nb_free_exact()).unwrap_or(0);
        }
        port.room.saturating_sub(port.staged.len())
    }

    fn send(&mut self, side: Side, frame: Frame) -> Result<(), Frame> {
        if self.room(side) == 0 {
            return Err(frame);
        }
        let Some(descriptor) = self.descriptor(&frame).copied() else { return Err(frame) };
        self.held = self.held.saturating_sub(1);
        self.port_mut(side).staged.push(descriptor);
        Ok(())
    }

    fn recycle(&mut self, frame: Frame) {
        let Some(descriptor) = self.descriptor(&frame).copied() else { return };
        self.held = self.held.saturating_sub(1);
        self.port_mut(frame.home()).free.push(descriptor);
    }

    fn flush(&mut self) {
        for side in Side::BOTH {
            self.port_mut(side).transmit();
        }
        // Both completion rings before either refill: a frame completes at the port it left by and goes
        // back to the other one.
        for side in Side::BOTH {
            self.reap(side);
        }
        for side in Side::BOTH {
            self.port_mut(side).refill();
        }
    }

    fn sending(&self) -> bool {
        Side::BOTH.into_iter().any(|side| self.port(side).sending > 0 || !self.port(side).staged.is_empty())
    }

    fn wait(&mut self, timeout: Duration) {
        let nanos = i64::from(timeout.subsec_nanos());
        let limit =
            Timespec { tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX), tv_nsec: nanos };
        let (outside, inside) = (self.outside.fd(), self.inside.fd());
        let mut both = [
            PollFd::from_borrowed_fd(outside, PollFlags::IN),
            PollFd::from_borrowed_fd(inside, PollFlags::IN),
        ];
        // A signal or an error ends the sleep early, which a caller must expect anyway.
        let _ = poll(&mut both, Some(&limit));
        let failed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        if both.iter().any(|one| one.revents().intersects(failed))
            && !both.iter().any(|one| one.revents().contains(PollFlags::IN))
        {
            // A port that is gone answers at once, always: without this the worker would spin on it.
            let _ = poll(&mut [], Some(&limit));
        }
    }

    fn census(&mut self) -> Census {
        let mut census = Census { held: self.held, ..Census::default() };
        for port in [&self.outside, &self.inside] {
            census.free += count(port.free.len());
            census.receiving += port.receiving;
            census.sending += port.sending + count(port.staged.len());
        }
        census
    }

    fn kernel(&self) -> [KernelCounts; 2] {
        [self.outside.statistics(), self.inside.statistics()]
    }
}

/// Frame counts and lengths are far below 2³²: a UMEM's size is checked at open.
fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}
