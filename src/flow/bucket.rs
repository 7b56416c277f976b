//! The index: buckets of eight places in one cache line.
//!
//! What it is: where a flow may stand by its hash, and which slot holds it. What it is not: it knows no
//! keys; whoever finds a place must compare the key in the slot. A key has two buckets, each the other's
//! [`Index::mate`] under the key's tag, so a resident can move without its key being hashed again.
//! `moved` tells a bucket that a key it is the first of stands in the second: without that a miss looks at
//! one line only (Cuckoo++, arXiv 1712.09624).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::region::Memory;
use crate::wire::processor::{equal, prefetch};

/// Places of a bucket.
pub(super) const PLACES: usize = 8;

/// How evictable a resident is, in the top two bits of its class byte; the tick of its last change of
/// class, in units of about a second, below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Class {
    /// Closed: the first to go.
    Closed = 0,
    /// Only one end has spoken, or the handshake is not complete.
    Unconfirmed = 1,
    /// Both ends have.
    Confirmed = 2,
}

const AGE_BITS: u32 = 6;
const AGE_MASK: u8 = (1 << AGE_BITS) - 1;

/// The age of a tick: 64 ticks are 1.07 s, and it comes round after 68 s.
fn age(tick: u32) -> u8 {
    let [low, ..] = (tick >> 6).to_le_bytes();
    low & AGE_MASK
}

/// One cache line of the index.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// 0: the place is empty.
    tags: [u16; PLACES],
    slots: [u32; PLACES],
    classes: [u8; PLACES],
    /// Keys that have this bucket first and stand in their second, and a sieve of their tags.
    moved: u16,
    sieve: [u16; 3],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    pub(super) const EMPTY: Self =
        Self { tags: [0; PLACES], slots: [0; PLACES], classes: [0; PLACES], moved: 0, sieve: [0; 3] };

    /// The places with this tag, a bit each.
    #[inline]
    fn matches(&self, tag: u16) -> u32 {
        equal(&self.tags, tag)
    }

    #[inline]
    fn slot(&self, place: u32) -> u32 {
        usize::try_from(place).ok().and_then(|place| self.slots.get(place)).copied().unwrap_or(u32::MAX)
    }

    fn free(&self) -> Option<u32> {
        let free = self.matches(0);
        (free != 0).then(|| free.trailing_zeros())
    }

    fn sieve_bit(tag: u16) -> (usize, u16) {
        let bit = tag % 48;
        (usize::from(bit / 16), 1 << (bit % 16))
    }

    fn may_have_moved(&self, tag: u16) -> bool {
        let (word, bit) = Self::sieve_bit(tag);
        self.moved > 0 && self.sieve.get(word).is_some_and(|word| word & bit != 0)
    }

    fn note_moved(&mut self, tag: u16) {
        let (word, bit) = Self::sieve_bit(tag);
        self.moved += 1;
        if let Some(word) = self.sieve.get_mut(word) {
            *word |= bit;
        }
    }

    fn note_returned(&mut self) {
        self.moved = self.moved.saturating_sub(1);
        if self.moved == 0 {
            self.sieve = [0; 3];
        }
    }

    fn put(&mut self, place: u32, tag: u16, slot: u32, class: u8) {
        let Ok(place) = usize::try_from(place) else { return };
        if let (Some(t), Some(s), Some(c)) =
            (self.tags.get_mut(place), self.slots.get_mut(place), self.classes.get_mut(place))
        {
            (*t, *s, *c) = (tag, slot, class);
        }
    }

    fn resident(&self, place: usize) -> Option<(u16, u32, u8)> {
        Some((*self.tags.get(place)?, *self.slots.get(place)?, *self.classes.get(place)?))
    }
}

/// Bucket and tag of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) first: u32,
    pub(super) tag: u16,
}

impl Address {
    /// No key's: its tag is that of an empty place.
    pub(super) const NOWHERE: Self = Self { first: 0, tag: 0 };
}

/// All buckets.
#[derive(Debug)]
pub(super) struct Index {
    buckets: Memory<Bucket>,
    count: u32,
}

/// Buckets of an index for so many flows at three quarters full.
pub(super) fn buckets_for(flows: u32) -> u32 {
    flows.div_ceil(6).max(1)
}

impl Index {
    /// An index over its buckets, all of them empty.
    pub(super) fn over(buckets: Memory<Bucket>) -> Self {
        let count = u32::try_from(buckets.len()).unwrap_or(u32::MAX);
        Self { buckets, count }
    }

    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[Bucket]>(&self.buckets)
    }

    #[inline]
    pub(super) fn address(&self, hash: u64) -> Address {
        let [low, high] = [hash & 0xffff_ffff, hash >> 32];
        // Multiply-shift: even over any number of buckets.
        let first = u32::try_from((low * u64::from(self.count)) >> 32).unwrap_or(0);
        let [t0, t1, ..] = high.to_le_bytes();
        Address { first, tag: u16::from_le_bytes([t0, t1]).max(1) }
    }

    /// The other bucket of a key with this tag: both add up to a number that the tag gives, so the way back
    /// is the same.
    fn mate(&self, bucket: u32, tag: u16) -> u32 {
        let spread = u64::from(u32::from(tag).wrapping_mul(0x9e37_79b9));
        let sum = u32::try_from((spread * u64::from(self.count)) >> 32).unwrap_or(0);
        if sum >= bucket { sum - bucket } else { sum + (self.count - bucket) }
    }

    #[inline]
    fn bucket(&self, number: u32) -> Option<&Bucket> {
        self.buckets.get(usize::try_from(number).ok()?)
    }

    fn bucket_mut(&mut self, number: u32) -> Option<&mut Bucket> {
        self.buckets.get_mut(usize::try_from(number).ok()?)
    }

    #[inline]
    pub(super) fn prefetch(&self, at: Address) {
        if let Some(bucket) = self.bucket(at.first) {
            prefetch(bucket);
        }
    }

    /// The first slot whose tag agrees, in the first bucket alone: a guess that costs one line.
    #[inline]
    pub(super) fn likely(&self, at: Address) -> u32 {
        self.bucket(at.first).map_or(u32::MAX, |bucket| {
            let found = bucket.matches(at.tag);
            if found == 0 { u32::MAX } else { bucket.slot(found.trailing_zeros()) }
        })
    }

    /// Bucket, place and slot of the resident that `is` recognises.
    pub(super) fn find(&self, at: Address, mut is: impl FnMut(u32) -> bool) -> Option<(u32, u32, u32)> {
        let first = self.bucket(at.first)?;
        let mut look = |number: u32, bucket: &Bucket| {
            let mut found = bucket.matches(at.tag);
            while found != 0 {
                let place = found.trailing_zeros();
                let slot = bucket.slot(place);
                if is(slot) {
                    return Some((number, place, slot));
                }
                found &= found - 1;
            }
            None
        };
        look(at.first, first).or_else(|| {
            if !first.may_have_moved(at.tag) {
                return None;
            }
            let second = self.mate(at.first, at.tag);
            look(second, self.bucket(second)?)
        })
    }

    /// Gives a key that is not in the index a place. False: both buckets are full, and so are those that
    /// their residents could move to.
    ///
    /// `hash` tells the hash of the flow in a slot: a resident that moves leaves its first bucket or comes home.
    pub(super) fn put(
        &mut self,
        at: Address,
        slot: u32,
        (class, tick): (Class, u32),
        hash: impl Fn(u32) -> u64,
    ) -> bool {
        let class = (class as u8) << AGE_BITS | age(tick);
        if let Some(first) = self.bucket_mut(at.first)
            && let Some(place) = first.free()
        {
            first.put(place, at.tag, slot, class);
            return true;
        }
        let second = self.mate(at.first, at.tag);
        let place = self
            .free_in(second)
            .or_else(|| self.make_room(at.first, &hash).or_else(|| self.make_room(second, &hash)));
        let Some((number, place)) = place else { return false };
        if number != at.first
            && let Some(first) = self.bucket_mut(at.first)
        {
            first.note_moved(at.tag);
        }
        if let Some(bucket) = self.bucket_mut(number) {
            bucket.put(place, at.tag, slot, class);
        }
        true
    }

    fn free_in(&self, number: u32) -> Option<(u32, u32)> {
        self.bucket(number)?.free().map(|place| (number, place))
    }

    /// Empties a place of a full bucket by moving a resident to its other one, or, where that is full too,
    /// by first moving one of its residents: at most 8 × 9 buckets are looked at.
    fn make_room(&mut self, number: u32, hash: &impl Fn(u32) -> u64) -> Option<(u32, u32)> {
        let residents = |index: &Self, number: u32| -> [u32; PLACES] {
            let mut mates = [u32::MAX; PLACES];
            if let Some(bucket) = index.bucket(number) {
                for (mate, tag) in mates.iter_mut().zip(bucket.tags) {
                    *mate = index.mate(number, tag);
                }
            }
            mates
        };
        let mates = residents(self, number);
        for (place, mate) in mates.iter().enumerate() {
            if let Some(free) = self.free_in(*mate) {
                return self.shift(number, place, free, hash);
            }
        }
        for (place, mate) in mates.iter().enumerate() {
            if *mate == number {
                continue;
            }
            for (next_place, next) in residents(self, *mate).iter().enumerate() {
                // Room in the bucket that is being emptied is no room.
                if *next != number
                    && let Some(free) = self.free_in(*next)
                {
                    let free = self.shift(*mate, next_place, free, hash)?;
                    return self.shift(number, place, free, hash);
                }
            }
        }
        None
    }

    /// Moves a resident and gives the place it left.
    fn shift(
        &mut self,
        from: u32,
        place: usize,
        (to, free): (u32, u32),
        hash: &impl Fn(u32) -> u64,
    ) -> Option<(u32, u32)> {
        let (tag, slot, class) = self.bucket(from)?.resident(place)?;
        self.bucket_mut(to)?.put(free, tag, slot, class);
        let place = u32::try_from(place).ok()?;
        self.bucket_mut(from)?.put(place, 0, 0, 0);
        let first = self.address(hash(slot)).first;
        if first == from && first != to {
            self.bucket_mut(first)?.note_moved(tag);
        } else if first == to && first != from {
            self.bucket_mut(first)?.note_returned();
        }
        Some((from, place))
    }

    /// Empties the place of a key that is in the index, as [`Self::find`] told it.
    pub(super) fn take(&mut self, at: Address, number: u32, place: u32) {
        if let Some(bucket) = self.bucket_mut(number) {
            bucket.put(place, 0, 0, 0);
        }
        if number != at.first
            && let Some(first) = self.bucket_mut(at.first)
        {
            first.note_returned();
        }
    }

    /// Notes that a flow's class has changed.
    pub(super) fn reclass(&mut self, number: u32, place: u32, class: Class, tick: u32) {
        let found = self.bucket_mut(number).zip(usize::try_from(place).ok());
        if let Some(byte) = found.and_then(|(bucket, place)| bucket.classes.get_mut(place)) {
            *byte = (class as u8) << AGE_BITS | age(tick);
        }
    }

    /// The slot of the resident of a key's two buckets that should go first: a closed one, else the
    /// unconfirmed one whose class is oldest. `None`: all are confirmed.
    pub(super) fn victim(&self, at: Address, tick: u32) -> Option<u32> {
        let now = age(tick);
        [at.first, self.mate(at.first, at.tag)]
            .into_iter()
            .filter_map(|number| self.bucket(number))
            .flat_map(|bucket| (0..PLACES).filter_map(|place| bucket.resident(place)))
            .filter(|(tag, _, class)| *tag != 0 && class >> AGE_BITS < Class::Confirmed as u8)
            .min_by_key(|(_, _, class)| {
                let old = now.wrapping_sub(class & AGE_MASK) & AGE_MASK;
                (class >> AGE_BITS, u8::MAX - old)
            })
            .map(|(_, slot, _)| slot)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    impl Index {
        /// Each of `live` stands here once, in one of its two buckets under its tag; `moved` counts those
        /// in their second.
        pub(in crate::flow) fn check(&self, live: &HashSet<u32>, hash: impl Fn(u32) -> u64) {
            let mut seen = HashSet::new();
            let mut moved: HashMap<u32, u16> = HashMap::new();
            for (number, bucket) in (0..).zip(&*self.buckets) {
                for place in 0..PLACES {
                    let (tag, slot, _) = bucket.resident(place).unwrap();
                    if tag == 0 {
                        continue;
                    }
                    assert!(live.contains(&slot) && seen.insert(slot), "{slot}");
                    let at = self.address(hash(slot));
                    assert_eq!(at.tag, tag);
                    let second = self.mate(at.first, tag);
                    assert!(number == at.first || number == second);
                    if number != at.first {
                        *moved.entry(at.first).or_default() += 1;
                        assert!(self.bucket(at.first).unwrap().may_have_moved(tag));
                    }
                }
            }
            assert_eq!(&seen, live);
            for (number, bucket) in (0..).zip(&*self.buckets) {
                assert_eq!(bucket.moved, moved.get(&number).copied().unwrap_or(0), "{number}");
            }
        }
    }

    /// A hash that spreads: the finisher of `SplitMix64`.
    fn spread(n: u32) -> u64 {
        let z = u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[test]
    fn the_way_to_the_other_bucket_leads_back() {
        for count in [1_u32, 2, 3, 7, 1_000, 174_764] {
            let index = Index::over(Memory::own(count as usize, Bucket::EMPTY));
            for n in 0..1_000 {
                let at = index.address(spread(n));
                let second = index.mate(at.first, at.tag);
                assert!(at.first < count && second < count);
                assert_eq!(index.mate(second, at.tag), at.first);
            }
        }
    }

    #[test]
    fn displacement_fills_nine_places_of_ten_and_loses_nobody() {
        let mut index = Index::over(Memory::buckets(6_000));
        let mut live = HashSet::new();
        for n in 0.. {
            if !index.put(index.address(spread(n)), n, (Class::Unconfirmed, 0), spread) {
                break;
            }
            live.insert(n);
        }
        let places = index.buckets.len() * PLACES;
        assert!(live.len() * 10 > places * 9, "{} of {places}", live.len());
        index.check(&live, spread);
        for n in &live {
            let at = index.address(spread(*n));
            let (bucket, place, _) = index.find(at, |slot| slot == *n).unwrap();
            index.take(at, bucket, place);
        }
        index.check(&HashSet::new(), spread);
    }

    #[test]
    fn keys_spread_evenly() {
        let index = Index::over(Memory::buckets(60_000));
        let mut load = vec![0_u32; index.buckets.len()];
        for n in 0..1_000_000 {
            load[index.address(spread(n)).first as usize] += 1;
        }
        // About 100 each; six standard deviations are 60.
        assert!(
            load.iter().all(|n| (40..=160).contains(n)),
            "{:?}",
            (load.iter().min(), load.iter().max())
        );
    }
}
