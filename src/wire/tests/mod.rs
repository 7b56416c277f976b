//! What the parser promises, held against hand-picked frames, against etherparse, and against anything.

mod beside;
mod golden;
mod odd;
#[expect(clippy::wildcard_enum_match_arm, reason = "etherparse's enums, which may grow")]
mod oracle;
mod properties;
mod recipe;
mod reply;
mod unreadable;

use super::samples::Ends;
use super::{Facts, Ip, Net, TcpFlags};

/// Between two global IPv4 addresses.
fn four() -> Ends {
    Ends::of("10.10.0.5", "10.20.0.9")
}

/// Between two global IPv6 addresses.
fn six() -> Ends {
    Ends::of("2001:db8:10::5", "2001:db8:20::9")
}

/// Both, for what holds in both families.
fn both() -> [Ends; 2] {
    [four(), six()]
}

/// A TCP segment's 20 bytes: ports 40000 and 443, ACK.
const TCP: [u8; 20] =
    [0x9c, 0x40, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, TcpFlags::ACK, 0xff, 0xff, 0, 0, 0, 0];

/// A UDP datagram's 16 bytes: ports 40000 and 53, eight of payload.
const UDP: [u8; 16] = [0x9c, 0x40, 0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

/// The packet of a frame that must be readable.
fn packet(frame: &[u8]) -> Ip {
    let Net::Ip(ip) = facts(frame).net else { panic!("no IP packet") };
    ip
}

/// The facts of a frame that must be readable.
fn facts(frame: &[u8]) -> Facts {
    super::parse(frame).unwrap_or_else(|why| panic!("{why:?}: {frame:02x?}"))
}
