//! Who stands in the lab.
//!
//! ```text
//! payments batch workstation partner attacker            vault carddb jump
//!     └──────┴────────┴─────────┴───────┴─ bridge ─┐  ┌─ bridge ─┴──────┴────┘
//!                                  pc-NAME-out  outside inside  pc-NAME-in
//!                                               pc-NAME-gate
//! ```
//! One layer-2 segment through the wire: every host has an on-link default route, so ARP and neighbour
//! discovery cross the gate for every pair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::{Mac, Side};

/// Namespace of the gate itself, and its two interfaces by [`Side::name`].
pub const GATE: &str = "gate";

/// One host of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name: of its namespace and of its workload in `configs/lab`.
    pub name: &'static str,
    /// Where it stands.
    pub side: Side,
    /// Its IPv4 address, in a /24.
    pub v4: Ipv4Addr,
    /// Its IPv6 address, in a /64.
    pub v6: Ipv6Addr,
    /// The MAC address of its `eth0`.
    pub mac: Mac,
    /// Addresses of others, held on `lo`: it can send from them and answers no ARP for them.
    pub claims: &'static [IpAddr],
    /// TCP ports that answer.
    pub tcp: &'static [u16],
    /// UDP ports that answer.
    pub udp: &'static [u16],
}

const fn outside(name: &'static str, last: u8, tcp: &'static [u16]) -> Host {
    Host {
        name,
        side: Side::Outside,
        v4: Ipv4Addr::new(10, 10, 0, last),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, hex(last)),
        mac: Mac([2, 0, 0, 0x10, 0, bcd(last)]),
        claims: &[],
        tcp,
        udp: &[],
    }
}

const fn inside(name: &'static str, last: u8, tcp: &'static [u16], udp: &'static [u16]) -> Host {
    Host {
        name,
        side: Side::Inside,
        v4: Ipv4Addr::new(10, 20, 0, last),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, hex(last)),
        mac: Mac([2, 0, 0, 0x20, 0, bcd(last)]),
        claims: &[],
        tcp,
        udp,
    }
}

/// The decimal digits of `n` read as hexadecimal: 20 → 0x20, so that both families and the MAC read alike.
const fn bcd(n: u8) -> u8 {
    n / 10 * 16 + n % 10
}

const fn hex(n: u8) -> u16 {
    bcd(n) as u16
}

/// Every host, outside first.
pub const HOSTS: [Host; 8] = [
    outside("payments", 7, &[]),
    outside("batch", 8, &[]),
    outside("workstation", 20, &[443]),
    Host {
        v4: Ipv4Addr::new(198, 51, 100, 7),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 7),
        mac: Mac([2, 0, 0, 0x51, 0, 7]),
        udp: &[443],
        ..outside("partner", 7, &[443])
    },
    Host {
        claims: &[
            // payments
            IpAddr::V4(Ipv4Addr::new(10, 10, 0, 7)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 7)),
            // nobody, on the inside
            IpAddr::V4(Ipv4Addr::new(10, 20, 0, 99)),
            IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x20, 0, 0, 0, 0, 0x99)),
        ],
        ..outside("attacker", 66, &[])
    },
    inside("vault", 10, &[443], &[443]),
    inside("carddb", 20, &[5432], &[]),
    inside("jump", 30, &[22], &[]),
];

impl Host {
    /// The host of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        HOSTS.iter().find(|host| host.name == name)
    }

    /// Whether anything listens on it.
    #[must_use]
    pub const fn answers(&self) -> bool {
        !self.tcp.is_empty() || !self.udp.is_empty()
    }

    /// Its address of one family.
    #[must_use]
    pub const fn address(&self, v6: bool) -> IpAddr {
        if v6 { IpAddr::V6(self.v6) } else { IpAddr::V4(self.v4) }
    }
}

/// Namespace of the switch of one side.
#[must_use]
pub const fn switch(side: Side) -> &'static str {
    match side {
        Side::Outside => "out",
        Side::Inside => "in",
    }
}

/// The hosts in one sentence.
#[must_use]
pub fn in_words() -> String {
    let on = |side| {
        let names: Vec<&str> = HOSTS.iter().filter(|h| h.side == side).map(|h| h.name).collect();
        format!("{} hosts {side} ({})", names.len(), names.join(", "))
    };
    format!("{}, {}, IPv4 and IPv6", on(Side::Outside), on(Side::Inside))
}

/// Every namespace of a lab: the gate, both switches, the hosts.
pub fn parts() -> impl Iterator<Item = &'static str> {
    [GATE, switch(Side::Outside), switch(Side::Inside)]
        .into_iter()
        .chain(HOSTS.iter().map(|host| host.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_address_and_mac_is_one_hosts() {
        let addresses: BTreeSet<IpAddr> =
            HOSTS.iter().flat_map(|h| [h.address(false), h.address(true)]).collect();
        let macs: BTreeSet<Mac> = HOSTS.iter().map(|h| h.mac).collect();
        let names: BTreeSet<&str> = parts().collect();
        assert_eq!((addresses.len(), macs.len(), names.len()), (16, 8, 11));
    }

    #[test]
    fn addresses_read_alike() {
        let vault = Host::named("vault").unwrap();
        assert_eq!(vault.v6.to_string(), "2001:db8:20::10");
        assert_eq!(vault.mac.to_string(), "02:00:00:20:00:10");
        let attacker = Host::named("attacker").unwrap();
        assert_eq!(
            (attacker.v4.to_string(), attacker.v6.to_string()),
            ("10.10.0.66".into(), "2001:db8:10::66".into())
        );
        assert_eq!(attacker.claims[..2], [IpAddr::V4(HOSTS[0].v4), IpAddr::V6(HOSTS[0].v6)]);
    }

    #[test]
    fn the_labs_policy_means_these_hosts() {
        let first = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/lab/gate.toml");
        let loaded = match crate::policy::read(std::path::Path::new(first)) {
            Ok(loaded) => loaded,
            Err(rejected) => {
                panic!(
                    "{}",
                    crate::policy::diagnostic::render(&rejected.sources, &rejected.diagnostics, false)
                )
            }
        };
        assert_eq!(loaded.warnings, []);
        assert_eq!(loaded.model.wire.ports, Side::BOTH.map(|side| side.name().to_owned()));
        for host in &HOSTS {
            let workload = loaded.model.workloads.iter().find(|w| w.name == host.name);
            if host.claims.is_empty() {
                let workload = workload.unwrap();
                let addresses: Vec<IpAddr> = workload.addresses.iter().map(|p| p.address).collect();
                assert_eq!(addresses, [host.address(false), host.address(true)], "{}", host.name);
                assert_eq!(workload.macs, [host.mac], "{}", host.name);
            } else {
                assert!(workload.is_none(), "{} is in no inventory", host.name);
            }
        }
    }
}
