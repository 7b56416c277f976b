//! Which worker owns a flow.

use std::sync::Arc;

use super::hash::KeyHash;
use super::rss::Rss;
use crate::wire::Key;

/// The owner function: one for the life of a table (FLOWS.md §4). Only the owner inserts a flow, so
/// with N workers no flow ever has two entries.
///
/// By a secret hash, nobody outside can aim all flows at one worker, and most packets arrive elsewhere and are
/// handed over. By the cards' own choice, where both spread flows the same way, packets arrive at their owner;
/// who knows the key, which is public, can aim flows at one queue, as at any card.
#[derive(Clone, Debug)]
pub struct Owner {
    workers: u32,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Secret(KeyHash),
    Rss(Arc<Rss>),
}

impl Owner {
    /// An owner function over `workers` workers (at least one).
    #[must_use]
    pub fn new(workers: u32, secret: (u64, u64)) -> Self {
        Self { workers: workers.max(1), by: By::Secret(KeyHash::new(secret)) }
    }

    /// The owner function that agrees with network cards: flows belong to the worker of the queue they arrive
    /// on. `rss` is over as many queues as there are workers.
    #[must_use]
    pub fn by_rss(workers: u32, rss: Rss) -> Self {
        Self { workers: workers.max(1), by: By::Rss(Arc::new(rss)) }
    }

    /// Whether there is a single worker, which owns everything.
    #[must_use]
    pub const fn is_alone(&self) -> bool {
        self.workers == 1
    }

    /// The worker that owns the flow, from 0.
    #[must_use]
    #[inline]
    pub fn of(&self, key: &Key) -> u32 {
        if self.is_alone() { 0 } else { self.among(key) }
    }

    #[inline(never)]
    fn among(&self, key: &Key) -> u32 {
        match &self.by {
            By::Secret(hash) => {
                // Multiply-shift keeps the top bits: even for any number of workers.
                let top = hash.of(key) >> 32;
                u32::try_from((top * u64::from(self.workers)) >> 32).unwrap_or(0)
            }
            By::Rss(rss) => rss.queue(key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Vlans;

    fn key(sport: u16) -> (Key, Key) {
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let there = Key::new(a, b, sport, 443, 6, Vlans::UNTAGGED).0;
        let back = Key::new(b, a, 443, sport, 6, Vlans::UNTAGGED).0;
        (there, back)
    }

    #[test]
    fn both_directions_have_one_owner_and_owners_share_evenly() {
        let owner = Owner::new(3, (7, 11));
        let mut seen = [0u32; 3];
        for sport in 0..30_000 {
            let (there, back) = key(sport);
            assert_eq!(owner.of(&there), owner.of(&back));
            seen[owner.of(&there) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..=10_500).contains(n)), "{seen:?}");
    }

    #[test]
    fn another_secret_is_another_function() {
        let (one, two) = (Owner::new(8, (1, 2)), Owner::new(8, (1, 3)));
        let moved = (0..1_000).filter(|p| one.of(&key(*p).0) != two.of(&key(*p).0)).count();
        assert!(moved > 800, "{moved}");
    }

    #[test]
    fn by_rss_a_flow_is_owned_by_the_worker_of_its_queue() {
        use super::super::rss::{Hashed, Rss, symmetric_key};
        let table: Vec<u32> = (0..128).map(|place| place % 3).collect();
        let rss = || Rss::new(&symmetric_key(40), &table, Hashed::ALL, 3).unwrap();
        let owner = Owner::by_rss(3, rss());
        let mut seen = [0_u32; 3];
        for port in 0..30_000 {
            let (there, back) = key(port);
            assert_eq!(owner.of(&there), rss().queue(&there));
            assert_eq!(owner.of(&there), owner.of(&back));
            seen[owner.of(&there) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (8_000..=12_000).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_single_worker_owns_everything() {
        let owner = Owner::new(1, (1, 2));
        assert!((0..100).all(|p| owner.of(&key(p).0) == 0));
    }
}
