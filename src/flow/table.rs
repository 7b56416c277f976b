//! The flow table: one slot a flow, found through buckets of tags (FLOWS.md §1–2).
//!
//! What it is: lookup in stages over a burst, insertion with bounded displacement and eviction, expiry by a
//! clock hand. What it is not: it judges nothing. Invariants: a live slot stands in the index exactly once,
//! in one of its key's two buckets; free slots and live ones add up to the capacity; nothing allocates
//! after [`FlowTable::over`]. Cost: docs/BENCHMARKS.md; a hit reads one line of the index and one (IPv6: two)
//! of the slot, both asked for ahead of time.

use std::sync::Arc;

use super::bounds::Tallies;
use super::bucket::{Address, Class, Index};
use super::hash::{BATCH, KeyHash};
use super::limits::HalfOpen;
use super::region::Memory;
use super::{Bounds, Flags, Now, Opening, Phase, Progress, Refusal, Region, Slot, Timeouts};
use crate::wire::Key;
use crate::wire::processor::prefetch;

/// Place of a flow in its table, valid until that flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId(u32);

impl FlowId {
    /// The place of no flow.
    const NOWHERE: Self = Self(u32::MAX);
}

/// Where the flows of a burst may be.
#[derive(Debug)]
pub struct Batch {
    hashes: [u64; BATCH],
    addresses: [Address; BATCH],
    guesses: [FlowId; BATCH],
}

impl Default for Batch {
    fn default() -> Self {
        Self { hashes: [0; BATCH], addresses: [Address::NOWHERE; BATCH], guesses: [FlowId::NOWHERE; BATCH] }
    }
}

impl Batch {
    /// One a key.
    #[inline]
    pub fn hints(&self) -> impl Iterator<Item = Hint> {
        let both = self.guesses.iter().zip(&self.addresses);
        both.map(|(guess, address)| Hint { guess: *guess, address: *address })
    }
}

/// Where one key's flow may be, checked against the key when its packet's turn comes, and what it takes to
/// look further.
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    /// The slot that the key's tag points at.
    pub guess: FlowId,
    address: Address,
}

impl Hint {
    /// Whether no flow is where it would most likely be.
    #[inline]
    #[must_use]
    pub fn is_absent(self) -> bool {
        self.guess == FlowId::NOWHERE
    }
}

/// The key that was sought last: who finds none inserts it next.
#[derive(Debug)]
struct Sought {
    key: Key,
    /// Where it may stand.
    address: Address,
    /// It was not there, and nothing was inserted since.
    absent: bool,
}

/// The connections of one worker.
#[derive(Debug)]
pub struct FlowTable {
    hash: KeyHash,
    index: Index,
    slots: Memory<Slot>,
    free: Vec<u32>,
    hand: usize,
    bounds: Bounds,
    tallies: Tallies,
    evicted: u64,
    sought: Sought,
}

/// TCP connections that wait for their handshake at a destination under pressure have three seconds.
const PRESSED: u32 = 178;

fn at(slots: &[Slot], slot: u32) -> Option<&Slot> {
    slots.get(usize::try_from(slot).ok()?)
}

impl FlowTable {
    /// A table within these bounds in memory of its own; all of it is taken now. `half_open` is the wire's,
    /// shared by all its workers.
    #[must_use]
    pub fn new(bounds: Bounds, half_open: Arc<HalfOpen>) -> Self {
        Self::over(Region::plain(bounds.flows), bounds, half_open)
    }

    /// A table over the memory it is handed, which says how many flows it can hold.
    #[must_use]
    pub fn over(region: Region, bounds: Bounds, half_open: Arc<HalfOpen>) -> Self {
        let Region { slots, buckets } = region;
        let places = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let (hash, index) = (KeyHash::random(), Index::over(buckets));
        let nobody = Key::from_words([0; 4], 0, false);
        Self {
            sought: Sought { key: nobody, address: index.address(hash.of(&nobody)), absent: false },
            hash,
            index,
            slots,
            free: (0..places).rev().collect(),
            hand: 0,
            bounds,
            tallies: Tallies::new(&bounds, half_open),
            evicted: 0,
        }
    }

    /// Live flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// No flow at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of its slots and its index.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val::<[Slot]>(&self.slots) + self.index.bytes()
    }

    /// How long flows are remembered.
    #[must_use]
    pub const fn timeouts(&self) -> &Timeouts {
        &self.bounds.timeouts
    }

    /// Its bounds.
    #[must_use]
    pub const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Flows given up because the table was full.
    #[must_use]
    pub const fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Asks for the memory that a burst's keys will need: hash all, then each bucket, then each slot.
    #[inline]
    pub fn prepare<'k>(&self, keys: impl Iterator<Item = &'k Key> + Clone, batch: &mut Batch) {
        let Batch { hashes, addresses, guesses } = batch;
        self.hash.many(keys.clone(), hashes);
        for ((hash, address), _) in hashes.iter().zip(&mut *addresses).zip(keys.clone()) {
            *address = self.index.address(*hash);
            self.index.prefetch(*address);
        }
        for ((address, guess), key) in addresses.iter().zip(guesses).zip(keys) {
            let slot = self.index.likely(*address);
            *guess = FlowId(slot);
            if let Some(slot) = at(&self.slots, slot) {
                prefetch(slot);
                if key.is_v6() {
                    prefetch(slot.second_line());
                }
            }
        }
    }

    /// The guessed slot, if it holds this key's flow.
    #[inline]
    pub fn guessed(&mut self, guess: FlowId, key: &Key) -> Option<&mut Slot> {
        self.entry_mut(guess).filter(|slot| slot.is(key))
    }

    /// The live flow with this key. One that has ended is removed and not found.
    pub fn find(&mut self, key: &Key, tick: u32) -> Option<FlowId> {
        self.find_at(self.index.address(self.hash.of(key)), key, tick)
    }

    /// The same for a key that [`Self::prepare`] has hashed.
    pub fn find_hinted(&mut self, key: &Key, hint: Hint, tick: u32) -> Option<FlowId> {
        self.find_at(hint.address, key, tick)
    }

    #[inline]
    fn find_at(&mut self, address: Address, key: &Key, tick: u32) -> Option<FlowId> {
        let found = self.locate_at(address, key);
        self.sought = Sought { key: *key, address, absent: found.is_none() };
        let (bucket, place, slot) = found?;
        let id = FlowId(slot);
        if self.is_over(self.entry(id)?, tick) {
            self.index.take(address, bucket, place);
            self.forget(id, key);
            self.sought.absent = true;
            return None;
        }
        Some(id)
    }

    /// Whether a flow has ended by silence.
    fn is_over(&self, slot: &Slot, tick: u32) -> bool {
        let pressed = slot.half_open_place().is_some_and(|place| {
            tick.wrapping_sub(slot.seen()) >= PRESSED && self.tallies.is_pressed(place, &self.bounds)
        });
        pressed || slot.has_ended(tick, &self.bounds.timeouts)
    }

    fn locate(&self, key: &Key) -> Option<(u32, u32, u32)> {
        self.locate_at(self.index.address(self.hash.of(key)), key)
    }

    fn locate_at(&self, address: Address, key: &Key) -> Option<(u32, u32, u32)> {
        self.index.find(address, |slot| at(&self.slots, slot).is_some_and(|slot| slot.is(key)))
    }

    /// What is remembered of a flow.
    #[must_use]
    pub fn entry(&self, id: FlowId) -> Option<&Slot> {
        at(&self.slots, id.0)
    }

    /// The same, to change it.
    #[inline]
    pub fn entry_mut(&mut self, id: FlowId) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(id.0).ok()?)
    }

    /// Remembers a flow; one with the same key is replaced. A full table gives up a closed flow, or the
    /// oldest unconfirmed one, of the sixteen whose places the new one could take.
    ///
    /// # Errors
    /// [`Refusal::TableFull`], [`Refusal::Limit`]; nothing is counted then.
    pub fn insert(&mut self, key: &Key, opening: &Opening, tick: u32) -> Result<FlowId, Refusal> {
        let place = self.tallies.begin(&self.bounds, key, opening, tick).map_err(Refusal::Limit)?;
        let (address, absent) = if self.sought.key == *key {
            (self.sought.address, self.sought.absent)
        } else {
            (self.index.address(self.hash.of(key)), false)
        };
        self.sought.absent = false;
        if !absent && let Some((_, _, slot)) = self.locate_at(address, key) {
            self.remove(FlowId(slot));
        }
        let Some(slot) = self.settle(address, tick) else {
            self.tallies.end((opening.by_a, opening.side), key, place);
            return Err(Refusal::TableFull);
        };
        if let Some(entry) = self.slots.get_mut(usize::try_from(slot).unwrap_or(usize::MAX)) {
            entry.open(key, opening, place, tick);
        }
        Ok(FlowId(slot))
    }

    /// A slot for a new flow, standing in the index. `None`: nobody in reach may be given up for it.
    fn settle(&mut self, address: Address, tick: u32) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => self.evict(address, tick)?,
        };
        if self.stand(address, slot, tick) {
            return Some(slot);
        }
        // Slots are left, but not in reach of this key's buckets: whoever is given up there leaves a place.
        let evicted = self.evict(address, tick);
        self.free.extend(evicted);
        if evicted.is_some() && self.stand(address, slot, tick) {
            return Some(slot);
        }
        self.free.push(slot);
        None
    }

    /// Gives a slot a place in the index, if there is one.
    fn stand(&mut self, address: Address, slot: u32, tick: u32) -> bool {
        let (hash, slots) = (&self.hash, &self.slots);
        let key_hash = |resident: u32| at(slots, resident).map_or(0, |slot| hash.of(&slot.key()));
        self.index.put(address, slot, (Class::Unconfirmed, tick), key_hash)
    }

    /// Counts the packet that has just opened a flow; it says no more than [`Self::insert`] was told.
    pub fn count_first(&mut self, id: FlowId, from_a: bool, length: u32) {
        if let Some(slot) = self.entry_mut(id) {
            slot.count(from_a, length);
        }
    }

    /// Takes a packet of a flow that will be sent into account.
    pub fn advance(&mut self, id: FlowId, progress: &Progress, from_a: bool, length: u32, now: Now) {
        let Some(slot) = self.entry_mut(id) else { return };
        let changed = slot.advance(progress, from_a, length, now.tick);
        if slot.phase() != Phase::Opening
            && let Some(place) = slot.leave_half_open()
        {
            self.tallies.complete(place);
        }
        if !changed {
            return;
        }
        let Some(slot) = self.entry(id) else { return };
        let (key, class) = (slot.key(), slot.class());
        if let Some((bucket, place, _)) = self.locate(&key) {
            self.index.reclass(bucket, place, class, now.tick);
        }
    }

    /// Makes the other end a flow's opener.
    pub fn turn(&mut self, id: FlowId) {
        let Some(slot) = self.entry_mut(id) else { return };
        let (key, before) = (slot.key(), slot.opener());
        slot.turn();
        let after = slot.opener();
        self.tallies.turn(&key, before, after);
    }

    /// Frees the slot of the most evictable flow in reach of a new one.
    fn evict(&mut self, address: Address, tick: u32) -> Option<u32> {
        let victim = self.index.victim(address, tick)?;
        self.remove(FlowId(victim));
        self.evicted += 1;
        // It has just been pushed.
        self.free.pop()
    }

    /// Forgets a flow.
    pub fn remove(&mut self, id: FlowId) {
        let Some(slot) = self.entry(id).filter(|slot| slot.has(Flags::LIVE)) else { return };
        let key = slot.key();
        let address = self.index.address(self.hash.of(&key));
        if let Some((bucket, place, _)) = self.index.find(address, |slot| slot == id.0) {
            self.index.take(address, bucket, place);
        }
        self.forget(id, &key);
    }

    /// Frees the slot of a live flow with this key that stands in the index no more.
    fn forget(&mut self, id: FlowId, key: &Key) {
        if let Some(slot) = self.entry_mut(id) {
            slot.set(Flags::LIVE, false);
            let (opener, place) = (slot.opener(), slot.leave_half_open());
            self.tallies.end(opener, key, place);
        }
        self.free.push(id.0);
    }

    /// The flow in a slot, if it has not ended.
    #[must_use]
    pub fn living(&self, slot: usize, tick: u32) -> Option<FlowId> {
        let found = self.slots.get(slot)?;
        let lives = found.has(Flags::LIVE) && !found.has_ended(tick, self.timeouts());
        lives.then_some(FlowId(u32::try_from(slot).ok()?))
    }

    /// Moves the clock hand over at most `slots` slots and removes what has ended.
    pub fn sweep(&mut self, tick: u32, slots: usize) {
        for _ in 0..slots.min(self.slots.len()) {
            let here = self.hand;
            self.hand = if here + 1 == self.slots.len() { 0 } else { here + 1 };
            let ended =
                self.slots.get(here).is_some_and(|slot| slot.has(Flags::LIVE) && self.is_over(slot, tick));
            if ended && let Ok(slot) = u32::try_from(here) {
                self.remove(FlowId(slot));
            }
        }
    }
}

#[cfg(test)]
impl FlowTable {
    /// The slot of a key's flow, ended or not.
    pub(super) fn slot_of(&self, key: &Key) -> Option<FlowId> {
        self.locate(key).map(|(_, _, slot)| FlowId(slot))
    }

    /// The invariants: each live slot stands in the index once, in reach of its key, and `moved` is exact.
    pub(super) fn check(&self) {
        let live: std::collections::HashSet<u32> = (0..)
            .zip(&*self.slots)
            .filter(|(_, slot)| slot.has(Flags::LIVE))
            .map(|(number, _)| number)
            .collect();
        assert_eq!(live.len(), self.len());
        assert!(self.free.iter().all(|slot| !live.contains(slot)));
        self.index.check(&live, |slot| self.hash.of(&at(&self.slots, slot).expect("a slot").key()));
    }
}
