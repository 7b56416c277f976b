//! Half-open TCP connections a destination, summed over all workers: one fixed table of atomics a wire.
//!
//! A destination stands in one of eight slots of its set. A slot is a state word and the exact key:
//!
//! ```text
//! state   epoch 39 bits │ claimed 1 bit │ count 24 bits
//! ```
//!
//! *Opening* reads the state, then the key, and counts with a compare-exchange of that same state. Giving a
//! slot to another destination changes the epoch **before** it changes the key, so whoever saw a word of a
//! newer key fails the exchange: nobody ever counts for somebody else. (A fetch-add that is undone would
//! for a moment count for the slot's new destination.) At the limit nothing is written: a flood against one
//! host costs its workers loads of a line they share.
//!
//! *Claiming* a free slot (count 0) is for one worker at a time in each set: its `claims` word is odd
//! meanwhile. It is taken by a compare-exchange of the value read before the set was searched, so if it
//! succeeds, no key has changed since, and no destination ever stands in two slots. Nobody waits for a
//! claim but whoever needs one in the same set, and that one gives up by name after [`ATTEMPTS`].
//!
//! *Closing* takes one off. A slot whose count is 0 keeps its key, so a destination that comes back is
//! counted in place; it is free for others all the same. A slot with a count cannot be claimed, so a number
//! kept by an open connection means the same destination until it is closed.
//!
//! Cost: 320 bytes a set; opening is one hash, one line for the set's head and its first slot, one more for
//! every two slots after it.

use std::net::IpAddr;

use siphasher::sip::SipHasher13;

use super::LimitRefusal;
use super::ground::{ATTEMPTS, AtomicU64, Ordering, WAYS, spin_loop};
use crate::wire::Vlans;

const COUNT: u64 = (1 << 24) - 1;
const CLAIMED: u64 = 1 << 24;
const EPOCH: u64 = 1 << 25;

/// Slot numbers are below [`HalfOpenSlot::NONE`].
const MOST_SETS: usize = 8_191;

/// Whom half-open connections are counted for: an address within its VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination([u64; 3]);

impl Destination {
    /// The destination with this address.
    #[must_use]
    pub fn of(address: IpAddr, vlans: Vlans) -> Self {
        let (address, v6) = match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), false),
            IpAddr::V6(v6) => (u128::from(v6), true),
        };
        let half = |half: u128| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0);
        // The top bit tells it from an empty slot's key.
        let rest = 1 << 63 | u64::from(vlans.outer) << 32 | u64::from(vlans.inner) << 8 | u64::from(v6);
        Self([half(address >> 64), half(address), rest])
    }

    fn hash(self, sip: &SipHasher13) -> u64 {
        let Self([high, low, rest]) = self;
        let mut block = [0; 24];
        for (to, word) in block.chunks_exact_mut(8).zip([high, low, rest]) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        sip.hash(&block)
    }
}

/// Where a half-open connection is counted; it is kept with the connection and closed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpenSlot(u16);

impl HalfOpenSlot {
    /// The number that stands for no slot.
    pub const NONE: u16 = u16::MAX;

    /// Its number, never [`Self::NONE`].
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The slot with a number that was kept.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        if number == Self::NONE { None } else { Some(Self(number)) }
    }
}

#[derive(Debug)]
struct Slot {
    state: AtomicU64,
    key: [AtomicU64; 3],
}

impl Slot {
    fn new() -> Self {
        Self { state: AtomicU64::new(0), key: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Acquire: whoever sees a word of a newer key sees the newer epoch afterwards.
    fn holds(&self, destination: &Destination) -> bool {
        self.key.iter().zip(&destination.0).all(|(word, want)| word.load(Ordering::Acquire) == *want)
    }

    /// Counts one more if the slot is the destination's.
    fn open(&self, destination: &Destination, limit: u64) -> Opening {
        let mut state = self.state.load(Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            if state & CLAIMED != 0 || !self.holds(destination) {
                return Opening::NotHere;
            }
            let seen = if state & COUNT < limit {
                let done =
                    self.state.compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Acquire);
                match done {
                    Ok(_) => return Opening::Done,
                    Err(seen) => seen,
                }
            } else {
                let seen = self.state.load(Ordering::Acquire);
                // The same epoch after the key was read: it was this destination that stood at its limit.
                if (seen ^ state) & !COUNT == 0 {
                    return Opening::AtLimit;
                }
                seen
            };
            state = seen;
        }
        Opening::Contended
    }

    /// Gives a free slot to a destination and counts one; only whoever holds the set's claim may.
    fn claim(&self, destination: &Destination) -> bool {
        let free = self.state.load(Ordering::Acquire);
        let next = (free & !(EPOCH - 1)).wrapping_add(EPOCH);
        let claimed = next | CLAIMED | 1;
        if free & (COUNT | CLAIMED) != 0
            || self.state.compare_exchange(free, claimed, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return false;
        }
        for (word, new) in self.key.iter().zip(&destination.0) {
            word.store(*new, Ordering::Release);
        }
        self.state.store(next | 1, Ordering::Release);
        true
    }

    fn is_free(&self) -> bool {
        self.state.load(Ordering::Relaxed) & (COUNT | CLAIMED) == 0
    }
}

enum Opening {
    Done,
    AtLimit,
    NotHere,
    Contended,
}

#[derive(Debug)]
#[repr(align(64))]
struct Set {
    /// Odd while a slot is being given to another destination.
    claims: AtomicU64,
    slots: [Slot; WAYS],
}

const _: () = assert!(WAYS != 8 || size_of::<AtomicU64>() != 8 || size_of::<Set>() == 320);

/// The half-open connections of all destinations behind and before one wire.
#[derive(Debug)]
pub struct HalfOpen {
    sets: Box<[Set]>,
    sip: SipHasher13,
}

impl HalfOpen {
    /// A table for about `destinations` at a time: sets of eight, at most 8 191 of them, all allocated now.
    #[must_use]
    pub fn new(destinations: usize, secret: (u64, u64)) -> Self {
        let sets = destinations.div_ceil(WAYS).clamp(1, MOST_SETS);
        let set = || Set { claims: AtomicU64::new(0), slots: std::array::from_fn(|_| Slot::new()) };
        Self {
            sets: std::iter::repeat_with(set).take(sets).collect(),
            sip: SipHasher13::new_with_keys(secret.0, secret.1),
        }
    }

    /// Counts a new half-open connection to `destination`, which may have `limit` of them (at most
    /// 16 777 215).
    ///
    /// # Errors
    /// [`LimitRefusal::HalfOpen`] at the limit, `HalfOpenTableFull`, `HalfOpenContended`; nothing is counted
    /// then.
    pub fn open(&self, destination: &Destination, limit: u32) -> Result<HalfOpenSlot, LimitRefusal> {
        let limit = u64::from(limit).min(COUNT);
        if limit == 0 {
            return Err(LimitRefusal::HalfOpen);
        }
        let hash = u128::from(destination.hash(&self.sip));
        // Multiply-shift: even for any number of sets.
        let at = usize::try_from((hash * self.sets.len() as u128) >> 64).unwrap_or(0);
        let set = self.sets.get(at).ok_or(LimitRefusal::HalfOpenTableFull)?;
        let number = |way: usize| {
            let number = u16::try_from(at * WAYS + way).map_err(|_| LimitRefusal::HalfOpenTableFull)?;
            HalfOpenSlot::from_number(number).ok_or(LimitRefusal::HalfOpenTableFull)
        };
        for _ in 0..ATTEMPTS {
            let claims = set.claims.load(Ordering::Acquire);
            for (way, slot) in set.slots.iter().enumerate() {
                match slot.open(destination, limit) {
                    Opening::Done => return number(way),
                    Opening::AtLimit => return Err(LimitRefusal::HalfOpen),
                    Opening::NotHere => {}
                    Opening::Contended => return Err(LimitRefusal::HalfOpenContended),
                }
            }
            if claims % 2 != 0 {
                spin_loop();
                continue;
            }
            let free = set.slots.iter().enumerate().find(|(_, slot)| slot.is_free());
            let Some((way, slot)) = free else {
                if set.claims.load(Ordering::Acquire) == claims {
                    return Err(LimitRefusal::HalfOpenTableFull);
                }
                continue;
            };
            let mine = set.claims.compare_exchange(
                claims,
                claims.wrapping_add(1),
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            if mine.is_err() {
                continue;
            }
            let done = slot.claim(destination);
            set.claims.store(claims.wrapping_add(2), Ordering::Release);
            if done {
                return number(way);
            }
        }
        Err(LimitRefusal::HalfOpenContended)
    }

    /// Counts a half-open connection that exists already, whatever the limit: after an attach.
    ///
    /// # Errors
    /// As [`HalfOpen::open`], but for the limit.
    pub fn adopt(&self, destination: &Destination) -> Result<HalfOpenSlot, LimitRefusal> {
        self.open(destination, u32::MAX)
    }

    /// A connection counted in this slot is not half-open any more. Whoever was given the slot calls it
    /// once; what is not counted can't be taken off, then it says false.
    pub fn close(&self, slot: HalfOpenSlot) -> bool {
        let Some(slot) = self.slot(slot) else { return false };
        let less = |state: u64| (state & COUNT != 0 && state & CLAIMED == 0).then(|| state - 1);
        slot.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok()
    }

    /// The half-open connections counted in this slot.
    #[must_use]
    pub fn count(&self, slot: HalfOpenSlot) -> u32 {
        let state = self.slot(slot).map_or(0, |slot| slot.state.load(Ordering::Relaxed));
        u32::try_from(state & COUNT).unwrap_or(u32::MAX)
    }

    /// Whether the destination of this slot has more than half of `limit`: its half-open connections then
    /// have less time.
    #[must_use]
    pub fn is_above_half(&self, slot: HalfOpenSlot, limit: u32) -> bool {
        u64::from(self.count(slot)) * 2 > u64::from(limit)
    }

    /// Half-open connections of all destinations; exact when nobody opens or closes meanwhile.
    #[must_use]
    pub fn total(&self) -> u64 {
        let slots = self.sets.iter().flat_map(|set| &set.slots);
        slots.map(|slot| slot.state.load(Ordering::Relaxed) & COUNT).sum()
    }

    fn slot(&self, slot: HalfOpenSlot) -> Option<&Slot> {
        let number = usize::from(slot.number());
        self.sets.get(number / WAYS)?.slots.get(number % WAYS)
    }
}
