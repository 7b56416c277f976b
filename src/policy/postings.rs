//! Who may match a selector, without asking everybody.
//!
//! What it is: for every value that a selector can name, those that have it, so that a selector of one
//! application is asked of that application's few and not of all. What it is not: an answer; what a selector
//! means is [`Selector::matches`]. Invariant: nobody who matches in any reading is left out: every key of a
//! selector must be met in every reading, so those that meet one of them are enough. Cost: one list entry for
//! each value of each subject; a selector costs its rarest key.

use std::borrow::Cow;
use std::collections::HashMap;

use super::model::{Match, Selector};
use super::selector::Subject;

/// Numbers of subjects, rising.
type Numbers = Vec<u32>;
type Named<'a> = HashMap<&'a str, Numbers>;

/// Subjects by what they have.
#[derive(Debug, Default)]
pub(super) struct Postings<'a> {
    /// By key: all that carry it, and by value.
    labels: HashMap<&'a str, (Numbers, Named<'a>)>,
    names: Named<'a>,
    zones: Named<'a>,
    networks: Named<'a>,
    groups: Named<'a>,
    accounts: Named<'a>,
    claimed: Numbers,
    unknown: Numbers,
    all: Numbers,
}

impl<'a> Postings<'a> {
    /// Of subjects numbered in their order.
    pub(super) fn of(subjects: impl IntoIterator<Item = Subject<'a>>) -> Self {
        let mut postings = Self::default();
        for (number, subject) in (0..).zip(subjects) {
            postings.add(number, &subject);
        }
        postings
    }

    fn add(&mut self, number: u32, subject: &Subject<'a>) {
        self.all.push(number);
        for (key, value) in subject.labels {
            let (all, by_value) = self.labels.entry(key).or_default();
            all.push(number);
            by_value.entry(value).or_default().push(number);
        }
        let add = |to: &mut Named<'a>, names: &[&'a str]| {
            for name in names {
                to.entry(name).or_default().push(number);
            }
        };
        add(&mut self.names, subject.workload.as_slice());
        add(&mut self.zones, subject.zones);
        add(&mut self.networks, subject.networks);
        add(&mut self.groups, subject.group.as_slice());
        add(&mut self.accounts, subject.account.as_slice());
        if subject.workload.is_some() {
            self.claimed.push(number);
        }
        if subject.is_unknown() {
            self.unknown.push(number);
        }
    }

    /// All who may match, rising.
    pub(super) fn candidates(&self, selector: &Selector) -> Cow<'_, [u32]> {
        match selector {
            Selector::Any => Cow::Borrowed(&self.claimed),
            Selector::Except(_) => Cow::Borrowed(&self.all),
            Selector::Match(keys) => self.meeting(keys),
        }
    }

    /// Those who meet the rarest key.
    fn meeting<'s>(&'s self, keys: &Match) -> Cow<'s, [u32]> {
        let mut rarest: Option<(usize, Vec<&'s Numbers>)> = None;
        let mut look = |lists: Vec<&'s Numbers>| {
            let count = lists.iter().map(|list| list.len()).sum();
            if rarest.as_ref().is_none_or(|(least, _)| count < *least) {
                rarest = Some((count, lists));
            }
        };
        for (key, values) in &keys.labels {
            let by_value = self.labels.get(key.as_str()).map(|(_, by_value)| by_value);
            let here = |value: &String| by_value.and_then(|lists| lists.get(value.as_str()));
            look(values.iter().filter_map(here).collect());
        }
        for key in keys.not.keys() {
            look(self.labels.get(key.as_str()).map(|(all, _)| all).into_iter().collect());
        }
        for (wanted, have) in [
            (&keys.names, &self.names),
            (&keys.zones, &self.zones),
            (&keys.networks, &self.networks),
            (&keys.groups, &self.groups),
            (&keys.accounts, &self.accounts),
        ] {
            if !wanted.is_empty() {
                look(wanted.iter().filter_map(|name| have.get(name.as_str())).collect());
            }
        }
        if keys.unknown {
            look(vec![&self.unknown]);
        }
        match rarest {
            None => Cow::Borrowed(&self.all),
            Some((_, lists)) => {
                if let [one] = lists.as_slice() {
                    return Cow::Borrowed(one);
                }
                let mut all: Numbers = lists.into_iter().flatten().copied().collect();
                all.sort_unstable();
                all.dedup();
                Cow::Owned(all)
            }
        }
    }
}
