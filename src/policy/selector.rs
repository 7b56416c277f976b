//! Whether a selector matches an address (POLICY.md §2, §3).
//!
//! What it is: the one reading of [`Selector`] that the compiler, `explain` and the sentences share; the
//! oracle has its own. What it is not: it knows no rule, tier or zone mode.
//!
//! A selector is read in one of three ways, because what helps an address is held to more than what
//! restricts it. Denies, guardrails and zones read *by address*: an account counts whether it is held or
//! not, and unknown addresses match where the keys do. Allows read *granted*: an account must be held, and
//! unknown matches only where `unknown = true` is written. `except` turns the reading round: an address
//! leaves a deny or guardrail only by what it could also be granted by, so neither an account that is not
//! held nor a label inherited by an unknown address takes it out. A *lapsed* binding restricts as before
//! and grants nothing: no allow matches it, and neither `except` nor `not` takes it out by a label of its own.
//!
//! `same` and `differs` are of a pair, not of an address: an end matches whatever they say, and
//! [`Selector::joins`] tells whether two ends that match belong together. A pair leaves `differs` only by what
//! an allow could grant it: labels that agree, of claims that have not lapsed.

use super::model::{Labels, Match, Selector};

/// How a selector is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Reading {
    /// What restricts: denies, guardrails, zones.
    ByAddress,
    /// What helps: allows.
    Granted,
    /// What would help if every declared account were held.
    Assumed,
}

/// One address as a selector sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// Name of the workload that claims it; `None`: unknown.
    pub(super) workload: Option<&'a str>,
    /// The account its workload declares.
    pub(super) account: Option<&'a str>,
    /// Whether that account is held.
    pub(super) held: bool,
    /// Its labels, inherited ones included.
    pub(super) labels: &'a Labels,
    /// Its networks.
    pub(super) networks: &'a [&'a str],
    /// Its zones.
    pub(super) zones: &'a [&'a str],
    /// The group that lists it, if it is a multicast or broadcast destination.
    pub(super) group: Option<&'a str>,
    /// Its workload's own labels, if the binding has lapsed.
    pub(super) lapsed: Option<&'a Labels>,
}

impl Subject<'_> {
    /// Neither a workload nor a group has it.
    pub(super) const fn is_unknown(&self) -> bool {
        self.workload.is_none() && self.group.is_none()
    }

    /// What could grant it something: a claim that has not lapsed.
    fn is_claimed_now(&self) -> bool {
        self.workload.is_some() && self.lapsed.is_none()
    }
}

/// What `same` and `differs` look at of one end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried<'a> {
    labels: &'a Labels,
    /// A workload claims it, and the binding has not lapsed.
    granted: bool,
}

impl<'a> Subject<'a> {
    /// What `same` and `differs` look at.
    pub(super) fn carried(&self) -> Carried<'a> {
        Carried { labels: self.labels, granted: self.is_claimed_now() }
    }
}

impl Carried<'_> {
    /// What tells this end from others, for these keys.
    pub(super) fn kind<'k>(&self, keys: impl IntoIterator<Item = &'k String>) -> Kind {
        let values = keys.into_iter().map(|key| self.labels.get(key).cloned()).collect();
        Kind { values, granted: self.granted }
    }
}

/// An end as some `same` and `differs` see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Kind {
    values: Vec<Option<String>>,
    granted: bool,
}

impl Selector {
    /// Whether two ends that match belong together as `to` says, where this is a rule's `to`. Of the two it
    /// does not matter which one opens.
    pub(super) fn joins(&self, one: Carried<'_>, other: Carried<'_>) -> bool {
        match self {
            Self::Match(keys) => keys.joins(one, other),
            Self::Any | Self::Except(_) => true,
        }
    }

    /// Label keys that [`Self::joins`] looks at.
    pub(super) fn joined(&self) -> impl Iterator<Item = &String> {
        self.parts().iter().flat_map(|keys| keys.same.iter().chain(&keys.differs))
    }

    /// Whether the selector matches.
    pub(super) fn matches(&self, subject: &Subject<'_>, reading: Reading) -> bool {
        match self {
            Self::Any => match reading {
                Reading::ByAddress => subject.workload.is_some(),
                Reading::Granted | Reading::Assumed => subject.is_claimed_now(),
            },
            Self::Match(keys) => keys.matches(subject, reading),
            Self::Except(list) => match reading {
                Reading::ByAddress => !list.iter().any(|m| m.matches(subject, Reading::Granted)),
                // The reader refuses `except` in an allow; read narrowly all the same.
                Reading::Granted | Reading::Assumed => {
                    subject.is_claimed_now() && !list.iter().any(|m| m.matches(subject, Reading::ByAddress))
                }
            },
        }
    }

    /// The matches it is made of.
    pub(super) fn parts(&self) -> &[Match] {
        match self {
            Self::Any => &[],
            Self::Match(keys) => std::slice::from_ref(keys),
            Self::Except(list) => list,
        }
    }
}

impl Match {
    /// No key at all: the reader refuses it, and it matches nothing.
    pub(super) fn is_empty(&self) -> bool {
        let Self { labels, not, names, zones, networks, groups, accounts, unknown, same, differs } = self;
        labels.is_empty()
            && not.is_empty()
            && names.is_empty()
            && zones.is_empty()
            && networks.is_empty()
            && groups.is_empty()
            && accounts.is_empty()
            && !unknown
            && same.is_empty()
            && differs.is_empty()
    }

    fn joins(&self, one: Carried<'_>, other: Carried<'_>) -> bool {
        let agree = |keys: &[String]| {
            keys.iter()
                .all(|key| one.labels.get(key).is_some_and(|value| other.labels.get(key) == Some(value)))
        };
        let apart = || !(one.granted && other.granted && agree(&self.differs));
        (self.same.is_empty() || agree(&self.same)) && (self.differs.is_empty() || apart())
    }

    fn matches(&self, subject: &Subject<'_>, reading: Reading) -> bool {
        !self.is_empty()
            && self.knows(subject, reading)
            && self.is_open_to(subject, reading)
            && self.holds(subject, reading)
            && self
                .labels
                .iter()
                .all(|(key, values)| subject.labels.get(key).is_some_and(|value| values.contains(value)))
            && self.not.iter().all(|(key, values)| {
                // Of what restricts only: an account held takes a fresh binding, whose labels count.
                let lapsed = matches!(reading, Reading::ByAddress)
                    && subject.lapsed.is_some_and(|own| own.contains_key(key));
                subject.labels.get(key).is_some_and(|value| lapsed || !values.contains(value))
            })
            && (self.names.is_empty()
                || subject.workload.is_some_and(|name| self.names.iter().any(|n| n == name)))
            && any_of(&self.zones, subject.zones)
            && any_of(&self.networks, subject.networks)
            && any_of(&self.groups, subject.group.as_slice())
    }

    /// The key `unknown`. A group is granted something by its name only: it is touched by zones and member
    /// of none.
    pub(super) fn knows(&self, subject: &Subject<'_>, reading: Reading) -> bool {
        match reading {
            Reading::ByAddress => !self.unknown || subject.is_unknown(),
            Reading::Granted | Reading::Assumed if subject.group.is_some() => !self.groups.is_empty(),
            Reading::Granted | Reading::Assumed => self.unknown == subject.is_unknown(),
        }
    }

    /// Whether a binding as fresh as the subject's can be granted this. An account is held by a fresh one
    /// only, so an allow that names one would match if it were held.
    pub(super) fn is_open_to(&self, subject: &Subject<'_>, reading: Reading) -> bool {
        match reading {
            Reading::ByAddress => true,
            Reading::Granted => subject.lapsed.is_none(),
            Reading::Assumed => subject.lapsed.is_none() || !self.accounts.is_empty(),
        }
    }

    /// The key `service_account`.
    pub(super) fn holds(&self, subject: &Subject<'_>, reading: Reading) -> bool {
        self.accounts.is_empty()
            || (subject.account.is_some_and(|account| self.accounts.iter().any(|a| a == account))
                && (subject.held || reading != Reading::Granted))
    }
}

/// A list of names: not written, or one of them is the address's.
pub(super) fn any_of(wanted: &[String], have: &[&str]) -> bool {
    wanted.is_empty() || wanted.iter().any(|w| have.contains(&w.as_str()))
}
