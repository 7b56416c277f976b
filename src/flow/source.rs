//! Who a limit is counted for: a sender as the wire sees it.

use std::net::IpAddr;

use crate::wire::Vlans;

/// A sender: an IPv4 address or an IPv6 /64, within its VLANs.
///
/// A /64 is what one IPv6 host may fill with addresses of its own (RFC 4291 §2.5.1, RFC 8981), so a
/// limit on single addresses would be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    prefix: u64,
    vlans: Vlans,
    v6: bool,
}

impl Source {
    /// A place in a table where no source stands.
    pub(super) const NOBODY: Self = Self { prefix: 0, vlans: Vlans::UNTAGGED, v6: false };

    /// The source that sends from `address`.
    #[must_use]
    pub fn of(address: IpAddr, vlans: Vlans) -> Self {
        match address {
            IpAddr::V4(v4) => Self { prefix: u64::from(u32::from(v4)), vlans, v6: false },
            IpAddr::V6(v6) => {
                // The top half of 128 bits fits 64.
                let prefix = u64::try_from(u128::from(v6) >> 64).unwrap_or(0);
                Self { prefix, vlans, v6: true }
            }
        }
    }

    /// The bytes a keyed hash takes; different sources have different ones.
    pub(super) fn block(&self) -> [u8; 16] {
        let rest =
            u64::from(self.vlans.outer) << 32 | u64::from(self.vlans.inner) << 8 | u64::from(self.v6);
        (u128::from(self.prefix) << 64 | u128::from(rest)).to_ne_bytes()
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
