//! What a driver can do for XDP, as it says itself over generic netlink (family `netdev`, Linux 6.3;
//! `linux/netdev.h`). Asked by `doctor`, never on the way to opening a port: there the kernel's own answer
//! to the attempt counts.

use std::io;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// What a driver says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// It runs and redirects in the driver.
    pub native: bool,
    /// Its `AF_XDP` sockets work without a copy.
    pub zero_copy: bool,
}

const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
const REQUEST: u16 = 1;
const ERROR: u16 = 2;
// linux/genetlink.h
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
// linux/netdev.h
const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_FEATURES: u16 = 3;
const BASIC_AND_REDIRECT: u64 = 1 | 2;
const ZERO_COPY: u64 = 8;

/// The features of the interface with that index; `None` if the kernel has no such question.
///
/// # Errors
/// The kernel does not answer.
pub(super) fn of(index: u32) -> io::Result<Option<Features>> {
    let family = match ask(CONTROLLER, GET_FAMILY, FAMILY_NAME, b"netdev\0") {
        Ok(answer) => {
            attribute(&answer, FAMILY_ID).and_then(|id| Some(u16::from_ne_bytes(*id.first_chunk()?)))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => None,
        Err(error) => return Err(error),
    };
    let Some(family) = family else { return Ok(None) };
    let answer = ask(family, GET_DEVICE, DEVICE_INDEX, &index.to_ne_bytes())?;
    let bits =
        attribute(&answer, DEVICE_FEATURES).and_then(|bits| Some(u64::from_ne_bytes(*bits.first_chunk()?)));
    Ok(bits.map(|bits| Features {
        native: bits & BASIC_AND_REDIRECT == BASIC_AND_REDIRECT,
        zero_copy: bits & ZERO_COPY != 0,
    }))
}

/// One request with one attribute; the attributes of the answer.
fn ask(family: u16, command: u8, kind: u16, value: &[u8]) -> io::Result<Vec<u8>> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::GENERIC))?;
    let message = request(family, command, kind, value).ok_or(io::ErrorKind::InvalidInput)?;
    sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut buffer = vec![0; 8192];
    let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
    buffer.truncate(length);
    let kind = buffer.get(4..6).and_then(|bytes| Some(u16::from_ne_bytes(*bytes.first_chunk()?)));
    if kind == Some(ERROR) {
        let code = buffer.get(HEADER..).and_then(|bytes| Some(i32::from_ne_bytes(*bytes.first_chunk()?)));
        return Err(io::Error::from_raw_os_error(-code.unwrap_or(-libc::EPROTO)));
    }
    Ok(buffer.split_off((HEADER + GENERIC_HEADER).min(buffer.len())))
}

fn request(family: u16, command: u8, kind: u16, value: &[u8]) -> Option<Vec<u8>> {
    let attribute = 4 + value.len();
    let length = HEADER + GENERIC_HEADER + attribute.next_multiple_of(4);
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).ok()?.to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // Sequence and port: one request a socket, the kernel knows whose.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(u16::try_from(attribute).ok()?.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(length, 0);
    Some(message)
}

/// The value of an attribute, in a row of them.
fn attribute(mut row: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*row.first_chunk()?));
        let kind = u16::from_ne_bytes(*row.get(2..)?.first_chunk()?);
        if kind == wanted {
            return row.get(4..length);
        }
        // A length below its own header would never end.
        row = row.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_laid_out_as_netlink_wants_it() {
        let message = request(0x10, 3, 2, b"netdev\0").unwrap();
        assert_eq!(message.len(), 32);
        assert_eq!(message[..8], [32, 0, 0, 0, 0x10, 0, 1, 0]);
        assert_eq!(message[16..], *b"\x03\x01\0\0\x0b\0\x02\0netdev\0\0");
    }

    #[test]
    fn attributes_are_found_and_broken_rows_end() {
        let row = b"\x06\0\x01\0ab\0\0\x0c\0\x03\0\x0b\0\0\0\0\0\0\0";
        assert_eq!(attribute(row, 1), Some(&b"ab"[..]));
        assert_eq!(attribute(row, 3), Some(&b"\x0b\0\0\0\0\0\0\0"[..]));
        assert_eq!(attribute(row, 9), None);
        assert_eq!(attribute(&row[..10], 3), None);
        assert_eq!(attribute(b"\0\0\0\0\0\0\0\0", 1), None);
        assert_eq!(attribute(b"\x02\0\x01\0", 1), None);
    }

    #[test]
    fn the_loopback_has_no_native_xdp_if_the_kernel_says() {
        // 1 is the loopback in every namespace.
        let found = of(1).unwrap();
        assert!(matches!(found, None | Some(Features { native: false, zero_copy: false })), "{found:?}");
    }
}
