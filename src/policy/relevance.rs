//! What selectors look at: everything else tells no two addresses apart.
//!
//! What it is: the label values, names, networks and accounts that some selector writes. A label that no
//! selector names makes no identity of its own, nor does a value: all values that nobody names are one.
//! What it is not: an answer. Invariant: two addresses that it reduces to the same are matched by the same
//! selectors, in every reading.

use std::collections::{HashMap, HashSet};

use super::hash::Quick;
use super::model::{Labels, Model, Selector};

/// A value that no selector names.
const OTHER: u32 = u32::MAX;

/// What some selectors look at.
#[derive(Debug, Default)]
pub(super) struct Relevance<'a> {
    /// Key → its number, and the numbers of its values.
    labels: HashMap<&'a str, (u32, HashMap<&'a str, u32>)>,
    /// Keys that `same` or `differs` compares: each value counts.
    compared: HashSet<&'a str>,
    /// Keys under `not`: whether a lapsed label was the workload's own counts for them.
    refused: HashSet<&'a str>,
    names: HashSet<&'a str>,
    networks: HashSet<&'a str>,
    accounts: HashSet<&'a str>,
}

impl<'a> Relevance<'a> {
    /// Of these selectors.
    pub(super) fn of(selectors: impl IntoIterator<Item = &'a Selector>) -> Self {
        let mut relevance = Self::default();
        for keys in selectors.into_iter().flat_map(Selector::parts) {
            for (key, values) in keys.labels.iter().chain(&keys.not) {
                let next = number(relevance.labels.len());
                let (_, known) = relevance.labels.entry(key).or_insert_with(|| (next, HashMap::new()));
                for value in values {
                    let next = number(known.len());
                    known.entry(value).or_insert(next);
                }
            }
            for key in keys.same.iter().chain(&keys.differs) {
                let next = number(relevance.labels.len());
                relevance.labels.entry(key).or_insert_with(|| (next, HashMap::new()));
                relevance.compared.insert(key);
            }
            relevance.refused.extend(keys.not.keys().map(String::as_str));
            relevance.names.extend(keys.names.iter().map(String::as_str));
            relevance.networks.extend(keys.networks.iter().map(String::as_str));
            relevance.accounts.extend(keys.accounts.iter().map(String::as_str));
        }
        relevance
    }

    /// Learns all values there are of the keys that are compared.
    pub(super) fn compare(&mut self, sets: &'a [Labels]) {
        if self.compared.is_empty() {
            return;
        }
        for (key, value) in sets.iter().flatten().filter(|(key, _)| self.compared.contains(key.as_str())) {
            if let Some((_, known)) = self.labels.get_mut(key.as_str()) {
                let next = number(known.len());
                known.entry(value).or_insert(next);
            }
        }
    }

    /// What of a set of labels counts: key and value.
    pub(super) fn labels(&self, labels: &Labels) -> Vec<(u32, u32)> {
        let known = labels.iter().filter_map(|(key, value)| {
            let (key, values) = self.labels.get(key.as_str())?;
            Some((*key, values.get(value.as_str()).copied().unwrap_or(OTHER)))
        });
        known.collect()
    }

    /// Keys of a workload's own labels that count once its binding has lapsed.
    pub(super) fn lapsed(&self, own: &'a Labels) -> Vec<&'a str> {
        own.keys().map(String::as_str).filter(|key| self.refused.contains(key)).collect()
    }

    pub(super) fn names(&self, workload: &str) -> bool {
        self.names.contains(workload)
    }

    pub(super) fn account<'n>(&self, account: Option<&'n str>) -> Option<&'n str> {
        account.filter(|account| self.accounts.contains(account))
    }

    /// Of a list of networks, those that are named.
    pub(super) fn networks(&self, model: &Model, networks: &[usize]) -> Vec<usize> {
        let named =
            |n: &&usize| model.networks.get(**n).is_some_and(|n| self.networks.contains(n.name.as_str()));
        networks.iter().filter(named).copied().collect()
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(OTHER)
}

/// Numbers given to keys in the order of their first use.
#[derive(Debug)]
pub(super) struct Numbered<K>(HashMap<K, u32, Quick>);

impl<K> Default for Numbered<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: std::hash::Hash + Eq> Numbered<K> {
    /// The key's number, and whether it is new.
    pub(super) fn number(&mut self, key: K) -> (u32, bool) {
        let next = number(self.0.len());
        let number = *self.0.entry(key).or_insert(next);
        (number, number == next)
    }

    /// The number of a key that has one.
    pub(super) fn get<Q: std::hash::Hash + Eq + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(key).copied()
    }
}
