//! Addresses that are written out, each with its stretch.
//!
//! What it is: a flat table of addresses, open addressing, one multiplication and one or two neighbouring
//! slots a search. What it is not: keyed. Its keys are the operator's and never change in a table's life, so
//! no sender can make them collide; a sender who looks for the longest run of taken slots finds one of
//! [`RUN`] at most, or memory was not worth more. Invariant: stretch 0 is no address's, so a slot with it is
//! free; the last slot is.

use std::hash::{BuildHasher, Hash};

use super::hash::Quick;
use super::space::StretchId;
use crate::wire::processor::prefetch;

/// Slots in a row that a search may meet, as long as doubling the table helps.
const RUN: usize = 12;
/// A table has at most so many slots an address.
const SPARSEST: usize = 16;

/// The addresses of one family.
#[derive(Debug)]
pub(super) struct Hosts<K> {
    slots: Vec<(K, StretchId)>,
    /// From 64 bits of hash to a slot.
    shift: u32,
}

impl<K: Copy + Eq + Hash + Default> Hosts<K> {
    /// No address twice.
    pub(super) fn of(addresses: &[(K, StretchId)]) -> Self {
        let mut size = (2 * addresses.len()).next_power_of_two().max(2);
        loop {
            let (hosts, longest) = Self::sized(addresses, size);
            if longest <= RUN || size >= SPARSEST * addresses.len() {
                return hosts;
            }
            size *= 2;
        }
    }

    fn sized(addresses: &[(K, StretchId)], size: usize) -> (Self, usize) {
        let shift = 64 - size.trailing_zeros();
        let free = (K::default(), 0);
        let mut hosts = Self { slots: vec![free; size + RUN], shift };
        let mut longest = 0;
        for (address, stretch) in addresses {
            let home = index(hosts.home(*address));
            let mut step = 0;
            loop {
                match hosts.slots.get_mut(home + step) {
                    Some((_, 0)) | None => break,
                    Some(_) => step += 1,
                }
            }
            longest = longest.max(step + 1);
            let place = home + step;
            if place + 1 >= hosts.slots.len() {
                hosts.slots.resize(place + 2, free);
            }
            hosts.slots.get_mut(place).into_iter().for_each(|slot| *slot = (*address, *stretch));
        }
        (hosts, longest)
    }

    #[inline]
    fn home(&self, address: K) -> u32 {
        let hash = Quick::default().hash_one(address);
        u32::try_from(hash >> self.shift).unwrap_or(0)
    }

    /// The stretch of an address; 0 for one that is not written out.
    #[inline]
    pub(super) fn find(&self, address: K) -> StretchId {
        self.find_from(self.home(address), address)
    }

    /// The same, from where [`Self::prefetch`] said that the search begins.
    #[inline]
    pub(super) fn find_from(&self, home: u32, address: K) -> StretchId {
        for (here, stretch) in self.slots.get(index(home)..).unwrap_or_default() {
            if *here == address || *stretch == 0 {
                return *stretch;
            }
        }
        0
    }

    /// Asks for the line that a search begins in, and says where.
    #[inline]
    pub(super) fn prefetch(&self, address: K) -> u32 {
        let home = self.home(address);
        self.slots.get(index(home)).into_iter().for_each(prefetch);
        home
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<(K, StretchId)>()
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_found_and_no_other() {
        // In rows as inventories have them, spread, and none.
        let row: Vec<(u32, u32)> = (0..5_000).map(|n| (0x0a00_0000 + n, n + 1)).collect();
        let spread: Vec<(u32, u32)> = (0..5_000).map(|n| (n * 0x0001_0001, n + 1)).collect();
        for all in [row, spread, Vec::new(), vec![(0, 7)]] {
            let hosts = Hosts::of(&all);
            for (address, stretch) in &all {
                assert_eq!(hosts.find(*address), *stretch, "{address:x}");
                assert_eq!(hosts.find_from(hosts.prefetch(*address), *address), *stretch, "{address:x}");
            }
            let known: std::collections::BTreeSet<u32> = all.iter().map(|(address, _)| *address).collect();
            for address in (0..100_000_u32).map(|n| n.wrapping_mul(0x9e37_79b9)) {
                assert!(hosts.find(address) == 0 || known.contains(&address), "{address:x}");
            }
        }
    }

    #[test]
    fn long_addresses_are_told_apart_by_all_their_bits() {
        let all: Vec<(u128, u32)> = (0..128).map(|bit| (1 << bit, bit + 1)).collect();
        let hosts = Hosts::of(&all);
        for (address, stretch) in &all {
            assert_eq!(hosts.find(*address), *stretch);
        }
        assert_eq!(hosts.find(3), 0);
    }
}
