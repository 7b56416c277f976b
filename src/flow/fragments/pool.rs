//! A bounded set of nodes found by key: chains through the nodes themselves, no tombstones.
//!
//! Everything is allocated when it is made. Finding, putting and taking away follow one chain, one node
//! long on average at any load, since there are twice as many heads as nodes; the hash is keyed, so
//! nobody outside can make one longer. A map with tombstones would clean itself now and then in one long
//! step, on the packet path.

use std::num::NonZeroU32;

use siphasher::sip::SipHasher13;

/// Place of a node in its pool, from 1; none is the end of a chain. Four bytes either way.
pub(super) type Link = Option<NonZeroU32>;

/// The slice index of a place.
pub(super) fn index(at: NonZeroU32) -> usize {
    usize::try_from(at.get() - 1).unwrap_or(usize::MAX)
}

/// Links nodes 1, 2, … `count` in that order: every node's successor.
pub(super) fn successors(count: u32) -> impl Iterator<Item = Link> {
    (0..count).map(move |n| if n + 1 < count { NonZeroU32::new(n + 2) } else { None })
}

/// A key that can be hashed under a secret.
pub(super) trait Hashed: PartialEq {
    /// Its hash.
    fn hashed(&self, sip: &SipHasher13) -> u64;
}

/// What a pool holds.
pub(super) trait Node: Copy {
    /// What it is found by.
    type Key: Hashed;
    /// A node that stands for nothing.
    const VACANT: Self;
    /// Its key.
    fn key(&self) -> &Self::Key;
    /// The next of its chain.
    fn next(&self) -> Link;
    /// Sets the next of its chain.
    fn set_next(&mut self, next: Link);
}

/// The nodes and their chains.
#[derive(Debug)]
pub(super) struct Pool<N> {
    heads: Box<[Link]>,
    nodes: Box<[N]>,
    free: Link,
    live: u32,
    sip: SipHasher13,
}

impl<N: Node> Pool<N> {
    /// A pool for at most `capacity` nodes; all its memory is taken now.
    pub(super) fn new(capacity: u32, secret: (u64, u64)) -> Self {
        let mut nodes: Box<[N]> = successors(capacity).map(|_| N::VACANT).collect();
        for (node, next) in nodes.iter_mut().zip(successors(capacity)) {
            node.set_next(next);
        }
        let heads = nodes.len().saturating_mul(2).next_power_of_two();
        Self {
            heads: vec![None; heads].into_boxed_slice(),
            free: if capacity == 0 { None } else { NonZeroU32::new(1) },
            nodes,
            live: 0,
            sip: SipHasher13::new_with_keys(secret.0, secret.1),
        }
    }

    /// Nodes in use.
    pub(super) const fn live(&self) -> u32 {
        self.live
    }

    /// Nodes it has.
    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    fn head(&self, key: &N::Key) -> usize {
        let hash = usize::try_from(key.hashed(&self.sip) & u64::from(u32::MAX)).unwrap_or(0);
        hash & (self.heads.len() - 1)
    }

    /// The node with this key.
    pub(super) fn find(&self, key: &N::Key) -> Link {
        let mut next = self.heads.get(self.head(key)).copied().flatten();
        while let Some(at) = next {
            let node = self.get(at)?;
            if node.key() == key {
                return Some(at);
            }
            next = node.next();
        }
        None
    }

    /// The node there.
    pub(super) fn get(&self, at: NonZeroU32) -> Option<&N> {
        self.nodes.get(index(at))
    }

    /// The same, to change anything but its key and link.
    pub(super) fn get_mut(&mut self, at: NonZeroU32) -> Option<&mut N> {
        self.nodes.get_mut(index(at))
    }

    /// Writes back a changed copy of the node there; its place in the chain stays.
    pub(super) fn replace(&mut self, at: NonZeroU32, mut node: N) {
        if let Some(place) = self.get_mut(at) {
            node.set_next(place.next());
            *place = node;
        }
    }

    /// Puts a node whose key is not there yet; none when full.
    pub(super) fn put(&mut self, mut node: N) -> Link {
        let at = self.free?;
        let head = self.head(node.key());
        let head = self.heads.get_mut(head)?;
        let place = self.nodes.get_mut(index(at))?;
        self.free = place.next();
        node.set_next(*head);
        *place = node;
        *head = Some(at);
        self.live += 1;
        Some(at)
    }

    /// Takes a node away.
    pub(super) fn take(&mut self, at: NonZeroU32) {
        let Some(gone) = self.get(at) else { return };
        let (head, after) = (self.head(gone.key()), gone.next());
        let mut before = self.heads.get(head).copied().flatten();
        if before == Some(at) {
            if let Some(head) = self.heads.get_mut(head) {
                *head = after;
            }
        } else {
            while let Some(node) = before.and_then(|b| self.nodes.get_mut(index(b))) {
                before = node.next();
                if before == Some(at) {
                    node.set_next(after);
                    break;
                }
            }
            // Not in its chain: it is free already.
            if before != Some(at) {
                return;
            }
        }
        let mut vacant = N::VACANT;
        vacant.set_next(self.free);
        if let Some(place) = self.nodes.get_mut(index(at)) {
            *place = vacant;
            self.free = Some(at);
            self.live -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    struct Pair {
        key: u8,
        value: u32,
        next: Link,
    }

    impl Hashed for u8 {
        /// Only four values, so that chains are long.
        fn hashed(&self, _: &SipHasher13) -> u64 {
            u64::from(*self % 4)
        }
    }

    impl Node for Pair {
        type Key = u8;
        const VACANT: Self = Self { key: 0, value: 0, next: None };

        fn key(&self) -> &u8 {
            &self.key
        }

        fn next(&self) -> Link {
            self.next
        }

        fn set_next(&mut self, next: Link) {
            self.next = next;
        }
    }

    proptest! {
        /// Also in the longest chains, a pool is a bounded map.
        #[test]
        fn a_pool_agrees_with_a_plain_map(steps in proptest::collection::vec((0..3u8, 0..24u8), 0..300)) {
            let mut pool = Pool::<Pair>::new(16, (1, 2));
            let mut model = HashMap::new();
            for (value, (step, key)) in (0u32..).zip(steps) {
                let found = pool.find(&key);
                prop_assert_eq!(found.and_then(|at| pool.get(at)).map(|p| p.value), model.get(&key).copied());
                match (step, found) {
                    (0, Some(at)) => {
                        pool.take(at);
                        model.remove(&key);
                        // A second time does nothing.
                        pool.take(at);
                    }
                    (1.., None) => {
                        let put = pool.put(Pair { key, value, next: None });
                        prop_assert_eq!(put.is_some(), model.len() < 16);
                        if put.is_some() { model.insert(key, value); }
                    }
                    (_, _) => {}
                }
                prop_assert_eq!(usize::try_from(pool.live()).unwrap(), model.len());
            }
        }
    }

    #[test]
    fn a_pool_of_none_takes_none() {
        let mut pool = Pool::<Pair>::new(0, (1, 2));
        assert_eq!(pool.put(Pair { key: 1, value: 1, next: None }), None);
        assert_eq!((pool.find(&1), pool.live(), pool.capacity()), (None, 0, 0));
    }
}
