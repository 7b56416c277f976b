//! Everybody there is in two policies, numbered; and sets of them in words.
//!
//! What it is: workloads in the order of their names, then what nobody claims; a [`Set`] is a bit for each.
//! What it is not: addresses; a workload is one, however many it has. Invariant: a label set stands for its workloads
//! only where all of them, of both policies, are meant. Cost: a bit a name for each set, and to tell one, one look at
//! each of its members; text is made of what is told only.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use super::numbers::{at, at_mut};
use super::words::{EndSet, Faces, Names, Who};
use crate::policy::model::{Labels, Match};
use crate::policy::words::name;

/// Parts of a set that its words tell.
const PARTS: usize = 5;

/// Some of everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Vec<u64>);

impl Set {
    fn insert(&mut self, number: u32) {
        if let Some(word) = at_mut(&mut self.0, number / u64::BITS) {
            *word |= 1 << (number % u64::BITS);
        }
    }

    /// Who is in it, rising.
    fn iter(&self) -> impl Iterator<Item = u32> + Clone {
        (0..).zip(&self.0).flat_map(|(place, word)| {
            let next = |left: &u64| Some(left & left.wrapping_sub(1)).filter(|left| *left != 0);
            let bits = std::iter::successors(Some(*word).filter(|word| *word != 0), next);
            bits.map(move |left| place * u64::BITS + left.trailing_zeros())
        })
    }

    /// Tells it from every other set of one roster.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for word in &self.0 {
            hasher.update(&word.to_le_bytes());
        }
        hasher.finalize().into()
    }
}

/// Everybody.
#[derive(Debug)]
pub(super) struct Roster<'a> {
    all: Vec<Who<'a>>,
    /// By index of an address.
    of: Vec<u32>,
    /// How many are workloads.
    workloads: u32,
    /// By workload: its label set.
    labels: Vec<u32>,
    /// In order, and how many workloads carry each.
    sets: Vec<(&'a Labels, usize)>,
}

impl<'a> Roster<'a> {
    pub(super) fn new(faces: &Faces<'a>, addresses: &[IpAddr]) -> Self {
        let who: Vec<Who<'a>> = addresses.iter().map(|address| faces.who(*address)).collect();
        let mut all = who.clone();
        all.sort_unstable();
        all.dedup();
        let numbers: HashMap<&Who<'a>, u32> = all.iter().zip(0..).collect();
        let of = who.iter().map(|who| numbers.get(who).copied().unwrap_or(u32::MAX)).collect();
        let sets: Vec<(&Labels, usize)> = faces.carried().collect();
        let numbers: HashMap<&Labels, u32> = sets.iter().map(|(labels, _)| *labels).zip(0..).collect();
        let claimed = all.iter().map_while(|who| match who {
            Who::Workload(name) => Some(*name),
            Who::Other(_) => None,
        });
        let number = |name| faces.labels(name).and_then(|labels| numbers.get(labels).copied());
        let labels: Vec<u32> = claimed.map(|name| number(name).unwrap_or(u32::MAX)).collect();
        let workloads = u32::try_from(labels.len()).unwrap_or(u32::MAX);
        Self { all, of, workloads, labels, sets }
    }

    /// Whether a workload has an address.
    pub(super) fn is_workload(&self, address: u32) -> bool {
        at(&self.of, address).is_some_and(|who| *who < self.workloads)
    }

    /// Those who have these addresses.
    pub(super) fn set<'m>(&self, addresses: impl IntoIterator<Item = &'m u32>) -> Set {
        let mut set = Set(vec![0; self.all.len().div_ceil(64)]);
        for who in addresses.into_iter().filter_map(|address| at(&self.of, *address)) {
            set.insert(*who);
        }
        set
    }

    /// A set in words; `all` is everybody who could be in it.
    pub(super) fn told(&self, set: &Set, all: &Set) -> EndSet {
        EndSet {
            text: if set == all { "anything".to_owned() } else { self.words(set, all) },
            workloads: Names::of(self.names(set)),
            others: Names::of(self.others(set)),
        }
    }

    /// The workloads of a set by number.
    fn claimed(&self, set: &Set) -> impl Iterator<Item = u32> + Clone {
        set.iter().take_while(|who| *who < self.workloads)
    }

    fn names(&self, set: &Set) -> impl Iterator<Item = &'a str> {
        self.claimed(set).filter_map(|who| match at(&self.all, who) {
            Some(Who::Workload(name)) => Some(*name),
            Some(Who::Other(_)) | None => None,
        })
    }

    fn others(&self, set: &Set) -> impl Iterator<Item = &str> + Clone {
        set.iter().skip_while(|who| *who < self.workloads).filter_map(|who| match at(&self.all, who) {
            Some(Who::Other(name)) => Some(name.as_str()),
            Some(Who::Workload(_)) | None => None,
        })
    }

    fn words(&self, set: &Set, all: &Set) -> String {
        let (count, everybody) = (self.claimed(set).count(), self.claimed(all).count());
        if count > 1 && count == everybody {
            let every = std::iter::once(format!("any workload [{everybody}]"));
            return listed(1 + self.others(set).count(), every.chain(self.others(set).map(str::to_owned)));
        }
        let mut counts = vec![0; self.sets.len()];
        for labels in self.claimed(set).filter_map(|who| at(&self.labels, who)) {
            if let Some(count) = at_mut(&mut counts, *labels) {
                *count += 1;
            }
        }
        let is_whole: Vec<bool> = self
            .sets
            .iter()
            .zip(&counts)
            .map(|((labels, carried), count)| count == carried && *count > 1 && !labels.is_empty())
            .collect();
        let mut whole: Vec<(&Labels, usize)> =
            self.sets.iter().zip(&is_whole).filter(|(_, whole)| **whole).map(|(set, _)| *set).collect();
        whole.sort_by_key(|(_, count)| Reverse(*count));
        let told: usize = whole.iter().map(|(_, count)| *count).sum();
        let single = self.claimed(set).filter(|who| {
            let labels = at(&self.labels, *who);
            !labels.and_then(|labels| at(&is_whole, *labels)).copied().unwrap_or(false)
        });
        let single = single.filter_map(|who| match at(&self.all, who) {
            Some(Who::Workload(workload)) => Some(name(workload)),
            Some(Who::Other(_)) | None => None,
        });
        let parts = whole.len() + (count - told) + self.others(set).count();
        let whole = whole.iter().map(|(labels, count)| {
            let labels = labels.iter().map(|(key, value)| (key.clone(), vec![value.clone()])).collect();
            format!("{} [{count}]", Match { labels, ..Match::default() }.words())
        });
        listed(parts, whole.chain(single).chain(self.others(set).map(str::to_owned)))
    }
}

/// The first of so many parts; one alone is not left out.
fn listed(count: usize, parts: impl Iterator<Item = String>) -> String {
    let shown = if count == PARTS + 1 { count } else { count.min(PARTS) };
    let listed = parts.take(shown).collect::<Vec<_>>().join(", ");
    if shown == count { listed } else { format!("{listed} and {} more", count - shown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_who_was_put_into_it_and_another_digest_than_others() {
        let mut set = Set(vec![0; 3]);
        let numbers = [0, 1, 63, 64, 100, 127, 128, 191];
        let mut digests = vec![set.digest()];
        for number in numbers.into_iter().rev() {
            set.insert(number);
            set.insert(number);
            digests.push(set.digest());
        }
        // What has no place is in no set.
        set.insert(192);
        assert_eq!(set.iter().collect::<Vec<_>>(), numbers);
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 1 + numbers.len());
    }

    #[test]
    fn one_part_more_than_are_told_is_told_and_two_are_counted() {
        let parts = |count: usize| listed(count, (0..count).map(|part| part.to_string()));
        assert_eq!(parts(0), "");
        assert_eq!(parts(5), "0, 1, 2, 3, 4");
        assert_eq!(parts(6), "0, 1, 2, 3, 4, 5");
        assert_eq!(parts(7), "0, 1, 2, 3, 4 and 2 more");
    }
}
