//! Ports on `AF_XDP` sockets.
//!
//! What it is: a wire's two interfaces with the port program on each, one UMEM, and a [`QueuePair`] for
//! every queue. What it is not: no frame is judged here, and no thread is kept. Invariants: an opening
//! that fails leaves nothing behind; a port that was taken over is never without its program; what a
//! process leaves behind when it goes, by whatever way, drops every frame and counts it, until
//! [`release()`].
//!
//! Everything acts in the network namespace of the calling thread, and blocks: call it from the thread
//! that starts the gate, outside any runtime.
//!
//! [`QueuePair`]: super::QueuePair

mod cookie;
mod depth;
mod error;
mod ethtool;
mod features;
mod frames;
mod heartbeat;
pub mod kernel;
mod link;
mod offloads;
mod presence;
mod program;
mod queue;
mod rss;
mod saved;
mod socket;
mod spread;
mod steering;
pub mod survey;

pub use error::AfXdpError;
pub use heartbeat::QueueHeartbeat;
pub use presence::Presence;
pub use queue::AfXdpQueuePair;
pub use steering::Steering;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{BpfCounts, Pools, PortState, QueuePair, XdpMode};
use crate::wire::Side;
use frames::Need;
use link::Link;
use offloads::Stripping;
use program::{Attached, Counters, Instance, Pinned};
use saved::Saved;

/// Queues the program's maps have room for.
pub const MAX_QUEUES: usize = 64;

/// Bytes of ours in front of each received packet, behind the 256 that XDP keeps. Nobody writes there yet
/// (docs/adr/0018): a frame that is handed over is read again.
const HEADROOM: u32 = 128;

/// What XDP keeps free in front of a packet (linux/bpf.h `XDP_PACKET_HEADROOM`).
const XDP_HEADROOM: u32 = 256;

/// Ethernet header and two VLAN tags, which the MTU does not count.
const LINK_BYTES: u32 = 14 + 2 * 4;

/// The largest MTU whose frames fit.
pub const MAX_MTU: u32 = super::LONGEST - LINK_BYTES;
const _: () = assert!(super::LONGEST == frames::LARGE - XDP_HEADROOM - HEADROOM);

/// Ring depths that can be asked for.
pub const RINGS: std::ops::RangeInclusive<u32> = 64..=8192;

/// How long ports may take to have their links: igb takes its own down for two seconds when a program is attached
/// or its queue count changes.
const LINK_TRIES: u32 = 50;
const LINK_PAUSE: Duration = Duration::from_millis(100);

/// How long the kernel may take to let go of a closed socket's queue.
const CLOSED_TRIES: u32 = 60;
const CLOSED_PAUSE: Duration = Duration::from_millis(50);

/// How long a taken-over queue is watched for the driver to find its fill ring.
const SETTLE_TRIES: u32 = 100;
const SETTLE_PAUSE: Duration = Duration::from_millis(10);

/// How many queues a wire has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueCount {
    /// As many as both cards spread over, at most so many; a port that spreads nothing keeps what it has.
    Auto {
        /// Cores left for workers.
        workers: u32,
    },
    /// So many on both ports.
    Exactly(u32),
}

/// What to open.
#[derive(Clone, Copy, Debug)]
pub struct OpenRequest<'a> {
    /// Interfaces, by [`Side::index`].
    pub interfaces: [&'a str; 2],
    /// Directory of this wire's pins, on a bpffs; made if it is not there.
    pub pins: &'a Path,
    /// File that keeps the ports' earlier settings.
    pub saved: &'a Path,
    /// Queues of each port; each has its worker.
    pub queues: QueueCount,
    /// Whether cards are asked to bring both directions of a flow to one queue.
    pub symmetric_rss: bool,
    /// Frames of each queue and direction: in the fill ring, being judged, and on their way out together; with
    /// zero-copy without those that the driver receives into. A power of two within [`RINGS`].
    pub rings: u32,
    /// A worker whose heartbeat is older gets no frames. Beat at least four times as often.
    pub heartbeat_limit: Duration,
}

/// One port as opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortReport {
    /// Interface.
    pub interface: String,
    /// Its driver.
    pub driver: String,
    /// Where the program sits.
    pub mode: XdpMode,
    /// Its pinned link was there already.
    pub took_over: bool,
    /// Id of the link, the same over all take-overs.
    pub link: u32,
    /// Id of the program.
    pub program: u32,
}

/// An open wire. Dropping it closes the sockets and leaves the ports to the pinned program.
pub struct Wire {
    /// Both ports, by [`Side::index`].
    pub ports: [PortReport; 2],
    /// Zero-copy, or copy.
    pub zero_copy: bool,
    /// How flows come to workers.
    pub steering: Steering,
    /// What the operator should know: a mode that was refused and why, a kernel to avoid, a wait.
    pub notes: Vec<String>,
    /// Whose which frame is, and how many a worker may lend another.
    pub pools: Pools,
    /// A worker's rings and heartbeat, by queue. Nothing passes before its first beat.
    pub queues: Vec<(AfXdpQueuePair, QueueHeartbeat)>,
    /// What the program counts.
    pub counters: KernelCounters,
    /// Whether the ports are still there.
    pub presence: Presence,
}

/// Reads the port programs' counters.
pub struct KernelCounters([Counters; 2]);

impl KernelCounters {
    /// Sums over CPUs, by [`Side::index`], since the program was first attached.
    #[must_use]
    pub fn read(&self) -> [BpfCounts; 2] {
        let [outside, inside] = &self.0;
        [outside.read(), inside.read()]
    }

    /// Opens the counters of a wire by its pins, whether or not a gate runs.
    ///
    /// # Errors
    /// Nothing is pinned there.
    pub fn open(pins: &Path) -> Result<Self, AfXdpError> {
        let [outside, inside] = Side::BOTH.map(|side| Counters::open(&pins.join(side.name())));
        Ok(Self([outside?, inside?]))
    }
}

/// Opens a wire, or takes over one that a process left behind.
///
/// Order: bind, fill, map entry, attach; on a take-over: bind, fill, wake, map entry, and wait, bounded,
/// until no queue finds its fill ring empty.
///
/// # Errors
/// See [`AfXdpError`]. Nothing stays attached, pinned or changed that was not before.
pub fn open(request: &OpenRequest<'_>) -> Result<Wire, AfXdpError> {
    check(request)?;
    let mut notes: Vec<String> = kernel::check(request.pins)?.into_iter().collect();

    let mut found = Vec::new();
    for (side, interface) in Side::BOTH.into_iter().zip(request.interfaces) {
        found.push(Found::new(request, side, interface)?);
    }
    let queues = spread::count(request.interfaces, request.queues)?;
    let [outside, inside] =
        <[Found; 2]>::try_from(found).map_err(|_| AfXdpError::QueueCount { queues, most: QUEUES_MOST })?;

    let presence =
        Presence::new([&outside, &inside].map(|port| (port.interface.as_str(), port.link.index))).map_err(
            |source| AfXdpError::Setting { doing: "watch", interface: outside.interface.clone(), source },
        )?;
    let states = presence.look();
    let mut undo = Undo { pins: Vec::new(), settings: None };
    for port in [&outside, &inside] {
        if port.pinned == Pinned::Stale {
            program::remove(&port.pins)?;
        }
    }
    undo.settings =
        saved::change(request.saved, request.interfaces, [&outside.link, &inside.link], queues)?
            .map(|settings| (settings, request.saved.to_owned()));
    let steering = steering::set(request.interfaces, queues, request.symmetric_rss);

    let need =
        Need { drivers: [&outside.driver, &inside.driver], mtu: outside.link.mtu.max(inside.link.mtu) };
    let shape = socket::Shape { interfaces: request.interfaces, queues, rings: request.rings, need };
    let mut sockets = socket::open(shape)?;
    notes
        .extend(sockets.refusal.take().map(|reason| format!("copy mode, zero-copy was refused: {reason}")));
    notes.push(need.note(sockets.frame_size));
    notes.extend(sockets.waited.map(|time| {
        format!("waited {} ms for a queue that its last owner had just left", time.as_millis())
    }));
    for pair in &mut sockets.pairs {
        for side in Side::BOTH {
            pair.port_mut(side).refill();
        }
    }

    let mut opened = Vec::new();
    for (side, port) in Side::BOTH.into_iter().zip([&outside, &inside]) {
        if port.pinned != Pinned::Ours {
            undo.pins.push(port.pins.clone());
        }
        opened.push(attach(request, side, port, &sockets.pairs, &mut notes)?);
    }
    let [outside, inside] = <[OpenPort; 2]>::try_from(opened)
        .map_err(|_| AfXdpError::QueueCount { queues, most: QUEUES_MOST })?;
    if outside.report.took_over || inside.report.took_over {
        settle(&sockets.pairs);
    }
    notes.extend(await_links(request.interfaces, states, || presence.look(), || thread::sleep(LINK_PAUSE)));

    undo.forget();
    let beats = [outside.heartbeat, inside.heartbeat];
    let queues = sockets
        .pairs
        .into_iter()
        .enumerate()
        .map(|(queue, pair)| (pair, QueueHeartbeat { ports: beats.clone(), queue }))
        .collect();
    Ok(Wire {
        ports: [outside.report, inside.report],
        zero_copy: sockets.zero_copy,
        pools: sockets.pools,
        steering,
        notes,
        queues,
        counters: KernelCounters([outside.counters, inside.counters]),
        presence,
    })
}

/// Has the interrupts of an open wire's queues come to the processors of their workers, by queue. Answers how
/// many do, of both ports together; a release gives them back.
///
/// # Errors
/// The file of saved settings cannot be read or written.
pub fn take_interrupts(saved: &Path, workers: &[Option<usize>]) -> Result<usize, AfXdpError> {
    saved::take_interrupts(saved, workers)
}

/// The address of an interface's device on its bus; empty where there is none, or no such interface.
#[must_use]
pub fn bus(interface: &str) -> String {
    ethtool::driver(interface).map_or_else(|_| String::new(), |(_, bus)| bus)
}

/// What [`release()`] found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// Pins were removed, and with them the programs.
    pub pins: bool,
    /// Settings were given back.
    pub settings: bool,
}

/// Detaches the port programs, removes the pins and gives the ports their settings back.
///
/// Idempotent; a wire that is half gone is released as well, and one failure does not keep the rest from
/// being tried.
///
/// # Errors
/// The first thing that could not be removed or given back.
pub fn release(pins: &Path, saved: &Path) -> Result<Released, AfXdpError> {
    let pins = remove_pins(pins);
    let settings = saved::give_back(saved);
    Ok(Released { pins: pins?, settings: settings? })
}

/// Removes the pins of a wire whose network namespace is gone, and its ports with it. Answers whether there
/// were any.
///
/// # Errors
/// The first pin that could not be removed.
pub fn remove_pins(pins: &Path) -> Result<bool, AfXdpError> {
    let [outside, inside] = Side::BOTH.map(|side| program::remove(&pins.join(side.name())));
    Ok(outside? | inside?)
}

#[allow(clippy::cast_possible_truncation, reason = "64")]
const QUEUES_MOST: u32 = MAX_QUEUES as u32;

/// A port before anything is touched.
struct Found {
    interface: String,
    link: Link,
    driver: String,
    pins: PathBuf,
    pinned: Pinned,
}

impl Found {
    fn new(request: &OpenRequest<'_>, side: Side, interface: &str) -> Result<Self, AfXdpError> {
        let fail = |doing| {
            let interface = interface.to_owned();
            move |source| AfXdpError::Setting { doing, interface, source }
        };
        let link = link::find(interface)
            .map_err(fail("look up"))?
            .ok_or_else(|| AfXdpError::NoInterface { interface: interface.to_owned() })?;
        if link.mtu > MAX_MTU {
            let interface = interface.to_owned();
            return Err(AfXdpError::Mtu { interface, mtu: link.mtu, most: MAX_MTU });
        }
        if let Stripping::Fixed(offload) =
            offloads::stripping(interface).map_err(fail("ask for the offloads of"))?
        {
            return Err(AfXdpError::TagsStripped { interface: interface.to_owned(), offload });
        }
        let (driver, _) = ethtool::driver(interface).map_err(fail("ask for the driver of"))?;
        let pins = request.pins.join(side.name());
        let pinned = program::look(&pins, link.program);
        match (link.program, pinned) {
            (Some(id), Pinned::Nothing | Pinned::Stale) => Err(program::foreign(interface, id)),
            (None, _) | (Some(_), Pinned::Ours) => {
                Ok(Self { interface: interface.to_owned(), link, driver, pins, pinned })
            }
        }
    }
}

/// A port with its program on it.
struct OpenPort {
    report: PortReport,
    counters: Counters,
    heartbeat: Arc<heartbeat::Mapped>,
}

fn attach(
    request: &OpenRequest<'_>,
    side: Side,
    port: &Found,
    pairs: &[AfXdpQueuePair],
    notes: &mut Vec<String>,
) -> Result<OpenPort, AfXdpError> {
    let mut instance = Instance::load(&port.pins)?;
    instance.set_limit(request.heartbeat_limit)?;
    let took_over = port.pinned == Pinned::Ours;
    for (queue, pair) in (0..).zip(pairs) {
        if took_over {
            pair.port(side).wake_receive();
        }
        instance.enter(queue, pair.socket(side))?;
    }
    let attached = if took_over {
        instance.take_over(port.link.generic)?
    } else {
        instance.attach(&port.interface, port.link.index)?
    };
    let Attached { mode, link, program, refusal } = attached;
    notes.extend(
        refusal.map(|reason| format!("{}: generic XDP, native was refused: {reason}", port.interface)),
    );
    let (counters, heartbeat) = instance.into_parts();
    let report = PortReport {
        interface: port.interface.clone(),
        driver: port.driver.clone(),
        mode,
        took_over,
        link,
        program,
    };
    Ok(OpenPort { report, counters, heartbeat: Arc::new(heartbeat) })
}

/// Waits until a driver that was attached before the fill rings were there has found them.
fn settle(pairs: &[AfXdpQueuePair]) {
    let empty =
        || -> u64 { pairs.iter().flat_map(QueuePair::kernel).map(|counts| counts.fill_ring_empty).sum() };
    let mut before = empty();
    for _ in 0..SETTLE_TRIES {
        thread::sleep(SETTLE_PAUSE);
        let now = empty();
        if now == before {
            return;
        }
        before = now;
    }
}

/// Waits until ports whose links may have been taken down, or are on their way up, have them; what had none before
/// is not waited for. Answers what there is to say.
fn await_links(
    interfaces: [&str; 2],
    before: [PortState; 2],
    mut look: impl FnMut() -> [PortState; 2],
    mut pause: impl FnMut(),
) -> Option<String> {
    let awaited = before.map(|state| state != PortState::NoCarrier);
    for tries in 0..=LINK_TRIES {
        let late: Vec<&str> = look()
            .into_iter()
            .zip(interfaces)
            .zip(awaited)
            .filter(|((state, _), awaited)| *awaited && *state == PortState::NoCarrier)
            .map(|((_, interface), _)| interface)
            .collect();
        let waited = (LINK_PAUSE * tries).as_millis();
        match (late.is_empty(), tries) {
            (true, 0) => return None,
            (true, _) => {
                return Some(format!("waited {waited} ms for a link that its driver had taken down"));
            }
            (false, LINK_TRIES) => {
                return Some(format!("{} had no link after {waited} ms", late.join(" and ")));
            }
            (false, _) => pause(),
        }
    }
    None
}

fn check(request: &OpenRequest<'_>) -> Result<(), AfXdpError> {
    let [outside, inside] = request.interfaces;
    if outside == inside {
        return Err(AfXdpError::SameInterface { interface: outside.to_owned() });
    }
    if !RINGS.contains(&request.rings) || !request.rings.is_power_of_two() {
        let (least, most) = (*RINGS.start(), *RINGS.end());
        return Err(AfXdpError::Rings { rings: request.rings, least, most });
    }
    Ok(())
}

/// What an opening has done so far, undone when it is dropped.
struct Undo {
    pins: Vec<PathBuf>,
    settings: Option<(Saved, PathBuf)>,
}

impl Undo {
    /// The opening succeeded.
    fn forget(mut self) {
        self.pins.clear();
        self.settings = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // The error that led here is the one to report.
        for pins in &self.pins {
            let _ = program::remove(pins);
        }
        if let Some((settings, file)) = &self.settings {
            settings.undo(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of links that come after so many looks; and the pauses.
    fn waited(before: [PortState; 2], looks: [u32; 2]) -> (Option<String>, u32) {
        let (mut at, mut pauses) = (0, 0);
        let look = || {
            at += 1;
            looks.map(|come| if at > come { PortState::Up } else { PortState::NoCarrier })
        };
        let said = await_links(["o", "i"], before, look, || pauses += 1);
        (said, pauses)
    }

    #[test]
    fn links_are_waited_for_bounded_and_never_where_there_was_none() {
        let (up, none, down) = (PortState::Up, PortState::NoCarrier, PortState::Down);
        assert_eq!(waited([up, up], [0, 0]), (None, 0));
        let said = |words: &str| Some(words.to_owned());
        let back = said("waited 2000 ms for a link that its driver had taken down");
        assert_eq!(waited([up, up], [20, 7]), (back, 20));
        assert_eq!(waited([up, down], [0, u32::MAX]), (said("i had no link after 5000 ms"), 50));
        assert_eq!(waited([up, up], [u32::MAX; 2]), (said("o and i had no link after 5000 ms"), 50));
        assert_eq!(waited([none, up], [u32::MAX, 0]), (None, 0));
    }
}
