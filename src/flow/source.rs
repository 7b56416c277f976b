//! Who a limit is counted for: a sender as the wire sees it.

use std::net::IpAddr;

use super::hash::KeyHash;
use crate::wire::{Key, Vlans};

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
        // Its words do not depend on the other end.
        let (key, is_a) = Key::new(address, address, 0, 0, 0, vlans);
        Self::of_key(&key, is_a)
    }

    /// The source that sends from the end `a` of a flow's key, or from the other one.
    #[must_use]
    #[inline]
    pub(super) const fn of_key(key: &Key, is_a: bool) -> Self {
        let (prefix, tags) = key.source_words(is_a);
        Self { prefix, rest: 1 << 63 | tags as u64 | key.is_v6() as u64 }
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

    #[test]
    fn an_end_of_a_key_is_the_source_with_its_address() {
        for (one, other) in
            [("10.0.0.1", "10.0.0.2"), ("2001:db8:1::1", "2001:db8:2::1"), ("fd00::2", "fd00::1")]
        {
            let [one, other] = [one, other].map(|address| address.parse().unwrap());
            for vlans in
                [Vlans::UNTAGGED, Vlans { outer: 7, inner: Vlans::NONE }, Vlans { outer: 7, inner: 9 }]
            {
                let (key, from_a) = Key::new(one, other, 40_000, 443, 6, vlans);
                assert_eq!(Source::of_key(&key, from_a), Source::of(one, vlans));
                assert_eq!(Source::of_key(&key, !from_a), Source::of(other, vlans));
            }
        }
    }

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
