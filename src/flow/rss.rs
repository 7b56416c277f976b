//! Receive-side scaling in software: which queue a network card chooses for a flow.
//!
//! What it is: the Toeplitz hash under the card's own key, its indirection table, and what it hashes of
//! which protocol. What it is not: the hash of the flow table, for it is linear: whoever knows the key can
//! aim any number of flows at one queue. They come to one worker then, and stand in its table under a secret
//! hash as any others. It sets nothing; what is here was read back from a card. Invariant: both directions
//! of a flow have one queue here, whatever the key; on the card they have if the key is [`symmetric_key`].
//! Cost: one table lookup for each four bits hashed, 24 for IPv4 with ports; 4.6 KiB of tables a wire.
//!
//! Sources: the hash and its vectors, Microsoft, "Verifying the RSS Hash Calculation" (the same stand in
//! Intel's 82599 datasheet, 7.1.2.8.3); the key, S. Woo and K. Park, "Scalable TCP Session Monitoring with
//! Symmetric Receive-side Scaling", KAIST 2012.

use crate::wire::{Key, protocol};

/// Bytes that are hashed at most: two IPv6 addresses and two ports.
const INPUT: usize = 2 * 16 + 2 * 2;

/// Bytes of a key that an input of that length uses: the hash is 32 bits wide.
pub const KEY_BYTES: usize = INPUT + 4;

/// A key repeats itself every 16 bits, so that two addresses, or two ports, can change places in the input and
/// the hash stays. Any such pattern would do; this one is the published one, and spreads over all queues.
const PATTERN: [u8; 2] = [0x6d, 0x5a];

/// A key of so many bytes under which both directions of a flow have the same hash.
#[must_use]
pub fn symmetric_key(bytes: usize) -> Vec<u8> {
    PATTERN.into_iter().cycle().take(bytes).collect()
}

/// What a card hashes besides the two addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "four facts, each with its own setting on the card")]
pub struct Hashed {
    /// The ports of TCP over IPv4.
    pub tcp4: bool,
    /// The ports of TCP over IPv6.
    pub tcp6: bool,
    /// The ports of UDP over IPv4.
    pub udp4: bool,
    /// The ports of UDP over IPv6.
    pub udp6: bool,
}

impl Hashed {
    /// All ports.
    pub const ALL: Self = Self { tcp4: true, tcp6: true, udp4: true, udp6: true };

    const fn has_ports(self, protocol: u8, v6: bool) -> bool {
        match (protocol, v6) {
            (protocol::TCP, false) => self.tcp4,
            (protocol::TCP, true) => self.tcp6,
            (protocol::UDP, false) => self.udp4,
            (protocol::UDP, true) => self.udp6,
            (_, _) => false,
        }
    }
}

/// What a card cannot have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRss {
    /// The key is shorter than its hash needs.
    #[error("a key of {0} bytes, {KEY_BYTES} are needed")]
    Key(usize),
    /// The table cannot be asked by the low bits of a hash.
    #[error("an indirection table of {0} entries, which is no power of two")]
    Table(usize),
    /// The table leads to a queue that has no worker.
    #[error("an indirection table that leads to queue {0}")]
    Queue(u32),
}

/// How a card spreads flows over its queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    hash: Toeplitz,
    table: Box<[u32]>,
    hashed: Hashed,
}

impl Rss {
    /// A card's key, indirection table and fields, over `queues` queues.
    ///
    /// # Errors
    /// They are not those of a card with so many queues.
    pub fn new(key: &[u8], table: &[u32], hashed: Hashed, queues: u32) -> Result<Self, NotRss> {
        if key.len() < KEY_BYTES {
            return Err(NotRss::Key(key.len()));
        }
        if !table.len().is_power_of_two() {
            return Err(NotRss::Table(table.len()));
        }
        match table.iter().find(|queue| **queue >= queues) {
            Some(queue) => Err(NotRss::Queue(*queue)),
            None => Ok(Self { hash: Toeplitz::new(key), table: table.into(), hashed }),
        }
    }

    /// The queue that it chooses for the direction of a flow whose sender is the key's end `a`: with a
    /// symmetric key, for both.
    #[must_use]
    pub fn queue(&self, key: &Key) -> u32 {
        let mask = u32::try_from(self.table.len()).unwrap_or(0).wrapping_sub(1);
        let place = self.hash_of(key) & mask;
        usize::try_from(place).ok().and_then(|place| self.table.get(place)).copied().unwrap_or(0)
    }

    fn hash_of(&self, key: &Key) -> u32 {
        let ([w0, w1, w2, w3], tail) = key.words();
        let ports: [u8; 8] = tail.to_ne_bytes();
        let mut input = [0_u8; INPUT];
        let addresses = if key.is_v6() { 32 } else { 8 };
        for (place, word) in input.chunks_exact_mut(8).zip([w0, w1, w2, w3]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        let length = if self.hashed.has_ports(key.protocol(), key.is_v6()) {
            if let (Some(place), Some(ports)) = (input.get_mut(addresses..addresses + 4), ports.get(..4)) {
                place.copy_from_slice(ports);
            }
            addresses + 4
        } else {
            addresses
        };
        self.hash.of(input.get(..length).unwrap_or_default())
    }
}

/// The Toeplitz hash under one key: what each value of each four bits of the input adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Toeplitz(Box<[[u32; 16]; 2 * INPUT]>);

impl Toeplitz {
    fn new(key: &[u8]) -> Self {
        let byte = |at: usize| u64::from(key.get(at).copied().unwrap_or(0));
        let mut tables = Box::new([[0; 16]; 2 * INPUT]);
        for (half, table) in tables.iter_mut().enumerate() {
            // The key's 40 bits from the byte on in which these four stand.
            let window = (0..5).fold(0, |window, next| window << 8 | byte(half / 2 + next));
            for (value, adds) in (0_u32..).zip(table.iter_mut()) {
                for bit in 0..4 {
                    if value >> (3 - bit) & 1 == 1 {
                        let shift = 8 - (half % 2 * 4 + bit);
                        *adds ^= u32::try_from(window >> shift & u64::from(u32::MAX)).unwrap_or(0);
                    }
                }
            }
        }
        Self(tables)
    }

    fn of(&self, input: &[u8]) -> u32 {
        let halves = input.iter().flat_map(|byte| [usize::from(byte >> 4), usize::from(byte & 15)]);
        self.0
            .iter()
            .zip(halves)
            .filter_map(|(table, half)| table.get(half))
            .fold(0, |hash, adds| hash ^ adds)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::Vlans;

    /// The key of the verification suite.
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
        0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
        0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// Source, destination, hash of the addresses, hash with the ports.
    const SUITE: [(&str, u16, &str, u16, u32, u32); 8] = [
        ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323e_8fc2, 0x51cc_c178),
        ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xd718_262a, 0xc626_b0ea),
        ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xd2d0_a5de, 0x5c2b_394a),
        ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x8298_9176, 0xafc7_327f),
        ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5d18_09c5, 0x10e8_28a2),
        ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc1_8cd5, 0x4020_7d3d),
        ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c_461c, 0xdde5_1bbf),
        (
            "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
            44251,
            "fe80::200:f8ff:fe21:67cf",
            38024,
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    fn input(src: IpAddr, dst: IpAddr, ports: Option<(u16, u16)>) -> Vec<u8> {
        let octets = |address| match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let ports = ports.map(|(sport, dport)| [sport.to_be_bytes(), dport.to_be_bytes()].concat());
        [octets(src), octets(dst), ports.unwrap_or_default()].concat()
    }

    #[test]
    fn the_hash_is_that_of_the_verification_suite() {
        let hash = Toeplitz::new(&KEY);
        for (src, sport, dst, dport, addresses, with_ports) in SUITE {
            let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
            assert_eq!(hash.of(&input(src, dst, None)), addresses, "{src} {dst}");
            assert_eq!(hash.of(&input(src, dst, Some((sport, dport)))), with_ports, "{src} {dst}");
        }
    }

    /// A table that tells every hash of so few bits apart.
    fn rss(key: &[u8], hashed: Hashed) -> Rss {
        let table: Vec<u32> = (0..128).collect();
        Rss::new(key, &table, hashed, 128).unwrap()
    }

    #[test]
    fn a_flow_is_hashed_from_its_key_with_the_ports_of_the_protocols_that_have_them() {
        for (src, sport, dst, dport, addresses, with_ports) in SUITE {
            let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            let v6 = src.is_ipv6();
            for (protocol, hashed, ports) in [
                (6, Hashed::ALL, true),
                (17, Hashed::ALL, true),
                (132, Hashed::ALL, false),
                (1, Hashed::ALL, false),
                (6, Hashed { tcp4: v6, tcp6: !v6, ..Hashed::ALL }, false),
                (17, Hashed { udp4: v6, udp6: !v6, ..Hashed::ALL }, false),
            ] {
                let (key, from_a) = Key::new(src, dst, sport, dport, protocol, Vlans::UNTAGGED);
                let expected = if from_a {
                    if ports { with_ports } else { addresses }
                } else {
                    let back = input(dst, src, ports.then_some((dport, sport)));
                    Toeplitz::new(&KEY).of(&back)
                };
                let rss = rss(&KEY, hashed);
                assert_eq!(rss.hash_of(&key), expected, "{key:?}");
                assert_eq!(rss.queue(&key), expected & 127);
            }
        }
    }

    #[test]
    fn a_card_that_cannot_be_is_refused() {
        let new = |bytes: usize, table: &[u32]| Rss::new(&symmetric_key(bytes), table, Hashed::ALL, 2);
        assert_eq!(new(39, &[0, 1]).unwrap_err(), NotRss::Key(39));
        assert_eq!(new(40, &[0, 1, 0]).unwrap_err(), NotRss::Table(3));
        assert_eq!(new(40, &[]).unwrap_err(), NotRss::Table(0));
        assert_eq!(new(40, &[0, 1, 2, 1]).unwrap_err(), NotRss::Queue(2));
        assert!(new(52, &[0, 1]).is_ok());
    }

    #[test]
    fn the_symmetric_key_spreads_evenly() {
        let table: Vec<u32> = (0..128).map(|place| place % 4).collect();
        let rss = Rss::new(&symmetric_key(40), &table, Hashed::ALL, 4).unwrap();
        let mut seen = [0_u32; 4];
        for port in 0..40_000 {
            let (src, dst) = ("10.0.0.7".parse().unwrap(), "10.1.0.9".parse().unwrap());
            let (key, _) = Key::new(src, dst, port, 443, 6, Vlans::UNTAGGED);
            seen[rss.queue(&key) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_000..=11_000).contains(n)), "{seen:?}");
    }

    fn ends() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (a.into(), b.into())),
            any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (a.into(), b.into())),
        ]
    }

    proptest! {
        #[test]
        fn under_the_symmetric_key_both_directions_have_one_hash(
            (src, dst) in ends(),
            sport: u16,
            dport: u16,
        ) {
            let hash = Toeplitz::new(&symmetric_key(52));
            prop_assert_eq!(hash.of(&input(src, dst, None)), hash.of(&input(dst, src, None)));
            let (there, back) = (Some((sport, dport)), Some((dport, sport)));
            prop_assert_eq!(hash.of(&input(src, dst, there)), hash.of(&input(dst, src, back)));
        }

        /// The definition, bit by bit: the tables are only a faster way.
        #[test]
        fn the_tables_are_the_definition(
            key in any::<[u8; 20]>().prop_flat_map(|first| any::<[u8; 20]>().prop_map(move |last| [first, last].concat())),
            input in proptest::collection::vec(any::<u8>(), 0..=INPUT),
        ) {
            let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
            let mut slow = 0_u32;
            for at in (0..input.len() * 8).filter(|at| bit(&input, *at) == 1) {
                slow ^= (at..at + 32).fold(0, |window, at| window << 1 | u32::from(bit(&key, at)));
            }
            prop_assert_eq!(Toeplitz::new(&key).of(&input), slow);
        }
    }
}
