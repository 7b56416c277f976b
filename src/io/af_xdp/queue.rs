//! Queue *q* of both ports: eight rings, and the frames that circulate between them.
//!
//! What it is not: it judges nothing and owns no thread. Invariants: a frame is in exactly one place and
//! [`AfXdpQueuePair::census`] adds up to both pools; a frame goes back to the fill ring of the port whose
//! pool it is of, wherever it was sent. Cost: in copy mode one system call a flush and port while its TX
//! ring holds something, none otherwise; 97 % of a busy worker's time is inside that call.
#![allow(unsafe_code, reason = "descriptors are the kernel's to read: xsk-rs asks for a promise on each")]

use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, TxQueue, Umem};

use crate::io::{BURST, Census, Frame, KernelCounts, LONGEST, Pools, QueuePair};
use crate::wire::Side;

/// Kicks a flush gives a port that answers `EAGAIN` and gets on. One kick carries up to 256 frames.
const KICKS: u32 = 8;

/// The rings of one socket, and the pool that is at home there.
pub(super) struct Port {
    pub(super) rx: RxQueue,
    pub(super) tx: TxQueue,
    pub(super) fill: FillQueue,
    pub(super) completion: CompQueue,
    /// TX ring size, and the frames that are on their way out at a time.
    pub(super) places: u32,
    /// Fill ring size: the frames that circulate.
    rings: u32,
    /// Frames of this pool kept out of the fill ring, those given up for others and not regained among them.
    reserve: u32,
    /// Frames of this pool given up for others and not regained.
    handed: u32,
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
        pools: Pools,
        free: Vec<FrameDesc>,
    ) -> Self {
        let staged = Vec::with_capacity(usize::try_from(places).unwrap_or(usize::MAX).min(1 << 16));
        let (rings, reserve) = (pools.rings(), pools.reserve());
        let (handed, receiving, sending, room) = (0, 0, 0, 0);
        Self {
            rx,
            tx,
            fill,
            completion,
            places,
            rings,
            reserve,
            handed,
            free,
            staged,
            receiving,
            sending,
            room,
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the queue holds the socket open, and the result lives no longer than this borrow of it.
        unsafe { BorrowedFd::borrow_raw(self.rx.fd().as_raw_fd()) }
    }

    /// Puts free frames into the fill ring, the one freed last first: all but those that are kept to be
    /// exchanged.
    pub(super) fn refill(&mut self) {
        let kept = self.reserve.saturating_sub(self.handed);
        let room = self.rings.saturating_sub(self.receiving);
        let takes = count(self.free.len()).saturating_sub(kept).min(room);
        if takes == 0 {
            return;
        }
        let first = self.free.len().saturating_sub(usize::try_from(takes).unwrap_or(0));
        let Some(latest) = self.free.get_mut(first..) else { return };
        latest.reverse();
        // SAFETY: each descriptor is of this UMEM (the pool was cut from it) and was free, so nobody else
        // has it.
        let taken = unsafe { self.fill.produce(latest) };
        // All or nothing; the ring has room for what is not being received, so it is never nothing.
        if taken == latest.len() {
            self.receiving += count(taken);
            self.free.truncate(first);
        } else {
            latest.reverse();
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
    /// A frame has two to the power of so many bytes.
    shift: u32,
    /// As last seen in an RX ring, by number.
    descriptors: Vec<FrameDesc>,
    /// As they were cut from the UMEM, by number: the packet behind the headroom, nothing in it.
    blank: Arc<[FrameDesc]>,
    pools: Pools,
    /// Taken from RX and not yet ended.
    held: u32,
    scratch: [FrameDesc; BURST],
    /// Completed and not yet given to its pool. Empty between calls.
    reaped: Vec<FrameDesc>,
}

impl AfXdpQueuePair {
    pub(super) fn new(
        (umem, shift): (Umem, u32),
        blank: Arc<[FrameDesc]>,
        pools: Pools,
        outside: Port,
        inside: Port,
    ) -> Self {
        let descriptors = blank.to_vec();
        let scratch = [FrameDesc::default(); BURST];
        // No more than one ring's completions at a time, which may be of both pools.
        let reaped = Vec::with_capacity(usize::try_from(outside.places).unwrap_or(0));
        Self { outside, inside, umem, shift, descriptors, blank, pools, held: 0, scratch, reaped }
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

    /// A frame's number and the side whose pool it is of.
    fn place(&self, address: usize) -> Option<(u32, Side)> {
        let number = u32::try_from(address >> self.shift).ok()?;
        Some((number, self.pools.home(number)?))
    }

    /// A frame's descriptor as it was last seen in an RX ring.
    fn descriptor(&self, frame: &Frame) -> Option<&FrameDesc> {
        self.descriptors.get(frame.number())
    }

    /// Makes the descriptor of a frame that this pair has not received: the packet stands where it does in every
    /// frame.
    fn describe(&mut self, frame: &Frame) {
        let blank = self.blank.get(frame.number()).copied();
        let (Some(blank), Some(descriptor)) = (blank, self.descriptors.get_mut(frame.number())) else {
            return;
        };
        *descriptor = blank;
        let length = usize::try_from(frame.length()).unwrap_or(0);
        // SAFETY: the descriptor is of this UMEM; whoever has the `Frame` has the only claim to its bytes.
        unsafe { self.umem.data_mut(descriptor) }.cursor().set_pos(length);
    }

    /// Whether a packet stands elsewhere than in a frame of nothing else: some drivers put a time stamp in front
    /// of it.
    fn stands_elsewhere(&self, frame: &Frame) -> bool {
        let address = |all: &[FrameDesc]| all.get(frame.number()).map(FrameDesc::addr);
        address(&self.descriptors) != address(&self.blank)
    }

    /// Moves a packet to where others look for it.
    #[cold]
    fn put_in_place(&mut self, frame: &Frame) {
        let mut copy = [0; LONGEST as usize];
        let bytes = self.bytes(frame);
        let Some(copy) = copy.get_mut(..bytes.len()) else { return };
        copy.copy_from_slice(bytes);
        self.describe(frame);
        let Some(descriptor) = self.descriptors.get_mut(frame.number()) else { return };
        // SAFETY: as in `describe`.
        let mut data = unsafe { self.umem.data_mut(descriptor) };
        if let Some(place) = data.contents_mut().get_mut(..copy.len()) {
            place.copy_from_slice(copy);
        }
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
            let slot = usize::try_from(number).ok().and_then(|number| self.descriptors.get_mut(number));
            if let Some(slot) = slot {
                *slot = *descriptor;
            }
            // A frame holds 4 KiB at most.
            let length = u16::try_from(descriptor.lengths().data()).unwrap_or(u16::MAX);
            into.push(Frame::new(number, length, home));
        }
    }

    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
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
        // A zero-copy driver takes frames out of the ring long before they are sent.
        let away = port.places.saturating_sub(port.sending);
        port.room.min(usize::try_from(away).unwrap_or(usize::MAX)).saturating_sub(port.staged.len())
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

    fn hand_over(&mut self, frame: Frame) -> Frame {
        if self.stands_elsewhere(&frame) {
            self.put_in_place(&frame);
        }
        self.held = self.held.saturating_sub(1);
        self.port_mut(frame.home()).handed += 1;
        frame
    }

    fn take_over(&mut self, frame: &Frame) -> Option<Frame> {
        let home = frame.home();
        let free = self.port_mut(home).free.pop()?;
        let (number, _) = self.place(free.addr())?;
        self.describe(frame);
        self.held += 1;
        Some(Frame::new(number, 0, home))
    }

    fn regain(&mut self, frame: Frame) {
        let Some(descriptor) = self.blank.get(frame.number()).copied() else { return };
        let port = self.port_mut(frame.home());
        port.handed = port.handed.saturating_sub(1);
        port.free.push(descriptor);
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

    fn wait(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>) {
        let nanos = i64::from(timeout.subsec_nanos());
        let limit =
            Timespec { tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX), tv_nsec: nanos };
        let (outside, inside) = (self.outside.fd(), self.inside.fd());
        let ports = [
            PollFd::from_borrowed_fd(outside, PollFlags::IN),
            PollFd::from_borrowed_fd(inside, PollFlags::IN),
        ];
        let failed = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        // A signal or an error ends the sleep early, which a caller must expect anyway.
        let gone = |ports: &[PollFd<'_>]| {
            ports.iter().any(|one| one.revents().intersects(failed))
                && !ports.iter().any(|one| one.revents().contains(PollFlags::IN))
        };
        // A port that is gone answers at once, always: without a second sleep the worker would spin on it.
        match bell.map(|bell| PollFd::from_borrowed_fd(bell, PollFlags::IN)) {
            None => {
                let mut all = ports;
                let _ = poll(&mut all, Some(&limit));
                if gone(&all) {
                    let _ = poll(&mut [], Some(&limit));
                }
            }
            Some(bell) => {
                let [outside, inside] = ports;
                let mut all = [outside, inside, bell];
                let _ = poll(&mut all, Some(&limit));
                if gone(&all) {
                    let [_, _, bell] = all;
                    let _ = poll(&mut [bell], Some(&limit));
                }
            }
        }
    }

    fn reserve(&self) -> u32 {
        self.pools.reserve()
    }

    fn census(&mut self) -> Census {
        let mut census = Census { held: self.held, ..Census::default() };
        for port in [&self.outside, &self.inside] {
            census.free += count(port.free.len());
            census.receiving += port.receiving;
            census.sending += port.sending + count(port.staged.len());
            census.handed += port.handed;
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
