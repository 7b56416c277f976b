//! Differences of pairs, put together.
//!
//! What it is: pairs that differ in one way, as rectangles: senders × receivers. What it is not: the smallest number of
//! them. Invariant: what finds no room is counted. Cost: each pair that differs is written down once, and the lists
//! of a sender are compared with those of others by their hashes.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::cross::{ENTRIES, Entry, Key, Kind};
use super::effect::Judged;
use super::numbers::at;
use crate::policy::hash::Quick;
use crate::policy::relevance::Numbered;

/// Differences put together.
#[derive(Default)]
pub(super) struct Found {
    /// Of the sender at hand: receivers by what differs.
    here: HashMap<Key, Vec<u32>, Quick>,
    /// Lists of receivers, each once.
    lists: Numbered<Rc<[u32]>>,
    all_lists: Vec<Rc<[u32]>>,
    /// Senders by what differs and with whom.
    all: HashMap<(Key, u32), Vec<u32>, Quick>,
    left_out: BTreeMap<Kind, u64>,
    /// How many are kept.
    kept: BTreeMap<Kind, usize>,
}

impl Found {
    /// Receivers that differ in this way from the sender at hand, none twice.
    pub(super) fn add(&mut self, key: Key, receivers: impl IntoIterator<Item = u32>) {
        self.here.entry(key).or_default().extend(receivers);
    }

    /// The sender's pairs are through.
    pub(super) fn close(&mut self, sender: u32, judged: &Judged<'_>) {
        for (key, mut receivers) in self.here.drain() {
            receivers.sort_unstable();
            let kind = at(&judged.effects, key.effects).map_or(Kind::Opens, Kind::of);
            let kept = self.kept.entry(kind).or_default();
            let known = self.lists.get(receivers.as_slice());
            if let Some(senders) = known.and_then(|list| self.all.get_mut(&(key, list))) {
                senders.push(sender);
            } else if *kept < ENTRIES {
                *kept += 1;
                let receivers: Rc<[u32]> = receivers.into();
                let (list, new) = self.lists.number(Rc::clone(&receivers));
                if new {
                    self.all_lists.push(receivers);
                }
                self.all.insert((key, list), vec![sender]);
            } else {
                *self.left_out.entry(kind).or_default() +=
                    u64::try_from(receivers.len()).unwrap_or(u64::MAX);
            }
        }
    }

    /// Joins what differs in the same way from the same senders.
    pub(super) fn finish(self) -> (Vec<Entry>, BTreeMap<Kind, u64>) {
        let mut joined: BTreeMap<(Key, Vec<u32>), Vec<u32>> = BTreeMap::new();
        for ((key, list), senders) in self.all {
            let receivers = at(&self.all_lists, list);
            let all = joined.entry((key, senders)).or_default();
            all.extend(receivers.into_iter().flat_map(|list| list.iter()));
        }
        let entries = joined.into_iter().map(|((key, senders), mut receivers)| {
            receivers.sort_unstable();
            receivers.dedup();
            Entry { key, senders: senders.into(), receivers: receivers.into() }
        });
        (entries.collect(), self.left_out)
    }
}
