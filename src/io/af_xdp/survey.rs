//! A port as it stands, before anything is opened: what `doctor` asks. Changes nothing.

use std::io;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::program::{self, Pinned};
use super::{ethtool, link};

/// What an interface is and has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its index in its namespace.
    pub index: u32,
    /// Its driver.
    pub driver: String,
    /// Its MTU.
    pub mtu: u32,
    /// It is up.
    pub up: bool,
    /// Receive queues in use.
    pub queues: u32,
    /// The XDP program on it.
    pub program: Option<Attachment>,
    /// Index of a veth's other end, in that end's namespace.
    pub peer: Option<u32>,
    /// It leaves the checksums of what it transmits to hardware, which a veth does not have.
    pub transmit_checksums: bool,
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
    Ok(Some(PortFacts {
        index: found.index,
        driver: ethtool::driver(interface)?,
        mtu: found.mtu,
        up: found.up,
        queues: ethtool::receive_queues(interface)?,
        program,
        peer: found.peer,
        transmit_checksums: ethtool::transmit_checksums(interface)?,
    }))
}

/// The interface with that index, in the calling thread's namespace: its name and its peer's index.
///
/// # Errors
/// The kernel does not say.
pub fn by_index(index: u32) -> io::Result<Option<(String, Option<u32>)>> {
    link::by_index(index)
}

/// Whether a named interface transmits what hardware would have to finish.
///
/// # Errors
/// The kernel does not say.
pub fn transmit_checksums(interface: &str) -> io::Result<bool> {
    ethtool::transmit_checksums(interface)
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
