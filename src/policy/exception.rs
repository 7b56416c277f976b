//! Exceptions: allows with a beginning and an end (POLICY.md §10).
//!
//! What it is: a record as the ledger hands it over, its workloads named one by one, and the set of all that
//! may ever be active, checked and bounded. What it is not: requests, decisions and their history are the
//! ledger's, and what an exception does is the table's (`exempt`). Invariant: whatever is in [`Exceptions`]
//! has a name of its own, both ends, services and a time to be active in, and stands in the order of names:
//! the order it came in means nothing.

use std::collections::{BTreeSet, HashMap};

use super::model::{Match, Selector, ServiceSet};
use super::verdict::Moment;

/// One exception: who may open what to whom, from when until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// `EXC-0042`.
    pub id: String,
    /// Who opens.
    pub from: Party,
    /// To whom.
    pub to: Party,
    /// On what; never `any`.
    pub services: ServiceSet,
    /// It holds in both directions: of protocols without ports, which have no client.
    pub both_ways: bool,
    /// Active from this moment on.
    pub start: Moment,
    /// No longer active from this moment on.
    pub end: Moment,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who asked for it.
    pub requester: Option<String>,
    /// Who approved it.
    pub approver: Option<String>,
    /// What it is for.
    pub reason: Option<String>,
    /// Change record.
    pub ticket: Option<String>,
}

/// One end of an exception: workloads by name, so that hosts added later are not let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Names; one that the inventory does not have is nobody's. Never empty.
    pub workloads: Vec<String>,
    /// Accounts of which the workload must hold its own; empty: none is asked for.
    pub accounts: Vec<String>,
}

impl Party {
    /// The same as a selector, for sentences.
    pub(super) fn selector(&self) -> Selector {
        let Self { workloads, accounts } = self;
        Selector::Match(Match { names: workloads.clone(), accounts: accounts.clone(), ..Match::default() })
    }

    fn sort(&mut self) {
        for list in [&mut self.workloads, &mut self.accounts] {
            list.sort_unstable();
            list.dedup();
        }
    }
}

impl Exception {
    /// What verdicts, events and reports call it: `exception EXC-0042`.
    #[must_use]
    pub fn full_id(&self) -> String {
        format!("exception {}", self.id)
    }

    /// Whether it is in force.
    #[must_use]
    pub fn is_active(&self, now: Moment) -> bool {
        self.start <= now && now < self.end
    }

    /// Its ends, as flows go: one way, or both.
    pub(super) fn ways(&self) -> impl Iterator<Item = (&Party, &Party)> {
        let back = self.both_ways.then_some((&self.to, &self.from));
        std::iter::once((&self.from, &self.to)).chain(back)
    }

    /// Pairs of names at its ends.
    fn pairs(&self) -> usize {
        let ways = if self.both_ways { 2 } else { 1 };
        self.from.workloads.len().saturating_mul(self.to.workloads.len()).saturating_mul(ways)
    }
}

/// Why a set of exceptions is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExceptions {
    /// Too many.
    #[error("{0} exceptions, and a table takes {most}: revoke those that nobody uses", most = Exceptions::MOST)]
    Many(usize),
    /// A name that is none.
    #[error("\"{0}\" can't be the id of an exception: write letters, digits and - . _, {most} at most", most = Exceptions::LONGEST_ID)]
    Id(String),
    /// A name twice.
    #[error("two exceptions are called {0}: give each its own id")]
    Twice(String),
    /// An end without a workload.
    #[error("exception {0} names no workload at one end: name them at both")]
    Nobody(String),
    /// An end with too many.
    #[error("exception {id} names {count} workloads at one end, and takes {most}: past that, write a rule", most = Exceptions::MOST_WORKLOADS)]
    Wide {
        /// Its name.
        id: String,
        /// Workloads at that end.
        count: usize,
    },
    /// Every service, or none.
    #[error("exception {0} is for any service or for none: name the services")]
    Services(String),
    /// It is never active.
    #[error("exception {0} ends before it begins")]
    Ends(String),
    /// Too many pairs of workloads.
    #[error("the exceptions name {0} pairs of workloads, and a table takes {most}: past that, write rules", most = Exceptions::MOST_PAIRS)]
    ManyPairs(usize),
    /// Too many between two workloads.
    #[error("{count} exceptions from {from} to {to}, and a table takes {most} between two workloads: past that, write a rule", most = Exceptions::MOST_OF_PAIR)]
    Crowded {
        /// Who opens.
        from: String,
        /// To whom.
        to: String,
        /// How many.
        count: usize,
    },
}

/// Every exception that may ever be active, in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// No exception.
    pub const NONE: Self = Self(Vec::new());
    /// Exceptions of one table.
    pub const MOST: usize = 4_096;
    /// Workloads at one end of an exception.
    pub const MOST_WORKLOADS: usize = 256;
    /// Pairs of workloads of all exceptions together, each direction by itself.
    pub const MOST_PAIRS: usize = 1 << 18;
    /// Exceptions from one workload to another: the cells' lists are no longer. Half the bits of a word, as
    /// one exception stands twice where its two directions ask for different accounts.
    pub const MOST_OF_PAIR: usize = 16;
    /// Bytes of an id.
    pub const LONGEST_ID: usize = 64;

    /// Checks a set. Their order does not matter.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(mut all: Vec<Exception>) -> Result<Self, Vec<NotExceptions>> {
        if all.len() > Self::MOST {
            return Err(vec![NotExceptions::Many(all.len())]);
        }
        for exception in &mut all {
            exception.from.sort();
            exception.to.sort();
        }
        all.sort_by(|one, other| one.id.cmp(&other.id));
        let mut wrong: Vec<NotExceptions> = all.iter().flat_map(faults).collect();
        let twice = all.windows(2).filter_map(|pair| match pair {
            [one, other] if one.id == other.id => Some(one.id.clone()),
            [..] => None,
        });
        let twice: BTreeSet<String> = twice.collect();
        wrong.extend(twice.into_iter().map(NotExceptions::Twice));
        let pairs = all.iter().map(Exception::pairs).fold(0, usize::saturating_add);
        if pairs > Self::MOST_PAIRS {
            wrong.push(NotExceptions::ManyPairs(pairs));
        } else {
            wrong.extend(crowded(&all));
        }
        if wrong.is_empty() { Ok(Self(all)) } else { Err(wrong) }
    }

    /// In the order of names.
    pub fn iter(&self) -> std::slice::Iter<'_, Exception> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// None at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Exceptions {
    type Item = &'a Exception;
    type IntoIter = std::slice::Iter<'a, Exception>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What is wrong with one of them by itself.
fn faults(exception: &Exception) -> Vec<NotExceptions> {
    let Exception { id, from, to, services, start, end, .. } = exception;
    let mut wrong = Vec::new();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if id.is_empty() || id.len() > Exceptions::LONGEST_ID || !id.bytes().all(plain) {
        wrong.push(NotExceptions::Id(id.chars().take(Exceptions::LONGEST_ID).collect()));
    }
    if from.workloads.is_empty() || to.workloads.is_empty() {
        wrong.push(NotExceptions::Nobody(id.clone()));
    }
    let wide = [from, to].map(|party| party.workloads.len()).into_iter().max().unwrap_or(0);
    if wide > Exceptions::MOST_WORKLOADS {
        wrong.push(NotExceptions::Wide { id: id.clone(), count: wide });
    }
    if services.any || services.atoms.is_empty() {
        wrong.push(NotExceptions::Services(id.clone()));
    }
    if end <= start {
        wrong.push(NotExceptions::Ends(id.clone()));
    }
    wrong
}

/// Pairs of workloads with too many exceptions between them. Not more than the largest set has pairs.
fn crowded(all: &[Exception]) -> Vec<NotExceptions> {
    let mut counts: HashMap<(&str, &str), (usize, usize)> = HashMap::new();
    for (number, exception) in all.iter().enumerate() {
        for (from, to) in exception.ways() {
            for (from, to) in from.workloads.iter().flat_map(|f| to.workloads.iter().map(move |t| (f, t))) {
                let (count, last) = counts.entry((from, to)).or_insert((0, usize::MAX));
                if *last != number {
                    (*count, *last) = (*count + 1, number);
                }
            }
        }
    }
    let over = counts.into_iter().filter(|(_, (count, _))| *count > Exceptions::MOST_OF_PAIR);
    let mut over: Vec<_> = over.map(|(ends, (count, _))| (ends, count)).collect();
    over.sort_unstable();
    // The first tells enough: the others are mostly of the same exceptions.
    let first = over.into_iter().take(1);
    let said = |((from, to), count): ((&str, &str), usize)| NotExceptions::Crowded {
        from: from.to_owned(),
        to: to.to_owned(),
        count,
    };
    first.map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::model::Atom;

    fn party(names: &[&str]) -> Party {
        Party { workloads: names.iter().map(|name| (*name).to_owned()).collect(), accounts: Vec::new() }
    }

    fn exception(id: &str) -> Exception {
        let atom = Atom { protocol: 6, to: (443, 443), from: (0, u16::MAX) };
        Exception {
            id: id.into(),
            from: party(&["b", "a", "b"]),
            to: party(&["c"]),
            services: ServiceSet { written: vec!["https".into()], any: false, atoms: vec![atom] },
            both_ways: false,
            start: Moment(10),
            end: Moment(20),
            owner: None,
            requester: None,
            approver: None,
            reason: None,
            ticket: None,
        }
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("w{n}")).collect()
    }

    #[test]
    fn their_order_means_nothing_nor_does_a_name_twice() {
        let (one, two) = (exception("EXC-1"), exception("EXC-2"));
        let set = Exceptions::new(vec![two.clone(), one.clone()]).unwrap();
        assert_eq!(Exceptions::new(vec![one, two]), Ok(set.clone()));
        let first = set.iter().next().unwrap();
        assert_eq!((set.len(), first.id.as_str()), (2, "EXC-1"));
        assert_eq!(first.from.workloads, ["a", "b"]);
        assert_eq!(Exceptions::new(Vec::new()), Ok(Exceptions::NONE));
    }

    #[test]
    fn what_is_no_exception_is_refused_by_name() {
        let with = |change: fn(&mut Exception)| {
            let mut changed = exception("EXC-1");
            change(&mut changed);
            Exceptions::new(vec![changed])
        };
        let id = || "EXC-1".to_owned();
        assert_eq!(with(|_| {}).map(|set| set.len()), Ok(1));
        assert_eq!(with(|e| e.id.clear()), Err(vec![NotExceptions::Id(String::new())]));
        assert_eq!(with(|e| e.id = "a b".into()), Err(vec![NotExceptions::Id("a b".into())]));
        let long = NotExceptions::Id("x".repeat(64));
        assert_eq!(with(|e| e.id = "x".repeat(65)), Err(vec![long]));
        assert_eq!(with(|e| e.from.workloads.clear()), Err(vec![NotExceptions::Nobody(id())]));
        assert_eq!(with(|e| e.to.workloads.clear()), Err(vec![NotExceptions::Nobody(id())]));
        assert_eq!(with(|e| e.services.any = true), Err(vec![NotExceptions::Services(id())]));
        assert_eq!(with(|e| e.services.atoms.clear()), Err(vec![NotExceptions::Services(id())]));
        assert_eq!(with(|e| e.end = e.start), Err(vec![NotExceptions::Ends(id())]));
        assert_eq!(with(|e| e.end = Moment(11)).map(|set| set.len()), Ok(1));
        // All at once.
        let both = with(|e| {
            e.end = Moment(0);
            e.to.workloads.clear();
        });
        assert_eq!(both, Err(vec![NotExceptions::Nobody(id()), NotExceptions::Ends(id())]));
        let twice = Exceptions::new(vec![exception("EXC-1"), exception("EXC-2"), exception("EXC-1")]);
        assert_eq!(twice, Err(vec![NotExceptions::Twice(id())]));
    }

    #[test]
    fn every_bound_has_a_name() {
        let many = |count: usize| (0..count).map(|n| exception(&format!("EXC-{n}"))).collect::<Vec<_>>();
        let spread = |count: usize| {
            let mut all = many(count);
            for (n, exception) in all.iter_mut().enumerate() {
                exception.from = party(&[&format!("f{n}")]);
            }
            Exceptions::new(all).map(|set| set.len())
        };
        assert_eq!(spread(Exceptions::MOST), Ok(Exceptions::MOST));
        let over = Exceptions::MOST + 1;
        assert_eq!(spread(over), Err(vec![NotExceptions::Many(over)]));

        let most = Exceptions::MOST_OF_PAIR;
        assert_eq!(Exceptions::new(many(most)).map(|set| set.len()), Ok(most));
        let crowded = NotExceptions::Crowded { from: "a".into(), to: "c".into(), count: most + 1 };
        assert_eq!(Exceptions::new(many(most + 1)), Err(vec![crowded]));
        // Both directions of one count once for a pair.
        let mut round = many(most);
        for exception in &mut round {
            exception.to = party(&["a", "b"]);
            exception.both_ways = true;
        }
        assert_eq!(Exceptions::new(round).map(|set| set.len()), Ok(most));

        let wide = |from: usize, to: usize, count: usize| {
            let mut all = many(count);
            for exception in &mut all {
                exception.from.workloads = names(from);
                exception.to.workloads = names(to);
            }
            Exceptions::new(all).map(|set| set.len())
        };
        let most = Exceptions::MOST_WORKLOADS;
        assert_eq!(wide(most, 1, 1), Ok(1));
        let id = "EXC-0".to_owned();
        assert_eq!(wide(1, most + 1, 1), Err(vec![NotExceptions::Wide { id, count: most + 1 }]));
        assert_eq!(wide(most, most, 4), Ok(4));
        assert_eq!(wide(most, most, 5), Err(vec![NotExceptions::ManyPairs(5 << 16)]));
    }
}
