//! Whether the ports of an open wire are still there and up.
//!
//! Read beside the packet path, by whoever asks for the status: a worker whose port is gone only finds that
//! nothing comes. What it is not: it changes nothing, and brings nothing back. Invariant: a port that was
//! seen gone never reads as there again, because its sockets were cut off for good, whatever interface has
//! the name or the number since. Cost: up to four system calls a port and reading.
#![allow(unsafe_code, reason = "three interface ioctls take a structure")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::ethtool;
use crate::io::PortState;

/// Both ports of a wire, seen from the network namespace they were opened in, whoever asks.
pub struct Presence {
    socket: OwnedFd,
    ports: [Port; 2],
}

struct Port {
    interface: String,
    index: u32,
    gone: AtomicBool,
}

/// `struct ifreq`.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    value: Value,
}

/// Its union, of which the number and the flags are used here; 24 bytes.
#[repr(C)]
union Value {
    number: libc::c_int,
    flags: libc::c_short,
    all: [u64; 3],
}

impl Presence {
    /// Begins to watch two interfaces of the calling thread's namespace, by name and number.
    pub(super) fn new(ports: [(&str, u32); 2]) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        let ports = ports.map(|(interface, index)| Port {
            interface: interface.to_owned(),
            index,
            gone: AtomicBool::new(false),
        });
        Ok(Self { socket, ports })
    }

    /// How the ports stand, by [`Side::index`].
    ///
    /// [`Side::index`]: crate::wire::Side::index
    #[must_use]
    pub fn look(&self) -> [PortState; 2] {
        self.ports.each_ref().map(|port| self.state(port))
    }

    fn state(&self, port: &Port) -> PortState {
        if !port.gone.load(Ordering::Relaxed) {
            match self.name(port.index) {
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {
                    port.gone.store(true, Ordering::Relaxed);
                }
                // Renamed or gone in between, or a driver that knows of no link: the next look will tell.
                name => return name.map_or(PortState::Up, |name| self.link(&name)),
            }
        }
        if self.ask(libc::SIOCGIFINDEX, &mut request(&port.interface)).is_ok() {
            PortState::Replaced
        } else {
            PortState::Gone
        }
    }

    fn link(&self, name: &str) -> PortState {
        match self.is_up(name) {
            Ok(false) => PortState::Down,
            Ok(true) if ethtool::carrier(&self.socket, name).is_ok_and(|carrier| !carrier) => {
                PortState::NoCarrier
            }
            Ok(true) | Err(_) => PortState::Up,
        }
    }

    /// What the interface with that number is called now: it can be renamed while it is up.
    fn name(&self, index: u32) -> io::Result<String> {
        let mut request = request("");
        request.value.number = libc::c_int::try_from(index).map_err(io::Error::other)?;
        self.ask(libc::SIOCGIFNAME, &mut request)?;
        let name = request.name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn is_up(&self, name: &str) -> io::Result<bool> {
        let mut request = request(name);
        self.ask(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has just written the flags, and any bytes are a number.
        let flags = unsafe { request.value.flags };
        Ok(libc::c_int::from(flags) & libc::IFF_UP != 0)
    }

    fn ask(&self, command: libc::c_ulong, request: &mut Request) -> io::Result<()> {
        // SAFETY: each of the three commands reads and writes one ifreq, which `request` is, and which
        // outlives the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), command, &raw mut *request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A request about an interface. A name that is too long is cut: no interface has it.
fn request(name: &str) -> Request {
    let mut request = Request { name: [0; libc::IFNAMSIZ], value: Value { all: [0; 3] } };
    // The last byte stays 0.
    for (to, from) in request.name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
        *to = from;
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<Request>(), 40);
    }

    #[test]
    fn a_number_that_is_gone_never_comes_back() {
        // The loopback is number 1 in every namespace; nothing has the other number.
        let presence = Presence::new([("lo", 1), ("lo", 0x7fff_0000)]).unwrap();
        assert_ne!(presence.look()[0], PortState::Gone);
        assert_eq!(presence.look()[1], PortState::Replaced, "another interface has its name");
        let presence = Presence::new([("no-such-port", 0x7fff_0000), ("lo", 1)]).unwrap();
        assert_eq!(presence.look()[0], PortState::Gone);
        let seen = Presence {
            ports: [("no-such-port", 1), ("lo", 1)].map(|(name, index)| Port {
                interface: name.to_owned(),
                index,
                gone: AtomicBool::new(true),
            }),
            ..presence
        };
        assert_eq!(seen.look(), [PortState::Gone, PortState::Replaced]);
    }
}
