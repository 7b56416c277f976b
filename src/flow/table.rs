//! The first flow table: exact 5-tuple and tags, both directions in one entry, bounded.
//!
//! A map from key to slot over a slab of entries. The map is made for twice the flows it will ever
//! hold, so that hashbrown always cleans its tombstones in place and never allocates again. Random
//! SipHash keys: nobody outside can aim collisions. Cost: one hash and two cache misses a lookup.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::hash::KeyHash;
use super::{Entry, Refusal};
use crate::policy::Moment;
use crate::wire::Key;

/// Place of a flow in its table, valid until that flow is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId(u32);

/// The connections of one worker.
#[derive(Debug)]
pub struct FlowTable {
    index: HashMap<Key, u32, KeyHash>,
    slots: Vec<Option<(Key, Entry)>>,
    free: Vec<u32>,
    hand: usize,
}

impl FlowTable {
    /// A table for at most `capacity` flows; all its memory is taken now.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        let places = usize::try_from(capacity).unwrap_or(usize::MAX);
        // The standard library's random state is where the process's randomness comes from.
        let random = RandomState::new();
        let hash = KeyHash::new((random.hash_one(0_u8), random.hash_one(1_u8)));
        Self {
            index: HashMap::with_capacity_and_hasher(places.saturating_mul(2), hash),
            slots: std::iter::repeat_with(|| None).take(places).collect(),
            free: (0..capacity).rev().collect(),
            hand: 0,
        }
    }

    /// Live flows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// No flow at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Flows it can hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The live flow with this key. One that has ended is removed and not found.
    pub fn find(&mut self, key: &Key, now: Moment) -> Option<FlowId> {
        let id = FlowId(*self.index.get(key)?);
        if self.entry(id)?.has_ended(now) {
            self.remove(id);
            return None;
        }
        Some(id)
    }

    /// What is remembered of a flow.
    #[must_use]
    pub fn entry(&self, id: FlowId) -> Option<&Entry> {
        self.slots.get(usize::try_from(id.0).ok()?)?.as_ref().map(|(_, entry)| entry)
    }

    /// The same, to change it.
    pub fn entry_mut(&mut self, id: FlowId) -> Option<&mut Entry> {
        self.slots.get_mut(usize::try_from(id.0).ok()?)?.as_mut().map(|(_, entry)| entry)
    }

    /// Remembers a flow; one with the same key is replaced.
    ///
    /// # Errors
    /// [`Refusal::TableFull`].
    pub fn insert(&mut self, key: Key, entry: Entry) -> Result<FlowId, Refusal> {
        if let Some(slot) = self.index.get(&key) {
            let id = FlowId(*slot);
            if let Some(old) = self.entry_mut(id) {
                *old = entry;
            }
            return Ok(id);
        }
        let slot = self.free.pop().ok_or(Refusal::TableFull)?;
        let place = usize::try_from(slot).ok().and_then(|s| self.slots.get_mut(s));
        let Some(place) = place else { return Err(Refusal::TableFull) };
        *place = Some((key, entry));
        self.index.insert(key, slot);
        Ok(FlowId(slot))
    }

    /// Forgets a flow.
    pub fn remove(&mut self, id: FlowId) {
        let place = usize::try_from(id.0).ok().and_then(|s| self.slots.get_mut(s));
        if let Some((key, _)) = place.and_then(Option::take) {
            self.index.remove(&key);
            self.free.push(id.0);
        }
    }

    /// Moves the clock hand over at most `slots` slots and removes what has ended.
    pub fn sweep(&mut self, now: Moment, slots: usize) {
        for _ in 0..slots.min(self.slots.len()) {
            let here = self.hand;
            self.hand = if here + 1 == self.slots.len() { 0 } else { here + 1 };
            let ended =
                self.slots.get(here).and_then(Option::as_ref).is_some_and(|(_, e)| e.has_ended(now));
            if ended && let Ok(slot) = u32::try_from(here) {
                self.remove(FlowId(slot));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::flow::Phase;
    use crate::policy::{Mode, RuleNumber, Verdict};
    use crate::wire::{Fragment, Ip, L4, Mac, Service, Side, Tcp, TcpFlags, Vlans};

    fn key(n: u16) -> Key {
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        Key::new(a, b, n, 443, 6, Vlans::UNTAGGED).0
    }

    fn entry(protocol: u8, now: u64) -> Entry {
        let verdict = Verdict {
            denial: None,
            mode: Mode::Enforce,
            rule: RuleNumber::NONE,
            also: [RuleNumber::NONE; 4],
            judge_at: Moment::NEVER,
        };
        let service = Service { protocol, sport: 1, dport: 2, readable: true };
        Entry::new(verdict, 1, true, Side::Outside, Mac::default(), service, Moment(now))
    }

    fn segment(flags: u8) -> Ip {
        Ip {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: 6,
            hop_limit: 64,
            fragment: Fragment::Whole,
            l4: L4::Tcp(Tcp {
                sport: 1,
                dport: 2,
                seq: 0,
                ack: 0,
                flags: TcpFlags(flags),
                window: 0,
                payload: 0,
                scale: None,
            }),
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u16),
        Find(u16),
        Remove(u16),
        Pass(u64),
        Sweep(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..40u16).prop_map(Step::Insert),
            4 => (0..40u16).prop_map(Step::Find),
            2 => (0..40u16).prop_map(Step::Remove),
            1 => (0..40_000_000_000u64).prop_map(Step::Pass),
            1 => (0..40usize).prop_map(Step::Sweep),
        ]
    }

    proptest! {
        /// The table is a bounded map with a time limit: a plain map says the same after any steps.
        #[test]
        fn agrees_with_a_plain_map(steps in proptest::collection::vec(step(), 0..400)) {
            let mut table = FlowTable::new(24);
            let mut model: HashMap<u16, u64> = HashMap::new();
            let mut now = 0u64;
            for step in steps {
                match step {
                    Step::Pass(nanos) => now += nanos,
                    Step::Sweep(slots) => table.sweep(Moment(now), slots),
                    Step::Insert(n) => {
                        let room = table.len() < 24 || table.index.contains_key(&key(n));
                        let done = table.insert(key(n), entry(6, now));
                        prop_assert_eq!(done.is_ok(), room);
                        if room { model.insert(n, now); }
                    }
                    Step::Find(n) => {
                        let alive = model.get(&n).is_some_and(|born| now <= born + 30_000_000_000);
                        let found = table.find(&key(n), Moment(now));
                        prop_assert_eq!(found.is_some(), alive);
                        if let Some(id) = found {
                            prop_assert_eq!(table.entry(id).unwrap().started, Moment(model[&n]));
                        } else { model.remove(&n); }
                    }
                    Step::Remove(n) => {
                        if let Some(id) = table.find(&key(n), Moment(now)) { table.remove(id); }
                        model.remove(&n);
                    }
                }
                prop_assert_eq!(table.len() + table.free.len(), 24);
            }
            // A whole turn of the hand leaves exactly what is alive.
            table.sweep(Moment(now), 24);
            let alive = model.values().filter(|born| now <= **born + 30_000_000_000).count();
            prop_assert_eq!(table.len(), alive);
        }
    }

    #[test]
    fn a_full_table_refuses_and_keeps_what_it_has() {
        let mut table = FlowTable::new(2);
        assert!(table.insert(key(1), entry(6, 0)).is_ok());
        assert!(table.insert(key(2), entry(6, 0)).is_ok());
        assert_eq!(table.insert(key(3), entry(6, 0)), Err(Refusal::TableFull));
        assert!(table.insert(key(2), entry(6, 5)).is_ok(), "a known key needs no new place");
        assert_eq!(table.len(), 2);
        assert!(table.find(&key(1), Moment(6)).is_some());
    }

    #[test]
    fn churn_never_grows_the_index() {
        let mut table = FlowTable::new(64);
        let before = table.index.capacity();
        for n in 0..60_000u16 {
            table.insert(key(n), entry(6, 0)).unwrap();
            if n >= 63 {
                let old = table.find(&key(n - 63), Moment(0)).unwrap();
                table.remove(old);
            }
        }
        // What it can hold without growing falls by the tombstones not yet cleaned, and never rises.
        assert!(table.index.capacity() <= before, "{} > {before}", table.index.capacity());
    }

    #[test]
    fn a_closed_connection_ends_within_a_second_whatever_comes() {
        let mut flow = entry(6, 0);
        flow.advance(&segment(TcpFlags::SYN), true, 60, Moment(0));
        assert_eq!(flow.phase, Phase::Opening);
        flow.advance(&segment(TcpFlags::SYN | TcpFlags::ACK), false, 60, Moment(1));
        assert_eq!(flow.phase, Phase::Open);
        flow.advance(&segment(TcpFlags::FIN | TcpFlags::ACK), true, 60, Moment(2));
        assert_eq!(flow.phase, Phase::Open);
        flow.advance(&segment(TcpFlags::FIN | TcpFlags::ACK), false, 60, Moment(3));
        assert_eq!(flow.phase, Phase::Closing);
        flow.advance(&segment(TcpFlags::ACK), true, 60, Moment(900_000_000));
        assert!(!flow.has_ended(Moment(1_000_000_003)));
        assert!(flow.has_ended(Moment(1_000_000_004)));
        assert!(flow.is_succeeded_by(&segment(TcpFlags::SYN)));
        assert!(!flow.is_succeeded_by(&segment(TcpFlags::SYN | TcpFlags::ACK)));
        assert_eq!((flow.packets, flow.bytes), ([3, 2], [180, 120]));
    }

    #[test]
    fn a_reset_closes() {
        let mut flow = entry(6, 0);
        flow.advance(&segment(TcpFlags::SYN), true, 60, Moment(0));
        flow.advance(&segment(TcpFlags::RST | TcpFlags::ACK), false, 60, Moment(1));
        assert_eq!(flow.phase, Phase::Closing);
    }

    #[test]
    fn timeouts_follow_protocol_and_phase() {
        let mut udp = entry(17, 0);
        assert_eq!(udp.timeout(), 60 * 1_000_000_000);
        udp.phase = Phase::Open;
        assert_eq!(udp.timeout(), 180 * 1_000_000_000);
        assert_eq!(entry(1, 0).timeout(), 10 * 1_000_000_000);
        assert_eq!(entry(58, 0).timeout(), 10 * 1_000_000_000);
        assert_eq!(entry(47, 0).timeout(), 60 * 1_000_000_000);
    }

    #[test]
    fn a_flow_knows_where_both_ends_live() {
        let flow = entry(6, 0);
        assert_eq!(flow.side_of(true), Side::Outside);
        assert_eq!(flow.side_of(false), Side::Inside);
    }
}
