//! How a network card spreads what it receives over its queues, asked and set: hash, key, indirection table,
//! and what of which protocol is hashed.
//!
//! By ioctl: the netlink family of the same name reads these since Linux 5.15 and sets them since 6.17, the
//! ioctls do both on every kernel. What it is not: it decides nothing; `steering` does. Cost: one or two
//! system calls a question; asked at start, at release and by `doctor`.
#![allow(unsafe_code, reason = "promises on the structures of two pairs of ethtool commands")]

use std::io;

use zerocopy::IntoBytes;

use super::ethtool::{Answer, ask};

// linux/ethtool.h
const GET_FIELDS: u32 = 0x0000_0029;
const SET_FIELDS: u32 = 0x0000_002a;
const GET_HASHING: u32 = 0x0000_0046;
const SET_HASHING: u32 = 0x0000_0047;
const TABLE_STAYS: u32 = 0xffff_ffff;
/// The hash function that all cards know.
pub(super) const TOEPLITZ: u8 = 1;

/// Addresses alone: `ethtool -N PORT rx-flow-hash KIND sd`.
pub(super) const ADDRESSES: u64 = 0x30;
/// Addresses and ports: `sdfn`.
pub(super) const WITH_PORTS: u64 = 0xf0;

/// Four bytes each that there is room for in a table with its key: ice has 2048 entries and 52 bytes.
const ROOM: usize = 4096 + 64;

/// Packets whose hashed fields are set apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Tcp4 = 1,
    Udp4 = 2,
    Tcp6 = 5,
    Udp6 = 6,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Tcp4, Self::Tcp6, Self::Udp4, Self::Udp6];

    /// As `ethtool` calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcp4 => "tcp4",
            Self::Udp4 => "udp4",
            Self::Tcp6 => "tcp6",
            Self::Udp6 => "udp6",
        }
    }
}

/// `struct ethtool_rxfh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Hashing {
    command: u32,
    context: u32,
    entries: u32,
    key_bytes: u32,
    function: u8,
    /// Since 6.8, before it reserved and 0: what is done to the fields before they are hashed.
    transform: u8,
    reserved: [u8; 6],
    /// The table, then the key.
    config: [u32; ROOM],
}

/// `struct ethtool_rxnfc`, as far as the two commands reach into it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Fields {
    command: u32,
    kind: u32,
    hashed: u64,
}

// SAFETY: the layout of ethtool_rxfh with room behind it, integers only. The kernel writes as many entries and
// bytes as the structure says, which must be the card's own numbers or 0: `read` has compared them with the
// room. When setting, it only reads.
unsafe impl Answer for Hashing {}
// SAFETY: the first 16 bytes of ethtool_rxnfc, integers only: all that the kernel reads and writes for these
// two commands, unless a context is asked for, which `Kind` does not.
unsafe impl Answer for Fields {}

const BLANK: Hashing = Hashing {
    command: GET_HASHING,
    context: 0,
    entries: 0,
    key_bytes: 0,
    function: 0,
    transform: 0,
    reserved: [0; 6],
    config: [0; ROOM],
};

/// A card's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Card {
    /// Hash function, as the kernel numbers them.
    pub(super) function: u8,
    /// What is done to the fields before they are hashed, likewise; 0 nothing.
    pub(super) transform: u8,
    /// Empty where the card does not show it.
    pub(super) key: Vec<u8>,
    /// Queues, by the low bits of a hash.
    pub(super) table: Vec<u32>,
}

/// What a card does; `None` if it has no table, or does not say.
pub(super) fn read(interface: &str) -> Option<Card> {
    let sizes = ask(interface, BLANK).ok()?;
    let (entries, key_bytes) =
        (usize::try_from(sizes.entries).ok()?, usize::try_from(sizes.key_bytes).ok()?);
    if entries == 0 || entries.checked_add(key_bytes.div_ceil(4))? > ROOM {
        return None;
    }
    let found =
        ask(interface, Hashing { entries: sizes.entries, key_bytes: sizes.key_bytes, ..BLANK }).ok()?;
    let (table, rest) = found.config.split_at_checked(entries)?;
    Some(Card {
        function: found.function,
        transform: found.transform,
        key: rest.as_bytes().get(..key_bytes)?.to_vec(),
        table: table.to_vec(),
    })
}

/// What stands for the function that is set already: ixgbe refuses even its own by name before Linux 6.3.
pub(super) const FUNCTION_STAYS: u8 = 0;

/// Sets function, transform and key. The table stays.
pub(super) fn set(interface: &str, function: u8, transform: u8, key: &[u8]) -> io::Result<()> {
    let key_bytes = u32::try_from(key.len()).map_err(io::Error::other)?;
    let command = SET_HASHING;
    let mut wish = Hashing { command, entries: TABLE_STAYS, key_bytes, function, transform, ..BLANK };
    let place = wish.config.as_mut_bytes().get_mut(..key.len()).ok_or(io::ErrorKind::InvalidInput)?;
    place.copy_from_slice(key);
    ask(interface, wish).map(drop)
}

/// What is hashed of packets of each kind, by [`Kind::ALL`]; `None` if the card does not say.
pub(super) fn fields(interface: &str) -> [Option<u64>; 4] {
    Kind::ALL.map(|kind| {
        let asked = ask(interface, Fields { command: GET_FIELDS, kind: kind as u32, hashed: 0 });
        asked.ok().map(|found| found.hashed)
    })
}

/// Sets what is hashed of packets of a kind.
pub(super) fn set_fields(interface: &str, kind: Kind, fields: u64) -> io::Result<()> {
    ask(interface, Fields { command: SET_FIELDS, kind: kind as u32, hashed: fields }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<Hashing>(), 24 + 4 * ROOM);
        assert_eq!(std::mem::offset_of!(Hashing, function), 16);
        assert_eq!(std::mem::offset_of!(Hashing, config), 24);
        assert_eq!(size_of::<Fields>(), 16);
    }

    #[test]
    fn what_has_no_table_says_so_and_takes_no_key() {
        // The loopback is there in every namespace.
        assert_eq!(read("lo"), None);
        assert_eq!(fields("lo"), [None; 4]);
        assert_eq!(set("lo", TOEPLITZ, 0, &[0; 40]).unwrap_err().raw_os_error(), Some(libc::EOPNOTSUPP));
        assert_eq!(read("no-such-port"), None);
    }
}
