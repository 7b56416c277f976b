//! A port as it stands, before anything is opened: what `doctor` asks. Changes nothing.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

pub use super::cookie::namespace_cookie;
pub use super::features::Features;
pub use super::link::Peer;
pub use super::offloads::Stripping;
use super::program::{self, Pinned};
use super::{AfXdpError, QueueCount, ethtool, features, link, offloads, rss, spread};

/// What an interface is and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its driver.
    pub driver: String,
    /// Its address on the bus; empty where there is none.
    pub bus: String,
    /// Its MTU.
    pub mtu: u32,
    /// It is up.
    pub up: bool,
    /// Receive queues in use.
    pub queues: u32,
    /// Queues it can have.
    pub most: u32,
    /// How it spreads what it receives over them.
    pub scaling: Scaling,
    /// What it does to VLAN tags before a program sees the frame.
    pub stripping: Stripping,
    /// What its driver can do for XDP; none where the kernel does not say (before 6.3).
    pub features: Option<Features>,
    /// The XDP program on it.
    pub program: Option<Attachment>,
    /// A veth's other end.
    pub peer: Option<Peer>,
}

/// How a port spreads what it receives over its queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scaling {
    /// Not at all: it is the sender's choice.
    None,
    /// Under a hash key that it keeps for itself.
    OwnKey,
    /// Under a hash key that it shows; whether it takes another one, a start tries.
    KeyShown,
}

/// An XDP program on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its id.
    pub id: u32,
    /// Its name, as the kernel has it.
    pub name: String,
    /// It is the one pinned in the directory that was asked about.
    pub ours: bool,
}

/// The interface of that name in the calling thread's namespace, or `None`. `pins` is the directory of
/// the pins of this port.
///
/// # Errors
/// The kernel does not say.
pub fn port(interface: &str, pins: &Path) -> io::Result<Option<PortFacts>> {
    let Some(found) = link::find(interface)? else { return Ok(None) };
    let program = found.program.map(|id| Attachment {
        id,
        name: program::name(id),
        ours: program::look(pins, Some(id)) == Pinned::Ours,
    });
    let (driver, bus) = ethtool::driver(interface)?;
    let queues = ethtool::queues(interface)?;
    let scaling = match rss::read(interface) {
        None => Scaling::None,
        Some(card) if card.key.is_empty() => Scaling::OwnKey,
        Some(_) => Scaling::KeyShown,
    };
    Ok(Some(PortFacts {
        driver,
        bus,
        mtu: found.mtu,
        up: found.up,
        queues: queues.receive,
        most: queues.most,
        scaling,
        stripping: offloads::stripping(interface)?,
        features: features::of(found.index)?,
        program,
        peer: found.peer,
    }))
}

/// How many queues a wire over two interfaces would have.
///
/// # Errors
/// A port cannot have so many, or the kernel does not say.
pub fn queues(interfaces: [&str; 2], wanted: QueueCount) -> Result<u32, AfXdpError> {
    spread::count(interfaces, wanted)
}

/// The interface that is a veth's other end, seen from its own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its name.
    pub name: String,
    /// It is a port of a bridge or the like: what it transmits comes from somewhere else.
    pub bridged: bool,
    /// It leaves the checksums of what it transmits to hardware.
    pub transmit_checksums: bool,
    /// It leaves the VLAN tags of what it transmits to hardware: they never reach a veth's other end as part
    /// of the frame. The offload, as `ethtool -k` names it.
    pub tags_beside: Option<&'static str>,
}

/// The interface with that index, in the calling thread's namespace.
///
/// # Errors
/// The kernel does not say.
pub fn end(index: u32) -> io::Result<Option<End>> {
    let Some((name, bridged)) = link::end(index)? else { return Ok(None) };
    let transmit_checksums = ethtool::transmit_checksums(&name)?;
    let tags_beside = offloads::inserting(&name)?;
    Ok(Some(End { name, bridged, transmit_checksums, tags_beside }))
}

/// The number that the calling thread's namespace has for another one, as in [`Peer::namespace`].
///
/// # Errors
/// The file is no network namespace.
pub fn namespace_id(namespace: impl AsFd) -> io::Result<Option<i32>> {
    link::namespace_id(namespace.as_fd())
}

/// Opens an `AF_XDP` socket and closes it.
///
/// # Errors
/// The kernel has none, or does not give one to this process.
pub fn socket() -> io::Result<()> {
    // linux/socket.h; rustix has no name for it.
    const AF_XDP: u16 = 44;
    socket_with(AddressFamily::from_raw(AF_XDP), SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    Ok(())
}
