//! Opens the sockets of a wire over one UMEM.
//!
//! The wire is the unit: every socket zero-copy, or all closed, the UMEM dropped and the wire opened again
//! in copy mode; with one UMEM the kernel gives later sockets the first one's mode, so a mixture would be
//! an accident. A queue that its last owner just left stays busy for a moment and is waited for, bounded.
#![allow(unsafe_code, reason = "one socket option that no crate knows, and xsk-rs' constructor")]

use std::io;
use std::num::NonZeroU32;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use xsk_rs::config::{BindFlags, FrameSize, Interface, LibxdpFlags, QueueSize, SocketConfig, UmemConfig};
use xsk_rs::umem::frame::FrameDesc;
use xsk_rs::{CompQueue, FillQueue, RxQueue, Socket, TxQueue, Umem};

use super::depth::{self, Depth};
use super::frames::Need;
use super::queue::{AfXdpQueuePair, Port};
use super::{AfXdpError, CLOSED_PAUSE, CLOSED_TRIES, HEADROOM, ethtool};
use crate::io::Pools;
use crate::wire::Side;

/// In copy mode the send buffer bounds the packets in flight; this holds any ring.
const SEND_BUFFER: usize = 64 << 20;

/// `linux/if_xdp.h`, since 6.17: frames one system call may send in copy mode. The default is 32.
const MAX_TX_SKB_BUDGET: libc::c_int = 9;
const TX_BUDGET: u32 = 256;

/// What to open.
#[derive(Clone, Copy)]
pub(super) struct Shape<'a> {
    pub(super) interfaces: [&'a str; 2],
    pub(super) queues: u32,
    /// Frames in flight, a power of two.
    pub(super) rings: u32,
    /// What a frame must hold.
    pub(super) need: Need<'a>,
}

/// All sockets of a wire.
pub(super) struct Sockets {
    pub(super) pairs: Vec<AfXdpQueuePair>,
    pub(super) pools: Pools,
    pub(super) zero_copy: bool,
    /// Bytes of a frame.
    pub(super) frame_size: u32,
    /// Why not zero-copy.
    pub(super) refusal: Option<String>,
    /// A queue had to be waited for this long.
    pub(super) waited: Option<Duration>,
}

pub(super) fn open(shape: Shape<'_>) -> Result<Sockets, AfXdpError> {
    let mut waited = Duration::ZERO;
    let mut refusal = None;
    let mut zero_copy = true;
    loop {
        let frame_size = shape.need.size(zero_copy);
        match open_as(shape, zero_copy, frame_size) {
            Ok((pairs, pools)) => {
                let waited = (!waited.is_zero()).then_some(waited);
                return Ok(Sockets { pairs, pools, zero_copy, frame_size, refusal, waited });
            }
            Err(Refused::Socket { interface, queue, source }) => {
                if source.raw_os_error() == Some(libc::EBUSY) {
                    if waited >= CLOSED_PAUSE * CLOSED_TRIES {
                        let waited_ms = u32::try_from(waited.as_millis()).unwrap_or(u32::MAX);
                        return Err(AfXdpError::Busy { interface, queue, waited_ms });
                    }
                    thread::sleep(CLOSED_PAUSE);
                    waited += CLOSED_PAUSE;
                } else if zero_copy {
                    refusal = Some(format!("{interface} queue {queue}: {source}"));
                    zero_copy = false;
                } else {
                    return Err(AfXdpError::Socket { interface, queue, source });
                }
            }
            Err(Refused::Umem { kib, source }) if zero_copy => {
                refusal = Some(format!("{kib} KiB of frames: {source}"));
                zero_copy = false;
            }
            Err(Refused::Umem { kib, source }) => return Err(AfXdpError::Umem { kib, source }),
        }
    }
}

enum Refused {
    Umem { kib: u64, source: io::Error },
    Socket { interface: String, queue: u32, source: io::Error },
}

/// Both ports have pools of one size: the longer receive ring counts.
fn depth_of(shape: Shape<'_>, zero_copy: bool) -> Depth {
    if !zero_copy {
        return Depth::copied(shape.rings);
    }
    // A driver that does not answer is one that does not tell.
    let longest = shape.interfaces.into_iter().map(|port| ethtool::receive_ring(port).unwrap_or(None));
    Depth::shared(shape.rings, longest.map(|places| places.unwrap_or(depth::UNTOLD)).fold(0, u32::max))
}

fn open_as(
    shape: Shape<'_>,
    zero_copy: bool,
    frame_size: u32,
) -> Result<(Vec<AfXdpQueuePair>, Pools), Refused> {
    let depth = depth_of(shape, zero_copy);
    // What is lent from worker to worker does not grow with what a driver holds.
    let lent = Pools::new(shape.queues, shape.rings).lent();
    let pools = Pools::lending(shape.queues, depth.pool, lent);
    let frames = pools.total();
    let kib = u64::from(frames) * u64::from(frame_size / 1024);
    let no_umem = |source| Refused::Umem { kib, source };

    let size = |entries| QueueSize::new(entries).map_err(|error| no_umem(io::Error::other(error)));
    let config = UmemConfig::builder()
        .frame_size(FrameSize::new(frame_size).map_err(|error| no_umem(io::Error::other(error)))?)
        .frame_headroom(HEADROOM)
        .fill_queue_size(size(depth.pool)?)
        .comp_queue_size(size(depth.transmit)?)
        .build()
        .map_err(|error| no_umem(io::Error::other(error)))?;
    let wanted = NonZeroU32::new(frames).ok_or_else(|| no_umem(io::ErrorKind::InvalidInput.into()))?;
    let (umem, descriptors) = Umem::new(config, wanted, false).map_err(|error| no_umem(cause(&error)))?;

    let mode = if zero_copy { BindFlags::XDP_ZEROCOPY } else { BindFlags::XDP_COPY };
    let config = SocketConfig::builder()
        .rx_queue_size(size(depth.receive)?)
        .tx_queue_size(size(depth.transmit)?)
        .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
        .bind_flags(mode | BindFlags::XDP_USE_NEED_WAKEUP)
        .build();
    let blank: Arc<[FrameDesc]> = descriptors.into();
    let mut pairs = Vec::new();
    for queue in 0..shape.queues {
        let port = |side: Side| {
            let [outside, inside] = shape.interfaces;
            let interface = match side {
                Side::Outside => outside,
                Side::Inside => inside,
            };
            let first = usize::try_from(pools.first(queue, side)).unwrap_or(usize::MAX);
            let pool = blank.iter().skip(first).take(usize::try_from(pools.pool()).unwrap_or(0));
            let port = bind(config, &umem, interface, queue, depth.transmit, zero_copy);
            port.map(|rings| Port::new(rings, depth.transmit, pools, pool.copied().collect()))
                .map_err(|source| Refused::Socket { interface: interface.to_owned(), queue, source })
        };
        let outside = port(Side::Outside)?;
        let inside = port(Side::Inside)?;
        let memory = (umem.clone(), frame_size.trailing_zeros());
        pairs.push(AfXdpQueuePair::new(memory, Arc::clone(&blank), pools, outside, inside));
    }
    Ok((pairs, pools))
}

fn bind(
    config: SocketConfig,
    umem: &Umem,
    interface: &str,
    queue: u32,
    places: u32,
    zero_copy: bool,
) -> io::Result<(TxQueue, RxQueue, FillQueue, CompQueue)> {
    let name: Interface = interface.parse().map_err(io::Error::other)?;
    // SAFETY: no pair of interface and queue is bound twice over one UMEM, and the flag that forbids
    // libxdp to load a program of its own is set.
    let opened = unsafe { Socket::new(config, umem, &name, queue) };
    let (tx, rx, rings) = opened.map_err(|error| cause(&error))?;
    let (fill, completion) = rings.ok_or_else(|| io::Error::from(io::ErrorKind::AlreadyExists))?;
    // SAFETY: `rx` keeps the socket open for longer than this borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(rx.fd().as_raw_fd()) };
    // libxdp opens it without: a child of ours would keep the queue busy after we are gone.
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_send_buffer_size_force(fd, SEND_BUFFER)?;
    if !zero_copy {
        raise_budget(fd, places)?;
    }
    Ok((tx, rx, fill, completion))
}

/// The kernel refuses a budget beyond the TX ring's size.
fn raise_budget(fd: BorrowedFd<'_>, places: u32) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<u32>()).map_err(io::Error::other)?;
    let budget = TX_BUDGET.min(places);
    // SAFETY: the option reads one u32, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            MAX_TX_SKB_BUDGET,
            (&raw const budget).cast(),
            length,
        )
    };
    if result == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Before 6.17 a call sends 32; the kick goes on by itself.
        error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        error => Err(error),
    }
}

/// The system's error inside xsk-rs', or its words.
fn cause(error: &(dyn std::error::Error + 'static)) -> io::Error {
    error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
        .and_then(io::Error::raw_os_error)
        .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}
