//! What an interface's driver says of itself: its name, and how many queues it runs.
//!
//! By ioctl on a socket of the calling thread's network namespace; `/sys/class/net` shows the namespace
//! that mounted it, which need not be this one.
#![allow(unsafe_code, reason = "SIOCETHTOOL takes a pointer inside a structure")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

// linux/ethtool.h
const GET_DRIVER: u32 = 0x0000_0003;
const GET_LINK: u32 = 0x0000_000a;
const GET_RINGS: u32 = 0x0000_0010;
const GET_TX_CHECKSUMS: u32 = 0x0000_0016;
const GET_CHANNELS: u32 = 0x0000_003c;
const SET_CHANNELS: u32 = 0x0000_003d;

/// `struct ethtool_drvinfo`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Driver {
    command: u32,
    name: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    expansion_rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Channels {
    command: u32,
    most_receive: u32,
    most_transmit: u32,
    most_other: u32,
    most_combined: u32,
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// Queues of an interface. Where a driver has combined ones, the two numbers stand for those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queues {
    /// That receive now.
    pub(super) receive: u32,
    /// That transmit now.
    pub(super) transmit: u32,
    /// That it can have of both.
    pub(super) most: u32,
}

/// `struct ethtool_ringparam`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Rings {
    command: u32,
    most: [u32; 4],
    receive: u32,
    receive_mini: u32,
    receive_jumbo: u32,
    transmit: u32,
}

/// `struct ethtool_value`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Value {
    command: u32,
    data: u32,
}

/// A structure that an ethtool command fills, its first field being that command.
///
/// # Safety
/// The type is `repr(C)`, valid for any bytes, and at least as large as what its command writes.
pub(super) unsafe trait Answer: Copy {}

// SAFETY: the layout of ethtool_drvinfo (196 bytes), integers only.
unsafe impl Answer for Driver {}
// SAFETY: the layout of ethtool_value (8 bytes), integers only.
unsafe impl Answer for Value {}
// SAFETY: the layout of ethtool_ringparam (36 bytes), integers only.
unsafe impl Answer for Rings {}
// SAFETY: the layout of ethtool_channels (36 bytes), integers only.
unsafe impl Answer for Channels {}

/// One command, on a socket of its own.
pub(super) fn ask<T: Answer>(interface: &str, answer: T) -> io::Result<T> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    ask_on(&socket, interface, answer)
}

/// One command, in the network namespace that a socket belongs to.
fn ask_on<T: Answer>(socket: impl AsFd, interface: &str, mut answer: T) -> io::Result<T> {
    /// `struct ifreq`, the pointer variant.
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        data: *mut libc::c_void,
        rest: [u8; 16],
    }
    let mut request = Request { name: [0; libc::IFNAMSIZ], data: (&raw mut answer).cast(), rest: [0; 16] };
    // The last byte stays 0.
    if interface.len() >= request.name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.name.iter_mut().zip(interface.bytes()) {
        *to = from;
    }
    // SAFETY: `request` is an ifreq (name, then the union, of which the pointer is used; no larger than
    // ours), and its pointer leads to an `Answer`, which holds all that its command writes. Both outlive
    // the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// The driver's name, and the device's address on its bus, which a device that is none has not.
pub(super) fn driver(interface: &str) -> io::Result<(String, String)> {
    let blank = Driver {
        command: GET_DRIVER,
        name: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        expansion_rom: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    let answer = ask(interface, blank)?;
    let text = |bytes: &[u8]| {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    };
    Ok((text(&answer.name), text(&answer.bus)))
}

fn channels(interface: &str) -> io::Result<Option<Channels>> {
    let blank = Channels {
        command: GET_CHANNELS,
        most_receive: 0,
        most_transmit: 0,
        most_other: 0,
        most_combined: 0,
        receive: 0,
        transmit: 0,
        other: 0,
        combined: 0,
    };
    match ask(interface, blank) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The queues of an interface. A driver that knows no channels has one.
pub(super) fn queues(interface: &str) -> io::Result<Queues> {
    let Some(found) = channels(interface)? else {
        return Ok(Queues { receive: 1, transmit: 1, most: 1 });
    };
    let most = found.most_combined.max(found.most_receive.min(found.most_transmit));
    Ok(Queues {
        receive: found.receive.saturating_add(found.combined).max(1),
        transmit: found.transmit.saturating_add(found.combined).max(1),
        most: most.max(1),
    })
}

/// Sets how many queues receive and how many transmit; where a driver has combined ones, so many of these.
pub(super) fn set_queues(interface: &str, receive: u32, transmit: u32) -> io::Result<()> {
    let found = channels(interface)?.ok_or(io::ErrorKind::Unsupported)?;
    let wish = if found.most_combined > 0 {
        Channels { receive: 0, transmit: 0, combined: receive, ..found }
    } else {
        Channels { receive, transmit, ..found }
    };
    ask(interface, Channels { command: SET_CHANNELS, ..wish }).map(drop)
}

/// Places of each receive ring. `None` where the driver has no such notion.
pub(super) fn receive_ring(interface: &str) -> io::Result<Option<u32>> {
    let blank = Rings {
        command: GET_RINGS,
        most: [0; 4],
        receive: 0,
        receive_mini: 0,
        receive_jumbo: 0,
        transmit: 0,
    };
    match ask(interface, blank) {
        Ok(found) => Ok(Some(found.receive)),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an interface that is up has a link, asked on a socket of its namespace.
pub(super) fn carrier(socket: impl AsFd, interface: &str) -> io::Result<bool> {
    ask_on(socket, interface, Value { command: GET_LINK, data: 0 }).map(|found| found.data != 0)
}

/// Whether any transmit checksum offload is on. A driver that does not know the question has none.
pub(super) fn transmit_checksums(interface: &str) -> io::Result<bool> {
    match ask(interface, Value { command: GET_TX_CHECKSUMS, data: 0 }) {
        Ok(found) => Ok(found.data != 0),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<Driver>(), 196);
        assert_eq!(size_of::<Channels>(), 36);
        assert_eq!(size_of::<Rings>(), 36);
        assert_eq!(size_of::<Value>(), 8);
    }

    #[test]
    fn a_name_too_long_or_unknown_is_an_error() {
        assert_eq!(driver("0123456789abcdef").unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(queues("no-such-port").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(driver("no-such-port").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
