//! IP prefixes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IPv4 or IPv6 prefix whose host bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    /// Network address.
    pub address: IpAddr,
    /// Prefix length in bits.
    pub length: u8,
}

/// Why a text is not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPrefix {
    /// The part before the slash.
    #[error("not an IP address")]
    Address,
    /// The part after it.
    #[error("a prefix length is 0 to 32 for IPv4 and 0 to 128 for IPv6")]
    Length,
    /// Bits beyond the length are set.
    #[error("bits beyond the prefix length are set; the network is {0}")]
    HostBits(Prefix),
}

impl Prefix {
    /// The prefix of `length` bits that `address` lies in.
    #[must_use]
    pub fn containing(address: IpAddr, length: u8) -> Self {
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
                IpAddr::V4((u32::from(v4) & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
                IpAddr::V6((u128::from(v6) & mask).into())
            }
        };
        Self { address, length }
    }

    /// Bits of an address of this family.
    #[must_use]
    pub const fn width(&self) -> u8 {
        match self.address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// One address only.
    #[must_use]
    pub const fn is_host(&self) -> bool {
        self.length == self.width()
    }

    /// Addresses in it, modulo 2^128.
    pub(super) fn size(&self) -> u128 {
        1_u128.checked_shl(u32::from(self.width() - self.length)).unwrap_or(0)
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && Self::containing(address, self.length).address == self.address
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            write!(f, "{}", self.address)
        } else {
            write!(f, "{}/{}", self.address, self.length)
        }
    }
}

impl FromStr for Prefix {
    type Err = NotAPrefix;

    /// An address, or an address and a length: `10.20.0.10`, `10.20.0.0/24`.
    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotAPrefix::Address)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => width,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse::<u8>().ok().filter(|l| *l <= width).ok_or(NotAPrefix::Length)?
            }
            Some(_) => return Err(NotAPrefix::Length),
        };
        let network = Self::containing(address, length);
        if network.address == address { Ok(network) } else { Err(NotAPrefix::HostBits(network)) }
    }
}
