//! Who a limit is counted for: a sender as the wire sees it.

use std::net::IpAddr;

use super::hash::KeyHash;
use crate::wire::Vlans;

/// A sender: an IPv4 address or an IPv6 /64, within its VLANs.
///
/// A /64 is what one IPv6 host may fill with addresses of its own (RFC 4291 §2.5.1, RFC 8981), so a
/// limit on single addresses would be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    prefix: u64,
    /// VLANs and family; never 0 but in [`Self::NOBODY`].
    rest: u64,
}

impl Source {
    /// A place in a table where no source stands; it equals none.
    pub(super) const NOBODY: Self = Self { prefix: 0, rest: 0 };

    /// The source that sends from `address`.
    #[must_use]
    #[inline]
    pub fn of(address: IpAddr, vlans: Vlans) -> Self {
        let (prefix, v6) = match address {
            IpAddr::V4(v4) => (u64::from(u32::from(v4)), false),
            // The top half of 128 bits fits 64.
            IpAddr::V6(v6) => (u64::try_from(u128::from(v6) >> 64).unwrap_or(0), true),
        };
        let rest = 1 << 63 | u64::from(vlans.outer) << 32 | u64::from(vlans.inner) << 8 | u64::from(v6);
        Self { prefix, rest }
    }

    /// Nobody stands here.
    #[inline]
    pub(super) const fn is_nobody(&self) -> bool {
        self.rest == 0
    }

    /// The bytes a keyed hash takes; different sources have different ones.
    #[inline]
    pub(super) fn block(&self) -> [u8; 16] {
        (u128::from(self.prefix) << 64 | u128::from(self.rest)).to_ne_bytes()
    }
}

/// A source with its keyed hash: one for all that is counted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    pub(super) source: Source,
    pub(super) hash: u64,
}

/// The keyed hash of sources.
#[derive(Clone, Debug)]
pub struct SourceHash(KeyHash);

impl SourceHash {
    /// Under a secret.
    #[must_use]
    pub fn new(secret: (u64, u64)) -> Self {
        Self(KeyHash::new(secret))
    }

    /// A source with its hash. Cost: one block of AES.
    #[must_use]
    #[inline]
    pub fn of(&self, source: Source) -> Party {
        Party { source, hash: self.0.of_block(source.block()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(address: &str) -> Source {
        Source::of(address.parse().unwrap(), Vlans::UNTAGGED)
    }

    #[test]
    fn a_v6_source_is_its_64_and_a_v4_source_its_address() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        // The same number in the other family is somebody else.
        assert_ne!(source("::a00:1:0:0:0:0"), source("10.0.0.1"));
        assert_ne!(source("::a00:1:0:0:0:0").block(), source("10.0.0.1").block());
        let (first, hash) = (source("0.0.0.0"), SourceHash::new((1, 2)));
        assert!(Source::NOBODY.is_nobody() && !first.is_nobody() && first != Source::NOBODY);
        assert_eq!(hash.of(first), hash.of(first));
        assert_ne!(hash.of(first).hash, hash.of(source("10.0.0.1")).hash);
        assert_ne!(hash.of(first).hash, SourceHash::new((1, 3)).of(first).hash);
    }

    #[test]
    fn another_vlan_is_another_source() {
        let address = "10.0.0.1".parse().unwrap();
        let tagged = Source::of(address, Vlans { outer: 7, inner: Vlans::NONE });
        let other = Source::of(address, Vlans { outer: Vlans::NONE, inner: 7 });
        assert_ne!(tagged, source("10.0.0.1"));
        assert_ne!(tagged.block(), other.block());
    }
}
