//! What the numbers and addresses of an event are called.
//!
//! Rule numbers mean something only with their generation, so the latest [`Names::GENERATIONS`]
//! generations are kept. Cost: readers pay one lookup an address; the packet path nothing.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::gateway::Policy;
use crate::policy::RuleNumber;
use crate::policy::table::{Place, RuleFace};

/// The names of the latest generations.
#[derive(Debug, Default)]
pub struct Names {
    generations: Mutex<VecDeque<Arc<Policy>>>,
}

/// The names of one generation.
#[derive(Clone, Debug)]
pub struct Generation(Arc<Policy>);

impl Names {
    /// Generations kept: the one in force and the one before it.
    pub const GENERATIONS: usize = 2;

    /// Takes in a generation, if it is new.
    pub fn learn(&self, policy: &Arc<Policy>) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever comes late with an older one than the latest finds its place among them, or none.
        let after = generations.partition_point(|known| known.generation < policy.generation);
        if generations.get(after).is_some_and(|known| known.generation == policy.generation) {
            return;
        }
        generations.insert(after, Arc::clone(policy));
        if generations.len() > Self::GENERATIONS {
            generations.pop_front();
        }
    }

    /// The names of a generation, if they are still kept.
    #[must_use]
    pub fn of(&self, generation: u32) -> Option<Generation> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.iter().rev().find(|policy| policy.generation == generation).cloned().map(Generation)
    }
}

impl Generation {
    /// The workload with the most specific claim to an address.
    #[must_use]
    pub fn workload(&self, address: IpAddr) -> Option<&str> {
        self.locate(address).workload
    }

    /// What it knows of an address.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Place<'_> {
        self.0.table.locate(address)
    }

    /// A rule by its number.
    #[must_use]
    pub fn rule(&self, number: RuleNumber) -> Option<&RuleFace> {
        self.0.table.rule(number)
    }

    /// Where a rule stands: `rules/payments.toml:1`; of an exception, until when.
    #[must_use]
    pub fn place(&self, rule: &RuleFace) -> String {
        rule.place(&self.0.loaded.sources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    #[test]
    fn the_most_specific_claim_names_an_address() {
        let names = Generation(Arc::new(fixture::policy(1)));
        let name = |text: &str| names.workload(text.parse().unwrap()).map(str::to_owned);
        assert_eq!(name("198.51.100.7").as_deref(), Some("acquirer"));
        assert_eq!(name("198.51.100.9").as_deref(), Some("acquirer-gateway"));
        assert_eq!(name("10.20.0.10").as_deref(), Some("vault-1"));
        assert_eq!(name("2001:db8:20::10").as_deref(), Some("vault-1"));
        assert_eq!(name("10.20.0.11"), None);
    }

    #[test]
    fn the_two_latest_generations_are_kept() {
        let names = Names::default();
        for generation in 1..=3 {
            names.learn(&Arc::new(fixture::policy(generation)));
            names.learn(&Arc::new(fixture::policy(generation)));
        }
        names.learn(&Arc::new(fixture::policy(1)));
        assert!(names.of(1).is_none(), "too late");
        assert_eq!(names.of(2).unwrap().0.generation, 2);
        assert_eq!(names.of(3).unwrap().0.generation, 3);
    }

    #[test]
    fn who_comes_late_takes_no_ones_place() {
        let names = Names::default();
        for generation in [4, 3, 4] {
            names.learn(&Arc::new(fixture::policy(generation)));
        }
        assert_eq!([3, 4].map(|of| names.of(of).unwrap().0.generation), [3, 4]);
        names.learn(&Arc::new(fixture::policy(5)));
        assert!(names.of(3).is_none() && names.of(4).is_some() && names.of(5).is_some());
    }

    #[test]
    fn a_rule_is_named_with_its_place() {
        let names = Generation(Arc::new(fixture::policy(1)));
        let rule = names.rule(RuleNumber(1)).unwrap();
        assert_eq!(rule.id, "allow.payments-to-vault");
        assert_eq!(names.place(rule), "rules.toml:7");
        assert!(names.rule(RuleNumber::NONE).is_none());
    }
}
