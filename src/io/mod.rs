//! Ports: where frames come from and go to.
//!
//! What it is: the affine [`Frame`], the [`QueuePair`] a worker drives, the `af_xdp` port over real
//! interfaces, the `memory` port for tests and null-I/O measurements, captures (`pcap`), the memory of flow tables (`region`), and what this machine has of
//! processors and interrupts (`topology`, `interrupts`). What it is
//! not: no frame is judged here. Invariant: frames are conserved; [`QueuePair::census`] adds up to the same
//! total always.

#[cfg(feature = "xdp")]
pub mod af_xdp;
mod arena;
pub mod clock;
mod frame;
pub mod hardware;
pub mod interrupts;
pub mod memory;
pub mod pcap;
mod pools;
pub mod region;
pub mod topology;

pub use frame::Frame;
pub use pools::Pools;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::wire::Side;

/// Frames a burst takes at most.
pub const BURST: usize = 64;

/// The longest frame that one of the gate's can hold: 4 KiB without what is kept free in front of a packet
/// (256 bytes of XDP, 128 of ours). Ports whose MTU allows more are refused.
pub const LONGEST: u32 = 4096 - 256 - 128;

/// Queue *q* of both ports of a wire, with the frames that circulate between them.
///
/// Each side has a pool of its own: a frame received on a side goes back to that side's fill ring,
/// whichever way it ended, so the pool's size bounds what is in flight in that direction (fill, RX, TX
/// of the other port and completion together).
///
/// All pairs of a wire share the memory of their frames, and a frame's number is one for all of them. A frame
/// changes pairs only by exchange: the pair that takes one over gives a free one of the same side for it, which
/// the other regains, so every pool keeps its size. Between the two a frame counts as handed.
pub trait QueuePair {
    /// Takes up to [`BURST`] received frames of one side, in order. `into` is empty and has room.
    fn receive(&mut self, side: Side, into: &mut Vec<Frame>);

    /// The bytes of a frame.
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8];

    /// Writes over a frame from its first byte on; it is then as long as what was written.
    ///
    /// # Errors
    /// The frame as it was: it does not hold so much.
    fn rewrite(&mut self, frame: Frame, bytes: &[u8]) -> Result<Frame, Frame>;

    /// Places left in the TX ring of a side, staged frames already taken off.
    fn room(&mut self, side: Side) -> usize;

    /// Stages a frame for transmission at `side`. Gives it back when the ring is full.
    ///
    /// # Errors
    /// The frame, unsent.
    fn send(&mut self, side: Side, frame: Frame) -> Result<(), Frame>;

    /// Gives a frame back to its pool.
    fn recycle(&mut self, frame: Frame);

    /// Gives up a frame for another pair of the wire, which is passed what this gives back.
    fn hand_over(&mut self, frame: Frame) -> Frame;

    /// Takes over a frame that another pair gave up, and gives the free one that goes back for it; `None` while
    /// no frame of its side is free, and the other keeps it.
    fn take_over(&mut self, frame: &Frame) -> Option<Frame>;

    /// Takes the free frame that came for one given up.
    fn regain(&mut self, frame: Frame);

    /// Publishes what was staged, kicks the ports that need it, reaps completions, refills.
    fn flush(&mut self);

    /// Frames are in a TX or completion ring: the worker must not sleep long.
    fn sending(&self) -> bool;

    /// Sleeps until a frame may be there, `bell` is readable, or the timeout. Polls every descriptor of the
    /// worker.
    fn wait(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>);

    /// Frames of each side's pool beyond those that circulate.
    fn reserve(&self) -> u32;

    /// Where the frames are.
    fn census(&mut self) -> Census;

    /// What the kernel counted at each side, by [`Side::index`].
    fn kernel(&self) -> [KernelCounts; 2];
}

/// Tells the kernel program that the worker of a queue is alive.
///
/// Without a fresh beat the program redirects nothing, so a hung worker closes the wire.
pub trait Heartbeat: Send {
    /// The worker was alive at this `CLOCK_BOOTTIME` reading, in nanoseconds; 0: it takes nothing more. A
    /// clean stop beats 0, takes what is in its rings to its end, and only then goes. Two stores.
    fn beat(&self, boot_nanos: u64);
}

/// The heartbeat of ports that no kernel program watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Heartbeat for Unwatched {
    fn beat(&self, _boot_nanos: u64) {}
}

/// How the kernel program is attached to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, for drivers without XDP.
    Generic,
}

/// How a port of an open wire stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// There, up, with a link.
    Up,
    /// Up, and nothing at the other end.
    NoCarrier,
    /// Set down.
    Down,
    /// No longer there: deleted, or moved to another network namespace. Its sockets are cut off for good.
    Gone,
    /// Gone, and another interface has its name since.
    Replaced,
}

impl PortState {
    /// Its name in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::NoCarrier => "no_carrier",
            Self::Down => "down",
            Self::Gone => "gone",
            Self::Replaced => "replaced",
        }
    }
}

/// What the kernel program counted at one port, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BpfCounts {
    /// Frames the program saw.
    pub seen: u64,
    /// Redirected to a socket.
    pub redirected: u64,
    /// Dropped: the worker's heartbeat was stale.
    pub stale: u64,
    /// Dropped: no socket on the queue.
    pub no_socket: u64,
}

/// Where the frames of a queue pair are. The sum is constant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Neither in a ring nor held.
    pub free: u32,
    /// Handed to the kernel for reception: in a fill or RX ring, or being filled.
    pub receiving: u32,
    /// Taken from RX and not yet ended.
    pub held: u32,
    /// Handed to the kernel for transmission and not yet reaped.
    pub sending: u32,
    /// Given up for another worker, who has given none for it yet.
    pub handed: u32,
}

impl Census {
    /// All frames.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.free + self.receiving + self.held + self.sending + self.handed
    }
}

/// `XDP_STATISTICS` of one socket (`linux/if_xdp.h`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounts {
    /// Dropped for other reasons (among them: no fill entry in copy mode). What the program redirected is
    /// what left the RX ring, what is in it, and `rx_dropped + rx_ring_full`, exactly.
    pub rx_dropped: u64,
    /// Descriptors the kernel refused.
    pub rx_invalid: u64,
    /// TX descriptors the kernel refused.
    pub tx_invalid: u64,
    /// The RX ring was full.
    pub rx_ring_full: u64,
    /// The fill ring was empty when a frame came.
    pub fill_ring_empty: u64,
    /// The TX ring was empty at a kick.
    pub tx_ring_empty: u64,
}
